//! Owns: DaemonService: health, models, credentials, stopping.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentd_proto::pb;
use pb::daemon_service_server::DaemonService;
use tonic::{Request, Response};

use super::convert::timestamp;
use super::status::{Reply, invalid};
use crate::domain::rejection::Rejection;
use crate::session::Environment;
use crate::supervisor::{Checkup, ModelRow, ModelTry, Supervisor};

/// What the daemon says of itself; made by its composition root.
#[async_trait::async_trait]
pub trait Host: Send + Sync {
    /// Fixed facts and places.
    fn facts(&self) -> Facts;
    /// Begins the shutdown.
    fn stop(&self, keep_jails: bool);
    /// Stores a key; says where.
    async fn set_credential(&self, provider: &str, key: String) -> Result<String, String>;
    /// Providers with a stored key.
    async fn credentials(&self) -> Result<Vec<String>, String>;
    /// Forgets a key; false when there was none.
    async fn delete_credential(&self, provider: &str) -> Result<bool, String>;
    /// Providers with a key in the daemon's own environment.
    fn environment_keys(&self) -> Vec<String>;
    /// Checks of the machine and of the daemon's files.
    async fn doctor(&self, prove: bool) -> Vec<Checkup>;
    /// What can't be promised here; mostly nothing.
    fn limits(&self) -> Vec<Checkup>;
    /// One line about the jail.
    fn jail_line(&self) -> String;
}

/// Fixed facts of a running daemon.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// Its socket.
    pub socket: String,
    /// Its database.
    pub database: String,
    /// Its log file; may be empty.
    pub log_file: String,
    /// When it started, microseconds since the epoch.
    pub started_us: i64,
    /// Configuration files that were read.
    pub config_files: Vec<String>,
}

/// The service.
pub struct DaemonApi {
    supervisor: Supervisor,
    host: Arc<dyn Host>,
}

impl DaemonApi {
    /// A service over the daemon's own parts.
    pub fn new(supervisor: Supervisor, host: Arc<dyn Host>) -> Self {
        Self { supervisor, host }
    }
}

fn finding(checkup: Checkup) -> pb::Finding {
    pb::Finding {
        check: checkup.check,
        level: match checkup.ok {
            Some(true) => pb::FindingLevel::Ok,
            None => pb::FindingLevel::Warning,
            Some(false) => pb::FindingLevel::Failed,
        }
        .into(),
        message: checkup.message,
        fix: checkup.fix,
    }
}

fn environment(variables: BTreeMap<String, String>) -> Environment {
    Environment::from_vars(variables)
}

/// Names of providers go into file and variable names.
fn provider(name: &str) -> Result<(), Rejection> {
    let ok = !name.is_empty() && name.len() <= 64;
    if ok
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    {
        return Ok(());
    }
    Err(invalid("provider is a lower-case word, such as openai"))
}

#[tonic::async_trait]
impl DaemonService for DaemonApi {
    async fn get_status(&self, _request: Request<pb::GetStatusRequest>) -> Reply<pb::GetStatusResponse> {
        let (sessions, working_sessions, open_approvals) = self.supervisor.counts().await?;
        let facts = self.host.facts();
        Ok(Response::new(pb::GetStatusResponse {
            version: facts.version,
            pid: i64::from(std::process::id()),
            socket: facts.socket,
            database: facts.database,
            log_file: facts.log_file,
            start_time: Some(timestamp(facts.started_us)),
            sessions,
            working_sessions,
            open_approvals,
            jails: self.supervisor.jails(),
            jail: self.host.jail_line(),
            default_model: self.supervisor.default_model().unwrap_or_default(),
            resident_bytes: resident_bytes(),
            config_files: facts.config_files,
            limits: self.host.limits().into_iter().map(finding).collect(),
        }))
    }

    async fn stop_daemon(&self, request: Request<pb::StopDaemonRequest>) -> Reply<pb::StopDaemonResponse> {
        self.host.stop(request.get_ref().keep_jails);
        Ok(Response::new(pb::StopDaemonResponse {
            pid: i64::from(std::process::id()),
        }))
    }

