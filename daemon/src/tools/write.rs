//! Owns: the tool `write`: a whole file at once.
//! Guarantees: overwrites only what the model has read or written in this session and nobody changed since.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{blocking, decode, resolve_to_write, writing_plan};
use super::draft::{Draft, describe};
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::ToolSpec;

const USAGE: &str = "{path, content}";

/// `write`: creates or replaces a file.
pub(super) struct Write;

#[derive(Debug, Deserialize)]
struct Args {
    path: String,
    content: String,
}

#[async_trait]
impl Tool for Write {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "write".into(),
            description:
                "Create a file, or replace one you have read in this session. Parent directories are made."
                    .into(),
            parameters: json!({
                "type": "object",
                "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
                "required": ["path", "content"]
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args: Args = decode(args, USAGE)?;
        Ok(writing_plan(
            "write",
            ctx,
            vec![resolve_to_write(ctx, &args.path)?],
        ))
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args: Args = decode(args, USAGE)?;
        let real = resolve_to_write(ctx, &args.path)?;
        let inner = ctx.clone();
        let draft = blocking(move || {
            let mut draft = Draft::default();
            let shown = visible(&inner.paths.show(&real));
            if draft.load(&inner, &real)?.is_some_and(|bytes| !bytes.is_empty()) {
                let Some(seen) = inner.files.get(&real).filter(|seen| seen.read) else {
                    return Err(ToolError::Refused(format!(
                        "{shown} exists and you have not read it in this session. `read` it first, or change parts of it \
                         with the edit tool. Nothing was written."
                    )));
                };
                if draft.stamp(&real).is_some_and(|now| !now.same_content(&seen.stamp)) {
                    return Err(ToolError::Refused(format!(
                        "{shown} changed since you last read or wrote it (a command, or a person). `read` it again before \
                         replacing it. Nothing was written."
                    )));
                }
            }
            draft.set(&inner, &real, Some(args.content.into_bytes()))?;
            Ok(draft)
        })
        .await?;
        let (changes, notes) = draft.commit(ctx).await?;
        let mut text = if changes.is_empty() {
            "The file already reads so; nothing was written.".to_owned()
        } else {
            describe(ctx, &changes)
        };
        for note in notes {
            text.push('\n');
            text.push_str(&note);
        }
        Ok(ToolOutput {
            text,
            ok: true,
            changes,
            ..ToolOutput::default()
        })
    }
}
