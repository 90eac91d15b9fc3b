//! Owns: the daemon under a service manager: units that are right, readiness and signs of life, a socket that is passed on,
//! and the whole under a real manager of the user.
//! Guarantees: the manager is a process of the test's own, in namespaces of its own; systemd of the machine is not touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes"
)]

mod support;

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agentd_proto::pb;
use support::{TestDaemon, run, until};

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files_of(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(one) = open.pop() {
        for entry in std::fs::read_dir(one).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn installer(home: &TestDaemon, verb: &str, prefix: &str, built: &Path) -> Command {
    let mut command = home.command("bash");
    command
        .arg(sources().join("systemd/install.sh"))
        .args([verb, prefix])
        .arg(built);
    command
}

/// Programs are opaque to the installer; small ones are quick to copy.
fn small_programs(dir: &Path) -> PathBuf {
    let built = dir.join("built");
    std::fs::create_dir(&built).unwrap();
    for name in ["agentd", "agentctl", "agent-tui", "agent-web", "agent-jinit"] {
        let file = built.join(name);
        std::fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    built
}

#[test]
fn what_is_installed_is_right_and_goes_again() {
    let home = TestDaemon::home();
    let built = small_programs(home.path());
    let prefix = home.path().join("prefix");
    let shown = prefix.to_str().unwrap();
    // A file of somebody else's in the same prefix stays.
    std::fs::create_dir_all(prefix.join("bin")).unwrap();
    std::fs::write(prefix.join("bin/theirs"), "").unwrap();
    run(installer(&home, "install", shown, &built), b"").exits(0);
    let expected = [
        "bin/agent-tui",
        "bin/agent-web",
        "bin/agentctl",
        "bin/agentd",
        "bin/theirs",
        "libexec/agentd/agent-jinit",
        "share/agentd/installed",
        "share/systemd/user/agent-web.service",
        "share/systemd/user/agentd.service",
        "share/systemd/user/agentd.socket",
    ];
    assert_eq!(files_of(&prefix), expected);

    let verify = |dir: &Path| {
        let mut command = home.command("systemd-analyze");
        // A user's paths need a runtime directory, if an empty one.
        command.env("XDG_RUNTIME_DIR", home.path());
        command.args(["verify", "--user", "--man=no"]);
        for name in ["agentd.socket", "agentd.service", "agent-web.service"] {
            command.arg(dir.join(name));
        }
        run(command, b"")
    };
    let units = prefix.join("share/systemd/user");
    let good = verify(&units).exits(0);
    assert_eq!(good.err(), "", "systemd has something to say about the units");
    // The check can fail.
    let service = units.join("agentd.service");
    let text = std::fs::read_to_string(&service).unwrap();
    std::fs::write(&service, text.replace("WatchdogSec=", "WatchdogSecs=")).unwrap();
    assert!(verify(&units).err().contains("WatchdogSecs"));

    // Twice is as good as once, and the right text is back.
    run(installer(&home, "install", shown, &built), b"").exits(0);
    assert_eq!(files_of(&prefix), expected);
    assert!(
        std::fs::read_to_string(&service)
            .unwrap()
            .contains("WatchdogSec=30")
    );
    run(installer(&home, "uninstall", shown, &built), b"").exits(0);
    assert_eq!(files_of(&prefix), ["bin/theirs"]);
    assert_eq!(
        std::fs::read_dir(&prefix).unwrap().count(),
        1,
        "no empty directory is left"
    );
    let again = run(installer(&home, "uninstall", shown, &built), b"").exits(0);
    assert!(again.out().contains("nothing is installed"), "{again}");
}

#[test]
fn a_prefix_that_would_break_the_units_is_refused() {
    let home = TestDaemon::home();
    let built = small_programs(home.path());
    for bad in ["relative", "/tmp/has blank", "/tmp/100%", "/tmp/$HOME"] {
        let refused = run(installer(&home, "install", bad, &built), b"").exits(2);
        assert!(
            refused.err().contains("PREFIX") && refused.err().contains("next:"),
            "{refused}"
        );
    }
    let missing = home.path().join("nowhere");
    let refused = run(installer(&home, "install", "/tmp/x", &missing), b"").exits(2);
    assert!(
        refused.err().contains("not built") && refused.err().contains("make build"),
        "{refused}"
    );
}

/// The manager's end of NOTIFY_SOCKET.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(support::LIMIT)).unwrap();
        Self { socket, path }
    }

    fn hears(&self) -> String {
        let mut text = [0; 1024];
        let length = self.socket.recv(&mut text).expect("the daemon says nothing");
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn hears_at_last(&self, what: &str) -> String {
        loop {
            let said = self.hears();
            if said.contains(what) {
                return said;
            }
        }
    }

    /// Throws away what was said so far; then nothing may come for `wait`.
    fn hears_nothing_for(&self, wait: Duration) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let mut text = [0; 1024];
        while self.socket.recv(&mut text).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let silent = self.socket.recv(&mut text).is_err();
        self.socket.set_read_timeout(Some(support::LIMIT)).unwrap();
        silent
    }
}

#[test]
fn the_manager_hears_that_it_is_ready_lives_and_stops() {
    let mut home = TestDaemon::home();
    let manager = Manager::listen(home.path());
    home.set("NOTIFY_SOCKET", manager.path.to_str().unwrap());
    home.set("WATCHDOG_USEC", "60000");
    home.spawn();
    let ready = manager.hears();
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("MAINPID={}\n", home.pid())), "{ready}");
    // Ready means ready: the socket was there before.
    assert!(std::os::unix::net::UnixStream::connect(home.socket()).is_ok());
    assert_eq!(manager.hears(), "WATCHDOG=1\n");
    assert_eq!(manager.hears(), "WATCHDOG=1\n");
    home.ctl(["daemon", "stop"]).exits(0);
    let stopping = manager.hears_at_last("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    home.forget_daemon();
}

