//! Owns: the words of sessions whose log keeps none, for as long as this process lives.
//! Guarantees: in memory only; of one session at most so many bytes, the oldest go first; who reads the log here
//! reads them, as if they were in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::event::{Event, EventBody};
use crate::domain::id::{Seq, SessionId};

/// Events of one session that are remembered at most.
const MOST: usize = 20_000;

/// The words. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Unkept(Arc<Mutex<HashMap<SessionId, BTreeMap<Seq, EventBody>>>>);

impl Unkept {
    /// Remembers where `spoken` says more than `kept`.
    pub(super) fn remember(&self, kept: &[Event], spoken: &[Event]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (kept, spoken) in kept.iter().zip(spoken) {
            if kept.body == spoken.body {
                continue;
            }
            let words = all.entry(spoken.session_id.clone()).or_default();
            words.insert(spoken.seq, spoken.body.clone());
            if words.len() > MOST {
                words.pop_first();
            }
        }
    }

    /// Puts the words back into what was read from the log.
    pub(super) fn speak(&self, session_id: &SessionId, events: &mut [Event]) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(words) = all.get(session_id) else { return };
        for event in events {
            if let Some(body) = words.get(&event.seq) {
                event.body.clone_from(body);
            }
        }
    }

    /// What a fact says beyond what the log has of it.
    pub(super) fn said(&self, session_id: &SessionId, seq: Seq) -> Option<EventBody> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(session_id)?.get(&seq).cloned()
    }

    /// Which facts of a session say more than the log has of them.
    pub(super) fn seqs(&self, session_id: &SessionId) -> Vec<Seq> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(session_id)
            .map(|words| words.keys().copied().collect())
            .unwrap_or_default()
    }

    /// Forgets the words of a session.
    pub(super) fn forget(&self, session_id: &SessionId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(session_id);
    }
}
