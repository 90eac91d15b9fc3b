//! The store against real files.

use std::path::Path;
use std::sync::Arc;

use super::redact::Redactor;
use super::*;
use crate::domain::event::{Event, EventBody, NewEvent, Origin, SessionSpec};
use crate::domain::limits::LimitsWish;
use crate::domain::principal::{Caller, Client};
use crate::domain::redaction::LogLevel;
use crate::domain::session::Session;
use crate::domain::workspace::{JailKind, Layout, ShellKind, Workspace};

pub(crate) fn store(dir: &Path) -> Store {
    Store::open(&dir.join("agentd.db"), Arc::new(Redactor::new())).expect("opens")
}

pub(super) fn caller() -> Caller {
    Caller {
        principal: "ana".into(),
        client: Client::Cli,
        trace_id: "0".repeat(32),
        request_id: None,
    }
}

pub(crate) fn spec(name: &str) -> SessionSpec {
    SessionSpec {
        name: name.into(),
        principal: "ana".into(),
        workspace: Workspace {
            root: "/work/shop".into(),
            start_dir: "".into(),
            layout: Layout::Root,
            layout_reason: "made by exec".into(),
        },
        shell: ShellKind::Sh,
        jail: JailKind::Bwrap,
        origin: Origin::Shell,
        model: None,
        persona: "default".into(),
        policy_generation: 1,
        task: None,
        network: crate::domain::network::NetworkMode::Off,
        limits: LimitsWish::default(),
        added_dirs: Vec::new(),
        search_path: String::new(),
        log: LogLevel::default(),
    }
}

pub(super) async fn append(
    store: &Store,
    state: &mut Option<Session>,
    id: &SessionId,
    body: EventBody,
) -> Result<Vec<Event>, StoreError> {
    append_all(store, state, id, vec![body]).await
}

/// The same with many in one commit.
pub(crate) async fn append_all(
    store: &Store,
    state: &mut Option<Session>,
    id: &SessionId,
    bodies: Vec<EventBody>,
) -> Result<Vec<Event>, StoreError> {
    let head = state.as_ref().map_or(0, |s| s.head);
    let level = state.as_ref().map_or_else(LogLevel::default, |s| s.spec.log);
    let sealed = store.seal(
        id,
        level,
        head,
        bodies
            .into_iter()
            .map(|body| NewEvent {
                time_us: 1,
                caller: caller(),
                body,
            })
            .collect(),
    )?;
    let mut draft = state.clone();
    for event in sealed.events() {
        match &mut draft {
            Some(session) => session.apply(event),
            None => draft = Session::begin(event),
        }
    }
    let summary = draft.as_ref().expect("created").summary();
    let done = store
        .append(Append {
            session_id: id.clone(),
            expected_head: head,
            sealed,
            summary,
            request: None,
            asker: None,
            open_calls: Vec::new(),
            begins_with: None,
            rewrites: Vec::new(),
        })
        .await?;
    *state = draft;
    Ok(done)
}

pub(crate) fn notice(text: &str) -> EventBody {
    EventBody::NoticeRecorded {
        code: "test".into(),
        message: text.into(),
    }
}

async fn finds(store: &Store, text: &str) -> Vec<u64> {
    let wish = SearchWish {
        text: text.into(),
        limit: 100,
        ..SearchWish::default()
    };
    let found = store.search(wish).await.expect("searches");
    found.iter().map(|hit| hit.event.seq).collect()
}

fn count(dir: &Path, sql: &str) -> u64 {
    let connection = rusqlite::Connection::open(dir.join("agentd.db")).expect("opens");
    connection.query_row(sql, [], |row| row.get(0)).expect("counts")
}

