//! Owns: tasks as rows, fields and JSON.

use agentd_proto::pb;
pub(crate) use agentd_proto::task::{cost, last, state_word};
use serde_json::{Value, json};

use crate::time::{self, rfc3339};

/// A task as one document.
pub(crate) fn json(task: &pb::Task) -> Value {
    json!({
        "task_id": task.task_id,
        "title": task.title,
        "state": state_word(task.state()).replace(' ', "_"),
        "priority": task.priority,
        "urgency": task.urgency,
        "owner": task.owner,
        "notes": task.notes,
        "tags": task.tags,
        "waits": task.waits,
        "open_waits": task.open_waits,
        "section": task.section,
        "depth": task.depth,
        "path": task.path,
        "line": task.line,
        "in_file": task.named,
        "claim": task.claim.as_ref().map(|claim| json!({
            "holder": claim.holder,
            "session_id": claim.session_id,
            "claim_time": rfc3339(claim.claim_time),
            "expire_time": rfc3339(claim.expire_time),
            "run": claim.run,
        })),
        "conflicts": task.conflicts.iter().map(|c| json!({
            "field": c.field, "base": c.base, "file": c.file, "board": c.board, "by": c.by,
            "time": rfc3339(c.conflict_time),
        })).collect::<Vec<_>>(),
        "sessions": task.sessions.iter().map(|s| json!({
            "session_id": s.session_id, "name": s.name, "state": s.state, "last": s.last_line,
            "update_time": rfc3339(s.update_time),
        })).collect::<Vec<_>>(),
        "cost_micro_usd": if task.cost_known { json!(task.cost_micro_usd) } else { Value::Null },
        "cost_known": task.cost_known,
        "requests": task.requests,
        "rev": task.rev,
        "change_time": rfc3339(task.change_time),
    })
}

/// A change of its history.
pub(crate) fn change_json(change: &pb::TaskChange) -> Value {
    json!({
        "rev": change.rev,
        "time": rfc3339(change.change_time),
        "by": change.by,
        "what": change.what,
        "text": change.text,
        "fields": change.fields.iter().map(|f| json!({
            "field": f.field, "before": f.before, "after": f.after,
        })).collect::<Vec<_>>(),
    })
}

/// A change of its history as one line.
pub(crate) fn change_line(change: &pb::TaskChange) -> String {
    let fields: Vec<String> = change
        .fields
        .iter()
        .map(|f| format!("{} {:?} -> {:?}", f.field, f.before, f.after))
        .collect();
    let mut line = format!(
        "{}  {} by {}",
        time::date_and_clock(change.change_time),
        change.what,
        change.by
    );
    for part in [fields.join("; "), change.text.clone()] {
        if !part.is_empty() {
            line.push_str(": ");
            line.push_str(&part);
        }
    }
    line
}

/// The fields of a task for people.
pub(crate) fn fields(task: &pb::Task) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("task", task.task_id.clone()),
        ("title", task.title.clone()),
        ("state", state_word(task.state()).to_owned()),
        ("where", format!("{}:{}", task.path, task.line)),
    ];
    for (name, text) in [
        ("priority", task.priority.clone()),
        ("owner", task.owner.clone()),
        ("notes", task.notes.clone()),
        ("section", task.section.join(" > ")),
        ("tags", task.tags.join(" ")),
        ("waits for", task.waits.join(", ")),
        ("not done", task.open_waits.join(", ")),
        ("cost", cost(task)),
    ] {
        if !text.is_empty() {
            fields.push((name, text));
        }
    }
    if let Some(claim) = &task.claim {
        let until = time::date_and_clock(claim.expire_time);
        fields.push((
            "claimed by",
            format!("{} until {until} unless renewed", claim.holder),
        ));
    }
    for session in &task.sessions {
        let words = format!(
            "{} ({}) {}: {}",
            session.name,
            session.session_id,
            session.state.replace('_', " "),
            session.last_line
        );
        fields.push(("session", words));
    }
    for conflict in &task.conflicts {
        fields.push((
            "conflict",
            format!(
                "{}: was {:?}, the file says {:?}, {} wants {:?}",
                conflict.field, conflict.base, conflict.file, conflict.by, conflict.board
            ),
        ));
    }
    fields
}
