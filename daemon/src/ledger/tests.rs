//! The ledger over a real store.

use super::*;
use crate::domain::budget::{AlertKind, Budget, Unit, Window};
use crate::domain::id::BudgetId;
use crate::domain::usage::{Booking, Cost, CostSource, Dimension, Request, Row, Tokens};
use crate::store::redact::Redactor;
use budgets::{Entry, LOOP_STEPS};

fn ledger(dir: &std::path::Path) -> Ledger {
    let redactor = Redactor::new();
    let store = Store::open(&dir.join("agentd.db"), Arc::new(redactor)).unwrap();
    let settings = LedgerSettings {
        zone: "Europe/Berlin".into(),
        ..LedgerSettings::default()
    };
    Ledger::new(store, settings).unwrap()
}

fn row(seq: u64, session: &str, model: &str, micro_usd: Option<u64>) -> Row {
    Row {
        time_us: now_us() - 1_000 + i64::try_from(seq).unwrap(),
        seq,
        booking: Booking {
            principal: "ana".into(),
            client: "cli".into(),
            session_id: session.into(),
            persona: "default".into(),
            model: model.into(),
            ..Booking::default()
        },
        turn_id: "t-1".into(),
        step: 1,
        outcome: "stop".into(),
        total_ms: 10,
        request: Some(Request {
            tokens: Some(Tokens {
                input: 100,
                output: 20,
                ..Tokens::default()
            }),
            cost: micro_usd.map(|micro_usd| Cost {
                micro_usd,
                source: CostSource::Catalog,
            }),
            ..Request::default()
        }),
    }
}

fn budget(window: Window, limit: u64) -> Budget {
    Budget {
        budget_id: String::new(),
        window,
        unit: Unit::MicroUsd,
        limit,
        only: None,
        pauses: true,
    }
}

fn spender(session: &str) -> Spender {
    Spender {
        booking: row(1, session, "x/m", None).booking,
        turn_id: "t-1".into(),
        ..Spender::default()
    }
}

fn costs(micro_usd: u64) -> Estimate {
    Estimate {
        micro_usd: Some(micro_usd),
        tokens: 100,
    }
}

fn query(by: Option<Dimension>, most: usize) -> Query {
    Query {
        range: Range::Days(2),
        zone: String::new(),
        group_by: by,
        bucket: Some(Bucket::Hour),
        filters: Vec::new(),
        max_groups: most,
        latency: true,
    }
}

#[tokio::test]
async fn what_is_cut_off_a_list_is_in_other_and_the_unknown_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    let rows = vec![
        row(1, "s-a", "x/dear", Some(900)),
        row(2, "s-a", "x/cheap", Some(5)),
        row(3, "s-b", "x/odd", None),
        row(4, "s-b", "x/mid", Some(70)),
    ];
    ledger.0.store.put_usage_rows(rows).await.unwrap();
    let report = ledger.query(query(Some(Dimension::Model), 2)).await.unwrap();
    let shown: Vec<(&str, u64)> = report
        .groups
        .iter()
        .map(|g| (g.value.as_str(), g.sums.cost_micro_usd))
        .collect();
    assert_eq!(shown, [("x/dear", 900), ("x/mid", 70), ("other", 5)]);
    assert_eq!(report.unpriced_models, ["x/odd"]);
    assert_eq!(
        (report.total.unpriced_requests, report.total.unpriced_tokens),
        (1, 120)
    );
    let points: u64 = report.points.iter().map(|p| p.sums.cost_micro_usd).sum();
    let grouped: u64 = report
        .points
        .iter()
        .flat_map(|p| &p.groups)
        .map(|s| s.cost_micro_usd)
        .sum();
    assert_eq!((points, grouped), (975, 975));
    let only = Query {
        filters: vec![(Dimension::Model, vec!["x/odd".into()])],
        ..query(None, 0)
    };
    assert_eq!(
        ledger.query(only).await.unwrap().total.cost(),
        None,
        "unknown, not $0"
    );
}

