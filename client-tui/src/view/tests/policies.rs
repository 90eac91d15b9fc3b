//! Personas, policies, grants and which rule decides; and an approval answered with a rule.

use agentd_proto::{ClientError, pb};

use super::{paint, rows, snapshot};
use crate::fixture::{Desk, WALL, asked, story};
use crate::model::panel::{Data, Deed, Draft, Named, Trial};
use crate::msg::{Cmd, FromLink, Msg, ToLink};
use crate::text;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: WALL + seconds,
        nanos: 0,
    })
}

fn persona(name: &str, built_in: bool) -> pb::Persona {
    pb::Persona {
        name: name.into(),
        description: "works in the jail".into(),
        built_in,
        policy: "ask".into(),
        toml: format!("description = \"{name}\"\n"),
        path: if built_in {
            String::new()
        } else {
            format!("/home/ana/.config/agentd/personas/{name}.toml")
        },
        ..Default::default()
    }
}

fn personas() -> Data {
    let mine = pb::Persona {
        instructions: "Never run migrations.\u{1b}[2J\nSay what you would run.".into(),
        model: "openai/gpt-x".into(),
        tools: vec!["exec".into(), "read".into()],
        turn_budget_micro_usd: 2_000_000,
        ..persona("mine", false)
    };
    let broken = pb::Persona {
        problem: "line 3, column 9: no tool 'exce'; did you mean 'exec'?".into(),
        ..persona("broken", false)
    };
    Data::Personas {
        personas: vec![persona("ask", true), persona("code", true), mine, broken],
        chosen: "code".into(),
        session: true,
    }
}

fn policy(name: &str, built_in: bool) -> pb::Policy {
    let check = |name: &str, level: pb::CheckLevel| pb::Check {
        name: name.into(),
        level: level.into(),
    };
    pb::Policy {
        name: name.into(),
        description: "asks before what matters outside".into(),
        built_in,
        rules: vec![
            "allow reads".into(),
            "deny executes: git push \u{202e}*".into(),
            "ask reaches_out".into(),
        ],
        checks: vec![
            check("secrets_in_prompts", pb::CheckLevel::Warn),
            check("destructive_commands", pb::CheckLevel::Ask),
        ],
        approval_expires_seconds: 1_800,
        toml: format!("base = \"{name}\"\n"),
        ..Default::default()
    }
}

fn policies() -> Data {
    let in_force = pb::Policy {
        project_rules: vec![1],
        ignored: vec!["allow executes: *".into()],
        ..policy("ask", true)
    };
    Data::Policies {
        policies: vec![policy("ask", true), policy("mine", false)],
        in_force: Some(Box::new(in_force)),
    }
}

fn grant(id: &str) -> pb::ProjectGrant {
    pb::ProjectGrant {
        grant_id: id.into(),
        workspace: "/home/ana/src/shop".into(),
        rule: "allow executes: cargo test *".into(),
        expire_time: at(86_400),
        granted_by: "ana via web".into(),
        approval_id: "a-31".into(),
        ..Default::default()
    }
}

fn grants() -> Data {
    let back = pb::ProjectGrant {
        revoke_time: at(-60),
        ..grant("g-2")
    };
    Data::Grants {
        counting: vec![grant("g-7k2f9q")],
        ended: vec![back],
    }
}

fn trial() -> Trial {
    Trial {
        command: "cargo test && git push".into(),
        ..Trial::default()
    }
}

