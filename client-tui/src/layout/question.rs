//! Owns: what a person is asked, as lines: an approval with its keys, its answer with a rule, a command that waits.
//! Guarantees: nothing is drawn as it came; the keys, and denying among them, are lines of their own.

use std::time::Duration;

use agentd_proto::{escape, format, pb};
use ratatui::text::{Line, Span};

use super::frame::{Look, written};
use super::tool_line;
use crate::keys::{Action, Context};
use crate::model::grant::Form;
use crate::model::overlay::Overlay;
use crate::model::{Model, Screen};
use crate::text;

/// A question as lines: what is asked (scrolls when long), and the keys (always there).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) title: String,
    pub(crate) body: Vec<Line<'static>>,
    /// Where in the body the rule begins that an approval for the session adds.
    pub(crate) rule: Option<usize>,
    pub(crate) actions: Vec<Line<'static>>,
}

impl Question {
    /// The lines of the body that are shown where the question has `height` rows.
    pub(crate) fn shown(&self, height: u16, scroll: usize) -> std::ops::Range<usize> {
        let room = usize::from(height).saturating_sub(self.actions.len() + 1);
        let from = scroll.min(self.body.len().saturating_sub(room));
        from..(from + room).min(self.body.len())
    }
}

/// The question on the screen, laid out for `width`.
pub(crate) fn question(model: &Model, width: u16) -> Option<Question> {
    let Some(approval) = model.question() else {
        return waiting(model, width);
    };
    let theme = &model.theme;
    let cells = usize::from(width).max(8);
    let lead = [Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    let more = match model.screen {
        Screen::Session => model
            .open
            .as_ref()
            .map_or(0, |open| open.open_approvals().count()),
        _ => 0,
    };
    let which = if more > 1 {
        format!(" · 1 of {more}")
    } else {
        String::new()
    };
    let whose = if model.screen == Screen::Inbox {
        format!(" · {}", escape::line(&approval.session_name))
    } else {
        String::new()
    };
    let mut body = asked(model, approval, cells);
    let add = |body: &mut Vec<Line<'static>>, words: String, style| {
        body.extend(text::wrap(&[Span::styled(words, style)], cells, &lead, &lead));
    };
    let effects = approval
        .effects
        .iter()
        .map(|one| escape::line(one).replace('_', " "))
        .collect::<Vec<_>>()
        .join(", ");
    if !approval.why.is_empty() || !effects.is_empty() {
        let why = escape::line(&approval.why);
        let effects = if effects.is_empty() {
            String::new()
        } else {
            format!("  ({effects})")
        };
        add(&mut body, format!("why: {why}{effects}"), theme.dim);
    }
    if !approval.deciding_rule.is_empty() && !approval.why.contains(&approval.deciding_rule) {
        let rule = escape::line(&approval.deciding_rule);
        add(&mut body, format!("decided by: {rule}"), theme.dim);
    }
    let rule = (!approval.session_rule.is_empty()).then_some(body.len());
    if !approval.session_rule.is_empty() {
        let key = key_of(model, Action::ApproveSession);
        let rule = escape::line(&approval.session_rule);
        add(&mut body, format!("{key} adds the rule: {rule}"), theme.text);
    } else if !approval.no_rule_why.is_empty() {
        let why = escape::line(&approval.no_rule_why);
        add(&mut body, format!("only once: {why}"), theme.dim);
    }
    let expiry = expires(model, approval);
    Some(Question {
        title: format!(" ! needs you · {}{which}{whose}{expiry} ", approval.approval_id),
        body,
        rule,
        actions: actions(model, approval, cells),
    })
}

/// When it is denied by itself, where the policy sets that.
fn expires(model: &Model, approval: &pb::Approval) -> String {
    let Some(at) = approval.expire_time else {
        return String::new();
    };
    let left = match u64::try_from(at.seconds - model.wall) {
        Ok(left) if left > 0 => format::duration(Duration::from_secs(left)),
        _ => "0s".to_owned(),
    };
    format!(" · denied by itself in {left}")
}

