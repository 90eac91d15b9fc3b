//! Owns: the session view: transcript, side pane, messages on their way, composer.

use agentd_proto::transcript::Kind;
use agentd_proto::{escape, format};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{put, put_all};
use crate::layout::{self, Frame};
use crate::model::session::{OpenSession, Scroll};
use crate::model::{Focus, Model};
use crate::text;

/// Draws it; gives where the cursor belongs.
pub(crate) fn draw(model: &Model, frame: &Frame, buffer: &mut Buffer) -> Option<Position> {
    let open = model.open.as_ref()?;
    if frame.tiny {
        put_all(buffer, frame.body, &super::status::tiny(model));
    } else {
        transcript(model, open, frame.body, buffer);
        if frame.divider.width > 0 {
            let glyph = if model.theme.ascii { "|" } else { "│" };
            for row in 0..frame.divider.height {
                put(buffer, frame.divider, row, &text::line(glyph, model.theme.rule));
            }
        }
        side(model, open, frame.side, buffer);
    }
    outbox(model, open, frame.outbox, buffer);
    let cursor = composer(model, frame.composer, buffer);
    popup(model, frame.composer, buffer);
    cursor
}

fn transcript(model: &Model, open: &OpenSession, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    if area.height == 0 {
        return;
    }
    if !open.loaded {
        return put(buffer, area, 0, &text::line(" reading the session…", theme.dim));
    }
    if layout::blocks(open) == 0 {
        let words = " nothing said yet · type a message, or !command for the jailed shell";
        return put(
            buffer,
            area,
            0,
            &text::line(text::cut(words, usize::from(area.width)), theme.dim),
        );
    }
    let mut rows = layout::visible(model, open, area.width, area.height);
    if model.inline {
        // What is in the scrollback is not shown twice.
        rows.retain(|(id, _, _)| *id > model.printed);
    }
    // A short transcript stands at the bottom, where the composer is.
    let empty = area
        .height
        .saturating_sub(u16::try_from(rows.len()).unwrap_or(area.height));
    for ((id, lines, line), row) in rows.iter().zip(empty..) {
        let Some(content) = lines.get(*line) else { continue };
        put(buffer, area, row, content);
        if model.focus == Focus::Transcript && open.selected == Some(*id) && !content.spans.is_empty() {
            let mark = if theme.ascii { ">" } else { "▌" };
            put(
                buffer,
                Rect {
                    width: area.width.min(1),
                    ..area
                },
                row,
                &text::line(mark, theme.accent),
            );
        }
    }
    if open.scroll != Scroll::Follow {
        use crate::keys::{Action, Context};
        let context = match model.focus {
            Focus::Composer => Context::ComposerEmpty,
            _ => Context::Transcript,
        };
        let key = model.keymap.shown(context, Action::Bottom).unwrap_or_default();
        // The answer that is being made counts as one, as it will when it is there.
        let growing = layout::blocks(open) - open.transcript.items().len();
        let words = match open.unseen + growing {
            0 => format!(" ↓ {key} follows "),
            count => format!(" ↓ {count} new · {key} "),
        };
        let words = text::cut(&words, usize::from(area.width));
        let width = u16::try_from(text::width(&words)).unwrap_or(0);
        let place = Rect::new(area.x + area.width - width, area.y + area.height - 1, width, 1);
        put(buffer, place, 0, &text::line(words, theme.select));
    }
    let first = rows.first().map(|(id, _, _)| *id);
    if open.has_older() && open.is_full() && first == Some(layout::block_id(open, 0)) {
        let name = model.session().map_or(open.id.as_str(), |one| one.name.as_str());
        let words = format!(
            " what is older has no room here · agentctl logs {}",
            escape::line(name)
        );
        put(
            buffer,
            area,
            0,
            &text::line(text::pad(&words, usize::from(area.width)), theme.select),
        );
    }
    if open.loading_older {
        put(buffer, area, 0, &text::line(" reading older events…", theme.dim));
    }
}

/// Select mode: only text above, and one row that says so.
pub(super) fn selecting(model: &Model, lines: &[String], buffer: &mut Buffer) {
    let area = buffer.area;
    let width = usize::from(area.width);
    let above = Rect {
        height: area.height.saturating_sub(1),
        ..area
    };
    for (line, row) in lines.iter().zip(0..) {
        let line = text::line(text::cut(line, width), model.theme.text);
        put(buffer, above, row, &line);
    }
    let key = |action| {
        let shown = model.keymap.shown(crate::keys::Context::Select, action);
        shown.unwrap_or_default()
    };
    let needs = model.rows.count(agentd_proto::pb::SessionState::NeedsYou);
    let needs = if needs > 0 {
        format!("!{needs} needs you · ")
    } else {
        String::new()
    };
    let told = match &model.toast {
        Some((notice, _)) => format!("{} · ", notice.text),
        None => "select with the mouse · ".to_owned(),
    };
    let words = format!(
        " {needs}{told}{} copies all · {} back ",
        key(crate::keys::Action::CopyItem),
        key(crate::keys::Action::Select)
    );
    let last = Rect {
        y: area.y + above.height,
        height: area.height.min(1),
        ..area
    };
    put(
        buffer,
        last,
        0,
        &text::line(text::pad(&words, width), model.theme.select),
    );
}

