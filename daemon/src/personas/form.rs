//! Owns: personas and policies as the text of a file, to begin one's own from.
//! Guarantees: what it writes is read back as the same.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Value, value};

use crate::domain::budget::dollars;
use crate::domain::persona::Persona;
use crate::domain::policy::{Check, Checks, Policy};

/// A policy's text.
pub(super) fn of_policy(policy: &Policy) -> String {
    let mut file = DocumentMut::new();
    put(&mut file, "description", &policy.description);
    let mut rules = Array::new();
    for rule in &policy.rules {
        let mut line: Value = if rule.note.is_empty() {
            rule.line.to_string().into()
        } else {
            let mut table = InlineTable::new();
            table.insert("rule", rule.line.to_string().into());
            table.insert("why", rule.note.clone().into());
            table.into()
        };
        line.decor_mut().set_prefix("\n    ");
        rules.push_formatted(line);
    }
    rules.set_trailing("\n");
    rules.set_trailing_comma(!policy.rules.is_empty());
    file.insert("rules", value(rules));
    if policy.read_only {
        file.insert("read_only", value(true));
    }
    if let Some(seconds) = policy.approval_expires_s {
        file.insert("approval_expires", value(format!("{seconds}s")));
    }
    file.insert("checks", checks(&policy.checks));
    file.to_string()
}

/// A persona's text.
pub(super) fn of_persona(persona: &Persona) -> String {
    let mut file = DocumentMut::new();
    put(&mut file, "description", &persona.description);
    put(&mut file, "instructions", &persona.instructions);
    if let Some(model) = &persona.model {
        put(&mut file, "model", model);
    }
    if !persona.tools.is_empty() {
        file.insert("tools", value(persona.tools.iter().collect::<Array>()));
    }
    put(&mut file, "policy", &persona.policy.name);
    if let Some(budget) = persona.turn_budget_micro_usd {
        file.insert("turn_budget", value(dollars(budget)));
    }
    file.to_string()
}

fn put(file: &mut DocumentMut, key: &str, text: &str) {
    if !text.is_empty() {
        file.insert(key, value(text));
    }
}

fn checks(checks: &Checks) -> Item {
    let mut table = toml_edit::Table::new();
    for check in Check::ALL {
        table.insert(check.name(), value(checks.level(check).word()));
    }
    Item::Table(table)
}
