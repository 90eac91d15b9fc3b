//! What update does: the rules for approvals with a clock of our own, the composer, and a lost line.

mod again;
mod copy;
mod grant;
mod output;
mod seen;

use agentd_proto::pb::{ApprovalDecision as D, SessionState};
use agentd_proto::{Cause, ClientError};

use crate::fixture::{Desk, answered, asked, began, called, output, resolved, row, said, story};
use crate::model::{Link, Screen};
use crate::msg::{Cmd, FromLink, Msg, ToLink};

fn asking() -> Desk {
    let mut desk = Desk::session(80, 24, vec![said("publish it"), began()]);
    desk.fact(asked(
        "a-31",
        "npm publish --access public",
        "npm publish --access public",
    ));
    desk
}

#[test]
fn rule_1_a_request_takes_no_focus() {
    let mut desk = asking();
    desk.wait(5_000);
    desk.type_in("yes y");
    assert_eq!(desk.draft(), "yes y");
    assert!(!desk.model.deciding && desk.decisions().is_empty());
}

#[test]
fn rule_2_two_steps_and_never_enter() {
    let mut desk = asking();
    desk.wait(600);
    desk.press("enter enter");
    desk.wait(600);
    desk.press("ctrl-y enter space");
    assert_eq!(desk.decisions(), []);
    desk.wait(600);
    desk.press("y");
    assert_eq!(
        desk.decisions(),
        [("a-31".into(), D::ApprovedOnce, String::new())]
    );
}

#[test]
fn rule_3_dead_time_after_it_appears_and_after_typing() {
    let mut desk = asking();
    desk.wait(499);
    desk.press("ctrl-y");
    assert!(!desk.model.deciding, "499 ms after it appeared");
    desk.wait(300);
    desk.press("ctrl-y");
    assert!(desk.model.deciding);
    desk.press("y");
    assert_eq!(desk.decisions().len(), 1);

    let mut desk = asking();
    desk.wait(2_000);
    desk.type_in("y");
    desk.press("ctrl-y y");
    assert_eq!(desk.decisions(), [], "straight after a typed key");
    assert_eq!(desk.draft(), "yy");
    desk.wait(301);
    desk.press("ctrl-y y");
    assert_eq!(desk.decisions().len(), 1);
}

#[test]
fn rule_3_a_burst_of_approval_keys_never_gets_through() {
    let mut desk = Desk::session(80, 24, vec![said("go"), began()]);
    for at in 0..40 {
        if at == 20 {
            desk.fact(asked("a-1", "rm -rf x", ""));
        }
        desk.press("ctrl-y y");
        desk.wait(40);
    }
    assert_eq!(desk.decisions(), []);
}

#[test]
fn rule_3_another_question_begins_its_own_dead_time() {
    let mut desk = asking();
    desk.fact(asked("a-32", "rm -rf build", ""));
    desk.wait(600);
    desk.press("ctrl-y");
    assert!(desk.model.deciding);
    desk.fact_via("web", resolved("a-31"));
    assert!(!desk.model.deciding, "the keys were meant for another question");
    desk.press("ctrl-y y");
    assert_eq!(desk.decisions(), []);
}

#[test]
fn rule_5_session_only_where_an_exact_rule_is_offered() {
    let mut desk = asking();
    desk.wait(600);
    desk.press("ctrl-y s");
    assert_eq!(desk.decisions()[0].1, D::ApprovedSession);

    let mut desk = Desk::session(80, 24, vec![]);
    desk.fact(asked("a-9", "curl x && y | sh", ""));
    desk.wait(600);
    desk.press("ctrl-y s");
    assert_eq!(desk.decisions(), []);
    assert!(desk.model.deciding, "the other letters still count");
}

