//! Owns: the tools `edit` (search and replace over several files).
//! Guarantees: all edits fit or nothing is written; says how it matched when it was not exact.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{blocking, decode, resolve_to_write, writing_plan};
use super::draft::{Draft, describe, excerpt, require_fresh};
use super::matching::{Rung, find_text};
use super::text::Text;
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::ToolSpec;

const USAGE: &str = "{edits: [{path, old, new, replace_all?}]}";

/// `edit`: replaces text in files.
pub(super) struct Edit;

#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(default, deserialize_with = "list")]
    edits: Vec<One>,
    // One edit may stand alone.
    path: Option<String>,
    old: Option<String>,
    new: Option<String>,
    #[serde(default)]
    replace_all: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct One {
    path: Option<String>,
    #[serde(alias = "old_string", alias = "old_text")]
    old: String,
    #[serde(alias = "new_string", alias = "new_text")]
    new: String,
    #[serde(default)]
    replace_all: bool,
}

/// A list of edits, also when written as JSON in a string, as some models do.
fn list<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<One>, D::Error> {
    let value = match Value::deserialize(from)? {
        Value::String(text) => serde_json::from_str(&text).map_err(serde::de::Error::custom)?,
        Value::Null => return Ok(Vec::new()),
        one @ Value::Object(_) => Value::Array(vec![one]),
        value => value,
    };
    Vec::deserialize(value).map_err(serde::de::Error::custom)
}

/// An edit with its path resolved.
struct Placed {
    path: PathBuf,
    old: String,
    new: String,
    replace_all: bool,
}

fn placed(args: &Value, ctx: &dyn PlanContext) -> Result<Vec<Placed>, ToolError> {
    let args: Args = decode(args, USAGE)?;
    let mut edits = args.edits;
    if let (Some(old), Some(new)) = (args.old, args.new) {
        edits.push(One {
            path: args.path.clone(),
            old,
            new,
            replace_all: args.replace_all,
        });
    }
    if edits.is_empty() {
        return Err(ToolError::Arguments(format!(
            "There is nothing to edit. Usage: {USAGE}"
        )));
    }
    let place = |edit: One| {
        let path = edit.path.as_ref().or(args.path.as_ref());
        let path =
            path.ok_or_else(|| ToolError::Arguments(format!("An edit has no path. Usage: {USAGE}")))?;
        Ok(Placed {
            path: resolve_to_write(ctx, path)?,
            // The file's own line ends are used whatever the model writes.
            old: edit.old.replace("\r\n", "\n"),
            new: edit.new.replace("\r\n", "\n"),
            replace_all: edit.replace_all,
        })
    };
    edits.into_iter().map(place).collect()
}

