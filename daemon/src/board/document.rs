//! Owns: reading a Markdown file as a board: which tables and lists are boards, and where each task's pieces stand.
//! Guarantees: every range is a byte range of the text as given, from the Markdown library's own offsets; tables and
//! lists that are no board yield nothing; reading never fails.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::item::{self, ItemHead};
use super::table::{Columns, id_of_cell, unescape};
use super::waits;
use crate::domain::task::{Fields, Form, Problem, TaskId, TaskState};

/// A file read as a board.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The tasks, in the file's order.
    pub entries: Vec<Entry>,
    /// The tables that are boards.
    pub tables: Vec<Table>,
    /// What a person should look at. `fatal` ones mean that the file can't be trusted as it is.
    pub problems: Vec<(Problem, bool)>,
    /// The headings, as paths; entries point into it.
    pub sections: Vec<Vec<String>>,
}

/// A table that is a board.
#[derive(Debug, Clone)]
pub struct Table {
    /// What its columns mean.
    pub columns: Columns,
    /// All of it, header included.
    pub range: Range<usize>,
}

/// A task as it stands in the file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// From 1.
    pub line: u32,
    /// As written; `None`: it has none.
    pub id: Option<TaskId>,
    /// What can be changed.
    pub fields: Fields,
    /// Tasks it waits for.
    pub waits: Vec<TaskId>,
    /// `P`, `US1`.
    pub tags: Vec<String>,
    /// Index into [`Document::sections`].
    pub section: usize,
    /// Nesting, from 0.
    pub depth: u32,
    /// Where its pieces are.
    pub place: Place,
}

/// Where the pieces of a task are.
#[derive(Debug, Clone)]
pub enum Place {
    /// A row: its line, and the bytes between its pipes, padding included.
    Row {
        /// Index into [`Document::tables`].
        table: usize,
        /// The line with its end.
        row: Range<usize>,
        /// As many as the header has; where the row is too short, empty ranges at its end.
        cells: Vec<Range<usize>>,
    },
    /// An item of a list.
    Item(Box<ItemPlace>),
}

/// Where the pieces of an item are.
#[derive(Debug, Clone)]
pub struct ItemPlace {
    /// The line's head, in pieces.
    pub head: ItemHead,
    /// All of the item.
    pub range: Range<usize>,
    /// Where a note is inserted: behind the head and the notes that are there, before nested tasks.
    pub notes_end: usize,
    /// Spaces before a note's bullet.
    pub indent: String,
}

impl Entry {
    /// Row or item.
    pub fn form(&self) -> Form {
        match self.place {
            Place::Row { .. } => Form::Row,
            Place::Item(_) => Form::Item,
        }
    }
}

impl Document {
    /// Reads `text`, the content of the file `path`.
    pub fn read(path: &str, text: &str) -> Self {
        let mut reader = Reader::new(path, text);
        reader.merge_markers();
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            reader.take(event, range);
        }
        reader.finish()
    }

    /// The first problem that makes the file unfit.
    pub fn broken(&self) -> Option<&Problem> {
        self.problems
            .iter()
            .find(|(_, fatal)| *fatal)
            .map(|(problem, _)| problem)
    }
}

