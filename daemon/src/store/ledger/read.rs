//! Owns: summing the ledger and reading its rows.
//! Guarantees: a range is cut into whole cells and rows, each moment in exactly one of them; where single rows
//! were given up, a ragged end goes by the cell's start.

use std::collections::{BTreeSet, HashMap};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row as SqlRow, params_from_iter};

use super::{Cell, HOUR_US, QUARTER_US, RowCursor, RowFilter, Summed, Table, Wanted, column, whole_since};
use crate::domain::latency::Latency;
use crate::domain::usage::{Booking, Cost, CostSource, Dimension, Request, Row, Sums, Tokens};
use crate::store::StoreError;

/// The columns [`row`] reads, in order.
pub(super) const ROW: &str = "time_us, session_id, seq, principal, client, turn_id, step, task_id, persona, model, tool, \
    input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_micro_usd, cost_source, \
    first_token_ms, total_ms, outcome, retries";

/// The columns of a cell's sums, in the order [`sums`] reads them.
pub(super) const SUMS: &str = "turns, requests, errors, rate_limited, retries, cost_micro_usd, reported_micro_usd, unpriced_requests, \
    unpriced_tokens, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, \
    tool_calls, tool_failures, busy_ms";

pub(super) fn sum(connection: &Connection, wanted: &Wanted) -> Result<Summed, StoreError> {
    let mut tally = Tally::new(wanted);
    if wanted.to_us <= wanted.from_us {
        return Ok(tally.done());
    }
    let by_session = |d: Dimension| matches!(d, Dimension::Session | Dimension::Task);
    let needs_session =
        wanted.group_by.is_some_and(by_session) || wanted.filters.iter().any(|(d, _)| by_session(*d));
    // Hours serve only where every bucket starts on one.
    let off_hour = wanted
        .starts_us
        .iter()
        .skip(1)
        .any(|s| s.rem_euclid(HOUR_US) != 0);
    let (table, cell) = if needs_session || off_hour {
        (Table::Quarters, QUARTER_US)
    } else {
        (Table::Hours, HOUR_US)
    };
    let since = whole_since(connection)?;
    let down = |at: i64| at.div_euclid(cell).saturating_mul(cell);
    let up = |at: i64| down(at.saturating_add(cell - 1));
    let head = up(wanted.from_us);
    let tail = if wanted.to_us < since {
        up(wanted.to_us)
    } else {
        down(wanted.to_us)
    };
    if head >= tail && wanted.from_us >= since {
        tally.rows(connection, wanted.from_us, wanted.to_us)?;
        return Ok(tally.done());
    }
    if wanted.from_us >= since {
        tally.rows(connection, wanted.from_us, head)?;
    }
    tally.cells(connection, table, head, tail)?;
    if wanted.to_us >= since {
        tally.rows(connection, tail.max(head), wanted.to_us)?;
    }
    Ok(tally.done())
}

/// Sums being made.
struct Tally<'a> {
    wanted: &'a Wanted,
    groups: HashMap<String, usize>,
    names: Vec<String>,
    cells: Vec<Cell>,
    places: HashMap<(usize, usize), usize>,
    unpriced: BTreeSet<String>,
}

