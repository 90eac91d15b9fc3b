//! Owns: directories that were added beside a Workspace, reached through the same guard by their absolute paths.
//! Guarantees: each is resolved beneath its own handle, as the Workspace is; a path that lies in none of them is nobody's;
//! nothing is written in one that was added read-only.

use std::path::{Path, PathBuf};

use super::guard::{Guard, GuardError};
use crate::domain::workspace::above_root_is_root;

/// A directory beside the Workspace.
#[derive(Debug)]
pub(super) struct Added {
    /// Its path, the same inside as outside.
    at: PathBuf,
    pub(super) guard: Guard,
    writable: bool,
}

impl Guard {
    /// Also reaches these directories (absolute paths without links; true: may be written). One that is gone, or has a link in
    /// its way by now, is nobody's: who can write beside it must not choose what we read.
    #[must_use]
    pub fn with_added<'a>(mut self, dirs: impl IntoIterator<Item = (&'a Path, bool)>) -> Self {
        for (dir, writable) in dirs {
            let Ok(guard) = Self::open_itself(dir) else {
                self.lost.push(dir.to_owned());
                continue;
            };
            self.added.push(Added {
                at: dir.to_owned(),
                guard,
                writable,
            });
        }
        // The nearest counts where one lies in another.
        self.added
            .sort_by_key(|one| std::cmp::Reverse(one.at.components().count()));
        self
    }

    /// The added directories, and whether they may be written.
    pub fn added_dirs(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.added.iter().map(|one| (one.at.as_path(), one.writable))
    }

    /// Those that are gone, or have something else in their place.
    pub fn lost_dirs(&self) -> impl Iterator<Item = &Path> {
        self.lost.iter().map(PathBuf::as_path)
    }

    /// An absolute path without dots, where it lies in an added directory.
    pub fn in_added(&self, absolute: &Path) -> Option<PathBuf> {
        let plain = above_root_is_root(absolute);
        let known = absolute.is_absolute() && self.added.iter().any(|one| plain.starts_with(&one.at));
        known.then_some(plain)
    }

    /// Where `given` lies, as somebody inside calls it: relative to the Workspace, or absolute in an added directory.
    /// `relative` is what it would be in the Workspace, whose name inside is `root`.
    pub fn locate(&self, root: &Path, relative: Option<PathBuf>, given: &Path) -> Option<PathBuf> {
        // Where the Workspace is `/` itself, what was added covers a part of it.
        if relative.is_some() && root != Path::new("/") {
            return relative;
        }
        let absolute = root.join(given);
        if self
            .lost
            .iter()
            .any(|dir| above_root_is_root(&absolute).starts_with(dir))
        {
            // Not the project's file of that name either: the caller means another.
            return None;
        }
        self.in_added(&absolute).or(relative)
    }

    /// What is known by an absolute path: whose it is, and how it is called there.
    pub(super) fn elsewhere<'a>(&'a self, path: &'a Path) -> Option<(&'a Added, &'a Path)> {
        if self.added.is_empty() || !path.is_absolute() {
            return None;
        }
        let found = |one: &'a Added| Some((one, path.strip_prefix(&one.at).ok()?));
        self.added.iter().find_map(found)
    }

    /// Says no where `path` may be read only.
    pub fn require_writable(&self, path: &Path) -> Result<(), GuardError> {
        match self.elsewhere(path) {
            Some((one, _)) if !one.writable => Err(GuardError::AddedReadOnly(path.to_path_buf())),
            _ => Ok(()),
        }
    }
}

impl Added {
    /// How something in it is called outside it.
    pub(super) fn outer(&self, inner: &Path) -> PathBuf {
        if inner.as_os_str().is_empty() {
            self.at.clone()
        } else {
            self.at.join(inner)
        }
    }

