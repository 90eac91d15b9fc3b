//! Owns: one rule: its text, what it says, and what a part of a call it matches.
//! Guarantees: pure; the text of a rule read again gives the same rule; a pattern over commands allows only one plain
//! command, and forbids it wherever it stands.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::command::{Reading, Simple, quoted};
use crate::domain::network::Target;

/// Longest text of a rule, bytes.
const MAX_RULE_BYTES: usize = 1000;
/// The words a rule can be about.
const SUBJECTS: &[&str] = &[
    "reads",
    "writes",
    "executes",
    "reaches_out",
    "protected",
    "tool",
    "init",
];
/// Hexadecimal digits that name a text: the first half of its SHA-256.
pub const DIGEST_DIGITS: usize = 32;
/// What makes a path a pattern.
const WILD: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];
/// The verdicts.
const VERDICTS: &[&str] = &["allow", "ask", "deny"];

/// What a Rule says, from mild to strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Do it.
    Allow,
    /// Ask a person first.
    Ask,
    /// Never.
    Deny,
}

impl Verdict {
    /// Its word in a rule.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// One line of a Policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What follows.
    pub then: Verdict,
    /// What it is about.
    pub on: Subject,
}

/// What a Rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Looking at files.
    Reads,
    /// Changing files; with a pattern: these.
    Writes(Option<PathPattern>),
    /// Running programs; with a pattern: this command.
    Executes(Option<CommandPattern>),
    /// Leaving the jail; with a pattern: to this host.
    ReachesOut(Option<HostPattern>),
    /// Changing what the host later executes or an agent obeys; with a pattern: these.
    Protected(Option<PathPattern>),
    /// Any use of this tool; a `*` at the end stands for any rest of the name.
    Tool(String),
    /// Beginning a shell with a project's `[shell] init`; with a digest: with this text.
    Init(Option<String>),
    /// Everything: what a rule becomes that can't be read any more. Never written.
    Anything,
}

/// A command: its words, and whether more may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPattern {
    /// The first words; at least one.
    pub words: Vec<String>,
    /// True: any words may follow (`*` at the end).
    pub rest: bool,
}

/// Paths relative to the Workspace: `docs/a.md`, `docs/**` (all below), `*.lock` (in any directory); absolute ones lie in a directory
/// that was added beside it, or in it by its name on the host.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    /// Of a text with wildcards.
    glob: Option<globset::GlobMatcher>,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

