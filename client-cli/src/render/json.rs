//! Owns: the JSON forms of the contract's nouns. Names and shapes are an interface: only add.

use agentd_proto::{format, pb};
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::time::rfc3339;

/// The error document of `-o json`, for standard error.
pub(crate) fn failure(failure: &Failure) -> Value {
    json!({"error": {
        "code": failure.code,
        "exit": failure.exit,
        "message": failure.message,
        "hint": failure.next.first().cloned().unwrap_or_default(),
        "notes": failure.notes,
        "next": failure.next,
    }})
}

/// A session.
pub(crate) fn session(session: &pb::Session) -> Value {
    let mut value = json!({
        "session_id": session.session_id,
        "name": session.name,
        "state": format::state_key(session.state()),
        "principal": session.principal,
        "create_time": rfc3339(session.create_time),
        "update_time": rfc3339(session.update_time),
        "workspace": session.workspace,
        "start_dir": session.start_dir,
        "layout": layout(session.layout()),
        "layout_reason": session.layout_reason,
        "shell": match session.shell() { pb::ShellKind::Bash => "bash", _ => "sh" },
        "jail": jail(session.jail()),
        "network": format::network_word(session.network()),
        "origin": match session.origin() { pb::SessionOrigin::Agent => "agent", _ => "shell" },
        "persona": session.persona,
        "head": session.head,
        "model": session.model,
        "demo": session.demo,
        "turn_id": session.turn_id,
        "last_line": session.last_line,
        "approval_ids": session.approval_ids,
        "context_tokens": session.context_tokens,
        "context_window_tokens": session.context_window_tokens,
        "total_tokens": session.total_tokens,
        "cost_micro_usd": session.cost_micro_usd,
        "cost_known": session.cost_known,
        "queued_messages": session.queued_messages,
        "policy_generation": session.policy_generation,
        "pause_reason": session.pause_reason,
        "purge_time": session.purge_time.map(|time| rfc3339(Some(time))),
        "forked_from": session.forked_from,
        "title": session.title,
        "last_input_tokens": session.last_input_tokens,
        "last_cached_tokens": session.last_cached_tokens,
        "input_tokens": session.input_tokens,
        "cached_input_tokens": session.cached_input_tokens,
        "limits": session.limits.iter().map(limit).collect::<Vec<_>>(),
        "added_dirs": session.added_dirs.iter()
            .map(|dir| json!({"path": dir.path, "writable": dir.writable})).collect::<Vec<_>>(),
        "waiting": session.waiting.as_ref().map(waiting),
        "log_level": log_level(session.log_level()),
    });
    if let Value::Object(fields) = &mut value {
        // The macro has its limits.
        fields.insert("policy".to_owned(), json!(session.policy));
        fields.insert("read_only".to_owned(), json!(session.read_only));
    }
    value
}

/// A command that waits for input.
pub(crate) fn waiting(wait: &pb::InputWait) -> Value {
    json!({
        "exec_id": wait.exec_id,
        "line": wait.line,
        "pty": wait.pty,
        "wait_time": rfc3339(wait.wait_time),
        "call_id": wait.call_id,
    })
}

/// What a command left running.
pub(crate) fn job(job: &pb::Job) -> Value {
    let processes = job.processes.iter();
    json!({
        "exec_id": job.exec_id,
        "script": job.script,
        "start_time": rfc3339(job.start_time),
        "processes": processes.map(|one| json!({"pid": one.pid, "command": one.command})).collect::<Value>(),
        "output_open": job.output_open,
    })
}

/// A bound and who keeps it.
pub(crate) fn limit(limit: &pb::SessionLimit) -> Value {
    json!({"limit": limit.limit, "value": limit.value, "text": limit.text, "kept_by": keeper(limit.keeper()),
        "note": limit.note})
}

/// The word for who keeps a limit.
pub(crate) fn keeper(keeper: pb::LimitKeeper) -> &'static str {
    match keeper {
        pb::LimitKeeper::Kernel => "kernel",
        pb::LimitKeeper::Watch => "watch",
        pb::LimitKeeper::Unspecified => "nobody",
    }
}

