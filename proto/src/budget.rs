//! Owns: budgets as people write them.

use crate::{format, pb};

/// `$10`, `500k tokens`, `20 turns`, `30 min` as a unit and a number of it; `None` for what is no limit.
pub fn limit(text: &str) -> Option<(pb::BudgetUnit, u64)> {
    let bare = text.trim();
    let split = bare.find(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let (number, unit) = split.map_or((bare, ""), |at| bare.split_at(at));
    // As they are shown.
    let (times, unit) = match unit.split_once(' ') {
        Some(("k", unit)) => (1_000, unit),
        Some(("M", unit)) => (1_000_000, unit),
        _ => (1, unit),
    };
    let (unit, limit) = match unit.trim() {
        "" | "usd" | "USD" => (pb::BudgetUnit::MicroUsd, format::parse_money(number)?),
        "tokens" | "token" | "tok" => (pb::BudgetUnit::Tokens, whole(number, times)?),
        "turns" | "turn" => (pb::BudgetUnit::Turns, whole(number, times)?),
        _ => {
            let span = format::parse_duration(&bare.replace(' ', "")).ok()?;
            (
                pb::BudgetUnit::Milliseconds,
                u64::try_from(span.as_millis()).ok()?,
            )
        }
    };
    (limit > 0).then_some((unit, limit))
}

/// `1.5` times a thousand; without a factor only whole numbers.
fn whole(number: &str, times: u64) -> Option<u64> {
    let number = number.replace(['_', ','], "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    let digits = u32::try_from(part.len()).ok()?;
    let part = match digits {
        0 => 0,
        1..=3 if times > 1 => part.parse::<u64>().ok()? * times / 10_u64.pow(digits),
        _ => return None,
    };
    whole.parse::<u64>().ok()?.checked_mul(times)?.checked_add(part)
}

/// `$10 per day`, `500k tokens per session`, or a limit alone, which is a day's.
pub fn parse(text: &str) -> Option<pb::Budget> {
    let (limit, window) = text.split_once(" per ").unwrap_or((text, "day"));
    let (unit, limit) = self::limit(limit)?;
    let window = match window.trim() {
        "turn" => pb::BudgetWindow::Turn,
        "session" => pb::BudgetWindow::Session,
        "task" => pb::BudgetWindow::Task,
        "day" => pb::BudgetWindow::Day,
        "month" => pb::BudgetWindow::Month,
        _ => return None,
    };
    Some(pb::Budget {
        window: window.into(),
        unit: unit.into(),
        limit,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them_and_as_they_are_shown() {
        assert_eq!(limit("$10"), Some((pb::BudgetUnit::MicroUsd, 10_000_000)));
        assert_eq!(limit("0.5"), Some((pb::BudgetUnit::MicroUsd, 500_000)));
        assert_eq!(limit("200_000 tokens"), Some((pb::BudgetUnit::Tokens, 200_000)));
        assert_eq!(limit("500k tokens"), Some((pb::BudgetUnit::Tokens, 500_000)));
        assert_eq!(limit("1.5M tokens"), Some((pb::BudgetUnit::Tokens, 1_500_000)));
        assert_eq!(limit("56,371 tokens"), Some((pb::BudgetUnit::Tokens, 56_371)));
        assert_eq!(limit("20 turns"), Some((pb::BudgetUnit::Turns, 20)));
        assert_eq!(limit("30 min"), Some((pb::BudgetUnit::Milliseconds, 1_800_000)));
        assert_eq!(limit("1m30s"), Some((pb::BudgetUnit::Milliseconds, 90_000)));
        for wrong in [
            "",
            "$",
            "$0",
            "ten",
            "5 apples",
            "-3",
            "0 turns",
            "1.5 tokens",
            "2k",
            "k tokens",
        ] {
            assert!(limit(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_budget_is_a_limit_and_a_window() {
        let of = |text| parse(text).map(|budget| (budget.unit(), budget.limit, budget.window()));
        let tokens = (pb::BudgetUnit::Tokens, 500_000, pb::BudgetWindow::Session);
        assert_eq!(of("500k tokens per session"), Some(tokens));
        assert_eq!(
            of("$2"),
            Some((pb::BudgetUnit::MicroUsd, 2_000_000, pb::BudgetWindow::Day))
        );
        assert_eq!(of("$2 per year"), None);
    }
}
