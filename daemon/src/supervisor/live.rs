//! Owns: which sessions have an actor, and when one that is at rest goes out of memory.
//! Guarantees: one actor per session: the next one is started after the last has ended; what works, waits for somebody or
//! is watched stays; of what rests, a bounded number.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::domain::id::SessionId;
use crate::session::SessionHandle;

/// Sessions at rest that stay in memory; from twice as many on the longest unused go. Each costs about 45 KB, and bringing
/// one back a few milliseconds.
const AT_REST: usize = 100;

/// A session, or one that is being brought back. That holds up only those who want this one.
pub(super) type Cell = Arc<OnceCell<SessionHandle>>;

/// The live sessions.
#[derive(Default)]
pub(super) struct Live {
    cells: HashMap<SessionId, (Cell, u64)>,
    uses: u64,
    /// From how many on it is looked whether some can go.
    full: Option<usize>,
}

impl Live {
    /// The cell of a session, empty where it has no actor.
    pub(super) async fn cell(&mut self, id: &SessionId) -> Cell {
        self.uses = self.uses.wrapping_add(1);
        if let Some((cell, used)) = self.cells.get_mut(id) {
            *used = self.uses;
            return cell.clone();
        }
        if self.cells.len() >= self.full.unwrap_or(2 * AT_REST) {
            self.make_room().await;
            self.full = Some(self.cells.len() + AT_REST);
        }
        let cell = Cell::default();
        self.cells.insert(id.clone(), (cell.clone(), self.uses));
        cell
    }

    /// It is no session any more.
    pub(super) fn remove(&mut self, id: &SessionId) {
        self.cells.remove(id);
    }

    /// The actor of a session, where it has one.
    pub(super) fn handle(&mut self, id: &SessionId) -> Option<SessionHandle> {
        let (cell, used) = self.cells.get_mut(id)?;
        self.uses = self.uses.wrapping_add(1);
        *used = self.uses;
        cell.get().cloned()
    }

    /// Those that have an actor.
    pub(super) fn handles(&self) -> Vec<SessionHandle> {
        let cells = self.cells.values();
        cells.filter_map(|(cell, _)| cell.get().cloned()).collect()
    }

    /// Lets sessions at rest go, longest unused first, until there are only so many.
    async fn make_room(&mut self) {
        let mut by_use: Vec<(u64, SessionId)> = self
            .cells
            .iter()
            // Nobody waits for it to be brought back, and nobody can take it while we are asked for another.
            .filter(|(_, (cell, _))| {
                Arc::strong_count(cell) == 1 && cell.get().is_some_and(SessionHandle::is_at_rest)
            })
            .map(|(id, (_, used))| (*used, id.clone()))
            .collect();
        by_use.sort_unstable();
        let many = by_use.len().saturating_sub(AT_REST);
        for (_, id) in by_use.into_iter().take(many) {
            let Some(handle) = self.cells.get(&id).and_then(|(cell, _)| cell.get().cloned()) else {
                continue;
            };
            if handle.leave().await {
                self.cells.remove(&id);
            }
        }
    }
}
