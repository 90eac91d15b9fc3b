//! Owns: the open turn of a session as its log has it: its calls without a result, its commands, its sums.
//! Guarantees: an unknown price makes the whole turn's money unknown, for good.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::event::{ModelRef, TurnOptions, TurnTotals};
use super::id::{ApprovalId, CallId, ExecId, TurnId};
use super::message::ToolCall;
use super::principal::Asker;
use super::usage::{Cost, CostSource, Usage};

/// The open turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Turn {
    /// Its name.
    pub turn_id: TurnId,
    /// Its trace.
    pub trace_id: String,
    /// On whose behalf it works: the poster of the last message it took up.
    pub asker: Asker,
    /// The model at work.
    pub model: ModelRef,
    /// What was asked of it.
    pub options: TurnOptions,
    /// When it started.
    pub started_us: i64,
    /// Steps finished.
    pub steps: u32,
    /// Calls of the last step that have no result yet, in order.
    pub calls: VecDeque<OpenCall>,
    /// What it took so far.
    pub totals: TurnTotals,
    /// True once a step's price was unknown.
    pub cost_unknown: bool,
}

/// A tool call without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The call.
    pub call: ToolCall,
    /// How far it is.
    pub stage: CallStage,
}

/// How far an open call is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallStage {
    /// Nobody looked at it yet.
    Planned,
    /// It waits for an answer.
    Waiting(ApprovalId),
    /// A person said yes.
    Approved,
    /// A person said no, with this reason.
    Denied(String),
    /// Nobody answered in the time the policy gives.
    Expired,
    /// It is happening.
    Started(Option<ExecId>),
}

/// A command without an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenExec {
    /// Its first line, for people.
    pub line: String,
    /// The tool call that runs it.
    pub call_id: Option<CallId>,
    /// With a terminal.
    pub pty: bool,
}

impl OpenExec {
    /// A person's own shell on a terminal, not a command: it was opened without a script.
    pub fn is_shell(&self) -> bool {
        self.pty && self.call_id.is_none() && self.line.is_empty()
    }
}

impl Turn {
    /// What the turn took, closed at `now_us`.
    pub fn totals_at(&self, now_us: i64) -> TurnTotals {
        let micros = now_us.saturating_sub(self.started_us).max(0);
        let mut totals = self.totals.clone();
        totals.duration_ms = u64::try_from(micros / 1000).unwrap_or_default();
        if totals.steps == 0 {
            totals.cost = Some(Cost {
                micro_usd: 0,
                source: CostSource::Catalog,
            });
        }
        totals
    }

    /// Adds what a request took.
    pub(super) fn spend(&mut self, usage: &Usage) {
        self.totals.tokens = self.totals.tokens.plus(&usage.tokens.unwrap_or_default());
        match usage.cost {
            Some(cost) if !self.cost_unknown => {
                let before = self.totals.cost.map_or(0, |c| c.micro_usd);
                self.totals.cost = Some(Cost {
                    micro_usd: before.saturating_add(cost.micro_usd),
                    source: cost.source,
                });
            }
            Some(_) => {}
            None => {
                self.cost_unknown = true;
                self.totals.cost = None;
            }
        }
    }
}
