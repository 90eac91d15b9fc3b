//! Owns: a Session's shell in a real jail, for the tests of jail and shell.
//! Guarantees: everything is below one temporary directory; a missing bwrap fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its part"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentd::domain::id::{ExecId, SessionId};
use agentd::domain::workspace::{Layout, ShellKind, Workspace};
use agentd::jail::{
    JailHost, JailHostConfig, JailSpec, LayoutWish, MemoryJournal, MountJournal, choose_layout,
};
use agentd::shell::{RunRequest, RunResult, Shell, ShellSnapshot};

#[path = "../support/leftovers.rs"]
mod leftovers;
#[path = "../support/ordinary.rs"]
mod ordinary;

/// One shell and where it works.
pub struct Rig {
    // First, so that it works while the directory is there.
    ends: Ends,
    pub dir: tempfile::TempDir,
    pub host: Arc<JailHost>,
    pub journal: Arc<MemoryJournal>,
    pub spec: JailSpec,
    pub shell: Shell,
}

/// What a run gave, as bytes.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub result: RunResult,
}

/// agent-jinit lies beside the test's own target directory.
pub fn jinit() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe.ancestors().nth(2).unwrap().join("agent-jinit");
    assert!(
        path.exists(),
        "{} is missing: cargo build -p agent-jinit",
        path.display()
    );
    path
}

pub fn config(dir: &Path) -> JailHostConfig {
    JailHostConfig {
        runtime_dir: dir.join("r"),
        state_dir: dir.join("s"),
        jinit: jinit(),
        scopes: None,
    }
}

impl Rig {
    pub fn new(kind: ShellKind) -> Self {
        Self::with(kind, None, |_| {})
    }

    pub fn with(kind: ShellKind, layout: Option<Layout>, fill: impl Fn(&Path)) -> Self {
        Self::made(kind, layout, fill, |_, _| {})
    }

    /// With a hand on the host's configuration and the spec.
    pub fn made(
        kind: ShellKind,
        layout: Option<Layout>,
        fill: impl Fn(&Path),
        change: impl Fn(&mut JailHostConfig, &mut JailSpec),
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("jail").tempdir().unwrap();
        let root = dir.path().join("w");
        std::fs::create_dir(&root).unwrap();
        fill(&root);
        let journal = Arc::new(MemoryJournal::default());
        let (layout, layout_reason) =
            choose_layout(&root, layout.map_or(LayoutWish::Open, LayoutWish::Asked), &|_| {
                false
            })
            .unwrap();
        let workspace = Workspace {
            root,
            start_dir: "".into(),
            layout,
            layout_reason,
        };
        let mut spec = JailSpec::new(SessionId::random(), workspace, kind);
        let mut config = config(dir.path());
        change(&mut config, &mut spec);
        let host = JailHost::new(config, journal.clone() as Arc<dyn MountJournal>).unwrap();
        let shell = Shell::open(host.clone(), spec.clone(), None::<ShellSnapshot>);
        Self {
            ends: Ends(dir.path().to_owned()),
            dir,
            host,
            journal,
            spec,
            shell,
        }
    }

    pub fn root(&self) -> &Path {
        &self.spec.workspace.root
    }

    pub async fn run(&self, script: impl Into<Vec<u8>>) -> Ran {
        self.request(RunRequest::new(ExecId::random(), script)).await
    }

    pub async fn request(&self, request: RunRequest) -> Ran {
        let handle = self.shell.run(request).unwrap();
        let result = tokio::time::timeout(std::time::Duration::from_secs(60), handle.finished())
            .await
            .unwrap();
        // As the log does once it has the end.
        self.shell.acknowledge(&handle.exec_id);
        let text =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        Ran {
            code: result.exit_code,
            out: text(&handle.spool.stdout),
            err: text(&handle.spool.stderr),
            result,
        }
    }

    /// What the next daemon makes of the same directories: the newest controller wins.
    pub fn next_daemon(&self) -> Shell {
        let host = JailHost::new(config(self.dir.path()), self.journal.clone()).unwrap();
        Shell::open(host, self.spec.clone(), None)
    }

    pub async fn end(self) {
        self.shell.end().await.unwrap();
    }
}

/// Ends what a failed test left. Not the Rig's own Drop: tests take a Rig apart.
pub struct Ends(PathBuf);

impl Drop for Ends {
    fn drop(&mut self) {
        leftovers::end_all_of(&self.0);
    }
}

/// Runs tests of this very binary as `nobody`, where it is root that runs them.
pub fn as_ordinary_user(tests: &[&str]) {
    ordinary::as_nobody(&[jinit()], tests);
}
