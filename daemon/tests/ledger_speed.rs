//! How fast the ledger answers. With `AGENTD_BENCH=1`, in an optimised build: a million rows, and the limits that
//! are promised; otherwise a few thousand rows, to keep the measurement itself true.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement prints what it found and may fail in any way it likes"
)]

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentd::domain::usage::{Booking, Cost, CostSource, Dimension, Request, Row, Tokens};
use agentd::ledger::{Bucket, Format, Ledger, LedgerSettings, Query, Range, Wish};
use agentd::store::Store;
use agentd::store::redact::Redactor;

const DAY_US: i64 = 86_400_000_000;
const DAYS: i64 = 90;
/// Rows of one session, one after the other, as sessions are.
const PER_SESSION: u64 = 500;

fn store(path: &Path) -> Store {
    Store::open(path, Arc::new(Redactor::new(Arc::new(RwLock::new(Vec::new()))))).unwrap()
}

fn row(n: u64, all: u64, now_us: i64) -> Row {
    let step = DAYS * DAY_US / i64::try_from(all).unwrap();
    let session = n / PER_SESSION;
    let tool = n % 5 == 4;
    Row {
        time_us: now_us - DAYS * DAY_US + step * i64::try_from(n).unwrap(),
        seq: n % PER_SESSION + 1,
        booking: Booking {
            principal: format!("p{}", session % 2),
            client: ["cli", "tui", "web", "api"][usize::try_from(session % 4).unwrap()].into(),
            session_id: format!("s-{session:06}"),
            task_id: if session.is_multiple_of(3) {
                format!("T-{}", session % 40)
            } else {
                String::new()
            },
            persona: "default".into(),
            model: if tool {
                String::new()
            } else {
                format!("openai/gpt-{}", session % 5)
            },
            tool: if tool {
                ["exec", "edit", "read"][usize::try_from(n % 3).unwrap()].into()
            } else {
                String::new()
            },
        },
        turn_id: format!("t-{:08}", n / 20),
        step: u32::try_from(n % 20 + 1).unwrap(),
        outcome: if n.is_multiple_of(97) {
            "provider_error"
        } else {
            "stop"
        }
        .into(),
        total_ms: 400 + n % 9_000,
        request: (!tool).then(|| Request {
            tokens: Some(Tokens {
                input: 20_000 + n % 40_000,
                cached_input: 15_000,
                output: 300 + n % 900,
                ..Tokens::default()
            }),
            cost: (session % 5 != 4).then_some(Cost {
                micro_usd: 9_000 + n % 7_777,
                source: CostSource::Catalog,
            }),
            first_token_ms: Some(200 + n % 1_500),
            retries: 0,
        }),
    }
}

async fn fill(store: &Store, from: u64, to: u64, all: u64, now_us: i64, at_once: usize) -> Duration {
    let begun = Instant::now();
    let mut rows = Vec::with_capacity(at_once);
    for n in from..to {
        rows.push(row(n, all, now_us));
        if rows.len() == at_once {
            store.put_usage_rows(std::mem::take(&mut rows)).await.unwrap();
        }
    }
    store.put_usage_rows(rows).await.unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn the_ledger_answers_at_once_whatever_its_size() {
    let full = std::env::var_os("AGENTD_BENCH").is_some();
    let all: u64 = if full { 1_000_000 } else { 5_000 };
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("agentd.db"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_us = i64::try_from(now.as_micros()).unwrap();

    // One row a commit, as sessions write them: at the beginning, and when nearly all are there.
    let probe = 200;
    let small = fill(&store, 0, probe, all, now_us, 1).await / u32::try_from(probe).unwrap();
    fill(&store, probe, all - probe, all, now_us, 2_000).await;
    let large = fill(&store, all - probe, all, all, now_us, 1).await / u32::try_from(probe).unwrap();
    println!("ledger: insert {small:?} a row at first, {large:?} with {all} rows");

    let ledger = Ledger::new(store, LedgerSettings::default()).unwrap();
    let model = vec![(Dimension::Model, vec!["openai/gpt-1".to_owned()])];
    let ask = |range, group_by, bucket, filters| Query {
        range,
        zone: "Europe/Berlin".into(),
        group_by,
        bucket,
        filters,
        max_groups: 10,
        latency: true,
    };
    use Dimension as D;
    let questions = [
        ("today", ask(Range::Days(1), None, None, vec![])),
        (
            "24 h by hour and model",
            ask(Range::Hours(24), Some(D::Model), Some(Bucket::Hour), vec![]),
        ),
        (
            "30 d by day and model",
            ask(Range::Days(30), Some(D::Model), Some(Bucket::Day), vec![]),
        ),
        (
            "90 d by day and model",
            ask(Range::Days(90), Some(D::Model), Some(Bucket::Day), vec![]),
        ),
        (
            "90 d by hour",
            ask(Range::Days(90), None, Some(Bucket::Hour), vec![]),
        ),
        (
            "90 d top sessions",
            ask(Range::Days(90), Some(D::Session), None, vec![]),
        ),
        (
            "90 d top tasks",
            ask(Range::Days(90), Some(D::Task), None, vec![]),
        ),
        ("90 d tools", ask(Range::Days(90), Some(D::Tool), None, vec![])),
        (
            "90 d by day and session of a model",
            ask(Range::Days(90), Some(D::Session), Some(Bucket::Day), model),
        ),
        (
            "90 d by day in Kathmandu",
            Query {
                zone: "Asia/Kathmandu".into(),
                ..ask(Range::Days(90), Some(D::Model), Some(Bucket::Day), vec![])
            },
        ),
    ];
    for (name, question) in questions {
        // The second time, as on a page that is open; the first reads the file into memory.
        let cold = Instant::now();
        let report = ledger.query(question.clone()).await.unwrap();
        let cold = cold.elapsed();
        let warm = Instant::now();
        ledger.query(question).await.unwrap();
        let warm = warm.elapsed();
        println!(
            "ledger: {name}: {warm:?} ({cold:?} at first), {} rows in it",
            report.total.requests + report.total.tool_calls
        );
        assert!(report.total.requests > 0, "{name} finds something");
        assert!(!full || warm <= Duration::from_millis(50), "{name} took {warm:?}");
    }

    let begun = Instant::now();
    let wish = Wish {
        range: Range::Days(200),
        zone: String::new(),
        filters: Vec::new(),
        format: Format::Csv,
        tool_calls: false,
    };
    let (mut rows, mut bytes) = (0u64, 0usize);
    let mut export = ledger.export(wish).unwrap();
    while let Some((piece, some)) = export.next().await.unwrap() {
        rows += u64::from(some);
        bytes += piece.len();
    }
    let rate = rows as f64 / begun.elapsed().as_secs_f64();
    println!("ledger: export {rows} rows, {bytes} bytes, {rate:.0} rows/s");
    assert_eq!(rows, all - all / 5);
    assert!(!full || rate >= 200_000.0, "{rate:.0} rows/s");
}
