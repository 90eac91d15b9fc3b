//! Owns: the linear view of a transcript: labelled lines, no redraw, fit for screen readers and logs.

use agentd_proto::transcript::{Item, Kind, Stage, ToolEnd, decision_word, tool_word};
use agentd_proto::{escape, format, pb};

use super::{Look, text};
use crate::time::clock;

/// Lines of a tool's result shown under it.
const RESULT_LINES: usize = 3;

/// What runs where somebody types into the session's shell itself: it has no text of its own.
pub(crate) const RAW_SHELL: &str = "raw shell";

/// A line and how to look at it.
pub(crate) type Line = (Option<Look>, String);

/// The lines of an item that is new. What ends later is shown again by `ended`.
pub(crate) fn added(item: &Item) -> Vec<Line> {
    match &item.kind {
        Kind::You {
            text,
            attachments,
            stage,
            ..
        } => {
            let mark = stage.word().map(|word| format!(" ({word})")).unwrap_or_default();
            let mut lines = labelled("you", &format!("{}{mark}", escape::prose(text)), Some(Look::Bold));
            for name in attachments {
                lines.push((Some(Look::Dim), format!("     attached: {}", escape::line(name))));
            }
            lines
        }
        Kind::Agent { text } => labelled("agent", &escape::prose(text), None),
        Kind::Tool {
            tool, summary, end, ..
        } => {
            let mut lines = vec![(Some(Look::Cyan), format!("tool: {}", tool_line(tool, summary)))];
            if let Some(end) = end {
                lines.extend(tool_end(end));
            }
            lines
        }
        Kind::Exec {
            script,
            result,
            exec_id,
        } => {
            let who = escape::line(&item.principal);
            let did = match short(script).as_str() {
                "" => format!("opened a {RAW_SHELL}"),
                script => format!("ran {script}"),
            };
            let mut lines = vec![(Some(Look::Cyan), format!("exec: {who} {did}"))];
            if let Some(result) = result {
                lines.push(exec_end(exec_id, result));
            }
            lines
        }
        Kind::Approval(approval) => approval_lines(approval),
        Kind::Change(change) => vec![(None, format!("change: {}", change_line(change)))],
        Kind::Notice(message) => vec![(Some(Look::Dim), format!("notice: {}", escape::line(message)))],
        Kind::TurnEnd(end) => turn_lines(end),
    }
}

/// The lines of an item that came to its end, or got its answer.
pub(crate) fn ended(item: &Item) -> Vec<Line> {
    match &item.kind {
        Kind::Tool { end: Some(end), .. } => tool_end(end),
        Kind::Exec {
            exec_id,
            result: Some(result),
            ..
        } => vec![exec_end(exec_id, result)],
        Kind::Approval(approval) => vec![resolved(approval)],
        // That the agent has it now is seen from what it does.
        Kind::You { stage, text, .. } if *stage != Stage::TakenUp => {
            let word = match stage {
                Stage::Removed => "removed",
                _ => "changed",
            };
            labelled(&format!("you ({word})"), &escape::prose(text), Some(Look::Dim))
        }
        _ => Vec::new(),
    }
}

