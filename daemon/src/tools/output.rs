//! Owns: what the model reads of a command's output: cleaned, its beginning and end, with exact counts of what is left
//! out; and the tool `read_output` that shows the rest.
//! Guarantees: escape sequences and control characters never reach the model; counts are of the real bytes and lines.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{decode, number};
use super::{CallPlan, OutputStream, OutputView, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::id::ExecId;
use crate::domain::tool::{Effect, ToolSpec};

/// What one stream may take of the model's attention. The end says how it went, so it gets more.
const HEAD_BYTES: usize = 6 * 1024;
const TAIL_BYTES: usize = 10 * 1024;
/// A longer line is a minified file or a progress bar.
const LINE_CHARS: usize = 2_000;
/// What one `read_output` shows, unless asked for less.
const PAGE_BYTES: u64 = 16 * 1024;

/// Text without escape sequences and control characters, as a terminal would have shown it; invalid UTF-8 replaced.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_csi(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // Two-character sequences with an intermediate, such as `ESC ( B`.
                Some(' '..='/') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\n' | '\t' => shown.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            // A progress bar paints over its line: only the last coat counts, unless it is empty.
            '\r' if chars.peek().is_some() => {
                let start = shown.rfind('\n').map_or(0, |at| at + 1);
                shown.truncate(start);
            }
            '\u{8}' if !shown.ends_with('\n') => {
                shown.pop();
            }
            _ if c.is_control() => {}
            _ => shown.push(c),
        }
    }
    shown
}

fn skip_csi(chars: &mut impl Iterator<Item = char>) {
    for c in chars {
        if matches!(c, '\u{40}'..='\u{7e}') || c == '\n' {
            break;
        }
    }
}

/// A control string ends with BEL or ST; one that does not end is not allowed to swallow more than its line.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.peek().copied() {
        if c == '\n' {
            return;
        }
        chars.next();
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                if chars.peek() == Some(&'\\') {
                    chars.next();
                }
                return;
            }
            _ => {}
        }
    }
}

/// One stream as the model reads it. `exec_id` tells how to read more.
pub(super) fn shorten(view: &OutputView, stream: OutputStream, exec_id: Option<&ExecId>) -> String {
    let here = view.head.len() + view.tail.len();
    let whole = view.total_bytes == here as u64;
    if whole && here <= HEAD_BYTES + TAIL_BYTES {
        let mut bytes = view.head.clone();
        bytes.extend_from_slice(&view.tail);
        return cut_lines(&clean(&bytes));
    }
    let mut all: Vec<u8> = Vec::new();
    let (head, tail) = if whole {
        all.extend_from_slice(&view.head);
        all.extend_from_slice(&view.tail);
        let head = first_lines(&all, HEAD_BYTES);
        (head, all.get(head.len()..).unwrap_or_default())
    } else {
        (first_lines(&view.head, HEAD_BYTES), view.tail.as_slice())
    };
    let tail = last_lines(tail, TAIL_BYTES);
    let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let bytes_out = view.total_bytes.saturating_sub((head.len() + tail.len()) as u64);
    let lines_out = view.total_lines.saturating_sub(newlines(head) + newlines(tail));
    let mut gap = format!(
        "[... {bytes_out} bytes, {lines_out} lines of {stream} left out here",
        stream = stream.as_str()
    );
    if view.dropped > 0 {
        gap.push_str(&format!(
            "; {} bytes of them went over the limit and were not kept",
            view.dropped
        ));
    }
    if let Some(id) = exec_id {
        gap.push_str(&format!(
            "; more: read_output exec_id={id} stream={} offset={}",
            stream.as_str(),
            head.len()
        ));
    }
    gap.push_str(" ...]");
    let (head, tail) = (cut_lines(&clean(head)), cut_lines(&clean(tail)));
    format!("{}\n{gap}\n{tail}", head.trim_end_matches('\n'))
}

