//! Owns: the dashboard and the inbox of approvals.

use agentd_proto::{escape, format, pb};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::status::state_look;
use super::{put, put_all};
use crate::layout;
use crate::model::{Link, Model};
use crate::text;

/// Rows under the table about the selected session.
const DETAIL: u16 = 4;
/// Below this width a session takes two rows.
const CARDS: u16 = 60;

/// What the table begins with.
struct Table {
    filter: Rect,
    head: Rect,
    rows: Rect,
    detail: Rect,
    each: u16,
}

fn table(model: &Model, area: Rect) -> Table {
    let each = if area.width < CARDS { 2 } else { 1 };
    let filter = Rect {
        height: area.height.min(1),
        ..area
    };
    let head_height = if each == 1 && area.height >= 6 { 2 } else { 0 };
    let head = Rect {
        y: area.y + filter.height,
        height: head_height,
        ..area
    };
    let detail = if area.height >= 14 && !model.rows.is_empty() {
        DETAIL
    } else {
        0
    };
    let top = filter.height + head_height;
    let rows = Rect {
        y: area.y + top,
        height: area.height.saturating_sub(top + detail),
        ..area
    };
    let detail = Rect {
        y: area.y + area.height - detail,
        height: detail,
        ..area
    };
    Table {
        filter,
        head,
        rows,
        detail,
        each,
    }
}

/// The first row shown, so that the selected one is seen.
fn first(model: &Model, table: &Table) -> usize {
    let fit = usize::from(table.rows.height / table.each).max(1);
    model.rows.place().saturating_sub(fit - 1)
}

/// The session drawn on a row of the screen.
pub(crate) fn row_at(model: &Model, area: Rect, row: u16) -> Option<String> {
    let table = table(model, area);
    let at = usize::from(row.checked_sub(table.rows.y)? / table.each);
    let shown = model.rows.shown();
    shown
        .get(first(model, &table) + at)
        .map(|row| row.session_id.clone())
}

/// Draws the dashboard.
pub(crate) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if layout::frame(model).tiny {
        return put_all(buffer, area, &super::status::tiny(model));
    }
    if model.rows.is_empty() {
        return put_all(buffer, area, &empty(model));
    }
    let table = table(model, area);
    let theme = &model.theme;
    let width = usize::from(area.width);
    put(buffer, table.filter, 0, &filter(model, width));
    if table.head.height > 0 {
        let names = Columns::of(model, area.width).head();
        put(buffer, table.head, 0, &text::line("─".repeat(width), theme.rule));
        put(
            buffer,
            table.head,
            1,
            &text::line(text::cut(&names, width), theme.dim),
        );
    }
    let shown = model.rows.shown();
    if shown.is_empty() {
        put(
            buffer,
            table.rows,
            0,
            &text::line(" nothing fits the filter · Esc shows all", theme.dim),
        );
    }
    let place = model.rows.place();
    let from = first(model, &table);
    let mut y = 0;
    for (index, row) in shown.iter().enumerate().skip(from) {
        if y + table.each > table.rows.height {
            break;
        }
        for line in row_lines(model, row, index == place, area.width, table.each) {
            put(buffer, table.rows, y, &line);
            y += 1;
        }
    }
    if let Some(row) = shown.get(place) {
        put_all(buffer, table.detail, &detail(model, row, width));
    }
}

