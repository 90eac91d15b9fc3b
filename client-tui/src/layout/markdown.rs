//! Owns: the model's Markdown as styled lines, also while it is still being written.
//! Guarantees: an open fence is already code; nothing in it can steer the terminal; finished blocks of a
//! growing text, and the lines of a long paragraph, are laid out once.

use std::rc::Rc;

use agentd_proto::escape;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::model::session::Preview;
use crate::text;
use crate::theme::Theme;

/// A text that grows: its lines, and how far they are final.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    step: (String, u32),
    width: usize,
    theme: &'static str,
    /// Bytes of the text whose lines stay.
    settled: usize,
    /// All lines of the last look, below an empty one.
    lines: Rc<Vec<Line<'static>>>,
    /// How many of them stay.
    kept: usize,
}

/// A paragraph longer than this, bytes, is settled up to its last line.
const LONG: usize = 1024;

impl Growing {
    /// An empty line, the lines of the answer so far, and what comes `below` them.
    pub(crate) fn lines(
        &mut self,
        preview: &Preview,
        width: usize,
        theme: &Theme,
        below: Option<Line<'static>>,
    ) -> Rc<Vec<Line<'static>>> {
        let whole = preview.text.as_str();
        let same = self.step.0 == preview.turn_id && self.step.1 == preview.step;
        if !same || self.width != width || self.theme != theme.name || self.settled > whole.len() {
            *self = Self {
                step: (preview.turn_id.clone(), preview.step),
                width,
                theme: theme.name,
                lines: Rc::new(vec![Line::default()]),
                kept: 1,
                ..Self::default()
            };
        }
        // Nobody else has them any more: the last frame is drawn.
        let lines = Rc::make_mut(&mut self.lines);
        lines.truncate(self.kept);
        let mut rest = whole.get(self.settled..).unwrap_or_default();
        let finished = settled(rest);
        if finished > 0 {
            let (part, more) = rest.split_at(finished);
            lines.extend(render(part, width, theme));
            lines.push(Line::default());
            (self.settled, self.kept) = (self.settled + finished, lines.len());
            rest = more;
        }
        let mut open = render(rest, width, theme);
        let final_bytes = if rest.len() > LONG {
            wrapped(rest, &open)
        } else {
            0
        };
        if final_bytes > 0 {
            let last = open.pop();
            lines.append(&mut open);
            (self.settled, self.kept) = (self.settled + final_bytes, lines.len());
            open.extend(last);
        }
        lines.extend(open);
        lines.extend(below);
        Rc::clone(&self.lines)
    }
}

/// Bytes of a plain paragraph that is being written whose lines, all but the last, stay as they are. 0 where it may
/// still become something else.
fn wrapped(text: &str, lines: &[Line<'static>]) -> usize {
    let marks = |line: &str| line.starts_with(|c: char| "-+=#>: \t".contains(c) || c.is_ascii_digit());
    if text.contains(['*', '_', '`', '[', '<', '|', '\\', '&', '~', '\r']) || text.lines().any(marks) {
        return 0;
    }
    let Some((last, _)) = lines.split_last() else {
        return 0;
    };
    let last = last.to_string();
    match text.trim_end().strip_suffix(last.trim()) {
        Some(before) if !last.trim().is_empty() && !marks(last.trim()) => before.len(),
        _ => 0,
    }
}

/// Bytes up to the last empty line that is not inside a fence.
fn settled(text: &str) -> usize {
    let (mut at, mut end, mut fenced) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        at += line.len();
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        } else if !fenced && line.ends_with('\n') && line.trim().is_empty() {
            end = at;
        }
    }
    end
}

/// Lines of finished Markdown, each at most `width` wide, indented by one.
pub(crate) fn render(markdown: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let clean = escape::prose(markdown);
    let mut page = Page {
        theme,
        width: width.max(4),
        lines: Vec::new(),
        spans: Vec::new(),
        styles: vec![theme.text],
        lists: Vec::new(),
        marker: None,
        quotes: 0,
        code: None,
        table: Vec::new(),
        link: None,
    };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&clean, options) {
        page.event(event);
    }
    page.flush();
    while page
        .lines
        .last()
        .is_some_and(|line| line.spans.iter().all(|span| span.content.trim().is_empty()))
    {
        page.lines.pop();
    }
    page.lines
}

struct Page<'a> {
    theme: &'a Theme,
    width: usize,
    lines: Vec<Line<'static>>,
    spans: Vec<Span<'static>>,
    styles: Vec<Style>,
    /// Next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    marker: Option<String>,
    quotes: usize,
    /// Text of the open code block.
    code: Option<String>,
    table: Vec<Vec<String>>,
    link: Option<String>,
}

