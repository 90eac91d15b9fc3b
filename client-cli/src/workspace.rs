//! Owns: which directory a verb works on, and the names of a directory's own sessions.

use std::path::Path;

use agentd_proto::surroundings::git_root;

use crate::exit::Failure;

/// A workspace as a request has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Absolute directory.
    pub(crate) root: String,
    /// Where the shell starts, relative to it.
    pub(crate) start_dir: String,
}

/// With `-C` exactly that directory; else the enclosing git root, starting where the caller stands.
pub(crate) fn locate(dir: Option<&Path>) -> Result<Workspace, Failure> {
    let here = std::env::current_dir().map_err(|error| {
        Failure::usage(format!("the current directory cannot be used: {error}"))
            .next("cd to a directory that exists")
    })?;
    if let Some(dir) = dir {
        let path = here.join(dir);
        // The daemon judges the directory; it must only be told the real path.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        return Ok(Workspace {
            root: text(&path)?,
            start_dir: String::new(),
        });
    }
    let root = git_root(&here).unwrap_or_else(|| here.clone());
    let start = here.strip_prefix(&root).unwrap_or(Path::new(""));
    Ok(Workspace {
        root: text(&root)?,
        start_dir: text(start)?,
    })
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!(
            "'{}' is not UTF-8, which workspaces have to be",
            path.display()
        ))
        .next("rename the directory, or use another")
    })
}

/// Name of a directory's own session, and the name to take when another directory has that one.
pub(crate) fn own_names(workspace: &Workspace, suffix: &str) -> (String, String) {
    let base: String = Path::new(&workspace.root)
        .file_name()
        .map(|name| {
            name.to_string_lossy()
                .chars()
                .filter(|c| !c.is_control())
                .take(48)
                .collect()
        })
        .unwrap_or_default();
    let base = if base.trim().is_empty() {
        "workspace".to_owned()
    } else {
        base
    };
    // FNV-1a: the name must be the same with every later build.
    let mark = workspace.root.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    }) & 0xffff;
    (format!("{base}{suffix}"), format!("{base}-{mark:04x}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_differ_for_directories_of_the_same_name() {
        let at = |root: &str| Workspace {
            root: root.into(),
            start_dir: String::new(),
        };
        let (one, other) = (
            own_names(&at("/a/api"), "-shell"),
            own_names(&at("/b/api"), "-shell"),
        );
        assert_eq!(one.0, "api-shell");
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }

    #[test]
    fn an_exact_directory_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let sub = std::fs::canonicalize(sub).unwrap();
        assert_eq!(locate(Some(&sub)).unwrap().root, sub.to_str().unwrap());
        assert_eq!(
            git_root(&sub).unwrap(),
            std::fs::canonicalize(dir.path()).unwrap()
        );
    }
}