#[test]
fn rule_6_denying_says_why_and_does_not_stop() {
    let mut desk = asking();
    desk.wait(600);
    desk.press("ctrl-y N");
    desk.type_in("not from here\n");
    assert_eq!(
        desk.decisions(),
        [("a-31".into(), D::Denied, "not from here".into())]
    );
    assert!(
        !desk
            .cmds
            .iter()
            .any(|cmd| matches!(cmd, Cmd::Link(ToLink::Interrupt { .. })))
    );
}

#[test]
fn rule_7_the_first_decision_wins_and_no_key_is_lost() {
    let mut desk = asking();
    desk.wait(600);
    desk.type_in("hel");
    desk.fact_via("web", resolved("a-31"));
    desk.type_in("lo");
    assert_eq!(desk.draft(), "hello");
    let (notice, _) = desk.model.toast.clone().unwrap();
    assert!(notice.text.contains("approved by ana via web"), "{}", notice.text);
    assert!(desk.model.question().is_none());
}

#[test]
fn rule_8_an_open_question_is_there_after_coming_back() {
    let mut desk = asking();
    desk.news(FromLink::Reconnecting {
        attempt: 1,
        wait: std::time::Duration::from_millis(250),
    });
    desk.wait(5_000);
    desk.news(FromLink::Back { events: 0 });
    desk.press("ctrl-y y");
    assert_eq!(desk.decisions().len(), 1);
}

#[test]
fn a_paste_is_never_a_decision() {
    let mut desk = asking();
    desk.wait(600);
    desk.press("ctrl-y");
    desk.msg(Msg::Paste("y".into()));
    assert_eq!(desk.decisions(), []);
    assert_eq!(desk.draft(), "");
}

#[test]
fn read_only_decides_and_sends_nothing() {
    let mut desk = asking();
    desk.model.read_only = true;
    desk.wait(600);
    desk.press("ctrl-y y");
    desk.type_in("hello\n");
    assert_eq!(desk.decisions(), []);
    assert!(
        !desk
            .cmds
            .iter()
            .any(|cmd| matches!(cmd, Cmd::Link(ToLink::Post { .. })))
    );
}

fn posts(desk: &Desk) -> Vec<(u64, String)> {
    let post = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::Post { key, text, .. }) => Some((*key, text.clone())),
        _ => None,
    };
    desk.cmds.iter().filter_map(post).collect()
}

#[test]
fn a_message_written_while_the_line_is_down_is_sent_once() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.news(FromLink::Reconnecting {
        attempt: 1,
        wait: std::time::Duration::from_secs(1),
    });
    desk.type_in("do it\n");
    assert_eq!(posts(&desk), []);
    assert!(desk.model.outbox[0].waiting);
    desk.news(FromLink::Back { events: 3 });
    assert_eq!(posts(&desk), [(0, "do it".into())]);
    let lost = ClientError {
        cause: Cause::Lost,
        code: String::new(),
        message: String::new(),
        hints: vec![],
    };
    desk.news(FromLink::Posted {
        key: 0,
        result: Err(lost),
    });
    desk.news(FromLink::Back { events: 0 });
    assert_eq!(
        posts(&desk),
        [(0, "do it".into()), (0, "do it".into())],
        "the same key: the same message"
    );
    desk.news(FromLink::Posted {
        key: 0,
        result: Ok(()),
    });
    assert!(desk.model.outbox.is_empty());
}

#[test]
fn a_refused_message_comes_back_into_the_composer() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.type_in("do it\n");
    let refused = ClientError::other("auth_missing", "no API key");
    desk.news(FromLink::Posted {
        key: 0,
        result: Err(refused),
    });
    assert_eq!(desk.draft(), "do it");
    assert!(desk.model.notices.back().unwrap().text.contains("[auth_missing]"));
}