impl<'a> Tally<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self {
            wanted,
            groups: HashMap::new(),
            names: Vec::new(),
            cells: Vec::new(),
            places: HashMap::new(),
            unpriced: BTreeSet::new(),
        }
    }

    fn done(self) -> Summed {
        Summed {
            groups: self.names,
            cells: self.cells,
            unpriced_models: self.unpriced.into_iter().collect(),
        }
    }

    fn price(&mut self, sums: &Sums, model: &str) {
        if sums.unpriced_requests > 0 && !self.unpriced.contains(model) {
            self.unpriced.insert(model.to_owned());
        }
    }

    fn cell(&mut self, at_us: i64, group: &str) -> Option<&mut Cell> {
        let group = match self.groups.get(group) {
            Some(known) => *known,
            None => {
                let next = self.names.len();
                self.names.push(group.to_owned());
                self.groups.insert(group.to_owned(), next);
                next
            }
        };
        let bucket = self
            .wanted
            .starts_us
            .partition_point(|start| *start <= at_us)
            .saturating_sub(1);
        let place = *self.places.entry((bucket, group)).or_insert_with(|| {
            self.cells.push(Cell {
                bucket,
                group,
                ..Cell::default()
            });
            self.cells.len() - 1
        });
        self.cells.get_mut(place)
    }

    fn group_column(&self, table: Table) -> &'static str {
        self.wanted.group_by.map_or("''", |d| column(d, table))
    }

    fn cells(&mut self, connection: &Connection, table: Table, from: i64, to: i64) -> Result<(), StoreError> {
        if to <= from {
            return Ok(());
        }
        let name = if table == Table::Hours {
            "usage_hours"
        } else {
            "usage_quarters"
        };
        let (filter, values) = conditions(&self.wanted.filters, table);
        let (group, latency) = (self.group_column(table), self.wanted.latency);
        let more = if latency { ", first_token, total" } else { "" };
        let sql = format!(
            "SELECT start_us, {group}, model, {SUMS}{more} FROM {name} WHERE start_us >= ?1 AND start_us < ?2{filter}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let all = [Value::Integer(from), Value::Integer(to)]
            .into_iter()
            .chain(values);
        let mut rows = statement.query(params_from_iter(all))?;
        while let Some(row) = rows.next()? {
            let sums = sums(row, 3)?;
            self.price(&sums, text(row, 2)?);
            let Some(cell) = self.cell(integer(row, 0)?, text(row, 1)?) else {
                continue;
            };
            cell.sums.add(&sums);
            if latency {
                cell.first_token
                    .add_bytes(row.get_ref(20)?.as_blob().unwrap_or_default());
                cell.total
                    .add_bytes(row.get_ref(21)?.as_blob().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn rows(&mut self, connection: &Connection, from: i64, to: i64) -> Result<(), StoreError> {
        if to <= from {
            return Ok(());
        }
        let (filter, values) = conditions(&self.wanted.filters, Table::Rows);
        let group = self.group_column(Table::Rows);
        let sql = format!("SELECT {ROW}, {group} FROM usage WHERE time_us >= ?1 AND time_us < ?2{filter}");
        let mut statement = connection.prepare_cached(&sql)?;
        let all = [Value::Integer(from), Value::Integer(to)]
            .into_iter()
            .chain(values);
        let mut rows = statement.query(params_from_iter(all))?;
        while let Some(found) = rows.next()? {
            let row = row(found)?;
            let sums = Sums::of(&row);
            self.price(&sums, &row.booking.model);
            let latency = self.wanted.latency;
            let Some(cell) = self.cell(row.time_us, text(found, 22)?) else {
                continue;
            };
            cell.sums.add(&sums);
            if latency {
                count(&mut cell.first_token, &mut cell.total, &row);
            }
        }
        Ok(())
    }
}

fn count(first_token: &mut Latency, total: &mut Latency, row: &Row) {
    if let Some(ms) = row.request.as_ref().and_then(|r| r.first_token_ms) {
        first_token.count(ms);
    }
    total.count(row.total_ms);
}

/// ` AND column IN (…)` for each filter, with the values to bind from ?3 on.
fn conditions(filters: &[(Dimension, Vec<String>)], table: Table) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    for (dimension, wanted) in filters {
        let places: Vec<String> = wanted
            .iter()
            .map(|value| {
                values.push(Value::Text(value.clone()));
                format!("?{}", values.len() + 2)
            })
            .collect();
        sql.push_str(&format!(
            " AND {} IN ({})",
            column(*dimension, table),
            places.join(",")
        ));
    }
    (sql, values)
}

pub(super) fn rows(
    connection: &Connection,
    filter: &RowFilter,
    cursor: Option<&RowCursor>,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let (conditions, mut values) = conditions(&filter.filters, Table::Rows);
    let kind = if filter.tool_calls {
        "tool <> ''"
    } else {
        "tool = ''"
    };
    let mut sql =
        format!("SELECT {ROW} FROM usage WHERE time_us >= ?1 AND time_us < ?2 AND {kind}{conditions}");
    let mut from = filter.from_us;
    if let Some((time_us, session_id, seq)) = cursor {
        from = from.max(*time_us);
        let n = values.len() + 3;
        sql.push_str(&format!(
            " AND (time_us, session_id, seq) > (?{n}, ?{}, ?{})",
            n + 1,
            n + 2
        ));
        values.push(Value::Integer(*time_us));
        values.push(Value::Text(session_id.clone()));
        values.push(Value::Integer(i64::try_from(*seq).unwrap_or(i64::MAX)));
    }
    sql.push_str(&format!(" ORDER BY time_us, session_id, seq LIMIT {limit}"));
    let mut statement = connection.prepare_cached(&sql)?;
    let all = [Value::Integer(from), Value::Integer(filter.to_us)]
        .into_iter()
        .chain(values);
    let mut rows = statement.query(params_from_iter(all))?;
    let mut found = Vec::new();
    while let Some(next) = rows.next()? {
        found.push(row(next)?);
    }
    Ok(found)
}

/// Reads one row of [`ROW`].
pub(super) fn row(row: &SqlRow<'_>) -> Result<Row, StoreError> {
    let tool = text(row, 10)?;
    let request = if tool.is_empty() {
        let tokens = match optional(row, 11)? {
            None => None,
            Some(input) => Some(Tokens {
                input,
                cached_input: optional(row, 12)?.unwrap_or_default(),
                cache_write: optional(row, 13)?.unwrap_or_default(),
                output: optional(row, 14)?.unwrap_or_default(),
                reasoning: optional(row, 15)?.unwrap_or_default(),
            }),
        };
        let source = CostSource::from_word(text(row, 17)?);
        Some(Request {
            tokens,
            cost: optional(row, 16)?
                .zip(source)
                .map(|(micro_usd, source)| Cost { micro_usd, source }),
            first_token_ms: optional(row, 18)?,
            retries: u32::try_from(number(row, 21)?).unwrap_or(u32::MAX),
        })
    } else {
        None
    };
    Ok(Row {
        time_us: integer(row, 0)?,
        seq: number(row, 2)?,
        booking: Booking {
            principal: text(row, 3)?.to_owned(),
            client: text(row, 4)?.to_owned(),
            session_id: text(row, 1)?.to_owned(),
            task_id: text(row, 7)?.to_owned(),
            persona: text(row, 8)?.to_owned(),
            model: text(row, 9)?.to_owned(),
            tool: tool.to_owned(),
        },
        turn_id: text(row, 5)?.to_owned(),
        step: u32::try_from(number(row, 6)?).unwrap_or(u32::MAX),
        outcome: text(row, 20)?.to_owned(),
        total_ms: number(row, 19)?,
        request,
    })
}

pub(super) fn sums(row: &SqlRow<'_>, at: usize) -> Result<Sums, StoreError> {
    let n = |offset: usize| number(row, at + offset);
    Ok(Sums {
        turns: n(0)?,
        requests: n(1)?,
        errors: n(2)?,
        rate_limited: n(3)?,
        retries: n(4)?,
        cost_micro_usd: n(5)?,
        reported_micro_usd: n(6)?,
        unpriced_requests: n(7)?,
        unpriced_tokens: n(8)?,
        tokens: Tokens {
            input: n(9)?,
            cached_input: n(10)?,
            cache_write: n(11)?,
            output: n(12)?,
            reasoning: n(13)?,
        },
        tool_calls: n(14)?,
        tool_failures: n(15)?,
        busy_ms: n(16)?,
    })
}

fn integer(row: &SqlRow<'_>, at: usize) -> Result<i64, StoreError> {
    Ok(row.get_ref(at)?.as_i64().unwrap_or_default())
}

fn number(row: &SqlRow<'_>, at: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(integer(row, at)?).unwrap_or_default())
}

fn optional(row: &SqlRow<'_>, at: usize) -> Result<Option<u64>, StoreError> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(n) => u64::try_from(n).ok(),
        _ => None,
    })
}

/// Text borrowed from the row; empty for NULL.
fn text<'a>(row: &'a SqlRow<'_>, at: usize) -> Result<&'a str, StoreError> {
    Ok(row
        .get_ref(at)?
        .as_str_or_null()
        .ok()
        .flatten()
        .unwrap_or_default())
}
