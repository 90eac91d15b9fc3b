//! Owns: the doorman: which tool calls are allowed, asked about or denied, and what "for this session" grants.
//! Guarantees: pure; fails closed (what no rule mentions is asked about); a grant never overrules a Deny.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::{self, Target};
use super::tool::Effect;

/// Ordered Rules. The first Rule that matches a part of a call decides that part; the strictest part decides the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// First match wins, per part.
    pub rules: Vec<Rule>,
    /// Grows with every change; stands in the jail's specification, so that a jail made under older rules is known.
    pub generation: u64,
}

/// One line of a Policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The part of a call it speaks of.
    pub on: Part,
    /// Only for this tool; `None` = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Only for this path or what lies below it; `None` = any. Only meaningful for `Part::Protected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What follows.
    pub then: Verdict,
    /// Reason shown to the person and, on Deny, to the model. Empty = a built-in sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What a Rule can speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The effect of the same name.
    Reads,
    /// The effect of the same name.
    Writes,
    /// The effect of the same name.
    Executes,
    /// The effect of the same name.
    ReachesOut,
    /// Writing a protected path.
    Protected,
}

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

/// What the Policy decided about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
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
    /// All paths written, relative to the Workspace.
    pub paths: Vec<PathBuf>,
    /// The hosts of a tool that reaches out itself.
    pub hosts: Vec<Target>,
}

/// A rule an approval added "for the session": exactly this tool with exactly this command or these paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The tool's name.
    pub tool: String,
    /// The effects that were agreed to.
    pub effects: Vec<Effect>,
    /// The exact command text, where the tool runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Exactly these written paths, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// These hosts, for every program of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Target>,
}

/// Commands longer than this cannot be checked at a glance, so no standing grant is offered for them.
const MAX_GRANTED_COMMAND: usize = 200;
/// More blanks in a row than this are counted, not shown.
const MAX_SPACES: usize = 12;

impl Default for Policy {
    fn default() -> Self {
        let rule = |on, then| Rule {
            on,
            tool: None,
            path: None,
            then,
            why: String::new(),
        };
        Self {
            rules: vec![
                rule(Part::Protected, Verdict::Ask),
                rule(Part::ReachesOut, Verdict::Ask),
                rule(Part::Reads, Verdict::Allow),
                rule(Part::Writes, Verdict::Allow),
                rule(Part::Executes, Verdict::Allow),
            ],
            generation: 1,
        }
    }
}

/// Decides about one call. A grant turns Ask into Allow, and nothing else.
pub fn decide(policy: &Policy, grants: &[Grant], call: &CallFacts) -> Decision {
    let mut strictest = (Verdict::Allow, String::new());
    let mut weigh = |verdict: Verdict, why: String| {
        if verdict > strictest.0 {
            strictest = (verdict, why);
        }
    };
    if call.effects.is_empty() {
        weigh(
            Verdict::Ask,
            format!("`{}` does not say what it can do", call.tool),
        );
    }
    for effect in &call.effects {
        let part = Part::from(*effect);
        let built_in = || match effect {
            Effect::Reads => "it reads files".to_owned(),
            Effect::Writes => "it writes files".to_owned(),
            Effect::Executes => "it runs a program".to_owned(),
            Effect::ReachesOut => "it reaches outside the jail".to_owned(),
        };
        let (verdict, why) = verdict(policy, part, call, None);
        weigh(verdict, why.unwrap_or_else(built_in));
    }
    for protected in &call.protected {
        let shown = visible(&protected.path.to_string_lossy());
        let (verdict, why) = verdict(policy, Part::Protected, call, Some(protected));
        weigh(
            verdict,
            why.unwrap_or_else(|| format!("it changes {shown}: {}", protected.why)),
        );
    }
    match strictest {
        (Verdict::Allow, _) => Decision::Allow,
        (Verdict::Ask, _) if grants.iter().any(|grant| grant.covers(call)) => Decision::Allow,
        (Verdict::Ask, _) if only_reaches(grants, call) => Decision::Allow,
        (Verdict::Ask, why) => Decision::Ask { why },
        (Verdict::Deny, why) => Decision::Deny { why },
    }
}

/// The rule an approval "for the session" would add, in words; `None` where none is offered.
pub fn rule_text(call: &CallFacts) -> Option<String> {
    let grant = grant_for(call)?;
    if !grant.hosts.is_empty() {
        return Some(reach_rule(&grant.hosts));
    }
    let what = match (&grant.command, grant.paths.as_slice()) {
        (Some(command), _) => format!("exactly `{command}`"),
        (None, []) => return None,
        (None, paths) => format!("exactly {}", paths.join(", ")),
    };
    Some(format!("{} {what}, for this session", grant.tool))
}

/// The grant an approval "for the session" adds. Not offered for compound commands (their parts hide each other), for
/// text that does not show what it is, and where there is nothing exact to hold on to.
pub fn grant_for(call: &CallFacts) -> Option<Grant> {
    if !call.hosts.is_empty() {
        return Some(reach_grant(call.hosts.clone()));
    }
    if let Some(command) = &call.command {
        if command.trim().is_empty() || command.len() > MAX_GRANTED_COMMAND || is_compound(command) {
            return None;
        }
    } else if call.paths.is_empty() {
        return None;
    }
    Some(Grant {
        tool: call.tool.clone(),
        effects: sorted(call.effects.clone()),
        command: call.command.clone(),
        paths: exact_paths(call)?,
        hosts: Vec::new(),
    })
}

