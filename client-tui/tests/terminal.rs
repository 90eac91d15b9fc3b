//! agent-tui as a good neighbour of its terminal and of other clients: raw shell, signals, copying, drafts,
//! queue, presence, and the other ways to open it.
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

use std::time::{Duration, Instant};

use screen::{Screen, pause};
use support::TestDaemon;

/// Programs throw away what is typed while they end: the next line waits for the shell.
fn at_prompt(screen: &Screen<'_>) {
    screen.until("a prompt", Duration::from_secs(20), |now| {
        now.lines().any(|line| ["$", "#"].contains(&line.trim_end()))
    });
}

/// Presses a key until the screen is as wished: a program may miss one that comes while its window changes.
fn press_until(screen: &Screen<'_>, key: &str, wished: impl Fn(&str) -> bool) {
    for _ in 0..10 {
        screen.keys(&[key]);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if wished(&screen.capture()) {
                return;
            }
            pause(Duration::from_millis(20));
        }
    }
    panic!("{key} has no effect: {}", screen.capture());
}

fn leave_by_q(screen: &Screen<'_>) {
    press_until(screen, "q", |now| {
        now.lines().any(|line| ["$", "#"].contains(&line.trim_end()))
    });
}

#[test]
fn the_raw_shell_is_a_terminal_and_leaving_it_ends_nothing() {
    let home = TestDaemon::start();
    std::fs::write(
        home.project().join("long"),
        (0..500).map(|n| format!("row {n}\n")).collect::<String>(),
    )
    .unwrap();
    let screen = Screen::session(&home, (80, 24), "");
    screen.keys(&["C-]"]);
    screen.shows("back to the session");
    screen.until("a prompt", Duration::from_secs(10), |now| {
        now.lines()
            .any(|line| line.trim_end() == "$" || line.trim_end() == "#")
    });
    screen.say(&["stty size"]);
    screen.shows("20 80");
    screen.resize(100, 30);
    // What is typed from now on comes after the resize.
    screen.until("the new width", Duration::from_secs(20), |now| {
        now.lines()
            .any(|line| line.chars().filter(|c| *c == '─').count() == 100)
    });
    screen.say(&["stty size"]);
    screen.shows("26 100");
    screen.say(&["less long"]);
    screen.shows("row 20");
    screen.keys(&["G"]);
    screen.shows("row 499");
    screen.resize(90, 20);
    // At its end again: how much of it fits tells the size that less has.
    press_until(&screen, "G", |now| {
        now.contains("row 499") && !now.contains("row 480")
    });
    leave_by_q(&screen);
    screen.say(&["vim -u NONE long"]);
    screen.shows("row 0");
    screen.type_in("ihello there");
    screen.shows("hello there");
    screen.keys(&["Escape"]);
    screen.resize(96, 26);
    screen.shows("row 20");
    screen.keys(&["Escape"]);
    screen.say(&[":q!"]);
    at_prompt(&screen);
    screen.say(&["top"]);
    screen.shows("load average");
    screen.resize(84, 24);
    screen.until("top at its new size", Duration::from_secs(10), |now| {
        now.contains("load average") && now.contains("PID") && now.contains("back to the session")
    });
    leave_by_q(&screen);
    screen.say(&["sed -u s/^/copy:/"]);
    screen.shows("$ sed -u");
    screen.say(&["typed"]);
    screen.shows("copy:typed");
    screen.keys(&["C-z"]);
    screen.shows("topped");
    at_prompt(&screen);
    screen.say(&["fg"]);
    screen.shows("$ fg");
    screen.keys(&["C-c"]);
    at_prompt(&screen);
    screen.say(&["marker=kept"]);
    screen.keys(&["C-]"]);
    screen.shows("type a message");
    screen.keys(&["C-]"]);
    screen.say(&["echo \"is $marker\""]);
    screen.shows("is kept");
    screen.keys(&["C-]", "C-x", "d"]);
    screen.shows("ended 0");
    // Another visit finds the same shell.
    screen.tmux(&[
        "respawn-pane",
        "-k",
        &format!("{} shop", env!("CARGO_BIN_EXE_agent-tui")),
    ]);
    screen.shows("type a message");
    screen.keys(&["C-]"]);
    screen.shows("is kept");
    screen.say(&["echo \"again $marker\""]);
    screen.shows("again kept");
}

