//! Owns: followers as streams of the wire: one session, or several on one stream.
//! Guarantees: a stream is pulled by its reader, so a slow one holds up nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_proto::pb;
use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt, TryStreamExt};
use pb::watch_item::Item;

use super::convert::session as convert;
use super::status::{No, internal, invalid};
use crate::board::Boards;
use crate::domain::id::{ExecId, Seq};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::session::{Fault, FollowItem, FollowOptions, Follower};
use crate::supervisor::{RowChange, Supervisor};

/// Most sessions on one stream.
const MAX_SUBSCRIPTIONS: usize = 64;
/// Longest name of a writer, as in ShellService.
const MAX_WRITER: usize = 64;
/// Events read at a time.
const PAGE: u32 = 256;
/// Most commands a client that comes back may have seen running in one session: each costs a look at its files.
const MAX_CURSORS: usize = 1000;

/// What a subscription gets. Of a session at rest the past comes straight from the log, while the session is brought
/// back beside it: how long that log is, is no matter to the first screen.
async fn items(
    supervisor: &Supervisor,
    who: &Caller,
    wish: pb::WatchSubscription,
) -> Result<BoxStream<'static, Result<pb::WatchItem, No>>, Fault> {
    if wish.writer.len() > MAX_WRITER {
        return Err(invalid(format!("writer has more than {MAX_WRITER} bytes")).into());
    }
    let options = FollowOptions {
        after_seq: wish.after_seq,
        previews: wish.previews,
        output: wish.output,
        output_tail: wish.output_tail_bytes,
        viewer: super::convert::shell::viewer(wish.viewer)?,
        clients: wish.clients,
        resume: wish.output_resume.map(resume).transpose()?,
    };
    // Who comes back may have missed output, which is with the session.
    if options.resume.is_none()
        && let Some(row) = supervisor.at_rest(&wish.session_id, who).await?
        && options.after_seq <= row.head
    {
        return Ok(from_rest(supervisor, who, wish.writer, options, row).boxed());
    }
    let handle = supervisor.find(&wish.session_id, who).await?;
    Ok(live(handle.follow(who, wish.writer, options)?).boxed())
}

/// The past of a session at rest, and then its follower.
fn from_rest(
    supervisor: &Supervisor,
    who: &Caller,
    writer: String,
    options: FollowOptions,
    row: Summary,
) -> impl Stream<Item = Result<pb::WatchItem, No>> + Send + use<> {
    let (id, head) = (row.session_id.clone(), row.head);
    let back = tokio::spawn({
        let (supervisor, id) = (supervisor.clone(), id.clone());
        async move { supervisor.handle(&id).await }
    });
    let past = past(supervisor.clone(), row, options.after_seq);
    let (who, name) = (who.clone(), id.to_string());
    let rest = async move {
        let handle = back.await.map_err(|error| internal(&error))??;
        let options = FollowOptions {
            after_seq: head,
            ..options
        };
        Ok(live(handle.follow(&who, writer, options)?))
    };
    let rest = stream::once(rest).flat_map(|begun: Result<_, No>| match begun {
        Ok(follower) => follower.boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    });
    // It has caught up already, with what the row said.
    let mut again = true;
    let rest = rest.filter(move |item| {
        let first = again
            && matches!(
                item,
                Ok(pb::WatchItem {
                    item: Some(Item::CaughtUp(_)),
                    ..
                })
            );
        again &= !first;
        std::future::ready(!first)
    });
    past.map(move |item| Ok(wire(name.clone(), item.map_err(No::from)?)))
        .chain(rest)
}

/// The facts of a session after `after` up to its row, and the row.
fn past(
    supervisor: Supervisor,
    row: Summary,
    after: Seq,
) -> impl Stream<Item = Result<FollowItem, Fault>> + Send {
    let (id, head) = (row.session_id.clone(), row.head);
    let pages = stream::try_unfold(after, move |cursor| {
        let (supervisor, id) = (supervisor.clone(), id.clone());
        async move {
            if cursor >= head {
                return Ok::<_, Fault>(None);
            }
            let mut page = supervisor.events(&id, cursor, None, PAGE).await?;
            page.retain(|event| event.seq <= head);
            let next = page.last().map_or(head, |event| event.seq);
            let page = page
                .into_iter()
                .map(|event| Ok(FollowItem::Event(Arc::new(event))));
            Ok(Some((stream::iter(page), next)))
        }
    });
    let ends = [FollowItem::CaughtUp(head), FollowItem::Summary(Box::new(row))];
    pages.try_flatten().chain(stream::iter(ends.map(Ok)))
}

fn resume(wish: pb::OutputResume) -> Result<BTreeMap<ExecId, [u64; 2]>, Rejection> {
    if wish.cursors.len() > MAX_CURSORS {
        return Err(Rejection::InvalidArgument(format!(
            "output_resume: at most {MAX_CURSORS} commands"
        )));
    }
    wish.cursors
        .into_iter()
        .map(|cursor| {
            let exec_id = cursor.exec_id.parse().map_err(|_| {
                Rejection::InvalidArgument("output_resume: that is not the id of a command".into())
            })?;
            Ok((exec_id, [cursor.stdout_offset, cursor.stderr_offset]))
        })
        .collect()
}

