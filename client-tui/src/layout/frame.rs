//! Owns: the regions of the screen at every size.
//! Guarantees: regions never overlap nor leave the screen; the action row of a question always has its rows.

use agentd_proto::{escape, format, pb};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{MEASURE, tool_line};
use crate::keys::{Action, Context};
use crate::model::{Focus, Model, Screen};
use crate::text;

/// Below this only the most needed is shown.
const TINY: (u16, u16) = (40, 12);
/// From this on the side pane has room.
const WIDE: u16 = 100;

/// Where everything is. Regions without rows are not drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tiny: bool,
    pub(crate) title: Rect,
    pub(crate) rule: Rect,
    pub(crate) body: Rect,
    pub(crate) divider: Rect,
    pub(crate) side: Rect,
    pub(crate) question: Rect,
    pub(crate) outbox: Rect,
    pub(crate) composer: Rect,
    pub(crate) status: Rect,
    pub(crate) hints: Rect,
}

/// A question as lines: what is asked (scrolls when long), and the keys (always there).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) title: String,
    pub(crate) body: Vec<Line<'static>>,
    pub(crate) actions: Vec<Line<'static>>,
}

/// The regions for the model's size and view.
pub(crate) fn frame(model: &Model) -> Frame {
    let (width, height) = model.size;
    let whole = Rect::new(0, 0, width, height);
    let mut frame = Frame {
        tiny: !model.inline && (width < TINY.0 || height < TINY.1),
        ..Frame::default()
    };
    let mut left = whole;
    if !frame.tiny && !model.inline {
        frame.title = take_top(&mut left, 1);
        if height >= 16 {
            frame.rule = take_top(&mut left, 1);
        }
    }
    if height >= 24 && width >= 80 && !model.inline {
        frame.hints = take_bottom(&mut left, 1);
    }
    let question = question(model, width);
    let actions = question.as_ref().map_or(0, |one| rows(one.actions.len()) + 1);
    // The keys of a question come before everything that is nice to have.
    if left.height > actions {
        frame.status = take_bottom(&mut left, 1);
    }
    if model.screen == Screen::Session && !model.shell_focus {
        let wanted = rows(composer_lines(model, width).0.len());
        let most = (height / 3).max(1).min(left.height.saturating_sub(actions));
        frame.composer = take_bottom(&mut left, wanted.min(most));
        let unsent = model
            .outbox
            .iter()
            .filter(|one| Some(&one.session_id) == open_id(model))
            .count();
        let queued = model.open.as_ref().is_some_and(|open| !open.queue.is_empty());
        let waiting = rows(unsent + usize::from(queued));
        let most = left.height.saturating_sub(actions);
        frame.outbox = take_bottom(&mut left, waiting.min(3).min(most));
    }
    if let Some(question) = &question {
        let most = (height * 2 / 5).max(1);
        let body = rows(question.body.len()).min(most);
        frame.question = take_bottom(&mut left, actions + body);
    }
    if model.screen == Screen::Session && !frame.tiny {
        let split = width >= WIDE && model.side && !model.shell_focus;
        if split {
            let side = if width >= 160 {
                (width - MEASURE - 3).max(width / 3)
            } else {
                width * 3 / 8
            };
            frame.side = Rect::new(width - side, left.y, side, left.height);
            frame.divider = Rect::new(width - side - 1, left.y, 1, left.height);
            // A blank before the divider keeps text off it.
            left.width = (width - side - 1).saturating_sub(1);
        } else if model.focus == Focus::Side {
            frame.side = left;
            left.height = 0;
        }
    }
    left.width = left
        .width
        .min(MEASURE.max(if model.screen == Screen::Session { 0 } else { width }));
    if model.shell_focus {
        left.width = width;
    }
    frame.body = left;
    frame
}

fn open_id(model: &Model) -> Option<&String> {
    model.open.as_ref().map(|open| &open.id)
}

fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn take_top(left: &mut Rect, height: u16) -> Rect {
    let height = height.min(left.height);
    let taken = Rect { height, ..*left };
    left.y += height;
    left.height -= height;
    taken
}

fn take_bottom(left: &mut Rect, height: u16) -> Rect {
    let height = height.min(left.height);
    left.height -= height;
    Rect {
        y: left.y + left.height,
        height,
        ..*left
    }
}

