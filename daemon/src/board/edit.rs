//! Owns: changing tasks in a file's text.
//! Guarantees: only the bytes of the changed pieces differ; the result is read again, and handed out only when it
//! says what was wanted and everything else says what it said before.

use std::ops::Range;

use super::document::{Document, Entry, ItemPlace, Place, at};
use super::item::{self, mark_of, priority_word};
use super::table::{clean, escape};
use crate::domain::task::{Field, Fields, TaskId, TaskState};

/// Why a change can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The table has no such column.
    #[error("the table has no column for the {}: add one to the file by hand", .0.word())]
    NoColumn(Field),
    /// Text that can't stand there.
    #[error("{0}")]
    Refused(String),
    /// What was written would be read as something else.
    #[error("the {} '{}' would read back as something else in this place", .0.word(), .1)]
    Unreadable(Field, String),
}

/// A wish for one task of a [`Document`].
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// New texts of fields.
    pub set: Vec<(Field, String)>,
    /// A note to add to those that are there.
    pub note: Option<String>,
    /// An id to write into the file.
    pub id: Option<TaskId>,
}

type Splice = (Range<usize>, String);

/// The text with a wish granted for the entry `index`, and as what it reads back.
pub fn edit(
    path: &str,
    text: &str,
    document: &Document,
    index: usize,
    wish: &Wish,
) -> Result<(String, Document), EditError> {
    let Some(entry) = document.entries.get(index) else {
        return Err(EditError::Refused("the task is no longer in the file".into()));
    };
    let mut want = entry.fields.clone();
    let mut splices: Vec<Splice> = Vec::new();
    for (field, value) in &wish.set {
        let value = clean(value);
        if *field == Field::Title && value.is_empty() {
            return Err(EditError::Refused("a task needs a title".into()));
        }
        if !want.set(*field, &value) {
            return Err(EditError::Refused(format!(
                "'{value}' is no status: use Todo, In Progress, Blocked, Review or Done"
            )));
        }
        if entry.fields.get(*field) != want.get(*field) {
            splices.extend(set(text, document, entry, *field, &value, want.status)?);
        }
    }
    if let Some(note) = wish.note.as_deref().map(clean).filter(|note| !note.is_empty()) {
        splices.push(add_note(text, document, entry, &note, &mut want)?);
    }
    if let Some(id) = &wish.id {
        splices.push(write_id(text, document, entry, id)?);
    }
    let edited = splice(text, splices);
    let id = wish.id.as_ref().or(entry.id.as_ref());
    let after = check(path, document, &edited, index, id, &want)?;
    Ok((edited, after))
}

pub(super) fn newline_of(text: &str, offset: usize) -> &'static str {
    let before = at(text, 0..offset);
    let line = before
        .strip_suffix('\n')
        .or_else(|| before.rfind('\n').map(|end| at(before, 0..end)));
    if line.is_some_and(|line| line.ends_with('\r')) {
        "\r\n"
    } else {
        "\n"
    }
}

pub(super) fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(text.len() + 256);
    let mut from = 0;
    for (range, new) in splices {
        out.push_str(at(text, from..range.start.max(from)));
        out.push_str(&new);
        from = range.end.max(from);
    }
    out.push_str(at(text, from..text.len()));
    out
}

fn set(
    text: &str,
    document: &Document,
    entry: &Entry,
    field: Field,
    value: &str,
    status: TaskState,
) -> Result<Vec<Splice>, EditError> {
    match &entry.place {
        Place::Row { table, row, cells } => {
            let column = column(document, *table, field)?;
            let spelled = match field {
                Field::Status => spelling(text, document, *table, status),
                _ => escape(value),
            };
            Ok(vec![cell(text, row, cells, column, &spelled)])
        }
        Place::Item(place) => set_item(text, document, place, field, value, status),
    }
}

fn column(document: &Document, table: usize, field: Field) -> Result<usize, EditError> {
    let columns = document.tables.get(table).map(|table| &table.columns);
    columns
        .and_then(|columns| match field {
            Field::Title => Some(columns.title),
            Field::Status => Some(columns.status),
            Field::Priority => columns.priority,
            Field::Owner => columns.owner,
            Field::Notes => columns.notes,
        })
        .ok_or(EditError::NoColumn(field))
}

