//! Owns: what stands in a model's context, through agentctl and a server that plays a part by the model's name.
//! Guarantees: the server is real and on loopback; what is compared is the bytes that it got.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{Ran, TestDaemon, run};

/// What the server says to a request.
enum Said {
    /// Words.
    Words(String),
    /// Tool calls, each with its arguments.
    Calls(Vec<(&'static str, String)>),
    /// A refusal.
    No(u16, Value),
}

type Bodies = Arc<Mutex<Vec<String>>>;

/// A server for Chat Completions; gives its address and what it was sent. `part` gets the body and its number.
fn serve(part: impl Fn(&Value, usize) -> Said + Send + Sync + 'static) -> (String, Bodies) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let bodies = Bodies::default();
    let (part, kept) = (Arc::new(part), bodies.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (part, kept) = (part.clone(), kept.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let Some((line, body)) = body_of(&stream) else {
                    return;
                };
                if line.starts_with("GET ") {
                    let list = json!({"data": [{"id": "served", "max_model_len": 65_536}]});
                    reply(&mut stream, 200, &list).ok();
                    return;
                }
                let value: Value = serde_json::from_str(&body).unwrap_or_default();
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(body);
                    kept.len()
                };
                // The client may leave whenever it has had enough.
                say(&mut stream, part(&value, number), number).ok();
            });
        }
    });
    (base, bodies)
}

/// The first line of a request, and its body.
fn body_of(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).ok()?))
}

