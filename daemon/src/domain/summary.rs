//! Owns: a session as lists and clients see it: its row, its state's word, its last line.
//! Guarantees: small, whatever the length of the log.

use serde::{Deserialize, Serialize};

use super::event::{EventBody, ModelRef, SessionSpec, TurnOutcome};
use super::id::{ApprovalId, CallId, ExecId, Seq, SessionId, TurnId};
use super::message::{Message, Role};
use super::network::NetworkMode;
use super::persona::InForce;
use super::standing::Standing;
use super::task::TaskId;
use super::usage::{Tokens, Usage};

/// A session as lists and clients see it: small, whatever the length of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub session_id: SessionId,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// What it was made with.
    pub spec: SessionSpec,
    /// When it was made, microseconds since the epoch.
    pub created_us: i64,
    /// When its last event was.
    pub updated_us: i64,
    /// Its head.
    pub head: Seq,
    /// The model of the next turn.
    pub model: Option<ModelRef>,
    /// The task it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The open turn.
    pub turn_id: Option<TurnId>,
    /// The last event as one line.
    pub last_line: String,
    /// Open approvals, oldest first.
    pub approval_ids: Vec<ApprovalId>,
    /// Ledger sums.
    pub spent: Spent,
    /// What it is about, in a line; empty before the first message.
    #[serde(default)]
    pub title: String,
    /// Messages that wait.
    pub queued: u32,
    /// Commands without an end.
    pub open_execs: u32,
    /// Paused, archived, in the trash; where it came from.
    #[serde(default)]
    pub standing: Standing,
    /// What its programs can reach.
    #[serde(default)]
    pub network: NetworkMode,
    /// The persona and policy in force; of rows written before there were any to choose, empty.
    #[serde(default)]
    pub in_force: InForce,
    /// The command that waits for input. Not folded from the log: it is so as long as it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<InputWait>,
}

/// A command that reads its input, finds nothing there, and has nothing else to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputWait {
    /// Which command.
    pub exec_id: ExecId,
    /// The last line it wrote, cleaned; may be empty.
    pub line: String,
    /// It has a terminal.
    pub pty: bool,
    /// Since when it is known, microseconds since the epoch.
    pub since_us: i64,
    /// The tool call that runs it.
    pub call_id: Option<CallId>,
}

impl Summary {
    /// The same with a command that waits for input: somebody is needed, unless the session rests.
    pub fn with_waiting(mut self, waiting: Option<InputWait>) -> Self {
        if waiting.is_some() && self.state == State::Working {
            self.state = State::NeedsYou;
        }
        self.waiting = waiting;
        self
    }

    /// True where no turn or command is open, and nothing waits in it.
    pub fn is_at_rest(&self) -> bool {
        self.turn_id.is_none() && self.queued == 0 && self.open_execs == 0 && self.approval_ids.is_empty()
    }
}

/// What a session is doing, in the product's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for a message.
    Ready,
    /// A turn or a command runs; a shell at its prompt is neither.
    Working,
    /// An approval is open, or a command waits for input.
    NeedsYou,
    /// By a person or a budget.
    Paused,
    /// The last turn ended in an error.
    Failed,
    /// Hidden.
    Archived,
    /// In the trash, restorable until it is purged.
    Deleted,
}

impl State {
    /// The word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Working => "working",
            Self::NeedsYou => "needs_you",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Archived => "archived",
            Self::Deleted => "deleted",
        }
    }
}

/// Ledger sums of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// All tokens.
    pub tokens: Tokens,
    /// Micro-USD over steps whose price is known.
    pub micro_usd: u64,
    /// At least one price is unknown.
    pub unknown: bool,
    /// Tokens of the last request: what fills the context.
    pub context_tokens: u64,
    /// Input tokens of the last request.
    #[serde(default)]
    pub input_tokens: u64,
    /// Of those, served from the provider's prompt cache.
    #[serde(default)]
    pub cached_tokens: u64,
}

impl Spent {
    /// Adds what a request took.
    pub(super) fn add(&mut self, usage: &Usage) {
        if let Some(tokens) = &usage.tokens {
            self.tokens = self.tokens.plus(tokens);
        }
        match usage.cost {
            Some(cost) => self.micro_usd = self.micro_usd.saturating_add(cost.micro_usd),
            None => self.unknown = true,
        }
    }
}

