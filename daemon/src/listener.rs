//! Owns: the daemon's Unix socket.
//! Guarantees: the socket appears at its path complete (mode 0600, listening) or not at all; what a dead daemon
//! left there is replaced only by the holder of the instance lock; anything that is not a socket stays untouched.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio::net::unix::UCred;

use crate::durable::{self, Point};
use crate::instance::InstanceLock;
use crate::paths::SOCKET_PATH_MAX;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Something that is not a socket is in the way.
    #[error("{path} exists and is not a socket; move it away, or choose another path with AGENTD_SOCKET")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A daemon of another state directory listens there.
    #[error(
        "another daemon, with another state directory, answers at {path}; choose another path with AGENTD_SOCKET"
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The kernel takes at most 107 bytes.
    #[error("the socket path {path} is too long; choose a shorter one with AGENTD_SOCKET")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// systemd passed something that can't be used.
    #[error("systemd passed no usable socket: {0}")]
    Activation(io::Error),
    /// The system refused.
    #[error("can't listen on {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A listening socket and the place where it is found.
#[derive(Debug)]
pub struct Bound {
    /// Accepts connections.
    pub listener: UnixListener,
    /// Where clients find it. With socket activation this is systemd's path, whatever the configuration says.
    pub path: PathBuf,
    /// Removes the socket when dropped; `None` when it is systemd's.
    pub guard: Option<SocketGuard>,
}

/// Removes the socket at the end, if it is still ours.
#[derive(Debug)]
pub struct SocketGuard {
    path: PathBuf,
    identity: (u64, u64),
}

/// Listens at `path`. The lock proves that no daemon of this state directory can be listening there.
/// Needs a runtime.
pub fn bind(path: &Path, _lock: &InstanceLock) -> Result<Bound, ListenerError> {
    let io = |source| ListenerError::Io {
        path: path.to_owned(),
        source,
    };
    clear_the_way(path)?;
    let temporary = temporary_name(path)?;
    let _ = fs::remove_file(&temporary);
    durable::remove_of_the_dead(path.parent().unwrap_or(Path::new("/")), "");
    let listener = StdListener::bind(&temporary).map_err(io)?;
    let made = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| identity(&temporary))
        .and_then(|identity| {
            Point::SocketRename
                .through(|| fs::rename(&temporary, path))
                .map(|()| identity)
        });
    let identity = made.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        io(source)
    })?;
    let guard = SocketGuard {
        path: path.to_owned(),
        identity,
    };
    let listener = UnixListener::from_std(listener).map_err(io)?;
    Ok(Bound {
        listener,
        path: path.to_owned(),
        guard: Some(guard),
    })
}

/// The socket that systemd passed, if it passed one (LISTEN_PID and LISTEN_FDS). Needs a runtime.
pub fn from_systemd() -> Result<Option<Bound>, ListenerError> {
    let mut passed = listenfd::ListenFd::from_env();
    let Some(listener) = passed.take_unix_listener(0).map_err(ListenerError::Activation)? else {
        return Ok(None);
    };
    // systemd passes it without close-on-exec; no shell may inherit the door to its own daemon.
    rustix::io::fcntl_setfd(listener.as_fd(), rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| ListenerError::Activation(errno.into()))?;
    listener
        .set_nonblocking(true)
        .map_err(ListenerError::Activation)?;
    let path = listener
        .local_addr()
        .ok()
        .and_then(|address| address.as_pathname().map(Path::to_owned))
        .ok_or_else(|| ListenerError::Activation(io::Error::other("it has no path")))?;
    let listener = UnixListener::from_std(listener).map_err(ListenerError::Activation)?;
    Ok(Some(Bound {
        listener,
        path,
        guard: None,
    }))
}

/// Whether a peer is the user this daemon belongs to. Nobody else is served, root included: root can become the
/// user, and then files and jails have the right owner.
pub fn same_user(peer: UCred) -> bool {
    peer.uid() == rustix::process::geteuid().as_raw()
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn clear_the_way(path: &Path) -> Result<(), ListenerError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ListenerError::Io {
            path: path.to_owned(),
            source,
        }),
        Ok(meta) if !meta.file_type().is_socket() => Err(ListenerError::NotASocket {
            path: path.to_owned(),
        }),
        // Nobody answers at a stale socket. It is not removed here: the rename replaces it, so clients never
        // find the path empty.
        Ok(_) if StdStream::connect(path).is_ok() => Err(ListenerError::InUse {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(()),
    }
}

/// A name in the same directory that fits where the final one may be 107 bytes long.
fn temporary_name(path: &Path) -> Result<PathBuf, ListenerError> {
    let temporary = path.with_file_name(format!(".{}", std::process::id()));
    let longest = path.as_os_str().len().max(temporary.as_os_str().len());
    if longest > SOCKET_PATH_MAX {
        return Err(ListenerError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(temporary)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::instance::Holder;

    fn lock(dir: &Path) -> InstanceLock {
        let holder = Holder {
            pid: 1,
            socket: dir.join("a.sock"),
            version: "0".into(),
        };
        InstanceLock::acquire(&dir.join("lock"), &holder).unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let bound = bind(&path, &lock(dir.path())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let (stream, accepted) =
            tokio::join!(tokio::net::UnixStream::connect(&path), bound.listener.accept());
        assert!(stream.is_ok());
        assert!(same_user(accepted.unwrap().0.peer_cred().unwrap()));
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "only lock and socket: {names:?}");
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let _bound = bind(&path, &lock(dir.path())).unwrap();
        assert!(StdStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_live_socket_or_another_kind_of_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let other = StdListener::bind(&path).unwrap();
        assert!(matches!(
            bind(&path, &lock(dir.path())),
            Err(ListenerError::InUse { .. })
        ));
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = bind(&path, &lock(dir.path())).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(
            bind(&path, &lock(dir.path())),
            Err(ListenerError::NotASocket { .. })
        ));
    }

    #[tokio::test]
    async fn the_guard_spares_a_socket_that_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let bound = bind(&path, &lock(dir.path())).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    /// What the next test runs as another process; alone it does nothing.
    #[tokio::test]
    async fn activated_child() {
        let Some(bound) = from_systemd().unwrap() else {
            return;
        };
        let flags = rustix::io::fcntl_getfd(bound.listener.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(bound.guard.is_none());
        fs::write(bound.path.with_extension("seen"), "yes").unwrap();
    }

    #[test]
    fn a_socket_passed_by_systemd_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let socket = StdListener::bind(&path).unwrap();
        let status = Command::new("sh")
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"",
                "sh",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "listener::tests::activated_child"])
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(fs::read_to_string(path.with_extension("seen")).unwrap(), "yes");
    }
}
