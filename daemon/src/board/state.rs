//! Owns: one workspace's board in memory: its files as last read, its tasks' twins, and the changes to be stored.
//! Guarantees: a file that can't be trusted leaves the last good state in place and is never written; a write is
//! refused when the file is not the one that was read; every change of a task is in the history.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::add;
use super::document::Document;
use super::edit::{self, EditError, Wish};
use super::look::{Look, look};
use super::{first_id, twin};
use crate::domain::rejection::Rejection;
use crate::domain::task::{Change, Conflict, FieldChange, Fields, Problem, TaskId};
use crate::store::{BoardRows, BoardWrite, FileWrite, Twin};
use crate::workspace::{Expect, Guard, GuardError, Stamp};

/// How often a file may change under a write before we say so.
const ATTEMPTS: u32 = 5;
/// After so many splices a file's content is stored whole again: opening a board replays them.
const MAX_SPLICES: u32 = 200;

/// A board's file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    pub(super) path: String,
    /// Last good content; `None`: there never was any.
    pub(super) content: Option<String>,
    pub(super) document: Document,
    /// Ids of the document's entries.
    pub(super) ids: Vec<TaskId>,
    /// How often the stored content was spliced since it was stored whole; `None`: it has not been since we opened.
    splices: Option<u32>,
    /// The file as it was when it was read.
    pub(super) stamp: Option<Stamp>,
    /// Why the file can't be used as it is.
    pub(super) broken: Option<Problem>,
    notices: Vec<Problem>,
}

impl FileState {
    /// How the store is told of the new content: as what changed, and now and then whole.
    fn written(&mut self, text: &str) -> FileWrite {
        match (&self.content, self.splices) {
            (Some(old), Some(count)) if count < MAX_SPLICES => {
                self.splices = Some(count + 1);
                FileWrite::between(&self.path, old, text)
            }
            _ => {
                self.splices = Some(0);
                FileWrite::Whole {
                    path: self.path.clone(),
                    content: text.to_owned(),
                }
            }
        }
    }
}

/// A board in memory.
#[derive(Debug, Default)]
pub(super) struct BoardState {
    pub(super) workspace: PathBuf,
    pub(super) files: Vec<FileState>,
    pub(super) twins: BTreeMap<TaskId, Twin>,
    pub(super) rev: u64,
    /// When the files were last looked at and found as the board has them.
    pub(super) synced_us: i64,
    /// To be stored.
    outbox: BoardWrite,
}

/// What a wish led to.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    pub(super) conflicts: Vec<Conflict>,
}

impl BoardState {
    pub(super) fn new(workspace: &Path, paths: &[String], rows: BoardRows) -> Self {
        let mut state = Self {
            workspace: workspace.to_owned(),
            rev: rows.rev,
            twins: rows
                .twins
                .into_iter()
                .map(|twin| (twin.task.task_id.clone(), twin))
                .collect(),
            ..Self::default()
        };
        for path in paths {
            let content = rows
                .files
                .iter()
                .find(|(own, _)| own == path)
                .map(|(_, content)| content.clone());
            let document = content
                .as_deref()
                .map(|text| Document::read(path, text))
                .unwrap_or_default();
            state.files.push(FileState {
                path: path.clone(),
                content,
                document,
                ..FileState::default()
            });
        }
        state.rename_all();
        state
    }

    /// What is to be stored, once.
    pub(super) fn take_outbox(&mut self) -> BoardWrite {
        std::mem::take(&mut self.outbox)
    }

