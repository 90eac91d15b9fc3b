//! Owns: fitting text into terminal cells: width, cutting and wrapping by grapheme.
//! Guarantees: no produced line is wider than asked (one grapheme wider than the line is dropped); one
//! width table for everything that is drawn.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr;

/// Cells between two tab stops.
const TAB: usize = 4;

/// One grapheme with its width and look.
#[derive(Debug, Clone, Copy)]
struct Cell<'a> {
    symbol: &'a str,
    width: usize,
    style: Style,
}

/// The graphemes of a text. Of plain ASCII, as most is, each byte is one: that needs no tables.
fn graphemes(text: &str) -> impl Iterator<Item = &str> {
    let plain = text.is_ascii() && !text.contains('\r');
    let mut others = (!plain).then(|| text.graphemes(true));
    let mut rest = text;
    std::iter::from_fn(move || match &mut others {
        Some(graphemes) => graphemes.next(),
        None => {
            let (first, more) = rest.split_at_checked(1)?;
            rest = more;
            Some(first)
        }
    })
}

/// Cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.len();
    }
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The text in at most `max` cells; a cut is marked.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    if max == 0 {
        return String::new();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = grapheme.width();
        if used + wide > max - 1 {
            break;
        }
        used += wide;
        out.push_str(grapheme);
    }
    out.push('…');
    out
}

/// Exactly `cells` wide: cut or filled with blanks.
pub(crate) fn pad(text: &str, cells: usize) -> String {
    let mut out = cut(text, cells);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', cells.saturating_sub(used)));
    out
}

/// A line of one look.
pub(crate) fn line(text: impl Into<String>, style: Style) -> Line<'static> {
    Line::from(Span::styled(text.into(), style))
}

/// Cells of a line.
#[cfg(test)]
pub(crate) fn line_width(line: &Line<'_>) -> usize {
    line.spans.iter().map(|span| width(&span.content)).sum()
}

/// Left and right in one row of exactly `cells`; the left gives way.
pub(crate) fn between(left: Vec<Span<'static>>, right: Vec<Span<'static>>, cells: usize) -> Line<'static> {
    let right_width: usize = right.iter().map(|span| width(&span.content)).sum();
    let room = cells.saturating_sub(right_width + usize::from(right_width > 0));
    let mut spans = clip(left, room);
    let used: usize = spans.iter().map(|span| width(&span.content)).sum();
    spans.push(Span::raw(" ".repeat(cells.saturating_sub(used + right_width))));
    spans.extend(right);
    Line::from(clip(spans, cells))
}

