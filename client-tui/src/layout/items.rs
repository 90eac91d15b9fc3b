//! Owns: how one item of the transcript is written as lines.
//! Guarantees: every text of others is made harmless first; long output is folded to its end and a count.

use agentd_proto::transcript::{Item, Kind, Stage, ToolEnd, decision_word, tool_word};
use agentd_proto::{escape, format, pb};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Look, markdown};
use crate::model::output::{KEPT_LINES, Output};
use crate::model::session::OpenSession;
use crate::text;

/// Lines of a finished command that stay when it is folded.
const FOLDED: usize = 3;
/// Lines of a running command that are shown.
const LIVE: usize = 8;
/// Lines of a person's message that stay when it is folded.
const MESSAGE: usize = 20;

/// The lines of an item; `before` is the item above it.
pub(crate) fn lines(
    item: &Item,
    before: Option<&Item>,
    open: &OpenSession,
    look: &Look<'_>,
    wall: i64,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if before.is_some_and(|before| apart(&before.kind, &item.kind)) {
        lines.push(Line::default());
    }
    match &item.kind {
        Kind::You {
            text,
            attachments,
            stage,
            ..
        } => you(&mut lines, item, text, attachments, *stage, look),
        Kind::Agent { text } => lines.extend(markdown::render(text, look.width, look.theme)),
        Kind::Tool {
            tool,
            summary,
            exec_id,
            end,
            ..
        } => {
            let running = end.is_none().then(|| elapsed(item, wall));
            let state = tool_state(end.as_ref(), running, look);
            lines.push(head(&tool_line(tool, summary), state, look));
            match (open.outputs.get(exec_id), end) {
                (Some(output), _) if output.count() > 0 => body(&mut lines, output, end.is_none(), look),
                (_, Some(end)) => result(&mut lines, tool, end, look),
                _ => {}
            }
        }
        Kind::Exec {
            script,
            exec_id,
            result,
        } => {
            let who = if item.client == "tui" {
                "!".to_owned()
            } else {
                format!("{} via {}:", item.principal, item.client)
            };
            let state = match result {
                None => (
                    format!(
                        "{} {}",
                        format::state_glyph(pb::SessionState::Working, look.theme.ascii),
                        elapsed(item, wall)
                    ),
                    look.theme.working,
                ),
                Some(result) => {
                    let good = result.exit_code == 0 && !result.unknown;
                    let took = format::duration(format::from_proto(result.duration));
                    (
                        format!("{} · {took}", exec_word(result)),
                        if good { look.theme.ok } else { look.theme.bad },
                    )
                }
            };
            let lost = result.as_ref().is_some_and(|result| result.unknown);
            let raw = open.pty.as_ref() == Some(exec_id) || script.trim().is_empty();
            let what = if raw { "raw shell" } else { script.trim() };
            let state = if raw && lost {
                ("ended with the daemon".to_owned(), look.theme.bad)
            } else {
                state
            };
            lines.push(head(&escape::line(&format!("{who} {what}")), state, look));
            if let Some(output) = open.outputs.get(exec_id).filter(|output| output.count() > 0) {
                body(&mut lines, output, result.is_none(), look);
            } else if let Some(result) = result {
                let bytes = result.stdout_bytes + result.stderr_bytes;
                if bytes > 0 {
                    let words = format!("   {} of output · Enter opens", format::bytes(bytes));
                    lines.push(text::line(text::cut(&words, look.width), look.theme.dim));
                }
                if !result.message.is_empty() {
                    lines.extend(quiet(&escape::line(&result.message), look));
                }
            }
            if lost && raw {
                let words = format!("nothing was run again · {} opens a new one", look.shell);
                lines.extend(quiet(&words, look));
            } else if lost {
                lines.extend(quiet("how it ended is not known; it was not run again", look));
            }
        }
        Kind::Approval(approval) => approval_lines(&mut lines, approval, look),
        Kind::Change(change) => {
            let stats = format!("+{} −{}", change.added_lines, change.removed_lines);
            let label = change_line(change);
            lines.push(text::between(
                vec![Span::styled(format!("   {label}"), look.theme.text)],
                vec![Span::styled(
                    format!("{stats}  {}", change.change_id),
                    look.theme.dim,
                )],
                look.width,
            ));
        }
        Kind::Notice(message) => {
            let spans = [Span::styled(escape::line(message), look.theme.dim)];
            let lead = [Span::styled(" · ", look.theme.dim)];
            lines.extend(text::wrap(&spans, look.width, &lead, &[Span::raw("   ")]));
        }
        Kind::TurnEnd(end) => turn_end(&mut lines, end, look),
    }
    lines
}

