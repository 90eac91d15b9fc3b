//! Owns: ledger rows as CSV and JSON.
//! Guarantees: CSV as RFC 4180 wants it; times in UTC; an unknown figure is empty (CSV) or null (JSON), never
//! 0; a text that a spreadsheet would run as a formula is shown as text.

use std::fmt::Write as _;

use super::query::Filters;
use super::{Ledger, LedgerError, Range};
use crate::clock::now_us;
use crate::domain::usage::{Row, provider_of};
use crate::store::ledger::{RowCursor, RowFilter};

/// Rows of one piece: about a megabyte of CSV.
const PIECE: u32 = 5_000;

/// Forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// One array.
    Json,
    /// An object on a line.
    JsonLines,
}

/// What is exported.
#[derive(Debug, Clone)]
pub struct Wish {
    /// When.
    pub range: Range,
    /// The zone of the range.
    pub zone: String,
    /// Only these.
    pub filters: Filters,
    /// In which form.
    pub format: Format,
    /// Tool calls instead of model requests.
    pub tool_calls: bool,
}

/// An export under way.
pub struct Export {
    ledger: Ledger,
    filter: RowFilter,
    format: Format,
    cursor: Option<RowCursor>,
    begun: bool,
    done: bool,
}

impl Ledger {
    /// Begins an export.
    pub fn export(&self, wish: Wish) -> Result<Export, LedgerError> {
        let (from_us, to_us) = self.calendar(&wish.zone)?.resolve(&wish.range, now_us())?;
        Ok(Export {
            ledger: self.clone(),
            filter: RowFilter {
                from_us,
                to_us,
                filters: wish.filters,
                tool_calls: wish.tool_calls,
            },
            format: wish.format,
            cursor: None,
            begun: false,
            done: false,
        })
    }
}

impl Export {
    /// The next piece and its number of rows; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, u32)>, LedgerError> {
        if self.done {
            return Ok(None);
        }
        let first = !self.begun;
        self.begun = true;
        let (format, tools) = (self.format, self.filter.tool_calls);
        let rows = self
            .ledger
            .0
            .store
            .usage_rows(self.filter.clone(), self.cursor.take(), PIECE)
            .await?;
        self.done = rows.len() < PIECE as usize;
        self.cursor = rows
            .last()
            .map(|row| (row.time_us, row.booking.session_id.clone(), row.seq));
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let mut text = String::with_capacity(rows.len() * 260 + 300);
        if first {
            text.push_str(head(format, tools));
        }
        for (index, row) in rows.iter().enumerate() {
            match format {
                Format::Csv => csv(&mut text, row),
                Format::JsonLines => {
                    json(&mut text, row);
                    text.push('\n');
                }
                Format::Json => {
                    text.push_str(if first && index == 0 { "\n" } else { ",\n" });
                    json(&mut text, row);
                }
            }
        }
        if self.done && format == Format::Json {
            text.push_str("\n]\n");
        }
        Ok(Some((text.into_bytes(), count)))
    }
}

const REQUESTS: &str = "time,principal,client,session_id,turn_id,step,task_id,persona,provider,model,input_tokens,\
cached_tokens,cache_write_tokens,output_tokens,reasoning_tokens,cost_usd,cost_micro_usd,cost_source,\
first_token_ms,total_ms,outcome,retries\r\n";
const TOOL_CALLS: &str = "time,principal,client,session_id,turn_id,task_id,persona,tool,total_ms,outcome\r\n";

fn head(format: Format, tools: bool) -> &'static str {
    match (format, tools) {
        (Format::Csv, false) => REQUESTS,
        (Format::Csv, true) => TOOL_CALLS,
        (Format::Json, _) => "[",
        (Format::JsonLines, _) => "",
    }
}

/// Writing to a String can't fail, so its answer is not looked at.
fn csv(out: &mut String, row: &Row) {
    let b = &row.booking;
    utc(out, row.time_us);
    for text in [&b.principal, &b.client, &b.session_id, &row.turn_id] {
        cell(out, text);
    }
    let Some(request) = &row.request else {
        for text in [&b.task_id, &b.persona, &b.tool] {
            cell(out, text);
        }
        let _ = write!(out, ",{}", row.total_ms);
        cell(out, &row.outcome);
        out.push_str("\r\n");
        return;
    };
    let _ = write!(out, ",{}", row.step);
    for text in [b.task_id.as_str(), &b.persona, provider_of(&b.model), &b.model] {
        cell(out, text);
    }
    match request.tokens {
        Some(t) => {
            let _ = write!(
                out,
                ",{},{},{},{},{}",
                t.input, t.cached_input, t.cache_write, t.output, t.reasoning
            );
        }
        None => out.push_str(",,,,,"),
    }
    match request.cost {
        Some(c) => {
            let (whole, rest) = (c.micro_usd / 1_000_000, c.micro_usd % 1_000_000);
            let _ = write!(out, ",{whole}.{rest:06},{},{}", c.micro_usd, c.source.word());
        }
        None => out.push_str(",,,"),
    }
    out.push(',');
    if let Some(ms) = request.first_token_ms {
        let _ = write!(out, "{ms}");
    }
    let _ = write!(out, ",{}", row.total_ms);
    cell(out, &row.outcome);
    let _ = write!(out, ",{}\r\n", request.retries);
}

