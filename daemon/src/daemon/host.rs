//! Owns: what the daemon says and does about itself: facts, credentials, checks, stopping.
//! Guarantees: keys go in and never come out; a new key is known to the redactor before it is stored.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::wiring;
use crate::api::{Facts, Host as HostApi};
use crate::clock::now_us;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::domain::id::SessionId;
use crate::domain::secret::Secret;
use crate::domain::workspace::{Layout, ShellKind, Workspace};
use crate::jail::{self, JailSpec, Severity};
use crate::paths::{Env, Paths};
use crate::session::Settings;
use crate::shell::{RunRequest, Shell};
use crate::shutdown::{Reason, Shutdown};
use crate::store::redact::Redactor;
use crate::supervisor::Checkup;
use crate::survival::{Promise, Surroundings};

/// The daemon as its own API sees it.
pub(super) struct Host {
    facts: Mutex<Facts>,
    credentials: Credentials,
    settings: Arc<Settings>,
    redactor: Arc<Redactor>,
    environment_keys: Vec<String>,
    shutdown: Shutdown,
    paths: Paths,
    around: Surroundings,
    /// Asked once: bwrap does not change under a running daemon.
    bwrap_version: OnceLock<String>,
}

impl Host {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the composition root, with one of each part"
    )]
    pub(super) fn new(
        paths: &Paths,
        config: &Config,
        credentials: Credentials,
        settings: Arc<Settings>,
        redactor: Arc<Redactor>,
        env: &Env,
        shutdown: Shutdown,
        around: Surroundings,
    ) -> Self {
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            socket: paths.socket.display().to_string(),
            database: paths.database.display().to_string(),
            log_file: paths.log_file.display().to_string(),
            started_us: now_us(),
            config_files: config.files.iter().map(|f| f.display().to_string()).collect(),
        };
        let environment_keys = env
            .iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .filter_map(|(name, _)| name.strip_suffix("_API_KEY"))
            .map(str::to_ascii_lowercase)
            .collect();
        Self {
            facts: Mutex::new(facts),
            credentials,
            settings,
            redactor,
            environment_keys,
            shutdown,
            paths: paths.clone(),
            around,
            bwrap_version: OnceLock::new(),
        }
    }

    pub(super) fn listening_on(&self, socket: &Path) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).socket = socket.display().to_string();
    }

    fn refresh_models(&self) -> Result<(), String> {
        let stored = wiring::stored(&self.credentials).map_err(|e| e.to_string())?;
        self.settings
            .set_models(self.settings.models().with_credentials(stored));
        Ok(())
    }
}

#[async_trait::async_trait]
impl HostApi for Host {
    fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self, keep_jails: bool) {
        self.shutdown.begin(Reason::Requested { keep_jails });
    }

    async fn set_credential(&self, provider: &str, key: String) -> Result<String, String> {
        let key = Secret::new(key);
        self.redactor.learn(key.expose());
        self.credentials.set(provider, &key).map_err(|e| e.to_string())?;
        self.refresh_models()?;
        Ok(self.credentials.path().display().to_string())
    }

    async fn credentials(&self) -> Result<Vec<String>, String> {
        self.credentials.list().map_err(|e| e.to_string())
    }

    async fn delete_credential(&self, provider: &str) -> Result<bool, String> {
        let existed = self.credentials.delete(provider).map_err(|e| e.to_string())?;
        self.refresh_models()?;
        Ok(existed)
    }

    fn environment_keys(&self) -> Vec<String> {
        self.environment_keys.clone()
    }

    async fn doctor(&self, prove: bool) -> Vec<Checkup> {
        let mut checks: Vec<Checkup> = tokio::task::spawn_blocking(jail::probe)
            .await
            .unwrap_or_default()
            .into_iter()
            .map(|finding| Checkup {
                check: finding.name.to_owned(),
                ok: Some(finding.severity == Severity::Ok),
                message: finding.what,
                fix: finding.fix.join("\n"),
            })
            .collect();
        let jail_works = checks.iter().all(|c| c.ok == Some(true));
        checks.push(self.key_file());
        checks.push(private("state_dir", &self.paths.state_dir));
        checks.push(whole(&self.paths.database).await);
        checks.push(free_space(&self.paths.state_dir));
        checks.extend(self.around.now().promises().into_iter().map(checkup));
        if prove && jail_works {
            checks.extend(self.prove().await);
        }
        checks
    }

    fn limits(&self) -> Vec<Checkup> {
        self.around.now().limits().into_iter().map(checkup).collect()
    }

    fn jail_line(&self) -> String {
        match jail::ensure_jail_possible() {
            Ok(bwrap) => {
                let version = self.bwrap_version.get_or_init(|| jail::version_line(&bwrap));
                format!("{version} ok")
            }
            Err(error) => error.to_string(),
        }
    }
}

/// What can't be kept is a limit worth knowing, not a fault.
fn checkup(promise: Promise) -> Checkup {
    Checkup {
        check: promise.check.to_owned(),
        ok: promise.kept.then_some(true),
        message: promise.message,
        fix: promise.fix,
    }
}

