//! Owns: the gate of a session's network: which host may be reached now, the questions about others, the connection log.
//! Guarantees: a host that nobody listed or approved is not reached; a question is asked once and waited for at most 30 s,
//! not at all when nobody is there to answer; the log costs one commit every few seconds, whatever programs do.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::doors;
use super::execs::Execs;
use super::mailbox::{Actor, Ask, Wish};
use super::presence::Presence;
use super::stray::stray;
use super::{Fault, Settings, trace_id};
use crate::clock::now_us;
use crate::domain::approval::{Approval, Verdict};
use crate::domain::command::{Command, Reply};
use crate::domain::id::{ApprovalId, CallId, ExecId};
use crate::domain::network::{self, Connection, Door, Judgement, NetworkMode, Target};
use crate::domain::persona::Persona;
use crate::domain::policy::{self, Rule, Subject};
use crate::domain::principal::Caller;
use crate::domain::reach::MAX_QUESTIONS;
use crate::domain::registries;
use crate::domain::rejection::Rejection;
use crate::domain::session::Session;
use crate::domain::tool::Effect;
use crate::domain::workspace::JailKind;
use crate::jail::network::{Gate, Network, Wish as Reach};
use crate::store::RequestKey;
use crate::tools::{Page, Web};

/// How long a connection waits for a person's answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer "once" holds that came while no command ran.
const ONCE: Duration = Duration::from_secs(600);
/// How long entries of the connection log are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(2);
/// Entries of one fact.
const ENTRIES: usize = 200;
/// Sentences about refusals that one command's result has.
const SENTENCES: usize = 5;

/// What the gate knows of its session: a part of the fold, renewed at each commit that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) mode: NetworkMode,
    /// What approvals added for the session.
    pub(super) grants: Vec<Rule>,
    /// What is in force.
    pub(super) persona: Arc<Persona>,
    pub(super) principal: String,
    /// Questions about hosts, open and decided.
    pub(super) questions: Vec<Approval>,
    /// Questions about the project's `[shell] init`, open and decided.
    pub(super) inits: Vec<Approval>,
    /// Nobody is to be asked in the open turn.
    pub(super) deny: bool,
    pub(super) doors: Vec<Door>,
    /// The wall.
    pub(super) jail: JailKind,
}

impl View {
    pub(super) fn of(session: &Session) -> Self {
        let questions = session.approvals.iter().chain(&session.decided);
        Self {
            mode: session.network,
            grants: session
                .grants
                .iter()
                .filter(|rule| concerns(rule))
                .cloned()
                .collect(),
            persona: session.persona.clone(),
            principal: session.spec.principal.clone(),
            questions: questions
                .clone()
                .filter(|one| one.is_about_hosts())
                .cloned()
                .collect(),
            inits: questions.filter(|one| one.init.is_some()).cloned().collect(),
            deny: session
                .turn
                .as_ref()
                .is_some_and(|turn| turn.options.deny_approvals),
            doors: session.doors.clone(),
            jail: session.spec.jail,
        }
    }
}

/// True for a rule that the gate looks at.
fn concerns(rule: &Rule) -> bool {
    matches!(rule.on, Subject::ReachesOut(_) | Subject::Init(_))
}

/// For which command an answer holds: the first that reaches for the host after it.
#[derive(Debug, Clone)]
struct Bound {
    exec: Option<ExecId>,
    since: Instant,
}

#[derive(Default)]
struct Log {
    entries: Vec<Connection>,
    omitted: u32,
    scheduled: bool,
}

/// The gate of one session.
pub(super) struct Net {
    pub(super) settings: Arc<Settings>,
    pub(super) workspace: PathBuf,
    presence: Arc<Presence>,
    pub(super) view: watch::Receiver<View>,
    pub(super) me: Weak<Self>,
    /// Set once, before anything runs.
    engine: OnceLock<Weak<Network>>,
    /// Weak: the actor goes when nobody but us could ask it.
    actor: OnceLock<mpsc::WeakSender<Ask>>,
    pub(super) execs: OnceLock<Weak<Execs>>,
    bound: Mutex<HashMap<ApprovalId, Bound>>,
    /// Since when a command waits for a question.
    waits: Mutex<HashMap<(ApprovalId, Option<ExecId>), Instant>>,
    log: Mutex<Log>,
    /// What to tell with the result of the command that runs.
    said: Mutex<Vec<String>>,
}

