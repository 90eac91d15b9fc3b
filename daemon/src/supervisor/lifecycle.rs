//! Owns: deleting sessions for real: what goes with them, the trash, the purge, and what time does by itself.
//! Guarantees: a workspace is never touched; a session is purged only when asked for or when its time in the
//! trash is over; nothing here starts a turn.

use std::path::Path;
use std::time::Duration;

use super::Supervisor;
use crate::clock::now_us;
use crate::domain::id::{ExecId, Seq, SessionId};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::session::{Fault, trace_id};
use crate::store::{Loss, RequestKey};

/// How often the daemon looks for what is over its time.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// What a deletion loses.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// The session as it was.
    pub session: Summary,
    /// Rows.
    pub loss: Loss,
    /// Bytes of kept output.
    pub output_bytes: u64,
    /// Until when it can be restored; `None`: not at all.
    pub purge_us: Option<i64>,
    /// The fact of it; 0 where there is none.
    pub seq: Seq,
}

impl Supervisor {
    /// What deleting a session would lose.
    pub async fn deletion(&self, session: Summary, purge: bool) -> Result<Deletion, Fault> {
        let loss = self.0.store.loss(&session.session_id).await?;
        let output_bytes = directory_bytes(&self.0.settings.jails.spool_dir(&session.session_id));
        Ok(Deletion {
            purge_us: (!purge).then(|| self.purge_at()),
            session,
            loss,
            output_bytes,
            seq: 0,
        })
    }

    /// Puts a session into the trash; with `purge` it is gone at once.
    pub async fn delete(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        session: Summary,
        purge: bool,
    ) -> Result<Deletion, Fault> {
        let mut deletion = self.deletion(session, purge).await?;
        let id = deletion.session.session_id.clone();
        let handle = self.handle(&id).await?;
        let trashed = handle.summary().standing.purge_us.is_some();
        if !purge || !trashed {
            let until = self.purge_at();
            deletion.seq = handle.delete(caller, request, until).await?;
            let standing = handle.summary().standing;
            deletion.purge_us = standing.purge_us.filter(|_| !purge);
        }
        drop(handle);
        if purge {
            self.purge(&id).await?;
            deletion.seq = 0;
        }
        Ok(deletion)
    }

    /// Takes a session out of the world. It is in the trash.
    pub async fn purge(&self, id: &SessionId) -> Result<(), Fault> {
        let handle = self.handle(id).await?;
        if handle.summary().standing.purge_us.is_none() {
            return Err(Rejection::NotNow {
                message: format!("session '{id}' is not in the trash"),
                hints: vec![format!("agentctl sessions delete {id}")],
            }
            .into());
        }
        handle.end_jail().await;
        drop(handle);
        let spool = self.0.settings.jails.spool_dir(id);
        // The map is held, so that nobody brings the session back while its log goes.
        let mut live = self.0.live.lock().await;
        self.0.store.purge(id).await?;
        live.remove(id);
        drop(live);
        if let Err(error) = std::fs::remove_dir_all(&spool)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, spool = %spool.display(), "the output of a purged session stays");
        }
        self.ring();
        Ok(())
    }

    /// Looks now and then for what is over its time, until `stop` resolves.
    pub async fn keep_house(&self, stop: impl Future<Output = ()>) {
        self.forget_uploads();
        tokio::pin!(stop);
        loop {
            if let Err(error) = self.tidy_up().await {
                tracing::warn!(%error, "what is over its time could not be taken away");
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(HOUSEKEEPING) => {}
            }
        }
    }

    /// Purges what was in the trash long enough, and puts there what was archived long enough.
    pub async fn tidy_up(&self) -> Result<(), Fault> {
        for id in self.0.store.expired_sessions(now_us()).await? {
            tracing::info!(session = %id, "purged: its time in the trash is over");
            self.purge(&id).await?;
        }
        self.hold_caps().await?;
        if let Some(keep) = self.0.defaults.archive_keep {
            let before = now_us().saturating_sub(micros(keep));
            for id in self.0.store.archived_before(before).await? {
                let handle = self.handle(&id).await?;
                handle
                    .delete(Caller::daemon(trace_id()), None, self.purge_at())
                    .await?;
            }
        }
        Ok(())
    }

    fn purge_at(&self) -> i64 {
        now_us().saturating_add(micros(self.0.defaults.trash))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// True for a file that has what a command wrote: the shell's own are there too.
pub(super) fn is_output(file: &Path) -> bool {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.is_some_and(|stem| stem.parse::<ExecId>().is_ok())
}

/// Bytes of the outputs in a session's directory.
pub(super) fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| is_output(&entry.path()))
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}
