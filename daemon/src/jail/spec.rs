//! Owns: what a Jail shall be, as data: policy and Workspace turned into numbers, paths and values.
//! Guarantees: no flag of any program; the environment is built here, never inherited.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::id::SessionId;
use crate::domain::workspace::{JailKind, ShellKind, Workspace};

/// Where the home directory is inside: on the Jail's own tmpfs, never the project.
pub const HOME: &str = "/tmp/home";
/// Where the package caches are inside.
pub const CACHE: &str = "/tmp/cache";

/// Limits on everything that runs inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open files per process.
    pub nofile: u64,
    /// Bytes in one file.
    pub fsize: Option<u64>,
    /// Processes of this user (not enforced for root, nor before kernel 5.14).
    pub nproc: Option<u64>,
    /// Bytes of data per process.
    pub data: Option<u64>,
    /// Bytes in each tmpfs.
    pub tmp_bytes: u64,
    /// The file mode mask: that of the person, not the daemon's own. `None` keeps what is inherited.
    pub umask: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nofile: 16 * 1024,
            fsize: None,
            nproc: default_nproc(),
            data: None,
            tmp_bytes: 1024 * 1024 * 1024,
            umask: None,
        }
    }
}

/// Processes are counted per user namespace from 5.14 on; before that the limit would count the person's own too.
fn default_nproc() -> Option<u64> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version >= (5, 14)).then_some(4096)
}

/// What a Jail may reach beyond its own loopback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    #[default]
    Off,
}

/// What Policy says of the wall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JailPolicy {
    /// Which policy this was made from: it rises with every change.
    pub generation: u64,
    /// What can be reached.
    pub network: Network,
    /// The Workspace can be looked at and not changed.
    pub read_only: bool,
}

/// What a Jail shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailSpec {
    /// Whose it is.
    pub session: SessionId,
    /// Where it works.
    pub workspace: Workspace,
    /// What encloses it.
    pub kind: JailKind,
    /// Its shell.
    pub shell: ShellKind,
    /// What Policy says of it.
    pub policy: JailPolicy,
    /// Added to the built environment, or replacing parts of it.
    pub env: BTreeMap<String, String>,
    /// Limits.
    pub limits: Limits,
    /// git's user.name and user.email, as values.
    pub git_identity: Option<(String, String)>,
    /// Host directories visible at their own path, read-only (toolchains).
    pub read_only: Vec<PathBuf>,
    /// Host directory for the package managers' caches, writable.
    pub cache_dir: Option<PathBuf>,
    /// A Jail in which nothing ran for this long ends; the next command starts it again.
    pub idle_timeout: Option<Duration>,
}

impl JailSpec {
    /// A spec with nothing but the necessary.
    pub fn new(session: SessionId, workspace: Workspace, shell: ShellKind) -> Self {
        Self {
            session,
            workspace,
            kind: JailKind::Bwrap,
            shell,
            policy: JailPolicy::default(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            git_identity: None,
            read_only: Vec::new(),
            cache_dir: None,
            idle_timeout: None,
        }
    }

    /// The whole environment of a shell inside.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let user = if rustix::process::getuid().is_root() {
            "root"
        } else {
            "agent"
        };
        let mut env: BTreeMap<String, String> = [
            ("HOME", HOME),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
            ("TMPDIR", "/tmp"),
            ("USER", user),
            ("LOGNAME", user),
            // Tools that ask for colours or a pager would only spoil the transcript.
            ("NO_COLOR", "1"),
            ("PAGER", "cat"),
            ("GIT_PAGER", "cat"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        if self.kind == JailKind::Outer {
            env.insert(
                "HOME".to_owned(),
                std::env::temp_dir().to_string_lossy().into_owned(),
            );
        }
        if let Some(host) = &self.cache_dir {
            let cache = match self.kind {
                JailKind::Bwrap => Path::new(CACHE),
                JailKind::Outer => host,
            };
            for (name, dir) in [
                ("XDG_CACHE_HOME", "xdg"),
                ("CARGO_HOME", "cargo"),
                ("npm_config_cache", "npm"),
                ("PIP_CACHE_DIR", "pip"),
                ("GOMODCACHE", "go/mod"),
                ("GOCACHE", "go/build"),
            ] {
                env.insert(name.to_owned(), cache.join(dir).to_string_lossy().into_owned());
            }
        }
        let mut git = vec![
            ("commit.gpgsign", "false"),
            ("tag.gpgsign", "false"),
            ("safe.directory", "*"),
        ];
        if self.kind != JailKind::Outer {
            git.push(("core.excludesFile", "/etc/gitignore"));
        }
        if let Some((name, email)) = &self.git_identity {
            git.extend([("user.name", name.as_str()), ("user.email", email.as_str())]);
        }
        env.insert("GIT_CONFIG_COUNT".to_owned(), git.len().to_string());
        for (n, (key, value)) in git.into_iter().enumerate() {
            env.insert(format!("GIT_CONFIG_KEY_{n}"), key.to_owned());
            env.insert(format!("GIT_CONFIG_VALUE_{n}"), value.to_owned());
        }
        env.extend(self.env.clone());
        env
    }
}
