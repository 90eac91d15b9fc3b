//! Owns: errors, and single things shown at length.
//! Guarantees: an error is at most six lines: one sentence, facts, and always a `next:`.

use agentd_proto::{escape, format, pb};
use serde_json::Value;

use super::{Look, Out, json};
use crate::args::Format;
use crate::exit::{self, Failure};
use crate::time;

/// Lines an error may have.
const ERROR_LINES: usize = 6;

impl Out {
    /// Shows why a verb did not succeed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.silent {
            return;
        }
        if self.is_json() {
            self.err_bytes(format!("{}\n", json::failure(failure)).as_bytes());
            return;
        }
        let most = if self.verbose > 0 { usize::MAX } else { ERROR_LINES };
        let lines = failure_lines(failure, most);
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            match line.strip_prefix("error:") {
                Some(rest) if index == 0 => {
                    text.push_str(&self.paint_err(Look::Red, "error:"));
                    text.push_str(rest);
                }
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        self.err_bytes(text.as_bytes());
    }
}

/// `most` is at least 3: the sentence, a fact and a step.
fn failure_lines(failure: &Failure, most: usize) -> Vec<String> {
    let message = escape::line(failure.message.trim_end_matches('.'));
    let mut lines = vec![format!("error: {message}  [{}]", failure.code)];
    let fallback = match failure.exit {
        exit::USAGE => "agentctl help",
        exit::DAEMON => "agentctl daemon status",
        exit::NOT_FOUND => "agentctl sessions list --all",
        _ => "agentctl doctor",
    };
    let mut steps: Vec<&str> = failure.next.iter().flat_map(|step| step.lines()).collect();
    if steps.is_empty() {
        steps.push(fallback);
    }
    let steps_shown = steps
        .len()
        .min(ERROR_LINES - 1 - usize::from(!failure.notes.is_empty()));
    for note in failure.notes.iter().take(most - 1 - steps_shown) {
        lines.push(format!("  {}", escape::line(note)));
    }
    for (index, step) in steps.iter().take(steps_shown).enumerate() {
        let lead = if index == 0 { "  next: " } else { "        " };
        lines.push(format!("{lead}{}", escape::line(step)));
    }
    lines
}

/// One thing: fields under each other for people, `key<TAB>value` for programs, JSON as asked.
pub(crate) fn document(out: &Out, fields: &[(&str, String)], value: &Value) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Jsonl => return out.json(value),
        Format::Plain | Format::Table => {}
    }
    let wanted =
        |key: &str| out.fields.is_empty() || out.fields.iter().any(|field| field.eq_ignore_ascii_case(key));
    for (key, value) in fields.iter().filter(|(key, _)| wanted(key)) {
        let value = escape::line(value);
        if out.format == Format::Plain {
            out.line(&format!("{key}\t{value}"))?;
        } else {
            out.line(&format!("{:>12}  {value}", format!("{key}:")))?;
        }
    }
    Ok(())
}

/// State with its glyph.
pub(crate) fn state(state: pb::SessionState) -> String {
    let ascii = !locale_is_utf8();
    format!(
        "{} {}",
        format::state_glyph(state, ascii),
        format::state_word(state)
    )
}

fn locale_is_utf8() -> bool {
    let value = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    // Without any locale (cron, containers) terminals are UTF-8 nowadays; only a named other one counts.
    value.is_none_or(|value| {
        let value = value.to_lowercase();
        value.contains("utf") || value == "c" || value == "posix"
    })
}

/// The fields of a session.
pub(crate) fn session_fields(session: &pb::Session) -> Vec<(&'static str, String)> {
    let start = if session.start_dir.is_empty() {
        String::new()
    } else {
        format!(" (from {})", session.start_dir)
    };
    let cost = if session.cost_known || session.cost_micro_usd > 0 {
        let known = if session.cost_known { "" } else { " at least" };
        format!("{}{known}", format::money(Some(session.cost_micro_usd)))
    } else {
        format::UNKNOWN.to_owned()
    };
    let age = format::age(time::age(session.update_time));
    let mut fields = vec![
        ("session", session.session_id.clone()),
        ("name", session.name.clone()),
        ("state", format!("{} since {age}", state(session.state()))),
        (
            "made",
            format!(
                "{} by {}",
                time::date_and_clock(session.create_time),
                session.principal
            ),
        ),
        ("workspace", format!("{}{start}", session.workspace)),
        (
            "jail",
            format!(
                "{}, {} layout",
                json::jail(session.jail()),
                json::layout(session.layout())
            ),
        ),
        ("network", format::network_word(session.network()).to_owned()),
        ("log", json::log_level(session.log_level()).to_owned()),
        (
            "shell",
            if session.shell() == pb::ShellKind::Bash {
                "bash"
            } else {
                "sh"
            }
            .to_owned(),
        ),
        ("persona", session.persona.clone()),
        ("model", or_unknown(&session.model)),
        (
            "usage",
            format!(
                "{cost} · {} tokens · context {}",
                format::tokens(session.total_tokens),
                format::context(session.context_tokens, session.context_window_tokens)
            ),
        ),
    ];
    if !session.title.is_empty() {
        fields.insert(2, ("title", session.title.clone()));
    }
    if let Some(share) = (session.cached_input_tokens * 100).checked_div(session.input_tokens) {
        fields.push((
            "cache",
            format!("{share}% of the input tokens came from the provider's cache"),
        ));
    }
    if !session.layout_reason.is_empty() {
        fields.insert(6, ("layout", session.layout_reason.clone()));
    }
    if !session.limits.is_empty() {
        fields.push(("limits", limits(&session.limits)));
    }
    if !session.added_dirs.is_empty() {
        let dirs = session.added_dirs.iter();
        let dirs: Vec<String> = dirs
            .map(|dir| format!("{}{}", dir.path, if dir.writable { ":rw" } else { "" }))
            .collect();
        fields.push(("also sees", dirs.join(" ")));
    }
    if !session.approval_ids.is_empty() {
        fields.push(("waits for", session.approval_ids.join(" ")));
    }
    if let Some(wait) = &session.waiting {
        fields.push(("waits for", format!("input to {}: {}", wait.exec_id, wait.line)));
    }
    if session.queued_messages > 0 {
        fields.push((
            "queued",
            format::count(u64::from(session.queued_messages), "message"),
        ));
    }
    fields
}

