//! Owns: small things at the end of a run: its last words, a run that never began, an empty spool, the last ends.
//! Guarantees: nothing here fails; what can't be read is empty; an end is known here only once it is in the log.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Execs;
use crate::domain::event::ExecResult;
use crate::domain::id::ExecId;
use crate::session::Fault;
use crate::shell::ShellError;

/// Ends that are remembered: of those that somebody still waits for.
const MOST: usize = 64;

/// The last ends, for whoever waits for one: the log need not be read for it.
#[derive(Default)]
pub(super) struct Ends(Mutex<VecDeque<(ExecId, ExecResult)>>);

/// Ends that a full disk holds up: whoever waits for one is told so instead of waiting along.
#[derive(Default)]
pub(super) struct Held(Mutex<Vec<ExecId>>);

impl Held {
    pub(super) fn add(&self, exec_id: &ExecId) {
        self.lock().push(exec_id.clone());
    }

    pub(super) fn remove(&self, exec_id: &ExecId) {
        self.lock().retain(|id| id != exec_id);
    }

    pub(super) fn has(&self, exec_id: &ExecId) -> bool {
        self.lock().contains(exec_id)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ExecId>> {
        // A list is whole after any panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// An end that was committed.
    pub(super) fn note(&self, exec_id: &ExecId, result: &ExecResult) {
        let mut last = self.lock();
        if last.len() >= MOST {
            last.pop_front();
        }
        last.push_back((exec_id.clone(), result.clone()));
    }

    pub(super) fn of(&self, exec_id: &ExecId) -> Option<ExecResult> {
        let last = self.lock();
        let found = last.iter().rev().find(|(id, _)| id == exec_id);
        found.map(|(_, result)| result.clone())
    }

    /// What they say may no longer be what the log says.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(ExecId, ExecResult)>> {
        // A list is whole after any panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execs {
    /// How a run ended, where that was committed not long ago.
    pub(in crate::session) fn end_of(&self, exec_id: &ExecId) -> Option<ExecResult> {
        self.ends.of(exec_id)
    }

    /// The log says other words now.
    pub(in crate::session) fn forget_ends(&self) {
        self.ends.forget();
    }

    /// True while a full disk keeps a command's end out of the log.
    pub(in crate::session) fn is_held(&self, exec_id: &ExecId) -> bool {
        self.held.has(exec_id)
    }

    /// What keeps an end out of the log: those who wait look again.
    pub(super) fn hold(&self, exec_id: &ExecId, fault: &Fault) {
        if matches!(fault, Fault::Full(_)) && !self.held.has(exec_id) {
            self.held.add(exec_id);
            self.feed.output();
        }
    }
}

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
    if empty && let Err(error) = crate::shell::spool::hand_on(file) {
        tracing::debug!(%error, file = %file.display(), "an empty output file stays");
    }
}
