//! Owns: the reasoned "no". A Rejection is an answer, not a fault.
//! Guarantees: each has a stable reason to branch on, a sentence, and next steps where there are any.

use super::id::Seq;

/// Why a command was refused. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A field is missing, malformed or out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// The request id was used before with other content.
    #[error("request id '{0}' was used before with other content")]
    RequestIdReused(String),
    /// No such session.
    #[error("no session matches '{wanted}'")]
    SessionNotFound {
        /// What was asked for.
        wanted: String,
        /// Lines that help: where was looked, what is near.
        hints: Vec<String>,
    },
    /// Several sessions match.
    #[error("'{wanted}' matches several sessions: {}", .matches.join(", "))]
    SessionAmbiguous {
        /// What was asked for.
        wanted: String,
        /// Some of the matches.
        matches: Vec<String>,
    },
    /// The name is taken.
    #[error("session '{name}' already exists on {workspace}")]
    NameTaken {
        /// Which name.
        name: String,
        /// By the session on this workspace.
        workspace: String,
    },
    /// It is there, with another wall than the one asked for.
    #[error("session '{name}' {is}, and {asked} was asked for")]
    JailDiffers {
        /// Which session.
        name: String,
        /// What it has, as a verb phrase.
        is: &'static str,
        /// What the caller wants.
        asked: &'static str,
        /// Next steps.
        hints: Vec<String>,
    },
    /// No such command run.
    #[error("no exec '{0}' in this session")]
    ExecNotFound(String),
    /// No such approval.
    #[error("no approval matches '{0}'")]
    ApprovalNotFound(String),
    /// Somebody answered before.
    #[error("approval {id} was already {verdict} by {by}")]
    ApprovalDecided {
        /// Which.
        id: String,
        /// Past participle.
        verdict: &'static str,
        /// `user via client · HH:MM`.
        by: String,
    },
    /// No such message waits.
    #[error("no message '{message}' waits in session '{session}': it was taken up or removed before")]
    MessageNotWaiting {
        /// What was asked for.
        message: String,
        /// Where.
        session: String,
    },
    /// No turn is open.
    #[error("no turn is open in session '{0}'")]
    NoOpenTurn(String),
    /// The log went on meanwhile.
    #[error("the session moved on: its head is {head}, not {expected}")]
    HeadMoved {
        /// Where it is.
        head: Seq,
        /// Where the caller thought it was.
        expected: Seq,
    },
    /// The workspace can't be used.
    #[error("{message}")]
    WorkspaceRefused {
        /// Why.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// Jails can't be made on this machine as it is.
    #[error("{message}")]
    JailUnavailable {
        /// The named cause.
        message: String,
        /// The exact fix, line by line.
        hints: Vec<String>,
    },
    /// The jail could not be started.
    #[error("{0}")]
    JailFailed(String),
    /// A model can't be used.
    #[error("{message}")]
    Model {
        /// `auth_missing`, `auth_rejected`, `model_unknown`, `provider_failed`.
        reason: String,
        /// A sentence.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// Input or output at an offset that is not there.
    #[error("{0}")]
    OffsetMismatch(String),
    /// Another client has the input of a terminal.
    #[error("{0} has the input")]
    InputHeld(String),
    /// The session can't do this in its present state.
    #[error("{0}")]
    WrongState(String),
    /// The same, with what to do about it.
    #[error("{message}")]
    NotNow {
        /// Why not.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// The token is unknown, expired or revoked.
    #[error("this device is not signed in, or no longer")]
    TokenRefused,
    /// The token does not allow this.
    #[error("this device may not do that: it lacks the scope '{0}'")]
    ScopeMissing(&'static str),
    /// The pairing code is no good.
    #[error("{0}")]
    PairingRefused(&'static str),
    /// No such device.
    #[error("no device matches '{0}'")]
    DeviceNotFound(String),
    /// No such budget.
    #[error("no budget '{0}'")]
    BudgetNotFound(String),
    /// No such alert.
    #[error("no alert '{0}'")]
    AlertNotFound(String),
    /// No such task.
    #[error("no task '{wanted}' on the board of {workspace}")]
    TaskNotFound {
        /// What was asked for.
        wanted: String,
        /// Whose board.
        workspace: String,
        /// What is near.
        hints: Vec<String>,
    },
    /// Somebody has it.
    #[error("task {task} is claimed by {holder}")]
    TaskClaimed {
        /// Which.
        task: String,
        /// By whom.
        holder: String,
    },
    /// The task waits for others.
    #[error("task {task} waits for {}", .waits.join(", "))]
    TaskWaits {
        /// Which.
        task: String,
        /// For what.
        waits: Vec<String>,
    },
    /// The board's file can't be read or written as it is. Nothing was overwritten.
    #[error("{message}")]
    BoardRefused {
        /// Where and why.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// The commit does not exist.
    #[error("{0}")]
    CommitUnknown(String),
    /// Another program has the port.
    #[error("port {0} of this machine is taken")]
    PortTaken(u16),
    /// No such door.
    #[error("no such port is open between this machine and session '{0}'")]
    PortNotOpen(String),
    /// No file of this name.
    #[error("{0} does not exist in the workspace")]
    FileNotFound(String),
    /// It can't be read or written this way.
    #[error("{0}")]
    FileRefused(String),
    /// The file is not what the caller believed.
    #[error("{message}")]
    FileChanged {
        /// Which, and how it differs.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// The host executes it or agents obey it.
    #[error("{path} is protected: {why}")]
    FileProtected {
        /// Which.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// No space left where the workspace is.
    #[error("no space is left for {0}; what was there before still is")]
    WorkspaceFull(String),
    /// A limit that can't be kept here.
    #[error("{message}")]
    LimitUnavailable {
        /// Which, and why not.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// No such persona.
    #[error("no persona '{wanted}'")]
    PersonaNotFound {
        /// What was asked for.
        wanted: String,
        /// Those there are.
        hints: Vec<String>,
    },
    /// No such policy.
    #[error("no policy '{wanted}'")]
    PolicyNotFound {
        /// What was asked for.
        wanted: String,
        /// Those there are.
        hints: Vec<String>,
    },
    /// A persona's or policy's file can't be used.
    #[error("{message}")]
    PolicyInvalid {
        /// File, line, column, and what is wrong.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// A rule can't be read.
    #[error("{0}")]
    RuleInvalid(String),
    /// A rule grants more than was asked, or something else.
    #[error("{message}")]
    RuleTooBroad {
        /// Why.
        message: String,
        /// What can be granted.
        hints: Vec<String>,
    },
    /// No such grant.
    #[error("no grant '{0}'")]
    GrantNotFound(String),
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

impl Rejection {
    /// The stable reason, upper case, as in `error.proto` without its prefix.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidArgument(_) => "INVALID_ARGUMENT",
            Self::RequestIdReused(_) => "REQUEST_ID_REUSED",
            Self::SessionNotFound { .. } => "SESSION_NOT_FOUND",
            Self::SessionAmbiguous { .. } => "SESSION_AMBIGUOUS",
            Self::NameTaken { .. } => "NAME_TAKEN",
            Self::JailDiffers { .. } => "JAIL_DIFFERS",
            Self::ExecNotFound(_) => "EXEC_NOT_FOUND",
            Self::ApprovalNotFound(_) => "APPROVAL_NOT_FOUND",
            Self::ApprovalDecided { .. } => "APPROVAL_DECIDED",
            Self::MessageNotWaiting { .. } => "MESSAGE_NOT_WAITING",
            Self::NoOpenTurn(_) => "NO_OPEN_TURN",
            Self::HeadMoved { .. } => "HEAD_MOVED",
            Self::WorkspaceRefused { .. } => "WORKSPACE_REFUSED",
            Self::JailUnavailable { .. } => "JAIL_UNAVAILABLE",
            Self::JailFailed(_) => "JAIL_FAILED",
            Self::Model { reason, .. } => match reason.as_str() {
                "auth_missing" => "AUTH_MISSING",
                "auth_rejected" => "AUTH_REJECTED",
                "model_unknown" => "MODEL_UNKNOWN",
                _ => "PROVIDER_FAILED",
            },
            Self::OffsetMismatch(_) => "OFFSET_MISMATCH",
            Self::InputHeld(_) => "INPUT_HELD",
            Self::WrongState(_) | Self::NotNow { .. } => "WRONG_STATE",
            Self::TokenRefused => "TOKEN_REFUSED",
            Self::ScopeMissing(_) => "SCOPE_MISSING",
            Self::PairingRefused(_) => "PAIRING_REFUSED",
            Self::DeviceNotFound(_) => "DEVICE_NOT_FOUND",
            Self::BudgetNotFound(_) => "BUDGET_NOT_FOUND",
            Self::AlertNotFound(_) => "ALERT_NOT_FOUND",
            Self::TaskNotFound { .. } => "TASK_NOT_FOUND",
            Self::TaskClaimed { .. } => "TASK_CLAIMED",
            Self::TaskWaits { .. } => "TASK_WAITS",
            Self::BoardRefused { .. } => "BOARD_REFUSED",
            Self::CommitUnknown(_) => "COMMIT_UNKNOWN",
            Self::PortTaken(_) => "PORT_TAKEN",
            Self::PortNotOpen(_) => "PORT_NOT_OPEN",
            Self::FileNotFound(_) => "FILE_NOT_FOUND",
            Self::FileRefused(_) => "FILE_REFUSED",
            Self::FileChanged { .. } => "FILE_CHANGED",
            Self::FileProtected { .. } => "FILE_PROTECTED",
            Self::WorkspaceFull(_) => "STORAGE_FULL",
            Self::LimitUnavailable { .. } => "LIMIT_UNAVAILABLE",
            Self::PersonaNotFound { .. } => "PERSONA_NOT_FOUND",
            Self::PolicyNotFound { .. } => "POLICY_NOT_FOUND",
            Self::PolicyInvalid { .. } => "POLICY_INVALID",
            Self::RuleInvalid(_) => "RULE_INVALID",
            Self::RuleTooBroad { .. } => "RULE_TOO_BROAD",
            Self::GrantNotFound(_) => "GRANT_NOT_FOUND",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }

    /// Next steps for a person, possibly none.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::SessionNotFound { hints, .. }
            | Self::JailDiffers { hints, .. }
            | Self::WorkspaceRefused { hints, .. }
            | Self::JailUnavailable { hints, .. }
            | Self::NotNow { hints, .. }
            | Self::Model { hints, .. }
            | Self::TaskNotFound { hints, .. }
            | Self::FileChanged { hints, .. }
            | Self::LimitUnavailable { hints, .. }
            | Self::PersonaNotFound { hints, .. }
            | Self::PolicyNotFound { hints, .. }
            | Self::PolicyInvalid { hints, .. }
            | Self::RuleTooBroad { hints, .. }
            | Self::BoardRefused { hints, .. } => hints.clone(),
            Self::FileProtected { .. } => vec!["repeat it with --protected if you mean it".into()],
            Self::WorkspaceFull(_) => vec!["free some space and repeat it".into()],
            Self::RuleInvalid(_) => vec!["agentctl policies show ask   (rules, one a line)".into()],
            Self::GrantNotFound(_) => vec!["agentctl policies list --grants".into()],
            Self::TaskClaimed { task, .. } => vec![format!("agentctl tasks show {task}")],
            Self::TaskWaits { task, .. } => vec![
                format!("agentctl tasks show {task}"),
                "repeat it with --force".into(),
            ],
            Self::CommitUnknown(_) => vec!["git log --oneline -5".into()],
            Self::SessionAmbiguous { .. } | Self::ExecNotFound(_) => {
                vec!["agentctl sessions list --all".into()]
            }
            Self::NameTaken { .. } => vec!["choose another --name, or leave out -C".into()],
            Self::ApprovalNotFound(_) | Self::ApprovalDecided { .. } => {
                vec!["agentctl approvals list".into()]
            }
            Self::MessageNotWaiting { session, .. } => vec![format!("agentctl send {session} --list")],
            Self::PortTaken(_) => vec!["agentctl forward SESSION PORT:OTHER".into()],
            Self::PortNotOpen(session) => vec![format!("agentctl ports {session}")],
            Self::TokenRefused | Self::PairingRefused(_) => vec!["agentctl web".into()],
            Self::DeviceNotFound(_) => vec!["agentctl web token list".into()],
            Self::BudgetNotFound(_) => vec!["agentctl usage budget list".into()],
            Self::AlertNotFound(_) => vec!["agentctl usage alerts list --all".into()],
            _ => Vec::new(),
        }
    }
}
