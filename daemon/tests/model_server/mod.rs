//! Owns: a real HTTP server that plays a script, and a client that reports all it saw.
//! Guarantees: nothing waits: silence limits are short and retry waits take no time.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of a test function"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentd::domain::message::{Message, Part};
use agentd::domain::tool::ToolSpec;
use agentd::model::provider::ProviderConfig;
use agentd::model::{
    Api, Credentials, Environment, Limits, ModelError, ModelEvent, ModelRegistry, ModelRequest,
    ModelSettings, RetryPolicy, StepReply, Tuning,
};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use futures::StreamExt;
use serde_json::{Value, json};

/// What the server does with one request.
pub enum Act {
    /// Answers with pieces of a body, each its own chunk.
    Pieces(u16, Vec<(&'static str, String)>, Vec<Vec<u8>>),
    /// As `Pieces`, then holds the connection open in silence.
    ThenStall(Vec<Vec<u8>>),
    /// As `Pieces`, then breaks the connection.
    ThenBreak(Vec<Vec<u8>>),
    /// Says the same again without end.
    Endless(Vec<u8>),
    /// Never answers.
    Silent,
}

pub type Script = Arc<Mutex<(VecDeque<Act>, Vec<(HeaderMap, Value)>)>>;

pub struct Server {
    pub base: String,
    pub script: Script,
}

pub async fn serve(acts: Vec<Act>) -> Server {
    let script: Script = Arc::new(Mutex::new((acts.into(), Vec::new())));
    let app = Router::new().fallback(answer).with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Server { base, script }
}

async fn answer(State(script): State<Script>, headers: HeaderMap, body: String) -> Response<Body> {
    let act = {
        let mut script = script.lock().unwrap();
        script
            .1
            .push((headers, serde_json::from_str(&body).unwrap_or(Value::Null)));
        script.0.pop_front()
    };
    let ok = |pieces: Vec<Vec<u8>>| {
        futures::stream::iter(pieces).then(|piece| async {
            // Each piece leaves on its own, so that boundaries are where the test put them.
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(piece)
        })
    };
    let events = || Response::builder().header("content-type", "text/event-stream");
    match act {
        None => Response::builder()
            .status(599)
            .body(Body::from("the script is over"))
            .unwrap(),
        Some(Act::Pieces(status, headers, pieces)) => {
            let mut response = Response::builder().status(status);
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                response = response.header("content-type", "text/event-stream");
            }
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from_stream(ok(pieces))).unwrap()
        }
        Some(Act::ThenStall(pieces)) => events()
            .body(Body::from_stream(ok(pieces).chain(futures::stream::pending())))
            .unwrap(),
        Some(Act::ThenBreak(pieces)) => {
            let broken = futures::stream::once(async {
                // Yielding lets the server write out what it has before it breaks.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                Err(std::io::Error::other("broken"))
            });
            events()
                .body(Body::from_stream(ok(pieces).chain(broken)))
                .unwrap()
        }
        Some(Act::Endless(piece)) => events()
            .body(Body::from_stream(futures::stream::repeat_with(move || {
                Ok::<_, std::io::Error>(piece.clone())
            })))
            .unwrap(),
        Some(Act::Silent) => std::future::pending().await,
    }
}

pub fn tuning() -> Tuning {
    Tuning {
        limits: Limits {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_millis(300),
            idle: Duration::from_millis(300),
            trailer: Duration::from_millis(100),
            total: Duration::from_secs(120),
            max_bytes: 256 * 1024,
        },
        retry: RetryPolicy::default(),
        // Waits are announced in full and take no time.
        sleep: Arc::new(|_| Box::pin(async {})),
    }
}

pub fn registry(base: &str, api: Api, tuning: Tuning) -> ModelRegistry {
    let mut settings = ModelSettings::default();
    let config = ProviderConfig {
        base_url: Some(base.into()),
        api: Some(api),
        ..ProviderConfig::default()
    };
    settings.providers.insert("p".into(), config);
    ModelRegistry::with_tuning(settings, Credentials::default(), Environment::default(), tuning)
}

