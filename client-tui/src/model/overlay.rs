//! Owns: what lies over a view: help, palette, notices, a one-line question, and the composer's popup.

use agentd_proto::{escape, pb};

use super::editor::Editor;
use super::grant::Form;
use super::panel::{Draft, Named, Trial, View};
use crate::keys::{Action, Keymap};

/// Lies over the view and takes the keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Overlay {
    Help {
        search: Editor,
        scroll: usize,
    },
    Notices {
        scroll: usize,
    },
    /// The messages that wait.
    Queue {
        selected: usize,
    },
    Palette {
        search: Editor,
        selected: usize,
    },
    /// A one-line question.
    Prompt {
        ask: Ask,
        text: Editor,
    },
    /// Search in the history of messages.
    History {
        search: Editor,
        selected: usize,
        here: bool,
    },
    /// Search in all sessions, or in the open one.
    Search {
        search: Editor,
        selected: usize,
        here: bool,
        hits: Vec<pb::SearchHit>,
    },
    /// Something about a session, or what decides in all, as rows.
    Panel(View),
    /// An approval's answer with a rule.
    Grant(Form),
    /// A task in full.
    Task {
        scroll: usize,
    },
    /// What file and board both changed of a task: one field at a time.
    Conflict {
        task_id: String,
        field: usize,
    },
    /// Workspaces to choose a board from.
    Boards {
        selected: usize,
    },
}

/// What a one-line question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Filter,
    NewName,
    Rename {
        session_id: String,
    },
    /// Why an approval is denied.
    DenyBecause {
        approval_id: String,
    },
    /// Its name, typed: what it says before it is deleted is above.
    Delete {
        session_id: String,
        name: String,
        about: Vec<String>,
    },
    /// The name of a fork up to this event; 0: all.
    Fork {
        session_id: String,
        seq: u64,
    },
    /// A line for a command that waits for one.
    Input {
        session_id: String,
        exec_id: String,
        pty: bool,
        /// What it wrote last.
        line: String,
    },
    /// A port of the jail to open on this machine.
    Forward {
        session_id: String,
    },
    /// A port of this machine to be reached inside.
    HostPort {
        session_id: String,
    },
    /// A limit on spending, and what it counts over.
    Budget,
    /// Something about a task.
    Task {
        task_id: String,
        what: TaskAsk,
    },
    /// The name of a copy.
    Copy(Draft),
    /// Its name, typed, before its file is removed.
    Remove(Named, String),
    /// A call to try.
    Try(Trial),
    /// A rule to look at.
    Rule(Trial),
}

/// What is asked about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskAsk {
    New,
    Title,
    Priority,
    Owner,
    Note,
    /// A commit, branch or address that shows that it is done.
    Link,
    /// Another text for a field in conflict.
    Keep {
        field: String,
    },
}

impl Ask {
    /// The words in front of the text.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Filter => "filter".to_owned(),
            Self::NewName => "name of the new session (empty: made from the directory)".to_owned(),
            Self::Rename { session_id } => format!("new name of {session_id}"),
            Self::DenyBecause { approval_id } => format!("deny {approval_id}, because"),
            Self::Delete { name, .. } => format!("type '{}' to delete it", escape::line(name)),
            Self::Fork { seq: 0, .. } => "name of the fork (empty: made from the original's)".to_owned(),
            Self::Fork { seq, .. } => format!("fork up to event {seq}; its name (empty: made)"),
            Self::Input { exec_id, line, .. } => match line.as_str() {
                "" => format!("input for {}", escape::line(exec_id)),
                line => format!("input for {} · {}", escape::line(exec_id), escape::line(line)),
            },
            Self::Forward { .. } => "port of the jail, or PORT:PORT-HERE".to_owned(),
            Self::HostPort { .. } => "port of this machine".to_owned(),
            Self::Budget => "budget".to_owned(),
            Self::Copy(draft) => format!("name of the copy of {}", escape::line(&draft.name)),
            Self::Remove(what, name) => {
                format!("type '{}' to remove this {}", escape::line(name), what.word())
            }
            Self::Try(_) => "command to try, or write PATH".to_owned(),
            Self::Rule(_) => "rule to look at, such as allow executes: cargo *".to_owned(),
            Self::Task { task_id, what } => match what {
                TaskAsk::New => "new task".to_owned(),
                TaskAsk::Title => format!("title of {task_id}"),
                TaskAsk::Priority => format!("priority of {task_id} (empty takes it away)"),
                TaskAsk::Owner => format!("owner of {task_id} (empty takes it away)"),
                TaskAsk::Note => format!("note on {task_id}"),
                TaskAsk::Link => format!("{task_id} done; commit, branch or https address (empty: none)"),
                TaskAsk::Keep { field } => format!("{field} of {task_id}"),
            },
        }
    }

    /// What is to be read before it is answered.
    pub(crate) fn about(&self) -> &[String] {
        match self {
            Self::Delete { about, .. } => about,
            _ => &[],
        }
    }
}

