//! Owns: a model server that answers at once, and notes when it was asked and when it had answered.
//! Guarantees: times are taken at the socket: the first byte of a request read, the last byte of a reply written.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One round trip as the server saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The first byte of the request.
    pub begun: Instant,
    /// The last byte of the reply.
    pub answered: Instant,
    /// The request's body.
    pub body: Vec<u8>,
    /// Which connection.
    pub connection: usize,
}

/// The server.
#[derive(Clone)]
pub struct Instantly {
    /// Its address for a configuration.
    pub base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// How many tool calls come before the closing words.
    calls: Arc<Mutex<usize>>,
}

impl Instantly {
    /// Listens on a port of its own.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            base: format!("http://{}/v1", listener.local_addr().unwrap()),
            asked: Arc::default(),
            calls: Arc::default(),
        };
        let accepting = server.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                stream.set_nodelay(true).unwrap();
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream, connection).await });
            }
        });
        server
    }

    /// The next turn makes so many tool calls.
    pub fn will_call(&self, calls: usize) {
        *self.calls.lock().unwrap() = calls;
    }

    /// What was asked since the last look.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn serve(&self, mut stream: TcpStream, connection: usize) {
        let mut buffer = Vec::new();
        loop {
            let mut begun = None;
            let (head, length) = loop {
                if let Some(end) = find(&buffer, b"\r\n\r\n") {
                    break (end + 4, content_length(&buffer[..end]));
                }
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
                begun.get_or_insert_with(Instant::now);
            };
            while buffer.len() < head + length {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body = buffer[head..head + length].to_vec();
            buffer.drain(..head + length);
            let reply = self.reply(&body);
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
            if body.is_empty() {
                // The list of models is no request for words.
                continue;
            }
            self.asked.lock().unwrap().push(Asked {
                begun: begun.unwrap_or_else(Instant::now),
                answered: Instant::now(),
                body,
                connection,
            });
        }
    }

    fn reply(&self, body: &[u8]) -> String {
        // Anything but a request for words (such as the list of models) is answered by an empty list.
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            let nothing = "{\"object\":\"list\",\"data\":[]}";
            return format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{nothing}",
                nothing.len()
            );
        };
        let model = &request["model"];
        let number = request["messages"].as_array().map_or(0, Vec::len);
        let more = {
            let mut calls = self.calls.lock().unwrap();
            let more = *calls > 0;
            *calls = calls.saturating_sub(1);
            more
        };
        // No two calls are the same: a model that repeats itself is stopped.
        let arguments = serde_json::json!({"command": format!("true {number}")}).to_string();
        let call = serde_json::json!({"role": "assistant", "tool_calls": [{"index": 0, "id": format!("call_{number}"),
            "type": "function", "function": {"name": "exec", "arguments": arguments}}]});
        let words = serde_json::json!({"role": "assistant", "content": "Done."});
        let (delta, finish) = if more {
            (call, "tool_calls")
        } else {
            (words, "stop")
        };
        let chunk = |choices: Value| {
            let mut chunk = serde_json::json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model,
                "choices": choices});
            if choices.as_array().is_some_and(Vec::is_empty) {
                chunk["usage"] =
                    serde_json::json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
            }
            format!("data: {chunk}\n\n")
        };
        let body = [
            chunk(serde_json::json!([{"index": 0, "delta": delta, "finish_reason": null}])),
            chunk(serde_json::json!([{"index": 0, "delta": {}, "finish_reason": finish}])),
            chunk(serde_json::json!([])),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        })
        .unwrap_or(0)
}
