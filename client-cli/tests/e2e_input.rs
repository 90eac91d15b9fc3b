//! Owns: commands that wait for input and those left in the background, as people and programs meet them.
//! Guarantees: every case runs the real programs in a home of its own; input is compared byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use support::{TestDaemon, finish, until};

#[test]
fn a_command_that_waits_is_seen_and_answered_from_elsewhere() {
    let mut home = TestDaemon::start();
    let script = "printf 'Overwrite? [y/N] '; read x; echo got $x; read y; echo then $y";
    let mut command = home.agentctl(["--no-autostart", "exec", "--name", "w", "--stdin", "--", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = std::time::Instant::now();
    let mut waiting = command.spawn().unwrap();
    // Kept open: nobody answers there.
    let held = waiting.stdin.take();
    let shown = |home: &TestDaemon| home.ctl(["sessions", "show", "w", "-o", "json"]).exits(0).json();
    let asked = |home: &TestDaemon, line: &str| {
        until("it is seen to wait", || {
            // The session is being made.
            let ran = home.ctl(["sessions", "show", "w", "-o", "json"]);
            let show = (!ran.out().is_empty()).then(|| ran.json())?;
            (show["waiting"]["line"] == line).then_some(show)
        })
    };
    let show = asked(&home, "Overwrite? [y/N]");
    assert_eq!(show["state"], "needs-you", "{show}");
    assert_eq!(show["waiting"]["pty"], false, "{show}");
    let list = home
        .ctl(["sessions", "list", "--state", "needs-you", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(list[0]["name"], "w", "{list}");
    home.ctl(["send", "w", "--stdin", "yes"]).exits(0);
    asked(&home, "Overwrite? [y/N] got yes");
    // The next daemon sees it too.
    home.kill9();
    home.restart();
    asked(&home, "Overwrite? [y/N] got yes");
    home.ctl(["send", "w", "--stdin", "no"]).exits(0);
    let ran = finish(waiting, "exec", begun).exits(0);
    drop(held);
    assert_eq!(ran.out(), "Overwrite? [y/N] got yes\nthen no\n", "{ran}");
    let show = shown(&home);
    assert!(show["waiting"].is_null() && show["state"] == "ready", "{show}");
    let refused = home.ctl(["send", "w", "--stdin", "yes"]).exits(6);
    assert!(refused.err().contains("waits for input"), "{refused}");
}

#[test]
fn input_of_a_command_survives_the_daemon_byte_for_byte() {
    let mut home = TestDaemon::start();
    let mut command = home.agentctl([
        "--no-autostart",
        "exec",
        "--name",
        "in",
        "--stdin",
        "--",
        "cat >copy; echo done",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = std::time::Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let block: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let copy = home.project().join("copy");
    let mut sent = Vec::new();
    for round in 0..6 {
        stdin.write_all(&block).unwrap();
        sent.extend_from_slice(&block);
        if round % 2 == 0 {
            // In the middle: some of it is read by nobody yet.
            until("some of it has come", || {
                std::fs::metadata(&copy)
                    .is_ok_and(|file| file.len() > 0)
                    .then_some(())
            });
            home.kill9();
            home.restart();
        }
    }
    drop(stdin);
    let ran = finish(child, "exec", begun).exits(0);
    assert_eq!(ran.out(), "done\n", "{ran}");
    assert!(
        std::fs::read(&copy).unwrap() == sent,
        "every byte once and in order"
    );
}

#[test]
fn background_jobs_are_listed_and_ended_and_their_late_output_is_kept() {
    let mut home = TestDaemon::start();
    let ticking = "(while :; do echo tick; sleep 0.05; done) & echo first";
    let ran = home
        .ctl(["exec", "--name", "j", "-o", "json", "--", ticking])
        .exits(0)
        .json();
    let ticker = ran["exec_id"].as_str().unwrap().to_owned();
    home.ctl(["exec", "--name", "j", "--", "sleep 1000 >/dev/null 2>&1 &"])
        .exits(0);
    home.ctl(["exec", "--name", "j", "--", "echo nothing"]).exits(0);
    let jobs = |home: &TestDaemon| {
        let show = home.ctl(["sessions", "show", "j", "-o", "json"]).exits(0).json();
        show["background"].as_array().unwrap().clone()
    };
    let two = |home: &TestDaemon| {
        let all = jobs(home);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0]["exec_id"], ticker.as_str(), "{all:?}");
        assert_eq!(all[0]["output_open"], true, "{all:?}");
        assert_eq!(all[1]["output_open"], false, "{all:?}");
        assert_eq!(all[1]["processes"][0]["command"], "sleep 1000", "{all:?}");
        all
    };
    two(&home);
    home.kill9();
    home.restart();
    let all = two(&home);
    let text = home.ctl(["sessions", "show", "j", "-o", "plain"]).exits(0);
    assert!(text.out().contains("sleep 1000 >/dev/null"), "{text}");
    home.ctl(["interrupt", "j", "--exec", &ticker]).exits(0);
    until("one is gone", || (jobs(&home).len() == 1).then_some(()));
    let sleeper = all[1]["exec_id"].as_str().unwrap();
    home.ctl(["interrupt", "j", "--exec", sleeper]).exits(0);
    until("both are gone", || jobs(&home).is_empty().then_some(()));
    home.ctl(["interrupt", "j", "--exec", &ticker]).exits(3);
    let log = home.ctl(["logs", "j", "--shell"]).exits(0).out();
    let ticks = log
        .lines()
        .filter(|line| line.contains("tick") && !line.contains("while"))
        .count();
    assert!(ticks > 1, "late output is kept with its command: {log}");
}

/// A terminal of our own: what programs write on it, and a hand to type with.
struct Desk {
    keys: std::fs::File,
    seen: Arc<Mutex<String>>,
    slave: OwnedFd,
}

impl Desk {
    fn new() -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        let keys = std::fs::File::from(master);
        let (mut screen, seen) = (keys.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let sink = seen.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read) = screen.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..read]);
                sink.lock().unwrap().push_str(&text);
            }
        });
        Self { keys, seen, slave }
    }

    fn run(&self, mut command: Command) -> std::process::Child {
        let end = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// Waits for a text, and forgets all that was seen until then.
    fn shows(&self, text: &str) -> String {
        let what = format!("the terminal shows {text:?}");
        until(&what, || {
            let mut seen = self.seen.lock().unwrap();
            let at = seen.find(text)? + text.len();
            Some(seen.drain(..at).collect())
        })
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn a_port_of_this_machine_is_asked_about_on_the_spot() {
    let home = TestDaemon::start();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port().to_string();
    let mut desk = Desk::new();
    let reach = format!(
        "/usr/bin/python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 9); print(\"reach\"+\"ed\")'"
    );
    let ask = |verb: &str, rest: &[&str]| {
        let head = [verb, "--name", "p", "--net", "ask", "--host-port", &port];
        home.agentctl(head.into_iter().chain(rest.iter().copied()))
    };
    // No, with a reason: nothing runs.
    let mut child = desk.run(ask("exec", &["--", "echo r''an"]));
    let question = desk.shows("deny and say why > ");
    assert!(
        question.contains(&format!("reach port {port} of this machine")),
        "{question}"
    );
    desk.types("n not this\n");
    desk.shows("denied: not this");
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert!(!desk.seen.lock().unwrap().contains("ran"));
    // Yes: it is open for the very first command.
    let mut child = desk.run(ask("exec", &["--", &reach]));
    desk.shows("deny and say why > ");
    desk.types("s\n");
    desk.shows("reached");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // For a turn of the agent too, in another session; and the terminal is the shell's own afterwards.
    let script = format!("demo:\nrun {reach}");
    let mut child = desk.run(home.agentctl(["run", "-m", "demo", "--new", "--host-port", &port, &script]));
    desk.shows("deny and say why > ");
    desk.types("y\n");
    desk.shows("approved by");
    desk.shows("turn done");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let list = home
        .ctl(["approvals", "list", "--all", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
    let mut child = desk.run(home.agentctl(["shell", "--name", "q", "--net", "ask", "--host-port", &port]));
    desk.shows("deny and say why > ");
    desk.types("y\n");
    desk.shows("Ctrl-] d leaves");
    desk.types("echo ty''ped; exit 7\n");
    desk.shows("typed");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    // Where nobody can be asked, or shall be, nobody is waited for.
    let run = |on: &str| {
        let args = [
            "run",
            "-m",
            "demo",
            "--new",
            "--host-port",
            &port,
            "--on-approval",
            on,
            "demo:\nsay x",
        ];
        home.ctl(args)
    };
    let left = run("exit").exits(10);
    assert!(
        left.err().contains("agentctl approve a-") && left.err().contains("[approval_needed]"),
        "{left}"
    );
    let denied = run("deny").exits(5);
    assert!(denied.err().contains("nobody is to be asked"), "{denied}");
}
