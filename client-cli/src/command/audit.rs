//! Owns: `agentctl audit`: what a session did to the world, from its log.
//! Guarantees: complete: asked for page by page until the head; nothing reaches the terminal raw.

use agentd_proto::{escape, pb};
use serde_json::{Value, json};

use crate::args::AuditArgs;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::line;
use crate::render::table::{self, Column, fixed, flexible};
use crate::time;

const COLUMNS: &[Column] = &[
    fixed("SEQ", 5),
    fixed("TIME", 20),
    fixed("KIND", 8),
    flexible("BY", 6, 6),
    flexible("WHAT", 1, 30),
    flexible("RESULT", 8, 8),
];

/// One thing that was done.
struct Entry {
    seq: u64,
    ts: String,
    kind: &'static str,
    by: String,
    what: String,
    result: String,
    value: Value,
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: AuditArgs) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    let mut entries = Vec::new();
    let mut after_seq = 0;
    loop {
        let request = pb::AuditSessionRequest {
            session_id: session.session_id.clone(),
            after_seq,
        };
        let page = context.client.audit_session(request).await?;
        let (seq, head) = (page.seq, page.head);
        entries.extend(entries_of(page));
        if seq >= head || seq == after_seq {
            break;
        }
        after_seq = seq;
    }
    entries.sort_by_key(|entry| entry.seq);
    if context.out.is_json() {
        context
            .out
            .json_list(entries.into_iter().map(|entry| entry.value).collect())?;
        return Ok(exit::OK);
    }
    if entries.is_empty() && context.out.out_tty {
        context
            .out
            .note("it ran no command, changed no file and reached no host");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = entries
        .into_iter()
        .map(|entry| {
            vec![
                entry.seq.to_string(),
                entry.ts,
                entry.kind.to_owned(),
                escape::line(&entry.by),
                escape::line(&entry.what),
                escape::line(&entry.result),
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    if context.out.out_tty {
        context
            .out
            .note("files: by tools; what commands wrote shows in git status");
    }
    Ok(exit::OK)
}

fn entries_of(page: pb::AuditSessionResponse) -> Vec<Entry> {
    let mut entries = Vec::new();
    for one in page.commands {
        let by = if one.by_model { "model" } else { "person" };
        let ts = time::rfc3339(one.time);
        entries.push(Entry {
            seq: one.seq,
            kind: "command",
            by: by.to_owned(),
            what: one.script.lines().next().unwrap_or(line::RAW_SHELL).to_owned(),
            result: one
                .exit_code
                .map_or_else(|| "unknown".to_owned(), |code| format!("exit {code}")),
            value: json!({"kind": "command", "seq": one.seq, "ts": ts, "by": by, "script": one.script,
                "exit_code": one.exit_code}),
            ts: ts.unwrap_or_default(),
        });
    }
    for one in page.files {
        let ts = time::rfc3339(one.time);
        let from = Some(&one.from).filter(|from| !from.is_empty());
        entries.push(Entry {
            seq: one.seq,
            kind: "file",
            by: "model".to_owned(),
            what: one.path.clone(),
            result: format!("{} +{} -{}", one.change, one.added, one.removed),
            value: json!({"kind": "file", "seq": one.seq, "ts": ts, "path": one.path, "change": one.change,
                "added_lines": one.added, "removed_lines": one.removed, "from": from}),
            ts: ts.unwrap_or_default(),
        });
    }
    for one in page.hosts {
        let ts = time::rfc3339(one.time);
        let result = if one.allowed { "allowed" } else { "refused" };
        entries.push(Entry {
            seq: one.seq,
            kind: "host",
            by: "jail".to_owned(),
            what: one.host.clone(),
            result: result.to_owned(),
            value: json!({"kind": "host", "seq": one.seq, "ts": ts, "host": one.host, "allowed": one.allowed,
                "sent_bytes": one.sent_bytes, "received_bytes": one.received_bytes}),
            ts: ts.unwrap_or_default(),
        });
    }
    for one in page.refusals {
        let ts = time::rfc3339(one.time);
        entries.push(Entry {
            seq: one.seq,
            kind: "refusal",
            by: one.by.clone(),
            what: one.what.clone(),
            result: "refused".to_owned(),
            value: json!({"kind": "refusal", "seq": one.seq, "ts": ts, "what": one.what, "by": one.by}),
            ts: ts.unwrap_or_default(),
        });
    }
    entries
}