impl Net {
    pub(super) fn new(
        settings: Arc<Settings>,
        workspace: PathBuf,
        presence: Arc<Presence>,
        view: watch::Receiver<View>,
    ) -> (Arc<Self>, Arc<Network>) {
        let net = Arc::new_cyclic(|me| Self {
            settings: settings.clone(),
            workspace,
            presence,
            view,
            me: me.clone(),
            engine: OnceLock::new(),
            actor: OnceLock::new(),
            execs: OnceLock::new(),
            bound: Mutex::default(),
            waits: Mutex::default(),
            log: Mutex::default(),
            said: Mutex::default(),
        });
        let engine = Network::new(net.clone(), settings.network.clone());
        let _first = net.engine.set(Arc::downgrade(&engine));
        (net, engine)
    }

    /// The rest of the session is there: from here on questions can be asked, and doors follow the log.
    pub(super) fn begin(&self, actor: Actor, execs: &Arc<Execs>, engine: Arc<Network>) {
        let (_first, _first_too) = (
            self.actor.set(actor.asks.downgrade()),
            self.execs.set(Arc::downgrade(execs)),
        );
        // An answer "once" of a daemon before us has had its command, or has to be given again.
        for one in self
            .view
            .borrow()
            .questions
            .iter()
            .filter(|one| one.answer.is_some())
        {
            let used = Bound {
                exec: Some(ExecId::random()),
                since: Instant::now(),
            };
            lock(&self.bound).insert(one.approval_id.clone(), used);
        }
        tokio::spawn(doors::keep(self.me.clone(), self.view.clone(), engine));
    }

    /// The command that runs in the shell, where there is just one, and the call that runs it.
    fn running(&self) -> (Option<ExecId>, Option<CallId>) {
        match self.execs.get().and_then(Weak::upgrade) {
            Some(execs) => execs.current(),
            None => (None, None),
        }
    }

    pub(super) fn engine(&self) -> Option<Arc<Network>> {
        self.engine.get()?.upgrade()
    }

    pub(super) async fn tell(
        &self,
        command: Command,
        caller: Caller,
        request: Option<RequestKey>,
    ) -> Result<Reply, Fault> {
        let asks = self.actor.get().and_then(mpsc::WeakSender::upgrade);
        let actor = Actor {
            asks: asks.ok_or(Rejection::ShuttingDown)?,
        };
        let wish = Wish {
            command,
            caller,
            request,
            model: None,
            launch: None,
        };
        actor.wish(wish).await
    }

    /// Asks about a host, unless that is asked already.
    async fn ask(&self, wish: &Reach, exec: Option<&ExecId>, call: Option<CallId>) -> Result<(), String> {
        let has = |file: &str| self.workspace.join(file).is_file();
        let (hosts, summary) = registries::question(&wish.target, &has);
        let summary = if wish.program.is_empty() {
            summary
        } else {
            format!("{summary} — {}", policy::visible(&wish.program))
        };
        let hosts_named: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let detail = match exec {
            Some(exec) => format!("{} — asked by command {exec}", hosts_named.join(", ")),
            None => hosts_named.join(", "),
        };
        let why = "programs of this session may reach only hosts that you list or approve".to_owned();
        let persona = self.view.borrow().persona.clone();
        let approval = question(hosts, call, (summary, detail), why, &persona);
        let command = Command::AskHosts {
            approval: Box::new(approval),
        };
        let asked = self.tell(command, Caller::daemon(trace_id()), None).await;
        asked
            .map(|_| ())
            .map_err(|error| format!("{} is refused: it could not be asked about: {error}", wish.target))
    }

    /// What a person's answer to a question means for the command that reaches for the host now; `None`: nothing.
    fn answered(&self, question: &Approval, exec: &Option<ExecId>) -> Option<Result<(), String>> {
        let answer = question.answer.as_ref()?;
        let holds = {
            let mut bound = lock(&self.bound);
            let bound = bound
                .entry(question.approval_id.clone())
                .or_insert_with(|| Bound {
                    exec: exec.clone(),
                    since: Instant::now(),
                });
            bound.exec == *exec && (exec.is_some() || bound.since.elapsed() < ONCE)
        };
        match answer.verdict {
            Verdict::Denied if holds && answer.reason.is_empty() => Some(Err("a person said no".to_owned())),
            Verdict::Denied if holds => Some(Err(format!("a person said no: {}", answer.reason))),
            Verdict::Expired if holds => Some(Err("nobody answered in the time the policy gives".to_owned())),
            Verdict::Denied | Verdict::Withdrawn | Verdict::Expired => None,
            // For the session or longer: the grants have it.
            _ if holds => Some(Ok(())),
            _ => None,
        }
    }

