//! Owns: ranges and buckets of the calendar in a time zone.
//! Guarantees: a bucket begins where the zone's own clock says, also where the clock is turned; buckets cover
//! the range without gap or overlap.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Unit, Zoned};

use crate::domain::rejection::Rejection;

/// The most buckets of one answer.
const MAX_BUCKETS: usize = 10_000;

/// A range as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// From one moment to another (`None`: now), microseconds since the epoch.
    Moments(i64, Option<i64>),
    /// The present hour and those before it.
    Hours(u32),
    /// Today and the days before it.
    Days(u32),
    /// This month and those before it.
    Months(u32),
    /// Local dates, the last included; `None`: today.
    Dates(Date, Option<Date>),
}

/// Stretches of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Weeks from Monday.
    Week,
    /// Months.
    Month,
}

/// The clock of one place.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
}

fn bad(message: impl Into<String>) -> Rejection {
    Rejection::InvalidArgument(message.into())
}

impl Calendar {
    /// The calendar of an IANA zone; empty: this machine's.
    pub fn of(name: &str) -> Result<Self, Rejection> {
        let zone = match name {
            "" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| {
                let shown: String = name.chars().take(60).collect();
                bad(format!(
                    "'{shown}' is no time zone; they are called as in Europe/Berlin, or UTC"
                ))
            })?,
        };
        Ok(Self { zone })
    }

    /// The zone's name.
    pub fn name(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    /// A local date as written.
    pub fn date(text: &str) -> Result<Date, Rejection> {
        text.parse()
            .map_err(|_| bad("a date is written as in 2026-11-22"))
    }

    fn at(&self, time_us: i64) -> Result<Zoned, Rejection> {
        let moment = Timestamp::from_microsecond(time_us).map_err(|_| bad("the time is out of range"))?;
        Ok(moment.to_zoned(self.zone.clone()))
    }

    fn begin(&self, date: Date) -> Result<i64, Rejection> {
        let day = date
            .to_zoned(self.zone.clone())
            .and_then(|zoned| zoned.start_of_day());
        Ok(day
            .map_err(|_| bad("the date is out of range"))?
            .timestamp()
            .as_microsecond())
    }

    /// The local date of a moment.
    pub fn date_of(&self, time_us: i64) -> Result<Date, Rejection> {
        Ok(self.at(time_us)?.date())
    }

    /// The moments of a range: the first, and the first that is out of it.
    pub fn resolve(&self, range: &Range, now_us: i64) -> Result<(i64, i64), Rejection> {
        let now = self.at(now_us)?;
        let today = now.date();
        let far = |_| bad("the range is too long");
        // What happens in this very moment is part of what is asked for.
        let end = now_us.saturating_add(1);
        let (from, to) = match range {
            Range::Moments(from, to) => (*from, to.unwrap_or(end)),
            Range::Hours(n) => {
                let hour = now.timestamp().round(
                    jiff::TimestampRound::new()
                        .smallest(Unit::Hour)
                        .mode(jiff::RoundMode::Floor),
                );
                let hour = hour.map_err(far)?.as_microsecond();
                let back = i64::from(n.saturating_sub(1)).saturating_mul(3_600_000_000);
                (hour.saturating_sub(back), end)
            }
            Range::Days(n) => {
                let first = today
                    .checked_sub(i64::from(n.saturating_sub(1)).days())
                    .map_err(far)?;
                (self.begin(first)?, end)
            }
            Range::Months(n) => {
                let back = i64::from(n.saturating_sub(1)).months();
                let first = today.first_of_month().checked_sub(back).map_err(far)?;
                (self.begin(first)?, end)
            }
            Range::Dates(first, last) => {
                let last = last.unwrap_or(today);
                let after = last.tomorrow().map_err(far)?;
                (self.begin(*first)?, self.begin(after)?)
            }
        };
        if to <= from {
            return Err(bad("the range ends before it begins"));
        }
        Ok((from, to))
    }

    /// Where each bucket of a range begins; the first begins with the range.
    pub fn starts(&self, bucket: Bucket, from_us: i64, to_us: i64) -> Result<Vec<i64>, Rejection> {
        let mut starts = vec![from_us];
        let mut next = self.after(bucket, from_us)?;
        while next < to_us {
            if starts.len() >= MAX_BUCKETS {
                return Err(bad("the range has more than 10,000 buckets; take longer ones"));
            }
            starts.push(next);
            next = self.after(bucket, next)?;
        }
        Ok(starts)
    }

    /// Where the bucket after the one of this moment begins.
    fn after(&self, bucket: Bucket, time_us: i64) -> Result<i64, Rejection> {
        let far = |_| bad("the time is out of range");
        let at = self.at(time_us)?;
        if bucket == Bucket::Hour {
            // By the clock on the wall, so that half-hour zones have whole hours; added in real time, so that an
            // hour that comes twice is two.
            let past = i64::from(at.minute()) * 60_000_000
                + i64::from(at.second()) * 1_000_000
                + i64::from(at.subsec_nanosecond() / 1_000);
            return Ok(time_us.saturating_sub(past).saturating_add(3_600_000_000));
        }
        let date = at.date();
        let next = match bucket {
            Bucket::Hour | Bucket::Day => date.tomorrow().map_err(far)?,
            Bucket::Week => {
                let left = 8 - i64::from(date.weekday().to_monday_one_offset());
                date.checked_add(left.days()).map_err(far)?
            }
            Bucket::Month => date.first_of_month().checked_add(1.month()).map_err(far)?,
        };
        self.begin(next)
    }

    /// A moment on the zone's clock: `2026-11-22T14:00+01:00`.
    pub fn local(&self, time_us: i64) -> String {
        self.at(time_us)
            .map(|at| at.strftime("%Y-%m-%dT%H:%M%:z").to_string())
            .unwrap_or_default()
    }

    /// The name of the day or month a moment is in, with where it begins and ends.
    pub fn stretch(&self, bucket: Bucket, time_us: i64) -> Result<(String, i64, i64), Rejection> {
        let date = self.date_of(time_us)?;
        let first = if bucket == Bucket::Month {
            date.first_of_month()
        } else {
            date
        };
        let name = match bucket {
            Bucket::Month => first.strftime("%Y-%m").to_string(),
            _ => first.to_string(),
        };
        let begin = self.begin(first)?;
        Ok((name, begin, self.after(bucket, begin)?))
    }
}

