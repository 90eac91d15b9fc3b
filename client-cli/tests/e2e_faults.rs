//! Owns: what happens when the machine is not as it should be, and what never leaks.
//! Guarantees: every case runs the real programs in a home of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use support::{TestDaemon, finish, run, until};

#[test]
fn without_bwrap_the_cause_and_the_fix_are_named_and_nothing_runs_unjailed() {
    let home = TestDaemon::home();
    let bare = |words: &[&str]| run(support::without_bwrap(&home, &home.agentctl(words)), b"");
    for verb in [
        &["exec", "--", "echo x > made"][..],
        &["run", "--model", "demo", "demo: run echo x > made"],
    ] {
        let ran = bare(verb);
        let all = format!("{}{}", ran.out(), ran.err());
        assert!(
            all.contains("bwrap") || all.contains("bubblewrap"),
            "{verb:?}: {ran}"
        );
        assert!(all.contains("apt") && all.contains("install"), "{verb:?}: {ran}");
        assert!(!home.project().join("made").exists());
    }
    bare(&["exec", "--", "true"]).exits(125);
    // Only when asked for, and then it says so everywhere.
    let ran = bare(&["exec", "--jail", "outer", "--name", "o", "--", "echo x > made"]).exits(0);
    assert!(ran.err().contains("jail: none (outer)"), "{ran}");
    assert!(home.project().join("made").exists());
    for verb in [
        &["sessions", "list"][..],
        &["sessions", "show", "o"],
        &["exec", "--jail", "outer", "--name", "o", "--", "true"],
        &["exec", "-s", "o", "--", "true"],
        &["run", "-s", "o", "--model", "demo", "demo: say hi"],
        &["logs", "o"],
    ] {
        let ran = bare(verb).exits(0);
        assert!(format!("{ran}").contains("none (outer)"), "{verb:?}: {ran}");
    }
    let json = bare(&["sessions", "show", "o", "-o", "json"]).exits(0).json();
    assert_eq!(json["jail"], "none (outer)", "{json}");
}

#[test]
fn without_user_namespaces_the_setting_and_its_fix_are_named() {
    let home = TestDaemon::home();
    let blocked = |words: &[&str]| run(support::without_namespaces(&home.agentctl(words)), b"");
    let ran = blocked(&["exec", "--", "echo x > made"]).exits(125);
    let said = ran.err();
    assert!(said.contains("user.max_user_namespaces = 0"), "{ran}");
    assert!(said.contains("sudo sysctl --system"), "{ran}");
    let doctor = blocked(&["doctor"]);
    assert_ne!(doctor.code, 0, "{doctor}");
    assert!(doctor.out().contains("FAILED    user_namespaces"), "{doctor}");
    assert!(!home.project().join("made").exists());
}

#[test]
fn a_second_daemon_says_who_is_first() {
    let home = TestDaemon::start();
    let mut command = home.command(home.bin().join("agentd"));
    command.arg("--foreground");
    let ran = run(command, b"").exits(6);
    assert!(
        ran.err().contains(&home.pid().to_string()) && ran.err().contains("agentd.sock"),
        "{ran}"
    );
    // Another runtime directory is no way around the lock.
    let mut command = home.command(home.bin().join("agentd"));
    command
        .args(["--foreground", "--socket"])
        .arg(home.path().join("other.sock"));
    run(command, b"").exits(6);
    home.ctl(["--no-autostart", "daemon", "status"]).exits(0);
}

#[test]
fn twenty_clients_start_one_daemon() {
    let home = TestDaemon::home();
    let home = &home;
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| home.ctl(["sessions", "list"]).exits(0));
        }
    });
    let daemons = home.log().matches(" listening").count();
    assert_eq!(daemons, 1, "{}", home.log());
}

#[test]
fn a_stale_socket_is_replaced() {
    let home = TestDaemon::home();
    std::fs::create_dir_all(home.socket().parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.socket()).unwrap());
    assert!(home.socket().exists());
    home.ctl(["sessions", "list"]).exits(0);
    home.ctl(["--no-autostart", "daemon", "status"]).exits(0);
}

