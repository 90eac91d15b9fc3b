//! Owns: asking the daemon for what the usage screen and the dashboard's line about today show; exporting.

use std::io::Write as _;

use agentd_proto::{Client, ClientError, format, pb};

use super::calls::{Failed, Place};
use super::panel::done;
use crate::model::panel::{Data, Deed};
use crate::model::usage::{UsageData, range};
use crate::msg::FromLink;

/// Everything the usage screen shows.
pub(super) async fn load(
    client: &Client,
    word: &str,
    by: pb::UsageDimension,
) -> Result<Box<UsageData>, ClientError> {
    let base = pb::QueryUsageRequest {
        range: Some(range(word)),
        ..Default::default()
    };
    let bucket = if word == "24h" {
        pb::UsageBucket::Hour
    } else {
        pb::UsageBucket::Day
    };
    let top = if by == pb::UsageDimension::Model {
        pb::UsageDimension::Session
    } else {
        by
    };
    let sums = |word: &str, days| pb::QueryUsageRequest {
        range: Some(pb::UsageRange {
            last_days: days,
            ..range(if days > 0 { "" } else { word })
        }),
        ..Default::default()
    };
    let main = pb::QueryUsageRequest {
        bucket: bucket.into(),
        group_by: by.into(),
        max_groups: 3,
        ..base.clone()
    };
    let ranked = pb::QueryUsageRequest {
        group_by: top.into(),
        max_groups: 8,
        ..base.clone()
    };
    let tools = pb::QueryUsageRequest {
        group_by: pb::UsageDimension::Tool.into(),
        max_groups: 8,
        with_latency: true,
        ..base.clone()
    };
    let hours = pb::QueryUsageRequest {
        bucket: pb::UsageBucket::Hour.into(),
        ..base
    };
    let recent = pb::QueryUsageRequest {
        range: Some(range("24h")),
        bucket: pb::UsageBucket::Hour.into(),
        group_by: pb::UsageDimension::Session.into(),
        max_groups: 6,
        ..Default::default()
    };
    let alerts = pb::ListAlertsRequest {
        page_size: 5,
        ..Default::default()
    };
    Ok(Box::new(UsageData {
        main: client.query_usage(main).await?,
        top: client.query_usage(ranked).await?,
        tools: client.query_usage(tools).await?,
        hours: client.query_usage(hours).await?,
        recent: client.query_usage(recent).await?,
        today: client.query_usage(sums("", 1)).await?.total.unwrap_or_default(),
        week: client.query_usage(sums("", 7)).await?.total.unwrap_or_default(),
        month: client
            .query_usage(sums("month", 0))
            .await?
            .total
            .unwrap_or_default(),
        forecast: client.forecast_usage(pb::ForecastUsageRequest::default()).await?,
        budgets: client.list_budgets(pb::ListBudgetsRequest {}).await?.budgets,
        alerts: client.list_alerts(alerts).await?.alerts,
    }))
}

/// What the panel of budgets shows.
pub(super) async fn budgets(client: &Client) -> Result<Data, ClientError> {
    let alerts = pb::ListAlertsRequest {
        page_size: 50,
        ..Default::default()
    };
    Ok(Data::Budgets {
        budgets: client.list_budgets(pb::ListBudgetsRequest {}).await?.budgets,
        alerts: client.list_alerts(alerts).await?.alerts,
    })
}

/// Does something with a budget, or with what was told of one.
pub(super) async fn act(client: &Client, deed: Deed) -> Result<(), Failed> {
    let request_id = agentd_proto::id::request_id();
    match deed {
        Deed::Budget(text) => {
            let request = pb::SetBudgetRequest {
                request_id,
                budget: agentd_proto::budget::parse(&text),
            };
            done("budget", client.set_budget(request).await)
        }
        Deed::Raise(budget_id) => done("budget", raise(client, &budget_id, "").await),
        Deed::DropBudget(budget_id) => {
            let request = pb::DeleteBudgetRequest {
                request_id,
                budget_id,
            };
            done("budget", client.delete_budget(request).await)
        }
        Deed::Seen(alert_id) => {
            let request = pb::AcknowledgeAlertRequest { request_id, alert_id };
            done("alert", client.acknowledge_alert(request).await)
        }
        _ => Ok(()),
    }
}

/// Gives a budget this limit at least; without one twice what it had, or twice what is spent. Tells what it is now.
pub(super) async fn raise(client: &Client, budget_id: &str, limit: &str) -> Result<String, ClientError> {
    let all = client.list_budgets(pb::ListBudgetsRequest {}).await?.budgets;
    let standing = all
        .iter()
        .find(|one| one.budget.as_ref().is_some_and(|b| b.budget_id == budget_id));
    let (spent, mut budget) = standing
        .and_then(|one| Some((one.spent, one.budget.clone()?)))
        .unwrap_or_default();
    // One that is gone is refused by the daemon, in its words.
    budget.budget_id = budget_id.to_owned();
    budget.limit = match agentd_proto::budget::limit(limit) {
        // Somebody may have raised it further meanwhile.
        Some((_, limit)) => limit.max(budget.limit),
        None => budget.limit.max(spent).saturating_mul(2),
    };
    let request = pb::SetBudgetRequest {
        request_id: agentd_proto::id::request_id(),
        budget: Some(budget),
    };
    Ok(client.set_budget(request).await?.budget.unwrap_or_default().line)
}

/// Today's cost and the budget of the day, where there is one: `today $6.02 of $10.00`; and a session's.
pub(super) async fn today(client: &Client) -> Result<FromLink, ClientError> {
    let request = pb::QueryUsageRequest {
        range: Some(pb::UsageRange {
            last_days: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let sums = client.query_usage(request).await?.total.unwrap_or_default();
    let budgets = client.list_budgets(pb::ListBudgetsRequest {}).await?.budgets;
    let least = |window| {
        budgets
            .iter()
            .filter_map(|one| one.budget.as_ref())
            .filter(|b| b.window() == window && b.unit() == pb::BudgetUnit::MicroUsd && b.only.is_none())
            .map(|b| b.limit)
            .min()
    };
    let of = least(pb::BudgetWindow::Day);
    let of = of.map_or_else(String::new, |limit| format!(" of {}", format::money(Some(limit))));
    Ok(FromLink::Today {
        words: format!("today {}{of}", format::money(sums.cost_micro_usd)),
        session_limit: least(pb::BudgetWindow::Session),
    })
}

/// Writes the rows of a range beside the workspace's other files, under a name that is free. Gives its name.
pub(super) async fn export(client: &Client, word: &str, place: &Place) -> Result<String, String> {
    let request = pb::ExportUsageRequest {
        range: Some(range(word)),
        ..Default::default()
    };
    let mut pieces = client.export_usage(request).await.map_err(|e| e.message)?;
    let (mut file, name) = super::calls::new_file(place, &format!("usage-{word}"), "csv")?;
    let mut rows = 0u64;
    while let Some(piece) = pieces.next().await.map_err(|e| e.message)? {
        rows += u64::from(piece.rows);
        file.write_all(&piece.data).map_err(|e| e.to_string())?;
    }
    Ok(format!("{name}: {}", format::count(rows, "row")))
}
