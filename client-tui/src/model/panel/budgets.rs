//! Owns: limits on spending and what was told of them, as rows.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

use super::{Clock, Deed, Row, Tone};

pub(super) fn standing(budgets: &[pb::BudgetStanding], alerts: &[pb::Alert], clock: Clock<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for one in budgets {
        let Some(budget) = &one.budget else { continue };
        let does = if budget.warn_only { "tells" } else { "pauses" };
        let right = format!(
            "{} spent · {} % · {does}",
            spent(budget.unit(), one.spent),
            one.percent
        );
        let row = Row::new(clean(&one.line), right);
        let full = one.percent >= 100 && !budget.warn_only;
        let row = row.toned(if full { Tone::Bad } else { Tone::Plain });
        let raise = Deed::Raise(budget.budget_id.clone());
        rows.push(row.can(raise).can(Deed::DropBudget(budget.budget_id.clone())));
        if one.unpriced_requests > 0 {
            let count = format::count(one.unpriced_requests, "request");
            rows.push(Row::dim(format!("  {count} without a known price not counted")));
        }
    }
    rows.push(Row::dim("make one: $10 per day, 500k tokens per session").can(Deed::AskBudget));
    if !alerts.is_empty() {
        rows.push(Row::heading("told, and not marked as seen"));
    }
    for alert in alerts {
        let row = Row::new(clean(&alert.message), clock(alert.raise_time));
        rows.push(row.can(Deed::Seen(alert.alert_id.clone())));
    }
    rows
}

fn spent(unit: pb::BudgetUnit, amount: u64) -> String {
    match unit {
        pb::BudgetUnit::MicroUsd => format::money(Some(amount)),
        pb::BudgetUnit::Tokens => format!("{} tokens", format::tokens(amount)),
        pb::BudgetUnit::Milliseconds => format::duration(std::time::Duration::from_millis(amount)),
        _ => format::count(amount, "turn"),
    }
}