fn reply(stream: &mut TcpStream, status: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn say(stream: &mut TcpStream, said: Said, number: usize) -> std::io::Result<()> {
    let delta = match said {
        Said::No(status, error) => return reply(stream, status, &error),
        Said::Words(text) => json!({"content": text}),
        Said::Calls(calls) => {
            let calls: Vec<Value> = calls
                .iter()
                .enumerate()
                .map(|(index, (tool, arguments))| {
                    json!({"index": index, "id": format!("c{number}-{index}"),
                        "function": {"name": tool, "arguments": arguments}})
                })
                .collect();
            json!({"tool_calls": calls})
        }
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [{"index": 0, "delta": delta}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    )
}

fn home(base: &str, config: &str) -> TestDaemon {
    let mut home = TestDaemon::home();
    home.config(&format!(
        "[providers.p]\nbase_url = \"{base}\"\nauth = \"none\"\n{config}"
    ));
    home.spawn();
    home
}

fn ask(home: &TestDaemon, words: &[&str]) -> Ran {
    run(home.agentctl(words), b"")
}

fn exec(command: &str) -> Said {
    Said::Calls(vec![("exec", json!({"command": command}).to_string())])
}

/// The events of a session's log, as `logs --events` tells them.
fn events(home: &TestDaemon, name: &str) -> Vec<Value> {
    ask(home, &["logs", name, "--events", "-o", "jsonl"])
        .exits(0)
        .lines()
}

#[test]
fn fifty_requests_each_begin_with_the_one_before() {
    let (base, bodies) = serve(|_, number| match number {
        50 => Said::Words("done".into()),
        n => exec(&format!("echo step {n}; head -c 400 /dev/zero | tr '\\0' x")),
    });
    let home = home(&base, "");
    std::fs::write(home.project().join("AGENTS.md"), "Use tabs.\n").unwrap();
    ask(&home, &["run", "--model", "p/m", "--name", "n", "work on it"]).exits(0);
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies.len(), 50);
    let (mut reused, mut sent) = (0, 0);
    for pair in bodies.windows(2) {
        // The list of messages is what grows; what follows it is the same in every request.
        let (list, rest) = pair[0].split_once("],\"stream\"").unwrap();
        assert!(pair[1].starts_with(list), "byte for byte");
        assert!(pair[1].ends_with(rest), "the same tools and settings");
        reused += list.len() + rest.len();
        sent += pair[1].len();
    }
    assert!(reused * 100 >= sent * 95, "{reused} of {sent} bytes");
    assert_eq!(bodies[0].matches("Use tabs.").count(), 1);
    assert_eq!(bodies[49].matches("Use tabs.").count(), 1, "said once");
}

#[test]
fn the_context_is_filled_shown_compacted_and_searched() {
    let (base, bodies) = serve(|body, number| {
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap()["content"].to_string();
        if last.contains("Summarise the work so far") {
            return Said::Words("SUMMARY: the password word is xyzzy-7".into());
        }
        match number {
            1 => Said::Calls(vec![("read", json!({"path": "sub/deep.txt"}).to_string())]),
            n if n < 12 => exec(&format!("echo marker-{n}; seq 1 1000")),
            _ if !last.contains("marker-2") => Said::Calls(vec![(
                "search",
                json!({"pattern": "echo marker-2", "log": true}).to_string(),
            )]),
            _ => Said::Words("all found".into()),
        }
    });
    let home = home(&base, "[models.\"p/m\"]\ncontext_tokens = 12000\n");
    let project = home.project();
    std::fs::create_dir_all(project.join("sub")).unwrap();
    std::fs::write(project.join("AGENTS.md"), "Root rule.\u{202e}\n").unwrap();
    std::fs::write(project.join("sub/AGENTS.md"), "Deep rule.\n").unwrap();
    std::fs::write(project.join("sub/deep.txt"), "deep\n").unwrap();
    std::fs::write(project.join("notes.txt"), "mentioned words\n").unwrap();
    home.git_init();
    let ran = ask(
        &home,
        &["run", "--model", "p/m", "--name", "n", "see @notes.txt and go on"],
    )
    .exits(0);
    assert_eq!(ran.out(), "all found\n", "{ran}");
    {
        let bodies = bodies.lock().unwrap();
        assert!(bodies[0].contains("mentioned words") && bodies[0].contains("Root rule.[U+202E]"));
        assert!(bodies[0].contains("last commits:") && !bodies[0].contains("Deep rule."));
        assert!(bodies[1].contains("Deep rule."), "its directory was touched");
        let last = bodies.last().unwrap();
        assert!(last.contains("SUMMARY: the password word is xyzzy-7"), "{last}");
        assert!(last.contains("Root rule."), "instructions are put back");
        assert!(
            last.contains("see @notes.txt and go on"),
            "the person's words stay"
        );
        // What is sent stays within the window, reckoned as the daemon does.
        assert!(bodies.iter().all(|body| body.len() < 12_000 * 4));
    }
    let events = events(&home, "n");
    let compacted: Vec<&Value> = events
        .iter()
        .filter(|e| e["type"] == "context.compacted")
        .collect();
    assert!(!compacted.is_empty(), "{events:#?}");
    for one in &compacted {
        assert_eq!(one["reason"], "near_limit");
        assert!(
            one["after_tokens"].as_u64() < one["before_tokens"].as_u64(),
            "{one}"
        );
    }
    assert!(events.iter().any(|e| e["code"] == "hidden_text"));
    let fill = ask(&home, &["sessions", "show", "n", "--context", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(fill["window_tokens"], 12_000);
    assert_eq!(fill["window_source"], "configured");
    assert_eq!(fill["compact_at_tokens"], 9_600);
    let kinds: Vec<&str> = fill["shares"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|s| s["kind"].as_str())
        .collect();
    for kind in ["system", "tools", "instructions", "summary", "tool_results"] {
        assert!(kinds.contains(&kind), "{kind} is not in {fill}");
    }
    // By hand, with something to keep in mind.
    let before = bodies.lock().unwrap().len();
    ask(&home, &["send", "n", "/compact keep the colours"]).exits(0);
    ask(&home, &["wait", "n", "--for", "ready", "--timeout", "30s"]).exits(0);
    let asked = bodies.lock().unwrap()[before..].concat();
    assert!(
        asked.contains("Keep in mind above all: keep the colours."),
        "{asked}"
    );
    let by_hand = self::events(&home, "n");
    assert!(
        by_hand
            .iter()
            .any(|e| e["type"] == "context.compacted" && e["reason"] == "asked")
    );
}

#[test]
fn a_server_teaches_its_real_limit_and_a_context_too_small_is_said() {
    let (base, bodies) = serve(|body, number| {
        let last = body["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
        if last.contains("Summarise") {
            return Said::Words("what went before".into());
        }
        let size = body.to_string().len();
        if size > 26_000 {
            return Said::No(
                400,
                json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "too long",
                    "n_prompt_tokens": size / 4, "n_ctx": 6_500}}),
            );
        }
        match number {
            n if n < 9 => exec(&format!("echo {n}; seq 1 800")),
            _ => Said::Words("fits".into()),
        }
    });
    let home = home(&base, "[models.\"p/tiny\"]\ncontext_tokens = 600\n");
    let ran = ask(&home, &["run", "--model", "p/m", "--name", "n", "go"]).exits(0);
    assert_eq!(ran.out(), "fits\n", "{ran}");
    let compacted = events(&home, "n")
        .into_iter()
        .find(|e| e["type"] == "context.compacted")
        .expect("it was compacted");
    assert_eq!(compacted["reason"], "refused");
    assert_eq!(compacted["context_window_tokens"], 6_500);
    let fill = ask(&home, &["sessions", "show", "n", "--context", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(fill["window_source"], "learned", "{fill}");
    let sent = bodies.lock().unwrap().len();
    let ran = ask(&home, &["run", "--model", "p/tiny", "--name", "small", "go"]);
    assert!(
        ran.err().contains("context_too_small") && ran.err().contains("600 tokens"),
        "{ran}"
    );
    assert_eq!(bodies.lock().unwrap().len(), sent, "nothing was sent");
}

#[test]
fn an_answer_matches_its_schema_or_the_turn_fails() {
    let (base, bodies) = serve(|body, number| {
        let again = body.to_string().contains("Send the whole answer again");
        match body["model"].as_str() {
            Some("mends") if again => Said::Words("{\"ok\": true}".into()),
            Some("mends") => Said::Words("Sure: {\"ok\": true}".into()),
            _ => Said::Words(format!("never, {number}")),
        }
    });
    let home = home(&base, "");
    let schema = home.path().join("schema.json");
    std::fs::write(&schema, r#"{"type":"object","required":["ok"]}"#).unwrap();
    let schema = schema.to_str().unwrap();
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/mends",
            "--new",
            "--json-schema",
            schema,
            "go",
        ],
    )
    .exits(0);
    assert_eq!(ran.out(), "{\"ok\": true}\n", "{ran}");
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/never",
            "--new",
            "--json-schema",
            schema,
            "go",
        ],
    )
    .exits(1);
    assert!(ran.err().contains("[answer_invalid]"), "{ran}");
    assert_eq!(bodies.lock().unwrap().len(), 4, "one repair each");
    std::fs::write(schema, "{").unwrap();
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/never",
            "--new",
            "--json-schema",
            schema,
            "go",
        ],
    )
    .exits(2);
    assert!(ran.err().contains("not JSON"), "{ran}");
}

