//! Owns: what a session is, holds, runs and did, as rows.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

use super::{Clock, Deed, Row, Tone};

pub(super) fn about(session: &pb::Session, context: &pb::GetContextResponse, clock: Clock<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(Row::field(name, value));
        }
    };
    field("title", session.title.clone());
    field("state", format::state_word(session.state()).to_owned());
    field("paused", session.pause_reason.clone());
    if let Some(wait) = &session.waiting {
        field("waits for", format!("input to {}: {}", wait.exec_id, wait.line));
    }
    field("task", session.task_id.clone());
    field("model", session.model.clone());
    field("persona", session.persona.clone());
    let start = match session.start_dir.as_str() {
        "" => String::new(),
        dir => format!(" (from {dir})"),
    };
    field("workspace", format!("{}{start}", session.workspace));
    let layout = match session.layout() {
        pb::Layout::Root => "the workspace is / inside",
        _ => "the workspace is at its own path inside",
    };
    let jail = match session.jail() {
        pb::JailKind::Outer => "none (outer)",
        _ => "bwrap",
    };
    field("jail", format!("{jail} · {layout} · {}", session.layout_reason));
    field("network", format::network_word(session.network()).to_owned());
    let log = match session.log_level() {
        pb::LogLevel::Redacted => "redacted: what is or looks like a secret is taken out",
        pb::LogLevel::None => "none: no words of people or models are kept, only what was done",
        _ => "full: everything but agentd's own keys",
    };
    field("log", log.to_owned());
    if let Some(share) = (session.cached_input_tokens * 100).checked_div(session.input_tokens) {
        field("cache", format!("{share}% of the input tokens"));
    }
    field("forked from", session.forked_from.clone());
    field(
        "made",
        format!("{} by {}", clock(session.create_time), session.principal),
    );
    for dir in &session.added_dirs {
        let how = if dir.writable { "writable" } else { "read-only" };
        field("also sees", format!("{} ({how})", dir.path));
    }
    if !context.plan.is_empty() {
        rows.push(Row::heading("plan"));
        rows.extend(context.plan.iter().map(plan_row));
    }
    rows.extend(limits(&session.limits));
    rows
}

/// What bounds a jail, under its heading; nothing where nothing does.
pub(super) fn limits(limits: &[pb::SessionLimit]) -> Vec<Row> {
    let mut rows = Vec::new();
    if !limits.is_empty() {
        rows.push(Row::heading("limits"));
    }
    for limit in limits {
        let name = limit.limit.replace('_', " ");
        let keeper = match limit.keeper() {
            pb::LimitKeeper::Kernel => "kept by the kernel",
            pb::LimitKeeper::Watch => "watched",
            pb::LimitKeeper::Unspecified => "not kept",
        };
        let note = match limit.note.as_str() {
            "" if limit.keeper() == pb::LimitKeeper::Unspecified => String::new(),
            "" => keeper.to_owned(),
            note => format!("{keeper}: {note}"),
        };
        rows.push(Row::new(
            format!("{:<15} {}", clean(&name), clean(&limit.text)),
            clean(&note),
        ));
    }
    rows
}

/// The sign and text of a line of a plan.
pub(crate) fn plan_line(item: &pb::PlanItem) -> String {
    let sign = match item.state() {
        pb::PlanState::Done => "[x]",
        pb::PlanState::Doing => "[>]",
        _ => "[ ]",
    };
    format!("{sign} {}", clean(&item.text))
}

fn plan_row(item: &pb::PlanItem) -> Row {
    let tone = match item.state() {
        pb::PlanState::Done => Tone::Dim,
        _ => Tone::Plain,
    };
    Row::new(plan_line(item), "").toned(tone)
}

pub(super) fn filling(context: &pb::GetContextResponse) -> Vec<Row> {
    let used = format::context(context.tokens, context.window_tokens);
    let window = match context.window_tokens {
        0 => "window unknown".to_owned(),
        tokens => format!(
            "of {} ({})",
            format::tokens(tokens),
            clean(&context.window_source)
        ),
    };
    let mut rows = vec![Row::new(
        format!("{} tokens {window} · {used}", format::tokens(context.tokens)),
        format::count(context.messages.into(), "message"),
    )];
    let at = match context.compact_at_tokens {
        0 => "it is never compacted by itself".to_owned(),
        tokens => format!("compacted by itself at {}", format::tokens(tokens)),
    };
    let times = match context.compactions {
        0 => "not yet".to_owned(),
        count => format::count(count.into(), "time"),
    };
    rows.push(Row::new(at, times).can(Deed::Compact(String::new())));
    rows.push(Row::heading("what fills it"));
    let sum: u64 = context.shares.iter().map(|share| share.tokens).sum();
    for share in &context.shares {
        let percent = (share.tokens * 100).checked_div(sum).unwrap_or(0);
        let bar = usize::try_from(percent / 5).unwrap_or(0);
        rows.push(Row::new(
            format!(
                "{:<13} {:>6} {percent:>3}% {}",
                clean(&share.kind.replace('_', " ")),
                format::tokens(share.tokens),
                "#".repeat(bar)
            ),
            format::count(share.count.into(), "piece"),
        ));
    }
    if !context.largest.is_empty() {
        rows.push(Row::heading("largest pieces"));
    }
    for piece in &context.largest {
        let kind = clean(&piece.kind.replace('_', " "));
        rows.push(Row::new(
            format!("{kind:<13} {}", clean(&piece.name)),
            format::tokens(piece.tokens),
        ));
    }
    if !context.instruction_files.is_empty() {
        rows.push(Row::heading("instruction files"));
        rows.extend(
            context
                .instruction_files
                .iter()
                .map(|path| Row::new(clean(path), "")),
        );
    }
    rows
}

