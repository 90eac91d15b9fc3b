//! Owns: how what a turn does reads as facts and questions.
//! Guarantees: pure but for fresh ids and the time of a question.

use crate::clock::now_us;
use crate::domain::approval::Approval;
use crate::domain::event::{CallOutcome, ChangeKind, EventBody, ExecResult};
use crate::domain::id::{ApprovalId, ChangeId, ExecId, TurnId};
use crate::domain::message::ToolCall;
use crate::domain::policy::{self, CallFacts, Judged, Policy};
use crate::domain::session::clip;
use crate::tools::{CallPlan, FileChange};

/// Longest script text kept in an event; the whole runs.
pub(super) const SCRIPT_IN_LOG: usize = 64 * 1024;

/// The question about a call.
pub(super) fn approval(
    call: &ToolCall,
    plan: &CallPlan,
    facts: &CallFacts,
    (policy, judged): (&Policy, &Judged),
    why: String,
) -> Approval {
    let offered = policy::offer(facts);
    let now = now_us();
    Approval {
        approval_id: ApprovalId::random(),
        call_id: call.call_id.clone(),
        tool: call.tool.clone(),
        summary: plan.summary.clone(),
        detail: plan
            .command
            .clone()
            .unwrap_or_else(|| clip(&call.arguments, SCRIPT_IN_LOG)),
        effects: plan.effects.clone(),
        why,
        hosts: Vec::new(),
        init: None,
        deciding_rule: judged.by.text(policy),
        no_rule_why: offered.as_ref().err().cloned().unwrap_or_default(),
        rules: offered
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect(),
        session_grant: None,
        expires_us: policy.expires_us(now),
        asked_us: now,
        answer: None,
    }
}

/// What a tool did to a file.
pub(super) fn change_fact(call: &ToolCall, change: &FileChange) -> EventBody {
    use crate::tools::ChangeKind as Kind;
    let (kind, from) = match &change.kind {
        Kind::Created => (ChangeKind::Created, None),
        Kind::Modified => (ChangeKind::Modified, None),
        Kind::Deleted => (ChangeKind::Deleted, None),
        Kind::Renamed { from } => (ChangeKind::Renamed, Some(from.clone())),
    };
    EventBody::ChangeRecorded {
        change_id: ChangeId::random(),
        call_id: call.call_id.clone(),
        path: change.path.clone(),
        change: kind,
        added: change.added,
        removed: change.removed,
        from,
    }
}

/// The end of a call that was stopped between its start in the log and its start in the world.
pub(super) fn not_begun(turn_id: &TurnId, call: &ToolCall, exec_id: Option<&ExecId>) -> Vec<EventBody> {
    let ended = exec_id.map(|exec_id| EventBody::ExecFinished {
        exec_id: exec_id.clone(),
        result: ExecResult {
            exit_code: 130,
            interrupted: true,
            message: "stopped before it began".into(),
            ..ExecResult::default()
        },
    });
    let settled = EventBody::ToolCallFinished {
        turn_id: turn_id.clone(),
        call_id: call.call_id.clone(),
        outcome: CallOutcome::Interrupted,
        result: "[not run: the turn was stopped first]".into(),
        duration_ms: 0,
    };
    ended.into_iter().chain([settled]).collect()
}
