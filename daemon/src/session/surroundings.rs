//! Owns: what the daemon puts beside a person's words: surroundings, instruction files, files named with `@`.
//! Guarantees: every file is opened through the workspace's guard and bounded; git runs in an enclosure of its own,
//! without network, on a workspace it can't write; nothing here can fail a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::domain::context::{ContextItem, ContextKind};
use crate::domain::message::{Message, Part, Role};
use crate::domain::picture::{self, Picture};
use crate::tools::{JailPaths, locate};
use crate::workspace::{Guard, GuardError, Kind};

/// Names of instruction files, the first one in a directory counts.
const INSTRUCTIONS: [&str; 2] = ["AGENTS.md", "CLAUDE.md"];
/// Most bytes of an instruction file that the model reads.
const INSTRUCTION_BYTES: usize = 32 * 1024;
/// Most instruction files in a context.
const MOST_INSTRUCTIONS: usize = 16;
/// Most bytes of a named file, of all files named in a message, and most of them.
const MENTION_BYTES: usize = 64 * 1024;
const MENTIONS_BYTES: usize = 192 * 1024;
const MENTIONS: usize = 16;
/// Most pictures of them.
const PICTURES: usize = 4;
/// Entries of a directory that is named, and of the workspace's root among the surroundings.
const ENTRIES: usize = 200;
const ROOT_ENTRIES: usize = 60;

/// The workspace as files see it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) guard: Arc<Guard>,
    pub(super) paths: Arc<dyn JailPaths>,
}

/// The instruction files that count in these directories (relative to the workspace), from the root down.
/// `known` are those in the context, with their digests: only what is new or changed is given back.
pub(super) fn instructions(
    place: &Place,
    dirs: &BTreeSet<PathBuf>,
    known: &BTreeMap<String, String>,
) -> Vec<ContextItem> {
    let mut chain = BTreeSet::new();
    for dir in dirs {
        chain.extend(dir.ancestors().map(Path::to_path_buf));
    }
    let mut found = Vec::new();
    // A parent sorts before what lies in it: the nearest comes last.
    for dir in chain {
        let files = INSTRUCTIONS.iter().map(|name| dir.join(name));
        let Some(item) = files.map(|file| instruction(place, &file)).find_map(|item| item) else {
            continue;
        };
        let before = known.get(&item.name);
        let room = known.len() + found.len() < MOST_INSTRUCTIONS;
        if before != Some(&item.digest) && (room || before.is_some()) {
            found.push(item);
        }
    }
    found
}

fn instruction(place: &Place, file: &Path) -> Option<ContextItem> {
    let content = place.guard.read(file, INSTRUCTION_BYTES as u64).ok()?;
    if content.bytes.contains(&0) || content.bytes.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let mut item = ContextItem::of_file(
        ContextKind::Instructions,
        &file.display().to_string(),
        &content.bytes,
        content.total_bytes,
        INSTRUCTION_BYTES,
    );
    let mut hash = Sha256::new();
    hash.update(&content.bytes);
    hash.update(content.total_bytes.to_le_bytes());
    item.digest = hash
        .finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    Some(item)
}

/// The words of the last messages that nobody looked through yet: those since the model last spoke, and since the
/// daemon last put something beside them.
pub(super) fn unread(history: &[Arc<Message>]) -> Vec<&str> {
    let mut words = Vec::new();
    for message in history.iter().rev() {
        if message.role != Role::User || message.is_beside() {
            break;
        }
        words.extend(message.parts.iter().rev().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        }));
    }
    words.reverse();
    words
}

/// The files and directories that a text names with `@`, as the model should read them.
pub(super) fn mentions(place: &Place, words: &[String]) -> Vec<ContextItem> {
    let (mut left, mut pictures) = (MENTIONS_BYTES, PICTURES);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let names = words.iter().flat_map(|text| named(text));
    for name in names {
        if found.len() >= MENTIONS {
            break;
        }
        let Some((name, rel)) = resolve(place, &name) else {
            continue;
        };
        if !seen.insert(rel.clone()) {
            continue;
        }
        let item = mention(place, &name, &rel, left.min(MENTION_BYTES), pictures > 0);
        pictures = pictures.saturating_sub(usize::from(item.picture.is_some()));
        left = left.saturating_sub(item.text.len());
        found.push(item);
    }
    found
}

/// What stands after an `@` that begins a word. `@"a name"` may have spaces.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let begins =
            before.is_whitespace() || matches!(before, '(' | '[' | '{' | '"' | '\'' | '`' | ',' | ':');
        before = c;
        if c != '@' || !begins {
            continue;
        }
        let tail = text.get(at.saturating_add(1)..).unwrap_or_default();
        let name: String = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
            None => tail
                .chars()
                .take_while(|c| !c.is_whitespace() && !"\"'`()[]{}<>,;|".contains(*c))
                .collect(),
        };
        if !name.is_empty() && name.len() <= 4_096 {
            names.push(name);
        }
    }
    names
}

