//! Owns: one request to an OpenAI-compatible server, from the first try to the reply or the final error.
//! Guarantees: tries are repeated only before the caller saw a token, and each repetition is announced; everything
//! runs inside the returned stream, so dropping it ends the HTTP request at once.

use std::sync::Arc;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use futures::{SinkExt, future};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::chat::{self, ChatAssembler};
use super::convert::{Draft, count, settle};
use super::door::{Door, Tap};
use super::error::ModelError;
use super::fault::Peer;
use super::provider::Api;
use super::responses::{self, ResponsesAssembler};
use super::retry::{Limits, Tuning};
use super::{Model, ModelEvent, ModelRequest, StepReply};
use crate::domain::tool::EditDialect;

/// What the bodies need to know of where they go.
pub(crate) struct Wire<'a> {
    /// The model's name at the provider.
    pub(crate) model: &'a str,
    /// `provider/name`.
    pub(crate) full_name: &'a str,
    /// True for OpenAI's own servers, which know fields that others refuse.
    pub(crate) is_openai: bool,
}

/// Puts an answer together from the pieces of one API.
pub(crate) trait Assembler: Send {
    /// What the API sends.
    type Chunk: DeserializeOwned + Send + 'static;
    /// Takes a piece; says what it adds for the reader.
    fn take(&mut self, chunk: Self::Chunk, peer: &Peer) -> Result<Vec<ModelEvent>, ModelError>;
    /// True once the answer is known to be complete.
    fn is_terminal(&self) -> bool;
    /// True when more of use may follow the terminal piece.
    fn must_read_on(&self) -> bool;
    /// The draft. `done` says that the end mark came.
    fn finish(self, done: bool) -> Result<Draft, ModelError>;
}

/// Where requests go, resolved: address, headers with the key, client.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) base_url: String,
    pub(crate) api: Api,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) http: reqwest::Client,
    pub(crate) limits: Limits,
    pub(crate) is_openai: bool,
}

impl Endpoint {
    /// A client for one request. It gets no key: the door puts the headers on.
    fn client(&self, tap: Tap, events: bool) -> Client<OpenAIConfig> {
        let door = Door {
            endpoint: self.clone(),
            tap,
            events,
        };
        let config = OpenAIConfig::new().with_api_base(&self.base_url).with_api_key("");
        Client::build(self.http.clone(), config).with_http_service(door)
    }

    /// What `GET /models` answers.
    pub(crate) async fn models(&self) -> Result<serde_json::Value, ModelError> {
        let tap = Tap::default();
        let client = self.client(tap.clone(), false);
        client
            .models()
            .list_byot()
            .await
            .map_err(|error| unwrap(error, &tap, &self.peer))
    }
}

/// Our own error out of `async_openai`'s; what it could not read becomes `Garbage`.
fn unwrap(error: OpenAIError, tap: &Tap, peer: &Peer) -> ModelError {
    if let Some(fault) = tap.fault() {
        return fault;
    }
    match error {
        OpenAIError::Boxed(inner) => match inner.downcast::<ModelError>() {
            Ok(ours) => *ours,
            Err(other) => ModelError::Garbage {
                detail: peer.clean(&other.to_string()),
            },
        },
        OpenAIError::JSONDeserialize(why, content) => ModelError::Garbage {
            detail: peer.clean(&format!("{why} in: {content}")),
        },
        OpenAIError::Reqwest(error) => ModelError::CutStream {
            detail: peer.clean(&error.without_url().to_string()),
        },
        other => ModelError::Garbage {
            detail: peer.clean(&other.to_string()),
        },
    }
}

/// How a model finds its endpoint.
#[derive(Clone)]
pub(crate) enum Target {
    /// Known when the model was resolved.
    Fixed(Arc<Endpoint>),
    /// Looked for on loopback at each request: local servers come and go.
    Sought(Arc<dyn Fn() -> future::BoxFuture<'static, Result<Endpoint, ModelError>> + Send + Sync>),
}

/// A model behind an OpenAI-compatible server.
#[derive(Clone)]
pub(crate) struct OpenAiModel {
    pub(crate) full_name: String,
    pub(crate) wire_name: String,
    pub(crate) dialect: EditDialect,
    pub(crate) context_tokens: Option<u64>,
    pub(crate) target: Target,
    pub(crate) tuning: Tuning,
}

impl Model for OpenAiModel {
    fn name(&self) -> &str {
        &self.full_name
    }

    fn dialect(&self) -> EditDialect {
        self.dialect
    }

    fn is_demo(&self) -> bool {
        false
    }

