//! Owns: a real daemon in a temporary home, for tests of whole programs.
//! Guarantees: the environment is built, not inherited; state, socket, configuration and HOME are below one short
//! temporary directory; when the value goes, so do the daemon and its jails, by pid. Anything missing fails.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "other processes ring no bell: their sockets, ends and files are polled; each test binary uses its part, and a test may fail in any way it likes"
)]

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod leftovers;
pub mod ordinary;

/// Nothing a test waits for takes this long.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A home with (usually) a daemon.
pub struct TestDaemon {
    dir: tempfile::TempDir,
    bin: PathBuf,
    env: Vec<(String, String)>,
    daemon: Option<Child>,
    /// Size of the disk that holds the state, where it is one of its own.
    disk: Option<&'static str>,
}

/// What a program did.
#[derive(Debug, Clone)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Ran {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    pub fn error_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stderr).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.out()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}")))
            .collect()
    }

    /// Insists on an exit code; shows everything otherwise.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.out(),
            self.err()
        )
    }
}

impl TestDaemon {
    /// A home without a daemon: the first client starts one.
    pub fn home() -> Self {
        // Where the build put this test: target/PROFILE/deps.
        let exe = std::env::current_exe().unwrap();
        let bin = exe.ancestors().nth(2).unwrap().to_owned();
        for program in ["agentd", "agentctl", "agent-jinit"] {
            assert!(
                bin.join(program).is_file(),
                "{program} is not built: cargo build --workspace"
            );
        }
        // Short, since a socket's path may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("agd").tempdir_in("/tmp").unwrap();
        for sub in ["h", "w"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("config.toml"), "").unwrap();
        Self {
            dir,
            bin,
            env: Vec::new(),
            daemon: None,
            disk: None,
        }
    }

    /// A home whose daemon keeps its state on a disk of this size (a tmpfs only it sees; see [`Self::on_disk`]).
    pub fn with_disk(size: &'static str) -> Self {
        let mut home = Self::home();
        home.disk = Some(size);
        // Clients must find it, so it lies elsewhere.
        let socket = home.path().join("d.sock");
        home.set("AGENTD_SOCKET", socket.to_str().unwrap());
        home.spawn();
        home
    }

    /// A file of the state, as the daemon sees it.
    pub fn on_disk(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid()))
            .join(self.state().strip_prefix("/").unwrap())
            .join(name)
    }

    /// A home with a daemon that answers.
    pub fn start() -> Self {
        let mut home = Self::home();
        home.spawn();
        home
    }

    /// Adds a variable to every program started from now on.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.into(), value.as_ref().into()));
    }

    /// Takes a variable away again.
    pub fn unset(&mut self, name: &str) {
        self.env.retain(|(n, _)| n != name);
    }

    /// Starts the daemon and waits until its socket answers.
    pub fn spawn(&mut self) {
        assert!(self.spawn_or_die(), "agentd ended at once\n{}", self.log());
    }

    /// Starts the daemon of another release, whose programs are in `dir`.
    pub fn spawn_from(&mut self, dir: &Path) {
        let started = self.spawn_program(dir.join("agentd"));
        assert!(started, "agentd ended at once\n{}", self.log());
    }

    /// The same; false when it ended before its socket answered.
    pub fn spawn_or_die(&mut self) -> bool {
        self.spawn_program(self.bin.join("agentd"))
    }

    fn spawn_program(&mut self, program: PathBuf) -> bool {
        assert!(self.daemon.is_none());
        let mut command = match self.disk {
            None => self.command(program),
            Some(size) => {
                std::fs::create_dir_all(self.state()).unwrap();
                let mut command = self.command("unshare");
                let root = rustix::process::getuid().is_root();
                command
                    .arg(if root { "-m" } else { "-Urm" })
                    .args([
                        "sh",
                        "-c",
                        "mount -t tmpfs -o mode=0700,size=$1 none \"$2\" && exec \"$3\"",
                        "sh",
                        size,
                    ])
                    .arg(self.state())
                    .arg(program);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.stderr_file());
        let mut child = command.current_dir("/").process_group(0).spawn().unwrap();
        let until = Instant::now() + LIMIT;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if child.try_wait().unwrap().is_some() {
                self.daemon = Some(child);
                return false;
            }
            assert!(Instant::now() < until, "agentd does not answer\n{}", self.log());
            std::thread::sleep(POLL);
        }
        self.daemon = Some(child);
        true
    }

    /// Waits for the end of a daemon that was told to end, or was killed.
    pub fn wait_for_end(&mut self) -> std::process::ExitStatus {
        let mut child = self.daemon.take().unwrap();
        until("the daemon has ended", || child.try_wait().unwrap())
    }

    fn stderr_file(&self) -> std::fs::File {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path().join("stderr"))
            .unwrap()
    }

    /// SIGKILL, as a crash: jails live on.
    pub fn kill9(&mut self) {
        let mut child = self.daemon.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Collects a daemon that was told to end.
    pub fn forget_daemon(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            until("the daemon has ended", || child.try_wait().unwrap());
        }
    }

    /// Starts it again after [`Self::kill9`].
    pub fn restart(&mut self) {
        self.spawn();
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The project that programs start in.
    pub fn project(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub fn socket(&self) -> PathBuf {
        let named = self.env.iter().find(|(name, _)| name == "AGENTD_SOCKET");
        named.map_or_else(|| self.state().join("run/agentd.sock"), |(_, path)| path.into())
    }

    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Everything the daemon logged.
    pub fn log(&self) -> String {
        [
            self.state().join("agentd.log"),
            self.state().join("agentd.start.log"),
            self.path().join("stderr"),
        ]
        .iter()
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned())
        .collect()
    }

    pub fn config(&self, text: &str) {
        std::fs::write(self.dir.path().join("config.toml"), text).unwrap();
    }

    /// A command with the test's environment, started in the project.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path().join("h"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("AGENTD_STATE_DIR", self.state())
            .env("AGENTD_CONFIG", self.path().join("config.toml"))
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .current_dir(self.project());
        command
    }

    /// `agentctl` with the test's environment.
    pub fn agentctl<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.command(self.bin.join("agentctl"));
        command.args(args);
        command
    }

    /// Runs `agentctl ARGS </dev/null`.
    pub fn ctl<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Ran {
        run(self.agentctl(args), b"")
    }

    /// Makes the project a git repository with everything in it committed.
    pub fn git_init(&self) {
        for args in [
            &["init", "-q"][..],
            &["add", "-A"],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "commit",
                "-qm",
                "x",
                "--allow-empty",
            ],
        ] {
            let mut git = self.command("git");
            git.args(args);
            run(git, b"").exits(0);
        }
    }

    /// A client of the API.
    pub fn client(&self) -> agentd_proto::Client {
        agentd_proto::Client::new(agentd_proto::Options {
            socket: Some(self.socket()),
            autostart: false,
            client: "api",
        })
        .unwrap()
    }

    /// The daemon, its jails and all that runs in them.
    pub fn processes(&self) -> std::collections::BTreeSet<u32> {
        leftovers::all_of(self.path())
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
        // Ends the jails as well. Whatever it says, the rest follows.
        let mut stop = self.agentctl(["daemon", "stop", "--no-autostart"]);
        stop.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if (self.daemon.is_some() || self.state().join("agentd.lock").exists())
            && let Ok(mut stop) = stop.spawn()
        {
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && matches!(stop.try_wait(), Ok(None)) {
                std::thread::sleep(POLL);
            }
            stop.kill().ok();
            stop.wait().ok();
        }
        if let Some(mut child) = self.daemon.take() {
            // Told to stop, it is ending its jails.
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(POLL);
            }
            child.kill().ok();
            child.wait().ok();
        }
        leftovers::end_all_of(self.path());
    }
}