/// What would be done, whole.
fn asked(model: &Model, approval: &pb::Approval, cells: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let lead = [Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    let mut body = Vec::new();
    let add = |body: &mut Vec<Line<'static>>, words: String, style| {
        body.extend(text::wrap(&[Span::styled(words, style)], cells, &lead, &lead));
    };
    let detail = approval.detail.trim_end();
    let summary = approval.summary.trim_end();
    // The first line of a long command is not said twice, nor a command whose characters the daemon wrote out.
    let begins = detail.len() > summary.len() && detail.starts_with(summary);
    let whole = begins || approval.tool == "exec" && !detail.is_empty() && detail != summary;
    let head = if whole {
        escape::line(&approval.tool)
    } else {
        escape::asked(&tool_line(&approval.tool, summary))
    };
    add(&mut body, head, theme.strong);
    if !detail.is_empty() && detail != summary {
        // Tabs and blanks at an end can hide something: they are shown as they are, the rest as escapes.
        add(&mut body, escape::asked(detail), theme.text);
    }
    let texts = [&approval.detail, &approval.summary];
    if texts.iter().any(|text| escape::is_suspicious(text)) {
        let words = "careful: it has hidden characters, shown above as escapes";
        add(&mut body, words.to_owned(), theme.bad);
    }
    if texts.iter().any(|text| escape::has_lookalikes(text)) {
        let words = "careful: it has characters that look like others, shown above as escapes";
        add(&mut body, words.to_owned(), theme.bad);
    }
    body
}

fn key_of(model: &Model, action: Action) -> String {
    model.keymap.shown(Context::Approval, action).unwrap_or_default()
}

