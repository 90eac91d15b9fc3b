//! agent-tui in a real terminal (tmux) against a real daemon with real jails and the demo model.
//! tmux, agentd, agentctl and agent-jinit are needed: what is missing fails.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

mod screen;

use std::time::Duration;

use screen::{Screen, pause};
use support::TestDaemon;

#[test]
fn the_first_screen_says_what_can_be_done_and_makes_a_session() {
    let home = TestDaemon::start();
    let screen = Screen::start(&home, (80, 24), "");
    let first = screen.shows("agentctl run --model demo");
    assert!(
        first.contains("No model is set up yet") && !first.contains("error"),
        "{first}"
    );
    screen.keys(&["n"]);
    screen.shows("name of the new session");
    screen.say(&["fresh"]);
    screen.shows("type a message");
    screen.keys(&["Left"]);
    let rows = screen.shows("STATE");
    assert!(rows.contains("▸ ○ ready") && rows.contains("fresh"), "{rows}");
    screen.keys(&["?"]);
    screen.shows("sessions (here)");
    // Together they would be Alt-q.
    screen.keys(&["Escape"]);
    screen.until("the list", Duration::from_secs(5), |now| !now.contains("(here)"));
    screen.keys(&["q"]);
    screen.shows("ended 0");
}

#[test]
fn a_whole_turn_shows_the_same_items_as_the_log() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (110, 120), "");
    let log = home.path().join("followed");
    let mut logs = home.agentctl(["logs", "shop", "-f"]);
    let mut logs = logs.stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    screen.say(&[
        "demo:",
        "run seq 1 200",
        "write notes.txt hello",
        "ask",
        "say all is well",
    ]);
    screen.decide("y");
    screen.shows("─ done");
    let followed = || std::fs::read_to_string(&log).unwrap();
    screen.until("the end in the log", Duration::from_secs(10), |_| {
        followed().contains("turn done")
    });
    logs.kill().unwrap();
    logs.wait().unwrap();
    let seen = screen.capture();
    let mut from = 0;
    let mut compared = 0;
    for line in followed().lines() {
        let Some(rest) = ["you: ", "tool: ", "change: ", "agent: "]
            .iter()
            .find_map(|label| line.get(6..)?.strip_prefix(label))
        else {
            continue;
        };
        let item: String = rest.split("  +").next().unwrap().chars().take(40).collect();
        let item = item.trim();
        let at = seen[from..].find(item).unwrap_or_else(|| {
            panic!(
                "'{item}' is missing after byte {from}:\n{seen}\n---\n{}",
                followed()
            )
        });
        from += at;
        compared += 1;
    }
    assert!(compared >= 6, "{}", followed());
    assert!(
        seen.contains("197 lines above") && seen.contains("approved by"),
        "{seen}"
    );
    // Folded output opens and folds.
    screen.keys(&["F6", "k", "k", "k", "k", "k", "k", "k", "k"]);
    screen.keys(&["Escape"]);
}

#[test]
fn typing_across_an_approval_approves_nothing() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.say(&["demo:", "ask"]);
    for _ in 0..20 {
        screen.type_in("yes y");
        screen.keys(&["Enter"]);
    }
    screen.shows("needs you");
    for _ in 0..20 {
        screen.type_in("yes y");
        screen.keys(&["Enter"]);
    }
    screen.type_in("yes y");
    let now = screen.shows("› yes y");
    assert!(now.contains("deny"), "{now}");
    let open = home.ctl(["approvals", "list", "-o", "json"]).exits(0).out();
    assert!(open.contains("\"a-"), "{open}");
    assert!(!home.project().join("AGENTS.md").exists());
    // Denied with a reason: the turn goes on, and the model sees the reason.
    screen.keys(&["C-u"]);
    screen.decide("N");
    screen.shows("because");
    screen.say(&["not in this project"]);
    screen.shows("denied by");
    assert!(!home.project().join("AGENTS.md").exists());
}

#[test]
fn a_decision_elsewhere_is_told_and_takes_no_key() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.say(&["demo:", "ask"]);
    let asked = screen.shows("needs you · a-");
    let id: String = asked
        .split("needs you · ")
        .nth(1)
        .unwrap()
        .chars()
        .take_while(|c| !c.is_whitespace())
        .collect();
    screen.type_in("draft");
    home.ctl(["deny", &id]).exits(0);
    screen.shows("via cli");
    screen.shows("› draft");
}