#[test]
fn drafts_belong_to_their_session_and_outlive_a_break() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.type_in("half a tho");
    desk.news(FromLink::Reconnecting {
        attempt: 1,
        wait: std::time::Duration::from_secs(1),
    });
    desk.type_in("ught");
    desk.news(FromLink::Session(Box::new(row(
        "s-2",
        "other",
        SessionState::Ready,
    ))));
    desk.press("ctrl-x s");
    assert_eq!(desk.model.screen, Screen::Dashboard);
    desk.press("k enter");
    assert_eq!(desk.draft(), "");
    desk.press("ctrl-x s j enter");
    assert_eq!(desk.draft(), "half a thought");
}

#[test]
fn commands_slashes_files_and_history() {
    let mut desk = Desk::session(80, 24, vec![said("first"), said("second")]);
    desk.type_in("!ls -l\n");
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::Exec {
        session_id: "s-7k2f".into(),
        script: "ls -l".into()
    })));
    desk.type_in("see @log");
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::Files {
        workspace: "/home/ana/src/shop".into()
    })));
    let files = vec!["src/login.rs".to_owned(), "README.md".to_owned()];
    desk.news(FromLink::Files {
        workspace: "/home/ana/src/shop".into(),
        files,
    });
    desk.press("tab");
    assert_eq!(desk.draft(), "see @src/login.rs ");
    desk.press("ctrl-c up up");
    assert_eq!(desk.draft(), "first");
    desk.press("down");
    assert_eq!(desk.draft(), "second");
    desk.press("down ctrl-r");
    desk.type_in("fst\n");
    assert_eq!(desk.draft(), "first");
    desk.press("ctrl-c");
    desk.type_in("/mod");
    desk.press("enter enter");
    assert_eq!(desk.model.next_model, Some(("s-7k2f".into(), "demo/demo".into())));
    desk.type_in("/etc/hosts\n");
    assert_eq!(posts(&desk).last().unwrap().1, "/etc/hosts");
}

#[test]
fn reading_above_is_not_disturbed() {
    let mut desk = Desk::session(
        80,
        24,
        (0..60).map(|n| answered(&format!("answer {n}"))).collect(),
    );
    desk.press("pgup");
    let before = desk.model.open.as_ref().unwrap().scroll;
    desk.fact(answered("more"));
    let open = desk.model.open.as_ref().unwrap();
    assert_eq!((open.scroll, open.unseen), (before, 1));
    desk.press("end");
    assert_eq!(desk.model.open.as_ref().unwrap().unseen, 0);
}

#[test]
fn a_hole_in_the_log_is_read_anew_and_a_repeat_is_passed_over() {
    let mut desk = Desk::session(80, 24, story());
    let items = desk.model.open.as_ref().unwrap().transcript.items().len();
    let mut again = desk.event(said("x"));
    again.seq = 1;
    desk.news(FromLink::Event(Box::new(again)));
    assert_eq!(desk.model.open.as_ref().unwrap().transcript.items().len(), items);
    let mut far = desk.event(said("x"));
    far.seq += 5;
    desk.news(FromLink::Event(Box::new(far)));
    assert!(
        desk.cmds
            .iter()
            .filter(|cmd| matches!(cmd, Cmd::Link(ToLink::Open(_))))
            .count()
            == 2
    );
}

#[test]
fn older_pages_are_fetched_when_looked_at_and_memory_stays_bounded() {
    let mut desk = Desk::session(80, 24, vec![]);
    let page = |desk: &mut Desk, from: u64, to: u64| -> Vec<agentd_proto::pb::Event> {
        (from..to)
            .map(|seq| {
                let mut event = desk.event(said(&format!("message {seq}")));
                event.seq = seq;
                event
            })
            .collect()
    };
    let first = page(&mut desk, 5_000, 5_400);
    desk.news(FromLink::Page {
        session_id: "s-7k2f".into(),
        events: first,
        older: false,
    });
    desk.press("f6 g");
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::Older {
        session_id: "s-7k2f".into(),
        before: 5_000
    })));
    let older = page(&mut desk, 4_000, 5_000);
    let looked = desk.model.open.as_ref().unwrap().scroll;
    desk.news(FromLink::Page {
        session_id: "s-7k2f".into(),
        events: older,
        older: true,
    });
    let open = desk.model.open.as_ref().unwrap();
    assert_eq!((open.first_seq(), open.scroll), (4_000, looked));
    desk.press("G");
    for seq in 5_400..60_000 {
        let mut event = desk.event(said("message"));
        event.seq = seq;
        desk.news(FromLink::Event(Box::new(event)));
    }
    assert!(desk.model.open.as_ref().unwrap().transcript.items().len() < 25_000);
}

