//! Owns: the mount points that a Jail needs in a project: made before the first Jail there, removed after the last.
//! Guarantees: each is recorded before it is made; removal is rmdir, never recursive, or takes an empty file, so nothing of the project can be lost;
//! a mount point that a live Jail uses is never removed (the kernel would detach its mounts).

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::guard::Missing;
use crate::domain::id::SessionId;

/// The durable memory of which directories in projects are ours.
pub trait MountJournal: Send + Sync {
    /// Must be on disk when this returns: the directory is made next.
    ///
    /// # Errors
    /// When it can't be recorded; the directory is then not made.
    fn record(&self, workspace: &Path, dir: &Path) -> io::Result<()>;
    /// The directory is gone.
    ///
    /// # Errors
    /// When that can't be recorded; it is tried again at the next release.
    fn forget(&self, workspace: &Path, dir: &Path) -> io::Result<()>;
    /// What is ours in a workspace.
    fn ours(&self, workspace: &Path) -> Vec<PathBuf>;
    /// Every workspace with something of ours.
    fn workspaces(&self) -> Vec<PathBuf>;
}

/// A journal that lasts as long as the process: for tests.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<HashMap<PathBuf, Vec<PathBuf>>>);

impl MountJournal for MemoryJournal {
    fn record(&self, workspace: &Path, dir: &Path) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dirs = all.entry(workspace.to_owned()).or_default();
        if !dirs.iter().any(|d| d == dir) {
            dirs.push(dir.to_owned());
        }
        Ok(())
    }

    fn forget(&self, workspace: &Path, dir: &Path) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dirs) = all.get_mut(workspace) {
            dirs.retain(|d| d != dir);
        }
        all.retain(|_, dirs| !dirs.is_empty());
        Ok(())
    }

    fn ours(&self, workspace: &Path) -> Vec<PathBuf> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(workspace)
            .cloned()
            .unwrap_or_default()
    }

    fn workspaces(&self) -> Vec<PathBuf> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }
}

/// The mount points in use, per workspace.
pub(super) struct MountPoints {
    journal: Arc<dyn MountJournal>,
    users: Mutex<HashMap<PathBuf, HashSet<SessionId>>>,
}

impl MountPoints {
    pub(super) fn new(journal: Arc<dyn MountJournal>) -> Self {
        Self {
            journal,
            users: Mutex::new(HashMap::new()),
        }
    }

    /// Makes what is missing and counts the session as a user.
    pub(super) fn acquire(&self, workspace: &Path, names: &[PathBuf], session: &SessionId) -> io::Result<()> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users
            .entry(workspace.to_owned())
            .or_default()
            .insert(session.clone());
        for name in names {
            let dir = workspace.join(name);
            if !dir.is_dir() {
                self.make(workspace, &dir, |dir| std::fs::create_dir(dir))?;
            }
        }
        Ok(())
    }

    /// The same for protected places that a repository does not have yet.
    pub(super) fn acquire_missing(
        &self,
        workspace: &Path,
        missing: &[Missing],
        session: &SessionId,
    ) -> io::Result<()> {
        self.acquire(workspace, &[], session)?;
        let _guard = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        for missing in missing {
            match missing {
                Missing::Dir(path) => {
                    self.make(workspace, &workspace.join(path), |p| std::fs::create_dir(p))?
                }
                Missing::File(path) => self.make(workspace, &workspace.join(path), |p| {
                    std::fs::File::create_new(p).map(drop)
                })?,
            }
        }
        Ok(())
    }

    fn make(&self, workspace: &Path, path: &Path, how: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        self.journal.record(workspace, path)?;
        match how(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                self.journal.forget(workspace, path)?;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The session's Jail is gone; the last one cleans up.
    pub(super) fn release(&self, workspace: &Path, session: &SessionId) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = users.get_mut(workspace) {
            sessions.remove(session);
            if !sessions.is_empty() {
                return;
            }
            users.remove(workspace);
        }
        self.remove_ours(workspace);
    }

    /// Removes what dead daemons left where no Jail lives.
    pub(super) fn sweep(&self) {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        for workspace in self.journal.workspaces() {
            if !users.contains_key(&workspace) {
                self.remove_ours(&workspace);
            }
        }
    }

    pub(super) fn ours(&self, workspace: &Path) -> Vec<PathBuf> {
        self.journal.ours(workspace)
    }

    fn remove_ours(&self, workspace: &Path) {
        for dir in self.journal.ours(workspace) {
            let file = dir.symlink_metadata().is_ok_and(|m| m.is_file());
            let removed = match dir.metadata() {
                Ok(meta) if file && meta.len() == 0 => std::fs::remove_file(&dir),
                // Somebody wrote into it: it is theirs now.
                _ if file => Ok(()),
                _ => std::fs::remove_dir(&dir),
            };
            match removed {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Somebody put something into it: it is theirs now.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "a mount point could not be removed");
                    continue;
                }
            }
            if let Err(error) = self.journal.forget(workspace, &dir) {
                tracing::warn!(dir = %dir.display(), %error, "a removed mount point is still in the journal");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_user_removes_only_empty_directories_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(MemoryJournal::default());
        let points = MountPoints::new(journal.clone());
        let (a, b) = (SessionId::random(), SessionId::random());
        std::fs::create_dir(dir.path().join("theirs")).unwrap();
        let names: Vec<PathBuf> = ["usr", "tmp", "theirs"].map(PathBuf::from).into();
        points.acquire(dir.path(), &names, &a).unwrap();
        points.acquire(dir.path(), &names, &b).unwrap();
        points.release(dir.path(), &a);
        assert!(dir.path().join("usr").is_dir());
        std::fs::write(dir.path().join("tmp/file"), "kept").unwrap();
        points.release(dir.path(), &b);
        assert!(!dir.path().join("usr").exists());
        assert!(dir.path().join("tmp/file").exists());
        assert!(dir.path().join("theirs").exists());
        assert!(journal.workspaces().is_empty());
    }
}
