//! Owns: the ledger's words in both directions.

use std::time::Duration;

use agentd_proto::pb;

use super::{span, timestamp};
use crate::api::status::invalid;
use crate::domain::budget::{Alert, AlertKind, Budget, Standing, Unit, Window};
use crate::domain::rejection::Rejection;
use crate::domain::usage::{Dimension, Sums};
use crate::ledger::{
    Bucket, Calendar, Filters, Forecast, Format, Group, Point, Range, Reconciled, Report, Times,
};

fn ms(ms: u64) -> prost_types::Duration {
    span(Duration::from_millis(ms))
}

pub(in crate::api) fn dimension(number: i32) -> Result<Option<Dimension>, Rejection> {
    use pb::UsageDimension as D;
    Ok(Some(match D::try_from(number) {
        Ok(D::Unspecified) => return Ok(None),
        Ok(D::Principal) => Dimension::Principal,
        Ok(D::Client) => Dimension::Client,
        Ok(D::Session) => Dimension::Session,
        Ok(D::Task) => Dimension::Task,
        Ok(D::Persona) => Dimension::Persona,
        Ok(D::Provider) => Dimension::Provider,
        Ok(D::Model) => Dimension::Model,
        Ok(D::Tool) => Dimension::Tool,
        Err(_) => return Err(invalid("dimension is not one that is known")),
    }))
}

fn dimension_out(dimension: Dimension) -> pb::UsageDimension {
    use pb::UsageDimension as D;
    match dimension {
        Dimension::Principal => D::Principal,
        Dimension::Client => D::Client,
        Dimension::Session => D::Session,
        Dimension::Task => D::Task,
        Dimension::Persona => D::Persona,
        Dimension::Provider => D::Provider,
        Dimension::Model => D::Model,
        Dimension::Tool => D::Tool,
    }
}

pub(in crate::api) fn bucket(number: i32) -> Result<Option<Bucket>, Rejection> {
    use pb::UsageBucket as B;
    match B::try_from(number) {
        Ok(B::Unspecified) => Ok(None),
        Ok(B::Hour) => Ok(Some(Bucket::Hour)),
        Ok(B::Day) => Ok(Some(Bucket::Day)),
        Ok(B::Week) => Ok(Some(Bucket::Week)),
        Ok(B::Month) => Ok(Some(Bucket::Month)),
        Err(_) => Err(invalid("bucket is not one that is known")),
    }
}

pub(in crate::api) fn format(number: i32) -> Result<Format, Rejection> {
    use pb::UsageFormat as F;
    match F::try_from(number) {
        Ok(F::Unspecified | F::Csv) => Ok(Format::Csv),
        Ok(F::Json) => Ok(Format::Json),
        Ok(F::Jsonl) => Ok(Format::JsonLines),
        Err(_) => Err(invalid("format is not one that is known")),
    }
}

pub(in crate::api) fn range(range: Option<pb::UsageRange>) -> Result<Range, Rejection> {
    let Some(range) = range else {
        return Ok(Range::Days(7));
    };
    let moment = |t: prost_types::Timestamp| {
        t.seconds
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(t.nanos) / 1_000)
    };
    Ok(if let Some(from) = range.from_time {
        Range::Moments(moment(from), range.to_time.map(moment))
    } else if range.last_hours > 0 {
        Range::Hours(range.last_hours)
    } else if range.last_days > 0 {
        Range::Days(range.last_days)
    } else if range.last_months > 0 {
        Range::Months(range.last_months)
    } else if !range.from_date.is_empty() {
        let through = Some(range.through_date.as_str()).filter(|d| !d.is_empty());
        Range::Dates(
            Calendar::date(&range.from_date)?,
            through.map(Calendar::date).transpose()?,
        )
    } else {
        Range::Days(7)
    })
}

pub(in crate::api) fn filters(filters: Vec<pb::UsageFilter>) -> Result<Filters, Rejection> {
    if filters.iter().map(|f| f.values.len()).sum::<usize>() > 1_000 {
        return Err(invalid("filters have more than 1,000 values"));
    }
    filters
        .into_iter()
        .map(|filter| {
            let dimension =
                dimension(filter.dimension)?.ok_or_else(|| invalid("a filter has no dimension"))?;
            if filter.values.is_empty() {
                return Err(invalid("a filter has no values"));
            }
            Ok((dimension, filter.values))
        })
        .collect()
}

