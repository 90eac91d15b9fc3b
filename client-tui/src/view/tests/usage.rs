//! What the usage screen shows: nothing, a day, ninety days, unknown prices, and the same as tables.

use agentd_proto::pb;

use super::{shown, snapshot};
use crate::fixture::Desk;
use crate::model::Screen;
use crate::model::usage::UsageData;

fn point(local: &str, cost: Option<u64>, tokens: u64) -> pb::UsagePoint {
    let half = |part: u64| pb::UsageSums {
        cost_micro_usd: cost.map(|cost| cost * part / 3),
        input_tokens: tokens * part,
        cached_tokens: tokens * part / 2,
        output_tokens: tokens / 3,
        requests: part,
        ..Default::default()
    };
    pb::UsagePoint {
        local: local.into(),
        sums: Some(half(3)),
        groups: vec![half(2), half(1)],
        ..Default::default()
    }
}

fn answer(points: Vec<pb::UsagePoint>, priced: bool) -> pb::QueryUsageResponse {
    let add = |get: fn(&pb::UsageSums) -> u64| {
        points
            .iter()
            .filter_map(|one| one.sums.as_ref())
            .map(get)
            .sum::<u64>()
    };
    let total = pb::UsageSums {
        requests: 12,
        errors: 1,
        cost_micro_usd: priced.then(|| add(|one| one.cost_micro_usd.unwrap_or_default())),
        input_tokens: add(|one| one.input_tokens),
        cached_tokens: add(|one| one.cached_tokens),
        output_tokens: add(|one| one.output_tokens),
        tool_calls: 40,
        tool_failures: 3,
        unpriced_requests: if priced { 0 } else { 12 },
        unpriced_tokens: if priced { 0 } else { 90_000 },
        ..Default::default()
    };
    let group = |name: &str, calls: u64, part: u64| pb::UsageGroup {
        value: name.into(),
        label: name.into(),
        sums: Some(pb::UsageSums {
            tool_calls: calls,
            tool_failures: calls / 10,
            cost_micro_usd: total.cost_micro_usd.map(|cost| cost * part / 3),
            input_tokens: total.input_tokens * part / 3,
            output_tokens: total.output_tokens * part / 3,
            ..total
        }),
        latency: Some(pb::UsageLatency {
            total_p50: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            total_p95: Some(prost_types::Duration { seconds: 9, nanos: 0 }),
            ..Default::default()
        }),
        ..Default::default()
    };
    pb::QueryUsageResponse {
        total: Some(total),
        points,
        groups: vec![
            group("openai/gpt-x", 30, 2),
            group("anthropic/claude-long-name", 10, 1),
        ],
        time_zone: "Europe/Berlin".into(),
        unpriced_models: if priced {
            Vec::new()
        } else {
            vec!["ollama/x".into()]
        },
        ..Default::default()
    }
}

fn filled(width: u16, height: u16, days: usize, priced: bool) -> Desk {
    let mut desk = Desk::new(width, height);
    desk.model.screen = Screen::Usage;
    let day = |at: usize| {
        let local = format!("2026-{:02}-{:02}T00:00+01:00", 9 + at / 30, 1 + at % 30);
        point(
            &local,
            priced.then_some(90_000 * (at as u64 % 7 + 1)),
            900 * (at as u64 % 5 + 1),
        )
    };
    let hours = (0..24_u64).map(|hour| {
        let local = format!("2026-11-29T{hour:02}:00+01:00");
        point(&local, priced.then_some(1_000 * hour), 100 * (hour % 6))
    });
    let main = answer((0..days).map(day).collect(), priced);
    let hours = answer(hours.collect(), priced);
    let total = main.total.unwrap_or_default();
    let mut forecast = pb::ForecastUsageResponse {
        spent_micro_usd: total.cost_micro_usd.unwrap_or_default(),
        projected_micro_usd: priced.then_some(9_000_000),
        budget_micro_usd: priced.then_some(10_000_000),
        method: "the mean of the complete days".into(),
        ..Default::default()
    };
    if priced {
        forecast.days = (1..=4)
            .map(|day| pb::ForecastDay {
                date: format!("2026-11-{day:02}"),
                cost_micro_usd: day * 2_000_000,
                projected: day > 2,
            })
            .collect();
    }
    desk.model.usage.data = Some(Box::new(UsageData {
        top: main.clone(),
        tools: main.clone(),
        recent: hours.clone(),
        hours,
        today: total,
        week: total,
        month: total,
        forecast,
        main,
        ..UsageData::default()
    }));
    desk
}

#[test]
fn usage_at_all_sizes() {
    snapshot("usage_nothing", |width, height| {
        let mut desk = filled(width, height, 0, true);
        if let Some(data) = &mut desk.model.usage.data {
            data.main.total = None;
        }
        desk
    });
    snapshot("usage_one_day", |width, height| filled(width, height, 1, true));
    snapshot("usage_ninety_days", |width, height| {
        filled(width, height, 90, true)
    });
    snapshot("usage_price_unknown", |width, height| {
        filled(width, height, 3, false)
    });
    snapshot("usage_as_tables", |width, height| {
        let mut desk = filled(width, height, 3, true);
        desk.press("t");
        desk
    });
}

#[test]
fn what_is_below_is_marked_and_reached() {
    let mut desk = filled(80, 24, 7, true);
    assert!(shown(&desk.model).contains(" more"));
    desk.press("7");
    let last = shown(&desk.model);
    assert!(
        last.contains("▸7 Hour of the day") && last.contains(" ↑ "),
        "{last}"
    );
}