fn filter(model: &Model, width: usize) -> Line<'static> {
    use pb::SessionState as S;
    let theme = &model.theme;
    let filter = if model.rows.filter.is_empty() {
        let key = model
            .keymap
            .shown(crate::keys::Context::List, crate::keys::Action::Filter);
        format!("{} search ", key.unwrap_or_default())
    } else {
        format!("filter: {} ", escape::line(&model.rows.filter))
    };
    let chips = |words: bool| {
        let mut spans = vec![Span::styled(" ", theme.text)];
        for state in [
            S::NeedsYou,
            S::Working,
            S::Ready,
            S::Paused,
            S::Failed,
            S::Archived,
            S::Deleted,
        ] {
            let count = model.rows.count(state);
            let chosen = model.rows.state == Some(state);
            if count == 0 && !chosen && !matches!(state, S::NeedsYou | S::Working | S::Ready) {
                continue;
            }
            let glyph = format::state_glyph(state, theme.ascii);
            let word = match words || chosen {
                true => format!(" {}", format::state_word(state)),
                false => String::new(),
            };
            let look = if chosen {
                theme.select
            } else if count == 0 {
                theme.dim
            } else {
                state_look(model, state)
            };
            spans.push(Span::styled(format!("[{glyph}{count}{word}]"), look));
            spans.push(Span::raw(" "));
        }
        spans
    };
    let all = chips(true);
    let room = width.saturating_sub(text::width(&filter));
    let needed: usize = all.iter().map(|span| text::width(&span.content)).sum();
    let chips = if needed <= room { all } else { chips(false) };
    text::between(chips, vec![Span::styled(filter, theme.dim)], width)
}

/// Widths of the table's columns; the workspace has room only on wide screens.
struct Columns {
    name: usize,
    /// Only where any session works on a task.
    task: usize,
    model: usize,
    place: usize,
    last: usize,
}

impl Columns {
    fn of(model: &Model, width: u16) -> Self {
        let width = usize::from(width);
        let tasks = model.rows.all().iter().any(|row| !row.task_id.is_empty());
        let task = if tasks { 6 } else { 0 };
        let name = if width >= 120 {
            24
        } else if width >= 100 {
            20
        } else {
            16
        };
        let has_model = if width >= 120 { 18 } else { 0 };
        let place = if width >= 160 { 30 } else { 0 };
        let fixed = 3
            + 12
            + name
            + 1
            + 10
            + 1
            + 9
            + if task > 0 { task + 1 } else { 0 }
            + if has_model > 0 { has_model + 1 } else { 0 }
            + if place > 0 { place + 1 } else { 0 };
        Self {
            name,
            task,
            model: has_model,
            place,
            last: width.saturating_sub(fixed),
        }
    }

    fn head(&self) -> String {
        let mut words = format!("   {}{} ", text::pad("STATE", 12), text::pad("NAME", self.name));
        if self.task > 0 {
            words.push_str(&format!("{} ", text::pad("TASK", self.task)));
        }
        if self.model > 0 {
            words.push_str(&format!("{} ", text::pad("MODEL", self.model)));
        }
        words.push_str(&format!("{} {}", text::pad("CTX", 10), text::pad("COST", 9)));
        if self.place > 0 {
            words.push_str(&format!("{} ", text::pad("WORKSPACE", self.place)));
        }
        words + "LAST"
    }
}

fn cost(row: &pb::Session) -> String {
    match (row.cost_known, row.cost_micro_usd) {
        (true, micro) => format::money(Some(micro)),
        (false, 0) => format::money(None),
        (false, micro) => format!("≥{}", format::money(Some(micro))),
    }
}

fn last(row: &pb::Session) -> String {
    match &row.waiting {
        Some(wait) => format!("waiting for input: {}", escape::line(&wait.line)),
        None => escape::line(&row.last_line),
    }
}

