//! Owns: what a model request cost: tokens, money, time.
//! Guarantees: an unknown figure stays unknown (`None`); it never turns into zero.

use serde::{Deserialize, Serialize};

/// Token counts of one model request, as the server reported them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All input tokens, cached ones included.
    pub input: u64,
    /// Input tokens served from the provider's prompt cache.
    pub cached_input: u64,
    /// Input tokens written to the provider's prompt cache, where it says so.
    #[serde(default)]
    pub cache_write: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Sum of two counts.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// Where a cost figure came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The provider or proxy said so in its reply.
    Reported,
    /// Computed from the price catalog.
    Catalog,
    /// The built-in demo model: free by nature.
    Demo,
}

/// Money spent on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// US dollars times 10^6.
    pub micro_usd: u64,
    /// Who says so.
    pub source: CostSource,
}

/// One model request in the ledger: exactly one row per Step that reached a provider, whatever its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// `provider/name` of the model that answered.
    pub model: String,
    /// Token counts; `None` when the server reported none.
    pub tokens: Option<Tokens>,
    /// Money; `None` when the price is unknown.
    pub cost: Option<Cost>,
    /// Milliseconds from sending the request to the first token.
    pub first_token_ms: Option<u64>,
    /// Milliseconds from sending the request to its end, retries included.
    pub total_ms: u64,
    /// How many times the request was sent again.
    pub retries: u32,
    /// The stable word of the error that ended it; `None`: it was answered, or a person stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a ledger row can be looked at by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Who asked.
    Principal,
    /// Through which client.
    Client,
    /// In which session.
    Session,
    /// For which task; empty: none.
    Task,
    /// As which persona.
    Persona,
    /// The model's provider: the name before its first slash.
    Provider,
    /// Which model; empty on tool calls.
    Model,
    /// Which tool; empty on model requests.
    Tool,
}

impl Dimension {
    /// All of them, in the order of the export's columns.
    pub const ALL: [Self; 8] = [
        Self::Principal,
        Self::Client,
        Self::Session,
        Self::Task,
        Self::Persona,
        Self::Provider,
        Self::Model,
        Self::Tool,
    ];

    /// The word used on the command line, in SQL and in every UI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Client => "client",
            Self::Session => "session",
            Self::Task => "task",
            Self::Persona => "persona",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Tool => "tool",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.word() == word)
    }
}

/// The provider in a model's name: `openai` of `openai/gpt-x`.
pub fn provider_of(model: &str) -> &str {
    model.split_once('/').map_or(model, |(provider, _)| provider)
}

/// What a ledger row is booked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Booking {
    /// Who asked.
    pub principal: String,
    /// Through which client, in its word.
    pub client: String,
    /// In which session.
    pub session_id: String,
    /// For which task; empty: none.
    pub task_id: String,
    /// As which persona.
    pub persona: String,
    /// `provider/name`; empty on tool calls.
    pub model: String,
    /// The tool's name; empty on model requests.
    pub tool: String,
}

impl Booking {
    /// Its value in one dimension.
    pub fn value(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Principal => &self.principal,
            Dimension::Client => &self.client,
            Dimension::Session => &self.session_id,
            Dimension::Task => &self.task_id,
            Dimension::Persona => &self.persona,
            Dimension::Provider => provider_of(&self.model),
            Dimension::Model => &self.model,
            Dimension::Tool => &self.tool,
        }
    }
}

/// One row of the ledger: a model request or a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it ended, microseconds since the epoch.
    pub time_us: i64,
    /// Place of its fact in the session's log.
    pub seq: u64,
    /// What it is booked to.
    pub booking: Booking,
    /// The turn it was part of.
    pub turn_id: String,
    /// The step in the turn, from 1; 0 on tool calls.
    pub step: u32,
    /// How it ended, as a stable word.
    pub outcome: String,
    /// Milliseconds from start to end, retries included.
    pub total_ms: u64,
    /// What a model request took; `None` on tool calls.
    pub request: Option<Request>,
}

