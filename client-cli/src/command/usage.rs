//! Owns: `agentctl usage`: sums, series, lists, forecast, export, comparison.
//! Guarantees: a price that is unknown is `—`, and what is not in a cost is said.

use std::io::Write as _;

use agentd_proto::{escape, format, id, pb};
use serde_json::json;

use super::budgets;
use crate::args::{
    By, ExportFormat, Metric, UsageExportArgs, UsageForget, UsageReconcile, UsageScope, UsageSeries,
};
use crate::args::{UsageForecast, UsageTop, UsageVerb};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::usage as render;

/// Largest file the daemon compares with.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Groups told apart in one series.
const SERIES: u32 = 8;

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: Option<UsageVerb>) -> Result<u8, Failure> {
    match verb.unwrap_or(UsageVerb::Summary(UsageScope::default())) {
        UsageVerb::Summary(scope) => summary(context, &scope).await,
        UsageVerb::Timeseries(args) => series(context, args).await,
        UsageVerb::Top(args) => top(context, args, By::Session).await,
        UsageVerb::Sessions(args) => top(context, UsageTop { by: None, ..args }, By::Session).await,
        UsageVerb::Models(args) => top(context, UsageTop { by: None, ..args }, By::Model).await,
        UsageVerb::Forecast(args) => forecast(context, &args).await,
        UsageVerb::Budget { verb } => budgets::budget(context, verb).await,
        UsageVerb::Alerts { verb } => budgets::alerts(context, verb).await,
        UsageVerb::Export(args) => export(context, args).await,
        UsageVerb::Reconcile(args) => reconcile(context, &args).await,
        UsageVerb::Forget(args) => forget(context, args).await,
    }
}

/// A range as people write it.
fn range(scope: &UsageScope) -> Result<Option<pb::UsageRange>, Failure> {
    let empty = pb::UsageRange::default();
    let wrong = |text: &str| {
        Failure::usage(format!(
            "'{text}' is no time such as today, 24h, 7d, 4w, 3mo, month or 2026-11-01"
        ))
        .next("agentctl usage summary --since 7d")
    };
    let Some(since) = scope.since.as_deref() else {
        return match &scope.until {
            Some(_) => Err(Failure::usage("--until needs --since with a date")
                .next("agentctl usage summary --since 2026-11-01 --until 2026-11-15")),
            None => Ok(None),
        };
    };
    if since.len() == 10 && since.contains('-') {
        return Ok(Some(pb::UsageRange {
            from_date: since.to_owned(),
            through_date: scope.until.clone().unwrap_or_default(),
            ..empty
        }));
    }
    if scope.until.is_some() {
        return Err(Failure::usage("--until goes with a date in --since")
            .next("agentctl usage summary --since 2026-11-01 --until 2026-11-15"));
    }
    let unit = since.find(|c: char| !c.is_ascii_digit()).unwrap_or(since.len());
    let (number, unit) = since.split_at(unit);
    let number: u32 = match (number, unit) {
        ("", "today") => {
            return Ok(Some(pb::UsageRange {
                last_days: 1,
                ..empty
            }));
        }
        ("", "month") => {
            return Ok(Some(pb::UsageRange {
                last_months: 1,
                ..empty
            }));
        }
        (number, _) => number.parse().map_err(|_| wrong(since))?,
    };
    if number == 0 {
        return Err(wrong(since));
    }
    Ok(Some(match unit {
        "h" => pb::UsageRange {
            last_hours: number,
            ..empty
        },
        "d" => pb::UsageRange {
            last_days: number,
            ..empty
        },
        "w" => pb::UsageRange {
            last_days: number.saturating_mul(7),
            ..empty
        },
        "mo" => pb::UsageRange {
            last_months: number,
            ..empty
        },
        _ => return Err(wrong(since)),
    }))
}

fn dimension(by: By) -> pb::UsageDimension {
    use pb::UsageDimension as D;
    match by {
        By::Model => D::Model,
        By::Session => D::Session,
        By::Task => D::Task,
        By::Persona => D::Persona,
        By::Tool => D::Tool,
        By::Provider => D::Provider,
        By::Principal => D::Principal,
        By::Client => D::Client,
        By::Hour | By::Day | By::Week | By::Month => D::Unspecified,
    }
}

fn bucket(by: By) -> pb::UsageBucket {
    use pb::UsageBucket as B;
    match by {
        By::Hour => B::Hour,
        By::Day => B::Day,
        By::Week => B::Week,
        By::Month => B::Month,
        _ => B::Unspecified,
    }
}

/// `model=openai/gpt-5` as a filter. A session may be named as everywhere.
pub(super) async fn filter(context: &Context, text: &str) -> Result<pb::UsageFilter, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "'{text}' is no WHAT=VALUE such as model=openai/gpt-5 or task=T-12"
        ))
        .next("agentctl usage top --by model")
    };
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let by = <By as clap::ValueEnum>::from_str(name, true).map_err(|_| wrong())?;
    let dimension = dimension(by);
    if dimension == pb::UsageDimension::Unspecified || value.is_empty() {
        return Err(wrong());
    }
    let value = match dimension {
        pb::UsageDimension::Session => context.session(value).await?.session_id,
        _ => value.to_owned(),
    };
    Ok(pb::UsageFilter {
        dimension: dimension.into(),
        values: vec![value],
    })
}

