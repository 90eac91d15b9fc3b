//! agentctl against the real daemon in a home of its own, with real jails and the demo model.
//! The daemon's program is taken from beside agentctl's: `cargo build --workspace` comes first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A home, a workspace and a daemon that ends with the test.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let beside = Path::new(env!("CARGO_BIN_EXE_agentctl")).with_file_name("agentd");
        assert!(
            beside.is_file(),
            "{} is missing: cargo build --workspace",
            beside.display()
        );
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["home", "shop", "other"] {
            std::fs::create_dir(home.dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(home.shop().join("docs")).unwrap();
        home
    }

    fn shop(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap().join("shop")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
        command.args(words).current_dir(self.shop()).stdin(Stdio::null());
        command
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{words:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(words)).unwrap()
    }

    fn spawn(&self, words: &[&str]) -> Child {
        self.command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn sessions(&self) -> usize {
        self.json(&["sessions", "list", "-o", "json"])
            .as_array()
            .unwrap()
            .len()
    }

    fn daemon_pid(&self) -> i32 {
        i32::try_from(
            self.json(&["daemon", "status", "--json"])["pid"]
                .as_i64()
                .unwrap(),
        )
        .unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.run(&["daemon", "stop"]));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Lines of a child until one contains `wanted`.
fn until(child: &mut BufReader<impl std::io::Read>, wanted: &str) {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(child.read_line(&mut line).unwrap() > 0, "no {wanted} in {seen}");
        if line.contains(wanted) {
            return;
        }
        seen.push_str(&line);
    }
}

#[test]
fn a_shell_keeps_its_state_and_exit_codes_pass_through() {
    let home = Home::new();
    assert_eq!(
        home.ok(&["exec", "--", "cd docs; export A='b c'; pwd"]),
        "/docs\n"
    );
    assert_eq!(
        home.ok(&["exec", "--", "pwd; cd ../..; pwd; echo $A"]),
        "/docs\n/\nb c\n"
    );
    assert_eq!(home.ok(&["exec", "--", "printf", "%s|", "a b", "$A"]), "a b|$A|");
    for (script, code) in [
        ("exit 42", 42),
        ("nosuchprogram", 127),
        ("sh -c 'kill -9 $$'", 137),
        ("", 0),
    ] {
        assert_eq!(
            home.run(&["exec", "--", script]).status.code(),
            Some(code),
            "{script}"
        );
    }
    let output = home.run(&["exec", "--timeout", "300ms", "--", "sleep 9"]);
    assert_eq!(output.status.code(), Some(124));
    let output = home.run(&["exec", "--", "echo out; echo err >&2"]);
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
}

#[test]
fn exec_json_is_one_object_with_the_commands_code() {
    let home = Home::new();
    let output = home.run(&[
        "exec",
        "--name",
        "n",
        "-o",
        "json",
        "--",
        "printf 'a\\377'; echo e >&2; (exit 3)",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["exit_code"], 3);
    assert_eq!(
        (&value["stdout"], &value["stdout_base64"]),
        (&"a\u{fffd}".into(), &"Yf8=".into())
    );
    assert_eq!(value["stderr"], "e\n");
    for key in ["timed_out", "truncated", "background", "shell_restarted"] {
        assert_eq!(value[key], false, "{key}");
    }
    assert!(value["duration_ms"].is_u64() && value["session_id"].as_str().unwrap().starts_with("s-"));
    let cut = home.json(&["exec", "-o", "json", "--capture", "10", "--", "seq 1000"]);
    assert_eq!(
        (cut["truncated"].as_bool(), cut["stdout"].as_str()),
        (Some(true), Some("1\n2\n31000\n"))
    );
}

#[test]
fn bytes_pass_through_unchanged_both_ways() {
    let home = Home::new();
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut child = home
        .command(&["exec", "--stdin", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let copy = data.clone();
    let writer = std::thread::spawn(move || input.write_all(&copy).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.stdout == data,
        "{} of {} bytes",
        output.stdout.len(),
        data.len()
    );
    let script = home
        .command(&["exec", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut script = script.unwrap();
    script
        .stdin
        .take()
        .unwrap()
        .write_all(b"echo from \"$0\" | wc -w")
        .unwrap();
    assert_eq!(text(&script.wait_with_output().unwrap().stdout).trim(), "2");
}

#[test]
fn unknown_and_refused_things_make_nothing() {
    let home = Home::new();
    home.ok(&["exec", "--name", "build", "--", "true"]);
    let before = home.sessions();
    let other = home.dir.path().join("other");
    let other = other.to_str().unwrap();
    for (words, code, word) in [
        (
            &["exec", "-s", "bild", "--", "true"][..],
            3,
            "did you mean: build",
        ),
        (&["logs", "s-nope"], 3, "[session_not_found]"),
        (
            &["run", "-s", "nope", "--model", "demo", "hi"],
            3,
            "[session_not_found]",
        ),
        (
            &["exec", "--name", "build", "-C", other, "--", "true"],
            6,
            "[name_taken]",
        ),
        (
            &["exec", "-C", "/nonexistent", "--", "true"],
            2,
            "[workspace_refused]",
        ),
        (&["exec", "-C", "/", "--", "true"], 2, "[workspace_refused]"),
        (&["approve", "a-nope"], 3, "[approval_not_found]"),
    ] {
        let output = home.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(
            said.contains(word) && said.contains("next: "),
            "{words:?}: {said}"
        );
    }
    assert_eq!(home.sessions(), before);
}

#[test]
fn without_a_key_the_fixes_are_named() {
    let home = Home::new();
    let output = home.run(&["run", "hi"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("[auth_missing]") && said.contains("agentctl auth set"),
        "{said}"
    );
    assert!(
        said.contains("export OPENAI_API_KEY") && output.stdout.is_empty(),
        "{said}"
    );
}

#[test]
fn a_run_answers_alone_on_standard_output_and_as_json_lines() {
    let home = Home::new();
    let output = home.run(&["run", "--model", "demo", "hello"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).starts_with("(demo model)"),
        "{}",
        text(&output.stdout)
    );
    for stream in [&output.stdout, &output.stderr] {
        assert!(!stream.contains(&0x1b) && !stream.contains(&b'\r'));
    }
    let lines = home.ok(&["run", "-m", "demo", "-o", "jsonl", "again"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines
            .windows(2)
            .all(|pair| pair[0]["seq"].as_u64() <= pair[1]["seq"].as_u64())
    );
    assert!(
        lines
            .iter()
            .all(|line| line["v"] == 1 && line["session"] == lines[0]["session"])
    );
    assert_eq!(lines.first().unwrap()["type"], "session.started");
    assert_eq!(lines.last().unwrap()["type"], "turn.done");
    let document = home.json(&["run", "-m", "demo", "-o", "json", "once more"]);
    assert_eq!(
        (&document["outcome"], &document["exit"]),
        (&"done".into(), &0.into())
    );
    assert_eq!(home.sessions(), 1, "the directory's own session goes on");
    let id = home.ok(&["run", "-d", "-m", "demo", "and on"]);
    assert_eq!(id.trim(), document["session"].as_str().unwrap());
    home.ok(&["wait", id.trim(), "--for", "done", "--timeout", "20s"]);
    for verb in [
        "sessions list",
        "sessions show",
        "approvals list",
        "models list",
        "auth list",
        "daemon status",
    ] {
        let mut words: Vec<&str> = verb.split(' ').collect();
        words.extend(["-o", "json"]);
        home.json(&words);
    }
}

#[test]
fn an_interrupted_turn_stops_and_a_hung_up_one_goes_on() {
    let home = Home::new();
    let slow = "import time, unittest\nclass T(unittest.TestCase):\n  def test(self):\n    time.sleep(4)\n";
    std::fs::write(home.shop().join("test_slow.py"), slow).unwrap();
    for (signal, code, after) in [
        (rustix::process::Signal::INT, 130, "ready"),
        (rustix::process::Signal::HUP, 129, "working"),
    ] {
        let mut child = home.spawn(&["run", "-m", "demo", "run the tests"]);
        let mut said = BufReader::new(child.stderr.take().unwrap());
        until(&mut said, "exec python3");
        kill(i32::try_from(child.id()).unwrap(), signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(home.json(&["sessions", "show", "--json"])["state"], after);
    }
    home.ok(&["wait", "--for", "done", "--timeout", "30s"]);
}

#[test]
fn a_killed_daemon_costs_a_running_command_nothing() {
    let home = Home::new();
    let mut child = home.spawn(&[
        "exec",
        "--",
        "echo begun; for i in 1 2 3 4; do sleep 0.4; echo $i; done; exit 7",
    ]);
    let mut said = BufReader::new(child.stdout.take().unwrap());
    until(&mut said, "begun");
    kill(home.daemon_pid(), rustix::process::Signal::KILL);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
    assert_eq!(
        (rest.as_str(), child.wait().unwrap().code()),
        ("1\n2\n3\n4\n", Some(7))
    );
}

#[test]
fn a_reader_that_goes_away_ends_it_in_silence() {
    let home = Home::new();
    let mut child = home.spawn(&["exec", "--", "yes"]);
    until(&mut BufReader::new(child.stdout.take().unwrap()), "y");
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(141), "")
    );
    home.ok(&["wait", "--timeout", "5s"]);
}
