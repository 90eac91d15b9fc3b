//! Owns: what the transcript says of a session as a whole, and items whose texts were taken out.

use super::{Kind, Transcript};
use crate::format;
use crate::pb;
use crate::pb::event::Body;

/// What stands where a text was taken out.
const REDACTED: &str = "[redacted]";

impl Transcript {
    /// Takes the texts of these events out of the items made from them.
    pub(super) fn blank(&mut self, seqs: &[u64]) {
        let gone: std::collections::HashSet<u64> = seqs.iter().copied().collect();
        let changed = self.changes.iter().filter(|(seq, _)| gone.contains(seq));
        let mut indices: Vec<usize> = changed.map(|(_, index)| *index).collect();
        indices.extend(
            self.items
                .iter()
                .enumerate()
                .filter(|(_, item)| gone.contains(&item.seq))
                .map(|(index, _)| index),
        );
        for index in indices {
            if let Some(item) = self.items.get_mut(index) {
                item.kind.blank();
            }
        }
    }
}

impl Kind {
    /// Takes its texts out.
    fn blank(&mut self) {
        let gone = || REDACTED.to_owned();
        match self {
            Self::You {
                text, attachments, ..
            } => {
                *text = gone();
                attachments.clear();
            }
            Self::Agent { text } | Self::Notice(text) => *text = gone(),
            Self::Tool { summary, end, .. } => {
                *summary = gone();
                if let Some(end) = end {
                    end.result = gone();
                }
            }
            Self::Exec { script, .. } => *script = gone(),
            Self::Approval(approval) => {
                approval.summary = gone();
                approval.detail = gone();
            }
            Self::Change(change) => change.path = gone(),
            Self::TurnEnd(end) => {
                if !end.error_message.is_empty() {
                    end.error_message = gone();
                }
            }
        }
    }
}

pub(super) fn redacted_line(redacted: &pb::Redacted) -> String {
    let why = if redacted.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", redacted.reason)
    };
    match redacted.seqs.len() {
        1 => format!("the text of one event was taken out for good{why}"),
        many => format!("the texts of {many} events were taken out for good{why}"),
    }
}

/// A change of where a session stands, as a sentence.
pub(super) fn standing_line(body: &Body) -> Option<String> {
    Some(match body {
        Body::SessionPaused(paused) if paused.reason.is_empty() => {
            "paused: nothing goes on until somebody resumes it".to_owned()
        }
        Body::SessionPaused(paused) => format!("paused: {}", paused.reason),
        Body::SessionResumed(_) => "resumed".to_owned(),
        Body::SessionArchived(_) => "archived: hidden until somebody unarchives it".to_owned(),
        Body::SessionUnarchived(_) => "unarchived".to_owned(),
        Body::SessionDeleted(_) => "deleted: in the trash, from where it can be restored".to_owned(),
        Body::SessionRestored(_) => "restored from the trash".to_owned(),
        Body::SessionForked(forked) => {
            format!(
                "forked here: all before is {} up to {}",
                forked.session_id, forked.seq
            )
        }
        Body::SessionImported(imported) => {
            format!(
                "imported: all before came in a bundle, where it was {}",
                imported.session_id
            )
        }
        Body::ContextAdded(added) => {
            let given: Vec<String> = added.items.iter().filter_map(given).collect();
            if given.is_empty() {
                return None;
            }
            format!("given to the model: {}", given.join(", "))
        }
        Body::ContextCompacted(done) => {
            let why = match done.reason.as_str() {
                "asked" => "as asked",
                "refused" => "the server had refused it as too long",
                _ => "it came near the model's limit",
            };
            format!(
                "context compacted ({why}): {} to {} tokens, {} to {} messages; the log keeps all of it",
                format::tokens(done.before_tokens),
                format::tokens(done.after_tokens),
                done.before_messages,
                done.after_messages
            )
        }
        _ => return None,
    })
}

/// A piece of context that a person should know of.
fn given(item: &pb::ContextItem) -> Option<String> {
    let shown = match item.kind() {
        pb::ContextKind::Instructions | pb::ContextKind::Mention => item.name.clone(),
        _ => return None,
    };
    let cut = if item.total_bytes > item.text.len() as u64 {
        " (cut)"
    } else {
        ""
    };
    let hidden = match item.hidden_characters {
        0 => String::new(),
        count => format!(" ({count} hidden characters)"),
    };
    Some(format!("{shown}{cut}{hidden}"))
}
