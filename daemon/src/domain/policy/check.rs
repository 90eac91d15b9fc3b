//! Owns: the safety checks: their names, how strict each is, and what they find.
//! Guarantees: pure; each can be off, warn, ask or deny; combining two settings takes the stricter, check by check.

use serde::{Deserialize, Serialize};

use super::command::{Reading, Simple, Word};
use super::{is_hidden, visible};

/// A safety check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Something like a key on its way to the model.
    SecretsInPrompts,
    /// Commands that destroy work which no build brings back.
    DestructiveCommands,
    /// Characters in instructions that a person does not see.
    HiddenUnicode,
    /// Edits to files that the host later executes or an agent obeys.
    HostExecutedFiles,
}

/// How strict a check is, from mild to strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// It is not made.
    Off,
    /// What it finds is said, and goes on.
    Warn,
    /// What it finds is asked about.
    Ask,
    /// What it finds is denied.
    Deny,
}

/// How strict each check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// See [`Check::SecretsInPrompts`].
    pub secrets_in_prompts: CheckLevel,
    /// See [`Check::DestructiveCommands`].
    pub destructive_commands: CheckLevel,
    /// See [`Check::HiddenUnicode`].
    pub hidden_unicode: CheckLevel,
    /// See [`Check::HostExecutedFiles`].
    pub host_executed_files: CheckLevel,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            secrets_in_prompts: CheckLevel::Warn,
            destructive_commands: CheckLevel::Ask,
            hidden_unicode: CheckLevel::Warn,
            host_executed_files: CheckLevel::Ask,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One sentence.
    pub why: String,
}

impl Check {
    /// All, in the order they are shown.
    pub const ALL: [Self; 4] = [
        Self::SecretsInPrompts,
        Self::DestructiveCommands,
        Self::HiddenUnicode,
        Self::HostExecutedFiles,
    ];

    /// Its name in files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecretsInPrompts => "secrets_in_prompts",
            Self::DestructiveCommands => "destructive_commands",
            Self::HiddenUnicode => "hidden_unicode",
            Self::HostExecutedFiles => "host_executed_files",
        }
    }
}

impl CheckLevel {
    /// All, from mild to strict.
    pub const ALL: [Self; 4] = [Self::Off, Self::Warn, Self::Ask, Self::Deny];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

impl Checks {
    /// How strict a check is.
    pub fn level(&self, check: Check) -> CheckLevel {
        match check {
            Check::SecretsInPrompts => self.secrets_in_prompts,
            Check::DestructiveCommands => self.destructive_commands,
            Check::HiddenUnicode => self.hidden_unicode,
            Check::HostExecutedFiles => self.host_executed_files,
        }
    }

