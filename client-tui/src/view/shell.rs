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
    for row in 0..area.height {
        for column in 0..area.width {
            let Some(cell) = screen.cell(row, column) else {
                continue;
            };
            let Some(target) = buffer.cell_mut((area.x + column, area.y + row)) else {
                continue;
            };
            if cell.is_wide_continuation() {
                continue;
            }
            let contents = cell.contents();
            // The emulator keeps control characters out of its cells; what is not visible is a blank.
            let blank = contents.is_empty() || contents.chars().any(char::is_control);
            target.set_symbol(if blank { " " } else { contents });
            target.set_style(style(cell, colours));
        }
    }
    let (row, column) = screen.cursor_position();
    (!screen.hide_cursor()).then(|| Position::new(area.x + column, area.y + row))
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
