//! Owns: who asks, and through what.

use serde::{Deserialize, Serialize};

/// Kind of program a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// `agentctl`.
    Cli,
    /// The terminal UI.
    Tui,
    /// A browser.
    Web,
    /// Any other program.
    Api,
    /// The daemon itself: a turn's facts, recovery.
    Daemon,
}

impl Client {
    /// The word used on the wire, in SQL and in every UI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Tui => "tui",
            Self::Web => "web",
            Self::Api => "api",
            Self::Daemon => "daemon",
        }
    }

    /// Reads the word; anything unknown is a program like any other.
    pub fn from_word(word: &str) -> Self {
        match word {
            "cli" => Self::Cli,
            "tui" => Self::Tui,
            "web" => Self::Web,
            "daemon" => Self::Daemon,
            _ => Self::Api,
        }
    }
}

/// Who asks, through what: what a ledger row is booked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// A user of this machine.
    pub principal: String,
    /// Through which client.
    pub client: Client,
}

impl Asker {
    /// `ana via web`.
    pub fn signature(&self) -> String {
        format!("{} via {}", self.principal, self.client.word())
    }

    /// The asker of a request.
    pub fn of(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            client: caller.client,
        }
    }
}

/// What a token allows. Each scope stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Post, interrupt, type.
    Drive,
    /// Answer approvals.
    Approve,
    /// Devices, credentials, checks, stopping, sessions without a jail.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Drive, Self::Approve, Self::Admin];

    /// The word used in every UI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Drive => "drive",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

/// Who asks, through what, and how the request is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// A user of this machine, or `agentd`.
    pub principal: String,
    /// Through which client.
    pub client: Client,
    /// One id per turn, or per command outside a turn: 32 hex digits.
    pub trace_id: String,
    /// The request id the client chose, when it chose one.
    pub request_id: Option<String>,
}

impl Caller {
    /// The daemon itself, going on with something that was asked under `trace_id`.
    pub fn daemon(trace_id: impl Into<String>) -> Self {
        Self {
            principal: "agentd".into(),
            client: Client::Daemon,
            trace_id: trace_id.into(),
            request_id: None,
        }
    }

    /// How a decision is signed: `ana via web`.
    pub fn signature(&self) -> String {
        format!("{} via {}", self.principal, self.client.word())
    }
}