/// What runs in the shell, and which files changed.
fn side(model: &Model, open: &OpenSession, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 || area.width < 4 {
        return;
    }
    let theme = &model.theme;
    let width = usize::from(area.width);
    let title = |words: &str| {
        let look = if model.focus == Focus::Side {
            theme.accent
        } else {
            theme.strong
        };
        text::line(text::cut(words, width), look)
    };
    let changes = open.changes();
    let shown = changes.len().min(usize::from(area.height / 3).max(1));
    let below = u16::try_from(shown).unwrap_or(0) + 2;
    let plan = plan(model, open, usize::from(area.height / 3), width);
    let planned = u16::try_from(plan.len()).unwrap_or(0);
    let shell = Rect {
        height: area.height.saturating_sub(below + planned),
        ..area
    };
    let middle = Rect {
        y: area.y + shell.height,
        height: planned.min(area.height - shell.height),
        ..area
    };
    put_all(buffer, middle, &plan);
    let workspace = model
        .session()
        .map(|session| escape::line(&session.workspace))
        .unwrap_or_default();
    put(buffer, shell, 0, &title(&format!(" SHELL  {workspace}")));
    let inner = Rect {
        y: shell.y + 1,
        height: shell.height.saturating_sub(1),
        ..shell
    };
    match &open.last_exec {
        None => {
            let key = model.keymap.all(crate::keys::Action::Shell);
            put(
                buffer,
                inner,
                0,
                &text::line(
                    text::cut(&format!(" nothing ran yet · {key} opens it"), width),
                    theme.dim,
                ),
            );
        }
        Some((id, script)) => {
            let mut lines: Vec<Line<'static>> = Vec::new();
            for line in script.trim().lines().take(3) {
                lines.push(text::line(
                    text::cut(&format!(" $ {}", escape::line(line)), width),
                    theme.tool,
                ));
            }
            let room = usize::from(inner.height).saturating_sub(lines.len());
            let tail = open
                .outputs
                .get(id)
                .map(|output| output.tail(room))
                .unwrap_or_else(|| results(open, id, room));
            lines.extend(
                tail.into_iter()
                    .map(|line| text::line(text::cut(&format!(" {line}"), width), theme.text)),
            );
            put_all(buffer, inner, &lines);
        }
    }
    let lower = Rect {
        y: middle.y + middle.height,
        height: below.min(area.height),
        ..area
    };
    let (added, removed) = changes
        .iter()
        .fold((0, 0), |(a, r), one| (a + one.added_lines, r + one.removed_lines));
    let rule = if theme.ascii { "-" } else { "─" };
    put(buffer, lower, 0, &text::line(rule.repeat(width), theme.rule));
    let count = format::count(changes.len() as u64, "file");
    put(
        buffer,
        lower,
        1,
        &title(&format!(" CHANGES  {count}  +{added} −{removed}")),
    );
    let from = changes.len() - shown;
    for (change, row) in changes.iter().skip(from).zip(2..) {
        let stats = Span::styled(
            format!("+{} −{} ", change.added_lines, change.removed_lines),
            theme.dim,
        );
        let path = Span::styled(format!(" {}", layout::change_line(change)), theme.text);
        put(buffer, lower, row, &text::between(vec![path], vec![stats], width));
    }
}

/// The agent's plan: a rule, how far it is, and as many of its lines as fit, those not done first.
fn plan(model: &Model, open: &OpenSession, most: usize, width: usize) -> Vec<Line<'static>> {
    use agentd_proto::pb::PlanState;
    if open.plan.is_empty() || most < 3 {
        return Vec::new();
    }
    let theme = &model.theme;
    let done = open
        .plan
        .iter()
        .filter(|one| one.state() == PlanState::Done)
        .count();
    let rule = if theme.ascii { "-" } else { "─" };
    let head = format!(" PLAN  {done} of {} done", open.plan.len());
    let mut lines = vec![
        text::line(rule.repeat(width), theme.rule),
        text::line(text::cut(&head, width), theme.strong),
    ];
    let room = most - 2;
    let skip = done.min(open.plan.len().saturating_sub(room));
    for item in open.plan.iter().skip(skip).take(room) {
        let look = match item.state() {
            PlanState::Done => theme.dim,
            PlanState::Doing => theme.working,
            _ => theme.text,
        };
        let words = format!(" {}", crate::model::panel::plan_line(item));
        lines.push(text::line(text::cut(&words, width), look));
    }
    lines
}

