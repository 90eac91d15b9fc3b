//! Owns: where the daemon's socket and files are.
//! Guarantees: the daemon and every client derive the same places from the same environment.

use std::path::{Path, PathBuf};

use crate::error::ClientError;

/// Name of the file the daemon locks; it holds `{"pid":…,"socket":"…"}`.
pub const LOCK_FILE: &str = "agentd.lock";
/// Name of the daemon's log file.
pub const LOG_FILE: &str = "agentd.log";
/// Name of the file that says where the browser gateway listens: `{"pid":…,"url":"…","public_url":…}`.
pub const WEB_FILE: &str = "agent-web.json";
/// Name of the socket.
pub const SOCKET_FILE: &str = "agentd.sock";

/// Where a daemon of this user is, or would be.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// A socket that was asked for by flag or `AGENTD_SOCKET`: the only one to try.
    pub explicit: Option<PathBuf>,
    /// The daemon's state directory.
    pub state_dir: PathBuf,
    runtime_dir: Option<PathBuf>,
}

/// What the daemon writes into its lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Process id of the daemon that wrote it.
    pub pid: i64,
    /// Its socket.
    pub socket: PathBuf,
}

impl Endpoint {
    /// Reads the environment. `socket` is the value of `--socket`, which wins over all else.
    pub fn discover(socket: Option<&Path>) -> Result<Self, ClientError> {
        let explicit = socket
            .map(Path::to_owned)
            .or_else(|| path_variable("AGENTD_SOCKET"));
        let own_state = path_variable("AGENTD_STATE_DIR");
        // As in the daemon: a state directory of its own means a daemon of its own, not the user's.
        let runtime_dir = match own_state {
            Some(_) => None,
            None => path_variable("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with("/")),
        };
        let state_dir = own_state.or_else(default_state_dir).ok_or_else(|| {
            ClientError::other(
                "no_home",
                "neither HOME nor AGENTD_STATE_DIR names a directory for the state",
            )
        })?;
        Ok(Self {
            explicit,
            state_dir,
            runtime_dir,
        })
    }

    /// These places, whatever the environment says.
    #[cfg(test)]
    pub(crate) fn at(state_dir: &Path, explicit: Option<&Path>) -> Self {
        Self {
            explicit: explicit.map(Path::to_owned),
            state_dir: state_dir.to_owned(),
            runtime_dir: None,
        }
    }

    /// Sockets to try, best first.
    pub fn candidates(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.explicit {
            return vec![path.clone()];
        }
        let mut list = Vec::new();
        if let Some(dir) = &self.runtime_dir {
            list.push(dir.join("agentd").join(SOCKET_FILE));
        }
        list.push(self.state_dir.join("run").join(SOCKET_FILE));
        // A daemon started under another runtime directory (su, cron) holds the lock all the same.
        if let Some(lock) = self.lock_file()
            && !list.contains(&lock.socket)
        {
            list.push(lock.socket);
        }
        list
    }

    /// The socket a new daemon would listen on.
    pub fn preferred(&self) -> PathBuf {
        self.candidates()
            .into_iter()
            .next()
            .unwrap_or_else(|| self.state_dir.join("run").join(SOCKET_FILE))
    }

    /// What the lock file says; the daemon that wrote it may be gone.
    pub fn lock_file(&self) -> Option<LockFile> {
        let text = std::fs::read_to_string(self.state_dir.join(LOCK_FILE)).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(LockFile {
            pid: value.get("pid")?.as_i64()?,
            socket: PathBuf::from(value.get("socket")?.as_str()?),
        })
    }

    /// True when the process that the lock file names exists. Nothing is connected to, and so nothing started by it.
    pub fn daemon_lives(&self) -> bool {
        self.lock_file()
            .is_some_and(|lock| Path::new("/proc").join(lock.pid.to_string()).exists())
    }

    /// The daemon's log file.
    pub fn log_file(&self) -> PathBuf {
        self.state_dir.join(LOG_FILE)
    }
}

/// The state directory when nothing else is said: `~/.local/state/agentd`.
fn default_state_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "agentd").and_then(|dirs| dirs.state_dir().map(Path::to_owned))
}

/// A variable that names a path; a relative one means what it means here, whoever reads it later elsewhere.
fn path_variable(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
    std::path::absolute(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(explicit: Option<&str>, state: &Path) -> Endpoint {
        Endpoint {
            explicit: explicit.map(PathBuf::from),
            state_dir: state.to_owned(),
            runtime_dir: Some(PathBuf::from("/run/user/7")),
        }
    }

    #[test]
    fn an_explicit_socket_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            endpoint(Some("/x.sock"), dir.path()).candidates(),
            [PathBuf::from("/x.sock")]
        );
    }

    #[test]
    fn the_lock_file_names_a_socket_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(LOCK_FILE),
            r#"{"pid":12,"socket":"/tmp/other.sock"}"#,
        )
        .unwrap();
        let list = endpoint(None, dir.path()).candidates();
        assert_eq!(
            list,
            [
                PathBuf::from("/run/user/7/agentd/agentd.sock"),
                dir.path().join("run/agentd.sock"),
                PathBuf::from("/tmp/other.sock"),
            ]
        );
    }

    #[test]
    fn a_torn_lock_file_is_no_lock_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), "{\"pid\":").unwrap();
        assert_eq!(endpoint(None, dir.path()).lock_file(), None);
    }
}
