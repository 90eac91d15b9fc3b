//! Owns: personas and policies as JSON.

use agentd_proto::pb;
use serde_json::{Value, json};

use crate::time;

/// The word for a level.
pub(crate) fn level(level: pb::CheckLevel) -> &'static str {
    match level {
        pb::CheckLevel::Unspecified => "unknown",
        pb::CheckLevel::Off => "off",
        pb::CheckLevel::Warn => "warn",
        pb::CheckLevel::Ask => "ask",
        pb::CheckLevel::Deny => "deny",
    }
}

/// A persona.
pub(crate) fn persona(persona: &pb::Persona) -> Value {
    json!({"name": persona.name, "description": persona.description, "built_in": persona.built_in,
        "instructions": persona.instructions, "model": persona.model, "tools": persona.tools,
        "policy": persona.policy, "turn_budget_micro_usd": persona.turn_budget_micro_usd, "toml": persona.toml,
        "path": persona.path, "problem": persona.problem})
}

/// A policy.
pub(crate) fn policy(policy: &pb::Policy) -> Value {
    let checks: serde_json::Map<String, Value> = policy
        .checks
        .iter()
        .map(|check| (check.name.clone(), level(check.level()).into()))
        .collect();
    json!({"name": policy.name, "description": policy.description, "built_in": policy.built_in,
        "rules": policy.rules, "project_rules": policy.project_rules, "checks": checks,
        "read_only": policy.read_only, "approval_expires_seconds": policy.approval_expires_seconds,
        "ignored": policy.ignored, "toml": policy.toml, "path": policy.path, "problem": policy.problem})
}

/// What a test said.
pub(crate) fn tested(tested: &pb::TestPolicyResponse) -> Value {
    let parts = tested.parts.iter().map(|part| {
        json!({"part": part.part, "verdict": part.verdict, "rule": part.rule, "origin": part.origin, "why": part.why})
    });
    let matches = tested.matches.iter().map(|one| {
        json!({"session_id": one.session_id, "session": one.session_name, "seq": one.seq,
            "ts": time::rfc3339(one.time), "summary": one.summary})
    });
    json!({"verdict": tested.verdict, "rule": tested.rule, "origin": tested.origin, "why": tested.why,
        "parts": parts.collect::<Vec<_>>(), "warnings": tested.warnings, "plain": tested.plain,
        "compound_why": tested.compound_why, "offered_rules": tested.offered_rules,
        "history_rule": tested.history_rule, "rule_matches": tested.rule_matches,
        "history_seen": tested.history_seen, "history_matched": tested.history_matched,
        "matches": matches.collect::<Vec<_>>()})
}
