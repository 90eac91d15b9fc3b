//! Owns: the log's words. An Event is a fact: immutable, past tense, numbered.
//! Guarantees: every fact a client can see is one of these; a session is nothing but a fold over them.
//!
//! Changing a body: only add fields with `#[serde(default)]`, or raise [`SCHEMA`] and teach
//! `store/codec.rs` to read the old form. A saved database of every schema is a test fixture.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approval::{Approval, Verdict};
use super::context::{CompactReason, ContextItem, ContextSize, PlanItem};
use super::id::{ApprovalId, CallId, ChangeId, ExecId, MessageId, Seq, SessionId, TurnId};
use super::limits::{AddedDir, LimitsWish};
use super::message::{Part, ToolCall};
use super::network::{Connection, Door, NetworkMode};
use super::persona::Persona;
use super::principal::Caller;
use super::redaction::LogLevel;
use super::task::TaskId;
use super::tool::Effect;
use super::usage::{Cost, Tokens, Usage};
use super::workspace::{JailKind, ShellKind, Workspace};

/// Number of the stored form that this build writes.
pub const SCHEMA: u32 = 1;

/// A committed fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose log it is in.
    pub session_id: SessionId,
    /// Its place there.
    pub seq: Seq,
    /// Wall-clock time, microseconds since the epoch. Never used for order.
    pub time_us: i64,
    /// The stored form it was written in.
    pub schema: u32,
    /// Who caused it.
    pub caller: Caller,
    /// What happened.
    pub body: EventBody,
}

