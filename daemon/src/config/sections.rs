//! Owns: the sections of the configuration as plain types.
//! Guarantees: every field is read from exactly one key of the table; a name that is not in the table can't be
//! read (debug assertion).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{self, Value};
use super::{Config, Settings, keys};
use crate::domain::network::{HostRule, NetworkMode, Target};
use crate::domain::redaction::LogLevel;
use crate::domain::secret::Secret;

/// `[model]`: which model, and how far it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// `PROVIDER/NAME` or `demo`; `None`: a model must be named.
    pub default: Option<String>,
    /// Reasoning effort; `None`: the provider's default.
    pub effort: Option<String>,
    /// The most steps of a turn.
    pub max_steps: u32,
    /// The model for titles and summaries.
    pub small: Option<String>,
    /// Models that take the place of one that can't be had, in order.
    pub fallback: Vec<String>,
    /// Percent of the context at which it is compacted; `None`: never by itself.
    pub compact_at: Option<u64>,
}

/// `[models."PROVIDER/NAME"]`: what a person knows better of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelEntry {
    /// Its context.
    pub context_tokens: Option<u64>,
    /// US dollars per million input tokens.
    pub input_usd: Option<f64>,
    /// US dollars per million cached input tokens.
    pub cached_input_usd: Option<f64>,
    /// US dollars per million output tokens.
    pub output_usd: Option<f64>,
    /// True: `apply_patch`; false: `search_replace`.
    pub apply_patch: Option<bool>,
}

/// `[providers.NAME]`: an OpenAI-compatible server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEntry {
    /// Up to and including `/v1`. `None` only for `openai`: its own address.
    pub base_url: Option<String>,
    /// Which API; `None`: chosen by the address.
    pub api: Option<ProviderApi>,
    /// How the key is sent.
    pub auth: ProviderAuth,
    /// Extra headers.
    pub headers: BTreeMap<String, String>,
    /// Extra query parameters.
    pub query: BTreeMap<String, String>,
    /// A proxy for this provider.
    pub proxy: Option<String>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// The variable with the key.
    pub api_key_env: String,
    /// Models to list; empty: ask the server.
    pub models: Vec<String>,
}

/// The API a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderApi {
    /// Chat Completions.
    Chat,
    /// Responses.
    Responses,
}

/// How a provider takes its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderAuth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `api-key: KEY`.
    ApiKey,
    /// It takes none.
    None,
}

/// `[jail]`: the wall around shells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailConfig {
    /// Which wall.
    pub kind: JailKind,
    /// Directories that jails can read.
    pub read_only: Vec<PathBuf>,
    /// Look for compilers and version managers of the person.
    pub toolchains: bool,
    /// Where the workspace is inside.
    pub layout: Layout,
}

/// Which wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JailKind {
    /// Bubblewrap.
    Bwrap,
    /// None of ours: the daemon runs in a container that is the wall.
    Outer,
}

/// Where the workspace is inside a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// By what the session is made for.
    Auto,
    /// At `/`.
    Root,
    /// At its own path.
    Host,
}

/// `[shell]`: the shells in the jails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellConfig {
    /// Which shell.
    pub kind: ShellChoice,
    /// What a new shell runs first.
    pub init: Option<String>,
    /// Limit of people's and programs' commands; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Limit of the agent's commands; `None`: no limit.
    pub agent_timeout: Option<Duration>,
    /// Bytes kept of each stream of a command; `None`: all.
    pub max_output: Option<u64>,
    /// Life of an idle jail; `None`: for ever.
    pub idle_timeout: Option<Duration>,
}

/// Which shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellChoice {
    /// By what the session is made for.
    Auto,
    /// `/bin/sh`.
    Sh,
    /// `bash`.
    Bash,
}

/// `[limits]`: of each jail or each process in it. `None`: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open files of a process.
    pub nofile: u64,
    /// The largest file, in bytes.
    pub fsize: Option<u64>,
    /// Bytes of `/tmp`.
    pub tmp: Option<u64>,
    /// Processes.
    pub nproc: u64,
    /// Private memory of a process, in bytes.
    pub data: Option<u64>,
    /// Files in a jail's `/tmp`.
    pub tmp_files: u64,
    /// Memory of everything in a session, in bytes.
    pub memory: Option<u64>,
    /// Share of the processor; 100 is usual.
    pub cpu_weight: u32,
    /// Bytes that stay free on the workspace's disk.
    pub disk_floor: Option<u64>,
    /// Bytes by which free space there may fall during a command.
    pub disk_growth: Option<u64>,
    /// How long all commands of a session may take.
    pub session_time: Option<Duration>,
}

/// `[network]`: what programs in jails can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Of sessions for work with a model.
    pub agent_mode: NetworkMode,
    /// Of sessions for commands.
    pub shell_mode: NetworkMode,
    /// Hosts that need no question.
    pub allow: Vec<HostRule>,
    /// Addresses of hosts that are not looked up.
    pub pins: BTreeMap<Target, SocketAddr>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// A company's proxy.
    pub proxy: Option<Secret>,
}

