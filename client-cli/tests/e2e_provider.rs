//! Owns: turns against model servers through agentctl: an independent one (aimock) for both APIs, and broken ones.
//! Guarantees: servers listen on ports of their own on loopback; the key is exported by the client alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use support::{Ran, TestDaemon, run};

/// The independent server.
struct Aimock {
    child: Child,
    base: String,
}

impl Aimock {
    fn start(home: &TestDaemon, fixtures: &Value) -> Self {
        let missing =
            "AGENTD_TEST_AIMOCK and AGENTD_TEST_NODE are unset: make setup; set -a; . target/test-env";
        // Without the environment of `make test`: where setup.sh puts things.
        let place = |name: &str, usual: &str| {
            std::env::var(name).map_or_else(|_| home.bin().parent().unwrap().join(usual), Into::into)
        };
        let program =
            place("AGENTD_TEST_AIMOCK", "aimock").join("node_modules/@copilotkit/aimock/dist/cli.js");
        assert!(program.is_file(), "{missing}");
        let node = std::env::var("AGENTD_TEST_NODE").unwrap_or_else(|_| "node".into());
        let file = home.path().join("fixtures.json");
        std::fs::write(&file, fixtures.to_string()).unwrap();
        let mut child = home
            .command(node)
            .arg(program)
            .args(["-p", "0", "--strict", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect(missing);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()))
            .expect("aimock says where it listens");
        // It must never block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            base: format!("{}/v1", address.trim_end_matches('/')),
        }
    }

    fn journal(&self) -> Vec<Value> {
        let address = self.base.trim_start_matches("http://").trim_end_matches("/v1");
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /__aimock/journal HTTP/1.0\r\nhost: {address}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let start = body.find(['[', '{']).unwrap();
        let end = body.rfind([']', '}']).unwrap();
        let value: Value =
            serde_json::from_str(&body[start..=end]).unwrap_or_else(|e| panic!("{e}: {answer}"));
        value
            .as_array()
            .or_else(|| value["entries"].as_array())
            .unwrap()
            .clone()
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `run` with the key and the address in the client's environment only.
fn ask(home: &TestDaemon, base: &str, words: &[&str]) -> Ran {
    let mut command = home.agentctl(words);
    command
        .env("OPENAI_BASE_URL", base)
        .env("OPENAI_API_KEY", "sk-test-of-the-client");
    run(command, b"")
}

fn tool_turn(api: &str, path: &str) {
    let fixtures = json!({"fixtures": [
        {"match": {"userMessage": "count the lines", "hasToolResult": false},
         "response": {"content": "I look.", "toolCalls": [
            {"name": "exec", "arguments": "{\"command\":\"wc -l <data; echo ran >>proof\"}"}]}},
        {"match": {"userMessage": "count the lines", "hasToolResult": true},
         "response": {"content": "There are three lines."}}
    ]});
    let mut home = TestDaemon::home();
    home.config(&format!("[providers.openai]\napi = \"{api}\"\n"));
    home.spawn();
    std::fs::write(home.project().join("data"), "a\nb\nc\n").unwrap();
    let server = Aimock::start(&home, &fixtures);
    let ran = ask(
        &home,
        &server.base,
        &[
            "run",
            "--model",
            "openai/gpt-test",
            "--name",
            "n",
            "count the lines",
        ],
    )
    .exits(0);
    assert_eq!(ran.out(), "There are three lines.\n", "{ran}");
    assert_eq!(
        std::fs::read_to_string(home.project().join("proof")).unwrap(),
        "ran\n",
        "the tool ran, once"
    );
    let journal = server.journal();
    let asked: Vec<&Value> = journal
        .iter()
        .filter(|e| e["path"].as_str().is_some_and(|p| p.contains(path)))
        .collect();
    assert_eq!(asked.len(), 2, "{journal:#?}");
    let second = asked[1].to_string();
    // The tool's answer went back with the call it answers.
    assert!(
        second.contains("exit code 0") && second.contains("I look."),
        "{second}"
    );
    assert!(asked[0].to_string().contains("gpt-test"));
    // Usage is in the log, and the tokens are not zero.
    let show = home.ctl(["sessions", "show", "n", "-o", "json"]).exits(0).json();
    assert!(show["total_tokens"].as_u64().is_some(), "{show}");
    // jsonl of a second run ends as it should.
    let ran = ask(
        &home,
        &server.base,
        &[
            "run",
            "--model",
            "openai/gpt-test",
            "--new",
            "-o",
            "jsonl",
            "count the lines",
        ],
    );
    let lines = ran.exits(0).lines();
    assert_eq!(lines.last().unwrap()["outcome"], "done");
}

#[test]
fn an_independent_server_drives_the_tools_over_chat_completions() {
    tool_turn("chat", "/chat/completions");
}

#[test]
fn an_independent_server_drives_the_tools_over_responses() {
    tool_turn("responses", "/responses");
}

/// A server that treats every request alike; counts them.
fn broken(
    answer: impl Fn(&mut TcpStream, u32) -> std::io::Result<()> + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let (answer, counter) = (Arc::new(answer), count.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, counter) = (answer.clone(), counter.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                if read_request(&mut stream).is_some() {
                    let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                    // The client may leave whenever it has had enough.
                    answer(&mut stream, number).ok();
                }
            });
        }
    });
    (base, count)
}