    fn context_tokens(&self) -> Option<u64> {
        self.context_tokens
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        // The work is polled by the stream itself and nothing is spawned here, so a drop stops it where it stands.
        let (sender, events) = mpsc::channel(32);
        let work = self.clone().run(
            request,
            Out {
                sender,
                emitted: None,
            },
        );
        let work = stream::once(work).filter_map(|()| future::ready(None));
        stream::select(events, work).boxed()
    }
}

/// The way to the caller.
struct Out {
    sender: mpsc::Sender<Result<ModelEvent, ModelError>>,
    /// When the first token went out.
    emitted: Option<Instant>,
}

impl Out {
    async fn send(&mut self, event: Result<ModelEvent, ModelError>) {
        if matches!(
            event,
            Ok(ModelEvent::TextDelta(_) | ModelEvent::ReasoningDelta(_) | ModelEvent::ToolCallDelta { .. })
        ) {
            self.emitted.get_or_insert_with(Instant::now);
        }
        // The receiver lives in the stream that polls us; it cannot be gone while we run.
        let _ = self.sender.send(event).await;
    }
}

impl OpenAiModel {
    async fn run(self, request: ModelRequest, mut out: Out) {
        let begun = Instant::now();
        let mut failed = 0u32;
        let last = loop {
            let sent = Instant::now();
            match self.attempt(&request, &mut out, begun).await {
                Ok(draft) => {
                    let (tokens, reported_cost_micro_usd) = count(draft.usage.as_ref());
                    match settle(draft, &request) {
                        Ok((parts, finish)) => {
                            break Ok(ModelEvent::Finished(StepReply {
                                parts,
                                finish,
                                tokens,
                                reported_cost_micro_usd,
                                first_token: out.emitted.map(|at| at.saturating_duration_since(sent)),
                                total: begun.elapsed(),
                                retries: failed,
                            }));
                        }
                        Err(error) => match self.again(error, &mut failed, &mut out, begun).await {
                            Some(error) => break Err(error),
                            None => continue,
                        },
                    }
                }
                Err(error) => {
                    if let Some(error) = self.again(error, &mut failed, &mut out, begun).await {
                        break Err(error);
                    }
                }
            }
        };
        out.send(last).await;
    }

    /// Waits for another try, or gives the error back as final.
    async fn again(
        &self,
        error: ModelError,
        failed: &mut u32,
        out: &mut Out,
        begun: Instant,
    ) -> Option<ModelError> {
        *failed += 1;
        if out.emitted.is_some() {
            return Some(error);
        }
        let policy = &self.tuning.retry;
        let Some(wait) = policy.wait(*failed, &error, fastrand::f64()) else {
            return Some(error);
        };
        if begun.elapsed().saturating_add(wait) >= self.tuning.limits.total {
            return Some(error);
        }
        tracing::warn!(model = self.full_name, attempt = *failed, wait_ms = wait.as_millis() as u64, %error, "model request failed, trying again");
        let retrying = ModelEvent::Retrying {
            attempt: failed.saturating_add(1),
            max_attempts: policy.attempts_for(&error),
            wait,
            reason: error.to_string(),
        };
        out.send(Ok(retrying)).await;
        (self.tuning.sleep)(wait).await;
        None
    }

    async fn attempt(
        &self,
        request: &ModelRequest,
        out: &mut Out,
        begun: Instant,
    ) -> Result<Draft, ModelError> {
        let endpoint = match &self.target {
            Target::Fixed(endpoint) => endpoint.clone(),
            Target::Sought(seek) => Arc::new(seek().await?),
        };
        let limit = endpoint.limits.total;
        let wire = Wire {
            model: &self.wire_name,
            full_name: &self.full_name,
            is_openai: endpoint.is_openai,
        };
        let tap = Tap::default();
        let client = endpoint.client(tap.clone(), true);
        let work = async {
            match endpoint.api {
                Api::Chat => {
                    let body = chat::body(request, &wire);
                    let opened = client.chat().create_stream_byot(body).await;
                    let chunks = opened.map_err(|error| unwrap(error, &tap, &endpoint.peer))?;
                    read(chunks, ChatAssembler::default(), &endpoint, &tap, out).await
                }
                Api::Responses => {
                    let body = responses::body(request, &wire);
                    let opened = client.responses().create_stream_byot(body).await;
                    let chunks = opened.map_err(|error| unwrap(error, &tap, &endpoint.peer))?;
                    read(
                        chunks,
                        ResponsesAssembler::new(&self.full_name),
                        &endpoint,
                        &tap,
                        out,
                    )
                    .await
                }
            }
        };
        match tokio::time::timeout_at(begun + limit, work).await {
            Ok(result) => result,
            Err(_) => Err(ModelError::Timeout {
                what: "the whole answer".into(),
                limit,
            }),
        }
    }
}

async fn read<A: Assembler>(
    mut chunks: impl Stream<Item = Result<A::Chunk, OpenAIError>> + Unpin,
    mut assembler: A,
    endpoint: &Endpoint,
    tap: &Tap,
    out: &mut Out,
) -> Result<Draft, ModelError> {
    loop {
        let next = if assembler.is_terminal() {
            if !assembler.must_read_on() {
                break;
            }
            match tokio::time::timeout(endpoint.limits.trailer, chunks.next()).await {
                // The answer is complete: what breaks after it does not matter.
                Err(_) | Ok(Some(Err(_))) => break,
                Ok(next) => next,
            }
        } else {
            chunks.next().await
        };
        match next {
            None => break,
            Some(Ok(chunk)) => {
                for event in assembler.take(chunk, &endpoint.peer)? {
                    out.send(Ok(event)).await;
                }
            }
            Some(Err(error)) => return Err(unwrap(error, tap, &endpoint.peer)),
        }
    }
    if let Some(fault) = tap.fault().filter(|_| !assembler.is_terminal()) {
        return Err(fault);
    }
    assembler.finish(tap.done())
}