/// A comma and a text, quoted where it must be.
fn cell(out: &mut String, text: &str) {
    out.push(',');
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula && !text.contains([',', '"', '\n', '\r']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    if formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

fn json(out: &mut String, row: &Row) {
    let b = &row.booking;
    out.push_str("{\"time\":\"");
    utc(out, row.time_us);
    out.push('"');
    let mut texts = vec![
        ("principal", b.principal.as_str()),
        ("client", &b.client),
        ("session_id", &b.session_id),
        ("turn_id", &row.turn_id),
        ("task_id", &b.task_id),
        ("persona", &b.persona),
    ];
    match &row.request {
        None => texts.push(("tool", &b.tool)),
        Some(_) => texts.extend([("provider", provider_of(&b.model)), ("model", b.model.as_str())]),
    }
    texts.push(("outcome", &row.outcome));
    for (name, text) in texts {
        let _ = write!(out, ",\"{name}\":");
        match text {
            "" => out.push_str("null"),
            text => out.push_str(&serde_json::Value::from(text).to_string()),
        }
    }
    let _ = write!(out, ",\"total_ms\":{}", row.total_ms);
    if let Some(request) = &row.request {
        let t = request.tokens;
        let c = request.cost;
        let numbers = [
            ("step", Some(u64::from(row.step))),
            ("input_tokens", t.map(|t| t.input)),
            ("cached_tokens", t.map(|t| t.cached_input)),
            ("cache_write_tokens", t.map(|t| t.cache_write)),
            ("output_tokens", t.map(|t| t.output)),
            ("reasoning_tokens", t.map(|t| t.reasoning)),
            ("cost_micro_usd", c.map(|c| c.micro_usd)),
            ("first_token_ms", request.first_token_ms),
            ("retries", Some(u64::from(request.retries))),
        ];
        for (name, number) in numbers {
            let _ = match number {
                Some(n) => write!(out, ",\"{name}\":{n}"),
                None => write!(out, ",\"{name}\":null"),
            };
        }
        let _ = match c {
            Some(c) => write!(out, ",\"cost_source\":\"{}\"", c.source.word()),
            None => write!(out, ",\"cost_source\":null"),
        };
    }
    out.push('}');
}

/// RFC 3339 in UTC with microseconds, which with session and turn tells rows apart.
fn utc(out: &mut String, time_us: i64) {
    let (day, rest) = (
        time_us.div_euclid(86_400_000_000),
        time_us.rem_euclid(86_400_000_000),
    );
    // Days to a date, as the Gregorian calendar counts its 400 years of 146,097 days.
    let z = day.saturating_add(719_468);
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let seconds = rest / 1_000_000;
    let _ = write!(
        out,
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        rest % 1_000_000
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::{Booking, Cost, CostSource, Request, Tokens};

    fn row() -> Row {
        Row {
            time_us: 1_795_388_400_000_042,
            seq: 7,
            booking: Booking {
                principal: "o\"hara, p".into(),
                client: "cli".into(),
                session_id: "s-7k2f".into(),
                task_id: String::new(),
                persona: "=cmd()".into(),
                model: "openai/gpt-x".into(),
                tool: String::new(),
            },
            turn_id: "t-1".into(),
            step: 1,
            outcome: "stop".into(),
            total_ms: 900,
            request: Some(Request {
                tokens: Some(Tokens {
                    input: 10,
                    output: 2,
                    ..Tokens::default()
                }),
                cost: Some(Cost {
                    micro_usd: 1_000_042,
                    source: CostSource::Reported,
                }),
                first_token_ms: None,
                retries: 0,
            }),
        }
    }

    #[test]
    fn csv_is_quoted_and_no_formula_gets_through() {
        let mut text = REQUESTS.to_owned();
        csv(&mut text, &row());
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(
            lines[1],
            "2026-11-22T23:00:00.000042Z,\"o\"\"hara, p\",cli,s-7k2f,t-1,1,,\"'=cmd()\",openai,openai/gpt-x,\
             10,0,0,2,0,1.000042,1000042,reported,,900,stop,0"
        );
        let columns = |line: &str| super::super::reconcile::cells(line).len();
        assert_eq!(columns(lines[0]), columns(lines[1]));
    }

    #[test]
    fn the_unknown_is_empty_or_null() {
        let mut row = row();
        row.request = Some(Request::default());
        let (mut line, mut object) = (String::new(), String::new());
        csv(&mut line, &row);
        json(&mut object, &row);
        assert!(line.contains("openai/gpt-x,,,,,,,,,,900"), "{line}");
        let value: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert!(value["cost_micro_usd"].is_null() && value["task_id"].is_null());
        assert_eq!(value["principal"], "o\"hara, p");
        row.request = None;
        row.booking.tool = "exec".into();
        let mut call = TOOL_CALLS.to_owned();
        csv(&mut call, &row);
        let counts: Vec<usize> = call
            .lines()
            .map(|l| super::super::reconcile::cells(l).len())
            .collect();
        assert_eq!(counts[0], counts[1]);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for text in [
            "1969-12-31T23:59:59.999999Z",
            "2000-02-29T00:00:00.000001Z",
            "2100-03-01T12:30:01.500000Z",
        ] {
            let moment: jiff::Timestamp = text.parse().unwrap();
            let mut out = String::new();
            utc(&mut out, moment.as_microsecond());
            assert_eq!(out, text);
        }
    }
}
