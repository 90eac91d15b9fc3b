//! Owns: reading answers of servers that each follow the API in their own way.
//! Guarantees: text, reasoning, tool calls and usage come out the same, whatever shape they came in.

mod model_server;

use agentd::domain::message::{Message, Part};
use agentd::model::{Api, Finish, ModelEvent};
use futures::StreamExt;
use model_server::*;
use serde_json::{Value, json};

#[tokio::test]
async fn chunk_boundaries_may_fall_anywhere() {
    let body = sse(&[text("Grüße, 世界 🌍"), stop()]);
    let pieces: Vec<Vec<u8>> = body.iter().map(|byte| vec![*byte]).collect();
    let seen = ask(Api::Chat, vec![Act::Pieces(200, vec![], pieces)]).await;
    assert_eq!(
        seen.end.as_ref().unwrap().parts,
        [Part::Text {
            text: "Grüße, 世界 🌍".into()
        }]
    );
    assert_eq!(seen.streamed(), "Grüße, 世界 🌍");
}

#[tokio::test]
async fn requests_ask_for_a_stream_with_usage_and_carry_key_and_tools() {
    let seen = ask(Api::Chat, vec![good(Api::Chat)]).await;
    let (headers, body) = &seen.requests[0];
    assert_eq!(headers["authorization"], "Bearer sk-canary-4242");
    assert_eq!(
        (&body["stream"], &body["stream_options"]["include_usage"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(body["tools"][0]["function"]["name"], "exec");
    let seen = ask(Api::Responses, vec![good(Api::Responses)]).await;
    let body = &seen.requests[0].1;
    assert_eq!(
        (&body["store"], &body["include"]),
        (&json!(false), &json!(["reasoning.encrypted_content"]))
    );
    assert_eq!(body["input"][0]["content"][0]["text"], "hi");
}

#[tokio::test]
async fn a_complete_answer_counts_even_when_the_connection_stays_open() {
    let done = sse(&[text("hello"), stop()]);
    assert!(
        ask(Api::Chat, vec![Act::ThenStall(vec![done.clone()])])
            .await
            .end
            .is_ok()
    );
    assert!(ask(Api::Chat, vec![Act::ThenBreak(vec![done])]).await.end.is_ok());
    let done = sse(&[delta("hello"), completed(json!([]))]);
    assert!(
        ask(Api::Responses, vec![Act::ThenStall(vec![done])])
            .await
            .end
            .is_ok()
    );
}

#[tokio::test]
async fn tool_calls_survive_splitting_missing_indices_and_repeated_ids() {
    let seen = ask(Api::Chat, vec![whole(&[
        call(json!(0), "a", "exec", "{\"com"),
        call(json!(1), "b", "exec", "{}"),
        json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "mand\":\"ls\"}"}}]}}]}),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
    ])]).await;
    let reply = seen.end.unwrap();
    let owned = |id: &str, arguments: &str| (id.to_owned(), "exec".to_owned(), arguments.to_owned());
    assert_eq!(
        calls(&reply),
        [owned("a", "{\"command\":\"ls\"}"), owned("b", "{}")]
    );
    assert_eq!(reply.finish, Finish::ToolCalls);

    let seen = ask(Api::Chat, vec![whole(&[
        call(Value::Null, "same", "exec", "{\"n\":1}"),
        json!({"choices": [{"delta": {"tool_calls": [{"index": 1, "id": "same", "function": {"name": "exec", "arguments": {"n": 2}}}]}}]}),
        stop(),
    ])]).await;
    let reply = seen.end.unwrap();
    let got = calls(&reply);
    assert_eq!((got.len(), &reply.finish), (2, &Finish::ToolCalls));
    assert_ne!(got[0].0, got[1].0);
}

#[tokio::test]
async fn responses_tool_calls_and_reasoning_come_back_whole() {
    let reasoning = json!({"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "XYZ", "status": "completed"});
    let item = |arguments: &str| json!({"type": "function_call", "id": "fc", "call_id": "c1", "name": "exec", "arguments": arguments});
    let events = [
        json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": item("")}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc", "delta": "{\"command\":"}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "delta": "\"ls\"}"}),
        json!({"type": "response.never_heard_of", "x": [1]}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": item("{\"command\":\"ls\"}")}),
    ];
    for last in [
        completed(json!([])),
        completed(json!([reasoning, item("{\"command\":\"ls\"}")])),
    ] {
        let body = sse(&events.iter().cloned().chain([last]).collect::<Vec<_>>());
        let server = serve(vec![Act::Pieces(200, vec![], vec![body]), good(Api::Responses)]).await;
        let model = registry(&server.base, Api::Responses, tuning())
            .resolve("p/m", &key())
            .unwrap();
        let mut all = model.stream(request()).collect::<Vec<_>>().await;
        let Some(Ok(ModelEvent::Finished(reply))) = all.pop() else {
            panic!("{all:?}")
        };
        assert_eq!(
            calls(&reply),
            [(
                "c1".to_owned(),
                "exec".to_owned(),
                "{\"command\":\"ls\"}".to_owned()
            )]
        );
        assert_eq!(reply.tokens.unwrap().cached_input, 4);

        // The next request returns the sealed reasoning unread, before its call.
        let mut next = request();
        let said = Message {
            role: agentd::domain::message::Role::Assistant,
            parts: reply.parts,
        };
        next.messages = vec![Message::user("hi"), said].into();
        let _ = model.stream(next).collect::<Vec<_>>().await;
        let input = server.script.lock().unwrap().1[1].1["input"].clone();
        let kinds: Vec<&str> = input
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            kinds,
            ["message", "reasoning", "function_call", "function_call_output"]
        );
        assert_eq!(input[1]["encrypted_content"], "XYZ");
        assert!(input[1].get("status").is_none());
    }
}

#[tokio::test]
async fn usage_counts_wherever_it_stands_and_the_last_one_wins() {
    let usage = |input: u64| {
        json!({"prompt_tokens": input, "completion_tokens": 3, "cost": 0.0025,
        "prompt_tokens_details": {"cached_tokens": 1}})
    };
    for chunks in [
        vec![text("a"), stop(), json!({"choices": [], "usage": usage(7)})],
        vec![
            text("a"),
            stop(),
            json!({"choices": [{"index": 0, "delta": {}}], "usage": usage(7)}),
        ],
        vec![
            json!({"choices": [{"delta": {"content": "a"}}], "usage": usage(1)}),
            json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage(7)}),
        ],
        vec![
            text("a"),
            json!({"choices": [{"delta": {}, "finish_reason": "stop", "usage": usage(7)}]}),
        ],
    ] {
        let reply = ask(Api::Chat, vec![whole(&chunks)]).await.end.unwrap();
        let tokens = reply.tokens.unwrap();
        assert_eq!((tokens.input, tokens.output, tokens.cached_input), (7, 3, 1));
        assert_eq!(reply.reported_cost_micro_usd, Some(2500));
    }
    assert_eq!(
        ask(Api::Chat, vec![good(Api::Chat)]).await.end.unwrap().tokens,
        None
    );
}

#[tokio::test]
async fn reasoning_shows_under_either_name() {
    for name in ["reasoning", "reasoning_content"] {
        let thought = json!({"choices": [{"delta": {name: "hm"}}]});
        let seen = ask(Api::Chat, vec![whole(&[thought, text("a"), stop()])]).await;
        assert!(seen.events.contains(&ModelEvent::ReasoningDelta("hm".into())));
        assert_eq!(seen.end.unwrap().parts.len(), 2);
    }
}
