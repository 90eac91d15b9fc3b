//! Owns: the tool `apply_patch`: V4A patches over several files.
//! Guarantees: all files fit or nothing is written.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{blocking, decode, explain, lexical, resolve, resolve_to_write, writing_plan};
use super::draft::{Draft, describe, excerpt, require_fresh};
use super::matching::Rung;
use super::output::cut_line;
use super::text::Text;
use super::v4a::{self, FilePatch, HunkError, Problem};
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::ToolSpec;
use crate::workspace::{GuardError, Kind};

const USAGE: &str =
    "{patch: \"*** Begin Patch\\n*** Update File: path\\n@@\\n context\\n-old\\n+new\\n*** End Patch\"}";

/// `apply_patch`: applies a V4A patch.
pub(super) struct ApplyPatch;

#[derive(Debug, Deserialize)]
struct Args {
    #[serde(alias = "input")]
    patch: String,
}

#[async_trait]
impl Tool for ApplyPatch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "apply_patch".into(),
            description: "Apply a V4A patch to files; all of it or nothing. Form: `*** Begin Patch`, then per file `*** Add File: p` \
                          (lines with +), `*** Delete File: p`, or `*** Update File: p` [`*** Move to: q`] with hunks: `@@ def f():` \
                          optional, then lines starting with space (context), - or +. End: `*** End Patch`."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {"patch": {"type": "string"}},
                "required": ["patch"]
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args: Args = decode(args, USAGE)?;
        plan_patch(&args.patch, None, ctx)
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args: Args = decode(args, USAGE)?;
        run_patch(&args.patch, None, ctx).await
    }
}

fn parsed(patch: &str) -> Result<Vec<FilePatch>, ToolError> {
    v4a::parse(patch).map_err(|error| {
        let error = cut_line(&visible(&error), 400);
        ToolError::Arguments(format!("{error} Nothing was written."))
    })
}

fn rebase(base: Option<&str>, path: &str) -> String {
    match base {
        // Patches often name the file with a leading slash or without; an absolute path stands alone.
        Some(base) if !path.starts_with('/') => format!("{}/{path}", base.trim_end_matches('/')),
        _ => path.to_owned(),
    }
}

/// What a patch would change. `base`: the directory its relative paths start from, in the jail's names.
pub(super) fn plan_patch(
    patch: &str,
    base: Option<&str>,
    ctx: &dyn PlanContext,
) -> Result<CallPlan, ToolError> {
    let mut paths = Vec::new();
    for file in parsed(patch)? {
        match file {
            FilePatch::Add { path, .. } | FilePatch::Delete { path } => paths.push(path),
            FilePatch::Update { path, move_to, .. } => {
                paths.push(path);
                paths.extend(move_to);
            }
        }
    }
    let real: Result<Vec<PathBuf>, ToolError> = paths
        .iter()
        .map(|path| resolve_to_write(ctx, &rebase(base, path)))
        .collect();
    Ok(writing_plan("patch", ctx, real?))
}