pub(super) fn running(jobs: &[pb::Job], clock: Clock<'_>) -> Vec<Row> {
    if jobs.is_empty() {
        return vec![Row::dim("no command has left anything running")];
    }
    let mut rows = Vec::new();
    for job in jobs {
        let script = job.script.lines().find(|line| !line.trim().is_empty());
        let count = match job.processes.len() {
            1 => "1 process".to_owned(),
            count => format!("{count} processes"),
        };
        let row = Row::new(
            format!("{} {}", job.exec_id, clean(script.unwrap_or_default().trim())),
            format!("{count} · since {}", clock(job.start_time)),
        );
        rows.push(row.can(Deed::EndJob {
            exec_id: job.exec_id.clone(),
        }));
        for process in &job.processes {
            rows.push(Row::dim(format!(
                "  {:>6} {}",
                process.pid,
                clean(&process.command)
            )));
        }
    }
    rows
}

pub(super) fn choosing(models: &[pb::Model]) -> Vec<Row> {
    if models.is_empty() {
        return vec![Row::dim("no model is set up: agentctl auth set PROVIDER")];
    }
    let row = |model: &pb::Model| {
        let mut words = vec![clean(&model.status.replace('_', " "))];
        if model.is_default {
            words.push("default".to_owned());
        }
        if model.tool_use() == pb::ToolUse::No {
            words.push("no tools".to_owned());
        }
        if model.context_window_tokens > 0 {
            words.push(format!("{} ctx", format::tokens(model.context_window_tokens)));
        }
        if let (Some(input), Some(output)) = (
            model.input_micro_usd_per_million,
            model.output_micro_usd_per_million,
        ) {
            let (input, output) = (format::money(Some(input)), format::money(Some(output)));
            words.push(format!("{input}/{output} per M"));
        }
        let row = Row::new(clean(&model.name), words.join(" · "));
        match model.status.as_str() {
            "ready" | "found" => row.can(Deed::Model(model.name.clone())),
            _ => row.toned(Tone::Dim),
        }
    };
    models.iter().map(row).collect()
}

pub(super) fn done(audit: &pb::AuditSessionResponse, clock: Clock<'_>) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for one in &audit.commands {
        let by = if one.by_model { "model" } else { "person" };
        let result = match one.exit_code {
            Some(code) => format!("exit {code}"),
            None => "no exit code".to_owned(),
        };
        let script = clean(one.script.lines().next().unwrap_or("raw shell"));
        let row = Row::new(
            format!("command {script}"),
            format!("{result} · {by} · {}", clock(one.time)),
        );
        rows.push((one.seq, row));
    }
    for one in &audit.files {
        let row = Row::new(
            format!("file    {}", clean(&one.path)),
            format!(
                "{} +{} −{} · {}",
                clean(&one.change),
                one.added,
                one.removed,
                clock(one.time)
            ),
        );
        rows.push((one.seq, row));
    }
    for one in &audit.hosts {
        let tone = if one.allowed { Tone::Plain } else { Tone::Bad };
        let word = if one.allowed { "reached" } else { "refused" };
        let row = Row::new(
            format!("host    {}", clean(&one.host)),
            format!("{word} · {}", clock(one.time)),
        );
        rows.push((one.seq, row.toned(tone)));
    }
    for one in &audit.refusals {
        let row = Row::new(
            format!("refused {}", clean(&one.what)),
            format!("by {} · {}", clean(&one.by), clock(one.time)),
        );
        rows.push((one.seq, row.toned(Tone::Bad)));
    }
    if rows.is_empty() {
        return vec![Row::dim("it ran no command, changed no file and reached no host")];
    }
    rows.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    rows.into_iter().map(|(_, row)| row).collect()
}