    /// Makes a check this strict.
    pub fn set(&mut self, check: Check, level: CheckLevel) {
        *match check {
            Check::SecretsInPrompts => &mut self.secrets_in_prompts,
            Check::DestructiveCommands => &mut self.destructive_commands,
            Check::HiddenUnicode => &mut self.hidden_unicode,
            Check::HostExecutedFiles => &mut self.host_executed_files,
        } = level;
    }
}

/// Characters in an instruction that a person does not see. Blanks that only look odd are no finding: text has them.
pub fn hidden_unicode(name: &str, text: &str) -> Option<Finding> {
    // Emoji are joined and varied by such characters, and scripts such as Persian need the joiners: those say
    // nothing that the person does not see.
    let joins = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let blank = |c: char| c.is_whitespace() || matches!(c, '\u{3164}' | '\u{ffa0}' | '\u{115f}' | '\u{1160}');
    let mut hidden = text
        .chars()
        .enumerate()
        .filter(|(at, c)| is_hidden(*c) && !joins(*c) && !blank(*c) && (*at > 0 || *c != '\u{feff}'))
        .map(|(_, c)| c);
    let first = hidden.next()?;
    let more = hidden.count();
    let count = more.saturating_add(1);
    let plural = if count == 1 { "" } else { "s" };
    Some(Finding {
        why: format!(
            "{} holds {count} hidden character{plural} (the first is U+{:04X}): it may say something you can't see",
            visible(name),
            u32::from(first)
        ),
    })
}

/// What a command would destroy that no build brings back.
pub fn destructive(reading: &Reading) -> Option<Finding> {
    let found = reading
        .overwritten
        .iter()
        .find(|target| is_device(target))
        .map(|target| format!("it writes over the device {}", visible(target)));
    let found = found.or_else(|| reading.commands.iter().find_map(destroys));
    found.map(|why| Finding { why })
}

fn destroys(simple: &Simple) -> Option<String> {
    let program = simple.words.first()?.known()?;
    let program = program.rsplit('/').next().unwrap_or(program);
    // What is not known before it runs counts as it is written, but for quotes: `"$HOME"` is the home directory here.
    let unquoted: Vec<String> = simple
        .words
        .iter()
        .skip(1)
        .map(|word| match word {
            Word::Known(text) => text.clone(),
            Word::Open(text) => text.replace('"', ""),
        })
        .collect();
    let words: Vec<&str> = unquoted.iter().map(String::as_str).collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let short = |letter: char| {
        words
            .iter()
            .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
    };
    let plain = || words.iter().filter(|word| !word.starts_with('-')).copied();
    match program {
        "rm" if short('r') || short('R') || has(&["--recursive"]) => plain()
            .find(|target| is_everything(target))
            .map(|target| format!("it removes {}", named(target))),
        "rmdir" | "unlink" => None,
        "shred" => Some("it shreds files".into()),
        "mkfs" | "wipefs" | "fdisk" | "sfdisk" | "parted" => Some(format!("{program} rewrites a disk")),
        _ if program.starts_with("mkfs.") => Some(format!("{program} rewrites a disk")),
        "dd" => words
            .iter()
            .find_map(|word| word.strip_prefix("of=").filter(|to| is_device(to)))
            .map(|to| format!("it writes over the device {to}")),
        "truncate" if plain().any(is_everything) => Some("it empties files".into()),
        "chmod" | "chown" if (short('R') || has(&["--recursive"])) && plain().skip(1).any(is_everything) => {
            Some(format!("{program} changes everything below"))
        }
        "find" if has(&["-delete"]) && !has(&["-name", "-iname", "-path", "-regex", "-newer", "-mtime"]) => {
            Some("find removes everything it finds".into())
        }
        "git" => git(&words),
        _ => None,
    }
}

fn git(words: &[&str]) -> Option<String> {
    // Options of git itself come before its command; some take a value.
    let mut rest = words.iter().copied();
    let command = loop {
        match rest.next()? {
            "-C" | "-c" | "--git-dir" | "--work-tree" | "--namespace" => {
                rest.next()?;
            }
            option if option.starts_with('-') => {}
            command => break command,
        }
    };
    let words: Vec<&str> = rest.collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let short = |letter: char| {
        words
            .iter()
            .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
    };
    let plain = || words.iter().filter(|word| !word.starts_with('-')).copied();
    let why = match command {
        "reset" if has(&["--hard"]) => "git reset --hard throws uncommitted work away",
        "clean" if (short('f') || has(&["--force"])) && !(short('n') || has(&["--dry-run"])) => {
            "git clean removes files that git does not keep"
        }
        "push" if has(&["--force", "--mirror", "--delete"]) || short('f') || short('d') => {
            "git push rewrites or removes what others may have"
        }
        "push" if plain().any(|word| word.starts_with('+') || word.starts_with(':')) => {
            "git push rewrites or removes what others may have"
        }
        "branch" if short('D') => "git branch -D removes a branch that may not be merged",
        "checkout" | "restore"
            if plain().any(|word| matches!(word, "." | ":/" | "*")) && !has(&["--staged"]) =>
        {
            "it throws uncommitted work away"
        }
        "checkout" | "switch" if short('f') || has(&["--force", "--discard-changes"]) => {
            "it throws uncommitted work away"
        }
        "stash" if has(&["drop", "clear"]) => "git stash drops kept work",
        "filter-branch" | "filter-repo" => "it rewrites history",
        "reflog" if has(&["expire", "delete"]) => "git reflog forgets how to get work back",
        "update-ref" if short('d') => "git update-ref removes a reference",
        _ => return None,
    };
    Some(why.to_owned())
}

/// Names that stand for a whole project, home or machine, or for git's memory of it.
fn is_everything(target: &str) -> bool {
    let bare = target.trim_end_matches('/');
    let bare = bare.strip_suffix("/.").unwrap_or(bare);
    matches!(
        bare,
        "" | "." | ".." | "*" | "./*" | "../*" | "~" | "/*" | "~/*" | ".[!.]*" | ".*" | "./.*"
    ) || matches!(
        bare,
        "$HOME" | "$PWD" | "${HOME}" | "${PWD}" | "$HOME/*" | "$PWD/*"
    ) || bare == ".git"
        || bare.ends_with("/.git")
        || bare.starts_with("../..")
        || matches!(
            bare,
            "/bin"
                | "/boot"
                | "/dev"
                | "/etc"
                | "/home"
                | "/lib"
                | "/opt"
                | "/root"
                | "/sbin"
                | "/srv"
                | "/sys"
                | "/usr"
                | "/var"
        )
}

fn named(target: &str) -> String {
    match target.trim_end_matches('/') {
        "" | "/*" => "everything on the machine".into(),
        "." | "*" | "./*" | "$PWD" | "${PWD}" | "$PWD/*" => "everything in its directory".into(),
        "~" | "~/*" | "$HOME" | "${HOME}" | "$HOME/*" => "the home directory".into(),
        other => visible(other),
    }
}

fn is_device(target: &str) -> bool {
    target.starts_with("/dev/")
        && !matches!(
            target,
            "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty" | "/dev/zero" | "/dev/full"
        )
        && !target.starts_with("/dev/fd/")
        && !target.starts_with("/dev/shm/")
}
