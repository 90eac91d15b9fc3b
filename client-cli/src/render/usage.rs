//! Owns: how usage is shown: tables with bars on a terminal, exact figures elsewhere.
//! Guarantees: a bar's length is its share of the whole and always stands beside its number; an unknown price
//! is `—`, never a zero.

use agentd_proto::{escape, format, pb};
use serde_json::{Value, json};

use super::table::{self, Column, fixed, flexible};
use super::{Out, text};
use crate::args::{Format, Metric};
use crate::exit::Failure;

/// Cells of a bar.
const BAR: usize = 16;
/// Heights of a sparkline.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Money: short for people, exact for programs.
fn money(out: &Out, micro_usd: Option<u64>) -> String {
    match (out.format, micro_usd) {
        (Format::Table, known) => format::money(known),
        (_, None) => format::UNKNOWN.to_owned(),
        (_, known) => format::dollars_exact(known),
    }
}

fn tokens(out: &Out, count: u64) -> String {
    if out.format == Format::Table {
        format::tokens(count)
    } else {
        count.to_string()
    }
}

fn all_tokens(sums: &pb::UsageSums) -> u64 {
    sums.input_tokens.saturating_add(sums.output_tokens)
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return format::UNKNOWN.to_owned();
    }
    format!("{}%", u128::from(part) * 100 / u128::from(whole))
}

/// A row of sums under their headings.
pub(crate) fn row(out: &Out, name: &str, sums: &pb::UsageSums) -> Vec<String> {
    vec![
        name.to_owned(),
        money(out, sums.cost_micro_usd),
        tokens(out, all_tokens(sums)),
        percent(sums.cached_tokens, sums.input_tokens),
        sums.requests.to_string(),
        sums.errors.to_string(),
        sums.tool_calls.to_string(),
        sums.unpriced_requests.to_string(),
    ]
}

/// Sums as JSON.
pub(crate) fn sums(sums: &pb::UsageSums) -> Value {
    json!({
        "cost_micro_usd": sums.cost_micro_usd,
        "cost_usd": sums.cost_micro_usd.map(|known| format::dollars_exact(Some(known))),
        "reported_micro_usd": sums.reported_micro_usd,
        "unpriced_requests": sums.unpriced_requests,
        "unpriced_tokens": sums.unpriced_tokens,
        "turns": sums.turns,
        "requests": sums.requests,
        "errors": sums.errors,
        "rate_limited": sums.rate_limited,
        "retries": sums.retries,
        "input_tokens": sums.input_tokens,
        "cached_tokens": sums.cached_tokens,
        "cache_write_tokens": sums.cache_write_tokens,
        "output_tokens": sums.output_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "tool_calls": sums.tool_calls,
        "tool_failures": sums.tool_failures,
        "busy_ms": millis(sums.busy),
    })
}

fn millis(time: Option<prost_types::Duration>) -> u64 {
    u64::try_from(format::from_proto(time).as_millis()).unwrap_or(u64::MAX)
}

/// Times as JSON.
pub(crate) fn latency(latency: Option<&pb::UsageLatency>) -> Value {
    let Some(latency) = latency else {
        return Value::Null;
    };
    let ms = |time: Option<prost_types::Duration>| time.map(|t| millis(Some(t)));
    json!({
        "first_token_p50_ms": ms(latency.first_token_p50),
        "first_token_p95_ms": ms(latency.first_token_p95),
        "total_p50_ms": ms(latency.total_p50),
        "total_p95_ms": ms(latency.total_p95),
    })
}

/// A group as JSON.
pub(crate) fn group(group: &pb::UsageGroup) -> Value {
    let mut value = sums(&group.sums.unwrap_or_default());
    if let Some(object) = value.as_object_mut() {
        object.insert("value".into(), json!(group.value));
        object.insert("label".into(), json!(group.label));
        object.insert("is_other".into(), json!(group.is_other));
        object.insert("latency".into(), latency(group.latency.as_ref()));
    }
    value
}

