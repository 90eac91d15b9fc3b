//! Owns: the daemon's life in pieces: what is done with it until it is killed at a point, and what must hold afterwards.
//! Guarantees: whatever a client was told is looked for in the log; a command that ran is known to have run.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use agentd::durable::Point;
use agentd_proto::pb::{self, event::Body, read_output_response::Item};
use agentd_proto::resume::Update;
use agentd_proto::{Client, ClientError};

use crate::model_server::{call, serve, stop, text, whole};
use crate::support::{TestDaemon, until};

/// One story of a daemon, with the points that are its to be killed at.
pub struct Scenario {
    pub name: &'static str,
    pub own: &'static [Point],
}

use Point::*;

/// Together they have every point; `tests/crash_points.rs` insists on it.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "turn",
        own: &[
            StoreMigration,
            StoreCommit,
            LockSync,
            SocketRename,
            JailRecord,
            FileSync,
            FileRename,
            FileDirSync,
            HearHello,
            SendSpawn,
            SendRun,
            HearProgress,
            HearFinished,
            HearClosed,
            SendAck,
            SendInput,
            HearWritten,
            SendInterrupt,
            SpoolRename,
            SpoolHandOn,
            ExchangeHandOn,
            SendEnd,
        ],
    },
    Scenario {
        name: "terminal",
        own: &[
            SendResize,
            SendRetire,
            SendHeal,
            HearShellGone,
            HearRefused,
            SendFreeze,
            SendThaw,
        ],
    },
    Scenario {
        name: "rest",
        own: &[SendRest, HearBusy, HearResting],
    },
    Scenario {
        name: "jobs",
        own: &[SendJobs, HearJobs, HearWaiting],
    },
    Scenario {
        name: "frame",
        own: &[
            LogRename,
            CredentialsSync,
            CredentialsRename,
            CredentialsDirSync,
            DevicesSync,
            DevicesRename,
            DevicesDirSync,
            CommondirRename,
        ],
    },
    Scenario {
        name: "network",
        own: &[SendListen, HearListening, SendDial, HearDialled, SendUnlisten],
    },
    Scenario {
        name: "adopt",
        own: &[HearReady, HearRunning],
    },
];

/// What clients were told before the daemon died.
#[derive(Default)]
pub struct Told {
    posts: Mutex<Vec<(pb::PostMessageRequest, pb::PostMessageResponse)>>,
    starts: Mutex<Vec<(pb::StartExecRequest, pb::StartExecResponse)>>,
    ends: Mutex<BTreeMap<String, i32>>,
}

/// A home, and how its story went.
pub struct World {
    pub home: TestDaemon,
    pub told: Told,
    runtime: tokio::runtime::Runtime,
    model: String,
}