/// A fact that wants to be committed. The store gives it its seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Wall-clock time, microseconds since the epoch.
    pub time_us: i64,
    /// Who caused it.
    pub caller: Caller,
    /// What happened.
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// The session began.
    SessionCreated(SessionSpec),
    /// It has another name.
    SessionRenamed {
        /// The new one.
        name: String,
    },
    /// The next turns use another model.
    ModelChosen {
        /// Which.
        model: ModelRef,
    },
    /// The session works on another task, or on none.
    TaskChosen {
        /// Which.
        task: Option<TaskId>,
    },
    /// Another persona or policy is in force.
    PersonaChosen {
        /// All of it, as it was then: later changes of its file change nothing here.
        persona: Arc<Persona>,
        /// One more than before.
        generation: u64,
    },
    /// A person posted a message.
    MessagePosted {
        /// Its name.
        message_id: MessageId,
        /// Its pieces.
        parts: Vec<Part>,
        /// It waits for the open turn to end.
        queued: bool,
        /// It waits only for the open turn's next step.
        #[serde(default)]
        steer: bool,
        /// What the poster asked of the turn.
        options: TurnOptions,
    },
    /// A message that waits was changed.
    MessageEdited {
        /// Which.
        message_id: MessageId,
        /// Its pieces now.
        parts: Vec<Part>,
        /// It waits only for the open turn's next step.
        steer: bool,
    },
    /// A message that waited was taken back.
    MessageRemoved {
        /// Which.
        message_id: MessageId,
    },
    /// The open turn took up messages between two steps.
    TurnSteered {
        /// The turn.
        turn_id: TurnId,
        /// Which messages.
        message_ids: Vec<MessageId>,
    },
    /// The agent took up messages.
    TurnStarted {
        /// The turn.
        turn_id: TurnId,
        /// What it answers.
        message_ids: Vec<MessageId>,
        /// The model at work.
        model: ModelRef,
        /// What was asked of it.
        options: TurnOptions,
    },
    /// The daemon put something beside the words, for the next step to read.
    ContextAdded {
        /// The turn.
        turn_id: TurnId,
        /// What.
        items: Vec<ContextItem>,
    },
    /// A person asked for the context to be compacted; the open turn does it before its next step.
    CompactionRequested {
        /// What the summary should keep in mind; may be empty.
        focus: String,
    },
    /// Earlier messages were replaced by a summary. They stay in the log.
    ContextCompacted {
        /// The turn.
        turn_id: TurnId,
        /// Why.
        reason: CompactReason,
        /// What stood in the context before.
        before: ContextSize,
        /// What stands in it now; an estimate.
        after: ContextSize,
        /// So many messages at the end were kept as they are.
        kept: u32,
        /// What the model reads in place of the others.
        summary: String,
        /// The model's context window, where known by now.
        window: Option<u64>,
        /// What writing the summary cost; `None`: it was put together without a model.
        usage: Option<Usage>,
    },
    /// The agent's plan is another.
    PlanUpdated {
        /// The turn.
        turn_id: TurnId,
        /// The call that did it.
        call_id: CallId,
        /// All of it.
        items: Vec<PlanItem>,
    },
    /// What the session is about, in a line.
    TitleChosen {
        /// The line.
        title: String,
        /// What it cost.
        usage: Option<Usage>,
    },
    /// The model answered once.
    StepFinished {
        /// The turn.
        turn_id: TurnId,
        /// Its number in the turn, from 1.
        step: u32,
        /// What it said.
        parts: Vec<Part>,
        /// Why it stopped.
        finish: String,
        /// What it cost.
        usage: Usage,
    },
    /// A model request failed and is sent again.
    StepRetried {
        /// The turn.
        turn_id: TurnId,
        /// The step.
        step: u32,
        /// Number of the coming attempt, from 2.
        attempt: u32,
        /// How many there can be.
        max_attempts: u32,
        /// Milliseconds until then.
        wait_ms: u64,
        /// The provider's own message.
        reason: String,
    },
    /// A tool call needs an answer from a person.
    ApprovalRequested {
        /// The question.
        approval: Approval,
    },
    /// The first answer to a question.
    ApprovalResolved {
        /// Which.
        approval_id: ApprovalId,
        /// The call it was about.
        call_id: CallId,
        /// The answer.
        verdict: Verdict,
        /// What the decider said.
        reason: String,
        /// The rule it added for the session, several joined by `; `.
        rule: Option<String>,
        /// The same, one each; none in logs written before there could be several.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
        /// Until when they count, microseconds since the epoch; `None`: until the session ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules_until_us: Option<i64>,
    },
    /// A tool call is about to happen. Committed before it does.
    ToolCallStarted {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call: ToolCall,
        /// One line for people.
        summary: String,
        /// What it can do to the world.
        effects: Vec<Effect>,
        /// The command run it starts, for tools that run one.
        exec_id: Option<ExecId>,
    },
    /// A tool call came to an end.
    ToolCallFinished {
        /// The turn.
        turn_id: TurnId,
        /// Which.
        call_id: CallId,
        /// How.
        outcome: CallOutcome,
        /// What the model reads.
        result: String,
        /// How long it took, milliseconds.
        duration_ms: u64,
    },
    /// A command is about to run in the shell. Committed before it does.
    ExecStarted {
        /// The run.
        exec_id: ExecId,
        /// The shell text; cut when long, the whole runs.
        script: String,
        /// True when `script` was cut.
        script_truncated: bool,
        /// The tool call that runs it.
        call_id: Option<CallId>,
        /// It has a terminal.
        pty: bool,
        /// Time-out in milliseconds.
        timeout_ms: Option<u64>,
    },
    /// A command came to an end.
    ExecFinished {
        /// Which.
        exec_id: ExecId,
        /// How.
        result: ExecResult,
    },
    /// A tool changed a file.
    ChangeRecorded {
        /// Its name.
        change_id: ChangeId,
        /// The call that did it.
        call_id: CallId,
        /// Relative to the workspace.
        path: PathBuf,
        /// What happened.
        change: ChangeKind,
        /// Lines added.
        added: u32,
        /// Lines removed.
        removed: u32,
        /// Former path of a renamed file.
        from: Option<PathBuf>,
    },
    /// The agent rests.
    TurnFinished {
        /// The turn.
        turn_id: TurnId,
        /// How.
        outcome: TurnOutcome,
        /// What it took.
        totals: TurnTotals,
    },
    /// A person or a limit stopped it in mid-stride.
    SessionPaused {
        /// Why; may be empty.
        reason: String,
    },
    /// A person let it go on.
    SessionResumed,
    /// It is hidden.
    SessionArchived,
    /// It is shown again.
    SessionUnarchived,
    /// It is in the trash.
    SessionDeleted {
        /// Until then, microseconds since the epoch.
        purge_us: i64,
    },
    /// It came back out of the trash.
    SessionRestored,
    /// What stands before this is another session's log; from here on it is its own.
    SessionForked {
        /// Which session.
        session_id: SessionId,
        /// Up to where.
        seq: Seq,
    },
    /// What stands before this came from a bundle.
    SessionImported {
        /// Its id where it was made.
        session_id: SessionId,
        /// Its last seq there.
        seq: Seq,
    },
    /// Texts of earlier events were taken out for good; their places stayed.
    Redacted {
        /// Which events.
        seqs: Vec<Seq>,
        /// Why; may be empty.
        reason: String,
    },
    /// What programs reached beyond the jail, or were refused.
    ConnectionsRecorded {
        /// One for each command, program, host and outcome.
        connections: Vec<Connection>,
        /// Those beyond the most that one fact holds.
        #[serde(default)]
        omitted: u32,
    },
    /// Programs can reach other things from here on.
    NetworkChosen {
        /// What.
        mode: NetworkMode,
    },
    /// A door between the jail and this machine was opened.
    PortOpened {
        /// Which.
        door: Door,
    },
    /// It was closed.
    PortClosed {
        /// Which.
        door: Door,
    },
    /// Something a person should know that changes nothing.
    NoticeRecorded {
        /// Stable word.
        code: String,
        /// A sentence.
        message: String,
    },
}