/// A host: `crates.io`, `crates.io:443`, `*.example.org`, `this machine:5432` (a service of this machine's loopback).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower case, without a dot at the end; begins with `*.` for every name below.
    pub host: String,
    /// Only this port; `None`: any.
    pub port: Option<u16>,
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct RuleError {
    /// Which character of the text, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Rule {
    /// A rule.
    pub fn new(then: Verdict, on: Subject) -> Self {
        Self { then, on }
    }

    /// Allows exactly this command.
    pub fn exactly(words: Vec<String>) -> Self {
        let pattern = CommandPattern { words, rest: false };
        Self::new(Verdict::Allow, Subject::Executes(Some(pattern)))
    }

    /// Allows writing exactly this path; `None` when its text would mean something else.
    pub fn path(path: &str) -> Option<Self> {
        let text = format!("allow writes: {path}");
        let rule: Self = text.parse().ok()?;
        let exact = !path.contains(WILD);
        (exact && rule.to_string() == text).then_some(rule)
    }

    /// Allows reaching exactly this host and port.
    pub fn host(target: &Target) -> Self {
        let pattern = HostPattern {
            host: target.host().to_owned(),
            port: Some(target.port()),
        };
        Self::new(Verdict::Allow, Subject::ReachesOut(Some(pattern)))
    }

    /// Allows beginning a shell with the text of exactly this digest.
    pub fn init(digest: &str) -> Self {
        Self::new(Verdict::Allow, Subject::Init(Some(digest.to_owned())))
    }

    /// True for a rule about beginning a shell with the text of this digest.
    pub fn about_init(&self, digest: &str) -> bool {
        match &self.on {
            Subject::Init(own) => own.as_deref().is_none_or(|own| own == digest),
            Subject::Anything => true,
            _ => false,
        }
    }

    /// True for a rule about a command with the words as a pattern.
    pub fn about_command(&self, reading: &Reading) -> bool {
        match &self.on {
            Subject::Executes(None) | Subject::Anything => self.then != Verdict::Allow || reading.is_read(),
            Subject::Executes(Some(pattern)) if self.then == Verdict::Allow => {
                reading.plain().is_some_and(|words| pattern.matches(words))
            }
            Subject::Executes(Some(pattern)) => {
                reading.commands.iter().any(|simple| pattern.could_match(simple))
            }
            _ => false,
        }
    }

    /// True for a rule about writing this path, of the Workspace at `root`.
    pub fn about_written(&self, path: &Path, root: &Path) -> bool {
        match &self.on {
            Subject::Writes(pattern) => pattern.as_ref().is_none_or(|p| p.matches_in(root, path)),
            Subject::Anything => true,
            _ => false,
        }
    }

    /// True for a rule about changing this protected path, of the Workspace at `root`.
    pub fn about_protected(&self, path: &Path, root: &Path) -> bool {
        match &self.on {
            Subject::Protected(pattern) => pattern.as_ref().is_none_or(|p| p.matches_in(root, path)),
            Subject::Anything => true,
            _ => false,
        }
    }

    /// True for a rule about reaching this host.
    pub fn about_host(&self, host: Option<&Target>) -> bool {
        match (&self.on, host) {
            (Subject::ReachesOut(None) | Subject::Anything, _) => true,
            (Subject::ReachesOut(Some(pattern)), Some(host)) => pattern.matches(host),
            // Where it goes is not known: a rule that forbids some host could be the one.
            (Subject::ReachesOut(Some(_)), None) => self.then != Verdict::Allow,
            _ => false,
        }
    }

    /// True for a rule about this tool.
    pub fn about_tool(&self, tool: &str) -> bool {
        match &self.on {
            Subject::Tool(name) => match name.strip_suffix('*') {
                Some(start) => tool.starts_with(start),
                None => name == tool,
            },
            _ => false,
        }
    }
}

impl CommandPattern {
    /// True for these words.
    pub fn matches(&self, words: &[String]) -> bool {
        if self.rest {
            words.starts_with(&self.words)
        } else {
            words == self.words
        }
    }

    /// True for a command that is this one or may turn out to be. The program counts by its name too, wherever it
    /// lies: `/usr/bin/git` is `git`.
    fn could_match(&self, simple: &Simple) -> bool {
        let known = simple.words.len();
        if known < self.words.len() && !simple.open {
            return false;
        }
        if !self.rest && known > self.words.len() {
            return false;
        }
        self.words
            .iter()
            .zip(&simple.words)
            .enumerate()
            .all(|(n, (wanted, word))| match word.known() {
                None => n > 0,
                Some(word) if n == 0 => word == wanted || base(word) == wanted,
                Some(word) => word == wanted,
            })
    }
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

impl PathPattern {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('~') {
            return Err(
                "'~' is not known here: paths are relative to the workspace, or absolute in an added directory".into(),
            );
        }
        if text.split('/').any(|part| part == "..") {
            return Err("'..' leads out of the workspace".into());
        }
        let mut text = text;
        while let Some(rest) = text.strip_prefix("./") {
            text = rest.trim_start_matches('/');
        }
        let text = text.to_owned();
        let glob = if text.contains(WILD) {
            let anywhere = if text.contains('/') { "" } else { "**/" };
            let built = globset::GlobBuilder::new(&format!("{anywhere}{text}"))
                .literal_separator(true)
                .build()
                .map_err(|e| e.kind().to_string())?;
            Some(built.compile_matcher())
        } else {
            None
        };
        Ok(Self { text, glob })
    }

    /// True for this path of the Workspace at `root`; an absolute pattern may mean a file in it, too.
    fn matches_in(&self, root: &Path, path: &Path) -> bool {
        let whole = self.text.starts_with('/') && !root.as_os_str().is_empty();
        self.matches(path) || (whole && self.matches(&root.join(path)))
    }