/// The first `max` characters, with `…` where something is missing.
pub fn clip(text: &str, max: usize) -> String {
    let mut out: String = text.chars().take(max).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// The event as one line for lists; `None` where the line before says more.
pub(super) fn line_of(body: &EventBody) -> Option<String> {
    let text = match body {
        EventBody::SessionCreated(_) => return None,
        EventBody::SessionRenamed { name } => format!("renamed to {name}"),
        EventBody::ModelChosen { model } => format!("model {}", model.name),
        EventBody::TaskChosen { task: Some(task) } => format!("task {task}"),
        EventBody::TaskChosen { task: None } => "no task".into(),
        EventBody::PersonaChosen { persona, .. } if persona.name == persona.policy.name => {
            format!("persona {}", persona.name)
        }
        EventBody::PersonaChosen { persona, .. } => {
            format!("persona {}, policy {}", persona.name, persona.policy.name)
        }
        EventBody::MessagePosted { parts, .. } => {
            format!(
                "you: {}",
                Message {
                    role: Role::User,
                    parts: parts.clone()
                }
                .text()
            )
        }
        EventBody::MessageEdited { .. }
        | EventBody::MessageRemoved { .. }
        | EventBody::TurnSteered { .. }
        | EventBody::TurnStarted { .. }
        | EventBody::ContextAdded { .. }
        | EventBody::CompactionRequested { .. }
        | EventBody::PlanUpdated { .. }
        | EventBody::TitleChosen { .. } => return None,
        EventBody::ContextCompacted { before, after, .. } => {
            format!("context compacted: {} to {} tokens", before.tokens, after.tokens)
        }
        EventBody::StepFinished { parts, .. } => {
            let text = Message {
                role: Role::Assistant,
                parts: parts.clone(),
            }
            .text();
            if text.trim().is_empty() {
                return None;
            }
            text
        }
        EventBody::StepRetried {
            attempt,
            max_attempts,
            reason,
            ..
        } => {
            format!("retrying ({attempt} of {max_attempts}): {reason}")
        }
        EventBody::ApprovalRequested { approval } => format!("wants: {}", approval.summary),
        EventBody::ApprovalResolved { verdict, .. } => verdict.word().to_owned(),
        EventBody::ToolCallStarted { summary, .. } => summary.clone(),
        EventBody::ToolCallFinished { .. } => return None,
        EventBody::ExecStarted { script, .. } => script
            .lines()
            .find(|l| !l.trim().is_empty())
            .unwrap_or_default()
            .to_owned(),
        EventBody::ExecFinished { result, .. } if result.unknown => "outcome unknown".into(),
        EventBody::ExecFinished { result, .. } => format!("exit {}", result.exit_code),
        EventBody::ChangeRecorded {
            path, added, removed, ..
        } => {
            format!("{} +{added} -{removed}", path.display())
        }
        EventBody::TurnFinished { outcome, .. } => match outcome {
            TurnOutcome::Done => return None,
            TurnOutcome::Interrupted { reason } => format!("interrupted: {reason}"),
            TurnOutcome::GoalNotMet => "goal not met".into(),
            TurnOutcome::OverBudget { reason, .. } => format!("over budget: {reason}"),
            TurnOutcome::Failed { message, .. } => format!("failed: {message}"),
            TurnOutcome::Denied { reason } => format!("denied: {reason}"),
        },
        EventBody::SessionPaused { reason } if reason.is_empty() => "paused".into(),
        EventBody::SessionPaused { reason } => format!("paused: {reason}"),
        EventBody::SessionResumed => "resumed".into(),
        EventBody::SessionForked { session_id, seq } => format!("forked from {session_id} at {seq}"),
        EventBody::SessionImported { session_id, .. } => format!("imported; it was {session_id}"),
        EventBody::Redacted { seqs, .. } => format!("{} events redacted", seqs.len()),
        // The state says it; the line before says what was going on.
        EventBody::SessionArchived
        | EventBody::SessionUnarchived
        | EventBody::SessionDeleted { .. }
        | EventBody::SessionRestored => return None,
        EventBody::ConnectionsRecorded { .. } => return None,
        EventBody::NetworkChosen { mode } => format!("network {}", mode.word()),
        EventBody::PortOpened { door } => door.to_string(),
        EventBody::PortClosed { door } => format!("closed: {door}"),
        EventBody::NoticeRecorded { message, .. } => message.clone(),
    };
    let first = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or_default();
    Some(clip(first, 200))
}
