//! Owns: the rules an approval can add: which are offered, and which an approver may put in their place.
//! Guarantees: pure; what is offered is exact; what is put in its place matches what was asked, and never allows
//! compound commands, whole programs, interpreters or wildcards over paths and hosts.

use serde::{Deserialize, Serialize};

use super::command::{Reading, Word};
use super::rule::{Rule, RuleError, Subject, Verdict};
use super::{CallFacts, visible, wrap};
use crate::domain::network::Target;
use crate::domain::tool::Effect;

/// Commands longer than this cannot be checked at a glance, so no standing grant is offered for them.
const MAX_GRANTED_COMMAND: usize = 200;
/// Most rules of one answer.
const MAX_RULES: usize = 32;

/// The form of a grant in logs written before rules had texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldGrant {
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

impl OldGrant {
    /// The same as rules; nothing where no rule says exactly that.
    pub fn rules(&self) -> Vec<String> {
        let facts = CallFacts {
            tool: self.tool.clone(),
            effects: self.effects.clone(),
            command: self.command.clone(),
            paths: self.paths.iter().map(Into::into).collect(),
            hosts: self.hosts.clone(),
            ..CallFacts::default()
        };
        let rules = offer(&facts).unwrap_or_default();
        rules.iter().map(ToString::to_string).collect()
    }
}

/// Why a rule may not be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a rule.
    #[error("'{}', {error}", visible(.rule))]
    Unreadable {
        /// The text.
        rule: String,
        /// Where and why.
        error: RuleError,
    },
    /// It grants more than was asked, or something else.
    #[error("'{}' can't be granted: {why}", visible(.rule))]
    Broad {
        /// The text.
        rule: String,
        /// Why not, and what can be granted.
        why: String,
    },
}

/// The rules an approval "for the session" or "for the project" would add; an error says why there are none.
pub fn offer(call: &CallFacts) -> Result<Vec<Rule>, String> {
    if let Some(command) = &call.command {
        let reading = Reading::of(command);
        let Some(words) = reading.plain() else {
            let (_, why) = reading.why_not_plain();
            return Err(format!("no rule is offered: {why}"));
        };
        if command.len() > MAX_GRANTED_COMMAND {
            return Err("no rule is offered: the command is too long to be checked at a glance".into());
        }
        if words.iter().any(|word| visible(word) != *word) {
            return Err("no rule is offered: hidden characters stand in the command".into());
        }
        return Ok(vec![Rule::exactly(words.to_vec())]);
    }
    if !call.hosts.is_empty() {
        return Ok(call.hosts.iter().map(Rule::host).collect());
    }
    if call.paths.is_empty() {
        return Err("no rule is offered: nothing exact would match only this".into());
    }
    let exact = |path: &std::path::PathBuf| {
        let text = path.to_str().filter(|text| visible(text) == **text)?;
        Rule::path(text)
    };
    let rules: Option<Vec<Rule>> = call.paths.iter().map(exact).collect();
    let mut rules = rules.ok_or("no rule is offered: a path does not show what it is")?;
    rules.sort_by_key(ToString::to_string);
    rules.dedup();
    if rules.len() > MAX_RULES {
        return Err("no rule is offered: it writes too many files to be checked at a glance".into());
    }
    Ok(rules)
}

/// Checks the rules an approver wants instead of the offered ones. `command` is what was asked about, where it is a
/// command.
pub fn check_rules(offered: &[Rule], command: Option<&str>, wanted: &[String]) -> Result<Vec<Rule>, Refused> {
    let mut rules = Vec::with_capacity(wanted.len());
    for text in wanted {
        let rule: Rule = text.parse().map_err(|error| Refused::Unreadable {
            rule: text.clone(),
            error,
        })?;
        let broad = |why: String| Refused::Broad {
            rule: text.clone(),
            why,
        };
        if offered.is_empty() {
            return Err(broad(
                "no exact rule would match only this call; it can be approved once".into(),
            ));
        }
        if rule.then != Verdict::Allow {
            return Err(broad("an approval adds rules that begin with allow".into()));
        }
        narrow(&rule, offered, command).map_err(broad)?;
        rules.push(rule);
    }
    // Each of the things asked about is still covered.
    let covered = |asked: &Rule| match &asked.on {
        Subject::Writes(Some(path)) => rules
            .iter()
            .any(|rule| rule.about_written(path.text().as_ref(), "".as_ref())),
        Subject::ReachesOut(Some(host)) => rules
            .iter()
            .any(|rule| matches!(&rule.on, Subject::ReachesOut(Some(own)) if own.covers(host))),
        _ => true,
    };
    if let Some(missing) = offered.iter().find(|asked| !covered(asked)) {
        return Err(Refused::Broad {
            rule: wanted.join("; "),
            why: format!("it does not match what is asked: '{missing}' is missing"),
        });
    }
    if rules.len() > MAX_RULES {
        return Err(Refused::Broad {
            rule: format!("{} rules", rules.len()),
            why: format!("at most {MAX_RULES} at a time"),
        });
    }
    Ok(rules)
}