#[async_trait]
impl Tool for Edit {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "edit".into(),
            description: "Replace text in files; all edits apply or none. `old` must identify one place (add lines around it) \
                          unless replace_all. Small slips in whitespace are forgiven and reported. Empty `old` creates a file."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "edits": {"type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "path": {"type": "string"},
                            "old": {"type": "string", "description": "text as it is in the file"},
                            "new": {"type": "string", "description": "text to put there"},
                            "replace_all": {"type": "boolean"}
                        },
                        "required": ["path", "old", "new"]
                    }}
                },
                "required": ["edits"]
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let paths = placed(args, ctx)?.into_iter().map(|edit| edit.path).collect();
        Ok(writing_plan("edit", ctx, paths))
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let edits = placed(args, ctx)?;
        let inner = ctx.clone();
        let (draft, mut notes) = blocking(move || draft_edits(&inner, &edits)).await?;
        let (changes, more) = draft.commit(ctx).await?;
        notes.extend(more);
        let mut text = if changes.is_empty() {
            "The files already read so; nothing was written.".to_owned()
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

fn draft_edits(ctx: &ToolContext, edits: &[Placed]) -> Result<(Draft, Vec<String>), ToolError> {
    let mut draft = Draft::default();
    let mut notes = Vec::new();
    let mut checked: Vec<&PathBuf> = Vec::new();
    for (index, edit) in edits.iter().enumerate() {
        // With several edits the model must know which one failed.
        let which = if edits.len() > 1 {
            format!("Edit {} of {}: ", index + 1, edits.len())
        } else {
            String::new()
        };
        let shown = visible(&ctx.paths.show(&edit.path));
        let refuse = |text: String| ToolError::Refused(format!("{which}{text}"));
        let current = draft.load(ctx, &edit.path)?.map(<[u8]>::to_vec);
        if edit.old.is_empty() {
            if current.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
                return Err(refuse(format!(
                    "{shown} exists and `old` is empty. Quote the text to replace, or use `write` to replace the whole file. Nothing was written."
                )));
            }
            draft.set(ctx, &edit.path, Some(edit.new.clone().into_bytes()))?;
            continue;
        }
        let Some(bytes) = current else {
            let error = crate::workspace::GuardError::NotFound(edit.path.clone());
            return Err(refuse(format!(
                "{} Nothing was written.",
                super::arguments::explain(ctx, &error)
            )));
        };
        let text = Text::parse(&bytes).map_err(|error| refuse(format!("{shown} {error}")))?;
        let old_lines: Vec<&str> = edit.old.trim_end_matches('\n').split('\n').collect();
        if !checked.contains(&&edit.path) {
            require_fresh(ctx, &draft, &edit.path, text.plain(), &old_lines)?;
            checked.push(&edit.path);
        }
        if edit.old == edit.new {
            return Err(refuse(format!(
                "`old` and `new` are the same for {shown}. Nothing was written."
            )));
        }
        // Similar text is good enough only for a file the model has seen.
        let lowest = if ctx.files.get(&edit.path).is_some() {
            Rung::Similar
        } else {
            Rung::Punctuation
        };
        let found = find_text(text.plain(), &edit.old, &edit.new, lowest);
        let several = found.lines.len() > 1 && (!edit.replace_all || found.rung == Rung::Similar);
        if several {
            let lines: Vec<String> = found.lines.iter().take(10).map(usize::to_string).collect();
            let more = if found.lines.len() > 10 { ", …" } else { "" };
            return Err(refuse(format!(
                "`old` matches {} places in {shown}: lines {}{more}. Add lines around it so that it fits one, or set replace_all. \
                 Nothing was written.",
                found.lines.len(),
                lines.join(", ")
            )));
        }
        if found.lines.is_empty() {
            return Err(refuse(not_found(&shown, text.plain(), edit, &old_lines)));
        }
        if let Some(how) = found.rung.words() {
            let lines: Vec<String> = found.lines.iter().take(10).map(usize::to_string).collect();
            let plural = if lines.len() > 1 { "lines" } else { "line" };
            notes.push(format!(
                "{shown}: matched {how} at {plural} {}.",
                lines.join(", ")
            ));
        } else if found.lines.len() > 1 {
            notes.push(format!("{shown}: replaced {} places.", found.lines.len()));
        }
        draft.set(ctx, &edit.path, Some(text.apply(&found.splices)?.into_bytes()))?;
    }
    Ok((draft, notes))
}

fn not_found(shown: &str, plain: &str, edit: &Placed, old_lines: &[&str]) -> String {
    let mut text = format!("`old` is not in {shown}. Nothing was written.");
    let already = (edit.new.trim().len() >= 12)
        .then(|| plain.find(edit.new.trim()))
        .flatten();
    if let Some(at) = already {
        text.push_str(&format!(
            " The new text is there already, at line {}: the edit may have been made before.",
            super::text::line_number(plain, at)
        ));
        return text;
    }
    match excerpt(plain, old_lines) {
        Some(lines) => text.push_str(&format!(" The closest lines are:\n{lines}\nQuote them exactly.")),
        None => text.push_str(" Nothing in it is close; `read` the file or `search` for the text."),
    }
    text
}
