//! Owns: what holds when agentd is killed at any moment of a turn.
//! Guarantees: the moments are drawn from a seed and counted in observed events and output bytes, not in time;
//! `AGENTD_TEST_LONG=1` makes a thousand of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail in any way it likes"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;

use agentd_proto::pb::{self, event::Body, watch_item::Item};
use agentd_proto::resume::Update;
use support::{TestDaemon, until};

/// Five commands; each leaves one line when it runs, and the shell moves along.
const PROMPT: &str = "demo:
run echo one >>/ran; cd a; seq 200
run echo two >>/ran; pwd; sleep 0.03; seq 200
run echo three >>/ran; cd b; seq 200
write note.txt from the model
run echo four >>/ran; sleep 0.03; pwd
run echo five >>/ran
stream 30";

#[test]
fn whatever_the_moment_nothing_is_lost_and_nothing_runs_twice() {
    let long = std::env::var_os("AGENTD_TEST_LONG").is_some();
    let seed = std::env::var("AGENTD_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(7);
    // A kill is mostly waiting: in the long form four daemons are killed side by side.
    let (lanes, rounds): (u64, u32) = if long { (4, 250) } else { (1, 20) };
    let seen = Mutex::new(BTreeMap::<&str, u32>::new());
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let seen = &seen;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed + lane);
                let mut home = TestDaemon::start();
                std::fs::create_dir_all(home.project().join("a/b")).unwrap();
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .worker_threads(2)
                    .build()
                    .unwrap();
                for round in 0..rounds {
                    // An undisturbed turn gives about 35 updates.
                    let moment = random.usize(0..40);
                    let what = runtime.block_on(kill_at(&mut home, round, moment));
                    *seen.lock().unwrap().entry(what).or_default() += 1;
                }
            });
        }
    });
    let (seen, all) = (seen.into_inner().unwrap(), rounds * u32::try_from(lanes).unwrap());
    eprintln!("{all} kills, seed {seed}: {seen:?}");
    assert_eq!(seen.values().sum::<u32>(), all);
    assert!(
        seen.get("interrupted").copied().unwrap_or_default() * 2 > all,
        "{seen:?}"
    );
}

fn post(session: &str, request_id: &str, text: &str) -> pb::PostMessageRequest {
    pb::PostMessageRequest {
        request_id: request_id.into(),
        session_id: session.into(),
        parts: vec![pb::Part {
            part: Some(pb::part::Part::Text(text.into())),
        }],
        model: "demo/demo".into(),
        ..Default::default()
    }
}

