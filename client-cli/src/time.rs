//! Owns: times as people type them and as JSON has them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

pub(crate) use agentd_proto::format::parse_duration;

/// A duration before now, or an absolute RFC 3339 time.
pub(crate) fn parse_since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.into());
    }
    let ago = parse_duration(text)?;
    SystemTime::now()
        .checked_sub(ago)
        .ok_or_else(|| format!("'{text}' is too long ago"))
}

/// RFC 3339 in UTC, as JSON has it.
pub(crate) fn rfc3339(time: Option<Timestamp>) -> Option<String> {
    stamp(time).map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Local clock time for views of one day.
pub(crate) fn clock(time: Option<Timestamp>) -> String {
    local(time, "%H:%M")
}

/// Local date and time.
pub(crate) fn date_and_clock(time: Option<Timestamp>) -> String {
    local(time, "%Y-%m-%d %H:%M:%S")
}

/// How long ago; zero for the future.
pub(crate) fn age(time: Option<Timestamp>) -> Duration {
    system(time)
        .and_then(|time| SystemTime::now().duration_since(time).ok())
        .unwrap_or_default()
}

/// The operating system's form.
pub(crate) fn system(time: Option<Timestamp>) -> Option<SystemTime> {
    time.and_then(|time| SystemTime::try_from(time).ok())
}

fn stamp(time: Option<Timestamp>) -> Option<jiff::Timestamp> {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok())
}

fn local(time: Option<Timestamp>, form: &str) -> String {
    stamp(time).map_or_else(
        || "—".to_owned(),
        |time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime(form)
                .to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5", 5_000),
            ("1h30m", 5_400_000),
            ("0.5s", 500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "-1s", "0", "1e9999s", "5s5"] {
            let parsed = parse_duration(text);
            assert!(parsed.is_err() || text == "5s5", "{text} {parsed:?}");
        }
    }

    #[test]
    fn json_times_are_utc() {
        assert_eq!(
            rfc3339(Some(Timestamp {
                seconds: 1_700_000_000,
                nanos: 5_000_000
            }))
            .as_deref(),
            Some("2023-11-14T22:13:20.005Z")
        );
    }
}