/// Between items that are of one piece there is no empty line.
fn apart(above: &Kind, below: &Kind) -> bool {
    let flat = |kind: &Kind| !matches!(kind, Kind::You { .. } | Kind::Agent { .. });
    !(flat(above) && flat(below)) || matches!(above, Kind::TurnEnd(_))
}

fn you(
    lines: &mut Vec<Line<'static>>,
    item: &Item,
    said: &str,
    attachments: &[String],
    stage: Stage,
    look: &Look<'_>,
) {
    let theme = look.theme;
    let time = item
        .time
        .map(|time| clock(time.seconds, look.zone))
        .unwrap_or_default();
    let mark = stage.word().map(|word| format!("  ({word})")).unwrap_or_default();
    let via = if item.client == "tui" || item.client.is_empty() {
        String::new()
    } else {
        format!(" via {}", item.client)
    };
    let lead = [
        Span::styled(format!(" you  {time}"), theme.you),
        Span::styled(format!("{via}{mark}  "), theme.dim),
    ];
    let said = escape::prose(said);
    let spans = [Span::styled(said.trim_end().to_owned(), theme.strong)];
    let mut all = text::wrap(&spans, look.width, &lead, &[Span::raw("      ")]);
    let hidden = all.len().saturating_sub(MESSAGE);
    if hidden > 1 && !look.expanded {
        all.truncate(MESSAGE);
        all.push(text::line(
            format!("      … {hidden} lines below · Enter opens"),
            theme.dim,
        ));
    }
    lines.extend(all);
    for name in attachments {
        let words = format!("      attached: {}", escape::line(name));
        lines.push(text::line(text::cut(&words, look.width), theme.dim));
    }
}