pub fn key() -> Environment {
    Environment::from_vars([("P_API_KEY".to_owned(), "sk-canary-4242".to_owned())])
}

pub fn request() -> ModelRequest {
    ModelRequest {
        instructions: "be brief".into(),
        messages: vec![Message::user("hi")].into(),
        tools: vec![ToolSpec {
            name: "exec".into(),
            description: "runs".into(),
            parameters: json!({"type": "object"}),
        }]
        .into(),
        effort: None,
        session_key: "s-1".into(),
        approver_present: false,
    }
}

pub struct Seen {
    pub events: Vec<ModelEvent>,
    pub end: Result<StepReply, ModelError>,
    pub requests: Vec<(HeaderMap, Value)>,
}

impl Seen {
    pub fn retries(&self) -> Vec<(u32, Duration, String)> {
        let of = |event: &ModelEvent| match event {
            ModelEvent::Retrying {
                attempt,
                wait,
                reason,
                ..
            } => Some((*attempt, *wait, reason.clone())),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    pub fn streamed(&self) -> String {
        let of = |event: &ModelEvent| match event {
            ModelEvent::TextDelta(text) => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    pub fn code(&self) -> &'static str {
        self.end.as_ref().unwrap_err().reason_code()
    }
}

pub async fn ask_with(api: Api, acts: Vec<Act>, tuning: Tuning) -> Seen {
    let server = serve(acts).await;
    let model = registry(&server.base, api, tuning)
        .resolve("p/m", &key())
        .unwrap();
    let mut stream = model.stream(request());
    let (mut events, mut end) = (Vec::new(), None);
    while let Some(event) = stream.next().await {
        assert!(end.is_none(), "nothing follows the end");
        match event {
            Ok(ModelEvent::Finished(reply)) => end = Some(Ok(reply)),
            Ok(event) => events.push(event),
            Err(error) => end = Some(Err(error)),
        }
    }
    let requests = std::mem::take(&mut server.script.lock().unwrap().1);
    let end = end.expect("a stream ends with a reply or an error");
    if let Err(error) = &end {
        assert!(
            !format!("{error} {error:?} {:?}", error.hints()).contains("canary"),
            "{error:?}"
        );
        assert!(!error.hints().is_empty());
    }
    Seen {
        events,
        end,
        requests,
    }
}

pub async fn ask(api: Api, acts: Vec<Act>) -> Seen {
    ask_with(api, acts, tuning()).await
}

pub fn sse(chunks: &[Value]) -> Vec<u8> {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect::<String>()
        .into_bytes()
}

pub fn whole(chunks: &[Value]) -> Act {
    let mut body = sse(chunks);
    body.extend_from_slice(b"data: [DONE]\n\n");
    Act::Pieces(200, vec![], vec![body])
}

pub fn fails(status: u16, headers: Vec<(&'static str, String)>, body: &str) -> Act {
    let headers = headers
        .into_iter()
        .chain([("content-type", "application/json".to_owned())])
        .collect();
    Act::Pieces(status, headers, vec![body.as_bytes().to_vec()])
}

pub fn text(words: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": words}}]})
}

pub fn stop() -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
}

pub fn call(index: Value, id: &str, name: &str, arguments: &str) -> Value {
    json!({"choices": [{"delta": {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}}]})
}

pub fn good(api: Api) -> Act {
    match api {
        Api::Chat => whole(&[text("hello"), stop()]),
        Api::Responses => Act::Pieces(200, vec![], vec![sse(&[delta("hello"), completed(json!([]))])]),
    }
}

pub fn delta(words: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": words})
}

pub fn completed(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"output": output, "usage": {"input_tokens": 9, "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 1}}}})
}

pub const BOTH: [Api; 2] = [Api::Chat, Api::Responses];

pub fn calls(reply: &StepReply) -> Vec<(String, String, String)> {
    let of = |part: &Part| match part {
        Part::ToolCall(call) => Some((call.call_id.0.clone(), call.tool.clone(), call.arguments.clone())),
        _ => None,
    };
    reply.parts.iter().filter_map(of).collect()
}
