//! Owns: drawing the model. Decides nothing: what is where comes from `layout`, how it looks from `theme`.
//! Guarantees: any model at any size draws without failing.

mod board;
mod dashboard;
mod hints;
mod overlay;
mod panel;
mod session;
mod shell;
mod status;
mod usage;

#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;

use crate::keys::Action;
use crate::layout::{self, Frame};
use crate::model::{Model, Screen};
use crate::text;

pub(crate) use board::task_lines;
pub(crate) use dashboard::row_at as dashboard_row;
pub(crate) use overlay::help_lines;

/// Draws everything; gives where the terminal's cursor belongs.
pub(crate) fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    if let Some(lines) = &model.selecting {
        session::selecting(model, lines, buffer);
        return None;
    }
    let frame = layout::frame(model);
    let mut cursor = None;
    if frame.title.height > 0 {
        title(model, &frame, buffer);
    }
    if frame.rule.height > 0 {
        rule(model, frame.rule, buffer);
    }
    if model.shell_focus {
        cursor = shell::draw(model, frame.body, buffer);
    } else {
        match model.screen {
            Screen::Dashboard => dashboard::draw(model, frame.body, buffer),
            Screen::Inbox => dashboard::inbox(model, frame.body, buffer),
            Screen::Board => board::draw(model, frame.body, buffer),
            Screen::Usage => usage::draw(model, frame.body, buffer),
            Screen::Session => cursor = session::draw(model, &frame, buffer),
        }
        question(model, frame.question, buffer);
    }
    status::draw(model, frame.status, buffer);
    match status::rest(model, frame.status.width) {
        Some(line) if frame.hints.height > 0 => put(buffer, frame.hints, 0, &line),
        _ => hints::draw(model, frame.hints, buffer),
    }
    if let Some(place) = overlay::draw(model, buffer) {
        cursor = place;
    }
    cursor.filter(|place| buffer.area.contains(*place))
}

/// One line at a place; nothing outside of the area is touched.
fn put(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height {
        let place = Rect {
            y: area.y + row,
            height: 1,
            ..area
        }
        .intersection(buffer.area);
        line.render(place, buffer);
    }
}

fn put_all<'a>(buffer: &mut Buffer, area: Rect, lines: impl IntoIterator<Item = &'a Line<'a>>) {
    for (row, line) in (0..area.height).zip(lines) {
        put(buffer, area, row, line);
    }
}

fn rule(model: &Model, area: Rect, buffer: &mut Buffer) {
    let glyph = if model.theme.ascii { "-" } else { "─" };
    put(
        buffer,
        area,
        0,
        &text::line(glyph.repeat(usize::from(area.width)), model.theme.rule),
    );
}

fn title(model: &Model, frame: &Frame, buffer: &mut Buffer) {
    let theme = &model.theme;
    let width = usize::from(frame.title.width);
    let needs = model.rows.count(agentd_proto::pb::SessionState::NeedsYou);
    let inbox = if needs > 0 {
        format!("!{needs} needs you ")
    } else {
        String::new()
    };
    let left = match (model.screen, model.session()) {
        (Screen::Session, Some(session)) => status::session_title(model, session),
        _ => vec![
            Span::styled(" agentd", theme.strong),
            Span::styled(format!(" · {}", model.user), theme.dim),
        ],
    };
    let mut right = Vec::new();
    if model.screen != Screen::Session {
        right = tabs(model);
    }
    if let Some(words) = status::others(model) {
        right.push(Span::styled(words, theme.dim));
    }
    right.push(Span::styled(inbox, theme.needs));
    put(buffer, frame.title, 0, &text::between(left, right, width));
}

/// The screens beside the sessions, with the key that goes there; where there is no room only the one on the screen.
fn tabs(model: &Model) -> Vec<Span<'static>> {
    let theme = &model.theme;
    let context = model.contexts().first().copied();
    let all = [
        (Screen::Dashboard, Action::Sessions, "Sessions".to_owned()),
        (Screen::Board, Action::Board, "Tasks".to_owned()),
        (Screen::Usage, Action::Usage, "Usage".to_owned()),
        (
            Screen::Inbox,
            Action::Approvals,
            format!("Approvals({})", model.approvals.len()),
        ),
    ];
    let narrow = model.size.0 < 70;
    all.into_iter()
        .filter(|(screen, _, _)| !narrow || *screen == model.screen)
        .flat_map(|(screen, action, words)| {
            let key = context
                .and_then(|context| model.keymap.shown(context, action))
                .filter(|key| key.chars().count() == 1 && screen != model.screen);
            let key = key.map_or_else(String::new, |key| format!("{key} "));
            let look = if screen == model.screen {
                theme.strong
            } else {
                theme.dim
            };
            [
                Span::styled(key, theme.key),
                Span::styled(format!("{words}  "), look),
            ]
        })
        .collect()
}

/// The question: a rule with its name, what is asked, and the keys below, which are drawn first.
fn question(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let Some(question) = layout::question(model, area.width) else {
        return;
    };
    let theme = &model.theme;
    let width = usize::from(area.width);
    let actions = u16::try_from(question.actions.len())
        .unwrap_or(u16::MAX)
        .min(area.height);
    let bottom = Rect {
        y: area.y + area.height - actions,
        height: actions,
        ..area
    };
    put_all(buffer, bottom, &question.actions);
    let above = area.height - actions;
    if above == 0 {
        return;
    }
    let glyph = if theme.ascii { "-" } else { "─" };
    let shown = question.shown(area.height, model.question_scroll);
    let all = question.body.len();
    let more = if shown.len() < all {
        let context = crate::keys::Context::Approval;
        let key = |action| model.keymap.shown(context, action).unwrap_or_default();
        let (up, down) = (key(Action::Up), key(Action::Down));
        let first = if model.deciding {
            String::new()
        } else {
            format!("{} ", key(Action::Decide))
        };
        format!(" {}–{} of {all} · {first}{up}{down} ", shown.start + 1, shown.end)
    } else {
        String::new()
    };
    let label = text::cut(&format!("{glyph}{}", question.title), width);
    let fill = width.saturating_sub(text::width(&label) + text::width(&more));
    let line = Line::from(text::clip(
        vec![
            Span::styled(label, theme.needs),
            Span::styled(glyph.repeat(fill), theme.rule),
            Span::styled(more, theme.needs),
        ],
        width,
    ));
    put(buffer, area, 0, &line);
    let body = Rect {
        y: area.y + 1,
        height: above - 1,
        ..area
    };
    put_all(buffer, body, question.body.iter().skip(shown.start));
}