/// What a command left running, as one line.
pub(crate) fn job(job: &pb::Job) -> String {
    let script = job.script.lines().find(|line| !line.trim().is_empty());
    let count = match job.processes.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    let age = format::age(time::age(job.start_time));
    format!(
        "{} · {count} · {age} · {}",
        job.exec_id,
        script.unwrap_or_default().trim()
    )
}

/// Bounds that are in force; `~` before one that is only watched.
fn limits(limits: &[pb::SessionLimit]) -> String {
    let shown: Vec<String> = limits
        .iter()
        .filter(|limit| limit.keeper() != pb::LimitKeeper::Unspecified)
        .map(|limit| {
            let watched = if limit.keeper() == pb::LimitKeeper::Watch {
                "~"
            } else {
                ""
            };
            format!("{} {watched}{}", limit.limit.replace('_', " "), limit.text)
        })
        .collect();
    format!("{}   (~ watched, not held by the kernel)", shown.join(" · "))
}

/// What to type next about a session.
pub(crate) fn session_next(session: &pb::Session) -> String {
    match (session.state(), session.approval_ids.first()) {
        (pb::SessionState::NeedsYou, Some(approval)) => {
            format!("agentctl approve {approval}   (or: agentctl deny {approval} --reason …)")
        }
        (pb::SessionState::NeedsYou, None) if session.waiting.is_some() => {
            format!(
                "agentctl send {} --stdin \"…\"   (or: agentctl attach {})",
                session.name, session.name
            )
        }
        (pb::SessionState::Paused, _) => format!("agentctl sessions resume {}", session.name),
        (pb::SessionState::Archived, _) => format!("agentctl sessions unarchive {}", session.session_id),
        (pb::SessionState::Deleted, _) => format!("agentctl sessions restore {}", session.session_id),
        (pb::SessionState::Working, _) => format!("agentctl attach {}", session.name),
        _ => format!("agentctl run -s {} \"…\"", session.name),
    }
}

/// The fields of an approval, except its detail.
pub(crate) fn approval_fields(approval: &pb::Approval) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("approval", approval.approval_id.clone()),
        (
            "session",
            format!("{} ({})", approval.session_name, approval.session_id),
        ),
        ("asked", time::date_and_clock(approval.create_time)),
        ("tool", approval.tool.clone()),
        ("what", approval.summary.clone()),
        ("effects", approval.effects.join(", ")),
        ("why", approval.why.clone()),
    ];
    if !approval.deciding_rule.is_empty() {
        fields.push(("decided by", approval.deciding_rule.clone()));
    }
    for rule in &approval.rules {
        fields.push(("rule", rule.clone()));
    }
    if !approval.no_rule_why.is_empty() {
        fields.push(("rule", approval.no_rule_why.clone()));
    }
    if approval.expire_time.is_some() {
        fields.push(("denied at", time::date_and_clock(approval.expire_time)));
    }
    for rule in &approval.granted_rules {
        fields.push(("granted", rule.clone()));
    }
    fields.push(("decision", decision(approval)));
    if !approval.reason.is_empty() {
        fields.push(("reason", approval.reason.clone()));
    }
    fields
}

/// `open`, or who decided what and when.
pub(crate) fn decision(approval: &pb::Approval) -> String {
    let word = agentd_proto::transcript::decision_word(approval.decision());
    if approval.decided_by.is_empty() {
        return word.to_owned();
    }
    format!(
        "{word} by {} · {}",
        approval.decided_by,
        time::clock(approval.decide_time)
    )
}

/// The text, or `—`.
pub(crate) fn or_unknown(text: &str) -> String {
    if text.is_empty() {
        format::UNKNOWN.to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_next_step_and_at_most_six_lines() {
        let bare = Failure::new(exit::FAILED, "internal", "it broke.");
        assert_eq!(
            failure_lines(&bare, ERROR_LINES),
            ["error: it broke  [internal]", "  next: agentctl doctor"]
        );
        let mut long = Failure::new(exit::NOT_FOUND, "session_not_found", "no session matches 'bild'");
        for n in 0..9 {
            long = long.note(format!("note {n}")).next(format!("step {n}"));
        }
        let lines = failure_lines(&long, ERROR_LINES);
        assert_eq!(lines.len(), ERROR_LINES);
        assert!(lines.iter().any(|line| line.starts_with("  next: ")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("note 0")), "{lines:?}");
    }

    #[test]
    fn hostile_text_in_an_error_is_inert() {
        let failure = Failure::usage("no session matches '\u{1b}[31m\n\u{202e}'");
        assert!(!failure_lines(&failure, ERROR_LINES)[0].contains(['\u{1b}', '\n', '\u{202e}']));
    }
}
