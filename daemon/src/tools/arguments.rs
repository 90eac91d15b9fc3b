//! Owns: reading a call's arguments and resolving the paths in them.
//! Guarantees: lenient in form (a number written as text, a path with `./`), strict in meaning; errors name the fix.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CallPlan, PlanContext, ToolContext, ToolError, locate};
use crate::domain::policy::visible;
use crate::domain::tool::Effect;
use crate::workspace::{GuardError, protected};

/// The arguments of a call, as JSON text the model wrote. Nothing at all is an empty object.
pub fn parse_arguments(text: &str) -> Result<Value, ToolError> {
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(ToolError::Arguments(
            "The arguments must be a JSON object.".into(),
        )),
        Err(error) => Err(ToolError::Arguments(format!(
            "The arguments are not valid JSON ({error}). Nothing was done; send the whole call again."
        ))),
    }
}

/// The arguments as a tool's own type; `usage` shows their form.
pub(super) fn decode<T: DeserializeOwned>(args: &Value, usage: &str) -> Result<T, ToolError> {
    T::deserialize(args)
        .map_err(|error| ToolError::Arguments(format!("Bad arguments: {error}. Usage: {usage}")))
}

/// A whole number, also when written as text or as `10.0`.
pub(super) fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    let bad = || serde::de::Error::custom("expected a whole number, 0 or more");
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number
                .as_f64()
                .filter(|x| *x >= 0.0 && x.fract() == 0.0 && *x < 9e15);
            number
                .as_u64()
                .or(whole.map(|x| x as u64))
                .map(Some)
                .ok_or_else(bad)
        }
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| bad()),
        Some(_) => Err(bad()),
    }
}

/// The path relative to the Workspace, or absolute in a directory that was added, as it was given: links not resolved.
pub(super) fn lexical(ctx: &dyn PlanContext, given: &str) -> Result<PathBuf, ToolError> {
    let outside = || {
        let here = ctx.paths().show(Path::new(""));
        let added: String = ctx
            .guard()
            .added_dirs()
            .map(|(dir, _)| format!(" and in {}", visible(&dir.display().to_string())))
            .collect();
        ToolError::Refused(format!(
            "{} is outside the workspace. File tools reach only files in it ({here}){added}; give a path relative to it, or \
             use exec for what else is in the jail.",
            visible(given)
        ))
    };
    if given.contains('\0') {
        return Err(ToolError::Arguments("A path cannot contain a NUL byte.".into()));
    }
    locate(ctx.paths(), ctx.guard(), given).ok_or_else(outside)
}

/// The path relative to the Workspace with all links resolved: what a read or write will really touch.
pub(super) fn resolve(ctx: &dyn PlanContext, given: &str) -> Result<PathBuf, ToolError> {
    let rel = lexical(ctx, given)?;
    ctx.guard().real(&rel).map_err(|error| explain(ctx, &error))
}

/// The same for what is to be written: nothing in a directory that was added to be read.
pub(super) fn resolve_to_write(ctx: &dyn PlanContext, given: &str) -> Result<PathBuf, ToolError> {
    let real = resolve(ctx, given)?;
    let allowed = ctx.guard().require_writable(&real);
    allowed.map_err(|error| explain(ctx, &error))?;
    Ok(real)
}

/// A resolved path may be written in this call.
pub(super) fn require_clear(ctx: &ToolContext, real: &Path) -> Result<(), ToolError> {
    match protected(real) {
        Some(why) if !ctx.cleared.iter().any(|path| path == real) => Err(ToolError::Refused(format!(
            "{} is protected ({why}) and this call was not cleared to write it. Ask the person, or leave it as it is.",
            ctx.paths.show(real)
        ))),
        _ => Ok(()),
    }
}

/// The plan of a call that writes these files (resolved paths).
pub(super) fn writing_plan(verb: &str, ctx: &dyn PlanContext, mut paths: Vec<PathBuf>) -> CallPlan {
    let mut unique = Vec::new();
    paths.retain(|path| {
        let fresh = !unique.contains(path);
        if fresh {
            unique.push(path.clone());
        }
        fresh
    });
    let shown: Vec<String> = paths
        .iter()
        .take(3)
        .map(|path| visible(&ctx.paths().show(path)))
        .collect();
    let more = match paths.len().saturating_sub(3) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    CallPlan {
        effects: vec![Effect::Reads, Effect::Writes],
        summary: format!("{verb} {}{more}", shown.join(", ")),
        protected: paths
            .iter()
            .filter_map(|path| Some((path.clone(), protected(path)?)))
            .collect(),
        paths,
        command: None,
        interactive: false,
        hosts: Vec::new(),
    }
}

