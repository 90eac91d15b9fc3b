//! Finding a text in a log, with its index and without.

use std::path::Path;

use super::tests::{append, caller, notice, spec, store};
use super::*;
use crate::domain::event::{EventBody, NewEvent};
use crate::domain::find::Needle;
use crate::domain::redaction::LogLevel;
use crate::domain::session::Session;

/// A log of `count` facts; `say` tells what the one with this seq says.
async fn log(
    store: &Store,
    id: &SessionId,
    level: LogLevel,
    count: Seq,
    say: impl Fn(Seq) -> String,
) -> Session {
    let mut state = None;
    let mut created = spec(id.as_str());
    created.log = level;
    append(store, &mut state, id, EventBody::SessionCreated(created))
        .await
        .expect("created");
    let session = state.expect("state");
    grow(
        store,
        id,
        session,
        (2..=count).map(|seq| notice(&say(seq))).collect(),
        Vec::new(),
    )
    .await
}

/// Appends facts in one commit, with others in the place of earlier ones.
async fn grow(
    store: &Store,
    id: &SessionId,
    mut session: Session,
    bodies: Vec<EventBody>,
    rewrites: Vec<(Seq, EventBody)>,
) -> Session {
    let new = bodies.into_iter().map(|body| NewEvent {
        time_us: 1,
        caller: caller(),
        body,
    });
    let expected_head = session.head;
    let sealed = store
        .seal(id, session.spec.log, expected_head, new.collect())
        .expect("sealed");
    sealed.events().iter().for_each(|event| session.apply(event));
    let append = Append {
        session_id: id.clone(),
        expected_head,
        sealed,
        summary: session.summary(),
        request: None,
        asker: None,
        open_calls: Vec::new(),
        begins_with: None,
        rewrites,
    };
    store.append(append).await.expect("appended");
    session
}

/// All places of a text, `events` read at a time; how many calls it took.
async fn places(store: &Store, id: &SessionId, text: &str, events: u32, most: usize) -> (Vec<Seq>, usize) {
    let (mut found, mut before, mut calls) = (Vec::new(), Seq::MAX, 0);
    while before != 0 {
        let needle = Needle::new(text).expect("needle");
        let page = store.find(id, needle, before, events, most).await.expect("finds");
        assert!(page.before < before, "{text}: no call is for nothing");
        assert!(page.found.len() <= most);
        found.extend(page.found.iter().map(|(seq, _)| *seq));
        before = page.before;
        calls += 1;
    }
    (found, calls)
}

fn says(seq: Seq) -> String {
    let words = [
        "Apfel",
        "STRAẞE",
        "漢字かな",
        "fn make_slug(title)",
        "it's \"quoted\"\n\ttab",
        "größer",
        "\u{1}\u{0}x",
    ];
    let word = |n: Seq| words[usize::try_from((seq / n) % 7).expect("small")];
    format!("{} number {seq} {}{}", word(1), word(3), word(7))
}

const NEEDLES: &[&str] = &[
    "apfel",
    "straße",
    "漢字",
    "字か",
    "字",
    "slug(t",
    "\"QUOTED\"\n\tt",
    "number 77",
    "r 1",
    "er",
    "x",
    "GRÖSSER",
    "größerApfel",
    "nowhere",
    "\u{0}x",
];

#[tokio::test]
async fn what_is_indexed_is_found_as_what_is_not() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let (id, other) = (SessionId::random(), SessionId::random());
    let head = 500;
    let session = log(&store, &id, LogLevel::default(), head, says).await;
    let mut before = Vec::new();
    for needle in NEEDLES {
        before.push(places(&store, &id, needle, 10_000, 500).await.0);
    }
    assert_eq!(
        before[0].len(),
        (2..=head).filter(|seq| says(*seq).contains("Apfel")).count()
    );
    assert_eq!(before[13], Vec::<Seq>::new());
    // Another log in the same index has them all.
    log(&store, &other, LogLevel::default(), 100, |_| NEEDLES.join(" ")).await;
    store.catch_up(true).await.expect("indexed");
    for (needle, wanted) in NEEDLES.iter().zip(&before) {
        for (events, most) in [(10_000, 500), (7, 500), (64, 3), (10_000, 1)] {
            assert_eq!(
                places(&store, &id, needle, events, most).await.0,
                *wanted,
                "{needle:?} {events} {most}"
            );
        }
    }
    // What came after it was indexed, with what was before.
    let last = grow(
        &store,
        &id,
        session,
        vec![notice("nowhere until here")],
        Vec::new(),
    )
    .await;
    assert_eq!(places(&store, &id, "NOWHERE", 10_000, 500).await.0, [last.head]);
}

