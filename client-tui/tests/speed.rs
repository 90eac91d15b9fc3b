//! What agent-tui costs: frames and bytes while an answer streams, and how soon a long session is there.
//! Guarantees: only what is counted is judged on any machine; `AGENTD_TEST_LONG=1` builds it optimised, makes the
//! session a hundred thousand events long, and holds times, memory and processor time to what is promised. With
//! `AGENTD_TEST_TUI=PROGRAM` that one is measured, and nothing is built.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

mod screen;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use screen::{Screen, pause};
use support::TestDaemon;

fn long() -> bool {
    std::env::var("AGENTD_TEST_LONG").is_ok_and(|v| v == "1")
}

/// agent-tui as this test was built, or optimised where figures are judged.
fn program(home: &TestDaemon) -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_agent-tui"));
    if !long() {
        return built;
    }
    if let Some(given) = std::env::var_os("AGENTD_TEST_TUI") {
        return given.into();
    }
    let target = home.bin().parent().unwrap();
    let status = std::process::Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--release",
            "-p",
            "agent-tui",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
    target.join("release/agent-tui")
}

/// Processor time of a process so far.
fn cpu(pid: i32) -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += stat
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

/// Resident memory, megabytes.
fn resident(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

/// Times from a key to the bytes that show it, by a tmux client that is told of every byte: its own way is in them.
fn keys_to_bytes(screen: &Screen<'_>, keys: usize) -> Vec<Duration> {
    let mut control = screen.home.command("tmux");
    let mut control = control
        .env("TERM", "xterm-256color")
        .arg("-S")
        .arg(&screen.socket)
        .args(["-C", "attach"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    let lines = BufReader::new(control.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.starts_with("%output") && sender.send(Instant::now()).is_err() {
                break;
            }
        }
    });
    let mut stdin = control.stdin.take().unwrap();
    pause(Duration::from_millis(500));
    let mut times = Vec::new();
    for _ in 0..keys {
        while told.try_recv().is_ok() {}
        let begun = Instant::now();
        writeln!(stdin, "send-keys x").unwrap();
        times.push(told.recv_timeout(Duration::from_secs(10)).unwrap() - begun);
        pause(Duration::from_millis(120));
    }
    drop(stdin);
    control.kill().unwrap();
    control.wait().unwrap();
    times.sort();
    times
}

#[test]
fn streaming_is_drawn_in_few_small_frames() {
    let home = TestDaemon::start();
    drop(Screen::session(&home, (80, 24), ""));
    let program = program(&home);
    let screen = Screen::run(&home, "speed", (120, 36), &format!("{} shop", program.display()));
    screen.shows("type a message");
    let words = if long() { 4_000 } else { 400 };
    screen.type_in(&format!("demo: stream {words}"));
    screen.shows(&format!("stream {words}"));
    let pid = screen.pid();
    let bytes = screen.record();
    let (begun, before) = (Instant::now(), cpu(pid));
    screen.keys(&["Enter"]);
    // Looking costs the terminal, not the program.
    let end = begun + Duration::from_secs(120);
    while !screen.capture().contains("─ done") {
        assert!(Instant::now() < end, "{}", screen.capture());
        pause(Duration::from_millis(200));
    }
    let (took, used) = (begun.elapsed(), cpu(pid) - before);
    let written = std::fs::read(&bytes).unwrap();
    let frames = count(&written, b"\x1b[?25l");
    assert_eq!(count(&written, b"\x1b[2J"), 0, "it is never cleared");
    assert!(frames >= 10, "{frames} frames");
    let rate = frames as f64 / took.as_secs_f64();
    assert!(rate <= 31.0, "{rate:.1} frames/s");
    if long() {
        let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
        let times = keys_to_bytes(&screen, 100);
        let (median, most) = (times[times.len() / 2], times[times.len() * 95 / 100]);
        println!(
            "streaming: {rate:.1} frames/s, {:.1} kB/s, {share:.1} % of a core over {took:.1?}; key to bytes: median {median:.1?}, p95 {most:.1?}",
            written.len() as f64 / 1000.0 / took.as_secs_f64()
        );
        assert!(share <= 5.0, "{share:.1} % of a core");
        assert!(median <= Duration::from_millis(20), "{median:?}");
    }
}

/// A bundle of a session with `events` events.
fn bundle(home: &TestDaemon, events: usize) -> PathBuf {
    let small = home.path().join("small.jsonl");
    home.ctl(["sessions", "export", "shop", small.to_str().unwrap()])
        .exits(0);
    let text = std::fs::read_to_string(&small).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut head = lines[0].clone();
    head["bundle"]["head"] = events.into();
    let first = lines[1].clone();
    let mut out = format!("{head}\n{first}\n");
    for seq in 2..=events {
        let mut fact = first.clone();
        fact["event"]["seq"] = seq.into();
        fact["event"]["body"] = serde_json::json!({
            "kind": "notice_recorded", "code": "note",
            "message": format!("line {seq} of a long session, with as many words as a line has"),
        });
        writeln!(out, "{fact}").unwrap();
    }
    let file = home.path().join("long.jsonl");
    std::fs::write(&file, &out).unwrap();
    let mut report = lines.last().unwrap().clone();
    report["end"]["events"] = events.into();
    report["end"]["sha256"] = sha256(&file).into();
    std::fs::write(&file, format!("{out}{report}\n")).unwrap();
    file
}

fn sha256(file: &Path) -> String {
    let output = std::process::Command::new("sha256sum")
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_long_session_opens_at_its_end_and_reads_no_more_than_that() {
    let home = TestDaemon::start();
    drop(Screen::session(&home, (80, 24), ""));
    let events = if long() { 100_000 } else { 3_000 };
    let file = bundle(&home, events);
    home.ctl(["sessions", "import", file.to_str().unwrap(), "--name", "long"])
        .exits(0);
    let program = program(&home);
    let begun = Instant::now();
    let screen = Screen::run(&home, "open", (120, 36), &format!("{} long", program.display()));
    screen.shows(&format!("line {events} of a long session"));
    let (took, memory) = (begun.elapsed(), resident(screen.pid()));
    // Back to the first line, page by page.
    screen.keys(&["F6", "g"]);
    screen.until("older events", Duration::from_secs(60), |now| {
        !now.contains(&format!("line {events} of")) && !now.contains("reading older")
    });
    let after = resident(screen.pid());
    println!("{events} events: opened in {took:.2?} with {memory:.1} MB, {after:.1} MB after reading back");
    assert!(memory <= 80.0 && after <= 80.0, "{memory:.1} MB, {after:.1} MB");
    if long() {
        assert!(took <= Duration::from_secs(1), "{took:?}");
    }
}
