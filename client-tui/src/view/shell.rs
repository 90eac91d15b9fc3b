//! Owns: drawing the raw shell's emulated terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};

use super::put;
use crate::model::Model;
use crate::text;

/// Draws it; gives where its cursor is.
pub(crate) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let shell = model.shell.as_ref()?;
    if shell.exec_id.is_empty() {
        put(
            buffer,
            area,
            0,
            &text::line(" opening a shell in the jail…", model.theme.dim),
        );
        return None;
    }
    let screen = shell.screen();
    let colours = model.theme.name != "mono" && model.theme.name != "ascii";
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let cursor = screen.cursor_position();
    // Of a terminal that is larger than the place for it, the part with the cursor is shown.
    let from_row = (cursor.0 + 1)
        .saturating_sub(area.height)
        .min(rows.saturating_sub(area.height));
    let from_column = (cursor.1 + 1)
        .saturating_sub(area.width)
        .min(columns.saturating_sub(area.width));
    for row in 0..area.height.min(rows) {
        for column in 0..area.width.min(columns) {
            let Some(cell) = screen.cell(from_row + row, from_column + column) else {
                continue;
            };
            let Some(target) = buffer.cell_mut((area.x + column, area.y + row)) else {
                continue;
            };
            if cell.is_wide_continuation() {
                continue;
            }
            let contents = cell.contents();
            // The emulator keeps control characters out of its cells; what is not visible is a blank, and so is
            // half a wide character at the edge.
            let cut = cell.is_wide() && column + 1 >= area.width.min(columns);
            let blank = cut || contents.is_empty() || contents.chars().any(char::is_control);
            target.set_symbol(if blank { " " } else { contents });
            target.set_style(style(cell, colours));
        }
    }
    letter_box(model, area, (columns, rows), buffer);
    let place = Position::new(
        area.x + cursor.1.saturating_sub(from_column),
        area.y + cursor.0.saturating_sub(from_row),
    );
    (!screen.hide_cursor()).then_some(place)
}

/// The edge of a terminal that another client made smaller than the place for it.
fn letter_box(model: &Model, area: Rect, (columns, rows): (u16, u16), buffer: &mut Buffer) {
    let ascii = model.theme.ascii;
    let (side, below, corner) = if ascii {
        ("|", "-", "+")
    } else {
        ("│", "─", "┘")
    };
    let mut put = |column: u16, row: u16, glyph: &str| {
        if column < area.width
            && row < area.height
            && let Some(cell) = buffer.cell_mut((area.x + column, area.y + row))
        {
            cell.set_symbol(glyph);
            cell.set_style(model.theme.rule);
        }
    };
    for row in 0..rows.min(area.height) {
        put(columns, row, side);
    }
    for column in 0..columns.min(area.width) {
        put(column, rows, below);
    }
    put(columns, rows, corner);
}

/// Whose size the terminal has, where it is not this program's: `pty 120x40 (web)`.
pub(super) fn label(model: &Model) -> Option<String> {
    let shell = model.shell.as_ref().filter(|_| model.shell_focus)?;
    let other = model.other_input()?;
    let (columns, rows) = shell.size;
    let client = agentd_proto::escape::line(&other.client);
    Some(format!("pty {columns}x{rows} ({client}) · typing takes it"))
}

fn style(cell: &vt100::Cell, colours: bool) -> Style {
    let mut style = Style::default();
    if colours {
        style = style.fg(colour(cell.fgcolor())).bg(colour(cell.bgcolor()));
    }
    for (set, modifier) in [
        (cell.bold(), Modifier::BOLD),
        (cell.italic(), Modifier::ITALIC),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
        (cell.dim(), Modifier::DIM),
    ] {
        if set {
            style = style.add_modifier(modifier);
        }
    }
    style
}

fn colour(colour: vt100::Color) -> Color {
    match colour {
        vt100::Color::Default => Color::Reset,
        vt100::Color::Idx(index) => Color::Indexed(index),
        vt100::Color::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    }
}
