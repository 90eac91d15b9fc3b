//! Owns: the task board: its columns, or one column as a list where there is less room; a task in full; the two
//! versions of what is in conflict.
//! Guarantees: what the file and the board differ in is shown beside each other, whole and escaped.

use agentd_proto::{escape, format, pb, task as words};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{put, put_all};
use crate::keys::{Action, Context};
use crate::model::Model;
use crate::model::board::COLUMNS;
use crate::text;

/// From this width on the columns stand beside each other.
const WIDE: u16 = 120;
/// Rows of a task in a column.
const CARD: u16 = 2;
/// Rows about the selected task.
const DETAIL: u16 = 4;
/// Problems that are shown at once.
const PROBLEMS: usize = 3;

/// Draws it.
pub(super) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if crate::layout::frame(model).tiny {
        return put_all(buffer, area, &super::status::tiny(model));
    }
    let width = usize::from(area.width);
    let mut top = vec![head(model, width)];
    top.extend(problems(model, width));
    if model
        .board
        .board
        .as_ref()
        .is_some_and(|board| board.files.is_empty())
    {
        top.extend(empty(model, width));
        return put_all(buffer, area, &top);
    }
    let wide = area.width >= WIDE;
    if !wide {
        top.push(chips(model, width));
    }
    put_all(buffer, area, &top);
    let used = u16::try_from(top.len()).unwrap_or(area.height).min(area.height);
    let detail = if area.height >= 16 { DETAIL } else { 0 };
    let body = Rect {
        y: area.y + used,
        height: area.height.saturating_sub(used + detail),
        ..area
    };
    if wide {
        columns(model, body, buffer);
    } else {
        list(model, body, buffer);
    }
    let below = Rect {
        y: body.y + body.height,
        height: detail.min(area.height.saturating_sub(used)),
        ..area
    };
    put_all(buffer, below, &detail_lines(model, width));
}

/// Whose board, and how it stands with its files.
fn head(model: &Model, width: usize) -> Line<'static> {
    let (theme, view) = (&model.theme, &model.board);
    let mut left = vec![
        Span::styled(" Tasks  ", theme.strong),
        Span::styled(escape::line(&view.workspace), theme.dim),
    ];
    match &view.board {
        None => left.push(Span::styled("  reading the board…", theme.dim)),
        Some(board) => {
            let files = escape::line(&board.files.join(", "));
            left.push(Span::styled(format!("  {files} "), theme.text));
            let bad = if theme.ascii { "!" } else { "⚠" };
            if board.conflicts > 0 {
                let count = format::count(u64::from(board.conflicts), "conflict");
                left.push(Span::styled(format!("{bad} {count}"), theme.needs));
            } else if !board.problems.is_empty() {
                left.push(Span::styled(format!("{bad} as it last was"), theme.needs));
            } else if let Some(time) = board.sync_time {
                let good = if theme.ascii { "ok," } else { "✓" };
                let at = super::overlay::clock(model, time.seconds);
                left.push(Span::styled(format!("{good} synced {at}"), theme.ok));
            }
        }
    }
    let filter = if view.filter.is_empty() {
        let key = model.keymap.shown(Context::Board, Action::Filter);
        format!("{} search ", key.unwrap_or_default())
    } else {
        format!("filter: {} ", escape::line(&view.filter))
    };
    text::between(left, vec![Span::styled(filter, theme.dim)], width)
}

/// What a person should look at in the files.
fn problems(model: &Model, width: usize) -> Vec<Line<'static>> {
    let all = model
        .board
        .board
        .as_ref()
        .map_or(&[][..], |board| &board.problems);
    let line = |problem: &pb::BoardProblem| {
        let place = match problem.line {
            0 => problem.path.clone(),
            line => format!("{}:{line}", problem.path),
        };
        let words = escape::line(&format!(" ! {place}: {}", problem.message));
        text::line(text::cut(&words, width), model.theme.bad)
    };
    let mut lines: Vec<Line<'static>> = all.iter().take(PROBLEMS).map(line).collect();
    if all.len() > PROBLEMS {
        let words = format!(
            "   and {} more · agentctl tasks sync lists them",
            all.len() - PROBLEMS
        );
        lines.push(text::line(text::cut(&words, width), model.theme.bad));
    }
    lines
}

