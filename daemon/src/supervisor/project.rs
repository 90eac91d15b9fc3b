//! Owns: what of a person's tools works in a jail on a directory: tried, not guessed.
//! Guarantees: nothing of the trial stays: no session, no jail, no file but what the project's own agreed init makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Supervisor;
use super::create::{refused, start_dir, unavailable};
use crate::clock::now_us;
use crate::config::project;
use crate::domain::event::Origin;
use crate::domain::id::{ExecId, SessionId};
use crate::domain::limits::Limit;
use crate::domain::policy::{Verdict, judge_init};
use crate::domain::rejection::Rejection;
use crate::domain::workspace::{JailKind, Layout, Workspace};
use crate::jail::{self, JailSpec, LayoutWish, Sight};
use crate::session::Fault;
use crate::shell::{Beginning, ProjectInit, RunRequest, Shell, Start};

/// The tools that are asked, and how.
const TOOLS: [(&str, &str); 12] = [
    ("cargo", "cargo --version"),
    ("rustc", "rustc --version"),
    ("node", "node --version"),
    ("npm", "npm --version"),
    ("python", "python --version"),
    ("python3", "python3 --version"),
    ("pip", "pip --version"),
    ("go", "go version"),
    ("java", "java -version"),
    ("gcc", "gcc --version"),
    ("make", "make --version"),
    ("git", "git --version"),
];
/// No tool takes longer to say what it is, unless it is about to download itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where to look.
#[derive(Debug)]
pub struct ProjectWish {
    /// Absolute host path.
    pub workspace: PathBuf,
    /// Relative to it.
    pub start_dir: PathBuf,
    /// The person's PATH; empty: not known.
    pub search_path: String,
    /// `None`: the host layout.
    pub layout: Option<Layout>,
    /// Whose agreements count.
    pub principal: String,
}

/// How the project's own `[shell] init` stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitCheck {
    /// It ran before the tools were asked.
    pub ran: bool,
    /// Why it did not, or what went wrong in it; empty: nothing.
    pub note: String,
}

/// A shell begins with what was agreed to.
struct Agreed(ProjectInit);

#[async_trait]
impl Beginning for Agreed {
    async fn start(&self, _fresh: bool, began: Option<String>) -> Start {
        Start {
            init: began.is_none().then(|| self.0.clone()),
            note: None,
        }
    }
}

/// What a tool says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub tool: &'static str,
    /// Which program answered; empty: there is none.
    pub program: String,
    /// The first line it printed.
    pub version: String,
}

/// What works there.
#[derive(Debug)]
pub struct Project {
    /// In a fixed order.
    pub tools: Vec<Tool>,
    /// Host directories shown, read-only.
    pub toolchains: Vec<PathBuf>,
    /// What in them is hidden.
    pub masked: Vec<PathBuf>,
    /// The PATH inside.
    pub search_path: Vec<PathBuf>,
    /// Directories of the PATH that are not inside.
    pub left_out: Vec<PathBuf>,
    /// The bounds.
    pub limits: Vec<Limit>,
    /// `None`: the project has none.
    pub init: Option<InitCheck>,
}

