//! Owns: starting: connection, keys, theme, first view; and the exit code.
//! Guarantees: whatever cannot work is told in words before the screen is taken.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use agentd_proto::pb::ErrorReason;
use agentd_proto::{Client, ClientError, Options, escape, pb, surroundings};
use tokio::sync::mpsc;

use crate::app::{App, End, FOOTER};
use crate::args::Args;
use crate::background::{self, Late};
use crate::keep::Keep;
use crate::keys::{self, Keymap};
use crate::link::{Link, Place};
use crate::model::Model;
use crate::msg::{Cmd, ToLink};
use crate::terminal::{self, Terminal};
use crate::{theme, update};

/// Messages that may wait for the screen.
const QUEUE: usize = 1_024;

/// Why it cannot go on, for a person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    message: String,
    next: Vec<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            next: Vec::new(),
        }
    }

    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        let step = step.into();
        // The daemon may have said it already.
        if !self.next.contains(&step) {
            self.next.push(step);
        }
        self
    }

    /// Writes it to standard error.
    pub(crate) fn tell(&self) {
        let mut words = format!("error: {}\n", self.message);
        for step in &self.next {
            words.push_str(&format!("  next: {step}\n"));
        }
        // Nothing can be told when standard error is gone.
        drop(std::io::stderr().write_all(words.as_bytes()));
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error.cause {
            agentd_proto::Cause::Refused(ErrorReason::SessionNotFound | ErrorReason::SessionAmbiguous) => 3,
            agentd_proto::Cause::Refused(_) | agentd_proto::Cause::Other => 1,
            _ => 7,
        };
        let message = format!(
            "{}  [{}]",
            escape::line(&error.message),
            escape::line(&error.code)
        );
        Self {
            code,
            message,
            next: error.hints.iter().map(|hint| escape::line(hint)).collect(),
        }
    }
}

/// Runs the screen to its end.
pub(crate) fn run(args: Args) -> Result<u8, Failure> {
    if args.print_keys {
        let table = keymap(&args)?.markdown();
        // A closed pipe is no failure.
        drop(std::io::stdout().write_all(table.as_bytes()));
        return Ok(0);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::new(2, "agent-tui needs a terminal")
            .next("agentctl logs -f SESSION")
            .next("agent-tui --plain"));
    }
    let keymap = keymap(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(1, format!("cannot start: {error}")))?;
    let result = runtime.block_on(screen(args, keymap));
    // A thread may sit in a read of the terminal for ever: leaving does not wait for it.
    runtime.shutdown_background();
    result
}

async fn screen(args: Args, keymap: Keymap) -> Result<u8, Failure> {
    let client = client(&args)?;
    // Before the screen is taken, so that a refusal is read on the terminal it was asked on.
    let first = match &args.session {
        Some(name) => Some(session(&client, name).await?),
        None => {
            client.connect().await?;
            None
        }
    };
    if args.inline && first.is_none() {
        return Err(Failure::new(2, "--inline shows one session: name it").next("agent-tui --inline SESSION"));
    }
    let size = crossterm::terminal::size().unwrap_or((80, 24));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut late = Late::Nothing;
    let look = match &args.theme {
        Some(name) if name != "auto" => theme::by_name(name).ok_or_else(|| {
            Failure::new(2, format!("there is no theme '{}'", escape::line(name)))
                .next(format!("--theme {}", theme::NAMES.join("|")))
        })?,
        _ if no_color => theme::automatic(true, false),
        _ => {
            let (light, rest) = background::is_light();
            late = rest;
            theme::automatic(false, light)
        }
    };
    let place = place(&args)?;
    let mut model = Model::new(keymap, look, size, Instant::now());
    model.wall = jiff::Timestamp::now().as_second();
    model.zone = jiff::tz::TimeZone::system();
    model.user = user();
    model.workspace.clone_from(&place.root);
    model.read_only = args.read_only;
    model.inline = args.inline;
    model.mouse = !args.no_mouse;
    model.notify = args.notify;
    let mut keep = Keep::new(Keep::usual());
    keep.load(&mut model);
    let (wishes, asked) = mpsc::channel(QUEUE);
    let (news, told) = mpsc::channel(QUEUE);
    tokio::spawn(Link::new(client, place, asked, news).run());
    let mut cmds = vec![Cmd::Link(ToLink::Approvals)];
    if let Some(session) = first {
        update::begin(&mut model, session, &mut cmds);
    }
    terminal::restore_on_panic();
    let footer = if model.inline { model.size.1.min(FOOTER) } else { 0 };
    if model.inline {
        model.size.1 = footer;
        model.side = false;
    }
    let screen = Terminal::open(model.mouse, footer)
        .map_err(|error| Failure::new(1, format!("the terminal: {error}")))?;
    let end = App::new(model, screen, wishes, told, keep).run(cmds, late).await;
    terminal::restore();
    match end {
        Ok(End::Left) => Ok(0),
        Ok(End::Hangup) => Ok(129),
        Ok(End::Terminated) => Ok(143),
        Err(error) => Err(Failure::new(1, format!("the terminal: {error}"))),
    }
}

/// The connection that the arguments ask for.
pub(crate) fn client(args: &Args) -> Result<Client, Failure> {
    let socket = args
        .socket
        .as_ref()
        .map(std::path::absolute)
        .transpose()
        .map_err(|error| Failure::new(2, format!("the socket's path cannot be used: {error}")))?;
    Ok(Client::new(Options {
        socket,
        autostart: !args.no_autostart,
        client: "tui",
    })?)
}

async fn session(client: &Client, name: &str) -> Result<pb::Session, Failure> {
    let request = pb::GetSessionRequest {
        session_id: name.to_owned(),
    };
    let answer = client
        .get_session(request)
        .await
        .map_err(|error| Failure::from(error).next("agentctl sessions list --all"))?;
    answer
        .session
        .ok_or_else(|| Failure::new(7, "the daemon's answer is empty").next("agentctl daemon restart"))
}

fn keymap(args: &Args) -> Result<Keymap, Failure> {
    let asked = args.keys.clone();
    let path = asked.clone().or_else(|| {
        directories::ProjectDirs::from("", "", "agentd").map(|dirs| dirs.config_dir().join("keys.toml"))
    });
    let Some(path) = path.filter(|path| asked.is_some() || path.exists()) else {
        return Ok(Keymap::default());
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::new(2, format!("'{}': {error}", path.display())))?;
    keys::load(&text).map_err(|error| {
        Failure::new(
            2,
            format!(
                "{}:{}: {}",
                path.display(),
                error.line,
                escape::line(&error.message)
            ),
        )
        .next("agent-tui --keys /dev/null   (the keys as delivered)")
    })
}

fn place(args: &Args) -> Result<Place, Failure> {
    let fail = |error: std::io::Error| Failure::new(2, format!("the directory cannot be used: {error}"));
    let here = std::env::current_dir().map_err(fail)?;
    let (root, start) = match &args.dir {
        Some(dir) => (
            std::fs::canonicalize(here.join(dir)).map_err(fail)?,
            PathBuf::new(),
        ),
        None => {
            let root = surroundings::git_root(&here).unwrap_or_else(|| here.clone());
            let start = here.strip_prefix(&root).map(PathBuf::from).unwrap_or_default();
            (root, start)
        }
    };
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| Failure::new(2, "the directory's name is not UTF-8"))
    };
    Ok(Place {
        root: text(root)?,
        start_dir: text(start)?,
    })
}

fn user() -> String {
    let name = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    escape::line(&if name.is_empty() {
        host
    } else {
        format!("{name}@{host}")
    })
}
