//! Owns: turning configuration into the parts' own settings.
//! Guarantees: each key of the configuration is handed to exactly one part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::BeginError;
use crate::board;
use crate::config::{self, Config};
use crate::credentials::Credentials;
use crate::domain::secret_files::SecretFiles;
use crate::domain::tool::EditDialect;
use crate::domain::workspace::{JailKind, Layout, ShellKind};
use crate::jail::network::{NetworkSettings, Upstream};
use crate::jail::{JailHost, JailHostConfig, Keeping, Limits, MountJournal, Person, Scopes};
use crate::ledger::{Ledger, LedgerSettings};
use crate::model::{self, Api, Auth, Credential, Environment, ModelRegistry, ModelSettings, ProviderConfig};
use crate::paths::{self, Env, Paths};
use crate::personas::Personas;
use crate::session::{Desks, Hooks, ProjectGrants, Settings};
use crate::store::Store;
use crate::store::redact::Redactor;
use crate::supervisor::Defaults;

/// A redactor that knows every secret the daemon was started with.
pub fn redactor_of(config: &Config, credentials: &Credentials, env: &Env) -> Arc<Redactor> {
    let redactor = Redactor::new();
    for secret in config.secrets().iter().chain(&credentials.secrets()) {
        redactor.learn(secret.expose());
    }
    let named = |name: &str| config.providers.values().any(|entry| entry.api_key_env == name);
    for (name, value) in env {
        if name.ends_with("_API_KEY") || name.ends_with("_TOKEN") || name.ends_with("_SECRET") || named(name)
        {
            redactor.learn(value.trim());
        }
    }
    Arc::new(redactor)
}

/// The models, with the credentials of this moment.
pub(super) fn models(
    config: &Config,
    credentials: &Credentials,
    env: &Env,
) -> Result<ModelRegistry, BeginError> {
    model::install_tls();
    let settings = ModelSettings {
        default_model: config.model.default.clone(),
        providers: config
            .providers
            .iter()
            .map(|(name, entry)| (name.clone(), provider(entry)))
            .collect(),
        models: config
            .models
            .iter()
            .map(|(name, entry)| (name.clone(), known_better(entry)))
            .collect(),
    };
    let environment = Environment::from_vars(env.clone());
    let environment = (config.providers.values()).fold(environment, |known, entry| {
        known.and(&entry.api_key_env, env.get(&entry.api_key_env))
    });
    Ok(ModelRegistry::new(settings, stored(credentials)?, environment))
}

/// Stored keys as the model part wants them.
pub(super) fn stored(credentials: &Credentials) -> Result<model::Credentials, BeginError> {
    let mut all = BTreeMap::new();
    for name in credentials.list()? {
        if let Some(key) = credentials.get(&name)? {
            let api_key = Some(key);
            all.insert(
                name,
                Credential {
                    api_key,
                    ..Credential::default()
                },
            );
        }
    }
    Ok(model::Credentials(all))
}

fn known_better(entry: &config::ModelEntry) -> model::catalog::ModelOverride {
    model::catalog::ModelOverride {
        context_tokens: entry.context_tokens,
        input_usd_per_mtok: entry.input_usd,
        cached_input_usd_per_mtok: entry.cached_input_usd,
        output_usd_per_mtok: entry.output_usd,
        edit_dialect: entry.apply_patch.map(|patch| match patch {
            true => EditDialect::ApplyPatch,
            false => EditDialect::SearchReplace,
        }),
    }
}

fn provider(entry: &config::ProviderEntry) -> ProviderConfig {
    ProviderConfig {
        base_url: entry.base_url.clone(),
        api: entry.api.map(|api| match api {
            config::ProviderApi::Chat => Api::Chat,
            config::ProviderApi::Responses => Api::Responses,
        }),
        auth: match entry.auth {
            config::ProviderAuth::Bearer => Auth::Bearer,
            config::ProviderAuth::ApiKey => Auth::ApiKeyHeader,
            config::ProviderAuth::None => Auth::None,
        },
        headers: entry.headers.clone(),
        query: entry.query.clone(),
        proxy: entry.proxy.clone(),
        api_key_env: Some(entry.api_key_env.clone()),
        ca_file: entry.ca_file.clone(),
        ..ProviderConfig::default()
    }
}