#[tokio::test]
async fn the_export_sums_to_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    let rows = (1..=300)
        .map(|n| row(n, "s-a", "x/m", (n % 3 > 0).then_some(n * 7)))
        .collect();
    ledger.0.store.put_usage_rows(rows).await.unwrap();
    let wish = |format| Wish {
        range: Range::Days(2),
        zone: "UTC".into(),
        filters: Vec::new(),
        format,
        tool_calls: false,
    };
    let mut text = Vec::new();
    let mut export = ledger.export(wish(Format::Csv)).unwrap();
    while let Some((piece, _)) = export.next().await.unwrap() {
        text.extend(piece);
    }
    let text = String::from_utf8(text).unwrap();
    let sum: u64 = text
        .lines()
        .skip(1)
        .filter_map(|l| l.split(',').nth(16)?.parse::<u64>().ok())
        .sum();
    let shown = ledger.query(query(None, 0)).await.unwrap().total.cost_micro_usd;
    assert_eq!((sum, text.lines().count()), (shown, 301));
    let mut json = Vec::new();
    let mut export = ledger.export(wish(Format::Json)).unwrap();
    while let Some((piece, _)) = export.next().await.unwrap() {
        json.extend(piece);
    }
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let sum: u64 = rows.iter().filter_map(|r| r["cost_micro_usd"].as_u64()).sum();
    assert_eq!((sum, rows.len()), (shown, 300));
    // The same file, read back as a provider's, has no gap.
    let back = ledger.reconcile(text.as_bytes(), "x").await.unwrap();
    assert_eq!((back.file, back.ledger), (shown, shown));
    assert!(back.notes[0].contains("100 requests of the ledger have no known price"));
}

#[tokio::test]
async fn requests_side_by_side_can_not_pass_a_limit_together() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    let made = ledger
        .set_budget(budget(Window::Day, 100), BudgetId::random())
        .await
        .unwrap();
    let (first, _) = ledger.reserve(&spender("s-a"), costs(60)).await.unwrap();
    let Entry::Granted(first) = first else {
        panic!("it fits")
    };
    let (second, alerts) = ledger.reserve(&spender("s-b"), costs(60)).await.unwrap();
    let Entry::Refused { why, .. } = second else {
        panic!("together they do not fit")
    };
    assert!(why.contains("$0.0001 per day is nearly reached"), "{why}");
    assert_eq!(alerts.len(), 1);
    // Settled for less than was reserved: there is room again.
    ledger
        .0
        .store
        .put_usage_rows(vec![row(1, "s-a", "x/m", Some(30))])
        .await
        .unwrap();
    ledger.settle(first).await;
    let (third, _) = ledger.reserve(&spender("s-b"), costs(60)).await.unwrap();
    let Entry::Granted(third) = third else {
        panic!("it fits now")
    };
    ledger.settle(third).await;
    // Spent: no more, until the limit is raised.
    ledger
        .0
        .store
        .put_usage_rows(vec![row(2, "s-b", "x/m", Some(70))])
        .await
        .unwrap();
    let (full, _) = ledger.reserve(&spender("s-b"), costs(0)).await.unwrap();
    assert!(matches!(full, Entry::Refused { why, .. } if why.contains("is reached")));
    let raised = Budget {
        limit: 200,
        ..made.budget
    };
    assert_eq!(
        ledger
            .set_budget(raised, BudgetId::random())
            .await
            .unwrap()
            .percent(),
        50
    );
    let (on, _) = ledger.reserve(&spender("s-b"), costs(60)).await.unwrap();
    assert!(matches!(on, Entry::Granted(_)));
}

#[tokio::test]
async fn a_limit_that_can_not_count_a_model_is_said_before_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    let spender = Spender {
        turn_id: "t-1".into(),
        turn_limit: Some(2_000_000),
        ..spender("s-a")
    };
    let (entry, alerts) = ledger.reserve(&spender, Estimate::default()).await.unwrap();
    assert!(matches!(entry, Entry::Granted(_)));
    assert_eq!(alerts.len(), 1);
    assert!(
        alerts[0]
            .message
            .contains("is unknown: the budget of $2.00 per turn"),
        "{}",
        alerts[0].message
    );
    let (_, again) = ledger.reserve(&spender, Estimate::default()).await.unwrap();
    assert_eq!(again, [], "once in a turn");
}

