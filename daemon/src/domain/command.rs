//! Owns: the wishes addressed to a Session, and the answers to them.
//! Guarantees: a Command yields Events or a Rejection, never both.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approval::{Approval, Verdict};
use super::event::{EventBody, ExecResult, ModelRef, TurnOptions};
use super::id::{ApprovalId, CallId, ExecId, MessageId, Seq, TurnId};
use super::message::Part;
use super::network::{Connection, Direction, Door, NetworkMode};
use super::persona::Persona;
use super::task::TaskId;
use super::usage::Usage;

/// A wish. Ids in it are made by the caller, so that deciding stays pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Post a message: starts a turn, or queues when one is open.
    PostMessage {
        /// Name of the new message.
        message_id: MessageId,
        /// Its pieces; at least one.
        parts: Vec<Part>,
        /// The model for this and later turns, resolved; `None` keeps the session's.
        model: Option<ModelRef>,
        /// What is asked of the turn.
        options: TurnOptions,
        /// Of an open turn: read it before the next step instead of after the end.
        steer: bool,
        /// Name of the turn, should one start.
        turn_id: TurnId,
        /// Refuse unless this is the head.
        expected_head: Option<Seq>,
    },
    /// Change a message that waits.
    EditMessage {
        /// Which.
        message_id: MessageId,
        /// Its new pieces; `None` keeps them.
        parts: Option<Vec<Part>>,
        /// Whether it steers; `None` keeps that.
        steer: Option<bool>,
    },
    /// Take a message out of the queue.
    RemoveMessage {
        /// Which.
        message_id: MessageId,
    },
    /// Give the session another name (uniqueness is the store's to refuse).
    Rename {
        /// The new name.
        name: String,
    },
    /// Work on another task, or on none.
    ChooseTask {
        /// Which.
        task: Option<TaskId>,
    },
    /// Work as another persona, under another policy, or both.
    ChoosePersona {
        /// All of it.
        persona: Arc<Persona>,
        /// The model it brings along.
        model: Option<ModelRef>,
    },
    /// Deny a question whose time is over.
    ExpireApproval {
        /// Which.
        approval_id: ApprovalId,
    },
    /// Answer an approval.
    ResolveApproval {
        /// Which.
        approval_id: ApprovalId,
        /// The answer; never `Withdrawn` or `Expired`.
        verdict: Verdict,
        /// What the decider says.
        reason: String,
        /// Rules in place of the offered ones; empty: those.
        rules: Vec<String>,
        /// For the project: until when they count, microseconds since the epoch.
        rules_until_us: Option<i64>,
        /// Refuse unless this is the head.
        expected_head: Option<Seq>,
    },
    /// Start a command in the shell, outside any turn.
    StartExec {
        /// Name of the run.
        exec_id: ExecId,
        /// The text for the log.
        script: String,
        /// It was cut.
        script_truncated: bool,
        /// With a terminal.
        pty: bool,
        /// Time-out in milliseconds.
        timeout_ms: Option<u64>,
    },
    /// A command came to an end.
    FinishExec {
        /// Which.
        exec_id: ExecId,
        /// How.
        result: ExecResult,
        /// Of a tool call that outlived its turn: the turn, the call, and what the model will read. In the same
        /// breath, so that nobody finds the session ready and the result missing.
        late: Option<(TurnId, CallId, String)>,
    },
    /// Facts of the open turn, in order. Refused when the turn is no longer open.
    RecordTurn {
        /// The turn.
        turn_id: TurnId,
        /// What happened.
        facts: Vec<EventBody>,
        /// Name of the next turn, should this batch end the open one while messages wait.
        next_turn_id: TurnId,
    },
    /// Replace earlier messages by a summary: before the open turn's next step, or at once.
    Compact {
        /// What the summary should keep in mind; may be empty.
        focus: String,
        /// Name of the turn that does it, should none be open.
        turn_id: TurnId,
    },
    /// Say in a line what the session is about.
    ChooseTitle {
        /// The line.
        title: String,
        /// What it cost.
        usage: Option<Usage>,
    },
    /// Stop in mid-stride, at the next safe point; commands stand still.
    Pause {
        /// Why; may be empty.
        reason: String,
    },
    /// Go on.
    Resume {
        /// Name of the next turn, should messages wait and none be open.
        turn_id: TurnId,
    },
    /// Hide it. Refused while it works.
    Archive,
    /// Show it again.
    Unarchive,
    /// Put it into the trash. Its turn and commands have been ended.
    Delete {
        /// Until when it can be restored, microseconds since the epoch.
        purge_us: i64,
    },
    /// Take it out of the trash.
    Restore,
    /// Texts of these events are taken out for good.
    Redact {
        /// The events as they will be, by seq, ascending.
        rewrites: Vec<(Seq, EventBody)>,
        /// Why; may be empty.
        reason: String,
    },
    /// Ask whether hosts may be reached.
    AskHosts {
        /// The question.
        approval: Box<Approval>,
    },
    /// Ask whether the shell may begin with a project's text.
    AskInit {
        /// The question.
        approval: Box<Approval>,
    },
    /// Take entries of the connection log into the log.
    RecordConnections {
        /// The entries.
        connections: Vec<Connection>,
        /// How many more there were.
        omitted: u32,
    },
    /// Let programs reach other things.
    ChooseNetwork {
        /// What.
        mode: NetworkMode,
    },
    /// A door between the jail and this machine is open.
    OpenPort {
        /// Which.
        door: Door,
    },
    /// Close one.
    ClosePort {
        /// Which way it goes.
        direction: Direction,
        /// The port inside.
        port: u16,
    },
    /// Say something a person should know.
    Notice {
        /// Stable word.
        code: String,
        /// A sentence.
        message: String,
    },
}