/// The company's proxy that programs in jails go out through. One that can't be used is said and left out: what it was to
/// reach is then not reached, and says why.
fn upstream(config: &Config, env: &Env) -> Option<Arc<Upstream>> {
    let of_environment = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| env.get(*name));
        value.filter(|text| !text.is_empty()).cloned()
    };
    let (url, except) = match &config.network.proxy {
        Some(proxy) => (proxy.expose().to_owned(), String::new()),
        None => (
            of_environment(["HTTPS_PROXY", "https_proxy"])?,
            of_environment(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        ),
    };
    match Upstream::new(&url, &except, config.network.ca_file.as_deref()) {
        Ok(upstream) => Some(Arc::new(upstream)),
        Err(why) => {
            tracing::error!(why, "network.proxy (or HTTPS_PROXY) is not used");
            None
        }
    }
}

/// What all sessions share.
#[expect(
    clippy::too_many_arguments,
    reason = "the composition root hands each part over once"
)]
pub(super) async fn settings(
    paths: &Paths,
    config: &Config,
    credentials: &Credentials,
    env: &Env,
    store: &Store,
    ledger: Ledger,
    scopes: Option<Scopes>,
    desks: Desks,
) -> Result<Arc<Settings>, BeginError> {
    let jinit = find_jinit().map_err(BeginError::Jinit)?;
    let groups = match &scopes {
        Some(_) => Ok(()),
        None => Err("no systemd user manager makes control groups for jails here".to_owned()),
    };
    let host = JailHostConfig {
        runtime_dir: paths.runtime_dir.clone(),
        state_dir: paths.state_dir.clone(),
        jinit,
        scopes,
    };
    let journal: Arc<dyn MountJournal> = Arc::new(Journal(store.clone()));
    let jails = JailHost::new(host, journal)?;
    let grants = ProjectGrants::default();
    grants.load(store).await?;
    let unlimited = Duration::from_secs(365 * 24 * 3600);
    Ok(Arc::new(Settings {
        models: RwLock::new(
            models(config, credentials, env)?.with_shelf(paths.cache_dir.join("models.json")),
        ),
        grants,
        hooks: Hooks::new(config.hooks.needs_you.clone(), env),
        effort: config.model.effort.clone(),
        small_model: config.model.small.clone(),
        fallback: config.model.fallback.clone(),
        compact_percent: config.model.compact_at,
        jails,
        limits: Limits {
            nofile: config.limits.nofile,
            fsize: config.limits.fsize,
            nproc: Some(config.limits.nproc),
            data: config.limits.data,
            tmp_bytes: config.limits.tmp.unwrap_or(Limits::default().tmp_bytes),
            tmp_files: Some(config.limits.tmp_files),
            memory: config.limits.memory,
            cpu_weight: Some(config.limits.cpu_weight).filter(|weight| *weight != 100),
            disk_floor: config.limits.disk_floor,
            disk_growth: config.limits.disk_growth,
            session_time: config.limits.session_time,
            umask: paths::persons_umask(),
        },
        network: Arc::new(NetworkSettings {
            allow: config.network.allow.clone(),
            pins: config.network.pins.clone(),
            ca_file: config.network.ca_file.clone(),
            upstream: upstream(config, env),
        }),
        keeping: Keeping::look(groups),
        person: Arc::new(Person::of(env, config.jail.toolchains)),
        shell_init: config.shell.init.clone(),
        read_only: config.jail.read_only.clone(),
        secret_files: SecretFiles::new(config.privacy.secret_files.clone()),
        mask: config.privacy.mask,
        cache_dir: paths.cache_dir.clone(),
        git_identity: if config.git.pass_identity {
            git_identity()
        } else {
            None
        },
        environment: BTreeMap::new(),
        tool_timeout: config.shell.agent_timeout.unwrap_or(unlimited),
        max_output: config.shell.max_output.unwrap_or(u64::MAX / 4),
        idle_timeout: config.shell.idle_timeout.unwrap_or(unlimited),
        max_steps: config.model.max_steps,
        ledger,
        desks,
    }))
}

