//! Owns: personas, policies, judgements and grants between wire and domain.

use agentd_proto::pb;

use super::timestamp;
use crate::domain::approval::ProjectGrant;
use crate::domain::persona::Persona;
use crate::domain::policy::{Check, CheckLevel, Policy, verdict_word};
use crate::personas::Entry;
use crate::supervisor::Tested;

/// A persona with its file.
pub(in crate::api) fn persona(entry: Entry<Persona>) -> pb::Persona {
    let path = entry.path.as_ref().map(|path| path.display().to_string());
    let file = pb::Persona {
        name: entry.name,
        built_in: path.is_none(),
        toml: entry.toml,
        path: path.unwrap_or_default(),
        ..pb::Persona::default()
    };
    match entry.read {
        Err(problem) => pb::Persona { problem, ..file },
        Ok(persona) => pb::Persona {
            description: persona.description,
            instructions: persona.instructions,
            model: persona.model.unwrap_or_default(),
            tools: persona.tools,
            policy: persona.policy.name,
            turn_budget_micro_usd: persona.turn_budget_micro_usd.unwrap_or_default(),
            ..file
        },
    }
}

/// A policy with its file.
pub(in crate::api) fn policy(entry: Entry<Policy>) -> pb::Policy {
    let path = entry.path.as_ref().map(|path| path.display().to_string());
    let read = match entry.read {
        Ok(read) => in_force(&read, Vec::new()),
        Err(problem) => pb::Policy {
            problem,
            ..pb::Policy::default()
        },
    };
    pb::Policy {
        name: entry.name,
        built_in: path.is_none(),
        toml: entry.toml,
        path: path.unwrap_or_default(),
        ..read
    }
}

/// A policy as it is in force.
pub(in crate::api) fn in_force(policy: &Policy, ignored: Vec<String>) -> pb::Policy {
    let project = policy.rules.iter().enumerate().filter(|(_, rule)| rule.project);
    pb::Policy {
        name: policy.name.clone(),
        description: policy.description.clone(),
        built_in: Policy::BUILT_IN.contains(&policy.name.as_str()),
        rules: policy.rules.iter().map(|rule| rule.line.to_string()).collect(),
        checks: Check::ALL
            .iter()
            .map(|check| pb::Check {
                name: check.name().to_owned(),
                level: level(policy.checks.level(*check)).into(),
            })
            .collect(),
        read_only: policy.read_only,
        approval_expires_seconds: policy.approval_expires_s.unwrap_or_default(),
        project_rules: project
            .filter_map(|(index, _)| u32::try_from(index).ok())
            .collect(),
        ignored,
        ..pb::Policy::default()
    }
}

fn level(level: CheckLevel) -> pb::CheckLevel {
    match level {
        CheckLevel::Off => pb::CheckLevel::Off,
        CheckLevel::Warn => pb::CheckLevel::Warn,
        CheckLevel::Ask => pb::CheckLevel::Ask,
        CheckLevel::Deny => pb::CheckLevel::Deny,
    }
}

/// A judgement.
pub(in crate::api) fn tested(tested: Tested) -> pb::TestPolicyResponse {
    let policy = &tested.policy;
    let judged = tested.judged;
    let why = match &judged.decision {
        crate::domain::policy::Decision::Allow => String::new(),
        crate::domain::policy::Decision::Ask { why } | crate::domain::policy::Decision::Deny { why } => {
            why.clone()
        }
    };
    let part = |part: crate::domain::policy::Part| pb::PolicyPart {
        part: part.what,
        verdict: part.verdict.word().to_owned(),
        rule: part.by.text(policy),
        origin: part.by.origin(policy).to_owned(),
        why: part.why,
    };
    let found = tested
        .matches
        .into_iter()
        .map(|(session, seq, time_us, summary)| pb::PolicyMatch {
            session_id: session.session_id.to_string(),
            session_name: session.name,
            seq,
            time: Some(timestamp(time_us)),
            summary,
        });
    pb::TestPolicyResponse {
        verdict: verdict_word(&judged.decision).to_owned(),
        rule: judged.by.text(policy),
        origin: judged.by.origin(policy).to_owned(),
        why,
        warnings: judged
            .warnings
            .iter()
            .map(|(check, why)| format!("check {}: {why}", check.name()))
            .collect(),
        plain: tested.compound_why.is_none(),
        compound_why: tested.compound_why.unwrap_or_default(),
        offered_rules: tested.offered,
        history_rule: tested.rule.map(|rule| rule.to_string()).unwrap_or_default(),
        rule_matches: tested.rule_matches,
        history_seen: tested.seen,
        history_matched: tested.matched,
        matches: found.collect(),
        parts: judged.parts.into_iter().map(part).collect(),
    }
}

/// A grant.
pub(in crate::api) fn grant(grant: ProjectGrant) -> pb::ProjectGrant {
    pb::ProjectGrant {
        grant_id: grant.grant_id.to_string(),
        workspace: grant.workspace,
        principal: grant.principal,
        rule: grant.rule,
        create_time: Some(timestamp(grant.granted_us)),
        expire_time: Some(timestamp(grant.expires_us)),
        granted_by: grant.granted_by,
        approval_id: grant.approval_id.to_string(),
        revoke_time: grant.revoked_us.map(timestamp),
    }
}
