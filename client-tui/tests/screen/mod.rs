//! A terminal (tmux) with agent-tui in it, driven by keys and read as a person would.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes, and each uses some of this"
)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::support::TestDaemon;

/// A terminal with agent-tui in it.
pub(crate) struct Screen<'a> {
    pub(crate) home: &'a TestDaemon,
    pub(crate) socket: PathBuf,
}

impl<'a> Screen<'a> {
    /// Starts `agent-tui ARGS` in a terminal of this size.
    pub(crate) fn start(home: &'a TestDaemon, size: (u16, u16), args: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_agent-tui");
        Self::run(home, "tmux", size, &format!("{program} {args}"))
    }

    /// Runs a command line in the terminal of that name.
    pub(crate) fn run(home: &'a TestDaemon, name: &str, size: (u16, u16), line: &str) -> Self {
        let screen = Self {
            home,
            socket: home.path().join(name),
        };
        let line = format!("stty -echo; {line}; echo \"ended $?\"; stty echo; exec cat");
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

    pub(crate) fn tmux(&self, args: &[&str]) -> String {
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

    pub(crate) fn capture(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    pub(crate) fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// A message of several lines, sent.
    pub(crate) fn say(&self, lines: &[&str]) {
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.keys(&["C-j"]);
            }
            self.type_in(line);
        }
        self.keys(&["Enter"]);
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
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
    pub(crate) fn until(&self, what: &str, within: Duration, fits: impl Fn(&str) -> bool) -> String {
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
    pub(crate) fn shows(&self, text: &str) -> String {
        self.until(text, Duration::from_secs(30), |now| now.contains(text))
    }

    /// In a new session that the demo model answers.
    pub(crate) fn session(home: &'a TestDaemon, size: (u16, u16), args: &str) -> Self {
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

    /// The program's process.
    pub(crate) fn pid(&self) -> i32 {
        let shell = self.tmux(&["list-panes", "-F", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = self.home.command("kill");
        let status = kill.args([name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The terminal is as it was before the program: modes, cursor, echo.
    pub(crate) fn is_sane(&self) {
        let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{wrap_flag}";
        assert_eq!(self.tmux(&["display", "-p", modes]).trim(), "0 1 0 1");
        self.say(&["echoed again"]);
        self.until("echo", Duration::from_secs(5), |now| {
            now.matches("echoed again").count() == 2
        });
    }

    /// Everything the program writes to the terminal from now on.
    pub(crate) fn record(&self) -> PathBuf {
        let path = self.home.path().join("bytes");
        std::fs::write(&path, "").unwrap();
        self.tmux(&["pipe-pane", &format!("cat >> {}", path.display())]);
        path
    }

    /// Decides the open question; the first step is repeated until its dead time is over.
    pub(crate) fn decide(&self, letter: &str) {
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
pub(crate) fn pause(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}