#[tokio::test]
async fn each_step_of_a_budget_is_told_once_and_acknowledged_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    ledger
        .set_budget(budget(Window::Session, 100), BudgetId::random())
        .await
        .unwrap();
    let mut told = Vec::new();
    for (seq, cost) in [(1u64, 40u64), (2, 15), (3, 5), (4, 25), (5, 30)] {
        ledger
            .0
            .store
            .put_usage_rows(vec![row(seq, "s-a", "x/m", Some(cost))])
            .await
            .unwrap();
        let alerts = ledger.look(&spender("s-a"), 0).await.unwrap();
        told.extend(alerts.iter().map(|a| (seq, a.percent, a.kind)));
    }
    use AlertKind::{BudgetReached, BudgetWarning};
    assert_eq!(
        told,
        [
            (2, 50, BudgetWarning),
            (4, 80, BudgetWarning),
            (5, 100, BudgetReached)
        ]
    );
    assert!(
        ledger.look(&spender("s-b"), 0).await.unwrap().is_empty(),
        "another session has its own"
    );
    let round = ledger.look(&spender("s-b"), LOOP_STEPS).await.unwrap();
    assert_eq!(round[0].kind, AlertKind::Loop);
    let newest = ledger.alerts(false, 10).await.unwrap().remove(0);
    let seen = ledger
        .acknowledge(&newest.alert_id, "ana via web".into())
        .await
        .unwrap();
    assert_eq!(seen.acknowledged_by, "ana via web");
    assert_eq!(ledger.alerts(false, 10).await.unwrap().len(), 3);
    assert_eq!(ledger.alerts(true, 10).await.unwrap().len(), 4);
    assert!(ledger.acknowledge("al-none", String::new()).await.is_err());
}

#[tokio::test]
async fn a_turn_s_own_limit_and_the_unknown_price_are_minded() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path());
    let mut own = spender("s-a");
    own.turn_limit = Some(50);
    own.turn.cost_micro_usd = 45;
    let (entry, _) = ledger.reserve(&own, costs(10)).await.unwrap();
    assert!(matches!(entry, Entry::Refused { .. }));
    ledger
        .set_budget(budget(Window::Month, 100), BudgetId::random())
        .await
        .unwrap();
    let unknown = Estimate {
        micro_usd: None,
        tokens: 5,
    };
    let (entry, _) = ledger.reserve(&spender("s-a"), unknown).await.unwrap();
    assert!(matches!(entry, Entry::Granted(_)));
    ledger
        .0
        .store
        .put_usage_rows(vec![row(1, "s-a", "x/m", None)])
        .await
        .unwrap();
    for expected in [1, 0] {
        let alerts = ledger.look(&spender("s-a"), 0).await.unwrap();
        assert_eq!(alerts.len(), expected, "said once");
    }
}

#[tokio::test]
async fn the_hook_is_given_the_alert() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("told");
    let fifo = file.to_string_lossy().into_owned();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let redactor = Redactor::new();
    let store = Store::open(&dir.path().join("agentd.db"), Arc::new(redactor)).unwrap();
    let settings = LedgerSettings {
        alert_command: vec!["/bin/sh".into(), "-c".into(), "cat > \"$0\"".into(), fifo.clone()],
        ..LedgerSettings::default()
    };
    let ledger = Ledger::new(store, settings).unwrap();
    // Reading a pipe waits for its writer: no sleep is needed.
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(fifo).unwrap());
    ledger.look(&spender("s-a"), LOOP_STEPS).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&read.await.unwrap()).unwrap();
    assert_eq!(
        (told["kind"].as_str(), told["session_id"].as_str()),
        (Some("loop"), Some("s-a"))
    );
}
