//! Owns: what stopped the last turn where the agent could go on: a restart of the daemon, or a budget.

use agentd_proto::transcript::{Kind, Transcript};
use agentd_proto::{escape, pb};

/// What the daemon gives as the reason of a turn that ended because it went down.
const RESTART: &str = "restart";
/// How the hint begins that names the budget.
const RAISE: &str = "agentctl usage budget raise ";

/// Why the agent stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The daemon went down meanwhile.
    Restart,
    /// A budget is used up: which, and how much it would be given.
    Budget { budget_id: String, more: String },
    /// The limit that the turn was posted with is used up.
    Limit,
}

impl Stopped {
    /// What is said about it; `key` is the one that goes on.
    pub(crate) fn words(&self, key: &str) -> String {
        match self {
            Self::Restart => format!("turn interrupted by a restart · {key} goes on"),
            Self::Budget { more, .. } => {
                format!("budget reached, nothing lost · {key} raises it to {more} and goes on")
            }
            Self::Limit => format!("the turn's limit is reached, nothing lost · {key} goes on"),
        }
    }
}

/// What stopped it, by the last that happened.
pub(crate) fn of(transcript: &Transcript) -> Option<Stopped> {
    let items = transcript.items().iter().rev();
    let mut told = items.filter(|item| !matches!(item.kind, Kind::Notice(_) | Kind::Exec { .. }));
    let Kind::TurnEnd(end) = &told.next()?.kind else {
        return None;
    };
    match end.outcome() {
        pb::TurnOutcome::Interrupted if end.error_reason == RESTART => Some(Stopped::Restart),
        pb::TurnOutcome::OverBudget => {
            Some(match end.hints.iter().find_map(|hint| hint.strip_prefix(RAISE)) {
                Some(rest) => {
                    let (budget_id, more) = rest.split_once(' ').unwrap_or((rest, ""));
                    Stopped::Budget {
                        budget_id: budget_id.to_owned(),
                        more: escape::line(more.trim_matches('\'')),
                    }
                }
                None => Stopped::Limit,
            })
        }
        _ => None,
    }
}