/// `▸ what it does                      ok · 3s`.
fn head(what: &str, state: (String, Style), look: &Look<'_>) -> Line<'static> {
    let fold = match (look.expanded, look.theme.ascii) {
        (true, false) => " ▾ ",
        (false, false) => " ▸ ",
        (true, true) => " v ",
        (false, true) => " > ",
    };
    text::between(
        vec![
            Span::styled(fold, look.theme.dim),
            Span::styled(what.to_owned(), look.theme.tool),
        ],
        vec![Span::styled(state.0, state.1)],
        look.width,
    )
}

fn tool_state(end: Option<&ToolEnd>, running: Option<String>, look: &Look<'_>) -> (String, Style) {
    match end {
        None => {
            let glyph = format::state_glyph(pb::SessionState::Working, look.theme.ascii);
            (
                format!("{glyph} {}", running.unwrap_or_default()),
                look.theme.working,
            )
        }
        Some(end) => {
            let word = tool_word(end.outcome);
            let good = end.outcome == pb::ToolCallOutcome::Succeeded;
            let took = format::duration(end.duration);
            (
                format!("{word} · {took}"),
                if good { look.theme.ok } else { look.theme.bad },
            )
        }
    }
}

/// The end of a command's output, with a count of what is above.
fn body(lines: &mut Vec<Line<'static>>, output: &Output, live: bool, look: &Look<'_>) {
    let most = match (look.expanded, live) {
        (true, _) => KEPT_LINES,
        (false, true) => LIVE,
        (false, false) => FOLDED,
    };
    if look.errors_only {
        let (found, count) = output.failures(most);
        let of = format::count(output.count(), "line");
        let words = format!(" │ {} of {of} look like failures · o shows all", count);
        lines.push(text::line(text::cut(&words, look.width), look.theme.dim));
        return gutter(lines, found.iter().map(String::as_str), look);
    }
    let tail = output.tail(most);
    let above = output.count().saturating_sub(tail.len() as u64);
    if above > 0 {
        let how = if look.expanded {
            "not held here"
        } else {
            "Enter opens"
        };
        let words = format!(" │ … {} above · {how}", format::count(above, "line"));
        lines.push(text::line(text::cut(&words, look.width), look.theme.dim));
    }
    if output.dropped > 0 {
        let words = format!(
            " │ … {} in the middle were not kept",
            format::bytes(output.dropped)
        );
        lines.push(text::line(text::cut(&words, look.width), look.theme.dim));
    }
    gutter(lines, tail.iter().map(String::as_str), look);
}

/// What a tool without a command gave.
fn result(lines: &mut Vec<Line<'static>>, tool: &str, end: &ToolEnd, look: &Look<'_>) {
    let all: Vec<&str> = end.result.trim_end().lines().collect();
    let failed = end.outcome != pb::ToolCallOutcome::Succeeded;
    // The content of a file that was read is for the model; a person opens it when wanted.
    let folded = if tool == "exec" || failed { FOLDED } else { 0 };
    let most = if look.expanded { KEPT_LINES } else { folded };
    let hidden = all.len().saturating_sub(most);
    if hidden > 0 && !(all.len() == 1 && most == 0) {
        let words = format!(
            " │ … {} above · Enter opens",
            format::count(hidden as u64, "line")
        );
        let words = if most == 0 {
            format!(" │ {} · Enter opens", format::count(hidden as u64, "line"))
        } else {
            words
        };
        lines.push(text::line(text::cut(&words, look.width), look.theme.dim));
    }
    let shown: Vec<String> = all
        .iter()
        .skip(hidden)
        .map(|line| escape::output(line).replace('\t', "    "))
        .collect();
    gutter(lines, shown.iter().map(String::as_str), look);
}

fn gutter<'a>(lines: &mut Vec<Line<'static>>, body: impl Iterator<Item = &'a str>, look: &Look<'_>) {
    for line in body {
        let row = if look.expanded {
            let lead = [Span::styled(" │ ", look.theme.rule)];
            text::wrap(
                &[Span::styled(line.to_owned(), look.theme.text)],
                look.width,
                &lead,
                &lead,
            )
        } else {
            vec![Line::from(text::clip(
                vec![
                    Span::styled(" │ ", look.theme.rule),
                    Span::styled(line.to_owned(), look.theme.text),
                ],
                look.width,
            ))]
        };
        lines.extend(row);
    }
}

fn approval_lines(lines: &mut Vec<Line<'static>>, approval: &pb::Approval, look: &Look<'_>) {
    let theme = look.theme;
    let what = tool_line(&approval.tool, &approval.summary);
    if approval.decision() == pb::ApprovalDecision::Unspecified {
        let words = format!(" ! needs you · {} · {what}", approval.approval_id);
        lines.push(text::line(text::cut(&words, look.width), theme.needs));
        return;
    }
    let denied = approval.decision() == pb::ApprovalDecision::Denied;
    let word = decision_word(approval.decision());
    let time = approval
        .decide_time
        .map(|time| format!(" · {}", clock(time.seconds, look.zone)))
        .unwrap_or_default();
    let reason = if approval.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", escape::line(&approval.reason))
    };
    let mark = if denied { "✗" } else { "✓" };
    let mark = if theme.ascii { "-" } else { mark };
    let style = if denied { theme.bad } else { theme.ok };
    let spans = [
        Span::styled(
            format!("{word} by {}{time}{reason}", escape::line(&approval.decided_by)),
            style,
        ),
        Span::styled(format!(" · {} {what}", approval.approval_id), theme.dim),
    ];
    let lead = [Span::styled(format!(" {mark} "), style)];
    lines.extend(text::wrap(&spans, look.width, &lead, &[Span::raw("   ")]));
}

