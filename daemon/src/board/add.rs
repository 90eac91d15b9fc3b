//! Owns: putting a new task into a file, in the file's own style.
//! Guarantees: an insertion and nothing else; read again before it is handed out.

use super::document::{Document, Entry, Place, at};
use super::edit::{EditError, mark, newline_of, padded, same, spelling, splice};
use super::item::priority_word;
use super::table::{Columns, clean, escape};
use crate::domain::task::{Field, Fields, TaskId};

/// The text with a new task, and as what it reads back.
pub fn add(
    path: &str,
    text: &str,
    document: &Document,
    id: &TaskId,
    fields: &Fields,
    section: Option<&str>,
) -> Result<(String, Document), EditError> {
    let mut want = fields.clone();
    for field in [Field::Title, Field::Priority, Field::Owner, Field::Notes] {
        let value = clean(want.get(field));
        want.set(field, &value);
    }
    if want.title.is_empty() {
        return Err(EditError::Refused("a task needs a title".into()));
    }
    let in_section = |entry: &&Entry| {
        section.is_none_or(|wanted| {
            document
                .sections
                .get(entry.section)
                .is_some_and(|path| path.iter().any(|heading| heading == wanted))
        })
    };
    if section.is_some() && !document.entries.iter().any(|entry| in_section(&entry)) {
        return Err(EditError::Refused(format!(
            "no heading '{}' with tasks below it",
            section.unwrap_or_default()
        )));
    }
    let last_row = document
        .entries
        .iter()
        .rfind(|entry| matches!(entry.place, Place::Row { .. }) && in_section(entry));
    let last_item = document
        .entries
        .iter()
        .rfind(|entry| matches!(entry.place, Place::Item(_)) && entry.depth == 0 && in_section(entry));
    let (offset, line) = match (last_row, last_item) {
        (Some(row), _) => new_row(text, document, row, id, &want)?,
        (None, Some(_)) | (None, None) if section.is_none() && !document.tables.is_empty() => {
            empty_table(text, document, id, &want)?
        }
        (None, Some(item)) => new_item(text, document, item, id, &want)?,
        (None, None) => (text.len(), new_table(text, id, &want)),
    };
    let newline = newline_of(text, offset);
    let mut inserted = String::new();
    if offset > 0 && !at(text, 0..offset).ends_with('\n') {
        inserted.push_str(newline);
    }
    inserted.push_str(&line.replace('\n', newline));
    inserted.push_str(newline);
    let edited = splice(text, vec![(offset..offset, inserted)]);
    let after = Document::read(path, &edited);
    let index = after
        .entries
        .iter()
        .position(|entry| {
            entry.id.as_ref() == Some(id) && !document.entries.iter().any(|old| old.id == entry.id)
        })
        .or_else(|| {
            let fresh = after
                .entries
                .iter()
                .zip(&document.entries)
                .position(|(new, old)| new.fields != old.fields);
            fresh.or_else(|| (after.entries.len() > document.entries.len()).then_some(document.entries.len()))
        })
        .ok_or_else(|| EditError::Unreadable(Field::Title, want.title.clone()))?;
    same(document, &after, index, true)?;
    let Some(added) = after.entries.get(index) else {
        return Err(EditError::Unreadable(Field::Title, want.title));
    };
    for field in Field::ALL {
        let unheld = added.fields.get(field).is_empty() && !want.get(field).is_empty();
        if unheld {
            return Err(no_place(added, field));
        }
        if added.fields.get(field) != want.get(field) {
            return Err(EditError::Unreadable(field, want.get(field).to_owned()));
        }
    }
    Ok((edited, after))
}

fn no_place(entry: &Entry, field: Field) -> EditError {
    match entry.place {
        Place::Row { .. } => EditError::NoColumn(field),
        Place::Item(_) => EditError::Unreadable(field, entry.fields.get(field).to_owned()),
    }
}

/// The next id in the file's own style: one above the highest of its most frequent kind.
pub fn next_id(document: &Document) -> Option<TaskId> {
    let mut kinds: Vec<(String, u64, usize, usize)> = Vec::new();
    for id in document.entries.iter().filter_map(|entry| entry.id.as_ref()) {
        let (stem, number) = id.stem();
        let digits = id.as_str().len().saturating_sub(stem.len());
        if digits == 0 || stem.ends_with('#') && stem.len() > 1 {
            continue;
        }
        match kinds.iter_mut().find(|kind| kind.0 == stem) {
            Some(kind) => {
                kind.1 = kind.1.max(number);
                kind.2 += 1;
                kind.3 = kind.3.min(digits);
            }
            None => kinds.push((stem.to_owned(), number, 1, digits)),
        }
    }
    let (stem, highest, _, digits) = kinds.into_iter().max_by_key(|kind| kind.2)?;
    format!("{stem}{:0digits$}", highest.saturating_add(1))
        .parse()
        .ok()
}