/// The composer's lines, and where the cursor is in them.
pub(crate) fn composer_lines(model: &Model, width: u16) -> (Vec<Line<'static>>, (u16, u16)) {
    let theme = &model.theme;
    let width = usize::from(width).max(4);
    let mark = if theme.ascii { "> " } else { "› " };
    let changes = model.open.as_ref().is_some_and(|open| open.editing.is_some());
    let lead = match changes {
        true => [Span::styled(format!(" change{mark}"), theme.needs)],
        false => [Span::styled(format!(" {mark}"), theme.accent)],
    };
    let rest = [Span::raw("   ")];
    let (before, after) = model
        .draft()
        .map(crate::model::editor::Editor::shown)
        .unwrap_or_default();
    if before.is_empty() && after.is_empty() {
        let state = model.session().map(pb::Session::state).unwrap_or_default();
        let words = if model.read_only {
            "read-only".to_owned()
        } else if state == pb::SessionState::Paused {
            "paused: /resume lets it go on".to_owned()
        } else if state == pb::SessionState::Archived {
            "archived: /unarchive brings it back".to_owned()
        } else if state == pb::SessionState::Deleted {
            "in the trash: /restore brings it back".to_owned()
        } else if model.is_working() {
            "type a message… (Enter queues while working, Alt-Enter steers)".to_owned()
        } else {
            "type a message…  / commands  @ files  ! shell".to_owned()
        };
        let row = text::clip(vec![lead[0].clone(), Span::styled(words, theme.dim)], width);
        return (vec![Line::from(row)], (3, 0));
    }
    // A cell is kept free at the end for the cursor.
    let room = width - 1;
    let whole = [Span::styled(format!("{before}{after}"), theme.text)];
    let lines = text::wrap(&whole, room, &lead, &rest);
    // The text up to the cursor breaks as the whole does, but for the word it may stand in.
    let marked = [
        Span::styled(before.clone(), theme.text),
        Span::styled(after.clone(), theme.accent),
    ];
    let split = text::wrap(&marked, room, &lead, &rest);
    let mut place = (3, 0);
    for (row, line) in split.iter().enumerate() {
        let mut column = 0;
        let mut here = false;
        for (index, span) in line.spans.iter().enumerate() {
            if index == 0 || span.style == theme.text {
                column += text::width(&span.content);
                here = here || index > 0 || before.is_empty() && row == 0;
            } else {
                break;
            }
        }
        if here {
            place = (column, row);
        }
    }
    if before.ends_with('\n') {
        let row = before.matches('\n').count();
        // Wrapped rows above push the cursor's row down.
        let above = text::wrap(&[Span::raw(before)], room, &lead, &rest).len();
        place = (3, row.max(above - 1));
    }
    let cell = (u16::try_from(place.0).unwrap_or(0), rows(place.1));
    (lines, cell)
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
    let mut body = Vec::new();
    let add = |body: &mut Vec<Line<'static>>, words: String, style| {
        body.extend(text::wrap(&[Span::styled(words, style)], cells, &lead, &lead));
    };
    let effects = approval
        .effects
        .iter()
        .map(|one| escape::line(one).replace('_', " "))
        .collect::<Vec<_>>()
        .join(", ");
    let detail = approval.detail.trim_end();
    let summary = approval.summary.trim_end();
    // The first line of a long command is not said twice.
    let whole = detail.len() > summary.len() && detail.starts_with(summary);
    let head = if whole {
        escape::line(&approval.tool)
    } else {
        tool_line(&approval.tool, summary)
    };
    add(&mut body, head, theme.strong);
    if !detail.is_empty() && detail != summary {
        // Tabs and blanks at an end can hide something: they are shown as they are, the rest as escapes.
        add(&mut body, escape::block(detail), theme.text);
    }
    if escape::is_suspicious(&approval.detail) || escape::is_suspicious(&approval.summary) {
        add(
            &mut body,
            "careful: it has hidden characters, shown above as escapes".to_owned(),
            theme.bad,
        );
    }
    if !approval.why.is_empty() || !effects.is_empty() {
        let why = escape::line(&approval.why);
        let effects = if effects.is_empty() {
            String::new()
        } else {
            format!("  ({effects})")
        };
        add(&mut body, format!("why: {why}{effects}"), theme.dim);
    }
    if !approval.session_rule.is_empty() {
        add(
            &mut body,
            format!("s adds the rule: {}", escape::line(&approval.session_rule)),
            theme.text,
        );
    }
    Some(Question {
        title: format!(" ! needs you · {}{which}{whose} ", approval.approval_id),
        body,
        actions: actions(model, approval, cells),
    })
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
        actions: vec![Line::from(text::clip(keys, cells))],
    })
}

/// The keys of a question: fixed order, deny always among them.
fn actions(model: &Model, approval: &pb::Approval, cells: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let key = |action| model.keymap.shown(Context::Approval, action).unwrap_or_default();
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
    let all = [
        Some(Action::ApproveOnce),
        session,
        Some(Action::Deny),
        Some(Action::DenyBecause),
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

impl Frame {
    /// Columns and rows of the raw shell.
    pub(crate) fn shell_size(&self) -> (u16, u16) {
        (self.body.width.max(1), self.body.height.max(1))
    }
}

/// How full the context is, as a bar and a number.
pub(crate) fn context_bar(session: &pb::Session, ascii: bool) -> String {
    let (used, window) = (session.context_tokens, session.context_window_tokens);
    let percent = format::context(used, window);
    if used == 0 || window == 0 {
        return percent;
    }
    let filled = usize::try_from((used.saturating_mul(5)).div_ceil(window))
        .unwrap_or(5)
        .min(5);
    let (full, empty) = if ascii { ("#", ".") } else { ("▓", "░") };
    format!("{}{} {percent}", full.repeat(filled), empty.repeat(5 - filled))
}
