//! Owns: how one call is judged: its parts, what decides each, and what that makes of the call.
//! Guarantees: pure; the strictest part decides; what is asked is allowed by grants only when they cover every asked
//! part; a Deny stands.

use std::path::Path;

use super::check::{self, Check, CheckLevel};
use super::command::Reading;
use super::rule::{Rule, Subject, Verdict};
use super::{CallFacts, Decision, Policy, visible};
use crate::domain::network::{self, Target};
use crate::domain::tool::Effect;

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The rule with this index.
    Rule(usize),
    /// A safety check.
    Check(Check),
    /// The policy's `read_only`.
    ReadOnly,
    /// A rule somebody granted.
    Grant(Rule),
    /// No rule: what nothing mentions is asked about.
    Default,
}

/// One part of a call, and what is decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// An effect, a path, a host, or the command.
    pub what: String,
    /// What is decided.
    pub verdict: Verdict,
    /// By what.
    pub by: By,
    /// Why, one sentence.
    pub why: String,
}

/// A call judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What follows.
    pub decision: Decision,
    /// What decided it.
    pub by: By,
    /// Every part, in order.
    pub parts: Vec<Part>,
    /// What checks found and let pass.
    pub warnings: Vec<(Check, String)>,
}

/// The rules that come first for a part.
#[derive(Clone, Copy)]
struct First {
    own: Option<usize>,
    project: Option<usize>,
}

/// What a part is about, for grants.
#[derive(Clone, Copy)]
enum Matter<'a> {
    Command,
    Path(&'a Path),
    Host(Option<&'a Target>),
    Other,
}

struct Judging<'a> {
    policy: &'a Policy,
    call: &'a CallFacts,
    reading: Option<Reading>,
    parts: Vec<Part>,
    matters: Vec<Matter<'a>>,
    warnings: Vec<(Check, String)>,
}

/// Judges one call.
pub fn judge(policy: &Policy, grants: &[Rule], call: &CallFacts) -> Judged {
    let mut judging = Judging {
        policy,
        call,
        reading: call.command.as_deref().map(Reading::of),
        parts: Vec::with_capacity(4),
        matters: Vec::with_capacity(4),
        warnings: Vec::new(),
    };
    judging.effects();
    judging.protected();
    judging.read_only();
    judging.destructive();
    judging.close(grants)
}

/// The verdict's word and what decided, as people read it.
pub fn verdict_word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow => Verdict::Allow.word(),
        Decision::Ask { .. } => Verdict::Ask.word(),
        Decision::Deny { .. } => Verdict::Deny.word(),
    }
}

/// True when a rule is about some part of a call.
pub fn touches(rule: &Rule, call: &CallFacts) -> bool {
    let has = |effect| call.effects.contains(&effect);
    let reading = call.command.as_deref().map(Reading::of);
    rule.about_tool(&call.tool)
        || (has(Effect::Reads) && matches!(rule.on, Subject::Reads))
        || (has(Effect::Writes) && matches!(rule.on, Subject::Writes(None)))
        || (has(Effect::Executes)
            && reading
                .as_ref()
                .is_some_and(|reading| rule.about_command(reading)))
        || (has(Effect::ReachesOut) && call.hosts.is_empty() && matches!(rule.on, Subject::ReachesOut(None)))
        || call.hosts.iter().any(|host| rule.about_host(Some(host)))
        || call.paths.iter().any(|path| rule.about_written(path, &call.root))
        || call
            .protected
            .iter()
            .any(|one| rule.about_protected(&one.path, &call.root))
}

impl By {
    /// As text: a rule, `check NAME`, `grant RULE`, or `no rule`.
    pub fn text(&self, policy: &Policy) -> String {
        match self {
            Self::Rule(index) => policy
                .rules
                .get(*index)
                .map(|rule| rule.line.to_string())
                .unwrap_or_default(),
            Self::Check(check) => format!("check {}", check.name()),
            Self::ReadOnly => "read_only".into(),
            Self::Grant(rule) => format!("grant {rule}"),
            Self::Default => "no rule".into(),
        }
    }

    /// `policy`, `project`, `check`, `grant` or `default`.
    pub fn origin(&self, policy: &Policy) -> &'static str {
        match self {
            Self::Rule(index) if policy.rules.get(*index).is_some_and(|rule| rule.project) => "project",
            Self::Rule(_) | Self::ReadOnly => "policy",
            Self::Check(_) => "check",
            Self::Grant(_) => "grant",
            Self::Default => "default",
        }
    }
}

