//! Owns: a Task of a board: its name, state, fields, claim and history.
//! Guarantees: pure; words of files in any of their usual spellings become one state, and unknown ones none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::SessionId;

/// Longest name of a task.
const MAX_ID_BYTES: usize = 64;

/// The name of a task on its board: `T-12`, `T001`, `P6.1.1`, or `i-4k2m9x` for one that has none in its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

/// Text that names no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no task id: up to 64 letters, digits and .-_/# without spaces, such as T-12")]
pub struct TaskIdError(String);

impl TaskId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Letters before the digits at its end and that number: `T-` and 12 of `T-12`.
    pub fn stem(&self) -> (&str, u64) {
        let stem = self.0.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = self.0.get(stem.len()..).and_then(|n| n.parse().ok());
        (stem, number.unwrap_or(0))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TaskId {
    type Err = TaskIdError;

    fn from_str(text: &str) -> Result<Self, TaskIdError> {
        let starts = text
            .chars()
            .next()
            .is_some_and(|c| c.is_alphanumeric() || c == '#');
        let fits = text.len() <= MAX_ID_BYTES
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '#'))
            && text.chars().any(char::is_alphanumeric);
        if starts && fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(TaskIdError(text.chars().take(80).collect()))
        }
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Nobody has begun.
    Todo,
    /// Somebody works on it.
    InProgress,
    /// It waits for something.
    Blocked,
    /// It is done and waits for a second look.
    Review,
    /// It is done.
    Done,
}

impl TaskState {
    /// All of them, in the order of the board's columns.
    pub const ALL: [Self; 5] = [
        Self::Todo,
        Self::InProgress,
        Self::Blocked,
        Self::Review,
        Self::Done,
    ];

    /// As people read it, and as it is written into a file that has no spelling of its own.
    pub fn title(self) -> &'static str {
        match self {
            Self::Todo => "Todo",
            Self::InProgress => "In Progress",
            Self::Blocked => "Blocked",
            Self::Review => "Review",
            Self::Done => "Done",
        }
    }

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::Blocked => "blocked",
            Self::Review => "review",
            Self::Done => "done",
        }
    }

    /// Reads a state in any of its usual spellings, emoji and emphasis included; `None` for other words.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_alphanumeric() {
                words.extend(c.to_lowercase());
            } else if !words.is_empty() && !words.ends_with(' ') {
                words.push(' ');
            }
        }
        match words.trim() {
            "todo" | "to do" | "open" | "backlog" | "not started" | "planned" | "new" | "pending"
            | "ready" | "queued" => Some(Self::Todo),
            "in progress" | "inprogress" | "doing" | "wip" | "started" | "active" | "ongoing" | "working"
            | "partial" | "partly" => Some(Self::InProgress),
            "blocked" | "on hold" | "waiting" | "stuck" | "paused" => Some(Self::Blocked),
            "review" | "in review" | "reviewing" | "needs review" | "ready for review" | "qa" => {
                Some(Self::Review)
            }
            "done" | "complete" | "completed" | "closed" | "finished" | "shipped" | "resolved" | "merged"
            | "fixed" | "cancelled" | "canceled" | "dropped" => Some(Self::Done),
            "" => Self::of_sign(text),
            _ => None,
        }
    }

    fn of_sign(text: &str) -> Option<Self> {
        text.chars().find_map(|c| match c {
            '⬜' | '📋' | '🔲' | '📝' | '☐' => Some(Self::Todo),
            '🚧' | '🔄' | '🏗' | '⏳' | '🟡' | '🔨' => Some(Self::InProgress),
            '⛔' | '🚫' | '🛑' | '🔴' => Some(Self::Blocked),
            '👀' | '🔍' => Some(Self::Review),
            '✅' | '✔' | '☑' | '🟢' | '🎉' => Some(Self::Done),
            _ => None,
        })
    }
}

/// How urgent the text of a priority is: 0 first; unknown words in the middle.
pub fn urgency(priority: &str) -> u8 {
    let word: String = priority
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match word.as_str() {
        "p0" | "critical" | "urgent" | "blocker" | "highest" => 0,
        "p1" | "high" | "h" => 1,
        "p3" | "low" | "l" => 3,
        "p4" | "lowest" | "trivial" => 4,
        _ => 2,
    }
}

/// In which form a task stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A row of a table.
    Row,
    /// An item of a task list.
    Item,
}

/// What can be read and changed of a task, as in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// What is to be done; Markdown source of one line.
    pub title: String,
    /// Where it stands.
    pub status: TaskState,
    /// As written: `High`, `P1`; empty: none.
    #[serde(default)]
    pub priority: String,
    /// Who has it; empty: nobody.
    #[serde(default)]
    pub owner: String,
    /// Markdown source.
    #[serde(default)]
    pub notes: String,
}

/// One of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What is to be done.
    Title,
    /// Where it stands.
    Status,
    /// How urgent it is.
    Priority,
    /// Who has it.
    Owner,
    /// What else there is to say.
    Notes,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Title,
        Self::Status,
        Self::Priority,
        Self::Owner,
        Self::Notes,
    ];

    /// Its name, as in headers and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Owner => "owner",
            Self::Notes => "notes",
        }
    }

    /// The field of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.word() == word)
    }
}