/// Points as JSON.
pub(crate) fn points(answer: &pb::QueryUsageResponse) -> Vec<Value> {
    let point = |point: &pb::UsagePoint| {
        let mut value = sums(&point.sums.unwrap_or_default());
        let groups: Vec<Value> = answer
            .groups
            .iter()
            .zip(&point.groups)
            .map(|(group, own)| {
                let mut value = sums(own);
                if let Some(object) = value.as_object_mut() {
                    object.insert("value".into(), json!(group.value));
                    object.insert("label".into(), json!(group.label));
                }
                value
            })
            .collect();
        if let Some(object) = value.as_object_mut() {
            object.insert("start".into(), json!(point.local));
            object.insert("start_time".into(), json!(crate::time::rfc3339(point.start_time)));
            object.insert("latency".into(), latency(point.latency.as_ref()));
            object.insert("groups".into(), Value::Array(groups));
        }
        value
    };
    answer.points.iter().map(point).collect()
}

/// A share as a bar of at most [`BAR`] cells; anything above nothing is seen.
pub(crate) fn bar(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return String::new();
    }
    let cells = u128::from(part) * BAR as u128 / u128::from(whole);
    "█".repeat(usize::try_from(cells).unwrap_or(BAR).clamp(1, BAR))
}

/// How full a budget is, in five cells.
pub(crate) fn gauge(percent: u32) -> String {
    let full = usize::try_from(percent / 20).unwrap_or(5).min(5);
    format!("{}{}", "▓".repeat(full), "░".repeat(5 - full))
}

/// Values as heights, the highest of them full.
fn sparkline(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or_default();
    values
        .iter()
        .map(|value| {
            let at = (u128::from(*value) * 7)
                .checked_div(u128::from(most))
                .unwrap_or(0);
            LEVELS
                .get(usize::try_from(at).unwrap_or(7))
                .copied()
                .unwrap_or('▁')
        })
        .collect()
}

fn with_bars(out: &Out) -> bool {
    out.format == Format::Table && out.out_tty
}

/// Groups, the dearest first.
pub(crate) fn top(out: &Out, answer: &pb::QueryUsageResponse) -> Result<(), Failure> {
    const COLUMNS: &[Column] = &[
        flexible("NAME", 9, 10),
        fixed("COST", 8),
        fixed("SHARE", 6),
        fixed("BAR", 5),
        fixed("TOKENS", 7),
        fixed("REQUESTS", 4),
        fixed("ERRORS", 2),
        flexible("VALUE", 1, 8),
    ];
    let whole = answer.total.unwrap_or_default();
    let cost = whole.cost_micro_usd.unwrap_or_default();
    let rows: Vec<Vec<String>> = answer
        .groups
        .iter()
        .map(|group| {
            let sums = group.sums.unwrap_or_default();
            let own = sums.cost_micro_usd.unwrap_or_default();
            let name = if group.label.is_empty() {
                "(none)"
            } else {
                &group.label
            };
            vec![
                name.to_owned(),
                money(out, sums.cost_micro_usd),
                percent(own, cost),
                if with_bars(out) {
                    bar(own, cost)
                } else {
                    String::new()
                },
                tokens(out, all_tokens(&sums)),
                sums.requests.to_string(),
                sums.errors.to_string(),
                group.value.clone(),
            ]
        })
        .collect();
    table::print(out, COLUMNS, &rows)?;
    total(out, &whole);
    Ok(())
}

fn total(out: &Out, whole: &pb::UsageSums) {
    out.note(&format!(
        "total {} · {} tokens · {}",
        format::money(whole.cost_micro_usd),
        format::tokens(all_tokens(whole)),
        format::count(whole.requests, "request")
    ));
}

/// Tools, with failures and times.
pub(crate) fn tools(out: &Out, answer: &pb::QueryUsageResponse) -> Result<(), Failure> {
    const COLUMNS: &[Column] = &[
        flexible("TOOL", 9, 8),
        fixed("CALLS", 8),
        fixed("FAILED", 7),
        fixed("P50", 6),
        fixed("P95", 6),
    ];
    let time = |time: Option<prost_types::Duration>| {
        time.map_or_else(
            || format::UNKNOWN.to_owned(),
            |t| format::duration(format::from_proto(Some(t))),
        )
    };
    let rows: Vec<Vec<String>> = answer
        .groups
        .iter()
        .filter(|group| !group.value.is_empty())
        .map(|group| {
            let sums = group.sums.unwrap_or_default();
            let latency = group.latency.unwrap_or_default();
            vec![
                group.label.clone(),
                sums.tool_calls.to_string(),
                percent(sums.tool_failures, sums.tool_calls),
                time(latency.total_p50),
                time(latency.total_p95),
            ]
        })
        .collect();
    table::print(out, COLUMNS, &rows)
}