#[test]
fn a_database_that_can_not_be_read_is_named_and_left_alone() {
    for (what, words) in [
        ("corrupt", ["not a database", "malformed"]),
        ("newer", ["newer", "newer"]),
    ] {
        let mut home = TestDaemon::start();
        home.ctl(["exec", "--name", "n", "--", "true"]).exits(0);
        home.ctl(["daemon", "stop"]).exits(0);
        home.forget_daemon();
        assert!(
            !home
                .state()
                .join("agentd.db-wal")
                .metadata()
                .is_ok_and(|m| m.len() > 0),
            "at rest it is one file"
        );
        let database = home.state().join("agentd.db");
        let mut bytes = std::fs::read(&database).unwrap();
        if what == "corrupt" {
            bytes[..4096].fill(0x5a);
        } else {
            // PRAGMA user_version, in the header.
            bytes[60..64].copy_from_slice(&9999u32.to_be_bytes());
        }
        std::fs::write(&database, &bytes).unwrap();
        let ran = home.ctl(["sessions", "list"]).exits(7);
        let err = ran.err();
        assert!(words.iter().any(|w| err.contains(w)), "{what}: {ran}");
        assert!(
            err.contains("agentd.db") && err.contains("next:"),
            "{what}: {ran}"
        );
        assert!(err.lines().count() <= 12, "{what}: {ran}");
        assert!(std::fs::read(&database).unwrap() == bytes, "{what}: left alone");
    }
}

#[test]
fn a_workspace_that_went_away_is_said_and_comes_back() {
    let home = TestDaemon::start();
    let (here, away) = (home.project().join("p"), home.path().join("away"));
    std::fs::create_dir(&here).unwrap();
    home.ctl(["exec", "--name", "n", "-C", here.to_str().unwrap(), "--", "true"])
        .exits(0);
    std::fs::rename(&here, &away).unwrap();
    let ran = home.ctl(["exec", "-s", "n", "--", "true"]);
    assert_ne!(ran.code, 0, "{ran}");
    assert!(
        ran.err().contains("workspace") && ran.err().contains("next:"),
        "{ran}"
    );
    std::fs::rename(&away, &here).unwrap();
    home.ctl(["exec", "-s", "n", "--", "true"]).exits(0);
}

/// Every file below `dir` that has `needle` in it.
fn files_with(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(needle.len()).any(|w| w == needle) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_key_of_the_calling_client_is_enough_and_is_nowhere_but_in_memory() {
    use std::io::{Read as _, Write as _};
    const KEY: &str = "sk-canary-4f81c0ffee2290ab77";
    let home = TestDaemon::start();
    // A provider that repeats the key it was given in its refusal.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut block = [0; 4096];
        while !String::from_utf8_lossy(&request).contains("\r\n\r\n") {
            let n = stream.read(&mut block).unwrap();
            request.extend_from_slice(&block[..n]);
        }
        let body = format!(
            "{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}\",\"code\":\"invalid_api_key\"}}}}"
        );
        write!(
            stream,
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream.flush().unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    let mut command = home.agentctl(["run", "--name", "n", "--model", "openai/some-model", "hello"]);
    command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", &base);
    let ran = run(command, b"").exits(4);
    assert!(heard.join().unwrap().contains(KEY), "the caller's key was sent");
    assert!(ran.err().contains("Incorrect API key provided"), "{ran}");
    assert!(!format!("{ran}").contains(KEY), "{ran}");
    // With the jail alive: its environment and arguments.
    home.ctl(["exec", "-s", "n", "--", "sleep 1000 & true"]).exits(0);
    let ran = home
        .ctl([
            "exec",
            "-s",
            "n",
            "--",
            "env; cat /proc/*/environ /proc/*/cmdline; true",
        ])
        .exits(0);
    assert!(!format!("{ran}").contains(KEY));
    for pid in home.processes() {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(KEY), "{pid} {file}");
        }
    }
    for verb in [
        &["logs", "n", "--events", "-o", "jsonl"][..],
        &["sessions", "show", "n", "-o", "json"],
        &["daemon", "logs"],
    ] {
        let ran = home.ctl(verb);
        assert!(!format!("{ran}").contains(KEY), "{verb:?}");
    }
    assert_eq!(files_with(home.path(), KEY.as_bytes()), Vec::<PathBuf>::new());
    home.ctl(["daemon", "stop"]).exits(0);
    assert_eq!(files_with(home.path(), KEY.as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn a_reader_that_goes_away_ends_the_client_in_silence_and_not_the_session() {
    let home = TestDaemon::start();
    let mut command = home.agentctl(["exec", "--name", "n", "--", "touch begun; yes"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    until("it runs", || home.project().join("begun").exists().then_some(()));
    drop(child.stdout.take());
    let ran = finish(child, "exec", Instant::now()).exits(141);
    assert!(ran.stderr.is_empty(), "{ran}");
    home.ctl(["sessions", "show", "n"]).exits(0);
}