#[test]
fn resizing_while_it_streams_leaves_no_debris() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.say(&["demo: stream 1000"]);
    screen.shows("working");
    for _ in 0..20 {
        for (width, height) in [(240, 60), (50, 14), (80, 24)] {
            screen.resize(width, height);
        }
    }
    screen.until("the end", Duration::from_secs(60), |now| {
        now.contains("─ done") && now.contains("○ ready")
    });
    // Compared before anything clears the screen.
    let left = screen.capture();
    screen.keys(&["C-l"]);
    pause(Duration::from_millis(500));
    let fresh = screen.capture();
    assert_eq!(left, fresh, "debris is left");
    screen.resize(240, 60);
    screen.shows("CHANGES");
    screen.resize(80, 24);
    screen.until("the same screen", Duration::from_secs(5), |now| now == fresh);
}

#[test]
fn a_killed_daemon_is_waited_for_and_nothing_is_lost() {
    let mut home = TestDaemon::start();
    let socket = home.path().join("tmux");
    {
        let screen = Screen::session(&home, (100, 30), "--no-autostart");
        screen.say(&["demo: say hello"]);
        screen.shows("─ done");
        screen.type_in("demo: say later");
        screen.shows("demo: say later");
        // The terminal outlives the daemon.
        std::mem::forget(screen);
    }
    home.kill9();
    {
        let screen = Screen {
            home: &home,
            socket: socket.clone(),
        };
        let now = screen.until("reconnecting", Duration::from_secs(2), |now| {
            now.contains("reconnecting")
        });
        assert!(now.contains("demo: say later") && now.contains("hello"), "{now}");
        screen.keys(&["Enter"]);
        screen.shows("not sent");
        std::mem::forget(screen);
    }
    home.restart();
    let screen = Screen { home: &home, socket };
    screen.until("coming back", Duration::from_secs(6), |now| {
        now.contains("caught up")
    });
    screen.until("the answer", Duration::from_secs(30), |now| {
        now.matches("─ done").count() == 2
    });
    let log = home.ctl(["logs", "shop"]).exits(0).out();
    assert_eq!(log.matches("you: demo: say later").count(), 1, "{log}");
    assert_eq!(
        screen.capture().matches("you  ").count(),
        2,
        "{}",
        screen.capture()
    );
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.say(&["demo: say hello"]);
    screen.shows("─ done");
    // The notice in the status bar goes by itself; then there is nothing left to draw.
    pause(Duration::from_secs(7));
    let bytes = screen.record();
    pause(Duration::from_secs(10));
    assert_eq!(std::fs::read(&bytes).unwrap().len(), 0);
    screen.type_in("x");
    screen.until("a byte", Duration::from_secs(5), |_| {
        !std::fs::read(&bytes).unwrap().is_empty()
    });
}

#[test]
fn bad_keys_and_unknown_sessions_are_told_before_the_screen_is_taken() {
    let home = TestDaemon::start();
    let keys = home.path().join("keys.toml");
    std::fs::write(&keys, "[keys]\nhelp = \"f3\"\nnotices = \"f3\"\n").unwrap();
    let screen = Screen::start(&home, (120, 24), &format!("--keys {}", keys.display()));
    let told = screen.shows("ended 2");
    assert!(told.contains("keys.toml:3: F3 means both"), "{told}");
    screen.tmux(&[
        "respawn-pane",
        "-k",
        &format!(
            "{} nobody; echo \"ended $?\"; exec cat",
            env!("CARGO_BIN_EXE_agent-tui")
        ),
    ]);
    let told = screen.shows("ended 3");
    assert!(
        told.contains("[session_not_found]") && told.matches("next: agentctl sessions list").count() == 1,
        "{told}"
    );
    // The help of the command line is the table of the terminal UI.
    let mut print = home.command(env!("CARGO_BIN_EXE_agent-tui"));
    let table = print.arg("--print-keys").output().unwrap().stdout;
    assert_eq!(home.ctl(["help", "keys"]).exits(0).stdout, table);
}
