//! Owns: what the persona and the grants in force mean to the actor: a turn's options, the rules that count, and the end of
//! questions nobody answers; and what becomes of committed facts beside the fold.
//! Guarantees: a question with an end gets it, also after a restart; a chosen policy is the wall of the next command.

use super::State;
use crate::clock::now_us;
use crate::domain::approval::{Approval, Verdict};
use crate::domain::event::{Event, EventBody, TurnOptions};
use crate::domain::policy::Rule;
use crate::domain::session::Session;

impl State {
    /// What was asked of the turn, within what the persona allows.
    pub(super) fn options(&self, asked: TurnOptions) -> TurnOptions {
        let own = self.session.persona.turn_budget_micro_usd;
        let budget = [asked.budget_micro_usd, own].into_iter().flatten().min();
        TurnOptions {
            budget_micro_usd: budget,
            ..asked
        }
    }

    /// Denies a question when its time is over, wherever it came from.
    pub(super) fn expire_later(&self, approval: &Approval) {
        let (Some(expires), Some(actor)) = (approval.expires_us, self.actor()) else {
            return;
        };
        let wait = u64::try_from(expires.saturating_sub(now_us())).unwrap_or(0);
        let approval_id = approval.approval_id.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_micros(wait)).await;
            actor.expire(approval_id).await;
        });
    }

    /// What was granted to the session, then what was granted to its project and still counts.
    pub(super) fn grants(&self) -> Vec<Rule> {
        let spec = &self.session.spec;
        let mut rules = self.session.grants.clone();
        rules.extend(
            self.settings
                .grants
                .rules(&spec.principal, &spec.workspace.root, now_us()),
        );
        rules
    }

    /// What committed facts mean outside of the fold.
    pub(super) async fn follow_up(&self, draft: &Session, events: &[Event]) {
        for event in events {
            match &event.body {
                EventBody::ExecFinished { exec_id, result } => self.execs.end_committed(exec_id, result),
                EventBody::ApprovalResolved {
                    verdict: Verdict::ApprovedProject,
                    ..
                } => {
                    // The answer stands. What is not at hand is asked about again, which is the safe side.
                    if let Err(error) = self.settings.grants.load(&self.store).await {
                        tracing::error!(%error, "what was granted to projects can't be read");
                    }
                }
                EventBody::PersonaChosen { persona, generation } => {
                    self.execs.choose_wall(persona, *generation);
                }
                EventBody::ApprovalRequested { approval } => {
                    self.settings.hooks.needs_you(draft, approval);
                    self.expire_later(approval);
                }
                _ => {}
            }
        }
    }
}
