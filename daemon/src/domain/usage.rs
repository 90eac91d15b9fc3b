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
}
