//! Owns: the shell as the tools see it: run, wait, stop; head and tail of what was written.
//! Guarantees: a stopped turn stops its command and still reports how it ended; a shutdown leaves it running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::super::turn::Stop;
use super::{Execs, MODELS_TERMINAL, OutputKind};
use crate::domain::event::ExecResult;
use crate::domain::id::ExecId;
use crate::domain::workspace::Workspace;
use crate::shell::{RunHandle, RunRequest, Stdin};
use crate::tools::{
    CommandCall, CommandOutput, CommandRunner, JailPaths, OutputChunk, OutputStream, OutputView, ToolError,
};

/// Bytes of each end of a stream that a tool looks at; what the model gets is less.
const VIEW: u64 = 64 * 1024;
/// Longest output whose lines are counted by reading it.
const COUNT_LINES: u64 = 16 * 1024 * 1024;

/// The shell for one tool call.
pub(in crate::session) struct ToolRunner {
    execs: Arc<Execs>,
    /// Announced in the log before the call; used by its first command.
    exec_id: Mutex<Option<ExecId>>,
    result: Mutex<Option<ExecResult>>,
    left_running: Mutex<bool>,
    stop: CancellationToken,
    why: Arc<OnceLock<Stop>>,
}

impl ToolRunner {
    pub(in crate::session) fn new(
        execs: Arc<Execs>,
        exec_id: Option<ExecId>,
        stop: CancellationToken,
        why: Arc<OnceLock<Stop>>,
    ) -> Self {
        Self {
            execs,
            exec_id: Mutex::new(exec_id),
            result: Mutex::default(),
            left_running: Mutex::new(false),
            stop,
            why,
        }
    }

    /// How the announced command ended, once.
    pub(in crate::session) fn take_result(&self) -> Option<ExecResult> {
        lock(&self.result).take()
    }

    /// True when a shutdown left the command running in its jail.
    pub(in crate::session) fn left_running(&self) -> bool {
        *lock(&self.left_running)
    }

    async fn wait(&self, handle: &RunHandle) -> Option<crate::shell::RunResult> {
        tokio::select! {
            result = handle.finished() => return Some(result),
            () = self.stop.cancelled() => {}
        }
        if self.why.get() == Some(&Stop::Shutdown) {
            *lock(&self.left_running) = true;
            return None;
        }
        if let Err(error) = handle.interrupt() {
            tracing::debug!(%error, exec = %handle.exec_id, "interrupt: the run is over");
        }
        Some(handle.finished().await)
    }
}

#[async_trait]
impl CommandRunner for ToolRunner {
    async fn run(&self, call: CommandCall) -> Result<CommandOutput, ToolError> {
        let exec_id = lock(&self.exec_id).take();
        let Some(exec_id) = exec_id else {
            return Err(ToolError::Failed(
                "one command per call: make another call".into(),
            ));
        };
        self.execs
            .check()
            .map_err(|no| ToolError::Failed(no.to_string()))?;
        let timeout = call.timeout.unwrap_or(self.execs.settings.tool_timeout);
        let request = RunRequest {
            timeout: Some(timeout),
            max_output: self.execs.settings.max_output,
            stdin: if call.interactive {
                Stdin::Pty(MODELS_TERMINAL)
            } else {
                Stdin::None
            },
            ..RunRequest::new(exec_id.clone(), call.command)
        };
        let handle = self
            .execs
            .run(request)
            .map_err(|e| ToolError::Failed(e.to_string()))?;
        let Some(result) = self.wait(&handle).await else {
            return Err(ToolError::Cancelled);
        };
        let Some(fact) = self.execs.ended_with(&handle, &result).await else {
            *lock(&self.left_running) = true;
            return Err(ToolError::Cancelled);
        };
        let output = self.execs.output(&exec_id);
        let stdout = view(&output, OutputKind::Stdout, &fact).await;
        let stderr = view(&output, OutputKind::Stderr, &fact).await;
        *lock(&self.result) = Some(fact.clone());
        let (execs, done) = (self.execs.clone(), handle.clone());
        tokio::spawn(async move { execs.forget(&done).await });
        Ok(CommandOutput {
            exec_id: Some(exec_id),
            exit_code: Some(fact.exit_code),
            timed_out: fact.timed_out,
            interrupted: fact.interrupted,
            background: fact.background,
            shell_restarted: fact.shell_restarted,
            duration: result.duration,
            stdout,
            stderr,
            cwd: Some(fact.cwd),
            message: Some(fact.message).filter(|m| !m.is_empty()),
        })
    }