    async fn run_doctor(&self, request: Request<pb::RunDoctorRequest>) -> Reply<pb::RunDoctorResponse> {
        let findings = self.host.doctor(request.get_ref().prove).await;
        let findings = findings.into_iter().map(finding).collect();
        Ok(Response::new(pb::RunDoctorResponse { findings }))
    }

    async fn list_models(&self, request: Request<pb::ListModelsRequest>) -> Reply<pb::ListModelsResponse> {
        let wish = request.into_inner();
        let environment = environment(wish.environment);
        let probe = wish.probe_loopback.then_some(Duration::from_millis(200));
        let models = self.supervisor.list_models(&environment, probe).await;
        let models = models
            .into_iter()
            .map(|row: ModelRow| pb::Model {
                name: row.name,
                status: row.status.to_owned(),
                context_window_tokens: row.context_tokens.unwrap_or(0),
                input_micro_usd_per_million: row.input_price,
                output_micro_usd_per_million: row.output_price,
                note: row.note,
                is_default: row.is_default,
                tool_use: match row.tools {
                    Some(true) => pb::ToolUse::Yes,
                    Some(false) => pb::ToolUse::No,
                    None => pb::ToolUse::Unspecified,
                }
                .into(),
                listed_time: row.listed_us.map(timestamp),
            })
            .collect();
        Ok(Response::new(pb::ListModelsResponse { models }))
    }

    async fn test_model(&self, request: Request<pb::TestModelRequest>) -> Reply<pb::TestModelResponse> {
        let wish = request.into_inner();
        let ModelTry {
            ok,
            reason,
            message,
            hints,
            first_token_ms,
            stage,
            passed,
        } = self
            .supervisor
            .test_model(&wish.model, &environment(wish.environment))
            .await;
        Ok(Response::new(pb::TestModelResponse {
            ok,
            reason,
            message,
            hints,
            first_token_ms,
            failed_stage: stage.to_owned(),
            passed_stages: passed.into_iter().map(str::to_owned).collect(),
        }))
    }

    async fn set_credential(
        &self,
        request: Request<pb::SetCredentialRequest>,
    ) -> Reply<pb::SetCredentialResponse> {
        let wish = request.into_inner();
        provider(&wish.provider)?;
        if wish.api_key.trim().is_empty() {
            return Err(invalid("api_key is empty").into());
        }
        let path = self.host.set_credential(&wish.provider, wish.api_key).await;
        Ok(Response::new(pb::SetCredentialResponse {
            path: path.map_err(|e| refused(&e))?,
        }))
    }

    async fn list_credentials(
        &self,
        _request: Request<pb::ListCredentialsRequest>,
    ) -> Reply<pb::ListCredentialsResponse> {
        let stored = self.host.credentials().await.map_err(|e| refused(&e))?;
        let entry = |provider: String, source: &str| pb::Credential {
            provider,
            source: source.to_owned(),
        };
        let mut credentials: Vec<_> = stored.into_iter().map(|p| entry(p, "stored")).collect();
        credentials.extend(
            self.host
                .environment_keys()
                .into_iter()
                .map(|p| entry(p, "environment")),
        );
        Ok(Response::new(pb::ListCredentialsResponse { credentials }))
    }

    async fn delete_credential(
        &self,
        request: Request<pb::DeleteCredentialRequest>,
    ) -> Reply<pb::DeleteCredentialResponse> {
        provider(&request.get_ref().provider)?;
        let existed = self
            .host
            .delete_credential(&request.get_ref().provider)
            .await
            .map_err(|e| refused(&e))?;
        Ok(Response::new(pb::DeleteCredentialResponse { existed }))
    }
}

/// The credentials file can't be used as it is; the text names it and the fix, never a key.
fn refused(message: &str) -> Rejection {
    Rejection::WrongState(message.to_owned())
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}
