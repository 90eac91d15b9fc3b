//! Owns: secrets in the kept output of commands: stars are put over them once the command is over.
//! Guarantees: offsets stay true, since a star takes each byte's place; whoever follows a command reads what it
//! wrote, since the stars come a while later; what a killed daemon did not get to is done by the next one.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Execs;
use crate::domain::redaction::LogLevel;
use crate::store::redact::Redactor;

/// How long after its end a command's output is still as it wrote it.
const LATER: Duration = Duration::from_secs(60);
/// Read at a time, and how much of it is read again with the next: no secret is longer.
const PIECE: u64 = 4 * 1024 * 1024;
const OVERLAP: u64 = 16 * 1024;
/// The mark of a file that was looked through: nobody executes it.
const DONE: u32 = 0o100;

impl Execs {
    /// Output that will not grow any more.
    pub(super) fn star_later(&self, files: [PathBuf; 2]) {
        let files: Vec<PathBuf> = files.into_iter().filter(|file| file.exists()).collect();
        if files.is_empty() {
            return;
        }
        let raw = self.raw.clone();
        let (redactor, level) = (self.store.redactor().clone(), self.log);
        lock(&raw).extend(files.iter().cloned());
        tokio::spawn(async move {
            tokio::time::sleep(LATER).await;
            lock(&raw).retain(|file| !files.contains(file));
            star(files, redactor, level).await;
        });
    }

    /// All of it, now: the daemon or the session comes to an end.
    pub(super) async fn star_now(&self) {
        let files: Vec<PathBuf> = std::mem::take(&mut *lock(&self.raw)).into_iter().collect();
        star(files, self.store.redactor().clone(), self.log).await;
    }

    /// What an earlier daemon did not get to.
    pub(super) fn star_left_over(self: &Arc<Self>) {
        let dir = self.settings.jails.spool_dir(&self.session_id);
        let me = self.clone();
        tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let ended = path
                    .file_stem()
                    .and_then(|stem| stem.to_str()?.parse().ok())
                    .is_some_and(|exec| !me.is_running(&exec));
                let waits = lock(&me.raw).contains(&path);
                if ended && !waits {
                    star_one(&path, me.store.redactor(), me.log);
                }
            }
        });
    }
}

/// Files of commands that are over, and not looked through yet.
pub(super) type Raw = Arc<std::sync::Mutex<std::collections::BTreeSet<PathBuf>>>;

fn lock(raw: &Raw) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<PathBuf>> {
    // A set of names is whole after any panic elsewhere.
    raw.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn star(files: Vec<PathBuf>, redactor: Arc<Redactor>, level: LogLevel) {
    let work = move || files.iter().for_each(|file| star_one(file, &redactor, level));
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%error, "kept output could not be looked through");
    }
}

fn star_one(path: &Path, redactor: &Redactor, level: LogLevel) {
    match star_file(path, redactor, level) {
        Ok(()) => {}
        // Taken away meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::error!(%error, file = %path.display(), "kept output could not be looked through");
        }
    }
}

fn star_file(path: &Path, redactor: &Redactor, level: LogLevel) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & DONE != 0 {
        return Ok(());
    }
    // Output with a gap is read-only; its owner may write it all the same.
    std::fs::set_permissions(path, Permissions::from_mode(mode | 0o200))?;
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut from = 0;
    let mut buffer = Vec::new();
    while from < length {
        let size = usize::try_from(PIECE.min(length - from)).unwrap_or(usize::MAX);
        buffer.resize(size, 0);
        file.read_exact_at(&mut buffer, from)?;
        for found in redactor.secrets_in(level, &buffer) {
            let stars = vec![b'*'; found.len()];
            file.write_all_at(&stars, from.saturating_add(found.start as u64))?;
        }
        from = from.saturating_add(PIECE.saturating_sub(OVERLAP));
    }
    file.set_permissions(Permissions::from_mode(mode | DONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_over_secrets_once_also_across_pieces_and_in_read_only_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.out");
        let redactor = Redactor::new();
        redactor.learn("correct horse");
        let mut text = vec![b'.'; usize::try_from(PIECE).unwrap() - 5];
        text.extend_from_slice(b" correct horse \xff");
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        star_file(&path, &redactor, LogLevel::Full).unwrap();
        let after = std::fs::read(&path).unwrap();
        assert_eq!(after.len(), text.len());
        assert!(after.ends_with(b". ************* \xff"));
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o500);
        redactor.learn("........");
        star_file(&path, &redactor, LogLevel::Full).unwrap();
        assert!(
            std::fs::read(&path).unwrap().starts_with(b"...."),
            "looked through twice"
        );
    }
}
