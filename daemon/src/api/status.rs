//! Owns: how a "no" or a fault looks on the wire. The only maker of `tonic::Status`.
//! Guarantees: a Rejection keeps its reason and next steps; a fault is logged in full under an id, and the
//! client sees a sentence, a next step and that id.

use std::collections::HashMap;

use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, HelpLink, StatusExt};

use crate::domain::rejection::Rejection;
use crate::ledger::LedgerError;
use crate::session::Fault;

/// What every method answers.
pub(super) type Reply<T> = Result<Response<T>, Status>;
/// A "no" on its way to the wire.
pub(super) type No = Status;

const DOMAIN: &str = "agentd";

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        make(
            code(&rejection),
            rejection.reason(),
            &rejection.to_string(),
            rejection.hints(),
        )
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Rejected(rejection) => rejection.into(),
            Fault::Full(_) => make(
                Code::ResourceExhausted,
                "STORAGE_FULL",
                "the disk that holds agentd's state is full",
                vec!["free some space; nothing was lost and reading goes on".into()],
            ),
            Fault::Locked(_) => make(
                Code::ResourceExhausted,
                "STORAGE_LOCKED",
                "another program holds the lock of agentd's database",
                vec!["close it and try again; nothing was lost and reading goes on".into()],
            ),
            Fault::Store(error) => internal(&error),
        }
    }
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Rejected(rejection) => rejection.into(),
            LedgerError::Store(error) => Fault::from(error).into(),
        }
    }
}

impl From<crate::board::Refusal> for Status {
    fn from(refusal: crate::board::Refusal) -> Self {
        match refusal {
            crate::board::Refusal::Rejected(rejection) => rejection.into(),
            crate::board::Refusal::Store(error) => Fault::from(error).into(),
        }
    }
}

/// A field that can't be read.
pub(super) fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::InvalidArgument(message.into())
}

/// Something broken: the details go to the log, an id to the client.
pub(super) fn internal(error: &dyn std::fmt::Display) -> Status {
    let id: String = crate::session::trace_id().chars().take(8).collect();
    tracing::error!(%error, id, "internal error");
    make(
        Code::Internal,
        "INTERNAL",
        &format!("something in agentd is broken (error {id})"),
        vec![format!("agentctl daemon logs | grep {id}")],
    )
}

/// The peer is another user.
pub(super) fn foreign_user() -> Status {
    make(
        Code::PermissionDenied,
        "FOREIGN_USER",
        "this daemon serves another user",
        Vec::new(),
    )
}

fn make(code: Code, reason: &str, message: &str, hints: Vec<String>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    if !hints.is_empty() {
        let links: Vec<HelpLink> = hints.into_iter().map(|hint| HelpLink::new(hint, "")).collect();
        details.set_help(links);
    }
    Status::with_error_details(code, message, details)
}

fn code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::InvalidArgument(_)
        | Rejection::RequestIdReused(_)
        | Rejection::PolicyInvalid { .. }
        | Rejection::RuleInvalid(_)
        | Rejection::RuleTooBroad { .. }
        | Rejection::SessionAmbiguous { .. } => Code::InvalidArgument,
        Rejection::SessionNotFound { .. }
        | Rejection::ExecNotFound(_)
        | Rejection::ApprovalNotFound(_)
        | Rejection::MessageNotWaiting { .. }
        | Rejection::DeviceNotFound(_)
        | Rejection::BudgetNotFound(_)
        | Rejection::AlertNotFound(_)
        | Rejection::TaskNotFound { .. }
        | Rejection::PortNotOpen(_)
        | Rejection::FileNotFound(_)
        | Rejection::PersonaNotFound { .. }
        | Rejection::PolicyNotFound { .. }
        | Rejection::GrantNotFound(_)
        | Rejection::CommitUnknown(_) => Code::NotFound,
        Rejection::NameTaken { .. } | Rejection::PortTaken(_) => Code::AlreadyExists,
        Rejection::ApprovalDecided { .. }
        | Rejection::NoOpenTurn(_)
        | Rejection::TaskClaimed { .. }
        | Rejection::TaskWaits { .. }
        | Rejection::BoardRefused { .. }
        | Rejection::WorkspaceRefused { .. }
        | Rejection::JailUnavailable { .. }
        | Rejection::JailDiffers { .. }
        | Rejection::NotNow { .. }
        | Rejection::FileRefused(_)
        | Rejection::FileProtected { .. }
        | Rejection::LimitUnavailable { .. }
        | Rejection::InputHeld(_)
        | Rejection::WrongState(_) => Code::FailedPrecondition,
        Rejection::HeadMoved { .. } | Rejection::FileChanged { .. } => Code::Aborted,
        Rejection::WorkspaceFull(_) => Code::ResourceExhausted,
        Rejection::JailFailed(_) | Rejection::ShuttingDown => Code::Unavailable,
        Rejection::Model { reason, .. } => match reason.as_str() {
            "auth_missing" | "auth_rejected" => Code::Unauthenticated,
            "model_unknown" => Code::NotFound,
            _ => Code::Unavailable,
        },
        Rejection::TokenRefused => Code::Unauthenticated,
        Rejection::ScopeMissing(_) | Rejection::PairingRefused(_) => Code::PermissionDenied,
        Rejection::OffsetMismatch(_) => Code::OutOfRange,
    }
}
