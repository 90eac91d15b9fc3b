//! Owns: a command's waiting for input as part of what a session is doing.
//! Guarantees: not a fact in the log, but written into the session's row before it is shown, so that lists find it; gone
//! with the command; a person's own shell that stands at its prompt is no work and asks for nobody.

use super::State;
use crate::domain::session::{InputWait, Session, Summary};

impl State {
    /// The session with the command that waits, if there is one; of several the last.
    pub(super) fn summary_of(&self, session: &Session) -> Summary {
        let mut resting = 0;
        let mut waiting: Option<InputWait> = None;
        for (exec_id, wait) in &self.waiting {
            let Some(open) = session.execs.get(exec_id) else {
                continue;
            };
            if open.is_shell() {
                resting += 1;
            } else if waiting
                .as_ref()
                .is_none_or(|other| other.since_us <= wait.since_us)
            {
                waiting = Some(InputWait {
                    pty: open.pty,
                    call_id: open.call_id.clone(),
                    ..wait.clone()
                });
            }
        }
        session.summary_beside(resting).with_waiting(waiting)
    }

    /// A command waits, or does so no longer.
    pub(super) async fn restate(&mut self) {
        self.waiting = self.waits.borrow_and_update().clone();
        let summary = self.summary_of(&self.session);
        if let Err(error) = self.store.restate(summary.clone()).await {
            // Those who follow are told all the same; the list is right again with the next fact.
            tracing::warn!(%error, session = %summary.session_id, "the row of a session could not be written");
        }
        self.published.send_replace(summary);
    }
}