async fn filters(context: &Context, only: &[String]) -> Result<Vec<pb::UsageFilter>, Failure> {
    let mut all = Vec::new();
    for text in only {
        all.push(filter(context, text).await?);
    }
    Ok(all)
}

async fn request(context: &Context, scope: &UsageScope) -> Result<pb::QueryUsageRequest, Failure> {
    Ok(pb::QueryUsageRequest {
        range: range(scope)?,
        time_zone: scope.tz.clone().unwrap_or_default(),
        filters: filters(context, &scope.only).await?,
        ..Default::default()
    })
}

const SUMS: &[Column] = &[
    flexible("RANGE", 9, 8),
    fixed("COST", 8),
    fixed("TOKENS", 7),
    fixed("CACHED", 5),
    fixed("REQUESTS", 6),
    fixed("ERRORS", 4),
    fixed("TOOLS", 3),
    fixed("UNPRICED", 2),
];

async fn summary(context: &Context, scope: &UsageScope) -> Result<u8, Failure> {
    let mut base = request(context, scope).await?;
    base.with_latency = true;
    let days = |n| pb::UsageRange {
        last_days: n,
        ..Default::default()
    };
    let ranges: Vec<(&str, Option<pb::UsageRange>)> = match base.range.clone() {
        Some(range) => vec![("range", Some(range))],
        None => vec![
            ("today", Some(days(1))),
            ("7 days", Some(days(7))),
            (
                "month",
                Some(pb::UsageRange {
                    last_months: 1,
                    ..Default::default()
                }),
            ),
        ],
    };
    let (mut rows, mut documents, mut last) = (Vec::new(), Vec::new(), None);
    for (name, range) in ranges {
        let asked = pb::QueryUsageRequest {
            range,
            ..base.clone()
        };
        let answer = context.client.query_usage(asked).await?;
        let sums = answer.total.unwrap_or_default();
        let mut document = render::sums(&sums);
        if let Some(object) = document.as_object_mut() {
            object.insert("range".into(), json!(name));
            object.insert("from_time".into(), json!(crate::time::rfc3339(answer.from_time)));
            object.insert("to_time".into(), json!(crate::time::rfc3339(answer.to_time)));
            object.insert("time_zone".into(), json!(answer.time_zone));
            object.insert("unpriced_models".into(), json!(answer.unpriced_models));
            object.insert("latency".into(), render::latency(answer.latency.as_ref()));
        }
        documents.push(document);
        rows.push(render::row(&context.out, name, &sums));
        last = Some(answer);
    }
    if context.out.is_json() {
        context.out.json_list(documents)?;
        return Ok(exit::OK);
    }
    table::print(&context.out, SUMS, &rows)?;
    if let Some(answer) = last {
        remarks(context, &answer);
    }
    if scope.since.is_none() {
        budgets::lines(context).await?;
    }
    Ok(exit::OK)
}

/// What the figures do not hold.
fn remarks(context: &Context, answer: &pb::QueryUsageResponse) {
    context.out.note(&format!("time zone {}", answer.time_zone));
    let sums = answer.total.unwrap_or_default();
    if sums.unpriced_requests > 0 {
        context.out.note(&format!(
            "price unknown for {}: {} tokens not in cost ({})",
            format::count(answer.unpriced_models.len() as u64, "model"),
            format::tokens(sums.unpriced_tokens),
            escape::line(&answer.unpriced_models.join(", "))
        ));
    }
}

async fn top(context: &Context, args: UsageTop, usual: By) -> Result<u8, Failure> {
    let by = dimension(args.by.unwrap_or(usual));
    if by == pb::UsageDimension::Unspecified {
        return Err(Failure::usage("--by hour, day, week and month are for series")
            .next("agentctl usage timeseries --by day"));
    }
    let mut asked = request(context, &args.scope).await?;
    asked.group_by = by.into();
    asked.max_groups = args.limit.max(1);
    asked.with_latency = true;
    let answer = context.client.query_usage(asked).await?;
    if context.out.is_json() {
        context
            .out
            .json_list(answer.groups.iter().map(render::group).collect())?;
        return Ok(exit::OK);
    }
    if by == pb::UsageDimension::Tool {
        render::tools(&context.out, &answer)?;
    } else {
        render::top(&context.out, &answer)?;
    }
    remarks(context, &answer);
    Ok(exit::OK)
}

