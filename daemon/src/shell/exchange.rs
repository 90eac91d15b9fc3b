//! Owns: the files of one command in the exchange directory: written before it, taken away after it.
//! Guarantees: the user's text is a file of its own, byte for byte; what a run brings besides is quoted and put back; what
//! the next command gets from the last one is in nobody's hands any more.

use std::fs::File;
use std::io;
use std::path::Path;

use agent_jinit::names;
use agent_jinit::wire::{RunFrame, StdinKind};

use super::snapshot::{quoted, quoted_bytes};
use super::{PtySize, RunRequest, Stdin};
use crate::durable::Point;
use crate::jail::Jail;
use crate::jail::process::make_fifo;

/// Writes everything a run needs; the frame says what was written.
pub(crate) fn prepare(jail: &Jail, request: &RunRequest, last_status: i32) -> io::Result<RunFrame> {
    let id = request.exec_id.as_str();
    let file = |part| names::of(jail.exchange(), id, part);
    write_script(jail.exchange(), id, &request.script)?;
    let has_before = request.cwd.is_some() || !request.env.is_empty();
    if last_status != 0 {
        // The `||` is for dash, whose `set -e` looks into a sourced file even where its status is tested outside.
        std::fs::write(
            file(names::STATUS),
            format!("\\return {last_status} || </dev/null\n"),
        )?;
    }
    if has_before {
        std::fs::write(file(names::BEFORE), before(request, jail.inside(), last_status))?;
    }
    if !request.env.is_empty() {
        std::fs::write(file(names::AFTER), after(request))?;
    }
    let (stdin, size) = match request.stdin {
        Stdin::None => (StdinKind::Null, None),
        Stdin::Open => (StdinKind::Open, None),
        Stdin::Pty(size) => (StdinKind::Pty, Some(size)),
    };
    if size.is_none() {
        for part in [names::OUT, names::ERR] {
            if !take_spare(jail.exchange(), id, part) {
                make_fifo(&file(part))?;
            }
        }
    }
    if stdin == StdinKind::Open {
        make_fifo(&file(names::INPUT))?;
    }
    let size = size.unwrap_or(PtySize { rows: 24, cols: 80 });
    Ok(RunFrame {
        exec: id.to_owned(),
        stdin,
        own_shell: false,
        timeout_ms: request
            .timeout
            .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1)),
        cap: request.max_output.max(2),
        has_status: last_status != 0 && !has_before,
        has_before,
        has_after: !request.env.is_empty(),
        rows: size.rows,
        cols: size.cols,
    })
}

/// Under this name lies what the next command takes over: files that are made and freed by the thousand slow a file system
/// down.
const SPARE: &str = "spare";

fn take_spare(exchange: &Path, id: &str, part: &str) -> bool {
    let (from, to) = (names::of(exchange, SPARE, part), names::of(exchange, id, part));
    Point::ExchangeHandOn
        .through(|| std::fs::rename(from, to))
        .is_ok()
}

/// Into the file of an earlier command, if there is one: cut to size afterwards, since a file that is emptied first is
/// written to the disk as soon as it is closed.
fn write_script(exchange: &Path, id: &str, script: &[u8]) -> io::Result<()> {
    let path = names::of(exchange, id, names::SCRIPT);
    if !take_spare(exchange, id, names::SCRIPT) {
        return std::fs::write(path, script);
    }
    let file = File::options().write(true).open(path)?;
    std::os::unix::fs::FileExt::write_all_at(&file, script, 0)?;
    file.set_len(script.len() as u64)
}

/// Takes away what a run left that is over, its streams closed: the next one gets its script's file and its FIFOs.
/// `brought`: it may have had more files than every run has.
pub(crate) fn set_aside(exchange: &Path, id: &str, brought: bool) {
    use rustix::fs::{CWD, RenameFlags};
    // What was run does not stay. One byte does: an empty file would be written to the disk at its next closing.
    let script = File::options()
        .write(true)
        .open(names::of(exchange, id, names::SCRIPT));
    let _gone = script.and_then(|file| file.set_len(1));
    for part in [names::SCRIPT, names::OUT, names::ERR] {
        let (from, to) = (names::of(exchange, id, part), names::of(exchange, SPARE, part));
        let handed_on = Point::ExchangeHandOn
            .through(|| rustix::fs::renameat_with(CWD, &from, CWD, to, RenameFlags::NOREPLACE));
        if handed_on.is_err() {
            // There is one already.
            let _never_made = std::fs::remove_file(from);
        }
    }
    if brought {
        remove(exchange, id);
    } else {
        let _never_made = std::fs::remove_file(names::of(exchange, id, names::STATUS));
    }
}

/// Removes whatever a run left, but for what the shell reads after it has told the end: that is [`remove_after`]'s.
pub(crate) fn remove(exchange: &Path, id: &str) {
    for part in names::ALL.into_iter().filter(|part| *part != names::AFTER) {
        let _never_made = std::fs::remove_file(names::of(exchange, id, part));
    }
}

/// Removes what the shell read after a run: it has gone on to something else.
pub(crate) fn remove_after(exchange: &Path, id: &str) {
    let _never_made = std::fs::remove_file(names::of(exchange, id, names::AFTER));
}

/// Only a name that every shell takes as one.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn before(request: &RunRequest, inside: &Path, last_status: i32) -> Vec<u8> {
    let id = request.exec_id.as_str();
    let mut text = Vec::new();
    for (n, (name, value)) in request
        .env
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| is_name(name))
    {
        let save = format!("_agentd{n}s=${{{name}+s}} _agentd{n}=${{{name}-}}\n\\export {name}=");
        text.extend_from_slice(save.as_bytes());
        text.extend_from_slice(&quoted_bytes(value.as_bytes()));
        text.push(b'\n');
    }
    if let Some(cwd) = &request.cwd {
        text.extend_from_slice(b"\\cd -- ");
        text.extend_from_slice(&quoted(cwd));
        text.extend_from_slice(b" || \\return 1\n");
    }
    if last_status != 0 {
        text.extend_from_slice(b"\\. ");
        text.extend_from_slice(&quoted(&names::of(inside, id, names::STATUS)));
        text.extend_from_slice(b" || ");
    } else {
        text.extend_from_slice(b"</dev/null\n");
    }
    text.extend_from_slice(b"\\. ");
    text.extend_from_slice(&quoted(&names::of(inside, id, names::SCRIPT)));
    text.push(b'\n');
    text
}

fn after(request: &RunRequest) -> String {
    let mut text = String::new();
    for (n, (name, _)) in request
        .env
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| is_name(name))
    {
        let line = format!(
            "case ${{_agentd{n}s-}} in s) {name}=$_agentd{n};; *) \\unset {name};; esac\n\\unset _agentd{n}s _agentd{n}\n"
        );
        text.push_str(&line);
    }
    text
}
