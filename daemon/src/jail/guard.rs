//! Owns: which parts of git repositories in a Workspace are read-only inside: what the host's git would run or follow.
//! Guarantees: a protected file can't be replaced by renaming a directory above it: every ancestor is a mount point; one
//! that does not exist can't be made; what can't be prevented is noticed after the command and said.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::durable::Point;

/// How deep nested repositories are looked for, and how many entries are looked at.
const DEPTH: usize = 5;
const ENTRIES: usize = 20_000;

/// A protected place that does not exist yet: made before the Jail, empty, so that it can be a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A directory.
    Dir(PathBuf),
    /// A file.
    File(PathBuf),
}

/// What to mount for git's sake. Paths are relative to the Workspace, or absolute where they lie outside; parents first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GitGuard {
    /// To be mount points of their own.
    pub pinned: Vec<PathBuf>,
    /// To be read-only.
    pub read_only: Vec<PathBuf>,
    /// To be made first.
    pub missing: Vec<Missing>,
    /// Git directories outside the Workspace, writable.
    pub outside: Vec<PathBuf>,
    /// Main git directories: one of these never holds a `commondir`.
    pub mains: Vec<PathBuf>,
}

/// While looking.
struct Finder<'a> {
    root: &'a Path,
    pinned: BTreeSet<PathBuf>,
    read_only: BTreeSet<PathBuf>,
    missing: Vec<Missing>,
    mains: Vec<PathBuf>,
}

/// Looks at the repositories in and around `root`.
pub fn git_guard(root: &Path) -> GitGuard {
    let mut found = Finder {
        root,
        pinned: BTreeSet::new(),
        read_only: BTreeSet::new(),
        missing: Vec::new(),
        mains: Vec::new(),
    };
    let mut outside = Vec::new();
    let mut left = ENTRIES;
    let mut todo = vec![(PathBuf::new(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        let git = dir.join(".git");
        let host = root.join(&git);
        if let Ok(meta) = host.symlink_metadata() {
            if meta.is_dir() {
                found.protect(&git);
            } else if meta.is_symlink() {
                // The link itself can't be held; what it leads to can.
                if let Ok(real) = host.canonicalize()
                    && let Ok(inside) = real.strip_prefix(root)
                    && real.join("HEAD").is_file()
                {
                    found.protect(inside);
                }
            } else if dir.as_os_str().is_empty() {
                found.read_only.insert(git);
                outside = outside_of(root, &host);
            } else if is_submodule(&host) {
                // `git status` of the repository around it goes into submodules.
                found.pin(&dir);
                found.read_only.insert(git);
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
    for dir in &outside {
        found.protect(dir);
    }
    // Sorted: a parent comes before what lies in it.
    GitGuard {
        pinned: found.pinned.into_iter().collect(),
        read_only: found.read_only.into_iter().collect(),
        missing: found.missing,
        outside,
        mains: found.mains,
    }
}

impl GitGuard {
    /// The same with the repositories in directories beside the Workspace, by their absolute paths.
    #[must_use]
    pub fn with_beside<'a>(mut self, dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        let dirs: BTreeSet<&Path> = dirs.into_iter().collect();
        for dir in &dirs {
            if dirs.iter().any(|other| other != dir && dir.starts_with(other)) {
                continue;
            }
            let found = git_guard(dir);
            // What lies outside it is not shown, so it needs no protection.
            let inside = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
                let paths = paths.into_iter().map(|path| dir.join(path));
                paths.filter(|path| path.starts_with(dir)).collect()
            };
            let outer = |missing: Missing| {
                let (path, how): (_, fn(PathBuf) -> Missing) = match missing {
                    Missing::Dir(path) => (path, Missing::Dir),
                    Missing::File(path) => (path, Missing::File),
                };
                Some(dir.join(path)).filter(|path| path.starts_with(dir)).map(how)
            };
            self.pinned.extend(inside(found.pinned));
            self.read_only.extend(inside(found.read_only));
            self.missing.extend(found.missing.into_iter().filter_map(outer));
        }
        self
    }
}

impl Finder<'_> {
    fn pin(&mut self, path: &Path) {
        if path.is_absolute() {
            // Outside, only what is visible at all can be held.
            self.pinned.insert(path.to_owned());
            return;
        }
        for ancestor in path.ancestors().filter(|a| !a.as_os_str().is_empty()) {
            self.pinned.insert(ancestor.to_owned());
        }
    }

    fn kind(&self, path: &Path) -> Option<std::fs::FileType> {
        self.root
            .join(path)
            .symlink_metadata()
            .ok()
            .map(|m| m.file_type())
    }

    /// One git directory, its submodules' and its worktrees'.
    fn protect(&mut self, git: &Path) {
        self.pin(git);
        let real = self.root.join(git).join("HEAD").is_file();
        let config = std::fs::read_to_string(self.root.join(git).join("config")).unwrap_or_default();
        let per_worktree = config.to_ascii_lowercase().contains("worktreeconfig");
        for name in ["hooks", "config", "config.worktree"] {
            let path = git.join(name);
            match self.kind(&path) {
                // A symlink would be followed to a place that is not ours to judge.
                Some(kind) if kind.is_dir() || kind.is_file() => {
                    self.read_only.insert(path);
                }
                Some(_) => {}
                None if real && (name != "config.worktree" || per_worktree) => {
                    self.missing.push(if name == "hooks" {
                        Missing::Dir(path.clone())
                    } else {
                        Missing::File(path.clone())
                    });
                    self.read_only.insert(path);
                }
                None => {}
            }
        }
        if self.kind(&git.join("commondir")).is_some() {
            self.read_only.insert(git.join("commondir"));
        } else if real {
            self.mains.push(self.root.join(git));
        }
        self.protect_modules(&git.join("modules"), 0);
        self.protect_worktrees(&git.join("worktrees"));
    }

    fn protect_modules(&mut self, dir: &Path, depth: usize) {
        for path in self.directories_in(dir) {
            if self.root.join(&path).join("HEAD").is_file() {
                self.protect(&path);
            } else if depth < DEPTH {
                self.protect_modules(&path, depth + 1);
            }
        }
    }

    /// What the host's git follows in worktrees elsewhere. Those inside the Workspace stay removable: whoever writes there
    /// can point them anywhere as it is.
    fn protect_worktrees(&mut self, dir: &Path) {
        for path in self.directories_in(dir) {
            let named = std::fs::read_to_string(self.root.join(&path).join("gitdir")).unwrap_or_default();
            let place = Path::new(named.trim())
                .parent()
                .map(Path::to_owned)
                .unwrap_or_default();
            if place != self.root && place.starts_with(self.root) {
                continue;
            }
            self.pin(dir);
            self.pin(&path);
            for name in ["commondir", "config.worktree"] {
                if self.kind(&path.join(name)).is_some_and(|k| k.is_file()) {
                    self.read_only.insert(path.join(name));
                }
            }
        }
    }

    fn directories_in(&self, dir: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(self.root.join(dir))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| dir.join(e.file_name()))
            .collect()
    }
}

fn is_submodule(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.starts_with("gitdir:") && text.contains("/modules/"))
}

