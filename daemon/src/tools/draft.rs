//! Owns: a change of several files as a whole: planned in memory first, then written, or undone.
//! Guarantees: nothing is written until everything is known to fit; a file is replaced only while it is the one that was
//! planned on; when a write fails, those before it are taken back, and what could not be is said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::arguments::{blocking, explain, require_clear};
use super::output::cut_line;
use super::text::printable;
use super::{ChangeKind, FileChange, ToolContext, ToolError};
use crate::domain::policy::visible;
use crate::workspace::{Expect, FileContent, Guard, GuardError, Kind, Stamp};

/// Larger files are data, not source; a program through exec edits them better.
const MAX_FILE: u64 = 10 * 1024 * 1024;
/// Counting changed lines is a courtesy; it may not cost more than this per file.
const COUNT_TIME: Duration = Duration::from_millis(300);

/// Files as they are and as they shall be.
#[derive(Debug, Default)]
pub(super) struct Draft {
    files: Vec<DraftFile>,
}

#[derive(Debug)]
struct DraftFile {
    path: PathBuf,
    /// As found on disk.
    found: Option<FileContent>,
    /// As it shall be; `None` = no file.
    wanted: Option<Vec<u8>>,
    /// The file this one continues under a new name.
    moved_from: Option<PathBuf>,
}

impl Draft {
    /// Loads a file that may not exist, or returns it as already drafted.
    pub(super) fn load(&mut self, ctx: &ToolContext, path: &Path) -> Result<Option<&[u8]>, ToolError> {
        let index = self.index(ctx, path)?;
        Ok(self.files.get(index).and_then(|file| file.wanted.as_deref()))
    }

    /// What the file was when it was loaded.
    pub(super) fn stamp(&self, path: &Path) -> Option<&Stamp> {
        let file = self.files.iter().find(|file| file.path == path)?;
        file.found.as_ref().map(|found| &found.stamp)
    }

    /// The file's content shall be this; `None` = it shall be gone.
    pub(super) fn set(
        &mut self,
        ctx: &ToolContext,
        path: &Path,
        wanted: Option<Vec<u8>>,
    ) -> Result<(), ToolError> {
        let index = self.index(ctx, path)?;
        if let Some(file) = self.files.get_mut(index) {
            file.wanted = wanted;
        }
        Ok(())
    }

    /// The drafted content of `from` shall have the name `to`, where nothing may be.
    pub(super) fn rename(&mut self, ctx: &ToolContext, from: &Path, to: &Path) -> Result<(), ToolError> {
        if from == to {
            return Ok(());
        }
        if self.load(ctx, to)?.is_some() {
            let to = visible(&ctx.paths.show(to));
            return Err(ToolError::Refused(format!(
                "{to} already exists; nothing was written. Delete it first or choose another name."
            )));
        }
        let content = self.load(ctx, from)?.map(<[u8]>::to_vec);
        self.set(ctx, from, None)?;
        self.set(ctx, to, content)?;
        if let Some(file) = self.files.iter_mut().find(|file| file.path == to) {
            file.moved_from = Some(from.to_path_buf());
        }
        Ok(())
    }

    fn index(&mut self, ctx: &ToolContext, path: &Path) -> Result<usize, ToolError> {
        if let Some(index) = self.files.iter().position(|file| file.path == path) {
            return Ok(index);
        }
        let found = match ctx.guard.read(path, MAX_FILE + 1) {
            Ok(content) if content.total_bytes > MAX_FILE => {
                return Err(ToolError::Refused(format!(
                    "{} has {} bytes; files over {} MiB are not edited by this tool. Use a program through exec.",
                    visible(&ctx.paths.show(path)),
                    content.total_bytes,
                    MAX_FILE / (1024 * 1024)
                )));
            }
            Ok(content) if !content.is_whole() => {
                return Err(explain(ctx, &GuardError::Stale(path.to_path_buf())));
            }
            Ok(content) => Some(content),
            Err(GuardError::NotFound(_)) => None,
            Err(error) => return Err(explain(ctx, &error)),
        };
        let wanted = found.as_ref().map(|content| content.bytes.clone());
        self.files.push(DraftFile {
            path: path.to_path_buf(),
            found,
            wanted,
            moved_from: None,
        });
        Ok(self.files.len() - 1)
    }

