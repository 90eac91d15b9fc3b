//! Owns: what the columns of a board's table mean, and text in cells.
//! Guarantees: a table is a board only when it names tasks and states; unknown columns are none of our business.

use crate::domain::task::TaskId;

/// Which column means what; numbers from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// `None`: the tasks have no ids of their own.
    pub id: Option<usize>,
    /// What is to be done.
    pub title: usize,
    /// Where it stands.
    pub status: usize,
    /// How urgent.
    pub priority: Option<usize>,
    /// Who.
    pub owner: Option<usize>,
    /// What else.
    pub notes: Option<usize>,
    /// Tasks it waits for.
    pub waits: Option<usize>,
    /// How many there are.
    pub count: usize,
}

impl Columns {
    /// The meaning of a header; `None` for a table that is no board.
    pub fn of(header: &[&str]) -> Option<Self> {
        let names: Vec<String> = header.iter().map(|cell| plain(cell)).collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let id = find(&["id", "#", "no", "nr", "key", "task id", "ticket", "taskid"]);
        let named = find(&["title", "task", "tasks", "todo", "to do"]);
        // Weaker words for a title make a board only beside a column of ids.
        let title = named.or_else(|| {
            id.and_then(|_| {
                find(&[
                    "name",
                    "summary",
                    "description",
                    "item",
                    "story",
                    "what",
                    "subject",
                    "goal",
                ])
            })
        })?;
        let status = find(&["status", "state", "progress"])?;
        Some(Self {
            id,
            title,
            status,
            priority: find(&["priority", "prio", "urgency", "p"]),
            owner: find(&[
                "owner",
                "assignee",
                "assigned",
                "assigned to",
                "who",
                "claimed by",
            ]),
            notes: find(&["notes", "note", "comment", "comments", "remarks", "details"]),
            waits: find(&[
                "depends",
                "depends on",
                "dependencies",
                "waits",
                "waits for",
                "waits on",
                "blocked by",
                "deps",
                "after",
            ]),
            count: names.len(),
        })
    }
}

/// A header's words: no emphasis, no emoji, lower case.
fn plain(cell: &str) -> String {
    let text = cell.trim();
    if text == "#" {
        return "#".into();
    }
    let mut words = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        } else if !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words.trim_end().to_owned()
}

/// The id in a cell, out of emphasis, code or a link.
pub(super) fn id_of_cell(cell: &str) -> Option<TaskId> {
    let bare = cell.trim().trim_matches(['*', '_', '`', '~']);
    if let Some(inner) = bare.strip_prefix('[') {
        let (words, _) = inner.split_once(']')?;
        return words.trim_matches(['*', '_', '`', '~']).parse().ok();
    }
    bare.parse().ok()
}

/// `\|` in a cell stands for a pipe.
pub(super) fn unescape(cell: &str) -> String {
    if cell.contains('\\') {
        cell.replace("\\|", "|")
    } else {
        cell.to_owned()
    }
}

/// Text as it can stand in a cell: one line, pipes escaped, nothing that is not text.
pub(super) fn escape(text: &str) -> String {
    clean(text).replace('|', "\\|")
}

/// One line without control characters, trimmed.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c == '\n' || c == '\r' || c == '\t' || c == '\u{2028}' || c == '\u{2029}' {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out.trim().to_owned()
}

/// How many unescaped pipes a row would have if it began and ended with one.
pub(super) fn pipes(row: &str) -> usize {
    let row = row.trim();
    let bytes = row.as_bytes();
    let mut count = 0;
    let mut escaped = false;
    for byte in bytes {
        match byte {
            b'\\' => {
                escaped = !escaped;
                continue;
            }
            b'|' if !escaped => count += 1,
            _ => {}
        }
        escaped = false;
    }
    count + usize::from(!row.starts_with('|')) + usize::from(!row.ends_with('|') || row.ends_with("\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_told_from_other_tables() {
        for board in [
            &["ID", "Title", "Status", "Priority", "Owner", "Notes"][..],
            &["#", "Task", "State"],
            &["**Status**", "Task"],
            &["Key", "Summary", "🚦 Status", "Assignee"],
        ] {
            assert!(Columns::of(board).is_some(), "{board:?}");
        }
        for other in [
            &["Service", "Status", "Uptime"][..],
            &["Name", "Description"],
            &["Feature", "Status"],
            &["ID", "Title", "Date"],
            &[],
        ] {
            assert!(Columns::of(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn ids_come_out_of_links_and_code() {
        for cell in [
            "T-1",
            " `T-1` ",
            "**T-1**",
            "[T-1](#t-1)",
            "[`T-1`](x)",
            "~~T-1~~",
        ] {
            assert_eq!(id_of_cell(cell).unwrap().as_str(), "T-1", "{cell}");
        }
        assert_eq!(id_of_cell("two words"), None);
    }

    #[test]
    fn pipes_are_counted_as_if_the_row_were_closed() {
        for (row, count) in [
            ("| a | b |", 3),
            ("a | b", 3),
            (r"| a \| b | c |", 3),
            ("|a|b", 3),
        ] {
            assert_eq!(pipes(row), count, "{row}");
        }
    }
}
