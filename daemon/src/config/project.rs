//! Owns: reading what a project says of itself in its `.agentd`, and its configuration, `.agentd/config.toml`.
//! Guarantees: no link is followed in either part of a path; a file is used whole or not at all, and what is wrong with it
//! is said with line and column; nothing in it is in force by being there.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use toml::de::DeTable;

use super::file::position;

/// A file is a page; more is a wrong file.
pub const FILE_MAX: u64 = 256 * 1024;
/// Where a project's files are, relative to the Workspace.
const DIR: &str = ".agentd";
/// A project's configuration, relative to the Workspace.
pub const CONFIG: &str = ".agentd/config.toml";
/// Longest text that a shell can begin with: a person reads the whole of it.
const INIT_MAX: usize = 32 * 1024;

/// A file of a project's `.agentd`; `None`: there is none.
///
/// # Errors
/// Why it can't be read, as a sentence.
pub fn read(workspace: &Path, name: &str) -> Result<Option<String>, String> {
    // A link in a project could name any file of the user's: none is followed, in either part of the path.
    let dir = workspace.join(DIR);
    match std::fs::symlink_metadata(&dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(format!("{}: not a directory", dir.display())),
        Err(_) => return Ok(None),
    }
    let path = dir.join(name);
    match read_file(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Reads a regular file of bounded size, without following a link at its end.
///
/// # Errors
/// As the system says it; also for anything that is no file, or too large.
pub fn read_file(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a file"));
    }
    if meta.len() > FILE_MAX {
        return Err(io::Error::other(format!("more than {} KiB", FILE_MAX / 1024)));
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The shell text that a project wants its sessions' shells to begin with; `None`: it wants none.
///
/// # Errors
/// What is wrong with its configuration, as a sentence.
pub fn shell_init(workspace: &Path) -> Result<Option<String>, String> {
    match read(workspace, "config.toml")? {
        Some(text) => init_of(&text).map_err(|(at, why)| {
            let (line, column) = position(&text, at);
            format!("{CONFIG}:{line}:{column}: {why}")
        }),
        None => Ok(None),
    }
}

fn init_of(text: &str) -> Result<Option<String>, (usize, String)> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    if let Some(error) = syntax.first() {
        let at = error.span().map_or(0, |span| span.start);
        return Err((at, error.message().trim().to_owned()));
    }
    let only = |at: usize, key: &str| {
        let why =
            format!("a project's configuration has [shell] init alone, not '{key}': that is each user's own");
        Err((at, why))
    };
    let mut init = None;
    for (name, value) in root.get_ref() {
        let section = name.get_ref().as_ref();
        let Some(shell) = value.get_ref().as_table().filter(|_| section == "shell") else {
            return only(name.span().start, section);
        };
        for (name, value) in shell {
            let (key, at) = (name.get_ref().as_ref(), value.span().start);
            if key != "init" {
                return only(name.span().start, &format!("shell.{key}"));
            }
            let text = value
                .get_ref()
                .as_str()
                .ok_or((at, "shell.init is a text".to_owned()))?;
            if text.len() > INIT_MAX {
                return Err((at, format!("shell.init: more than {} KiB", INIT_MAX / 1024)));
            }
            if text.contains('\0') {
                return Err((at, "shell.init: a NUL has no place in it".to_owned()));
            }
            init = Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        }
    }
    Ok(init)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(DIR)).unwrap();
        std::fs::write(dir.path().join(CONFIG), text).unwrap();
        dir
    }

    #[test]
    fn the_text_is_read_as_it_stands() {
        let dir = project("[shell]\ninit = '''\n. ./env.sh\nexport A=\"b\"\n'''\n");
        let init = shell_init(dir.path()).unwrap().unwrap();
        assert_eq!(init, ". ./env.sh\nexport A=\"b\"\n");
        for none in ["", "[shell]\n", "[shell]\ninit = \" \\n\"\n"] {
            assert_eq!(shell_init(project(none).path()), Ok(None), "{none}");
        }
        assert_eq!(shell_init(tempfile::tempdir().unwrap().path()), Ok(None));
    }

    #[test]
    fn whatever_else_a_project_wants_is_refused_with_its_place() {
        for (text, place) in [
            ("[jail]\nkind = \"none\"\n", ":1:2: "),
            ("x = 1\n", ":1:1: "),
            ("[shell]\ninit = \"a\"\ntimeout = \"1s\"\n", ":3:1: "),
            ("[shell]\ninit = 3\n", ":2:8: "),
            ("shell = 3\n", ":1:1: "),
            ("[shell\n", ":1:"),
            ("[shell]\ninit = \"\\u0000\"\n", ":2:8: "),
        ] {
            let why = shell_init(project(text).path()).unwrap_err();
            assert!(why.contains(&format!("{CONFIG}{place}")), "{text}: {why}");
        }
        let long = format!("[shell]\ninit = \"{}\"\n", "x".repeat(INIT_MAX + 1));
        assert!(shell_init(project(&long).path()).unwrap_err().contains("32 KiB"));
    }

    #[test]
    fn no_link_leads_out_of_the_project() {
        let other = project("[shell]\ninit = \"a\"\n");
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(other.path().join(DIR), dir.path().join(DIR)).unwrap();
        assert!(shell_init(dir.path()).unwrap_err().contains("not a directory"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(DIR)).unwrap();
        std::os::unix::fs::symlink(other.path().join(CONFIG), dir.path().join(CONFIG)).unwrap();
        assert!(shell_init(dir.path()).is_err());
    }
}
