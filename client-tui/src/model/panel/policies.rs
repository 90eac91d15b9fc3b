//! Owns: personas, policies, grants of projects, and which rule decides about a call, as rows.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

use super::{Clock, Deed, Panel, Row, Tone};

/// What has a name and a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Persona,
    Policy,
}

impl Named {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Persona => "persona",
            Self::Policy => "policy",
        }
    }

    /// The panel that lists it.
    pub(crate) fn panel(self) -> Panel {
        match self {
            Self::Persona => Panel::Personas,
            Self::Policy => Panel::Policies,
        }
    }
}

/// The file of a persona or policy as it is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) what: Named,
    pub(crate) name: String,
    pub(crate) toml: String,
    /// Of that name there is none yet.
    pub(crate) create: bool,
}

/// A call to be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// By this policy; empty: as the session would, or else by `ask`.
    pub(crate) policy: String,
    /// Shell text, or `write PATH`.
    pub(crate) command: String,
    /// A rule to look at; empty: the deciding one.
    pub(crate) rule: String,
}

impl Trial {
    /// The path that would be written, when it is about one.
    pub(crate) fn path(&self) -> Option<&str> {
        let (word, path) = self.command.trim().split_once(char::is_whitespace)?;
        (word == "write").then(|| path.trim())
    }
}

/// The name row of one, with what can be done with its file.
fn named(what: Named, name: &str, toml: &str, built_in: bool, words: String, now: bool) -> Row {
    let mut right = vec![if built_in { "built in" } else { "yours" }];
    if now {
        right.push("of this session");
    }
    let draft = Draft {
        what,
        name: name.to_owned(),
        toml: toml.to_owned(),
        create: built_in,
    };
    let row = Row::new(format!("{:<10} {words}", clean(name)), right.join(" · "));
    if built_in {
        return row.can(Deed::AskCopy(draft));
    }
    row.can(Deed::Edit(draft))
        .can(Deed::AskRemove(what, name.to_owned()))
}

pub(super) fn personas(personas: &[pb::Persona], chosen: &str, session: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for one in personas {
        let now = session && one.name == chosen;
        let mut words = vec![format!("policy {}", clean(&one.policy))];
        if !one.model.is_empty() {
            words.push(format!("model {}", clean(&one.model)));
        }
        words.push(match one.tools.as_slice() {
            [] => "all tools".to_owned(),
            tools => format!("tools {}", clean(&tools.join(", "))),
        });
        if one.turn_budget_micro_usd > 0 {
            words.push(format!(
                "{} a turn",
                format::money(Some(one.turn_budget_micro_usd))
            ));
        }
        let mut row = named(
            Named::Persona,
            &one.name,
            &one.toml,
            one.built_in,
            words.join(" · "),
            now,
        );
        if session && !now && one.problem.is_empty() {
            row = row.can(Deed::Choose(Named::Persona, one.name.clone()));
        }
        rows.push(row);
        rows.extend(below(&one.problem, &one.description, &one.path));
        rows.extend(
            one.instructions
                .lines()
                .map(|line| Row::dim(format!("  told: {}", clean(line)))),
        );
    }
    rows
}

/// What is wrong with its file, what it is for, and where it is.
fn below(problem: &str, description: &str, path: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    if !problem.is_empty() {
        rows.push(Row::bad(format!("  cannot be used: {}", clean(problem))));
    }
    if !description.is_empty() {
        rows.push(Row::dim(format!("  {}", clean(description))));
    }
    if !path.is_empty() {
        rows.push(Row::dim(format!("  {}", clean(path))));
    }
    rows
}

pub(super) fn policies(policies: &[pb::Policy], in_force: Option<&pb::Policy>) -> Vec<Row> {
    let ask = Row::new("try a command: which rule decides? Nothing runs", "");
    let mut rows = vec![ask.can(Deed::AskTry(Trial::default()))];
    if let Some(policy) = in_force {
        rows.push(Row::heading(format!(
            "in force in this session: {}",
            clean(&policy.name)
        )));
        rows.extend(rules(policy));
        for what in &policy.ignored {
            rows.push(Row::bad(format!(
                "  ignored in .agentd/policy.toml: {}",
                clean(what)
            )));
        }
        rows.push(Row::heading("all policies"));
    }
    for one in policies {
        let now = in_force.is_some_and(|policy| policy.name == one.name);
        let mut words = format::count(one.rules.len() as u64, "rule");
        words.push_str(if one.read_only {
            " · workspace read-only"
        } else {
            " · workspace writable"
        });
        let mut row = named(Named::Policy, &one.name, &one.toml, one.built_in, words, now);
        if one.problem.is_empty() {
            row = row.can(Deed::AskTry(Trial {
                policy: one.name.clone(),
                ..Trial::default()
            }));
            if in_force.is_some() && !now {
                row = row.can(Deed::Choose(Named::Policy, one.name.clone()));
            }
        }
        rows.push(row);
        rows.extend(below(&one.problem, &one.description, &one.path));
        rows.extend(rules(one).into_iter().map(|row| row.toned(Tone::Dim)));
    }
    rows
}

