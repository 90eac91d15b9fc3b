//! Owns: the lock that makes a daemon the only one of its state directory.
//! Guarantees: the kernel holds the lock (flock), so it ends with the process, however that ends. The file also
//! says who holds it, which is how a client without a socket finds the daemon.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::durable::Point;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// Its version.
    pub version: String,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another daemon works on this state directory.
    #[error("{}", already_running(.holder.as_ref(), .lock_file))]
    AlreadyRunning {
        /// Who; `None` while it is still starting.
        holder: Option<Holder>,
        /// The lock.
        lock_file: PathBuf,
    },
    /// The system refused.
    #[error("can't lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// The lock, held as long as this value lives.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
}

impl InstanceLock {
    /// Takes the lock and writes the holder into it.
    pub fn acquire(path: &Path, holder: &Holder) -> Result<Self, InstanceError> {
        let io = |source| InstanceError::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = parse(file).ok();
                return Err(InstanceError::AlreadyRunning {
                    holder,
                    lock_file: path.to_owned(),
                });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        let mut lock = Self { file };
        lock.write(holder).map_err(io)?;
        Ok(lock)
    }

    /// Writes another holder, such as one with the socket that systemd passed.
    pub fn write(&mut self, holder: &Holder) -> io::Result<()> {
        let text = serde_json::to_string(holder).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        Point::LockSync.through(|| self.file.sync_data())
    }
}

impl Drop for InstanceLock {
    /// The file stays: removing it would let two daemons each lock a file of that name. Its content goes, since
    /// it names a process that will be no more.
    fn drop(&mut self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(%error, "could not clear the lock file");
        }
    }
}

/// What the lock file says. It may be about a daemon that was killed.
pub fn read_holder(path: &Path) -> io::Result<Holder> {
    parse(File::open(path)?)
}

fn parse(file: File) -> io::Result<Holder> {
    let mut text = String::new();
    // Longer than any holder; a file that is not ours is not read whole.
    file.take(64 * 1024).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

fn already_running(holder: Option<&Holder>, lock_file: &Path) -> String {
    match holder {
        Some(holder) => format!(
            "another agentd {} runs on this state directory (pid {}, socket {})",
            holder.version,
            holder.pid,
            holder.socket.display()
        ),
        None => format!(
            "another agentd is starting on this state directory (it holds {})",
            lock_file.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32) -> Holder {
        Holder {
            pid,
            socket: "/run/a.sock".into(),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn a_second_daemon_is_told_about_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd.lock");
        let first = InstanceLock::acquire(&path, &holder(7)).unwrap();
        let error = InstanceLock::acquire(&path, &holder(8)).unwrap_err();
        assert!(error.to_string().contains("pid 7, socket /run/a.sock"), "{error}");
        assert_eq!(read_holder(&path).unwrap(), holder(7));
        drop(first);
        assert!(read_holder(&path).is_err(), "a daemon that is gone is not named");
        InstanceLock::acquire(&path, &holder(9)).unwrap();
    }

    #[test]
    fn what_a_killed_daemon_left_behind_does_not_hinder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd.lock");
        std::fs::write(
            &path,
            "{\"pid\":123456789, garbage that is longer than the new content by far ------------",
        )
        .unwrap();
        let mut lock = InstanceLock::acquire(&path, &holder(5)).unwrap();
        assert_eq!(read_holder(&path).unwrap(), holder(5));
        lock.write(&holder(6)).unwrap();
        assert_eq!(read_holder(&path).unwrap().pid, 6);
    }

    #[test]
    fn a_lock_that_says_nothing_yet_still_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd.lock");
        let lock = InstanceLock::acquire(&path, &holder(7)).unwrap();
        lock.file.set_len(0).unwrap();
        let error = InstanceLock::acquire(&path, &holder(8)).unwrap_err();
        assert!(error.to_string().contains("is starting"), "{error}");
    }
}
