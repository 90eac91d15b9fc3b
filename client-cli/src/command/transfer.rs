//! Owns: forks, bundles and redaction of sessions.
//! Guarantees: what a bundle holds and what was taken out of it is said; a file is never overwritten.

use std::io::{Read as _, Write as _};

use agentd_proto::pb::export_session_response::Piece;
use agentd_proto::{ClientError, escape, format, id, lifecycle, pb};
use serde_json::{Value, json};

use crate::args::{ExportArgs, ForkArgs, ImportArgs, RedactArgs};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::json as forms;
use crate::stdin;

/// Bytes of a bundle sent at once.
const PIECE: u64 = 2 * 1024 * 1024;
/// Longest text read for a redaction.
const TEXT_LIMIT: u64 = 64 * 1024;

/// `sessions fork`.
pub(crate) async fn fork(context: &Context, args: ForkArgs) -> Result<u8, Failure> {
    let original = context.target(args.target.as_deref()).await?;
    let request = pb::ForkSessionRequest {
        request_id: id::request_id(),
        session_id: original.session_id.clone(),
        seq: args.at,
        name: args.name.unwrap_or_default(),
    };
    let fork = context
        .client
        .fork_session(request)
        .await?
        .session
        .ok_or_else(empty_answer)?;
    made(
        context,
        &fork,
        &format!(
            "forked {} as {}",
            escape::line(&original.name),
            escape::line(&fork.name)
        ),
    )
}

fn made(context: &Context, session: &pb::Session, words: &str) -> Result<u8, Failure> {
    if context.out.is_json() {
        context.out.json(&forms::session(session))?;
    } else {
        context.out.note(words);
        context.out.line(&session.session_id)?;
    }
    Ok(exit::OK)
}

/// `sessions export`.
pub(crate) async fn export(context: &Context, args: ExportArgs) -> Result<u8, Failure> {
    let session = context.session(&args.target).await?;
    let to_stdout = args.file.as_ref().is_some_and(|file| file.as_os_str() == "-");
    let default = format!("{}.agentd.jsonl", session.name.replace(' ', "_"));
    let path = args.file.unwrap_or_else(|| default.into());
    let mut file = match to_stdout {
        true => None,
        false => Some(std::fs::File::create_new(&path).map_err(|error| {
            Failure::usage(format!("{}: {error}", path.display())).next("name another file")
        })?),
    };
    let request = pb::ExportSessionRequest {
        session_id: session.session_id.clone(),
        without_outputs: args.without_outputs,
    };
    let mut stream = context.client.export_session(request).await?;
    let mut report = None;
    while let Some(piece) = stream.message().await.map_err(ClientError::from)? {
        match (piece.piece, &mut file) {
            (Some(Piece::Data(data)), Some(file)) => file.write_all(&data).map_err(|error| {
                Failure::new(
                    exit::FAILED,
                    "write_failed",
                    format!("{}: {error}", path.display()),
                )
            })?,
            (Some(Piece::Data(data)), None) => context.out.bytes(&data)?,
            (Some(Piece::Report(found)), _) => report = Some(found),
            (None, _) => {}
        }
    }
    let report = report.ok_or_else(empty_answer)?;
    if context.out.is_json() && !to_stdout {
        context
            .out
            .json(&json!({"file": path.display().to_string(), "report": report_json(&report)}))?;
        return Ok(exit::OK);
    }
    if !to_stdout {
        context.out.note(&format!("wrote {}", path.display()));
    }
    for line in lifecycle::bundle(&report) {
        context.out.note(&line);
    }
    Ok(exit::OK)
}

fn report_json(report: &pb::BundleReport) -> Value {
    json!({"events": report.events, "outputs": report.outputs, "cut_outputs": report.cut_outputs,
        "redacted": report.redacted, "redacted_seqs": report.redacted_seqs, "principals": report.principals})
}

/// `sessions import`.
pub(crate) async fn import(context: &Context, args: ImportArgs) -> Result<u8, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("{}: {error}", args.file.display()));
    let mut file = std::fs::File::open(&args.file).map_err(fail)?;
    let workspace = context.workspace()?.root;
    let upload_id = id::request_id();
    let mut offset = 0;
    loop {
        let mut data = Vec::new();
        (&mut file).take(PIECE).read_to_end(&mut data).map_err(fail)?;
        let last = (data.len() as u64) < PIECE;
        let request = pb::ImportSessionRequest {
            request_id: id::request_id(),
            upload_id: upload_id.clone(),
            offset,
            data,
            last,
            workspace: workspace.clone(),
            name: args.name.clone().unwrap_or_default(),
        };
        let answer = context.client.import_session(request).await?;
        offset = answer.next_offset;
        if last {
            let session = answer.session.ok_or_else(empty_answer)?;
            for line in lifecycle::bundle(&answer.report.unwrap_or_default()) {
                context.out.note(&line);
            }
            let words = format!(
                "imported {} on {}",
                escape::line(&session.name),
                escape::line(&session.workspace)
            );
            return made(context, &session, &words);
        }
    }
}

/// `sessions redact`.
pub(crate) async fn redact(context: &Context, args: RedactArgs) -> Result<u8, Failure> {
    let session = context.session(&args.target).await?;
    let (from_seq, to_seq) = match &args.seq {
        None => (0, 0),
        Some(range) => {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            match (from.parse(), to.parse()) {
                (Ok(from), Ok(to)) => (from, to),
                _ => {
                    return Err(
                        Failure::usage(format!("'{range}' is no range of events")).next("--seq 12..15")
                    );
                }
            }
        }
    };
    let text = match args.text.as_deref() {
        Some("-") => {
            let data = stdin::read_all(TEXT_LIMIT).await?.unwrap_or_default();
            String::from_utf8_lossy(&data).trim_end_matches('\n').to_owned()
        }
        text => text.unwrap_or_default().to_owned(),
    };
    if !context.global.yes {
        return Err(Failure::usage("what is taken out can not be had back")
            .next(format!("agentctl sessions redact --yes {} …", session.session_id)));
    }
    let request = pb::RedactSessionRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        from_seq,
        to_seq,
        text,
        reason: args.reason,
    };
    let done = context.client.redact_session(request).await?;
    if context.out.is_json() {
        context.out.json(
            &json!({"seq": done.seq, "seqs": done.seqs, "outputs": done.outputs, "also_in": done.also_in}),
        )?;
        return Ok(exit::OK);
    }
    context.out.note(&format!(
        "taken out of {} and {}",
        format::count(done.seqs.len() as u64, "event"),
        format::count(done.outputs, "output")
    ));
    for fork in &done.also_in {
        context
            .out
            .warning(&format!("{fork} is a fork of it and has its own copy"));
    }
    Ok(exit::OK)
}