/// `[log]`: the daemon's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Level or directives.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

/// `[privacy]`: what is kept of what was said, and what agents never see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyConfig {
    /// What logs keep.
    pub log: LogLevel,
    /// Names of files that hold secrets.
    pub secret_files: Vec<String>,
    /// They are masked in jails as well.
    pub mask: bool,
}

/// `[storage]`: what is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// How long deleted sessions can be restored.
    pub trash: Duration,
    /// Life of an archived session without events; `None`: for ever.
    pub archive_keep: Option<Duration>,
    /// Most bytes of command output kept in all; `None`: no limit.
    pub max_output: Option<u64>,
    /// Most bytes of the database; `None`: no limit.
    pub max_log: Option<u64>,
}

/// `[board]`: the task boards of workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardConfig {
    /// Relative to the workspace.
    pub files: Vec<String>,
    /// How long a claim lasts unless renewed.
    pub lease: Duration,
}

/// `[git]`: git inside the jails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitConfig {
    /// Pass `user.name` and `user.email` in.
    pub pass_identity: bool,
}

/// `[hooks]`: the user's own programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HooksConfig {
    /// Program and arguments for an open question.
    pub needs_you: Vec<String>,
}

/// `[ledger]`: usage and money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// IANA zone; `None`: this machine's.
    pub time_zone: Option<String>,
    /// Life of single rows; `None`: for ever.
    pub retention: Option<Duration>,
    /// Program and arguments.
    pub alert_command: Vec<String>,
}

impl Config {
    pub(super) fn from_settings(
        settings: Settings,
        files: Vec<PathBuf>,
        notices: Vec<String>,
        home: Option<&Path>,
    ) -> Self {
        let get = Getter {
            settings: &settings,
            home,
        };
        Self {
            model: ModelConfig {
                default: get.text("model.default"),
                effort: get.text("model.effort"),
                max_steps: u32::try_from(get.count("model.max_steps")).unwrap_or(u32::MAX),
                small: get.text("model.small"),
                fallback: get.list("model.fallback"),
                compact_at: (!get.is("model.compaction", "off")).then(|| get.count("model.compact_at")),
            },
            models: get
                .model_names()
                .into_iter()
                .map(|name| (name.to_owned(), get.model(name)))
                .collect(),
            providers: get
                .provider_names()
                .map(|name| (name.to_owned(), get.provider(name)))
                .collect(),
            jail: JailConfig {
                kind: if get.is("jail.kind", "outer") {
                    JailKind::Outer
                } else {
                    JailKind::Bwrap
                },
                read_only: get.paths("jail.read_only"),
                toolchains: !get.is("jail.toolchains", "none"),
                layout: match get.text("jail.layout").as_deref() {
                    Some("root") => Layout::Root,
                    Some("host") => Layout::Host,
                    _ => Layout::Auto,
                },
            },
            shell: ShellConfig {
                kind: match get.text("shell.kind").as_deref() {
                    Some("sh") => ShellChoice::Sh,
                    Some("bash") => ShellChoice::Bash,
                    _ => ShellChoice::Auto,
                },
                init: get.text("shell.init"),
                timeout: get.span("shell.timeout"),
                agent_timeout: get.span("shell.agent_timeout"),
                max_output: get.size("shell.max_output"),
                idle_timeout: get.span("shell.idle_timeout"),
            },
            limits: LimitsConfig {
                nofile: get.count("limits.nofile"),
                fsize: get.size("limits.fsize"),
                tmp: get.size("limits.tmp"),
                nproc: get.count("limits.nproc"),
                data: get.size("limits.data"),
                tmp_files: get.count("limits.tmp_files"),
                memory: get.size("limits.memory"),
                cpu_weight: u32::try_from(get.count("limits.cpu_weight")).unwrap_or(100),
                disk_floor: get.size("limits.disk_floor"),
                disk_growth: get.size("limits.disk_growth"),
                session_time: get.span("limits.session_time"),
            },
            network: NetworkConfig {
                agent_mode: get.network_mode("network.agent_mode"),
                shell_mode: get.network_mode("network.shell_mode"),
                // Checked when they were read.
                allow: get
                    .list("network.allow")
                    .iter()
                    .filter_map(|text| text.parse().ok())
                    .collect(),
                pins: get
                    .map("network.pins")
                    .iter()
                    .filter_map(|(host, address)| value::pin(host, address).ok())
                    .collect(),
                ca_file: get.text("network.ca_file").map(|text| get.path(&text)),
                proxy: get.text("network.proxy").map(Secret::new),
            },
            log: LogConfig {
                level: get.text("log.level").unwrap_or_else(|| "info".to_owned()),
                json: get.is("log.format", "json"),
            },
            board: BoardConfig {
                files: get.list("board.files"),
                lease: get
                    .span("board.lease")
                    .unwrap_or(Duration::from_secs(7 * 24 * 3600)),
            },
            privacy: PrivacyConfig {
                log: get
                    .text("privacy.log")
                    .and_then(|word| LogLevel::from_word(&word))
                    .unwrap_or_default(),
                secret_files: get.list("privacy.secret_files"),
                mask: get.flag("privacy.mask"),
            },
            git: GitConfig {
                pass_identity: get.flag("git.pass_identity"),
            },
            persona: get.text("persona.default").unwrap_or_else(|| "ask".to_owned()),
            hooks: HooksConfig {
                needs_you: get.list("hooks.needs_you"),
            },
            ledger: LedgerConfig {
                time_zone: get.text("ledger.time_zone"),
                retention: get.span("ledger.retention"),
                alert_command: get.list("ledger.alert_command"),
            },
            storage: StorageConfig {
                trash: get.span("storage.trash").unwrap_or(Duration::MAX),
                archive_keep: get.span("storage.archive_keep"),
                max_output: get.size("storage.max_output"),
                max_log: get.size("storage.max_log"),
            },
            files,
            notices,
            settings,
        }
    }
}

