//! Owns: a model's interactive command: seen to wait, answered by a person, its result read by the model.
//! Guarantees: the real daemon, jail and terminal; the model is a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod model_server;
mod support;

use agentd_proto::pb::{self, event::Body, watch_item::Item};
use agentd_proto::resume::Update;
use model_server::{call, serve, stop, text, whole};
use support::TestDaemon;

#[test]
fn a_person_answers_what_the_models_command_asks() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let arguments = serde_json::json!({"command": "test -t 0 && printf 'name? '; read n; echo hello $n", "interactive": true});
    let server = runtime.block_on(serve(vec![
        whole(&[call(0.into(), "c1", "exec", &arguments.to_string()), stop()]),
        whole(&[text("done"), stop()]),
        whole(&[call(0.into(), "c2", "exec", &arguments.to_string()), stop()]),
        whole(&[text("alone"), stop()]),
    ]));
    let mut home = TestDaemon::home();
    home.config(&format!(
        "[providers.p]\nbase_url = \"{}\"\napi = \"chat\"\nauth = \"none\"\n[models.\"p/m\"]\ncontext_tokens = 128000\n",
        server.base
    ));
    home.spawn();
    home.ctl(["run", "-d", "--name", "m", "--model", "p/m", "ask me"])
        .exits(0);
    let client = home.client();
    runtime.block_on(async {
        let subscription = pb::WatchSubscription {
            session_id: "m".into(),
            ..Default::default()
        };
        let mut watch = client.watch_session(subscription).await.unwrap();
        let (mut answered, mut ended) = (false, false);
        while !ended {
            match watch.next().await.unwrap().unwrap() {
                Update::Item(Item::Session(session)) => {
                    let Some(wait) = session.waiting.clone().filter(|_| !answered) else {
                        continue;
                    };
                    assert_eq!(session.state(), pb::SessionState::NeedsYou);
                    assert_eq!(
                        (wait.line.as_str(), wait.pty, wait.call_id.as_str()),
                        ("name?", true, "c1")
                    );
                    let request = pb::WriteInputRequest {
                        session_id: session.session_id,
                        exec_id: wait.exec_id,
                        data: b"ana\r".to_vec().into(),
                        writer: "another client".into(),
                        ..Default::default()
                    };
                    client.write_input(request).await.unwrap();
                    answered = true;
                }
                Update::Item(Item::Event(event)) => match event.body {
                    Some(Body::ExecStarted(exec)) => assert!(exec.pty),
                    Some(Body::TurnFinished(_)) => ended = true,
                    _ => {}
                },
                _ => {}
            }
        }
        assert!(answered);
    });
    let second = server.script.lock().unwrap().1[1].1["messages"].to_string();
    assert!(second.contains("hello ana"), "{second}");
    // Where nobody is there to type, the model is told so at once.
    home.ctl([
        "run",
        "-s",
        "m",
        "--model",
        "p/m",
        "--on-approval",
        "deny",
        "again",
    ])
    .exits(0);
    let last = server.script.lock().unwrap().1[3].1["messages"].to_string();
    assert!(last.contains("Nobody is there to type"), "{last}");
}
