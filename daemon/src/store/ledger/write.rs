//! Owns: writing ledger rows and the sums over them.
//! Guarantees: every row goes through [`insert`], which keeps rows and sums in step.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{HOUR_US, QUARTER_US};
use crate::domain::event::{CallOutcome, Event, EventBody};
use crate::domain::latency::Latency;
use crate::domain::message::Part;
use crate::domain::principal::Asker;
use crate::domain::usage::{Booking, Request, Row, Sums};
use crate::store::StoreError;
use crate::store::log::Append;

const MEASURES: &str = "turns, requests, errors, rate_limited, retries, cost_micro_usd, reported_micro_usd, unpriced_requests, \
    unpriced_tokens, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, \
    tool_calls, tool_failures, busy_ms";

/// The ledger rows of the events of one append.
pub(in crate::store) fn put(connection: &Connection, append: &Append) -> Result<(), StoreError> {
    // A call's end names the call, not the tool: its name is in the step of the same batch or came along.
    let mut tools: HashMap<&str, &str> = append
        .open_calls
        .iter()
        .map(|(call_id, tool)| (call_id.as_str(), tool.as_str()))
        .collect();
    for event in append.sealed.events() {
        let row = match &event.body {
            EventBody::StepFinished {
                turn_id,
                step,
                parts,
                finish,
                usage,
            } => {
                tools.extend(parts.iter().filter_map(|part| match part {
                    Part::ToolCall(call) => Some((call.call_id.as_str(), call.tool.as_str())),
                    _ => None,
                }));
                Row {
                    time_us: event.time_us,
                    seq: event.seq,
                    booking: booking(append, event, &usage.model, ""),
                    turn_id: turn_id.to_string(),
                    step: *step,
                    outcome: usage.error.clone().unwrap_or_else(|| finish.clone()),
                    total_ms: usage.total_ms,
                    request: Some(Request {
                        tokens: usage.tokens,
                        cost: usage.cost,
                        first_token_ms: usage.first_token_ms,
                        retries: usage.retries,
                    }),
                }
            }
            // A request beside the steps.
            EventBody::ContextCompacted {
                usage: Some(usage), ..
            }
            | EventBody::TitleChosen {
                usage: Some(usage), ..
            } => Row {
                time_us: event.time_us,
                seq: event.seq,
                booking: booking(append, event, &usage.model, ""),
                turn_id: match &event.body {
                    EventBody::ContextCompacted { turn_id, .. } => turn_id.to_string(),
                    _ => String::new(),
                },
                step: 0,
                outcome: usage.error.clone().unwrap_or_else(|| "stop".to_owned()),
                total_ms: usage.total_ms,
                request: Some(Request {
                    tokens: usage.tokens,
                    cost: usage.cost,
                    first_token_ms: usage.first_token_ms,
                    retries: usage.retries,
                }),
            },
            EventBody::ToolCallFinished {
                turn_id,
                call_id,
                outcome,
                duration_ms,
                ..
            } => Row {
                time_us: event.time_us,
                seq: event.seq,
                // Only commands outlive the turn that started them, and with it the name of their tool.
                booking: booking(append, event, "", tools.get(call_id.as_str()).unwrap_or(&"exec")),
                turn_id: turn_id.to_string(),
                step: 0,
                outcome: outcome_word(*outcome).to_owned(),
                total_ms: *duration_ms,
                request: None,
            },
            _ => continue,
        };
        insert(connection, &row)?;
    }
    Ok(())
}

fn outcome_word(outcome: CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Succeeded => "succeeded",
        CallOutcome::Failed => "failed",
        CallOutcome::Denied => "denied",
        CallOutcome::Interrupted => "interrupted",
        CallOutcome::Unknown => "unknown",
    }
}

fn booking(append: &Append, event: &Event, model: &str, tool: &str) -> Booking {
    let asker = append.asker.clone().unwrap_or_else(|| Asker::of(&event.caller));
    Booking {
        principal: asker.principal,
        client: asker.client.word().to_owned(),
        session_id: event.session_id.to_string(),
        task_id: append
            .summary
            .task
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        persona: append.summary.spec.persona.clone(),
        model: model.to_owned(),
        tool: tool.to_owned(),
    }
}

