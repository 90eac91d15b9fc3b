//! Owns: reading the files of personas, policies and projects.
//! Guarantees: all mistakes are found in one go, each with file, line, column and, for a wrong word, what was probably
//! meant; nothing unknown is passed over.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::file::position;
use crate::config::value::{nearest, parse_span};
use crate::domain::persona::{Persona, ProjectPolicy};
use crate::domain::policy::{Check, CheckLevel, Policy, PolicyRule};

/// Longest instructions, bytes: they go along with every request.
const MAX_INSTRUCTIONS: usize = 32 * 1024;
/// Most rules of a file.
const MAX_RULES: usize = 200;
/// The tools there are, for suggestions; others (of servers) are taken as they are.
const TOOLS: &[&str] = &[
    "exec",
    "read",
    "write",
    "edit",
    "apply_patch",
    "search",
    "read_output",
    "task",
    "plan",
    "fetch",
];

/// Finds a policy by name.
type Find<'a> = &'a dyn Fn(&str) -> Result<Policy, String>;

/// Reads a policy's file.
pub(super) fn policy(path: &Path, name: &str, text: &str, find: Find<'_>) -> Result<Policy, String> {
    let keys = [
        "description",
        "base",
        "rules",
        "read_only",
        "approval_expires",
        "checks",
    ];
    let mut file = File::new(path, text);
    let policy = file.root(&keys).map(|root| {
        let base = file
            .text(&root, "base")
            .map(|(base, at)| file.found(find(&base), at));
        let mut policy = base.flatten().unwrap_or_default();
        name.clone_into(&mut policy.name);
        policy.description = file
            .text(&root, "description")
            .map(|(text, _)| text)
            .unwrap_or_default();
        // Its own rules come before those it builds on.
        let mut rules = file.rules(&root);
        rules.append(&mut policy.rules);
        policy.rules = rules;
        if let Some(read_only) = file.flag(&root, "read_only") {
            policy.read_only = read_only;
        }
        if let Some(seconds) = file.seconds(&root, "approval_expires") {
            policy.approval_expires_s = Some(seconds);
        }
        for (check, level) in file.checks(&root) {
            policy.checks.set(check, level);
        }
        policy
    });
    file.end(policy)
}

/// Reads a persona's file.
pub(super) fn persona(path: &Path, name: &str, text: &str, find: Find<'_>) -> Result<Persona, String> {
    let keys = [
        "description",
        "instructions",
        "model",
        "tools",
        "policy",
        "turn_budget",
        "checks",
    ];
    let mut file = File::new(path, text);
    let persona = file.root(&keys).map(|root| {
        let policy = match file.text(&root, "policy") {
            Some((policy, at)) => file.found(find(&policy), at),
            None => Policy::built_in("ask"),
        };
        let mut policy = policy.unwrap_or_default();
        for (check, level) in file.checks(&root) {
            policy.checks.set(check, level);
        }
        let instructions = match file.text(&root, "instructions") {
            Some((text, at)) if text.len() > MAX_INSTRUCTIONS => {
                file.fault(
                    at,
                    format!("instructions: more than {} KiB", MAX_INSTRUCTIONS / 1024),
                );
                String::new()
            }
            Some((text, _)) => text,
            None => String::new(),
        };
        Persona {
            name: name.to_owned(),
            description: file
                .text(&root, "description")
                .map(|(text, _)| text)
                .unwrap_or_default(),
            instructions,
            model: file.text(&root, "model").map(|(text, _)| text),
            tools: file.tools(&root).unwrap_or_default(),
            turn_budget_micro_usd: file.money(&root, "turn_budget"),
            policy,
        }
    });
    file.end(persona)
}

/// Reads a project's file.
pub(super) fn project(path: &Path, text: &str) -> Result<ProjectPolicy, String> {
    let keys = [
        "description",
        "rules",
        "read_only",
        "approval_expires",
        "checks",
        "tools",
        "turn_budget",
    ];
    let mut file = File::new(path, text);
    let project = file.root(&keys).map(|root| ProjectPolicy {
        rules: file.rules(&root),
        checks: file.checks(&root),
        read_only: file.flag(&root, "read_only"),
        tools: file.tools(&root),
        turn_budget_micro_usd: file.money(&root, "turn_budget"),
        approval_expires_s: file.seconds(&root, "approval_expires"),
    });
    file.end(project)
}

/// A file being read, and what is wrong with it so far.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    faults: Vec<(usize, String)>,
}