/// Looks, after each command, at what no mount could prevent.
#[derive(Debug, Default)]
pub struct GitWatch {
    root: PathBuf,
    mains: Vec<PathBuf>,
    /// Which `.git` the guard was made for.
    known: Option<(u64, u64)>,
    /// What was said last.
    said: String,
}

impl GitWatch {
    /// For a Jail that starts, or is found, now.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            mains: git_guard(root).mains,
            known: identity(&root.join(".git")),
            said: String::new(),
        }
    }

    /// A sentence, once for each thing.
    pub fn look(&mut self) -> Option<String> {
        let mut says = Vec::new();
        for main in &self.mains {
            let common = main.join("commondir");
            if common.symlink_metadata().is_err() {
                continue;
            }
            // git has no such file in a repository's own directory; with it the host's git would take its settings and
            // hooks from wherever it says.
            let aside = main.join(format!("commondir.refused-{:x}", fastrand::u32(..)));
            let moved = Point::CommondirRename.through(|| std::fs::rename(&common, &aside));
            says.push(match moved {
                Ok(()) => format!(
                    "{} would have sent git outside to other settings and hooks; it was moved to {}.",
                    common.display(),
                    aside.display()
                ),
                Err(error) => format!(
                    "{} sends git outside to other settings and hooks, and could not be moved away ({error}): remove it \
                     before you run git there.",
                    common.display()
                ),
            });
        }
        let git = self.root.join(".git");
        if identity(&git) != self.known
            && let Some(why) = dangerous(&git)
        {
            says.push(format!(
                "A command made the project's .git, and {why}: look at it before you run git there outside."
            ));
        }
        let says = says.join(" ");
        if says == self.said {
            return None;
        }
        self.said.clone_from(&says);
        Some(says).filter(|s| !s.is_empty())
    }
}

/// A directory's own number; a `.git` that is a file or a link is known by it, too.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = path.symlink_metadata().ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Settings with which git runs a program or reads further settings.
const RUNS: [&str; 16] = [
    "fsmonitor",
    "hookspath",
    "sshcommand",
    "askpass",
    "pager",
    "editor",
    "helper",
    "program",
    "textconv",
    "smudge",
    "clean",
    "process",
    "external",
    "driver",
    "path",
    "cmd",
];

