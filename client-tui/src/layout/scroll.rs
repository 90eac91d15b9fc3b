//! Owns: which lines of the transcript are on the screen, and moving through them.
//! Guarantees: only what is looked at is laid out; the place of a reader is an item and a line of it, so
//! that neither new output nor another size moves it.

use std::rc::Rc;

use ratatui::text::Line;

use super::{block, block_id, block_index, blocks};
use crate::model::Model;
use crate::model::session::{OpenSession, Scroll};

/// The first line on the screen: block index and line.
pub(crate) fn top(model: &Model, open: &OpenSession, width: u16, height: u16) -> (usize, usize) {
    let end = bottom(model, open, width, height);
    match open.scroll {
        Scroll::Follow => end,
        Scroll::At { block: id, line } => {
            let index = block_index(open, id);
            // Folding an item can leave the place behind the end.
            (
                index,
                line.min(block(model, open, index, width).len().saturating_sub(1)),
            )
                .min(end)
        }
    }
}

/// The first line when the last line is at the bottom.
fn bottom(model: &Model, open: &OpenSession, width: u16, height: u16) -> (usize, usize) {
    let mut room = usize::from(height);
    for index in (0..blocks(open)).rev() {
        let lines = block(model, open, index, width).len();
        if lines >= room {
            return (index, lines - room);
        }
        room -= lines;
    }
    (0, 0)
}

/// One line of the transcript and the block it is from.
pub(crate) type Row = (u64, Rc<Vec<Line<'static>>>, usize);

/// The lines on the screen.
pub(crate) fn visible(model: &Model, open: &OpenSession, width: u16, height: u16) -> Vec<Row> {
    let (mut index, mut line) = top(model, open, width, height);
    let mut rows = Vec::new();
    while rows.len() < usize::from(height) && index < blocks(open) {
        let lines = block(model, open, index, width);
        let id = block_id(open, index);
        while line < lines.len() && rows.len() < usize::from(height) {
            rows.push((id, Rc::clone(&lines), line));
            line += 1;
        }
        index += 1;
        line = 0;
    }
    rows
}

/// Where looking `delta` lines further down (up when negative) leads.
pub(crate) fn scroll_by(model: &Model, open: &OpenSession, width: u16, height: u16, delta: i64) -> Scroll {
    let end = bottom(model, open, width, height);
    let (mut index, mut line) = top(model, open, width, height);
    let mut left = delta.unsigned_abs();
    while left > 0 {
        if delta > 0 {
            if (index, line) >= end {
                break;
            }
            line += 1;
            if line >= block(model, open, index, width).len() {
                index += 1;
                line = 0;
            }
        } else if line > 0 {
            line -= 1;
        } else if index > 0 {
            index -= 1;
            line = block(model, open, index, width).len().saturating_sub(1);
        } else {
            break;
        }
        left -= 1;
    }
    if (index, line) >= end && delta > 0 {
        Scroll::Follow
    } else {
        Scroll::At {
            block: block_id(open, index),
            line,
        }
    }
}

/// The block `delta` items further down than the selected one.
pub(crate) fn select_by(open: &OpenSession, delta: i64) -> Option<u64> {
    let count = open.transcript.items().len();
    let last = count.checked_sub(1)?;
    let now = open.selected.map_or(last, |id| block_index(open, id).min(last));
    let step = usize::try_from(delta.unsigned_abs()).unwrap_or(usize::MAX);
    let next = if delta < 0 {
        now.saturating_sub(step)
    } else {
        now.saturating_add(step).min(last)
    };
    Some(block_id(open, next))
}