fn empty(model: &Model, width: usize) -> Vec<Line<'static>> {
    let key = |action| model.keymap.shown(Context::Board, action).unwrap_or_default();
    let (add, other) = (key(Action::TaskAdd), key(Action::OtherBoard));
    let mut lines = vec![Line::default()];
    for words in [
        format!(" No board yet. {add} writes the first task into docs/TASKS.md."),
        " A table or a list of tasks in docs/TASKS.md or TASKS.md is a board, too.".to_owned(),
        format!(" {other} shows the board of another workspace."),
    ] {
        let span = [Span::styled(words, model.theme.text)];
        lines.extend(text::wrap(&span, width, &[], &[Span::raw(" ")]));
    }
    lines
}

/// The columns with their counts, the one in focus marked.
fn chips(model: &Model, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let mut spans = vec![Span::raw(" ")];
    for (at, state) in COLUMNS.iter().enumerate() {
        let count = model.board.column(at).len();
        let look = match at == model.board.column {
            true => theme.select,
            false if count == 0 => theme.dim,
            false => theme.text,
        };
        spans.push(Span::styled(
            format!("[{count} {}]", words::state_word(*state)),
            look,
        ));
        spans.push(Span::raw(" "));
    }
    Line::from(text::clip(spans, width))
}

fn mark(model: &Model, selected: bool) -> &'static str {
    match (selected, model.theme.ascii) {
        (true, false) => " ▸ ",
        (true, true) => " > ",
        _ => "   ",
    }
}

/// How a task looks in a list: what needs a person stands out.
fn look(model: &Model, task: &pb::Task, selected: bool) -> Style {
    let needs = !task.conflicts.is_empty() || task.sessions.iter().any(|one| one.state == "needs_you");
    match (needs, selected) {
        (true, _) => model.theme.needs,
        (false, true) => model.theme.strong,
        _ => model.theme.text,
    }
}

fn name(task: &pb::Task) -> String {
    let nested = "  ".repeat(usize::try_from(task.depth.min(4)).unwrap_or(0));
    let mark = if task.conflicts.is_empty() { "" } else { "! " };
    escape::line(&format!("{nested}{mark}{} {}", task.task_id, task.title))
}

/// The glyph of a session's state, by its word.
fn glyph(word: &str, ascii: bool) -> &'static str {
    use pb::SessionState as S;
    let states = [
        S::NeedsYou,
        S::Working,
        S::Ready,
        S::Paused,
        S::Failed,
        S::Archived,
        S::Deleted,
    ];
    let word = word.replace('_', " ");
    states
        .into_iter()
        .find(|state| format::state_word(*state) == word)
        .map_or("?", |state| format::state_glyph(state, ascii))
}

/// Priority, owner, sessions, cost: what there is of them.
fn figures(model: &Model, task: &pb::Task) -> String {
    let mut parts = Vec::new();
    if !task.priority.is_empty() {
        parts.push(escape::line(&task.priority));
    }
    if !task.owner.is_empty() {
        parts.push(escape::line(&task.owner));
    }
    if let Some(session) = task.sessions.first() {
        let glyph = glyph(&session.state, model.theme.ascii);
        let word = session.state.replace('_', " ");
        parts.push(match task.sessions.len() {
            1 => format!("{glyph} {word}"),
            count => format!("{glyph} {word}, {count} sessions"),
        });
    } else if let Some(claim) = &task.claim {
        parts.push(escape::line(&format!("claimed by {}", claim.holder)));
    }
    if !task.open_waits.is_empty() {
        parts.push(escape::line(&format!("waits {}", task.open_waits.join(", "))));
    }
    let cost = words::cost(task);
    if !cost.is_empty() {
        parts.push(cost);
    }
    parts.join(" · ")
}

/// One column, a task a row.
fn list(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let tasks = model.board.column(model.board.column);
    if tasks.is_empty() {
        let words = match model.board.board {
            None => "",
            Some(_) => " nothing in this column · ←→ other columns",
        };
        return put(buffer, area, 0, &text::line(words, theme.dim));
    }
    let width = usize::from(area.width);
    // Where a row is too narrow for both, the figures go below.
    let each: u16 = if area.width < 60 { 2 } else { 1 };
    let place = model.board.place();
    let fit = usize::from(area.height / each).max(1);
    let from = place.saturating_sub(fit - 1);
    let mut row = 0;
    for (at, task) in tasks.iter().enumerate().skip(from).take(fit) {
        let selected = at == place;
        let left = vec![
            Span::styled(mark(model, selected), theme.accent),
            Span::styled(name(task), look(model, task, selected)),
        ];
        let figures = figures(model, task);
        if each == 1 {
            let right = text::cut(&figures, width / 2);
            let right = vec![Span::styled(format!("  {right} "), theme.dim)];
            put(buffer, area, row, &text::between(left, right, width));
        } else {
            put(buffer, area, row, &Line::from(text::clip(left, width)));
            let below = text::cut(&format!("   {figures}"), width);
            put(buffer, area, row + 1, &text::line(below, theme.dim));
        }
        row += each;
    }
}

