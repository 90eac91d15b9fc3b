//! Owns: telling the boards how the sessions of their tasks go on.
//! Guarantees: a session at work keeps its claims; a background run that ended while nobody looked is handed on at
//! the next start.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::board::Boards;
use crate::domain::session::{State, Summary};
use crate::supervisor::{RowChange, SessionFilter, Supervisor};

/// Claims of sessions at work are renewed this often where nothing else happens; leases are longer.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Follows the sessions' rows until the token is thrown.
pub(super) async fn follow(supervisor: Supervisor, boards: Boards, stop: CancellationToken) {
    let mut bell = supervisor.listen();
    let mut rev = 0;
    loop {
        bell.borrow_and_update();
        // From the first row on: what ended while no daemon ran is seen here too.
        loop {
            match supervisor.changed_since(rev).await {
                Ok((rows, newest)) => {
                    let last = rows.is_empty();
                    rev = newest;
                    for change in rows {
                        // A purged session left its claims when it was deleted.
                        if let RowChange::Row(row) = change {
                            tell(&boards, &row).await;
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
        let working = at_work(&supervisor).await;
        tokio::select! {
            () = stop.cancelled() => return,
            rung = bell.changed() => if rung.is_err() { return },
            () = tokio::time::sleep(HEARTBEAT), if !working.is_empty() => {
                for row in working {
                    tell(&boards, &row).await;
                }
            }
        }
    }
}

async fn tell(boards: &Boards, row: &Summary) {
    if let Err(error) = boards.session_changed(row).await {
        tracing::warn!(%error, session = %row.session_id, "tasks: the board could not be told");
    }
}

/// Sessions that work on a task right now.
async fn at_work(supervisor: &Supervisor) -> Vec<Summary> {
    let filter = SessionFilter {
        states: vec![State::Working, State::NeedsYou],
        limit: 1000,
        ..SessionFilter::default()
    };
    let mut rows = supervisor.list(filter).await.unwrap_or_default();
    rows.retain(|row| row.task.is_some());
    rows
}