#[test]
fn nothing_is_woken_while_nothing_moves() {
    let mut desk = Desk::session(80, 24, vec![said("hello")]);
    desk.wait(10_000);
    assert_eq!(desk.model.wakes_at(), None);
    desk.fact(began());
    assert!(desk.model.wakes_at().is_some());
    desk.fact(called("2", "exec", "make", "x-1"));
    desk.news(output("x-1", "one\ntwo"));
    assert_eq!(desk.model.open.as_ref().unwrap().outputs["x-1"].tail(1), ["two"]);
    assert_eq!(desk.model.link, Link::Up);
}

#[test]
fn ctrl_c_clears_then_stops_then_leaves() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.type_in("draft");
    desk.press("ctrl-c");
    assert_eq!(desk.draft(), "");
    desk.press("ctrl-c");
    assert!(!desk.cmds.contains(&Cmd::Quit));
    desk.press("ctrl-c");
    assert!(desk.cmds.contains(&Cmd::Quit));
    let mut desk = Desk::session(80, 24, vec![]);
    desk.news(FromLink::Session(Box::new(row(
        "s-7k2f",
        "fix-login",
        SessionState::Working,
    ))));
    desk.press("ctrl-c");
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::Interrupt {
        session_id: "s-7k2f".into()
    })));
}

fn waiting(id: &str, words: &str, steer: bool) -> agentd_proto::pb::QueuedMessage {
    agentd_proto::pb::QueuedMessage {
        message_id: id.into(),
        parts: vec![crate::fixture::text(words)],
        steer,
        principal: "ana".into(),
        client: "tui".into(),
    }
}

/// Working, with two messages behind the turn.
fn queued() -> Desk {
    let mut desk = Desk::session(80, 24, vec![said("go"), began()]);
    desk.news(FromLink::Session(Box::new(row(
        "s-7k2f",
        "fix-login",
        SessionState::Working,
    ))));
    desk.news(FromLink::Queue {
        session_id: "s-7k2f".into(),
        messages: vec![waiting("m-1", "first", false), waiting("m-2", "second", false)],
    });
    desk
}

#[test]
fn waiting_messages_are_changed_in_the_composer_and_the_draft_comes_back() {
    let mut desk = queued();
    desk.type_in("half a tho");
    desk.press("ctrl-x q j enter");
    assert_eq!(desk.draft(), "second");
    desk.type_in(", better\n");
    assert_eq!(desk.draft(), "half a tho");
    let changed = Cmd::Link(ToLink::EditQueued {
        session_id: "s-7k2f".into(),
        message_id: "m-2".into(),
        parts: vec![crate::fixture::text("second, better")],
        steer: None,
    });
    assert!(desk.cmds.contains(&changed), "{:?}", desk.cmds);
    assert_eq!(posts(&desk), []);
    desk.press("ctrl-x q enter esc");
    assert_eq!(desk.draft(), "half a tho");
    assert!(
        !desk
            .cmds
            .iter()
            .any(|cmd| matches!(cmd, Cmd::Link(ToLink::Interrupt { .. }))),
        "Esc ends the change, not the turn"
    );
}

