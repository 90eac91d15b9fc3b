//! Owns: `agentctl wait`: until a session reaches a state.

use agentd_proto::pb::event::Body;
use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::{format, pb};
use serde_json::json;

use crate::args::{WaitArgs, WaitFor};
use crate::context::Context;
use crate::exit::{self, Failure};

/// Events looked at for the end of the last turn, in one page.
const PAGE: u32 = 1000;

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: WaitArgs) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    let waiting = wait(context, &session, args.state);
    let reached = match context.global.timeout {
        None => waiting.await?,
        Some(limit) => match tokio::time::timeout(limit, waiting).await {
            Ok(reached) => reached?,
            Err(_) => {
                let now = context
                    .session(&session.session_id)
                    .await
                    .map_or(session.state(), |now| now.state());
                return Err(Failure::new(
                    exit::TIMEOUT,
                    "timeout",
                    format!(
                        "'{}' is still {} after {}",
                        session.name,
                        format::state_word(now),
                        format::duration(limit)
                    ),
                )
                .next(format!("agentctl sessions show {}", session.session_id)));
            }
        },
    };
    let code = if args.state == WaitFor::Done {
        last_turn(context, &reached).await?
    } else {
        exit::OK
    };
    if context.out.is_json() {
        let state = format::state_key(reached.state());
        context
            .out
            .json(&json!({"session_id": reached.session_id, "state": state, "exit": code}))?;
    }
    Ok(code)
}

async fn wait(context: &Context, session: &pb::Session, state: WaitFor) -> Result<pb::Session, Failure> {
    if is_reached(session, state) {
        return Ok(session.clone());
    }
    let mut watch = context
        .client
        .watch_session(pb::WatchSubscription {
            session_id: session.session_id.clone(),
            after_seq: session.head,
            ..Default::default()
        })
        .await?;
    while let Some(update) = watch.next().await {
        match update? {
            Update::Item(Item::Session(now)) if is_reached(&now, state) => return Ok(now),
            // Whatever happened may have changed the state, also where the daemon did not send it along.
            Update::Item(Item::Event(pb::Event {
                body: Some(Body::TurnFinished(_) | Body::ApprovalRequested(_) | Body::ExecFinished(_)),
                ..
            }))
            | Update::Item(Item::CaughtUp(_)) => {
                let now = context.session(&session.session_id).await?;
                if is_reached(&now, state) {
                    return Ok(now);
                }
            }
            _ => {}
        }
    }
    Err(Failure::new(exit::DAEMON, "connection_lost", "the watch ended").next("agentctl daemon status"))
}

fn is_reached(session: &pb::Session, state: WaitFor) -> bool {
    use pb::SessionState as S;
    match state {
        WaitFor::NeedsYou => session.state() == S::NeedsYou,
        // A failed or paused session does nothing by itself any more: nothing further is to be waited for.
        WaitFor::Ready | WaitFor::Done => {
            matches!(session.state(), S::Ready | S::Failed | S::Paused | S::Archived)
        }
    }
}

/// The exit code of the last turn; success when there was none.
async fn last_turn(context: &Context, session: &pb::Session) -> Result<u8, Failure> {
    let mut before_seq = session.head + 1;
    while before_seq > 1 {
        let page = context
            .client
            .list_events(pb::ListEventsRequest {
                session_id: session.session_id.clone(),
                before_seq,
                page_size: PAGE,
                ..Default::default()
            })
            .await?;
        for event in page.events.iter().rev() {
            if let Some(Body::TurnFinished(end)) = &event.body {
                return Ok(exit::of_turn(end.outcome(), &end.error_reason));
            }
        }
        match page.events.first() {
            Some(first) if first.seq < before_seq => before_seq = first.seq,
            _ => break,
        }
    }
    Ok(exit::OK)
}
