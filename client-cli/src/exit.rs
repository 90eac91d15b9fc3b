//! Owns: exit codes, and what a failed verb has to say.
//! Guarantees: the table of `agentctl help exit-codes` is this file.

use agentd_proto::pb::{ErrorReason, TurnOutcome};
use agentd_proto::{Cause, ClientError};

/// Success.
pub(crate) const OK: u8 = 0;
/// Failed, no better word.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// No such session, exec or approval.
pub(crate) const NOT_FOUND: u8 = 3;
/// Credential missing or rejected.
pub(crate) const CREDENTIAL: u8 = 4;
/// Denied by policy or a person.
pub(crate) const DENIED: u8 = 5;
/// Conflict: name taken, decided already, moved on.
pub(crate) const CONFLICT: u8 = 6;
/// Daemon unreachable or of another version.
pub(crate) const DAEMON: u8 = 7;
/// Budget exhausted.
pub(crate) const BUDGET: u8 = 8;
/// The agent finished but reports the goal not met.
pub(crate) const GOAL: u8 = 9;
/// An approval is needed and nobody is there to answer.
pub(crate) const APPROVAL: u8 = 10;
/// Provider or network failure after retries.
pub(crate) const PROVIDER: u8 = 11;
/// Time is over.
pub(crate) const TIMEOUT: u8 = 124;
/// `exec`: agentctl or the jail failed.
pub(crate) const EXEC_FAILED: u8 = 125;
/// Left on SIGHUP.
pub(crate) const HANGUP: u8 = 129;
/// Interrupted.
pub(crate) const INTERRUPTED: u8 = 130;
/// The reader of the output is gone; silent.
pub(crate) const PIPE: u8 = 141;
/// Left on SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// Why a verb did not succeed, for the person who typed it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) exit: u8,
    /// Stable word, shown in brackets.
    pub(crate) code: String,
    /// One sentence, without `error:`.
    pub(crate) message: String,
    /// Further facts, one line each.
    pub(crate) notes: Vec<String>,
    /// Next steps.
    pub(crate) next: Vec<String>,
    /// Say nothing: the exit code is enough.
    pub(crate) silent: bool,
}

impl Failure {
    /// A failure with one sentence.
    pub(crate) fn new(exit: u8, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            notes: Vec::new(),
            next: Vec::new(),
            silent: false,
        }
    }

    /// A mistake on the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// An exit code with nothing to say.
    pub(crate) fn silent(exit: u8) -> Self {
        Self {
            silent: true,
            ..Self::new(exit, "", "")
        }
    }

    /// With a next step.
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next.push(step.into());
        self
    }

    /// With a further fact.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// A missing key has several ways out; whoever meets it first should see at least two.
    pub(crate) fn with_ways_to_a_key(mut self) -> Self {
        if self.exit == CREDENTIAL && self.next.len() < 2 {
            for step in [
                "agentctl auth set openai",
                "export OPENAI_API_KEY=…   (this shell only)",
            ] {
                let word = step.split("   ").next().unwrap_or(step);
                if !self.next.iter().any(|known| known.contains(word)) {
                    self.next.push(step.to_owned());
                }
            }
        }
        self
    }

    /// At least one next step is a command to paste, whatever advice the daemon gave.
    fn with_a_command(mut self) -> Self {
        let is_command = |step: &String| {
            ["agentctl ", "export ", "sudo ", "apt", "echo ", "sysctl "]
                .iter()
                .any(|word| step.starts_with(word))
        };
        if !self.next.iter().any(is_command) {
            let step = match self.code.as_str() {
                "name_taken" | "session_not_found" | "session_ambiguous" => "agentctl sessions list --all",
                "approval_not_found" | "approval_decided" => "agentctl approvals list",
                "model_unknown" => "agentctl models list",
                "workspace_refused" => "agentctl sessions list",
                "invalid_argument" => "agentctl help",
                "file_not_found" | "file_refused" | "file_protected" => "agentctl files ls .",
                "no_open_turn" | "wrong_state" | "head_moved" => "agentctl sessions list",
                _ if self.exit == DAEMON => "agentctl daemon status",
                _ => "agentctl doctor",
            };
            self.next.push(step.to_owned());
        }
        self
    }

    /// Where only the help is left to read, it is that of the verb.
    pub(crate) fn of_verb(mut self, verb: Option<&str>) -> Self {
        let Some(verb) = verb else { return self };
        if self.next.is_empty() && self.exit == USAGE {
            self.next.push("agentctl help".to_owned());
        }
        for step in &mut self.next {
            if step == "agentctl help" {
                *step = format!("agentctl help {verb}");
            }
        }
        self
    }

    /// As `exec` exits: its own failures must not look like the command's.
    pub(crate) fn of_exec(mut self) -> Self {
        if !matches!(
            self.exit,
            USAGE | NOT_FOUND | CONFLICT | DAEMON | TIMEOUT | INTERRUPTED | PIPE
        ) {
            self.exit = EXEC_FAILED;
        }
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let mut lines = error.message.lines().map(str::to_owned);
        let message = lines.next().unwrap_or_default();
        let failure = Self {
            exit: exit_of(error.cause),
            code: error.code,
            message,
            notes: lines.map(|line| line.trim().to_owned()).collect(),
            next: error.hints,
            silent: false,
        };
        failure.with_ways_to_a_key().with_a_command()
    }
}

