//! The ledger against a real database.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::usage::{Booking, Cost, CostSource, Request, Tokens};
use crate::store::redact::Redactor;

fn store(dir: &std::path::Path) -> Store {
    let redactor = Redactor::new();
    Store::open(&dir.join("agentd.db"), Arc::new(redactor)).expect("opens")
}

fn row() -> impl Strategy<Value = (i64, u8, u8, u8, Option<u32>, Option<u64>)> {
    // Three days; few values, so that rows meet in cells.
    (
        0..3 * 24 * HOUR_US,
        0..3u8,
        0..3u8,
        0..4u8,
        prop::option::of(0..9_000_000u32),
        prop::option::of(0..9_999u64),
    )
}

fn made(
    (time_us, session, model, who, money, tokens): (i64, u8, u8, u8, Option<u32>, Option<u64>),
    seq: u64,
) -> Row {
    let tool = model == 2;
    Row {
        time_us,
        seq,
        booking: Booking {
            principal: format!("p{who}"),
            client: "cli".into(),
            session_id: format!("s-{session}"),
            task_id: if session == 1 { "T-1".into() } else { String::new() },
            persona: "default".into(),
            model: if tool {
                String::new()
            } else {
                format!("x/m{model}")
            },
            tool: if tool { "exec".into() } else { String::new() },
        },
        turn_id: "t".into(),
        step: u32::from(who),
        outcome: if who == 0 { "failed".into() } else { "stop".into() },
        total_ms: seq * 7,
        request: (!tool).then(|| Request {
            tokens: tokens.map(|n| Tokens {
                input: n,
                cached_input: n / 2,
                output: n / 3,
                ..Tokens::default()
            }),
            cost: money.map(|m| Cost {
                micro_usd: m.into(),
                source: if m % 2 == 0 {
                    CostSource::Reported
                } else {
                    CostSource::Catalog
                },
            }),
            first_token_ms: Some(seq),
            retries: u32::from(who),
        }),
    }
}

fn total(summed: &Summed) -> Sums {
    let mut all = Sums::default();
    summed.cells.iter().for_each(|cell| all.add(&cell.sums));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Sums by anything = sums over the rows of the export, to the micro-dollar, for any range.
    #[test]
    fn any_cut_of_any_range_sums_to_its_rows(
        rows in prop::collection::vec(row(), 1..120),
        from in 0..3 * 24 * HOUR_US,
        length in 0..3 * 24 * HOUR_US,
        step in prop::sample::select(vec![QUARTER_US, HOUR_US, 24 * HOUR_US]),
        by in prop::sample::select(Dimension::ALL.to_vec()),
        only in prop::option::of(0..3u8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            let rows: Vec<Row> = rows.into_iter().zip(1..).map(|(r, seq)| made(r, seq)).collect();
            store.put_usage_rows(rows.clone()).await.unwrap();
            let to = from + length;
            let starts_us: Vec<i64> = std::iter::once(from)
                .chain((0..).map(|n| (from / step + 1 + n) * step).take_while(|s| *s < to))
                .collect();
            let filters: Vec<_> = only.map(|s| (Dimension::Session, vec![format!("s-{s}")])).into_iter().collect();
            let wanted = Wanted {
                from_us: from, to_us: to, starts_us: starts_us.clone(),
                group_by: Some(by), filters: filters.clone(), latency: true,
            };
            let summed = store.sum_usage(wanted).await.unwrap();
            let mut exported = Vec::new();
            for tool_calls in [false, true] {
                let filter = RowFilter { from_us: from, to_us: to, filters: filters.clone(), tool_calls };
                let mut cursor = None;
                loop {
                    let page = store.usage_rows(filter.clone(), cursor, 7).await.unwrap();
                    let Some(last) = page.last() else { break };
                    cursor = Some((last.time_us, last.booking.session_id.clone(), last.seq));
                    exported.extend(page);
                }
            }
            let mut truth = Sums::default();
            exported.iter().for_each(|row| truth.add(&Sums::of(row)));
            assert_eq!(total(&summed), truth, "chart = export");
            let kept = rows.iter().filter(|r| (from..to).contains(&r.time_us))
                .filter(|r| only.is_none_or(|s| r.booking.session_id == format!("s-{s}")));
            assert_eq!(exported.len(), kept.clone().count(), "no row twice, none missing");
            // Each cell by itself, too.
            for cell in &summed.cells {
                let end = starts_us.get(cell.bucket + 1).copied().unwrap_or(to);
                let mut own = Sums::default();
                kept.clone()
                    .filter(|r| r.booking.value(by) == summed.groups[cell.group])
                    .filter(|r| (starts_us[cell.bucket]..end).contains(&r.time_us))
                    .for_each(|r| own.add(&Sums::of(r)));
                assert_eq!(cell.sums, own);
                assert_eq!(cell.total.is_empty(), own == Sums::default());
            }
        });
    }
}

