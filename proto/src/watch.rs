//! Owns: following sessions' events, previews and output for ever.
//! Guarantees: events come once each, in order, without a gap, across lost connections and restarts of the
//! daemon; output bytes come once each.

use std::collections::HashMap;

use bytes::{Buf as _, Bytes};
use tonic::Streaming;

use crate::client::Client;
use crate::error::ClientError;
use crate::pb;
use crate::pb::event::Body;
use crate::pb::watch_item::Item;
use crate::resume::{Follow, Resume, Taken, Update, follow};

/// What the watch of a session yields.
pub type WatchUpdate = Update<Item>;
/// The watch of a session.
pub type Watch = Follow<Item>;

/// The cursors of one followed session.
#[derive(Debug)]
struct SessionWatch {
    subscription: pb::WatchSubscription,
    offsets: Offsets,
}

/// The cursors of several followed sessions.
#[derive(Debug)]
struct MultiWatch {
    request: pb::WatchRequest,
    offsets: HashMap<String, Offsets>,
}

/// How far each stream of each command was read.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// Standard output or a terminal's bytes, and standard error, of each command that has not ended.
    running: HashMap<String, [u64; 2]>,
    /// All of the past was seen: what comes after a break is a continuation.
    caught_up: bool,
}

impl Client {
    /// Follows one session from the subscription's cursor on.
    pub async fn watch_session(&self, subscription: pb::WatchSubscription) -> Result<Watch, ClientError> {
        follow(
            self.clone(),
            SessionWatch {
                subscription,
                offsets: Offsets::default(),
            },
        )
        .await
    }

    /// Follows several sessions, and the list of sessions, on one stream. Sessions are to be named by id.
    pub async fn watch(&self, request: pb::WatchRequest) -> Result<Follow<pb::WatchItem>, ClientError> {
        follow(
            self.clone(),
            MultiWatch {
                request,
                offsets: HashMap::new(),
            },
        )
        .await
    }
}

impl Resume for SessionWatch {
    type Message = pb::WatchSessionResponse;
    type Item = Item;

    async fn open(
        &mut self,
        client: &Client,
        autostart: bool,
    ) -> Result<Streaming<pb::WatchSessionResponse>, ClientError> {
        let mut subscription = self.subscription.clone();
        self.offsets.resume(&mut subscription);
        client
            .open_watch_session(
                pb::WatchSessionRequest {
                    subscription: Some(subscription),
                },
                autostart,
            )
            .await
    }

    fn take(&mut self, message: pb::WatchSessionResponse) -> Taken<Item> {
        match message.item.and_then(|item| item.item) {
            Some(item) => take(&mut self.subscription.after_seq, &mut self.offsets, item),
            None => Taken::Seen,
        }
    }
}

impl Resume for MultiWatch {
    type Message = pb::WatchResponse;
    type Item = pb::WatchItem;

    async fn open(
        &mut self,
        client: &Client,
        autostart: bool,
    ) -> Result<Streaming<pb::WatchResponse>, ClientError> {
        let mut request = self.request.clone();
        for subscription in &mut request.subscriptions {
            if let Some(offsets) = self.offsets.get(&subscription.session_id) {
                offsets.resume(subscription);
            }
        }
        client.open_watch(request, autostart).await
    }

    fn take(&mut self, message: pb::WatchResponse) -> Taken<pb::WatchItem> {
        let Some(pb::WatchItem {
            session_id,
            item: Some(item),
        }) = message.item
        else {
            return Taken::Seen;
        };
        // Without any followed session there is no CaughtUp: the first session proves the line is up.
        let alone = self.request.subscriptions.is_empty();
        let followed = self
            .request
            .subscriptions
            .iter_mut()
            .find(|one| one.session_id == session_id);
        // Of a session that is not followed only its present state is told.
        let mut unfollowed = 0;
        let cursor = followed.map_or(&mut unfollowed, |one| &mut one.after_seq);
        let offsets = self.offsets.entry(session_id.clone()).or_default();
        let taken = take(cursor, offsets, item);
        let wrap = |item| pb::WatchItem {
            session_id,
            item: Some(item),
        };
        match taken {
            Taken::New(item) if alone => Taken::CaughtUp(wrap(item)),
            Taken::New(item) => Taken::New(wrap(item)),
            Taken::CaughtUp(item) => Taken::CaughtUp(wrap(item)),
            Taken::Last(item) => Taken::Last(wrap(item)),
            Taken::Seen => Taken::Seen,
            Taken::Gap => Taken::Gap,
        }
    }
}

/// Moves the cursor and the offsets of one session.
fn take(cursor: &mut u64, offsets: &mut Offsets, item: Item) -> Taken<Item> {
    match item {
        Item::Event(event) => {
            if event.seq <= *cursor {
                return Taken::Seen;
            }
            if event.seq > *cursor + 1 {
                return Taken::Gap;
            }
            *cursor = event.seq;
            offsets.note(&event);
            Taken::New(Item::Event(event))
        }
        Item::CaughtUp(mark) => {
            offsets.caught_up = true;
            Taken::CaughtUp(Item::CaughtUp(mark))
        }
        Item::Output(chunk) => offsets
            .fresh(chunk)
            .map_or(Taken::Seen, |chunk| Taken::New(Item::Output(chunk))),
        Item::Screen(screen) => {
            offsets.skip(&screen);
            Taken::New(Item::Screen(screen))
        }
        other @ (Item::Preview(_)
        | Item::Session(_)
        | Item::Clients(_)
        | Item::Purged(_)
        | Item::Board(_)) => Taken::New(other),
    }
}

