//! Owns: the tool `exec`: a command in the session's persistent shell.
//! Guarantees: the model learns exactly how the command ended; a patch typed into the shell goes through the edit engine.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apply_patch::{plan_patch, run_patch};
use super::arguments::{decode, number};
use super::heredoc::{PatchCommand, patch_command};
use super::output::shorten;
use super::{
    CallPlan, CommandCall, CommandOutput, OutputStream, PlanContext, Tool, ToolContext, ToolError, ToolOutput,
};
use crate::domain::policy::visible;
use crate::domain::tool::{Effect, ToolSpec};

const USAGE: &str = "{command: string, timeout_seconds?: number, interactive?: boolean}";
/// The whole command stands in the log; this is for a list.
const SUMMARY_CHARS: usize = 200;

/// `exec`: runs a command.
pub(super) struct Exec;

#[derive(Debug, Deserialize)]
struct Args {
    #[serde(alias = "cmd", deserialize_with = "command_text")]
    command: String,
    #[serde(default, alias = "timeout", deserialize_with = "number")]
    timeout_seconds: Option<u64>,
    #[serde(default)]
    interactive: bool,
}

/// Some models send an argument vector; `["bash", "-lc", text]` is the text.
fn command_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Vector(Vec<String>),
    }
    Ok(match Form::deserialize(from)? {
        Form::Text(text) => text,
        Form::Vector(words) => match words.as_slice() {
            [shell, flag, text]
                if matches!(shell.rsplit('/').next(), Some("bash" | "sh"))
                    && matches!(flag.as_str(), "-c" | "-lc") =>
            {
                text.clone()
            }
            words => words
                .iter()
                .map(|word| quoted(word))
                .collect::<Vec<String>>()
                .join(" "),
        },
    })
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn parsed(args: &Value) -> Result<Args, ToolError> {
    let args: Args = decode(args, USAGE)?;
    if args.command.trim().is_empty() {
        return Err(ToolError::Arguments("The command is empty.".into()));
    }
    if args.command.contains('\0') {
        return Err(ToolError::Arguments(
            "A command cannot contain a NUL byte.".into(),
        ));
    }
    Ok(args)
}

/// Where a typed patch's relative paths start.
fn patch_base(patch: &PatchCommand, cwd: Option<String>) -> Option<String> {
    match (&patch.dir, cwd) {
        (Some(dir), Some(cwd)) if !dir.starts_with('/') => {
            Some(format!("{}/{dir}", cwd.trim_end_matches('/')))
        }
        (Some(dir), _) => Some(dir.clone()),
        (None, cwd) => cwd,
    }
}

#[async_trait]
impl Tool for Exec {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "exec".into(),
            description: "Run a shell command in the session's persistent shell (cwd, variables and functions stay). Returns exit \
                          code and output; long output is cut in the middle. No stdin and no terminal, unless interactive: then \
                          the user answers its prompts."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "command": {"type": "string"},
                    "timeout_seconds": {"type": "integer"},
                    "interactive": {"type": "boolean"}
                },
                "required": ["command"]
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args = parsed(args)?;
        if let Some(patch) = patch_command(&args.command) {
            return plan_patch(&patch.patch, patch_base(&patch, ctx.cwd()).as_deref(), ctx);
        }
        let shown = visible(args.command.trim());
        let mut summary: String = shown.chars().take(SUMMARY_CHARS).collect();
        let left = shown.chars().count().saturating_sub(SUMMARY_CHARS);
        if left > 0 {
            summary.push_str(&format!("… ({left} more characters)"));
        }
        Ok(CallPlan {
            effects: vec![Effect::Reads, Effect::Writes, Effect::Executes],
            summary,
            command: Some(args.command),
            interactive: args.interactive,
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args = parsed(args)?;
        if let Some(patch) = patch_command(&args.command) {
            return run_patch(&patch.patch, patch_base(&patch, ctx.shell.cwd()).as_deref(), ctx).await;
        }
        let timeout = args
            .timeout_seconds
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        let call = CommandCall {
            command: args.command,
            timeout,
            interactive: args.interactive,
        };
        let output = ctx.shell.run(call).await?;
        let ok = output.exit_code == Some(0) && !output.timed_out && !output.interrupted;
        Ok(ToolOutput {
            text: report(&output),
            ok,
            changes: Vec::new(),
            exec: Some(output),
            ..ToolOutput::default()
        })
    }
}

/// What the model reads of a command that ended.
fn report(output: &CommandOutput) -> String {
    let mut text = match output.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "exit code unknown".to_owned(),
    };
    text.push_str(&format!(", {:.1} s", output.duration.as_secs_f64()));
    if let Some(cwd) = &output.cwd {
        text.push_str(&format!(", now in {}", visible(cwd)));
    }
    text.push('\n');
    let mut say = |sentence: &str| {
        text.push_str(sentence);
        text.push('\n');
    };
    if output.timed_out {
        say(
            "The command hit its time limit and was stopped. Give it more with timeout_seconds, or run it in the background with `&`.",
        );
    }
    if output.interrupted {
        say("The command was interrupted.");
    }
    if output.background {
        say("Processes it started are still running in the background.");
    }
    if output.shell_restarted {
        say("The shell had to be restarted; shell variables and functions set earlier may be gone.");
    }
    if let Some(message) = &output.message {
        say(&visible(message));
    }
    let id = output.exec_id.as_ref();
    let stdout = shorten(&output.stdout, OutputStream::Stdout, id);
    let stderr = shorten(&output.stderr, OutputStream::Stderr, id);
    match (stdout.trim().is_empty(), stderr.trim().is_empty()) {
        (true, true) => text.push_str("(no output)\n"),
        (false, true) => text.push_str(&stdout),
        (true, false) => text.push_str(&format!("stderr:\n{stderr}")),
        (false, false) => {
            let gap = if stdout.ends_with('\n') { "" } else { "\n" };
            text.push_str(&format!("stdout:\n{stdout}{gap}stderr:\n{stderr}"));
        }
    }
    text
}