/// Applies a patch.
pub(super) async fn run_patch(
    patch: &str,
    base: Option<&str>,
    ctx: &ToolContext,
) -> Result<ToolOutput, ToolError> {
    let files = parsed(patch)?;
    let inner = ctx.clone();
    let base = base.map(str::to_owned);
    let (draft, mut notes) = blocking(move || {
        let mut draft = Draft::default();
        let mut notes = Vec::new();
        for file in &files {
            draft_file(&inner, base.as_deref(), file, &mut draft, &mut notes)?;
        }
        Ok((draft, notes))
    })
    .await?;
    let (changes, more) = draft.commit(ctx).await?;
    notes.extend(more);
    let mut text = if changes.is_empty() {
        "The files already read so; nothing was written.".to_owned()
    } else {
        format!("Patch applied.\n{}", describe(ctx, &changes))
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

fn draft_file(
    ctx: &ToolContext,
    base: Option<&str>,
    file: &FilePatch,
    draft: &mut Draft,
    notes: &mut Vec<String>,
) -> Result<(), ToolError> {
    match file {
        FilePatch::Add { path, content } => {
            let real = resolve(ctx, &rebase(base, path))?;
            if draft.load(ctx, &real)?.is_some() {
                return Err(ToolError::Refused(format!(
                    "{} already exists. Use `*** Update File:`, or delete it in the same patch first. Nothing was written.",
                    visible(&ctx.paths.show(&real))
                )));
            }
            draft.set(ctx, &real, Some(content.clone().into_bytes()))
        }
        FilePatch::Delete { path } => {
            let real = itself(ctx, &rebase(base, path))?;
            require_there(ctx, draft, &real)?;
            require_fresh(ctx, draft, &real, "", &[])?;
            draft.set(ctx, &real, None)
        }
        FilePatch::Update { path, move_to, hunks } => {
            let given = rebase(base, path);
            let real = if move_to.is_some() {
                itself(ctx, &given)?
            } else {
                resolve(ctx, &given)?
            };
            let bytes = require_there(ctx, draft, &real)?;
            if !hunks.is_empty() {
                let updated = updated(ctx, draft, &real, &bytes, hunks, notes)?;
                draft.set(ctx, &real, Some(updated.into_bytes()))?;
            }
            match move_to {
                Some(to) => draft.rename(ctx, &real, &resolve(ctx, &rebase(base, to))?),
                None => Ok(()),
            }
        }
    }
}

fn updated(
    ctx: &ToolContext,
    draft: &Draft,
    real: &Path,
    bytes: &[u8],
    hunks: &[v4a::Hunk],
    notes: &mut Vec<String>,
) -> Result<String, ToolError> {
    let shown = visible(&ctx.paths.show(real));
    let text = Text::parse(bytes).map_err(|error| ToolError::Refused(format!("{shown} {error}")))?;
    let first: Vec<&str> = hunks
        .iter()
        .flat_map(|hunk| &hunk.lines)
        .filter_map(|line| match line {
            v4a::Line::Keep(text) | v4a::Line::Remove(text) => Some(text.as_str()),
            v4a::Line::Add(_) => None,
        })
        .take(8)
        .collect();
    require_fresh(ctx, draft, real, text.plain(), &first)?;
    let lowest = if ctx.files.get(real).is_some() {
        Rung::Similar
    } else {
        Rung::Punctuation
    };
    let (splices, placed) =
        v4a::apply(&text, hunks, lowest).map_err(|error| misplaced(&shown, text.plain(), &error))?;
    for (line, rung) in placed {
        if let Some(how) = rung.words() {
            notes.push(format!("{shown}: matched {how} at line {line}."));
        }
    }
    text.apply(&splices)
}

/// The path with links in its directories resolved, but itself no link: deleting a link's target is never meant.
fn itself(ctx: &ToolContext, given: &str) -> Result<PathBuf, ToolError> {
    let rel = lexical(ctx, given)?;
    if ctx.guard.kind(&rel).ok() == Some(Kind::Symlink) {
        return Err(ToolError::Refused(format!(
            "{} is a symbolic link. Remove or move links with exec. Nothing was written.",
            visible(&ctx.paths.show(&rel))
        )));
    }
    resolve(ctx, given)
}

fn require_there(ctx: &ToolContext, draft: &mut Draft, real: &Path) -> Result<Vec<u8>, ToolError> {
    match draft.load(ctx, real)? {
        Some(bytes) => Ok(bytes.to_vec()),
        None => {
            let reason = explain(ctx, &GuardError::NotFound(real.to_path_buf()));
            Err(ToolError::Refused(format!("{reason} Nothing was written.")))
        }
    }
}

fn misplaced(shown: &str, plain: &str, error: &HunkError) -> ToolError {
    let which = if error.of > 1 {
        format!("Hunk {} of {} for", error.number, error.of)
    } else {
        "The hunk for".into()
    };
    let old: Vec<&str> = error.old.iter().map(String::as_str).collect();
    let text = match &error.problem {
        Problem::Ambiguous(lines) => {
            let lines: Vec<String> = lines.iter().take(10).map(usize::to_string).collect();
            format!(
                "fits several places: lines {}. Add context lines, or an `@@` line naming the function or class it is in.",
                lines.join(", ")
            )
        }
        Problem::OutOfOrder(line) => {
            format!(
                "is found only at line {line}, above the hunk before it. Hunks must come in the order of the file."
            )
        }
        Problem::NoAnchor(anchor) => {
            format!("only adds lines, and `@@ {anchor}` is not in the file. Add context lines.")
        }
        Problem::NotFound => match excerpt(plain, &old) {
            Some(lines) => {
                format!("is not in the file. The closest lines are:\n{lines}\nQuote context exactly.")
            }
            None => "is not in the file, and nothing in it is close; `read` it first.".to_owned(),
        },
    };
    ToolError::Refused(format!("{which} {shown} {text} Nothing was written."))
}
