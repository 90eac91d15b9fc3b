//! Owns: small things at the end of a run: its last words, a run that never began, an empty spool.
//! Guarantees: nothing here fails; what can't be read is empty.

use std::path::{Path, PathBuf};

use crate::domain::event::ExecResult;
use crate::shell::ShellError;

/// Bytes of a stream's end that are looked at.
const END: u64 = 4096;

/// The end of an output file, as text.
pub(super) fn spool_end(file: &Path) -> String {
    use std::os::unix::fs::FileExt as _;
    let Ok(file) = std::fs::File::open(file) else {
        return String::new();
    };
    let len = file.metadata().map_or(0, |m| m.len());
    let mut end = vec![0; usize::try_from(len.min(END)).unwrap_or_default()];
    match file.read_exact_at(&mut end, len.saturating_sub(END)) {
        Ok(()) => String::from_utf8_lossy(&end).into_owned(),
        Err(_) => String::new(),
    }
}

pub(super) fn failed(error: &ShellError) -> ExecResult {
    ExecResult {
        exit_code: 125,
        message: error.to_string(),
        ..ExecResult::default()
    }
}

/// Thousands of commands without output would leave thousands of empty files.
pub(super) fn remove_if_empty(file: &Path) {
    let empty = std::fs::metadata(file).is_ok_and(|m| m.len() == 0);
    if empty {
        let gone: PathBuf = file.to_owned();
        if let Err(error) = std::fs::remove_file(&gone) {
            tracing::debug!(%error, file = %gone.display(), "an empty output file stays");
        }
    }
}