/// The ledger over the store.
pub(super) fn ledger(config: &Config, store: &Store) -> Result<Ledger, BeginError> {
    let settings = LedgerSettings {
        zone: config.ledger.time_zone.clone().unwrap_or_default(),
        retention: config.ledger.retention,
        alert_command: config.ledger.alert_command.clone(),
    };
    Ledger::new(store.clone(), settings).map_err(|no| BeginError::Ledger(no.to_string()))
}

/// What boards are made with.
pub(super) fn boards(config: &Config) -> board::Settings {
    board::Settings {
        files: config.board.files.clone(),
        lease: config.board.lease,
    }
}

/// What a session gets when its maker does not say.
pub(super) fn defaults(config: &Config, paths: &Paths) -> Defaults {
    Defaults {
        log: config.privacy.log,
        personas: Personas::in_dir(paths.config_file.parent().unwrap_or(Path::new("/"))),
        persona: config.persona.clone(),
        jail: match config.jail.kind {
            config::JailKind::Bwrap => JailKind::Bwrap,
            config::JailKind::Outer => JailKind::Outer,
        },
        layout: match config.jail.layout {
            config::Layout::Auto => None,
            config::Layout::Root => Some(Layout::Root),
            config::Layout::Host => Some(Layout::Host),
        },
        shell: match config.shell.kind {
            config::ShellChoice::Auto => None,
            config::ShellChoice::Sh => Some(ShellKind::Sh),
            config::ShellChoice::Bash => Some(ShellKind::Bash),
        },
        agent_network: config.network.agent_mode,
        shell_network: config.network.shell_mode,
        exec_timeout: config.shell.timeout,
        trash: config.storage.trash,
        archive_keep: config.storage.archive_keep,
        max_output: config.storage.max_output,
        max_log: config.storage.max_log,
    }
}

/// `agent-jinit`: beside this program, beside its directory (tests), then in libexec.
pub fn find_jinit() -> Result<PathBuf, Vec<PathBuf>> {
    let exe = std::env::current_exe().unwrap_or_default();
    let here = exe.parent().unwrap_or(Path::new("/")).to_owned();
    let above = here.parent().unwrap_or(Path::new("/")).to_owned();
    let places = [
        here.join("agent-jinit"),
        above.join("agent-jinit"),
        above.join("libexec/agentd/agent-jinit"),
        PathBuf::from("/usr/local/libexec/agentd/agent-jinit"),
        PathBuf::from("/usr/libexec/agentd/agent-jinit"),
    ];
    match places.iter().find(|path| path.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(places.into()),
    }
}

/// The user's name and mail for commits: values only, read by git itself outside any repository.
fn git_identity() -> Option<(String, String)> {
    let get = |key: &str| {
        let output = std::process::Command::new("git")
            .args(["config", "--global", "--get", key])
            .current_dir("/")
            .stderr(std::process::Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        Some(text).filter(|t| !t.is_empty())
    };
    Some((get("user.name")?, get("user.email")?))
}

/// The jail's memory of its mount points, in the store.
struct Journal(Store);

impl MountJournal for Journal {
    fn record(&self, workspace: &Path, dir: &Path) -> std::io::Result<()> {
        self.0
            .record_mount_point(workspace, dir)
            .map_err(std::io::Error::other)
    }

    fn forget(&self, workspace: &Path, dir: &Path) -> std::io::Result<()> {
        self.0
            .forget_mount_point(workspace, dir)
            .map_err(std::io::Error::other)
    }

    fn ours(&self, workspace: &Path) -> Vec<PathBuf> {
        self.points(Some(workspace))
            .into_iter()
            .map(|(_, dir)| dir)
            .collect()
    }

    fn workspaces(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self
            .points(None)
            .into_iter()
            .map(|(workspace, _)| workspace)
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

impl Journal {
    fn points(&self, workspace: Option<&Path>) -> Vec<(PathBuf, PathBuf)> {
        self.0.mount_points(workspace).unwrap_or_else(|error| {
            tracing::error!(%error, "the journal of mount points can't be read");
            Vec::new()
        })
    }
}
