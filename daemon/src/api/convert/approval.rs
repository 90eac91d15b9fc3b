//! Owns: approvals between wire and domain.

use agentd_proto::pb;

use super::super::status::invalid;
use super::timestamp;
use crate::domain::approval::{Approval, Verdict};
use crate::domain::id::SessionId;
use crate::domain::rejection::Rejection;
use crate::domain::tool::Effect;

/// An approval as clients see it.
pub(in crate::api) fn approval(session_id: &SessionId, name: &str, a: Approval) -> pb::Approval {
    let answer = a.answer;
    pb::Approval {
        approval_id: a.approval_id.to_string(),
        session_id: session_id.to_string(),
        call_id: a.call_id.0,
        tool: a.tool,
        summary: a.summary,
        detail: a.detail,
        effects: effects(&a.effects),
        why: a.why,
        session_rule: a.session_rule.unwrap_or_default(),
        create_time: Some(timestamp(a.asked_us)),
        decision: answer
            .as_ref()
            .map_or(pb::ApprovalDecision::Unspecified, |a| decision(a.verdict))
            .into(),
        decided_by: answer.as_ref().map(|a| a.by.clone()).unwrap_or_default(),
        decide_time: answer.as_ref().map(|a| timestamp(a.at_us)),
        reason: answer.map(|a| a.reason).unwrap_or_default(),
        session_name: name.to_owned(),
        hosts: a.hosts.iter().map(ToString::to_string).collect(),
    }
}

/// Effects as words.
pub(super) fn effects(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| {
            match effect {
                Effect::Reads => "reads",
                Effect::Writes => "writes",
                Effect::Executes => "executes",
                Effect::ReachesOut => "reaches_out",
            }
            .to_owned()
        })
        .collect()
}

/// The answer as a number of the wire.
pub(super) fn decision(verdict: Verdict) -> pb::ApprovalDecision {
    match verdict {
        Verdict::ApprovedOnce => pb::ApprovalDecision::ApprovedOnce,
        Verdict::ApprovedSession => pb::ApprovalDecision::ApprovedSession,
        Verdict::Denied => pb::ApprovalDecision::Denied,
        Verdict::Withdrawn => pb::ApprovalDecision::Withdrawn,
    }
}

/// An answer somebody gives.
pub(in crate::api) fn verdict(number: i32) -> Result<Verdict, Rejection> {
    match pb::ApprovalDecision::try_from(number) {
        Ok(pb::ApprovalDecision::ApprovedOnce) => Ok(Verdict::ApprovedOnce),
        Ok(pb::ApprovalDecision::ApprovedSession) => Ok(Verdict::ApprovedSession),
        Ok(pb::ApprovalDecision::Denied) => Ok(Verdict::Denied),
        _ => Err(invalid(
            "decision: an approval is APPROVED_ONCE, APPROVED_SESSION or DENIED",
        )),
    }
}
