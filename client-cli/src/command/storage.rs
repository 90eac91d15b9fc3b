//! Owns: `agentctl search` and `agentctl storage`.

use agentd_proto::{escape, format, id, pb};
use serde_json::json;

use crate::args::{SearchArgs, StorageVerb};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::time;

const HITS: &[Column] = &[
    fixed("ID", 9),
    flexible("SESSION", 7, 10),
    fixed("SEQ", 4),
    fixed("AGE", 5),
    flexible("WHAT", 8, 8),
    flexible("TEXT", 1, 30),
];
const SIZES: &[Column] = &[
    fixed("WHAT", 9),
    fixed("SIZE", 9),
    flexible("CAP OR COUNT", 1, 12),
];

/// `search`.
pub(crate) async fn search(context: &Context, args: SearchArgs) -> Result<u8, Failure> {
    let text = args.words.join(" ");
    if text.trim().is_empty() {
        return Err(Failure::usage("there is nothing to look for").next("agentctl search WORDS"));
    }
    let session_id = match &context.global.session {
        Some(name) => context.session(name).await?.session_id,
        None => String::new(),
    };
    let request = pb::SearchSessionsRequest {
        text,
        session_id,
        include_archived: args.all,
        page_size: args.limit,
    };
    let hits = context.client.search_sessions(request).await?.hits;
    if context.out.is_json() {
        let values = hits.iter().map(|hit| {
            let session = hit.session.clone().unwrap_or_default();
            json!({"session_id": session.session_id, "name": session.name,
                "state": format::state_key(session.state()), "seq": hit.seq,
                "ts": time::rfc3339(hit.event_time), "kind": hit.kind, "snippet": hit.snippet})
        });
        context.out.json_list(values.collect())?;
        return Ok(exit::OK);
    }
    if hits.is_empty() && context.out.out_tty {
        context
            .out
            .note("nothing has these words (archived sessions: --all)");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = hits
        .iter()
        .map(|hit| {
            let session = hit.session.clone().unwrap_or_default();
            vec![
                session.session_id,
                session.name,
                hit.seq.to_string(),
                format::age(time::age(hit.event_time)),
                hit.kind.replace('_', " "),
                hit.snippet.clone(),
            ]
        })
        .collect();
    table::print(&context.out, HITS, &rows)?;
    Ok(exit::OK)
}

/// `storage`.
pub(crate) async fn run(context: &Context, verb: StorageVerb) -> Result<u8, Failure> {
    let args = match verb {
        StorageVerb::Report => return report(context).await,
        StorageVerb::Prune(args) => args,
    };
    let request = pb::PruneStorageRequest {
        request_id: id::request_id(),
        outputs_older_than: args.older_than.and_then(|age| age.try_into().ok()),
        trash: args.trash,
        validate_only: args.dry_run,
    };
    let pruned = context.client.prune_storage(request).await?;
    if context.out.is_json() {
        context.out.json(
            &json!({"outputs": pruned.outputs, "output_bytes": pruned.output_bytes,
            "sessions": pruned.sessions, "dry_run": args.dry_run}),
        )?;
    } else {
        context.out.note(&format!(
            "{}: {} with {}, {} out of the trash",
            if args.dry_run { "would go" } else { "gone" },
            format::count(pruned.outputs, "output"),
            format::bytes(pruned.output_bytes),
            format::count(pruned.sessions, "session"),
        ));
    }
    Ok(exit::OK)
}

async fn report(context: &Context) -> Result<u8, Failure> {
    let report = context.client.report_storage(pb::ReportStorageRequest {}).await?;
    if context.out.is_json() {
        let largest: Vec<_> = report
            .largest
            .iter()
            .map(|one| json!({"session_id": one.session_id, "name": one.name, "output_bytes": one.output_bytes}))
            .collect();
        context.out.json(&json!({
            "database_bytes": report.database_bytes, "output_bytes": report.output_bytes,
            "sessions": report.sessions, "archived_sessions": report.archived_sessions,
            "deleted_sessions": report.deleted_sessions, "max_output_bytes": report.max_output_bytes,
            "max_log_bytes": report.max_log_bytes, "largest": largest,
        }))?;
        return Ok(exit::OK);
    }
    let cap = |bytes: u64| match bytes {
        0 => "no cap".to_owned(),
        bytes => format!("cap {}", format::bytes(bytes)),
    };
    let counts = format!(
        "{}, {} archived, {} in the trash",
        format::count(report.sessions, "session"),
        report.archived_sessions,
        report.deleted_sessions
    );
    let mut rows = vec![
        vec![
            "database".to_owned(),
            format::bytes(report.database_bytes),
            format!("{}; {counts}", cap(report.max_log_bytes)),
        ],
        vec![
            "output".to_owned(),
            format::bytes(report.output_bytes),
            cap(report.max_output_bytes),
        ],
    ];
    for one in &report.largest {
        rows.push(vec![
            one.session_id.clone(),
            format::bytes(one.output_bytes),
            escape::line(&one.name),
        ]);
    }
    table::print(&context.out, SIZES, &rows)?;
    Ok(exit::OK)
}
