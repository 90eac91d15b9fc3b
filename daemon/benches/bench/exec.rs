//! Owns: what a command costs beside its own work: the round trip and its parts, and a burst of output.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd::domain::event::{EventBody, NewEvent};
use agentd::domain::id::SessionId;
use agentd::domain::principal::{Caller, Client as ClientKind};
use agentd::domain::redaction::LogLevel;
use agentd::domain::session::Session;
use agentd::store::redact::Redactor;
use agentd::store::{Append, Store};
use agentd_proto::pb::read_output_response::Item;
use agentd_proto::resume::Update;
use agentd_proto::{id, pb};

use super::figures::Size;
use super::report::{Report, Times, mb, ms};
use super::rig::{self, Wal};
use super::support::TestDaemon;

/// A shell behind two pipes: the floor.
fn pipe(rounds: usize) -> Times {
    let mut shell = Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    let times = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            input.write_all(b"true\necho $?\n").unwrap();
            line.clear();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "0\n");
            begun.elapsed()
        })
        .collect();
    drop(input);
    shell.wait().unwrap();
    Times::of(times)
}

/// The least a call over the socket takes: the standard health check.
async fn unary(home: &TestDaemon, rounds: usize) -> Times {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let mut client = HealthClient::new(rig::channel(home).await);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        client.check(HealthCheckRequest::default()).await.unwrap();
        times.push(begun.elapsed());
    }
    Times::of(times)
}

/// One event through the daemon's own store.
pub async fn commit(dir: &Path, rounds: usize) -> Times {
    let mut log = Log::open(&dir.join("agentd.db")).await;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        log.append(1).await;
        times.push(begun.elapsed());
    }
    log.store.close().await;
    Times::of(times)
}

/// A log written without a daemon.
pub struct Log {
    store: Store,
    session: Session,
}

impl Log {
    /// A database with one session, about nothing.
    async fn open(file: &Path) -> Self {
        let store = store(file);
        let id = SessionId::random();
        let spec = serde_json::json!({
            "name": "bench", "principal": "ana",
            "workspace": {"root": "/work", "start_dir": "", "layout": "host", "layout_reason": "made by the bench"},
            "shell": "sh", "jail": "bwrap", "origin": "shell", "model": null, "persona": "default", "policy_generation": 1
        });
        let body = EventBody::SessionCreated(serde_json::from_value(spec).unwrap());
        let sealed = store.seal(&id, LogLevel::Full, 0, vec![fact(body)]).unwrap();
        let session = Session::begin(&sealed.events()[0]).unwrap();
        let append = Append {
            session_id: id,
            expected_head: 0,
            sealed,
            summary: session.summary(),
            request: None,
            asker: None,
            open_calls: Vec::new(),
            begins_with: None,
            rewrites: Vec::new(),
        };
        store.append(append).await.unwrap();
        Self { store, session }
    }

    /// Takes up a session that a daemon made; it must be down.
    pub async fn of(file: &Path, session_id: &str) -> Self {
        let store = store(file);
        let id: SessionId = session_id.parse().unwrap();
        let events = store.events_after(&id, 0, 5000).await.unwrap();
        let mut session = Session::begin(&events[0]).unwrap();
        for event in &events[1..] {
            session.apply(event);
        }
        Self { store, session }
    }

    /// Appends so many events in one commit.
    pub async fn append(&mut self, count: usize) {
        let bodies = (0..count)
            .map(|number| {
                fact(EventBody::NoticeRecorded {
                    code: "bench".into(),
                    message: format!(
                        "event {number}: a sentence of the usual length, as a person reads it in a session"
                    ),
                })
            })
            .collect();
        let id = self.session.session_id.clone();
        let sealed = self
            .store
            .seal(&id, LogLevel::Full, self.session.head, bodies)
            .unwrap();
        let expected_head = self.session.head;
        for event in sealed.events() {
            self.session.apply(event);
        }
        let append = Append {
            session_id: id,
            expected_head,
            sealed,
            summary: self.session.summary(),
            request: None,
            asker: None,
            open_calls: Vec::new(),
            begins_with: None,
            rewrites: Vec::new(),
        };
        self.store.append(append).await.unwrap();
    }

    /// All of it is in the file.
    pub async fn close(self) {
        self.store.close().await;
    }
}

fn store(file: &Path) -> Store {
    Store::open(file, Arc::new(Redactor::new())).unwrap()
}

fn fact(body: EventBody) -> NewEvent {
    NewEvent {
        time_us: 1,
        caller: Caller {
            principal: "ana".into(),
            client: ClientKind::Cli,
            trace_id: "0".repeat(32),
            request_id: None,
        },
        body,
    }
}

struct Trips {
    all: Times,
    start: Times,
    commits: Option<f64>,
}

async fn trips(home: &TestDaemon, rounds: usize) -> Trips {
    let client = home.client();
    client.connect().await.unwrap();
    let mut session = String::new();
    let mut starts = Vec::new();
    for number in 0..rounds.div_ceil(100) {
        session = rig::session(home, &client, &format!("trips{number}")).await;
        let begun = Instant::now();
        rig::exec(&client, &session, "true").await;
        starts.push(begun.elapsed());
    }
    let before = Wal::read(home);
    let few = 10;
    for _ in 0..few {
        rig::exec(&client, &session, "true").await;
    }
    let commits = Wal::read(home).commits_since(&before);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        rig::exec(&client, &session, "true").await;
        times.push(begun.elapsed());
    }
    Trips {
        all: Times::of(times),
        start: Times::of(starts),
        commits: commits.map(|n| n as f64 / f64::from(few)),
    }
}