    /// True where a person is there to answer, or may be within the time that is waited.
    pub(super) fn is_watched(&self) -> bool {
        !self.presence.all().is_empty()
    }

    /// When the wait for a question ends for a command.
    fn deadline(&self, question: &ApprovalId, exec: &Option<ExecId>) -> Instant {
        let mut waits = lock(&self.waits);
        let since = *waits
            .entry((question.clone(), exec.clone()))
            .or_insert_with(Instant::now);
        since + PATIENCE
    }

    /// What a command's result should say of the network, once; and the entries of the log are written.
    /// `stderr` is the end of what a command that failed wrote there; empty for others.
    pub(super) fn after_command(self: &Arc<Self>, exec: &ExecId, stderr: &str) -> Option<String> {
        lock(&self.waits).retain(|(_, waiter), _| waiter.as_ref() != Some(exec));
        if !lock(&self.log).entries.is_empty() {
            let me = self.clone();
            tokio::spawn(async move { me.flush().await });
        }
        let mut said = std::mem::take(&mut *lock(&self.said));
        if self.engine().is_some_and(|engine| engine.strayed())
            && let Some(who) = stray(stderr)
        {
            said.push(match self.view.borrow().mode {
                NetworkMode::Off => format!("{who} tried to reach the network, which is off in this session"),
                _ => format!(
                    "{who} tried to reach the network without the proxy, which is the only way out (http_proxy, \
                     https_proxy)"
                ),
            });
        }
        said.dedup();
        said.truncate(SENTENCES);
        (!said.is_empty()).then(|| format!("network: {}", said.join("; ")))
    }

    /// What the rules say of hosts that a call of the model's names; the strictest counts.
    pub(super) fn judge(&self, hosts: &[Target]) -> Option<Judgement> {
        let view = self.view.borrow();
        let grants = self.grants(&view);
        hosts
            .iter()
            .map(|host| self.judge_one(&view, &grants, host))
            .max_by_key(|judged| match judged {
                Judgement::Allow => 0,
                Judgement::Ask => 1,
                Judgement::Refuse(_) => 2,
            })
    }

    fn judge_one(&self, view: &View, grants: &[Rule], host: &Target) -> Judgement {
        let rules = &self.settings.network;
        let pinned = rules.pins.contains_key(host);
        network::judge(
            view.mode,
            &rules.allow,
            &view.persona.policy,
            grants,
            host,
            pinned,
        )
    }

    /// What approvals added, for the session and for its project.
    pub(super) fn grants(&self, view: &View) -> Vec<Rule> {
        let mut grants = view.grants.clone();
        let for_project = self
            .settings
            .grants
            .rules(&view.principal, &self.workspace, now_us());
        grants.extend(for_project.into_iter().filter(concerns));
        grants
    }

    /// Writes what was gathered of the connection log.
    pub(super) async fn flush(&self) {
        let (connections, omitted) = {
            let mut log = lock(&self.log);
            log.scheduled = false;
            (std::mem::take(&mut log.entries), std::mem::take(&mut log.omitted))
        };
        if connections.is_empty() && omitted == 0 {
            return;
        }
        let command = Command::RecordConnections { connections, omitted };
        if let Err(error) = self.tell(command, Caller::daemon(trace_id()), None).await {
            tracing::warn!(%error, "entries of the connection log could not be written");
        }
    }

    /// True while no door is open and nothing waits to be written.
    pub(super) fn is_at_rest(&self) -> bool {
        let log = lock(&self.log);
        log.entries.is_empty() && log.omitted == 0 && self.view.borrow().doors.is_empty()
    }

    /// As it is now.
    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }
}