/// One session's stream.
pub(super) async fn one(
    supervisor: &Supervisor,
    who: &Caller,
    wish: pb::WatchSubscription,
) -> Result<impl Stream<Item = Result<pb::WatchSessionResponse, No>> + Send + use<>, No> {
    let items = items(supervisor, who, wish).await?;
    Ok(items.map(|item| item.map(|item| pb::WatchSessionResponse { item: Some(item) })))
}

/// Several sessions, and the list of sessions where wanted.
pub(super) async fn many(
    supervisor: &Supervisor,
    boards: &Boards,
    who: &Caller,
    wish: pb::WatchRequest,
) -> Result<impl Stream<Item = Result<pb::WatchResponse, No>> + Send + use<>, No> {
    if wish.subscriptions.len() > MAX_SUBSCRIPTIONS {
        return Err(invalid(format!("at most {MAX_SUBSCRIPTIONS} subscriptions on one stream")).into());
    }
    if wish.subscriptions.is_empty() && !wish.sessions && !wish.boards {
        return Err(invalid("nothing to watch: give subscriptions, or set sessions or boards").into());
    }
    let mut all = SelectAll::new();
    for subscription in wish.subscriptions {
        all.push(items(supervisor, who, subscription).await?);
    }
    if wish.sessions {
        all.push(rows(supervisor.clone()).boxed());
    }
    if wish.boards {
        all.push(board_heads(boards.clone()).boxed());
    }
    Ok(all.map(|item| item.map(|item| pb::WatchResponse { item: Some(item) })))
}

fn live(follower: Follower) -> impl Stream<Item = Result<pb::WatchItem, No>> + Send {
    let id = follower.session_id().to_string();
    stream::unfold(Some(follower), move |follower| {
        let id = id.clone();
        async move {
            let mut follower = follower?;
            match follower.next().await {
                Ok(Some(item)) => Some((Ok(wire(id, item)), Some(follower))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            }
        }
    })
}

fn wire(session_id: String, item: FollowItem) -> pb::WatchItem {
    let item = match item {
        FollowItem::Event(event) => Item::Event(Arc::unwrap_or_clone(event).into()),
        FollowItem::CaughtUp(head) => Item::CaughtUp(pb::CaughtUp { head }),
        FollowItem::Preview(delta) => Item::Preview(pb::Preview {
            turn_id: delta.turn_id.to_string(),
            step: delta.step,
            restart: delta.restart,
            text: delta.text,
            reasoning: delta.reasoning,
            tool_call: delta.tool_call,
        }),
        FollowItem::Output(piece) => Item::Output(piece.into()),
        FollowItem::Screen(piece) => Item::Screen(piece.into()),
        FollowItem::Summary(summary) => Item::Session((*summary).into()),
        FollowItem::Clients(all, me) => Item::Clients(pb::Clients {
            clients: all.iter().map(|one| convert::attached(one, Some(me))).collect(),
        }),
    };
    pb::WatchItem {
        session_id,
        item: Some(item),
    }
}

/// Every session's row now, and again when it changes.
fn rows(supervisor: Supervisor) -> impl Stream<Item = Result<pb::WatchItem, No>> + Send {
    let bell = supervisor.listen();
    let start = (supervisor, bell, 0u64, std::collections::VecDeque::new());
    stream::unfold(Some(start), |state| async move {
        let (supervisor, mut bell, mut rev, mut ready) = state?;
        loop {
            if let Some(row) = ready.pop_front() {
                return Some((Ok(row), Some((supervisor, bell, rev, ready))));
            }
            bell.borrow_and_update();
            match supervisor.changed_since(rev).await {
                Ok((rows, newest)) => {
                    rev = newest;
                    ready.extend(rows.into_iter().map(row));
                }
                Err(fault) => return Some((Err(fault.into()), None)),
            }
            if ready.is_empty() && bell.changed().await.is_err() {
                return None;
            }
        }
    })
}

fn row(change: RowChange) -> pb::WatchItem {
    match change {
        RowChange::Row(summary) => pb::WatchItem {
            session_id: summary.session_id.to_string(),
            item: Some(Item::Session((*summary).into())),
        },
        RowChange::Purged(id) => pb::WatchItem {
            session_id: id.to_string(),
            item: Some(Item::Purged(pb::SessionPurged {})),
        },
    }
}

/// A mark for every open board that changed: which, and how far it is. The first ones come at once.
fn board_heads(boards: Boards) -> impl Stream<Item = Result<pb::WatchItem, No>> + Send {
    let bell = boards.listen();
    let start = (boards, bell, true);
    stream::unfold(Some(start), |state| async move {
        let (boards, mut bell, first) = state?;
        if !first && bell.changed().await.is_err() {
            return None;
        }
        bell.borrow_and_update();
        let heads = boards.heads().await;
        let marks: Vec<Result<pb::WatchItem, No>> = heads
            .into_iter()
            .map(|(workspace, rev)| {
                Ok(pb::WatchItem {
                    session_id: String::new(),
                    item: Some(Item::Board(pb::BoardMark {
                        workspace: workspace.to_string_lossy().into_owned(),
                        rev,
                    })),
                })
            })
            .collect();
        Some((stream::iter(marks), Some((boards, bell, false))))
    })
    .flatten()
}
