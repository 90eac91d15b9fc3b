//! Owns: the doorman: which calls are allowed, asked about or denied, and what decides that.
//! Guarantees: pure; fails closed (what no rule mentions is asked about, what can't be read as shell matches no allow
//! rule); a grant turns Ask into Allow and nothing else.

mod check;
mod command;
mod depth;
mod grant;
mod judge;
mod rule;
#[cfg(test)]
mod tests;
mod wrap;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::{Check, CheckLevel, Checks, Finding, destructive, hidden_unicode};
pub use command::{MAX_COMMAND_BYTES, Reading, Simple, Word, quoted};
pub use grant::{OldGrant, Refused, check_rules, offer};
pub use judge::{By, Judged, Part, judge, judge_init, touches, verdict_word};
pub use rule::{CommandPattern, DIGEST_DIGITS, HostPattern, PathPattern, Rule, RuleError, Subject, Verdict};

use super::network::Target;
use super::tool::Effect;

/// Ordered Rules and checks. The first Rule that matches a part of a call decides that part; the strictest part decides
/// the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// First match wins, per part. Not called `rules` when stored: redaction never takes a rule away.
    #[serde(default, rename = "lines")]
    pub rules: Vec<PolicyRule>,
    /// How strict each safety check is.
    #[serde(default)]
    pub checks: Checks,
    /// The wall's part: the Workspace is mounted read-only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// A question nobody answered for so long is denied, seconds; `None`: it waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_expires_s: Option<u64>,
}

/// A Rule in its Policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// What it says.
    pub line: Rule,
    /// Shown to the person and, on Deny, to the model. Empty: a built-in sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The project's file says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub project: bool,
}

/// What the Policy decided about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Allow,
    /// Ask a person first.
    Ask {
        /// What makes it worth asking, one sentence.
        why: String,
    },
    /// Never.
    Deny {
        /// The reason, one sentence.
        why: String,
    },
}

/// A path that asks for a second look, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedPath {
    /// Relative to the Workspace.
    pub path: PathBuf,
    /// Why it is protected.
    pub why: String,
}

/// A tool call as the Policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFacts {
    /// The tool's name.
    pub tool: String,
    /// What it can do.
    pub effects: Vec<Effect>,
    /// Protected paths among those written.
    pub protected: Vec<ProtectedPath>,
    /// The command text of a tool that runs one.
    pub command: Option<String>,
    /// All paths written, relative to the Workspace, or absolute in a directory that was added.
    pub paths: Vec<PathBuf>,
    /// The Workspace on the host: a rule may name a path in it by all of its names. Empty: not known.
    pub root: PathBuf,
    /// The hosts it would reach itself. Empty with `ReachesOut`: not known.
    pub hosts: Vec<Target>,
}

/// More blanks in a row than this are counted, not shown.
const MAX_SPACES: usize = 12;

impl Policy {
    /// The built-in policies: `ask`, `plan`, `auto`.
    pub fn built_in(name: &str) -> Option<Self> {
        let lines = |lines: &[(Verdict, Subject)]| {
            lines
                .iter()
                .map(|(then, on)| PolicyRule {
                    line: Rule::new(*then, on.clone()),
                    note: String::new(),
                    project: false,
                })
                .collect()
        };
        let inside = [
            (Verdict::Ask, Subject::ReachesOut(None)),
            (Verdict::Allow, Subject::Reads),
            (Verdict::Allow, Subject::Writes(None)),
            (Verdict::Allow, Subject::Executes(None)),
        ];
        let policy = |description: &str, rules, checks, read_only| Self {
            name: name.to_owned(),
            description: description.to_owned(),
            rules,
            checks,
            read_only,
            approval_expires_s: None,
        };
        Some(match name {
            "ask" => policy(
                "works inside the jail; asks before it reaches out, changes what the host later runs, or destroys work",
                lines(&inside),
                Checks::default(),
                false,
            ),
            "plan" => policy(
                "looks and changes nothing: the workspace is read-only",
                lines(&[
                    (Verdict::Ask, Subject::ReachesOut(None)),
                    (Verdict::Deny, Subject::Writes(None)),
                    (Verdict::Allow, Subject::Reads),
                    (Verdict::Allow, Subject::Executes(None)),
                ]),
                Checks {
                    destructive_commands: CheckLevel::Deny,
                    host_executed_files: CheckLevel::Deny,
                    ..Checks::default()
                },
                true,
            ),
            "auto" => policy(
                "works inside the jail without asking; still asks before it reaches out or changes what the host later runs",
                lines(&inside),
                Checks {
                    destructive_commands: CheckLevel::Warn,
                    ..Checks::default()
                },
                false,
            ),
            _ => return None,
        })
    }

    /// When a question of now is denied by itself, microseconds since the epoch; `None`: never.
    pub fn expires_us(&self, now_us: i64) -> Option<i64> {
        let seconds = i64::try_from(self.approval_expires_s?).ok()?;
        Some(now_us.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Names of the built-in policies.
    pub const BUILT_IN: [&'static str; 3] = ["ask", "plan", "auto"];
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "closed".into(),
            description: "asks about everything".into(),
            rules: Vec::new(),
            checks: Checks::default(),
            read_only: false,
            approval_expires_s: None,
        }
    }
}

/// Text with everything that could hide or fake something made visible: control characters, escapes, direction marks,
/// blanks that look like others, and runs of blanks that push the rest out of sight.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == ' ' {
            let mut run = 1;
            while rest.next_if_eq(&' ').is_some() {
                run += 1;
            }
            match run {
                1..=MAX_SPACES => shown.extend(std::iter::repeat_n(' ', run)),
                _ => shown.push_str(&format!("[{run} spaces]")),
            }
            continue;
        }
        let code = u32::from(c);
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if is_hidden(c) => shown.push_str(&format!("\\u{{{code:x}}}")),
            _ => shown.push(c),
        }
    }
    shown
}

/// True for control characters and those that hide, reorder or look like a plain blank.
pub fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || matches!(code, 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
        || matches!(code, 0xfff9..=0xfffb | 0xe0000..=0xe0fff)
        || matches!(
            code,
            0xa0 | 0x115f | 0x1160 | 0x1680 | 0x2000..=0x200a | 0x3000 | 0x3164 | 0xffa0
        )
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_false(value: &bool) -> bool {
    !value
}