impl<'a> Judging<'a> {
    fn effects(&mut self) {
        let call = self.call;
        if call.effects.is_empty() {
            let why = format!("`{}` does not say what it can do", visible(&call.tool));
            self.put("what it can do", Verdict::Ask, By::Default, why, Matter::Other);
        }
        for effect in &call.effects {
            match effect {
                Effect::Reads => {
                    let by = self.first(|rule| matches!(rule.on, Subject::Reads | Subject::Anything));
                    self.decide("reads", by, "it reads files", Matter::Other);
                }
                // The wall keeps commands from writing: the Workspace is read-only inside.
                Effect::Writes if self.policy.read_only && call.command.is_some() => {}
                Effect::Writes if call.paths.is_empty() => {
                    // Where it writes is not known: a rule that forbids some path could be the one, unless a
                    // command does it, which no rule on paths can hold back.
                    let by = self.first(|rule| match &rule.on {
                        Subject::Writes(None) | Subject::Anything => true,
                        Subject::Writes(Some(_)) => rule.then != Verdict::Allow && call.command.is_none(),
                        _ => false,
                    });
                    self.decide("writes", by, "it writes files", Matter::Command);
                }
                Effect::Writes => {
                    for path in &call.paths {
                        let by = self.first(|rule| rule.about_written(path, &call.root));
                        let what = format!("writes {}", visible(&path.to_string_lossy()));
                        self.decide(&what, by, "it writes files", Matter::Path(path));
                    }
                }
                Effect::Executes => self.executes(),
                Effect::ReachesOut if call.hosts.is_empty() => {
                    let by = self.first(|rule| rule.about_host(None));
                    self.decide(
                        "reaches_out",
                        by,
                        "it reaches outside the jail",
                        Matter::Host(None),
                    );
                }
                Effect::ReachesOut => {
                    for host in &call.hosts {
                        let by = self.first(|rule| rule.about_host(Some(host)));
                        let what = format!("reaches_out {host}");
                        let why = format!("it reaches {host}, outside the jail");
                        self.decide(&what, by, &why, Matter::Host(Some(host)));
                    }
                }
            }
        }
    }

    fn executes(&mut self) {
        let (what, why, by) = match &self.reading {
            None => {
                let by = self.first(|rule| match &rule.on {
                    Subject::Executes(None) | Subject::Anything => true,
                    Subject::Executes(Some(_)) => rule.then != Verdict::Allow,
                    _ => false,
                });
                ("executes".to_owned(), "it runs a program".to_owned(), by)
            }
            Some(reading) => {
                let by = self.first(|rule| rule.about_command(reading));
                let why = match reading.unread() {
                    Some(problem) => format!("it can't be read as shell, so no rule allows it: {problem}"),
                    None => "it runs a program".to_owned(),
                };
                ("executes".to_owned(), why, by)
            }
        };
        self.decide(&what, by, &why, Matter::Command);
    }

    fn protected(&mut self) {
        for protected in &self.call.protected {
            let shown = visible(&protected.path.to_string_lossy());
            let why = format!("it changes {shown}: {}", protected.why);
            let what = format!("protected {shown}");
            let matter = Matter::Path(&protected.path);
            let find = |project: bool| {
                let rules = self.policy.rules.iter();
                rules.clone().position(|rule| {
                    rule.project == project && rule.line.about_protected(&protected.path, &self.call.root)
                })
            };
            let (own, project) = (find(false), find(true));
            if project.is_some() {
                self.decide_by(&what, project, &why, matter);
            }
            match own {
                Some(_) => self.decide_by(&what, own, &why, matter),
                None => self.check(Check::HostExecutedFiles, &what, why, matter),
            }
        }
    }

    /// The wall holds commands back; a file tool works outside of it.
    fn read_only(&mut self) {
        let writes = self.call.effects.contains(&Effect::Writes) && self.call.command.is_none();
        if self.policy.read_only && writes {
            let why = "the workspace is read-only under this policy".to_owned();
            self.put("writes", Verdict::Deny, By::ReadOnly, why, Matter::Other);
        }
    }

    fn destructive(&mut self) {
        if self.policy.checks.destructive_commands == CheckLevel::Off {
            return;
        }
        // A wall that keeps everything from writing leaves nothing to destroy but what reaches out.
        let found = self.reading.as_ref().and_then(check::destructive);
        if let Some(found) = found {
            self.check(Check::DestructiveCommands, "executes", found.why, Matter::Command);
        }
    }

    fn check(&mut self, check: Check, what: &str, why: String, matter: Matter<'a>) {
        let verdict = match self.policy.checks.level(check) {
            CheckLevel::Off => return,
            CheckLevel::Warn => {
                self.warnings.push((check, why));
                return;
            }
            CheckLevel::Ask => Verdict::Ask,
            CheckLevel::Deny => Verdict::Deny,
        };
        self.put(what, verdict, By::Check(check), why, matter);
    }

