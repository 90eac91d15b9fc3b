//! Owns: what a turn is told of its session.
//! Guarantees: a copy of the moment; the history is shared, not copied.

use super::State;
use crate::domain::id::TurnId;
use crate::session::mailbox::{Heard, TurnView};

impl State {
    /// The session as the open turn needs to know it; `None` when another turn is open, or none.
    pub(super) fn view(&self, turn_id: &TurnId) -> Option<TurnView> {
        let turn = self
            .session
            .turn
            .as_ref()
            .filter(|turn| &turn.turn_id == turn_id)?;
        Some(TurnView {
            session_id: self.session.session_id.clone(),
            spec: self.session.spec.clone(),
            history: self.history.clone(),
            calls: turn.calls.clone(),
            steps: turn.steps,
            options: self.options(turn.options.clone()),
            grants: self.grants(),
            persona: self.session.persona.clone(),
            totals: turn.totals.clone(),
            started_us: turn.started_us,
            asker: turn.asker.clone(),
            task: self.session.task.clone(),
            context_tokens: self.session.spent.context_tokens,
            heard: Heard {
                instructed: self.session.heard.instructed.clone(),
                oriented: self.session.heard.oriented,
                wanted: self.session.heard.wanted.clone(),
                fresh_bytes: self.session.heard.fresh_bytes,
            },
            plan: self.session.plan.clone(),
            titled: self.session.titled,
        })
    }
}
