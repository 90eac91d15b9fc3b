//! Owns: bringing a board's twin up to a file's new text: which item is which task, and what changed.
//! Guarantees: pure; an item without an id keeps the one the store gave it while its place or text stays alike.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};

use super::document::{Document, Entry};
use crate::domain::task::{FieldChange, Problem, Task, TaskId};
use crate::store::Twin;

/// How alike two texts must be to be one task that was reworded.
const ALIKE: f64 = 0.75;

/// The ids of a file's entries, in order. `taken` holds those of files before it.
pub(super) fn name(
    path: &str,
    document: &Document,
    twins: &BTreeMap<TaskId, Twin>,
    taken: &mut HashSet<TaskId>,
) -> (Vec<TaskId>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut ids: Vec<Option<TaskId>> = Vec::with_capacity(document.entries.len());
    for entry in &document.entries {
        let Some(id) = &entry.id else {
            ids.push(None);
            continue;
        };
        let mut own = id.clone();
        let mut count = 1;
        while !taken.insert(own.clone()) {
            count += 1;
            own = format!("{id}#{count}").parse().unwrap_or(own);
            if count == 2 {
                problems.push(Problem {
                    path: path.to_owned(),
                    line: entry.line,
                    code: "duplicate_id".into(),
                    message: format!(
                        "the id {id} is taken by another file of the board; this one goes by {own} until it has its own"
                    ),
                });
            }
            if count > 1000 {
                break;
            }
        }
        ids.push(Some(own));
    }
    let before: Vec<&Twin> = twins
        .values()
        .filter(|twin| !twin.task.named && twin.task.path == path)
        .collect();
    let section = |entry: &Entry| document.sections.get(entry.section).cloned().unwrap_or_default();
    // The very same text below the same headings, then what was reworded in place, then what moved.
    for pass in 0..3 {
        for (index, entry) in document.entries.iter().enumerate() {
            if ids.get(index).is_none_or(Option::is_some) {
                continue;
            }
            let here = section(entry);
            let free = before.iter().filter(|twin| !taken.contains(&twin.task.task_id));
            let found = match pass {
                0 => free
                    .filter(|twin| twin.task.section == here && twin.task.fields.title == entry.fields.title)
                    .min_by_key(|twin| (twin.gone, twin.place)),
                1 => free
                    .filter(|twin| !twin.gone && twin.task.section == here)
                    .map(|twin| {
                        (
                            strsim::normalized_levenshtein(&twin.task.fields.title, &entry.fields.title),
                            twin,
                        )
                    })
                    .filter(|(score, _)| *score >= ALIKE)
                    .max_by(|a, b| a.0.total_cmp(&b.0))
                    .map(|(_, twin)| twin),
                _ => free
                    .filter(|twin| !twin.gone && twin.task.fields.title == entry.fields.title)
                    .min_by_key(|t| t.place),
            };
            if let (Some(twin), Some(slot)) = (found, ids.get_mut(index)) {
                taken.insert(twin.task.task_id.clone());
                *slot = Some(twin.task.task_id.clone());
            }
        }
        // Boards of ids alone, the usual ones, need no search.
        if ids.iter().all(Option::is_some) {
            break;
        }
    }
    let named = ids
        .into_iter()
        .zip(&document.entries)
        .map(|(id, entry)| id.unwrap_or_else(|| made(path, &section(entry), &entry.fields.title, taken)))
        .collect();
    (named, problems)
}

/// A fresh id out of heading path and text.
fn made(path: &str, section: &[String], title: &str, taken: &mut HashSet<TaskId>) -> TaskId {
    for round in 0u32.. {
        let mut hash = Sha256::new();
        hash.update(path);
        for part in section {
            hash.update([0]);
            hash.update(part);
        }
        hash.update([0]);
        hash.update(title);
        hash.update(round.to_le_bytes());
        let tail: String = hash
            .finalize()
            .iter()
            .take(6)
            .map(|byte| {
                char::from(
                    *b"23456789abcdefghjkmnpqrstuvwxyz2"
                        .get(usize::from(byte % 32))
                        .unwrap_or(&b'2'),
                )
            })
            .collect();
        if let Ok(id) = format!("i-{tail}").parse::<TaskId>()
            && taken.insert(id.clone())
        {
            return id;
        }
    }
    unreachable_id()
}

/// A billion hashes that were all taken; the type wants an answer.
fn unreachable_id() -> TaskId {
    super::first_id()
}

/// The task of an entry.
pub(super) fn task(path: &str, document: &Document, entry: &Entry, id: TaskId) -> Task {
    Task {
        task_id: id,
        named: entry.id.is_some(),
        path: path.to_owned(),
        line: entry.line,
        form: entry.form(),
        section: document.sections.get(entry.section).cloned().unwrap_or_default(),
        depth: entry.depth,
        tags: entry.tags.clone(),
        waits: entry.waits.clone(),
        fields: entry.fields.clone(),
    }
}

/// True when the entry still says all that the task says.
pub(super) fn is_as_before(task: &Task, path: &str, document: &Document, entry: &Entry) -> bool {
    let section = document
        .sections
        .get(entry.section)
        .map_or(&[][..], Vec::as_slice);
    task.fields == entry.fields
        && task.line == entry.line
        && task.named == entry.id.is_some()
        && task.form == entry.form()
        && task.depth == entry.depth
        && task.path == path
        && task.section == section
        && task.tags == entry.tags
        && task.waits == entry.waits
}

/// What differs, field by field.
pub(super) fn difference(before: &Task, after: &Task) -> Vec<FieldChange> {
    before
        .fields
        .changed(&after.fields)
        .into_iter()
        .map(|field| FieldChange {
            field,
            before: before.fields.get(field).to_owned(),
            after: after.fields.get(field).to_owned(),
        })
        .collect()
}
