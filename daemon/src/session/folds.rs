//! Owns: what a session is by its log: the fold, and when one is kept so that the next start reads only what came after it.
//! Guarantees: bringing a session back costs the same whatever the length of its log; a session whose words are not kept
//! keeps no fold, since those are in it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::domain::id::{Seq, SessionId};
use crate::domain::message::Message;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::Session;
use crate::store::Store;

/// Events read at a time.
const BATCH: u32 = 1000;

/// Events between two folds that are kept: as many are read at a start at most, some 10 ms.
const EVERY: Seq = 4096;

/// A larger one (bytes of JSON; a history of many pictures) is not kept.
const MOST: usize = 16 * 1024 * 1024;

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Fold {
    session: Session,
    history: Vec<Arc<Message>>,
}

/// Whether a fold is to be kept, of a log that grew from `before` to `now`.
pub(super) fn is_due(before: Seq, now: Seq) -> bool {
    before / EVERY != now / EVERY
}

/// Keeps a session as it is, beside the work. Nothing waits for it, and nothing is lost without it.
pub(super) fn keep_soon(store: &Store, session: &Session, history: &[Arc<Message>]) {
    if session.spec.log == LogLevel::None {
        return;
    }
    let (store, id, seq) = (store.clone(), session.session_id.clone(), session.head);
    let fold = Fold {
        session: session.clone(),
        history: history.to_vec(),
    };
    tokio::spawn(async move {
        let text = tokio::task::spawn_blocking(move || serde_json::to_string(&fold)).await;
        let text = match text {
            Ok(Ok(text)) if text.len() <= MOST => text,
            Ok(Ok(_)) | Err(_) => return,
            Ok(Err(error)) => return tracing::warn!(%error, session = %id, "no fold is kept"),
        };
        if let Err(error) = store.put_fold(&id, seq, text).await {
            tracing::debug!(%error, session = %id, "no fold is kept");
        }
    });
}

/// Folds a session and the history a model reads from its log, beginning with the fold that was kept last.
pub(super) async fn fold(
    store: &Store,
    session_id: &SessionId,
) -> Result<(Session, Vec<Arc<Message>>), Fault> {
    let (mut session, mut history) = match kept(store, session_id).await? {
        Some(fold) => (Some(fold.session), fold.history),
        None => (None, Vec::new()),
    };
    let from = session.as_ref().map_or(0, |session| session.head);
    loop {
        let after = session.as_ref().map_or(0, |s| s.head);
        let events = store.events_after(session_id, after, BATCH).await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            match &mut session {
                None => session = Session::begin(event),
                Some(session) => session.apply(event),
            }
        }
        if let Some(session) = &mut session {
            session.heard.tell(&mut history);
        }
    }
    let Some(session) = session else {
        return Err(Rejection::SessionNotFound {
            wanted: session_id.to_string(),
            hints: Vec::new(),
        }
        .into());
    };
    if session.head.saturating_sub(from) >= EVERY {
        keep_soon(store, &session, &history);
    }
    Ok((session, history))
}

/// The fold that was kept last; one that can't be read is passed over, since the log says all.
async fn kept(store: &Store, session_id: &SessionId) -> Result<Option<Fold>, Fault> {
    let Some(text) = store.kept_fold(session_id).await? else {
        return Ok(None);
    };
    match serde_json::from_slice(&text) {
        Ok(fold) => Ok(Some(fold)),
        Err(error) => {
            tracing::warn!(%error, session = %session_id, "the kept fold can't be read: all of the log is");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventBody;
    use crate::domain::id::MessageId;
    use crate::domain::message::Part;
    use crate::store::tests::{append_all, notice, spec, store};

    /// The fold of a session, and the history, as texts to compare.
    async fn folded(store: &Store, id: &SessionId) -> String {
        let (session, history) = fold(store, id).await.expect("folds");
        format!("{session:?} {history:?}")
    }

    async fn until_kept(store: &Store, id: &SessionId) {
        while store.kept_fold(id).await.expect("reads").is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// A log with a word in it, and then so many notices.
    async fn log(store: &Store, level: LogLevel, notices: Seq) -> SessionId {
        let (id, mut state) = (SessionId::random(), None);
        let mut spec = spec(&format!("{level:?}"));
        spec.log = level;
        let posted = EventBody::MessagePosted {
            message_id: MessageId::random(),
            parts: vec![Part::Text {
                text: "hello there".into(),
            }],
            queued: false,
            steer: false,
            options: crate::domain::event::TurnOptions::default(),
        };
        for bodies in [
            vec![EventBody::SessionCreated(spec)],
            vec![posted],
            (0..notices).map(|n| notice(&n.to_string())).collect(),
        ] {
            append_all(store, &mut state, &id, bodies)
                .await
                .expect("appended");
        }
        id
    }

    #[tokio::test]
    async fn what_was_folded_once_is_not_read_again() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let id = log(&store, LogLevel::default(), EVERY).await;
        let whole = folded(&store, &id).await;
        assert!(whole.contains("hello there"));
        until_kept(&store, &id).await;
        // The first events are gone: nobody asks for them.
        let db = rusqlite::Connection::open(dir.path().join("agentd.db")).expect("opens");
        db.execute("DELETE FROM events WHERE seq < 1000", [])
            .expect("deletes");
        assert_eq!(folded(&store, &id).await, whole);
    }

    #[tokio::test]
    async fn other_code_and_a_text_that_is_none_read_the_log() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let id = log(&store, LogLevel::default(), EVERY).await;
        let whole = folded(&store, &id).await;
        until_kept(&store, &id).await;
        let db = rusqlite::Connection::open(dir.path().join("agentd.db")).expect("opens");
        for sql in [
            "UPDATE folds SET fold = '{'",
            "UPDATE folds SET fold = cast(x'7b22fffe41' AS TEXT)",
            "UPDATE folds SET fold = x'fffe00'",
            "UPDATE folds SET fold = 7",
            "UPDATE folds SET code = 'older'",
        ] {
            db.execute(sql, []).expect("changes");
            assert_eq!(folded(&store, &id).await, whole, "{sql}");
            until_kept(&store, &id).await;
        }
    }

    #[tokio::test]
    async fn a_short_log_and_one_without_words_keep_none() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        for (level, notices) in [(LogLevel::default(), EVERY / 2), (LogLevel::None, EVERY)] {
            let id = log(&store, level, notices).await;
            let (session, history) = fold(&store, &id).await.expect("folds");
            assert!(session.head < EVERY || level == LogLevel::None);
            if level == LogLevel::None {
                keep_soon(&store, &session, &history);
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(store.kept_fold(&id).await.expect("reads").is_none(), "{level:?}");
        }
    }

    #[test]
    fn one_is_due_when_the_log_passes_a_mark() {
        assert!(!is_due(0, EVERY - 1) && is_due(EVERY - 1, EVERY) && is_due(EVERY - 1, EVERY * 3));
        assert!(!is_due(EVERY, EVERY + 1));
    }
}
