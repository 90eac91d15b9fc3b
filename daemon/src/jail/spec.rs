//! Owns: what a Jail shall be, as data: policy and Workspace turned into numbers, paths and values.
//! Guarantees: no flag of any program; the environment is built here, never inherited.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::limits::Limits;
use super::sight::Sight;
use super::toolchains;
use crate::domain::id::SessionId;
use crate::domain::limits::AddedDir;
use crate::domain::network::NetworkMode;
use crate::domain::secret_files::SecretFiles;
use crate::domain::workspace::{JailKind, ShellKind, Workspace};

/// Where the home directory is inside: on the Jail's own tmpfs, never the project.
pub const HOME: &str = "/tmp/home";
/// Where the package caches are inside.
pub const CACHE: &str = "/tmp/cache";

/// What Policy says of the wall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JailPolicy {
    /// Which policy this was made from: it rises with every change.
    pub generation: u64,
    /// What can be reached.
    pub network: NetworkMode,
    /// The Workspace can be looked at and not changed.
    pub read_only: bool,
}

/// Whose tools a Jail shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Their home directory.
    pub home: Option<PathBuf>,
    /// Their variables, as far as they tell where tools are; `PATH` for callers who did not say theirs.
    pub env: BTreeMap<String, String>,
    /// Look for compilers and version managers in the usual places.
    pub automatic: bool,
}

impl Person {
    /// Of an environment: only what tells where tools are is kept of it.
    pub fn of(env: &BTreeMap<String, String>, automatic: bool) -> Self {
        let kept = toolchains::variables().chain(["PATH"]);
        Self {
            home: env
                .get("HOME")
                .map(PathBuf::from)
                .filter(|home| home.is_absolute()),
            env: kept
                .filter_map(|name| Some((name.to_owned(), env.get(name)?.clone())))
                .collect(),
            automatic,
        }
    }
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
    /// Directories beside the Workspace, at their own paths.
    pub added: Vec<AddedDir>,
    /// Whose tools it shows; `None`: nobody's.
    pub person: Option<Arc<Person>>,
    /// The PATH of whoever made the Session; empty: not known.
    pub search_path: String,
    /// Shell text that a new shell runs first.
    pub init: Option<String>,
    /// Files of the workspace whose content stays outside.
    pub masked: SecretFiles,
    /// Host directory for the package managers' caches, writable.
    pub cache_dir: Option<PathBuf>,
    /// Further certificate authorities for programs inside, PEM.
    pub ca_file: Option<PathBuf>,
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
            added: Vec::new(),
            person: None,
            search_path: String::new(),
            init: None,
            masked: SecretFiles::default(),
            cache_dir: None,
            ca_file: None,
            idle_timeout: None,
        }
    }

    /// True where programs inside have the proxy as their way out.
    pub fn has_proxy(&self) -> bool {
        self.kind == JailKind::Bwrap && self.policy.network != NetworkMode::Off
    }

    /// The whole environment of a shell inside.
    pub fn environment(&self, sight: &Sight) -> BTreeMap<String, String> {
        let user = if rustix::process::getuid().is_root() {
            "root"
        } else {
            "agent"
        };
        let mut env: BTreeMap<String, String> = [
            ("HOME", HOME),
            ("PATH", sight.path_text().as_str()),
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
        if self.has_proxy() {
            env.extend(super::network::environment(self.ca_file.is_some()));
        }
        env.extend(sight.toolchains.env.clone());
        let mut git = vec![
            ("commit.gpgsign", "false"),
            ("tag.gpgsign", "false"),
            ("safe.directory", "*"),
        ];
        if self.kind != JailKind::Outer {
            git.push(("core.excludesFile", "/etc/gitignore"));
        }
        if self.has_proxy() {
            // No key for ssh ever enters: what is public is fetched without one.
            git.extend(super::network::GIT.iter().copied());
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