    /// Everything a person should look at.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.files
            .iter()
            .flat_map(|file| {
                file.broken
                    .iter()
                    .chain(&file.notices)
                    .chain(file.document.problems.iter().map(|(p, _)| p))
            })
            .cloned()
            .collect()
    }

    fn guard(&self) -> Result<Guard, Problem> {
        Guard::open(&self.workspace).map_err(|error| Problem {
            path: String::new(),
            line: 0,
            code: "workspace".into(),
            message: format!(
                "the workspace {} can't be read: {error}",
                self.workspace.display()
            ),
        })
    }

    /// Looks at the files and takes in what people changed. True when anything did.
    pub(super) fn sync(&mut self, now_us: i64) -> bool {
        let guard = match self.guard() {
            Ok(guard) => guard,
            Err(problem) => {
                let known = self
                    .files
                    .iter()
                    .all(|file| file.broken.as_ref() == Some(&problem));
                for file in &mut self.files {
                    file.broken = Some(problem.clone());
                    file.stamp = None;
                }
                return !known;
            }
        };
        let mut changed = false;
        let mut texts = Vec::new();
        for file in &mut self.files {
            match look(&guard, file) {
                Look::Same => {}
                Look::Troubled => changed = true,
                Look::New(text, document) => {
                    changed = true;
                    texts.push((file.path.clone(), text, document));
                }
            }
        }
        for (path, text, document) in texts {
            self.take_text(&path, text, document, "the file", now_us);
        }
        self.synced_us = now_us;
        changed
    }

    /// A file's new content becomes the board's.
    fn take_text(&mut self, path: &str, text: String, document: Document, by: &str, now_us: i64) {
        if let Some(file) = self.files.iter_mut().find(|file| file.path == path) {
            self.outbox.files.push(file.written(&text));
            file.content = Some(text);
            file.document = document;
        }
        self.rename_all();
        self.absorb(by, now_us);
    }

    /// Ids for all entries of all files.
    fn rename_all(&mut self) {
        let mut taken = HashSet::new();
        for file in &mut self.files {
            let (ids, problems) = twin::name(&file.path, &file.document, &self.twins, &mut taken);
            file.ids = ids;
            file.notices = problems;
        }
    }

    /// Brings the twins to what the documents say.
    fn absorb(&mut self, by: &str, now_us: i64) {
        let mut seen = HashSet::new();
        let mut place = 0u32;
        let mut news: Vec<(TaskId, Twin, Option<Change>)> = Vec::new();
        for file in &self.files {
            for (entry, id) in file.document.entries.iter().zip(&file.ids) {
                seen.insert(id);
                let old = self.twins.get(id);
                let here = place;
                place = place.saturating_add(1);
                // What nobody touched costs no copy.
                if old.is_some_and(|old| {
                    !old.gone
                        && old.place == here
                        && old.conflicts.is_empty()
                        && twin::is_as_before(&old.task, &file.path, &file.document, entry)
                }) {
                    continue;
                }
                let task = twin::task(&file.path, &file.document, entry, id.clone());
                let mut new = old.cloned().unwrap_or(Twin {
                    task: task.clone(),
                    place: here,
                    gone: false,
                    claim: None,
                    conflicts: Vec::new(),
                    rev: 0,
                    changed_us: now_us,
                });
                new.place = here;
                new.gone = false;
                let change = match old {
                    Some(old) if !old.gone => {
                        let fields = twin::difference(&old.task, &task);
                        (!fields.is_empty()).then(|| change(now_us, by, "edited", fields, ""))
                    }
                    _ => Some(change(now_us, by, "added", Vec::new(), &task.fields.title)),
                };
                new.task = task;
                // What the file says now is what a conflict is about; where both agree, there is none left.
                for conflict in &mut new.conflicts {
                    new.task.fields.get(conflict.field).clone_into(&mut conflict.file);
                }
                new.conflicts.retain(|conflict| conflict.file != conflict.board);
                if change.is_some() || old.is_none_or(|old| old != &new) {
                    news.push((id.clone(), new, change));
                }
            }
        }
        for (id, twin) in &self.twins {
            if !twin.gone && !seen.contains(id) {
                let mut gone = twin.clone();
                gone.gone = true;
                gone.claim = None;
                news.push((
                    id.clone(),
                    gone,
                    Some(change(now_us, by, "removed", Vec::new(), "")),
                ));
            }
        }
        for (id, twin, change) in news {
            self.put(id, twin, change);
        }
    }

    /// Keeps a twin, with its change where there is one.
    pub(super) fn put(&mut self, id: TaskId, mut twin: Twin, change: Option<Change>) {
        if let Some(mut change) = change {
            self.rev = self.rev.saturating_add(1);
            change.rev = self.rev;
            twin.rev = self.rev;
            twin.changed_us = change.time_us;
            self.outbox.changes.push((id.clone(), change));
        }
        self.outbox.twins.insert(id.clone(), twin.clone());
        self.twins.insert(id, twin);
    }

    /// Where a task stands: its file and entry.
    fn place_of(&self, id: &TaskId) -> Option<(usize, usize)> {
        self.files.iter().enumerate().find_map(|(number, file)| {
            let index = file.ids.iter().position(|own| own == id)?;
            Some((number, index))
        })
    }

    /// The twin of a task that is on the board.
    pub(super) fn twin(&self, wanted: &str) -> Result<&Twin, Rejection> {
        let found = wanted
            .parse::<TaskId>()
            .ok()
            .and_then(|id| self.twins.get(&id))
            .filter(|twin| !twin.gone)
            .or_else(|| {
                let mut alike = self
                    .twins
                    .values()
                    .filter(|twin| !twin.gone && twin.task.task_id.as_str().eq_ignore_ascii_case(wanted));
                alike.next().filter(|_| alike.next().is_none())
            });
        found.ok_or_else(|| {
            let near = self
                .twins
                .values()
                .filter(|twin| !twin.gone)
                .map(|twin| (strsim::jaro_winkler(wanted, twin.task.task_id.as_str()), twin))
                .filter(|(score, _)| *score > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let mut hints: Vec<String> = near
                .map(|(_, twin)| format!("did you mean: {} ({})", twin.task.task_id, twin.task.fields.title))
                .into_iter()
                .collect();
            hints.push("agentctl tasks list".into());
            Rejection::TaskNotFound {
                wanted: wanted.chars().take(80).collect(),
                workspace: self.workspace.display().to_string(),
                hints,
            }
        })
    }

    /// Changes a task in its file. Fields that the file changed since `base` are not written but kept as conflicts.
    pub(super) fn edit(
        &mut self,
        id: &TaskId,
        wish: Wish,
        base: Option<&Fields>,
        by: &str,
        now_us: i64,
    ) -> Result<Done, Rejection> {
        let mut conflicts = Vec::new();
        let mut wish = wish;
        let twin = self.twin(id.as_str())?.clone();
        if let Some(base) = base {
            let now = &twin.task.fields;
            wish.set.retain(|(field, value)| {
                let mut wanted = now.clone();
                let known = wanted.set(*field, value);
                let (before, file, board) = (base.get(*field), now.get(*field), wanted.get(*field));
                let clash = known && before != file && file != board;
                if clash {
                    conflicts.push(Conflict {
                        field: *field,
                        base: before.to_owned(),
                        file: file.to_owned(),
                        board: board.to_owned(),
                        by: by.to_owned(),
                        time_us: now_us,
                    });
                }
                !clash
            });
        }
        if !wish.set.is_empty() || wish.note.is_some() || wish.id.is_some() {
            self.rewrite(id, &wish, by, now_us)?;
        }
        if !conflicts.is_empty() {
            let mut twin = self.twin(id.as_str())?.clone();
            for conflict in &conflicts {
                twin.conflicts.retain(|old| old.field != conflict.field);
                twin.conflicts.push(conflict.clone());
            }
            let fields = conflicts
                .iter()
                .map(|c| FieldChange {
                    field: c.field,
                    before: c.file.clone(),
                    after: c.board.clone(),
                })
                .collect();
            self.put(
                id.clone(),
                twin,
                Some(change(now_us, by, "conflicted", fields, "")),
            );
        }
        Ok(Done { conflicts })
    }

    fn rewrite(&mut self, id: &TaskId, wish: &Wish, by: &str, now_us: i64) -> Result<(), Rejection> {
        self.with_file(by, now_us, |state| {
            let (number, index) = state.place_of(id).ok_or_else(|| state.vanished(id))?;
            let file = state.files.get(number).ok_or_else(|| state.vanished(id))?;
            let text = file.content.as_deref().unwrap_or_default();
            let (edited, document) = edit::edit(&file.path, text, &file.document, index, wish)
                .map_err(|e| refused(file, index, &e))?;
            Ok((number, edited, document))
        })
    }

    /// Puts a new task on the board.
    pub(super) fn add(
        &mut self,
        path: &str,
        fields: &Fields,
        section: Option<&str>,
        by: &str,
        now_us: i64,
    ) -> Result<TaskId, Rejection> {
        let mut made = first_id();
        self.with_file(by, now_us, |state| {
            let number = match path {
                "" => state
                    .files
                    .iter()
                    .position(|file| file.content.is_some())
                    .unwrap_or(0),
                path => state
                    .files
                    .iter()
                    .position(|file| file.path == path)
                    .ok_or_else(|| {
                        Rejection::InvalidArgument(format!(
                            "'{path}' is no file of this board; see board.files in the configuration"
                        ))
                    })?,
            };
            let mut id = state
                .files
                .iter()
                .skip(number)
                .chain(state.files.iter().take(number))
                .find_map(|file| add::next_id(&file.document))
                .unwrap_or_else(first_id);
            while state.twins.contains_key(&id) {
                let (stem, n) = id.stem();
                let digits = id.as_str().len().saturating_sub(stem.len());
                id = format!("{stem}{:0digits$}", n.saturating_add(1))
                    .parse()
                    .unwrap_or_else(|_| first_id());
            }
            let Some(file) = state.files.get(number) else {
                return Err(Rejection::InvalidArgument("the board has no file".into()));
            };
            let text = file.content.as_deref().unwrap_or_default();
            let (edited, document) = add::add(&file.path, text, &file.document, &id, fields, section)
                .map_err(|e| refused(file, usize::MAX, &e))?;
            made = id;
            Ok((number, edited, document))
        })?;
        // A list whose items have no ids makes one of its own.
        if !self.twins.contains_key(&made)
            && let Some(newest) = self
                .twins
                .values()
                .filter(|twin| !twin.gone)
                .max_by_key(|twin| twin.rev)
        {
            made = newest.task.task_id.clone();
        }
        Ok(made)
    }

    /// Writes the last good content of a deleted file back.
    pub(super) fn restore(&mut self) -> Result<(), Rejection> {
        let guard = self.guard().map_err(|problem| board_refused(&problem))?;
        for file in &mut self.files {
            let missing = file
                .broken
                .as_ref()
                .is_some_and(|problem| problem.code == "missing");
            if let Some(text) = file.content.as_ref().filter(|_| missing) {
                let written = guard
                    .write(Path::new(&file.path), text.as_bytes(), &Expect::Absent)
                    .map_err(|error| unwritable(&file.path, &error))?;
                file.stamp = Some(written.stamp);
                file.broken = None;
            }
        }
        Ok(())
    }

    /// Writes what `make` gives, again on the file's newest text when it changed meanwhile.
    fn with_file(
        &mut self,
        by: &str,
        now_us: i64,
        mut make: impl FnMut(&Self) -> Result<(usize, String, Document), Rejection>,
    ) -> Result<(), Rejection> {
        let guard = self.guard().map_err(|problem| board_refused(&problem))?;
        for _ in 0..ATTEMPTS {
            let (number, edited, document) = make(self)?;
            let Some(file) = self.files.get_mut(number) else {
                break;
            };
            if let Some(problem) = &file.broken {
                return Err(board_refused(problem));
            }
            if file.content.as_deref() == Some(edited.as_str()) {
                return Ok(());
            }
            let path = file.path.clone();
            let expect = file.stamp.clone().map_or(Expect::Absent, Expect::Stamp);
            let real = guard
                .real(Path::new(&path))
                .map_err(|error| unwritable(&path, &error))?;
            match guard.write(&real, edited.as_bytes(), &expect) {
                Ok(written) => {
                    file.stamp = Some(written.stamp);
                    self.take_text(&path, edited, document, by, now_us);
                    return Ok(());
                }
                Err(GuardError::Stale(_) | GuardError::Exists(_) | GuardError::NotFound(_)) => {
                    self.sync(now_us);
                }
                Err(error) => return Err(unwritable(&path, &error)),
            }
        }
        Err(Rejection::BoardRefused {
            message: "the board's file keeps changing while it is written".into(),
            hints: vec!["try again".into()],
        })
    }

    fn vanished(&self, id: &TaskId) -> Rejection {
        Rejection::TaskNotFound {
            wanted: id.to_string(),
            workspace: self.workspace.display().to_string(),
            hints: vec!["agentctl tasks list".into()],
        }
    }
}