fn row_of(columns: &Columns, id: &TaskId, want: &Fields, status: &str) -> Vec<String> {
    (0..columns.count)
        .map(|index| {
            if Some(index) == columns.id {
                id.as_str().to_owned()
            } else if index == columns.title {
                escape(&want.title)
            } else if index == columns.status {
                status.to_owned()
            } else if Some(index) == columns.priority {
                escape(&want.priority)
            } else if Some(index) == columns.owner {
                escape(&want.owner)
            } else if Some(index) == columns.notes {
                escape(&want.notes)
            } else {
                String::new()
            }
        })
        .collect()
}

fn new_row(
    text: &str,
    document: &Document,
    last: &Entry,
    id: &TaskId,
    want: &Fields,
) -> Result<(usize, String), EditError> {
    let Place::Row { table, row, cells } = &last.place else {
        return Err(EditError::Refused("no row to follow".into()));
    };
    let Some(own) = document.tables.get(*table) else {
        return Err(EditError::Refused("no table to add to".into()));
    };
    let status = spelling(text, document, *table, want.status);
    let words = row_of(&own.columns, id, want, &status);
    let start = at(text, 0..row.start).rfind('\n').map_or(0, |end| end + 1);
    let mut line = at(text, start..row.start).to_owned();
    for (index, word) in words.iter().enumerate() {
        let old = cells
            .get(index)
            .map(|range| at(text, range.clone()))
            .unwrap_or_default();
        line.push('|');
        // Aligned tables stay aligned; a tight one gets readable rows all the same.
        line.push_str(&padded(if old.starts_with(' ') { old } else { "" }, word));
    }
    line.push('|');
    Ok((row.end, line))
}

/// A row below a header that has none yet.
fn empty_table(
    text: &str,
    document: &Document,
    id: &TaskId,
    want: &Fields,
) -> Result<(usize, String), EditError> {
    let Some(table) = document.tables.first() else {
        return Err(EditError::Refused("no table to add to".into()));
    };
    let words = row_of(&table.columns, id, want, want.status.title());
    let end = table.range.start + at(text, table.range.clone()).trim_end().len();
    let offset = at(text, end..text.len())
        .find('\n')
        .map_or(text.len(), |at| end + at + 1);
    Ok((offset, format!("| {} |", words.join(" | "))))
}

fn new_item(
    text: &str,
    document: &Document,
    last: &Entry,
    id: &TaskId,
    want: &Fields,
) -> Result<(usize, String), EditError> {
    let Place::Item(place) = &last.place else {
        return Err(EditError::Refused("no item to follow".into()));
    };
    let start = at(text, 0..place.range.start)
        .rfind('\n')
        .map_or(0, |end| end + 1);
    let bullet = at(text, start..place.head.mark.start);
    let bullet = bullet.strip_suffix('[').unwrap_or("- ");
    let digits: String = bullet.chars().filter(char::is_ascii_digit).collect();
    let bullet = match digits.parse::<u64>() {
        Ok(number) => bullet.replacen(&digits, &number.saturating_add(1).to_string(), 1),
        Err(_) => bullet.to_owned(),
    };
    // The way the ids are set off: `T001 title`, `**T-1**: title`.
    let styled = std::iter::once(last)
        .chain(document.entries.iter().rev())
        .find_map(|entry| match &entry.place {
            Place::Item(place) if place.head.strike.is_none() => {
                let own = place.head.id.clone()?;
                let before = at(text, place.head.mark.end + 1..own.start).to_owned();
                let first_tag = place
                    .head
                    .tags
                    .first()
                    .map_or(place.head.title.start, |tag| tag.start - 1);
                let after = at(text, own.end..first_tag).to_owned();
                // A title that begins below its id shows no way to set ids off.
                (!before.contains('\n') && !after.contains('\n')).then_some((before, after))
            }
            _ => None,
        });
    let (before, after) = styled.unwrap_or((" ".into(), ": ".into()));
    let mut line = format!(
        "{bullet}[{}]{before}{id}{after}{}",
        mark(text, document, want.status),
        want.title
    );
    if !want.priority.is_empty() {
        if !priority_word(&want.priority) {
            return Err(EditError::Refused(format!(
                "'{}' can't stand in a list: use P0 to P4, Critical, High, Medium or Low",
                want.priority
            )));
        }
        line.push_str(&format!(" ({})", want.priority));
    }
    if !want.owner.is_empty() {
        line.push_str(&format!(" @{}", want.owner));
    }
    if !want.notes.is_empty() {
        line.push_str(&format!("\n{}- {}", place.indent, want.notes));
    }
    let end = place.range.start + at(text, place.range.clone()).trim_end().len();
    let offset = at(text, end..text.len())
        .find('\n')
        .map_or(text.len(), |at| end + at + 1);
    Ok((offset, line))
}

fn new_table(text: &str, id: &TaskId, want: &Fields) -> String {
    let lead = if text.is_empty() {
        "# Tasks\n\n"
    } else if text.ends_with("\n\n") {
        ""
    } else {
        "\n"
    };
    format!(
        "{lead}| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n| {id} | {} | {} | {} | {} | {} |",
        escape(&want.title),
        want.status.title(),
        escape(&want.priority),
        escape(&want.owner),
        escape(&want.notes)
    )
}