/// At most `max` bytes from the front, up to a line end if there is one not too far back. Something follows after a gap.
fn first_lines(bytes: &[u8], max: usize) -> &[u8] {
    let cut = bytes.get(..max).unwrap_or(bytes);
    match cut.iter().rposition(|byte| *byte == b'\n') {
        Some(at) if at >= cut.len() / 2 => cut.get(..=at).unwrap_or(cut),
        _ => whole_chars(cut),
    }
}

fn last_lines(bytes: &[u8], max: usize) -> &[u8] {
    let start = bytes.len().saturating_sub(max);
    let cut = bytes.get(start..).unwrap_or(bytes);
    if start == 0 {
        return cut;
    }
    match cut.iter().position(|byte| *byte == b'\n') {
        Some(at) if at <= max / 2 => cut.get(at + 1..).unwrap_or(cut),
        _ => {
            let skip = cut
                .iter()
                .take(3)
                .take_while(|byte| (**byte & 0xc0) == 0x80)
                .count();
            cut.get(skip..).unwrap_or(cut)
        }
    }
}

/// Without a character cut in half at the end.
fn whole_chars(bytes: &[u8]) -> &[u8] {
    for back in 1..=3.min(bytes.len()) {
        let at = bytes.len() - back;
        match bytes.get(at) {
            Some(byte) if byte & 0xc0 == 0x80 => {}
            Some(byte) => {
                let need = match byte {
                    0xc0..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf7 => 4,
                    _ => 1,
                };
                return if need > back {
                    bytes.get(..at).unwrap_or(bytes)
                } else {
                    bytes
                };
            }
            None => return bytes,
        }
    }
    bytes
}

/// Long lines cut, with counts.
pub(super) fn cut_lines(text: &str) -> String {
    if text.lines().all(|line| line.len() <= LINE_CHARS) {
        return text.to_owned();
    }
    let lines = text.split('\n').map(|line| cut_line(line, LINE_CHARS));
    lines.collect::<Vec<String>>().join("\n")
}

/// A line of at most `max` characters, with the count of what is missing.
pub(super) fn cut_line(line: &str, max: usize) -> String {
    match line.char_indices().nth(max) {
        None => line.to_owned(),
        Some((at, _)) => {
            let rest = line.get(at..).unwrap_or_default().chars().count();
            format!(
                "{}[... {rest} more characters in this line]",
                line.get(..at).unwrap_or_default()
            )
        }
    }
}

/// `read_output`: more of a command's output.
pub(super) struct ReadOutput;

const USAGE: &str = "{exec_id, stream: \"stdout\"|\"stderr\", offset?, limit?}";

#[derive(Debug, Deserialize)]
struct Args {
    exec_id: String,
    stream: Option<OutputStream>,
    #[serde(default, deserialize_with = "number")]
    offset: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<u64>,
}

