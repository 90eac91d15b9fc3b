//! What is told in few words or rows: a long problem, what came while the reader looked elsewhere, how a shell ended.

use agentd_proto::pb;
use agentd_proto::pb::event::Body;

use super::{paint, rows};
use crate::fixture::{Desk, asked, began, said};
use crate::model::Level;
use crate::msg::FromLink;

fn words(desk: &Desk) -> String {
    rows(&paint(&desk.model)).join("\n")
}

#[test]
fn a_problem_that_is_too_long_for_the_bar_goes_on_below() {
    let words = "no API key for provider 'openai'  [auth_missing] · next: agentctl auth set openai   (asks for the key)";
    let mut desk = Desk::session(80, 24, vec![said("hello")]);
    desk.model.notice(Level::Problem, words);
    let shown = rows(&paint(&desk.model));
    let (bar, below) = (shown[22].trim(), shown[23].trim());
    assert_eq!(
        format!("{bar} {below}").split_whitespace().collect::<Vec<_>>(),
        words.split_whitespace().collect::<Vec<_>>()
    );
    desk.wait(10_000);
    assert!(rows(&paint(&desk.model))[23].contains("Ctrl-P commands"));
    // What fits leaves the keys where they are, and so does what is no problem.
    desk.model.notice(Level::Problem, "short");
    assert!(rows(&paint(&desk.model))[23].contains("Ctrl-P commands"));
    desk.model.notice(Level::Info, words);
    assert!(rows(&paint(&desk.model))[23].contains("Ctrl-P commands"));
}

#[test]
fn an_answer_that_grows_out_of_sight_is_counted() {
    let mut desk = Desk::session(80, 24, (0..40).map(|n| said(&format!("line {n}"))).collect());
    desk.fact(began());
    desk.press("pgup");
    assert!(words(&desk).contains("↓ End follows"), "{}", words(&desk));
    desk.news(FromLink::Preview {
        session_id: "s-7k2f".into(),
        preview: pb::Preview {
            turn_id: "t-1".into(),
            step: 1,
            text: "a long answer".into(),
            ..Default::default()
        },
    });
    assert!(words(&desk).contains("↓ 1 new · End"), "{}", words(&desk));
}

#[test]
fn a_shell_that_ended_with_the_daemon_says_so() {
    let mut desk = Desk::session(80, 24, vec![]);
    let ran = |exec: &str, script: &str, pty| {
        Body::ExecStarted(pb::ExecStarted {
            exec_id: exec.into(),
            script: script.into(),
            pty,
            ..Default::default()
        })
    };
    let lost = |exec: &str| {
        Body::ExecFinished(pb::ExecFinished {
            exec_id: exec.into(),
            result: Some(pb::ExecResult {
                unknown: true,
                ..Default::default()
            }),
        })
    };
    for body in [
        ran("x-1", "", true),
        lost("x-1"),
        ran("x-2", "make", false),
        lost("x-2"),
    ] {
        desk.fact(body);
    }
    let shown = words(&desk);
    for part in [
        "raw shell",
        "ended with the daemon",
        "nothing was run again · Ctrl-] opens a new one",
        "outcome unknown",
        "how it ended is not known; it was not run again",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[test]
fn what_looks_like_something_else_is_flagged_and_said_once() {
    let mut desk = Desk::session(80, 24, vec![began()]);
    desk.fact(asked("a-1", "c\u{430}t\u{a0}/etc/hosts\u{7}", ""));
    let mut approval = pb::Approval::default();
    if let Some(open) = desk
        .model
        .open
        .as_ref()
        .and_then(|open| open.open_approvals().next())
    {
        approval = open.clone();
    }
    assert!(!approval.approval_id.is_empty());
    let shown = words(&desk);
    assert!(shown.contains("c\\u{430}t\\u{a0}/etc/hosts\\x07"), "{shown}");
    assert!(
        shown.contains("look like others") && shown.contains("hidden characters"),
        "{shown}"
    );
    // The daemon's summary writes out what is hidden: the command is not shown twice for that.
    let mut desk = Desk::session(80, 24, vec![began()]);
    approval.approval_id = "a-2".into();
    approval.summary = "c\u{430}t\\u{a0}/etc/hosts\\u{7}".into();
    desk.fact(Body::ApprovalRequested(pb::ApprovalRequested {
        approval: Some(approval),
    }));
    let shown = words(&desk);
    let card = shown.split("─ ! needs you").nth(1).unwrap_or_default();
    assert_eq!(card.matches("/etc/hosts").count(), 1, "{shown}");
}

#[test]
fn where_no_more_has_room_the_place_that_has_it_is_named() {
    let mut desk = Desk::session(80, 24, vec![]);
    let page = |desk: &mut Desk, from: u64, to: u64, older| {
        let mut events: Vec<pb::Event> = Vec::new();
        for seq in from..to {
            let mut event = desk.event(said("message"));
            event.seq = seq;
            events.push(event);
        }
        desk.news(FromLink::Page {
            session_id: "s-7k2f".into(),
            events,
            older,
        });
    };
    page(&mut desk, 50_000, 50_100, false);
    desk.press("f6 g");
    page(&mut desk, 20_000, 50_000, true);
    desk.press("g");
    let shown = words(&desk);
    assert!(
        shown.contains("what is older has no room here · agentctl logs fix-login"),
        "{shown}"
    );
}