#[test]
fn signals_and_a_lost_terminal_leave_everything_as_it_was() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.signal("-TERM");
    screen.shows("ended 143");
    screen.is_sane();
    drop(screen);
    let program = env!("CARGO_BIN_EXE_agent-tui");
    let screen = Screen::run(&home, "hangup", (80, 24), &format!("{program} shop"));
    screen.shows("type a message");
    screen.signal("-HUP");
    screen.shows("ended 129");
    screen.is_sane();
    drop(screen);
    // In a session of its own no signal tells it that the terminal is gone: it has to notice.
    for (name, lead) in [("gone", ""), ("gone-silently", "setsid -w ")] {
        let screen = Screen::run(&home, name, (80, 24), &format!("{lead}{program} shop"));
        screen.shows("type a message");
        let pid = screen.pid();
        drop(screen);
        let end = Instant::now() + Duration::from_secs(10);
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < end, "{name}: it goes on without a terminal");
            pause(Duration::from_millis(20));
        }
    }
    // Nobody follows any more, and the session is as it was.
    let left = home
        .ctl(["sessions", "clients", "shop", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(left, serde_json::json!([]));
    let show = home
        .ctl(["sessions", "show", "shop", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(show["state"], "ready");
}

#[test]
fn what_waits_for_input_is_answered_and_what_was_left_running_is_ended() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (100, 30), "");
    // Another client's command asks something: seen here, answered here.
    let mut asking = home.command(home.bin().join("agentctl"));
    let script = "printf 'really? '; read answer; echo \"heard $answer\"; sleep 300 &";
    let mut asking = asking
        .args(["exec", "-s", "shop", "--stdin", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let card = screen.shows("waiting for input");
    assert!(card.contains("really?") && card.contains("needs you"), "{card}");
    screen.keys(&["C-x", "i"]);
    screen.shows("input for x-");
    screen.say(&["surely"]);
    screen.shows("heard surely");
    screen.until("the end of the wait", Duration::from_secs(10), |now| {
        !now.contains("waiting for input")
    });
    screen.say(&["/jobs"]);
    screen.shows("sleep 300");
    screen.keys(&["d"]);
    // Ended, and looked at again: it takes a moment to be gone.
    screen.until("no job", Duration::from_secs(10), |now| {
        screen.keys(&["r"]);
        now.contains("no command has left anything running")
    });
    drop(asking.stdin.take());
    assert!(asking.wait().unwrap().success());
    screen.keys(&["Escape"]);
    screen.say(&["/network off"]);
    screen.shows("nothing is reached");
    screen.until("the mode", Duration::from_secs(10), |_| {
        let show = home.ctl(["sessions", "show", "shop", "-o", "json"]).exits(0);
        show.json()["network"] == "off"
    });
    screen.keys(&["Escape"]);
    screen.say(&["/context"]);
    screen.shows("what fills it");
}

#[test]
fn copying_selecting_and_the_mouse() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (100, 30), "");
    screen.tmux(&["set", "-g", "set-clipboard", "on"]);
    screen.say(&["demo: run seq 1 40"]);
    screen.shows("─ done");
    let mouse = |screen: &Screen<'_>| screen.tmux(&["display", "-p", "#{mouse_any_flag}"]);
    assert_eq!(mouse(&screen).trim(), "1");
    screen.keys(&["F6", "v"]);
    let bare = screen.shows("copies all");
    assert!(
        bare.lines().any(|line| line == "40") && !bare.contains("│"),
        "{bare}"
    );
    assert_eq!(mouse(&screen).trim(), "0");
    screen.keys(&["y"]);
    screen.shows("copied");
    let copied = screen.tmux(&["show-buffer"]);
    assert!(copied.contains("\n39\n40\n") && !copied.contains('│'), "{copied}");
    screen.keys(&["Escape"]);
    screen.shows("SHELL");
    assert_eq!(mouse(&screen).trim(), "1");
    screen.keys(&["C-p"]);
    screen.type_in("mouse");
    screen.shows("mouse on or off");
    screen.keys(&["Enter"]);
    screen.shows("mouse off");
    assert_eq!(mouse(&screen).trim(), "0");
}

#[test]
fn drafts_and_history_outlive_the_program_and_the_caret_stands_where_text_goes() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    screen.say(&["demo: say hello"]);
    screen.shows("─ done");
    screen.type_in("日本 half");
    screen.shows("› 日本 half");
    assert_eq!(screen.tmux(&["display", "-p", "#{cursor_x}"]).trim(), "12");
    // Written within a second of the last key, so that even SIGKILL takes no more than that.
    let kept = || {
        let out = home
            .command("sh")
            .args([
                "-c",
                "cat \"${XDG_STATE_HOME:-$HOME/.local/state}\"/agentd/tui/drafts/*",
            ])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !kept().contains("日本 half") {
        assert!(Instant::now() < end, "the draft is not kept");
        pause(Duration::from_millis(50));
    }
    screen.signal("-KILL");
    screen.shows("ended 137");
    drop(screen);
    let program = env!("CARGO_BIN_EXE_agent-tui");
    let screen = Screen::run(&home, "again", (80, 24), &format!("{program} shop"));
    screen.shows("› 日本 half");
    screen.keys(&["C-u", "C-r"]);
    screen.type_in("hello");
    screen.shows("demo: say hello");
}

#[test]
fn waiting_messages_are_shown_changed_and_taken_back() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (100, 30), "");
    screen.say(&["demo:", "run while ! [ -e go ]; do sleep 0.02; done", "say over"]);
    screen.shows("working");
    screen.say(&["demo: say first"]);
    screen.shows("1 queued");
    screen.type_in("never read");
    screen.keys(&["Tab"]);
    screen.shows("2 queued");
    screen.type_in("and look here");
    screen.keys(&["M-Enter"]);
    screen.shows("3 queued");
    screen.keys(&["C-x", "q"]);
    screen.shows("waiting messages");
    screen.keys(&["j", "d"]);
    screen.until("the shorter list", Duration::from_secs(20), |now| {
        !now.contains("never read")
    });
    screen.keys(&["k", "Enter"]);
    screen.shows("change› demo: say first");
    screen.type_in(" and better");
    screen.keys(&["Enter"]);
    let list = || home.ctl(["send", "shop", "--list", "-o", "json"]).exits(0).json();
    let end = Instant::now() + Duration::from_secs(10);
    while list()[0]["text"] != "demo: say first and better" {
        assert!(Instant::now() < end, "{}", list());
        pause(Duration::from_millis(50));
    }
    assert_eq!(list()[1]["steer"], true);
    std::fs::write(home.project().join("go"), "").unwrap();
    screen.shows("first and better");
    screen.until("the end", Duration::from_secs(30), |now| {
        now.matches("─ done").count() == 2 && !now.contains("queued ·")
    });
}

