//! Owns: commands and their output between wire and domain.

use std::path::PathBuf;

use agentd_proto::pb;

use super::super::status::invalid;
use super::timestamp;
use crate::domain::id::ExecId;
use crate::domain::rejection::Rejection;
use crate::session::{Job, OutputKind, OutputPiece, Run, ScreenPiece, Stdin, TerminalSize};

/// Longest shell text.
const MAX_SCRIPT: usize = 16 * 1024 * 1024;

/// What to run.
pub(in crate::api) fn run(command: Option<pb::ExecCommand>) -> Result<Run, Rejection> {
    let command = command.ok_or_else(|| invalid("command is missing"))?;
    if command.script.len() > MAX_SCRIPT {
        return Err(invalid(format!(
            "script has {} bytes, the most is {MAX_SCRIPT}",
            command.script.len()
        )));
    }
    if command.script.contains(&0) {
        return Err(invalid("script has a NUL byte: no shell can read that"));
    }
    let mut environment: Vec<(String, String)> = command.environment.into_iter().collect();
    environment.sort();
    for (name, value) in &environment {
        let ok = name
            .bytes()
            .enumerate()
            .all(|(i, b)| b == b'_' || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()));
        if name.is_empty() || !ok || value.contains('\0') {
            return Err(invalid(format!(
                "environment: '{}' is not a variable",
                name.escape_debug()
            )));
        }
    }
    if command.cwd.contains('\0') {
        return Err(invalid("cwd has a NUL byte"));
    }
    let timeout = command
        .timeout
        .as_ref()
        .map(|t| super::duration("timeout", t))
        .transpose()?;
    let stdin = match pb::StdinMode::try_from(command.stdin) {
        Ok(pb::StdinMode::Unspecified | pb::StdinMode::None) => Stdin::None,
        Ok(pb::StdinMode::Open) => Stdin::Open,
        Ok(pb::StdinMode::Pty) => Stdin::Pty(size(command.pty_size)?),
        Err(_) => return Err(invalid("stdin is not a mode")),
    };
    Ok(Run {
        script: command.script,
        stdin,
        timeout,
        environment,
        cwd: Some(PathBuf::from(command.cwd)).filter(|c| !c.as_os_str().is_empty()),
        interactive: false,
        term: None,
    })
}

/// A terminal's size; 80x24 when absent.
pub(in crate::api) fn size(size: Option<pb::PtySize>) -> Result<TerminalSize, Rejection> {
    let size = size.unwrap_or(pb::PtySize {
        columns: 80,
        rows: 24,
    });
    let cell = |name: &str, value: u32| match u16::try_from(value) {
        Ok(value @ 1..=1000) => Ok(value),
        _ => Err(invalid(format!("{name} is not between 1 and 1000"))),
    };
    Ok(TerminalSize {
        rows: cell("rows", size.rows)?,
        cols: cell("columns", size.columns)?,
    })
}

/// A value of TERM; `None` when empty.
pub(in crate::api) fn term(text: String) -> Result<Option<String>, Rejection> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    if text.len() > 64 || !text.bytes().all(is_word) {
        return Err(invalid(
            "term is not the name of a terminal: at most 64 of a-z A-Z 0-9 + - . _",
        ));
    }
    Ok(Some(text).filter(|t| !t.is_empty()))
}

/// An exec id.
pub(in crate::api) fn exec_id(text: &str) -> Result<ExecId, Rejection> {
    text.parse()
        .map_err(|e: crate::domain::id::IdError| invalid(e.to_string()))
}

/// A viewer's name.
pub(in crate::api) fn viewer(name: String) -> Result<String, Rejection> {
    if name.chars().count() > 64 {
        return Err(invalid("viewer has more than 64 characters"));
    }
    Ok(name)
}

impl From<ScreenPiece> for pb::TerminalScreen {
    fn from(piece: ScreenPiece) -> Self {
        Self {
            exec_id: piece.exec_id.to_string(),
            offset: piece.offset,
            columns: piece.size.cols.into(),
            rows: piece.size.rows.into(),
            data: piece.data,
            skipped_bytes: piece.skipped,
        }
    }
}

impl From<Job> for pb::Job {
    fn from(job: Job) -> Self {
        Self {
            exec_id: job.exec_id.to_string(),
            script: job.script,
            start_time: Some(timestamp(job.started_us)),
            processes: job
                .processes
                .into_iter()
                .map(|one| pb::JobProcess {
                    pid: one.pid,
                    command: one.command,
                })
                .collect(),
            output_open: job.output_open,
        }
    }
}

impl From<OutputPiece> for pb::OutputChunk {
    fn from(piece: OutputPiece) -> Self {
        Self {
            exec_id: piece.exec_id.to_string(),
            stream: match piece.kind {
                OutputKind::Stdout => pb::OutputStream::Stdout,
                OutputKind::Stderr => pb::OutputStream::Stderr,
            }
            .into(),
            offset: piece.offset,
            data: piece.data,
            dropped_bytes: piece.dropped,
        }
    }
}