#[test]
fn bad_calls_pictures_and_providers_each_get_a_clear_answer_and_the_turn_goes_on() {
    let (base, bodies) = serve(|body, number| {
        let text = body.to_string();
        match body["model"].as_str() {
            Some("calls") => match number {
                1 => Said::Calls(vec![
                    ("exec", "{\"command\": {\"no\": 1}}".into()),
                    ("fly", "{}".into()),
                    ("exec", "{\"command\": \"ec".into()),
                    (
                        "plan",
                        json!({"items": [{"text": "look", "state": "doing"}]}).to_string(),
                    ),
                ]),
                _ => Said::Words("went on".into()),
            },
            Some("circles") if text.contains("This is your last step") => {
                Said::Words("stuck, it says no".into())
            }
            Some("circles") => exec("echo the same"),
            Some("blind") if text.contains("image_url") => Said::No(
                400,
                json!({"error": {"message": "this model does not support image input"}}),
            ),
            Some("blind") => Said::Words("words only".into()),
            Some("gone") => Said::No(402, json!({"error": {"message": "no credit left"}})),
            Some("spare") => Said::Words("from the spare".into()),
            Some("small") => Said::Words("\"A Title\"".into()),
            _ => Said::No(404, json!({"error": {"message": "no such model"}})),
        }
    });
    let home = home(&base, "[model]\nfallback = [\"p/spare\"]\nsmall = \"p/small\"\n");
    let ran = ask(&home, &["run", "--model", "p/calls", "--name", "calls", "go"]).exits(0);
    assert_eq!(ran.out(), "went on\n", "{ran}");
    {
        let bodies = bodies.lock().unwrap();
        assert!(bodies[1].contains("Usage: {command: string"), "{}", bodies[1]);
        assert!(bodies[1].contains("There is no tool `fly`. The tools are: exec"));
        assert!(bodies[1].contains("not valid JSON"));
    }
    let events = events(&home, "calls");
    let plan = events
        .iter()
        .find(|e| e["type"] == "plan.updated")
        .expect("the plan is a fact");
    assert_eq!(plan["items"][0], json!({"text": "look", "state": "doing"}));
    // In circles: told, brought to its end, and the last words are the answer.
    let ran = ask(&home, &["run", "--model", "p/circles", "--name", "circles", "go"]).exits(0);
    assert_eq!(ran.out(), "stuck, it says no\n", "{ran}");
    let told = bodies.lock().unwrap().concat();
    assert!(told.contains("You made this very call before"));
    // A picture that is none is refused before anything is posted; one that the model refuses is told by name.
    let (png, none) = (home.path().join("a.png"), home.path().join("b.png"));
    let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x07\x08\x06\0\0\0".to_vec();
    data.extend([0; 4]);
    std::fs::write(&png, data).unwrap();
    std::fs::write(&none, "no picture").unwrap();
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/blind",
            "--new",
            "-f",
            none.to_str().unwrap(),
            "look",
        ],
    )
    .exits(2);
    assert!(
        ran.err().contains("b.png") && ran.err().contains("not an image"),
        "{ran}"
    );
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/blind",
            "--name",
            "blind",
            "-f",
            png.to_str().unwrap(),
            "look",
        ],
    )
    .exits(0);
    assert_eq!(ran.out(), "words only\n", "{ran}");
    // Another model only because it is configured, and said.
    let ran = ask(&home, &["run", "--model", "p/gone", "--name", "gone", "go"]).exits(0);
    assert_eq!(ran.out(), "from the spare\n", "{ran}");
    let events = self::events(&home, "gone");
    let said = events
        .iter()
        .find(|e| e["code"] == "model_fallback")
        .expect("it is said");
    assert!(said["message"].as_str().unwrap().contains("p/spare"), "{said}");
    support::until("a title", || {
        let show = ask(&home, &["sessions", "show", "gone", "-o", "json"])
            .exits(0)
            .json();
        (show["title"] == "A Title").then_some(())
    });
    // A name that is not there.
    let ran = ask(&home, &["run", "--model", "p/nothing", "--new", "go"]);
    assert!(
        ran.err().contains("no such model") && ran.err().contains("next:"),
        "{ran}"
    );
    let ran = ask(&home, &["models", "test", "p/nothing"]);
    assert!(
        ran.err().contains("error: model:") && ran.err().contains("passed: config, connect, auth"),
        "{ran}"
    );
    let ran = ask(&home, &["models", "test", "p/spare"]);
    assert!(
        ran.err().contains("[no_tool_call]") && ran.err().contains("error: tools:"),
        "{ran}"
    );
}