#[test]
fn two_programs_see_each_other_and_who_types() {
    let home = TestDaemon::start();
    let one = Screen::session(&home, (110, 30), "");
    let program = env!("CARGO_BIN_EXE_agent-tui");
    let two = Screen::run(&home, "second", (110, 30), &format!("{program} shop"));
    two.shows("you · tui");
    one.shows("you · tui");
    one.keys(&["C-]"]);
    one.shows("back to the session");
    one.until("a prompt", Duration::from_secs(20), |now| {
        now.lines()
            .any(|line| line.trim_end() == "$" || line.trim_end() == "#")
    });
    one.say(&["echo mine"]);
    one.shows("you(input) · tui");
    two.shows("you · tui(input)");
    two.keys(&["C-]"]);
    two.shows("mine");
    two.say(&["echo taken"]);
    two.shows("you(input) · tui");
    one.shows("you · tui(input)");
    one.shows("taken");
    drop(two);
    one.until("being alone", Duration::from_secs(10), |now| {
        !now.contains("you ·")
    });
}

#[test]
fn the_raw_shell_outlives_a_killed_daemon_and_takes_each_key_once() {
    let mut home = TestDaemon::start();
    let socket = home.path().join("tmux");
    {
        let screen = Screen::session(&home, (90, 24), "--no-autostart");
        screen.keys(&["C-]"]);
        screen.until("a prompt", Duration::from_secs(20), |now| {
            now.lines()
                .any(|line| line.trim_end() == "$" || line.trim_end() == "#")
        });
        screen.say(&["mark=before; n=0"]);
        screen.say(&["echo \"is $mark\""]);
        screen.shows("is before");
        // The terminal outlives the daemon.
        std::mem::forget(screen);
    }
    home.kill9();
    home.restart();
    let screen = Screen { home: &home, socket };
    screen.until("coming back", Duration::from_secs(10), |now| {
        !now.contains("reconnecting")
    });
    for round in 1..=3 {
        screen.say(&["n=$((n+1)); echo \"round $n $mark\""]);
        screen.shows(&format!("round {round} before"));
    }
    let all = screen.capture();
    assert_eq!(all.matches("is before").count(), 1, "{all}");
    for round in 1..=3 {
        assert_eq!(all.matches(&format!("round {round} before")).count(), 1, "{all}");
    }
}