#[async_trait]
impl Tool for ReadOutput {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "read_output".into(),
            description: "Read a part of an earlier exec's output that was left out, by byte offset.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "exec_id": {"type": "string"},
                    "stream": {"type": "string", "enum": ["stdout", "stderr"]},
                    "offset": {"type": "integer"},
                    "limit": {"type": "integer", "description": "bytes, at most 16384"}
                },
                "required": ["exec_id"]
            }),
        }
    }

    fn plan(&self, args: &Value, _ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args: Args = decode(args, USAGE)?;
        let id = exec_id(&args.exec_id)?;
        let summary = format!("read more output of {id}");
        Ok(CallPlan {
            effects: vec![Effect::Reads],
            summary,
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args: Args = decode(args, USAGE)?;
        let id = exec_id(&args.exec_id)?;
        let stream = args.stream.unwrap_or(OutputStream::Stdout);
        let offset = args.offset.unwrap_or(0);
        let limit = args.limit.unwrap_or(PAGE_BYTES).clamp(1, PAGE_BYTES);
        let chunk = ctx.shell.read_output(&id, stream, offset, limit).await?;
        let next = offset.saturating_add(chunk.bytes.len() as u64);
        let mut text = cut_lines(&clean(&chunk.bytes));
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let more = if next < chunk.total_bytes {
            format!("; next: offset={next}")
        } else {
            "; this is the end".into()
        };
        text.push_str(&format!(
            "[{} bytes {offset} to {next} of {}{more}]",
            stream.as_str(),
            chunk.total_bytes
        ));
        Ok(ToolOutput {
            text,
            ok: true,
            ..ToolOutput::default()
        })
    }
}

fn exec_id(text: &str) -> Result<ExecId, ToolError> {
    text.trim().parse().map_err(|error| {
        ToolError::Arguments(format!(
            "{error}. Take the exec_id from the result of the exec call."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_vanish() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]52;c;c2VjcmV0\u{1b}\\x", "x"),
            ("\u{1b}]8;;http://e\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}P q\u{1b}\\x\u{1b}c\u{1b}(By", "xy"),
            ("\u{9b}2Kx\u{9d}0;t\u{9c}y", "xy"),
            ("\u{1b}[6n\u{1b}[200~paste\u{1b}[201~", "paste"),
            ("a\u{7}\0b\u{7f}c", "abc"),
            ("10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
            ("abX\u{8}c", "abc"),
            ("\u{1b}]never ends\nnext", "\nnext"),
            ("\u{1b}", ""),
            ("tab\tstays", "tab\tstays"),
        ] {
            assert_eq!(clean(raw.as_bytes()), shown, "{raw:?}");
        }
        assert_eq!(clean(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn short_output_is_whole() {
        assert_eq!(
            shorten(&OutputView::whole("a\nb\n"), OutputStream::Stdout, None),
            "a\nb\n"
        );
    }

    #[test]
    fn long_output_keeps_both_ends_with_exact_counts() {
        let text: String = (1..=10_000).map(|n| format!("line {n}\n")).collect();
        let id: ExecId = "x-abc".parse().unwrap();
        let shown = shorten(&OutputView::whole(text.as_str()), OutputStream::Stdout, Some(&id));
        let gap = shown.lines().find(|line| line.starts_with("[...")).unwrap();
        let head: Vec<&str> = shown
            .lines()
            .take_while(|line| !line.starts_with("[..."))
            .collect();
        let tail: Vec<&str> = shown.lines().skip(head.len() + 1).collect();
        assert_eq!(
            (head.first(), tail.last()),
            (Some(&"line 1"), Some(&"line 10000"))
        );
        let head_bytes: usize = head.iter().map(|line| line.len() + 1).sum();
        let tail_bytes: usize = tail.iter().map(|line| line.len() + 1).sum();
        let want = format!(
            "[... {} bytes, {} lines of stdout left out here; more: read_output exec_id=x-abc stream=stdout offset={head_bytes} ...]",
            text.len() - head_bytes - tail_bytes,
            10_000 - head.len() - tail.len()
        );
        assert_eq!(gap, want);
    }

    #[test]
    fn what_was_never_kept_is_said() {
        let view = OutputView {
            total_bytes: 1_000_000,
            total_lines: 3,
            head: b"begin\n".to_vec(),
            tail: b"end\n".to_vec(),
            dropped: 900_000,
        };
        let shown = shorten(&view, OutputStream::Stderr, None);
        let want = "begin\n[... 999990 bytes, 1 lines of stderr left out here; 900000 bytes of them went over the limit and were not kept ...]\nend\n";
        assert_eq!(shown, want);
    }

    #[test]
    fn one_endless_line_is_cut_between_characters() {
        let shown = shorten(
            &OutputView::whole("\u{e9}".repeat(100_000)),
            OutputStream::Stdout,
            None,
        );
        assert!(!shown.contains('\u{fffd}'), "no half characters");
        assert!(shown.len() < 24 * 1024);
    }
}