#[tokio::test]
async fn the_beginning_of_a_long_log_is_a_short_way() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let say = |seq| if seq == 3 { "the needle".into() } else { says(seq) };
    log(&store, &id, LogLevel::default(), 4000, say).await;
    let (found, calls) = places(&store, &id, "needle", 100, 50).await;
    assert_eq!((found, calls), (vec![3], 40), "all was read");
    store.catch_up(true).await.expect("indexed");
    let (found, calls) = places(&store, &id, "needle", 100, 50).await;
    assert_eq!((found, calls), (vec![3], 1), "what can have it was read");
}

#[tokio::test]
async fn words_that_are_only_in_memory_are_found_beside_the_index() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let spoken = |n: Seq| EventBody::MessagePosted {
        message_id: crate::domain::id::MessageId::random(),
        parts: vec![crate::domain::message::Part::Text {
            text: format!("the needle {n}"),
        }],
        options: crate::domain::event::TurnOptions::default(),
        queued: false,
        steer: false,
    };
    let session = log(&store, &id, LogLevel::None, 40, says).await;
    let session = grow(&store, &id, session, vec![spoken(1)], Vec::new()).await;
    let session = grow(
        &store,
        &id,
        session,
        (0..200).map(|n| notice(&says(n))).collect(),
        Vec::new(),
    )
    .await;
    store.catch_up(true).await.expect("indexed");
    assert!(session.head > 200);
    assert_eq!(places(&store, &id, "NEEDLE 1", 64, 50).await.0, [41]);
    store.forget_words(&id);
    assert!(places(&store, &id, "needle 1", 64, 50).await.0.is_empty());
}

fn index_has(dir: &Path, runs: &str) -> u64 {
    let connection = rusqlite::Connection::open(dir.join("agentd.db")).expect("opens");
    connection
        .query_row("SELECT count(*) FROM find WHERE find MATCH ?1", [runs], |row| {
            row.get(0)
        })
        .expect("counts")
}

#[tokio::test]
async fn what_is_taken_out_leaves_the_index_too() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let say = |seq| {
        if seq == 5 {
            "a qzjqx in hay".into()
        } else {
            says(seq)
        }
    };
    let session = log(&store, &id, LogLevel::default(), 100, say).await;
    store.catch_up(true).await.expect("indexed");
    assert_eq!(index_has(dir.path(), "\"qzj\""), 1);
    let rewrites = vec![(5, notice("nothing in hay"))];
    grow(&store, &id, session, vec![notice("taken out")], rewrites).await;
    assert_eq!(index_has(dir.path(), "\"qzj\""), 0);
    assert!(places(&store, &id, "qzjqx", 100, 50).await.0.is_empty());
    assert_eq!(places(&store, &id, "in hay", 100, 50).await.0, [5]);
    store.purge(&id).await.expect("purged");
    store.purge(&id).await.expect("purged");
    assert_eq!(index_has(dir.path(), "\"hay\""), 0);
    store.scrub().await.expect("scrubbed");
    store.close().await;
    let bytes = std::fs::read(dir.path().join("agentd.db")).expect("file");
    assert!(
        !bytes.windows(3).any(|w| w == b"qzj"),
        "a part of what was taken out is in the file"
    );
}

#[tokio::test]
async fn a_block_too_large_to_be_indexed_is_read() {
    let dir = tempfile::tempdir().expect("dir");
    let store = store(dir.path());
    let id = SessionId::random();
    let say = |seq| match seq {
        10 => format!("large {}needle", "x ".repeat(400_000)),
        _ => says(seq),
    };
    log(&store, &id, LogLevel::default(), 200, say).await;
    store.catch_up(true).await.expect("indexed");
    assert_eq!(index_has(dir.path(), "\"nee\""), 0);
    assert_eq!(places(&store, &id, "x needle", 100, 50).await.0, [10]);
}
