//! Owns: one model round trip: the request, the preview while it streams, and the reply as a fact.
//! Guarantees: retries are reported as they happen; an interrupt drops the request at once.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::drone::{Drone, without_drone};
use super::feed::Feed;
use crate::domain::id::TurnId;
use crate::domain::usage::{Cost, CostSource, Usage};
use crate::model::{Finish, Model, ModelError, ModelEvent, ModelRegistry, ModelRequest, StepReply, catalog};

/// How a round trip ended.
pub(super) enum StepEnd {
    /// The model answered.
    Replied(StepReply),
    /// It can't be had.
    Failed(ModelError),
    /// The turn was told to stop; the text so far, if any.
    Stopped(String),
    /// It said the same over and over and was cut off; the text until then.
    Droned(String),
}

/// A try failed and another follows.
pub(super) struct Retry {
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) wait_ms: u64,
    pub(super) reason: String,
}

/// Runs one round trip. `retrying` is awaited for each retry before its wait goes on.
pub(super) async fn run<F, Fut>(
    model: &Arc<dyn Model>,
    request: ModelRequest,
    feed: &Feed,
    (turn_id, step): (&TurnId, u32),
    stop: &CancellationToken,
    mut retrying: F,
) -> StepEnd
where
    F: FnMut(Retry) -> Fut,
    Fut: Future<Output = ()>,
{
    feed.begin_step(turn_id, step);
    let mut stream = model.stream(request);
    let mut text = String::new();
    let (mut said, mut thought) = (Drone::default(), Drone::default());
    let mut call = (usize::MAX, String::new(), 0usize);
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return StepEnd::Stopped(text),
            event = stream.next() => event,
        };
        match event {
            None => {
                return StepEnd::Failed(ModelError::CutStream {
                    detail: "no end of the answer".into(),
                });
            }
            Some(Err(error)) => return StepEnd::Failed(error),
            Some(Ok(ModelEvent::Finished(reply))) => return StepEnd::Replied(reply),
            Some(Ok(ModelEvent::TextDelta(delta))) => {
                feed.text(&delta);
                text.push_str(&delta);
                if said.hears(&delta) {
                    text.truncate(without_drone(&text).len());
                    return StepEnd::Droned(text);
                }
            }
            Some(Ok(ModelEvent::ReasoningDelta(delta))) => {
                feed.reasoning(&delta);
                if thought.hears(&delta) {
                    return StepEnd::Droned(text);
                }
            }
            Some(Ok(ModelEvent::ToolCallDelta {
                index,
                tool,
                arguments,
                ..
            })) => {
                if call.0 != index {
                    call = (index, String::new(), 0);
                }
                if let Some(name) = tool {
                    call.1 = name;
                }
                call.2 = call.2.saturating_add(arguments.len());
                feed.tool_call(format!("{} · {} bytes", call.1, call.2));
            }
            Some(Ok(ModelEvent::Retrying {
                attempt,
                max_attempts,
                wait,
                reason,
            })) => {
                text.clear();
                (said, thought) = (Drone::default(), Drone::default());
                feed.begin_step(turn_id, step);
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                retrying(Retry {
                    attempt,
                    max_attempts,
                    wait_ms,
                    reason,
                })
                .await;
            }
        }
    }
}

/// The ledger's view of a reply.
pub(super) fn usage(model: &Arc<dyn Model>, reply: &StepReply, models: &ModelRegistry) -> Usage {
    let cost = if model.is_demo() {
        Some(Cost {
            micro_usd: 0,
            source: CostSource::Demo,
        })
    } else {
        let entry = models.catalog_entry(model.name());
        catalog::cost(&entry, reply.tokens.as_ref(), reply.reported_cost_micro_usd)
    };
    Usage {
        model: model.name().to_owned(),
        tokens: reply.tokens,
        cost,
        first_token_ms: reply.first_token.and_then(|d| u64::try_from(d.as_millis()).ok()),
        total_ms: u64::try_from(reply.total.as_millis()).unwrap_or(u64::MAX),
        retries: reply.retries,
        error: None,
    }
}

/// The ledger's view of a request that gave no reply: it may have cost something, nobody knows.
pub(super) fn usage_unknown(
    model: &Arc<dyn Model>,
    since: Instant,
    retries: u32,
    error: Option<&ModelError>,
) -> Usage {
    Usage {
        model: model.name().to_owned(),
        tokens: None,
        cost: model.is_demo().then_some(Cost {
            micro_usd: 0,
            source: CostSource::Demo,
        }),
        first_token_ms: None,
        total_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        retries,
        error: error.map(|e| e.reason_code().to_owned()),
    }
}

/// The word for why a model stopped.
pub(super) fn finish_word(finish: &Finish) -> String {
    match finish {
        Finish::Stop => "stop".into(),
        Finish::ToolCalls => "tool_calls".into(),
        Finish::Length => "length".into(),
        Finish::ContentFilter => "content_filter".into(),
        Finish::Other(word) => word.clone(),
    }
}
