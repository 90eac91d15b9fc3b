//! Owns: drawing what lies over a view: help, palette, notices, search, one-line questions.

use agentd_proto::escape;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};

use super::{put, put_all};
use crate::keys::{Action, Context};
use crate::layout;
use crate::model::editor::Editor;
use crate::model::overlay::{Overlay, fits};
use crate::model::{Level, Model};
use crate::text;
use crate::update::{entries, found};

/// Draws the overlay; gives where the cursor belongs, or that it is hidden.
pub(crate) fn draw(model: &Model, buffer: &mut Buffer) -> Option<Option<Position>> {
    let overlay = model.overlay.as_ref()?;
    let (width, height) = model.size;
    if width < 4 || height < 2 {
        return Some(None);
    }
    let cursor = match overlay {
        Overlay::Prompt { ask, text } => {
            let about: Vec<Line<'static>> = ask
                .about()
                .iter()
                .flat_map(|words| {
                    let span = [Span::styled(words.clone(), model.theme.needs)];
                    text::wrap(&span, usize::from(width), &[Span::raw(" ")], &[Span::raw("   ")])
                })
                .collect();
            let rows = u16::try_from(about.len())
                .unwrap_or(height)
                .min(height.saturating_sub(2));
            let above = Rect::new(0, height.saturating_sub(2 + rows), width, rows);
            let above = clear(above, buffer);
            put_all(buffer, above, &about);
            let area = clear(Rect::new(0, height.saturating_sub(2), width, 1), buffer);
            entry(model, area, &format!(" {}: ", ask.label()), text, buffer)
        }
        Overlay::Help { search, scroll } => {
            let area = panel(model, "help", buffer);
            let lines = help_lines(model);
            scrolled(model, area, &lines, *scroll, buffer);
            entry(model, Rect { height: 1, ..area }, " search: ", search, buffer)
        }
        Overlay::Palette { search, selected } => {
            let area = panel(model, "commands", buffer);
            let rows = entries(model, search.text());
            let lines = rows.iter().enumerate().map(|(index, row)| {
                let keys = vec![Span::styled(format!("{} ", row.keys), model.theme.key)];
                choice(
                    model,
                    index == *selected,
                    vec![Span::raw(row.words.clone())],
                    keys,
                    area.width,
                )
            });
            list(model, area, lines.collect(), *selected, buffer);
            entry(model, Rect { height: 1, ..area }, " › ", search, buffer)
        }
        Overlay::History {
            search,
            selected,
            here,
        } => {
            let other = model
                .keymap
                .shown(Context::Overlay, Action::NextState)
                .unwrap_or_default();
            let title = if *here {
                format!("messages of this session · {other} all")
            } else {
                format!("all messages · {other} this session")
            };
            let area = panel(model, &title, buffer);
            let rows = found(model, search.text(), *here);
            let lines = rows.iter().enumerate().map(|(index, text)| {
                let text = escape::line(text);
                choice(
                    model,
                    index == *selected,
                    vec![Span::raw(text)],
                    Vec::new(),
                    area.width,
                )
            });
            list(model, area, lines.collect(), *selected, buffer);
            entry(model, Rect { height: 1, ..area }, " search: ", search, buffer)
        }
        Overlay::Queue { selected } => {
            let key = |action| model.keymap.shown(Context::Queue, action).unwrap_or_default();
            let title = format!(
                "waiting messages · Enter changes · {} steers · {} takes back",
                key(Action::QueueSteer),
                key(Action::QueueRemove)
            );
            let area = panel(model, &title, buffer);
            let queue = model.open.as_ref().map(|open| open.queue.as_slice());
            let lines = queue.unwrap_or_default().iter().enumerate().map(|(index, one)| {
                let text = escape::line(&agentd_proto::transcript::text_of(&one.parts));
                let state = if one.steer { "steers " } else { "queued " };
                let right = vec![Span::styled(
                    format!(" {} via {} · {state}", escape::line(&one.principal), one.client),
                    model.theme.dim,
                )];
                choice(
                    model,
                    index == *selected,
                    vec![Span::raw(text)],
                    right,
                    area.width,
                )
            });
            list(model, area, lines.collect(), *selected, buffer);
            None
        }
        Overlay::Search {
            search,
            selected,
            here,
            hits,
        } => {
            let other = model
                .keymap
                .shown(Context::Overlay, Action::NextState)
                .unwrap_or_default();
            let title = match here {
                true => format!("search in this session · {other} all"),
                false => format!("search in all sessions · {other} this session"),
            };
            let area = panel(model, &title, buffer);
            let lines = hits.iter().enumerate().map(|(index, hit)| {
                let session = hit.session.clone().unwrap_or_default();
                let kind = hit.kind.replace('_', " ");
                let at = hit.event_time.map(|at| day_and_clock(model, at.seconds));
                let right = format!(" {kind} · {} ", at.unwrap_or_default());
                let name = text::pad(&escape::line(&session.name), 14);
                let left = format!("{name} {}", escape::line(&hit.snippet));
                let right = vec![Span::styled(escape::line(&right), model.theme.dim)];
                choice(
                    model,
                    index == *selected,
                    vec![Span::raw(left)],
                    right,
                    area.width,
                )
            });
            list(model, area, lines.collect(), *selected, buffer);
            entry(model, Rect { height: 1, ..area }, " words: ", search, buffer)
        }
        Overlay::Boards { selected } => {
            let area = panel(model, "boards", buffer);
            let lines = model.board.known.iter().enumerate().map(|(index, workspace)| {
                let left = vec![Span::raw(escape::line(workspace))];
                choice(model, index == *selected, left, Vec::new(), area.width)
            });
            list(model, area, lines.collect(), *selected, buffer);
            None
        }
        Overlay::Panel(view) => {
            let area = panel(model, &super::panel::title(model, view), buffer);
            let (lines, last) = super::panel::lines(model, view, area.width);
            list(model, area, lines, last, buffer);
            None
        }
        Overlay::Grant(_) => grant(model, buffer),
        Overlay::Task { scroll } => {
            let area = panel(model, "task", buffer);
            let lines = super::board::task_lines(model, area.width);
            scrolled(model, area, &lines, *scroll, buffer);
            None
        }
        Overlay::Conflict { task_id, field } => {
            let task = model.board.get(task_id);
            let all = task.map_or(&[][..], |task| &task.conflicts);
            let name = all.get(*field).map_or("", |one| one.field.as_str());
            let count = all.len();
            let title = format!(
                "{task_id} {name}: changed in the file and on the board ({} of {count})",
                field + 1
            );
            let area = panel(model, &escape::line(&title), buffer);
            let lines = super::board::conflict_lines(model, task_id, *field, area.width);
            scrolled(model, area, &lines, 0, buffer);
            None
        }
        Overlay::Notices { scroll } => {
            let area = panel(model, "notices", buffer);
            let mut lines = Vec::new();
            for notice in model.notices.iter().rev() {
                let time = clock(model, notice.time);
                let look = if notice.level == Level::Problem {
                    model.theme.bad
                } else {
                    model.theme.text
                };
                let lead = [Span::styled(format!(" {time}  "), model.theme.dim)];
                let spans = [Span::styled(notice.text.clone(), look)];
                lines.extend(text::wrap(
                    &spans,
                    usize::from(area.width),
                    &lead,
                    &[Span::raw("        ")],
                ));
            }
            if lines.is_empty() {
                lines.push(text::line(" nothing to tell", model.theme.dim));
            }
            scrolled(model, area, &lines, *scroll, buffer);
            None
        }
    };
    Some(cursor)
}

