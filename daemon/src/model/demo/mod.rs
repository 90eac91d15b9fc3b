//! Owns: the demo model: built in, offline, free, and honest about what it is.
//! Guarantees: a pure function of the request: the same history gives the same next step, so a Turn can be resumed,
//! replayed and tested; it claims success only after it saw the tests pass.
//!
//! It is not a language model. It lists the files, finds and runs the tests, reads what the failure points at, tries
//! single-token repairs until the tests pass, and says what it did. Everything it knows it learnt through the same
//! tools a real model uses. A prompt that begins with `demo:` rehearses clients instead; see [`script`].

mod evidence;
mod history;
mod plan;
mod repair;
mod replay;
mod report;
pub mod script;
mod source;

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};

use super::error::ModelError;
use super::{Finish, Model, ModelEvent, ModelRequest, StepReply};
use crate::domain::id::CallId;
use crate::domain::message::{Message, Part, ToolCall};
use crate::domain::tool::EditDialect;
use crate::domain::usage::Tokens;

/// The name it goes by.
pub const NAME: &str = "demo/demo";

/// Between two words: about 200 tokens a second, the pace of a quick real model.
const PACE: Duration = Duration::from_millis(5);

/// The built-in demo model.
#[derive(Debug, Clone, Default)]
pub struct DemoModel(());

impl DemoModel {
    /// The demo model. There is only one kind.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What the demo model decides to do in one Step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Decision {
    /// Thinking aloud.
    pub(crate) thought: String,
    /// What it says.
    pub(crate) text: String,
    /// The tool it wants, with its arguments.
    pub(crate) call: Option<(String, serde_json::Value)>,
    /// A pretended fault, for rehearsing clients.
    pub(crate) fault: Option<ModelError>,
    /// A pretended retry before answering.
    pub(crate) retry: bool,
}

impl Decision {
    pub(crate) fn say(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    pub(crate) fn call(text: impl Into<String>, tool: &str, arguments: serde_json::Value) -> Self {
        Self {
            text: text.into(),
            call: Some((tool.to_owned(), arguments)),
            ..Self::default()
        }
    }
}

/// The next step, from what has been said and done so far.
pub(crate) fn decide(request: &ModelRequest) -> Decision {
    let turn = history::read(request);
    match script::parse(&turn.prompt) {
        Some(commands) => script::perform(&commands, &turn),
        None => plan::next(&turn),
    }
}

impl Model for DemoModel {
    fn name(&self) -> &str {
        NAME
    }

    fn dialect(&self) -> EditDialect {
        EditDialect::SearchReplace
    }

    fn is_demo(&self) -> bool {
        true
    }

    fn context_tokens(&self) -> Option<u64> {
        None
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let events = events(&request, decide(&request));
        // The clock starts at the first poll: a stream that nobody reads takes no time.
        let begun = std::sync::OnceLock::new();
        stream::iter(events)
            .then(move |event| {
                let begun: tokio::time::Instant = *begun.get_or_init(tokio::time::Instant::now);
                async move {
                    match event {
                        Ok(ModelEvent::Finished(reply)) => Ok(ModelEvent::Finished(StepReply {
                            total: begun.elapsed(),
                            ..reply
                        })),
                        Ok(ModelEvent::Retrying {
                            attempt,
                            max_attempts,
                            wait,
                            reason,
                        }) => {
                            tokio::time::sleep(PACE).await;
                            Ok(ModelEvent::Retrying {
                                attempt,
                                max_attempts,
                                wait,
                                reason,
                            })
                        }
                        other => {
                            tokio::time::sleep(PACE).await;
                            other
                        }
                    }
                }
            })
            .boxed()
    }
}

fn events(request: &ModelRequest, decision: Decision) -> Vec<Result<ModelEvent, ModelError>> {
    let mut events = Vec::new();
    let mut parts = Vec::new();
    let mut output = 0u64;
    if decision.retry {
        events.push(Ok(ModelEvent::Retrying {
            attempt: 2,
            max_attempts: 4,
            wait: PACE,
            reason: "the demo model pretends that its provider was busy (429)".into(),
        }));
    }
    for word in words(&decision.thought) {
        output += 1;
        events.push(Ok(ModelEvent::ReasoningDelta(word.to_owned())));
    }
    if !decision.thought.is_empty() {
        parts.push(Part::Reasoning {
            text: decision.thought,
            opaque: None,
        });
    }
    for word in words(&decision.text) {
        output += 1;
        events.push(Ok(ModelEvent::TextDelta(word.to_owned())));
    }
    if let Some(fault) = decision.fault {
        events.push(Err(fault));
        return events;
    }
    if !decision.text.is_empty() {
        parts.push(Part::Text { text: decision.text });
    }
    let mut finish = Finish::Stop;
    if let Some((tool, arguments)) = decision.call {
        finish = Finish::ToolCalls;
        // The position in the history names the call: unique, and the same on every replay.
        let call_id = CallId(format!("demo_{}", request.messages.len()));
        let arguments = arguments.to_string();
        output += arguments.len() as u64 / 4;
        events.push(Ok(ModelEvent::ToolCallDelta {
            index: 0,
            call_id: Some(call_id.clone()),
            tool: Some(tool.clone()),
            arguments: arguments.clone(),
        }));
        parts.push(Part::ToolCall(ToolCall {
            call_id,
            tool,
            arguments,
        }));
    }
    let input = request.messages.iter().map(size).sum::<u64>() + request.instructions.len() as u64;
    events.push(Ok(ModelEvent::Finished(StepReply {
        parts,
        finish,
        tokens: Some(Tokens {
            input: input / 4 + 1,
            output: output.max(1),
            ..Tokens::default()
        }),
        reported_cost_micro_usd: None,
        first_token: Some(PACE),
        total: Duration::ZERO,
        retries: u32::from(decision.retry),
    })));
    events
}

fn size(message: &Message) -> u64 {
    let of = |part: &Part| match part {
        Part::Text { text } | Part::Attachment { text, .. } | Part::Reasoning { text, .. } => text.len(),
        Part::ToolCall(call) => call.arguments.len(),
        Part::ToolResult(result) => result.text.len(),
        Part::Context(item) => item.text.len(),
        Part::Image { .. } => 0,
    };
    message.parts.iter().map(of).sum::<usize>() as u64
}

/// Text in pieces that end after each word, so that joining them gives the text back.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

#[cfg(test)]
mod tests;