    /// Writes what changed, with the hook told before and after. Returns the changes and notes worth saying.
    pub(super) async fn commit(
        mut self,
        ctx: &ToolContext,
    ) -> Result<(Vec<FileChange>, Vec<String>), ToolError> {
        self.files
            .retain(|file| file.found.as_ref().map(|found| &found.bytes) != file.wanted.as_ref());
        // Deletions last: a crash in between leaves a file too many rather than one too few.
        self.files.sort_by_key(|file| file.wanted.is_none());
        let paths: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        for path in &paths {
            require_clear(ctx, path)?;
        }
        if paths.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        if ctx.cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        ctx.hook.before(&paths).await?;
        let inner = ctx.clone();
        let outcome = blocking(move || {
            let notes = self.write_all(&inner)?;
            Ok((self.changes(), notes))
        })
        .await;
        match outcome {
            Ok((changes, notes)) => {
                ctx.hook.after(&changes).await;
                Ok((changes, notes))
            }
            Err(error) => {
                // Whoever prepared for a change is told that there was none.
                ctx.hook.after(&[]).await;
                Err(error)
            }
        }
    }

    fn write_all(&self, ctx: &ToolContext) -> Result<Vec<String>, ToolError> {
        let mut notes = Vec::new();
        let mut done: Vec<(&DraftFile, Option<Stamp>, Vec<PathBuf>)> = Vec::new();
        for file in &self.files {
            let expect = match &file.found {
                Some(found) => Expect::Stamp(found.stamp.clone()),
                None => Expect::Absent,
            };
            let result = match &file.wanted {
                Some(bytes) => ctx
                    .guard
                    .write_as(&file.path, bytes, &expect, self.mode_of(file))
                    .map(|written| {
                        if written.broke_link {
                            notes.push(format!(
                                "{} had another name (a hard link); that name keeps the old content.",
                                visible(&ctx.paths.show(&file.path))
                            ));
                        }
                        (Some(written.stamp), written.made_dirs)
                    }),
                None => remove(&ctx.guard, &file.path, &expect).map(|()| (None, Vec::new())),
            };
            match result {
                Ok((stamp, made_dirs)) => done.push((file, stamp, made_dirs)),
                Err(error) => return Err(take_back(ctx, &error, &done)),
            }
        }
        for (file, stamp, _) in done {
            match stamp {
                Some(stamp) => {
                    // Editing what was only glimpsed does not make it known whole.
                    let known =
                        file.found.is_none() || ctx.files.get(&file.path).is_some_and(|seen| seen.read);
                    if known {
                        ctx.files.read(&file.path, stamp)
                    } else {
                        ctx.files.glimpsed(&file.path, stamp)
                    }
                }
                None => ctx.files.forget(&file.path),
            }
        }
        Ok(notes)
    }

    fn changes(&self) -> Vec<FileChange> {
        let sources: Vec<&Path> = self
            .files
            .iter()
            .filter_map(|file| Some(self.source(file)?.path.as_path()))
            .collect();
        let mut changes = Vec::new();
        for file in &self.files {
            if file.wanted.is_none() && sources.contains(&file.path.as_path()) {
                continue;
            }
            let source = self.source(file);
            let found = source.unwrap_or(file).found.as_ref();
            let before = found.map(|found| found.bytes.clone());
            let kind = match (source, &before, &file.wanted) {
                (Some(source), _, _) => ChangeKind::Renamed {
                    from: source.path.clone(),
                },
                (None, None, _) => ChangeKind::Created,
                (None, Some(_), None) => ChangeKind::Deleted,
                (None, Some(_), Some(_)) => ChangeKind::Modified,
            };
            let after = file.wanted.clone();
            let (added, removed) = count(
                before.as_deref().unwrap_or_default(),
                after.as_deref().unwrap_or_default(),
            );
            changes.push(FileChange {
                path: file.path.clone(),
                kind,
                added,
                removed,
                before,
                after,
                mode: found.map(|found| found.mode),
            });
        }
        changes
    }

    /// A moved script stays executable.
    fn mode_of(&self, file: &DraftFile) -> Option<u32> {
        self.source(file)?.found.as_ref().map(|found| found.mode)
    }

    /// The file on disk that `file` continues. A file moved over one that was there is a change there and a deletion
    /// here, not a rename; one that is new itself has no source.
    fn source(&self, file: &DraftFile) -> Option<&DraftFile> {
        let from = file.moved_from.as_ref().filter(|_| file.found.is_none())?;
        self.files
            .iter()
            .find(|other| other.path == *from && other.found.is_some() && other.wanted.is_none())
    }
}