/// The word for what a log keeps.
pub(crate) fn log_level(level: pb::LogLevel) -> &'static str {
    match level {
        pb::LogLevel::Full => "full",
        pb::LogLevel::Redacted => "redacted",
        pb::LogLevel::None => "none",
        pb::LogLevel::Unspecified => "unknown",
    }
}

/// The word for a layout.
pub(crate) fn layout(layout: pb::Layout) -> &'static str {
    match layout {
        pb::Layout::Root => "root",
        pb::Layout::Host => "host",
        pb::Layout::Unspecified => "unknown",
    }
}

/// The word for a jail kind.
pub(crate) fn jail(kind: pb::JailKind) -> &'static str {
    match kind {
        pb::JailKind::Bwrap => "bwrap",
        pb::JailKind::Outer => "none (outer)",
        pb::JailKind::Unspecified => "unknown",
    }
}

/// An approval.
pub(crate) fn approval(approval: &pb::Approval) -> Value {
    json!({
        "approval_id": approval.approval_id,
        "session_id": approval.session_id,
        "session_name": approval.session_name,
        "call_id": approval.call_id,
        "tool": approval.tool,
        "summary": approval.summary,
        "detail": approval.detail,
        "effects": approval.effects,
        "why": approval.why,
        "session_rule": approval.session_rule,
        "hosts": approval.hosts,
        "kind": kind(approval.kind()),
        "rules": approval.rules,
        "no_rule_why": approval.no_rule_why,
        "deciding_rule": approval.deciding_rule,
        "expire_time": rfc3339(approval.expire_time),
        "granted_rules": approval.granted_rules,
        "grant_expire_time": rfc3339(approval.grant_expire_time),
        "create_time": rfc3339(approval.create_time),
        "decision": decision(approval.decision()),
        "decided_by": approval.decided_by,
        "decide_time": rfc3339(approval.decide_time),
        "reason": approval.reason,
    })
}

fn kind(kind: pb::ApprovalKind) -> &'static str {
    match kind {
        pb::ApprovalKind::ToolCall | pb::ApprovalKind::Unspecified => "tool_call",
        pb::ApprovalKind::Host => "host",
        pb::ApprovalKind::HostPort => "host_port",
        pb::ApprovalKind::Registries => "registries",
        pb::ApprovalKind::ShellInit => "shell_init",
    }
}

/// The word for a decision.
pub(crate) fn decision(decision: pb::ApprovalDecision) -> &'static str {
    match decision {
        pb::ApprovalDecision::Unspecified => "open",
        pb::ApprovalDecision::ApprovedOnce => "approved_once",
        pb::ApprovalDecision::ApprovedSession => "approved_session",
        pb::ApprovalDecision::Denied => "denied",
        pb::ApprovalDecision::Withdrawn => "withdrawn",
        pb::ApprovalDecision::ApprovedProject => "approved_project",
        pb::ApprovalDecision::Expired => "expired",
    }
}

