//! Owns: the tool `task`: the workspace's board, for the model.
//! Guarantees: looking is Reads, everything else Writes; the file itself is changed by the board, never from here.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::decode;
use super::{CallPlan, PlanContext, TaskCall, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::{Effect, ToolSpec};

const USAGE: &str = "{verb, task?, text?, state?, link?}";
const VERBS: [&str; 11] = [
    "list", "show", "add", "edit", "move", "claim", "unclaim", "note", "block", "review", "done",
];

/// `task`: what is to be done in this workspace, and how far it is.
pub(super) struct Task;

#[derive(Debug, Deserialize)]
struct Args {
    verb: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    link: String,
}

fn checked(args: &Value) -> Result<Args, ToolError> {
    let args: Args = decode(args, USAGE)?;
    if !VERBS.contains(&args.verb.as_str()) {
        return Err(ToolError::Arguments(format!(
            "There is no verb `{}`. The verbs are: {}.",
            visible(&args.verb).chars().take(40).collect::<String>(),
            VERBS.join(", ")
        )));
    }
    let needs = |what: &str, text: &str| {
        if text.trim().is_empty() {
            return Err(ToolError::Arguments(format!(
                "`{}` needs `{what}`. Usage: {USAGE}",
                args.verb
            )));
        }
        Ok(())
    };
    match args.verb.as_str() {
        "list" => {}
        "add" => needs("text", &args.text)?,
        "edit" | "note" => {
            needs("task", &args.task)?;
            needs("text", &args.text)?;
        }
        "move" => {
            needs("task", &args.task)?;
            needs("state", &args.state)?;
        }
        _ => needs("task", &args.task)?,
    }
    Ok(args)
}

#[async_trait]
impl Tool for Task {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "task".into(),
            description: "The workspace's task board (TASKS.md). claim before you work on a task, review or done when it is \
                          finished (link: commit), block with the reason when you are stuck. text: title, note or reason."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "verb": {"type": "string", "enum": VERBS},
                    "task": {"type": "string"},
                    "text": {"type": "string"},
                    "state": {"type": "string"},
                    "link": {"type": "string"}
                },
                "required": ["verb"]
            }),
        }
    }

    fn plan(&self, args: &Value, _: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args = checked(args)?;
        let looks = matches!(args.verb.as_str(), "list" | "show");
        let mut summary = format!("task {}", args.verb);
        for word in [&args.task, &args.state, &args.text, &args.link] {
            if !word.is_empty() {
                summary.push(' ');
                summary.push_str(&visible(word));
            }
        }
        Ok(CallPlan {
            effects: vec![if looks { Effect::Reads } else { Effect::Writes }],
            summary: summary.chars().take(200).collect(),
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args = checked(args)?;
        let call = TaskCall {
            verb: args.verb,
            task: args.task,
            text: args.text,
            state: args.state,
            link: args.link,
        };
        let text = ctx.desk.call(call).await.map_err(ToolError::Refused)?;
        Ok(ToolOutput {
            text,
            ok: true,
            ..ToolOutput::default()
        })
    }
}
