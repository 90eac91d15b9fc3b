//! Owns: what can happen to the model, and what the model can ask of the world.

use agentd_proto::{ClientError, pb};
use crossterm::event::KeyEvent;

use crate::model::grant::Grant;
use crate::model::panel::{Deed, Named, Panel};

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
    /// Today's cost against its budget, and what a session may cost, micro-USD.
    Today {
        words: String,
        session_limit: Option<u64>,
    },
    /// Rows were written into a file, or why not.
    Exported(Result<String, String>),
    /// What deleting a session would lose.
    Loss(Box<pb::DeleteSessionResponse>),
    /// Where the words are that were searched.
    Found {
        text: String,
        hits: Vec<pb::SearchHit>,
    },
    Board(BoardNews),
    /// What a panel shows.
    Panel {
        session_id: String,
        data: crate::model::panel::Data,
    },
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
    /// A file was read that is to go with the next message, or why not.
    Attached {
        session_id: String,
        result: Result<pb::Part, String>,
        pasted: Option<String>,
    },
    /// A budget has another limit, as a line.
    Raised {
        session_id: String,
        line: String,
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
    /// With a size: the whole screen of a terminal of that size.
    ShellOutput {
        exec_id: String,
        screen: Option<(u16, u16)>,
        data: Vec<u8>,
    },
    /// Columns and rows of a terminal that another client sizes.
    ShellSize {
        exec_id: String,
        size: (u16, u16),
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
    /// Open the person's editor on a text: the file of a persona or policy, or else a message.
    Editor {
        text: String,
        toml: bool,
    },
    Copy(String),
    /// Draw everything anew.
    Redraw,
    Mouse(bool),
    /// Tell the person who looks elsewhere.
    Notify(String),
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
        /// What is attached to it.
        files: Vec<pb::Part>,
        model: String,
        /// How long a reasoning model thinks; empty: as usual.
        effort: String,
        steer: bool,
    },
    /// Read a file that is to go with the next message. `pasted`: the path as it was pasted, to be text if it is none.
    Attach {
        session_id: String,
        path: String,
        pasted: Option<String>,
    },
    /// Give a budget that stopped a turn this limit, as it was said.
    Raise {
        session_id: String,
        budget_id: String,
        limit: String,
    },
    Life(Life),
    Board(BoardWish),
    /// What a panel shows, after something was done with one of its rows.
    Panel {
        what: Panel,
        session_id: String,
        deed: Option<Deed>,
    },
    /// Type into a command.
    Input {
        session_id: String,
        exec_id: String,
        data: Vec<u8>,
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
        /// The rules in place of the offered ones.
        grant: Option<Grant>,
    },
    /// Give a session another persona or policy.
    Choose {
        session_id: String,
        what: Named,
        name: String,
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
    /// With `resize` an existing one takes that size; otherwise another client says what size it has.
    OpenShell {
        session_id: String,
        existing: Option<String>,
        size: (u16, u16),
        resize: bool,
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
    /// Which size the terminal has by now.
    ShellSize {
        session_id: String,
        exec_id: String,
    },
    /// Do not wait for the next attempt.
    Retry,
}

/// A wish about a session's whole life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    Pause(String),
    Resume(String),
    Archive(String),
    Unarchive(String),
    Restore(String),
    /// Say what would be lost.
    AskDelete(String),
    Delete(String),
    /// Up to this event; 0: all.
    Fork {
        session_id: String,
        seq: u64,
        name: String,
    },
    Export {
        session_id: String,
        name: String,
    },
    /// In one session, or in all when it is empty.
    Search {
        session_id: String,
        text: String,
    },
}

/// News of boards.
#[derive(Debug)]
pub(crate) enum BoardNews {
    Changed(pb::BoardMark),
    /// The workspaces that have one.
    Known(Vec<String>),
    Board {
        workspace: String,
        board: Box<pb::ListTasksResponse>,
    },
    Task {
        workspace: String,
        task: Box<pb::GetTaskResponse>,
    },
    /// A task as a change left it; the board itself comes anew.
    Done {
        workspace: String,
        what: &'static str,
        task: Option<Box<pb::Task>>,
    },
    Started {
        session_id: String,
        name: String,
        run: bool,
    },
}

/// A wish about a board.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BoardWish {
    Known,
    List {
        workspace: String,
    },
    Task {
        workspace: String,
        task_id: String,
    },
    Change {
        workspace: String,
        task_id: String,
        /// The board's revision that the person saw.
        base_rev: u64,
        change: TaskWish,
    },
}

/// A change of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TaskWish {
    Add {
        title: String,
        state: pb::TaskState,
    },
    Title(String),
    Priority(String),
    Owner(String),
    Note(String),
    Move(pb::TaskState),
    Claim,
    Release,
    Done {
        link: String,
    },
    /// With `run` the agent begins at once.
    Start {
        run: bool,
    },
    Keep {
        field: String,
        keep: Keep,
    },
    /// Read the files now; bring a deleted one back.
    Sync {
        restore: bool,
    },
}

/// Which side of a conflict stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keep {
    File,
    Board,
    Text(String),
}