impl Page<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => {
                let style = self.theme.code;
                if let Some(cell) = self.cell() {
                    cell.push_str(&text);
                } else {
                    self.spans.push(Span::styled(text.into_string(), style));
                }
            }
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.flush();
                self.lines.push(text::line(
                    format!(" {}", "─".repeat(self.width.min(24) - 2)),
                    self.theme.rule,
                ));
                self.gap();
            }
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
            _ => {}
        }
    }

    fn style(&self) -> Style {
        self.styles.last().copied().unwrap_or_default()
    }

    fn cell(&mut self) -> Option<&mut String> {
        self.table.last_mut()?.last_mut()
    }

    fn text(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            code.push_str(text);
        } else if let Some(cell) = self.cell() {
            cell.push_str(text);
        } else {
            let style = self.style();
            self.spans.push(Span::styled(text.to_owned(), style));
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        use ratatui::style::Modifier;
        match tag {
            Tag::Heading { .. } => {
                self.flush();
                self.styles.push(self.theme.heading);
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.quotes += 1;
                self.styles.push(self.theme.dim);
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                if let CodeBlockKind::Fenced(info) = kind
                    && !info.is_empty()
                {
                    let label = text::cut(&format!("{}┌ {info}", self.indent()), self.width);
                    self.lines.push(text::line(label, self.theme.rule));
                }
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ if self.theme.ascii => "- ".to_owned(),
                    _ => "• ".to_owned(),
                };
                self.marker = Some(marker);
            }
            Tag::Emphasis => self.styles.push(self.style().add_modifier(Modifier::ITALIC)),
            Tag::Strong => self.styles.push(self.style().add_modifier(Modifier::BOLD)),
            Tag::Strikethrough => self.styles.push(self.style().add_modifier(Modifier::CROSSED_OUT)),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.link = Some(dest_url.into_string());
                self.styles.push(self.theme.link);
            }
            Tag::Table(_) => self.flush(),
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::TableCell => {
                if let Some(row) = self.table.last_mut() {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => {
                self.flush();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            TagEnd::Heading(_) => {
                self.flush();
                self.styles.pop();
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
                self.styles.pop();
                self.gap();
            }
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                self.code_lines(&code);
                self.gap();
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            TagEnd::Item => self.flush(),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.styles.pop();
                let shown: String = self
                    .spans
                    .last()
                    .map(|span| span.content.to_string())
                    .unwrap_or_default();
                // What a link says and where it leads may differ: both are shown.
                if let Some(url) = self.link.take().filter(|url| *url != shown && !url.is_empty()) {
                    let style = self.theme.dim;
                    self.spans.push(Span::styled(format!(" ({url})"), style));
                }
            }
            TagEnd::Table => {
                let table = std::mem::take(&mut self.table);
                self.table_lines(&table);
                self.gap();
            }
            _ => {}
        }
    }

    fn indent(&self) -> String {
        let depth = self.lists.len() + usize::from(self.marker.is_none() && !self.lists.is_empty());
        format!(" {}", "  ".repeat(depth.saturating_sub(1)))
    }

    /// Writes what was collected as lines.
    fn flush(&mut self) {
        if let Some(code) = self.code.take() {
            self.code_lines(&code);
        }
        if !self.table.is_empty() {
            let table = std::mem::take(&mut self.table);
            self.table_lines(&table);
        }
        let spans = std::mem::take(&mut self.spans);
        if spans.is_empty() {
            return;
        }
        let quote = "│ ".repeat(self.quotes);
        let marker = self.marker.take();
        let depth = self.lists.len().saturating_sub(1);
        let base = format!(" {}{quote}", "  ".repeat(depth));
        let (first, rest) = match marker {
            Some(marker) => {
                let blank = " ".repeat(text::width(&marker));
                (format!("{base}{marker}"), format!("{base}{blank}"))
            }
            None if !self.lists.is_empty() => (format!("{base}  "), format!("{base}  ")),
            None => (base.clone(), base),
        };
        let look = self.theme.dim;
        self.lines.extend(text::wrap(
            &spans,
            self.width,
            &[Span::styled(first, look)],
            &[Span::styled(rest, look)],
        ));
    }

    fn gap(&mut self) {
        if self.lines.last().is_some_and(|line| !line.spans.is_empty()) {
            self.lines.push(Line::default());
        }
    }

    fn code_lines(&mut self, code: &str) {
        let gutter = [Span::styled(format!("{}│ ", self.indent()), self.theme.rule)];
        for line in code.strip_suffix('\n').unwrap_or(code).split('\n') {
            let spans = [Span::styled(line.to_owned(), self.theme.code)];
            self.lines
                .extend(text::wrap(&spans, self.width, &gutter, &gutter));
        }
    }

    fn table_lines(&mut self, table: &[Vec<String>]) {
        let columns = table.iter().map(Vec::len).max().unwrap_or(0);
        if columns == 0 {
            return;
        }
        let room = self.width.saturating_sub(1 + 3 * (columns - 1)).max(columns);
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| {
                table
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| text::width(cell))
                    .max()
                    .unwrap_or(0)
                    .max(1)
            })
            .collect();
        // The widest column gives way until all fit.
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max() else {
                break;
            };
            if *widest <= 1 {
                break;
            }
            *widest -= 1;
        }
        for (number, row) in table.iter().enumerate() {
            let style = if number == 0 {
                self.theme.heading
            } else {
                self.theme.text
            };
            let mut spans = vec![Span::raw(" ")];
            for (column, cells) in widths.iter().enumerate() {
                if column > 0 {
                    spans.push(Span::styled(" │ ", self.theme.rule));
                }
                let cell = row
                    .get(column)
                    .map(String::as_str)
                    .unwrap_or_default()
                    .replace('\n', " ");
                spans.push(Span::styled(text::pad(&cell, *cells), style));
            }
            self.lines.push(Line::from(text::clip(spans, self.width)));
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|cells| "─".repeat(*cells)).collect();
                let rule = text::cut(&format!(" {}", rules.join("─┼─")), self.width);
                self.lines.push(text::line(rule, self.theme.rule));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn theme() -> Theme {
        crate::theme::by_name("dark").unwrap()
    }

    fn shown(markdown: &str, width: usize) -> Vec<String> {
        render(markdown, width, &theme())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn blocks_have_their_form() {
        let text = "# Title\n\nSome *words* and `code`.\n\n- one\n- two\n  1. deep\n\n> quoted\n\n```rust\nfn main() {}\n```\n";
        assert_eq!(
            shown(text, 40),
            [
                " Title",
                " Some words and code.",
                "",
                " • one",
                " • two",
                "   1. deep",
                "",
                " │ quoted",
                "",
                " ┌ rust",
                " │ fn main() {}"
            ]
        );
    }

    #[test]
    fn an_open_fence_is_already_code() {
        assert_eq!(
            shown("See:\n\n```sh\ncargo test", 40),
            [" See:", "", " ┌ sh", " │ cargo test"]
        );
    }

    #[test]
    fn a_table_fits() {
        let table = "| a | bb |\n|---|---|\n| 日本 | long words here |\n";
        assert_eq!(
            shown(table, 18),
            [" a    │ bb        ", " ─────┼───────────", " 日本 │ long word…"]
        );
    }

    #[test]
    fn a_link_shows_where_it_leads() {
        assert_eq!(
            shown("[docs](https://evil.example)", 60),
            [" docs (https://evil.example)"]
        );
    }

    #[test]
    fn a_long_paragraph_looks_the_same_however_it_came() {
        let mut growing = Growing::default();
        let mut preview = Preview::default();
        for n in 0..900 {
            let word = match n % 50 {
                7 => "2. ".to_owned(),
                20 => "- dash ".to_owned(),
                30 => format!("wörd-{n}\n"),
                _ => format!("word{n} "),
            };
            preview.text.push_str(&word);
            let lines = growing.lines(&preview, 60, &theme(), None);
            if n % 100 == 99 {
                let grown: Vec<String> = lines.iter().skip(1).map(ToString::to_string).collect();
                assert_eq!(grown, shown(&preview.text, 60), "after {n}");
            }
        }
        assert!(
            growing.settled > preview.text.len() - 2 * LONG,
            "{} bytes stay",
            growing.settled
        );
    }

    proptest! {
        #[test]
        fn growing_gives_the_same_width_and_never_panics(text in "(?s)[-#>`*| a日\n0-9.\\[\\]()]{0,200}", width in 4_usize..60) {
            let mut growing = Growing::default();
            let mut preview = Preview::default();
            for c in text.chars() {
                preview.text.push(c);
                for line in growing.lines(&preview, width, &theme(), None).iter() {
                    prop_assert!(text::line_width(line) <= width, "{:?}", line);
                }
            }
        }
    }
}