pub(super) fn clock(model: &Model, seconds: i64) -> String {
    local(model, seconds, "%H:%M")
}

pub(super) fn day_and_clock(model: &Model, seconds: i64) -> String {
    local(model, seconds, "%m-%d %H:%M")
}

fn local(model: &Model, seconds: i64, form: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.to_zoned(model.zone.clone()).strftime(form).to_string())
        .unwrap_or_default()
}

fn clear(area: Rect, buffer: &mut Buffer) -> Rect {
    let area = area.intersection(buffer.area);
    Clear.render(area, buffer);
    area
}

/// The answer with a rule, in place of the question and the composer; gives where the cursor belongs.
fn grant(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let (width, height) = model.size;
    let form = layout::form(model, width)?;
    let frame = layout::frame(model);
    let bottom = if frame.status.height > 0 {
        frame.status.y
    } else {
        height
    };
    let rows = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    // Where there is little room, what is asked gives way before the rules, and they before the keys.
    let keys = rows(form.actions.len()).min(bottom);
    let body = rows(form.body.len()).min(bottom - keys);
    let asked = rows(form.asked.len()).min((bottom - keys - body).saturating_sub(2));
    let needed = (1 + asked + body + keys).min(bottom);
    let top = match frame.question.height {
        0 => bottom - needed,
        _ => frame.question.y.min(bottom - needed),
    };
    let area = clear(Rect::new(0, top, width, bottom - top), buffer);
    let part = |y: u16, height: u16| Rect { y, height, ..area };
    put_all(buffer, part(bottom - keys, keys), &form.actions);
    // The line with the cursor is always among those shown.
    let skip = (form.cursor.1 + 1).saturating_sub(body);
    let place = part(bottom - keys - body, body);
    put_all(buffer, place, form.body.iter().skip(usize::from(skip)));
    if needed > keys + body {
        let cells = usize::from(width);
        let rule = if model.theme.ascii { "-" } else { "─" };
        let label = text::cut(&format!("{rule}{}", form.title), cells);
        let fill = rule.repeat(cells.saturating_sub(text::width(&label)));
        let line = Line::from(vec![
            Span::styled(label, model.theme.needs),
            Span::styled(fill, model.theme.rule),
        ]);
        put(buffer, area, 0, &line);
        let above = part(top + 1, place.y.saturating_sub(top + 1));
        put_all(buffer, above, &form.asked);
    }
    (body > 0).then(|| {
        let column = form.cursor.0.min(width.saturating_sub(1));
        Position::new(column, place.y + form.cursor.1 - skip)
    })
}