impl EventBody {
    /// The stable word of the kind, as stored and as clients filter on it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionCreated(_) => "session_created",
            Self::SessionRenamed { .. } => "session_renamed",
            Self::ModelChosen { .. } => "model_chosen",
            Self::TaskChosen { .. } => "task_chosen",
            Self::PersonaChosen { .. } => "persona_chosen",
            Self::MessagePosted { .. } => "message_posted",
            Self::MessageEdited { .. } => "message_edited",
            Self::MessageRemoved { .. } => "message_removed",
            Self::TurnSteered { .. } => "turn_steered",
            Self::TurnStarted { .. } => "turn_started",
            Self::ContextAdded { .. } => "context_added",
            Self::CompactionRequested { .. } => "compaction_requested",
            Self::ContextCompacted { .. } => "context_compacted",
            Self::PlanUpdated { .. } => "plan_updated",
            Self::TitleChosen { .. } => "title_chosen",
            Self::StepFinished { .. } => "step_finished",
            Self::StepRetried { .. } => "step_retried",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::ApprovalResolved { .. } => "approval_resolved",
            Self::ToolCallStarted { .. } => "tool_call_started",
            Self::ToolCallFinished { .. } => "tool_call_finished",
            Self::ExecStarted { .. } => "exec_started",
            Self::ExecFinished { .. } => "exec_finished",
            Self::ChangeRecorded { .. } => "change_recorded",
            Self::TurnFinished { .. } => "turn_finished",
            Self::SessionPaused { .. } => "session_paused",
            Self::SessionResumed => "session_resumed",
            Self::SessionArchived => "session_archived",
            Self::SessionUnarchived => "session_unarchived",
            Self::SessionDeleted { .. } => "session_deleted",
            Self::SessionRestored => "session_restored",
            Self::SessionForked { .. } => "session_forked",
            Self::SessionImported { .. } => "session_imported",
            Self::Redacted { .. } => "redacted",
            Self::ConnectionsRecorded { .. } => "connections_recorded",
            Self::NetworkChosen { .. } => "network_chosen",
            Self::PortOpened { .. } => "port_opened",
            Self::PortClosed { .. } => "port_closed",
            Self::NoticeRecorded { .. } => "notice_recorded",
        }
    }
}

/// What a session was made with; fixed for its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// First name.
    pub name: String,
    /// Who made it.
    pub principal: String,
    /// The directory it works on, and where that appears inside.
    pub workspace: Workspace,
    /// Which shell it keeps.
    pub shell: ShellKind,
    /// What encloses its commands.
    pub jail: JailKind,
    /// What it was made for.
    pub origin: Origin,
    /// Its first model.
    pub model: Option<ModelRef>,
    /// The name of its first persona; `default` in old logs is `ask`.
    pub persona: String,
    /// Generation of the first persona and policy.
    pub policy_generation: u64,
    /// Its first task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// What its programs can reach at first.
    #[serde(default)]
    pub network: NetworkMode,
    /// Bounds other than the configured ones.
    #[serde(default, skip_serializing_if = "LimitsWish::is_empty")]
    pub limits: LimitsWish,
    /// Directories beside the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_dirs: Vec<AddedDir>,
    /// The maker's PATH.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub search_path: String,
    /// What its log keeps of what is said.
    #[serde(default)]
    pub log: LogLevel,
}

