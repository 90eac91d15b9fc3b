//! Owns: an approval's answer with a rule, while it is being written: which rules, and for how long they count.

use agentd_proto::pb;

use super::editor::Editor;

/// What is told to have failed when an answer was not taken.
pub(crate) const DECISION: &str = "decision";

/// How long a rule counts: words, and seconds for the project; without: until the session ends.
pub(crate) const TERMS: [(&str, Option<i64>); 6] = [
    ("until the session ends", None),
    ("in this project for an hour", Some(3_600)),
    ("in this project for a day", Some(86_400)),
    ("in this project for a week", Some(604_800)),
    ("in this project for 30 days", Some(2_592_000)),
    ("in this project for a year", Some(31_536_000)),
];

/// Rules as given, in place of the offered ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Empty: the offered ones.
    pub(crate) rules: Vec<String>,
    /// For the project: how long they count.
    pub(crate) seconds: Option<i64>,
}

/// The answer being written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Form {
    pub(crate) approval_id: String,
    /// What was offered.
    offered: Vec<String>,
    /// One rule each; those that are emptied are left out.
    pub(crate) rules: Vec<Editor>,
    /// Which of them is being changed.
    pub(crate) at: usize,
    /// Which of the terms.
    pub(crate) term: usize,
    /// It is on its way.
    pub(crate) sent: bool,
    /// Why the daemon did not take it.
    pub(crate) refusal: String,
}

impl Form {
    /// Begins with what is offered, until the session ends; `None` where nothing is.
    pub(crate) fn new(approval: &pb::Approval) -> Option<Self> {
        let offered = approval.rules.clone();
        (!offered.is_empty()).then(|| Self {
            approval_id: approval.approval_id.clone(),
            rules: offered.iter().map(Editor::with).collect(),
            offered,
            at: 0,
            term: 0,
            sent: false,
            refusal: String::new(),
        })
    }

    /// How long it counts.
    pub(crate) fn term(&self) -> (&'static str, Option<i64>) {
        TERMS.get(self.term).copied().unwrap_or_default()
    }

    /// The next term, or the one before.
    pub(crate) fn turn(&mut self, forward: bool) {
        let step = if forward { 1 } else { TERMS.len() - 1 };
        self.term = (self.term + step) % TERMS.len();
    }

    /// The answer; `None` when no rule is left.
    pub(crate) fn answer(&self) -> Option<(pb::ApprovalDecision, Grant)> {
        let rules: Vec<String> = self
            .rules
            .iter()
            .map(|rule| rule.expanded().trim().to_owned())
            .filter(|rule| !rule.is_empty())
            .collect();
        if rules.is_empty() {
            return None;
        }
        let (_, seconds) = self.term();
        let decision = match seconds {
            Some(_) => pb::ApprovalDecision::ApprovedProject,
            None => pb::ApprovalDecision::ApprovedSession,
        };
        // What is unchanged is the daemon's own to fill in.
        let rules = if rules == self.offered { Vec::new() } else { rules };
        Some((decision, Grant { rules, seconds }))
    }
}