/// What only a model request has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Token counts, where the server reported any.
    pub tokens: Option<Tokens>,
    /// Money, where the price is known.
    pub cost: Option<Cost>,
    /// Milliseconds to the first token.
    pub first_token_ms: Option<u64>,
    /// How many times it was sent again.
    pub retries: u32,
}

/// Ends of a model request that are no errors; any other word is one.
const FINE: &[&str] = &["stop", "tool_calls", "length", "interrupted"];
/// How a request ends that the provider refused for its rate.
pub const RATE_LIMITED: &str = "provider_rate_limited";

/// Sums over rows. Adding is all that is ever done to them, so any way of cutting the rows gives the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Turns: each is counted by its first model request.
    pub turns: u64,
    /// Model requests.
    pub requests: u64,
    /// Model requests that failed.
    pub errors: u64,
    /// Of those, refused for their rate.
    pub rate_limited: u64,
    /// Times a request was sent again.
    pub retries: u64,
    /// Money over the requests whose price is known, micro-dollars.
    pub cost_micro_usd: u64,
    /// The part of it that the provider or proxy reported itself.
    pub reported_micro_usd: u64,
    /// Requests whose price is unknown.
    pub unpriced_requests: u64,
    /// Their tokens, where counted: what is not in the cost.
    pub unpriced_tokens: u64,
    /// Tokens.
    pub tokens: Tokens,
    /// Tool calls.
    pub tool_calls: u64,
    /// Tool calls that failed.
    pub tool_failures: u64,
    /// Milliseconds of all of them, one after the other.
    pub busy_ms: u64,
}

impl Sums {
    /// The sums of one row.
    pub fn of(row: &Row) -> Self {
        let Some(request) = &row.request else {
            return Self {
                tool_calls: 1,
                tool_failures: u64::from(row.outcome == "failed"),
                busy_ms: row.total_ms,
                ..Self::default()
            };
        };
        let tokens = request.tokens.unwrap_or_default();
        let reported = request.cost.filter(|c| c.source == CostSource::Reported);
        let unpriced = request.cost.is_none();
        Self {
            turns: u64::from(row.step == 1),
            requests: 1,
            errors: u64::from(!FINE.contains(&row.outcome.as_str())),
            rate_limited: u64::from(row.outcome == RATE_LIMITED),
            retries: u64::from(request.retries),
            cost_micro_usd: request.cost.map_or(0, |c| c.micro_usd),
            reported_micro_usd: reported.map_or(0, |c| c.micro_usd),
            unpriced_requests: u64::from(unpriced),
            unpriced_tokens: if unpriced { tokens.total() } else { 0 },
            tokens,
            tool_calls: 0,
            tool_failures: 0,
            busy_ms: row.total_ms,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.turns, other.turns);
        sum(&mut self.requests, other.requests);
        sum(&mut self.errors, other.errors);
        sum(&mut self.rate_limited, other.rate_limited);
        sum(&mut self.retries, other.retries);
        sum(&mut self.cost_micro_usd, other.cost_micro_usd);
        sum(&mut self.reported_micro_usd, other.reported_micro_usd);
        sum(&mut self.unpriced_requests, other.unpriced_requests);
        sum(&mut self.unpriced_tokens, other.unpriced_tokens);
        self.tokens = self.tokens.plus(&other.tokens);
        sum(&mut self.tool_calls, other.tool_calls);
        sum(&mut self.tool_failures, other.tool_failures);
        sum(&mut self.busy_ms, other.busy_ms);
    }

    /// The money, or `None` when nothing priced is in it: unknown is not zero.
    pub fn cost(&self) -> Option<u64> {
        let known = self.requests > self.unpriced_requests || self.requests == 0;
        known.then_some(self.cost_micro_usd)
    }
}

impl CostSource {
    /// The word in SQL and in exports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Catalog => "catalog",
            Self::Demo => "demo",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Reported, Self::Catalog, Self::Demo]
            .into_iter()
            .find(|source| source.word() == word)
    }
}
