//! Owns: the state of a shell as text: how it is asked for, kept, and put back.
//! Guarantees: the text is what the shell itself prints for reading back; nothing is interpreted here but aliases of dash,
//! which it prints without their command.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Larger states are not kept; the one before stays.
pub(crate) const MAX: u64 = 8 * 1024 * 1024;

/// Bytes that are text nearly always: stored as such when they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|e| Self::Bytes(e.into_bytes()), Self::Utf8)
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Utf8(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What a shell was after a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellSnapshot {
    /// Its directory, as a jail path.
    pub cwd: PathBuf,
    umask: u32,
    /// Variables, exports, traps.
    variables: Text,
    /// Functions and aliases.
    words: Text,
    /// Options; last, since `set -e` must not meet the rest.
    options: Text,
    /// `$?`.
    pub last_status: i32,
    /// What names the project's text that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_with: Option<String>,
}

/// The script that prints a state, variables on one stream and the rest on the other. bash's options come before its
/// functions, whose text may hold anything.
pub(crate) fn script(is_bash: bool) -> &'static str {
    if is_bash {
        "\\declare -p; \\trap -p\n{ \\set +o; \\shopt -p; \\declare -f; \\alias -p; } >&2\n"
    } else {
        "\\set; \\export -p; \\readonly -p; \\trap\n{ \\alias; \\set +o; } >&2\n"
    }
}

/// The same for a terminal's shell, on one stream. Not its traps: ours is among them.
pub(crate) fn terminal_script(is_bash: bool) -> &'static str {
    if is_bash {
        "\\declare -p; \\declare -f\n"
    } else {
        "\\set; \\export -p; \\readonly -p\n"
    }
}

/// Whether a state came from the shell itself: bash always has this one, and nobody can unset it.
pub(crate) fn is_whole(is_bash: bool, variables: &[u8]) -> bool {
    !is_bash || variables.windows(10).any(|w| w == b" BASHOPTS=")
}

impl ShellSnapshot {
    /// From what the script printed on its two streams.
    pub(crate) fn new(
        cwd: PathBuf,
        umask: u32,
        last_status: i32,
        is_bash: bool,
        out: Vec<u8>,
        err: &[u8],
    ) -> Self {
        let mut words = Vec::new();
        let mut options = Vec::new();
        for entry in entries(err) {
            let is_option = entry.starts_with(b"set -o ") || entry.starts_with(b"set +o ");
            // Tracing of our own script.
            let is_trace = entry.starts_with(b"+ ") || entry.starts_with(b"++ ");
            if is_option {
                options.extend_from_slice(entry);
            } else if is_bash {
                words.extend_from_slice(if is_trace { b"" } else { entry });
            } else if !is_trace && !entry.trim_ascii().is_empty() {
                words.extend_from_slice(b"alias ");
                words.extend_from_slice(entry);
            }
        }
        Self {
            cwd,
            umask,
            variables: out.into(),
            words: words.into(),
            options: options.into(),
            last_status,
            began_with: None,
        }
    }

    /// From what a terminal's shell says at its end. Options, aliases of dash and the umask stay those of `before`: a
    /// terminal has its own (job control) that must not come along. So does its TERM.
    pub(crate) fn from_terminal(
        root: &Path,
        before: Option<&Self>,
        last_status: i32,
        mut text: Vec<u8>,
        umask: u32,
    ) -> Self {
        text.extend_from_slice(b"\nTERM=dumb\n");
        let empty = || Text::Utf8(String::new());
        Self {
            // Only where PWD can't be entered any more.
            cwd: before.map_or_else(|| root.to_owned(), |b| b.cwd.clone()),
            umask: before.map_or(umask, |b| b.umask),
            variables: text.into(),
            words: before.map_or_else(empty, |b| b.words.clone()),
            options: before.map_or_else(empty, |b| b.options.clone()),
            last_status,
            began_with: before.and_then(|b| b.began_with.clone()),
        }
    }

