//! Owns: the tool `read`: a file's lines with numbers, or a directory's names.
//! Guarantees: bounded; what was cut is counted; remembers what the file was, for the stale-file check.

use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{blocking, decode, explain, number, resolve};
use super::output::cut_line;
use super::text::printable;
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::{Effect, ToolSpec};
use crate::workspace::{GuardError, Kind};

const USAGE: &str = "{path, offset?: first line, limit?: number of lines}";
/// Read whole, so that it can be hashed; of larger files only the beginning is shown.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
const MAX_LINES: u64 = 2_000;
const MAX_TEXT: usize = 64 * 1024;
const LINE_CHARS: usize = 2_000;
const MAX_ENTRIES: usize = 500;

/// `read`: shows a file.
pub(super) struct Read;

#[derive(Debug, Deserialize)]
struct Args {
    path: String,
    #[serde(default, deserialize_with = "number")]
    offset: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<u64>,
}

#[async_trait]
impl Tool for Read {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "read".into(),
            description: "Show a text file with line numbers (`number<tab>text`), or list a directory."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "offset": {"type": "integer", "description": "first line, from 1"},
                    "limit": {"type": "integer", "description": "lines, at most 2000"}
                },
                "required": ["path"]
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args: Args = decode(args, USAGE)?;
        let real = resolve(ctx, &args.path)?;
        let summary = format!("read {}", visible(&ctx.paths().show(&real)));
        Ok(CallPlan {
            effects: vec![Effect::Reads],
            summary,
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args: Args = decode(args, USAGE)?;
        let inner = ctx.clone();
        let text = blocking(move || {
            let real = resolve(&inner, &args.path)?;
            match inner.guard.read(&real, MAX_BYTES) {
                Ok(content) => {
                    let text = show(&content.bytes, content.total_bytes, &args)?;
                    inner.files.read(&real, content.stamp);
                    Ok(text)
                }
                Err(GuardError::NotAFile(_, Kind::Directory)) => list(&inner, &real),
                Err(error) => Err(explain(&inner, &error)),
            }
        })
        .await?;
        Ok(ToolOutput {
            text,
            ok: true,
            ..ToolOutput::default()
        })
    }
}

fn show(bytes: &[u8], total: u64, args: &Args) -> Result<String, ToolError> {
    if let Some(kind) = binary_kind(bytes) {
        return Err(ToolError::Refused(format!(
            "{} is {kind}, {total} bytes; it is not shown. Use exec (file, xxd, strings) to look into it.",
            visible(&args.path)
        )));
    }
    if bytes.is_empty() {
        return Ok("[the file is empty]".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let first = args.offset.unwrap_or(1).max(1);
    let limit = args.limit.unwrap_or(MAX_LINES).clamp(1, MAX_LINES);
    let mut shown = String::new();
    let (mut lines, mut last, mut full) = (0u64, 0u64, false);
    for line in text.lines() {
        lines += 1;
        if lines < first || lines >= first.saturating_add(limit) || full {
            continue;
        }
        let line = format!("{lines:>6}\t{}\n", cut_line(&printable(line), LINE_CHARS));
        full = shown.len() + line.len() > MAX_TEXT && !shown.is_empty();
        if !full {
            shown.push_str(&line);
            last = lines;
        }
    }
    let read = bytes.len() as u64;
    let more = if total > read {
        format!(" in the first {read} of {total} bytes; use exec for the rest")
    } else {
        String::new()
    };
    if last == 0 {
        return Err(ToolError::Refused(format!(
            "The file has {lines} lines{more}; offset {first} is beyond its end."
        )));
    }
    if first > 1 || last < lines || !more.is_empty() {
        shown.push_str(&format!("[lines {first} to {last} of {lines}{more}"));
        if last < lines {
            shown.push_str(&format!("; next: offset={}", last + 1));
        }
        shown.push_str("]\n");
    }
    if String::from_utf8(bytes.to_vec()).is_err() && total == read {
        shown.push_str("[not valid UTF-8; unreadable bytes are shown as \u{fffd}]\n");
    }
    Ok(shown)
}

fn list(ctx: &ToolContext, real: &Path) -> Result<String, ToolError> {
    let listing = ctx
        .guard
        .list(real, MAX_ENTRIES)
        .map_err(|error| explain(ctx, &error))?;
    let mut text = format!(
        "{} is a directory with {} entries:\n",
        visible(&ctx.paths.show(real)),
        listing.total
    );
    for entry in &listing.entries {
        let name = visible(&entry.name.to_string_lossy());
        text.push_str(&match (entry.kind, entry.size) {
            (Kind::Directory, _) => format!("{name}/\n"),
            (Kind::Symlink, _) => format!("{name}@\n"),
            (Kind::File, Some(size)) => format!("{name}\t{size}\n"),
            (kind, _) => format!("{name}\t({})\n", kind.words()),
        });
    }
    let left = listing.total.saturating_sub(listing.entries.len());
    if left > 0 || listing.more {
        text.push_str(&format!(
            "[{left}{} more entries; narrow down with search and files: true]\n",
            if listing.more { "+" } else { "" }
        ));
    }
    Ok(text)
}

/// What a binary file is; `None` for text.
fn binary_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: &[(&[u8], &str)] = &[
        (b"\x89PNG\r\n", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"GIF8", "a GIF image"),
        (b"%PDF-", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive (or a document in one)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\x7fELF", "an ELF program or library"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    if let Some((_, kind)) = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(kind);
    }
    bytes
        .iter()
        .take(8192)
        .any(|byte| *byte == 0)
        .then_some("a binary file")
}