/// Reads head and body; `None` for a connection without a request.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(head)
}

fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn error(message: &str) -> String {
    json!({"error": {"message": message, "type": "some_error", "code": null}}).to_string()
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn delta(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})
    )
}

/// Runs against a broken server: fails with its message, after so many requests; the session is usable after.
fn fails(base: &str, count: &AtomicU32, code: i32, requests: std::ops::RangeInclusive<u32>, message: &str) {
    let home = TestDaemon::start();
    let ran = ask(
        &home,
        base,
        &["run", "--model", "openai/gpt-test", "--name", "n", "hello"],
    )
    .exits(code);
    assert!(
        requests.contains(&count.load(Ordering::SeqCst)),
        "{} requests: {ran}",
        count.load(Ordering::SeqCst)
    );
    assert!(
        ran.err().contains("error: ") && ran.err().contains("next:"),
        "{ran}"
    );
    assert!(ran.err().contains(message), "no {message:?}: {ran}");
    // Each retry is told when it happens, and is in the log.
    let asked = count.load(Ordering::SeqCst);
    assert_eq!(
        ran.err().contains("trying again") || ran.err().contains("retry"),
        asked > 1,
        "{ran}"
    );
    let show = home.ctl(["sessions", "show", "n", "-o", "json"]).exits(0).json();
    assert_eq!(show["state"], "failed", "{show}");
    home.ctl(["run", "-s", "n", "--model", "demo", "demo: say usable"])
        .exits(0);
}

#[test]
fn a_rejected_key_fails_at_once_with_the_providers_words() {
    let (base, count) = broken(|s, _| reply(s, "401 Unauthorized", "", &error("this key was revoked")));
    fails(&base, &count, 4, 1..=1, "this key was revoked");
}

#[test]
fn too_many_requests_are_retried_as_told_and_then_given_up() {
    let (base, count) = broken(|s, _| {
        reply(
            s,
            "429 Too Many Requests",
            "retry-after: 0\r\n",
            &error("slow down, please"),
        )
    });
    fails(&base, &count, 11, 2..=8, "slow down, please");
}

#[test]
fn a_server_that_recovers_gives_the_answer() {
    let (base, count) = broken(|s, n| {
        if n == 1 {
            return reply(
                s,
                "429 Too Many Requests",
                "retry-after: 0\r\n",
                &error("slow down, please"),
            );
        }
        s.write_all(STREAM.as_bytes())?;
        s.write_all(delta("all is well").as_bytes())?;
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        write!(s, "data: {end}\n\ndata: [DONE]\n\n")
    });
    let home = TestDaemon::start();
    let ran = ask(&home, &base, &["run", "--model", "openai/gpt-test", "hello"]).exits(0);
    assert_eq!(ran.out(), "all is well\n", "{ran}");
    assert!(
        ran.err().contains("slow down, please"),
        "the retry is visible: {ran}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_server_error_is_retried_and_then_told() {
    let (base, count) = broken(|s, _| {
        reply(
            s,
            "500 Internal Server Error",
            "",
            &error("the cluster is on fire"),
        )
    });
    fails(&base, &count, 11, 2..=8, "the cluster is on fire");
}

#[test]
fn garbage_is_not_an_answer() {
    let (base, count) = broken(|s, _| {
        s.write_all(STREAM.as_bytes())?;
        s.write_all(b"data: {\"choices\": [{\"delta\": {\"cont\n\ndata: <html>\n\n")
    });
    fails(&base, &count, 11, 1..=8, "");
}

#[test]
fn an_empty_stream_is_not_an_answer() {
    let (base, count) = broken(|s, _| {
        s.write_all(STREAM.as_bytes())?;
        s.write_all(b"data: [DONE]\n\n")
    });
    fails(&base, &count, 11, 1..=8, "");
}

#[test]
fn a_cut_stream_is_not_an_answer() {
    let (base, count) = broken(|s, _| {
        s.write_all(STREAM.as_bytes())?;
        s.write_all(delta("half a sen").as_bytes())
    });
    fails(&base, &count, 11, 1..=8, "");
}

#[test]
fn an_endless_stream_ends() {
    let (base, count) = broken(|s, _| {
        s.write_all(STREAM.as_bytes())?;
        // Never twice the same: that would end it sooner.
        for from in (0..).step_by(6000) {
            let words: String = (from..from + 6000).map(|n| format!("on and {n} ")).collect();
            s.write_all(delta(&words).as_bytes())?;
        }
        Ok(())
    });
    fails(&base, &count, 11, 1..=8, "");
}

#[test]
fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let home = TestDaemon::start();
    let ran = ask(
        &home,
        &format!("http://{address}/v1"),
        &["run", "--model", "openai/gpt-test", "hello"],
    )
    .exits(11);
    assert!(
        ran.err().contains(&address) && ran.err().contains("next:"),
        "{ran}"
    );
}
