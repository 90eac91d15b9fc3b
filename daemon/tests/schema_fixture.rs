//! Owns: the promise that a database of every released schema opens, folds and goes on.
//! Guarantees: each fixture was written by a real daemon (an exec, a demo turn that edits a file, a question
//! that was denied) before its schema was released, and is never written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentd::domain::event::{EventBody, NewEvent};
use agentd::domain::principal::{Caller, Client};
use agentd::domain::session::Session;
use agentd::store::redact::Redactor;
use agentd::store::{Append, SessionFilter, Store};

/// The databases that were saved, by the number of their schema: one for each that left a developer's machine.
const SAVED: &[u32] = &[1, 5, 6, 7, 8, 9, 10];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(path: &Path) -> Store {
    Store::open(path, Arc::new(Redactor::new())).unwrap()
}

#[tokio::test]
async fn every_saved_database_opens_folds_and_goes_on() {
    for schema in SAVED {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd.db");
        std::fs::copy(fixtures().join(format!("schema-{schema}.db")), &path).unwrap();
        let store = open(&path);
        let filter = SessionFilter {
            limit: 100,
            ..SessionFilter::default()
        };
        let rows = store.sessions(filter).await.unwrap();
        assert!(
            rows.len() >= 2,
            "the fixture of schema {schema} has a shell's and an agent's session"
        );
        let mut kinds = std::collections::BTreeSet::new();
        for row in rows {
            let events = store.events_after(&row.session_id, 0, 10_000).await.unwrap();
            assert_eq!(events.len() as u64, row.head, "dense and whole");
            let mut session = Session::begin(&events[0]).unwrap();
            for event in &events[1..] {
                session.apply(event);
            }
            kinds.extend(events.iter().map(|event| event.body.kind()));
            let mut now = session.summary();
            // What rows of that time did not have is folded from the log; the row gets it with its next event.
            now.title.clone_from(&row.title);
            now.spent.input_tokens = row.spent.input_tokens;
            now.spent.cached_tokens = row.spent.cached_tokens;
            assert_eq!(now, row, "the fold is the row that was kept");
            let caller = Caller {
                principal: "ana".into(),
                client: Client::Cli,
                trace_id: "0".repeat(32),
                request_id: None,
            };
            let body = EventBody::NoticeRecorded {
                code: "test".into(),
                message: "goes on".into(),
            };
            let sealed = store
                .seal(
                    &row.session_id,
                    row.spec.log,
                    row.head,
                    vec![NewEvent {
                        time_us: 1,
                        caller,
                        body,
                    }],
                )
                .unwrap();
            session.apply(&sealed.events()[0]);
            let append = Append {
                session_id: row.session_id.clone(),
                expected_head: row.head,
                sealed,
                summary: session.summary(),
                request: None,
                asker: None,
                open_calls: Vec::new(),
                begins_with: None,
                rewrites: Vec::new(),
            };
            assert_eq!(store.append(append).await.unwrap()[0].seq, row.head + 1);
        }
        for kind in [
            "turn_started",
            "step_finished",
            "tool_call_finished",
            "exec_finished",
            "change_recorded",
        ] {
            assert!(
                kinds.contains(kind),
                "{kind} is in the fixture of schema {schema}"
            );
        }
        store.close().await;
    }
}