/// A name that is one: the path as given, or without what ends a sentence.
fn resolve(place: &Place, name: &str) -> Option<(String, PathBuf)> {
    let bare = name.trim_end_matches(['.', ':', '!', '?', '/']);
    for candidate in [name, bare] {
        let Some(rel) = locate(place.paths.as_ref(), &place.guard, candidate) else {
            continue;
        };
        match place.guard.real(&rel).and_then(|real| place.guard.kind(&real)) {
            Ok(_) => return Some((candidate.to_owned(), rel)),
            // It is there, and leads where files are not read: that is said.
            Err(GuardError::Outside(_) | GuardError::Loop(_)) => return Some((candidate.to_owned(), rel)),
            Err(_) => {}
        }
    }
    None
}

fn mention(place: &Place, name: &str, rel: &Path, most: usize, pictures: bool) -> ContextItem {
    let said = |text: String| ContextItem::plain(ContextKind::Mention, name, text);
    if most == 0 {
        return said("[not shown: too much was named at once; read it]".into());
    }
    // What has none of these is text, even if it begins as some picture does.
    let is_binary = |bytes: &[u8]| bytes.iter().take(8_192).any(|byte| *byte == 0);
    match place.guard.read(rel, most as u64) {
        Ok(content) if is_binary(&content.bytes) && Picture::begins(&content.bytes) => {
            if !pictures {
                return said(format!(
                    "[a picture; not shown: the most of a message is {PICTURES}]"
                ));
            }
            // One byte more than it may have tells that it has too many.
            let whole = place.guard.read(rel, picture::MAX_BYTES as u64 + 1);
            let found = whole
                .map_err(|error| error.to_string())
                .and_then(|file| Picture::of(&file.bytes).map_err(str::to_owned));
            match found {
                Ok(picture) => ContextItem {
                    picture: Some(picture),
                    ..said("[a picture, shown here]".into())
                },
                Err(why) => said(format!("[a picture; not shown: {why}]")),
            }
        }
        Ok(content) if is_binary(&content.bytes) => {
            said(format!("[a binary file of {} bytes]", content.total_bytes))
        }
        Ok(content) => ContextItem::of_file(
            ContextKind::Mention,
            name,
            &content.bytes,
            content.total_bytes,
            most,
        ),
        Err(GuardError::NotAFile(_, Kind::Directory)) => said(listing(place, rel, ENTRIES)),
        Err(GuardError::Outside(_)) => said("[not read: it leads outside the workspace]".into()),
        Err(GuardError::Loop(_)) => said("[not read: its symbolic links form a loop]".into()),
        Err(error) => said(format!("[not read: {error}]")),
    }
}

fn listing(place: &Place, rel: &Path, most: usize) -> String {
    let Ok(listing) = place.guard.list(rel, most) else {
        return "[it can't be listed]".into();
    };
    let mut names: Vec<String> = listing
        .entries
        .iter()
        .map(|entry| {
            let slash = if entry.kind == Kind::Directory { "/" } else { "" };
            format!(
                "{}{slash}",
                crate::domain::policy::visible(&entry.name.to_string_lossy())
            )
        })
        .collect();
    let left = listing.total.saturating_sub(names.len());
    if left > 0 {
        names.push(format!("[{left} more]"));
    }
    names.join("\n")
}