/// A state as the table itself spells it.
pub(super) fn spelling(text: &str, document: &Document, table: usize, status: TaskState) -> String {
    let Some(column) = document.tables.get(table).map(|table| table.columns.status) else {
        return status.title().to_owned();
    };
    let mut lower = None;
    for entry in &document.entries {
        let Place::Row {
            table: own, cells, ..
        } = &entry.place
        else {
            continue;
        };
        let Some(range) = cells.get(column).filter(|_| *own == table) else {
            continue;
        };
        let words = at(text, range.clone()).trim();
        if words.is_empty() {
            continue;
        }
        if entry.fields.status == status && TaskState::read(words) == Some(status) {
            return words.to_owned();
        }
        lower.get_or_insert(words);
    }
    // None has it yet: the way the others are written.
    match lower {
        Some(words) if words.chars().all(|c| !c.is_uppercase()) && words.is_ascii() => {
            let separator = ['_', '-']
                .into_iter()
                .find(|c| words.contains(*c))
                .unwrap_or(if words.contains(' ') { ' ' } else { '_' });
            status.word().replace('_', &separator.to_string())
        }
        _ => status.title().to_owned(),
    }
}

/// Puts text into a cell, keeping its width where it can.
fn cell(text: &str, row: &Range<usize>, cells: &[Range<usize>], column: usize, new: &str) -> Splice {
    let source = at(text, row.clone());
    let end = row.start + source.trim_end().len();
    if let Some(range) = cells
        .get(column)
        .filter(|range| range.end <= end && range.start < end)
    {
        let old = at(text, range.clone());
        return (range.clone(), padded(old, new));
    }
    // The row stops short of the column: the cells in between come along, empty.
    let missing = cells
        .iter()
        .position(|range| range.start >= end)
        .unwrap_or(column);
    let closed = source.trim_end().ends_with('|') && !source.trim_end().ends_with("\\|");
    let mut out = String::new();
    for index in missing..=column {
        let words = if index == column { new } else { "" };
        if closed {
            out.push_str(&format!(" {words} |"));
        } else {
            out.push_str(&format!(" | {words}"));
        }
    }
    (end..end, out)
}

pub(super) fn padded(old: &str, new: &str) -> String {
    let width = old.chars().count();
    let tight = !old.is_empty() && !old.starts_with([' ', '\t']);
    let open = !old.is_empty() && !old.ends_with([' ', '\t']);
    let mut out = String::new();
    if !tight {
        out.push(' ');
    }
    out.push_str(new);
    if !open {
        out.push(' ');
        while out.chars().count() < width {
            out.push(' ');
        }
    }
    out
}

fn set_item(
    text: &str,
    document: &Document,
    place: &ItemPlace,
    field: Field,
    value: &str,
    status: TaskState,
) -> Result<Vec<Splice>, EditError> {
    let head = &place.head;
    let end = head.all.end;
    let append = |words: String| vec![(end..end, words)];
    Ok(match field {
        Field::Title => vec![(head.title.clone(), value.to_owned())],
        Field::Status => {
            let mut splices = vec![(head.mark.clone(), mark(text, document, status).to_string())];
            if let Some((open, close)) = head.strike.clone().filter(|_| status != TaskState::Done) {
                splices.push((open, String::new()));
                splices.push((close, String::new()));
            }
            splices
        }
        Field::Owner => {
            let name: String = value
                .trim_start_matches('@')
                .split_whitespace()
                .collect::<Vec<_>>()
                .join("-");
            match &head.owner {
                Some((_, whole)) if name.is_empty() => vec![(whole.clone(), String::new())],
                Some((inner, _)) => vec![(inner.clone(), name)],
                None => append(format!(" @{name}")),
            }
        }
        Field::Priority if !value.is_empty() && !priority_word(value) => {
            return Err(EditError::Refused(format!(
                "'{value}' can't stand in a list: use P0 to P4, Critical, High, Medium or Low"
            )));
        }
        Field::Priority => match &head.priority {
            Some((_, whole)) if value.is_empty() => vec![(whole.clone(), String::new())],
            Some((inner, _)) => vec![(inner.clone(), value.to_owned())],
            None => append(format!(" ({value})")),
        },
        Field::Notes => {
            return Err(EditError::Refused(
                "the notes of a list item are its sub-points: add one with a note, edit them in the file"
                    .into(),
            ));
        }
    })
}

