//! Owns: how the daemon is and what works in the jail of a project, as rows.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

use super::{Clock, Row, Tone};

/// How it is, and each check with what would mend it.
pub(super) fn health(status: &pb::GetStatusResponse, findings: &[pb::Finding], clock: Clock<'_>) -> Vec<Row> {
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut rows = vec![
        Row::field(
            "daemon",
            format!(
                "agentd {}, process {}, since {}",
                status.version,
                status.pid,
                clock(status.start_time)
            ),
        ),
        Row::field(
            "sessions",
            format!(
                "{} · {} working · {} · {}",
                status.sessions,
                status.working_sessions,
                format::count(status.jails.into(), "live jail"),
                format::count(status.open_approvals.into(), "open approval")
            ),
        ),
        Row::field("memory", format::bytes(status.resident_bytes)),
        Row::field("jail", &status.jail),
        Row::field("model", or(&status.default_model, "none set up")),
        Row::field("socket", &status.socket),
        Row::field("database", &status.database),
        Row::field("log", or(&status.log_file, "the journal")),
        Row::field("config", or(&status.config_files.join(", "), "built-in values")),
    ];
    rows.push(Row::heading("what can't be kept here"));
    match status.limits.as_slice() {
        [] => rows.push(Row::dim("nothing: every promise is kept")),
        limits => rows.extend(limits.iter().flat_map(finding)),
    }
    rows.push(Row::heading("checks"));
    rows.extend(findings.iter().flat_map(finding));
    rows
}

fn finding(found: &pb::Finding) -> Vec<Row> {
    let (word, tone) = match found.level() {
        pb::FindingLevel::Ok => ("ok", Tone::Plain),
        pb::FindingLevel::Warning => ("limit", Tone::Plain),
        _ => ("FAILED", Tone::Bad),
    };
    let mut lines = found.message.lines();
    let first = clean(lines.next().unwrap_or_default());
    let name = clean(&found.check.replace('_', " "));
    let mut rows = vec![Row::new(format!("{word:<6} {name}: {first}"), "").toned(tone)];
    rows.extend(lines.map(|line| Row::dim(format!("       {}", clean(line)))));
    let fixes = found
        .fix
        .lines()
        .map(|line| Row::dim(format!("       fix: {}", clean(line))));
    rows.extend(fixes);
    rows
}

/// Which tools answer inside, what the jail shows of this machine, and what bounds it.
pub(super) fn project(workspace: &str, found: &pb::CheckProjectResponse) -> Vec<Row> {
    let mut rows = vec![Row::field("workspace", workspace)];
    if let Some(init) = &found.init {
        let note = match (init.ran, init.note.as_str()) {
            (true, "") => "the project's own ran first, as agreed to".to_owned(),
            (true, why) => why.to_owned(),
            (false, why) => format!("the project's own did not run: {why}"),
        };
        rows.push(Row::field("shell init", note));
    }
    rows.push(Row::heading("tools in the jail"));
    let (there, missing): (Vec<_>, Vec<_>) = found.tools.iter().partition(|tool| !tool.program.is_empty());
    rows.extend(there.iter().map(|tool| {
        let left = format!("{:<11} {}", clean(&tool.tool), clean(&tool.version));
        Row::new(left, clean(&tool.program))
    }));
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|tool| clean(&tool.tool)).collect();
        rows.push(Row::dim(format!("{:<11} {}", "not there", names.join(", "))));
    }
    for (name, all) in [
        ("shown read-only", &found.toolchains),
        ("hidden in them", &found.masked),
        ("on the PATH, not in the jail", &found.left_out),
    ] {
        if !all.is_empty() {
            rows.push(Row::heading(name));
            rows.extend(all.iter().map(|one| Row::new(clean(one), "")));
        }
    }
    if !found.left_out.is_empty() {
        rows.push(Row::dim(
            "to show one: agentctl config set jail.read_only '[\"DIR\"]', then agentctl daemon restart",
        ));
    }
    rows.extend(super::session::limits(&found.limits));
    rows.push(Row::dim("beside what is outside: agentctl doctor --project"));
    rows
}