pub(super) fn change(time_us: i64, by: &str, what: &str, fields: Vec<FieldChange>, text: &str) -> Change {
    Change {
        rev: 0,
        time_us,
        by: by.to_owned(),
        what: what.to_owned(),
        fields,
        text: text.to_owned(),
    }
}

fn refused(file: &FileState, index: usize, error: &EditError) -> Rejection {
    let line = file.document.entries.get(index).map_or(0, |entry| entry.line);
    let place = if line > 0 {
        format!("{}:{line}", file.path)
    } else {
        file.path.clone()
    };
    Rejection::BoardRefused {
        message: format!("{place}: {error}"),
        hints: vec![format!("edit {} by hand", file.path)],
    }
}

fn unwritable(path: &str, error: &GuardError) -> Rejection {
    let hint = match error {
        GuardError::ReadOnly(..) => format!("chmod u+w {path}"),
        _ => "agentctl tasks sync".into(),
    };
    Rejection::BoardRefused {
        message: format!("the board can't be written: {error}"),
        hints: vec![hint],
    }
}

pub(super) fn board_refused(problem: &Problem) -> Rejection {
    let place = match problem.line {
        0 => problem.path.clone(),
        line => format!("{}:{line}", problem.path),
    };
    let hint = match problem.code.as_str() {
        "missing" => "agentctl tasks sync --restore".to_owned(),
        _ => format!(
            "settle it in {}; the board shows its last good state meanwhile",
            problem.path
        ),
    };
    Rejection::BoardRefused {
        message: format!("{place}: {}", problem.message),
        hints: vec![hint],
    }
}
