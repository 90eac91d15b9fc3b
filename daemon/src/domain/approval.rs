//! Owns: the stored question and its answer.
//! Guarantees: an Approval is decided at most once; the first answer wins.

use serde::{Deserialize, Serialize};

use super::id::{ApprovalId, CallId, GrantId};
use super::network::Target;
use super::policy::OldGrant;
use super::tool::Effect;

/// A stored question: may this tool call happen, may this host be reached, may the shell begin with this?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its name.
    pub approval_id: ApprovalId,
    /// The call in question; of other questions the call during which they came up, possibly none (empty).
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
    /// The hosts in question, where it is about reaching them: no call waits for the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Target>,
    /// The digest of the text in question, where it is a project's `[shell] init`: no call waits for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// What decided that it is asked: a rule as text, `check NAME`, or `no rule`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deciding_rule: String,
    /// The exact rules "for the session" or "for the project" would add; empty where neither is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Why neither is offered; empty where they are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub no_rule_why: String,
    /// The rule of logs written before rules had texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_grant: Option<OldGrant>,
    /// When it is denied by itself, microseconds since the epoch; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<i64>,
    /// When it was asked, microseconds since the epoch.
    pub asked_us: i64,
    /// The answer, once there is one.
    pub answer: Option<Answer>,
}

impl Approval {
    /// True when a call of the turn waits for the answer.
    pub fn holds_a_call(&self) -> bool {
        self.hosts.is_empty() && self.init.is_none()
    }

    /// True when it is about reaching hosts.
    pub fn is_about_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The rules that are offered, also those of older logs.
    pub fn offered(&self) -> Vec<String> {
        match &self.session_grant {
            Some(old) if self.rules.is_empty() => old.rules(),
            _ => self.rules.clone(),
        }
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
    /// The rules it added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Until when they count, microseconds since the epoch; `None`: until the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_until_us: Option<i64>,
}

/// A rule that an Approval added for every Session of a person on a Workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectGrant {
    /// Its name.
    pub grant_id: GrantId,
    /// The directory.
    pub workspace: String,
    /// Whose sessions it counts for.
    pub principal: String,
    /// The rule.
    pub rule: String,
    /// When it was granted, microseconds since the epoch.
    pub granted_us: i64,
    /// When it ends.
    pub expires_us: i64,
    /// `user via client`.
    pub granted_by: String,
    /// The Approval it answers.
    pub approval_id: ApprovalId,
    /// When it was taken back.
    pub revoked_us: Option<i64>,
}

/// The decision on an Approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This one call may happen.
    ApprovedOnce,
    /// This call and those its session rule matches, until the session ends.
    ApprovedSession,
    /// This call and those its rules match, in every session of the person on the Workspace, until they expire.
    ApprovedProject,
    /// It may not.
    Denied,
    /// Nobody answered in the time the policy gives: as a denial.
    Expired,
    /// The turn ended before anybody answered.
    Withdrawn,
}

impl Verdict {
    /// True when the call may happen.
    pub fn approves(self) -> bool {
        matches!(
            self,
            Self::ApprovedOnce | Self::ApprovedSession | Self::ApprovedProject
        )
    }

    /// Past participle a person reads.
    pub fn word(self) -> &'static str {
        match self {
            Self::ApprovedOnce => "approved",
            Self::ApprovedSession => "approved for the session",
            Self::ApprovedProject => "approved for the project",
            Self::Expired => "denied by its expiry",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
        }
    }
}