    /// The same for two states of which neither says anything else than the other.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        sum.update(self.cwd.as_os_str().as_encoded_bytes());
        for line in self.variables.bytes().split(|b| *b == b'\n') {
            if !is_leftover(line) {
                sum.update(line);
            }
            sum.update(b"\n");
        }
        for text in [&self.words, &self.options] {
            sum.update(b"\0");
            sum.update(text.bytes());
        }
        sum.update(self.umask.to_le_bytes());
        sum.update(self.last_status.to_le_bytes());
        sum.finalize().into()
    }

    /// The script that puts the state back into a shell that has nothing.
    pub(crate) fn restore(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let cwd = quoted(&self.cwd);
        text.extend_from_slice(self.variables.bytes());
        // By its logical name first: a directory reached over a symlink keeps that name.
        text.extend_from_slice(b"\n\\cd -- \"$PWD\" || \\cd -- ");
        text.extend_from_slice(&cwd);
        text.extend_from_slice(format!(" || \\cd /\n\\umask {:04o}\n", self.umask).as_bytes());
        // Again, since `cd` has just changed it.
        let is_old = |line: &&[u8]| line.starts_with(b"OLDPWD=") || line.starts_with(b"declare -x OLDPWD=");
        if let Some(line) = self.variables.bytes().split(|b| *b == b'\n').find(is_old) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(self.words.bytes());
        text.push(b'\n');
        text.extend_from_slice(self.options.bytes());
        text
    }
}

/// What every command leaves behind and the next one overwrites: how many lines bash has read by now, and dash's word for
/// the file it read last.
fn is_leftover(line: &[u8]) -> bool {
    let between = |from: &[u8], to: &[u8]| line.strip_prefix(from)?.strip_suffix(to);
    let lines = between(b"declare -a BASH_LINENO=([0]=\"", b"\")");
    let file = between(b"_='", b"'");
    lines.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
        || file.is_some_and(|word| !word.contains(&b'\''))
}

/// Lines, where a newline inside single quotes does not end one.
fn entries(text: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    let (mut start, mut in_quotes, mut escaped) = (0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if !in_quotes => escaped = true,
            b'\'' => in_quotes = !in_quotes,
            b'\n' if !in_quotes => {
                entries.extend(text.get(start..=at));
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    entries
}

/// `'path'`.
pub(crate) fn quoted(path: &Path) -> Vec<u8> {
    quoted_bytes(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
}

/// `'text'`.
pub(crate) fn quoted_bytes(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in text {
        if *byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*byte);
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_dash_get_their_command_back() {
        let err = b"+ alias\nll='ls -l'\ntwo='a\nb'\nit='it'\\''s'\nset -o errexit\nset +o nounset\n";
        let snapshot = ShellSnapshot::new("/d".into(), 0o27, 0, false, b"A='1'\n".to_vec(), err);
        let text = String::from_utf8(snapshot.restore()).unwrap();
        assert!(
            text.contains("alias ll='ls -l'\nalias two='a\nb'\nalias it='it'\\''s'\n\nset -o errexit"),
            "{text}"
        );
        assert!(text.contains("\\umask 0027"), "{text}");
    }

    #[test]
    fn what_a_command_only_leaves_behind_gives_the_same_digest() {
        let state = |variables: &str, status| {
            let text = format!("declare -a BASH_SOURCE=()\n{variables}\ndeclare -x A=\"1\"\n");
            ShellSnapshot::new("/d".into(), 0o22, status, true, text.into_bytes(), b"").digest()
        };
        let before = state("declare -a BASH_LINENO=([0]=\"5\")", 0);
        assert_eq!(before, state("declare -a BASH_LINENO=([0]=\"11\")", 0));
        assert_ne!(before, state("declare -a BASH_LINENO=([0]=\"5\")", 1));
        assert_ne!(before, state("declare -a B=([0]=\"5\")", 0));
        let last = |word: &str| state(&format!("_='{word}'"), 0);
        assert_eq!(last("/run/j/x-a.s"), last("/run/j/x-b.s"));
        assert_ne!(last("it'\"'\"'s"), last("it'\"'\"'so"));
    }

    #[test]
    fn it_survives_storage_even_when_it_is_not_text() {
        let snapshot = ShellSnapshot::new("/d".into(), 0o22, 3, true, b"A='\xff'\n".to_vec(), b"");
        let stored = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<ShellSnapshot>(&stored).unwrap(), snapshot);
    }
}