/// What lets every program of the session reach these hosts.
pub fn reach_grant(hosts: Vec<Target>) -> Grant {
    Grant {
        tool: "network".to_owned(),
        effects: vec![Effect::ReachesOut],
        command: None,
        paths: Vec::new(),
        hosts,
    }
}

/// That grant in words.
pub fn reach_rule(hosts: &[Target]) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("reach {}, for this session", hosts.join(", "))
}

/// True for a call that does nothing but reach hosts the session may reach already.
fn only_reaches(grants: &[Grant], call: &CallFacts) -> bool {
    call.effects == [Effect::ReachesOut]
        && call.command.is_none()
        && call.protected.is_empty()
        && !call.hosts.is_empty()
        && call.hosts.iter().all(|host| network::is_granted(grants, host))
}

/// True when the text is more than one plain command: lists, pipes, substitutions, redirections, here-documents,
/// variables, hidden characters. Quoting is not looked at: better not offered than wrongly offered.
pub fn is_compound(command: &str) -> bool {
    command.chars().any(|c| {
        matches!(
            c,
            ';' | '&' | '|' | '<' | '>' | '`' | '$' | '(' | ')' | '{' | '}' | '!'
        )
    }) || visible(command) != command
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
        let hidden = c.is_control()
            || matches!(code, 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
            || matches!(code, 0xfff9..=0xfffb | 0xe0000..=0xe0fff)
            || matches!(
                code,
                0xa0 | 0x115f | 0x1160 | 0x1680 | 0x2000..=0x200a | 0x3000 | 0x3164 | 0xffa0
            );
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if hidden => shown.push_str(&format!("\\u{{{code:x}}}")),
            _ => shown.push(c),
        }
    }
    shown
}

impl From<Effect> for Part {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Reads => Self::Reads,
            Effect::Writes => Self::Writes,
            Effect::Executes => Self::Executes,
            Effect::ReachesOut => Self::ReachesOut,
        }
    }
}

impl Grant {
    /// True for a call that is the same in everything the person saw.
    fn covers(&self, call: &CallFacts) -> bool {
        self.tool == call.tool
            && self.hosts.is_empty()
            && call.hosts.is_empty()
            && call.effects.iter().all(|effect| self.effects.contains(effect))
            && self.command == call.command
            && exact_paths(call).as_ref() == Some(&self.paths)
    }
}

fn verdict(
    policy: &Policy,
    part: Part,
    call: &CallFacts,
    protected: Option<&ProtectedPath>,
) -> (Verdict, Option<String>) {
    let matches = |rule: &&Rule| {
        rule.on == part
            && rule.tool.as_ref().is_none_or(|tool| *tool == call.tool)
            && rule
                .path
                .as_ref()
                .is_none_or(|path| protected.is_some_and(|p| p.path.starts_with(path)))
    };
    match policy.rules.iter().find(matches) {
        Some(rule) => (rule.then, Some(rule.why.clone()).filter(|why| !why.is_empty())),
        None => (Verdict::Ask, None),
    }
}

/// The written paths, sorted; `None` when one does not show what it is.
fn exact_paths(call: &CallFacts) -> Option<Vec<String>> {
    let paths: Option<Vec<String>> = call
        .paths
        .iter()
        .map(|path| {
            path.to_str()
                .filter(|text| visible(text) == **text)
                .map(str::to_owned)
        })
        .collect();
    let mut paths = paths?;
    paths.sort();
    paths.dedup();
    Some(paths)
}