    /// The first rule of the person about the part, by the test or about the tool; and the first of the project.
    fn first(&self, about: impl Fn(&Rule) -> bool) -> First {
        let readable = self.reading.as_ref().is_none_or(Reading::is_read);
        let find = |project: bool| {
            self.policy.rules.iter().position(|rule| {
                rule.project == project
                    && (about(&rule.line)
                        || (rule.line.about_tool(&self.call.tool)
                            && (readable || rule.line.then != Verdict::Allow)))
            })
        };
        First {
            own: find(false),
            project: find(true),
        }
    }

    fn decide(&mut self, what: &str, by: First, built_in: &str, matter: Matter<'a>) {
        if by.project.is_some() {
            // Beside what the person's rules say, never in their place: the stricter of the two decides.
            self.decide_by(what, by.project, built_in, matter);
        }
        self.decide_by(what, by.own, built_in, matter);
    }

    fn decide_by(&mut self, what: &str, by: Option<usize>, built_in: &str, matter: Matter<'a>) {
        let rule = by.and_then(|index| self.policy.rules.get(index).map(|rule| (index, rule)));
        match rule {
            Some((index, rule)) => {
                let why = if rule.note.is_empty() {
                    built_in
                } else {
                    &rule.note
                };
                self.put(what, rule.line.then, By::Rule(index), why.to_owned(), matter);
            }
            None => self.put(what, Verdict::Ask, By::Default, built_in.to_owned(), matter),
        }
    }

    fn put(&mut self, what: &str, verdict: Verdict, by: By, why: String, matter: Matter<'a>) {
        self.matters.push(matter);
        self.parts.push(Part {
            what: what.to_owned(),
            verdict,
            by,
            why,
        });
    }

    fn close(mut self, grants: &[Rule]) -> Judged {
        let words = self.reading.as_ref().and_then(Reading::plain);
        // A person who granted a command granted all that this command does.
        let command = grants.iter().find(|grant| match (&grant.on, words) {
            (Subject::Executes(Some(pattern)), Some(words)) => pattern.matches(words),
            _ => false,
        });
        for (part, matter) in self.parts.iter_mut().zip(&self.matters) {
            if part.verdict != Verdict::Ask {
                continue;
            }
            let by = command.or_else(|| {
                grants.iter().find(|grant| match matter {
                    Matter::Path(path) => grant.about_written(path, &self.call.root),
                    Matter::Host(Some(host)) => network::is_granted(std::slice::from_ref(*grant), host),
                    Matter::Host(None) | Matter::Command | Matter::Other => false,
                })
            });
            if let Some(grant) = by {
                part.verdict = Verdict::Allow;
                part.by = By::Grant(grant.clone());
            }
        }
        let strictest = self
            .parts
            .iter()
            .map(|part| part.verdict)
            .max()
            .unwrap_or(Verdict::Allow);
        let decider = self.parts.iter().filter(|part| part.verdict == strictest);
        // Of several that say the same, the one with something to say: a grant, else a rule or check.
        let decider = decider.reduce(|best, part| {
            if matches!(part.by, By::Grant(_)) {
                part
            } else {
                best
            }
        });
        let (by, why) = decider.map_or((By::Default, String::new()), |part| {
            (part.by.clone(), part.why.clone())
        });
        Judged {
            decision: match strictest {
                Verdict::Allow => Decision::Allow,
                Verdict::Ask => Decision::Ask { why },
                Verdict::Deny => Decision::Deny { why },
            },
            by,
            parts: self.parts,
            warnings: self.warnings,
        }
    }
}

/// What is decided about beginning a shell with a project's text, and by which rule: the stricter of the person's first
/// rule and the project's, which can't allow; what would be asked, a grant for this very text allows.
pub fn judge_init(policy: &Policy, grants: &[Rule], digest: &str) -> (Verdict, String) {
    let first = |project: bool| {
        let rules = policy.rules.iter().filter(|rule| rule.project == project);
        let mut rules = rules.filter(|rule| !project || rule.line.then != Verdict::Allow);
        rules
            .find(|rule| rule.line.about_init(digest))
            .map(|rule| &rule.line)
    };
    let decided = [first(false), first(true)].into_iter().flatten();
    let (verdict, by) = match decided.max_by_key(|rule| rule.then) {
        Some(rule) => (rule.then, rule.to_string()),
        None => (Verdict::Ask, "no rule".to_owned()),
    };
    let granted = |rule: &&Rule| matches!(rule.on, Subject::Init(_)) && rule.about_init(digest);
    match grants
        .iter()
        .filter(|rule| rule.then == Verdict::Allow)
        .find(granted)
    {
        Some(grant) if verdict == Verdict::Ask => (Verdict::Allow, grant.to_string()),
        _ => (verdict, by),
    }
}
