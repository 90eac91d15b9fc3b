//! Owns: what the usage screen shows and how: range, grouping, metric, the chart in focus, and the answers.

use agentd_proto::pb;

/// Ranges, shortest first.
pub(crate) const RANGES: &[&str] = &["24h", "7d", "30d", "month", "90d"];
/// What charts are split and lists are grouped by.
pub(crate) const BY: &[(&str, pb::UsageDimension)] = &[
    ("model", pb::UsageDimension::Model),
    ("session", pb::UsageDimension::Session),
    ("task", pb::UsageDimension::Task),
    ("persona", pb::UsageDimension::Persona),
];
/// How many charts there are.
pub(crate) const CHARTS: usize = 7;

/// The answers of the daemon, all of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct UsageData {
    pub(crate) main: pb::QueryUsageResponse,
    pub(crate) top: pb::QueryUsageResponse,
    pub(crate) tools: pb::QueryUsageResponse,
    pub(crate) hours: pb::QueryUsageResponse,
    /// The last 24 hours by session.
    pub(crate) recent: pb::QueryUsageResponse,
    pub(crate) today: pb::UsageSums,
    pub(crate) week: pb::UsageSums,
    pub(crate) month: pb::UsageSums,
    pub(crate) forecast: pb::ForecastUsageResponse,
    pub(crate) budgets: Vec<pb::BudgetStanding>,
    pub(crate) alerts: Vec<pb::Alert>,
}

/// The screen.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsageView {
    pub(crate) range: usize,
    pub(crate) by: usize,
    /// Tokens instead of money.
    pub(crate) tokens: bool,
    pub(crate) table: bool,
    /// From 0.
    pub(crate) focus: usize,
    /// Lines further down than the chart in focus.
    pub(crate) scroll: i64,
    pub(crate) data: Option<Box<UsageData>>,
}

impl UsageView {
    /// The range's word.
    pub(crate) fn range(&self) -> &'static str {
        RANGES.get(self.range).copied().unwrap_or("7d")
    }

    /// The grouping.
    pub(crate) fn by(&self) -> (&'static str, pb::UsageDimension) {
        BY.get(self.by)
            .copied()
            .unwrap_or(("model", pb::UsageDimension::Model))
    }
}

/// A range's word as the contract wants it.
pub(crate) fn range(word: &str) -> pb::UsageRange {
    let mut range = pb::UsageRange::default();
    match word {
        "24h" => range.last_hours = 24,
        "30d" => range.last_days = 30,
        "90d" => range.last_days = 90,
        "month" => range.last_months = 1,
        _ => range.last_days = 7,
    }
    range
}
