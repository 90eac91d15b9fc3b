//! Owns: the flags of `agentctl usage`.

use std::path::PathBuf;

use agentd_proto::format;
use clap::{Args, Subcommand, ValueEnum};

/// Verbs about usage.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageVerb {
    /// Today, the last 7 days and this month; with --since, that range in full
    Summary(UsageScope),
    /// By hour, day, week or month, with bars
    Timeseries(UsageSeries),
    /// What costs most
    Top(UsageTop),
    /// Sessions by cost
    Sessions(UsageTop),
    /// Models by cost
    Models(UsageTop),
    /// What this month will have cost, and how that was reckoned
    Forecast(UsageForecast),
    /// Limits on spending
    Budget {
        #[command(subcommand)]
        verb: Option<BudgetVerb>,
    },
    /// What you should know about spending
    Alerts {
        #[command(subcommand)]
        verb: Option<AlertsVerb>,
    },
    /// Every row, as CSV or JSON
    Export(UsageExportArgs),
    /// Compare with a provider's own export, and state the gap
    Reconcile(UsageReconcile),
    /// Take a person out of the ledger
    Forget(UsageForget),
}

/// Which rows.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UsageScope {
    /// From when: today, 24h, 7d, 4w, 3mo, month, or a date [default: 7d]
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Through this date, included
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
    /// Time zone of days and hours [default: the daemon's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Only these, such as model=openai/gpt-5 or task=T-12 (repeatable)
    #[arg(long, value_name = "WHAT=VALUE")]
    pub(crate) only: Vec<String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Metric {
    /// Money.
    #[default]
    Cost,
    /// Tokens in and out.
    Tokens,
    /// Model requests.
    Requests,
    /// Time to the end, 95 of 100.
    Latency,
}

/// Dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Models.
    Model,
    /// Sessions.
    Session,
    /// Tasks.
    Task,
    /// Personas.
    Persona,
    /// Tools.
    Tool,
    /// Providers.
    Provider,
    /// People.
    Principal,
    /// Clients.
    Client,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Weeks.
    Week,
    /// Months.
    Month,
}

/// Flags of `usage timeseries`.
#[derive(Debug, Args)]
pub(crate) struct UsageSeries {
    #[command(flatten)]
    pub(crate) scope: UsageScope,
    /// Hour, day, week or month; and what to split by, such as model (repeatable)
    #[arg(long, value_name = "BY", hide_possible_values = true)]
    pub(crate) by: Vec<By>,
    /// Cost, tokens, requests or latency
    #[arg(
        long,
        value_name = "METRIC",
        default_value = "cost",
        hide_possible_values = true
    )]
    pub(crate) metric: Metric,
}

/// Flags of `usage top`.
#[derive(Debug, Args)]
pub(crate) struct UsageTop {
    #[command(flatten)]
    pub(crate) scope: UsageScope,
    /// Model, session, task, persona, tool, provider, principal or client
    #[arg(long, value_name = "BY", hide_possible_values = true)]
    pub(crate) by: Option<By>,
    /// How many; the rest is summed up
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: u32,
}

/// Flags of `usage forecast`.
#[derive(Debug, Args)]
pub(crate) struct UsageForecast {
    /// Time zone [default: the daemon's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Only these (repeatable)
    #[arg(long, value_name = "WHAT=VALUE")]
    pub(crate) only: Vec<String>,
}

/// Verbs about budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetVerb {
    /// Budgets and where they stand
    List,
    /// Make a budget: '$10' --per day, '500k tokens' --per session
    Set(BudgetSet),
    /// Give a budget another limit; paused sessions can go on
    Raise {
        /// Budget
        budget: String,
        /// The new limit
        limit: String,
    },
    /// Take a budget away
    Rm {
        /// Budget
        budget: String,
    },
}

/// Flags of `usage budget set`.
#[derive(Debug, Args)]
pub(crate) struct BudgetSet {
    /// '$10', '500k tokens', '20 turns' or '30 min'
    pub(crate) limit: String,
    /// Turn, session, task, day or month
    #[arg(
        long,
        value_name = "WINDOW",
        default_value = "day",
        hide_possible_values = true
    )]
    pub(crate) per: Window,
    /// Only what fits, such as model=openai/gpt-5
    #[arg(long, value_name = "WHAT=VALUE")]
    pub(crate) only: Option<String>,
    /// Only tell, never pause
    #[arg(long)]
    pub(crate) warn_only: bool,
}

/// Windows of budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Window {
    /// Each turn.
    Turn,
    /// Each session.
    Session,
    /// Each task.
    Task,
    /// Each day.
    Day,
    /// Each month.
    Month,
}

/// Verbs about alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsVerb {
    /// Alerts, newest first
    List {
        /// Also those acknowledged
        #[arg(long)]
        all: bool,
    },
    /// Acknowledge alerts; none named: all
    Ack {
        /// Alerts
        alerts: Vec<String>,
    },
}

/// Flags of `usage export`.
#[derive(Debug, Args)]
pub(crate) struct UsageExportArgs {
    #[command(flatten)]
    pub(crate) scope: UsageScope,
    /// csv, json or jsonl [default: csv]
    #[arg(long, value_name = "FORM", hide_possible_values = true)]
    pub(crate) format: Option<ExportFormat>,
    /// Tool calls instead of model requests
    #[arg(long)]
    pub(crate) tools: bool,
    /// Into this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// RFC 4180.
    Csv,
    /// One array.
    Json,
    /// An object on a line.
    Jsonl,
}

/// Flags of `usage reconcile`.
#[derive(Debug, Args)]
pub(crate) struct UsageReconcile {
    /// The provider's export, CSV or JSON
    pub(crate) file: PathBuf,
    /// Compare with this provider's rows only
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) provider: String,
}

/// Flags of `usage forget`.
#[derive(Debug, Args)]
pub(crate) struct UsageForget {
    /// Whom
    pub(crate) principal: String,
    /// Delete rows and sums instead of booking them to nobody
    #[arg(long)]
    pub(crate) delete: bool,
}

/// The value of `--max-turns`.
pub(crate) fn parse_steps(text: &str) -> Result<u32, String> {
    let steps = text.parse().ok().filter(|steps| *steps > 0);
    steps.ok_or_else(|| format!("'{text}' is no number of steps: --max-turns 1 or more"))
}

/// The value of `--budget`.
pub(crate) fn parse_budget(text: &str) -> Result<u64, String> {
    format::parse_money(text)
        .filter(|micro| *micro > 0)
        .ok_or_else(|| format!("'{text}' is no amount such as '$2' or 0.50"))
}

/// The value of `--model`: a cassette's file is meant from here, not from where the daemon looks.
pub(crate) fn parse_model(text: &str) -> Result<String, String> {
    let Some(file) = text.strip_prefix("cassette:") else {
        return Ok(text.to_owned());
    };
    let path = std::path::absolute(file).map_err(|error| format!("'{file}': {error}"))?;
    Ok(format!("cassette:{}", path.display()))
}