    fn matches(&self, path: &Path) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(path),
            // A directory's name stands for all below it, as it does to a person.
            None => path.starts_with(&self.text),
        }
    }

    /// True when it has a wildcard.
    pub fn is_wild(&self) -> bool {
        self.glob.is_some()
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(target) = Target::try_from(text.to_owned())
            && target.is_this_machine()
        {
            return Ok(Self {
                host: target.host().to_owned(),
                port: Some(target.port()),
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an address stand inside brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = port
                    .parse::<u16>()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| format!("'{port}' is not a port"))?;
                (host, Some(port))
            }
            _ => (text, None),
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        if name.is_empty() || name.len() > 253 || !name.chars().all(usual) {
            return Err("write a host: crates.io, crates.io:443 or *.example.org".into());
        }
        Ok(Self { host, port })
    }

    /// True for this host and port.
    pub fn matches(&self, target: &Target) -> bool {
        if self.port.is_some_and(|own| own != target.port()) {
            return false;
        }
        let host = target.host();
        match self.host.strip_prefix("*.") {
            Some(below) => host
                .len()
                .checked_sub(below.len() + 1)
                .and_then(|at| host.get(at..))
                .is_some_and(|end| {
                    end.strip_prefix('.')
                        .is_some_and(|e| e.eq_ignore_ascii_case(below))
                }),
            None => self.host.eq_ignore_ascii_case(host),
        }
    }

    /// True when it stands for the same host as a pattern that names one host and port, at that port among others.
    pub fn covers(&self, exact: &Self) -> bool {
        self.host == exact.host && self.port.is_none_or(|port| exact.port == Some(port))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let at = |byte: usize, message: String| RuleError {
            column: text.get(..byte).map_or(1, |before| before.chars().count() + 1),
            message,
        };
        if text.len() > MAX_RULE_BYTES {
            return Err(at(0, format!("a rule has at most {MAX_RULE_BYTES} bytes")));
        }
        if let Some((byte, c)) = text.char_indices().find(|(_, c)| super::is_hidden(*c)) {
            return Err(at(
                byte,
                format!(
                    "a hidden character (U+{:04X}) has no place in a rule",
                    u32::from(c)
                ),
            ));
        }
        let (verdict_at, verdict, after) = word(text, 0);
        let then = match verdict {
            "allow" => Verdict::Allow,
            "ask" => Verdict::Ask,
            "deny" => Verdict::Deny,
            other => {
                return Err(at(
                    verdict_at,
                    unknown("a rule begins with allow, ask or deny", other, VERDICTS),
                ));
            }
        };
        let (subject_at, subject, after) = word(text, after);
        let (subject, after) = match subject.split_once(':') {
            Some((name, _)) => (name, Some(subject_at + name.len() + 1)),
            None => match text.get(after..).map(str::trim_start) {
                Some("") | None => (subject, None),
                Some(rest) if rest.starts_with(':') => (subject, Some(text.len() - rest.len() + 1)),
                Some(rest) => {
                    let byte = text.len() - rest.len();
                    return Err(at(byte, format!("write `:` between '{subject}' and its pattern")));
                }
            },
        };
        let (pattern_at, pattern) = match after {
            None => (text.len(), None),
            Some(after) => {
                let rest = text.get(after..).unwrap_or_default();
                let trimmed = rest.trim();
                let start = after + (rest.len() - rest.trim_start().len());
                if trimmed.is_empty() {
                    return Err(at(after, "a pattern follows the `:`, or leave it out".into()));
                }
                (start, Some(trimmed))
            }
        };
        let bad = |message: String| at(pattern_at, message);
        let on = match (subject, pattern) {
            ("reads", None) => Subject::Reads,
            ("reads", Some(_)) => {
                return Err(bad(
                    "'reads' takes no pattern: a command could read the file all the same. Keep it out of the workspace".into(),
                ));
            }
            ("writes", pattern) => Subject::Writes(pattern.map(PathPattern::parse).transpose().map_err(bad)?),
            ("protected", pattern) => {
                Subject::Protected(pattern.map(PathPattern::parse).transpose().map_err(bad)?)
            }
            ("reaches_out", pattern) => {
                Subject::ReachesOut(pattern.map(HostPattern::parse).transpose().map_err(bad)?)
            }
            ("executes", None) => Subject::Executes(None),
            ("executes", Some(pattern)) => {
                let pattern = command_pattern(pattern).map_err(|(byte, why)| at(pattern_at + byte, why))?;
                Subject::Executes(Some(pattern))
            }
            ("tool", Some(name)) => {
                let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
                if !name.strip_suffix('*').unwrap_or(name).chars().all(usual) {
                    return Err(bad(
                        "write a tool's name, such as exec; `*` only at its end".into()
                    ));
                }
                Subject::Tool(name.to_owned())
            }
            ("tool", None) => return Err(bad("write `tool: NAME`".into())),
            ("init", None) => Subject::Init(None),
            ("init", Some(digest)) => {
                let usual = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                if digest.len() != DIGEST_DIGITS || !digest.bytes().all(usual) {
                    return Err(bad(format!(
                        "write the {DIGEST_DIGITS} digits that the question shows, or leave them out to mean any text"
                    )));
                }
                Subject::Init(Some(digest.to_owned()))
            }
            (other, _) => {
                return Err(at(
                    subject_at,
                    unknown(
                        "a rule is about reads, writes, executes, reaches_out, protected, tool or init",
                        other,
                        SUBJECTS,
                    ),
                ));
            }
        };
        Ok(Self { then, on })
    }
}

