//! Owns: what a Turn of the demo model has come to, replayed from its tool calls and their answers.
//! Guarantees: pure; what the model believes of a file is what it read, with the edits that were really applied.

use std::collections::BTreeSet;

use super::evidence::{self, Run};
use super::history::{Done, Turn};
use super::source;

/// Lists the project, leaving out what was built or fetched.
pub(super) const LIST: &str = "find . -type f -not -path '*/.*' -not -path './target/*' -not -path '*/node_modules/*' | sort | head -200";

/// Arguments that name the texts of an edit, in the order of likelihood.
pub(super) const OLD: &[&str] = &["old", "old_string", "old_text", "search"];
pub(super) const NEW: &[&str] = &["new", "new_string", "new_text", "replace"];
pub(super) const PATH: &[&str] = &["path", "file_path", "file"];

/// What the Turn has come to.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) files: Option<Vec<String>>,
    /// What was read, repairs that are in force applied.
    pub(super) read: Vec<(String, Vec<String>)>,
    pub(super) unreadable: BTreeSet<String>,
    /// Test runs that count, the first and those after an edit.
    pub(super) runs: Vec<Run>,
    pub(super) test_command: Option<String>,
    /// The edit since the last run, not yet judged.
    pub(super) pending: Option<(String, String, String)>,
    /// The edit that was judged useless and still stands.
    pub(super) useless: Option<(String, String, String)>,
    pub(super) tried: BTreeSet<(String, String, String)>,
    /// Edits that helped, oldest first: path, old, new.
    pub(super) kept: Vec<(String, String, String)>,
    /// True once edits that helped are being taken back, because they did not help enough.
    pub(super) giving_up: bool,
    /// What was said when an edit was refused.
    pub(super) refused: Option<String>,
    pub(super) noted: bool,
    pub(super) denied_note: bool,
}

/// Replays the Turn.
pub(super) fn replay(turn: &Turn) -> State {
    let mut state = State::default();
    for done in &turn.done {
        let path = done.argument(PATH).trim_start_matches("./").to_owned();
        match done.tool.as_str() {
            "exec" if done.argument(&["command"]) == LIST => state.files = Some(listed(done)),
            "exec" => state.ran(done),
            "read" if done.ok => state.read.push((path, source::content(&done.text))),
            "read" => {
                state.unreadable.insert(path);
            }
            "edit" | "apply_patch" => state.edited(done),
            "write" => {
                state.noted = true;
                state.denied_note = !done.ok;
            }
            _ => {}
        }
    }
    state
}

fn listed(done: &Done) -> Vec<String> {
    let is_path = |line: &&str| line.starts_with("./") && !line.contains("  ");
    done.text
        .lines()
        .map(str::trim)
        .filter(is_path)
        .map(|line| line.trim_start_matches("./").to_owned())
        .collect()
}

impl State {
    fn ran(&mut self, done: &Done) {
        let run = evidence::read(done);
        self.test_command
            .get_or_insert_with(|| done.argument(&["command"]).to_owned());
        if let Some(edit) = self.pending.take() {
            let before = self.runs.last().map_or(usize::MAX, Run::badness);
            if run.passed || run.badness() < before {
                self.kept.push(edit);
                self.runs.push(run);
            } else {
                self.useless = Some(edit);
            }
        } else {
            self.runs.push(run);
        }
    }

    fn edited(&mut self, done: &Done) {
        let Some((path, old, new)) = edit_of(done) else {
            return;
        };
        if !done.ok {
            // Not applied. A repair that cannot be applied is one that did not help.
            self.tried.insert(key(&path, &old, &new));
            self.useless = None;
            self.refused = Some(done.text.lines().next().unwrap_or_default().to_owned());
            return;
        }
        if let Some((_, lines)) = self.read.iter_mut().find(|(file, _)| *file == path) {
            *lines = lines
                .join("\n")
                .replacen(&old, &new, 1)
                .split('\n')
                .map(str::to_owned)
                .collect();
        }
        let undoes = |(p, o, n): &(String, String, String)| *p == path && *o == new && *n == old;
        if self.useless.take().is_some_and(|edit| undoes(&edit)) {
            return;
        }
        if self.kept.last().is_some_and(undoes) {
            self.kept.pop();
            self.giving_up = true;
            return;
        }
        self.tried.insert(key(&path, &old, &new));
        self.pending = Some((path, old, new));
    }

    pub(super) fn content(&self, path: &str) -> Option<&Vec<String>> {
        self.read
            .iter()
            .find(|(file, _)| file == path)
            .map(|(_, lines)| lines)
    }

    pub(super) fn knows(&self, path: &str) -> bool {
        self.content(path).is_some() || self.unreadable.contains(path)
    }
}

/// An edit as it is remembered: patches and edits differ in their indent only.
pub(super) fn key(path: &str, old: &str, new: &str) -> (String, String, String) {
    (
        path.to_owned(),
        old.trim_start().to_owned(),
        new.trim_start().to_owned(),
    )
}

fn edit_of(done: &Done) -> Option<(String, String, String)> {
    if done.tool == "edit" {
        let path = done.argument(PATH).trim_start_matches("./").to_owned();
        return Some((path, done.argument(OLD).to_owned(), done.argument(NEW).to_owned()));
    }
    let patch = done.argument(&["patch", "input"]);
    let path = patch
        .lines()
        .find_map(|line| line.strip_prefix("*** Update File: "))?
        .trim()
        .to_owned();
    let marked = |mark: char| {
        let lines: Vec<&str> = patch.lines().filter_map(|line| line.strip_prefix(mark)).collect();
        lines.join("\n").trim_start().to_owned()
    };
    Some((path, marked('-'), marked('+')))
}