/// The answer to a Command that was taken. Stored with the request id, so that a retry gets the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `PostMessage`.
    Posted {
        /// Seq of MessagePosted.
        seq: Seq,
        /// The message.
        message_id: MessageId,
        /// It waits.
        queued: bool,
        /// The turn that takes it up.
        turn_id: Option<TurnId>,
    },
    /// To `StartExec`.
    ExecStarted {
        /// Seq of ExecStarted.
        seq: Seq,
        /// The run.
        exec_id: ExecId,
    },
    /// To `ResolveApproval`.
    Resolved {
        /// Seq of ApprovalResolved.
        seq: Seq,
        /// Which approval.
        approval_id: ApprovalId,
    },
    /// To everything else: the head after it.
    Done {
        /// The head.
        seq: Seq,
    },
}

impl Command {
    /// The answer, given the head before its events and the events themselves.
    pub fn reply(&self, head: Seq, events: &[EventBody]) -> Reply {
        let seq_of = |wanted: fn(&EventBody) -> bool| {
            let index = events.iter().position(wanted).unwrap_or(0);
            head.saturating_add(1).saturating_add(index as Seq)
        };
        match self {
            Self::PostMessage { message_id, .. } => Reply::Posted {
                seq: seq_of(|e| matches!(e, EventBody::MessagePosted { .. })),
                message_id: message_id.clone(),
                queued: events
                    .iter()
                    .any(|e| matches!(e, EventBody::MessagePosted { queued: true, .. })),
                turn_id: events.iter().find_map(|e| match e {
                    EventBody::TurnStarted { turn_id, .. } => Some(turn_id.clone()),
                    _ => None,
                }),
            },
            Self::StartExec { exec_id, .. } => Reply::ExecStarted {
                seq: seq_of(|e| matches!(e, EventBody::ExecStarted { .. })),
                exec_id: exec_id.clone(),
            },
            Self::ResolveApproval { approval_id, .. } => Reply::Resolved {
                seq: seq_of(|e| matches!(e, EventBody::ApprovalResolved { .. })),
                approval_id: approval_id.clone(),
            },
            _ => Reply::Done {
                seq: head.saturating_add(events.len() as Seq),
            },
        }
    }
}
