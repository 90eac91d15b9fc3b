//! Owns: how the model client behaves when servers misbehave.
//! Guarantees: no fault ends in success without an answer, no fault hangs, no token is shown twice.

mod model_server;

use std::time::Duration;

use agentd::model::{Api, ModelError, ModelEvent};
use futures::StreamExt;
use model_server::*;
use serde_json::json;

#[tokio::test]
async fn a_refused_key_ends_at_once_with_the_providers_words() {
    for api in BOTH {
        for status in [401, 403] {
            let seen = ask(
                api,
                vec![fails(
                    status,
                    vec![],
                    r#"{"error":{"message":"bad key sk-canary-4242"}}"#,
                )],
            )
            .await;
            assert_eq!((seen.code(), seen.requests.len()), ("auth_rejected", 1));
            let error = seen.end.unwrap_err();
            assert!(error.to_string().contains("bad key [key]"), "{error}");
            assert!(
                error
                    .hints()
                    .iter()
                    .any(|hint| hint.contains("P_API_KEY of the calling shell"))
            );
        }
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_as_long_as_asked() {
    for api in BOTH {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned());
        for (headers, seconds) in [
            (vec![("retry-after", "7".to_owned())], 7.0),
            (vec![("retry-after-ms", "2500".to_owned())], 2.5),
            (
                vec![date, ("retry-after", "Wed, 21 Oct 2015 07:28:12 GMT".to_owned())],
                12.0,
            ),
        ] {
            let limited = fails(429, headers, r#"{"error":{"message":"slow down","code":429}}"#);
            let seen = ask(api, vec![limited, good(api)]).await;
            let retries = seen.retries();
            assert_eq!(retries.len(), 1);
            assert!(
                (seconds..seconds + 0.6).contains(&retries[0].1.as_secs_f64()),
                "{retries:?}"
            );
            assert!(
                retries[0].0 == 2 && retries[0].2.contains("slow down"),
                "{retries:?}"
            );
            assert_eq!(seen.end.unwrap().retries, 1);
        }
    }
}

#[tokio::test]
async fn too_long_a_wait_and_an_empty_purse_are_not_waited_for() {
    for api in BOTH {
        let long = fails(
            429,
            vec![("retry-after", "86400".into())],
            r#"{"error":{"message":"tomorrow"}}"#,
        );
        assert_eq!(ask(api, vec![long]).await.requests.len(), 1);
        let quota = fails(
            429,
            vec![],
            r#"{"error":{"message":"no money","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        );
        let seen = ask(api, vec![quota]).await;
        assert_eq!(
            (seen.code(), seen.requests.len()),
            ("provider_quota_exhausted", 1)
        );
    }
}

#[tokio::test]
async fn a_server_error_is_retried_visibly_and_boundedly() {
    for api in BOTH {
        let seen = ask(
            api,
            vec![
                fails(500, vec![], "oops"),
                fails(529, vec![], "<html>busy"),
                good(api),
            ],
        )
        .await;
        assert_eq!(seen.retries().len(), 2);
        assert_eq!(seen.end.unwrap().retries, 2);
        let always = (0..9)
            .map(|_| fails(503, vec![], r#"{"detail":"down for now"}"#))
            .collect();
        let seen = ask(api, always).await;
        assert_eq!(
            (seen.requests.len(), seen.retries().len(), seen.code()),
            (4, 3, "provider_error")
        );
        assert!(seen.end.unwrap_err().to_string().contains("down for now"));
    }
}

#[tokio::test]
async fn a_bad_request_ends_at_once_even_with_a_number_for_a_code() {
    for api in BOTH {
        let body = r#"{"error":{"code":400,"message":"no such parameter","type":"invalid_request_error"}}"#;
        let seen = ask(api, vec![fails(400, vec![], body)]).await;
        assert_eq!(
            seen.end,
            Err(ModelError::BadRequest {
                status: 400,
                message: "no such parameter".into()
            })
        );
        let body = r#"{"error":{"code":400,"message":"exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":4}}"#;
        assert_eq!(
            ask(api, vec![fails(400, vec![], body)]).await.code(),
            "context_exceeded"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for api in BOTH {
        let seen = ask(
            api,
            vec![fails(307, vec![("location", "http://elsewhere/".into())], "")],
        )
        .await;
        assert_eq!((seen.code(), seen.requests.len()), ("provider_bad_request", 1));
    }
}

#[tokio::test]
async fn a_cut_before_the_first_token_is_retried_and_after_it_is_not() {
    for api in BOTH {
        let first = || match api {
            Api::Chat => sse(&[text("hel")]),
            Api::Responses => sse(&[delta("hel")]),
        };
        for cut in [
            Act::Pieces(200, vec![], vec![first()]),
            Act::ThenBreak(vec![first()]),
        ] {
            let seen = ask(api, vec![cut, good(api)]).await;
            assert_eq!(
                (seen.code(), seen.requests.len(), seen.streamed().as_str()),
                ("provider_cut_stream", 1, "hel")
            );
        }
        for cut in [
            Act::Pieces(200, vec![], vec![]),
            Act::ThenBreak(vec![b": ping\n\n".to_vec()]),
        ] {
            let seen = ask(api, vec![cut, good(api)]).await;
            assert_eq!((seen.end.unwrap().retries, seen.requests.len()), (1, 2));
        }
    }
}

#[tokio::test]
async fn a_reset_connection_is_a_cut() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0u8; 4096];
            let _ = socket.read(&mut buffer).await;
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = socket.write_all(head.as_bytes()).await;
            let chunk = sse(&[text("he")]);
            let _ = socket
                .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await;
            let _ = socket.write_all(&chunk).await;
            let _ = socket.write_all(b"\r\n").await;
            // Lingering for no time makes the close a reset.
            let _ = socket.set_zero_linger();
        }
    });
    let model = registry(&base, Api::Chat, tuning())
        .resolve("p/m", &key())
        .unwrap();
    let last = model.stream(request()).collect::<Vec<_>>().await.pop().unwrap();
    assert_eq!(last.unwrap_err().reason_code(), "provider_cut_stream");
}

#[tokio::test]
async fn silence_is_bounded_before_and_inside_an_answer() {
    for api in BOTH {
        let silent = (0..4).map(|_| Act::Silent).collect();
        let seen = ask(api, silent).await;
        assert_eq!((seen.code(), seen.requests.len()), ("provider_timeout", 4));
        let part = if api == Api::Chat {
            sse(&[text("a")])
        } else {
            sse(&[delta("a")])
        };
        let seen = ask(api, vec![Act::ThenStall(vec![part])]).await;
        assert_eq!((seen.code(), seen.requests.len()), ("provider_timeout", 1));
    }
}

#[tokio::test]
async fn an_endless_answer_is_ended() {
    for (api, chunk) in [
        (Api::Chat, text("again and again ")),
        (Api::Responses, delta("again and again ")),
    ] {
        assert_eq!(
            ask(api, vec![Act::Endless(sse(&[chunk]))]).await.code(),
            "provider_endless_answer"
        );
    }
    // Not even a line break, and not a single event: the bytes count all the same.
    assert_eq!(
        ask(Api::Chat, vec![Act::Endless(vec![b'x'; 1000])]).await.code(),
        "provider_endless_answer"
    );
    let mut short = tuning();
    short.limits.total = Duration::from_millis(200);
    short.limits.idle = Duration::from_secs(60);
    let seen = ask_with(Api::Chat, vec![Act::ThenStall(vec![sse(&[text("a")])])], short).await;
    assert_eq!(seen.code(), "provider_timeout");
}

#[tokio::test]
async fn an_empty_answer_is_no_answer() {
    for api in BOTH {
        let empty = || match api {
            Api::Chat => whole(&[stop()]),
            Api::Responses => Act::Pieces(200, vec![], vec![sse(&[completed(json!([]))])]),
        };
        let seen = ask(api, (0..4).map(|_| empty()).collect()).await;
        assert_eq!((seen.code(), seen.requests.len()), ("provider_empty_answer", 4));
        assert!(ask(api, vec![empty(), good(api)]).await.end.is_ok());
    }
    let length = json!({"choices": [{"delta": {}, "finish_reason": "length"}]});
    assert_eq!(
        ask(Api::Chat, vec![whole(&[length])]).await.code(),
        "answer_too_long"
    );
}

#[tokio::test]
async fn garbage_and_foreign_types_are_named() {
    for api in BOTH {
        let garbage = || Act::Pieces(200, vec![], vec![b"data: {\"choices\": [ nonsense\n\n".to_vec()]);
        let seen = ask(api, (0..4).map(|_| garbage()).collect()).await;
        assert_eq!((seen.code(), seen.requests.len()), ("provider_garbage", 4));
        let html = || {
            Act::Pieces(
                200,
                vec![("content-type", "text/html".into())],
                vec![b"<html>Welcome to the hotel".to_vec()],
            )
        };
        let seen = ask(api, (0..4).map(|_| html()).collect()).await;
        assert!(seen.end.unwrap_err().to_string().contains("Welcome to the hotel"));
        let huge = Act::Pieces(
            200,
            vec![],
            vec![format!("data: {}\n\n", "[".repeat(100_000)).into_bytes()],
        );
        let seen = ask(api, vec![huge, good(api)]).await;
        assert!(seen.retries()[0].2.len() < 1000);
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_the_providers_error() {
    let chat = json!({"error": {"message": "model crashed", "code": 502}});
    let seen = ask(Api::Chat, vec![whole(&[chat]), good(Api::Chat)]).await;
    assert!(seen.retries()[0].2.contains("model crashed"));
    for event in [
        json!({"type": "error", "code": "server_error", "message": "model crashed"}),
        json!({"type": "error", "error": {"type": "server_error", "message": "model crashed"}}),
        json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "model crashed"}}}),
    ] {
        let seen = ask(Api::Responses, vec![whole(&[event]), good(Api::Responses)]).await;
        assert!(seen.retries()[0].2.contains("model crashed"));
    }
}