/// An empty panel with a title; gives the inside. The status bar stays: what a key did is told there.
fn panel(model: &Model, title: &str, buffer: &mut Buffer) -> Rect {
    let (width, height) = model.size;
    let wide = width.min(100);
    let below = height - layout::frame(model).status.y.min(height);
    let area = Rect::new(
        (width - wide) / 2,
        u16::from(height > 4),
        wide,
        height.saturating_sub(if height > 4 { 1 + below.max(1) } else { 0 }),
    );
    let area = clear(area, buffer);
    let rule = if model.theme.ascii { "-" } else { "─" };
    let cells = usize::from(area.width);
    let label = text::cut(&format!("{rule} {title} "), cells);
    let fill = cells.saturating_sub(text::width(&label));
    let line = Line::from(vec![
        Span::styled(label, model.theme.strong),
        Span::styled(rule.repeat(fill), model.theme.rule),
    ]);
    put(buffer, area, 0, &line);
    let last = area.height.saturating_sub(1);
    put(
        buffer,
        area,
        last,
        &text::line(rule.repeat(cells), model.theme.rule),
    );
    Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(2),
        ..area
    }
}

/// A line of text being typed.
fn entry(model: &Model, area: Rect, label: &str, text: &Editor, buffer: &mut Buffer) -> Option<Position> {
    let width = usize::from(area.width);
    let (before, after) = text.shown();
    // A question is worth reading whole, as long as there is room for an answer.
    let label = text::cut(label, (width / 2).max(width.saturating_sub(24)));
    let room = width.saturating_sub(text::width(&label) + 1);
    // The end of a long text is where it is being written.
    let mut shown = before.as_str();
    while text::width(shown) > room {
        let mut chars = shown.chars();
        chars.next();
        shown = chars.as_str();
    }
    let column = text::width(&label) + text::width(shown);
    let spans = vec![
        Span::styled(label, model.theme.accent),
        Span::styled(format!("{shown}{after}"), model.theme.text),
    ];
    clear(area, buffer);
    put(buffer, area, 0, &Line::from(text::clip(spans, width)));
    (area.height > 0).then(|| Position::new(area.x + u16::try_from(column).unwrap_or(0), area.y))
}

pub(super) fn choice(
    model: &Model,
    selected: bool,
    left: Vec<Span<'static>>,
    right: Vec<Span<'static>>,
    width: u16,
) -> Line<'static> {
    let mark = match (selected, model.theme.ascii) {
        (true, false) => " ▸ ",
        (true, true) => " > ",
        _ => "   ",
    };
    let mut spans = vec![Span::styled(mark, model.theme.accent)];
    let look = if selected {
        model.theme.strong
    } else {
        model.theme.text
    };
    spans.extend(left.into_iter().map(|span| {
        let own = span.style;
        span.style(look.patch(own))
    }));
    text::between(spans, right, usize::from(width))
}

/// A list under the entry line, the selected row always in sight, with a mark where more is.
fn list(model: &Model, area: Rect, lines: Vec<Line<'static>>, selected: usize, buffer: &mut Buffer) {
    let area = Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    };
    if lines.is_empty() {
        return put(buffer, area, 0, &text::line("   nothing fits", model.theme.dim));
    }
    let rows = window(area, lines.len());
    let skip = selected.saturating_sub(usize::from(rows.height).saturating_sub(1));
    put_all(buffer, rows, lines.iter().skip(skip));
    more(model, area, skip, lines.len(), buffer);
}

