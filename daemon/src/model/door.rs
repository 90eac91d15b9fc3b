//! Owns: the one place a request leaves and an answer enters: status, headers, type and size are looked at here.
//! Guarantees: an open stream is bounded in bytes and silence; what ended it is remembered; nothing is retried here.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::error::ModelError;
use super::fault;
use super::openai::Endpoint;
use super::retry::retry_after;

/// Most of an error body that is read: enough for any message.
const ERROR_BODY: usize = 64 * 1024;

/// What the body of one answer went through, for the reader at the other end of `async_openai`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Arc<TapState>);

#[derive(Debug, Default)]
struct TapState {
    done: AtomicBool,
    fault: Mutex<Option<ModelError>>,
}

impl Tap {
    /// True when the line `data: [DONE]` came.
    pub(crate) fn done(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }

    /// What broke the body, if something did.
    pub(crate) fn fault(&self) -> Option<ModelError> {
        self.0
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn break_with(&self, error: ModelError) -> std::io::Error {
        let shown = error.to_string();
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        std::io::Error::other(shown)
    }
}

/// A tower service in place of `async_openai`'s own: that one retries by itself and loses the status of
/// error bodies it cannot read.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    pub(crate) tap: Tap,
    /// True when the answer must be an event stream.
    pub(crate) events: bool,
}

impl tower::Service<HttpRequestFactory> for Door {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let door = self.clone();
        Box::pin(async move {
            let request = factory.build().await?;
            door.open(request)
                .await
                .map_err(|error| OpenAIError::Boxed(Box::new(error)))
        })
    }
}

impl Door {
    async fn open(self, mut request: reqwest::Request) -> Result<reqwest::Response, ModelError> {
        self.address(&mut request);
        let Endpoint {
            peer, limits, http, ..
        } = &self.endpoint;
        let limit = limits.first_byte;
        let answer = tokio::time::timeout(limit, http.execute(request))
            .await
            .map_err(|_| ModelError::Timeout {
                what: format!("the first byte from {}", peer.url),
                limit,
            })?
            .map_err(|error| fault::from_transport(peer, &error, limits.connect))?;

        let status = answer.status().as_u16();
        let wish = retry_after(answer.headers());
        let kind = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let location = answer
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);

        if (300..400).contains(&status) {
            // Redirects are not followed: they would carry the key to another host.
            let to = location
                .map(|to| format!(" to {}", self.endpoint.peer.clean(&to)))
                .unwrap_or_default();
            return Err(ModelError::BadRequest {
                status,
                message: format!("redirected{to}; set base_url to the final address"),
            });
        }
        if !(200..300).contains(&status) {
            let body = self.head_of(answer).await;
            return Err(fault::from_status(&self.endpoint.peer, status, wish, &body));
        }
        if self.events && (kind.contains("html") || kind.contains("json")) {
            let body = self.head_of(answer).await;
            return Err(self.not_a_stream(&kind, &body));
        }
        let guarded = reqwest::Body::wrap_stream(guard(answer.bytes_stream().boxed(), self));
        Ok(reqwest::Response::from(http::Response::new(guarded)))
    }

    /// Puts our headers and query in place of `async_openai`'s, which always sends a bearer and reads the environment.
    fn address(&self, request: &mut reqwest::Request) {
        let headers = request.headers_mut();
        let content_type = headers.remove(CONTENT_TYPE);
        *headers = self.endpoint.headers.clone();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if !self.endpoint.query.is_empty() {
            request
                .url_mut()
                .query_pairs_mut()
                .extend_pairs(&self.endpoint.query);
        }
    }

    /// The first part of a body; a body that breaks or stalls gives what there was.
    async fn head_of(&self, answer: reqwest::Response) -> Vec<u8> {
        let mut body = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(self.endpoint.limits.idle, chunks.next()).await {
            body.extend_from_slice(&chunk);
            if body.len() >= ERROR_BODY {
                body.truncate(ERROR_BODY);
                break;
            }
        }
        body
    }

    fn not_a_stream(&self, kind: &str, body: &[u8]) -> ModelError {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if value.get("error").is_some_and(|e| !e.is_null()) => {
                fault::from_value(&self.endpoint.peer, &value)
            }
            _ => ModelError::Garbage {
                detail: self.endpoint.peer.clean(&format!(
                    "expected an event stream from {}, got {kind}: {}",
                    self.endpoint.peer.url,
                    String::from_utf8_lossy(body)
                )),
            },
        }
    }
}

/// What the guard remembers between chunks.
struct Guarding {
    chunks: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    door: Door,
    total: u64,
    /// The end of the previous chunk, to find `[DONE]` across a boundary.
    tail: Vec<u8>,
    over: bool,
}

/// Passes a body on while counting bytes, timing silence and watching for the end mark.
fn guard(
    chunks: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    door: Door,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let start = Guarding {
        chunks,
        door,
        total: 0,
        tail: b"\n".to_vec(),
        over: false,
    };
    stream::unfold(start, |mut state| async move {
        if state.over {
            return None;
        }
        let limits = &state.door.endpoint.limits;
        let next = tokio::time::timeout(limits.idle, state.chunks.next()).await;
        let broken = match next {
            Ok(None) => return None,
            Ok(Some(Ok(chunk))) => {
                state.total = state.total.saturating_add(chunk.len() as u64);
                if state.total <= limits.max_bytes {
                    watch_for_done(&mut state.tail, &chunk, &state.door.tap);
                    return Some((Ok(chunk), state));
                }
                ModelError::Endless {
                    limit_bytes: limits.max_bytes,
                }
            }
            Ok(Some(Err(error))) => {
                match fault::from_transport(&state.door.endpoint.peer, &error, limits.connect) {
                    cut @ ModelError::CutStream { .. } => cut,
                    other => ModelError::CutStream {
                        detail: other.to_string(),
                    },
                }
            }
            Err(_) => ModelError::Timeout {
                what: "the next piece of the answer".into(),
                limit: limits.idle,
            },
        };
        state.over = true;
        let error = state.door.tap.break_with(broken);
        Some((Err(error), state))
    })
}

/// JSON never holds a raw line break, so this line can only be the mark, never the model's words.
fn watch_for_done(tail: &mut Vec<u8>, chunk: &[u8], tap: &Tap) {
    const MARKS: [&[u8]; 4] = [
        b"\ndata: [DONE]",
        b"\ndata:[DONE]",
        b"\rdata: [DONE]",
        b"\rdata:[DONE]",
    ];
    const KEEP: usize = 12;
    tail.extend_from_slice(chunk);
    if MARKS
        .iter()
        .any(|mark| tail.windows(mark.len()).any(|window| window == *mark))
    {
        tap.0.done.store(true, Ordering::Release);
    }
    let cut = tail.len().saturating_sub(KEEP);
    tail.drain(..cut);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_is_found_across_any_chunk_boundary() {
        let text = b"data: {\"a\":1}\n\ndata: [DONE]\n\n";
        for cut in 0..text.len() {
            let (tap, mut tail) = (Tap::default(), b"\n".to_vec());
            let (first, second) = text.split_at(cut);
            watch_for_done(&mut tail, first, &tap);
            watch_for_done(&mut tail, second, &tap);
            assert!(tap.done(), "{cut}");
        }
    }

    #[test]
    fn the_models_own_words_are_not_the_end_mark() {
        let (tap, mut tail) = (Tap::default(), b"\n".to_vec());
        watch_for_done(&mut tail, br#"data: {"content":"\ndata: [DONE]"}"#, &tap);
        assert!(!tap.done());
    }
}
