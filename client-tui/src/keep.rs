//! Owns: what outlives this program on the person's own disk: drafts by session, and messages that were sent.
//! Guarantees: readable by the owner only; holds nothing but what was typed here; a write that fails costs
//! the convenience, never the session. Written at most once a second, and when the program ends.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::model::editor::Editor;

/// Between two writes of what is being typed.
const EVERY: Duration = Duration::from_secs(1);
/// Messages that are remembered.
const HISTORY: usize = 500;

/// The directory, and what is in it.
#[derive(Debug)]
pub(crate) struct Keep {
    dir: Option<PathBuf>,
    drafts: HashMap<String, String>,
    sent: usize,
    /// When what was typed is to be written.
    due: Option<Instant>,
}

impl Keep {
    /// Keeps in this directory; in none, nothing is kept.
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            drafts: HashMap::new(),
            sent: 0,
            due: None,
        }
    }

    /// The state directory of the person.
    pub(crate) fn usual() -> Option<PathBuf> {
        let dirs = directories::ProjectDirs::from("", "", "agentd")?;
        Some(dirs.state_dir()?.join("tui"))
    }

    /// Puts back what was kept.
    pub(crate) fn load(&mut self, model: &mut Model) {
        let Some(dir) = &self.dir else { return };
        let text = std::fs::read_to_string(dir.join("history")).unwrap_or_default();
        let all: Vec<String> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        model.history = all
            .iter()
            .skip(all.len().saturating_sub(HISTORY))
            .cloned()
            .collect();
        self.sent = model.history.len();
        for entry in std::fs::read_dir(dir.join("drafts"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if let (Some(id), Ok(text)) = (name.to_str(), std::fs::read_to_string(entry.path())) {
                self.drafts.insert(id.to_owned(), text.clone());
                model.drafts.insert(id.to_owned(), Editor::with(text));
            }
        }
    }

    /// When it has to be called next by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something happened: writes what changed, or notes that it has to.
    pub(crate) fn look(&mut self, model: &Model, now: Instant) {
        let changed = model.history.len() != self.sent
            || model.drafts.iter().any(|(id, draft)| self.differs(id, draft));
        match self.due {
            _ if !changed => self.due = None,
            None => self.due = Some(now + EVERY),
            Some(due) if due <= now => self.write(model),
            Some(_) => {}
        }
    }

    /// Writes what changed.
    pub(crate) fn write(&mut self, model: &Model) {
        self.due = None;
        if let Err(error) = self.try_write(model) {
            // Once is enough: the disk will not be better in a second.
            drop(error);
            self.dir = None;
        }
    }

    fn differs(&self, id: &str, draft: &Editor) -> bool {
        self.dir.is_some() && self.drafts.get(id).map_or("", String::as_str) != draft.expanded()
    }

    fn try_write(&mut self, model: &Model) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else {
            return Ok(());
        };
        private(&dir.join("drafts"))?;
        for (id, draft) in &model.drafts {
            // Ids come from the daemon; a path is made only of what is surely one.
            if !self.differs(id, draft) || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                continue;
            }
            let (path, text) = (dir.join("drafts").join(id), draft.expanded());
            if text.is_empty() {
                drop(std::fs::remove_file(&path));
            } else {
                replace(&path, text.as_bytes())?;
            }
            self.drafts.insert(id.clone(), text);
        }
        if model.history.len() != self.sent {
            self.add_history(&dir.join("history"), model)?;
        }
        Ok(())
    }

    /// Adds what was sent since; another program of the same person may have added as well.
    fn add_history(&mut self, path: &Path, model: &Model) -> io::Result<()> {
        let mut lines: Vec<String> = std::fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        let new = model.history.iter().skip(self.sent);
        lines.extend(new.filter_map(|text| serde_json::to_string(text).ok()));
        let skip = lines.len().saturating_sub(HISTORY);
        let text: String = lines.iter().skip(skip).map(|line| format!("{line}\n")).collect();
        replace(path, text.as_bytes())?;
        self.sent = model.history.len();
        Ok(())
    }
}

/// A directory that only its owner can enter.
fn private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces a file as a whole, readable by its owner only.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Desk;
    use std::os::unix::fs::PermissionsExt as _;

    fn again(dir: &Path) -> Model {
        let mut model = Desk::new(80, 24).model;
        Keep::new(Some(dir.to_owned())).load(&mut model);
        model
    }

    #[test]
    fn drafts_and_history_come_back_and_only_the_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("tui");
        let mut keep = Keep::new(Some(dir.clone()));
        let mut desk = Desk::session(80, 24, vec![]);
        desk.type_in("sent\n");
        desk.type_in("half a tho");
        keep.look(&desk.model, desk.start);
        assert_eq!(keep.due(), Some(desk.start + EVERY));
        keep.look(&desk.model, desk.start + EVERY);
        assert_eq!(keep.due(), None);
        let model = again(&dir);
        assert_eq!(model.history, ["sent"]);
        assert_eq!(model.drafts["s-7k2f"].expanded(), "half a tho");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("history")), 0o600);
        assert_eq!(mode(&dir.join("drafts/s-7k2f")), 0o600);
        desk.press("ctrl-c");
        keep.write(&desk.model);
        assert!(again(&dir).drafts.is_empty(), "a cleared draft is gone");
    }

    #[test]
    fn two_programs_keep_both_histories_and_neither_grows_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut desks: Vec<(Desk, Keep)> = (0..2)
            .map(|_| {
                (
                    Desk::session(80, 24, vec![]),
                    Keep::new(Some(dir.path().to_owned())),
                )
            })
            .collect();
        for (n, (desk, keep)) in desks.iter_mut().enumerate() {
            desk.type_in(&format!("from {n}\n"));
            keep.write(&desk.model);
        }
        assert_eq!(again(dir.path()).history, ["from 0", "from 1"]);
        let (desk, keep) = &mut desks[0];
        desk.model
            .history
            .extend((0..2 * HISTORY).map(|n| format!("{n}")));
        keep.write(&desk.model);
        assert_eq!(again(dir.path()).history.len(), HISTORY);
    }
}