async fn create(home: &TestDaemon, name: &str) -> String {
    let request = pb::CreateSessionRequest {
        request_id: uuid(),
        name: name.into(),
        workspace: home.project().display().to_string(),
        layout: pb::Layout::Root.into(),
        ..Default::default()
    };
    home.client()
        .create_session(request)
        .await
        .unwrap()
        .session
        .unwrap()
        .session_id
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn kill_at(home: &mut TestDaemon, round: u32, moment: usize) -> &'static str {
    let ran = home.project().join("ran");
    std::fs::write(&ran, "").unwrap();
    let session = create(home, &format!("round-{round}")).await;
    let client = home.client();
    let mut watch = client
        .watch_session(pb::WatchSessionRequest::default_subscription(&session))
        .await
        .unwrap();
    let request_id = uuid();
    let request = post(&session, &request_id, PROMPT);
    let answer = client.post_message(request.clone()).await.unwrap();
    let mut updates = 0;
    while updates < moment {
        match watch.next().await {
            Some(Ok(Update::Item(Item::Event(event)))) => {
                updates += 1;
                if matches!(event.body, Some(Body::TurnFinished(_))) {
                    break;
                }
            }
            Some(Ok(Update::Item(_))) => updates += 1,
            Some(Ok(_)) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
    home.kill9();
    drop(watch);
    home.restart();
    check(home, &session, &request, &answer, round).await
}

async fn check(
    home: &TestDaemon,
    session: &str,
    request: &pb::PostMessageRequest,
    answer: &pb::PostMessageResponse,
    round: u32,
) -> &'static str {
    let client = home.client();
    // The same request again gives the same answer and posts nothing.
    let again = client.post_message(request.clone()).await.unwrap();
    assert_eq!(&again, answer, "round {round}");
    // A command that outlived the daemon ends by itself, and its end is written.
    let waiting = home.ctl(["wait", session, "--timeout", "20s"]);
    assert_eq!(waiting.code, 0, "round {round}: {waiting}");
    let events = events(&client, session).await;
    let seqs: Vec<u64> = events.iter().map(|e| e.seq).collect();
    assert_eq!(
        seqs,
        (1..=seqs.len() as u64).collect::<Vec<_>>(),
        "round {round}: dense"
    );
    let posted = events
        .iter()
        .filter(|e| matches!(e.body, Some(Body::MessagePosted(_))))
        .count();
    assert_eq!(posted, 1, "round {round}");
    let mut outcome = None;
    let (mut started, mut finished) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
    for event in &events {
        match event.body.as_ref().unwrap() {
            Body::TurnFinished(end) => {
                assert_eq!(outcome, None, "round {round}: ends once");
                outcome = Some(end.outcome());
            }
            Body::ToolCallStarted(start) => {
                *started
                    .entry(start.call.as_ref().unwrap().call_id.clone())
                    .or_default() += 1;
            }
            Body::ToolCallFinished(end) => *finished.entry(end.call_id.clone()).or_default() += 1,
            _ => {}
        }
    }
    assert!(started.values().all(|n| *n == 1), "round {round}: {started:?}");
    assert_eq!(started, finished, "round {round}: every call has one end");
    let lines = std::fs::read_to_string(home.project().join("ran")).unwrap();
    let words: Vec<&str> = lines.lines().collect();
    let all = ["one", "two", "three", "four", "five"];
    assert_eq!(
        words,
        all[..words.len().min(5)],
        "round {round}: nothing ran twice or out of order"
    );
    // What the log says ran, ran: an acknowledged result is never lost.
    let with_result = events
        .iter()
        .filter(|e| matches!(&e.body, Some(Body::ExecFinished(end)) if !end.result.as_ref().unwrap().unknown))
        .count();
    assert!(
        words.len() >= with_result,
        "round {round}: {} < {with_result}",
        words.len()
    );
    // The shell is where the last finished command left it, in the old jail or a new one.
    if with_result >= 1 && words.len() < 3 {
        let place = home.ctl(["exec", "-s", session, "--", "pwd"]).exits(0).out();
        assert!(place.ends_with("/a\n"), "round {round}: {place}");
    }
    // The session is usable, and told of what happened.
    let next = home.ctl(["run", "-s", session, "--model", "demo", "demo: say again"]);
    assert_eq!(
        (next.code, next.out().trim()),
        (0, "again"),
        "round {round}: {next}"
    );
    match outcome {
        Some(pb::TurnOutcome::Interrupted) => "interrupted",
        Some(pb::TurnOutcome::Done) => "done",
        other => panic!("round {round}: {other:?}"),
    }
}

async fn events(client: &agentd_proto::Client, session: &str) -> Vec<pb::Event> {
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

trait Subscription {
    fn default_subscription(session: &str) -> pb::WatchSubscription;
}

impl Subscription for pb::WatchSessionRequest {
    fn default_subscription(session: &str) -> pb::WatchSubscription {
        pb::WatchSubscription {
            session_id: session.into(),
            previews: true,
            output: true,
            ..Default::default()
        }
    }
}

#[test]
fn a_question_survives_and_its_answer_moves_the_turn_on() {
    let mut home = TestDaemon::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    home.ctl([
        "run",
        "-d",
        "--on-approval",
        "wait",
        "--name",
        "q",
        "--model",
        "demo",
        "demo: run echo before\nask\nsay after",
    ])
    .exits(0);
    home.ctl(["wait", "q", "--for", "needs-you", "--timeout", "30s"])
        .exits(0);
    home.kill9();
    home.restart();
    let list = home.ctl(["approvals", "list", "-o", "json"]).exits(0).json();
    let id = list[0]["approval_id"]
        .as_str()
        .or_else(|| list[0]["id"].as_str())
        .unwrap()
        .to_owned();
    let show = home.ctl(["sessions", "show", "q", "-o", "json"]).exits(0).json();
    assert_eq!(
        show["state"].as_str().unwrap().replace('_', "-"),
        "needs-you",
        "{show}"
    );
    home.ctl(["approve", &id]).exits(0);
    home.ctl(["wait", "q", "--for", "done", "--timeout", "30s"])
        .exits(0);
    assert!(home.project().join("AGENTS.md").is_file());
    let events = runtime.block_on(events(&home.client(), "q"));
    let ends: Vec<_> = events
        .iter()
        .filter_map(|e| match &e.body {
            Some(Body::TurnFinished(end)) => Some(end.outcome()),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [pb::TurnOutcome::Done]);
}

#[test]
fn a_running_command_outlives_the_daemon_and_its_end_is_told() {
    let mut home = TestDaemon::start();
    std::fs::create_dir(home.project().join("a")).unwrap();
    home.ctl(["exec", "--name", "n", "--", "cd a; export V=kept; W=plain"])
        .exits(0);
    // It waits for a file, so the order of things is ours.
    let script = "echo begun; touch begun; while ! [ -e go ]; do sleep 0.02; done; echo over; exit_code() { return 9; }; exit_code";
    let mut command = home.agentctl(["--no-autostart", "exec", "--name", "n", "--", script]);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let begun = std::time::Instant::now();
    let child = command.spawn().unwrap();
    until("the command runs", || {
        home.project().join("a/begun").exists().then_some(())
    });
    home.kill9();
    home.restart();
    std::fs::write(home.project().join("a/go"), "").unwrap();
    // The client that was watching goes on watching.
    let ran = support::finish(child, "exec across a restart", begun).exits(9);
    assert_eq!(ran.out(), "begun\nover\n", "{ran}");
    assert_eq!(
        home.ctl(["exec", "--name", "n", "--", "echo $V $W; basename $PWD"])
            .exits(0)
            .out(),
        "kept plain\na\n"
    );
    // The jail goes as well: the state comes back from what was kept.
    until("the state is written", || {
        let status = home.ctl(["daemon", "status", "-o", "json"]).exits(0).json();
        (status["working_sessions"].as_u64().unwrap_or(0) == 0).then_some(())
    });
    home.ctl(["daemon", "stop"]).exits(0);
    home.forget_daemon();
    assert_eq!(
        home.ctl(["exec", "--name", "n", "--", "echo $V $W; basename $PWD"])
            .exits(0)
            .out(),
        "kept plain\na\n"
    );
}