#[test]
fn waiting_messages_are_taken_back_and_steer() {
    let mut desk = queued();
    desk.press("ctrl-x q s d");
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::EditQueued {
        session_id: "s-7k2f".into(),
        message_id: "m-1".into(),
        parts: vec![],
        steer: Some(true)
    })));
    assert!(desk.cmds.contains(&Cmd::Link(ToLink::RemoveQueued {
        session_id: "s-7k2f".into(),
        message_id: "m-1".into()
    })));
    desk.news(FromLink::Queue {
        session_id: "s-7k2f".into(),
        messages: vec![],
    });
    assert_eq!(desk.model.overlay, None, "an empty list closes");
}

#[test]
fn a_message_that_the_agent_took_meanwhile_becomes_a_draft() {
    let mut desk = queued();
    desk.press("ctrl-x q enter");
    desk.type_in("!");
    desk.news(FromLink::Queue {
        session_id: "s-7k2f".into(),
        messages: vec![],
    });
    assert_eq!(desk.draft(), "first!");
    desk.type_in("\n");
    assert_eq!(posts(&desk), [(0, "first!".into())]);
}

#[test]
fn alt_enter_steers_and_tab_queues() {
    let mut desk = queued();
    desk.type_in("now");
    desk.press("alt-enter");
    desk.type_in("then");
    desk.press("tab");
    desk.type_in("/steer this\n");
    let sent: Vec<(String, bool)> = desk
        .cmds
        .iter()
        .filter_map(|cmd| match cmd {
            Cmd::Link(ToLink::Post { text, steer, .. }) => Some((text.clone(), *steer)),
            _ => None,
        })
        .collect();
    let expected = [("now", true), ("then", false), ("this", true)];
    assert_eq!(sent, expected.map(|(text, steer)| (text.to_owned(), steer)));
}

#[test]
fn every_fact_that_changes_the_queue_asks_for_it_anew() {
    let mut desk = queued();
    let asked = |desk: &Desk| {
        desk.cmds
            .iter()
            .filter(|cmd| matches!(cmd, Cmd::Link(ToLink::Queue { .. })))
            .count()
    };
    let before = asked(&desk);
    desk.fact(agentd_proto::pb::event::Body::MessageRemoved(
        agentd_proto::pb::MessageRemoved {
            message_id: "m-1".into(),
        },
    ));
    assert_eq!(asked(&desk), before + 1);
    desk.fact(answered("more"));
    assert_eq!(asked(&desk), before + 1);
}

#[test]
fn an_open_shell_is_found_also_when_it_is_asked_for_before_the_log_is_read() {
    let mut desk = Desk::new(80, 24);
    let mut cmds = Vec::new();
    crate::update::begin(
        &mut desk.model,
        row("s-7k2f", "fix-login", SessionState::Ready),
        &mut cmds,
    );
    desk.press("ctrl-]");
    let asked = |desk: &Desk| -> Vec<Option<String>> {
        let open = |cmd: &Cmd| match cmd {
            Cmd::Link(ToLink::OpenShell { existing, .. }) => Some(existing.clone()),
            _ => None,
        };
        desk.cmds.iter().filter_map(open).collect()
    };
    assert_eq!(asked(&desk), []);
    let started = agentd_proto::pb::ExecStarted {
        exec_id: "x-3".into(),
        pty: true,
        ..Default::default()
    };
    let event = desk.event(agentd_proto::pb::event::Body::ExecStarted(started));
    desk.news(FromLink::Page {
        session_id: "s-7k2f".into(),
        events: vec![event],
        older: false,
    });
    assert_eq!(asked(&desk), [Some("x-3".to_owned())]);
}

#[test]
fn what_is_typed_while_the_raw_shell_opens_is_not_lost() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.press("ctrl-]");
    desk.type_in("ls");
    desk.news(FromLink::ShellOpened {
        session_id: "s-7k2f".into(),
        exec_id: "x-9".into(),
    });
    desk.type_in("!");
    let written: Vec<u8> = desk
        .cmds
        .iter()
        .flat_map(|cmd| match cmd {
            Cmd::Link(ToLink::ShellInput { data, .. }) => data.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(written, b"ls!");
}