/// Reads checked settings as the types of `Config`.
struct Getter<'a> {
    settings: &'a Settings,
    home: Option<&'a Path>,
}

impl<'a> Getter<'a> {
    fn value(&self, name: &str) -> &'a Value {
        debug_assert!(keys::find(name).is_some(), "{name} is not in the table of keys");
        self.settings
            .get(name)
            .map_or(&Value::Unset, |setting| &setting.value)
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn is(&self, name: &str, word: &str) -> bool {
        self.text(name).as_deref() == Some(word)
    }

    fn network_mode(&self, name: &str) -> NetworkMode {
        match self.text(name).as_deref() {
            Some("ask") => NetworkMode::Ask,
            Some("list") => NetworkMode::List,
            _ => NetworkMode::Off,
        }
    }

    fn count(&self, name: &str) -> u64 {
        if let Value::Count(number) = self.value(name) {
            *number
        } else {
            0
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Flag(true))
    }

    fn span(&self, name: &str) -> Option<Duration> {
        if let Value::Span(span) = self.value(name) {
            *span
        } else {
            None
        }
    }

    fn size(&self, name: &str) -> Option<u64> {
        if let Value::Size(size) = self.value(name) {
            *size
        } else {
            None
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        if let Value::List(items) = self.value(name) {
            items.clone()
        } else {
            Vec::new()
        }
    }

    fn map(&self, name: &str) -> BTreeMap<String, String> {
        if let Value::Map(entries) = self.value(name) {
            entries.clone()
        } else {
            BTreeMap::new()
        }
    }

    fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.list(name).iter().map(|text| self.path(text)).collect()
    }

    fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(text),
        }
    }

    fn provider_names(&self) -> impl Iterator<Item = &'a str> {
        let mut names: Vec<&str> = self
            .settings
            .keys()
            .filter_map(|key| key.strip_prefix("providers.")?.split('.').next())
            .collect();
        names.dedup();
        names.into_iter()
    }

    fn model_names(&self) -> BTreeSet<&'a str> {
        let tables = self.settings.keys().filter_map(|key| key.strip_prefix("models."));
        tables.filter_map(|rest| Some(rest.rsplit_once('.')?.0)).collect()
    }

    fn model(&self, name: &str) -> ModelEntry {
        let key = |leaf: &str| format!("models.{name}.{leaf}");
        let price = |leaf: &str| self.text(&key(leaf)).and_then(|text| text.parse().ok());
        ModelEntry {
            context_tokens: Some(self.count(&key("context_tokens"))).filter(|tokens| *tokens > 0),
            input_usd: price("input_usd"),
            cached_input_usd: price("cached_input_usd"),
            output_usd: price("output_usd"),
            apply_patch: self.text(&key("edit")).map(|word| word == "apply_patch"),
        }
    }

    fn provider(&self, name: &str) -> ProviderEntry {
        let key = |leaf: &str| format!("providers.{name}.{leaf}");
        ProviderEntry {
            base_url: self.text(&key("base_url")),
            api: match self.text(&key("api")).as_deref() {
                Some("chat") => Some(ProviderApi::Chat),
                Some("responses") => Some(ProviderApi::Responses),
                _ => None,
            },
            auth: match self.text(&key("auth")).as_deref() {
                Some("api-key") => ProviderAuth::ApiKey,
                Some("none") => ProviderAuth::None,
                _ => ProviderAuth::Bearer,
            },
            headers: self.map(&key("headers")),
            query: self.map(&key("query")),
            proxy: self.text(&key("proxy")),
            ca_file: self.text(&key("ca_file")).map(|text| self.path(&text)),
            api_key_env: self
                .text(&key("api_key_env"))
                .unwrap_or_else(|| format!("{}_API_KEY", name.to_ascii_uppercase().replace('-', "_"))),
            models: self.list(&key("models")),
        }
    }
}
