//! Owns: where a Session works: the host directory, where its shell starts, and how paths look from inside the Jail.
//! Guarantees: pure; turning a jail path into one relative to the root never yields a path that leaves it.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How the Workspace appears inside. Fixed for a Session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The Workspace is `/`: `cd docs; pwd` prints `/docs`.
    Root,
    /// The Workspace keeps its host path: what is built inside works outside.
    Host,
}

/// Which shell a Session has. Fixed at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellKind {
    /// The system's `sh`.
    Sh,
    /// bash, without rc files.
    Bash,
}

/// What encloses a Session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JailKind {
    /// Bubblewrap.
    Bwrap,
    /// None of ours: the user said that the container around us is the wall.
    Outer,
}

/// The directory a Session works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Canonical host path.
    pub root: PathBuf,
    /// Where the shell starts, relative to the root.
    pub start_dir: PathBuf,
    /// How it appears inside.
    pub layout: Layout,
    /// Why this layout, as a sentence for people.
    pub layout_reason: String,
}

impl Workspace {
    /// The root as seen from inside.
    pub fn jail_root(&self) -> &Path {
        match self.layout {
            Layout::Root => Path::new("/"),
            Layout::Host => &self.root,
        }
    }

    /// How `relative` (to the root) is called inside. What is absolute lies beside it, where it is called as outside.
    pub fn jail_path(&self, relative: &Path) -> PathBuf {
        if relative.is_absolute() {
            return relative.to_owned();
        }
        self.jail_root().join(plain(relative).unwrap_or_default())
    }

    /// A path from inside (absolute, or relative to the root) as a path relative to the root. Purely lexical: symlinks are
    /// for whoever opens it. None when it lies outside.
    pub fn relative(&self, jail_path: &Path) -> Option<PathBuf> {
        if jail_path.is_absolute() {
            // `/..` is `/`, as the kernel has it.
            let absolute = above_root_is_root(jail_path);
            absolute.strip_prefix(self.jail_root()).ok().map(Path::to_owned)
        } else {
            plain(jail_path)
        }
    }
}

/// Without `.` and `..`; None when it climbs out.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// An absolute path without dots; `..` at the root stays there, as for the kernel.
pub fn above_root_is_root(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(layout: Layout) -> Workspace {
        Workspace {
            root: "/home/u/p".into(),
            start_dir: "".into(),
            layout,
            layout_reason: String::new(),
        }
    }

    #[test]
    fn a_path_from_inside_never_leaves_the_root() {
        let root = workspace(Layout::Root);
        let host = workspace(Layout::Host);
        let cases: [(&Workspace, &str, Option<&str>); 9] = [
            (&root, "/docs/a", Some("docs/a")),
            (&root, "docs/../a", Some("a")),
            (&root, "/../../etc", Some("etc")),
            (&root, "../a", None),
            (&root, "a/../../b", None),
            (&host, "/home/u/p/a", Some("a")),
            (&host, "/home/u/p", Some("")),
            (&host, "/home/u/p/../q", None),
            (&host, "/etc/passwd", None),
        ];
        for (workspace, path, expected) in cases {
            assert_eq!(
                workspace.relative(Path::new(path)),
                expected.map(PathBuf::from),
                "{path}"
            );
        }
        assert_eq!(root.jail_path(Path::new("docs")), Path::new("/docs"));
        assert_eq!(host.jail_path(Path::new("docs")), Path::new("/home/u/p/docs"));
        assert_eq!(root.jail_path(Path::new("/home/u/q")), Path::new("/home/u/q"));
    }
}
