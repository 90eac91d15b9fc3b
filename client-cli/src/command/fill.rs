//! Owns: `agentctl sessions show --context`: what fills the model's context.
//! Guarantees: estimates are marked as such; unknown figures are a dash.

use agentd_proto::{escape, format, pb};
use serde_json::json;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::json as form;
use crate::render::table::{self, Column, fixed, flexible};

const COLUMNS: &[Column] = &[
    flexible("WHAT", 4, 14),
    fixed("PIECES", 6),
    fixed("TOKENS", 7),
    fixed("SHARE", 5),
];

/// Shows it.
pub(crate) async fn show(context: &Context, session: &pb::Session) -> Result<u8, Failure> {
    let request = pb::GetContextRequest {
        session_id: session.session_id.clone(),
    };
    let fill = context.client.get_context(request).await?;
    if context.out.is_json() {
        let share = |s: &pb::ContextShare| json!({"kind": s.kind, "count": s.count, "tokens": s.tokens});
        let piece = |p: &pb::ContextPiece| json!({"kind": p.kind, "name": p.name, "tokens": p.tokens});
        context.out.json(&json!({
            "session_id": session.session_id,
            "tokens": fill.tokens,
            "window_tokens": fill.window_tokens,
            "window_source": fill.window_source,
            "compact_at_tokens": fill.compact_at_tokens,
            "compactions": fill.compactions,
            "messages": fill.messages,
            "shares": fill.shares.iter().map(share).collect::<Vec<_>>(),
            "largest": fill.largest.iter().map(piece).collect::<Vec<_>>(),
            "plan": form::plan(&fill.plan),
            "instruction_files": fill.instruction_files,
            "last_input_tokens": session.last_input_tokens,
            "last_cached_tokens": session.last_cached_tokens,
            "input_tokens": session.input_tokens,
            "cached_input_tokens": session.cached_input_tokens,
        }))?;
        return Ok(exit::OK);
    }
    let whole: u64 = fill.shares.iter().map(|share| share.tokens).sum();
    let rows: Vec<Vec<String>> = fill
        .shares
        .iter()
        .map(|share| {
            vec![
                share.kind.replace('_', " "),
                share.count.to_string(),
                format!("≈{}", format::tokens(share.tokens)),
                format!("{}%", share.tokens.saturating_mul(100) / whole.max(1)),
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    for line in notes(session, &fill) {
        context.out.line(&line)?;
    }
    Ok(exit::OK)
}

fn notes(session: &pb::Session, fill: &pb::GetContextResponse) -> Vec<String> {
    let source = match fill.window_source.as_str() {
        "" => String::new(),
        source => format!(" ({source})"),
    };
    let compacted = match fill.compact_at_tokens {
        0 => "compacted only when asked".to_owned(),
        at => format!("compacted at {}", format::tokens(at)),
    };
    let mut lines = vec![
        format!(
            "context {} · {compacted}{}",
            format::context(fill.tokens, fill.window_tokens),
            match fill.compactions {
                0 => String::new(),
                n => format!(", so far {}", format::count(u64::from(n), "time")),
            }
        ) + &source,
        format!(
            "cache {} of the last request, {} of all",
            percent(session.last_cached_tokens, session.last_input_tokens),
            percent(session.cached_input_tokens, session.input_tokens)
        ),
    ];
    for file in &fill.instruction_files {
        lines.push(format!("follows {}", escape::line(file)));
    }
    for piece in fill.largest.iter().take(5) {
        let (kind, name) = (piece.kind.replace('_', " "), escape::line(&piece.name));
        lines.push(format!("≈{} {kind}: {name}", format::tokens(piece.tokens)));
    }
    for item in &fill.plan {
        let mark = match item.state() {
            pb::PlanState::Done => 'x',
            pb::PlanState::Doing => '>',
            _ => ' ',
        };
        lines.push(format!("[{mark}] {}", escape::line(&item.text)));
    }
    lines
}

/// A part of a whole; unknown is a dash.
fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => format::UNKNOWN.to_owned(),
        whole => format!("{}%", part.saturating_mul(100) / whole),
    }
}