/// Why the host's git should not meet this repository unseen.
fn dangerous(git: &Path) -> Option<String> {
    let meta = git.symlink_metadata().ok()?;
    if !meta.is_dir() {
        return Some("it leads elsewhere".to_owned());
    }
    if git.join("commondir").symlink_metadata().is_ok() {
        return Some("its commondir leads elsewhere".to_owned());
    }
    let hooks = std::fs::read_dir(git.join("hooks"))
        .into_iter()
        .flatten()
        .flatten();
    for hook in hooks {
        let name = hook.file_name();
        if !name.to_string_lossy().ends_with(".sample") {
            return Some(format!("it has the hook {}", name.to_string_lossy()));
        }
    }
    for name in ["config", "config.worktree"] {
        let text = std::fs::read(git.join(name)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let key = line
                .split('=')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            // A subsection may stand on the same line.
            let key = key.rsplit(']').next().unwrap_or_default().trim();
            if RUNS.contains(&key) || line.contains('!') {
                return Some(format!("its {name} sets {}", line.trim()));
            }
        }
    }
    None
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
    if !gitdir.join("HEAD").is_file() || !names_back(root, &gitdir) {
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

/// A git directory knows its working tree: else a `.git` file made inside could ask for anybody's repository.
fn names_back(root: &Path, gitdir: &Path) -> bool {
    let is_root = |path: PathBuf| path.canonicalize().is_ok_and(|p| p == root);
    let text = |name: &str| std::fs::read_to_string(gitdir.join(name)).unwrap_or_default();
    let back = text("gitdir");
    if !back.is_empty() {
        return Path::new(back.trim())
            .parent()
            .is_some_and(|p| is_root(gitdir.join(p)));
    }
    text("config").lines().any(|line| {
        line.split_once('=')
            .is_some_and(|(key, value)| key.trim() == "worktree" && is_root(gitdir.join(value.trim())))
    })
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

    #[test]
    fn what_a_repository_lacks_is_held_too() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        std::fs::write(dir.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let guard = git_guard(dir.path());
        assert_eq!(
            guard.missing,
            [
                Missing::Dir(".git/hooks".into()),
                Missing::File(".git/config".into())
            ]
        );
        assert_eq!(guard.read_only, [".git/config", ".git/hooks"].map(PathBuf::from));
    }

    #[test]
    fn repositories_beside_the_workspace_are_held_by_their_own_paths() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for path in [
            "w/.git/hooks",
            "beside/.git/hooks",
            "beside/deep/.git/hooks",
            "else/.git",
        ] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        std::fs::create_dir_all(at("tree")).unwrap();
        std::fs::write(
            at("tree/.git"),
            format!("gitdir: {}\n", at("else/.git").display()),
        )
        .unwrap();
        let (beside, deep, tree) = (at("beside"), at("beside/deep"), at("tree"));
        let guard = git_guard(&at("w")).with_beside([&*deep, &*beside, &*tree]);
        let absolute = |names: &[&str]| names.iter().map(|name| at(name)).collect::<Vec<_>>();
        assert_eq!(
            guard.pinned,
            [
                vec![PathBuf::from(".git")],
                absolute(&["beside/.git", "beside/deep", "beside/deep/.git"])
            ]
            .concat()
        );
        assert_eq!(
            guard.read_only,
            [
                vec![PathBuf::from(".git/hooks")],
                absolute(&["beside/.git/hooks", "beside/deep/.git/hooks", "tree/.git"])
            ]
            .concat()
        );
        assert_eq!(guard.outside, Vec::<PathBuf>::new());
    }

    #[test]
    fn what_appears_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let mut watch = GitWatch::new(root);
        assert_eq!(watch.look(), None);
        std::fs::create_dir_all(root.join(".git/hooks")).unwrap();
        std::fs::write(root.join(".git/config"), "[core]\n\tbare = false\n").unwrap();
        std::fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(watch.look(), None, "a plain repository is nobody's trouble");
        std::fs::write(root.join(".git/config"), "[core] fsmonitor = touch /tmp/pwn\n").unwrap();
        assert!(watch.look().unwrap().contains("fsmonitor"));
        assert_eq!(watch.look(), None);
        let mut watch = GitWatch::new(root);
        std::fs::write(root.join(".git/commondir"), "../evil\n").unwrap();
        assert!(watch.look().unwrap().contains("was moved"));
        assert!(!root.join(".git/commondir").exists());
    }
}
