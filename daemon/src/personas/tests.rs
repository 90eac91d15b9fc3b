//! Files of personas and policies: read, refused with the place, and a project that can only tighten.

use std::path::Path;

use super::*;
use crate::domain::policy::{Check, CheckLevel, Verdict};

fn home() -> (tempfile::TempDir, Personas) {
    let dir = tempfile::tempdir().unwrap();
    let personas = Personas::in_dir(dir.path());
    (dir, personas)
}

fn project(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".agentd")).unwrap();
    std::fs::write(dir.path().join(PROJECT_FILE), text).unwrap();
    dir
}

fn said(no: Rejection) -> String {
    no.to_string()
}

#[test]
fn what_is_built_in_reads_back_as_the_same() {
    let (_dir, personas) = home();
    for entry in personas.policies() {
        let built_in = entry.read.unwrap();
        let name = format!("my-{}", entry.name);
        personas.save(Kind::Policy, &name, &entry.toml, true).unwrap();
        let own = personas.policy(&name).unwrap().read.unwrap();
        assert_eq!(
            Policy {
                name: built_in.name.clone(),
                ..own
            },
            built_in
        );
    }
    for entry in personas.personas() {
        let built_in = entry.read.unwrap();
        let name = format!("my-{}", entry.name);
        personas.save(Kind::Persona, &name, &entry.toml, true).unwrap();
        let own = personas.persona(&name).unwrap().read.unwrap();
        assert_eq!(
            Persona {
                name: built_in.name.clone(),
                ..own
            },
            built_in
        );
    }
}

#[test]
fn a_policy_builds_on_another_and_its_rules_come_first() {
    let (_dir, personas) = home();
    let text = "base = \"ask\"\nrules = [\n  \"deny executes: git push *\",\n  { rule = \"ask writes: docs/**\", why = \"the docs are reviewed\" },\n]\nread_only = false\napproval_expires = \"30min\"\n[checks]\ndestructive_commands = \"deny\"\n";
    personas.save(Kind::Policy, "mine", text, true).unwrap();
    let policy = personas.policy("mine").unwrap().read.unwrap();
    assert_eq!(policy.rules[0].line.to_string(), "deny executes: git push *");
    assert_eq!(policy.rules[1].note, "the docs are reviewed");
    assert_eq!(
        policy.rules.len(),
        2 + Policy::built_in("ask").unwrap().rules.len()
    );
    assert_eq!(policy.approval_expires_s, Some(1800));
    assert_eq!(policy.checks.level(Check::DestructiveCommands), CheckLevel::Deny);
    assert_eq!(policy.checks.level(Check::HostExecutedFiles), CheckLevel::Ask);
}

#[test]
fn every_mistake_has_its_line_and_what_was_meant() {
    let (_dir, personas) = home();
    let text = "descripton = \"x\"\nrules = [\n  \"allow executs: cargo test *\",\n  \"deny executes: a; b\",\n]\n[checks]\ndestructive_command = \"ask\"\nhidden_unicode = \"loud\"\n";
    let no = said(personas.save(Kind::Policy, "mine", text, true).unwrap_err());
    for part in [
        "mine.toml:1:1: unknown key 'descripton'. Did you mean 'description'?",
        "mine.toml:3:10:",
        "Did you mean 'executes'?",
        "mine.toml:4:19:",
        "mine.toml:7:1: unknown key 'checks.destructive_command'. Did you mean 'destructive_commands'?",
        "mine.toml:8:18: checks.hidden_unicode is one of: off, warn, ask, deny",
    ] {
        assert!(no.contains(part), "{part} is not in:\n{no}");
    }
    assert!(personas.policy("mine").is_err(), "nothing was kept");
    let no = said(
        personas
            .save(Kind::Persona, "mine", "policy = \"nope\"", true)
            .unwrap_err(),
    );
    assert!(no.contains(":1:10: no policy 'nope'"), "{no}");
    let no = said(
        personas
            .save(Kind::Persona, "mine", "tools = [\"exc\"]", true)
            .unwrap_err(),
    );
    assert!(no.contains("Did you mean 'exec'?"), "{no}");
    let no = said(
        personas
            .save(Kind::Persona, "mine", "instructions = ", true)
            .unwrap_err(),
    );
    assert!(no.contains("mine.toml:1:"), "{no}");
}

