//! Owns: `agentctl usage budget` and `agentctl usage alerts`.

use agentd_proto::{budget, escape, format, id, pb};
use serde_json::{Value, json};

use super::usage::filter;
use crate::args::{AlertsVerb, BudgetSet, BudgetVerb, Window};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::usage as render;
use crate::time;

const BUDGETS: &[Column] = &[
    fixed("ID", 9),
    flexible("BUDGET", 8, 16),
    fixed("SPENT", 7),
    fixed("USED", 8),
    flexible("IN", 4, 8),
    fixed("AT", 3),
];
const ALERTS: &[Column] = &[
    fixed("ID", 9),
    fixed("AGE", 6),
    fixed("KIND", 5),
    flexible("WHAT", 8, 20),
    flexible("SESSION", 3, 8),
    flexible("SEEN", 2, 8),
];

/// `usage budget`.
pub(crate) async fn budget(context: &Context, verb: Option<BudgetVerb>) -> Result<u8, Failure> {
    match verb.unwrap_or(BudgetVerb::List) {
        BudgetVerb::List => list(context).await,
        BudgetVerb::Set(args) => set(context, args).await,
        BudgetVerb::Raise { budget, limit } => {
            let all = context
                .client
                .list_budgets(pb::ListBudgetsRequest {})
                .await?
                .budgets;
            let known = all
                .into_iter()
                .filter_map(|one| one.budget)
                .find(|one| one.budget_id == budget);
            let Some(known) = known else {
                let shown = escape::line(&budget);
                return Err(Failure::new(
                    exit::NOT_FOUND,
                    "budget_not_found",
                    format!("no budget '{shown}'"),
                )
                .next("agentctl usage budget list"));
            };
            let (unit, amount) = amount(&limit)?;
            if i32::from(unit) != known.unit {
                return Err(Failure::usage("the new limit is of another kind than the budget")
                    .next("agentctl usage budget list"));
            }
            put(
                context,
                pb::Budget {
                    limit: amount,
                    ..known
                },
            )
            .await
        }
        BudgetVerb::Rm { budget } => {
            let request = pb::DeleteBudgetRequest {
                request_id: id::request_id(),
                budget_id: budget.clone(),
            };
            context.client.delete_budget(request).await?;
            context.out.note(&format!("{} is gone", escape::line(&budget)));
            Ok(exit::OK)
        }
    }
}

/// `$10`, `500k tokens`, `20 turns`, `30 min` as a unit and a number of it.
fn amount(text: &str) -> Result<(pb::BudgetUnit, u64), Failure> {
    budget::limit(text).ok_or_else(|| {
        Failure::usage(format!(
            "'{text}' is no limit such as '$10', '500k tokens', '20 turns' or '30 min'"
        ))
        .next("agentctl usage budget set '$10' --per day")
    })
}

async fn set(context: &Context, args: BudgetSet) -> Result<u8, Failure> {
    let (unit, limit) = amount(&args.limit)?;
    let window = match args.per {
        Window::Turn => pb::BudgetWindow::Turn,
        Window::Session => pb::BudgetWindow::Session,
        Window::Task => pb::BudgetWindow::Task,
        Window::Day => pb::BudgetWindow::Day,
        Window::Month => pb::BudgetWindow::Month,
    };
    let only = match &args.only {
        Some(text) => Some(filter(context, text).await?),
        None => None,
    };
    let budget = pb::Budget {
        budget_id: String::new(),
        window: window.into(),
        unit: unit.into(),
        limit,
        only,
        warn_only: args.warn_only,
    };
    put(context, budget).await
}

async fn put(context: &Context, budget: pb::Budget) -> Result<u8, Failure> {
    let request = pb::SetBudgetRequest {
        request_id: id::request_id(),
        budget: Some(budget),
    };
    let made = context
        .client
        .set_budget(request)
        .await?
        .budget
        .ok_or_else(empty_answer)?;
    if context.out.is_json() {
        context.out.json(&document(&made))?;
        return Ok(exit::OK);
    }
    let id = made
        .budget
        .as_ref()
        .map(|b| b.budget_id.clone())
        .unwrap_or_default();
    context.out.note(&format!(
        "{id}: {}, {} % used",
        escape::line(&made.line),
        made.percent
    ));
    context.out.line(&id)?;
    Ok(exit::OK)
}

fn spent(standing: &pb::BudgetStanding, amount: u64) -> String {
    match standing.budget.as_ref().map(pb::Budget::unit) {
        Some(pb::BudgetUnit::MicroUsd) => format::money(Some(amount)),
        Some(pb::BudgetUnit::Tokens) => format::tokens(amount),
        Some(pb::BudgetUnit::Milliseconds) => format::duration(std::time::Duration::from_millis(amount)),
        _ => amount.to_string(),
    }
}

