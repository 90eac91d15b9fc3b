//! Owns: the names of the files of one run in the exchange directory (`/run/j` inside).
//! Guarantees: both ends derive them from the run's id alone; an id that could leave the directory is refused.

use std::path::{Path, PathBuf};

/// The end reports of every run: a FIFO that jinit keeps open.
pub const REPORT: &str = "d";
/// The script: the user's text, byte for byte.
pub const SCRIPT: &str = "s";
/// What is sourced instead of the script when a run brings its own directory or environment.
pub const BEFORE: &str = "w";
/// Sourced after the report: puts back what [`BEFORE`] changed.
pub const AFTER: &str = "z";
/// `return N`: re-establishes `$?` of the previous command.
pub const STATUS: &str = "q";
/// FIFO: standard output.
pub const OUT: &str = "o";
/// FIFO: standard error.
pub const ERR: &str = "e";
/// FIFO: standard input, when somebody may type.
pub const INPUT: &str = "i";
/// Restores a shell's state from a snapshot.
pub const RESTORE: &str = "r";

/// The run that asks the shell for its state: never a user's name, which begin with `x-`.
pub const SNAPSHOT: &str = "snapshot";

/// In the place of a snapshot: what a shell without one runs first, in the environment it is born with.
pub const INIT: &str = "init";

/// Every name a run may leave behind.
pub const ALL: [&str; 8] = [SCRIPT, BEFORE, AFTER, STATUS, OUT, ERR, INPUT, RESTORE];

/// Whether `id` may become a file name and a word in a shell line.
pub fn is_safe(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The path of one file of a run.
pub fn of(dir: &Path, id: &str, part: &str) -> PathBuf {
    dir.join(format!("{id}.{part}"))
}