impl Host {
    fn key_file(&self) -> Checkup {
        let path = self.credentials.path();
        let check = "credentials".to_owned();
        match self.credentials.list() {
            Ok(names) if names.is_empty() => Checkup {
                check,
                ok: Some(true),
                message: "no key is stored".into(),
                fix: String::new(),
            },
            Ok(names) => Checkup {
                check,
                ok: Some(true),
                message: format!("keys for {} in {}", names.join(", "), path.display()),
                fix: String::new(),
            },
            Err(error) => Checkup {
                check,
                ok: Some(false),
                message: error.to_string(),
                fix: format!("chmod 600 '{}'", path.display()),
            },
        }
    }

    /// Starts a jail on an empty directory and tries to break out of it.
    async fn prove(&self) -> Vec<Checkup> {
        let dir = self.paths.state_dir.join("doctor");
        let failed = |message: String| {
            vec![Checkup {
                check: "jail_proof".into(),
                ok: Some(false),
                message,
                fix: "agentctl daemon logs".into(),
            }]
        };
        if let Err(error) = std::fs::create_dir_all(&dir) {
            return failed(error.to_string());
        }
        let workspace = Workspace {
            root: dir.clone(),
            start_dir: "".into(),
            layout: Layout::Host,
            layout_reason: "Made by doctor.".into(),
        };
        let shell = Shell::open(
            self.settings.jails.clone(),
            JailSpec::new(SessionId::random(), workspace, ShellKind::Sh),
            None,
        );
        // A file of ours beside the workspace: what the jail can't see of it, it can't see of yours.
        let canary = self.paths.state_dir.join("doctor.canary");
        if let Err(error) = std::fs::write(&canary, "reached\n") {
            return failed(error.to_string());
        }
        let quoted = canary.display().to_string().replace('\'', "'\\''");
        let tries = [
            ("jail_files", "cat /etc/shadow ~/.ssh/id_* 2>/dev/null".to_owned()),
            (
                "jail_outside",
                format!("cat '{quoted}' 2>/dev/null; ls /root/.ssh /var/lib 2>/dev/null"),
            ),
            (
                "jail_network",
                "tail -n +2 /proc/net/route 2>/dev/null | grep .".to_owned(),
            ),
            (
                "jail_processes",
                "ls /proc | grep -c '^[0-9]' | awk '$1 > 20 {print}'".to_owned(),
            ),
            (
                "jail_secrets",
                "env | grep -E '(_API_KEY|_TOKEN|_SECRET|SSH_AUTH_SOCK|DISPLAY)='".to_owned(),
            ),
        ];
        let mut checks = Vec::new();
        for (check, script) in tries {
            let exec = crate::domain::id::ExecId::random();
            let Ok(handle) = shell.run(RunRequest::new(exec, script)) else {
                return failed("the shell ended".into());
            };
            let result = handle.finished().await;
            if result.not_run {
                checks.extend(failed(
                    result.message.unwrap_or_else(|| "the jail did not start".into()),
                ));
                break;
            }
            let held = result.stdout_bytes == 0;
            checks.push(Checkup {
                check: check.into(),
                ok: Some(held),
                message: if held {
                    "nothing of yours can be reached".into()
                } else {
                    "something could be reached".into()
                },
                fix: if held {
                    String::new()
                } else {
                    "please report this: agentctl daemon logs".into()
                },
            });
        }
        if let Err(error) = shell.end().await {
            checks.extend(failed(error.to_string()));
        }
        // The next proof writes it anew; a leftover is a word on our own disk.
        let _leftover = std::fs::remove_file(&canary);
        checks
    }
}

fn private(check: &str, path: &Path) -> Checkup {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)
        .map(|m| m.permissions().mode() & 0o777)
        .unwrap_or(0);
    let ok = mode & 0o077 == 0;
    Checkup {
        check: check.into(),
        ok: Some(ok),
        message: format!("{} (mode {mode:03o})", path.display()),
        fix: if ok {
            String::new()
        } else {
            format!("chmod 700 '{}'", path.display())
        },
    }
}

/// Reads all of the database.
async fn whole(database: &Path) -> Checkup {
    let path = database.to_owned();
    let checked = tokio::task::spawn_blocking(move || crate::store::check(&path)).await;
    let (ok, message) = match checked {
        Ok(Ok(())) => (true, format!("{} is whole", database.display())),
        Ok(Err(error)) => (false, error.to_string()),
        Err(error) => (false, error.to_string()),
    };
    Checkup {
        check: "database".into(),
        ok: Some(ok),
        message,
        fix: if ok {
            String::new()
        } else {
            "agentctl daemon stop, then move the file away, or bring a copy back".into()
        },
    }
}

/// Less than this free, and long outputs will be cut short.
const LOW_SPACE: u64 = 1024 * 1024 * 1024;

fn free_space(path: &Path) -> Checkup {
    let free = rustix::fs::statvfs(path)
        .map(|s| s.f_bavail.saturating_mul(s.f_frsize))
        .unwrap_or(0);
    Checkup {
        check: "disk".into(),
        ok: if free >= LOW_SPACE { Some(true) } else { None },
        message: format!("{} MiB free for {}", free / (1024 * 1024), path.display()),
        fix: if free >= LOW_SPACE {
            String::new()
        } else {
            "free some disk space".into()
        },
    }
}
