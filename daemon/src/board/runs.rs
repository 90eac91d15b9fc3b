//! Owns: what becomes of a task while a session works on it, and when a background run ends.
//! Guarantees: a run that ended, also while nobody looked, is handed on exactly once.

use std::path::Path;

use super::boards::Boards;
use super::edit::Wish;
use super::view::Refusal;
use crate::clock::now_us;
use crate::domain::event::{EventBody, TurnOutcome};
use crate::domain::session::{State, Summary};
use crate::domain::task::{Field, TaskId, TaskState};
use crate::store::Twin;

impl Boards {
    /// A session went on: its claims live on with it; a background run that came to its end is handed on.
    pub async fn session_changed(&self, summary: &Summary) -> Result<(), Refusal> {
        if summary.task.is_none() {
            return Ok(());
        }
        let workspace = summary.spec.workspace.root.clone();
        let session = summary.session_id.clone();
        let works = matches!(summary.state, State::Working | State::NeedsYou);
        let held = self
            .with(&workspace, move |state| {
                let now = now_us();
                let own: Vec<Twin> = state
                    .twins
                    .values()
                    .filter(|twin| {
                        !twin.gone
                            && twin
                                .claim
                                .as_ref()
                                .is_some_and(|c| c.session_id.as_ref() == Some(&session))
                    })
                    .cloned()
                    .collect();
                for mut twin in own.clone() {
                    if let Some(claim) = &mut twin.claim
                        // A heartbeat is written at most four times a lease.
                        && claim.until_us.saturating_sub(now) < claim.lease_us.saturating_mul(3) / 4
                    {
                        claim.until_us = now.saturating_add(claim.lease_us);
                        state.put(twin.task.task_id.clone(), twin, None);
                    }
                }
                Ok(own)
            })
            .await?;
        let run = held
            .iter()
            .find(|twin| twin.claim.as_ref().is_some_and(|claim| claim.run));
        if let (Some(twin), false) = (run, works)
            && let Some(outcome) = self.outcome(summary, twin).await?
        {
            self.hand_on(&workspace, &twin.task.task_id, summary, &outcome)
                .await?;
        }
        Ok(())
    }

    /// How the session's last turn ended, when that was after the claim was taken.
    async fn outcome(&self, summary: &Summary, twin: &Twin) -> Result<Option<TurnOutcome>, Refusal> {
        let since = twin.claim.as_ref().map_or(0, |claim| claim.since_us);
        let last = self
            .0
            .store
            .events_before(&summary.session_id, u64::MAX, 20)
            .await?;
        Ok(last.into_iter().rev().find_map(|event| match event.body {
            EventBody::TurnFinished { outcome, .. } if event.time_us >= since => Some(outcome),
            _ => None,
        }))
    }

    async fn hand_on(
        &self,
        workspace: &Path,
        id: &TaskId,
        summary: &Summary,
        outcome: &TurnOutcome,
    ) -> Result<(), Refusal> {
        let (id, by) = (id.clone(), summary.name.clone());
        let (to, why) = match outcome {
            TurnOutcome::Done => (Some(TaskState::Review), "worked on in the background".to_owned()),
            TurnOutcome::Interrupted { reason } => (None, format!("interrupted: {reason}")),
            TurnOutcome::GoalNotMet => (Some(TaskState::Blocked), "the goal was not met".to_owned()),
            TurnOutcome::OverBudget { reason, .. } => {
                (Some(TaskState::Blocked), format!("over budget: {reason}"))
            }
            TurnOutcome::Failed { message, .. } => (Some(TaskState::Blocked), format!("failed: {message}")),
            TurnOutcome::Denied { reason } => (Some(TaskState::Blocked), format!("denied: {reason}")),
        };
        self.with(workspace, move |state| {
            let now = now_us();
            state.sync(now);
            let status = state.twin(id.as_str())?.task.fields.status;
            match to {
                // The agent itself may have moved it: its word stands.
                Some(to) if status == TaskState::InProgress => {
                    let mut wish = Wish {
                        set: vec![(Field::Status, to.title().to_owned())],
                        ..Wish::default()
                    };
                    if to == TaskState::Blocked {
                        wish.note = Some(crate::domain::session::clip(&why, 200));
                    }
                    if state.edit(&id, wish.clone(), None, &by, now).is_err() {
                        // No room for notes: the state is what counts, the history has the words.
                        wish.note = None;
                        state.edit(&id, wish, None, &by, now)?;
                    }
                    state.release(&id, &by, &why, false, now)
                }
                Some(_) => state.release(&id, &by, &why, false, now),
                None => state.release(&id, &by, &why, true, now),
            }
        })
        .await
    }
}