fn sorted(mut effects: Vec<Effect>) -> Vec<Effect> {
    effects.sort();
    effects.dedup();
    effects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tool: &str, effects: &[Effect]) -> CallFacts {
        CallFacts {
            tool: tool.to_owned(),
            effects: effects.to_vec(),
            ..CallFacts::default()
        }
    }

    fn exec(command: &str) -> CallFacts {
        let effects = [Effect::Executes, Effect::ReachesOut];
        CallFacts {
            command: Some(command.to_owned()),
            ..call("exec", &effects)
        }
    }

    fn write(path: &str, why: Option<&str>) -> CallFacts {
        let protected = why
            .map(|why| ProtectedPath {
                path: path.into(),
                why: why.to_owned(),
            })
            .into_iter()
            .collect();
        CallFacts {
            paths: vec![path.into()],
            protected,
            ..call("write", &[Effect::Writes])
        }
    }

    #[test]
    fn work_inside_the_jail_is_allowed() {
        let policy = Policy::default();
        for effects in [
            &[Effect::Reads][..],
            &[Effect::Writes],
            &[Effect::Reads, Effect::Writes, Effect::Executes],
        ] {
            assert_eq!(decide(&policy, &[], &call("any", effects)), Decision::Allow);
        }
    }

    #[test]
    fn reaching_out_protected_paths_and_silence_are_asked_about() {
        let policy = Policy::default();
        assert!(matches!(
            decide(&policy, &[], &exec("curl example.org")),
            Decision::Ask { .. }
        ));
        assert!(matches!(
            decide(&policy, &[], &call("odd", &[])),
            Decision::Ask { .. }
        ));
        let Decision::Ask { why } = decide(&policy, &[], &write(".envrc", Some("a shell runs this"))) else {
            panic!("a protected path must be asked about");
        };
        assert_eq!(why, "it changes .envrc: a shell runs this");
    }

    #[test]
    fn the_first_rule_decides_a_part_and_the_strictest_part_the_call() {
        let deny = Rule {
            on: Part::Protected,
            tool: None,
            path: Some(".git".into()),
            then: Verdict::Deny,
            why: "git's own files stay as they are".into(),
        };
        let mut policy = Policy::default();
        policy.rules.insert(0, deny);
        let mut facts = write(".git/config", Some("x"));
        facts.effects.push(Effect::ReachesOut);
        assert_eq!(
            decide(&policy, &[], &facts),
            Decision::Deny {
                why: "git's own files stay as they are".into()
            }
        );
        assert!(matches!(
            decide(&policy, &[], &write(".github/workflows/x", Some("x"))),
            Decision::Ask { .. }
        ));
        assert!(matches!(
            decide(
                &Policy {
                    rules: vec![],
                    generation: 1
                },
                &[],
                &call("read", &[Effect::Reads])
            ),
            Decision::Ask { .. }
        ));
    }

    #[test]
    fn a_grant_covers_exactly_what_was_seen() {
        let policy = Policy::default();
        let seen = exec("curl example.org");
        let grant = grant_for(&seen).unwrap();
        assert_eq!(
            rule_text(&seen).unwrap(),
            "exec exactly `curl example.org`, for this session"
        );
        let grants = [grant];
        assert_eq!(decide(&policy, &grants, &seen), Decision::Allow);
        assert!(matches!(
            decide(&policy, &grants, &exec("curl example.org/x")),
            Decision::Ask { .. }
        ));
        assert!(matches!(
            decide(&policy, &grants, &exec("curl example.org ")),
            Decision::Ask { .. }
        ));
        let other_tool = CallFacts {
            tool: "fetch".into(),
            ..seen.clone()
        };
        assert!(matches!(
            decide(&policy, &grants, &other_tool),
            Decision::Ask { .. }
        ));
        let more = CallFacts {
            paths: vec![".envrc".into()],
            ..seen
        };
        assert!(matches!(decide(&policy, &grants, &more), Decision::Ask { .. }));
    }

    #[test]
    fn a_grant_for_paths_holds_for_these_paths() {
        let policy = Policy::default();
        let seen = write(".envrc", Some("x"));
        assert_eq!(
            rule_text(&seen).unwrap(),
            "write exactly .envrc, for this session"
        );
        let grants = [grant_for(&seen).unwrap()];
        assert_eq!(decide(&policy, &grants, &seen), Decision::Allow);
        assert!(matches!(
            decide(&policy, &grants, &write(".npmrc", Some("x"))),
            Decision::Ask { .. }
        ));
    }

    #[test]
    fn a_grant_never_overrules_a_deny() {
        let mut policy = Policy::default();
        let seen = exec("curl example.org");
        let grants = [grant_for(&seen).unwrap()];
        policy.rules.iter_mut().for_each(|rule| rule.then = Verdict::Deny);
        assert!(matches!(decide(&policy, &grants, &seen), Decision::Deny { .. }));
    }

    #[test]
    fn compound_or_deceptive_commands_get_no_standing_grant() {
        for command in [
            "a; b",
            "a && b",
            "a | b",
            "a & b",
            "a\nb",
            "a $(b)",
            "a `b`",
            "a > f",
            "cat <<EOF",
            "echo $HOME",
            "(a)",
            "a \u{1b}[2K b",
            "a\rb",
            "a \u{202e}b",
            "   ",
            &"x".repeat(201),
        ] {
            assert_eq!(rule_text(&exec(command)), None, "{command:?}");
        }
        assert!(rule_text(&exec("make -j2 test")).is_some());
        assert_eq!(rule_text(&call("search", &[Effect::Reads])), None);
    }

    #[test]
    fn hidden_characters_become_visible() {
        assert_eq!(visible("a\r\u{1b}[2K\u{202e}b\n"), "a\\r\\u{1b}[2K\\u{202e}b\\n");
        assert_eq!(
            visible(&format!("ls{}; rm x  ", " ".repeat(300))),
            "ls[300 spaces]; rm x  "
        );
        assert_eq!(visible("a\u{3164}\u{a0}b"), "a\\u{3164}\\u{a0}b");
    }

    #[test]
    fn a_policy_survives_serialisation_and_refuses_unknown_keys() {
        let policy = Policy::default();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
        assert!(serde_json::from_str::<Policy>(r#"{"rules":[],"generation":1,"sandbox":"off"}"#).is_err());
        let grant = grant_for(&exec("make")).unwrap();
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    }
}
