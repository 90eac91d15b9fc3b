//! Owns: how fast the ledger answers money questions, and how fast a board is read and edited.
//! Guarantees: the store and the board are the real ones, on a disk; what is asked is what the pages ask.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentd::board::document::Document;
use agentd::domain::usage::{Booking, Cost, CostSource, Dimension, Request, Row, Tokens};
use agentd::ledger::{Bucket, Format, Ledger, LedgerSettings, Query, Range, Wish};
use agentd::store::Store;
use agentd::store::redact::Redactor;
use agentd_proto::{id, pb};

use super::figures::Size;
use super::report::{Report, Times, ms};
use super::support::TestDaemon;

const DAY_US: i64 = 86_400_000_000;
const DAYS: i64 = 90;
/// Rows of one session, one after the other, as sessions are.
const PER_SESSION: u64 = 500;

fn store(path: &Path) -> Store {
    Store::open(path, Arc::new(Redactor::new())).unwrap()
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

/// Rows of usage: put in, asked about, taken out.
pub async fn ledger(size: &Size, report: &mut Report) {
    let all = size.usage_rows;
    report.part(
        "The ledger",
        format!(
            "{all} rows over {DAYS} days. A question is asked twice: the figure is the second, as on a page that is \
             open; the first, which reads the file into memory, stands behind it."
        ),
    );
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("agentd.db"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_us = i64::try_from(now.as_micros()).unwrap();

    // One row a commit, as sessions write them: at the beginning, and when nearly all are there.
    let probe = 200.min(all / 10);
    let each = u32::try_from(probe).unwrap();
    let small = fill(&store, 0, probe, all, now_us, 1).await / each;
    fill(&store, probe, all - probe, all, now_us, 2_000).await;
    let large = fill(&store, all - probe, all, all, now_us, 1).await / each;
    report.row("one row and its commit, the first rows", ms(small), "");
    report.row("one row and its commit, the last rows", ms(large), "as the first");

    let ledger = Ledger::new(store, LedgerSettings::default()).unwrap();
    for (name, question) in questions(now.as_secs()) {
        let begun = Instant::now();
        let found = ledger.query(question.clone()).await.unwrap();
        let cold = begun.elapsed();
        assert!(found.total.requests > 0, "{name} finds something");
        let begun = Instant::now();
        ledger.query(question).await.unwrap();
        let warm = begun.elapsed();
        report.row(name, format!("{} (first {})", ms(warm), ms(cold)), "≤ 50 ms");
    }

    let begun = Instant::now();
    let wish = Wish {
        range: Range::Days(200),
        zone: String::new(),
        filters: Vec::new(),
        format: Format::Csv,
        tool_calls: false,
    };
    let mut rows = 0u64;
    let mut export = ledger.export(wish).unwrap();
    while let Some((_, some)) = export.next().await.unwrap() {
        rows += u64::from(some);
    }
    // Every fifth row is a tool call, which was not asked for.
    assert_eq!(rows, all - all / 5);
    let rate = rows as f64 / begun.elapsed().as_secs_f64();
    report.row(
        format!("export of {rows} rows as CSV"),
        format!("{rate:.0} rows/s"),
        "≥ 200000 rows/s",
    );
}

/// A zone in which it is about noon: there half of "today" lies behind us whenever this runs.
fn noon(now_secs: u64) -> String {
    let hour = i64::try_from(now_secs / 3_600 % 24).unwrap();
    // These names count hours to the west of Greenwich.
    format!("Etc/GMT{:+}", hour - 12)
}

fn questions(now_secs: u64) -> Vec<(&'static str, Query)> {
    use Dimension as D;
    let ask = |range, group_by, bucket| Query {
        range,
        zone: "Europe/Berlin".into(),
        group_by,
        bucket,
        filters: Vec::new(),
        max_groups: 10,
        latency: true,
    };
    let (hour, day) = (Some(Bucket::Hour), Some(Bucket::Day));
    vec![
        (
            "today",
            Query {
                zone: noon(now_secs),
                ..ask(Range::Days(1), None, None)
            },
        ),
        (
            "24 h by hour and model",
            ask(Range::Hours(24), Some(D::Model), hour),
        ),
        ("30 d by day and model", ask(Range::Days(30), Some(D::Model), day)),
        ("90 d by day and model", ask(Range::Days(90), Some(D::Model), day)),
        ("90 d by hour", ask(Range::Days(90), None, hour)),
        ("90 d top sessions", ask(Range::Days(90), Some(D::Session), None)),
        ("90 d top tasks", ask(Range::Days(90), Some(D::Task), None)),
        ("90 d tools", ask(Range::Days(90), Some(D::Tool), None)),
        (
            "90 d by day and session, of one model",
            Query {
                filters: vec![(Dimension::Model, vec!["openai/gpt-1".to_owned()])],
                ..ask(Range::Days(90), Some(D::Session), day)
            },
        ),
        (
            "90 d by day and model, in a zone of 5 h 45 min",
            Query {
                zone: "Asia/Kathmandu".into(),
                ..ask(Range::Days(90), Some(D::Model), day)
            },
        ),
    ]
}

fn board_text(tasks: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Tasks\n\n| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n",
    );
    for n in 1..=tasks {
        let status = ["Todo", "In Progress", "Blocked", "Review", "Done"][n % 5];
        writeln!(
            text,
            "| T-{n} | Keep the promise number {n} of this board | {status} | High | ana | said \\| twice, see [plan](PLAN.md) |"
        )
        .unwrap();
    }
    text
}

/// A board of many tasks: read, and one task of it changed.
pub async fn board(size: &Size, report: &mut Report) {
    report.part(
        "A long board",
        format!(
            "docs/TASKS.md with {} rows. An edit is a whole call: file read and checked, written and synced, stored, \
             answered.",
            size.tasks
        ),
    );
    let home = TestDaemon::start();
    let client = home.client();
    let workspace = home.project().join("board");
    std::fs::create_dir_all(workspace.join("docs")).unwrap();
    let text = board_text(size.tasks);
    std::fs::write(workspace.join("docs/TASKS.md"), &text).unwrap();
    let mut reads = Vec::new();
    for _ in 0..size.starts {
        let begun = Instant::now();
        let document = Document::read("docs/TASKS.md", &text);
        reads.push(begun.elapsed());
        assert_eq!(document.entries.len(), size.tasks);
    }
    report.row("reading it", Times::of(reads).shown(), "≤ 20 ms");
    let key = workspace.display().to_string();
    let list = pb::ListTasksRequest {
        workspace: key.clone(),
        ..Default::default()
    };
    let begun = Instant::now();
    let listed = client.list_tasks(list).await.unwrap();
    assert_eq!(listed.tasks.len(), size.tasks);
    report.row(
        "the first list, with every task taken into the store",
        ms(begun.elapsed()),
        "",
    );
    let mut edits = Vec::new();
    for n in 0..size.starts {
        let request = pb::EditTaskRequest {
            request_id: id::request_id(),
            workspace: key.clone(),
            task_id: format!("T-{}", size.tasks / 2),
            title: Some(format!("Changed {n} times")),
            ..Default::default()
        };
        let begun = Instant::now();
        client.edit_task(request).await.unwrap();
        edits.push(begun.elapsed());
    }
    report.row("editing one row", Times::of(edits).shown(), "≤ 30 ms");
}