impl Fields {
    /// The text of a field.
    pub fn get(&self, field: Field) -> &str {
        match field {
            Field::Title => &self.title,
            Field::Status => self.status.title(),
            Field::Priority => &self.priority,
            Field::Owner => &self.owner,
            Field::Notes => &self.notes,
        }
    }

    /// Puts text into a field; false when it is no state.
    pub fn set(&mut self, field: Field, text: &str) -> bool {
        match field {
            Field::Title => text.clone_into(&mut self.title),
            Field::Status => match TaskState::read(text) {
                Some(status) => self.status = status,
                None => return false,
            },
            Field::Priority => text.clone_into(&mut self.priority),
            Field::Owner => text.clone_into(&mut self.owner),
            Field::Notes => text.clone_into(&mut self.notes),
        }
        true
    }

    /// The fields that differ.
    pub fn changed(&self, other: &Self) -> Vec<Field> {
        Field::ALL
            .into_iter()
            .filter(|field| self.get(*field) != other.get(*field))
            .collect()
    }
}

/// An item of work on a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub task_id: TaskId,
    /// The name stands in the file; otherwise the store gave it.
    pub named: bool,
    /// The file, relative to the workspace.
    pub path: String,
    /// Line in the file, from 1.
    pub line: u32,
    /// Row or item.
    pub form: Form,
    /// Headings above it, outermost first.
    #[serde(default)]
    pub section: Vec<String>,
    /// How deep it is nested, from 0.
    #[serde(default)]
    pub depth: u32,
    /// `P`, `US1`: what stands in brackets before the title.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Tasks it waits for.
    #[serde(default)]
    pub waits: Vec<TaskId>,
    /// What can be changed.
    pub fields: Fields,
}

/// A lease on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// `ana via cli`, or the name of a session.
    pub holder: String,
    /// The session that has it; `None`: a person or program.
    pub session_id: Option<SessionId>,
    /// When it was taken, microseconds since the epoch.
    pub since_us: i64,
    /// When it ends unless renewed.
    pub until_us: i64,
    /// How long a renewal lasts, microseconds.
    pub lease_us: i64,
    /// The session works on it in the background and hands it to review.
    pub run: bool,
    /// Where the task stood before.
    pub before: TaskState,
    /// Who had it before.
    pub owner_before: String,
}

/// Both the file and the board changed one field of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Which field.
    pub field: Field,
    /// What both started from.
    pub base: String,
    /// What the file says.
    pub file: String,
    /// What the board wants.
    pub board: String,
    /// Who changed the board.
    pub by: String,
    /// When, microseconds since the epoch.
    pub time_us: i64,
}

/// Something in a file that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which file, relative to the workspace.
    pub path: String,
    /// Line from 1; 0: the file as a whole.
    pub line: u32,
    /// Stable word.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// An entry of a task's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number on the board; rises with every change.
    pub rev: u64,
    /// When, microseconds since the epoch.
    pub time_us: i64,
    /// `ana via cli`, `the file`, or the name of a session.
    pub by: String,
    /// What happened: `added`, `edited`, `claimed`, `released`, `removed`, `resolved`.
    pub what: String,
    /// Before and after, for fields that changed.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// A sentence, where there is more to say.
    #[serde(default)]
    pub text: String,
}

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Which.
    pub field: Field,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_people_are_taken_and_sentences_are_not() {
        for good in [
            "T-12",
            "T001",
            "P6.1.1",
            "#42",
            "SHOP-7",
            "i-4k2m9x",
            "задача-3",
            "a/b",
        ] {
            assert_eq!(good.parse::<TaskId>().unwrap().as_str(), good);
        }
        for bad in ["", "-", "T 12", "a\u{1b}[0m", "a|b", "..", &"x".repeat(65)] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
        assert_eq!("T-12".parse::<TaskId>().unwrap().stem(), ("T-", 12));
        assert_eq!("P6.1.9".parse::<TaskId>().unwrap().stem(), ("P6.1.", 9));
    }

    #[test]
    fn states_are_read_in_their_usual_spellings() {
        for (text, status) in [
            ("Todo", TaskState::Todo),
            ("**In Progress**", TaskState::InProgress),
            ("in_progress", TaskState::InProgress),
            ("🚧 WIP", TaskState::InProgress),
            ("⛔ blocked", TaskState::Blocked),
            ("In review", TaskState::Review),
            ("✅", TaskState::Done),
            ("✅ Done", TaskState::Done),
            ("`done`", TaskState::Done),
        ] {
            assert_eq!(TaskState::read(text), Some(status), "{text}");
        }
        for other in ["Accepted", "works", "operational", "", "   ", "99.9 %"] {
            assert_eq!(TaskState::read(other), None, "{other}");
        }
        for status in TaskState::ALL {
            assert_eq!(TaskState::read(status.title()), Some(status));
            assert_eq!(TaskState::read(status.word()), Some(status));
        }
    }

    #[test]
    fn priorities_have_an_order() {
        assert!(urgency("P0") < urgency("High"));
        assert!(urgency("High") < urgency("Medium"));
        assert!(urgency("") < urgency("P3"));
    }
}
