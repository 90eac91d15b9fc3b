//! Owns: which directory may be a Workspace, and which layout it gets.
//! Guarantees: project files are never hidden silently: where the root layout would cover one, the host layout is used
//! and the reason is said.

use std::path::{Path, PathBuf};

use super::JailError;
use crate::domain::workspace::Layout;

/// Mount points of the root layout that a project must not have itself. (`lib` may be the project's own: programs then
/// find their libraries under /usr/lib.)
pub const REQUIRED: [&str; 9] = ["usr", "bin", "etc", "dev", "proc", "tmp", "run", "lib64", "sys"];

/// Directories whose use as a Workspace can only be a mistake.
const SYSTEM: [&str; 14] = [
    "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/dev", "/proc", "/sys", "/run", "/var",
    "/home", "/tmp",
];

fn refused(path: &Path, reason: &str, next_step: &str) -> JailError {
    JailError::Workspace {
        path: path.to_owned(),
        reason: reason.to_owned(),
        next_step: next_step.to_owned(),
    }
}

/// The canonical path of a directory that may be a Workspace.
///
/// # Errors
/// [`JailError::Workspace`] with the reason and what to do instead.
pub fn check_workspace(path: &Path) -> Result<PathBuf, JailError> {
    let home = directories::BaseDirs::new().map(|d| d.home_dir().to_owned());
    check_workspace_for(path, home.as_deref())
}

fn check_workspace_for(path: &Path, home: Option<&Path>) -> Result<PathBuf, JailError> {
    let root = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            refused(path, "no such directory", "create it, or name another with -C")
        }
        _ => refused(path, &error.to_string(), "name a directory you can enter with -C"),
    })?;
    let elsewhere = "name the project's own directory with -C";
    if !root.is_dir() {
        return Err(refused(
            &root,
            "not a directory",
            "name the directory it lies in with -C",
        ));
    }
    if root == Path::new("/") {
        return Err(refused(
            &root,
            "the whole machine can't be a workspace",
            elsewhere,
        ));
    }
    if home
        .and_then(|h| h.canonicalize().ok())
        .is_some_and(|h| h == root)
    {
        let reason = "your home directory can't be a workspace: it holds your keys and settings";
        return Err(refused(
            &root,
            reason,
            "make a directory for the project and name it with -C",
        ));
    }
    if SYSTEM.iter().any(|s| Path::new(s) == root)
        || ["/usr", "/etc", "/proc", "/sys", "/dev"]
            .iter()
            .any(|s| root.starts_with(s))
    {
        return Err(refused(
            &root,
            "a system directory can't be a workspace",
            elsewhere,
        ));
    }
    Ok(root)
}

/// Who wishes for a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutWish {
    /// The caller, for this session.
    Asked(Layout),
    /// The user's configuration, for every session.
    Configured(Layout),
    /// Nobody; an agent will work there.
    Agent,
    /// Nobody; made by `exec`, `shell` or a program.
    Open,
}

/// The layout for a Workspace and the reason, as a sentence. `ours` tells a mount point we made from the project's own.
///
/// # Errors
/// [`JailError::Workspace`] when the root layout was asked for and is not possible.
pub fn choose_layout(
    root: &Path,
    wish: LayoutWish,
    ours: &dyn Fn(&Path) -> bool,
) -> Result<(Layout, String), JailError> {
    let obstacle = obstacle(root, ours);
    Ok(match (wish, obstacle) {
        (LayoutWish::Asked(Layout::Host), _) => (Layout::Host, "The host layout was asked for.".to_owned()),
        (LayoutWish::Asked(Layout::Root), None) => {
            (Layout::Root, "The root layout was asked for.".to_owned())
        }
        (LayoutWish::Asked(Layout::Root), Some(why)) => {
            return Err(refused(
                root,
                &format!("the root layout is not possible: {why}"),
                "use --layout=host",
            ));
        }
        (LayoutWish::Configured(Layout::Host), _) => (
            Layout::Host,
            "The configuration says jail.layout = \"host\".".to_owned(),
        ),
        (LayoutWish::Configured(Layout::Root), None) => (
            Layout::Root,
            "The configuration says jail.layout = \"root\".".to_owned(),
        ),
        (LayoutWish::Configured(Layout::Root), Some(why)) => (
            Layout::Host,
            format!("The root layout of the configuration is not possible here: {why}."),
        ),
        (LayoutWish::Agent, _) => (
            Layout::Host,
            "An agent works here: what is built inside must work outside.".to_owned(),
        ),
        (LayoutWish::Open, None) => (
            Layout::Root,
            "Commands see the project as /, since nothing in it is in the way.".to_owned(),
        ),
        (LayoutWish::Open, Some(why)) => (
            Layout::Host,
            format!("Commands do not see the project as /: {why}."),
        ),
    })
}