impl From<Sums> for pb::UsageSums {
    fn from(s: Sums) -> Self {
        Self {
            turns: s.turns,
            requests: s.requests,
            errors: s.errors,
            rate_limited: s.rate_limited,
            retries: s.retries,
            cost_micro_usd: s.cost(),
            reported_micro_usd: s.reported_micro_usd,
            unpriced_requests: s.unpriced_requests,
            unpriced_tokens: s.unpriced_tokens,
            input_tokens: s.tokens.input,
            cached_tokens: s.tokens.cached_input,
            cache_write_tokens: s.tokens.cache_write,
            output_tokens: s.tokens.output,
            reasoning_tokens: s.tokens.reasoning,
            tool_calls: s.tool_calls,
            tool_failures: s.tool_failures,
            busy: Some(ms(s.busy_ms)),
        }
    }
}

fn latency(times: &Times) -> Option<pb::UsageLatency> {
    (!times.total.is_empty()).then(|| pb::UsageLatency {
        first_token_p50: times.first_token.percentile(50).map(ms),
        first_token_p95: times.first_token.percentile(95).map(ms),
        total_p50: times.total.percentile(50).map(ms),
        total_p95: times.total.percentile(95).map(ms),
    })
}

impl From<Group> for pb::UsageGroup {
    fn from(group: Group) -> Self {
        Self {
            latency: latency(&group.times),
            value: group.value,
            label: group.label,
            is_other: group.is_other,
            sums: Some(group.sums.into()),
        }
    }
}

