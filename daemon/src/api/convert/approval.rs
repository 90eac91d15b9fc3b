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
    let rules = a.offered();
    let kind = match a.hosts.as_slice() {
        [] if a.init.is_some() => pb::ApprovalKind::ShellInit,
        [] => pb::ApprovalKind::ToolCall,
        [host] if host.is_this_machine() => pb::ApprovalKind::HostPort,
        [_] => pb::ApprovalKind::Host,
        _ => pb::ApprovalKind::Registries,
    };
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
        session_rule: rules.join("; "),
        create_time: Some(timestamp(a.asked_us)),
        decision: answer
            .as_ref()
            .map_or(pb::ApprovalDecision::Unspecified, |a| decision(a.verdict))
            .into(),
        decided_by: answer.as_ref().map(|a| a.by.clone()).unwrap_or_default(),
        decide_time: answer.as_ref().map(|a| timestamp(a.at_us)),
        session_name: name.to_owned(),
        hosts: a.hosts.iter().map(ToString::to_string).collect(),
        kind: kind.into(),
        rules,
        expire_time: a.expires_us.map(timestamp),
        granted_rules: answer.as_ref().map(|a| a.rules.clone()).unwrap_or_default(),
        grant_expire_time: answer.as_ref().and_then(|a| a.rules_until_us).map(timestamp),
        reason: answer.map(|a| a.reason).unwrap_or_default(),
        no_rule_why: a.no_rule_why,
        deciding_rule: a.deciding_rule,
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
        Verdict::ApprovedProject => pb::ApprovalDecision::ApprovedProject,
        Verdict::Denied => pb::ApprovalDecision::Denied,
        Verdict::Withdrawn => pb::ApprovalDecision::Withdrawn,
        Verdict::Expired => pb::ApprovalDecision::Expired,
    }
}

/// An answer somebody gives.
pub(in crate::api) fn verdict(number: i32) -> Result<Verdict, Rejection> {
    match pb::ApprovalDecision::try_from(number) {
        Ok(pb::ApprovalDecision::ApprovedOnce) => Ok(Verdict::ApprovedOnce),
        Ok(pb::ApprovalDecision::ApprovedSession) => Ok(Verdict::ApprovedSession),
        Ok(pb::ApprovalDecision::ApprovedProject) => Ok(Verdict::ApprovedProject),
        Ok(pb::ApprovalDecision::Denied) => Ok(Verdict::Denied),
        _ => Err(invalid(
            "decision: an approval is APPROVED_ONCE, APPROVED_SESSION, APPROVED_PROJECT or DENIED",
        )),
    }
}

/// Until when rules for the project count: 30 days from now unless said otherwise.
pub(in crate::api) fn until(
    verdict: Verdict,
    asked: Option<&prost_types::Duration>,
    now_us: i64,
) -> Result<Option<i64>, Rejection> {
    const DAY: i64 = 24 * 3600;
    match (verdict, asked) {
        (Verdict::ApprovedProject, None) => Ok(Some(now_us + 30 * DAY * 1_000_000)),
        (Verdict::ApprovedProject, Some(span)) if (60..=366 * DAY).contains(&span.seconds) => {
            Ok(Some(now_us.saturating_add(span.seconds * 1_000_000)))
        }
        (Verdict::ApprovedProject, Some(_)) => Err(invalid("expires_in: at least a minute, at most a year")),
        (_, None) => Ok(None),
        (_, Some(_)) => Err(invalid("expires_in: only a rule for the project has an end")),
    }
}