/// Midnight, for a date without a time.
pub(super) fn midnight() -> Time {
    Time::midnight()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn locals(zone: &str, bucket: Bucket, from: &str, to: &str) -> Vec<String> {
        let calendar = Calendar::of(zone).unwrap();
        let starts = calendar.starts(bucket, us(from), us(to)).unwrap();
        starts.into_iter().map(|s| calendar.local(s)).collect()
    }

    #[test]
    fn days_follow_the_clock_where_it_is_turned() {
        let calendar = Calendar::of("Europe/Berlin").unwrap();
        let starts = calendar
            .starts(Bucket::Day, us("2026-03-27T23:00Z"), us("2026-03-30T22:00Z"))
            .unwrap();
        let hours: Vec<i64> = starts.windows(2).map(|w| (w[1] - w[0]) / 3_600_000_000).collect();
        assert_eq!(hours, [24, 23], "the day on which an hour is left out has 23");
        let days = locals(
            "Europe/Berlin",
            Bucket::Day,
            "2026-10-24T22:00Z",
            "2026-10-26T23:00Z",
        );
        assert_eq!(days, ["2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"]);
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_and_one_that_is_left_out_is_none() {
        let twice = locals(
            "Europe/Berlin",
            Bucket::Hour,
            "2026-10-24T23:00Z",
            "2026-10-25T02:00Z",
        );
        assert_eq!(
            twice,
            [
                "2026-10-25T01:00+02:00",
                "2026-10-25T02:00+02:00",
                "2026-10-25T02:00+01:00"
            ]
        );
        let none = locals(
            "America/New_York",
            Bucket::Hour,
            "2026-03-08T06:00Z",
            "2026-03-08T08:00Z",
        );
        assert_eq!(none, ["2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"]);
    }

    #[test]
    fn zones_off_the_hour_and_dates_without_a_midnight_work() {
        let nepal = locals(
            "Asia/Kathmandu",
            Bucket::Hour,
            "2026-11-22T10:00Z",
            "2026-11-22T12:00Z",
        );
        assert_eq!(
            nepal,
            [
                "2026-11-22T15:45+05:45",
                "2026-11-22T16:00+05:45",
                "2026-11-22T17:00+05:45"
            ]
        );
        // Midnight itself was left out here: the day begins at one.
        let brazil = locals(
            "America/Sao_Paulo",
            Bucket::Day,
            "2018-11-03T12:00Z",
            "2018-11-04T12:00Z",
        );
        assert_eq!(brazil[1], "2018-11-04T01:00-02:00");
    }

    #[test]
    fn weeks_and_months_begin_where_people_begin_them() {
        let weeks = locals("UTC", Bucket::Week, "2026-11-18T05:00Z", "2026-12-01T00:00Z");
        assert_eq!(
            weeks,
            [
                "2026-11-18T05:00+00:00",
                "2026-11-23T00:00+00:00",
                "2026-11-30T00:00+00:00"
            ]
        );
        let months = locals("UTC", Bucket::Month, "2026-11-18T05:00Z", "2027-01-01T00:00Z");
        assert_eq!(months, ["2026-11-18T05:00+00:00", "2026-12-01T00:00+00:00"]);
        let calendar = Calendar::of("Asia/Tokyo").unwrap();
        let (name, begin, end) = calendar.stretch(Bucket::Month, us("2026-11-30T15:30Z")).unwrap();
        assert_eq!(
            (name.as_str(), begin, end),
            ("2026-12", us("2026-11-30T15:00Z"), us("2026-12-31T15:00Z"))
        );
    }

    #[test]
    fn ranges_are_of_the_local_calendar() {
        let calendar = Calendar::of("Europe/Berlin").unwrap();
        let now = us("2026-11-22T23:30Z");
        let of = |range| calendar.resolve(&range, now).unwrap();
        // There it is the 23rd already.
        assert_eq!(of(Range::Days(1)).0, us("2026-11-22T23:00Z"));
        assert_eq!(of(Range::Days(7)), (us("2026-11-16T23:00Z"), now + 1));
        assert_eq!(of(Range::Months(1)).0, us("2026-10-31T23:00Z"));
        assert_eq!(of(Range::Hours(24)).0, us("2026-11-22T00:00Z"));
        let day = Calendar::date("2026-11-20").unwrap();
        assert_eq!(
            of(Range::Dates(day, Some(day))),
            (us("2026-11-19T23:00Z"), us("2026-11-20T23:00Z"))
        );
        assert!(calendar.resolve(&Range::Moments(5, Some(5)), now).is_err());
        assert!(calendar.starts(Bucket::Hour, 0, now).is_err(), "too many buckets");
        assert!(Calendar::of("Mars/Olympus").is_err() && Calendar::date("22.11.").is_err());
    }
}