fn document(standing: &pb::BudgetStanding) -> Value {
    let budget = standing.budget.clone().unwrap_or_default();
    let unit = match budget.unit() {
        pb::BudgetUnit::MicroUsd => "micro_usd",
        pb::BudgetUnit::Tokens => "tokens",
        pb::BudgetUnit::Turns => "turns",
        pb::BudgetUnit::Milliseconds => "milliseconds",
        pb::BudgetUnit::Unspecified => "unknown",
    };
    let window = match budget.window() {
        pb::BudgetWindow::Turn => "turn",
        pb::BudgetWindow::Session => "session",
        pb::BudgetWindow::Task => "task",
        pb::BudgetWindow::Day => "day",
        pb::BudgetWindow::Month => "month",
        pb::BudgetWindow::Unspecified => "unknown",
    };
    json!({
        "budget_id": budget.budget_id,
        "line": standing.line,
        "window": window,
        "unit": unit,
        "limit": budget.limit,
        "warn_only": budget.warn_only,
        "stretch": standing.stretch,
        "spent": standing.spent,
        "reserved": standing.reserved,
        "percent": standing.percent,
        "unpriced_requests": standing.unpriced_requests,
    })
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let all = context
        .client
        .list_budgets(pb::ListBudgetsRequest {})
        .await?
        .budgets;
    if context.out.is_json() {
        context.out.json_list(all.iter().map(document).collect())?;
        return Ok(exit::OK);
    }
    if all.is_empty() && context.out.out_tty {
        context
            .out
            .note("no budget is set · agentctl usage budget set '$10' --per day");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let budget = one.budget.clone().unwrap_or_default();
            vec![
                budget.budget_id,
                one.line.clone(),
                spent(one, one.spent),
                format!("{} {} %", render::gauge(one.percent), one.percent),
                one.stretch.clone(),
                if budget.warn_only { "tells" } else { "pauses" }.to_owned(),
            ]
        })
        .collect();
    table::print(&context.out, BUDGETS, &rows)?;
    Ok(exit::OK)
}

/// One remark for each budget, below other figures.
pub(super) async fn lines(context: &Context) -> Result<(), Failure> {
    let all = context
        .client
        .list_budgets(pb::ListBudgetsRequest {})
        .await?
        .budgets;
    for one in &all {
        let id = one
            .budget
            .as_ref()
            .map(|b| b.budget_id.clone())
            .unwrap_or_default();
        context.out.note(&format!(
            "{id}  {} {} % of {} · {} spent",
            render::gauge(one.percent),
            one.percent,
            escape::line(&one.line),
            spent(one, one.spent)
        ));
    }
    Ok(())
}

/// `usage alerts`.
pub(crate) async fn alerts(context: &Context, verb: Option<AlertsVerb>) -> Result<u8, Failure> {
    let list = |include_acknowledged| pb::ListAlertsRequest {
        include_acknowledged,
        page_size: 1000,
    };
    match verb.unwrap_or(AlertsVerb::List { all: false }) {
        AlertsVerb::List { all } => {
            let alerts = context.client.list_alerts(list(all)).await?.alerts;
            show(context, &alerts)
        }
        AlertsVerb::Ack { alerts } => {
            let wanted = if alerts.is_empty() {
                let open = context.client.list_alerts(list(false)).await?.alerts;
                open.into_iter().map(|alert| alert.alert_id).collect()
            } else {
                alerts
            };
            let mut seen = Vec::new();
            for alert_id in wanted {
                let request = pb::AcknowledgeAlertRequest {
                    request_id: id::request_id(),
                    alert_id,
                };
                seen.extend(context.client.acknowledge_alert(request).await?.alert);
            }
            show(context, &seen)
        }
    }
}

fn show(context: &Context, alerts: &[pb::Alert]) -> Result<u8, Failure> {
    let kind = |alert: &pb::Alert| match alert.kind() {
        pb::AlertKind::BudgetWarning => "budget_warning",
        pb::AlertKind::BudgetReached => "budget_reached",
        pb::AlertKind::Spike => "spike",
        pb::AlertKind::Loop => "loop",
        pb::AlertKind::PriceUnknown => "price_unknown",
        pb::AlertKind::Unspecified => "unknown",
    };
    if context.out.is_json() {
        let values = alerts.iter().map(|alert| {
            json!({
                "alert_id": alert.alert_id,
                "kind": kind(alert),
                "message": alert.message,
                "budget_id": alert.budget_id,
                "percent": alert.percent,
                "session_id": alert.session_id,
                "raise_time": time::rfc3339(alert.raise_time),
                "acknowledge_time": time::rfc3339(alert.acknowledge_time),
                "acknowledged_by": alert.acknowledged_by,
            })
        });
        context.out.json_list(values.collect())?;
        return Ok(exit::OK);
    }
    if alerts.is_empty() && context.out.out_tty {
        context.out.note("no alerts");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = alerts
        .iter()
        .map(|alert| {
            vec![
                alert.alert_id.clone(),
                format::age(time::age(alert.raise_time)),
                kind(alert).to_owned(),
                alert.message.clone(),
                alert.session_id.clone(),
                alert.acknowledged_by.clone(),
            ]
        })
        .collect();
    table::print(&context.out, ALERTS, &rows)?;
    Ok(exit::OK)
}