#[test]
fn an_answer_that_repeats_itself_without_end_is_cut_and_the_next_one_is_not_led_by_it() {
    let (base, bodies) = serve(|_, number| match number {
        1 => Said::Words(format!("The files:\n{}", "- a.txt\n".repeat(8_000))),
        _ => Said::Words("Better now.".into()),
    });
    let home = home(&base, "");
    let ran = ask(&home, &["run", "--model", "p/m", "--name", "n", "list the files"]).exits(1);
    assert!(ran.err().contains("over and over"), "{ran}");
    let events = events(&home, "n");
    let step = events.iter().find(|e| e["finish"] == "repetition").unwrap();
    assert!(step.to_string().len() < 2_000, "{step}");
    let ran = ask(&home, &["run", "-s", "n", "go on"]).exits(0);
    assert_eq!(ran.out(), "Better now.\n");
    assert!(bodies.lock().unwrap()[1].len() < 12_000);
}

/// The head of a PNG of 3 by 7 pixels.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x07\x08\x06\0\0\0";

#[test]
fn a_window_that_only_the_server_tells_is_known_and_a_named_picture_is_shown() {
    let (base, bodies) = serve(|_, _| Said::Words("seen".into()));
    let home = home(&base, "");
    std::fs::write(home.project().join("dot.png"), PNG).unwrap();
    std::fs::write(home.project().join("fake.png"), "no picture").unwrap();
    let ran = ask(
        &home,
        &[
            "run",
            "--model",
            "p/served",
            "--name",
            "n",
            "what is @dot.png and @fake.png",
        ],
    )
    .exits(0);
    assert_eq!(ran.out(), "seen\n", "{ran}");
    {
        let bodies = bodies.lock().unwrap();
        assert_eq!(bodies.len(), 1);
        let url = format!("data:image/png;base64,{}", encoded(PNG));
        assert!(
            bodies[0].contains(&url) && bodies[0].contains("no picture"),
            "{}",
            bodies[0]
        );
    }
    let fill = ask(&home, &["sessions", "show", "n", "--context", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(fill["window_tokens"], 65_536, "{fill}");
    assert_eq!(fill["window_source"], "server");
    assert!(fill["shares"].to_string().contains("images"), "{fill}");
    let row = ask(&home, &["sessions", "show", "n", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(row["context_window_tokens"], 65_536, "{row}");
    // The picture stays in the history over a restart.
    ask(&home, &["daemon", "restart"]).exits(0);
    ask(&home, &["run", "-s", "n", "and now?"]).exits(0);
    assert!(bodies.lock().unwrap()[1].contains("data:image/png;base64,"));
}

/// Base64, as far as it is needed here.
fn encoded(data: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in data.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { letter as char });
        }
    }
    text
}

#[test]
fn who_is_stopped_by_a_budget_raises_it_and_goes_on_by_what_is_said() {
    let (base, _) = serve(|_, _| Said::Words("well".into()));
    let home = home(&base, "[model]\ndefault = \"p/m\"\n");
    let budget = ask(&home, &["usage", "budget", "set", "1 turns", "--per", "session"]).exits(0);
    assert!(
        budget.err().contains(": 1 turn per session, 0 % used"),
        "{budget}"
    );
    let big = ask(&home, &["usage", "budget", "set", "1.5M tokens", "--per", "day"]).exits(0);
    assert!(big.err().contains("1.5M tokens per day"), "{big}");
    ask(&home, &["run", "--name", "n", "one"]).exits(0);
    let ran = ask(&home, &["run", "-s", "n", "two"]).exits(8);
    let next: Vec<String> = ran
        .err()
        .lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches("next:")
                .trim()
                .strip_prefix("agentctl ")
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(next.len(), 2, "{ran}");
    let raise = format!("usage budget raise {} '2 turns'", budget.out().trim());
    assert_eq!(next[0], raise);
    // As a person pastes them.
    let pasted = |line: &str| {
        let words: Vec<String> = line.split_inclusive(['\'', '"']).map(str::to_owned).collect();
        let mut list = Vec::new();
        for (at, piece) in words.iter().enumerate() {
            let piece = piece.trim_end_matches(['\'', '"']);
            match at % 2 {
                0 => list.extend(piece.split_whitespace().map(str::to_owned)),
                _ => list.push(piece.to_owned()),
            }
        }
        list
    };
    for line in &next {
        let words = pasted(line);
        ask(&home, &words.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    }
    let steps = ask(&home, &["run", "--new", "--max-turns", "0", "x"]).exits(2);
    assert!(steps.err().contains("max-turns"), "{steps}");
    // A log that is kept otherwise than asked for is no place for what is said.
    let kept = ask(&home, &["run", "-s", "n", "--log", "none", "secret"]).exits(6);
    assert!(
        kept.err().contains("log_differs") && kept.err().contains("--new --log none"),
        "{kept}"
    );
    let tried = ask(&home, &["models", "test"]).exits(11);
    assert!(tried.err().contains("p/m"), "{tried}");
}