fn plain(n: u64, principal: &str) -> Row {
    let mut row = made(
        (
            i64::try_from(n).unwrap() * HOUR_US + 5,
            1,
            0,
            1,
            Some(1_000),
            Some(30),
        ),
        n,
    );
    row.booking.principal = principal.into();
    row
}

fn everything(by: Option<Dimension>) -> Wanted {
    Wanted {
        to_us: 1_000 * HOUR_US,
        group_by: by,
        latency: true,
        ..Wanted::default()
    }
}

#[tokio::test]
async fn old_rows_go_and_their_sums_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store
        .put_usage_rows((1..=20).map(|n| plain(n, "ana")).collect())
        .await
        .unwrap();
    let before = store.sum_usage(everything(None)).await.unwrap();
    assert_eq!(store.prune_usage(10 * HOUR_US).await.unwrap(), 9);
    let after = store.sum_usage(everything(None)).await.unwrap();
    assert_eq!(after.cells, before.cells);
    let filter = RowFilter {
        to_us: i64::MAX,
        ..RowFilter::default()
    };
    assert_eq!(store.usage_rows(filter, None, 100).await.unwrap().len(), 11);
    // A ragged end among the rows that are gone goes by the cell.
    let ragged = Wanted {
        from_us: 3 * HOUR_US + 1,
        ..everything(None)
    };
    assert_eq!(total(&store.sum_usage(ragged).await.unwrap()).requests, 17);
}

#[tokio::test]
async fn a_person_can_be_forgotten_with_or_without_their_sums() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let rows = (1..=10).map(|n| plain(n, if n % 2 == 0 { "ana" } else { "ben" }));
    store.put_usage_rows(rows.collect()).await.unwrap();
    let all = store.sum_usage(everything(None)).await.unwrap();
    assert_eq!(store.forget_principal("ana", false).await.unwrap(), 5);
    // Again: their later rows join the others that are nobody's.
    store.put_usage_rows(vec![plain(11, "ana")]).await.unwrap();
    assert_eq!(store.forget_principal("ana", false).await.unwrap(), 1);
    let by = store
        .sum_usage(everything(Some(Dimension::Principal)))
        .await
        .unwrap();
    let mut names = by.groups.clone();
    names.sort();
    assert_eq!(names, [keep::NOBODY, "ben"]);
    assert_eq!(total(&by).cost_micro_usd, total(&all).cost_micro_usd + 1_000);
    assert_eq!(store.forget_principal("ben", true).await.unwrap(), 5);
    let left = store
        .sum_usage(everything(Some(Dimension::Session)))
        .await
        .unwrap();
    assert_eq!(total(&left).requests, 6);
}

#[tokio::test]
async fn sums_are_made_again_where_only_rows_are() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    first
        .put_usage_rows((1..=5).map(|n| plain(n, "ana")).collect())
        .await
        .unwrap();
    let before = first.sum_usage(everything(Some(Dimension::Model))).await.unwrap();
    first.close().await;
    {
        let raw = rusqlite::Connection::open(dir.path().join("agentd.db")).unwrap();
        raw.execute_batch("DELETE FROM usage_hours; DELETE FROM usage_quarters;")
            .unwrap();
        rebuild(&raw).unwrap();
    }
    let again = store(dir.path());
    assert_eq!(
        again
            .sum_usage(everything(Some(Dimension::Model)))
            .await
            .unwrap()
            .cells,
        before.cells
    );
}