/// The mark of a state, as the file itself writes it.
pub(super) fn mark(text: &str, document: &Document, status: TaskState) -> char {
    document
        .entries
        .iter()
        .find_map(|entry| match &entry.place {
            Place::Item(place) if place.head.strike.is_none() => {
                let mark = at(text, place.head.mark.clone()).chars().next()?;
                // `-` and `>` say more than their state.
                (item::state_of(mark) == Some(status) && !matches!(mark, '-' | '>')).then_some(mark)
            }
            _ => None,
        })
        .unwrap_or_else(|| mark_of(status))
}

fn add_note(
    text: &str,
    document: &Document,
    entry: &Entry,
    note: &str,
    want: &mut Fields,
) -> Result<Splice, EditError> {
    match &entry.place {
        Place::Row { table, row, cells } => {
            let column = column(document, *table, Field::Notes)?;
            want.notes = if want.notes.is_empty() {
                note.to_owned()
            } else {
                format!("{}; {note}", want.notes)
            };
            Ok(cell(text, row, cells, column, &escape(&want.notes)))
        }
        Place::Item(place) => {
            let end = place.notes_end;
            if !want.notes.is_empty() {
                want.notes.push('\n');
            }
            want.notes.push_str(note);
            let newline = if at(text, end..text.len()).starts_with('\r') || newline_of(text, end) == "\r\n" {
                "\r\n"
            } else {
                "\n"
            };
            Ok((end..end, format!("{newline}{}- {note}", place.indent)))
        }
    }
}

fn write_id(text: &str, document: &Document, entry: &Entry, id: &TaskId) -> Result<Splice, EditError> {
    if document.entries.iter().any(|other| other.id.as_ref() == Some(id)) {
        return Err(EditError::Refused(format!("the id {id} is taken")));
    }
    match &entry.place {
        Place::Row { table, row, cells } => {
            let column = document
                .tables
                .get(*table)
                .and_then(|table| table.columns.id)
                .ok_or_else(|| EditError::Refused("the table has no column for ids".into()))?;
            Ok(cell(text, row, cells, column, id.as_str()))
        }
        Place::Item(place) => match &place.head.id {
            Some(range) => Ok((range.clone(), id.as_str().to_owned())),
            None => Ok((place.head.title.start..place.head.title.start, format!("{id}: "))),
        },
    }
}

/// The edited text, read again: it says what was wanted, and everything else what it said before.
fn check(
    path: &str,
    before: &Document,
    edited: &str,
    index: usize,
    id: Option<&TaskId>,
    want: &Fields,
) -> Result<Document, EditError> {
    let after = Document::read(path, edited);
    let Some(now) = after.entries.get(index) else {
        return Err(EditError::Unreadable(Field::Title, want.title.clone()));
    };
    for field in Field::ALL {
        if now.fields.get(field) != want.get(field) {
            // Names in lists have no spaces and no @.
            let joined = want
                .get(field)
                .trim_start_matches('@')
                .split_whitespace()
                .collect::<Vec<_>>()
                .join("-");
            if field == Field::Owner && now.fields.owner == joined {
                continue;
            }
            return Err(EditError::Unreadable(field, want.get(field).to_owned()));
        }
    }
    if now.id.as_ref() != id {
        return Err(EditError::Unreadable(Field::Title, want.title.clone()));
    }
    same(before, &after, index, false)?;
    Ok(after)
}

/// All entries but one say the same: the one at `index`, that was there before or, with `added`, was not.
pub(super) fn same(before: &Document, after: &Document, index: usize, added: bool) -> Result<(), EditError> {
    if before.entries.len() + usize::from(added) != after.entries.len() {
        return Err(EditError::Refused(
            "the change would alter other tasks of the file".into(),
        ));
    }
    for (at, new) in after.entries.iter().enumerate().filter(|(at, _)| *at != index) {
        let old = at - usize::from(added && at > index);
        let same = before
            .entries
            .get(old)
            .is_some_and(|old| old.fields == new.fields && old.id == new.id);
        if !same {
            return Err(EditError::Unreadable(Field::Title, new.fields.title.clone()));
        }
    }
    Ok(())
}
