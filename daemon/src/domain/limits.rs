//! Owns: bounds on what runs in a Session, as its maker asks for them and as they are kept.
//! Guarantees: pure; one place that turns a value into words for people.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bounds asked for by a Session's maker; what is `None` is as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsWish {
    /// Bytes of memory of everything that runs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Share of the processor, 1 to 10000; 100 is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Bytes in one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Bytes by which free space may fall during a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_growth: Option<u64>,
    /// Milliseconds that all commands may take together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_time_ms: Option<u64>,
}

impl LimitsWish {
    /// True when nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A directory beside the Workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedDir {
    /// Canonical host path; the same inside.
    pub path: PathBuf,
    /// Commands may write there.
    pub writable: bool,
}

/// Who keeps a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody.
    Nobody,
    /// The kernel: nothing gets past it.
    Kernel,
    /// Whoever looks several times a second.
    Watch,
}

/// What a bound's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Milliseconds.
    Millis,
}

/// A bound and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Stable word, such as `memory`.
    pub name: &'static str,
    /// The number; `None`: no bound.
    pub value: Option<u64>,
    /// What it counts.
    pub unit: Unit,
    /// Who keeps it.
    pub keeper: Keeper,
    /// How, or why not.
    pub note: String,
}

impl Limit {
    /// The value for people.
    pub fn text(&self) -> String {
        match self.value {
            None => "none".to_owned(),
            Some(value) => match self.unit {
                Unit::Bytes => bytes(value),
                Unit::Count => value.to_string(),
                Unit::Millis => millis(value),
            },
        }
    }
}

/// `4 GiB`, `1.5 MiB`, `12 bytes`.
pub fn bytes(value: u64) -> String {
    for (name, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        let unit = 1_u64 << shift;
        if value >= unit {
            let tenths = u128::from(value) * 10 / u128::from(unit);
            let (whole, rest) = (tenths / 10, tenths % 10);
            return if rest == 0 {
                format!("{whole} {name}")
            } else {
                format!("{whole}.{rest} {name}")
            };
        }
    }
    format!("{value} bytes")
}

/// `2h05m`, `1m38s`, `3s`, `250ms`.
pub fn millis(value: u64) -> String {
    let seconds = value / 1000;
    match seconds {
        0 => format!("{value}ms"),
        1..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        let cases = [
            (12, "12 bytes"),
            (1024, "1 KiB"),
            (1536 * 1024, "1.5 MiB"),
            (4 << 30, "4 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in [
            (250, "250ms"),
            (3000, "3s"),
            (98_000, "1m38s"),
            (7_500_000, "2h05m"),
        ] {
            assert_eq!(millis(value), text);
        }
    }

    #[test]
    fn a_wish_of_before_reads_as_none() {
        assert!(serde_json::from_str::<LimitsWish>("{}").unwrap().is_empty());
    }
}
