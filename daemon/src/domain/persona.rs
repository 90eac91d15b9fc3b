//! Owns: personas: named ways of working, and which is in force in a session.
//! Guarantees: pure; a project can only tighten what a person chose; what it asks for beyond that is ignored and said.

use serde::{Deserialize, Serialize};

use super::policy::{Check, CheckLevel, Policy, PolicyRule, Verdict};
use super::rejection::Rejection;
use super::workspace::JailKind;

/// A named way of working: instructions, model, tools, Policy, Budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persona {
    /// Its name.
    pub name: String,
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Added to the system text; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// `provider/name`; `None`: the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The only tools it has; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// At most so much money for each turn, micro-USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_budget_micro_usd: Option<u64>,
    /// What it may do.
    pub policy: Policy,
}

/// The names of what is in force: what lists and clients see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The persona.
    pub persona: String,
    /// The policy.
    pub policy: String,
    /// Rises by one with each choice.
    pub generation: u64,
    /// The Workspace is mounted read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// What a project asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectPolicy {
    /// Its rules, in order.
    pub rules: Vec<PolicyRule>,
    /// How strict it wants checks to be.
    pub checks: Vec<(Check, CheckLevel)>,
    /// It wants the Workspace read-only.
    pub read_only: Option<bool>,
    /// The only tools it wants to be used; `None`: says nothing.
    pub tools: Option<Vec<String>>,
    /// At most so much money for each turn, micro-USD.
    pub turn_budget_micro_usd: Option<u64>,
    /// A question nobody answered for so long is denied, seconds.
    pub approval_expires_s: Option<u64>,
}

impl Persona {
    /// Names of the built-in personas.
    pub const BUILT_IN: [&'static str; 4] = ["ask", "plan", "code", "review"];

    /// The built-in personas. `ask` is the one a session has that nobody gave another.
    pub fn built_in(name: &str) -> Option<Self> {
        let (description, policy, instructions) = match name {
            // The name of it in logs written before there were others.
            "ask" | "default" => (
                "works in the jail, and asks before what matters outside it",
                "ask",
                "",
            ),
            "plan" => (
                "reads and thinks, changes nothing, ends with a plan",
                "plan",
                "You are planning. The workspace is read-only: look, search, run what only looks, and change nothing. \
                 End with a plan a person can follow: what to change in which files, in which order, how to check it, \
                 what is uncertain.",
            ),
            "code" => (
                "works through a task on its own inside the jail",
                "auto",
                "Work the task through to its end on your own. Decide small questions yourself and say in the end what \
                 you decided; ask only when a wrong guess would cost more than the wait.",
            ),
            "review" => (
                "reads changes and reports what is wrong with them, changes nothing",
                "plan",
                "You are reviewing. The workspace is read-only: read the changes and what they touch, run what only \
                 looks, and change nothing. Report findings, the worst first, each with file:line, what goes wrong and \
                 when, and how to mend it. Say plainly when there is nothing to report.",
            ),
            _ => return None,
        };
        Some(Self {
            name: if name == "default" { "ask" } else { name }.to_owned(),
            description: description.to_owned(),
            instructions: instructions.to_owned(),
            model: None,
            tools: Vec::new(),
            turn_budget_micro_usd: None,
            policy: Policy::built_in(policy).unwrap_or_default(),
        })
    }

    /// The persona of a session that nobody gave another.
    pub fn usual() -> Self {
        Self::built_in("ask").unwrap_or_else(|| Self {
            name: "ask".into(),
            description: String::new(),
            instructions: String::new(),
            model: None,
            tools: Vec::new(),
            turn_budget_micro_usd: None,
            policy: Policy::default(),
        })
    }

    /// Refused where nothing would keep what it promises: only a jail keeps a workspace read-only.
    pub fn check_wall(&self, jail: JailKind) -> Result<(), Rejection> {
        if self.policy.read_only && jail == JailKind::Outer {
            return Err(Rejection::InvalidArgument(format!(
                "persona: '{}' keeps the workspace read-only, which needs a jail; this session has none of its own (outer)",
                self.name
            )));
        }
        Ok(())
    }

    /// The names of it.
    pub fn in_force(&self, generation: u64) -> InForce {
        InForce {
            persona: self.name.clone(),
            policy: self.policy.name.clone(),
            generation,
            read_only: self.policy.read_only,
        }
    }

    /// True when it has this tool.
    pub fn has_tool(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|own| own == tool)
    }

    /// Takes in what a project asks for, where that tightens; gives a sentence for each thing it does not get.
    pub fn tighten(&mut self, project: &ProjectPolicy) -> Vec<String> {
        let mut ignored = Vec::new();
        let policy = &mut self.policy;
        for rule in &project.rules {
            if rule.line.then == Verdict::Allow {
                ignored.push(format!("'{}': a project can't allow anything", rule.line));
            } else {
                policy.rules.push(PolicyRule {
                    project: true,
                    ..rule.clone()
                });
            }
        }
        for (check, level) in &project.checks {
            let own = policy.checks.level(*check);
            if *level >= own {
                policy.checks.set(*check, *level);
            } else {
                ignored.push(format!(
                    "checks.{} = \"{}\": it is \"{}\" here, and a project can't loosen it",
                    check.name(),
                    level.word(),
                    own.word()
                ));
            }
        }
        match project.read_only {
            Some(true) => policy.read_only = true,
            Some(false) if policy.read_only => {
                ignored.push("read_only = false: a project can't make the workspace writable".into());
            }
            _ => {}
        }
        if let Some(tools) = &project.tools {
            let more: Vec<&String> = tools
                .iter()
                .filter(|tool| !self.tools.is_empty() && !self.tools.contains(tool))
                .collect();
            for tool in more {
                ignored.push(format!(
                    "tools: '{tool}' is not among those of the persona '{}'",
                    self.name
                ));
            }
            let kept: Vec<String> = tools
                .iter()
                .filter(|tool| self.tools.is_empty() || self.tools.contains(tool))
                .cloned()
                .collect();
            // No tool in common: none is left, which an empty list would not say.
            self.tools = if kept.is_empty() {
                vec!["none".into()]
            } else {
                kept
            };
        }
        self.turn_budget_micro_usd = lesser(
            self.turn_budget_micro_usd,
            project.turn_budget_micro_usd,
            "turn_budget: a project can't raise it",
            &mut ignored,
        );
        self.policy.approval_expires_s = lesser(
            self.policy.approval_expires_s,
            project.approval_expires_s,
            "approval_expires: a project can't lengthen it",
            &mut ignored,
        );
        ignored
    }
}

fn lesser(own: Option<u64>, other: Option<u64>, why: &str, ignored: &mut Vec<String>) -> Option<u64> {
    match (own, other) {
        (Some(own), Some(other)) if other > own => {
            ignored.push(why.to_owned());
            Some(own)
        }
        (_, Some(other)) => Some(other),
        (own, None) => own,
    }
}
