//! Owns: units, state words and glyphs, the same in every client.
//! Guarantees: an unknown price is `—`, never `$0.00`; tokens have three significant digits.

use std::time::Duration;

use crate::pb::event::Body;
use crate::pb::{Event, NetworkMode, PortDirection, PortDoor, SessionState, TurnOutcome};

/// Shown where something is unknown.
pub const UNKNOWN: &str = "—";

/// What programs of a session can reach, in a word.
pub fn network_word(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Ask => "ask",
        NetworkMode::List => "list",
        NetworkMode::Off | NetworkMode::Unspecified => "off",
    }
}

/// What an event says of the session's network, as a line; empty for other events.
pub fn network_line(event: &Event) -> String {
    let door = |door: &Option<PortDoor>| {
        let door = door.unwrap_or_default();
        match door.direction() {
            PortDirection::Host => format!("port {} of this machine, inside", door.local_port),
            _ => format!("port {} of the jail on 127.0.0.1:{}", door.port, door.local_port),
        }
    };
    match &event.body {
        Some(Body::NetworkChosen(chosen)) => format!("the network is now '{}'", network_word(chosen.mode())),
        Some(Body::PortOpened(opened)) => format!("open: {}", door(&opened.door)),
        Some(Body::PortClosed(closed)) => format!("closed: {}", door(&closed.door)),
        _ => String::new(),
    }
}