fn obstacle(root: &Path, ours: &dyn Fn(&Path) -> bool) -> Option<String> {
    if root.join(".git").is_file() {
        return Some("its .git is a file (a worktree or submodule), which names host paths".to_owned());
    }
    for name in REQUIRED {
        let path = root.join(name);
        if path.symlink_metadata().is_ok() && !ours(&path) {
            return Some(format!("the project has its own {name}"));
        }
    }
    // Without /lib the loader itself must be reachable elsewhere.
    let loader_in_lib = super::plan::HostFacts::gather()
        .loader
        .is_some_and(|(at, _)| at.starts_with("/lib/"));
    if loader_in_lib && root.join("lib").symlink_metadata().is_ok() && !ours(&root.join("lib")) {
        return Some("the project has its own lib, and programs here need /lib".to_owned());
    }
    if rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_err() {
        return Some("the directory is not writable".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_only_be_a_mistake_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        for (path, part) in [
            (Path::new("/"), "whole machine"),
            (Path::new("/usr"), "system directory"),
            (Path::new("/etc/ssl"), "system directory"),
            (home.as_path(), "home directory"),
            (&dir.path().join("file"), "not a directory"),
            (&dir.path().join("none"), "no such directory"),
        ] {
            let error = check_workspace_for(path, Some(&home)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(check_workspace_for(dir.path(), Some(&home)).is_ok());
    }

    #[test]
    fn project_files_are_never_covered() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = |_: &Path| false;
        let open = LayoutWish::Open;
        assert_eq!(choose_layout(dir.path(), open, &nobody).unwrap().0, Layout::Root);
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let (layout, reason) = choose_layout(dir.path(), open, &nobody).unwrap();
        assert_eq!(
            (layout, reason.as_str()),
            (
                Layout::Host,
                "Commands do not see the project as /: the project has its own bin."
            )
        );
        assert!(choose_layout(dir.path(), LayoutWish::Asked(Layout::Root), &nobody).is_err());
        let left_over = |path: &Path| path.ends_with("bin");
        assert_eq!(
            choose_layout(dir.path(), open, &left_over).unwrap().0,
            Layout::Root
        );
    }

    #[test]
    fn every_reason_is_a_true_sentence() {
        use LayoutWish::{Agent, Asked, Configured, Open};
        let (free, taken, tree) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        std::fs::create_dir(taken.path().join("usr")).unwrap();
        std::fs::write(tree.path().join(".git"), "gitdir: /elsewhere").unwrap();
        let cases = [
            (&free, Asked(Layout::Root), Layout::Root, "was asked for"),
            (&taken, Asked(Layout::Host), Layout::Host, "was asked for"),
            (
                &free,
                Configured(Layout::Root),
                Layout::Root,
                "configuration says",
            ),
            (
                &free,
                Configured(Layout::Host),
                Layout::Host,
                "configuration says",
            ),
            (&taken, Configured(Layout::Root), Layout::Host, "has its own usr"),
            (&free, Agent, Layout::Host, "must work outside"),
            (&taken, Agent, Layout::Host, "must work outside"),
            (&free, Open, Layout::Root, "see the project as /"),
            (&taken, Open, Layout::Host, "the project has its own usr"),
            (&tree, Open, Layout::Host, "its .git is a file"),
        ];
        for (dir, wish, layout, part) in cases {
            let (got, reason) = choose_layout(dir.path(), wish, &|_| false).unwrap();
            assert_eq!(got, layout, "{wish:?} {reason}");
            assert!(
                reason.contains(part) && reason.ends_with('.'),
                "{wish:?} {reason}"
            );
            assert!(
                !reason.contains("asked for") || matches!(wish, Asked(_)),
                "{reason}"
            );
        }
        let refused = choose_layout(taken.path(), Asked(Layout::Root), &|_| false).unwrap_err();
        assert!(refused.to_string().contains("its own usr"));
    }
}