/// The daemon.
pub(crate) fn status(status: &pb::GetStatusResponse) -> Value {
    json!({
        "running": true,
        "version": status.version,
        "pid": status.pid,
        "socket": status.socket,
        "database": status.database,
        "log_file": status.log_file,
        "start_time": rfc3339(status.start_time),
        "sessions": status.sessions,
        "working_sessions": status.working_sessions,
        "open_approvals": status.open_approvals,
        "jails": status.jails,
        "jail": status.jail,
        "default_model": status.default_model,
        "resident_bytes": status.resident_bytes,
        "config_files": status.config_files,
        "limits": status.limits.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// A plan.
pub(crate) fn plan(items: &[pb::PlanItem]) -> Value {
    let item = |item: &pb::PlanItem| {
        json!({"text": item.text, "state": match item.state() {
            pb::PlanState::Done => "done",
            pb::PlanState::Doing => "doing",
            _ => "todo",
        }})
    };
    items.iter().map(item).collect()
}

/// The word for a piece of context.
pub(crate) fn context_kind(kind: pb::ContextKind) -> &'static str {
    match kind {
        pb::ContextKind::Environment => "environment",
        pb::ContextKind::Instructions => "instructions",
        pb::ContextKind::Mention => "mention",
        pb::ContextKind::Schema => "schema",
        pb::ContextKind::Summary => "summary",
        pb::ContextKind::Note => "note",
        pb::ContextKind::Unspecified => "unknown",
    }
}

/// A model.
pub(crate) fn model(model: &pb::Model) -> Value {
    json!({
        "name": model.name,
        "status": model.status,
        "context_window_tokens": model.context_window_tokens,
        "input_micro_usd_per_million": model.input_micro_usd_per_million,
        "output_micro_usd_per_million": model.output_micro_usd_per_million,
        "note": model.note,
        "is_default": model.is_default,
        "tools": match model.tool_use() {
            pb::ToolUse::Yes => Value::Bool(true),
            pb::ToolUse::No => Value::Bool(false),
            pb::ToolUse::Unspecified => Value::Null,
        },
        "listed_time": model.listed_time.map(|time| rfc3339(Some(time))),
    })
}

/// A doctor's finding.
pub(crate) fn finding(finding: &pb::Finding) -> Value {
    json!({
        "check": finding.check,
        "level": level(finding.level()),
        "message": finding.message,
        "fix": finding.fix,
    })
}

/// The word for a finding's level.
pub(crate) fn level(level: pb::FindingLevel) -> &'static str {
    match level {
        pb::FindingLevel::Ok => "ok",
        pb::FindingLevel::Warning => "warning",
        pb::FindingLevel::Failed => "failed",
        pb::FindingLevel::Unspecified => "unknown",
    }
}

/// Token counts.
pub(crate) fn tokens(tokens: &pb::Tokens) -> Value {
    json!({
        "input": tokens.input,
        "cached_input": tokens.cached_input,
        "cache_write": tokens.cache_write,
        "output": tokens.output,
        "reasoning": tokens.reasoning,
    })
}

/// The one object of `exec -o json`.
pub(crate) struct Exec<'a> {
    pub(crate) session: &'a pb::Session,
    pub(crate) exec_id: &'a str,
    pub(crate) result: &'a pb::ExecResult,
    pub(crate) exit_code: i32,
    pub(crate) stdout: &'a [u8],
    pub(crate) stderr: &'a [u8],
    pub(crate) truncated: bool,
}

/// How a command ended and what it wrote.
pub(crate) fn exec(exec: &Exec<'_>) -> Value {
    let result = exec.result;
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("exit_code", json!(exec.exit_code));
    for (key, bytes) in [("stdout", exec.stdout), ("stderr", exec.stderr)] {
        put(key, json!(String::from_utf8_lossy(bytes)));
        // The lossy text is for reading; the bytes themselves are here.
        if std::str::from_utf8(bytes).is_err() {
            put(&format!("{key}_base64"), json!(base64(bytes)));
        }
    }
    let millis = format::from_proto(result.duration).as_millis();
    put("duration_ms", json!(u64::try_from(millis).unwrap_or(u64::MAX)));
    put("timed_out", json!(result.timed_out));
    put("truncated", json!(exec.truncated));
    put("background", json!(result.background));
    put("shell_restarted", json!(result.shell_restarted));
    put("session_id", json!(exec.session.session_id));
    put("session_name", json!(exec.session.name));
    put("exec_id", json!(exec.exec_id));
    put("interrupted", json!(result.interrupted));
    put("unknown", json!(result.unknown));
    put("cwd", json!(result.cwd));
    put("message", json!(result.message));
    if exec.session.jail() == pb::JailKind::Outer {
        put("jail", json!(jail(pb::JailKind::Outer)));
    }
    Value::Object(map)
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place) & 63) as usize;
            let letter = ALPHABET.get(index).copied().unwrap_or(b'=');
            out.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\x00", "//4A"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn exec_has_the_promised_fields_and_raw_bytes() {
        let value = exec(&Exec {
            session: &pb::Session {
                session_id: "s-1".into(),
                ..Default::default()
            },
            exec_id: "x-1",
            result: &pb::ExecResult::default(),
            exit_code: 3,
            stdout: b"ok",
            stderr: b"\xff",
            truncated: false,
        });
        for key in [
            "exit_code",
            "stdout",
            "stderr",
            "duration_ms",
            "timed_out",
            "truncated",
            "background",
        ] {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["stderr_base64"], "/w==");
        assert!(value.get("stdout_base64").is_none() && value.get("jail").is_none());
        assert!(value["shell_restarted"] == false && value["session_id"] == "s-1");
    }
}