impl Supervisor {
    /// Starts a jail there and asks the tools in it.
    pub async fn check_project(&self, wish: ProjectWish) -> Result<Project, Fault> {
        let settings = self.settings();
        let root = jail::check_workspace(&wish.workspace).map_err(refused)?;
        jail::ensure_jail_possible().map_err(unavailable)?;
        let start_dir = start_dir(&root, &wish.start_dir)?;
        let ours = settings.jails.ours(&root);
        let asked = wish.layout.map_or(LayoutWish::Agent, LayoutWish::Asked);
        let (layout, layout_reason) =
            jail::choose_layout(&root, asked, &|path| ours.iter().any(|o| o == path)).map_err(refused)?;
        let workspace = Workspace {
            root,
            start_dir,
            layout,
            layout_reason,
        };
        let spec = JailSpec {
            kind: JailKind::Bwrap,
            limits: settings.limits.clone(),
            read_only: settings.read_only.clone(),
            person: Some(settings.person.clone()),
            search_path: wish.search_path,
            init: settings.shell_init.clone(),
            ..JailSpec::new(SessionId::random(), workspace, self.shell_of(Origin::Agent))
        };
        let (agreed, mut init) = self.init_of(&spec.workspace.root, &wish.principal);
        let sight = Sight::of(&spec, &ours);
        let spools = settings.jails.spool_dir(&spec.session);
        let mut shell = Shell::open(settings.jails.clone(), spec, None);
        if let Some(agreed) = agreed {
            shell = shell.with_gate(Arc::new(Agreed(agreed)));
        }
        let tools = ask(&shell, init.as_mut()).await;
        if let Err(error) = shell.end().await {
            tracing::warn!(%error, "the jail of a check could not be ended");
        }
        if let Err(error) = std::fs::remove_dir_all(&spools) {
            tracing::debug!(%error, dir = %spools.display(), "a check left no output behind");
        }
        Ok(Project {
            tools: tools?,
            toolchains: sight.toolchains.mounts,
            masked: sight.toolchains.masked,
            search_path: sight.path,
            left_out: sight.left_out,
            limits: settings.limits.kept(&settings.keeping),
            init,
        })
    }

    /// The text that somebody agreed to for this project, and how the matter stands. Nobody is asked here: a session asks.
    fn init_of(&self, root: &Path, principal: &str) -> (Option<ProjectInit>, Option<InitCheck>) {
        let not = |note: String| (None, Some(InitCheck { ran: false, note }));
        let init = match project::shell_init(root) {
            Ok(Some(text)) => ProjectInit::new(text),
            Ok(None) => return (None, None),
            Err(why) => return not(why),
        };
        let persona = match self.personas().resolve(&self.0.defaults.persona, "", root) {
            Ok((persona, _)) => persona,
            Err(no) => return not(no.to_string()),
        };
        let grants = self.settings().grants.rules(principal, root, now_us());
        match judge_init(&persona.policy, &grants, &init.digest) {
            (Verdict::Allow, _) => {
                let ran = InitCheck {
                    ran: true,
                    note: String::new(),
                };
                (Some(init), Some(ran))
            }
            (Verdict::Deny, rule) => not(format!("the policy denies it ({rule})")),
            (Verdict::Ask, _) => not("nobody has agreed to it for the project yet".to_owned()),
        }
    }
}

async fn ask(shell: &Shell, mut init: Option<&mut InitCheck>) -> Result<Vec<Tool>, Fault> {
    let mut tools = Vec::new();
    for (tool, question) in TOOLS {
        let script = format!("command -v {tool} || exit 0; {question} 2>&1 </dev/null | head -n 1");
        // In a subshell: the shell itself is asked more.
        let mut request = RunRequest::new(ExecId::random(), format!("( {script} )"));
        request.timeout = Some(PATIENCE);
        let handle = shell.run(request).map_err(|_| Rejection::ShuttingDown)?;
        let result = handle.finished().await;
        // What went wrong in the project's text is told with the first result.
        if let Some((init, why)) = init.take().filter(|init| init.ran).zip(result.message.clone()) {
            init.note = why;
        }
        if result.not_run {
            let why = result.message.unwrap_or_else(|| "the jail did not start".into());
            return Err(Rejection::JailFailed(why).into());
        }
        let said = std::fs::read(&handle.spool.stdout).unwrap_or_default();
        shell.acknowledge(&handle.exec_id);
        let said = String::from_utf8_lossy(&said);
        let mut lines = said
            .lines()
            .map(|line| line.chars().take(200).collect::<String>());
        tools.push(Tool {
            tool,
            program: lines.next().unwrap_or_default(),
            version: lines.next().unwrap_or_default(),
        });
    }
    Ok(tools)
}
