//! Owns: what every verb needs: the connection, the output, and which session is meant.

use agentd_proto::{Client, ClientError, Options, escape, format, id, pb, surroundings};

use crate::args::{Global, Jail, JailFlags, Layout, LogLevel};
use crate::command_line::nearest;
use crate::exit::{self, Failure};
use crate::render::{Out, json};
use crate::workspace::{self, Workspace};

/// The most sessions the daemon gives in one page.
const PAGE: u32 = 1000;

/// What every verb needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) out: Out,
    pub(crate) global: Global,
}

/// How a session is to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) new: bool,
    pub(crate) origin: pb::SessionOrigin,
    pub(crate) layout: Option<Layout>,
    pub(crate) jail: Option<Jail>,
    pub(crate) shell: pb::ShellKind,
    pub(crate) model: Option<String>,
    pub(crate) network: pb::NetworkMode,
    pub(crate) flags: JailFlags,
    pub(crate) log: Option<LogLevel>,
    /// Empty: the configured one.
    pub(crate) persona: String,
    /// Empty: the persona's own.
    pub(crate) policy: String,
}

impl Context {
    /// With the flags' connection settings; connects on the first call.
    pub(crate) fn new(global: Global, out: Out) -> Result<Self, Failure> {
        // A relative path is meant from here, not from where the daemon looks.
        let socket = global
            .socket
            .as_ref()
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| Failure::usage(format!("the socket's path cannot be used: {error}")))?;
        let options = Options {
            socket,
            autostart: !global.no_autostart,
            client: "cli",
        };
        Ok(Self {
            client: Client::new(options)?,
            out,
            global,
        })
    }

    /// True when a person can be asked something.
    pub(crate) fn can_ask(&self) -> bool {
        !self.global.no_input && self.out.err_tty && std::io::IsTerminal::is_terminal(&std::io::stdin())
    }

    /// The workspace that the flags and the current directory say.
    pub(crate) fn workspace(&self) -> Result<Workspace, Failure> {
        workspace::locate(self.global.dir.as_deref())
    }

    /// The session of a verb that names one, or `-s`, or this directory's.
    pub(crate) async fn target(&self, named: Option<&str>) -> Result<pb::Session, Failure> {
        let name = named.or(self.global.session.as_deref()).unwrap_or(".");
        self.session(name).await
    }

    /// An existing session by id, prefix, name, `@last` or `.`. Never makes one.
    pub(crate) async fn session(&self, name: &str) -> Result<pb::Session, Failure> {
        match name {
            "@last" => self.latest(String::new(), |_| true).await?.ok_or_else(|| {
                Failure::new(exit::NOT_FOUND, "session_not_found", "there is no session yet")
                    .next("agentctl run \"…\"")
            }),
            "." => {
                let root = self.workspace()?.root;
                self.latest(root.clone(), |_| true).await?.ok_or_else(|| {
                    Failure::new(
                        exit::NOT_FOUND,
                        "session_not_found",
                        format!("no session works on '{root}'"),
                    )
                    .next("agentctl sessions list --all")
                })
            }
            name => {
                let request = pb::GetSessionRequest {
                    session_id: name.to_owned(),
                };
                match self.client.get_session(request).await {
                    Ok(answer) => answer.session.ok_or_else(empty_answer),
                    Err(error) if error.is(pb::ErrorReason::SessionNotFound) => {
                        Err(self.not_found(name, error).await)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// The latest session on a workspace (on any when empty) that fits.
    async fn latest(
        &self,
        workspace: String,
        fits: impl Fn(&pb::Session) -> bool,
    ) -> Result<Option<pb::Session>, Failure> {
        let request = pb::ListSessionsRequest {
            workspace,
            page_size: PAGE,
            ..Default::default()
        };
        let sessions = self.client.list_sessions(request).await?.sessions;
        let time = |session: &pb::Session| session.update_time.map(|time| (time.seconds, time.nanos));
        Ok(sessions.into_iter().filter(fits).max_by_key(time))
    }

    /// Says where was looked and which name may have been meant.
    async fn not_found(&self, name: &str, error: ClientError) -> Failure {
        let mut failure = Failure::from(error);
        failure.next.clear();
        let all = self.sessions(true).await.unwrap_or_default();
        let archived = all
            .iter()
            .filter(|one| one.state() == pb::SessionState::Archived)
            .count();
        failure.message = format!("no session matches '{}'", escape::line(name));
        failure = failure.note(format!(
            "looked in: {} ({archived} archived)",
            format::count(all.len() as u64, "session")
        ));
        let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
        if let Some(best) = nearest(name, &names)
            && let Some(session) = all.iter().find(|one| one.name == best)
        {
            let state = format::state_word(session.state());
            failure = failure.note(format!("did you mean: {best} ({}, {state})?", session.session_id));
        }
        failure.next("agentctl sessions list --all")
    }

    /// All sessions, page by page; archived ones only when asked for.
    pub(crate) async fn sessions(&self, archived: bool) -> Result<Vec<pb::Session>, Failure> {
        let states = if archived {
            use pb::SessionState as S;
            [
                S::Ready,
                S::Working,
                S::NeedsYou,
                S::Paused,
                S::Failed,
                S::Archived,
            ]
            .map(i32::from)
            .to_vec()
        } else {
            Vec::new()
        };
        self.sessions_where(pb::ListSessionsRequest {
            states,
            page_size: PAGE,
            ..Default::default()
        })
        .await
    }

    /// All sessions of a request, page by page.
    pub(crate) async fn sessions_where(
        &self,
        mut request: pb::ListSessionsRequest,
    ) -> Result<Vec<pb::Session>, Failure> {
        let mut all = Vec::new();
        loop {
            let mut page = self.client.list_sessions(request.clone()).await?;
            all.append(&mut page.sessions);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The session to work in, with the network that is wanted: `-s` never makes one, a name makes or finds it, else the
    /// directory's own.
    pub(crate) async fn session_for(&self, wanted: Wanted) -> Result<pb::Session, Failure> {
        let (network, log) = (wanted.network, log_level(wanted.log));
        let session = same_log(self.session_of(wanted).await?, log)?;
        crate::command::network::set(self, session, network).await
    }

    async fn session_of(&self, wanted: Wanted) -> Result<pb::Session, Failure> {
        // A name or --new on the command line wins over AGENTCTL_SESSION in the environment.
        if let (Some(name), None, false) = (&self.global.session, &wanted.name, wanted.new) {
            let session = self.session(name).await?;
            return same_wall(as_made(session, &wanted.flags)?, wanted.jail);
        }
        let workspace = self.workspace()?;
        if let Some(name) = &wanted.name {
            return self.create(&workspace, name, true, &wanted).await;
        }
        if wanted.new {
            return self.create(&workspace, "", false, &wanted).await;
        }
        let agent = wanted.origin == pb::SessionOrigin::Agent;
        if agent {
            let own = |one: &pb::Session| one.origin() == pb::SessionOrigin::Agent;
            if let Some(session) = self.latest(workspace.root.clone(), own).await? {
                let session = same_wall(as_made(session, &wanted.flags)?, wanted.jail)?;
                if session.jail() != pb::JailKind::Outer || wanted.jail.is_some() {
                    return Ok(session);
                }
                // Without a word from the caller only the daemon knows whether no jail is what is configured.
                return self.create(&workspace, &session.name, true, &wanted).await;
            }
        }
        let (name, other) = workspace::own_names(&workspace, if agent { "" } else { "-shell" });
        match self.create(&workspace, &name, true, &wanted).await {
            Err(failure) if failure.code == "name_taken" => {
                self.create(&workspace, &other, true, &wanted).await
            }
            result => result,
        }
    }

    /// Makes a session, or finds the one of that name.
    pub(crate) async fn create(
        &self,
        workspace: &Workspace,
        name: &str,
        get_or_create: bool,
        wanted: &Wanted,
    ) -> Result<pb::Session, Failure> {
        let request = pb::CreateSessionRequest {
            request_id: id::request_id(),
            name: name.to_owned(),
            workspace: workspace.root.clone(),
            start_dir: workspace.start_dir.clone(),
            layout: layout(wanted.layout).into(),
            shell: wanted.shell.into(),
            jail: jail(wanted.jail).into(),
            origin: wanted.origin.into(),
            model: wanted.model.clone().unwrap_or_default(),
            get_or_create,
            task_id: String::new(),
            network: wanted.network.into(),
            limits: Some(limits(&wanted.flags)),
            added_dirs: added(&wanted.flags.add_dir)?,
            search_path: surroundings::search_path(),
            log_level: log_level(wanted.log).into(),
            persona: wanted.persona.clone(),
            policy: wanted.policy.clone(),
        };
        let answer = self.client.create_session(request).await?;
        let session = answer.session.ok_or_else(empty_answer)?;
        if answer.created {
            self.warn_begun(&session).await?;
        }
        Ok(session)
    }

    /// Says what a new session's log begins with: what its project asked for and did not get.
    async fn warn_begun(&self, session: &pb::Session) -> Result<(), Failure> {
        // The first fact is that it was made.
        if session.head <= 1 {
            return Ok(());
        }
        let request = pb::ListEventsRequest {
            session_id: session.session_id.clone(),
            after_seq: 1,
            page_size: 100,
            ..Default::default()
        };
        for event in self.client.list_events(request).await?.events {
            if let Some(pb::event::Body::NoticeRecorded(notice)) = event.body
                && notice.code == "project_policy"
            {
                self.out.warning(&escape::line(&notice.message));
            }
        }
        Ok(())
    }

    /// The variables by which the daemon may reach a provider on this client's behalf.
    pub(crate) fn environment(&self) -> pb::ClientEnvironment {
        let variables = surroundings::provider_variables();
        pb::ClientEnvironment { variables }
    }

    /// Says what a logout would do to work that is about to be left behind. Said here, since later nobody is there to hear it.
    pub(crate) async fn warn_leaving(&self) {
        // The work was begun all the same; a daemon that can't be asked is no reason to fail now.
        let Ok(status) = self.client.get_status(pb::GetStatusRequest {}).await else {
            return;
        };
        for limit in status.limits.iter().filter(|limit| limit.check == "logout") {
            self.out.warning(&agentd_proto::escape::line(&limit.message));
            for line in limit.fix.lines() {
                self.out
                    .important(&format!("  next: {}", agentd_proto::escape::line(line)));
            }
        }
    }

    /// Says it wherever a session has no jail of its own.
    pub(crate) fn warn_outer(&self, session: &pb::Session) {
        if session.jail() == pb::JailKind::Outer {
            self.out.important("jail: none (outer)");
        }
    }
}

/// The session, unless it was asked for with what only a new one can be given.
fn as_made(session: pb::Session, flags: &JailFlags) -> Result<pb::Session, Failure> {
    if *flags == JailFlags::default() {
        return Ok(session);
    }
    Err(
        Failure::usage("limits and --add-dir are for a new session; an existing one keeps its own")
            .next("agentctl sessions new --name N …"),
    )
}

/// The session, if its log keeps what was asked for: what is said next must not be kept by mistake.
fn same_log(session: pb::Session, asked: pb::LogLevel) -> Result<pb::Session, Failure> {
    if asked == pb::LogLevel::Unspecified || asked == session.log_level() {
        return Ok(session);
    }
    let message = format!(
        "the log of session '{}' was made to keep words as '{}', and '{}' was asked for",
        escape::line(&session.name),
        json::log_level(session.log_level()),
        json::log_level(asked)
    );
    Err(Failure::new(exit::CONFLICT, "log_differs", message)
        .next(format!("agentctl run --new --log {} …", json::log_level(asked))))
}

/// The session, if it has the jail that was asked for by name.
fn same_wall(session: pb::Session, asked: Option<Jail>) -> Result<pb::Session, Failure> {
    let asked = jail(asked);
    if asked == pb::JailKind::Unspecified || asked == session.jail() {
        return Ok(session);
    }
    let message = format!(
        "session '{}' has the jail {}, and {} was asked for",
        escape::line(&session.name),
        json::jail(session.jail()),
        json::jail(asked)
    );
    Err(Failure::new(exit::CONFLICT, "jail_differs", message)
        .next("leave out --jail, or choose another --name"))
}

/// The contract promises this field.
pub(crate) fn empty_answer() -> Failure {
    Failure::new(exit::DAEMON, "version_mismatch", "the daemon's answer is empty")
        .next("agentctl daemon restart")
}

fn limits(flags: &JailFlags) -> pb::LimitsWish {
    pb::LimitsWish {
        memory_bytes: flags.memory.unwrap_or(0),
        processes: flags.processes.unwrap_or(0),
        cpu_weight: flags.cpu_weight.unwrap_or(0),
        file_size_bytes: flags.file_size.unwrap_or(0),
        disk_growth_bytes: flags.disk_growth.unwrap_or(0),
        session_time_ms: flags
            .session_time
            .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// `PATH` or `PATH:rw`, from where the caller stands.
fn added(dirs: &[String]) -> Result<Vec<pb::AddedDir>, Failure> {
    dirs.iter()
        .map(|text| {
            let (path, writable) = match text.strip_suffix(":rw") {
                Some(path) => (path, true),
                None => (text.strip_suffix(":ro").unwrap_or(text), false),
            };
            let full = std::fs::canonicalize(path)
                .map_err(|error| Failure::usage(format!("--add-dir '{path}': {error}")))?;
            let path = full
                .to_str()
                .ok_or_else(|| Failure::usage(format!("--add-dir '{path}' is not UTF-8")))?
                .to_owned();
            Ok(pb::AddedDir { path, writable })
        })
        .collect()
}

fn layout(layout: Option<Layout>) -> pb::Layout {
    match layout {
        None => pb::Layout::Unspecified,
        Some(Layout::Root) => pb::Layout::Root,
        Some(Layout::Host) => pb::Layout::Host,
    }
}

fn log_level(level: Option<LogLevel>) -> pb::LogLevel {
    match level {
        None => pb::LogLevel::Unspecified,
        Some(LogLevel::Full) => pb::LogLevel::Full,
        Some(LogLevel::Redacted) => pb::LogLevel::Redacted,
        Some(LogLevel::None) => pb::LogLevel::None,
    }
}

fn jail(jail: Option<Jail>) -> pb::JailKind {
    match jail {
        None => pb::JailKind::Unspecified,
        Some(Jail::Bwrap) => pb::JailKind::Bwrap,
        Some(Jail::Outer) => pb::JailKind::Outer,
    }
}