impl From<Point> for pb::UsagePoint {
    fn from(point: Point) -> Self {
        Self {
            latency: latency(&point.times),
            start_time: Some(timestamp(point.start_us)),
            local: point.local,
            sums: Some(point.sums.into()),
            groups: point.groups.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Report> for pb::QueryUsageResponse {
    fn from(report: Report) -> Self {
        Self {
            from_time: Some(timestamp(report.from_us)),
            to_time: Some(timestamp(report.to_us)),
            time_zone: report.zone,
            total: Some(report.total.into()),
            latency: latency(&report.times),
            groups: report.groups.into_iter().map(Into::into).collect(),
            points: report.points.into_iter().map(Into::into).collect(),
            unpriced_models: report.unpriced_models,
            rows_since_time: report.rows_since_us.map(timestamp),
        }
    }
}

impl From<Forecast> for pb::ForecastUsageResponse {
    fn from(f: Forecast) -> Self {
        Self {
            spent_micro_usd: f.spent,
            projected_micro_usd: f.projected,
            low_micro_usd: f.low,
            high_micro_usd: f.high,
            method: f.method,
            days: f
                .days
                .into_iter()
                .map(|(date, cost_micro_usd, projected)| pb::ForecastDay {
                    date,
                    cost_micro_usd,
                    projected,
                })
                .collect(),
            budget_micro_usd: f.budget,
            time_zone: f.zone,
            unpriced_requests: f.unpriced,
        }
    }
}

impl From<Reconciled> for pb::ReconcileUsageResponse {
    fn from(r: Reconciled) -> Self {
        let gap = i128::from(r.file) - i128::from(r.ledger);
        Self {
            days: r
                .days
                .into_iter()
                .map(|(date, ledger, file, unpriced)| pb::ReconcileDay {
                    date,
                    ledger_micro_usd: ledger,
                    file_micro_usd: file,
                    unpriced_requests: unpriced,
                })
                .collect(),
            ledger_micro_usd: r.ledger,
            file_micro_usd: r.file,
            gap_micro_usd: i64::try_from(gap).unwrap_or(i64::MAX),
            rows: r.rows,
            columns: r.columns,
            notes: r.notes,
        }
    }
}

pub(in crate::api) fn budget(budget: Option<pb::Budget>) -> Result<Budget, Rejection> {
    let budget = budget.ok_or_else(|| invalid("budget is missing"))?;
    let window = match pb::BudgetWindow::try_from(budget.window) {
        Ok(pb::BudgetWindow::Turn) => Window::Turn,
        Ok(pb::BudgetWindow::Session) => Window::Session,
        Ok(pb::BudgetWindow::Task) => Window::Task,
        Ok(pb::BudgetWindow::Day) => Window::Day,
        Ok(pb::BudgetWindow::Month) => Window::Month,
        _ => return Err(invalid("window is missing")),
    };
    let unit = match pb::BudgetUnit::try_from(budget.unit) {
        Ok(pb::BudgetUnit::MicroUsd) => Unit::MicroUsd,
        Ok(pb::BudgetUnit::Tokens) => Unit::Tokens,
        Ok(pb::BudgetUnit::Turns) => Unit::Turns,
        Ok(pb::BudgetUnit::Milliseconds) => Unit::Milliseconds,
        _ => return Err(invalid("unit is missing")),
    };
    let mut only = filters(budget.only.into_iter().collect())?;
    let only = match only.pop() {
        None => None,
        Some((dimension, mut values)) if values.len() == 1 => values.pop().map(|value| (dimension, value)),
        Some(_) => return Err(invalid("a budget is for one value")),
    };
    if only
        .as_ref()
        .is_some_and(|(d, v)| *d == Dimension::Tool || v.len() > 200)
    {
        return Err(invalid(
            "a budget can't be for a tool, nor for a value of more than 200 bytes",
        ));
    }
    Ok(Budget {
        budget_id: budget.budget_id,
        window,
        unit,
        limit: budget.limit,
        only,
        pauses: !budget.warn_only,
    })
}

impl From<Standing> for pb::BudgetStanding {
    fn from(s: Standing) -> Self {
        Self {
            line: s.budget.line(),
            percent: u32::try_from(s.percent()).unwrap_or(u32::MAX),
            spent: s.spent,
            reserved: s.reserved,
            stretch: s.stretch,
            unpriced_requests: s.unpriced,
            budget: Some(s.budget.into()),
        }
    }
}

impl From<Budget> for pb::Budget {
    fn from(b: Budget) -> Self {
        let window = match b.window {
            Window::Turn => pb::BudgetWindow::Turn,
            Window::Session => pb::BudgetWindow::Session,
            Window::Task => pb::BudgetWindow::Task,
            Window::Day => pb::BudgetWindow::Day,
            Window::Month => pb::BudgetWindow::Month,
        };
        let unit = match b.unit {
            Unit::MicroUsd => pb::BudgetUnit::MicroUsd,
            Unit::Tokens => pb::BudgetUnit::Tokens,
            Unit::Turns => pb::BudgetUnit::Turns,
            Unit::Milliseconds => pb::BudgetUnit::Milliseconds,
        };
        Self {
            budget_id: b.budget_id,
            window: window.into(),
            unit: unit.into(),
            limit: b.limit,
            only: b.only.map(|(dimension, value)| pb::UsageFilter {
                dimension: dimension_out(dimension).into(),
                values: vec![value],
            }),
            warn_only: !b.pauses,
        }
    }
}

impl From<Alert> for pb::Alert {
    fn from(a: Alert) -> Self {
        let kind = match a.kind {
            AlertKind::BudgetWarning => pb::AlertKind::BudgetWarning,
            AlertKind::BudgetReached => pb::AlertKind::BudgetReached,
            AlertKind::Spike => pb::AlertKind::Spike,
            AlertKind::Loop => pb::AlertKind::Loop,
            AlertKind::PriceUnknown => pb::AlertKind::PriceUnknown,
        };
        Self {
            alert_id: a.alert_id,
            kind: kind.into(),
            message: a.message,
            budget_id: a.budget_id,
            percent: a.percent.into(),
            session_id: a.session_id,
            raise_time: Some(timestamp(a.raised_us)),
            acknowledge_time: a.acknowledged_us.map(timestamp),
            acknowledged_by: a.acknowledged_by,
        }
    }
}