/// What a session was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Commands: exec, shell, the shell API.
    Shell,
    /// Work with a model.
    Agent,
}

/// A model by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// `provider/name`; the built-in demo model is `demo/demo`.
    pub name: String,
    /// The built-in scripted model: marked as such everywhere.
    pub demo: bool,
    /// Size of its context window in tokens, where known.
    #[serde(default)]
    pub context_tokens: Option<u64>,
}

/// What a poster asks of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOptions {
    /// Deny instead of asking; a denial then ends the turn.
    pub deny_approvals: bool,
    /// Somebody is there to answer.
    pub approver_present: bool,
    /// At most so many steps.
    pub max_steps: u32,
    /// At most so much money, in micro-dollars; `None`: only the budgets count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
    /// Reasoning effort; `None`: the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// JSON Schema that the answer must match, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<String>,
    /// It only compacts the context.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compact_only: bool,
}

impl Default for TurnOptions {
    fn default() -> Self {
        Self {
            deny_approvals: false,
            approver_present: false,
            max_steps: 100,
            budget_micro_usd: None,
            effort: None,
            json_schema: None,
            compact_only: false,
        }
    }
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It did what was asked.
    Succeeded,
    /// It was tried and failed.
    Failed,
    /// Policy or a person said no.
    Denied,
    /// A person stopped it.
    Interrupted,
    /// The daemon or machine went down meanwhile. Never run again by itself.
    Unknown,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// The shell's `$?`; 124 when timed out.
    pub exit_code: i32,
    /// Its time was over.
    #[serde(default)]
    pub timed_out: bool,
    /// A person stopped it.
    #[serde(default)]
    pub interrupted: bool,
    /// A background job still holds its output.
    #[serde(default)]
    pub background: bool,
    /// The shell ended and was started again.
    #[serde(default)]
    pub shell_restarted: bool,
    /// Nobody knows how it ended.
    #[serde(default)]
    pub unknown: bool,
    /// All bytes written to standard output.
    pub stdout_bytes: u64,
    /// All bytes written to standard error.
    pub stderr_bytes: u64,
    /// Bytes in the middle of standard output that were not kept.
    #[serde(default)]
    pub stdout_dropped: u64,
    /// Bytes in the middle of standard error that were not kept.
    #[serde(default)]
    pub stderr_dropped: u64,
    /// How long it ran, microseconds.
    pub duration_us: u64,
    /// The shell's directory afterwards, as seen in the jail.
    pub cwd: String,
    /// A sentence about a limit or a restart; may be empty.
    #[serde(default)]
    pub message: String,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// New.
    Created,
    /// Other content.
    Modified,
    /// Gone.
    Deleted,
    /// Another path.
    Renamed,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TurnOutcome {
    /// The agent gave its answer.
    Done,
    /// A person stopped it, or the daemon went down.
    Interrupted {
        /// Which of the two, as a sentence.
        reason: String,
    },
    /// The agent says that the goal is not met.
    GoalNotMet,
    /// A limit of the turn was reached.
    OverBudget {
        /// Which.
        reason: String,
        /// Next steps for a person; none in logs of earlier releases.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hints: Vec<String>,
    },
    /// An error ended it.
    Failed {
        /// Lower-case word to branch on.
        reason: String,
        /// A sentence.
        message: String,
        /// Next steps for a person.
        hints: Vec<String>,
    },
    /// A call was denied under `deny_approvals`.
    Denied {
        /// What was denied.
        reason: String,
    },
}

impl TurnOutcome {
    /// Why a turn was interrupted that nobody stopped: the daemon's own ends.
    pub const WENT_DOWN: &str = "agentd went down during the turn";
    /// The same, in good order.
    pub const WAS_STOPPED: &str = "agentd was stopped";
}

/// What a turn took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTotals {
    /// Model round trips.
    pub steps: u32,
    /// Tool calls made.
    pub tool_calls: u32,
    /// Tokens of all steps that reported any.
    pub tokens: Tokens,
    /// Money; `None` when any step's price is unknown.
    pub cost: Option<Cost>,
    /// From start to end, milliseconds.
    pub duration_ms: u64,
}