/// Tokens with three significant digits: `812`, `13.3k`, `1.20M`.
pub fn tokens(count: u64) -> String {
    scaled(count, &[(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")])
}

/// Money in US dollars; `—` when unknown, `<$0.01` below a cent, `$0` for what is known to be free.
pub fn money(micro_usd: Option<u64>) -> String {
    match micro_usd {
        None => UNKNOWN.to_owned(),
        Some(0) => "$0".to_owned(),
        Some(micro) if micro < 10_000 => "<$0.01".to_owned(),
        Some(micro) => {
            let cents = (micro + 5_000) / 10_000;
            format!("${}.{:02}", cents / 100, cents % 100)
        }
    }
}

/// Money in US dollars to the last micro-dollar, for programs: `0.003000`; empty when unknown.
pub fn dollars_exact(micro_usd: Option<u64>) -> String {
    micro_usd.map_or_else(String::new, |micro| {
        format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
    })
}

/// Reads money as people write it: `$2`, `2.50`, `$0.01`; as micro-dollars.
pub fn parse_money(text: &str) -> Option<u64> {
    let bare = text.trim().trim_start_matches('$').trim();
    let (whole, part) = bare.split_once('.').unwrap_or((bare, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if bare.is_empty() || bare == "." || part.len() > 6 || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(part)
}

/// Time for a person: `0.4s`, `3s`, `1m38s`, `2h05m`, `3d04h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `500ms`, `30s`, `2m`, `1h30m`, `2d`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration such as 500ms, 30s, 2m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let factor = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        total += Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())?;
        rest = next;
    }
    if total.is_zero() {
        Err(format!("'{text}' is no time at all"))
    } else {
        Ok(total)
    }
}

/// Age in one unit: `14s`, `2m`, `1h`, `9d`.
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes in binary units: `812 B`, `13.3 KiB`.
pub fn bytes(count: u64) -> String {
    let text = scaled(count, &[(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB")]);
    if count < 1024 { format!("{text} B") } else { text }
}

/// Fill of a context window: `41%`; `—` when either side is unknown.
pub fn context(used: u64, window: u64) -> String {
    if used == 0 || window == 0 {
        UNKNOWN.to_owned()
    } else {
        format!("{}%", used.saturating_mul(100) / window)
    }
}

/// The word for a session's state.
pub fn state_word(state: SessionState) -> &'static str {
    match state {
        SessionState::Ready => "ready",
        SessionState::Working => "working",
        SessionState::NeedsYou => "needs you",
        SessionState::Paused => "paused",
        SessionState::Failed => "failed",
        SessionState::Archived => "archived",
        SessionState::Deleted => "deleted",
        SessionState::Unspecified => "unknown",
    }
}

/// The word for a session's state in flags and JSON: without blanks.
pub fn state_key(state: SessionState) -> &'static str {
    match state {
        SessionState::NeedsYou => "needs-you",
        other => state_word(other),
    }
}

/// The glyph for a session's state; the second form is for terminals that only have ASCII.
pub fn state_glyph(state: SessionState, ascii: bool) -> &'static str {
    let (glyph, plain) = match state {
        SessionState::NeedsYou => ("!", "!"),
        SessionState::Working => ("●", "*"),
        SessionState::Ready => ("○", "o"),
        SessionState::Paused => ("‖", "="),
        SessionState::Failed => ("✗", "x"),
        SessionState::Archived => ("▫", "-"),
        SessionState::Deleted => ("✕", "#"),
        SessionState::Unspecified => ("?", "?"),
    };
    if ascii { plain } else { glyph }
}

/// The word for how a turn ended.
pub fn outcome_word(outcome: TurnOutcome) -> &'static str {
    match outcome {
        TurnOutcome::Done => "done",
        TurnOutcome::Interrupted => "interrupted",
        TurnOutcome::GoalNotMet => "goal_not_met",
        TurnOutcome::OverBudget => "over_budget",
        TurnOutcome::Failed => "failed",
        TurnOutcome::Denied => "denied",
        TurnOutcome::Unspecified => "unknown",
    }
}

/// A duration of the contract; zero for what is missing or negative.
pub fn from_proto(time: Option<prost_types::Duration>) -> Duration {
    time.and_then(|time| Duration::try_from(time).ok())
        .unwrap_or_default()
}

/// `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// Three significant digits in the largest unit that leaves at least 1, rounded down: `999999` stays below
/// a million.
fn scaled(count: u64, units: &[(u64, &str)]) -> String {
    let Some((unit, name)) = units.iter().find(|(unit, _)| count >= *unit) else {
        return count.to_string();
    };
    let whole = count / unit;
    let thousandths = count % unit * 1_000 / unit;
    match whole {
        0..10 => format!("{whole}.{:02}{name}", thousandths / 10),
        10..100 => format!("{whole}.{}{name}", thousandths / 100),
        _ => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_three_digits() {
        for (count, text) in [
            (0, "0"),
            (812, "812"),
            (1_000, "1.00k"),
            (13_312, "13.3k"),
            (105_000, "105k"),
            (999_999, "999k"),
            (1_204_000, "1.20M"),
        ] {
            assert_eq!(tokens(count), text);
        }
    }

    #[test]
    fn an_unknown_price_is_never_zero() {
        assert_eq!(money(None), "—");
        assert_eq!(money(Some(0)), "$0");
        assert_eq!(money(Some(9_999)), "<$0.01");
        assert_eq!(money(Some(10_000)), "$0.01");
        assert_eq!(money(Some(844_999)), "$0.84");
        assert_eq!(money(Some(12_345_678)), "$12.35");
    }

    #[test]
    fn money_is_read_as_it_is_written() {
        for (text, micro) in [
            ("$2", 2_000_000),
            ("0.01", 10_000),
            ("$ .5", 500_000),
            ("3.000001", 3_000_001),
        ] {
            assert_eq!(parse_money(text), Some(micro), "{text}");
        }
        for text in ["", "$", ".", "-1", "1.2.3", "2e3", "0.0000001", "two"] {
            assert_eq!(parse_money(text), None, "{text}");
        }
        assert_eq!(dollars_exact(Some(1_000_042)), "1.000042");
        assert_eq!(dollars_exact(None), "");
    }

    #[test]
    fn times_are_short() {
        for (millis, text) in [
            (450, "0.4s"),
            (3_000, "3s"),
            (98_000, "1m38s"),
            (7_500_000, "2h05m"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(age(Duration::from_secs(3_700)), "1h");
    }

    #[test]
    fn bytes_and_context() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(13_620), "13.3 KiB");
        assert_eq!(context(105, 258), "40%");
        assert_eq!(context(0, 258), "—");
    }
}