async fn series(context: &Context, args: UsageSeries) -> Result<u8, Failure> {
    let mut asked = request(context, &args.scope).await?;
    let hours = asked.range.as_ref().is_some_and(|r| r.last_hours > 0);
    let usual = if hours {
        pb::UsageBucket::Hour
    } else {
        pb::UsageBucket::Day
    };
    let mut wanted = args.by.iter().map(|by| bucket(*by));
    asked.bucket = wanted
        .rfind(|b| *b != pb::UsageBucket::Unspecified)
        .unwrap_or(usual)
        .into();
    let mut split = args.by.iter().map(|by| dimension(*by));
    asked.group_by = split
        .rfind(|d| *d != pb::UsageDimension::Unspecified)
        .unwrap_or_default()
        .into();
    asked.max_groups = SERIES;
    asked.with_latency = args.metric == Metric::Latency;
    let answer = context.client.query_usage(asked).await?;
    if context.out.is_json() {
        context.out.json_list(render::points(&answer))?;
        return Ok(exit::OK);
    }
    render::series(&context.out, &answer, args.metric)?;
    remarks(context, &answer);
    Ok(exit::OK)
}

async fn forecast(context: &Context, args: &UsageForecast) -> Result<u8, Failure> {
    let request = pb::ForecastUsageRequest {
        time_zone: args.tz.clone().unwrap_or_default(),
        filters: filters(context, &args.only).await?,
    };
    let answer = context.client.forecast_usage(request).await?;
    render::forecast(&context.out, &answer)?;
    Ok(exit::OK)
}

async fn export(context: &Context, args: UsageExportArgs) -> Result<u8, Failure> {
    use crate::args::Format;
    let named = args.format.unwrap_or(match context.out.format {
        Format::Json => ExportFormat::Json,
        Format::Jsonl => ExportFormat::Jsonl,
        _ => ExportFormat::Csv,
    });
    let form = match named {
        ExportFormat::Csv => pb::UsageFormat::Csv,
        ExportFormat::Json => pb::UsageFormat::Json,
        ExportFormat::Jsonl => pb::UsageFormat::Jsonl,
    };
    let request = pb::ExportUsageRequest {
        range: range(&args.scope)?,
        time_zone: args.scope.tz.clone().unwrap_or_default(),
        filters: filters(context, &args.scope.only).await?,
        format: form.into(),
        tool_calls: args.tools,
    };
    let cannot = |error: std::io::Error| {
        let shown = args
            .file
            .as_deref()
            .unwrap_or(std::path::Path::new(""))
            .display()
            .to_string();
        Failure::new(
            exit::FAILED,
            "output_failed",
            format!("cannot write '{shown}': {error}"),
        )
        .next("agentctl usage export > usage.csv")
    };
    let mut pieces = context.client.export_usage(request).await?;
    let mut file = args
        .file
        .as_ref()
        .map(std::fs::File::create)
        .transpose()
        .map_err(cannot)?;
    let mut rows = 0u64;
    while let Some(piece) = pieces.next().await? {
        rows += u64::from(piece.rows);
        match &mut file {
            Some(file) => file.write_all(&piece.data).map_err(cannot)?,
            None => context.out.bytes(&piece.data)?,
        }
    }
    context.out.note(&format::count(rows, "row"));
    Ok(exit::OK)
}

async fn reconcile(context: &Context, args: &UsageReconcile) -> Result<u8, Failure> {
    let shown = args.file.display();
    let cannot = |error: std::io::Error| {
        Failure::usage(format!("cannot read '{shown}': {error}")).next("agentctl usage reconcile costs.csv")
    };
    let size = std::fs::metadata(&args.file).map_err(cannot)?.len();
    if size > MAX_FILE {
        return Err(Failure::usage(format!("'{shown}' has more than 32 MiB")).next("split it by month"));
    }
    let request = pb::ReconcileUsageRequest {
        data: std::fs::read(&args.file).map_err(cannot)?,
        provider: args.provider.clone(),
    };
    let answer = context.client.reconcile_usage(request).await?;
    render::reconciled(&context.out, &answer)?;
    Ok(exit::OK)
}

async fn forget(context: &Context, args: UsageForget) -> Result<u8, Failure> {
    let what = if args.delete {
        "delete all usage of"
    } else {
        "make anonymous all usage of"
    };
    if !context.global.yes {
        return Err(
            Failure::usage(format!("this would {what} '{}', for good", args.principal)).next(format!(
                "agentctl usage forget {} {}--yes",
                args.principal,
                if args.delete { "--delete " } else { "" }
            )),
        );
    }
    let request = pb::ForgetPrincipalRequest {
        request_id: id::request_id(),
        principal: args.principal,
        delete: args.delete,
    };
    let answer = context.client.forget_principal(request).await?;
    context.out.note(&format::count(answer.rows, "row"));
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(since: &str) -> Option<pb::UsageRange> {
        let scope = UsageScope {
            since: Some(since.into()),
            ..UsageScope::default()
        };
        range(&scope).ok().flatten()
    }

    #[test]
    fn ranges_are_read_as_people_write_them() {
        assert_eq!(of("24h").map(|r| r.last_hours), Some(24));
        assert_eq!(of("2w").map(|r| r.last_days), Some(14));
        assert_eq!(of("today").map(|r| r.last_days), Some(1));
        assert_eq!(of("month").map(|r| r.last_months), Some(1));
        assert_eq!(of("3mo").map(|r| r.last_months), Some(3));
        assert_eq!(of("2026-11-01").map(|r| r.from_date), Some("2026-11-01".into()));
        for wrong in ["", "0d", "7", "7y", "yesterday", "99999999999d"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
