//! Owns: starting a daemon where none answers.
//! Guarantees: the daemon runs in a process group of its own, so Ctrl-C and a closing terminal do not
//! reach it, or under systemd where its unit is installed; a daemon that does not come up is explained with its own
//! last words.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::unit::{self, Unit};

/// Name of the daemon's program.
const PROGRAM: &str = "agentd";
/// Where the standard error of a daemon that is being started goes, in the state directory.
const START_LOG: &str = "agentd.start.log";
/// How many of its last lines are worth showing.
const LAST_LINES: usize = 5;

/// A daemon that was started and has not answered yet.
#[derive(Debug)]
pub struct Starting {
    child: Option<Child>,
    /// Whether systemd was asked to.
    by_unit: bool,
    start_log: PathBuf,
    log: PathBuf,
}

/// The daemon's program: beside this one, else the first on `PATH`.
pub fn find_program() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|dir| dir.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)))
        .find(|candidate| candidate.is_file())
}

/// Starts the daemon in the background: through its systemd unit where that is installed, else as a process of its own.
pub fn start(endpoint: &Endpoint) -> Result<Starting, ClientError> {
    match Unit::of(endpoint) {
        Some(_) => start_unit(endpoint).or_else(|_| start_program(endpoint)),
        None => start_program(endpoint),
    }
}

/// Asks systemd; systemctl ends when the daemon is ready, or when it is clear that it will not be.
fn start_unit(endpoint: &Endpoint) -> std::io::Result<Starting> {
    let (start_log, log) = open_start_log(endpoint)?;
    // A unit that failed too often is not started again until somebody says so: this is somebody.
    Unit::systemctl(&["reset-failed", unit::SERVICE, unit::SOCKET])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let child = Unit::systemctl(&["start", unit::SERVICE])
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .process_group(0)
        .spawn()?;
    Ok(Starting {
        child: Some(child),
        by_unit: true,
        start_log,
        log: endpoint.log_file(),
    })
}

fn open_start_log(endpoint: &Endpoint) -> std::io::Result<(PathBuf, std::fs::File)> {
    std::fs::create_dir_all(&endpoint.state_dir)?;
    let path = endpoint.state_dir.join(START_LOG);
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}

/// Starts the program itself.
pub(crate) fn start_program(endpoint: &Endpoint) -> Result<Starting, ClientError> {
    let program = find_program().ok_or_else(|| ClientError {
        hints: vec!["put agentd beside agentctl, or on PATH".to_owned()],
        ..ClientError::unreachable("no daemon is running, and no program 'agentd' was found to start one")
    })?;
    let failed = |what: &str, error: std::io::Error| {
        ClientError::unreachable(format!("no daemon is running, and {what} failed: {error}"))
    };
    let (start_log, log) = open_start_log(endpoint)
        .map_err(|e| failed(&format!("preparing '{}'", endpoint.state_dir.display()), e))?;
    let mut command = Command::new(&program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .process_group(0);
    command.current_dir("/");
    // It starts in another directory, so relative names must not reach it.
    for name in ["AGENTD_STATE_DIR", "AGENTD_CONFIG"] {
        if let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty())
            && let Ok(path) = std::path::absolute(value)
        {
            command.env(name, path);
        }
    }
    if let Some(socket) = &endpoint.explicit {
        command.env("AGENTD_SOCKET", socket);
    }
    let child = command
        .spawn()
        .map_err(|e| failed(&format!("starting '{}'", program.display()), e))?;
    Ok(Starting {
        child: Some(child),
        by_unit: false,
        start_log,
        log: endpoint.log_file(),
    })
}

impl Starting {
    /// True once the process has ended: it will not answer any more (another daemon still may).
    pub fn has_ended(&mut self) -> bool {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => false,
            Some(_) | None => true,
        }
    }

    /// True when systemd would not even try, so that the program has to be started without it.
    pub(crate) fn unit_was_no_use(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        let failed = matches!(ended, Some(Ok(Some(status))) if !status.success());
        self.by_unit && failed && !unit::is_the_daemons_fault(&last_lines(&self.start_log, LAST_LINES))
    }

    /// The daemon's last words, for a person.
    pub fn last_words(&self) -> Vec<String> {
        let words = last_lines(&self.start_log, LAST_LINES);
        if words.is_empty() {
            last_lines(&self.log, LAST_LINES)
        } else {
            words
        }
    }
}

impl Drop for Starting {
    /// A daemon outlives its clients; a client that lives long must still collect it when it ends.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// The last lines of a text file; none when it cannot be read.
pub fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(count))
        .map(|line| (*line).to_owned())
        .collect()
}
