//! Owns: where things live on disk.
//! Guarantees: everything derives from one explicit environment map and the flags, never from a second look at
//! the process environment; directories are created private (0700); a state directory on a network or FUSE file
//! system is refused, because neither SQLite's locks nor `flock` can be trusted there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sha2::{Digest as _, Sha256};

/// Variables by name. Taken once at start, then passed on.
pub type Env = BTreeMap<String, String>;

/// The longest path a Unix socket can have (`sun_path` minus its NUL).
pub const SOCKET_PATH_MAX: usize = 107;

/// What a jail adds to `runtime_dir` for its socket: a directory, a name, two slashes, and room to spare.
const JAIL_SOCKET_ROOM: usize = 40;

/// Paths named by flags; each wins over its variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathFlags {
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--config`
    pub config_file: Option<PathBuf>,
}

/// Every path the daemon uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The user's configuration. May be absent.
    pub config_file: PathBuf,
    /// API keys, beside the configuration, mode 0600. May be absent.
    pub credentials_file: PathBuf,
    /// Everything worth keeping.
    pub state_dir: PathBuf,
    /// The SQLite database.
    pub database: PathBuf,
    /// Large outputs by content hash.
    pub blobs_dir: PathBuf,
    /// Output of running commands, one directory per run.
    pub spool_dir: PathBuf,
    /// Held by the one daemon of this state directory; names its process and socket.
    pub lock_file: PathBuf,
    /// The log of a daemon that has no terminal.
    pub log_file: PathBuf,
    /// Gone at reboot: the jails' control sockets. Short enough for them.
    pub runtime_dir: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What can be made again.
    pub cache_dir: PathBuf,
}

/// Why the paths can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Neither the environment nor the user database names a home directory.
    #[error(
        "no home directory is known; set HOME, or name the places with AGENTD_STATE_DIR and AGENTD_CONFIG"
    )]
    NoHome,
    /// A socket's path is longer than the kernel takes.
    #[error(
        "the socket path {path} has {length} bytes, and at most {SOCKET_PATH_MAX} fit; \
         choose a shorter one with AGENTD_SOCKET or --socket"
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// The state directory is on a file system whose locks can't be trusted.
    #[error(
        "the state directory {path} is on a {kind} file system, where database locks can't be trusted; \
         choose a local one with AGENTD_STATE_DIR or --state-dir"
    )]
    NetworkFileSystem {
        /// The state directory.
        path: PathBuf,
        /// What it is on.
        kind: &'static str,
    },
    /// A directory belongs to somebody else.
    #[error("{path} belongs to another user (uid {owner}); choose another directory or fix its owner")]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A directory is wanted where something else is.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// What is there.
        path: PathBuf,
    },
    /// Others could replace the socket.
    #[error("others can write to {path}, where the socket would be; choose a private directory (chmod 700)")]
    OpenSocketDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Paths {
    /// Works out every path. Touches nothing.
    pub fn resolve(env: &Env, flags: &PathFlags) -> Result<Self, PathsError> {
        let own_state = flags
            .state_dir
            .clone()
            .or_else(|| variable(env, "AGENTD_STATE_DIR"));
        let state_dir = match &own_state {
            Some(dir) => absolute(dir)?,
            None => base(env, "XDG_STATE_HOME", ".local/state")?.join("agentd"),
        };
        let config_file = match flags
            .config_file
            .clone()
            .or_else(|| variable(env, "AGENTD_CONFIG"))
        {
            Some(file) => absolute(&file)?,
            None => base(env, "XDG_CONFIG_HOME", ".config")?.join("agentd/config.toml"),
        };
        // A state directory of its own means a daemon of its own: it must not meet the user's at the shared socket.
        let run_dir = match (&own_state, xdg(env, "XDG_RUNTIME_DIR")) {
            (None, Some(runtime)) => runtime.join("agentd"),
            _ => state_dir.join("run"),
        };
        let socket = match flags.socket.clone().or_else(|| variable(env, "AGENTD_SOCKET")) {
            Some(socket) => absolute(&socket)?,
            None => run_dir.join("agentd.sock"),
        };
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            return Err(PathsError::SocketTooLong { path: socket, length });
        }
        let cache_dir = match (&own_state, xdg(env, "XDG_CACHE_HOME")) {
            (Some(_), _) => state_dir.join("cache"),
            (None, Some(cache)) => cache.join("agentd"),
            (None, None) => home(env)?.join(".cache/agentd"),
        };
        let config_dir = config_file.parent().unwrap_or(Path::new("/"));
        Ok(Self {
            credentials_file: config_dir.join("credentials.toml"),
            config_file,
            database: state_dir.join("agentd.db"),
            blobs_dir: state_dir.join("blobs"),
            spool_dir: state_dir.join("spool"),
            lock_file: state_dir.join("agentd.lock"),
            log_file: state_dir.join("agentd.log"),
            runtime_dir: short_runtime_dir(run_dir, &state_dir),
            socket,
            cache_dir,
            state_dir,
        })
    }

    /// Creates the directories, private, and checks that they can be trusted.
    pub fn prepare(&self) -> Result<(), PathsError> {
        private_dir(&self.state_dir)?;
        if let Some(kind) = network_file_system(&self.state_dir)? {
            return Err(PathsError::NetworkFileSystem {
                path: self.state_dir.clone(),
                kind,
            });
        }
        for dir in [
            &self.blobs_dir,
            &self.spool_dir,
            &self.cache_dir,
            &self.runtime_dir,
        ] {
            private_dir(dir)?;
        }
        match self.socket.parent() {
            Some(dir) if dir != self.runtime_dir => socket_dir(dir),
            _ => Ok(()),
        }
    }
}

/// Makes everything this process creates private. Gives back the mask it had: shells must get that one, since
/// files that commands make in a workspace are the user's, not the daemon's.
pub fn private_umask() -> u32 {
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO).bits();
    // Set once: the first mask is the person's, a later one would be ours.
    *PERSONS_UMASK.get_or_init(|| before)
}

/// The mask of whoever started this process; `None` before [`private_umask`].
pub fn persons_umask() -> Option<u32> {
    PERSONS_UMASK.get().copied()
}

static PERSONS_UMASK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

/// Creates a directory with mode 0700, or tightens one that is ours.
pub fn private_dir(path: &Path) -> Result<(), PathsError> {
    let io = |action, source| PathsError::Io {
        action,
        path: path.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => PathsError::NotADirectory {
                path: path.to_owned(),
            },
            _ => io("create", source),
        })?;
    let meta = owned_dir(path)?;
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|e| io("make private", e))?;
    }
    Ok(())
}

/// The directory of a socket the user chose: not ours to tighten, so it is only checked.
fn socket_dir(path: &Path) -> Result<(), PathsError> {
    if !path.exists() {
        return private_dir(path);
    }
    if owned_dir(path)?.mode() & 0o022 != 0 {
        return Err(PathsError::OpenSocketDirectory {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn owned_dir(path: &Path) -> Result<fs::Metadata, PathsError> {
    let meta = fs::metadata(path).map_err(|source| PathsError::Io {
        action: "look at",
        path: path.to_owned(),
        source,
    })?;
    if !meta.is_dir() {
        return Err(PathsError::NotADirectory {
            path: path.to_owned(),
        });
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(PathsError::ForeignOwner {
            path: path.to_owned(),
            owner: meta.uid(),
        });
    }
    Ok(meta)
}

/// A long state directory leaves no room for socket paths below it; then a short directory stands in, whose name
/// is the same every time because a later daemon must find the jails of an earlier one.
fn short_runtime_dir(wanted: PathBuf, state_dir: &Path) -> PathBuf {
    if wanted.as_os_str().len() + JAIL_SOCKET_ROOM <= SOCKET_PATH_MAX {
        return wanted;
    }
    let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    let tag: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!(
        "/tmp/agentd-{}-{tag}",
        rustix::process::geteuid().as_raw()
    ))
}

fn variable(env: &Env, name: &str) -> Option<PathBuf> {
    env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The XDG specification: a relative path in one of its variables counts as unset.
fn xdg(env: &Env, name: &str) -> Option<PathBuf> {
    variable(env, name).filter(|path| path.is_absolute())
}

fn base(env: &Env, name: &str, below_home: &str) -> Result<PathBuf, PathsError> {
    match xdg(env, name) {
        Some(path) => Ok(path),
        None => Ok(home(env)?.join(below_home)),
    }
}

fn home(env: &Env) -> Result<PathBuf, PathsError> {
    xdg(env, "HOME")
        .or_else(|| directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()))
        .ok_or(PathsError::NoHome)
}

fn absolute(path: &Path) -> Result<PathBuf, PathsError> {
    std::path::absolute(path).map_err(|source| PathsError::Io {
        action: "find the absolute form of",
        path: path.to_owned(),
        source,
    })
}

fn network_file_system(path: &Path) -> Result<Option<&'static str>, PathsError> {
    let stat = rustix::fs::statfs(path).map_err(|errno| PathsError::Io {
        action: "find the file system of",
        path: path.to_owned(),
        source: errno.into(),
    })?;
    #[expect(
        clippy::cast_sign_loss,
        reason = "a magic number, 32 bits of it, whatever the field's sign"
    )]
    let magic = stat.f_type as u64 & 0xffff_ffff;
    Ok(untrusted_magic(magic))
}

/// Names from statfs(2) and the kernel's `magic.h`.
fn untrusted_magic(magic: u64) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("CIFS"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x786f_4256 => Some("shared-folder"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn resolve(pairs: &[(&str, &str)]) -> Paths {
        Paths::resolve(&env(pairs), &PathFlags::default()).unwrap()
    }

    #[test]
    fn defaults_are_below_home_and_the_runtime_directory() {
        let paths = resolve(&[("HOME", "/home/ana"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(paths.state_dir, Path::new("/home/ana/.local/state/agentd"));
        assert_eq!(
            paths.config_file,
            Path::new("/home/ana/.config/agentd/config.toml")
        );
        assert_eq!(
            paths.credentials_file,
            Path::new("/home/ana/.config/agentd/credentials.toml")
        );
        assert_eq!(paths.socket, Path::new("/run/user/7/agentd/agentd.sock"));
        assert_eq!(paths.runtime_dir, Path::new("/run/user/7/agentd"));
        assert_eq!(paths.cache_dir, Path::new("/home/ana/.cache/agentd"));
        assert_eq!(paths.lock_file.parent(), paths.database.parent());
    }

    #[test]
    fn without_a_runtime_directory_the_socket_is_in_the_state_directory() {
        let paths = resolve(&[("HOME", "/home/ana")]);
        assert_eq!(
            paths.socket,
            Path::new("/home/ana/.local/state/agentd/run/agentd.sock")
        );
        let relative = resolve(&[("HOME", "/home/ana"), ("XDG_RUNTIME_DIR", "run")]);
        assert_eq!(relative.socket, paths.socket);
    }

    #[test]
    fn a_state_directory_of_its_own_has_a_socket_of_its_own() {
        let vars = [
            ("HOME", "/home/ana"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("AGENTD_STATE_DIR", "/srv/one"),
        ];
        assert_eq!(resolve(&vars).socket, Path::new("/srv/one/run/agentd.sock"));
        let flags = PathFlags {
            state_dir: Some("/srv/two".into()),
            ..PathFlags::default()
        };
        let paths = Paths::resolve(&env(&vars), &flags).unwrap();
        assert_eq!(paths.database, Path::new("/srv/two/agentd.db"));
        assert_eq!(paths.cache_dir, Path::new("/srv/two/cache"));
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let paths = resolve(&[
            ("HOME", "/home/ana"),
            ("AGENTD_SOCKET", ""),
            ("AGENTD_STATE_DIR", ""),
        ]);
        assert_eq!(paths.state_dir, Path::new("/home/ana/.local/state/agentd"));
    }

    #[test]
    fn a_long_state_directory_gets_a_short_runtime_directory() {
        let long = format!("/srv/{}", "x".repeat(70));
        let paths = resolve(&[
            ("HOME", "/h"),
            ("AGENTD_STATE_DIR", &long),
            ("AGENTD_SOCKET", "/srv/a.sock"),
        ]);
        assert!(paths.runtime_dir.as_os_str().len() + JAIL_SOCKET_ROOM <= SOCKET_PATH_MAX);
        let again = resolve(&[
            ("HOME", "/h"),
            ("AGENTD_STATE_DIR", &long),
            ("AGENTD_SOCKET", "/b.sock"),
        ]);
        assert_eq!(paths.runtime_dir, again.runtime_dir);
    }

    #[test]
    fn a_socket_path_that_does_not_fit_is_refused() {
        let socket = format!("/srv/{}", "x".repeat(110));
        let error = Paths::resolve(
            &env(&[("HOME", "/h"), ("AGENTD_SOCKET", &socket)]),
            &PathFlags::default(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("at most 107"), "{error}");
    }

    #[test]
    fn directories_are_made_private_and_foreign_things_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        let flags = PathFlags {
            state_dir: Some(state.clone()),
            ..PathFlags::default()
        };
        let paths = Paths::resolve(&env(&[("HOME", "/h")]), &flags).unwrap();
        paths.prepare().unwrap();
        for made in [
            &state,
            &paths.blobs_dir,
            &paths.spool_dir,
            &paths.runtime_dir,
            &paths.cache_dir,
        ] {
            assert_eq!(fs::metadata(made).unwrap().mode() & 0o777, 0o700, "{made:?}");
        }
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            private_dir(&file),
            Err(PathsError::NotADirectory { .. })
        ));
    }

    #[test]
    fn a_socket_where_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let flags = PathFlags {
            state_dir: Some(dir.path().join("state")),
            socket: Some(dir.path().join("a.sock")),
            ..PathFlags::default()
        };
        let paths = Paths::resolve(&env(&[("HOME", "/h")]), &flags).unwrap();
        assert!(matches!(
            paths.prepare(),
            Err(PathsError::OpenSocketDirectory { .. })
        ));
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        for (magic, kind) in [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0x6573_5546, "FUSE")] {
            assert_eq!(untrusted_magic(magic), Some(kind));
        }
        for local in [0xef53, 0x0102_1994, 0x9123_683e, 0x5846_5342, 0x794c_7630] {
            assert_eq!(untrusted_magic(local), None);
        }
    }
}