type Done = Result<(), ClientError>;

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl World {
    /// Everything before the daemon that is to be killed.
    pub fn prepare(scenario: &Scenario) -> Self {
        let mut home = TestDaemon::home();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let patch = "*** Begin Patch\n*** Update File: here.txt\n*** Move to: moved/there.txt\n@@\n-old\n+new\n*** End Patch\n";
        let acts = vec![
            whole(&[
                call(
                    0.into(),
                    "c1",
                    "apply_patch",
                    &serde_json::json!({ "patch": patch }).to_string(),
                ),
                stop(),
            ]),
            whole(&[text("moved"), stop()]),
        ];
        let server = runtime.block_on(serve(acts));
        let idle = if scenario.name == "rest" { "50ms" } else { "10min" };
        home.config(&format!(
            "[shell]\nmax_output = \"64KiB\"\nidle_timeout = \"{idle}\"\n[providers.p]\nbase_url = \"{}\"\napi = \"chat\"\nauth = \"none\"\n[models.\"p/gpt-5\"]\ncontext_tokens = 128000\n",
            server.base
        ));
        let project = home.project();
        match scenario.name {
            "frame" => {
                std::fs::write(project.join("here.txt"), "old\n").unwrap();
                home.git_init();
                std::fs::create_dir_all(home.state()).unwrap();
                let log = std::fs::File::create(home.state().join("agentd.log")).unwrap();
                // As long as it may become: the next line begins a new one.
                log.set_len(10 * 1024 * 1024).unwrap();
            }
            "adopt" => {
                home.spawn();
                let client = home.client();
                runtime.block_on(async {
                    let session = create(&client, &project, "adopt", pb::ShellKind::Sh).await.unwrap();
                    let script = "echo one >>/ran; touch /begun; while ! [ -e /go ]; do sleep 0.01; done; seq 100; (exit 3)";
                    client.start_exec(start(&session, script)).await.unwrap();
                });
                until("it runs", || project.join("begun").exists().then_some(()));
                home.kill9();
            }
            _ => {}
        }
        Self {
            home,
            told: Told::default(),
            runtime,
            model: "p/gpt-5".into(),
        }
    }

    /// Starts a daemon that writes down the points it comes to, and dies at `at`.
    fn spawn(&mut self, at: Option<&str>) -> bool {
        let trace = self.trace_file();
        std::fs::write(&trace, "").unwrap();
        self.home.set("TEST_CRASH_TRACE", trace.to_str().unwrap());
        match at {
            Some(at) => self.home.set("TEST_CRASH_AT", at),
            None => self.home.unset("TEST_CRASH_AT"),
        }
        self.home.spawn_or_die()
    }

    fn trace_file(&self) -> PathBuf {
        self.home.path().join("trace")
    }

    pub fn trace(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.trace_file()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Plays the story to its end, or to the daemon's. False where it did not come to `at`: of what is done together with
    /// what else has come, there is more or less of it each time.
    pub fn play(&mut self, scenario: &Scenario, at: Option<&str>) -> bool {
        if self.spawn(at) {
            let (client, told) = (self.home.client(), &self.told);
            let (project, trace, model) = (self.home.project(), self.trace_file(), self.model.clone());
            let act = act(scenario.name, &client, &project, &trace, &model, told);
            let pid = self.home.pid();
            let done = self.runtime.block_on(async {
                tokio::select! {
                    done = tokio::time::timeout(Duration::from_secs(50), act) => {
                        let stuck = |_| {
                            let trace = std::fs::read_to_string(self.trace_file()).unwrap_or_default();
                            let last: Vec<&str> = trace.lines().rev().take(40).collect();
                            panic!("{}, {at:?}: the story came to no end; it came last to {last:?}", scenario.name)
                        };
                        Some(done.unwrap_or_else(stuck))
                    }
                    () = dead(pid) => None,
                }
            });
            if let (None, Some(done)) = (at, done) {
                done.unwrap();
            }
        }
        let status = self.home.wait_for_end();
        let killed = status.signal() == Some(9);
        assert!(
            status.success() || killed && at.is_some(),
            "{at:?}: {status}\n{}",
            self.home.log()
        );
        killed
    }

    /// A start after the kill that is killed as well.
    pub fn recover_and_die(&mut self, at: &str) {
        if self.spawn(Some(at)) {
            let (client, pid) = (self.home.client(), self.home.pid());
            // What the recovery itself does not come to is nobody's to wait for.
            self.runtime.block_on(async {
                tokio::select! {
                    _listed = client.list_sessions(pb::ListSessionsRequest::default()) => {}
                    () = dead(pid) => {}
                }
            });
            self.home.kill9();
        } else {
            self.home.wait_for_end();
        }
    }

    /// What recovery comes to.
    pub fn recovery_points(&mut self) -> BTreeSet<String> {
        assert!(self.spawn(None));
        let client = self.home.client();
        self.runtime.block_on(async {
            client
                .list_sessions(pb::ListSessionsRequest::default())
                .await
                .unwrap();
        });
        self.home.kill9();
        self.trace().into_iter().collect()
    }

    /// Starts once more, and looks at everything.
    pub fn verify(&mut self, what: &str) {
        assert!(self.spawn(None), "{what}: it starts again\n{}", self.home.log());
        std::fs::write(self.home.project().join("go"), "").unwrap();
        let client = self.home.client();
        let sessions: Vec<String> = self.runtime.block_on(async {
            let list = client
                .list_sessions(pb::ListSessionsRequest::default())
                .await
                .unwrap();
            list.sessions.into_iter().map(|s| s.session_id).collect()
        });
        for (request, answer) in self.told.posts.lock().unwrap().iter() {
            let again = self
                .runtime
                .block_on(client.post_message(request.clone()))
                .unwrap();
            assert_eq!(&again, answer, "{what}: the same request has the same answer");
        }
        for (request, answer) in self.told.starts.lock().unwrap().iter() {
            let again = self.runtime.block_on(client.start_exec(request.clone())).unwrap();
            assert_eq!(&again, answer, "{what}: the same request has the same answer");
        }
        for session in &sessions {
            self.runtime.block_on(self.verify_session(&client, session, what));
        }
        self.verify_files(what);
    }

    async fn verify_session(&self, client: &Client, session: &str, what: &str) {
        let resume = pb::ResumeSessionRequest {
            request_id: id(),
            session_id: session.into(),
        };
        // Most are not paused.
        let _awake = client.resume_session(resume).await;
        // What nobody would end: it waits for input or sleeps.
        for event in events(client, session).await {
            if let Some(Body::ExecStarted(exec)) = event.body {
                let request = pb::InterruptExecRequest {
                    session_id: session.into(),
                    exec_id: exec.exec_id,
                };
                // Most are over.
                let _over = client.interrupt_exec(request).await;
            }
        }
        let log = settled(client, session, what).await;
        let seqs: Vec<u64> = log.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{what}: dense");
        let ran = std::fs::read_to_string(self.home.project().join("ran")).unwrap_or_default();
        let ran: Vec<&str> = ran.lines().collect();
        let unique: BTreeSet<&str> = ran.iter().copied().collect();
        assert_eq!(unique.len(), ran.len(), "{what}: nothing ran twice: {ran:?}");
        let mut scripts = BTreeMap::new();
        let (mut calls, mut turns) = (BTreeMap::<String, i32>::new(), BTreeMap::<String, i32>::new());
        for event in &log {
            match event.body.as_ref().unwrap() {
                Body::ExecStarted(exec) => {
                    scripts.insert(exec.exec_id.clone(), exec.script.clone());
                }
                Body::ExecFinished(end) => {
                    let script = scripts.remove(&end.exec_id).expect("each run ends once");
                    let result = end.result.as_ref().unwrap();
                    if let Some(told) = self.told.ends.lock().unwrap().get(&end.exec_id) {
                        assert_eq!(*told, result.exit_code, "{what}: what was told stays true");
                    }
                    let mark = script
                        .split(" >>/ran")
                        .next()
                        .and_then(|s| s.strip_prefix("echo "));
                    if let Some(mark) = mark.filter(|_| script.contains(" >>/ran")) {
                        let knows = !result.unknown && !matches!(result.exit_code, 125 | 126 | 130);
                        if ran.contains(&mark) {
                            assert!(
                                !result.unknown,
                                "{what}: {mark} ran, its jail lived, and its end is lost"
                            );
                        } else {
                            assert!(
                                !knows,
                                "{what}: {mark} is said to have ended and never ran: {result:?}"
                            );
                        }
                    }
                }
                Body::ToolCallStarted(start) => {
                    *calls
                        .entry(start.call.as_ref().unwrap().call_id.clone())
                        .or_default() += 1;
                }
                Body::ToolCallFinished(end) => *calls.entry(end.call_id.clone()).or_default() -= 1,
                Body::TurnStarted(turn) => *turns.entry(turn.turn_id.clone()).or_default() += 1,
                Body::TurnFinished(turn) => *turns.entry(turn.turn_id.clone()).or_default() -= 1,
                _ => {}
            }
        }
        assert!(scripts.is_empty(), "{what}: {scripts:?} have no end");
        assert!(
            calls.values().chain(turns.values()).all(|n| *n == 0),
            "{what}: {calls:?} {turns:?}"
        );
        let exec = pb::ExecRequest {
            request_id: id(),
            session_id: session.into(),
            command: Some(command("echo fine")),
            ..Default::default()
        };
        let fine = client.exec(exec).await.unwrap();
        assert_eq!(fine.stdout, b"fine\n", "{what}: {fine:?}");
    }

    fn verify_files(&mut self, what: &str) {
        let stop = pb::StopDaemonRequest { keep_jails: false };
        let client = self.home.client();
        self.runtime.block_on(client.stop_daemon(stop)).unwrap();
        assert!(self.home.wait_for_end().success());
        assert_eq!(
            self.home.processes(),
            std::collections::BTreeSet::new(),
            "{what}: no process is left"
        );
        let mut litter = Vec::new();
        walk(&self.home.project(), &mut litter);
        litter.retain(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let ours = [
                "ran",
                "begun",
                "go",
                "gone",
                "note.txt",
                "here.txt",
                "there.txt",
                "moved",
            ];
            !ours.contains(&name) && !path.components().any(|c| c.as_os_str() == ".git")
        });
        assert_eq!(litter, Vec::<PathBuf>::new(), "{what}: the project is as it was");
        if self.home.project().join(".git").exists() {
            let kept = ["here.txt", "moved/there.txt"].map(|name| self.home.project().join(name).exists());
            assert!(
                kept.contains(&true),
                "{what}: a file that was to be moved is nowhere"
            );
        }
        let mut state = Vec::new();
        walk(&self.home.state(), &mut state);
        for path in &state {
            let name = path.file_name().unwrap().to_str().unwrap();
            let last = name.rsplit('.').next().unwrap();
            let bad = ["sorting", "tmp", "new", "state"].contains(&last)
                || last.len() > 1 && last.bytes().all(|b| b.is_ascii_digit())
                || name == "jail.json";
            assert!(!bad, "{what}: {} was left behind", path.display());
        }
        let database = rusqlite::Connection::open(self.home.state().join("agentd.db")).unwrap();
        let one = |sql: &str| {
            database
                .query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        assert_eq!(one("PRAGMA integrity_check"), "ok", "{what}");
        let points = one("SELECT count(*) || '' FROM mount_points");
        assert_eq!(points, "0", "{what}: the journal of mount points is clean");
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        }
    }
}