/// The question about hosts: what would be reached and by whom, and why it is asked.
pub(super) fn question(
    hosts: Vec<Target>,
    call: Option<CallId>,
    (summary, detail): (String, String),
    why: String,
    persona: &Persona,
) -> Approval {
    let now = now_us();
    Approval {
        approval_id: ApprovalId::random(),
        call_id: call.unwrap_or_else(|| CallId(String::new())),
        tool: "network".to_owned(),
        summary,
        detail,
        effects: vec![Effect::ReachesOut],
        why,
        deciding_rule: "network".to_owned(),
        rules: hosts.iter().map(|host| Rule::host(host).to_string()).collect(),
        no_rule_why: String::new(),
        session_grant: None,
        expires_us: persona.policy.expires_us(now),
        hosts,
        init: None,
        asked_us: now,
        answer: None,
    }
}

#[async_trait]
impl Web for Net {
    async fn get(&self, url: &str, host: &Target) -> Result<Page, String> {
        let engine = self.engine().ok_or("the session is closing")?;
        let page = engine.fetch(url, host).await?;
        Ok(Page {
            url: page.url,
            status: page.status,
            content_type: page.content_type,
            body: page.body,
            cut: page.cut,
            leads_to: page.leads_to,
        })
    }
}

#[async_trait]
impl Gate for Net {
    async fn admit(&self, wish: &Reach) -> Result<(), String> {
        self.judged(wish).await
    }

    fn current(&self) -> Option<ExecId> {
        self.running().0
    }

    fn record(&self, connection: Connection) {
        let why = &connection.refusal;
        if !why.is_empty() {
            let mut said = lock(&self.said);
            if said.len() < SENTENCES && !said.contains(why) {
                said.push(why.clone());
            }
        }
        let mut log = lock(&self.log);
        let full = log.entries.len() >= ENTRIES;
        match log.entries.iter_mut().find(|entry| entry.is_like(&connection)) {
            Some(entry) => entry.add(connection),
            None if full => log.omitted = log.omitted.saturating_add(1),
            None => log.entries.push(connection),
        }
        if !std::mem::replace(&mut log.scheduled, true)
            && let Some(me) = self.me.upgrade()
        {
            tokio::spawn(async move {
                tokio::time::sleep(GATHERED).await;
                me.flush().await;
            });
        }
    }

    fn wants_proxy(&self) -> bool {
        self.view.borrow().mode != NetworkMode::Off
    }
}

impl Net {
    async fn judged(&self, wish: &Reach) -> Result<(), String> {
        let target = &wish.target;
        let (exec, call) = self.running();
        let mut bell = self.view.clone();
        let mut asked = false;
        loop {
            let view = bell.borrow_and_update().clone();
            match self.judge_one(&view, &self.grants(&view), target) {
                Judgement::Allow => return Ok(()),
                Judgement::Refuse(why) => return Err(why),
                Judgement::Ask => {}
            }
            let about: Vec<&Approval> = view
                .questions
                .iter()
                .filter(|one| one.hosts.contains(target))
                .collect();
            if let Some(answer) = about.iter().rev().find_map(|one| self.answered(one, &exec)) {
                return answer.map_err(|why| format!("{target} is refused: {why}"));
            }
            let open = about.iter().find(|one| one.answer.is_none());
            let Some(open) = open.map(|one| one.approval_id.clone()) else {
                if view.deny {
                    return Err(format!(
                        "{target} is refused: nobody is to be asked (--on-approval=deny)"
                    ));
                }
                let questions = view.questions.iter().filter(|one| one.answer.is_none()).count();
                if asked || questions >= MAX_QUESTIONS {
                    return Err(format!(
                        "{target} is refused: {MAX_QUESTIONS} questions about hosts are open already"
                    ));
                }
                self.ask(wish, exec.as_ref(), call.clone()).await?;
                // The view follows the commit at once; whoever asked the same in this moment is found there.
                asked = true;
                continue;
            };
            let until = self.deadline(&open, &exec);
            let waits = format!("{target} waits for a person's answer: agentctl approve {open}");
            if !self.is_watched() || Instant::now() >= until {
                return Err(waits);
            }
            tokio::select! {
                changed = bell.changed() => if changed.is_err() {
                    return Err("the session is closing".to_owned());
                },
                () = tokio::time::sleep_until(until.into()) => return Err(waits),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values are whole after any panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
