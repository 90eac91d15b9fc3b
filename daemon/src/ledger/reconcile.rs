//! Owns: reading a provider's own export and comparing it with the ledger.
//! Guarantees: amounts are exact to the micro-dollar; a file that can't be read is refused with the line; the
//! ledger is not changed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Ledger, LedgerError};
use crate::domain::usage::Dimension;
use crate::store::ledger::Wanted;

/// A day.
const DAY_US: i64 = 86_400_000_000;
/// The most days of a file.
const MAX_DAYS: usize = 3_660;

/// What providers call the time of a row, the surest first.
const TIMES: &[&str] = &[
    "start_time_iso",
    "start_time",
    "starting_at",
    "usage_date_utc",
    "usage_date",
    "timestamp",
    "time",
    "created_at",
    "starttime",
    "date",
    "day",
    "created",
];
/// What they call the amount in US dollars, the surest first.
const AMOUNTS: &[&str] = &[
    "cost_usd",
    "amount_value",
    "cost_in_usd",
    "total_cost",
    "response_cost",
    "spend",
    "amount_usd",
    "usd",
    "cost",
    "amount",
    "usage",
    "total",
];

/// The comparison.
#[derive(Debug, Clone, Default)]
pub struct Reconciled {
    /// UTC date, by the ledger, by the file, requests without a price.
    pub days: Vec<(String, u64, u64, u64)>,
    /// By the ledger, over the days of the file.
    pub ledger: u64,
    /// By the file.
    pub file: u64,
    /// Rows of the file.
    pub rows: u32,
    /// Which columns were taken.
    pub columns: String,
    /// What may explain the gap.
    pub notes: Vec<String>,
}

impl Ledger {
    /// Compares a provider's export with the ledger.
    pub async fn reconcile(&self, data: &[u8], provider: &str) -> Result<Reconciled, LedgerError> {
        let read = read(data).map_err(LedgerError::reject)?;
        let (Some(first), Some(last)) = (read.days.keys().next(), read.days.keys().next_back()) else {
            return Err(LedgerError::reject("the file has no rows"));
        };
        let (first, end) = (*first, last.saturating_add(1));
        let span = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        if span > MAX_DAYS {
            return Err(LedgerError::reject(
                "the file spans more than ten years: its times are not what they seem",
            ));
        }
        let starts_us: Vec<i64> = (first..end).map(|day| day.saturating_mul(DAY_US)).collect();
        let filters = match provider {
            "" => Vec::new(),
            name => vec![(Dimension::Provider, vec![name.to_owned()])],
        };
        let wanted = Wanted {
            from_us: first.saturating_mul(DAY_US),
            to_us: end.saturating_mul(DAY_US),
            starts_us,
            filters,
            ..Wanted::default()
        };
        let summed = self.0.store.sum_usage(wanted).await?;
        let mut done = Reconciled {
            rows: read.rows,
            columns: read.columns,
            ..Reconciled::default()
        };
        let mut unpriced = 0u64;
        for (index, day) in (first..end).enumerate() {
            let cells = summed.cells.iter().filter(|cell| cell.bucket == index);
            let (mut ledger, mut without) = (0u64, 0u64);
            for cell in cells {
                ledger = ledger.saturating_add(cell.sums.cost_micro_usd);
                without = without.saturating_add(cell.sums.unpriced_requests);
            }
            let file = read.days.get(&day).copied().unwrap_or_default();
            done.ledger = done.ledger.saturating_add(ledger);
            done.file = done.file.saturating_add(file);
            unpriced = unpriced.saturating_add(without);
            if ledger > 0 || file > 0 || without > 0 {
                let date = jiff::Timestamp::from_microsecond(day.saturating_mul(DAY_US))
                    .map(|t| t.strftime("%Y-%m-%d").to_string())
                    .unwrap_or_default();
                done.days.push((date, ledger, file, without));
            }
        }
        if unpriced > 0 {
            done.notes.push(format!(
                "{unpriced} requests of the ledger have no known price: they are in the file's figure only."
            ));
        }
        if provider.is_empty() {
            done.notes
                .push("The ledger's figure is of all providers; name one with --provider.".into());
        }
        if done.file > done.ledger {
            done.notes
                .push("The file may hold other programs' use of the same account.".into());
        }
        Ok(done)
    }
}