#[tokio::test]
async fn an_absent_server_is_reported_soon_with_two_ways_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let model = registry(&base, Api::Chat, tuning())
        .resolve("p/m", &key())
        .unwrap();
    let mut all = model.stream(request()).collect::<Vec<_>>().await;
    let error = all.pop().unwrap().unwrap_err();
    assert_eq!(error.reason_code(), "provider_unreachable");
    assert!(
        error.hints().len() >= 2 && error.to_string().contains("refused"),
        "{error}"
    );
    assert_eq!(all.len(), 2, "two announced retries");
}

#[tokio::test]
async fn dropping_the_stream_ends_the_request() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = [0u8; 4096];
        let _ = socket.read(&mut buffer).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&sse(&[text("a")])).await.unwrap();
        // The client's end shows as the end of what can be read.
        while socket.read(&mut buffer).await.unwrap_or(0) > 0 {}
    });
    let mut patient = tuning();
    patient.limits.idle = Duration::from_secs(600);
    let model = registry(&base, Api::Chat, patient)
        .resolve("p/m", &key())
        .unwrap();
    let mut stream = model.stream(request());
    assert!(matches!(stream.next().await, Some(Ok(ModelEvent::TextDelta(_)))));
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), server)
        .await
        .unwrap()
        .unwrap();
}