fn row_lines(model: &Model, row: &pb::Session, selected: bool, width: u16, each: u16) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let cells = usize::from(width);
    let mark = match (selected, theme.ascii) {
        (true, false) => " ▸ ",
        (true, true) => " > ",
        _ => "   ",
    };
    let name_look = if selected { theme.strong } else { theme.text };
    let state = layout::state(row.state(), theme);
    let look = state_look(model, row.state());
    let name = escape::line(&row.name);
    let bar = layout::context_bar(row, theme.ascii);
    if each == 2 {
        let right = vec![Span::styled(
            format!(
                "{} {} ",
                format::context(row.context_tokens, row.context_window_tokens),
                cost(row)
            ),
            theme.text,
        )];
        let left = vec![
            Span::styled(mark, theme.accent),
            Span::styled(format!("{name} "), name_look),
            Span::styled(state, look),
        ];
        let below = text::cut(&format!("   {}", last(row)), cells);
        return vec![text::between(left, right, cells), text::line(below, theme.dim)];
    }
    let columns = Columns::of(model, width);
    let mut spans = vec![
        Span::styled(mark, theme.accent),
        Span::styled(text::pad(&state, 12), look),
        Span::styled(text::pad(&name, columns.name), name_look),
        Span::raw(" "),
    ];
    if columns.task > 0 {
        spans.push(Span::styled(
            text::pad(&escape::line(&row.task_id), columns.task),
            theme.text,
        ));
        spans.push(Span::raw(" "));
    }
    if columns.model > 0 {
        spans.push(Span::styled(
            text::pad(&escape::line(&row.model), columns.model),
            theme.dim,
        ));
        spans.push(Span::raw(" "));
    }
    spans.push(Span::styled(text::pad(&bar, 10), theme.text));
    spans.push(Span::raw(" "));
    spans.push(Span::styled(text::pad(&cost(row), 9), theme.text));
    if columns.place > 0 {
        spans.push(Span::styled(
            text::pad(&escape::line(&row.workspace), columns.place),
            theme.dim,
        ));
        spans.push(Span::raw(" "));
    }
    spans.push(Span::styled(text::cut(&last(row), columns.last), theme.text));
    vec![Line::from(spans)]
}

/// Why a session rests, and the key that ends that.
fn resting(model: &Model, row: &pb::Session) -> Option<String> {
    use crate::keys::{Action, Context};
    let key = |action| model.keymap.shown(Context::List, action).unwrap_or_default();
    match row.state() {
        pb::SessionState::Paused => {
            let why = match row.pause_reason.as_str() {
                "" => "paused".to_owned(),
                reason => format!("paused: {}", escape::line(reason)),
            };
            Some(format!(" {why} · {} lets it go on", key(Action::Pause)))
        }
        pb::SessionState::Archived => Some(format!(" archived · {} brings it back", key(Action::Archive))),
        pb::SessionState::Deleted => {
            let until = row
                .purge_time
                .map(|at| super::overlay::day_and_clock(model, at.seconds));
            let until = until.map_or_else(String::new, |at| format!(" until {at}"));
            Some(format!(
                " in the trash{until} · {} brings it back",
                key(Action::Archive)
            ))
        }
        _ => None,
    }
}

fn detail(model: &Model, row: &pb::Session, width: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let approval = model
        .approvals
        .iter()
        .find(|one| one.session_id == row.session_id);
    let asks = match approval {
        Some(one) => {
            let decide = model
                .keymap
                .shown(crate::keys::Context::List, crate::keys::Action::Decide)
                .unwrap_or_default();
            let words = format!(
                " ! {} {} · {decide} shows it",
                one.approval_id,
                layout::tool_line(&one.tool, &one.summary)
            );
            text::line(text::cut(&words, width), theme.needs)
        }
        None if resting(model, row).is_some() => {
            let words = resting(model, row).unwrap_or_default();
            text::line(text::cut(&words, width), theme.needs)
        }
        None => {
            let queued = if row.queued_messages > 0 {
                format!(" · {} queued", row.queued_messages)
            } else {
                String::new()
            };
            let model_name = if row.model.is_empty() {
                "no model yet".to_owned()
            } else {
                escape::line(&row.model)
            };
            text::line(
                text::cut(
                    &format!(" {model_name} · {} tok{queued}", format::tokens(row.total_tokens)),
                    width,
                ),
                theme.dim,
            )
        }
    };
    vec![
        text::line("─".repeat(width), theme.rule),
        Line::from(text::clip(
            vec![
                Span::styled(format!(" {}", escape::line(&row.name)), theme.strong),
                Span::styled(
                    format!("  {}  {}", row.session_id, escape::line(&row.workspace)),
                    theme.dim,
                ),
            ],
            width,
        )),
        text::line(text::cut(&format!(" last: {}", last(row)), width), theme.text),
        asks,
    ]
}