/// All columns beside each other.
fn columns(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let count = u16::try_from(COLUMNS.len()).unwrap_or(1);
    let each = area.width / count;
    for (at, x) in (0..COLUMNS.len()).zip((0..count).map(|at| area.x + at * each)) {
        let here = at == model.board.column;
        let last = at + 1 == COLUMNS.len();
        let outer = if last { area.x + area.width - x } else { each };
        let column = Rect {
            x,
            width: outer.saturating_sub(u16::from(!last) * 2),
            ..area
        };
        let cells = usize::from(column.width);
        let tasks = model.board.column(at);
        let state = COLUMNS.get(at).copied().unwrap_or_default();
        let title = format!(" {} {}", words::state_word(state).to_uppercase(), tasks.len());
        let title_look = if here { theme.accent } else { theme.strong };
        put(
            buffer,
            column,
            0,
            &text::line(text::cut(&title, cells), title_look),
        );
        let rule = if theme.ascii { "-" } else { "─" };
        put(buffer, column, 1, &text::line(rule.repeat(cells), theme.rule));
        let place = if here { model.board.place() } else { 0 };
        let room = column.height.saturating_sub(2);
        let fit = usize::from(room / CARD).max(1);
        let from = place.saturating_sub(fit - 1);
        let mut row = 2;
        for (index, task) in tasks.iter().enumerate().skip(from) {
            if row + CARD > column.height {
                break;
            }
            let selected = here && index == place;
            let left = vec![
                Span::styled(mark(model, selected), theme.accent),
                Span::styled(name(task), look(model, task, selected)),
            ];
            put(buffer, column, row, &Line::from(text::clip(left, cells)));
            let below = text::cut(&format!("   {}", figures(model, task)), cells);
            put(buffer, column, row + 1, &text::line(below, theme.dim));
            row += CARD;
        }
        let hidden = tasks.len().saturating_sub(from + fit);
        if hidden > 0 && column.height > 0 {
            let words = format!("   ↓ {hidden} more");
            put(buffer, column, column.height - 1, &text::line(words, theme.dim));
        }
    }
}

/// About the selected task, under the board.
fn detail_lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let rule = if theme.ascii { "-" } else { "─" };
    let mut lines = vec![text::line(rule.repeat(width), theme.rule)];
    let Some(task) = model.board.task() else {
        return lines;
    };
    lines.push(text::line(
        text::cut(&format!(" {}", name(task)), width),
        theme.strong,
    ));
    let section = if task.section.is_empty() {
        String::new()
    } else {
        format!(" · {}", task.section.join(" › "))
    };
    let place = escape::line(&format!(
        " {}:{}{section} · {}",
        task.path,
        task.line,
        figures(model, task)
    ));
    lines.push(text::line(text::cut(&place, width), theme.dim));
    let last = match (words::last(task), task.notes.as_str()) {
        (last, _) if !last.is_empty() => last,
        (_, notes) => notes.to_owned(),
    };
    let last = escape::line(&format!(" {last}"));
    lines.push(text::line(text::cut(&last, width), theme.text));
    lines
}

