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

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::TestDaemon;

/// A terminal with agent-tui in it.
struct Screen<'a> {
    home: &'a TestDaemon,
    socket: PathBuf,
}

impl<'a> Screen<'a> {
    /// Starts `agent-tui ARGS` in a terminal of this size.
    fn start(home: &'a TestDaemon, size: (u16, u16), args: &str) -> Self {
        let screen = Self {
            home,
            socket: home.path().join("tmux"),
        };
        let program = env!("CARGO_BIN_EXE_agent-tui");
        let line = format!("stty -echo; {program} {args}; echo \"ended $?\"; stty echo; exec cat");
        let (width, height) = (size.0.to_string(), size.1.to_string());
        screen.tmux(&[
            "-f",
            "/dev/null",
            "-u",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            &line,
        ]);
        screen.tmux(&["set", "-g", "window-size", "manual"]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command: Command = self.home.command("tmux");
        command
            .env("TERM", "xterm-256color")
            .arg("-S")
            .arg(&self.socket)
            .args(args);
        let output = command.output().expect("tmux is needed");
        assert!(
            output.status.success(),
            "tmux {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn capture(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// A message of several lines, sent.
    fn say(&self, lines: &[&str]) {
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.keys(&["C-j"]);
            }
            self.type_in(line);
        }
        self.keys(&["Enter"]);
    }

    fn resize(&self, width: u16, height: u16) {
        self.tmux(&[
            "resize-window",
            "-x",
            &width.to_string(),
            "-y",
            &height.to_string(),
        ]);
    }

    /// Waits until the screen satisfies; gives it.
    #[track_caller]
    fn until(&self, what: &str, within: Duration, fits: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + within;
        loop {
            let now = self.capture();
            if fits(&now) {
                return now;
            }
            assert!(Instant::now() < end, "no {what} within {within:?}:\n{now}");
            pause(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn shows(&self, text: &str) -> String {
        self.until(text, Duration::from_secs(30), |now| now.contains(text))
    }

    /// In a new session that the demo model answers.
    fn session(home: &'a TestDaemon, size: (u16, u16), args: &str) -> Self {
        let client = home.client();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let request = agentd_proto::pb::CreateSessionRequest {
            request_id: agentd_proto::id::request_id(),
            name: "shop".into(),
            workspace: home.project().to_str().unwrap().into(),
            origin: agentd_proto::pb::SessionOrigin::Agent.into(),
            model: "demo".into(),
            ..Default::default()
        };
        runtime.block_on(client.create_session(request)).unwrap();
        let screen = Self::start(home, size, &format!("{args} shop"));
        screen.shows("type a message");
        screen
    }

    /// Everything the program writes to the terminal from now on.
    fn record(&self) -> PathBuf {
        let path = self.home.path().join("bytes");
        std::fs::write(&path, "").unwrap();
        self.tmux(&["pipe-pane", &format!("cat >> {}", path.display())]);
        path
    }

    /// Decides the open question; the first step is repeated until its dead time is over.
    fn decide(&self, letter: &str) {
        self.shows("needs you");
        let end = Instant::now() + Duration::from_secs(20);
        while !self.capture().contains("Esc leave") {
            assert!(Instant::now() < end, "{}", self.capture());
            self.keys(&["C-y"]);
            pause(Duration::from_millis(450));
        }
        self.keys(&[letter]);
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let mut command = self.home.command("tmux");
        let _ = command.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// Lets time pass where time itself is what is tested.
fn pause(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

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
    screen.until("the end", Duration::from_secs(60), |now| now.contains("─ done"));
    screen.keys(&["C-l"]);
    let fresh = screen.capture();
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
        now.contains('$') || now.contains('#')
    });
    screen.say(&["stty size"]);
    screen.shows("20 80");
    screen.resize(100, 30);
    screen.say(&["stty size"]);
    screen.shows("26 100");
    screen.say(&["less long"]);
    screen.shows("row 20");
    screen.keys(&["G"]);
    screen.shows("row 499");
    screen.keys(&["q"]);
    screen.say(&["vim -u NONE long"]);
    screen.shows("row 0");
    screen.type_in("ihello there");
    screen.shows("hello there");
    screen.keys(&["Escape"]);
    screen.say(&[":q!"]);
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
fn signals_leave_the_terminal_as_it_was() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (80, 24), "");
    let shell = screen.tmux(&["list-panes", "-F", "#{pane_pid}"]);
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let child = std::fs::read_to_string(children).unwrap();
    let ended = home
        .command("kill")
        .args(["-TERM", child.trim()])
        .status()
        .unwrap();
    assert!(ended.success());
    screen.shows("ended 143");
    assert_eq!(
        screen
            .tmux(&[
                "display",
                "-p",
                "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"
            ])
            .trim(),
        "0 1 0"
    );
    screen.say(&["echoed again"]);
    screen.until("echo", Duration::from_secs(5), |now| {
        now.matches("echoed again").count() == 2
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
        told.contains("[session_not_found]") && told.contains("next: agentctl sessions list"),
        "{told}"
    );
}
