//! Owns: what the daemon keeps on disk: how much of what, and taking away what is over its cap.
//! Guarantees: only output of ended commands, the trash and archived sessions are ever taken away; what a dry run
//! says is what a real one does.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Supervisor;
use crate::clock::now_us;
use crate::domain::id::SessionId;
use crate::domain::session::State;
use crate::session::Fault;
use crate::store::SessionFilter;

/// Sessions named in a report.
const LARGEST: usize = 10;

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// The database, its write-ahead log included.
    pub database_bytes: u64,
    /// Kept output of commands.
    pub output_bytes: u64,
    /// Sessions that are neither archived nor in the trash.
    pub sessions: u64,
    /// Archived ones.
    pub archived: u64,
    /// In the trash.
    pub deleted: u64,
    /// Cap of the output; `None`: no cap.
    pub max_output: Option<u64>,
    /// Cap of the database; `None`: no cap.
    pub max_log: Option<u64>,
    /// Sessions with the most output: id, name, bytes.
    pub largest: Vec<(SessionId, String, u64)>,
}

/// What to take away.
#[derive(Debug, Clone, Default)]
pub struct PruneWish {
    /// Output last written longer ago.
    pub outputs_older: Option<Duration>,
    /// Everything in the trash.
    pub trash: bool,
    /// Only say it.
    pub dry: bool,
}

/// What was (or would be) taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Output files.
    pub outputs: u64,
    /// Their bytes.
    pub output_bytes: u64,
    /// Sessions out of the trash.
    pub sessions: u64,
}

struct OutputFile {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

impl Supervisor {
    /// What is on disk now.
    pub async fn storage(&self) -> Result<Storage, Fault> {
        let database = self.0.store.path();
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let (open, archived, deleted) = self.0.store.standing_counts().await?;
        let mut largest = Vec::new();
        for (id, bytes) in self.largest_outputs() {
            // A directory whose session is gone is of no session.
            if let Some(session) = self.0.store.session(&id).await? {
                largest.push((id, session.name, bytes));
            }
        }
        Ok(Storage {
            database_bytes: size(database) + size(Path::new(&wal)),
            output_bytes: self.output_files().iter().map(|file| file.bytes).sum(),
            sessions: open,
            archived,
            deleted,
            max_output: self.0.defaults.max_output,
            max_log: self.0.defaults.max_log,
            largest,
        })
    }

    /// Takes away what is wished, and what is over its cap in any case.
    pub async fn prune(&self, wish: PruneWish) -> Result<Pruned, Fault> {
        let mut pruned = Pruned::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now_us().max(0).unsigned_abs());
        let mut kept: u64 = 0;
        let mut files = self.output_files();
        files.sort_by_key(|file| std::cmp::Reverse(file.written));
        for file in files {
            let age = now.duration_since(file.written).unwrap_or_default();
            kept = kept.saturating_add(file.bytes);
            let over = self.0.defaults.max_output.is_some_and(|cap| kept > cap);
            let old = wish.outputs_older.is_some_and(|limit| age >= limit);
            if (over || old) && self.is_ended(&file.path).await? {
                pruned.outputs += 1;
                pruned.output_bytes += file.bytes;
                if !wish.dry
                    && let Err(error) = std::fs::remove_file(&file.path)
                {
                    tracing::warn!(%error, file = %file.path.display(), "kept output can't be taken away");
                }
            }
        }
        if wish.trash {
            let trash = SessionFilter {
                states: vec![State::Deleted],
                limit: u32::MAX,
                ..SessionFilter::default()
            };
            for session in self.0.store.sessions(trash).await? {
                pruned.sessions += 1;
                if !wish.dry {
                    self.purge(&session.session_id).await?;
                }
            }
        }
        Ok(pruned)
    }

    /// Caps hold by themselves: looked at now and then.
    pub(super) async fn hold_caps(&self) -> Result<(), Fault> {
        let over = |size: u64, cap: Option<u64>| cap.is_some_and(|cap| size > cap);
        let storage = self.storage().await?;
        if over(storage.output_bytes, storage.max_output) {
            let pruned = self.prune(PruneWish::default()).await?;
            tracing::info!(
                bytes = pruned.output_bytes,
                "output beyond its cap was taken away"
            );
        }
        if over(storage.database_bytes, storage.max_log) {
            self.prune(PruneWish {
                trash: true,
                ..PruneWish::default()
            })
            .await?;
            // Half of the archived ones, oldest first; the space serves later facts.
            let archived = self.0.store.archived_before(now_us()).await?;
            let half = archived.len().div_ceil(2);
            for id in archived.into_iter().take(half) {
                let handle = self.handle(&id).await?;
                let caller = crate::domain::principal::Caller::daemon(crate::session::trace_id());
                handle.delete(caller, None, now_us()).await?;
                drop(handle);
                self.purge(&id).await?;
                tracing::info!(session = %id, "purged: archived, and the database is beyond its cap");
            }
        }
        Ok(())
    }

    /// Whether a file's command is over: by its name, in its session's table.
    async fn is_ended(&self, file: &Path) -> Result<bool, Fault> {
        let id = |path: Option<&std::ffi::OsStr>| path.and_then(|name| name.to_str()).map(str::to_owned);
        let session = file
            .parent()
            .and_then(|dir| id(dir.file_name()))
            .and_then(|id| id.parse().ok());
        let exec = id(file.file_stem()).and_then(|id| id.parse().ok());
        let (Some(session), Some(exec)) = (session, exec) else {
            return Ok(false);
        };
        let row = self.0.store.exec(&session, &exec).await?;
        Ok(row.is_some_and(|row| row.result.is_some_and(|result| !result.background)))
    }

    fn spool_root(&self) -> Option<PathBuf> {
        let probe = self.0.settings.jails.spool_dir(&SessionId::random());
        probe.parent().map(Path::to_owned)
    }

    fn output_files(&self) -> Vec<OutputFile> {
        let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let Some(root) = self.spool_root() else {
            return Vec::new();
        };
        entries(&root)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .flat_map(|dir| entries(&dir.path()).collect::<Vec<_>>())
            .filter_map(|entry| {
                let data = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                super::lifecycle::is_output(&entry.path()).then_some(())?;
                Some(OutputFile {
                    path: entry.path(),
                    bytes: data.len(),
                    written: data.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                })
            })
            .collect()
    }

    fn largest_outputs(&self) -> Vec<(SessionId, u64)> {
        let Some(root) = self.spool_root() else {
            return Vec::new();
        };
        let mut all: Vec<(SessionId, u64)> = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let id = entry.file_name().to_str()?.parse().ok()?;
                Some((id, super::lifecycle::directory_bytes(&entry.path())))
            })
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        all.truncate(LARGEST);
        all
    }
}
