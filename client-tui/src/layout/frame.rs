//! Owns: the regions of the screen at every size.
//! Guarantees: regions never overlap nor leave the screen; the action row of a question always has its rows.

use agentd_proto::{format, pb};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::MEASURE;
use super::question::question;
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
        let files = usize::from(!model.attached().is_empty());
        let stopped = usize::from(model.stopped().is_some());
        let waiting = rows(unsent + usize::from(queued) + files + stopped);
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
    let look = Look {
        text: theme.text,
        after: theme.accent,
    };
    written(&before, &after, width, &lead, &rest, look)
}

/// Looks of a text being written: of all of it, and one that differs, to find the cursor by.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) text: Style,
    pub(super) after: Style,
}

/// A text being written, wrapped, and where the cursor is in its lines: between `before` and `after`.
pub(super) fn written(
    before: &str,
    after: &str,
    width: usize,
    lead: &[Span<'static>],
    rest: &[Span<'static>],
    look: Look,
) -> (Vec<Line<'static>>, (u16, u16)) {
    // A cell is kept free at the end for the cursor.
    let room = width - 1;
    let whole = [Span::styled(format!("{before}{after}"), look.text)];
    let lines = text::wrap(&whole, room, lead, rest);
    // The text up to the cursor breaks as the whole does, but for the word it may stand in.
    let marked = [
        Span::styled(before.to_owned(), look.text),
        Span::styled(after.to_owned(), look.after),
    ];
    let split = text::wrap(&marked, room, lead, rest);
    let leads = |row: usize| if row == 0 { lead.len() } else { rest.len() };
    let mut place = (cells(lead), 0);
    for (row, line) in split.iter().enumerate() {
        let mut column = 0;
        let mut here = false;
        for (index, span) in line.spans.iter().enumerate() {
            if index < leads(row) || span.style == look.text {
                column += text::width(&span.content);
                here = here || index >= leads(row) || before.is_empty() && row == 0;
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
        let above = text::wrap(&[Span::raw(before.to_owned())], room, lead, rest).len();
        place = (cells(rest), row.max(above - 1));
    }
    let cell = (u16::try_from(place.0).unwrap_or(0), rows(place.1));
    (lines, cell)
}

fn cells(spans: &[Span<'static>]) -> usize {
    spans.iter().map(|span| text::width(&span.content)).sum()
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