fn measure(point: &pb::UsagePoint, sums: &pb::UsageSums, metric: Metric) -> Option<u64> {
    match metric {
        Metric::Cost => sums.cost_micro_usd,
        Metric::Tokens => Some(all_tokens(sums)),
        Metric::Requests => Some(sums.requests),
        Metric::Latency => point.latency.and_then(|l| l.total_p95).map(|t| millis(Some(t))),
    }
}

fn shown(out: &Out, metric: Metric, value: Option<u64>) -> String {
    match (metric, value) {
        (Metric::Cost, value) => money(out, value),
        (_, None) => format::UNKNOWN.to_owned(),
        (Metric::Tokens, Some(count)) => tokens(out, count),
        (Metric::Latency, Some(ms)) if out.format == Format::Table => {
            format::duration(std::time::Duration::from_millis(ms))
        }
        (_, Some(count)) => count.to_string(),
    }
}

/// One line for each bucket; with groups, one column for each.
pub(crate) fn series(out: &Out, answer: &pb::QueryUsageResponse, metric: Metric) -> Result<(), Failure> {
    const WIDE: &[Column] = &[
        fixed("START", 9),
        fixed("TOTAL", 8),
        fixed("BAR", 7),
        flexible("BY", 6, 10),
    ];
    let values: Vec<Option<u64>> = answer
        .points
        .iter()
        .map(|point| measure(point, &point.sums.unwrap_or_default(), metric))
        .collect();
    let whole: u64 = values.iter().flatten().copied().fold(0, u64::saturating_add);
    let most = values.iter().flatten().copied().max().unwrap_or_default();
    let rows: Vec<Vec<String>> = answer
        .points
        .iter()
        .zip(&values)
        .map(|(point, value)| {
            let split: Vec<String> = answer
                .groups
                .iter()
                .zip(&point.groups)
                .filter_map(|(group, sums)| {
                    let own = measure(point, sums, metric).filter(|own| *own > 0)?;
                    let name = if group.label.is_empty() {
                        "(none)"
                    } else {
                        &group.label
                    };
                    Some(format!(
                        "{} {}",
                        escape::line(name),
                        shown(out, metric, Some(own))
                    ))
                })
                .collect();
            vec![
                start(out, &point.local).to_owned(),
                shown(out, metric, *value),
                // Times do not add up: their bars go by the longest.
                if with_bars(out) {
                    bar(
                        value.unwrap_or_default(),
                        if metric == Metric::Latency { most } else { whole },
                    )
                } else {
                    String::new()
                },
                split.join(", "),
            ]
        })
        .collect();
    table::print(out, WIDE, &rows)?;
    if with_bars(out) {
        let heights: Vec<u64> = values.iter().map(|v| v.unwrap_or_default()).collect();
        out.note(&sparkline(&heights));
    }
    total(out, &answer.total.unwrap_or_default());
    Ok(())
}

/// A bucket's beginning: without midnight and zone for people.
fn start<'a>(out: &Out, local: &'a str) -> &'a str {
    if out.format != Format::Table {
        return local;
    }
    let short = local.get(..16).unwrap_or(local);
    short.strip_suffix("T00:00").unwrap_or(short)
}