impl Offsets {
    /// A screen stands for all bytes before its offset.
    pub(crate) fn skip(&mut self, screen: &pb::TerminalScreen) {
        let [out, _] = self.running.entry(screen.exec_id.clone()).or_default();
        *out = screen.offset;
    }

    /// Asks for a continuation where there is something to continue.
    fn resume(&self, subscription: &mut pb::WatchSubscription) {
        if !self.caught_up || !subscription.output {
            return;
        }
        let cursors = self
            .running
            .iter()
            .map(|(exec_id, &[stdout_offset, stderr_offset])| pb::OutputCursor {
                exec_id: exec_id.clone(),
                stdout_offset,
                stderr_offset,
            })
            .collect();
        subscription.output_resume = Some(pb::OutputResume { cursors });
        // A daemon that does not know of resuming sends all that is kept, and what was seen is dropped here.
        subscription.output_tail_bytes = 0;
    }

    /// Commands that begin are read from their first byte; those that have ended need no memory.
    fn note(&mut self, event: &pb::Event) {
        match &event.body {
            Some(Body::ExecStarted(exec)) if self.caught_up => {
                self.running.insert(exec.exec_id.clone(), [0, 0]);
            }
            Some(Body::ExecFinished(exec)) => {
                self.running.remove(&exec.exec_id);
            }
            _ => {}
        }
    }

    /// The part of a chunk that was not seen yet.
    pub(crate) fn fresh(&mut self, mut chunk: pb::OutputChunk) -> Option<pb::OutputChunk> {
        let end = chunk.offset + chunk.data.len() as u64;
        let fresh = !self.running.contains_key(&chunk.exec_id);
        let both = self.running.entry(chunk.exec_id.clone()).or_default();
        let [out, err] = both;
        let seen = if chunk.stream() == pb::OutputStream::Stderr {
            err
        } else {
            out
        };
        if fresh {
            // Joined in the middle: what was before is not missed.
            *seen = chunk.offset;
        }
        if chunk.offset < *seen {
            let known = usize::try_from(*seen - chunk.offset).unwrap_or(usize::MAX);
            if known >= chunk.data.len() {
                return None;
            }
            chunk.data.advance(known);
            chunk.offset = *seen;
            chunk.dropped_bytes = 0;
        }
        if chunk.data.is_empty() {
            chunk.data = Bytes::new();
        }
        *seen = end;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, data: &'static str) -> pb::OutputChunk {
        pb::OutputChunk {
            exec_id: "x-1".into(),
            stream: 1,
            offset,
            data: Bytes::from_static(data.as_bytes()),
            dropped_bytes: 0,
        }
    }

    #[test]
    fn a_break_is_resumed_where_each_command_was() {
        let mut offsets = Offsets::default();
        let mut subscription = pb::WatchSubscription {
            output: true,
            output_tail_bytes: 9,
            ..Default::default()
        };
        offsets.resume(&mut subscription);
        assert_eq!(subscription.output_resume, None, "a beginning is no continuation");
        let mut cursor = 0;
        take(
            &mut cursor,
            &mut offsets,
            Item::CaughtUp(pb::CaughtUp { head: 0 }),
        );
        for (seq, exec_id) in [(1, "x-1"), (2, "x-2"), (3, "x-3")] {
            let started = pb::ExecStarted {
                exec_id: exec_id.into(),
                ..Default::default()
            };
            let event = pb::Event {
                seq,
                body: Some(Body::ExecStarted(started)),
                ..Default::default()
            };
            take(&mut cursor, &mut offsets, Item::Event(event));
        }
        take(&mut cursor, &mut offsets, Item::Output(chunk(0, "abc")));
        let ended = pb::ExecFinished {
            exec_id: "x-3".into(),
            ..Default::default()
        };
        let event = pb::Event {
            seq: 4,
            body: Some(Body::ExecFinished(ended)),
            ..Default::default()
        };
        take(&mut cursor, &mut offsets, Item::Event(event));
        offsets.resume(&mut subscription);
        assert_eq!(subscription.output_tail_bytes, 0);
        let mut cursors = subscription.output_resume.unwrap().cursors;
        cursors.sort_by(|a, b| a.exec_id.cmp(&b.exec_id));
        let told: Vec<_> = cursors
            .iter()
            .map(|c| (c.exec_id.as_str(), c.stdout_offset))
            .collect();
        assert_eq!(told, [("x-1", 3), ("x-2", 0)]);
    }

    #[test]
    fn bytes_seen_before_are_cut_off() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.fresh(chunk(10, "abc")).unwrap().data, "abc");
        assert_eq!(offsets.fresh(chunk(10, "abc")), None);
        let rest = offsets.fresh(chunk(11, "bcde")).unwrap();
        assert_eq!((rest.offset, rest.data), (13, Bytes::from_static(b"de")));
    }
}