/// What can be done before there is any session: the same four lines as everywhere.
fn empty(model: &Model) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let width = usize::from(model.size.0);
    let usable = model
        .models
        .iter()
        .find(|one| one.status == "ready" && !one.name.starts_with("demo"));
    let found: Vec<String> = model
        .models
        .iter()
        .filter(|one| one.status == "found")
        .map(|one| escape::line(&one.name))
        .collect();
    let found = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    let mut lines = vec![Line::default()];
    if model.link != Link::Up {
        lines.push(text::line(" looking for the daemon…", theme.dim));
        return lines;
    }
    let new = model
        .keymap
        .shown(crate::keys::Context::List, crate::keys::Action::New)
        .unwrap_or_default();
    let intro = match usable {
        Some(one) => format!(
            " No session yet. The model is {}. You can:",
            escape::line(&one.name)
        ),
        None => " No model is set up yet. You can already:".to_owned(),
    };
    lines.push(text::line(intro, theme.strong));
    let key = [Span::styled(format!("   {new:<26}"), theme.key)];
    let words = format!(
        "a session in {}: its jailed shell ({}) works without a model",
        escape::line(&model.workspace),
        "Ctrl-]"
    );
    lines.extend(text::wrap(
        &[Span::styled(words, theme.text)],
        width,
        &key,
        &[Span::raw(" ".repeat(if width >= 60 { 29 } else { 4 }))],
    ));
    for (command, what) in [
        (
            "agentctl shell",
            "a jailed shell in this directory (no model needed)",
        ),
        (
            "agentctl run --model demo \"hello\"",
            "scripted demo model, offline, $0",
        ),
        ("agentctl doctor --prove", "show that the jail holds"),
    ] {
        if width >= 76 {
            let lead = [Span::styled(format!("   {command:<34} "), theme.accent)];
            lines.extend(text::wrap(
                &[Span::styled(what.to_owned(), theme.text)],
                width,
                &lead,
                &[Span::raw(" ".repeat(38))],
            ));
        } else {
            lines.push(text::line(
                text::cut(&format!("   {command}"), width),
                theme.accent,
            ));
            lines.push(text::line(text::cut(&format!("     {what}"), width), theme.text));
        }
    }
    if usable.is_none() {
        lines.push(Line::default());
        let words = format!(
            "To use a real model: agentctl auth set <openai|anthropic|…>   (or start Ollama, LM Studio or llama.cpp; found: {found})"
        );
        let lead = [Span::raw(" ")];
        lines.extend(text::wrap(
            &[Span::styled(words, theme.text)],
            width,
            &lead,
            &lead,
        ));
    }
    lines
}

/// Draws the inbox: the questions of all sessions, oldest first. The selected one is below, in full.
pub(crate) fn inbox(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let width = usize::from(area.width);
    if model.approvals.is_empty() {
        let lines = [
            Line::default(),
            text::line(" no approval is open in any session", theme.dim),
        ];
        return put_all(buffer, area, &lines);
    }
    let chosen = model.question().map(|one| one.approval_id.clone());
    let at = model
        .approvals
        .iter()
        .position(|one| Some(&one.approval_id) == chosen.as_ref())
        .unwrap_or(0);
    let from = at.saturating_sub(usize::from(area.height.max(1)) - 1);
    let lines: Vec<Line<'static>> = model
        .approvals
        .iter()
        .enumerate()
        .skip(from)
        .map(|(index, one)| {
            let mark = if index == at {
                if theme.ascii { " > " } else { " ▸ " }
            } else {
                "   "
            };
            let what = layout::tool_line(&one.tool, &one.summary);
            Line::from(text::clip(
                vec![
                    Span::styled(mark, theme.accent),
                    Span::styled(format!("! {}  ", one.approval_id), theme.needs),
                    Span::styled(
                        text::pad(&escape::line(&one.session_name), 16),
                        if index == at { theme.strong } else { theme.text },
                    ),
                    Span::styled(format!(" {what}"), theme.text),
                ],
                width,
            ))
        })
        .collect();
    put_all(buffer, area, &lines);
}
