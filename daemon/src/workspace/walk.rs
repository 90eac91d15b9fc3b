//! Owns: walking the files of a Workspace the way git sees them.
//! Guarantees: directories are opened beneath the Workspace without following links; ignore files are read through the
//! guard too, so one that is a FIFO or a link to a device harms nobody; order is by name; every bound is explicit.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::ResolveFlags;

use super::guard::{Guard, GuardError, Kind, normal};

/// An ignore file larger than this is not one.
const MAX_IGNORE_FILE: u64 = 512 * 1024;
/// Deeper trees are traps (JAIL.md 65); the rest of the tree is still walked.
const MAX_DEPTH: usize = 128;
/// Entries taken from one directory.
const MAX_ENTRIES: usize = 100_000;

/// What a walk left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Directories that could not be read, were too deep, or had too many entries.
    pub directories: usize,
}

impl Guard {
    /// Calls `visit` for every regular file beneath `start` that no ignore file excludes, until it breaks. `.git` is
    /// left out; other hidden files are not. A start that is ignored itself is walked: it was asked for.
    pub fn walk(
        &self,
        start: &Path,
        mut visit: impl FnMut(&Path) -> ControlFlow<()>,
    ) -> Result<Skipped, GuardError> {
        if let Some((one, inner)) = self.elsewhere(start) {
            let walked = one
                .guard
                .walk_here(inner, &mut |path: &Path| visit(&one.outer(path)));
            return walked.map_err(|error| one.error(error));
        }
        self.walk_here(start, &mut visit)
    }

    fn walk_here(
        &self,
        start: &Path,
        visit: &mut impl FnMut(&Path) -> ControlFlow<()>,
    ) -> Result<Skipped, GuardError> {
        let start = normal(start)?;
        let mut skipped = Skipped::default();
        // Ignore files of the directories above apply as well, outermost first.
        let mut rules: Vec<Gitignore> = self.rules_of_repository();
        let mut above = PathBuf::new();
        for part in start.iter() {
            rules.extend(self.rules_in(&above));
            above.push(part);
        }
        // The start itself must be readable; its inside may be partly not.
        self.list_with(&start, 0, ResolveFlags::NO_SYMLINKS, false)?;
        let base = start.components().count();
        let _ = self.walk_in(&start, base, &mut rules, visit, &mut skipped);
        Ok(skipped)
    }

    fn walk_in(
        &self,
        dir: &Path,
        base: usize,
        rules: &mut Vec<Gitignore>,
        visit: &mut impl FnMut(&Path) -> ControlFlow<()>,
        skipped: &mut Skipped,
    ) -> ControlFlow<()> {
        if dir.components().count().saturating_sub(base) > MAX_DEPTH {
            skipped.directories += 1;
            return ControlFlow::Continue(());
        }
        let Ok(listing) = self.list_with(dir, MAX_ENTRIES, ResolveFlags::NO_SYMLINKS, false) else {
            skipped.directories += 1;
            return ControlFlow::Continue(());
        };
        if listing.more || listing.total > listing.entries.len() {
            skipped.directories += 1;
        }
        let kept = rules.len();
        if listing
            .entries
            .iter()
            .any(|entry| entry.name == ".gitignore" || entry.name == ".ignore")
        {
            rules.extend(self.rules_in(dir));
        }
        let mut flow = ControlFlow::Continue(());
        for entry in &listing.entries {
            let path = dir.join(&entry.name);
            flow = match entry.kind {
                Kind::Directory if entry.name != ".git" && !is_ignored(rules, &path, true) => {
                    self.walk_in(&path, base, rules, visit, skipped)
                }
                Kind::File if !is_ignored(rules, &path, false) => visit(&path),
                _ => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                break;
            }
        }
        rules.truncate(kept);
        flow
    }

    fn rules_of_repository(&self) -> Vec<Gitignore> {
        self.rules_from(Path::new(""), Path::new(".git/info/exclude"))
            .into_iter()
            .collect()
    }

    /// `.gitignore`, then `.ignore`, which overrules it.
    fn rules_in(&self, dir: &Path) -> Vec<Gitignore> {
        [".gitignore", ".ignore"]
            .iter()
            .filter_map(|name| self.rules_from(dir, &dir.join(name)))
            .collect()
    }

    fn rules_from(&self, dir: &Path, file: &Path) -> Option<Gitignore> {
        let content = self.read(file, MAX_IGNORE_FILE).ok()?;
        let text = String::from_utf8_lossy(&content.bytes);
        let mut builder = GitignoreBuilder::new(dir);
        for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
            // A line that is no glob is ignored, as git does.
            let _ = builder.add_line(None, line);
        }
        builder.build().ok().filter(|rules| !rules.is_empty())
    }
}

/// The innermost file with an opinion decides.
fn is_ignored(rules: &[Gitignore], path: &Path, is_dir: bool) -> bool {
    for rule in rules.iter().rev() {
        match rule.matched(path, is_dir) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
    }
    false
}
