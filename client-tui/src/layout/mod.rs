//! Owns: where things are: the regions of the screen and the lines of the transcript in them.
//! Guarantees: pure functions of the model (lines are remembered, never different for it); the action row
//! of a question is placed before anything else.

mod frame;
mod items;
mod markdown;
mod question;
mod scroll;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use agentd_proto::pb;
use agentd_proto::transcript::{Item, Kind};
use ratatui::text::Line;

use crate::model::Model;
use crate::model::session::{OpenSession, Preview};
use crate::theme::Theme;

pub(crate) use frame::{Frame, composer_lines, context_bar, frame};
pub(crate) use items::{change_line, exec_word, tool_line};
pub(crate) use question::{form, question};
pub(crate) use scroll::{scroll_by, select_by, visible};

/// Block of the answer being made.
pub(crate) const PREVIEW: u64 = u64::MAX;
/// Most blocks remembered.
const REMEMBERED: usize = 2_000;
/// Widest text that is pleasant to read.
pub(crate) const MEASURE: u16 = 110;

/// Lines laid out before.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    blocks: HashMap<u64, (u64, Rc<Vec<Line<'static>>>)>,
    preview: markdown::Growing,
}

impl Cache {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What lines depend on beside the item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) width: usize,
    pub(crate) theme: &'a Theme,
    pub(crate) zone: &'a jiff::tz::TimeZone,
    pub(crate) expanded: bool,
    /// Of what commands wrote, only lines that look like failures.
    pub(crate) errors_only: bool,
    /// The key that opens the raw shell.
    pub(crate) shell: &'a str,
}

/// The blocks of the transcript: its items, then the answer being made.
pub(crate) fn blocks(open: &OpenSession) -> usize {
    open.transcript.items().len() + usize::from(preview_shown(open))
}

/// The stable name of a block.
pub(crate) fn block_id(open: &OpenSession, index: usize) -> u64 {
    open.transcript.get(index).map_or(PREVIEW, |item| item.seq)
}

/// Where a block is, or the nearest after it.
pub(crate) fn block_index(open: &OpenSession, id: u64) -> usize {
    open.transcript.items().partition_point(|item| item.seq < id)
}

fn preview_shown(open: &OpenSession) -> bool {
    open.preview.as_ref().is_some_and(|preview| {
        !(preview.text.is_empty() && preview.reasoning.is_empty() && preview.tool_call.is_empty())
    })
}

/// The lines of a block.
pub(crate) fn block(model: &Model, open: &OpenSession, index: usize, width: u16) -> Rc<Vec<Line<'static>>> {
    let width = usize::from(width);
    let Some(item) = open.transcript.get(index) else {
        return open
            .preview
            .as_ref()
            .map_or_else(Rc::default, |preview| preview_lines(model, open, preview, width));
    };
    let before = index.checked_sub(1).and_then(|index| open.transcript.get(index));
    let shell = model.keymap.all(crate::keys::Action::Shell);
    let look = Look {
        width,
        theme: &model.theme,
        zone: &model.zone,
        expanded: open.expanded.contains(&item.seq),
        errors_only: open.errors_only,
        shell: &shell,
    };
    // What runs changes with every byte and second; remembering it would only cost.
    if is_running(item) {
        return Rc::new(items::lines(item, before, open, &look, model.wall));
    }
    let stamp = stamp(item, open, &look);
    if let Some((known, lines)) = open.cache.borrow().blocks.get(&item.seq)
        && *known == stamp
    {
        return Rc::clone(lines);
    }
    let lines = Rc::new(items::lines(item, before, open, &look, model.wall));
    let mut cache = open.cache.borrow_mut();
    if cache.blocks.len() >= REMEMBERED {
        cache.blocks.clear();
    }
    cache.blocks.insert(item.seq, (stamp, Rc::clone(&lines)));
    lines
}

fn is_running(item: &Item) -> bool {
    matches!(
        &item.kind,
        Kind::Tool { end: None, .. } | Kind::Exec { result: None, .. }
    )
}

fn stamp(item: &Item, open: &OpenSession, look: &Look<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (look.width, look.theme.name, look.expanded, look.errors_only).hash(&mut hasher);
    match &item.kind {
        Kind::Tool { exec_id, .. } | Kind::Exec { exec_id, .. } => {
            open.outputs
                .get(exec_id)
                .map(|output| output.bytes)
                .hash(&mut hasher);
        }
        Kind::You { text, stage, .. } => (text, stage.word()).hash(&mut hasher),
        Kind::Approval(approval) => approval.decision.hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

fn preview_lines(
    model: &Model,
    open: &OpenSession,
    preview: &Preview,
    width: usize,
) -> Rc<Vec<Line<'static>>> {
    let theme = &model.theme;
    let call = (!preview.tool_call.is_empty()).then(|| {
        let call = agentd_proto::escape::line(&preview.tool_call);
        crate::text::line(crate::text::cut(&format!(" … {call}"), width), theme.dim)
    });
    if !preview.text.is_empty() {
        return open.cache.borrow_mut().preview.lines(preview, width, theme, call);
    }
    let mut lines = vec![Line::default()];
    if !preview.reasoning.is_empty() {
        lines.push(crate::text::line(" thinking", theme.dim));
        let text = agentd_proto::escape::prose(&preview.reasoning);
        let all = crate::text::wrap_text(&text, theme.dim, width.saturating_sub(3));
        let skip = all.len().saturating_sub(4);
        lines.extend(items::indent(all.into_iter().skip(skip).collect(), "   "));
    }
    lines.extend(call);
    Rc::new(lines)
}

/// Inline mode: the lines of the items that came to their end and are not in the scrollback yet, and the
/// last of these items. What follows an unfinished item waits for it.
pub(crate) fn settled(model: &Model, width: u16) -> Option<(u64, Vec<Line<'static>>)> {
    let open = model.open.as_ref()?;
    let mut lines = Vec::new();
    let mut last = None;
    let from = open
        .transcript
        .items()
        .partition_point(|item| item.seq <= model.printed);
    for (item, index) in open.transcript.items().iter().skip(from).zip(from..) {
        let waits = match &item.kind {
            Kind::Approval(approval) => approval.decision() == pb::ApprovalDecision::Unspecified,
            // A raw shell may stay open for days: what is said meanwhile does not wait for it.
            Kind::Exec { exec_id, .. } if open.pty.as_ref() == Some(exec_id) => false,
            _ => is_running(item),
        };
        if waits {
            break;
        }
        lines.extend(block(model, open, index, width).iter().cloned());
        last = Some(item.seq);
    }
    last.map(|seq| (seq, lines))
}

/// The state's glyph and word.
pub(crate) fn state(state: pb::SessionState, theme: &Theme) -> String {
    use agentd_proto::format;
    format!(
        "{} {}",
        format::state_glyph(state, theme.ascii),
        format::state_word(state)
    )
}