fn remove(guard: &Guard, path: &Path, expect: &Expect) -> Result<(), GuardError> {
    match guard.kind(path)? {
        Kind::File => guard.remove(path, expect),
        kind => Err(GuardError::NotAFile(path.to_path_buf(), kind)),
    }
}

/// Undoes the writes made so far, each only if nobody touched the file since.
fn take_back(
    ctx: &ToolContext,
    error: &GuardError,
    done: &[(&DraftFile, Option<Stamp>, Vec<PathBuf>)],
) -> ToolError {
    let mut left: Vec<String> = Vec::new();
    for (file, stamp, made_dirs) in done.iter().rev() {
        let now = stamp.clone().map_or(Expect::Absent, Expect::Stamp);
        let undone = match &file.found {
            Some(found) => ctx
                .guard
                .write_as(&file.path, &found.bytes, &now, Some(found.mode))
                .map(|_| ()),
            None => ctx.guard.remove(&file.path, &now),
        };
        ctx.guard.remove_dirs(made_dirs);
        if let Err(error) = undone {
            left.push(format!("{} ({error})", visible(&ctx.paths.show(&file.path))));
        }
    }
    let cause = explain(ctx, error);
    if left.is_empty() {
        ToolError::Refused(format!("{cause} No file was changed."))
    } else {
        ToolError::Failed(format!(
            "{cause} These files were changed already and could not be restored: {}",
            left.join(", ")
        ))
    }
}

/// Lines added and removed.
fn count(before: &[u8], after: &[u8]) -> (u32, u32) {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let diff = TextDiff::configure()
        .timeout(COUNT_TIME)
        .diff_lines(before.as_ref(), after.as_ref());
    let mut counts = (0u32, 0u32);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => counts.0 = counts.0.saturating_add(1),
            ChangeTag::Delete => counts.1 = counts.1.saturating_add(1),
            ChangeTag::Equal => {}
        }
    }
    counts
}

/// The model's summary of changes: one line per file.
pub(super) fn describe(ctx: &ToolContext, changes: &[FileChange]) -> String {
    let lines = changes.iter().map(|change| {
        let path = visible(&ctx.paths.show(&change.path));
        let counts = format!("(+{} -{})", change.added, change.removed);
        match &change.kind {
            ChangeKind::Created => format!("created {path} {counts}"),
            ChangeKind::Modified => format!("changed {path} {counts}"),
            ChangeKind::Deleted => format!("deleted {path} {counts}"),
            ChangeKind::Renamed { from } => {
                format!("renamed {} to {path} {counts}", visible(&ctx.paths.show(from)))
            }
        }
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// Refuses to edit a file that changed since the model saw it, and shows it the place as it is now.
pub(super) fn require_fresh(
    ctx: &ToolContext,
    draft: &Draft,
    path: &Path,
    plain: &str,
    wanted: &[&str],
) -> Result<(), ToolError> {
    let (Some(now), Some(seen)) = (draft.stamp(path), ctx.files.get(path)) else {
        return Ok(());
    };
    if now.same_content(&seen.stamp) {
        return Ok(());
    }
    let shown = excerpt(plain, wanted);
    let path_shown = visible(&ctx.paths.show(path));
    let next = match shown {
        Some(text) => {
            ctx.files.glimpsed(path, now.clone());
            format!(
                "It now reads:\n{text}\nIf the edit still fits, send it again; else `read` the file first."
            )
        }
        None => format!("`read` {path_shown} again, then edit."),
    };
    Err(ToolError::Refused(format!(
        "{path_shown} changed since you last read or wrote it (a command, or a person). Nothing was written. {next}"
    )))
}

/// The lines closest to the wanted ones, numbered.
pub(super) fn excerpt(plain: &str, wanted: &[&str]) -> Option<String> {
    let lines: Vec<&str> = plain.lines().collect();
    let exact = super::matching::find_lines(&lines, wanted, 0, super::matching::Rung::Punctuation).at;
    let (first, height) = match exact.first() {
        Some(at) => (*at, wanted.len()),
        None => super::matching::closest(&lines, wanted)?,
    };
    let start = first.saturating_sub(1);
    let shown: Vec<String> = lines
        .iter()
        .enumerate()
        .skip(start)
        .take(height.min(12) + 2)
        .map(|(index, line)| format!("{:>6}\t{}", index + 1, cut_line(&printable(line), 300)))
        .collect();
    Some(shown.join("\n"))
}
