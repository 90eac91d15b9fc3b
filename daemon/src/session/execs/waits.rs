//! Owns: which runs of a session wait for input, with the last line each wrote.
//! Guarantees: known only as long as it is so; the line is clean, short and free of secrets, and read when the run begins to
//! wait, never for each piece of output.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::{ExecOutput, Execs, OutputKind};
use crate::clock::now_us;
use crate::domain::id::ExecId;
use crate::domain::session::{InputWait, clip};
use crate::shell::{LastWords, Progress};
use crate::store::Store;
use crate::tools;

/// Bytes from the end of a stream in which its last line is looked for.
const TAIL: u64 = 4096;
/// Longest line, characters.
const MAX_LINE: usize = 200;

/// The runs that wait for input; a terminal's own shell among them while it stands at its prompt.
pub(in crate::session) type Waits = BTreeMap<ExecId, InputWait>;

/// Looks at one run.
pub(super) struct Waiter {
    exec_id: ExecId,
    output: ExecOutput,
    store: Store,
    waits: watch::Sender<Waits>,
    before: Option<LastWords>,
}

impl Execs {
    pub(super) fn waiter(&self, exec_id: &ExecId) -> Waiter {
        Waiter {
            exec_id: exec_id.clone(),
            output: self.output(exec_id),
            store: self.store.clone(),
            waits: self.waits.clone(),
            before: None,
        }
    }

    /// Those that wait. What the log knows of them is left open: their terminals and calls.
    pub(in crate::session) fn waits(&self) -> watch::Receiver<Waits> {
        self.waits.subscribe()
    }
}

impl Waiter {
    /// Tells when the run began or ceased to wait.
    pub(super) async fn look(&mut self, progress: Progress) {
        let words = progress.waits;
        if std::mem::replace(&mut self.before, words) == words {
            return;
        }
        let Some(words) = words else {
            self.waits
                .send_if_modified(|now| now.remove(&self.exec_id).is_some());
            return;
        };
        let (kind, total) = match words {
            LastWords::Stdout => (OutputKind::Stdout, progress.stdout_bytes),
            LastWords::Stderr => (OutputKind::Stderr, progress.stderr_bytes),
        };
        let (_, tail) = self.output.read(kind, total.saturating_sub(TAIL), TAIL).await;
        let line = last_line(&tail);
        let wait = InputWait {
            exec_id: self.exec_id.clone(),
            line: self.store.redactor().redact(&line).into_owned(),
            pty: false,
            since_us: now_us(),
            call_id: None,
        };
        self.waits.send_modify(|now| {
            now.insert(self.exec_id.clone(), wait);
        });
    }
}

/// The last line that says anything.
fn last_line(tail: &[u8]) -> String {
    let text = tools::clean(tail);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    clip(line.unwrap_or_default(), MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_found_clean() {
        assert_eq!(last_line(b"Installing\nOverwrite? [y/N] "), "Overwrite? [y/N]");
        assert_eq!(last_line(b"a\r\n\x1b[1mPassword:\x1b[0m "), "Password:");
        assert_eq!(last_line(b"50%\r100%\r\nname\n\n"), "name");
        assert_eq!(last_line(b""), "");
        assert_eq!(
            last_line("\u{e9}".repeat(300).as_bytes()).chars().count(),
            MAX_LINE + 1
        );
    }
}