/// Writes one row and adds it to the sums.
pub(super) fn insert(connection: &Connection, row: &Row) -> Result<(), StoreError> {
    let none = Request::default();
    let request = row.request.as_ref().unwrap_or(&none);
    let (tokens, b) = (request.tokens.as_ref(), &row.booking);
    connection
        .prepare_cached(
            "INSERT INTO usage VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)",
        )?
        .execute(params![
            row.time_us,
            b.session_id,
            row.seq,
            b.principal,
            b.client,
            row.turn_id,
            row.step,
            Some(&b.task_id).filter(|t| !t.is_empty()),
            b.persona,
            b.model,
            b.tool,
            tokens.map(|t| t.input),
            tokens.map(|t| t.cached_input),
            tokens.map(|t| t.cache_write),
            tokens.map(|t| t.output),
            tokens.map(|t| t.reasoning),
            request.cost.map(|c| c.micro_usd),
            request.cost.map(|c| c.source.word()),
            request.first_token_ms,
            row.total_ms,
            row.outcome,
            request.retries,
        ])?;
    add(connection, row)
}

fn add(connection: &Connection, row: &Row) -> Result<(), StoreError> {
    let sums = Sums::of(row);
    let (mut first_token, mut total) = (Latency::default(), Latency::default());
    if let Some(ms) = row.request.as_ref().and_then(|r| r.first_token_ms) {
        first_token.count(ms);
    }
    total.count(row.total_ms);
    let b = &row.booking;
    let hour = [&b.principal, &b.client, &b.persona, &b.model, &b.tool];
    let quarter = [
        &b.session_id,
        &b.task_id,
        &b.principal,
        &b.client,
        &b.persona,
        &b.model,
        &b.tool,
    ];
    let start = |cell: i64| row.time_us.div_euclid(cell).saturating_mul(cell);
    HOURS.add(connection, start(HOUR_US), &hour, &sums, &first_token, &total)?;
    QUARTERS.add(
        connection,
        start(QUARTER_US),
        &quarter,
        &sums,
        &first_token,
        &total,
    )
}

/// A table of sums: its name and the columns of its key after the time.
pub(super) struct Cells {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
}

pub(super) const HOURS: Cells = Cells {
    table: "usage_hours",
    key: "principal, client, persona, model, tool",
};
pub(super) const QUARTERS: Cells = Cells {
    table: "usage_quarters",
    key: "session_id, task_id, principal, client, persona, model, tool",
};

impl Cells {
    /// Adds sums to the cell of this time and key, making it where there is none.
    pub(super) fn add(
        &self,
        connection: &Connection,
        start_us: i64,
        key: &[&String],
        sums: &Sums,
        first_token: &Latency,
        total: &Latency,
    ) -> Result<(), StoreError> {
        let mut at: Vec<&dyn rusqlite::ToSql> = vec![&start_us];
        at.extend(key.iter().map(|k| k as &dyn rusqlite::ToSql));
        let places: Vec<String> = (1..=at.len()).map(|n| format!("?{n}")).collect();
        let (table, columns, places) = (self.table, self.key, places.join(","));
        let before = connection
            .prepare_cached(&format!(
                "SELECT first_token, total FROM {table} WHERE (start_us, {columns}) = ({places})"
            ))?
            .query_row(at.as_slice(), |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()?;
        let (mut first_token, mut total) = (first_token.clone(), total.clone());
        if let Some((first, all)) = &before {
            first_token.add_bytes(first);
            total.add_bytes(all);
        }
        let (first_token, total) = (first_token.to_bytes(), total.to_bytes());
        let numbers = numbers(sums);
        let updates: Vec<String> = MEASURES
            .split(", ")
            .map(|name| format!("{name} = {name} + excluded.{name}"))
            .collect();
        let mut values = at.clone();
        values.extend(numbers.iter().map(|n| n as &dyn rusqlite::ToSql));
        values.push(&first_token);
        values.push(&total);
        let all: Vec<String> = (1..=values.len()).map(|n| format!("?{n}")).collect();
        connection
            .prepare_cached(&format!(
                "INSERT INTO {table} (start_us, {columns}, {MEASURES}, first_token, total) VALUES ({})
                 ON CONFLICT DO UPDATE SET {}, first_token = excluded.first_token, total = excluded.total",
                all.join(","),
                updates.join(", "),
            ))?
            .execute(values.as_slice())?;
        Ok(())
    }
}

fn numbers(sums: &Sums) -> [u64; 17] {
    [
        sums.turns,
        sums.requests,
        sums.errors,
        sums.rate_limited,
        sums.retries,
        sums.cost_micro_usd,
        sums.reported_micro_usd,
        sums.unpriced_requests,
        sums.unpriced_tokens,
        sums.tokens.input,
        sums.tokens.cached_input,
        sums.tokens.cache_write,
        sums.tokens.output,
        sums.tokens.reasoning,
        sums.tool_calls,
        sums.tool_failures,
        sums.busy_ms,
    ]
}

/// Makes the sums of all rows, where there are none yet.
pub(in crate::store) fn rebuild(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare(&format!("SELECT {} FROM usage", super::read::ROW))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        add(connection, &super::read::row(row)?)?;
    }
    Ok(())
}