impl From<std::io::Error> for Failure {
    /// Only output is written through `?`: a broken pipe is the reader's choice, not an error.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(PIPE);
        }
        Self::new(
            FAILED,
            "output_failed",
            format!("cannot write the output: {error}"),
        )
    }
}

fn exit_of(cause: Cause) -> u8 {
    let reason = match cause {
        Cause::Refused(reason) => reason,
        Cause::Unreachable | Cause::Lost | Cause::Version => return DAEMON,
        Cause::Other => return FAILED,
    };
    match reason {
        ErrorReason::InvalidArgument
        | ErrorReason::WorkspaceRefused
        | ErrorReason::ModelUnknown
        | ErrorReason::PolicyInvalid
        | ErrorReason::RuleInvalid
        | ErrorReason::RuleTooBroad
        | ErrorReason::SessionAmbiguous => USAGE,
        ErrorReason::SessionNotFound
        | ErrorReason::ExecNotFound
        | ErrorReason::ApprovalNotFound
        | ErrorReason::DeviceNotFound
        | ErrorReason::MessageNotWaiting
        | ErrorReason::BudgetNotFound
        | ErrorReason::AlertNotFound
        | ErrorReason::TaskNotFound
        | ErrorReason::PortNotOpen
        | ErrorReason::FileNotFound
        | ErrorReason::PersonaNotFound
        | ErrorReason::PolicyNotFound
        | ErrorReason::GrantNotFound
        | ErrorReason::CommitUnknown => NOT_FOUND,
        ErrorReason::AuthMissing | ErrorReason::AuthRejected | ErrorReason::TokenRefused => CREDENTIAL,
        ErrorReason::NameTaken
        | ErrorReason::PortTaken
        | ErrorReason::JailDiffers
        | ErrorReason::ApprovalDecided
        | ErrorReason::NoOpenTurn
        | ErrorReason::HeadMoved
        | ErrorReason::RequestIdReused
        | ErrorReason::TaskClaimed
        | ErrorReason::TaskWaits
        | ErrorReason::BoardRefused
        | ErrorReason::FileChanged
        | ErrorReason::InputHeld
        | ErrorReason::WrongState => CONFLICT,
        ErrorReason::ShuttingDown | ErrorReason::ForeignUser => DAEMON,
        ErrorReason::ProviderFailed => PROVIDER,
        ErrorReason::Unspecified
        | ErrorReason::JailUnavailable
        | ErrorReason::JailFailed
        | ErrorReason::StorageFull
        | ErrorReason::StorageLocked
        | ErrorReason::Internal
        | ErrorReason::ScopeMissing
        | ErrorReason::FileRefused
        | ErrorReason::FileProtected
        | ErrorReason::LimitUnavailable
        | ErrorReason::PairingRefused
        | ErrorReason::OffsetMismatch => FAILED,
    }
}

/// The exit code of a turn. `reason` is its lower-case error reason.
pub(crate) fn of_turn(outcome: TurnOutcome, reason: &str) -> u8 {
    match outcome {
        TurnOutcome::Done => OK,
        TurnOutcome::Interrupted => INTERRUPTED,
        TurnOutcome::GoalNotMet => GOAL,
        TurnOutcome::OverBudget => BUDGET,
        TurnOutcome::Denied => DENIED,
        TurnOutcome::Failed | TurnOutcome::Unspecified => match reason {
            "auth_missing" | "auth_rejected" => CREDENTIAL,
            "budget_exceeded" => BUDGET,
            "model_unknown" => USAGE,
            _ if reason.starts_with("provider_") => PROVIDER,
            _ => FAILED,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_turn_is_never_a_success() {
        for reason in ["", "auth_missing", "provider_failed", "internal", "nonsense"] {
            assert_ne!(of_turn(TurnOutcome::Failed, reason), OK);
        }
        assert_eq!(of_turn(TurnOutcome::Failed, "auth_rejected"), CREDENTIAL);
        assert_eq!(of_turn(TurnOutcome::Failed, "provider_failed"), PROVIDER);
    }

    #[test]
    fn exec_keeps_its_own_failures_apart_from_the_commands() {
        assert_eq!(
            Failure::new(FAILED, "jail_unavailable", "x").of_exec().exit,
            EXEC_FAILED
        );
        assert_eq!(Failure::new(CONFLICT, "name_taken", "x").of_exec().exit, CONFLICT);
    }
}