/// The text of a range; empty when it is none of this text.
pub(super) fn at(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

struct OpenTable {
    range: Range<usize>,
    header: Vec<Range<usize>>,
    rows: Vec<(Range<usize>, Vec<Range<usize>>)>,
}

struct OpenItem {
    range: Range<usize>,
    /// End of its first paragraph: where its first child block begins.
    head_end: Option<usize>,
    /// Plain sub-items and paragraphs.
    notes: Vec<Range<usize>>,
    /// Index of its entry, once it is known to be a task.
    entry: Option<usize>,
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    lines: Vec<usize>,
    document: Document,
    headings: Vec<(usize, String)>,
    heading: Option<(usize, usize)>,
    section: usize,
    table: Option<OpenTable>,
    cells: Vec<Range<usize>>,
    items: Vec<OpenItem>,
    /// In a code block or paragraph: pipes in paragraphs may be a table that went wrong.
    paragraph: Option<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a str, text: &'a str) -> Self {
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Self {
            path,
            text,
            lines,
            document: Document {
                sections: vec![Vec::new()],
                ..Document::default()
            },
            headings: Vec::new(),
            heading: None,
            section: 0,
            table: None,
            cells: Vec::new(),
            items: Vec::new(),
            paragraph: None,
        }
    }

    fn line(&self, offset: usize) -> u32 {
        let number = self.lines.partition_point(|start| *start <= offset);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn problem(&mut self, line: u32, code: &str, fatal: bool, message: String) {
        self.document.problems.push((
            Problem {
                path: self.path.to_owned(),
                line,
                code: code.to_owned(),
                message,
            },
            fatal,
        ));
    }

    /// Lines that git leaves behind where two branches changed the same place.
    fn merge_markers(&mut self) {
        if !self.text.contains("<<<<<<< ") {
            return;
        }
        let found = self
            .text
            .lines()
            .enumerate()
            .find(|(_, line)| line.starts_with("<<<<<<< "))
            .map(|(number, _)| number);
        let closed = self.text.lines().any(|line| line.starts_with(">>>>>>> "));
        if let (Some(number), true) = (found, closed) {
            let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let message = "a git merge left a conflict here: settle it in the file first".to_owned();
            self.problem(line, "merge_conflict", true, message);
        }
    }

    fn take(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => self.heading = Some((level as usize, range.start)),
            Event::End(TagEnd::Heading(_)) => self.end_heading(range),
            Event::Start(Tag::Table(_)) => {
                self.child_block(range.start);
                self.table = Some(OpenTable {
                    range,
                    header: Vec::new(),
                    rows: Vec::new(),
                });
            }
            Event::Start(Tag::TableHead | Tag::TableRow) => self.cells.clear(),
            Event::Start(Tag::TableCell) => self.cells.push(range),
            Event::End(TagEnd::TableHead) => {
                let cells = std::mem::take(&mut self.cells);
                if let Some(table) = &mut self.table {
                    table.header = cells;
                }
            }
            Event::End(TagEnd::TableRow) => {
                let cells = std::mem::take(&mut self.cells);
                if let Some(table) = &mut self.table {
                    table.rows.push((range, cells));
                }
            }
            Event::End(TagEnd::Table) => {
                if let Some(table) = self.table.take() {
                    self.end_table(table);
                }
            }
            Event::Start(Tag::List(_) | Tag::CodeBlock(_) | Tag::BlockQuote(_) | Tag::HtmlBlock) => {
                self.child_block(range.start);
            }
            Event::Start(Tag::Item) => self.items.push(OpenItem {
                range,
                head_end: None,
                notes: Vec::new(),
                entry: None,
            }),
            Event::End(TagEnd::Item) => self.end_item(),
            Event::Start(Tag::Paragraph) => self.paragraph = Some(range),
            Event::End(TagEnd::Paragraph) => {
                self.paragraph = None;
                self.end_paragraph(range);
            }
            _ => {}
        }
    }

    fn end_heading(&mut self, range: Range<usize>) {
        let Some((level, start)) = self.heading.take() else {
            return;
        };
        let words = at(self.text, start..range.end)
            .trim()
            .trim_start_matches('#')
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .trim_end_matches('#')
            .trim_end()
            .to_owned();
        self.headings.retain(|(above, _)| *above < level);
        self.headings.push((level, words));
        self.section = self.document.sections.len();
        let path = self.headings.iter().map(|(_, words)| words.clone()).collect();
        self.document.sections.push(path);
    }

    /// A block begins inside the innermost item: its first paragraph is over. A task is known as soon as its
    /// head is: its children come after it in the file's order.
    fn child_block(&mut self, start: usize) {
        if let Some(item) = self.items.last_mut()
            && item.head_end.is_none()
        {
            item.head_end = Some(start);
            self.begin_task();
        }
    }

    fn end_paragraph(&mut self, range: Range<usize>) {
        if self.items.is_empty() {
            self.lost_table(range);
            return;
        }
        if let Some(item) = self.items.last_mut() {
            if item.head_end.is_none() {
                item.head_end = Some(range.end);
                self.begin_task();
            } else {
                item.notes.push(range);
            }
        }
    }

    /// Makes the entry of the innermost item, when its head is that of a task.
    fn begin_task(&mut self) {
        let Some(open) = self.items.last() else { return };
        let head_end = open.head_end.unwrap_or(open.range.end);
        let Some(head) = item::head(self.text, open.range.start..head_end) else {
            return;
        };
        let depth = self
            .items
            .iter()
            .rev()
            .skip(1)
            .filter(|above| above.entry.is_some())
            .count();
        let line_start = self
            .lines
            .get((self.line(open.range.start) as usize).saturating_sub(1))
            .copied()
            .unwrap_or(open.range.start);
        let before = at(self.text, line_start..open.range.start);
        let mut indent: String = before
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        indent.push_str(&" ".repeat(head.bullet_width));
        let title = at(self.text, head.title.clone());
        let entry = Entry {
            line: self.line(open.range.start),
            id: head
                .id
                .as_ref()
                .and_then(|id| at(self.text, id.clone()).parse().ok()),
            fields: Fields {
                title: item::one_line(title),
                status: head.state,
                priority: head
                    .priority
                    .as_ref()
                    .map(|(inner, _)| at(self.text, inner.clone()).to_owned())
                    .unwrap_or_default(),
                owner: head
                    .owner
                    .as_ref()
                    .map(|(inner, _)| at(self.text, inner.clone()).to_owned())
                    .unwrap_or_default(),
                notes: String::new(),
            },
            waits: Vec::new(),
            tags: head
                .tags
                .iter()
                .map(|tag| at(self.text, tag.clone()).to_owned())
                .collect(),
            section: self.section,
            depth: u32::try_from(depth).unwrap_or(u32::MAX),
            place: Place::Item(Box::new(ItemPlace {
                range: open.range.clone(),
                notes_end: item::line_end(self.text, head.all.end),
                indent,
                head,
            })),
        };
        let index = self.document.entries.len();
        self.document.entries.push(entry);
        if let Some(open) = self.items.last_mut() {
            open.entry = Some(index);
        }
    }

    fn end_item(&mut self) {
        if let Some(open) = self.items.last()
            && open.head_end.is_none()
        {
            self.begin_task();
        }
        let Some(open) = self.items.pop() else { return };
        let Some(index) = open.entry else {
            // A plain point below a task is a note of it.
            if let Some(above) = self.items.last_mut() {
                above.notes.push(open.range);
            }
            return;
        };
        let text = self.text;
        if let Some(entry) = self.document.entries.get_mut(index)
            && let Place::Item(place) = &mut entry.place
        {
            let notes: Vec<String> = open
                .notes
                .iter()
                .map(|range| item::note(at(text, range.clone())))
                .collect();
            entry.fields.notes = notes.join("\n");
            if let Some(last) = open.notes.last() {
                let end = last.start + at(text, last.clone()).trim_end().len();
                place.notes_end = place.notes_end.max(item::line_end(text, end));
            }
            entry.waits = waits::of(&entry.fields.title);
            waits::merge(&mut entry.waits, waits::of(&entry.fields.notes));
        }
    }

    fn end_table(&mut self, table: OpenTable) {
        let header: Vec<&str> = table
            .header
            .iter()
            .map(|cell| at(self.text, cell.clone()))
            .collect();
        let Some(columns) = Columns::of(&header) else {
            return;
        };
        let text = self.text;
        let cell = |cells: &[Range<usize>], column: Option<usize>| {
            column
                .and_then(|index| cells.get(index))
                .map(|range| at(text, range.clone()).trim())
                .unwrap_or_default()
        };
        // An index of decisions or services has such columns too; its states are other words.
        let (mut known, mut unknown) = (0usize, 0usize);
        for (_, cells) in &table.rows {
            let words = cell(cells, Some(columns.status));
            if TaskState::read(words).is_some() {
                known += 1;
            } else if !words.is_empty() {
                unknown += 1;
            }
        }
        if unknown > known {
            return;
        }
        let index = self.document.tables.len();
        let width = table.header.len();
        for (row, cells) in table.rows {
            if cells
                .iter()
                .all(|range| at(self.text, range.clone()).trim().is_empty())
            {
                continue;
            }
            let line = self.line(row.start);
            let words = cell(&cells, Some(columns.status));
            let state = TaskState::read(words);
            if state.is_none() && !words.is_empty() {
                let message =
                    format!("'{words}' is no status: use Todo, In Progress, Blocked, Review or Done");
                self.problem(line, "unknown_status", false, message);
            }
            let pipes = super::table::pipes(at(self.text, row.clone()));
            if pipes > width + 1 {
                let message =
                    format!("the row has more cells than the header's {width}; a | in text is written \\|");
                self.problem(line, "extra_cells", false, message);
            }
            let id_text = cell(&cells, columns.id);
            let id = id_of_cell(id_text);
            if id.is_none() && !id_text.is_empty() {
                let message = format!("'{}' is no task id", crate::domain::session::clip(id_text, 60));
                self.problem(line, "bad_id", false, message);
            }
            let notes = unescape(cell(&cells, columns.notes));
            let title = unescape(cell(&cells, Some(columns.title)));
            let mut waiting = waits::list(cell(&cells, columns.waits));
            waits::merge(&mut waiting, waits::of(&notes));
            waits::merge(&mut waiting, waits::of(&title));
            self.document.entries.push(Entry {
                line,
                id,
                fields: Fields {
                    title,
                    status: state.unwrap_or(TaskState::Todo),
                    priority: unescape(cell(&cells, columns.priority)),
                    owner: unescape(cell(&cells, columns.owner)),
                    notes,
                },
                waits: waiting,
                tags: Vec::new(),
                section: self.section,
                depth: 0,
                place: Place::Row {
                    table: index,
                    row,
                    cells,
                },
            });
        }
        self.document.tables.push(Table {
            columns,
            range: table.range,
        });
    }

    /// A header of a board that Markdown does not take for a table: its second line is wrong or missing.
    fn lost_table(&mut self, range: Range<usize>) {
        let text = at(self.text, range.clone());
        if !text.contains('|') {
            return;
        }
        let mut offset = range.start;
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for (index, line) in lines.iter().enumerate() {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
            if line.trim_start().starts_with('|')
                && cells.len() >= 3
                && Columns::of(&cells).is_some_and(|columns| columns.id.is_some())
            {
                let below = lines.get(index + 1).map(|next| next.trim()).unwrap_or_default();
                let dashes =
                    below.contains('-') && below.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t'));
                let found = below.trim_matches('|').split('|').count();
                let message = if dashes {
                    format!(
                        "the table is malformed: its header has {} cells, the line of dashes below {found}",
                        cells.len()
                    )
                } else {
                    "the table is malformed: below its header a line such as |---|---|---| is missing"
                        .to_owned()
                };
                let line = self.line(offset);
                self.problem(line, "malformed_table", true, message);
            }
            offset += line.len();
        }
    }

    fn finish(mut self) -> Document {
        self.weak_ids();
        self.duplicates();
        self.document
    }

    /// `UTF-8 everywhere` begins with what looks like an id. Ids without a colon behind them count when the
    /// file has at least two of their kind.
    fn weak_ids(&mut self) {
        let mut kinds: HashMap<String, u32> = HashMap::new();
        for entry in &self.document.entries {
            if let Some(id) = &entry.id {
                *kinds.entry(id.stem().0.to_owned()).or_default() += 1;
            }
        }
        let text = self.text;
        for entry in &mut self.document.entries {
            let Place::Item(place) = &mut entry.place else {
                continue;
            };
            let single = entry
                .id
                .as_ref()
                .is_some_and(|id| kinds.get(id.stem().0).copied().unwrap_or(0) < 2);
            if place.head.weak_id && single {
                place.head.forget_id();
                entry.id = None;
                entry.fields.title = item::one_line(at(text, place.head.title.clone()));
            }
        }
    }

    fn duplicates(&mut self) {
        let mut seen: HashMap<TaskId, (u32, u32)> = HashMap::new();
        let mut found = Vec::new();
        for entry in &mut self.document.entries {
            let Some(id) = &entry.id else { continue };
            let (first, count) = seen.entry(id.clone()).or_insert((entry.line, 0));
            *count += 1;
            if *count > 1 {
                let own = format!("{id}#{count}").parse().ok();
                found.push((
                    entry.line,
                    format!(
                        "the id {id} is taken by line {first}; this one goes by {id}#{count} until it has its own"
                    ),
                ));
                entry.id = own;
            }
        }
        for (line, message) in found {
            self.problem(line, "duplicate_id", false, message);
        }
    }
}
