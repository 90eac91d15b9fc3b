//! Owns: tables. Aligned and cut to the terminal for people, tab-separated and whole for programs.
//! Guarantees: a table never wraps; a cut is marked with `…`; wide characters line up.

use agentd_proto::escape;
use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

use super::{Look, Out};
use crate::args::Format;
use crate::exit::Failure;

/// Blanks between columns.
const GAP: usize = 2;

/// A column: its title, how long it stays when room is short (higher stays longer), and the width down to
/// which it may be cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) keep: u8,
    pub(crate) least: usize,
}

/// A column that is shown whole or not at all.
pub(crate) const fn fixed(title: &'static str, keep: u8) -> Column {
    Column {
        title,
        keep,
        least: usize::MAX,
    }
}

/// A column that may be cut.
pub(crate) const fn flexible(title: &'static str, keep: u8, least: usize) -> Column {
    Column { title, keep, least }
}

/// Prints rows in the table or plain form. Cells are untrusted.
pub(crate) fn print(out: &Out, columns: &[Column], rows: &[Vec<String>]) -> Result<(), Failure> {
    let lines = if out.format == Format::Table {
        layout(columns, rows, &out.fields, out.header, out.width)
    } else {
        plain(columns, rows, &out.fields, out.header)
    };
    for (index, line) in lines.iter().enumerate() {
        if index == 0 && out.header && out.format == Format::Table {
            out.line(&out.paint(Look::Bold, line))?;
        } else {
            out.line(line)?;
        }
    }
    Ok(())
}

fn chosen(columns: &[Column], fields: &[String]) -> Vec<usize> {
    if fields.is_empty() {
        return (0..columns.len()).collect();
    }
    fields
        .iter()
        .filter_map(|field| {
            columns
                .iter()
                .position(|column| column.title.eq_ignore_ascii_case(field))
        })
        .collect()
}

fn plain(columns: &[Column], rows: &[Vec<String>], fields: &[String], header: bool) -> Vec<String> {
    let chosen = chosen(columns, fields);
    let titles = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect::<Vec<_>>();
    let head = header.then_some(&titles).into_iter();
    head.chain(rows)
        .map(|row| {
            let cells: Vec<String> = chosen
                .iter()
                .map(|index| escape::line(row.get(*index).map_or("", String::as_str)))
                .collect();
            cells.join("\t")
        })
        .collect()
}

fn layout(
    columns: &[Column],
    rows: &[Vec<String>],
    fields: &[String],
    header: bool,
    width: usize,
) -> Vec<String> {
    let mut shown: Vec<Shown> = chosen(columns, fields)
        .into_iter()
        .filter_map(|index| {
            let column = *columns.get(index)?;
            let cells: Vec<String> = rows
                .iter()
                .map(|row| escape::line(row.get(index).map_or("", String::as_str)))
                .collect();
            let head = if header { column.title.width() } else { 0 };
            let width = cells.iter().map(|cell| cell.width()).max().unwrap_or(0).max(head);
            Some(Shown { column, cells, width })
        })
        .collect();
    fit(&mut shown, width);
    let mut lines = Vec::new();
    if header {
        lines.push(join(shown.iter().map(|one| (one.column.title, one.width))));
    }
    for row in 0..rows.len() {
        lines.push(join(
            shown
                .iter()
                .map(|one| (one.cells.get(row).map_or("", String::as_str), one.width)),
        ));
    }
    lines
}

struct Shown {
    column: Column,
    cells: Vec<String>,
    width: usize,
}

/// Cuts what may be cut, the least important first; then drops columns, the least important first.
fn fit(shown: &mut Vec<Shown>, width: usize) {
    let total = |shown: &[Shown]| -> usize {
        shown.iter().map(|one| one.width).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    loop {
        let excess = total(shown).saturating_sub(width);
        if excess == 0 {
            return;
        }
        let victim = shown
            .iter_mut()
            .filter(|one| one.width > one.column.least)
            .min_by_key(|one| one.column.keep);
        if let Some(one) = victim {
            one.width = one.width.saturating_sub(excess).max(one.column.least);
            continue;
        }
        let Some(index) = (0..shown.len()).min_by_key(|index| shown.get(*index).map(|one| one.column.keep))
        else {
            return;
        };
        if shown.len() == 1 {
            if let Some(one) = shown.get_mut(index) {
                one.width = width;
            }
            return;
        }
        shown.remove(index);
    }
}

fn join<'a>(cells: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut line = String::new();
    let mut pending = 0;
    for (text, width) in cells {
        let text = cut(text, width);
        line.push_str(&" ".repeat(pending));
        pending = width.saturating_sub(text.width()) + GAP;
        line.push_str(&text);
    }
    line
}

/// At most so many cells; `…` marks a cut.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let cells = c.width().unwrap_or(0);
        if used + cells + 1 > width {
            break;
        }
        used += cells;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        fixed("ID", 9),
        fixed("STATE", 8),
        flexible("NAME", 7, 8),
        fixed("COST", 2),
        flexible("LAST", 3, 10),
    ];

    fn row(name: &str, last: &str) -> Vec<String> {
        ["s-7k2f9q", "! needs you", name, "$0.84", last]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn wide_names_fit_and_line_up() {
        let rows = [
            row(&"漢字".repeat(30), "wants: npm publish"),
            row("build", &"x".repeat(200)),
        ];
        let lines = layout(COLUMNS, &rows, &[], true, 80);
        for line in &lines {
            assert!(line.width() <= 80, "{line} {}", line.width());
        }
        let at = |line: &str| line.find("$0.84").map(|i| line.split_at(i).0.width());
        assert_eq!(at(&lines[1]), at(&lines[2]));
    }

    #[test]
    fn columns_go_by_importance() {
        let rows = [row("a-rather-long-session-name", "something")];
        let lines = layout(COLUMNS, &rows, &[], true, 32);
        assert!(
            lines[0].starts_with("ID") && lines[0].contains("NAME") && !lines[0].contains("COST"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.width() <= 32));
        assert!(lines[1].ends_with('…'));
    }

    #[test]
    fn plain_is_whole_and_hostile_cells_stay_one_line() {
        let rows = [row(&"n".repeat(300), "a\tb\nc\u{1b}[31m")];
        let lines = plain(COLUMNS, &rows, &[], true);
        assert_eq!(lines[0], "ID\tSTATE\tNAME\tCOST\tLAST");
        assert_eq!(lines[1].matches('\t').count(), 4);
        assert!(lines[1].contains(&"n".repeat(300)) && lines[1].ends_with("a\\tb\\nc\\x1b[31m"));
    }
}