#[tokio::test]
async fn a_fact_is_found_at_once_and_once_though_no_commit_indexes_it() {
    let dir = tempfile::tempdir().expect("dir");
    let id = SessionId::random();
    let (mut state, first) = (None, store(dir.path()));
    append(&first, &mut state, &id, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    append(&first, &mut state, &id, notice("a needle"))
        .await
        .expect("appended");
    assert_eq!(count(dir.path(), "SELECT count(*) FROM search_rows"), 0);
    assert_eq!(finds(&first, "needle").await, [2]);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM search_behind"), 0);
    // What is not indexed when the process goes is indexed by the next one.
    append(&first, &mut state, &id, notice("another needle"))
        .await
        .expect("appended");
    first.close().await;
    assert_eq!(count(dir.path(), "SELECT seq FROM search_behind"), 2);
    let second = store(dir.path());
    assert_eq!(finds(&second, "needle").await, [3, 2]);
    assert_eq!(finds(&second, "needle").await, [3, 2]);
    // More than one go can take.
    let long = format!("straw {}", "x ".repeat(300_000));
    for _ in 0..3 {
        append(&second, &mut state, &id, notice(&long))
            .await
            .expect("appended");
    }
    assert_eq!(finds(&second, "straw").await, [6, 5, 4]);
    second.purge(&id).await.expect("purged");
    assert!(finds(&second, "needle").await.is_empty());
}

#[tokio::test]
async fn what_is_taken_out_before_it_was_indexed_is_not_found_and_the_rest_once() {
    let dir = tempfile::tempdir().expect("dir");
    let id = SessionId::random();
    let (mut state, store) = (None, store(dir.path()));
    append(&store, &mut state, &id, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    append(&store, &mut state, &id, notice("a needle in hay"))
        .await
        .expect("appended");
    let session = state.as_ref().expect("state");
    let new = NewEvent {
        time_us: 2,
        caller: caller(),
        body: notice("something was taken out"),
    };
    let sealed = store
        .seal(&id, LogLevel::default(), session.head, vec![new])
        .expect("sealed");
    let mut draft = session.clone();
    draft.apply(&sealed.events()[0]);
    let rewriting = Append {
        session_id: id.clone(),
        expected_head: session.head,
        sealed,
        summary: draft.summary(),
        request: None,
        asker: None,
        open_calls: Vec::new(),
        begins_with: None,
        rewrites: vec![(2, notice("nothing in hay"))],
    };
    store.append(rewriting).await.expect("rewritten");
    assert!(finds(&store, "needle").await.is_empty());
    assert_eq!(finds(&store, "hay").await, [2]);
    assert_eq!(finds(&store, "taken").await, [3]);
}

#[tokio::test]
async fn what_was_appended_is_read_back_after_a_reopen() {
    let dir = tempfile::tempdir().expect("dir");
    let id = SessionId::random();
    let mut state = None;
    let store1 = store(dir.path());
    append(&store1, &mut state, &id, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    append(&store1, &mut state, &id, notice("one"))
        .await
        .expect("appended");
    store1.close().await;
    let again = store(dir.path());
    let events = again.events_after(&id, 0, 100).await.expect("read");
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[1].body, notice("one"));
    assert_eq!(again.events_before(&id, 2, 10).await.expect("read").len(), 1);
    assert_eq!(
        again.session(&id).await.expect("read"),
        state.map(|s| s.summary())
    );
}

#[tokio::test]
async fn a_second_writer_with_an_old_head_is_an_error_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let mut state = None;
    append(&store, &mut state, &id, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    let mut old = state.clone();
    append(&store, &mut state, &id, notice("first"))
        .await
        .expect("appended");
    let error = append(&store, &mut old, &id, notice("second"))
        .await
        .expect_err("refused");
    assert!(matches!(error, StoreError::HeadMoved { expected: 1 }), "{error}");
    assert_eq!(store.events_after(&id, 0, 100).await.expect("read").len(), 2);
}

#[tokio::test]
async fn a_name_is_unique_for_its_user() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let mut one = None;
    append(
        &store,
        &mut one,
        &SessionId::random(),
        EventBody::SessionCreated(spec("shop")),
    )
    .await
    .expect("created");
    let mut two = None;
    let error = append(
        &store,
        &mut two,
        &SessionId::random(),
        EventBody::SessionCreated(spec("shop")),
    )
    .await;
    assert!(matches!(error, Err(StoreError::NameTaken(_))), "{error:?}");
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_given_again() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let (taken, purged) = (SessionId::random(), "s-222222".parse::<SessionId>().expect("id"));
    append(&store, &mut None, &taken, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    let gone = purged.clone();
    store
        .writer
        .write(move |c| {
            c.execute("INSERT INTO tombstones VALUES (?1, 1)", [gone.as_str()])?;
            Ok(())
        })
        .await
        .expect("written");
    let unused = SessionId::random();
    let candidates = vec![taken, purged, unused.clone()];
    let found = store
        .readers
        .read(move |c| index::free(c, candidates.into_iter()))
        .await
        .expect("read");
    assert_eq!(found, unused);
}

#[tokio::test]
async fn a_secret_never_reaches_the_file() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let canary = "canary-9f8e7d6c5b4a";
    store.redactor().learn(canary);
    let id = SessionId::random();
    let mut state = None;
    append(&store, &mut state, &id, EventBody::SessionCreated(spec("shop")))
        .await
        .expect("created");
    let done = append(&store, &mut state, &id, notice(&format!("the key is {canary}")))
        .await
        .expect("appended");
    assert_eq!(done[0].body, notice("the key is [redacted:key]"));
    store.close().await;
    for entry in std::fs::read_dir(dir.path()).expect("dir") {
        let bytes = std::fs::read(entry.expect("entry").path()).expect("file");
        assert!(
            !bytes.windows(canary.len()).any(|w| w == canary.as_bytes()),
            "the canary is on disk"
        );
    }
}

#[tokio::test]
async fn a_newer_or_damaged_database_is_refused_untouched() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("agentd.db");
    store(dir.path()).close().await;
    rusqlite::Connection::open(&path)
        .expect("open")
        .pragma_update(None, "user_version", 99)
        .expect("pragma");
    let redactor = || Arc::new(Redactor::new());
    assert!(matches!(
        Store::open(&path, redactor()),
        Err(StoreError::Newer { found: 99, .. })
    ));
    std::fs::write(
        &path,
        b"this is not a database, it only looks like a file of some length",
    )
    .expect("write");
    assert!(matches!(
        Store::open(&path, redactor()),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(std::fs::read(&path).expect("read").starts_with(b"this is not"));
}

#[tokio::test]
async fn a_model_request_is_booked_to_the_task_of_its_session() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let mut state = None;
    let made = SessionSpec {
        task: Some("T-12".parse().expect("id")),
        ..spec("shop")
    };
    append(&store, &mut state, &id, EventBody::SessionCreated(made))
        .await
        .expect("created");
    let step = |step| EventBody::StepFinished {
        turn_id: crate::domain::id::TurnId::random(),
        step,
        parts: Vec::new(),
        finish: "stop".into(),
        usage: crate::domain::usage::Usage {
            model: "local/x".into(),
            tokens: None,
            cost: None,
            first_token_ms: None,
            total_ms: 1,
            retries: 0,
            error: None,
        },
    };
    append(&store, &mut state, &id, step(1)).await.expect("one");
    append(&store, &mut state, &id, EventBody::TaskChosen { task: None })
        .await
        .expect("chosen");
    append(&store, &mut state, &id, step(2)).await.expect("two");
    let booked: Vec<Option<String>> = store
        .readers
        .read(|c| {
            let mut rows = c.prepare("SELECT task_id FROM usage ORDER BY seq")?;
            let found = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(found)
        })
        .await
        .expect("read");
    assert_eq!(booked, [Some("T-12".to_owned()), None]);
}