/// A task with everything that is known of it, and its history, newest first.
pub(crate) fn task_lines(model: &Model, width: u16) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let Some(answer) = &model.board.detail else {
        return vec![text::line(" reading the task…", theme.dim)];
    };
    let task = answer.task.clone().unwrap_or_default();
    let cells = usize::from(width.min(100));
    let mut lines = Vec::new();
    let mut say = |name: &str, value: &str| {
        if !value.trim().is_empty() {
            let lead = [Span::styled(format!(" {name:<10} "), theme.dim)];
            let rest = [Span::raw(" ".repeat(12))];
            for (at, line) in escape::prose(value).lines().enumerate() {
                let spans = [Span::styled(line.to_owned(), theme.text)];
                let first = if at == 0 { &lead } else { &rest };
                lines.extend(text::wrap(&spans, cells, first, &rest));
            }
        }
    };
    say("task", &format!("{}  {}", task.task_id, task.title));
    say("state", words::state_word(task.state()));
    say("where", &format!("{}:{}", task.path, task.line));
    say("section", &task.section.join(" › "));
    say("priority", &task.priority);
    say("owner", &task.owner);
    say("tags", &task.tags.join(" "));
    say("waits for", &task.waits.join(", "));
    say("not done", &task.open_waits.join(", "));
    say("notes", &task.notes);
    say("cost", &words::cost(&task));
    if let Some(claim) = &task.claim {
        let until = claim
            .expire_time
            .map(|at| super::overlay::clock(model, at.seconds));
        let until = until.map_or_else(String::new, |at| format!(", until {at} unless renewed"));
        say("claimed", &format!("{}{until}", claim.holder));
    }
    for session in &task.sessions {
        let state = session.state.replace('_', " ");
        say(
            "session",
            &format!(
                "{} ({}) {state}: {}",
                session.name, session.session_id, session.last_line
            ),
        );
    }
    for change in answer.history.iter().rev() {
        let at = change
            .change_time
            .map(|at| super::overlay::day_and_clock(model, at.seconds));
        let fields: Vec<String> = change
            .fields
            .iter()
            .map(|one| format!("{} {:?} → {:?}", one.field, one.before, one.after))
            .collect();
        let rest = [fields.join("; "), change.text.clone()];
        let rest: Vec<String> = rest.into_iter().filter(|part| !part.is_empty()).collect();
        let colon = if rest.is_empty() { "" } else { ": " };
        let words = format!("{} by {}{colon}{}", change.what, change.by, rest.join(" · "));
        say(&at.unwrap_or_default(), &words);
    }
    lines
}

/// A field that file and board both changed: the two versions side by side, or one below the other.
pub(super) fn conflict_lines(model: &Model, task_id: &str, field: usize, width: u16) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let Some(conflict) = model
        .board
        .get(task_id)
        .and_then(|task| task.conflicts.get(field))
    else {
        return vec![text::line(" it is settled", theme.dim)];
    };
    let cells = usize::from(width);
    let key = |action| model.keymap.shown(Context::Conflict, action).unwrap_or_default();
    let shown = |value: &str| match value {
        "" => "(nothing)".to_owned(),
        value => escape::block(value),
    };
    let by = escape::line(&conflict.by);
    let at = conflict
        .conflict_time
        .map(|at| super::overlay::clock(model, at.seconds));
    let sides = [
        (
            format!("{} keeps what the file says", key(Action::KeepFile)),
            shown(&conflict.file),
        ),
        (
            format!(
                "{} keeps the board's ({by} {})",
                key(Action::KeepBoard),
                at.unwrap_or_default()
            ),
            shown(&conflict.board),
        ),
    ];
    let span = |words: String, look| [Span::styled(words, look)];
    let lead = [Span::raw(" ")];
    let mut lines = text::wrap(
        &span(format!("both began with: {}", shown(&conflict.base)), theme.dim),
        cells,
        &lead,
        &lead,
    );
    lines.push(Line::default());
    let [(left_title, left), (right_title, right)] = sides;
    if cells >= 60 {
        let half = cells / 2 - 1;
        let column = |title: String, value: String| {
            let mut column = vec![text::line(text::cut(&format!(" {title}"), half), theme.accent)];
            column.extend(text::wrap(&span(value, theme.text), half, &lead, &lead));
            column
        };
        let (left, right) = (column(left_title, left), column(right_title, right));
        let bar = if theme.ascii { "|" } else { "│" };
        for row in 0..left.len().max(right.len()) {
            let mut spans = left.get(row).map(|line| line.spans.clone()).unwrap_or_default();
            let used: usize = spans.iter().map(|span| text::width(&span.content)).sum();
            spans.push(Span::raw(" ".repeat(half.saturating_sub(used))));
            spans.push(Span::styled(bar, theme.rule));
            spans.extend(right.get(row).map(|line| line.spans.clone()).unwrap_or_default());
            lines.push(Line::from(text::clip(spans, cells)));
        }
    } else {
        for (title, value) in [(left_title, left), (right_title, right)] {
            lines.push(text::line(text::cut(&format!(" {title}"), cells), theme.accent));
            lines.extend(text::wrap(&span(value, theme.text), cells, &lead, &lead));
        }
    }
    lines.push(Line::default());
    let words = format!(
        " {} writes it anew · ↑↓ other fields · Esc decides later",
        key(Action::KeepOther)
    );
    lines.push(text::line(text::cut(&words, cells), theme.dim));
    lines
}