#[derive(Debug, Default)]
struct Read {
    /// Micro-dollars by UTC day since the epoch.
    days: BTreeMap<i64, u64>,
    rows: u32,
    columns: String,
}

impl Read {
    fn add(&mut self, time_us: i64, micro_usd: u64) {
        let sum = self.days.entry(time_us.div_euclid(DAY_US)).or_default();
        *sum = sum.saturating_add(micro_usd);
        self.rows = self.rows.saturating_add(1);
    }
}

fn read(data: &[u8]) -> Result<Read, String> {
    let text =
        std::str::from_utf8(data).map_err(|e| format!("the file is no text: byte {}", e.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().chars().next() {
        None => Err("the file is empty".into()),
        Some('[' | '{') => read_json(text),
        Some(_) => read_csv(text),
    }
}

/// The records of a CSV text; quotes may hold commas and line ends. Each with the line it begins on.
fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut all, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut begun) = (false, 1usize, 1usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                all.push((begun, std::mem::take(&mut record)));
                line += 1;
                begun = line;
            }
            c => {
                line += usize::from(c == '\n');
                cell.push(c);
            }
        }
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        all.push((begun, record));
    }
    all.retain(|(_, record)| record.iter().any(|cell| !cell.trim().is_empty()));
    all
}

/// The cells of one line.
#[cfg(test)]
pub(super) fn cells(line: &str) -> Vec<String> {
    records(line).pop().map(|(_, cells)| cells).unwrap_or_default()
}

fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn read_csv(text: &str) -> Result<Read, String> {
    let mut records = records(text).into_iter();
    let (_, head) = records.next().ok_or("the file is empty")?;
    let names: Vec<String> = head.iter().map(|name| plain(name)).collect();
    let find = |wanted: &[&str]| wanted.iter().find_map(|w| names.iter().position(|n| n == w));
    let (Some(time), Some(amount)) = (find(TIMES), find(AMOUNTS)) else {
        return Err(format!(
            "line 1: no column for the time and the amount; there are: {}. Name them `date` and `cost_usd`.",
            head.join(", ").chars().take(200).collect::<String>()
        ));
    };
    let title = |at: usize| head.get(at).cloned().unwrap_or_default();
    let mut read = Read {
        columns: format!("time: {}, amount: {} (US dollars)", title(time), title(amount)),
        ..Read::default()
    };
    for (line, record) in records {
        let cell = |at: usize| record.get(at).map(|c| c.trim()).unwrap_or_default();
        // Totals at the foot have no time.
        if cell(time).is_empty() || cell(amount).is_empty() {
            continue;
        }
        let time_us =
            moment(cell(time)).ok_or_else(|| format!("line {line}: '{}' is no time", cell(time)))?;
        let micro =
            dollars(cell(amount)).ok_or_else(|| format!("line {line}: '{}' is no amount", cell(amount)))?;
        read.add(time_us, micro);
    }
    Ok(read)
}

fn read_json(text: &str) -> Result<Read, String> {
    let mut read = Read {
        columns: "the times and amounts of the JSON objects (US dollars)".into(),
        ..Read::default()
    };
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for value in values {
        let value = value.map_err(|e| format!("line {}: {e}", e.line()))?;
        walk(&value, None, &mut read)?;
    }
    if read.rows == 0 {
        return Err("no object in the file has a time and an amount".into());
    }
    Ok(read)
}

/// Objects with a time and an amount, at any depth; what has no time has that of the object around it.
fn walk(value: &Value, around: Option<i64>, read: &mut Read) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, around, read)),
        Value::Object(map) => {
            let find = |wanted: &[&str]| {
                wanted
                    .iter()
                    .find_map(|w| map.iter().find(|(k, v)| plain(k) == *w && !v.is_null()))
                    .map(|(_, v)| v)
            };
            let text = |v: &Value| match v {
                Value::String(s) => Some(s.clone()),
                Value::Number(n) => Some(n.to_string()),
                Value::Object(o) => o.get("value").map(|v| v.to_string().trim_matches('"').to_owned()),
                _ => None,
            };
            let time = find(TIMES).and_then(text).and_then(|t| moment(&t)).or(around);
            if let (Some(time_us), Some(amount)) = (time, find(AMOUNTS).and_then(text)) {
                let micro = dollars(&amount).ok_or_else(|| {
                    format!("'{}' is no amount", amount.chars().take(40).collect::<String>())
                })?;
                read.add(time_us, micro);
                return Ok(());
            }
            map.values().try_for_each(|inner| walk(inner, time, read))
        }
        _ => Ok(()),
    }
}