/// The end of what a command gave, from the log, when its bytes are not held.
fn results(open: &OpenSession, exec: &str, room: usize) -> Vec<String> {
    let found = open
        .transcript
        .items()
        .iter()
        .rev()
        .find_map(|item| match &item.kind {
            Kind::Tool {
                exec_id,
                end: Some(end),
                ..
            } if exec_id == exec => Some(&end.result),
            _ => None,
        });
    let lines: Vec<String> = found
        .map(|text| text.trim_end().lines().map(escape::output).collect())
        .unwrap_or_default();
    let skip = lines.len().saturating_sub(room);
    lines
        .into_iter()
        .skip(skip)
        .map(|line| line.replace('\t', "    "))
        .collect()
}

/// What stopped the agent, messages that the daemon has not taken yet, and what goes with the next one.
fn outbox(model: &Model, open: &OpenSession, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let width = usize::from(area.width);
    let queued = open.queue.first().map(|next| {
        let words = escape::line(&agentd_proto::transcript::text_of(&next.parts));
        let count = open.queue.len();
        let open_turn = model.session().is_none_or(|row| !row.turn_id.is_empty());
        let state = match (open_turn, next.steer) {
            (false, _) => "goes with your next message",
            (true, true) => "steers",
            (true, false) => "waits",
        };
        let key = model.keymap.all(crate::keys::Action::Queue);
        let right = format!("{count} queued · {key} ");
        let left = vec![Span::styled(format!(" {state}: {words}"), theme.dim)];
        text::between(left, vec![Span::styled(right, theme.needs)], width)
    });
    let unsent = model
        .outbox
        .iter()
        .filter(|one| one.session_id == open.id)
        .map(|one| {
            let state = if one.waiting {
                "not sent: waits for the connection"
            } else {
                "sending"
            };
            let first = one.text.lines().next().unwrap_or_default();
            let left = vec![Span::styled(format!(" you  {}", escape::line(first)), theme.dim)];
            text::between(left, vec![Span::styled(format!("{state} "), theme.needs)], width)
        });
    use crate::keys::{Action, Context};
    let key = model
        .keymap
        .shown(Context::Everywhere, Action::Retry)
        .unwrap_or_default();
    let stopped = model.stopped().map(|why| {
        let words = text::cut(&format!(" {}", why.words(&key)), width);
        text::line(words, theme.needs)
    });
    let files = (!model.attached().is_empty()).then(|| {
        let names: Vec<String> = model.attached().iter().map(crate::update::name_of).collect();
        let left = vec![Span::styled(
            format!(" with it: {}", names.join(", ")),
            theme.text,
        )];
        text::between(left, vec![Span::styled("/attach takes off ", theme.dim)], width)
    });
    let lines: Vec<Line<'static>> = stopped
        .into_iter()
        .chain(queued)
        .chain(unsent)
        .chain(files)
        .collect();
    let skip = lines.len().saturating_sub(usize::from(area.height));
    put_all(buffer, area, lines.iter().skip(skip));
}

fn composer(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if area.height == 0 {
        return None;
    }
    let (lines, (column, row)) = layout::composer_lines(model, area.width);
    let first = (row + 1).saturating_sub(area.height);
    put_all(buffer, area, lines.iter().skip(usize::from(first)));
    let takes_text = model.focus == Focus::Composer && !model.deciding && model.overlay.is_none();
    let place = Position::new(
        area.x + column.min(area.width.saturating_sub(1)),
        area.y + row - first,
    );
    takes_text.then_some(place)
}

/// Suggestions above the composer.
fn popup(model: &Model, composer: Rect, buffer: &mut Buffer) {
    let Some(popup) = &model.popup else { return };
    let theme = &model.theme;
    let height = u16::try_from(popup.items.len())
        .unwrap_or(u16::MAX)
        .min(composer.y);
    let area = Rect {
        y: composer.y - height,
        height,
        ..composer
    };
    let width = usize::from(area.width);
    let skip = popup
        .selected
        .saturating_sub(usize::from(height).saturating_sub(1));
    for ((index, item), row) in popup.items.iter().enumerate().skip(skip).zip(0..height) {
        let chosen = index == popup.selected;
        let mark = if chosen {
            if theme.ascii { " > " } else { " ▸ " }
        } else {
            "   "
        };
        let words = text::pad(&format!("{mark}{:<14} {}", item.shown, item.note), width);
        put(
            buffer,
            area,
            row,
            &text::line(words, if chosen { theme.select } else { theme.text }),
        );
    }
}