fn tried() -> Data {
    let part = |part: &str, verdict: &str, rule: &str| pb::PolicyPart {
        part: part.into(),
        verdict: verdict.into(),
        rule: rule.into(),
        origin: "policy".into(),
        ..Default::default()
    };
    let tested = pb::TestPolicyResponse {
        verdict: "deny".into(),
        rule: "deny executes: git push *".into(),
        origin: "policy".into(),
        why: "pushing is done by hand".into(),
        parts: vec![
            part("cargo test", "ask", "no rule"),
            part("git push", "deny", "deny executes: git push *"),
        ],
        warnings: vec!["git push is seen by others".into()],
        compound_why: "it has `&&`".into(),
        history_rule: "deny executes: git push *".into(),
        rule_matches: true,
        history_seen: 500,
        history_matched: 2,
        matches: vec![pb::PolicyMatch {
            session_name: "fix-login".into(),
            seq: 41,
            time: at(-3_600),
            summary: "exec git push \u{1b}[2J".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Data::Trial(Box::new(trial()), Box::new(tested))
}

/// In the session, with this panel as the daemon filled it.
fn opened(width: u16, height: u16, keys: &str, data: Data) -> Desk {
    let mut desk = Desk::session(width, height, story());
    desk.press(keys);
    if let Data::Trial(trial, _) = &data {
        desk.type_in(&format!("{}\n", trial.command));
    }
    desk.news(FromLink::Panel {
        session_id: "s-7k2f".into(),
        data,
    });
    desk
}

fn deeds(desk: &Desk) -> Vec<Deed> {
    let deed = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::Panel { deed, .. }) => deed.clone(),
        _ => None,
    };
    desk.cmds.iter().filter_map(deed).collect()
}

fn editors(desk: &Desk) -> Vec<String> {
    let text = |cmd: &Cmd| match cmd {
        Cmd::Editor { text, toml: true } => Some(text.clone()),
        _ => None,
    };
    desk.cmds.iter().filter_map(text).collect()
}

fn with_rule(width: u16, height: u16) -> Desk {
    let mut desk = Desk::session(width, height, story());
    let pb::event::Body::ApprovalRequested(mut body) = asked(
        "a-31",
        "npm publish --access public",
        "allow executes: npm publish --access public",
    ) else {
        panic!("another fact")
    };
    let approval = body.approval.as_mut().unwrap();
    approval.rules = vec![
        "allow executes: npm publish --access public".into(),
        "allow reaches_out: registry.example:443 \u{202e}evil".into(),
    ];
    approval.deciding_rule = "ask reaches_out".into();
    desk.fact(pb::event::Body::ApprovalRequested(body));
    desk.wait(600);
    desk
}

#[test]
fn panels() {
    snapshot("panel_personas", |w, h| opened(w, h, "ctrl-x p", personas()));
    snapshot("panel_policies", |w, h| opened(w, h, "ctrl-x l", policies()));
    snapshot("panel_grants", |w, h| opened(w, h, "ctrl-x g", grants()));
    snapshot("panel_trial", |w, h| opened(w, h, "ctrl-x y", tried()));
}

#[test]
fn an_answer_with_a_rule() {
    snapshot("approval_with_rule_offered", |w, h| {
        let mut desk = with_rule(w, h);
        desk.press("ctrl-y");
        desk
    });
    snapshot("approval_with_rule", |w, h| {
        let mut desk = with_rule(w, h);
        desk.press("ctrl-y r tab down left left");
        desk.news(FromLink::Failed {
            what: "decision",
            error: ClientError::other("rule_invalid", "position 41: a host ends here"),
        });
        desk
    });
}

#[test]
fn the_keys_of_an_answer_with_a_rule_are_drawn_at_every_size() {
    for (width, height) in [(40, 12), (50, 14), (30, 8), (20, 6), (80, 24)] {
        let mut desk = with_rule(width, height);
        desk.press("ctrl-y r");
        let screen = rows(&paint(&desk.model)).join("\n").replace('\u{a0}', " ");
        // Where a word has no room it is broken, but none is missing.
        let screen: String = screen
            .split_whitespace()
            .flat_map(|word| word.split('│'))
            .collect();
        assert!(screen.contains("ndeny"), "{width}x{height}: {screen}");
        assert!(screen.contains("Ctrl-Y"), "{width}x{height}: {screen}");
    }
}

#[test]
fn a_session_is_given_a_persona_or_policy() {
    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("enter");
    assert_eq!(deeds(&desk), [Deed::Choose(Named::Persona, "ask".into())]);
    let mut desk = Desk::session(80, 24, story());
    desk.type_in("/policy plan\n");
    assert_eq!(deeds(&desk), [Deed::Choose(Named::Policy, "plan".into())]);
    let mut reader = opened(80, 24, "ctrl-x p", personas());
    reader.model.read_only = true;
    reader.press("enter e d");
    assert_eq!((deeds(&reader), editors(&reader)), (vec![], vec![]));
}

#[test]
fn shift_tab_goes_round_the_policies() {
    let mut desk = Desk::session(80, 24, story());
    for (now, next) in [
        ("plan", "ask"),
        ("ask", "auto"),
        ("auto", "plan"),
        ("mine", "plan"),
    ] {
        let mut row = crate::fixture::row("s-7k2f", "fix-login", pb::SessionState::Ready);
        row.policy = now.into();
        desk.news(FromLink::Session(Box::new(row)));
        desk.press("shift-tab");
        let wanted = Cmd::Link(ToLink::Choose {
            session_id: "s-7k2f".into(),
            what: Named::Policy,
            name: next.into(),
        });
        assert_eq!(desk.cmds.last(), Some(&wanted), "after {now}");
    }
}

#[test]
fn a_file_is_edited_and_what_the_daemon_refuses_is_gone_on_with() {
    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("j j j j e");
    assert_eq!(editors(&desk), ["description = \"mine\"\n"]);
    desk.msg(Msg::Edited(Some("tools = [\"exce\"]\n".into())));
    let draft = Draft {
        what: Named::Persona,
        name: "mine".into(),
        toml: "tools = [\"exce\"]\n".into(),
        create: false,
    };
    assert_eq!(deeds(&desk), [Deed::Save(draft)]);
    desk.news(FromLink::Failed {
        what: "save",
        error: ClientError::other("policy_invalid", "line 1: no tool 'exce'"),
    });
    let told = &desk.model.notices.back().unwrap().text;
    assert!(told.contains("your text is kept: e on mine"), "{told}");
    desk.press("e");
    assert_eq!(editors(&desk)[1], "tools = [\"exce\"]\n");
    // Left as it was it is tried once more: what was meant is not known to be taken.
    desk.msg(Msg::Edited(None));
    assert_eq!(desk.draft(), "", "a message is not what was written");
}

#[test]
fn what_the_daemon_took_is_not_kept() {
    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("j j j j e");
    desk.msg(Msg::Edited(Some("description = \"better\"\n".into())));
    let mut saved = personas();
    if let Data::Personas { personas, .. } = &mut saved {
        personas[2].toml = "description = \"better\"\n".into();
    }
    desk.news(FromLink::Panel {
        session_id: "s-7k2f".into(),
        data: saved,
    });
    assert_eq!(desk.model.unsaved, None);
    let (told, _) = desk.model.toast.clone().unwrap();
    assert!(told.text.contains("persona mine is saved"), "{}", told.text);
}

#[test]
fn built_in_ones_are_copied_and_own_ones_go_only_by_their_name() {
    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("e");
    desk.press("enter");
    assert_eq!(editors(&desk), ["description = \"ask\"\n"]);
    desk.msg(Msg::Edited(Some("description = \"ask\"\n".into())));
    let Deed::Save(draft) = deeds(&desk).pop().unwrap() else {
        panic!("not saved")
    };
    assert_eq!((draft.name.as_str(), draft.create), ("my-ask", true));

    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("d");
    assert!(deeds(&desk).is_empty(), "built in");
    desk.press("j j j j d");
    desk.type_in("yes\n");
    assert!(deeds(&desk).is_empty());
    let mut desk = opened(80, 24, "ctrl-x p", personas());
    desk.press("j j j j d");
    desk.type_in("mine\n");
    assert_eq!(deeds(&desk), [Deed::Remove(Named::Persona, "mine".into())]);
}

#[test]
fn a_grant_is_taken_back_by_a_key_of_its_own() {
    let mut desk = opened(80, 24, "ctrl-x g", grants());
    desk.press("enter");
    assert_eq!(deeds(&desk), []);
    desk.press("d");
    assert_eq!(deeds(&desk), [Deed::Revoke("g-7k2f9q".into())]);
}

#[test]
fn trying_a_command_needs_no_session_and_may_be_done_by_readers() {
    let mut desk = Desk::new(80, 24);
    desk.model.read_only = true;
    desk.press("ctrl-x y");
    desk.type_in("write AGENTS.md\n");
    let asked = Trial {
        command: "write AGENTS.md".into(),
        ..Trial::default()
    };
    assert_eq!(asked.path(), Some("AGENTS.md"));
    assert_eq!(deeds(&desk), [Deed::Try(asked)]);

    let mut desk = opened(80, 24, "ctrl-x y", tried());
    desk.press("j enter");
    desk.type_in("allow executes: cargo *\n");
    let rule = Trial {
        rule: "allow executes: cargo *".into(),
        ..trial()
    };
    assert_eq!(deeds(&desk).last(), Some(&Deed::Try(rule)));
    desk.news(FromLink::Panel {
        session_id: "s-7k2f".into(),
        data: tried(),
    });
    desk.press("r");
    let Some(Deed::Try(again)) = deeds(&desk).pop() else {
        panic!("not tried again")
    };
    assert_eq!(again.rule, "allow executes: cargo *");
    // By a policy, whatever the session has.
    let mut desk = opened(80, 24, "ctrl-x l", policies());
    for _ in 0..40 {
        let Some(crate::model::overlay::Overlay::Panel(view)) = &desk.model.overlay else {
            panic!("no panel")
        };
        let row = &view.rows.as_ref().unwrap()[view.selected];
        if row.left.starts_with("mine") {
            break;
        }
        desk.press("j");
    }
    desk.press("t");
    desk.type_in("ls\n");
    let by = Trial {
        policy: "mine".into(),
        command: "ls".into(),
        ..Trial::default()
    };
    assert_eq!(deeds(&desk).last(), Some(&Deed::Try(by)));
}

#[test]
fn a_panel_that_gets_no_rows_says_why_and_how_to_go_on() {
    let mut desk = Desk::session(80, 24, story());
    desk.type_in("/try ls\n");
    desk.press("r");
    desk.news(FromLink::Failed {
        what: "which rule decides",
        error: ClientError::other("rule_invalid", "position 7: no subject"),
    });
    let screen = rows(&paint(&desk.model)).join("\n");
    assert!(
        screen.contains("position 7: no subject") && !screen.contains("asking"),
        "{screen}"
    );
    desk.press("enter");
    desk.type_in("allow reads\n");
    let again = Trial {
        command: "ls".into(),
        rule: "allow reads".into(),
        ..Trial::default()
    };
    assert_eq!(deeds(&desk).last(), Some(&Deed::Try(again)));
}

#[test]
fn they_hold_nothing_raw_and_fit_every_width() {
    let all = [
        ("ctrl-x p", personas as fn() -> Data),
        ("ctrl-x l", policies),
        ("ctrl-x g", grants),
        ("ctrl-x y", tried),
    ];
    for (keys, data) in all {
        for width in [1_u16, 4, 12, 20, 39, 80, 200] {
            let mut desk = opened(width, 20, keys, data());
            for _ in 0..40 {
                let buffer = paint(&desk.model);
                for cell in &buffer.content {
                    assert!(!cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'));
                }
                for row in rows(&buffer) {
                    assert_eq!(text::width(&row), usize::from(width), "{row:?}");
                }
                desk.press("j");
            }
        }
    }
}
