//! Owns: which model a session uses, and what can be said of models to a client.
//! Guarantees: a model is resolved before anything is posted; a model found on loopback is offered, never
//! used unasked; names of keys may be shown, keys never.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::Supervisor;
use crate::domain::message::Message;
use crate::domain::rejection::Rejection;
use crate::model::registry::Listed;
use crate::model::{Environment, Model, ModelError, ModelEvent, ModelRequest};
use crate::session::SessionHandle;

/// Asked for when nobody named a model, configured one, or has one running.
const FALLBACK: &str = "openai/gpt-5";
/// How long a trial request may take.
const TRIAL: Duration = Duration::from_secs(30);

/// One model in a list.
#[derive(Debug, Clone)]
pub struct ModelRow {
    /// `provider/name`.
    pub name: String,
    /// `ready`, `no_key`, `found`, `offline`.
    pub status: &'static str,
    /// Context window in tokens.
    pub context_tokens: Option<u64>,
    /// Micro-USD per million input tokens.
    pub input_price: Option<u64>,
    /// Micro-USD per million output tokens.
    pub output_price: Option<u64>,
    /// Remark for a person.
    pub note: String,
    /// Used when none is named.
    pub is_default: bool,
}

/// How a trial went.
#[derive(Debug, Clone)]
pub struct ModelTry {
    /// It answered.
    pub ok: bool,
    /// Lower-case reason when not.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Next steps.
    pub hints: Vec<String>,
    /// Milliseconds to the first token.
    pub first_token_ms: u64,
}

impl Supervisor {
    /// The configured model, if any.
    pub fn default_model(&self) -> Option<String> {
        self.settings().models().default_model()
    }

    /// The model that answers a post: the named one, else the session's, else the default. True when it is to
    /// become the session's.
    pub fn model_for(
        &self,
        handle: &SessionHandle,
        named: Option<&str>,
        environment: &Environment,
    ) -> Result<(Arc<dyn Model>, bool), Rejection> {
        let own = handle.summary().model.map(|m| m.name);
        let choose = named.is_some() || own.is_none();
        let name = named
            .map(str::to_owned)
            .or(own)
            .or_else(|| self.default_model())
            .unwrap_or_else(|| FALLBACK.to_owned());
        self.learn(environment);
        let model = self
            .settings()
            .models()
            .resolve(&name, environment)
            .map_err(|e| rejection(&e))?;
        Ok((model, choose))
    }

    /// Keys of a caller never reach the log either, should a model or a person repeat one.
    fn learn(&self, environment: &Environment) {
        for key in environment.keys() {
            self.0.store.redactor().learn(key);
        }
    }

    /// Models that can be used, and those found on loopback within `probe`.
    pub async fn list_models(&self, environment: &Environment, probe: Option<Duration>) -> Vec<ModelRow> {
        let models = self.settings().models();
        let default = models.default_model();
        let search = async {
            match probe {
                Some(budget) => models.loopback_servers(budget).await,
                None => Vec::new(),
            }
        };
        let (listing, found) = futures::join!(models.list(environment), search);
        let mut rows: Vec<ModelRow> = listing
            .models
            .into_iter()
            .map(|info| {
                let (status, note) = match info.listed {
                    Listed::Server => ("ready", String::new()),
                    Listed::BuiltIn => ("ready", "scripted demo model, offline, $0".to_owned()),
                    Listed::Catalog => ("offline", "its provider could not be asked".to_owned()),
                };
                row(info.name, status, note, &default, &info.entry)
            })
            .collect();
        for (provider, error) in listing.problems {
            let status = if matches!(error, ModelError::AuthMissing { .. }) {
                "no_key"
            } else {
                "offline"
            };
            for row in rows
                .iter_mut()
                .filter(|r| r.name.starts_with(&format!("{provider}/")))
            {
                row.status = status;
                row.note = error.to_string();
            }
        }
        for server in found {
            for name in server.models {
                if !rows.iter().any(|r| r.name == name) {
                    let entry = models.catalog_entry(&name);
                    let note = format!("{} on {}", server.product, server.base_url);
                    rows.push(row(name, "found", note, &default, &entry));
                }
            }
        }
        rows
    }

    /// Tries a model with one tiny request.
    pub async fn test_model(&self, name: &str, environment: &Environment) -> ModelTry {
        let model = match self.settings().models().resolve(name, environment) {
            Ok(model) => model,
            Err(error) => return failed(&error),
        };
        let request = ModelRequest {
            instructions: "Answer with one word.".into(),
            messages: vec![Message::user("Say ok.")].into(),
            tools: Vec::new().into(),
            effort: None,
            session_key: "models-test".into(),
            approver_present: false,
        };
        let started = Instant::now();
        let mut first = None;
        let mut stream = model.stream(request);
        let answer = tokio::time::timeout(TRIAL, async {
            while let Some(event) = stream.next().await {
                match event {
                    Ok(ModelEvent::Finished(_)) => return Ok(()),
                    Ok(ModelEvent::TextDelta(_) | ModelEvent::ReasoningDelta(_)) => {
                        first.get_or_insert_with(|| started.elapsed());
                    }
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(ModelError::CutStream {
                detail: "no end of the answer".into(),
            })
        })
        .await
        .unwrap_or(Err(ModelError::Timeout {
            what: "the whole answer".into(),
            limit: TRIAL,
        }));
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        match answer {
            Ok(()) => ModelTry {
                ok: true,
                reason: String::new(),
                message: format!("{name} answered in {} ms", millis(started.elapsed())),
                hints: Vec::new(),
                first_token_ms: first.map(millis).unwrap_or(0),
            },
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &ModelError) -> ModelTry {
    ModelTry {
        ok: false,
        reason: error.reason_code().to_owned(),
        message: error.to_string(),
        hints: error.hints(),
        first_token_ms: 0,
    }
}

fn rejection(error: &ModelError) -> Rejection {
    Rejection::Model {
        reason: error.reason_code().to_owned(),
        message: error.to_string(),
        hints: error.hints(),
    }
}

fn row(
    name: String,
    status: &'static str,
    note: String,
    default: &Option<String>,
    entry: &crate::model::catalog::Entry,
) -> ModelRow {
    ModelRow {
        is_default: default.as_deref() == Some(name.as_str()),
        name,
        status,
        context_tokens: entry.context_tokens,
        input_price: entry.rates.input,
        output_price: entry.rates.output,
        note,
    }
}
