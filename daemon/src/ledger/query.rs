//! Owns: answering what every chart and table asks: sums by a dimension and by buckets of the calendar.
//! Guarantees: points, groups and the total hold the same rows; what is cut off a list is in `other`.

use super::calendar::{Bucket, Calendar, Range};
use super::{Ledger, LedgerError};
use crate::clock::now_us;
use crate::domain::latency::Latency;
use crate::domain::usage::{Dimension, Sums};
use crate::store::ledger::{Summed, Wanted};

/// The most groups of one answer.
const MAX_GROUPS: usize = 1_000;
/// The most groups that get a session's name looked up.
const MAX_NAMED: usize = 100;

/// Only rows with one of these values in this dimension.
pub type Filters = Vec<(Dimension, Vec<String>)>;

/// A question.
#[derive(Debug, Clone)]
pub struct Query {
    /// When.
    pub range: Range,
    /// In which zone; empty: the ledger's own.
    pub zone: String,
    /// Groups by this.
    pub group_by: Option<Dimension>,
    /// Points by this.
    pub bucket: Option<Bucket>,
    /// Only these.
    pub filters: Filters,
    /// The most groups; 0: as many as there are.
    pub max_groups: usize,
    /// With times.
    pub latency: bool,
}

/// Times to the first token, and from start to end.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// To the first token.
    pub first_token: Latency,
    /// From start to end.
    pub total: Latency,
}

/// One group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its value.
    pub value: String,
    /// What to show for it.
    pub label: String,
    /// All that was cut off the list.
    pub is_other: bool,
    /// Its sums.
    pub sums: Sums,
    /// Its times.
    pub times: Times,
}

/// One bucket.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// Where it begins.
    pub start_us: i64,
    /// That, on the zone's clock.
    pub local: String,
    /// All groups together.
    pub sums: Sums,
    /// By group.
    pub groups: Vec<Sums>,
    /// Times of all together.
    pub times: Times,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where the range begins.
    pub from_us: i64,
    /// Where it ends.
    pub to_us: i64,
    /// The zone.
    pub zone: String,
    /// All together.
    pub total: Sums,
    /// Times of all together.
    pub times: Times,
    /// The dearest first.
    pub groups: Vec<Group>,
    /// In the order of time.
    pub points: Vec<Point>,
    /// Models without a known price.
    pub unpriced_models: Vec<String>,
    /// Since when single rows are there; `None`: all are.
    pub rows_since_us: Option<i64>,
}

impl Ledger {
    /// The calendar of a zone; empty: the ledger's own.
    pub(super) fn calendar(&self, zone: &str) -> Result<Calendar, LedgerError> {
        Ok(Calendar::of(if zone.is_empty() {
            &self.0.settings.zone
        } else {
            zone
        })?)
    }

    /// Answers a question.
    pub async fn query(&self, query: Query) -> Result<Report, LedgerError> {
        let calendar = self.calendar(&query.zone)?;
        let (from_us, to_us) = calendar.resolve(&query.range, now_us())?;
        let starts_us = match query.bucket {
            None => vec![from_us],
            Some(bucket) => calendar.starts(bucket, from_us, to_us)?,
        };
        let wanted = Wanted {
            from_us,
            to_us,
            starts_us: starts_us.clone(),
            group_by: query.group_by,
            filters: query.filters,
            latency: query.latency,
        };
        let summed = self.0.store.sum_usage(wanted).await?;
        let mut report = Report {
            from_us,
            to_us,
            zone: calendar.name(),
            total: Sums::default(),
            times: Times::default(),
            groups: Vec::new(),
            points: Vec::new(),
            unpriced_models: summed.unpriced_models.clone(),
            rows_since_us: self.0.store.usage_whole_since().await?,
        };
        let most = if query.max_groups == 0 {
            MAX_GROUPS
        } else {
            query.max_groups.min(MAX_GROUPS)
        };
        let places = report.rank(&summed, most, query.group_by.is_some());
        if query.bucket.is_some() {
            report.points = starts_us
                .iter()
                .map(|start_us| Point {
                    start_us: *start_us,
                    local: calendar.local(*start_us),
                    groups: vec![Sums::default(); report.groups.len()],
                    ..Point::default()
                })
                .collect();
        }
        for cell in &summed.cells {
            report.total.add(&cell.sums);
            report.times.first_token.add(&cell.first_token);
            report.times.total.add(&cell.total);
            let Some(point) = report.points.get_mut(cell.bucket) else {
                continue;
            };
            point.sums.add(&cell.sums);
            point.times.first_token.add(&cell.first_token);
            point.times.total.add(&cell.total);
            let place = places.get(cell.group).copied().unwrap_or_default();
            if let Some(sums) = point.groups.get_mut(place) {
                sums.add(&cell.sums);
            }
        }
        self.name_groups(&mut report, query.group_by).await?;
        Ok(report)
    }

    async fn name_groups(&self, report: &mut Report, by: Option<Dimension>) -> Result<(), LedgerError> {
        for group in report.groups.iter_mut().take(MAX_NAMED) {
            let id = group.value.parse();
            if by == Some(Dimension::Session)
                && let Ok(id) = id
                && let Some(session) = self.0.store.session(&id).await?
            {
                group.label = session.name;
            }
        }
        Ok(())
    }
}

impl Report {
    /// Makes the list of groups; gives the place of each of the store's groups in it.
    fn rank(&mut self, summed: &Summed, most: usize, grouped: bool) -> Vec<usize> {
        if !grouped {
            return Vec::new();
        }
        let mut all: Vec<(usize, Group)> = summed
            .groups
            .iter()
            .map(|value| Group {
                value: value.clone(),
                label: value.clone(),
                is_other: false,
                sums: Sums::default(),
                times: Times::default(),
            })
            .enumerate()
            .collect();
        for cell in &summed.cells {
            if let Some((_, group)) = all.get_mut(cell.group) {
                group.add(&cell.sums, &cell.first_token, &cell.total);
            }
        }
        all.sort_by(|(_, a), (_, b)| {
            let key = |s: &Sums| (s.cost_micro_usd, s.tokens.total(), s.requests, s.tool_calls);
            key(&b.sums)
                .cmp(&key(&a.sums))
                .then_with(|| a.value.cmp(&b.value))
        });
        let mut places = vec![0; all.len()];
        for (place, (index, group)) in all.into_iter().enumerate() {
            let place = place.min(most);
            if let Some(slot) = places.get_mut(index) {
                *slot = place;
            }
            if place < most {
                self.groups.push(group);
                continue;
            }
            match self.groups.get_mut(most) {
                Some(other) => other.add(&group.sums, &group.times.first_token, &group.times.total),
                None => self.groups.push(Group {
                    value: "other".into(),
                    label: "other".into(),
                    is_other: true,
                    ..group
                }),
            }
        }
        places
    }
}

impl Group {
    fn add(&mut self, sums: &Sums, first_token: &Latency, total: &Latency) {
        self.sums.add(sums);
        self.times.first_token.add(first_token);
        self.times.total.add(total);
    }
}