/// With the time of day in front of the first line, for logs.
pub(crate) fn stamped(item: &Item, lines: Vec<Line>) -> Vec<Line> {
    let time = clock(item.time);
    lines
        .into_iter()
        .enumerate()
        .map(|(index, (look, line))| {
            (
                look,
                if index == 0 {
                    format!("{time} {line}")
                } else {
                    format!("      {line}")
                },
            )
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

fn tool_end(end: &ToolEnd) -> Vec<Line> {
    let look = if end.outcome == pb::ToolCallOutcome::Succeeded {
        Look::Dim
    } else {
        Look::Red
    };
    let took = format::duration(end.duration);
    let mut lines = vec![(Some(look), format!("  -> {} · {took}", tool_word(end.outcome)))];
    if end.outcome != pb::ToolCallOutcome::Succeeded {
        for line in end
            .result
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(RESULT_LINES)
        {
            lines.push((Some(Look::Dim), format!("     {}", escape::output(line))));
        }
    }
    lines
}

fn exec_end(exec_id: &str, result: &pb::ExecResult) -> Line {
    let took = format::duration(format::from_proto(result.duration));
    let end = exec_word(result);
    let look = if result.exit_code == 0 && !result.unknown {
        Look::Dim
    } else {
        Look::Red
    };
    (Some(look), format!("  -> {end} · {took} · {exec_id}"))
}

/// How a command ended, in words.
pub(crate) fn exec_word(result: &pb::ExecResult) -> String {
    let mut words = if result.unknown {
        "outcome unknown".to_owned()
    } else if result.timed_out {
        "timed out".to_owned()
    } else if result.interrupted {
        "interrupted".to_owned()
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

/// A question in full. Its texts are shown with every hidden character visible.
pub(crate) fn approval_lines(approval: &pb::Approval) -> Vec<Line> {
    let mut lines = vec![(
        Some(Look::Yellow),
        format!(
            "needs you: {} · {}",
            approval.approval_id,
            escape::asked(&tool_line(&approval.tool, &approval.summary))
        ),
    )];
    if approval.detail.trim() != approval.summary.trim() {
        for line in escape::asked(&approval.detail).lines() {
            lines.push((None, format!("     {line}")));
        }
    }
    if escape::is_suspicious(&approval.detail) || escape::is_suspicious(&approval.summary) {
        lines.push((
            Some(Look::Red),
            "     careful: it has hidden characters, shown above as escapes".to_owned(),
        ));
    }
    if escape::has_lookalikes(&approval.detail) || escape::has_lookalikes(&approval.summary) {
        lines.push((
            Some(Look::Red),
            "     careful: it has characters that look like others, shown above as escapes".to_owned(),
        ));
    }
    if !approval.why.is_empty() {
        lines.push((
            Some(Look::Dim),
            format!("     why: {}", escape::line(&approval.why)),
        ));
    }
    if !approval.session_rule.is_empty() {
        let rule = escape::line(&approval.session_rule);
        lines.push((
            Some(Look::Dim),
            format!("     rule for the session or project: {rule}"),
        ));
    } else if !approval.no_rule_why.is_empty() {
        lines.push((
            Some(Look::Dim),
            format!("     only once: {}", escape::line(&approval.no_rule_why)),
        ));
    }
    if approval.decision() != pb::ApprovalDecision::Unspecified {
        lines.push(resolved(approval));
    }
    lines
}

/// How a question was answered.
pub(crate) fn resolved(approval: &pb::Approval) -> Line {
    let reason = if approval.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", approval.reason)
    };
    let look = if approval.decision() == pb::ApprovalDecision::Denied {
        Look::Red
    } else {
        Look::Green
    };
    let words = if approval.decided_by.is_empty() {
        decision_word(approval.decision()).to_owned()
    } else {
        text::decision(approval)
    };
    (
        Some(look),
        escape::line(&format!("  -> {} {words}{reason}", approval.approval_id)),
    )
}

/// A changed file in one line.
pub(crate) fn change_line(change: &pb::ChangeRecorded) -> String {
    let letter = match change.kind() {
        pb::ChangeKind::Created => 'A',
        pb::ChangeKind::Deleted => 'D',
        pb::ChangeKind::Renamed => 'R',
        pb::ChangeKind::Modified | pb::ChangeKind::Unspecified => 'M',
    };
    let path = escape::line(&change.path);
    let from = if change.from_path.is_empty() {
        String::new()
    } else {
        format!(" (was {})", escape::line(&change.from_path))
    };
    format!(
        "{letter} {path}{from}  +{} −{}",
        change.added_lines, change.removed_lines
    )
}

/// The end of a turn.
pub(crate) fn turn_lines(end: &pb::TurnFinished) -> Vec<Line> {
    let look = if end.outcome() == pb::TurnOutcome::Done {
        Look::Dim
    } else {
        Look::Red
    };
    let mut lines = vec![(Some(look), format!("turn {}", turn_summary(end)))];
    if !end.error_message.is_empty() {
        lines.push((Some(look), format!("     {}", escape::line(&end.error_message))));
    }
    lines
}

/// `done · 4 steps · 7 tool calls · 13.3k tok · $0.04 · 38s`.
pub(crate) fn turn_summary(end: &pb::TurnFinished) -> String {
    let word = format::outcome_word(end.outcome()).replace('_', " ");
    let tokens = end.tokens.unwrap_or_default();
    format!(
        "{word} · {} · {} · {} tok · {} · {}",
        format::count(u64::from(end.steps), "step"),
        format::count(u64::from(end.tool_calls), "tool call"),
        format::tokens(tokens.input + tokens.output),
        format::money(end.cost_micro_usd),
        format::duration(format::from_proto(end.duration)),
    )
}

fn labelled(label: &str, text: &str, look: Option<Look>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, line) in text.trim_end().lines().enumerate() {
        let lead = if index == 0 {
            format!("{label}: ")
        } else {
            "     ".to_owned()
        };
        lines.push((look, format!("{lead}{line}")));
    }
    lines
}

fn short(script: &str) -> String {
    let mut lines = script.trim().lines();
    let first = escape::line(lines.next().unwrap_or_default());
    match lines.count() {
        0 => first,
        more => format!("{first} … (+{})", format::count(more as u64, "line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_shell_is_named() {
        let item = |script: &str| Item {
            seq: 1,
            time: None,
            principal: "ana".into(),
            client: "cli".into(),
            kind: Kind::Exec {
                exec_id: "x-1".into(),
                script: script.into(),
                result: None,
            },
        };
        let first = |script: &str| added(&item(script)).remove(0).1;
        assert_eq!(first(""), "exec: ana opened a raw shell");
        assert_eq!(first("ls\n"), "exec: ana ran ls");
    }

    #[test]
    fn an_approval_hides_nothing() {
        let approval = pb::Approval {
            approval_id: "a-1".into(),
            tool: "exec".into(),
            summary: "ls".into(),
            detail: "ls\u{202e}\n\u{1b}[2Krm -rf x".into(),
            ..Default::default()
        };
        let text: Vec<String> = approval_lines(&approval)
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        let text = text.join("\n");
        assert!(
            text.contains("\\u{202e}") && text.contains("\\x1b[2Krm -rf x") && text.contains("careful"),
            "{text}"
        );
    }

    #[test]
    fn a_turn_in_one_line() {
        let end = pb::TurnFinished {
            outcome: 1,
            steps: 1,
            tool_calls: 7,
            tokens: Some(pb::Tokens {
                input: 13_000,
                output: 300,
                ..Default::default()
            }),
            duration: Some(prost_types::Duration {
                seconds: 38,
                nanos: 0,
            }),
            ..Default::default()
        };
        assert_eq!(
            turn_summary(&end),
            "done · 1 step · 7 tool calls · 13.3k tok · — · 38s"
        );
    }
}