/// Runs a command to its end with `input`.
pub fn run(command: Command, input: &[u8]) -> Ran {
    run_within(command, input, LIMIT)
}

/// The same for one that works long on a machine that does much else, such as a compiler.
pub fn run_within(mut command: Command, input: &[u8], limit: Duration) -> Ran {
    let begun = Instant::now();
    let what = format!("{command:?}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may end before it has read everything.
        stdin.write_all(&input).ok();
    });
    let ran = finish_within(child, &what, begun, limit);
    writer.join().unwrap();
    ran
}

/// Waits for a child with piped output.
pub fn finish(child: Child, what: &str, begun: Instant) -> Ran {
    finish_within(child, what, begun, LIMIT)
}

fn finish_within(mut child: Child, what: &str, begun: Instant, limit: Duration) -> Ran {
    let collect = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            if let Some(mut stream) = stream {
                stream.read_to_end(&mut all).ok();
            }
            all
        })
    };
    let out = collect(
        child
            .stdout
            .take()
            .map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
    );
    let err = collect(
        child
            .stderr
            .take()
            .map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
    );
    let mut hung = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > limit {
            hung = true;
            child.kill().unwrap();
        }
        std::thread::sleep(POLL);
    };
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let ran = Ran {
        code,
        stdout: out.join().unwrap(),
        stderr: err.join().unwrap(),
        took: begun.elapsed(),
    };
    assert!(!hung, "hung: {what}\n{ran}");
    ran
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Polls until `done` gives something.
#[track_caller]
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(POLL);
    }
}

/// The same command where there is no bwrap: bwrap itself hides it behind a file in `home`.
pub fn without_bwrap(home: &TestDaemon, command: &Command) -> Command {
    let path = std::env::var_os("PATH").unwrap();
    let mut hidden: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/usr/local/bin".into()])
        .map(|d| d.join("bwrap"))
        .collect();
    hidden.retain(|file| file.is_file());
    hidden = hidden
        .into_iter()
        .map(|file| file.canonicalize().unwrap())
        .collect();
    hidden.sort();
    hidden.dedup();
    assert!(
        !hidden.is_empty(),
        "bwrap is not installed: sudo apt install bubblewrap"
    );
    // Not executable, and nothing that a test would miss.
    let nothing = home.path().join("nothing");
    std::fs::write(&nothing, "").unwrap();
    let mut without = Command::new(&hidden[0]);
    without.args(["--dev-bind", "/", "/"]);
    for file in &hidden {
        without.arg("--ro-bind").args([&nothing, file]);
    }
    without.arg("--");
    behind(without, command)
}

/// The same command where no user namespace can be made, as a hardened kernel has it: the limit is set in a namespace
/// of the test's own, never in the machine's.
pub fn without_namespaces(command: &Command) -> Command {
    let mut without = Command::new("unshare");
    let set = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    without.args(["--user", "--map-root-user", "sh", "-c", set, "sh"]);
    behind(without, command)
}

/// `command` with all that belongs to it, started by `first`.
fn behind(mut first: Command, command: &Command) -> Command {
    first
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            first.env(name, value);
        }
    }
    first.current_dir(command.get_current_dir().unwrap());
    first
}
