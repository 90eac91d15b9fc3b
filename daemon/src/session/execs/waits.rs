//! Owns: which run of a session waits for input, with the last line it wrote.
//! Guarantees: known only as long as it is so; the line is clean, short and free of secrets, and read when the run begins to
//! wait, never for each piece of output.

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

/// Looks at one run.
pub(super) struct Waiter {
    exec_id: ExecId,
    output: ExecOutput,
    store: Store,
    waits: watch::Sender<Option<InputWait>>,
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

    /// The run that waits for input. What the log knows of it is left open: its terminal and its call.
    pub(in crate::session) fn waits(&self) -> watch::Receiver<Option<InputWait>> {
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
            self.waits.send_if_modified(|now| {
                let mine = now.as_ref().is_some_and(|wait| wait.exec_id == self.exec_id);
                if mine {
                    *now = None;
                }
                mine
            });
            return;
        };
        let (kind, total) = match words {
            LastWords::Stdout => (OutputKind::Stdout, progress.stdout_bytes),
            LastWords::Stderr => (OutputKind::Stderr, progress.stderr_bytes),
        };
        let (_, tail) = self.output.read(kind, total.saturating_sub(TAIL), TAIL).await;
        let line = last_line(&tail);
        self.waits.send_replace(Some(InputWait {
            exec_id: self.exec_id.clone(),
            line: self.store.redactor().redact(&line).into_owned(),
            pty: false,
            since_us: now_us(),
            call_id: None,
        }));
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