/// `exec true` against what it is made of.
pub async fn round_trip(size: &Size, report: &mut Report) {
    report.part(
        "A command that does nothing",
        "`Exec` of `true` through a connected client, one after another, against its parts measured in the same run: `true` in \
         a plain `sh` behind two pipes, the smallest unary call over the socket, and commits of one event by the daemon's own \
         store on the same disk (a start and an end must each be on disk before it is shown).",
    );
    let home = TestDaemon::start();
    let raw = pipe(size.rounds);
    let call = unary(&home, size.rounds).await;
    let place = tempfile::tempdir_in(home.path()).unwrap();
    let disk = commit(place.path(), size.rounds.min(200)).await;
    let found = trips(&home, size.rounds).await;
    drop(home);
    report.row("raw `sh` behind pipes", raw.shown(), "");
    report.row("unary call", call.shown(), "");
    report.row("one commit, on disk", disk.shown(), "");
    report.row("`exec true`, database on disk", found.all.shown(), "");
    let parts = raw.median() + call.median() + disk.median() * 2;
    let ratio = found.all.median().as_secs_f64() / parts.as_secs_f64();
    report.row(
        "against its parts (pipe + call + 2 commits)",
        format!("{ratio:.2} ×"),
        "≤ 2 ×",
    );
    let outside = found.all.median().saturating_sub(disk.median() * 2);
    report.row("outside of commits", ms(outside), "≤ 0.6 ms");
    if let Some(commits) = found.commits {
        report.row(
            "commits per command, the saved shell state included",
            format!("{commits:.1}"),
            "",
        );
    }
    report.row("jail start and first command", found.start.shown(), "≤ 40 ms");
    if let Some((mut home, place)) = rig::in_memory() {
        let dir = tempfile::tempdir_in(place.path()).unwrap();
        let quick = commit(dir.path(), size.rounds).await;
        home.spawn();
        let found = trips(&home, size.rounds).await;
        report.row("one commit, in memory (tmpfs)", quick.shown(), "");
        report.row("`exec true`, database in memory", found.all.shown(), "≤ 0.6 ms");
        let parts = raw.median() + call.median() + quick.median() * 2;
        let ratio = found.all.median().as_secs_f64() / parts.as_secs_f64();
        report.row("against its parts, in memory", format!("{ratio:.2} ×"), "≤ 2 ×");
        report.row(
            "jail start and first command, in memory",
            found.start.shown(),
            "≤ 40 ms",
        );
    }
}

/// A flood of output, end to end.
pub async fn burst(size: &Size, report: &mut Report) {
    report.part(
        "A burst of output",
        format!(
            "{} of zeros from `head`, followed by a client from the first byte; against the same command behind a plain pipe.",
            mb(size.burst)
        ),
    );
    let script = format!("head -c {} /dev/zero", size.burst);
    let begun = Instant::now();
    let mut plain = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = plain.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let length = output.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        total += length as u64;
    }
    plain.wait().unwrap();
    assert_eq!(total, size.burst);
    let raw = begun.elapsed();
    report.row("a plain pipe", rate(size.burst, raw), "");
    for (name, config) in [
        ("as configured by default", ""),
        ("everything kept", "[shell]\nmax_output = \"2GiB\"\n"),
    ] {
        let mut home = TestDaemon::home();
        home.config(config);
        home.spawn();
        let client = home.client();
        let session = rig::session(&home, &client, "burst").await;
        rig::exec(&client, &session, "true").await;
        let before = rig::resident(home.pid());
        let begun = Instant::now();
        let request = pb::StartExecRequest {
            request_id: id::request_id(),
            session_id: session.clone(),
            command: Some(pb::ExecCommand {
                script: script.clone().into_bytes(),
                ..Default::default()
            }),
        };
        let exec_id = client.start_exec(request).await.unwrap().exec_id;
        let request = pb::ReadOutputRequest {
            session_id: session.clone(),
            exec_id,
            follow: true,
            ..Default::default()
        };
        let mut output = client.read_output(request).await.unwrap();
        let mut received = 0;
        let result = loop {
            match output.next().await.unwrap().unwrap() {
                Update::Item(Item::Chunk(chunk)) => received += chunk.data.len() as u64,
                Update::Item(Item::Result(result)) => break result,
                _ => {}
            }
        };
        let took = begun.elapsed();
        assert_eq!(result.stdout_bytes, size.burst);
        let ratio = raw.as_secs_f64() / took.as_secs_f64();
        report.row(
            format!("agentd, {name}"),
            format!(
                "{}, {ratio:.2} × the pipe's; {} reached the client",
                rate(size.burst, took),
                mb(received)
            ),
            "≥ 400 MB/s",
        );
        let grown = rig::peak(home.pid()).saturating_sub(before);
        report.row(
            format!("memory of the daemon meanwhile, {name}"),
            format!("+{}", mb(grown)),
            "flat",
        );
    }
}

fn rate(bytes: u64, took: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / took.as_secs_f64())
}
