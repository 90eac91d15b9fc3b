//! The raw shell in the size of whoever types into it.

use agentd_proto::pb;

use super::{paint, rows, snapshot};
use crate::fixture::{Desk, said};
use crate::msg::{Cmd, FromLink, ToLink};

fn clients(desk: &mut Desk, other: bool, mine: bool) {
    let client = |client: &str, you, input| pb::AttachedClient {
        client: client.into(),
        principal: "ana".into(),
        you,
        input,
        attach_time: None,
    };
    desk.news(FromLink::Clients {
        session_id: "s-7k2f".into(),
        clients: vec![client("web", false, other), client("tui", true, mine)],
    });
}

/// In the shell that a browser of this size types into.
fn joined(width: u16, height: u16, size: (u16, u16)) -> Desk {
    let mut desk = Desk::session(width, height, vec![said("look")]);
    clients(&mut desk, true, false);
    desk.press("ctrl-]");
    desk.news(FromLink::ShellOpened {
        session_id: "s-7k2f".into(),
        exec_id: "x-1".into(),
    });
    let text: String = (1..=size.1)
        .map(|n| format!("\r\nrow {n} of {}: {}", size.1, "日本語 ".repeat(30)))
        .collect();
    desk.news(FromLink::ShellOutput {
        exec_id: "x-1".into(),
        screen: Some(size),
        data: format!("\u{1b}c\u{1b}[?7l{text}\r\n$ ").into_bytes(),
    });
    desk
}

fn sizes(desk: &Desk) -> Vec<(u16, u16)> {
    let size = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::ShellResize { size, .. }) => Some(*size),
        _ => None,
    };
    desk.cmds.iter().filter_map(size).collect()
}

fn looks(desk: &Desk) -> usize {
    let look = |cmd: &&Cmd| matches!(cmd, Cmd::Link(ToLink::ShellSize { .. }));
    desk.cmds.iter().filter(look).count()
}

#[test]
fn another_ones_terminal_is_letter_boxed() {
    snapshot("shell_of_another", |w, h| joined(w, h, (60, 16)));
}

#[test]
fn looking_on_changes_nothing_and_typing_takes_it() {
    let mut desk = joined(100, 30, (60, 16));
    assert_eq!(sizes(&desk), []);
    assert!(matches!(
        desk.cmds
            .iter()
            .find(|cmd| matches!(cmd, Cmd::Link(ToLink::OpenShell { .. }))),
        Some(Cmd::Link(ToLink::OpenShell { resize: false, .. }))
    ));
    let label = "pty 60x16 (web)";
    assert!(rows(&paint(&desk.model)).join("\n").contains(label));
    desk.msg(crate::msg::Msg::Resize(110, 40));
    assert_eq!(sizes(&desk), [], "the terminal is theirs");
    desk.type_in("l");
    assert_eq!(sizes(&desk), [(110, 36)], "first its size, then the key");
    assert!(matches!(
        desk.cmds.last(),
        Some(Cmd::Link(ToLink::ShellInput { .. }))
    ));
    // What is told late does not take it back.
    clients(&mut desk, true, false);
    assert!(!rows(&paint(&desk.model)).join("\n").contains("(web)"));
    clients(&mut desk, false, true);
    assert_eq!(sizes(&desk).len(), 1);
    clients(&mut desk, true, false);
    assert!(rows(&paint(&desk.model)).join("\n").contains("pty 110x36 (web)"));
}

#[test]
fn its_size_is_looked_up_at_most_once_a_second() {
    let mut desk = joined(100, 30, (60, 16));
    let first = looks(&desk);
    assert_eq!(first, 1);
    for _ in 0..50 {
        desk.wait(30);
        desk.news(FromLink::ShellOutput {
            exec_id: "x-1".into(),
            screen: None,
            data: b"x".to_vec(),
        });
    }
    assert_eq!(looks(&desk), 2);
    desk.wait(1_000);
    assert_eq!(looks(&desk), 3);
    desk.wait(5_000);
    assert_eq!(looks(&desk), 3, "nothing happened since");
    desk.news(FromLink::ShellSize {
        exec_id: "x-1".into(),
        size: (80, 20),
    });
    assert!(rows(&paint(&desk.model)).join("\n").contains("pty 80x20 (web)"));
}
