//! Owns: following sessions' events, previews and output for ever.
//! Guarantees: events come once each, in order, without a gap, across lost connections and restarts of the
//! daemon; output bytes come once each.

use std::collections::HashMap;

use bytes::{Buf as _, Bytes};
use tonic::Streaming;

use crate::client::Client;
use crate::error::ClientError;
use crate::pb;
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
    offsets: Offsets,
}

/// How far each stream of each command was read.
#[derive(Debug, Default)]
pub(crate) struct Offsets(HashMap<(String, i32), u64>);

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
                offsets: Offsets::default(),
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
        if !self.offsets.0.is_empty() {
            // After a break nothing may be missing: ask for all that is kept, and drop what was seen.
            subscription.output_tail_bytes = 0;
        }
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
        if !self.offsets.0.is_empty() {
            request
                .subscriptions
                .iter_mut()
                .for_each(|one| one.output_tail_bytes = 0);
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
        let wrap = |item| pb::WatchItem {
            session_id,
            item: Some(item),
        };
        match take(cursor, &mut self.offsets, item) {
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
            Taken::New(Item::Event(event))
        }
        Item::CaughtUp(mark) => Taken::CaughtUp(Item::CaughtUp(mark)),
        Item::Output(chunk) => offsets
            .fresh(chunk)
            .map_or(Taken::Seen, |chunk| Taken::New(Item::Output(chunk))),
        Item::Screen(screen) => {
            offsets.skip(&screen);
            Taken::New(Item::Screen(screen))
        }
        other @ (Item::Preview(_) | Item::Session(_) | Item::Clients(_) | Item::Purged(_)) => {
            Taken::New(other)
        }
    }
}

impl Offsets {
    /// A screen stands for all bytes before its offset.
    pub(crate) fn skip(&mut self, screen: &pb::TerminalScreen) {
        let stream = (screen.exec_id.clone(), pb::OutputStream::Stdout.into());
        self.0.insert(stream, screen.offset);
    }

    /// The part of a chunk that was not seen yet.
    pub(crate) fn fresh(&mut self, mut chunk: pb::OutputChunk) -> Option<pb::OutputChunk> {
        let end = chunk.offset + chunk.data.len() as u64;
        let seen = self
            .0
            .entry((chunk.exec_id.clone(), chunk.stream))
            .or_insert(chunk.offset);
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
    fn bytes_seen_before_are_cut_off() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.fresh(chunk(10, "abc")).unwrap().data, "abc");
        assert_eq!(offsets.fresh(chunk(10, "abc")), None);
        let rest = offsets.fresh(chunk(11, "bcde")).unwrap();
        assert_eq!((rest.offset, rest.data), (13, Bytes::from_static(b"de")));
    }
}