/// Comes when a process has ended.
async fn dead(pid: u32) {
    let stat = format!("/proc/{pid}/stat");
    loop {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        let state = text.rsplit(") ").next().and_then(|s| s.chars().next());
        if matches!(state, None | Some('Z')) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

pub fn command(script: &str) -> pb::ExecCommand {
    pb::ExecCommand {
        script: script.as_bytes().to_vec(),
        ..Default::default()
    }
}

fn start(session: &str, script: &str) -> pb::StartExecRequest {
    pb::StartExecRequest {
        request_id: id(),
        session_id: session.into(),
        command: Some(command(script)),
    }
}

async fn create(
    client: &Client,
    project: &Path,
    name: &str,
    shell: pb::ShellKind,
) -> Result<String, ClientError> {
    let request = pb::CreateSessionRequest {
        request_id: id(),
        name: name.into(),
        workspace: project.display().to_string(),
        layout: pb::Layout::Root.into(),
        shell: shell.into(),
        ..Default::default()
    };
    Ok(client.create_session(request).await?.session.unwrap().session_id)
}

pub async fn events(client: &Client, session: &str) -> Vec<pb::Event> {
    let mut all: Vec<pb::Event> = Vec::new();
    loop {
        let request = pb::ListEventsRequest {
            session_id: session.into(),
            after_seq: all.last().map_or(0, |e| e.seq),
            ..Default::default()
        };
        let answer = client.list_events(request).await.unwrap();
        if answer.events.is_empty() {
            return all;
        }
        all.extend(answer.events);
    }
}

/// The log once nothing in it is open: the ends of what was interrupted come in a moment.
async fn settled(client: &Client, session: &str, what: &str) -> Vec<pb::Event> {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let log = events(client, session).await;
        let mut open = 0;
        for event in &log {
            match event.body {
                Some(Body::ExecStarted(_) | Body::ToolCallStarted(_) | Body::TurnStarted(_)) => open += 1,
                Some(Body::ExecFinished(_) | Body::ToolCallFinished(_) | Body::TurnFinished(_)) => open -= 1,
                _ => {}
            }
        }
        if open == 0 {
            return log;
        }
        assert!(
            std::time::Instant::now() < until,
            "{what}: {open} things stay open: {log:#?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads a run to its end, and remembers what was told.
async fn read(client: &Client, told: &Told, session: &str, exec: &str) -> Result<i32, ClientError> {
    let request = pb::ReadOutputRequest {
        session_id: session.into(),
        exec_id: exec.into(),
        follow: true,
        ..Default::default()
    };
    let mut output = client.read_output(request).await?;
    while let Some(update) = output.next().await {
        if let Update::Item(Item::Result(result)) = update? {
            told.ends.lock().unwrap().insert(exec.into(), result.exit_code);
            return Ok(result.exit_code);
        }
    }
    panic!("an output ends with its result");
}

struct Story<'a> {
    client: &'a Client,
    told: &'a Told,
    session: String,
}

impl Story<'_> {
    async fn begin(&self, script: &str, stdin: pb::StdinMode) -> Result<String, ClientError> {
        let mut request = start(&self.session, script);
        request.command.as_mut().unwrap().stdin = stdin.into();
        let answer = self.client.start_exec(request.clone()).await?;
        let exec = answer.exec_id.clone();
        self.told.starts.lock().unwrap().push((request, answer));
        Ok(exec)
    }

    async fn end(&self, exec: &str) -> Result<i32, ClientError> {
        read(self.client, self.told, &self.session, exec).await
    }

    async fn run(&self, script: &str) -> Result<i32, ClientError> {
        let exec = self.begin(script, pb::StdinMode::None).await?;
        self.end(&exec).await
    }

    async fn input(&self, exec: &str, text: &str) -> Done {
        let request = pb::WriteInputRequest {
            session_id: self.session.clone(),
            exec_id: exec.into(),
            data: text.as_bytes().to_vec().into(),
            ..Default::default()
        };
        self.client.write_input(request).await.map(drop)
    }

    async fn jobs(&self) -> Result<Vec<pb::Job>, ClientError> {
        let request = pb::ListJobsRequest {
            session_id: self.session.clone(),
        };
        Ok(self.client.list_jobs(request).await?.jobs)
    }

    /// Follows the session until a command waits for input after this line.
    async fn waits(&self, line: &str) -> Done {
        let subscription = pb::WatchSubscription {
            session_id: self.session.clone(),
            ..Default::default()
        };
        let mut watch = self.client.watch_session(subscription).await?;
        while let Some(update) = watch.next().await {
            if let Update::Item(pb::watch_item::Item::Session(session)) = update?
                && session.waiting.is_some_and(|wait| wait.line == line)
            {
                return Ok(());
            }
        }
        panic!("a watch does not end");
    }

    async fn turn(&self, model: &str, prompt: &str) -> Done {
        let request = pb::PostMessageRequest {
            request_id: id(),
            session_id: self.session.clone(),
            parts: vec![pb::Part {
                part: Some(pb::part::Part::Text(prompt.into())),
            }],
            model: model.into(),
            ..Default::default()
        };
        let answer = self.client.post_message(request.clone()).await?;
        self.told.posts.lock().unwrap().push((request, answer));
        let mut watch = self
            .client
            .watch_session(pb::WatchSubscription {
                session_id: self.session.clone(),
                ..Default::default()
            })
            .await?;
        while let Some(update) = watch.next().await {
            if let Update::Item(pb::watch_item::Item::Event(event)) = update?
                && matches!(event.body, Some(Body::TurnFinished(_)))
            {
                return Ok(());
            }
        }
        panic!("a watch does not end");
    }
}

/// Waits for a file, or for a word in one.
async fn seen(path: &Path, word: &str) {
    loop {
        if std::fs::read_to_string(path).is_ok_and(|text| text.contains(word)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// A port of the jail opened here and tried, a port of this machine let in and closed.
async fn through_doors(client: &Client, session: &str, trace: &Path) -> Done {
    let forward = pb::ForwardPortRequest {
        request_id: id(),
        session_id: session.into(),
        port: 4567,
        local_port: 0,
    };
    let door = client.forward_port(forward).await?.door.unwrap();
    let local = u16::try_from(door.local_port).unwrap();
    let _closed = tokio::net::TcpStream::connect(("127.0.0.1", local)).await;
    seen(trace, "hear-dialled:after").await;
    let ask = pb::RequestHostPortRequest {
        request_id: id(),
        session_id: session.into(),
        port: 45_678,
    };
    let asked = client.request_host_port(ask).await?.approval_id;
    let answer = pb::ResolveApprovalRequest {
        request_id: id(),
        approval_id: asked,
        decision: pb::ApprovalDecision::ApprovedOnce.into(),
        ..Default::default()
    };
    client.resolve_approval(answer).await?;
    let open = || pb::GetNetworkRequest {
        session_id: session.into(),
    };
    while client.get_network(open()).await?.doors.len() < 2 {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let close = pb::ClosePortRequest {
        request_id: id(),
        session_id: session.into(),
        direction: pb::PortDirection::Host.into(),
        port: 45_678,
    };
    client.close_port(close).await?;
    seen(trace, "send-unlisten:after").await;
    Ok(())
}

async fn act(name: &str, client: &Client, project: &Path, trace: &Path, model: &str, told: &Told) -> Done {
    let story = async |shell| {
        Ok::<_, ClientError>(Story {
            client,
            told,
            session: create(client, project, name, shell).await?,
        })
    };
    match name {
        "turn" => {
            let s = story(pb::ShellKind::Sh).await?;
            s.turn("demo/demo", "demo:\nrun echo one >>/ran; seq 20\nwrite note.txt a\nrun echo two >>/ran; (exit 2)\nwrite note.txt b").await?;
            let exec = s
                .begin(
                    "echo three >>/ran; read x; seq 1 30000; (exit 3)",
                    pb::StdinMode::Open,
                )
                .await?;
            s.input(&exec, "typed\n").await?;
            assert_eq!(s.end(&exec).await?, 3);
            let exec = s
                .begin("echo four >>/ran; touch /begun; sleep 1000", pb::StdinMode::None)
                .await?;
            seen(&project.join("begun"), "").await;
            let request = pb::InterruptExecRequest {
                session_id: s.session.clone(),
                exec_id: exec.clone(),
            };
            client.interrupt_exec(request).await?;
            s.end(&exec).await?;
        }
        "terminal" => {
            let s = story(pb::ShellKind::Bash).await?;
            let size = Some(pb::PtySize {
                columns: 80,
                rows: 24,
            });
            let request = pb::OpenShellRequest {
                request_id: id(),
                session_id: s.session.clone(),
                size,
                ..Default::default()
            };
            let exec = client.open_shell(request).await?.exec_id;
            let request = pb::ResizePtyRequest {
                session_id: s.session.clone(),
                exec_id: exec.clone(),
                size: Some(pb::PtySize {
                    columns: 100,
                    rows: 30,
                }),
            };
            client.resize_pty(request).await?;
            s.input(&exec, "A=kept; exit\n").await?;
            s.end(&exec).await?;
            assert_eq!(s.run("echo one >>/ran; [ \"$A\" = kept ]").await?, 0);
            s.run("echo two >>/ran; .() { :; }").await?;
            seen(trace, "send-heal:after").await;
            s.run("echo three >>/ran").await?;
            let killer = "p=$$; (while ! [ -e /go ]; do sleep 0.01; done; kill -9 $p; touch /gone) >/dev/null 2>&1 & :";
            // A shell that dies while it says its state is known to be gone by that: then another one has to die.
            while !std::fs::read_to_string(trace)
                .unwrap()
                .contains("hear-shell-gone:after")
            {
                s.run(killer).await?;
                std::fs::write(project.join("go"), "").unwrap();
                seen(&project.join("gone"), "").await;
                for file in ["go", "gone"] {
                    std::fs::remove_file(project.join(file)).unwrap();
                }
                s.run("true").await?;
            }
            assert_eq!(s.run("echo four >>/ran").await?, 0);
            // Somebody cleans the project outside: the mounts are gone.
            std::fs::remove_dir(project.join("usr")).unwrap();
            assert_eq!(s.run("echo five >>/ran").await?, 0);
            let pause = pb::PauseSessionRequest {
                request_id: id(),
                session_id: s.session.clone(),
                reason: String::new(),
            };
            client.pause_session(pause).await?;
            seen(trace, "send-freeze:after").await;
            let resume = pb::ResumeSessionRequest {
                request_id: id(),
                session_id: s.session.clone(),
            };
            client.resume_session(resume).await?;
            seen(trace, "send-thaw:after").await;
            assert_eq!(s.run("echo six >>/ran").await?, 0);
        }
        "rest" => {
            let s = story(pb::ShellKind::Sh).await?;
            s.run("echo one >>/ran; sleep 1000 >/dev/null 2>&1 &").await?;
            seen(trace, "hear-busy:after").await;
            s.run("echo two >>/ran; kill $!; wait $!").await?;
            seen(trace, "hear-resting:after").await;
            assert_eq!(s.run("echo three >>/ran").await?, 0);
        }
        "jobs" => {
            let s = story(pb::ShellKind::Sh).await?;
            s.run("echo one >>/ran; sleep 1000 >/dev/null 2>&1 &").await?;
            let jobs = s.jobs().await?;
            assert_eq!(jobs.len(), 1, "{jobs:?}");
            let request = pb::EndJobRequest {
                session_id: s.session.clone(),
                exec_id: jobs[0].exec_id.clone(),
            };
            client.end_job(request).await?;
            while !s.jobs().await?.is_empty() {}
            let exec = s
                .begin(
                    "printf 'sure? '; read x; echo two >>/ran; test $x = yes",
                    pb::StdinMode::Open,
                )
                .await?;
            s.waits("sure?").await?;
            s.input(&exec, "yes\n").await?;
            assert_eq!(s.end(&exec).await?, 0);
        }
        "frame" => {
            let credential = pb::SetCredentialRequest {
                provider: "openai".into(),
                api_key: "sk-crash-0123456789abcdef".into(),
            };
            client.set_credential(credential).await?;
            let code = client
                .create_pairing(pb::CreatePairingRequest::default())
                .await?
                .code;
            let redeem = pb::RedeemPairingRequest {
                code,
                device_name: "phone".into(),
            };
            client.redeem_pairing(redeem).await?;
            let s = story(pb::ShellKind::Sh).await?;
            s.run("echo one >>/ran; echo ../x >/.git/commondir").await?;
            s.turn(model, "move it").await?;
            assert_eq!(
                std::fs::read_to_string(project.join("moved/there.txt")).unwrap(),
                "new\n"
            );
        }
        "network" => {
            let s = story(pb::ShellKind::Sh).await?;
            s.run("echo one >>/ran").await?;
            let set = pb::SetNetworkRequest {
                request_id: id(),
                session_id: s.session.clone(),
                mode: pb::NetworkMode::List.into(),
            };
            client.set_network(set).await?;
            assert_eq!(s.run("echo two >>/ran; [ -n \"$https_proxy\" ]").await?, 0);
            through_doors(client, &s.session, trace).await?;
            assert_eq!(s.run("echo three >>/ran").await?, 0);
        }
        "adopt" => {
            let list = client.list_sessions(pb::ListSessionsRequest::default()).await?;
            let session = list.sessions[0].session_id.clone();
            let s = Story {
                client,
                told,
                session,
            };
            let log = events(client, &s.session).await;
            let exec = log.iter().find_map(|e| match &e.body {
                Some(Body::ExecStarted(exec)) => Some(exec.exec_id.clone()),
                _ => None,
            });
            std::fs::write(project.join("go"), "").unwrap();
            assert_eq!(s.end(&exec.unwrap()).await?, 3);
        }
        other => panic!("{other}"),
    }
    // It may be gone before its answer is here.
    let _stopping = client
        .stop_daemon(pb::StopDaemonRequest { keep_jails: false })
        .await;
    Ok(())
}
