//! Owns: the shapes of what servers send, read with nothing required and nothing closed.
//! Guarantees: a missing, null, extra or wrongly typed field never fails a chunk; only a non-object does.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field if it has the wanted type; anything else counts as absent.
fn lax<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// One chunk of a Chat Completions stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChatChunk {
    #[serde(deserialize_with = "lax")]
    pub(crate) choices: Option<Vec<Value>>,
    #[serde(deserialize_with = "lax")]
    pub(crate) usage: Option<Usage>,
    /// An error in the middle of a stream: OpenRouter, vLLM and LiteLLM send one this way.
    pub(crate) error: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) x_groq: Option<Nested>,
}

/// A place some servers hide usage in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Nested {
    #[serde(deserialize_with = "lax")]
    pub(crate) usage: Option<Usage>,
}

/// One alternative of a chunk. Only the first is ever asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Choice {
    #[serde(deserialize_with = "lax")]
    pub(crate) delta: Option<Delta>,
    /// Servers that do not really stream send the whole message at once.
    #[serde(deserialize_with = "lax")]
    pub(crate) message: Option<Delta>,
    #[serde(deserialize_with = "lax")]
    pub(crate) finish_reason: Option<String>,
    #[serde(deserialize_with = "lax")]
    pub(crate) usage: Option<Usage>,
}

/// What a chunk adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delta {
    pub(crate) content: Option<Value>,
    /// DeepSeek, llama.cpp, LiteLLM.
    pub(crate) reasoning_content: Option<Value>,
    /// vLLM, OpenRouter, Ollama.
    pub(crate) reasoning: Option<Value>,
    pub(crate) refusal: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) tool_calls: Option<Vec<Value>>,
}

/// A piece of a tool call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CallDelta {
    pub(crate) index: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) id: Option<String>,
    #[serde(deserialize_with = "lax")]
    pub(crate) function: Option<FunctionDelta>,
}

/// The function of a tool call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FunctionDelta {
    #[serde(deserialize_with = "lax")]
    pub(crate) name: Option<String>,
    /// JSON text; some servers send the object itself.
    pub(crate) arguments: Option<Value>,
}

/// One event of a Responses stream. Which fields are there depends on `type`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponsesEvent {
    #[serde(rename = "type", deserialize_with = "lax")]
    pub(crate) kind: Option<String>,
    pub(crate) delta: Option<Value>,
    pub(crate) arguments: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) item_id: Option<String>,
    pub(crate) output_index: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) item: Option<Value>,
    #[serde(deserialize_with = "lax")]
    pub(crate) response: Option<ResponseObject>,
    pub(crate) error: Option<Value>,
    pub(crate) code: Option<Value>,
    pub(crate) message: Option<Value>,
}

/// The response object inside terminal events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponseObject {
    #[serde(deserialize_with = "lax")]
    pub(crate) output: Option<Vec<Value>>,
    #[serde(deserialize_with = "lax")]
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<Value>,
    pub(crate) incomplete_details: Option<Value>,
}

/// Token counts under every name in use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    #[serde(alias = "input_tokens")]
    pub(crate) prompt_tokens: Option<Value>,
    #[serde(alias = "output_tokens")]
    pub(crate) completion_tokens: Option<Value>,
    #[serde(alias = "input_tokens_details", deserialize_with = "lax")]
    pub(crate) prompt_tokens_details: Option<UsageDetails>,
    #[serde(alias = "output_tokens_details", deserialize_with = "lax")]
    pub(crate) completion_tokens_details: Option<UsageDetails>,
    /// DeepSeek's name for cached tokens.
    pub(crate) prompt_cache_hit_tokens: Option<Value>,
    /// Anthropic's name for cache writes.
    pub(crate) cache_creation_input_tokens: Option<Value>,
    /// US dollars: OpenRouter, LiteLLM.
    pub(crate) cost: Option<Value>,
}

/// The finer counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UsageDetails {
    pub(crate) cached_tokens: Option<Value>,
    pub(crate) cache_write_tokens: Option<Value>,
    pub(crate) reasoning_tokens: Option<Value>,
}

/// A whole number given as integer, float or text.
pub(crate) fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(n) => n
            .as_u64()
            .or_else(|| n.as_f64().filter(|f| *f >= 0.0 && *f < 9e15).map(|f| f as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// US dollars as micro-dollars, rounded.
pub(crate) fn micro_usd(value: Option<&Value>) -> Option<u64> {
    let usd = match value? {
        Value::Number(n) => n.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let micro = (usd * 1e6).round();
    (micro.is_finite() && (0.0..9e15).contains(&micro)).then_some(micro as u64)
}

/// Text given as a string, as content parts, or as any scalar.
pub(crate) fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| match part {
                Value::Object(fields) => text(fields.get("text")),
                other => text(Some(other)),
            })
            .collect(),
        Some(Value::Object(fields)) => text(fields.get("text")),
        Some(other) => other.to_string(),
    }
}

/// Arguments as JSON text, whether they came as text or as an object. A piece may be any fragment of text.
pub(crate) fn arguments(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_chunk_full_of_wrong_types_is_still_a_chunk() {
        let chunk: ChatChunk = serde_json::from_value(json!({
            "id": 5, "choices": [{"delta": {"content": "a", "tool_calls": "no"}, "finish_reason": 3}], "usage": "none",
        }))
        .unwrap();
        let choice = Choice::deserialize(chunk.choices.unwrap().remove(0)).unwrap();
        assert_eq!(text(choice.delta.unwrap().content.as_ref()), "a");
        assert!(choice.finish_reason.is_none() && chunk.usage.is_none());
    }

    #[test]
    fn numbers_and_money_come_in_many_forms() {
        for value in [json!(7), json!(7.0), json!("7")] {
            assert_eq!(number(Some(&value)), Some(7));
        }
        assert_eq!(number(Some(&json!(-1))), None);
        assert_eq!(micro_usd(Some(&json!(0.000_012_5))), Some(13));
        assert_eq!(micro_usd(Some(&json!(-3))), None);
    }

    #[test]
    fn text_comes_as_string_or_parts() {
        assert_eq!(
            text(Some(&json!([{"type": "text", "text": "a"}, {"text": "b"}]))),
            "ab"
        );
        assert_eq!(text(Some(&Value::Null)), "");
    }
}
