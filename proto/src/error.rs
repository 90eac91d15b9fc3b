//! Owns: what a client knows about a call that did not succeed.
//! Guarantees: clients branch on `cause` and show `code`, `message` and `hints`; no `tonic::Status`
//! leaves this crate.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::pb::ErrorReason;

/// What a call of the generated clients gives.
pub(crate) type Answer<T> = Result<T, Status>;

/// Domain of the daemon's own error details.
const DOMAIN: &str = "agentd";

/// Why a call did not succeed, as far as a client has to tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daemon answered "no", or failed, with a reason of its own.
    Refused(ErrorReason),
    /// No daemon could be reached or started.
    Unreachable,
    /// The connection broke while the call was under way: nobody knows whether it was taken.
    Lost,
    /// The daemon does not know this call: it is of another version.
    Version,
    /// Something else that has no name in the contract.
    Other,
}

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What to branch on.
    pub cause: Cause,
    /// Stable lower-case word for people and scripts, such as `session_not_found`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Next steps, possibly none.
    pub hints: Vec<String>,
}

impl ClientError {
    /// No daemon could be reached or started.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Unreachable,
            code: "daemon_unreachable".to_owned(),
            message: message.into(),
            hints: vec!["agentctl daemon start".to_owned(), "agentctl doctor".to_owned()],
        }
    }

    /// Something that is not in the contract.
    pub fn other(code: &str, message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Other,
            code: code.to_owned(),
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// True when another attempt, perhaps with another daemon, is sensible.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.cause,
            Cause::Unreachable | Cause::Lost | Cause::Refused(ErrorReason::ShuttingDown)
        )
    }

    /// True when the daemon refused for this reason.
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.cause == Cause::Refused(reason)
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let hints = status
            .get_details_help()
            .map(|help| help.links.into_iter().map(|link| link.description).collect())
            .unwrap_or_default();
        let message = status.message().to_owned();
        if let Some(info) = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN)
        {
            let name = format!("ERROR_REASON_{}", info.reason);
            // A reason this client does not know yet keeps its word; it only cannot be branched on.
            let cause = ErrorReason::from_str_name(&name).map_or(Cause::Other, Cause::Refused);
            return Self {
                cause,
                code: info.reason.to_lowercase(),
                message,
                hints,
            };
        }
        match status.code() {
            // Without the daemon's own detail these come from the transport: the daemon died, was
            // killed or restarted while the call was under way.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => Self {
                cause: Cause::Lost,
                code: "connection_lost".to_owned(),
                message: "the connection to the daemon was lost".to_owned(),
                hints: vec!["agentctl daemon status".to_owned()],
            },
            Code::Unimplemented => Self {
                cause: Cause::Version,
                code: "version_mismatch".to_owned(),
                message: "the running daemon is of another version and does not know this call".to_owned(),
                hints: vec!["agentctl daemon restart".to_owned()],
            },
            code => Self {
                cause: Cause::Other,
                code: format!("{code:?}").to_lowercase(),
                message,
                hints,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, HelpLink};

    use super::*;

    #[test]
    fn the_daemons_reason_and_hints_survive() {
        let mut details = ErrorDetails::with_error_info("SESSION_NOT_FOUND", DOMAIN, HashMap::new());
        details.set_help(vec![HelpLink::new("agentctl sessions list", "")]);
        let status = Status::with_error_details(Code::NotFound, "no session matches 'x'", details);
        let error = ClientError::from(status);
        assert_eq!(error.cause, Cause::Refused(ErrorReason::SessionNotFound));
        assert_eq!(error.code, "session_not_found");
        assert_eq!(error.hints, ["agentctl sessions list"]);
        assert!(!error.is_transient());
    }

    #[test]
    fn a_broken_transport_is_worth_another_try_and_a_refusal_is_not() {
        assert!(ClientError::from(Status::unavailable("tcp")).is_transient());
        let details = ErrorDetails::with_error_info("JAIL_FAILED", DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "died", details);
        assert!(!ClientError::from(status).is_transient());
    }

    #[test]
    fn an_unknown_reason_keeps_its_word() {
        let details = ErrorDetails::with_error_info("FROM_THE_FUTURE", DOMAIN, HashMap::new());
        let error = ClientError::from(Status::with_error_details(Code::Aborted, "no", details));
        assert_eq!(
            (error.cause, error.code.as_str()),
            (Cause::Other, "from_the_future")
        );
    }
}