/// The words of a command pattern, or where it goes wrong (byte) and why.
fn command_pattern(text: &str) -> Result<CommandPattern, (usize, String)> {
    let (words, rest) = match text.strip_suffix('*') {
        Some("") => return Err((0, "leave the pattern out to mean every command".into())),
        Some(before) if before.ends_with([' ', '\t']) => (before.trim_end(), true),
        _ => (text, false),
    };
    let reading = Reading::of(words);
    match reading.plain() {
        Some(words) => Ok(CommandPattern {
            words: words.to_vec(),
            rest,
        }),
        None => {
            let (byte, why) = reading.why_not_plain();
            Err((byte, format!("a rule is about one plain command: {why}")))
        }
    }
}

/// The next word from `from`: where it begins, it, and where it ends.
fn word(text: &str, from: usize) -> (usize, &str, usize) {
    let rest = text.get(from..).unwrap_or_default();
    let start = from + (rest.len() - rest.trim_start().len());
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    (start, rest.get(..end).unwrap_or_default(), start + end)
}

fn unknown(rule: &str, word: &str, choices: &[&str]) -> String {
    let near = nearest(word, choices)
        .map(|near| format!(". Did you mean '{near}'?"))
        .unwrap_or_default();
    let word: String = super::visible(word).chars().take(40).collect();
    if word.is_empty() {
        format!("{rule}; here it ends")
    } else {
        format!("{rule}, not with '{word}'{near}")
    }
}

/// The choice that was probably meant.
pub(super) fn nearest<'a>(word: &str, choices: &[&'a str]) -> Option<&'a str> {
    choices
        .iter()
        .map(|choice| (strsim::jaro_winkler(word, choice), *choice))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, choice)| choice)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = self.then.word();
        match &self.on {
            Subject::Reads => write!(f, "{then} reads"),
            Subject::Writes(None) => write!(f, "{then} writes"),
            Subject::Writes(Some(path)) => write!(f, "{then} writes: {}", path.text),
            Subject::Protected(None) => write!(f, "{then} protected"),
            Subject::Protected(Some(path)) => write!(f, "{then} protected: {}", path.text),
            Subject::Executes(None) => write!(f, "{then} executes"),
            Subject::Executes(Some(pattern)) => write!(f, "{then} executes: {pattern}"),
            Subject::ReachesOut(None) => write!(f, "{then} reaches_out"),
            Subject::ReachesOut(Some(host)) => write!(f, "{then} reaches_out: {host}"),
            Subject::Tool(name) => write!(f, "{then} tool: {name}"),
            Subject::Init(None) => write!(f, "{then} init"),
            Subject::Init(Some(digest)) => write!(f, "{then} init: {digest}"),
            Subject::Anything => write!(f, "{then} everything (a rule that can't be read)"),
        }
    }
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.words.iter().enumerate() {
            let gap = if n == 0 { "" } else { " " };
            write!(f, "{gap}{}", quoted(word))?;
        }
        if self.rest { f.write_str(" *") } else { Ok(()) }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What can't be read any more asks about everything: a stored rule never loosens by ageing.
impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.parse().unwrap_or(Self {
            then: Verdict::Ask,
            on: Subject::Anything,
        }))
    }
}
