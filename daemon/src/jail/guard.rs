//! Owns: which parts of git repositories in a Workspace are read-only inside: hooks and config, since the host runs them.
//! Guarantees: a protected file can't be replaced by renaming a directory above it: every ancestor is a mount point.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How deep nested repositories are looked for, and how many entries are looked at.
const DEPTH: usize = 5;
const ENTRIES: usize = 20_000;

/// What to mount for git's sake. Paths relative to the Workspace, parents first; and, for worktrees and submodules, host
/// paths outside.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GitGuard {
    /// To be mount points of their own.
    pub pinned: Vec<PathBuf>,
    /// To be read-only.
    pub read_only: Vec<PathBuf>,
    /// Git directories outside the Workspace.
    pub outside: Vec<PathBuf>,
}

/// Looks at the repositories in and around `root`.
pub fn git_guard(root: &Path) -> GitGuard {
    let mut pinned = BTreeSet::new();
    let mut read_only = BTreeSet::new();
    let mut outside = Vec::new();
    let mut left = ENTRIES;
    let mut todo = vec![(PathBuf::new(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        let git = dir.join(".git");
        let host = root.join(&git);
        if let Ok(meta) = host.symlink_metadata() {
            if meta.is_dir() {
                protect(root, &git, &mut pinned, &mut read_only);
                protect_modules(root, &git.join("modules"), 0, &mut pinned, &mut read_only);
            } else if meta.is_file() {
                read_only.insert(git);
                if dir.as_os_str().is_empty() {
                    outside = outside_of(root, &host);
                }
            }
        }
        if depth >= DEPTH {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(root.join(&dir)) else {
            continue;
        };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            let name = entry.file_name();
            let skip = name == ".git" || name == "node_modules" || name == "target";
            if !skip && entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push((dir.join(name), depth + 1));
            }
        }
        if left == 0 {
            break;
        }
    }
    // Sorted: a parent comes before what lies in it.
    GitGuard {
        pinned: pinned.into_iter().collect(),
        read_only: read_only.into_iter().collect(),
        outside,
    }
}

fn protect(root: &Path, git: &Path, pinned: &mut BTreeSet<PathBuf>, read_only: &mut BTreeSet<PathBuf>) {
    for name in ["hooks", "config", "config.worktree"] {
        let path = git.join(name);
        // A symlink would be followed to a place that is not ours to judge.
        if root
            .join(&path)
            .symlink_metadata()
            .is_ok_and(|m| m.is_dir() || m.is_file())
        {
            read_only.insert(path);
        }
    }
    for ancestor in git.ancestors().filter(|a| !a.as_os_str().is_empty()) {
        pinned.insert(ancestor.to_owned());
    }
}

fn protect_modules(
    root: &Path,
    dir: &Path,
    depth: usize,
    pinned: &mut BTreeSet<PathBuf>,
    read_only: &mut BTreeSet<PathBuf>,
) {
    let Ok(entries) = std::fs::read_dir(root.join(dir)) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
    {
        let path = dir.join(entry.file_name());
        if root.join(&path).join("HEAD").is_file() {
            protect(root, &path, pinned, read_only);
            protect_modules(root, &path.join("modules"), depth + 1, pinned, read_only);
        } else if depth < DEPTH {
            protect_modules(root, &path, depth + 1, pinned, read_only);
        }
    }
}

/// The git directory and the common directory that a `.git` file names.
fn outside_of(root: &Path, file: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let Some(named) = text.lines().find_map(|l| l.strip_prefix("gitdir:")) else {
        return Vec::new();
    };
    let Ok(gitdir) = root.join(named.trim()).canonicalize() else {
        return Vec::new();
    };
    // Only what looks like a git directory: the file is the project's and could name anything.
    if !gitdir.join("HEAD").is_file() {
        return Vec::new();
    }
    let common = std::fs::read_to_string(gitdir.join("commondir"))
        .ok()
        .and_then(|c| gitdir.join(c.trim()).canonicalize().ok())
        .filter(|c| c.join("HEAD").is_file() && c.join("objects").is_dir());
    let mut dirs: Vec<PathBuf> = common.into_iter().collect();
    if !dirs.iter().any(|d| gitdir.starts_with(d)) {
        dirs.push(gitdir);
    }
    dirs.retain(|d| !d.starts_with(root));
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_repositories_are_pinned_with_their_ancestors() {
        let dir = tempfile::tempdir().unwrap();
        for path in [".git/hooks", "a/b/.git/hooks"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(dir.path().join(".git/config"), "").unwrap();
        let guard = git_guard(dir.path());
        assert_eq!(guard.pinned, [".git", "a", "a/b", "a/b/.git"].map(PathBuf::from));
        assert_eq!(
            guard.read_only,
            [".git/config", ".git/hooks", "a/b/.git/hooks"].map(PathBuf::from)
        );
    }
}
