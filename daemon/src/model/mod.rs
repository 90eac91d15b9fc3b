//! Owns: talking to language models: the trait, what goes in, what streams out, and who implements it.
//! Guarantees: `async_openai` types stay inside this directory; a reply is never empty; no key is ever shown.
//!
//! A [`Model`] takes a [`ModelRequest`] and gives a stream of [`ModelEvent`]s that ends with
//! [`ModelEvent::Finished`] or one error. Dropping the stream drops the HTTP request: nothing runs behind it.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;

use crate::domain::id::CallId;
use crate::domain::message::{Message, Part};
use crate::domain::tool::{EditDialect, ToolSpec};
use crate::domain::usage::Tokens;

pub mod cassette;
pub mod catalog;
mod chat;
mod convert;
pub mod demo;
mod door;
mod error;
mod fault;
mod http;
mod lenient;
mod openai;
pub mod provider;
pub mod registry;
mod responses;
pub mod retry;

pub use crate::domain::secret::Secret;
pub use error::ModelError;
pub use provider::{Api, Auth, Credential, Credentials, Environment, ModelSettings, ProviderConfig};
pub use registry::{FoundServer, ModelInfo, ModelRegistry};
pub use retry::{Limits, RetryPolicy, Tuning};

/// Something that answers.
pub trait Model: Send + Sync {
    /// `provider/name`.
    fn name(&self) -> &str;
    /// Which edit tool it is offered.
    fn dialect(&self) -> EditDialect;
    /// True for the built-in demo model, so that every client can mark its answers.
    fn is_demo(&self) -> bool;
    /// How many tokens it takes in, where known.
    fn context_tokens(&self) -> Option<u64>;
    /// Asks for one Step. Must be polled inside a tokio runtime; dropping the stream cancels the request.
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>>;
}

/// One Step's input. The same fields give the same bytes on the wire, so providers can cache the prefix.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// The system text.
    pub instructions: String,
    /// Everything said so far, oldest first.
    pub messages: Arc<[Message]>,
    /// The tools offered, in a fixed order.
    pub tools: Arc<[ToolSpec]>,
    /// Reasoning effort (`low`, `medium`, `high`, …), sent only when given.
    pub effort: Option<String>,
    /// Stable per Session: lets a provider route to its prompt cache.
    pub session_key: String,
    /// True when a person is there to answer an approval. Only the demo model looks at it.
    pub approver_present: bool,
}

/// What happens during a Step.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// More of the answer's text.
    TextDelta(String),
    /// More of the model's thinking aloud.
    ReasoningDelta(String),
    /// More of a tool call. `call_id` is provisional; the reply's is the one to keep.
    ToolCallDelta {
        /// Position among the reply's tool calls, from 0.
        index: usize,
        /// The id as far as known.
        call_id: Option<CallId>,
        /// The tool's name as far as known.
        tool: Option<String>,
        /// What was added to the arguments.
        arguments: String,
    },
    /// A try failed; another follows after `wait`.
    Retrying {
        /// Number of the coming try; the first try was 1.
        attempt: u32,
        /// How many tries there are at most.
        max_attempts: u32,
        /// The wait before it.
        wait: Duration,
        /// What went wrong, in the provider's words.
        reason: String,
    },
    /// The whole reply. Always the last event.
    Finished(StepReply),
}

/// A complete reply: at least one text or tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReply {
    /// The assistant's parts in order: reasoning, text, tool calls.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub finish: Finish,
    /// Tokens, where the server counted them.
    pub tokens: Option<Tokens>,
    /// What the server says it cost.
    pub reported_cost_micro_usd: Option<u64>,
    /// From sending the successful try to its first token.
    pub first_token: Option<Duration>,
    /// From the first try to the end, waits included.
    pub total: Duration,
    /// How many tries failed before.
    pub retries: u32,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It was done.
    Stop,
    /// It wants tools run.
    ToolCalls,
    /// It hit its output limit: the text is incomplete. Half-written tool calls were dropped.
    Length,
    /// A filter cut it.
    ContentFilter,
    /// Something this code does not know, in the server's words.
    Other(String),
}

/// Chooses ring as the TLS provider of the process. Safe to call any number of times, from anywhere.
pub fn install_tls() {
    // An error means that one is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The edit tool a model of this name was trained on.
pub fn dialect_of(model_name: &str) -> EditDialect {
    let base = model_name
        .rsplit('/')
        .next()
        .unwrap_or(model_name)
        .to_ascii_lowercase();
    let digits_after = |prefix: &str| {
        base.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if base.starts_with("gpt-") || base.starts_with("chatgpt") || base.contains("codex") || digits_after("o")
    {
        EditDialect::ApplyPatch
    } else {
        EditDialect::SearchReplace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_models_get_apply_patch_and_others_search_replace() {
        for name in [
            "openai/gpt-5",
            "openrouter/openai/gpt-4o",
            "openai/o3-mini",
            "azure/codex-mini",
        ] {
            assert_eq!(dialect_of(name), EditDialect::ApplyPatch, "{name}");
        }
        for name in [
            "ollama/qwen3",
            "local/olmo",
            "anthropic/claude-sonnet-4-5",
            "demo/demo",
            "",
        ] {
            assert_eq!(dialect_of(name), EditDialect::SearchReplace, "{name}");
        }
    }

    #[test]
    fn installing_tls_twice_is_fine() {
        install_tls();
        install_tls();
    }
}
