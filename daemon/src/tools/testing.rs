//! Owns: a Workspace and a context for tests of tools.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::id::ExecId;
use crate::domain::tool::EditDialect;
use crate::workspace::Guard;

/// The root layout: `/x` in the jail is `x` in the Workspace.
pub(super) struct RootLayout;

impl JailPaths for RootLayout {
    fn relative(&self, given: &str) -> Option<PathBuf> {
        let mut clean = PathBuf::new();
        for part in Path::new(given.trim_start_matches('/')).components() {
            match part {
                std::path::Component::Normal(part) => clean.push(part),
                std::path::Component::ParentDir if !clean.pop() => return None,
                _ => {}
            }
        }
        Some(clean)
    }

    fn show(&self, rel: &Path) -> String {
        rel.display().to_string()
    }
}

/// A shell that answers with what it is told to.
#[derive(Default)]
pub(super) struct FakeShell {
    pub(super) asked: Mutex<Vec<(String, Option<Duration>)>>,
    pub(super) answer: Mutex<CommandOutput>,
    pub(super) cwd: Mutex<Option<String>>,
}

#[async_trait]
impl CommandRunner for FakeShell {
    async fn run(&self, call: CommandCall) -> Result<CommandOutput, ToolError> {
        self.asked.lock().unwrap().push((call.command, call.timeout));
        Ok(self.answer.lock().unwrap().clone())
    }

    async fn read_output(
        &self,
        _exec_id: &ExecId,
        stream: OutputStream,
        offset: u64,
        len: u64,
    ) -> Result<OutputChunk, ToolError> {
        let answer = self.answer.lock().unwrap();
        let view = if stream == OutputStream::Stdout {
            &answer.stdout
        } else {
            &answer.stderr
        };
        let bytes = view
            .head
            .iter()
            .skip(offset as usize)
            .take(len as usize)
            .copied()
            .collect();
        Ok(OutputChunk {
            bytes,
            total_bytes: view.head.len() as u64,
        })
    }

    fn cwd(&self) -> Option<String> {
        self.cwd.lock().unwrap().clone()
    }
}

/// Remembers what it was told; may do mischief in between.
#[derive(Default)]
pub(super) struct Witness {
    pub(super) before: Mutex<Vec<PathBuf>>,
    pub(super) after: Mutex<Vec<FileChange>>,
    pub(super) mischief: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl ChangeHook for Witness {
    async fn before(&self, paths: &[PathBuf]) -> Result<(), ToolError> {
        self.before.lock().unwrap().extend_from_slice(paths);
        if let Some(mischief) = self.mischief.lock().unwrap().take() {
            mischief();
        }
        Ok(())
    }

    async fn after(&self, changes: &[FileChange]) {
        self.after.lock().unwrap().extend_from_slice(changes);
    }
}

/// A desk where the call itself is the answer.
struct NoBoard;

#[async_trait]
impl super::TaskDesk for NoBoard {
    async fn call(&self, call: super::TaskCall) -> Result<String, String> {
        Ok(format!("{} {}", call.verb, call.task))
    }
}

/// A log where the question itself is the answer.
struct NoLog;

#[async_trait]
impl super::SessionLog for NoLog {
    async fn find(&self, text: &str, limit: usize) -> Result<String, String> {
        Ok(format!("{limit} of {text}"))
    }
}

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) shell: Arc<FakeShell>,
    pub(super) witness: Arc<Witness>,
    pub(super) ctx: ToolContext,
}

impl Bench {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (shell, witness) = (Arc::new(FakeShell::default()), Arc::new(Witness::default()));
        let ctx = ToolContext {
            guard: Arc::new(Guard::open(dir.path()).unwrap()),
            paths: Arc::new(RootLayout),
            files: Arc::new(FileStamps::default()),
            shell: shell.clone(),
            hook: witness.clone(),
            cleared: Arc::from([]),
            desk: Arc::new(NoBoard),
            log: Arc::new(NoLog),
            cancel: CancellationToken::new(),
        };
        let bench = Self {
            dir,
            shell,
            witness,
            ctx,
        };
        for (path, text) in files {
            bench.put(path, text);
        }
        bench
    }

    /// Someone else writes a file.
    pub(super) fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path))
            .unwrap_or_else(|error| format!("<{:?}>", error.kind()))
    }

    pub(super) fn plan(&self, tool: &str, args: Value) -> Result<CallPlan, ToolError> {
        find(tool).plan(&args, &self.ctx)
    }

    /// Plans, clears what the plan names, and runs, as the session does after an approval.
    pub(super) async fn call(&self, tool: &str, args: Value) -> Result<ToolOutput, ToolError> {
        let plan = self.plan(tool, args.clone())?;
        let ctx = ToolContext {
            cleared: plan.cleared().into(),
            ..self.ctx.clone()
        };
        find(tool).run(&args, &ctx).await
    }

    /// The text of a call that worked.
    pub(super) async fn ok(&self, tool: &str, args: Value) -> String {
        self.call(tool, args).await.unwrap().text
    }

    /// The text of a call that was refused.
    pub(super) async fn no(&self, tool: &str, args: Value) -> String {
        self.call(tool, args).await.unwrap_err().to_string()
    }
}

fn find(tool: &str) -> Arc<dyn Tool> {
    let get = |dialect| Registry::for_dialect(dialect).get(tool);
    get(EditDialect::SearchReplace)
        .or_else(|| get(EditDialect::ApplyPatch))
        .unwrap()
}

/// A property test that tries the same inputs every time: a red run is about the change, not about luck.
pub(super) fn property(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed),
        ..proptest::test_runner::Config::default()
    }
}
