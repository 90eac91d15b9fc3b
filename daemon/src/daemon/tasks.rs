//! Owns: telling the boards how the sessions of their tasks go on.
//! Guarantees: a session at work keeps its claims; a background run that ended while nobody looked is handed on at
//! the next start.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::board::Boards;
use crate::domain::id::SessionId;
use crate::domain::session::{State, Summary};
use crate::supervisor::{RowChange, Supervisor};

/// Claims of sessions at work are renewed this often where nothing else happens; leases are longer.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// News of a busy daemon is read so often at most: people look at a board, nobody waits for it.
const PAUSE: Duration = Duration::from_millis(100);

/// Follows the sessions' rows until the token is thrown.
pub(super) async fn follow(supervisor: Supervisor, boards: Boards, stop: CancellationToken) {
    let mut bell = supervisor.listen();
    let mut rev = 0;
    // Sessions that work on a task right now. From the first row on, so that what ended while no daemon ran is seen too.
    let mut working: HashMap<SessionId, Summary> = HashMap::new();
    loop {
        bell.borrow_and_update();
        loop {
            match supervisor.changed_since(rev).await {
                Ok((rows, newest)) => {
                    let last = rows.is_empty();
                    rev = newest;
                    for change in rows {
                        match change {
                            RowChange::Row(row) => {
                                tell(&boards, &row).await;
                                note(&mut working, *row);
                            }
                            // It left its claims when it was deleted.
                            RowChange::Purged(id) => {
                                working.remove(&id);
                            }
                        }
                    }
                    if last {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "tasks: the sessions could not be read");
                    break;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            rung = bell.changed() => if rung.is_err() { return },
            () = tokio::time::sleep(HEARTBEAT), if !working.is_empty() => {
                for row in working.values() {
                    tell(&boards, row).await;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn note(working: &mut HashMap<SessionId, Summary>, row: Summary) {
    if row.task.is_some() && matches!(row.state, State::Working | State::NeedsYou) {
        working.insert(row.session_id.clone(), row);
    } else {
        working.remove(&row.session_id);
    }
}

async fn tell(boards: &Boards, row: &Summary) {
    if let Err(error) = boards.session_changed(row).await {
        tracing::warn!(%error, session = %row.session_id, "tasks: the board could not be told");
    }
}
