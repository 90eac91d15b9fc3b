//! Owns: the tool `plan`: the model's list of what is to be done, for itself and for the person who watches.
//! Guarantees: bounded; the whole list is sent each time, so what is shown is what the model means.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::decode;
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::context::{PlanItem, PlanState};
use crate::domain::policy::visible;
use crate::domain::session::clip;
use crate::domain::tool::{Effect, ToolSpec};

const USAGE: &str = "{items: [{text: string, state: \"todo\"|\"doing\"|\"done\"}]}";
const MOST_ITEMS: usize = 30;
const MOST_CHARS: usize = 200;

/// `plan`: keeps a list.
pub(super) struct Plan;

#[derive(Debug, Deserialize)]
struct Args {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(alias = "step", alias = "title", alias = "content")]
    text: String,
    #[serde(default, alias = "status")]
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    #[serde(alias = "pending")]
    Todo,
    #[serde(alias = "in_progress")]
    Doing,
    #[serde(alias = "completed")]
    Done,
}

fn parsed(args: &Value) -> Result<Vec<PlanItem>, ToolError> {
    let args: Args = decode(args, USAGE)?;
    if args.items.len() > MOST_ITEMS {
        return Err(ToolError::Arguments(format!(
            "A plan has at most {MOST_ITEMS} items; put smaller ones together."
        )));
    }
    let items = args.items.into_iter().map(|item| PlanItem {
        text: clip(&visible(item.text.trim()), MOST_CHARS),
        state: match item.state {
            State::Todo => PlanState::Todo,
            State::Doing => PlanState::Doing,
            State::Done => PlanState::Done,
        },
    });
    Ok(items.filter(|item| !item.text.is_empty()).collect())
}

#[async_trait]
impl Tool for Plan {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "plan".into(),
            description: "Set your plan: all items, each time. Keep one item in state doing.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "text": {"type": "string"},
                            "state": {"type": "string", "enum": ["todo", "doing", "done"]}
                        },
                        "required": ["text", "state"]
                    }}
                },
                "required": ["items"]
            }),
        }
    }

    fn plan(&self, args: &Value, _: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let items = parsed(args)?;
        let done = items.iter().filter(|item| item.state == PlanState::Done).count();
        let doing = items.iter().find(|item| item.state == PlanState::Doing);
        let now = doing.map(|item| format!(": {}", item.text)).unwrap_or_default();
        Ok(CallPlan {
            // It changes nothing but the session's own log.
            effects: vec![Effect::Reads],
            summary: format!("plan {done} of {}{now}", items.len()),
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, _: &ToolContext) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput {
            text: "noted".into(),
            ok: true,
            plan: Some(parsed(args)?),
            ..ToolOutput::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_several_dialects_are_read_and_wrong_ones_say_how() {
        let items = parsed(&json!({"items": [
            {"text": "look", "state": "done"},
            {"step": "mend\u{202e}", "status": "in_progress"},
            {"content": "test"}
        ]}))
        .unwrap();
        let states: Vec<_> = items.iter().map(|i| i.state).collect();
        assert_eq!(states, [PlanState::Done, PlanState::Doing, PlanState::Todo]);
        assert!(!items[1].text.contains('\u{202e}'));
        let wrong = parsed(&json!({"items": "look"})).unwrap_err().to_string();
        assert!(wrong.contains("Usage: {items:"), "{wrong}");
    }
}