/// The daemon in this process, on a runtime of two workers whose every worker can be held up.
#[test]
fn a_loop_that_is_stuck_feeds_no_watchdog() {
    use agentd::config::{Config, ConfigFlags};
    use agentd::daemon::Daemon;
    use agentd::paths::{Env, PathFlags, Paths};
    use agentd::shutdown::{Reason, Shutdown};

    let home = TestDaemon::home();
    let manager = Manager::listen(home.path());
    let env: Env = [
        ("HOME", home.path().join("h").display().to_string()),
        ("AGENTD_STATE_DIR", home.state().display().to_string()),
        ("NOTIFY_SOCKET", manager.path.display().to_string()),
        ("WATCHDOG_USEC", "60000".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let paths = Paths::resolve(&env, &PathFlags::default()).unwrap();
    let config = Config::load(&paths.config_file, false, &env, &ConfigFlags::default()).unwrap();
    let workers = 2;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap();
    let shutdown = Shutdown::new();
    let begun = Daemon::begin(paths.clone(), config, &env, shutdown.clone());
    let running = runtime.block_on(async { begun.await.unwrap().listen().await.unwrap() });
    let ended = runtime.spawn(running.run());
    manager.hears_at_last("READY=1");
    assert_eq!(manager.hears(), "WATCHDOG=1\n");

    // Every worker sits in a task that does not come back.
    let held = std::sync::Arc::new(std::sync::Barrier::new(workers + 1));
    let release = std::sync::Arc::new(std::sync::Barrier::new(workers + 1));
    for _ in 0..workers {
        let (held, release) = (held.clone(), release.clone());
        runtime.spawn(async move {
            held.wait();
            release.wait();
        });
    }
    held.wait();
    let silent = manager.hears_nothing_for(Duration::from_millis(300));
    release.wait();
    assert!(silent, "a sign of life from a runtime that is stuck");
    assert_eq!(manager.hears(), "WATCHDOG=1\n");

    // The store's writer waits for a lock that another process holds on the database.
    let database = rusqlite::Connection::open(&paths.database).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let client = home.client();
    let (session, busy) = std::sync::mpsc::channel();
    let workspace = home.project().display().to_string();
    runtime.spawn(async move {
        let request = pb::CreateSessionRequest {
            request_id: agentd_proto::id::request_id(),
            workspace,
            ..Default::default()
        };
        session.send(client.create_session(request).await.is_ok()).ok();
    });
    until("the store is stuck", || {
        manager
            .hears_nothing_for(Duration::from_millis(300))
            .then_some(())
    });
    database.execute_batch("COMMIT").unwrap();
    assert_eq!(manager.hears(), "WATCHDOG=1\n");
    assert!(
        busy.recv_timeout(support::LIMIT).unwrap(),
        "the write went through after all"
    );

    shutdown.begin(Reason::Interrupted);
    runtime.block_on(ended).unwrap();
    manager.hears_at_last("STOPPING=1");
}

#[test]
fn a_socket_that_systemd_holds_loses_no_connection_over_a_kill() {
    let home = TestDaemon::home();
    let path = home.path().join("held.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let start = || {
        let mut command = home.command("sh");
        command
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"",
                "sh",
            ])
            .arg(home.bin().join("agentd"))
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // The client is there before any daemon, and waits instead of failing.
    let ask = |args: &[&str]| {
        let mut command = home.agentctl(args);
        command.args(["--no-autostart", "--socket"]).arg(&path);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for _ in 0..2 {
        let early = ask(&["daemon", "status", "-o", "json"]);
        let mut daemon = start();
        let answered = support::finish(early, "agentctl daemon status", std::time::Instant::now()).exits(0);
        assert_eq!(answered.json()["pid"], daemon.id());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let mut last = start();
    support::finish(
        ask(&["daemon", "stop"]),
        "agentctl daemon stop",
        std::time::Instant::now(),
    );
    until("it has ended", || last.try_wait().unwrap());
    assert!(path.exists(), "the socket is systemd's, not ours to remove");
}

#[test]
fn under_a_real_user_manager_nothing_is_lost() {
    let home = TestDaemon::home();
    let dir = home.path().join("m");
    std::fs::create_dir(&dir).unwrap();
    let mut command = Command::new("bash");
    command
        .arg(sources().join("daemon/tests/systemd/manager.sh"))
        .args([&sources(), home.bin(), &dir])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LANG", "C.UTF-8");
    let ran = run(command, b"");
    if ran.code == 75 {
        // The kernel of this machine, or the container around it, gives no cgroup of one's own. Everything above ran.
        eprintln!("not tried here: a user manager needs a writable cgroup2; {ran}");
        return;
    }
    assert_eq!(ran.exits(0).out().lines().last(), Some("all well"));
}