fn narrow(rule: &Rule, offered: &[Rule], command: Option<&str>) -> Result<(), String> {
    let same_kind = |asked: &&Rule| std::mem::discriminant(&asked.on) == std::mem::discriminant(&rule.on);
    let Some(asked) = offered.iter().find(same_kind) else {
        let offered = offered.first().map(ToString::to_string).unwrap_or_default();
        return Err(format!(
            "it is about something else than what is asked; offered is '{offered}'"
        ));
    };
    match &rule.on {
        Subject::Executes(None) => Err("it would allow every command".into()),
        Subject::Executes(Some(pattern)) => {
            let reading = command.map(Reading::of).unwrap_or_default();
            let matches = reading.plain().is_some_and(|words| pattern.matches(words));
            if !matches {
                return Err(format!(
                    "it does not match the command in question; offered is '{asked}'"
                ));
            }
            if !pattern.rest {
                return Ok(());
            }
            let words: Vec<Word> = pattern.words.iter().cloned().map(Word::Known).collect();
            if let Some(why) = wrap::runs_another(&words) {
                return Err(why);
            }
            let program = pattern.words.first().map(String::as_str).unwrap_or_default();
            if wrap::is_interpreter(program) {
                return Err(format!(
                    "'{program}' is an interpreter: any words after it are a program of their own"
                ));
            }
            match pattern.words.get(1) {
                None => Err(format!(
                    "it would allow everything '{program}' can do; name what it does too, such as '{} *'",
                    first_two(asked)
                )),
                Some(second) if second.starts_with('-') => {
                    Err("the word after the program has to name what it does, not an option".into())
                }
                Some(_) => Ok(()),
            }
        }
        Subject::Writes(None) | Subject::ReachesOut(None) => Err(format!(
            "it names nothing and would allow all; offered is '{asked}'"
        )),
        Subject::Writes(Some(path)) if path.is_wild() => {
            Err(format!("it has a wildcard; offered is '{asked}'"))
        }
        Subject::ReachesOut(Some(host)) if host.host.starts_with("*.") => {
            Err(format!("it has a wildcard; offered is '{asked}'"))
        }
        Subject::Writes(Some(path)) => exactly_one(offered, rule, path.text()),
        Subject::Init(_) if offered.contains(rule) => Ok(()),
        Subject::Init(_) => Err(format!("it is about another text; offered is '{asked}'")),
        Subject::ReachesOut(Some(host)) => {
            let one = offered.iter().any(|asked| match &asked.on {
                Subject::ReachesOut(Some(own)) => host.covers(own),
                _ => false,
            });
            if one {
                Ok(())
            } else {
                Err(format!("that host was not asked about; offered is '{asked}'"))
            }
        }
        _ => Err(format!(
            "it is about something else than what is asked; offered is '{asked}'"
        )),
    }
}

fn exactly_one(offered: &[Rule], rule: &Rule, text: &str) -> Result<(), String> {
    if offered.contains(rule) {
        return Ok(());
    }
    let first = offered.first().map(ToString::to_string).unwrap_or_default();
    Err(format!(
        "writing '{text}' was not asked about; offered is '{first}'"
    ))
}

fn first_two(asked: &Rule) -> String {
    match &asked.on {
        Subject::Executes(Some(pattern)) => pattern
            .words
            .iter()
            .take(2)
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    }
}
