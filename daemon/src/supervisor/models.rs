//! Owns: which model a session uses, and what can be said of models to a client.
//! Guarantees: a model is resolved before anything is posted; a model found on loopback is offered, never
//! used unasked; names of keys may be shown, keys never.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::Supervisor;
use crate::domain::message::{Message, Part};
use crate::domain::rejection::Rejection;
use crate::domain::tool::ToolSpec;
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
    /// Whether it can call tools, where anybody says.
    pub tools: Option<bool>,
    /// When it was listed, of one that can't be asked for now; microseconds since the epoch.
    pub listed_us: Option<i64>,
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
    /// Which part failed; empty when none did.
    pub stage: &'static str,
    /// The parts before it, in order.
    pub passed: Vec<&'static str>,
}

impl Supervisor {
    /// The configured model, if any.
    pub fn default_model(&self) -> Option<String> {
        self.settings().models().default_model()
    }

    /// The model that answers a post: the named one, else the session's, else the default. True when it is to
    /// become the session's.
    pub async fn model_for(
        &self,
        handle: &SessionHandle,
        named: Option<&str>,
        environment: &Environment,
    ) -> Result<(Arc<dyn Model>, bool), Rejection> {
        let own = handle.summary().model;
        let name = named
            .map(str::to_owned)
            .or_else(|| own.as_ref().map(|m| m.name.clone()))
            .or_else(|| self.default_model())
            .unwrap_or_else(|| FALLBACK.to_owned());
        self.learn(environment);
        let models = self.settings().models();
        models.ask_window(&name, environment).await;
        let model = models.resolve(&name, environment).map_err(|e| rejection(&e))?;
        // Chosen anew where its window has become known: the session's fill is reckoned with it.
        let wider = own.is_none_or(|m| m.context_tokens.is_none() && model.context_tokens().is_some());
        Ok((model, named.is_some() || wider))
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
                    Listed::Before(_) => (
                        "offline",
                        "listed before; its provider could not be asked".to_owned(),
                    ),
                };
                let listed_us = match info.listed {
                    Listed::Before(time_us) => Some(time_us),
                    _ => None,
                };
                ModelRow {
                    tools: info.tools,
                    listed_us,
                    ..row(info.name, status, note, &default, &info.entry)
                }
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
        rows.sort_by_key(|row| {
            let status = ["ready", "found", "offline"]
                .iter()
                .position(|word| *word == row.status);
            let tools = match row.tools {
                Some(true) => 0,
                None => 1,
                Some(false) => 2,
            };
            (status.unwrap_or(3), tools)
        });
        rows
    }

    /// Tries a model with one tiny request.
    pub async fn test_model(&self, name: &str, environment: &Environment) -> ModelTry {
        let model = match self.settings().models().resolve(name, environment) {
            Ok(model) => model,
            Err(error) => return failed(&error),
        };
        let request = ModelRequest {
            instructions: "Call the tool `answer` with the word ok. Say nothing else.".into(),
            messages: vec![Message::user("Say ok.")].into(),
            tools: vec![ToolSpec {
                name: "answer".into(),
                description: "Takes your answer.".into(),
                parameters: serde_json::json!({"type": "object", "properties": {"word": {"type": "string"}},
                    "required": ["word"]}),
            }]
            .into(),
            effort: None,
            session_key: "models-test".into(),
            approver_present: false,
        };
        let mut passed = self.settings().models().stages(name, environment);
        let started = Instant::now();
        let mut first = None;
        let mut stream = model.stream(request);
        let answer = tokio::time::timeout(TRIAL, async {
            while let Some(event) = stream.next().await {
                match event {
                    Ok(ModelEvent::Finished(reply)) => {
                        return Ok(reply.parts.iter().any(|part| matches!(part, Part::ToolCall(_))));
                    }
                    Ok(
                        ModelEvent::TextDelta(_)
                        | ModelEvent::ReasoningDelta(_)
                        | ModelEvent::ToolCallDelta { .. },
                    ) => {
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
            Ok(called) if called || model.is_demo() => {
                passed.push("tools");
                ModelTry {
                    ok: true,
                    reason: String::new(),
                    message: format!("{name} answered in {} ms", millis(started.elapsed())),
                    hints: Vec::new(),
                    first_token_ms: first.map(millis).unwrap_or(0),
                    stage: "",
                    passed,
                }
            }
            Ok(_) => ModelTry {
                ok: false,
                reason: "no_tool_call".into(),
                message: format!("{name} answers, but in words where it was asked to call a tool"),
                hints: vec![
                    "agents work through tools: pick a model that calls them   (agentctl models list)".into(),
                    "start the server with them: llama-server --jinja, vllm --enable-auto-tool-choice".into(),
                ],
                first_token_ms: first.map(millis).unwrap_or(0),
                stage: "tools",
                passed,
            },
            Err(error) => {
                let stage = error.stage();
                let reached = passed.iter().position(|one| *one == stage);
                // An answer that is no good came past all of them; of what never began, none was passed.
                passed.truncate(reached.unwrap_or(if matches!(stage, "answer" | "tools") {
                    passed.len()
                } else {
                    0
                }));
                ModelTry {
                    passed,
                    ..failed(&error)
                }
            }
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
        stage: error.stage(),
        passed: Vec::new(),
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
        tools: None,
        listed_us: None,
    }
}
