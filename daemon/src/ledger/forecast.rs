//! Owns: where the month's cost is going, and what hour is out of the ordinary.
//! Guarantees: what was spent is exact; what is reckoned is marked so, with its method; too little known gives
//! nothing rather than a guess.

use super::calendar::{Bucket, Range};
use super::query::{Filters, Query};
use super::{Ledger, LedgerError};
use crate::clock::now_us;
use crate::domain::budget::{Unit, Window};

/// How many complete days are looked back on.
const LOOK_BACK: usize = 14;
/// An hour is out of the ordinary above this many times the median hour.
const SPIKE: u64 = 3;
/// Fewer hours with cost than these make no median.
const HOURS_NEEDED: usize = 5;
/// An hour that costs less is never a spike, micro-dollars: three times next to nothing is next to nothing.
const SPIKE_LEAST: u64 = 100_000;

/// Where the month is going.
#[derive(Debug, Clone, Default)]
pub struct Forecast {
    /// Spent so far.
    pub spent: u64,
    /// What the month will have cost; `None`: too little is known.
    pub projected: Option<u64>,
    /// A low reckoning.
    pub low: u64,
    /// A high one.
    pub high: u64,
    /// How it was reckoned.
    pub method: String,
    /// Local date, cost of the month by its end, and whether that is reckoned.
    pub days: Vec<(String, u64, bool)>,
    /// The month's budget for all.
    pub budget: Option<u64>,
    /// The zone.
    pub zone: String,
    /// Requests without a known price.
    pub unpriced: u64,
}

impl Ledger {
    /// Reckons the month's end.
    pub async fn forecast(&self, zone: &str, filters: Filters) -> Result<Forecast, LedgerError> {
        let calendar = self.calendar(zone)?;
        let now = now_us();
        let (_, begin, end) = calendar.stretch(Bucket::Month, now)?;
        let today = calendar.date_of(now)?;
        let back = today.checked_sub(jiff::Span::new().days(LOOK_BACK as i64));
        let first = back.map_err(|e| LedgerError::reject(e.to_string()))?;
        let month = calendar.date_of(begin)?;
        let report = self
            .query(Query {
                range: Range::Dates(first.min(month), None),
                zone: zone.to_owned(),
                group_by: None,
                bucket: Some(Bucket::Day),
                filters,
                max_groups: 0,
                latency: false,
            })
            .await?;
        let mut forecast = Forecast {
            zone: report.zone.clone(),
            budget: self.month_budget().await?,
            ..Forecast::default()
        };
        let mut past = Vec::new();
        for point in &report.points {
            let date = calendar.date_of(point.start_us)?;
            let cost = point.sums.cost_micro_usd;
            if point.start_us >= begin {
                forecast.spent = forecast.spent.saturating_add(cost);
                forecast.unpriced = forecast.unpriced.saturating_add(point.sums.unpriced_requests);
                forecast.days.push((date.to_string(), forecast.spent, false));
            }
            // Days before the first use say nothing about the pace.
            if date < today && date >= first && (cost > 0 || !past.is_empty()) {
                past.push((weekend(date), cost));
            }
        }
        let last_known = calendar.starts(Bucket::Day, begin, end)?;
        let ahead: Vec<(String, bool)> = last_known
            .iter()
            .filter(|start| **start > now)
            .filter_map(|start| calendar.date_of(*start).ok())
            .map(|date| (date.to_string(), weekend(date)))
            .collect();
        forecast.reckon(&past, &ahead);
        Ok(forecast)
    }

    async fn month_budget(&self) -> Result<Option<u64>, LedgerError> {
        let all = self.0.store.budgets().await?;
        Ok(all
            .iter()
            .filter(|b| b.window == Window::Month && b.unit == Unit::MicroUsd && b.only.is_none())
            .map(|b| b.limit)
            .min())
    }

    /// The present hour's cost, if it is more than three times the median hour of the last week.
    pub(super) async fn spike(&self) -> Result<Option<(u64, u64, String)>, LedgerError> {
        let report = self
            .query(Query {
                range: Range::Hours(7 * 24),
                zone: String::new(),
                group_by: None,
                bucket: Some(Bucket::Hour),
                filters: Vec::new(),
                max_groups: 0,
                latency: false,
            })
            .await?;
        let mut hours: Vec<u64> = report.points.iter().map(|p| p.sums.cost_micro_usd).collect();
        let now = hours.pop().unwrap_or_default();
        let local = report.points.last().map(|p| p.local.clone()).unwrap_or_default();
        Ok(is_spike(now, &hours).map(|median| (now, median, local)))
    }
}