/// The surroundings: date, machine, shell's place, repository, what lies in the root. `repository` is what git said.
pub(super) fn environment(place: &Place, shell_dir: &str, repository: Option<&str>) -> ContextItem {
    let uname = rustix::system::uname();
    let today = jiff::Timestamp::from_microsecond(crate::clock::now_us())
        .unwrap_or_default()
        .strftime("%Y-%m-%d");
    let mut text = format!(
        "date: {today} (UTC)\nsystem: {} {}\nshell is in: {shell_dir}\n",
        uname.sysname().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    text.push_str(match repository {
        Some(_) => "git:\n",
        None => "git: not a repository, or not readable\n",
    });
    if let Some(said) = repository {
        text.push_str(said.trim_end());
        text.push('\n');
    }
    for (dir, writable) in place.guard.added_dirs() {
        let access = if writable { "may be written" } else { "read-only" };
        text.push_str(&format!("also here: {} ({access})\n", dir.display()));
    }
    text.push_str("workspace root:\n");
    text.push_str(&listing(place, Path::new(""), ROOT_ENTRIES));
    let (text, hidden) = crate::domain::context::reveal(&text);
    ContextItem {
        hidden,
        ..ContextItem::plain(ContextKind::Environment, "workspace", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl JailPaths for Plain {
        fn relative(&self, given: &str) -> Option<PathBuf> {
            let path = Path::new(given);
            (!path.is_absolute() && !given.split('/').any(|part| part == "..")).then(|| path.to_path_buf())
        }

        fn show(&self, rel: &Path) -> String {
            rel.display().to_string()
        }
    }

    fn place(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let guard = Arc::new(Guard::open(dir.path()).unwrap());
        (
            dir,
            Place {
                guard,
                paths: Arc::new(Plain),
            },
        )
    }

    fn dirs(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn directories_beside_the_workspace_are_told_and_can_be_named() {
        let (dir, mut place) = place(&[("a", b"a")]);
        let beside = tempfile::tempdir().unwrap();
        std::fs::write(beside.path().join("b"), "from beside").unwrap();
        let guard = Guard::open(dir.path()).unwrap();
        place.guard = Arc::new(guard.with_added([(beside.path(), true)]));
        let at = beside.path().display();
        let told = environment(&place, "/", None).text;
        assert!(
            told.contains(&format!("also here: {at} (may be written)")),
            "{told}"
        );
        let named = mentions(&place, &[format!("look at @{at}/b")]);
        assert!(
            named.len() == 1 && named[0].text.contains("from beside"),
            "{named:?}"
        );
    }

    #[test]
    fn instruction_files_come_from_the_root_down_and_the_first_name_counts() {
        let (_dir, place) = place(&[
            ("AGENTS.md", b"root"),
            ("CLAUDE.md", b"not this one"),
            ("a/CLAUDE.md", b"of a"),
            ("a/b/AGENTS.md", b"of b"),
            ("z/AGENTS.md", b"elsewhere"),
        ]);
        let found = instructions(&place, &dirs(&["a/b/c"]), &BTreeMap::new());
        let names: Vec<_> = found.iter().map(|i| (i.name.as_str(), i.text.as_str())).collect();
        assert_eq!(
            names,
            [
                ("AGENTS.md", "root"),
                ("a/CLAUDE.md", "of a"),
                ("a/b/AGENTS.md", "of b")
            ]
        );
        let known = found.iter().map(|i| (i.name.clone(), i.digest.clone())).collect();
        assert_eq!(instructions(&place, &dirs(&["a/b"]), &known), []);
        std::fs::write(
            place
                .guard
                .real(Path::new(""))
                .map_or_else(|_| PathBuf::new(), |_| _dir.path().join("AGENTS.md")),
            b"new",
        )
        .unwrap();
        let changed = instructions(&place, &dirs(&["a"]), &known);
        assert_eq!(
            changed.iter().map(|i| i.text.as_str()).collect::<Vec<_>>(),
            ["new"]
        );
    }

    #[test]
    fn an_instruction_file_of_ten_megabytes_is_cut_with_a_notice_and_hidden_text_is_counted() {
        let mut big = "do\u{202e}this\n".as_bytes().to_vec();
        big.resize(10 * 1024 * 1024, b'x');
        let (_dir, place) = place(&[("AGENTS.md", &big)]);
        let found = instructions(&place, &dirs(&[""]), &BTreeMap::new());
        let item = &found[0];
        assert!(item.text.len() < 33 * 1024 && item.text.contains("of 10485760 bytes; read AGENTS.md"));
        assert_eq!(item.hidden, 1);
        assert!(item.text.starts_with("do[U+202E]this"));
    }

    #[test]
    fn only_names_of_things_that_are_there_count() {
        let (dir, place) = place(&[
            ("src/a.c", b"int a;\n"),
            ("with space.txt", b"spaced"),
            ("logo.png", b"\x89PNG\0"),
            ("blob", b"\x7fELF\0"),
            ("cars.md", b"BMW service log\n"),
            (
                "dot.png",
                b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x07\x08\x06\0\0\0",
            ),
        ]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("leak")).unwrap();
        let text = "fix @src/a.c. Mail me@src/a.c, @nobody, (@src) @\"with space.txt\" @logo.png @leak @src/a.c @dot.png @blob @cars.md";
        let found = mentions(&place, &[text.to_owned()]);
        let names: Vec<_> = found.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "src/a.c",
                "src",
                "with space.txt",
                "logo.png",
                "leak",
                "dot.png",
                "blob",
                "cars.md"
            ]
        );
        assert_eq!(found[0].text, "int a;\n");
        assert_eq!(found[1].text, "a.c");
        assert!(found[3].text.contains("binary") || found[3].text.contains("not shown"));
        let dot = found[5].picture.as_ref().unwrap();
        assert_eq!(
            (dot.media_type.as_str(), dot.width, dot.height),
            ("image/png", 3, 7)
        );
        assert!(found[6].text.contains("binary") && found[6].picture.is_none());
        assert_eq!(
            found[7].text, "BMW service log\n",
            "a bitmap's first letters make none"
        );
        assert!(found[4].text.contains("outside the workspace") && !found[4].text.contains("root:"));
    }

    #[test]
    fn words_are_looked_through_once() {
        let said = |text: &str| Arc::new(Message::user(text));
        let note = Arc::new(Message {
            role: Role::User,
            parts: vec![Part::Context(ContextItem::note("x"))],
        });
        assert_eq!(unread(&[said("a"), said("b")]), ["a", "b"]);
        assert_eq!(unread(&[said("a"), note.clone(), said("b")]), ["b"]);
        assert!(unread(&[said("a"), note]).is_empty());
    }
}
