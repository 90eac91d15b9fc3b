//! Owns: the stored question and its answer.
//! Guarantees: an Approval is decided at most once; the first answer wins.

use serde::{Deserialize, Serialize};

use super::id::{ApprovalId, CallId};
use super::network::Target;
use super::policy::Grant;
use super::tool::Effect;

/// A stored question: may this tool call happen?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its name.
    pub approval_id: ApprovalId,
    /// The call in question.
    pub call_id: CallId,
    /// The tool.
    pub tool: String,
    /// What would happen, one line. Untrusted.
    pub summary: String,
    /// The whole command or argument text. Untrusted.
    pub detail: String,
    /// What it can do to the world.
    pub effects: Vec<Effect>,
    /// The rule that decided, as a sentence.
    pub why: String,
    /// The exact rule "for the session" would add; `None` where that is not offered.
    pub session_rule: Option<String>,
    /// What that rule is to the policy.
    #[serde(default)]
    pub session_grant: Option<Grant>,
    /// The hosts in question, where it is about reaching them: no call waits for the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Target>,
    /// When it was asked, microseconds since the epoch.
    pub asked_us: i64,
    /// The answer, once there is one.
    pub answer: Option<Answer>,
}

impl Approval {
    /// True when a call of the turn waits for the answer.
    pub fn holds_a_call(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// Who said what to an Approval, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The decision.
    pub verdict: Verdict,
    /// `user via client`.
    pub by: String,
    /// Microseconds since the epoch.
    pub at_us: i64,
    /// What the decider said; the model sees it on a denial.
    pub reason: String,
}

/// The decision on an Approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This one call may happen.
    ApprovedOnce,
    /// This call and those its session rule matches, until the session ends.
    ApprovedSession,
    /// It may not.
    Denied,
    /// The turn ended before anybody answered.
    Withdrawn,
}

impl Verdict {
    /// Past participle a person reads.
    pub fn word(self) -> &'static str {
        match self {
            Self::ApprovedOnce => "approved",
            Self::ApprovedSession => "approved for the session",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
        }
    }
}