/// The median of the hours that cost something, if `now` is out of the ordinary beside them.
pub(super) fn is_spike(now: u64, hours: &[u64]) -> Option<u64> {
    let mut hours: Vec<u64> = hours.iter().copied().filter(|cost| *cost > 0).collect();
    hours.sort_unstable();
    let median = *hours.get(hours.len() / 2)?;
    let out = hours.len() >= HOURS_NEEDED && now >= SPIKE_LEAST && now > median.saturating_mul(SPIKE);
    out.then_some(median)
}

fn weekend(date: jiff::civil::Date) -> bool {
    date.weekday().to_monday_one_offset() > 5
}

impl Forecast {
    /// Reckons the days ahead from the pace of the past ones: `(weekend, cost)` each, oldest first.
    fn reckon(&mut self, past: &[(bool, u64)], ahead: &[(String, bool)]) {
        if past.is_empty() {
            self.method = "No complete day of use is known yet, so nothing is reckoned.".into();
            return;
        }
        let of =
            |end: bool| -> Vec<u64> { past.iter().filter(|(e, _)| *e == end).map(|(_, c)| *c).collect() };
        let (work, free) = (of(false), of(true));
        let apart = !work.is_empty() && !free.is_empty();
        let mut all: Vec<u64> = past.iter().map(|(_, c)| *c).collect();
        let pace = |end: bool| match (apart, end) {
            (true, true) => mean(&free),
            (true, false) => mean(&work),
            _ => mean(&all),
        };
        let mut sum = self.spent;
        for (date, end) in ahead {
            sum = sum.saturating_add(pace(*end));
            self.days.push((date.clone(), sum, true));
        }
        self.projected = Some(sum);
        let mean_day = mean(&all);
        all.sort_unstable();
        let at = |quarter: usize| {
            all.get(all.len() * quarter / 4)
                .or(all.last())
                .copied()
                .unwrap_or_default()
        };
        let days = ahead.len() as u64;
        self.low = self
            .spent
            .saturating_add(at(1).min(mean_day).saturating_mul(days))
            .min(sum);
        self.high = self
            .spent
            .saturating_add(at(3).max(mean_day).saturating_mul(days))
            .max(sum);
        self.method = format!(
            "Spent so far, plus for each day ahead the mean of the last {} complete days{}; low and high take \
             their quartiles instead. The rest of today is not reckoned.",
            past.len(),
            if apart {
                " (weekdays and weekends apart)"
            } else {
                ""
            }
        );
    }
}

fn mean(costs: &[u64]) -> u64 {
    let sum: u128 = costs.iter().map(|c| u128::from(*c)).sum();
    u64::try_from(sum / (costs.len() as u128).max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_of_weekdays_and_weekends_goes_on() {
        let mut forecast = Forecast {
            spent: 100,
            ..Forecast::default()
        };
        let past = [(false, 10), (false, 20), (true, 0), (true, 2)];
        let ahead = [("2026-11-28".to_owned(), true), ("2026-11-30".to_owned(), false)];
        forecast.reckon(&past, &ahead);
        assert_eq!(forecast.projected, Some(100 + 1 + 15));
        assert!(forecast.low <= 116 && forecast.high >= 116);
        assert!(
            forecast
                .method
                .contains("last 4 complete days (weekdays and weekends apart)")
        );
        assert_eq!(forecast.days.last(), Some(&("2026-11-30".to_owned(), 116, true)));
    }

    #[test]
    fn nothing_known_gives_nothing() {
        let mut forecast = Forecast {
            spent: 7,
            ..Forecast::default()
        };
        forecast.reckon(&[], &[("2026-11-30".to_owned(), false)]);
        assert_eq!((forecast.projected, forecast.days.len()), (None, 0));
    }

    #[test]
    fn a_spike_is_more_than_three_times_the_median_hour() {
        let usual = [0, 0, 100_000, 120_000, 90_000, 110_000, 100_000];
        assert_eq!(is_spike(300_000, &usual), None);
        assert_eq!(is_spike(300_001, &usual), Some(100_000));
        assert_eq!(
            is_spike(9_000_000, &[1, 2, 3]),
            None,
            "too few hours to know what is usual"
        );
        assert_eq!(
            is_spike(99_999, &[1, 1, 1, 1, 1, 1]),
            None,
            "too little to speak of"
        );
    }
}