/// Spans in at most `max` cells.
pub(crate) fn clip(spans: Vec<Span<'static>>, max: usize) -> Vec<Span<'static>> {
    let total: usize = spans.iter().map(|span| width(&span.content)).sum();
    if total <= max {
        return spans;
    }
    let mut out = Vec::new();
    let mut left = max;
    for span in spans {
        let wide = width(&span.content);
        if wide < left {
            left -= wide;
            out.push(span);
            continue;
        }
        // Something follows or this is too long: the cut is marked here.
        out.push(Span::styled(
            cut(&format!("{}  ", span.content), left),
            span.style,
        ));
        break;
    }
    out
}

/// Breaks styled text into lines of at most `cells`; `first` and `rest` are put in front of the lines.
pub(crate) fn wrap(
    spans: &[Span<'static>],
    cells: usize,
    first: &[Span<'static>],
    rest: &[Span<'static>],
) -> Vec<Line<'static>> {
    let lead = |spans: &[Span<'static>]| spans.iter().map(|span| width(&span.content)).sum::<usize>();
    let mut lines = Vec::new();
    for row in rows(spans) {
        let mut row = row.as_slice();
        loop {
            let front = if lines.is_empty() { first } else { rest };
            // Where the lead alone fills the line, the text is worth more.
            let front = if lead(front) + 2 > cells { &[] } else { front };
            let room = cells.saturating_sub(lead(front)).max(1);
            let (head, tail) = break_row(row, room);
            let mut out: Vec<Span<'static>> = front.to_vec();
            out.extend(join(head, room));
            lines.push(Line::from(out));
            row = tail;
            if row.is_empty() {
                break;
            }
        }
    }
    lines
}

/// Plain text of one look, wrapped.
pub(crate) fn wrap_text(text: &str, style: Style, cells: usize) -> Vec<Line<'static>> {
    wrap(&[Span::styled(text.to_owned(), style)], cells, &[], &[])
}

/// The rows between line feeds, as cells.
fn rows<'a>(spans: &'a [Span<'static>]) -> Vec<Vec<Cell<'a>>> {
    let mut rows = vec![Vec::new()];
    let mut column = 0;
    for span in spans {
        for symbol in graphemes(&span.content) {
            let style = span.style;
            if symbol == "\n" || symbol == "\r\n" {
                rows.push(Vec::new());
                column = 0;
                continue;
            }
            let Some(row) = rows.last_mut() else { continue };
            if symbol == "\t" {
                let cells = TAB - column % TAB;
                column += cells;
                row.extend(std::iter::repeat_n(
                    Cell {
                        symbol: " ",
                        width: 1,
                        style,
                    },
                    cells,
                ));
                continue;
            }
            let width = symbol.width();
            column += width;
            row.push(Cell { symbol, width, style });
        }
    }
    rows
}

/// The cells that fit into `room`, and the rest without the blanks at the break.
fn break_row<'r, 'a>(row: &'r [Cell<'a>], room: usize) -> (&'r [Cell<'a>], &'r [Cell<'a>]) {
    let mut used = 0;
    let mut opportunity = None;
    for (at, cell) in row.iter().enumerate() {
        if used + cell.width > room {
            if cell.symbol == " " {
                return split(row, at);
            }
            let at = opportunity.unwrap_or(at.max(1));
            return split(row, at);
        }
        used += cell.width;
        let wide = cell.width == 2 && row.get(at + 1).is_none_or(|next| !is_closing(next.symbol));
        if wide || matches!(cell.symbol, " " | "-" | "/") {
            opportunity = Some(at + 1);
        }
    }
    (row, &[])
}

fn split<'r, 'a>(row: &'r [Cell<'a>], at: usize) -> (&'r [Cell<'a>], &'r [Cell<'a>]) {
    let (head, mut tail) = row.split_at(at.min(row.len()));
    while let Some((cell, rest)) = tail.split_first()
        && cell.symbol == " "
    {
        tail = rest;
    }
    (head, tail)
}

/// Characters that may not begin a line.
fn is_closing(symbol: &str) -> bool {
    matches!(
        symbol,
        "、" | "。"
            | "，"
            | "．"
            | "）"
            | "」"
            | "』"
            | "】"
            | "！"
            | "？"
            | "："
            | "；"
            | ")"
            | "."
            | ","
    )
}

/// Cells as spans, neighbours of one look together.
fn join(cells: &[Cell<'_>], room: usize) -> Vec<Span<'static>> {
    let mut out: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for cell in cells {
        if used + cell.width > room {
            continue;
        }
        used += cell.width;
        match out.last_mut() {
            Some(last) if last.style == cell.style => last.content.to_mut().push_str(cell.symbol),
            _ => out.push(Span::styled(cell.symbol.to_owned(), cell.style)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str, cells: usize) -> Vec<String> {
        wrap_text(text, Style::default(), cells)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn words_stay_whole_and_wide_text_breaks_anywhere() {
        assert_eq!(plain("one two three", 8), ["one two ", "three"]);
        assert_eq!(plain("日本語テキスト。", 8), ["日本語テ", "キスト。"]);
        assert_eq!(plain("a\n\nb", 8), ["a", "", "b"]);
        assert_eq!(plain("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    }

    #[test]
    fn cuts_are_marked_and_never_split_a_grapheme() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(width(&pad("👩‍👩‍👧 x", 10)), 10);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked(text in "\\PC*", cells in 2_usize..40) {
            for line in wrap_text(&text, Style::default(), cells) {
                prop_assert!(line_width(&line) <= cells);
            }
            prop_assert!(width(&cut(&text, cells)) <= cells);
            prop_assert_eq!(width(&pad(&text, cells)), cells);
        }
    }
}