/// The rules in order, then the checks and when questions expire.
fn rules(policy: &pb::Policy) -> Vec<Row> {
    let mut rows = Vec::new();
    for (rule, index) in policy.rules.iter().zip(0_u32..) {
        let from = if policy.project_rules.contains(&index) {
            "the project's"
        } else {
            ""
        };
        rows.push(Row::new(format!("  {}. {}", index + 1, clean(rule)), from));
    }
    rows.push(Row::new("  otherwise ask", ""));
    let checks: Vec<String> = policy
        .checks
        .iter()
        .map(|check| format!("{} {}", clean(&check.name), level(check.level())))
        .collect();
    if !checks.is_empty() {
        rows.push(Row::new(format!("  checks: {}", checks.join(", ")), ""));
    }
    if policy.approval_expires_seconds > 0 {
        let after = std::time::Duration::from_secs(policy.approval_expires_seconds);
        rows.push(Row::new(
            format!(
                "  unanswered questions are denied after {}",
                format::duration(after)
            ),
            "",
        ));
    }
    rows
}

fn level(level: pb::CheckLevel) -> &'static str {
    match level {
        pb::CheckLevel::Unspecified => "unknown",
        pb::CheckLevel::Off => "off",
        pb::CheckLevel::Warn => "warns",
        pb::CheckLevel::Ask => "asks",
        pb::CheckLevel::Deny => "denies",
    }
}

pub(super) fn grants(
    counting: &[pb::ProjectGrant],
    ended: &[pb::ProjectGrant],
    clock: Clock<'_>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    if counting.is_empty() {
        rows.push(Row::dim(
            "nothing; an approval answered with a rule for the project is listed here",
        ));
    }
    for one in counting {
        let row = Row::new(
            format!("{} {}", clean(&one.grant_id), clean(&one.rule)),
            format!("until {}", clock(one.expire_time)),
        );
        rows.push(row.can(Deed::Revoke(one.grant_id.clone())));
        rows.push(Row::dim(format!("  {}", whence(one))));
    }
    if !ended.is_empty() {
        rows.push(Row::heading("over or taken back"));
    }
    for one in ended {
        let end = match one.revoke_time {
            Some(_) => format!("taken back {}", clock(one.revoke_time)),
            None => format!("over {}", clock(one.expire_time)),
        };
        let words = format!("{} {}", clean(&one.grant_id), clean(&one.rule));
        rows.push(Row::new(words, end).toned(Tone::Dim));
        rows.push(Row::dim(format!("  {}", whence(one))));
    }
    rows
}

fn whence(grant: &pb::ProjectGrant) -> String {
    format!(
        "in {} · by {} · answered {}",
        clean(&grant.workspace),
        clean(&grant.granted_by),
        clean(&grant.approval_id)
    )
}

/// A verdict is never told by colour alone.
fn verdict(word: &str) -> String {
    let sign = match word {
        "allow" => "✓",
        "ask" => "!",
        "deny" => "–",
        _ => "?",
    };
    format!("{sign} {}", clean(word))
}

pub(super) fn trial(trial: &Trial, tested: &pb::TestPolicyResponse, clock: Clock<'_>) -> Vec<Row> {
    let by = match trial.policy.as_str() {
        "" => String::new(),
        name => format!("by the policy {}", clean(name)),
    };
    let again = Row::new(format!("{:<11} {}", "command", clean(&trial.command)), by);
    let mut decided = format!("{:<11} by {}", verdict(&tested.verdict), clean(&tested.rule));
    if !tested.origin.is_empty() {
        decided.push_str(&format!(" ({})", clean(&tested.origin)));
    }
    let tone = if tested.verdict == "deny" {
        Tone::Bad
    } else {
        Tone::Plain
    };
    let mut rows = vec![
        again.can(Deed::AskTry(trial.clone())),
        Row::new(decided, "")
            .toned(tone)
            .can(Deed::AskRule(trial.clone())),
    ];
    if !tested.why.is_empty() {
        rows.push(Row::field("why", &tested.why));
    }
    if trial.path().is_none() && !tested.compound_why.is_empty() {
        rows.push(Row::field(
            "compound",
            format!("no rule with a pattern can allow it: {}", tested.compound_why),
        ));
    }
    for warning in &tested.warnings {
        rows.push(Row::field("warns", warning));
    }
    for rule in &tested.offered_rules {
        rows.push(Row::field("offers", rule));
    }
    if tested.parts.len() > 1 {
        rows.push(Row::heading("parts: the strictest decides"));
        rows.extend(tested.parts.iter().map(part));
    }
    if !tested.history_rule.is_empty() {
        let matches = if tested.rule_matches {
            "matches this"
        } else {
            "does not match this"
        };
        rows.push(Row::heading(format!(
            "{} {matches}, and {} of the last {}",
            clean(&tested.history_rule),
            tested.history_matched,
            format::count(tested.history_seen.into(), "call")
        )));
        rows.extend(tested.matches.iter().map(|one| {
            Row::new(
                format!("{:<12} {}", clean(&one.session_name), clean(&one.summary)),
                format!("seq {} · {}", one.seq, clock(one.time)),
            )
        }));
    }
    rows
}

fn part(part: &pb::PolicyPart) -> Row {
    let mut by = format!("by {}", clean(&part.rule));
    if !part.origin.is_empty() {
        by.push_str(&format!(" ({})", clean(&part.origin)));
    }
    let row = Row::new(format!("{:<7} {}", verdict(&part.verdict), clean(&part.part)), by);
    match part.verdict.as_str() {
        "deny" => row.toned(Tone::Bad),
        _ => row,
    }
}
