//! Owns: what can happen to the model, and what the model can ask of the world.

use agentd_proto::{ClientError, pb};
use crossterm::event::KeyEvent;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Msg {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    /// Lines further down; up when negative.
    Wheel(i64),
    /// A click on this column and row.
    Click(u16, u16),
    Focus(bool),
    /// Time has passed.
    Tick,
    /// What was written in the person's editor; `None` when it failed.
    Edited(Option<String>),
    Link(FromLink),
}

/// News from the daemon.
#[derive(Debug)]
pub(crate) enum FromLink {
    Up {
        started: bool,
        status: Box<pb::GetStatusResponse>,
        models: Vec<pb::Model>,
    },
    Reconnecting {
        attempt: u32,
        wait: std::time::Duration,
    },
    Back {
        events: u64,
    },
    Down(ClientError),
    Session(Box<pb::Session>),
    /// A session is gone for good.
    Purged {
        session_id: String,
    },
    Page {
        session_id: String,
        events: Vec<pb::Event>,
        older: bool,
    },
    Event(Box<pb::Event>),
    Preview {
        session_id: String,
        preview: pb::Preview,
    },
    Output {
        session_id: String,
        chunk: pb::OutputChunk,
    },
    Approvals(Vec<pb::Approval>),
    Usage(Box<crate::model::usage::UsageData>),
    /// Today's cost against its budget.
    Today(String),
    /// Rows were written into a file, or why not.
    Exported(Result<String, String>),
    /// The messages that wait.
    Queue {
        session_id: String,
        messages: Vec<pb::QueuedMessage>,
    },
    /// Who follows the session.
    Clients {
        session_id: String,
        clients: Vec<pb::AttachedClient>,
    },
    Files {
        workspace: String,
        files: Vec<String>,
    },
    Created(Box<pb::Session>),
    Posted {
        key: u64,
        result: Result<(), ClientError>,
    },
    /// A request came to nothing.
    Failed {
        what: &'static str,
        error: ClientError,
    },
    ShellOpened {
        session_id: String,
        exec_id: String,
    },
    ShellOutput {
        exec_id: String,
        data: Vec<u8>,
    },
    ShellEnded {
        exec_id: String,
        words: String,
    },
}

/// Something the model wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cmd {
    Link(ToLink),
    /// Open the person's editor on a text.
    Editor(String),
    Copy(String),
    /// Draw everything anew.
    Redraw,
    Mouse(bool),
    Suspend,
    Quit,
}

/// A wish to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToLink {
    /// Follow this session.
    Open(String),
    /// The page before this seq.
    Older {
        session_id: String,
        before: u64,
    },
    Create {
        name: String,
    },
    Rename {
        session_id: String,
        name: String,
    },
    Interrupt {
        session_id: String,
    },
    /// Post a message; the same key again is the same message.
    Post {
        key: u64,
        session_id: String,
        text: String,
        model: String,
        steer: bool,
    },
    /// Ask for the messages that wait.
    Queue {
        session_id: String,
    },
    /// Change a message that waits; no parts: only whether it steers.
    EditQueued {
        session_id: String,
        message_id: String,
        parts: Vec<pb::Part>,
        steer: Option<bool>,
    },
    /// Take a message that waits back.
    RemoveQueued {
        session_id: String,
        message_id: String,
    },
    Exec {
        session_id: String,
        script: String,
    },
    Resolve {
        approval_id: String,
        decision: pb::ApprovalDecision,
        reason: String,
    },
    Approvals,
    /// What the usage screen shows.
    Usage {
        range: &'static str,
        by: pb::UsageDimension,
    },
    /// Today's cost.
    Today,
    ExportUsage {
        range: &'static str,
    },
    Files {
        workspace: String,
    },
    ReadOutput {
        session_id: String,
        exec_id: String,
    },
    OpenShell {
        session_id: String,
        existing: Option<String>,
        size: (u16, u16),
    },
    ShellInput {
        session_id: String,
        exec_id: String,
        data: Vec<u8>,
    },
    ShellResize {
        session_id: String,
        exec_id: String,
        size: (u16, u16),
    },
    /// Do not wait for the next attempt.
    Retry,
}