impl<'a> File<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        Self {
            path,
            text,
            faults: Vec::new(),
        }
    }

    fn end<T>(mut self, read: Option<T>) -> Result<T, String> {
        self.faults.sort();
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => {
                let lines = self.faults.iter().map(|(at, message)| {
                    let (line, column) = position(self.text, *at);
                    format!("{}:{line}:{column}: {message}", self.path.display())
                });
                Err(lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }

    fn fault(&mut self, at: usize, message: String) {
        self.faults.push((at, message));
    }

    fn found(&mut self, found: Result<Policy, String>, at: usize) -> Option<Policy> {
        match found {
            Ok(policy) => Some(policy),
            Err(why) => {
                self.fault(at, why);
                None
            }
        }
    }

    fn root(&mut self, keys: &[&str]) -> Option<DeTable<'a>> {
        let (root, syntax) = DeTable::parse_recoverable(self.text);
        for error in syntax {
            let at = error.span().map_or(0, |span| span.start);
            self.fault(at, error.message().trim().to_owned());
        }
        if !self.faults.is_empty() {
            return None;
        }
        let root = root.into_inner();
        for (name, _) in &root {
            self.known(name.get_ref().as_ref(), name.span().start, keys, "");
        }
        Some(root)
    }

    fn known(&mut self, name: &str, at: usize, keys: &[&str], of: &str) {
        if keys.contains(&name) {
            return;
        }
        let meant = nearest(name, keys.iter().copied()).map(|near| format!(". Did you mean '{near}'?"));
        let meant = meant.unwrap_or_else(|| format!(". There are: {}", keys.join(", ")));
        self.fault(at, format!("unknown key '{of}{name}'{meant}"));
    }

    fn get<'t>(root: &'t DeTable<'a>, key: &str) -> Option<&'t Spanned<DeValue<'a>>> {
        root.iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)
            .map(|(_, value)| value)
    }

    fn text(&mut self, root: &DeTable<'a>, key: &str) -> Option<(String, usize)> {
        let value = Self::get(root, key)?;
        let at = value.span().start;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), at)),
            None => {
                self.fault(at, format!("{key} is a text"));
                None
            }
        }
    }

    fn flag(&mut self, root: &DeTable<'a>, key: &str) -> Option<bool> {
        let value = Self::get(root, key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.fault(value.span().start, format!("{key} is true or false"));
        }
        flag
    }

    fn seconds(&mut self, root: &DeTable<'a>, key: &str) -> Option<u64> {
        let (text, at) = self.text(root, key)?;
        match parse_span(&text) {
            Ok(Some(span)) if span.as_secs() > 0 => Some(span.as_secs()),
            Ok(_) => {
                self.fault(at, format!("{key}: leave it out to wait for ever"));
                None
            }
            Err(why) => {
                self.fault(at, format!("{key}: {why}"));
                None
            }
        }
    }

    fn money(&mut self, root: &DeTable<'a>, key: &str) -> Option<u64> {
        let (text, at) = self.text(root, key)?;
        let money = agentd_proto::format::parse_money(&text);
        if money.is_none() {
            self.fault(at, format!("{key}: write an amount, such as \"$2\" or \"$0.50\""));
        }
        money
    }

    fn tools(&mut self, root: &DeTable<'a>) -> Option<Vec<String>> {
        let value = Self::get(root, "tools")?;
        let Some(items) = value.get_ref().as_array() else {
            self.fault(value.span().start, "tools is a list of names".into());
            return None;
        };
        let mut tools = Vec::new();
        for item in items {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(name) if !TOOLS.contains(&name) && nearest(name, TOOLS.iter().copied()).is_some() => {
                    let near = nearest(name, TOOLS.iter().copied()).unwrap_or_default();
                    self.fault(at, format!("no tool '{name}'. Did you mean '{near}'?"));
                }
                Some(name) => tools.push(name.to_owned()),
                None => self.fault(at, "a tool's name is a text".into()),
            }
        }
        if items.is_empty() {
            self.fault(value.span().start, "tools: leave it out for all tools".into());
        }
        Some(tools)
    }

    fn checks(&mut self, root: &DeTable<'a>) -> Vec<(Check, CheckLevel)> {
        let Some(value) = Self::get(root, "checks") else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.fault(value.span().start, "checks is a table; write [checks]".into());
            return Vec::new();
        };
        let names: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
        let words: Vec<&str> = CheckLevel::ALL.iter().map(|level| level.word()).collect();
        let mut found = Vec::new();
        for (name, value) in table {
            let own = name.get_ref().as_ref();
            let Some(check) = Check::ALL.into_iter().find(|check| check.name() == own) else {
                self.known(own, name.span().start, &names, "checks.");
                continue;
            };
            let level = value.get_ref().as_str();
            let level = level.and_then(|word| CheckLevel::ALL.into_iter().find(|level| level.word() == word));
            match level {
                Some(level) => found.push((check, level)),
                None => self.fault(
                    value.span().start,
                    format!("checks.{own} is one of: {}", words.join(", ")),
                ),
            }
        }
        found
    }

    fn rules(&mut self, root: &DeTable<'a>) -> Vec<PolicyRule> {
        let Some(value) = Self::get(root, "rules") else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.fault(value.span().start, "rules is a list of rules".into());
            return Vec::new();
        };
        if items.len() > MAX_RULES {
            self.fault(value.span().start, format!("at most {MAX_RULES} rules"));
        }
        let mut rules = Vec::new();
        for item in items {
            let at = item.span().start;
            let (line, line_at, note) = match item.get_ref() {
                DeValue::String(line) => (line.as_ref().to_owned(), at, String::new()),
                DeValue::Table(table) => {
                    for (name, _) in table {
                        self.known(
                            name.get_ref().as_ref(),
                            name.span().start,
                            &["rule", "why"],
                            "rules.",
                        );
                    }
                    let line = Self::get(table, "rule");
                    let Some(text) = line.and_then(|line| line.get_ref().as_str()) else {
                        self.fault(at, "a rule is a text, or { rule = \"…\", why = \"…\" }".into());
                        continue;
                    };
                    let line_at = line.map_or(at, |line| line.span().start);
                    let note = Self::get(table, "why").and_then(|why| why.get_ref().as_str());
                    (text.to_owned(), line_at, note.unwrap_or_default().to_owned())
                }
                _ => {
                    self.fault(at, "a rule is a text, or { rule = \"…\", why = \"…\" }".into());
                    continue;
                }
            };
            match line.parse() {
                Ok(line) => rules.push(PolicyRule {
                    line,
                    note,
                    project: false,
                }),
                Err(error) => {
                    let error: crate::domain::policy::RuleError = error;
                    // The quote before the rule counts.
                    self.fault(line_at + error.column, error.message);
                }
            }
        }
        rules
    }
}
