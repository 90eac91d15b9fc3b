//! Owns: what the log does to the history a model reads: what is said, and what a compaction puts in its place.
//! Guarantees: pure; the history itself is not in here, so a draft of a session costs nothing for its length.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{ContextItem, ContextKind};
use super::message::{Message, Part, Role};
use super::summary::clip;

/// The effect of the log on the history.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Heard {
    /// What the events applied since the last [`Heard::tell`] did.
    said: Vec<Saying>,
    /// Messages in the history.
    pub messages: u32,
    /// Bytes of it since the last request whose tokens were counted.
    pub fresh_bytes: u64,
    /// Instruction files in it, by path, each with its digest.
    pub instructed: BTreeMap<String, String>,
    /// It has the surroundings.
    pub oriented: bool,
    /// A person asked for a compaction, with this in mind.
    pub wanted: Option<String>,
    /// Times it was compacted.
    pub compactions: u32,
}

/// What an event does to the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Saying {
    /// It adds a message.
    Said(Arc<Message>),
    /// It puts a summary in the place of all but the last `kept` messages.
    Compacted { kept: usize, summary: Arc<Message> },
}

impl Heard {
    /// Does to the history what the events applied since the last call do to it.
    pub fn tell(&mut self, history: &mut Vec<Arc<Message>>) {
        for saying in std::mem::take(&mut self.said) {
            match saying {
                Saying::Said(message) => history.push(message),
                Saying::Compacted { kept, summary } => {
                    let tail = history.split_off(history.len().saturating_sub(kept));
                    history.clear();
                    history.push(summary);
                    // What is put back afresh after a compaction would stand there twice.
                    history.extend(tail.into_iter().filter(|message| !message.is_surroundings()));
                }
            }
        }
    }

    /// A message was said.
    pub(super) fn say(&mut self, message: Message) {
        self.messages = self.messages.saturating_add(1);
        self.fresh_bytes = self.fresh_bytes.saturating_add(message.weight());
        self.said.push(Saying::Said(Arc::new(message)));
    }

    /// The daemon put something beside the words.
    pub(super) fn add(&mut self, items: &[ContextItem]) {
        for item in items {
            match item.kind {
                ContextKind::Environment => self.oriented = true,
                ContextKind::Instructions => {
                    self.instructed.insert(item.name.clone(), item.digest.clone());
                }
                _ => {}
            }
        }
        let parts = items.iter().flat_map(|item| {
            let picture = item.picture.clone().map(|picture| Part::Image {
                name: item.name.clone(),
                media_type: picture.media_type,
                data: picture.data,
                width: picture.width,
                height: picture.height,
            });
            let words = ContextItem {
                picture: None,
                ..item.clone()
            };
            std::iter::once(Part::Context(words)).chain(picture)
        });
        self.say(Message {
            role: Role::User,
            parts: parts.collect(),
        });
    }

    /// A summary took the place of earlier messages.
    pub(super) fn compact(&mut self, summary: &str, kept: u32) {
        let summary = ContextItem::plain(ContextKind::Summary, "earlier", summary.to_owned());
        self.said.push(Saying::Compacted {
            kept: usize::try_from(kept).unwrap_or(usize::MAX),
            summary: Arc::new(Message {
                role: Role::User,
                parts: vec![Part::Context(summary)],
            }),
        });
        self.messages = kept.saturating_add(1);
        self.fresh_bytes = 0;
        self.instructed.clear();
        self.oriented = false;
        self.wanted = None;
        self.compactions = self.compactions.saturating_add(1);
    }
}

/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 60;

/// The first line a person wrote, as a title.
pub(super) fn title_of(parts: &[Part]) -> String {
    let first = parts.iter().find_map(|part| match part {
        Part::Text { text } => text.lines().map(str::trim).find(|line| !line.is_empty()),
        _ => None,
    });
    clip(first.unwrap_or_default(), MAX_TITLE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_keeps_the_end_and_forgets_the_surroundings() {
        let mut heard = Heard::default();
        let mut history = Vec::new();
        heard.say(Message::user("one"));
        heard.say(Message::user("two"));
        heard.add(&[ContextItem::plain(
            ContextKind::Environment,
            "here",
            "linux".into(),
        )]);
        heard.tell(&mut history);
        assert!(heard.oriented && history.len() == 3 && heard.fresh_bytes > 0);
        heard.compact("they said one", 2);
        heard.say(Message::user("three"));
        heard.tell(&mut history);
        let texts: Vec<String> = history.iter().map(|m| m.text()).collect();
        assert_eq!(texts, ["", "two", "three"]);
        assert!(!heard.oriented && heard.compactions == 1);
    }
}