#[test]
fn agentctl_hands_over_and_the_other_modes_work() {
    let home = TestDaemon::start();
    let agentctl = std::path::Path::new(env!("CARGO_BIN_EXE_agent-tui")).with_file_name("agentctl");
    let agentctl = agentctl.display();
    let bare = Screen::run(&home, "bare", (80, 24), &agentctl.to_string());
    bare.shows("No model is set up yet");
    bare.keys(&["q"]);
    bare.shows("ended 0");
    let attached = Screen::session(&home, (80, 24), "");
    attached.say(&["demo:", "ask", "say hello there"]);
    attached.shows("needs you · a-");
    attached.keys(&["C-x", "d"]);
    attached.shows("ended 0");
    let attach = Screen::run(&home, "attach", (80, 24), &format!("{agentctl} attach shop"));
    attach.shows("deny+say");
    attach.keys(&["C-x", "d"]);
    attach.shows("ended 0");
    // Linear: labelled lines, an approval by its number, no movement of the cursor.
    let plain = Screen::run(&home, "plain", (100, 40), "sleep 0.2; stty echo; exec 3>&1");
    let bytes = plain.record();
    let program = env!("CARGO_BIN_EXE_agent-tui");
    plain.tmux(&[
        "respawn-pane",
        "-k",
        &format!("{program} --plain shop; echo \"ended $?\"; exec cat"),
    ]);
    plain.shows("/approve 1");
    pause(Duration::from_millis(600));
    plain.say(&["/deny 1 not here"]);
    plain.shows("-> denied");
    plain.shows("turn done");
    plain.say(&["/quit"]);
    plain.shows("ended 0");
    let written = std::fs::read(&bytes).unwrap();
    let text = String::from_utf8_lossy(&written);
    for escape in text.split('\u{1b}').skip(1) {
        let end = escape
            .find(|c: char| c.is_ascii_alphabetic())
            .map(|at| &escape[at..=at]);
        assert_eq!(end, Some("m"), "only colours: {escape:?}");
    }
    // Inline: finished items stay in the terminal's own scrollback.
    let inline = Screen::run(&home, "inline", (80, 24), &format!("{program} --inline shop"));
    inline.shows("type a message");
    inline.say(&["demo: say in the scrollback"]);
    inline.until("the item above the footer", Duration::from_secs(20), |_| {
        let all = inline.tmux(&["capture-pane", "-p", "-S", "-"]);
        all.contains("in the scrollback") && all.matches("─ done").count() == 2
    });
    inline.keys(&["C-x", "d"]);
    inline.shows("ended 0");
    let all = inline.tmux(&["capture-pane", "-p", "-S", "-"]);
    assert_eq!(
        all.matches("hello there").count(),
        2,
        "said and answered, each once: {all}"
    );
    assert_eq!(
        inline
            .tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"])
            .trim(),
        "0 1"
    );
}