/// A guard's "no" in words the model can act on.
pub(super) fn explain(ctx: &dyn PlanContext, error: &GuardError) -> ToolError {
    let show = |path: &Path| visible(&ctx.paths().show(path));
    ToolError::Refused(match error {
        GuardError::Outside(path) => {
            format!(
                "{} leads outside the workspace (through `..` or a symbolic link). File tools do not follow it; use exec for what the jail can see.",
                show(path)
            )
        }
        GuardError::NotFound(path) => {
            let hint = nearest(ctx, path);
            format!("{} does not exist.{hint}", show(path))
        }
        GuardError::NotAFile(path, kind) => {
            format!(
                "{} is {}, not a regular file; file tools do not touch it. Use exec if you need it.",
                show(path),
                kind.words()
            )
        }
        GuardError::NotADirectory(path) => {
            format!(
                "A part of {} is a file where a directory is needed. Check the path with `read` on the directory above.",
                show(path)
            )
        }
        GuardError::Loop(path) => format!(
            "{} goes through too many symbolic links; they form a loop.",
            show(path)
        ),
        GuardError::Dangling(path) => {
            format!(
                "{} is a symbolic link to something that does not exist. Write to its target by its own path, or remove the link with exec.",
                show(path)
            )
        }
        GuardError::BadName(path, why) => format!("{} cannot name a file: {why}.", show(path)),
        GuardError::Stale(path) => {
            format!(
                "{} was changed by someone else meanwhile. Nothing was written; read it again.",
                show(path)
            )
        }
        GuardError::Exists(path) => format!("{} already exists.", show(path)),
        GuardError::ReadOnly(path, mode) => {
            format!(
                "{} is read-only (mode {mode:04o}). If it is meant to be changed, make it writable first: exec `chmod u+w`.",
                show(path)
            )
        }
        GuardError::Moved(path) => {
            format!(
                "{} was replaced by a symbolic link while it was being opened. Nothing was written; look at it and try again.",
                show(path)
            )
        }
        GuardError::Secret(path) => {
            format!(
                "{} holds secrets and is kept from you (privacy.secret_files). Do without its content: ask the person for what \
                 you need of it, or use an example file beside it.",
                show(path)
            )
        }
        GuardError::AddedReadOnly(path) => format!(
            "{} is in a directory that was added read-only. Nothing was written; a person can add it with --add-dir PATH:rw.",
            show(path)
        ),
        GuardError::Io(path, error) => {
            return ToolError::Failed(format!("{} could not be accessed: {error}.", show(path)));
        }
    })
}

/// Names in the same directory that look alike.
fn nearest(ctx: &dyn PlanContext, rel: &Path) -> String {
    let (Some(parent), Some(name)) = (rel.parent(), rel.file_name()) else {
        return String::new();
    };
    let wanted = name.to_string_lossy().to_lowercase();
    let Ok(listing) = ctx.guard().list(parent, 2_000) else {
        return format!(
            " Nor does the directory {}; list the one above with `read`.",
            visible(&ctx.paths().show(parent))
        );
    };
    let mut alike: Vec<(f64, String)> = listing
        .entries
        .iter()
        .filter_map(|entry| {
            let found = entry.name.to_str()?;
            let score = strsim::jaro_winkler(&wanted, &found.to_lowercase());
            (score > 0.85).then(|| (score, visible(&ctx.paths().show(&parent.join(found)))))
        })
        .collect();
    alike.sort_by(|one, two| two.0.total_cmp(&one.0));
    let names: Vec<String> = alike.into_iter().take(3).map(|(_, name)| name).collect();
    if names.is_empty() {
        " List the directory with `read`, or find the file with `search` and `files: true`.".to_owned()
    } else {
        format!(" Did you mean {}?", names.join(" or "))
    }
}

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::Failed(format!(
            "The tool broke: {error}. The call may be tried again."
        ))),
    }
}