#[test]
fn names_are_checked_and_what_is_built_in_stays() {
    let (_dir, personas) = home();
    for bad in ["", "../x", "A", "a b", "-x", &"x".repeat(33)] {
        assert!(personas.save(Kind::Persona, bad, "", true).is_err(), "{bad:?}");
    }
    assert!(matches!(
        personas.save(Kind::Persona, "plan", "", true),
        Err(Rejection::NameTaken { .. })
    ));
    assert!(personas.delete(Kind::Policy, "ask").is_err());
    let no = personas.persona("pln").unwrap_err();
    assert!(
        no.hints().iter().any(|hint| hint.contains("did you mean: plan?")),
        "{no:?}"
    );
    personas
        .save(Kind::Policy, "mine", "base = \"ask\"", true)
        .unwrap();
    personas
        .save(Kind::Persona, "me", "policy = \"mine\"", true)
        .unwrap();
    assert!(matches!(
        personas.save(Kind::Persona, "me", "policy = \"ask\"", true),
        Err(Rejection::NameTaken { .. })
    ));
    assert!(said(personas.delete(Kind::Policy, "mine").unwrap_err()).contains("'me' uses"));
    personas.delete(Kind::Persona, "me").unwrap();
    personas.delete(Kind::Policy, "mine").unwrap();
}

#[test]
fn policies_in_a_circle_are_refused() {
    let (dir, personas) = home();
    personas.save(Kind::Policy, "a", "base = \"ask\"", true).unwrap();
    personas.save(Kind::Policy, "b", "base = \"a\"", true).unwrap();
    std::fs::write(dir.path().join("policies/a.toml"), "base = \"b\"").unwrap();
    let read = personas.policy("b").unwrap().read;
    assert!(read.unwrap_err().contains("circle"));
}

#[test]
fn a_project_tightens_and_what_would_widen_is_ignored_and_said() {
    let (_dir, personas) = home();
    let shop = project(
        "rules = [\"allow reaches_out\", \"deny executes: npm publish *\", \"ask writes: migrations/**\"]\nread_only = false\n\
         turn_budget = \"$1\"\n[checks]\ndestructive_commands = \"off\"\nhidden_unicode = \"deny\"\n",
    );
    let (persona, ignored) = personas.resolve("ask", "", shop.path()).unwrap();
    assert_eq!(ignored.len(), 2, "{ignored:?}");
    assert!(
        ignored[0].contains("can't allow") && ignored[1].contains("can't loosen"),
        "{ignored:?}"
    );
    let own: Vec<String> = persona
        .policy
        .rules
        .iter()
        .filter(|r| r.project)
        .map(|r| r.line.to_string())
        .collect();
    assert_eq!(own, ["deny executes: npm publish *", "ask writes: migrations/**"]);
    assert!(
        persona
            .policy
            .rules
            .iter()
            .all(|r| !r.project || r.line.then != Verdict::Allow)
    );
    assert_eq!(
        persona.policy.checks.level(Check::DestructiveCommands),
        CheckLevel::Ask
    );
    assert_eq!(
        persona.policy.checks.level(Check::HiddenUnicode),
        CheckLevel::Deny
    );
    assert_eq!(persona.turn_budget_micro_usd, Some(1_000_000));
    let (plan, ignored) = personas.resolve("plan", "", shop.path()).unwrap();
    assert!(
        plan.policy.read_only && ignored.iter().any(|what| what.contains("writable")),
        "{ignored:?}"
    );
}

#[test]
fn a_projects_ask_never_stands_before_a_persons_deny() {
    use crate::domain::policy::{CallFacts, judge, verdict_word};
    use crate::domain::tool::Effect;
    let (_dir, personas) = home();
    personas
        .save(
            Kind::Policy,
            "mine",
            "base = \"ask\"\nrules = [\"deny executes: git push *\"]",
            true,
        )
        .unwrap();
    let shop = project(
        "rules = [\"ask executes: git push *\", \"ask protected\"]\n[checks]\nhost_executed_files = \"ask\"",
    );
    let (persona, _) = personas.resolve("ask", "mine", shop.path()).unwrap();
    let call = CallFacts {
        tool: "exec".into(),
        effects: vec![Effect::Executes],
        command: Some("git push origin".into()),
        ..CallFacts::default()
    };
    assert_eq!(verdict_word(&judge(&persona.policy, &[], &call).decision), "deny");
}

#[test]
fn a_projects_broken_or_linked_file_is_refused_with_its_place() {
    let (_dir, personas) = home();
    let shop = project("ruls = []");
    let no = said(personas.resolve("ask", "", shop.path()).unwrap_err());
    assert!(
        no.contains(".agentd/policy.toml:1:1: unknown key 'ruls'. Did you mean 'rules'?"),
        "{no}"
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".agentd")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join(PROJECT_FILE)).unwrap();
    assert!(personas.resolve("ask", "", dir.path()).is_err());
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join(".agentd")).unwrap();
    assert!(personas.resolve("ask", "", dir.path()).is_err());
    assert!(personas.resolve("ask", "", Path::new("/nowhere/at/all")).is_ok());
}