    async fn read_output(
        &self,
        exec_id: &ExecId,
        stream: OutputStream,
        offset: u64,
        len: u64,
    ) -> Result<OutputChunk, ToolError> {
        let row = self.execs.store.exec(&self.execs.session_id, exec_id).await;
        let row = row.map_err(|e| ToolError::Failed(e.to_string()))?;
        let Some(row) = row else {
            return Err(ToolError::Refused(format!(
                "There is no command run {exec_id} in this session."
            )));
        };
        let kind = match stream {
            OutputStream::Stdout => OutputKind::Stdout,
            OutputStream::Stderr => OutputKind::Stderr,
        };
        let output = self.execs.output(exec_id);
        let (bytes, total_bytes) = match &row.result {
            Some(result) => {
                let total = match kind {
                    OutputKind::Stdout => result.stdout_bytes,
                    OutputKind::Stderr => result.stderr_bytes,
                };
                (output.read_ended(kind, result, offset, len).await.1, total)
            }
            None => {
                let (first, bytes) = output.read(kind, offset, len).await;
                let total = first.saturating_add(bytes.len() as u64);
                (bytes, total)
            }
        };
        Ok(OutputChunk {
            bytes: bytes.to_vec(),
            total_bytes,
        })
    }

    fn cwd(&self) -> Option<String> {
        self.execs.cwd()
    }
}

async fn view(output: &super::ExecOutput, kind: OutputKind, result: &ExecResult) -> OutputView {
    let (total_bytes, dropped) = match kind {
        OutputKind::Stdout => (result.stdout_bytes, result.stdout_dropped),
        OutputKind::Stderr => (result.stderr_bytes, result.stderr_dropped),
    };
    let (head, tail, _) = output.ends(kind, result, VIEW).await;
    let total_lines = count_lines(output, kind, result, total_bytes).await;
    OutputView {
        total_bytes,
        total_lines,
        head: head.to_vec(),
        tail: tail.to_vec(),
        dropped,
    }
}

async fn count_lines(output: &super::ExecOutput, kind: OutputKind, result: &ExecResult, total: u64) -> u64 {
    let mut lines = 0u64;
    let mut at = 0;
    while at < total.min(COUNT_LINES) {
        let (first, piece) = output.read_ended(kind, result, at, 1024 * 1024).await;
        if piece.is_empty() {
            break;
        }
        lines = lines.saturating_add(piece.iter().filter(|byte| **byte == b'\n').count() as u64);
        at = first.saturating_add(piece.len() as u64);
    }
    lines
}

/// What the model is told of a command that ended after its turn.
pub(in crate::session) async fn late_text(
    execs: &Arc<Execs>,
    exec_id: &ExecId,
    result: &ExecResult,
) -> String {
    let output = execs.output(exec_id);
    let (head, tail, cut) = output.ends(OutputKind::Stdout, result, 8 * 1024).await;
    let (err_head, err_tail, _) = output.ends(OutputKind::Stderr, result, 4 * 1024).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "exit code {}\n{}{}{}{}{}",
        result.exit_code,
        text(&head),
        if cut {
            "\n[… cut; read_output has the rest …]\n"
        } else {
            ""
        },
        text(&tail),
        text(&err_head),
        text(&err_tail)
    )
}

/// The names files have inside the jail.
pub(super) struct Names(pub(super) Workspace);

impl JailPaths for Names {
    fn relative(&self, given: &str) -> Option<PathBuf> {
        self.0.relative(Path::new(given))
    }

    fn show(&self, rel: &Path) -> String {
        self.0.jail_path(rel).display().to_string()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain values are whole after any panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