    /// A "no" about something in it, by the name it was asked for.
    pub(super) fn error(&self, error: GuardError) -> GuardError {
        error.map_path(|path| self.outer(&path))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::super::{Expect, Kind};
    use super::*;

    fn place() -> (tempfile::TempDir, Guard) {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["w", "shared/deep", "notes", "other"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("shared/deep/a.txt"), "a").unwrap();
        std::fs::write(dir.path().join("notes/n.txt"), "n").unwrap();
        std::fs::write(dir.path().join("other/o.txt"), "o").unwrap();
        let at = |name: &str| dir.path().join(name);
        let dirs = [(at("shared"), true), (at("notes"), false), (at("gone"), true)];
        let guard = Guard::open(&at("w"))
            .unwrap()
            .with_added(dirs.iter().map(|(dir, writable)| (dir.as_path(), *writable)));
        (dir, guard)
    }

    #[test]
    fn an_added_directory_is_reached_by_its_own_path() {
        let (dir, guard) = place();
        let at = |name: &str| dir.path().join(name);
        let file = at("shared/deep/a.txt");
        assert_eq!(
            guard.in_added(&at("shared/./deep/../deep/a.txt")),
            Some(file.clone())
        );
        assert_eq!(guard.in_added(&at("other/o.txt")), None);
        assert_eq!(guard.in_added(&at("shared/../other/o.txt")), None);
        assert_eq!(guard.in_added(Path::new("shared/deep")), None);
        assert_eq!(guard.real(&file).unwrap(), file);
        assert_eq!(guard.kind(&at("shared")).unwrap(), Kind::Directory);
        assert_eq!(guard.read(&file, 9).unwrap().bytes, b"a");
        let names = guard.list(&at("shared"), 9).unwrap().entries;
        assert_eq!(names[0].name, "deep");
        let mut seen = Vec::new();
        let walked = guard.walk(&at("shared"), |path| {
            seen.push(path.to_owned());
            ControlFlow::Continue(())
        });
        walked.unwrap();
        assert_eq!(seen, [file]);
        let made = guard
            .write(&at("shared/new/b.txt"), b"b", &Expect::Absent)
            .unwrap();
        assert_eq!(made.made_dirs, [at("shared/new")]);
        assert_eq!(std::fs::read(at("shared/new/b.txt")).unwrap(), b"b");
        guard.remove(&at("shared/new/b.txt"), &Expect::Any).unwrap();
        guard.remove_dirs(&made.made_dirs);
        assert!(!at("shared/new").exists());
    }

    #[test]
    fn a_link_in_its_place_leads_nowhere() {
        let (dir, _) = place();
        let at = |name: &str| dir.path().join(name);
        let guard = |added: &Path| Guard::open(&at("w")).unwrap().with_added([(added, true)]);
        std::fs::rename(at("shared"), at("was")).unwrap();
        std::os::unix::fs::symlink(at("other"), at("shared")).unwrap();
        let swapped = guard(&at("shared"));
        assert_eq!(swapped.in_added(&at("shared/o.txt")), None);
        assert!(swapped.lost_dirs().eq([at("shared").as_path()]));
        // Where the workspace is `/`, that path would else be one in it.
        let below = at("shared/o.txt");
        let relative = Some(PathBuf::from("shared/o.txt"));
        assert_eq!(swapped.locate(Path::new("/"), relative, &below), None);
        assert!(swapped.read(&at("shared/o.txt"), 9).is_err());
        // Above it, too.
        std::fs::create_dir(at("other/deep")).unwrap();
        assert_eq!(guard(&at("shared/deep")).in_added(&at("shared/deep")), None);
    }

    #[test]
    fn a_name_means_what_it_means_to_the_kernel_inside() {
        let (dir, guard) = place();
        let (root, shared) = (dir.path().join("w"), dir.path().join("shared/x"));
        let place = |root: &Path, relative: Option<&str>, given: &Path| {
            guard.locate(root, relative.map(PathBuf::from), given)
        };
        assert_eq!(place(&root, Some("a"), Path::new("a")), Some("a".into()));
        assert_eq!(place(&root, None, &shared), Some(shared.clone()));
        assert_eq!(place(&root, None, Path::new("../shared/x")), Some(shared.clone()));
        assert_eq!(place(&root, None, Path::new("../other/x")), None);
        let below = shared.strip_prefix("/").unwrap();
        let top = Path::new("/");
        assert_eq!(place(top, below.to_str(), &shared), Some(shared.clone()));
        assert_eq!(place(top, below.to_str(), below), Some(shared.clone()));
        assert_eq!(place(top, Some("a"), Path::new("/a")), Some("a".into()));
    }

    #[test]
    fn nothing_leads_out_of_it_and_read_only_is_read_only() {
        let (dir, guard) = place();
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("../other", at("shared/out")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("shared/abs")).unwrap();
        for path in [
            "shared/out/o.txt",
            "shared/abs",
            "other/o.txt",
            "shared/../other/o.txt",
        ] {
            let no = guard.read(&at(path), 9).unwrap_err();
            assert!(matches!(no, GuardError::Outside(_)), "{path}: {no}");
            assert!(guard.real(&at(path)).is_err(), "{path}");
        }
        let missing = guard.read(&at("shared/none"), 9).unwrap_err();
        assert!(
            matches!(&missing, GuardError::NotFound(path) if *path == at("shared/none")),
            "{missing}"
        );
        assert_eq!(guard.read(&at("notes/n.txt"), 9).unwrap().bytes, b"n");
        for no in [
            guard.write(&at("notes/n.txt"), b"x", &Expect::Any).map(|_| ()),
            guard.remove(&at("notes/n.txt"), &Expect::Any),
            guard.require_writable(&at("notes")),
        ] {
            assert!(matches!(no, Err(GuardError::AddedReadOnly(_))), "{no:?}");
        }
        assert_eq!(std::fs::read(at("notes/n.txt")).unwrap(), b"n");
        assert!(guard.require_writable(Path::new("a")).is_ok());
    }
}
