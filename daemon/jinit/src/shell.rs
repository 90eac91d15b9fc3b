//! Owns: the long-lived shell: starting it, and the lines it is given.
//! Guarantees: a line uses only what a user can't shadow or alias (`\.`, redirections, expansions, `{`), so no function,
//! broken IFS or PATH of theirs can reach the protocol; the end report carries a secret the script never sees.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use agent_jinit::names;
use agent_jinit::wire::{RunFrame, StdinKind};
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Rlimit};

use crate::options::{Dialect, Options};

/// The live shell.
pub(crate) struct Shell {
    pub(crate) pid: u32,
    pub(crate) stdin: OwnedFd,
    /// What it says by itself, outside any command's redirections: traps at its end.
    pub(crate) stdout: OwnedFd,
}

/// Starts a shell; `fresh_env` false = everything comes from a snapshot, so that what the user unset stays unset.
pub(crate) fn start(options: &Options, restored: bool) -> io::Result<Shell> {
    // A packet pipe hands a block reader one line at a time: what it throws away on a syntax error is that line only.
    let flags = match options.dialect {
        Dialect::Ash => PipeFlags::CLOEXEC | PipeFlags::DIRECT,
        Dialect::Bash => PipeFlags::CLOEXEC,
    };
    let (rx, tx) = rustix::pipe::pipe_with(flags)?;
    let (stdout, says) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&stdout, true)?;
    let mut command = Command::new(&options.program);
    if options.dialect == Dialect::Bash {
        command.args(["--norc", "--noprofile"]);
    }
    command.args(["-i", "+m"]);
    if options.dialect == Dialect::Bash {
        command.args(["+H", "+o", "history"]);
    }
    if restored {
        command.env_clear();
    }
    // The start directory may have been removed meanwhile; a shell must come up all the same.
    let cwd = if options.cwd.is_dir() {
        options.cwd.as_path()
    } else {
        Path::new("/")
    };
    command
        .current_dir(cwd)
        .stdin(Stdio::from(rx))
        .stdout(Stdio::from(says))
        .stderr(Stdio::null());
    let pid = command.spawn()?.id();
    settle(pid, options);
    Ok(Shell {
        pid,
        stdin: tx,
        stdout,
    })
}

/// Limits on everything the shell will start; jinit stays free of them (it writes the spools).
pub(crate) fn settle(pid: u32, options: &Options) {
    let target = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let limit = |resource, value: Option<u64>| {
        if let Some(value) = value {
            let limit = Rlimit {
                current: Some(value),
                maximum: Some(value),
            };
            // A hard limit that is already lower stays.
            let _lower = rustix::process::prlimit(target, resource, limit);
        }
    };
    limit(Resource::Core, Some(0));
    limit(Resource::Nofile, options.nofile);
    limit(Resource::Fsize, options.fsize);
    limit(Resource::Nproc, options.nproc);
    limit(Resource::Data, options.data);
    // We may come first of all; what a person runs does not. Already nicer: then it stays so.
    let _nicer = rustix::process::setpriority_process(target, options.nice);
    // First to go when memory runs out: never the daemon or the person's editor.
    let _refused = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
}

/// `'text'` for any shell.
fn quoted(path: &Path) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        if *byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*byte);
        }
    }
    out.push(b'\'');
    out
}

fn line(parts: &[&[u8]]) -> Vec<u8> {
    let mut line = parts.concat();
    line.push(b'\n');
    line
}

/// The lines of one run, each to be written on its own.
pub(crate) fn lines(options: &Options, run: &RunFrame, nonce: &str, pts: Option<&Path>) -> Vec<Vec<u8>> {
    let file = |part| quoted(&names::of(&options.dir, &run.exec, part));
    let script = file(if run.has_before {
        names::BEFORE
    } else {
        names::SCRIPT
    });
    let (stdin, out, err) = match (run.stdin, pts) {
        (StdinKind::Pty, Some(pts)) => (quoted(pts), quoted(pts), quoted(pts)),
        (StdinKind::Open, _) => (file(names::INPUT), file(names::OUT), file(names::ERR)),
        _ => (b"/dev/null".to_vec(), file(names::OUT), file(names::ERR)),
    };
    let mut start: Vec<u8> = Vec::new();
    if run.has_status {
        // On the left of `||` so that `set -e` lets a non-zero `$?` through.
        start.extend_from_slice(b"\\. ");
        start.extend_from_slice(&file(names::STATUS));
        start.extend_from_slice(b" || ");
    }
    let mut lines = Vec::new();
    if !run.has_status {
        // The last report left `$?` at an error; an empty command clears it.
        lines.push(b"</dev/null\n".to_vec());
    }
    lines.push(line(&[
        &start, b"\\. ", &script, b" <", &stdin, b" >|", &out, b" 2>|", &err,
    ]));
    let report = quoted(&options.dir.join(names::REPORT));
    // An expansion error is the one message that needs no command: nothing can be overridden, nothing is forked, and an
    // interactive shell goes on after it. bash resets `$?` before it expands the words of `${x?…}`, so there it is an
    // arithmetic error.
    let say = match options.dialect {
        Dialect::Ash => format!("{{ _=${{_j{nonce}?\"@{nonce} $?@\"}}; }} 2>|"),
        Dialect::Bash => format!("{{ _=$((@{nonce} $?@)); }} 2>|"),
    };
    lines.push(line(&[say.as_bytes(), &report]));
    if run.has_after {
        lines.push(line(&[b"\\. ", &file(names::AFTER)]));
    }
    lines
}

/// bash finds functions before builtins, so one named `.` would swallow every command. Only where the user chose posix
/// mode is it the other way round, and an assignment, which nothing can shadow, chooses it.
pub(crate) const HEAL: &[u8] =
    b"[[ -o posix ]] || { POSIXLY_CORRECT=; \\unset -f .; \\unset POSIXLY_CORRECT; \\shopt -u inherit_errexit; }\n";

/// The line that restores a snapshot.
pub(crate) fn restore_line(options: &Options, name: &str) -> Vec<u8> {
    line(&[
        b"\\. ",
        &quoted(&names::of(&options.dir, name, names::RESTORE)),
        b" </dev/null >/dev/null 2>&1",
    ])
}

/// The exit code in what came over the report FIFO, if it is this run's report.
pub(crate) fn find_report(text: &[u8], nonce: &str) -> Option<i32> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once(&format!("@{nonce} "))?;
    let (number, _) = rest.split_once('@')?;
    number.trim().parse().ok()
}