/// Where the month is going.
pub(crate) fn forecast(out: &Out, answer: &pb::ForecastUsageResponse) -> Result<(), Failure> {
    let value = json!({
        "spent_micro_usd": answer.spent_micro_usd,
        "projected_micro_usd": answer.projected_micro_usd,
        "low_micro_usd": answer.low_micro_usd,
        "high_micro_usd": answer.high_micro_usd,
        "budget_micro_usd": answer.budget_micro_usd,
        "method": answer.method,
        "time_zone": answer.time_zone,
        "unpriced_requests": answer.unpriced_requests,
        "days": answer.days.iter().map(|day| json!({
            "date": day.date, "cost_micro_usd": day.cost_micro_usd, "projected": day.projected,
        })).collect::<Vec<_>>(),
    });
    let between = format!(
        "{} to {}",
        money(out, Some(answer.low_micro_usd)),
        money(out, Some(answer.high_micro_usd))
    );
    let mut fields = vec![
        ("spent", money(out, Some(answer.spent_micro_usd))),
        ("projected", money(out, answer.projected_micro_usd)),
    ];
    if answer.projected_micro_usd.is_some() {
        fields.push(("between", between));
    }
    if let Some(budget) = answer.budget_micro_usd {
        fields.push(("budget", money(out, Some(budget))));
    }
    if answer.unpriced_requests > 0 {
        fields.push(("unpriced", format::count(answer.unpriced_requests, "request")));
    }
    fields.push(("time zone", answer.time_zone.clone()));
    fields.push(("method", answer.method.clone()));
    text::document(out, &fields, &value)?;
    if with_bars(out) {
        let days: Vec<u64> = answer.days.iter().map(|day| day.cost_micro_usd).collect();
        let spent = answer.days.iter().filter(|day| !day.projected).count();
        let line: String = sparkline(&days);
        let (past, ahead): (String, String) = (
            line.chars().take(spent).collect(),
            line.chars().skip(spent).collect(),
        );
        out.note(&format!("{past}{}", out.paint_err(super::Look::Dim, &ahead)));
    }
    Ok(())
}

/// The ledger beside a provider's file.
pub(crate) fn reconciled(out: &Out, answer: &pb::ReconcileUsageResponse) -> Result<(), Failure> {
    const COLUMNS: &[Column] = &[
        fixed("DATE", 9),
        fixed("LEDGER", 8),
        fixed("FILE", 8),
        fixed("GAP", 7),
        fixed("UNPRICED", 3),
    ];
    let gap = |gap: i64| {
        let size = gap.unsigned_abs();
        let sign = if gap < 0 { "-" } else { "+" };
        if size == 0 {
            "$0".to_owned()
        } else {
            format!("{sign}{}", money(out, Some(size)))
        }
    };
    let difference = |day: &pb::ReconcileDay| {
        let gap = i128::from(day.file_micro_usd) - i128::from(day.ledger_micro_usd);
        i64::try_from(gap).unwrap_or(i64::MAX)
    };
    if out.is_json() {
        return out.json(&json!({
            "ledger_micro_usd": answer.ledger_micro_usd,
            "file_micro_usd": answer.file_micro_usd,
            "gap_micro_usd": answer.gap_micro_usd,
            "rows": answer.rows,
            "columns": answer.columns,
            "notes": answer.notes,
            "days": answer.days.iter().map(|day| json!({
                "date": day.date,
                "ledger_micro_usd": day.ledger_micro_usd,
                "file_micro_usd": day.file_micro_usd,
                "gap_micro_usd": difference(day),
                "unpriced_requests": day.unpriced_requests,
            })).collect::<Vec<_>>(),
        }));
    }
    let rows: Vec<Vec<String>> = answer
        .days
        .iter()
        .map(|day| {
            vec![
                day.date.clone(),
                money(out, Some(day.ledger_micro_usd)),
                money(out, Some(day.file_micro_usd)),
                gap(difference(day)),
                day.unpriced_requests.to_string(),
            ]
        })
        .collect();
    table::print(out, COLUMNS, &rows)?;
    out.important(&format!(
        "ledger {} · file {} · gap {}",
        format::money(Some(answer.ledger_micro_usd)),
        format::money(Some(answer.file_micro_usd)),
        gap(answer.gap_micro_usd)
    ));
    out.note(&format!(
        "{} rows; {}",
        answer.rows,
        escape::line(&answer.columns)
    ));
    for note in &answer.notes {
        out.note(&escape::line(note));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_shares_of_the_whole() {
        assert_eq!(bar(50, 100).chars().count(), 8);
        assert_eq!(bar(1, 1_000_000).chars().count(), 1, "little is seen");
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(5, 0), "");
        assert_eq!(gauge(0), "░░░░░");
        assert_eq!(gauge(250), "▓▓▓▓▓");
        assert_eq!(sparkline(&[0, 50, 100]), "▁▄█");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
    }
}