fn turn_end(lines: &mut Vec<Line<'static>>, end: &pb::TurnFinished, look: &Look<'_>) {
    let theme = look.theme;
    let good = end.outcome() == pb::TurnOutcome::Done;
    let word = format::outcome_word(end.outcome()).replace('_', " ");
    let tokens = end.tokens.unwrap_or_default();
    let mut words = vec![
        word,
        format::duration(format::from_proto(end.duration)),
        format::count(u64::from(end.tool_calls), "tool call"),
        format!("{} tok", format::tokens(tokens.input + tokens.output)),
        format::money(end.cost_micro_usd),
    ];
    words.retain(|word| !word.is_empty());
    let label = format!("─ {} ", words.join(" · "));
    let label = text::cut(&label, look.width.saturating_sub(1));
    let style = if good { theme.dim } else { theme.bad };
    let fill = look.width.saturating_sub(text::width(&label) + 1).min(12);
    lines.push(Line::from(vec![
        Span::raw(" "),
        Span::styled(label, style),
        Span::styled("─".repeat(fill), theme.rule),
    ]));
    if !end.error_message.is_empty() {
        let spans = [Span::styled(escape::line(&end.error_message), theme.bad)];
        lines.extend(text::wrap(
            &spans,
            look.width,
            &[Span::raw("   ")],
            &[Span::raw("   ")],
        ));
    }
    for hint in &end.hints {
        lines.extend(quiet(&format!("next: {}", escape::line(hint)), look));
    }
}

fn quiet(words: &str, look: &Look<'_>) -> Vec<Line<'static>> {
    let lead = [Span::raw("   ")];
    text::wrap(
        &[Span::styled(words.to_owned(), look.theme.dim)],
        look.width,
        &lead,
        &lead,
    )
}

/// Lines with something in front of each.
pub(crate) fn indent(lines: Vec<Line<'static>>, lead: &'static str) -> Vec<Line<'static>> {
    lines
        .into_iter()
        .map(|mut line| {
            line.spans.insert(0, Span::raw(lead));
            line
        })
        .collect()
}

/// Tool and what it does, without saying the tool's name twice.
pub(crate) fn tool_line(tool: &str, summary: &str) -> String {
    let (tool, summary) = (escape::line(tool), escape::line(summary));
    if summary.is_empty() {
        tool
    } else if summary.starts_with(&tool) {
        summary
    } else {
        format!("{tool} {summary}")
    }
}

/// `M src/login.rs`.
pub(crate) fn change_line(change: &pb::ChangeRecorded) -> String {
    let letter = match change.kind() {
        pb::ChangeKind::Created => 'A',
        pb::ChangeKind::Deleted => 'D',
        pb::ChangeKind::Renamed => 'R',
        pb::ChangeKind::Modified | pb::ChangeKind::Unspecified => 'M',
    };
    let from = if change.from_path.is_empty() {
        String::new()
    } else {
        format!(" (was {})", escape::line(&change.from_path))
    };
    format!("{letter} {}{from}", escape::line(&change.path))
}

/// How a command ended.
pub(crate) fn exec_word(result: &pb::ExecResult) -> String {
    let mut words = if result.unknown {
        "outcome unknown".to_owned()
    } else if result.timed_out {
        "timed out".to_owned()
    } else if result.interrupted {
        "interrupted".to_owned()
    } else if result.exit_code == 0 {
        "ok".to_owned()
    } else {
        format!("exit {}", result.exit_code)
    };
    if result.background {
        words.push_str(" · a background job goes on");
    }
    if result.shell_restarted {
        words.push_str(" · shell restarted");
    }
    words
}

fn elapsed(item: &Item, wall: i64) -> String {
    let began = item.time.map_or(wall, |time| time.seconds);
    let seconds = u64::try_from(wall - began).unwrap_or_default();
    format!("{seconds}s")
}

/// Time of day.
fn clock(seconds: i64, zone: &jiff::tz::TimeZone) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.to_zoned(zone.clone()).strftime("%H:%M").to_string())
        .unwrap_or_default()
}
