//! Owns: the model's way to its own session's log: what went out of its context is still there.
//! Guarantees: bounded in events looked at and in text; read-only; only this session's log.

use async_trait::async_trait;

use crate::domain::event::EventBody;
use crate::domain::find::Needle;
use crate::domain::id::{Seq, SessionId};
use crate::domain::message::Part;
use crate::domain::session::clip;
use crate::store::Store;
use crate::tools::SessionLog;

/// Events one search looks at, and how many are in memory at a time.
const EVENTS: usize = 20_000;
const PAGE: u32 = 1_000;
/// Most characters of one event shown whole.
const MOST: usize = 16_000;

/// A session's log.
pub(super) struct Recall {
    pub(super) store: Store,
    pub(super) session_id: SessionId,
}

#[async_trait]
impl SessionLog for Recall {
    async fn find(&self, text: &str, limit: usize) -> Result<String, String> {
        if let Some(seq) = text.trim().strip_prefix('#').and_then(|n| n.parse::<Seq>().ok()) {
            return self.whole(seq).await;
        }
        let Some(needle) = Needle::new(text) else {
            return Err(
                "Give the words to look for (at most 200 characters), or #NUMBER to read one entry.".into(),
            );
        };
        let mut before = u64::MAX >> 1;
        let mut looked = 0;
        let mut lines = Vec::new();
        while looked < EVENTS && lines.len() < limit && before > 1 {
            let page = self.store.events_before(&self.session_id, before, PAGE).await;
            let page = page.map_err(|error| format!("The log could not be read: {error}."))?;
            let Some(first) = page.first() else { break };
            looked += page.len();
            for event in page.iter().rev() {
                if lines.len() >= limit {
                    break;
                }
                if let Some(line) = needle.find(&event.body) {
                    lines.push(format!(
                        "#{} {}: {line}",
                        event.seq,
                        event.body.kind().replace('_', " ")
                    ));
                }
            }
            before = first.seq;
        }
        if lines.is_empty() {
            return Ok(
                "Nothing in this session's log has these words. They are looked for as they stand.".into(),
            );
        }
        lines.push("[newest first; search #NUMBER with log: true reads an entry whole]".into());
        Ok(lines.join("\n"))
    }
}

impl Recall {
    async fn whole(&self, seq: Seq) -> Result<String, String> {
        let found = self
            .store
            .events_after(&self.session_id, seq.saturating_sub(1), 1)
            .await;
        let found = found.map_err(|error| format!("The log could not be read: {error}."))?;
        let Some(event) = found.first().filter(|event| event.seq == seq) else {
            return Err(format!("There is no entry #{seq} in this session's log."));
        };
        let text = match &event.body {
            EventBody::MessagePosted { parts, .. } | EventBody::StepFinished { parts, .. } => {
                parts.iter().map(said).collect::<Vec<_>>().join("\n")
            }
            EventBody::ToolCallStarted { call, .. } => format!("{} {}", call.tool, call.arguments),
            EventBody::ToolCallFinished { result, .. } => result.clone(),
            EventBody::ContextCompacted { summary, .. } => summary.clone(),
            EventBody::ExecStarted { script, .. } => script.clone(),
            other => serde_json::to_string(other).unwrap_or_default(),
        };
        Ok(clip(&text, MOST))
    }
}

fn said(part: &Part) -> String {
    match part {
        Part::Text { text } => text.clone(),
        Part::Attachment { name, text } => format!("[attached {name}]\n{text}"),
        Part::Image { name, .. } => format!("[attached image {name}]"),
        Part::ToolCall(call) => format!("[call {} {}]", call.tool, call.arguments),
        Part::Context(item) => item.text.clone(),
        Part::Reasoning { .. } | Part::ToolResult(_) => String::new(),
    }
}
