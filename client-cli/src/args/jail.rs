//! Owns: the flags about what a session's jail has: limits and directories; and those of the verbs on its files.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// Bounds and directories of a new session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "A new session's limits and directories")]
pub(crate) struct JailFlags {
    /// Memory of everything in the session at once, such as 4GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    pub(crate) memory: Option<u64>,
    /// Processes and threads at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(16..), hide_short_help = true)]
    pub(crate) processes: Option<u64>,
    /// Share of the processor, 1 to 10000; 100 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10000), hide_short_help = true)]
    pub(crate) cpu_weight: Option<u32>,
    /// Largest file a command may write
    #[arg(long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    pub(crate) file_size: Option<u64>,
    /// By how much free disk space may fall while a command runs
    #[arg(long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    pub(crate) disk_growth: Option<u64>,
    /// How long all its commands may take together
    #[arg(long, value_name = "D", value_parser = crate::time::parse_duration, hide_short_help = true)]
    pub(crate) session_time: Option<Duration>,
    /// Also show this directory, read-only unless :rw (repeatable)
    #[arg(long, value_name = "PATH[:rw]", hide_short_help = true)]
    pub(crate) add_dir: Vec<String>,
}

/// A size in bytes: `4096`, `512KiB`, `1.5GiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size; write it like 512MiB or 4GiB");
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let thousandths: u64 = match part.len() {
        0 => 0,
        1..=3 => format!("{part:0<3}").parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    whole
        .checked_mul(unit)
        .and_then(|bytes| {
            bytes.checked_add(u64::try_from(u128::from(thousandths) * u128::from(unit) / 1000).ok()?)
        })
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// Verbs about a session's files.
#[derive(Debug, Subcommand)]
pub(crate) enum FilesVerb {
    /// Names in a directory
    Ls {
        /// Session
        target: String,
        /// Paths as seen in the jail [default: the workspace]
        paths: Vec<PathBuf>,
        /// At most so many names of each
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
    },
    /// A file's bytes, as they are
    Cat {
        /// Session
        target: String,
        /// Paths as seen in the jail
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write a file: whole or not at all
    Put(FilesPut),
    /// Edit a file with $EDITOR
    Edit {
        /// Session
        target: String,
        /// Path as seen in the jail
        path: PathBuf,
        /// Also a file that the host executes or agents obey
        #[arg(long)]
        protected: bool,
    },
}

/// Flags of `files put`.
#[derive(Debug, Args)]
pub(crate) struct FilesPut {
    /// Session
    pub(crate) target: String,
    /// Path as seen in the jail
    pub(crate) path: PathBuf,
    /// The new content [default, and `-`: standard input]
    pub(crate) from: Option<PathBuf>,
    /// Replace only the file of this etag (files cat -o json shows it)
    #[arg(long, value_name = "ETAG", conflicts_with = "force")]
    pub(crate) etag: Option<String>,
    /// Replace whatever is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Also a file that the host executes or agents obey
    #[arg(long)]
    pub(crate) protected: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("512KiB", 512 << 10),
            ("1.5g", 3 << 29),
            ("2 MiB", 2 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "x", "1q", "1.2345g", "-1", "0", "99999999999999999999"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