/// The command that waits for input, with the last line it wrote and the key that answers it.
fn waiting(model: &Model, width: u16) -> Option<Question> {
    let session = model.session().filter(|_| model.screen == Screen::Session)?;
    let wait = session.waiting.as_ref()?;
    let theme = &model.theme;
    let cells = usize::from(width).max(8);
    let lead = [Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    let open = model.open.as_ref();
    let script = open.and_then(|open| open.last_exec.as_ref().filter(|(id, _)| *id == wait.exec_id));
    let mut body = Vec::new();
    if let Some((_, script)) = script {
        let first = script.trim().lines().next().unwrap_or_default();
        let words = format!("$ {}", escape::line(first));
        body.push(Line::from(text::clip(
            vec![lead[0].clone(), Span::styled(words, theme.dim)],
            cells,
        )));
    }
    let line = match wait.line.as_str() {
        "" => "(it wrote nothing)".to_owned(),
        line => escape::line(line),
    };
    body.extend(text::wrap(
        &[Span::styled(line, theme.strong)],
        cells,
        &lead,
        &lead,
    ));
    let mut keys = vec![lead[0].clone()];
    for (action, words) in [(Action::Answer, "answer it"), (Action::Stop, "stop the turn")] {
        if action == Action::Stop && !model.is_working() {
            continue;
        }
        let key = model.keymap.shown(Context::Session, action).unwrap_or_default();
        keys.push(Span::styled(key, theme.key));
        keys.push(Span::styled(format!(" {words}   "), theme.text));
    }
    Some(Question {
        title: format!(" ! waiting for input · {} ", escape::line(&wait.exec_id)),
        body,
        rule: None,
        actions: vec![Line::from(text::clip(keys, cells))],
    })
}

/// The keys of a question: fixed order, deny always among them.
fn actions(model: &Model, approval: &pb::Approval, cells: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let key = |action| key_of(model, action);
    let mut spans = vec![Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    if !model.deciding {
        let context = match model.screen {
            Screen::Inbox => Context::Inbox,
            _ => Context::Session,
        };
        let decide = model.keymap.shown(context, Action::Decide).unwrap_or_default();
        spans.push(Span::styled(decide, theme.key));
        spans.push(Span::styled(
            if cells < 60 { ": " } else { " then:  " },
            theme.text,
        ));
    }
    let session = if approval.session_rule.is_empty() {
        None
    } else {
        Some(Action::ApproveSession)
    };
    // Behind the others: those stand where they always do.
    let rule = (!approval.rules.is_empty()).then_some(Action::ApproveRule);
    let all = [
        Some(Action::ApproveOnce),
        session,
        Some(Action::Deny),
        Some(Action::DenyBecause),
        rule,
    ];
    for (place, action) in all.into_iter().flatten().enumerate() {
        if place > 0 {
            spans.push(Span::styled(" · ", theme.dim));
        }
        let style = if model.deciding { theme.select } else { theme.key };
        spans.push(Span::styled(key(action), style));
        // Words stay with their key: a break between them would make the row a riddle.
        spans.push(Span::styled(
            format!("\u{a0}{}", action.words().replace(' ', "\u{a0}")),
            theme.text,
        ));
    }
    if model.deciding {
        spans.push(Span::styled(
            format!(" · {}\u{a0}{}", key(Action::Leave), "leave"),
            theme.dim,
        ));
    }
    let lead = [Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    text::wrap(&spans, cells, &[], &lead)
}

/// An answer with a rule as lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FormLines {
    pub(crate) title: String,
    /// What is asked.
    pub(crate) asked: Vec<Line<'static>>,
    /// The rules and how long they count.
    pub(crate) body: Vec<Line<'static>>,
    /// Column and row of the cursor in the body.
    pub(crate) cursor: (u16, u16),
    pub(crate) actions: Vec<Line<'static>>,
}

/// The answer with a rule, while it is being written, laid out for `width`.
pub(crate) fn form(model: &Model, width: u16) -> Option<FormLines> {
    let Some(Overlay::Grant(form)) = &model.overlay else {
        return None;
    };
    let theme = &model.theme;
    let cells = usize::from(width).max(8);
    let lead = [Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs)];
    let question = model.question().filter(|one| one.approval_id == form.approval_id);
    let mut body = Vec::new();
    let mut cursor = (0, 0);
    for (index, rule) in form.rules.iter().enumerate() {
        let mark = match (index == form.at, theme.ascii) {
            (true, false) => "▸ ",
            (true, true) => "> ",
            (false, _) => "  ",
        };
        let first = [lead[0].clone(), Span::styled(mark, theme.accent)];
        let rest = [lead[0].clone(), Span::raw("  ")];
        let (before, after) = rule.shown();
        let look = Look {
            text: theme.text,
            after: theme.dim,
        };
        // Shown with escapes, sent as it is.
        let (before, after) = (escape::line(&before), escape::line(&after));
        let (lines, (column, row)) = written(&before, &after, cells, &first, &rest, look);
        if index == form.at {
            cursor = (column, row.saturating_add(u16::try_from(body.len()).unwrap_or(0)));
        }
        body.extend(lines);
    }
    let add = |body: &mut Vec<Line<'static>>, words: String, style| {
        body.extend(text::wrap(&[Span::styled(words, style)], cells, &lead, &lead));
    };
    if form.rules.iter().any(|rule| escape::is_suspicious(rule.text())) {
        let words = "careful: it has hidden characters, shown above as escapes";
        add(&mut body, words.to_owned(), theme.bad);
    }
    add(&mut body, format!("counts {}", form.term().0), theme.strong);
    if !form.refusal.is_empty() {
        add(&mut body, form.refusal.clone(), theme.bad);
    }
    Some(FormLines {
        title: format!(" ! needs you · {} · with a rule ", form.approval_id),
        asked: question.map_or_else(Vec::new, |one| asked(model, one, cells)),
        body,
        cursor,
        actions: form_actions(model, form, cells),
    })
}

/// The keys of an answer with a rule, and that denying is one key behind.
fn form_actions(model: &Model, form: &Form, cells: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let bar = Span::styled(if theme.ascii { " | " } else { " │ " }, theme.needs);
    let mut spans = vec![bar.clone()];
    let own = |action| model.keymap.shown(Context::Grant, action).unwrap_or_default();
    let sure = if form.sent { "sent" } else { "approves with it" };
    let deny = key_of(model, Action::Deny);
    let all = [
        (own(Action::GrantRule), sure.to_owned()),
        (own(Action::NextTerm), "how long".to_owned()),
        (own(Action::Cancel), format!("back, then {deny} deny")),
    ];
    for (place, (key, words)) in all.into_iter().enumerate() {
        if place > 0 {
            spans.push(Span::styled(" · ", theme.dim));
        }
        spans.push(Span::styled(key, theme.select));
        let words = format!("\u{a0}{}", words.replace(' ', "\u{a0}"));
        spans.push(Span::styled(words, theme.text));
    }
    text::wrap(&spans, cells, &[], &[bar])
}