/// A moment as providers write it: RFC 3339, a date, a date and time in UTC, seconds since the epoch.
fn moment(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_microsecond());
    }
    let utc = |at: jiff::civil::DateTime| {
        at.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|z| z.timestamp().as_microsecond())
    };
    if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
        return utc(at);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return utc(date.to_datetime(super::calendar::midnight()));
    }
    let seconds: i64 = text.split('.').next()?.parse().ok()?;
    // Seconds of 2001 to 2286; milliseconds of the same years have three digits more.
    match seconds {
        1_000_000_000..=9_999_999_999 => Some(seconds * 1_000_000),
        1_000_000_000_000..=9_999_999_999_999 => Some(seconds * 1_000),
        _ => None,
    }
}

/// US dollars as micro-dollars, without floating point where it is written plainly.
fn dollars(text: &str) -> Option<u64> {
    let bare = text.trim().trim_start_matches('$').replace(',', "");
    if bare.contains(['e', 'E']) {
        let value: f64 = bare.parse().ok()?;
        return (0.0..1e12).contains(&value).then(|| (value * 1e6).round() as u64);
    }
    let (whole, rest) = bare.split_once('.').unwrap_or((&bare, ""));
    if !rest.bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() && rest.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = format!("{rest:0<7}");
    let micro: u64 = digits.get(..6)?.parse().ok()?;
    let up = u64::from(digits.as_bytes().get(6).is_some_and(|d| *d >= b'5'));
    whole.checked_mul(1_000_000)?.checked_add(micro + up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let of = |text| dollars(text);
        assert_eq!(of("1.234567"), Some(1_234_567));
        assert_eq!(of("$1,000.5"), Some(1_000_500_000));
        assert_eq!(of("0.0000005"), Some(1));
        assert_eq!(of("1.2e-3"), Some(1_200));
        assert_eq!([of("x"), of("-1"), of("."), of("1.2.3")], [None; 4]);
    }

    #[test]
    fn csv_of_several_providers_is_read() {
        let text = "\u{feff}start_time_iso,amount_value,note\r\n2026-11-21T00:00:00+00:00,0.06,\"a, b\"\r\n\
                    2026-11-21T00:00:00+00:00,0.01,\r\n,,total\r\n2026-11-23,1,\r\n";
        let read = read(text.as_bytes()).unwrap();
        let days: Vec<u64> = read.days.values().copied().collect();
        assert_eq!((days, read.rows), (vec![70_000, 1_000_000], 3));
        assert!(read.columns.contains("start_time_iso"));
        let other = super::read(b"Date,Cost\n2026-11-21,0.5\n").unwrap();
        assert_eq!(other.rows, 1);
    }

    #[test]
    fn json_with_the_time_around_the_amount_is_read() {
        let text = r#"{"data":[{"start_time":1795219200,"results":[{"amount":{"value":0.06,"currency":"usd"}},
            {"amount":{"value":"0.04"}}]}]}"#;
        let read = read(text.as_bytes()).unwrap();
        assert_eq!((read.rows, read.days.values().sum::<u64>()), (2, 100_000));
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line() {
        let of = |text: &str| read(text.as_bytes()).unwrap_err();
        assert!(of("a,b\n1,2\n").starts_with("line 1: no column"));
        assert!(of("date,cost\n2026-11-21,1\n2026-11-22,lots\n").starts_with("line 3: 'lots'"));
        assert!(of("date,cost\nyesterday,1\n").starts_with("line 2: 'yesterday'"));
        assert!(of("{\"a\":\n1").starts_with("line 2"));
        assert_eq!(of(""), "the file is empty");
        assert!(read(&[0xff, 0xfe]).is_err());
    }
}
