//! Owns: whether an answer matches the JSON Schema that was asked for.
//! Guarantees: pure; a schema reaches out for nothing; errors name the place and are few.

use serde_json::Value;

/// Most bytes of a schema.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Most mistakes told.
const MOST: usize = 8;

/// Refuses what is no JSON Schema.
pub fn check_schema(schema: &str) -> Result<(), String> {
    if schema.len() > MAX_SCHEMA_BYTES {
        return Err(format!("json_schema has more than {MAX_SCHEMA_BYTES} bytes"));
    }
    validator(schema).map(drop)
}

fn validator(schema: &str) -> Result<jsonschema::Validator, String> {
    let value: Value = serde_json::from_str(schema).map_err(|e| format!("json_schema is not JSON: {e}"))?;
    jsonschema::validator_for(&value).map_err(|e| format!("json_schema is not a usable JSON Schema: {e}"))
}

/// Compares an answer with a schema. The error is for the model.
pub(super) fn check(schema: &str, answer: &str) -> Result<(), String> {
    let validator = validator(schema)?;
    let value: Value =
        serde_json::from_str(bare(answer)).map_err(|e| format!("The answer is not one JSON value ({e})."))?;
    let mistakes: Vec<String> = validator
        .iter_errors(&value)
        .take(MOST)
        .map(|e| format!("at {:?}: {e}", e.instance_path().to_string()))
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(format!(
        "The answer does not match the schema: {}.",
        mistakes.join("; ")
    ))
}

/// The answer without the code fence that some models put around it.
fn bare(answer: &str) -> &str {
    let answer = answer.trim();
    let Some(inner) = answer
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
    else {
        return answer;
    };
    inner.split_once('\n').map_or(inner, |(_, body)| body).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","required":["ok"],"properties":{"ok":{"type":"boolean"}},"additionalProperties":false}"#;

    #[test]
    fn answers_are_compared_and_mistakes_named() {
        assert_eq!(check(SCHEMA, "{\"ok\": true}"), Ok(()));
        assert_eq!(check(SCHEMA, "```json\n{\"ok\": true}\n```"), Ok(()));
        let wrong = check(SCHEMA, "{\"ok\": \"yes\"}").unwrap_err();
        assert!(wrong.contains("/ok"), "{wrong}");
        assert!(
            check(SCHEMA, "Sure! {\"ok\": true}")
                .unwrap_err()
                .contains("not one JSON value")
        );
    }

    #[test]
    fn what_is_no_schema_is_refused_and_nothing_is_fetched() {
        assert!(check_schema(SCHEMA).is_ok());
        assert!(check_schema("{").unwrap_err().contains("not JSON"));
        assert!(check_schema(r#"{"type": 12}"#).is_err());
        assert!(check_schema(r#"{"$ref": "http://127.0.0.1:1/x.json"}"#).is_err());
        assert!(check_schema(&format!("\"{}\"", "x".repeat(MAX_SCHEMA_BYTES))).is_err());
    }
}
