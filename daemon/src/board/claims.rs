//! Owns: claims: who has a task, for how long, and what ending one puts back.
//! Guarantees: one holder at a time; a claim that is not renewed ends by itself and leaves the task as it was found.

use super::edit::Wish;
use super::state::{BoardState, change};
use crate::domain::id::SessionId;
use crate::domain::rejection::Rejection;
use crate::domain::task::{Claim, Field, TaskId, TaskState};

/// A wish for a claim.
pub(super) struct Wanted {
    pub(super) holder: String,
    /// As it goes into the owner's column.
    pub(super) owner: String,
    pub(super) session_id: Option<SessionId>,
    pub(super) lease_us: i64,
    pub(super) run: bool,
    pub(super) force: bool,
}

impl BoardState {
    /// The tasks that `id` waits for and that are not done.
    pub(super) fn open_waits(&self, id: &TaskId) -> Vec<String> {
        let Some(twin) = self.twins.get(id) else {
            return Vec::new();
        };
        twin.task
            .waits
            .iter()
            .filter(|other| {
                self.twins
                    .get(other)
                    .is_some_and(|other| !other.gone && other.task.fields.status != TaskState::Done)
            })
            .map(ToString::to_string)
            .collect()
    }

    /// Takes a task, or renews the claim that the same holder has.
    pub(super) fn claim(&mut self, id: &TaskId, wanted: &Wanted, now_us: i64) -> Result<(), Rejection> {
        let twin = self.twin(id.as_str())?.clone();
        let until_us = now_us.saturating_add(wanted.lease_us);
        if let Some(claim) = &twin.claim
            && claim.until_us > now_us
        {
            let same = claim.holder == wanted.holder
                || (wanted.session_id.is_some() && claim.session_id == wanted.session_id);
            if !same {
                return Err(Rejection::TaskClaimed {
                    task: id.to_string(),
                    holder: claim.holder.clone(),
                });
            }
            let mut renewed = twin.clone();
            if let Some(claim) = &mut renewed.claim {
                claim.until_us = until_us;
                claim.lease_us = wanted.lease_us;
                claim.run |= wanted.run;
            }
            // A heartbeat is no history.
            self.put(id.clone(), renewed, None);
            return Ok(());
        }
        if twin.task.fields.status == TaskState::Done && !wanted.force {
            return Err(Rejection::WrongState(format!("task {id} is done already")));
        }
        let waits = self.open_waits(id);
        if !waits.is_empty() && !wanted.force {
            return Err(Rejection::TaskWaits {
                task: id.to_string(),
                waits,
            });
        }
        let before = twin.task.fields.clone();
        let mut wish = Wish::default();
        if before.status != TaskState::InProgress {
            wish.set
                .push((Field::Status, TaskState::InProgress.title().to_owned()));
        }
        self.edit(id, wish, None, &wanted.holder, now_us)?;
        let mut owner_set = false;
        if before.owner.is_empty() {
            let wish = Wish {
                set: vec![(Field::Owner, wanted.owner.clone())],
                ..Wish::default()
            };
            // A table without that column still has claims: the store knows who.
            owner_set = self.edit(id, wish, None, &wanted.holder, now_us).is_ok();
        }
        let mut twin = self.twin(id.as_str())?.clone();
        twin.claim = Some(Claim {
            holder: wanted.holder.clone(),
            session_id: wanted.session_id.clone(),
            since_us: now_us,
            until_us,
            lease_us: wanted.lease_us,
            run: wanted.run,
            before: before.status,
            owner_before: if owner_set { String::new() } else { before.owner },
        });
        self.put(
            id.clone(),
            twin,
            Some(change(now_us, &wanted.holder, "claimed", Vec::new(), "")),
        );
        Ok(())
    }

    /// Ends a claim. `back`: the task goes where it was before, where nobody moved it meanwhile.
    pub(super) fn release(
        &mut self,
        id: &TaskId,
        by: &str,
        why: &str,
        back: bool,
        now_us: i64,
    ) -> Result<(), Rejection> {
        let mut twin = self.twin(id.as_str())?.clone();
        let Some(claim) = twin.claim.take() else {
            return Ok(());
        };
        let fields = twin.task.fields.clone();
        self.put(
            id.clone(),
            twin,
            Some(change(now_us, by, "released", Vec::new(), why)),
        );
        if !back {
            return Ok(());
        }
        let mut wish = Wish::default();
        if fields.status == TaskState::InProgress && claim.before != TaskState::InProgress {
            wish.set.push((Field::Status, claim.before.title().to_owned()));
        }
        if fields.owner != claim.owner_before {
            wish.set.push((Field::Owner, claim.owner_before.clone()));
        }
        if wish.set.is_empty() {
            return Ok(());
        }
        self.edit(id, wish, None, by, now_us).map(|_| ())
    }

    /// Ends the claims that nobody renewed. True when there were any.
    pub(super) fn expire(&mut self, now_us: i64) -> bool {
        let over: Vec<TaskId> = self
            .twins
            .values()
            .filter(|twin| twin.claim.as_ref().is_some_and(|claim| claim.until_us <= now_us))
            .map(|twin| twin.task.task_id.clone())
            .collect();
        for id in &over {
            // The claim is gone in any case; a file that can't be written now keeps the words it has.
            if let Err(no) = self.release(id, "agentd", "its lease ran out", true, now_us) {
                tracing::info!(%no, task = %id, "board: a claim ended, its file stays as it is");
            }
        }
        !over.is_empty()
    }

    /// When the next claim ends unless renewed.
    pub(super) fn has_claims(&self) -> bool {
        self.twins.values().any(|twin| twin.claim.is_some())
    }
}