/// The rows for `all` lines: the last is kept free for the mark where not all have room.
pub(super) fn window(area: Rect, all: usize) -> Rect {
    let over = all > usize::from(area.height) && area.height > 1;
    Rect {
        height: area.height - u16::from(over),
        ..area
    }
}

/// Marks, in the row that is kept free for it, how many lines are above and below those shown.
pub(super) fn more(model: &Model, area: Rect, above: usize, all: usize, buffer: &mut Buffer) {
    let rows = window(area, all);
    if rows.height == area.height {
        return;
    }
    let below = all.saturating_sub(above + usize::from(rows.height));
    let words = match (above, below, model.theme.ascii) {
        (above, below, true) => format!(" {above} above, {below} below "),
        (0, below, _) => format!(" ↓ {below} more "),
        (above, 0, _) => format!(" ↑ {above} more "),
        (above, below, _) => format!(" ↑ {above} · ↓ {below} more "),
    };
    let width = u16::try_from(text::width(&words)).unwrap_or(0).min(area.width);
    let place = Rect::new(area.x + area.width - width, area.y + rows.height, width, 1);
    put(buffer, place, 0, &text::line(words, model.theme.select));
}

/// Lines under the entry line, with a mark where more is.
fn scrolled(model: &Model, area: Rect, lines: &[Line<'static>], scroll: usize, buffer: &mut Buffer) {
    let area = Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    };
    let rows = window(area, lines.len());
    let room = usize::from(rows.height);
    let from = scroll.min(lines.len().saturating_sub(room));
    // What has no room says so.
    let cells = usize::from(area.width);
    let shown: Vec<Line<'static>> = lines
        .iter()
        .skip(from)
        .take(room)
        .map(|line| Line::from(text::clip(line.spans.clone(), cells)))
        .collect();
    put_all(buffer, rows, &shown);
    more(model, area, from, lines.len(), buffer);
}

/// Every key, from the table: first those of the view below, then all others.
pub(crate) fn help_lines(model: &Model) -> Vec<Line<'static>> {
    let search = match &model.overlay {
        Some(Overlay::Help { search, .. }) => search.expanded(),
        _ => String::new(),
    };
    let here = below(model);
    let mut contexts: Vec<Context> = here.clone();
    for binding in &model.keymap.bindings {
        if !contexts.contains(&binding.context) {
            contexts.push(binding.context);
        }
    }
    let mut lines = Vec::new();
    for context in contexts {
        let mut rows: Vec<(Action, Vec<String>)> = Vec::new();
        for binding in model.keymap.bindings.iter().filter(|one| one.context == context) {
            match rows.iter_mut().find(|(action, _)| *action == binding.action) {
                Some((_, keys)) => keys.push(binding.shown()),
                None => rows.push((binding.action, vec![binding.shown()])),
            }
        }
        rows.retain(|(action, keys)| {
            fits(action.words(), &search) || keys.iter().any(|key| fits(key, &search))
        });
        if rows.is_empty() {
            continue;
        }
        let mark = if here.contains(&context) { " (here)" } else { "" };
        lines.push(text::line(
            format!(" {}{mark}", context.title()),
            model.theme.heading,
        ));
        for (action, keys) in rows {
            lines.push(Line::from(vec![
                Span::styled(format!("   {}", text::pad(&keys.join(", "), 24)), model.theme.key),
                Span::styled(format!(" {}", action.words()), model.theme.text),
            ]));
        }
    }
    lines
}

/// The contexts of the view under the overlay.
fn below(model: &Model) -> Vec<Context> {
    use crate::model::{Focus, Screen};
    match (model.screen, model.focus) {
        (Screen::Dashboard, _) => vec![Context::List, Context::Everywhere],
        (Screen::Board, _) => vec![Context::Board, Context::Conflict, Context::Everywhere],
        (Screen::Usage, _) => vec![Context::Usage, Context::Everywhere],
        (Screen::Inbox, _) => vec![Context::Inbox, Context::Approval, Context::Everywhere],
        (Screen::Session, Focus::Composer) => vec![
            Context::Composer,
            Context::ComposerEmpty,
            Context::Session,
            Context::Approval,
            Context::Everywhere,
        ],
        (Screen::Session, _) => vec![
            Context::Transcript,
            Context::Session,
            Context::Approval,
            Context::Everywhere,
        ],
    }
}