/// Suggestions under the text being written. Takes no keys but Tab, and Enter or arrows while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Popup {
    /// Bytes before the cursor that a suggestion replaces.
    pub(crate) replaces: usize,
    pub(crate) items: Vec<Suggestion>,
    pub(crate) selected: usize,
}

/// One suggestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suggestion {
    pub(crate) insert: String,
    pub(crate) shown: String,
    pub(crate) note: String,
}

/// A row of the palette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) what: Choice,
    pub(crate) words: String,
    pub(crate) keys: String,
}

/// What a row of the palette does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Action(Action),
    Session(String),
    Model(String),
    Theme(&'static str),
}

/// The rows of the palette that fit what is searched: recent actions first, then all, then places to go.
pub(crate) fn palette(
    keymap: &Keymap,
    recent: &[Action],
    sessions: &[(String, String)],
    models: &[String],
    search: &str,
) -> Vec<Entry> {
    let mut actions: Vec<Action> = recent.to_vec();
    for action in Action::ALL {
        if action.in_palette() && !actions.contains(action) {
            actions.push(*action);
        }
    }
    let actions = actions.into_iter().map(|action| Entry {
        what: Choice::Action(action),
        words: action.words().to_owned(),
        keys: keymap.all(action),
    });
    let sessions = sessions.iter().map(|(id, name)| Entry {
        what: Choice::Session(id.clone()),
        words: format!("go to {name}"),
        keys: id.clone(),
    });
    let models = models.iter().map(|name| Entry {
        what: Choice::Model(name.clone()),
        words: format!("model {name}"),
        keys: "next turn".to_owned(),
    });
    let themes = crate::theme::NAMES.iter().map(|name| Entry {
        what: Choice::Theme(name),
        words: format!("theme {name}"),
        keys: String::new(),
    });
    let mut entries: Vec<Entry> = actions
        .chain(sessions)
        .chain(models)
        .chain(themes)
        .filter(|entry| fits(&entry.words, search) || fits(&entry.keys, search) || fits(name(entry), search))
        .collect();
    // What begins with the letters is meant before what has them here and there.
    let search = search.to_lowercase();
    entries.sort_by_key(|entry| {
        let words = entry.words.to_lowercase();
        let inside = words.contains(&search) || name(entry).contains(&search);
        (!words.starts_with(&search), !inside)
    });
    entries
}

/// What an action is called in `keys.toml`: people look for that word, too.
fn name(entry: &Entry) -> &'static str {
    match entry.what {
        Choice::Action(action) => action.name(),
        _ => "",
    }
}

/// True when all letters of `search` come in `text`, in that order.
pub(crate) fn fits(text: &str, search: &str) -> bool {
    let mut letters = text.chars().flat_map(char::to_lowercase);
    search
        .chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .all(|wanted| letters.any(|letter| letter == wanted))
}
