//! Owns: limits on spending, and the word given when one is near or reached.
//! Guarantees: pure; whether a request may go on depends on what is settled, what is reserved and the limit,
//! and on nothing else.

use serde::{Deserialize, Serialize};

use super::usage::{Booking, Dimension, Sums};

/// Parts of a budget, in percent, at which somebody is told. The last one pauses.
pub const STEPS: [u8; 3] = [50, 80, 100];

/// The stretch a budget counts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Each turn by itself.
    Turn,
    /// Each session by itself.
    Session,
    /// Each task by itself, over all its sessions.
    Task,
    /// Each calendar day.
    Day,
    /// Each calendar month.
    Month,
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Turn, Self::Session, Self::Task, Self::Day, Self::Month];

    /// The word used on the command line and in every UI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Session => "session",
            Self::Task => "task",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Money, in micro-dollars.
    MicroUsd,
    /// Tokens in and out.
    Tokens,
    /// Turns.
    Turns,
    /// Time at work, in milliseconds: model requests and tool calls, one after the other.
    Milliseconds,
}

impl Unit {
    /// How much of it sums hold.
    pub fn of(self, sums: &Sums) -> u64 {
        match self {
            Self::MicroUsd => sums.cost_micro_usd,
            Self::Tokens => sums.tokens.total(),
            Self::Turns => sums.turns,
            Self::Milliseconds => sums.busy_ms,
        }
    }

    /// An amount as people read it: `$5.00`, `120k tokens`, `3 turns`, `1m30s`.
    pub fn say(self, amount: u64) -> String {
        match self {
            Self::MicroUsd => dollars(amount),
            Self::Tokens => format!("{} tokens", thousands(amount)),
            Self::Turns if amount == 1 => "1 turn".into(),
            Self::Turns => format!("{amount} turns"),
            Self::Milliseconds => span(amount.div_ceil(1_000)),
        }
    }
}

/// `$5.00`; more digits below a cent, so that a small limit is not shown as nothing.
pub fn dollars(micro_usd: u64) -> String {
    let (whole, rest) = (micro_usd / 1_000_000, micro_usd % 1_000_000);
    if rest % 10_000 == 0 || micro_usd >= 1_000_000 {
        let cents = (rest + 5_000) / 10_000;
        return format!("${}.{:02}", whole + cents / 100, cents % 100);
    }
    format!("${whole}.{}", format!("{rest:06}").trim_end_matches('0'))
}

/// `500k`, `56.3k`, `1.5M`.
fn thousands(count: u64) -> String {
    let (tenths, unit) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (count / 100, "k"),
        _ => (count / 100_000, "M"),
    };
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        rest => format!("{}.{rest}{unit}", tenths / 10),
    }
}

/// `45s`, `30m`, `1m38s`, `2h05m`.
fn span(seconds: u64) -> String {
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (minutes, rest) {
        (0, _) => format!("{seconds}s"),
        (1..60, 0) => format!("{minutes}m"),
        (1..60, _) => format!("{minutes}m{rest:02}s"),
        _ => format!("{}h{:02}m", minutes / 60, minutes % 60),
    }
}

/// A limit on spending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Such as `b-7k2f`.
    pub budget_id: String,
    /// The stretch it counts over.
    pub window: Window,
    /// What it counts.
    pub unit: Unit,
    /// How much, in the unit.
    pub limit: u64,
    /// Counts only rows with this value in this dimension; `None`: all.
    #[serde(default)]
    pub only: Option<(Dimension, String)>,
    /// At 100 % sessions pause; otherwise they are told and go on.
    pub pauses: bool,
}

impl Budget {
    /// The id of the limit that a turn was posted with.
    pub const OWN: &'static str = "turn";

    /// Whether a request booked like this counts.
    pub fn covers(&self, booking: &Booking) -> bool {
        let only = self
            .only
            .as_ref()
            .is_none_or(|(dimension, value)| booking.value(*dimension) == value);
        only && (self.window != Window::Task || !booking.task_id.is_empty())
    }

    /// In one line, without the id: `$5.00 per day for model openai/gpt-x`.
    pub fn line(&self) -> String {
        let mut line = format!("{} per {}", self.unit.say(self.limit), self.window.word());
        if let Some((dimension, value)) = &self.only {
            line.push_str(&format!(" for {} {value}", dimension.word()));
        }
        line
    }
}

/// Where a budget stands in one of its stretches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// Which stretch: a turn's, session's or task's id, `2026-11-22` or `2026-11`.
    pub stretch: String,
    /// What was spent, in the unit.
    pub spent: u64,
    /// What requests under way may still take.
    pub reserved: u64,
    /// Requests whose price is unknown, which a budget of money can't count.
    pub unpriced: u64,
}

impl Standing {
    /// Whole percents of the limit that are spent.
    pub fn percent(&self) -> u64 {
        percent(self.spent, self.budget.limit)
    }

    /// Why a request that may take `more` can't go on, if so.
    pub fn refuses(&self, more: u64) -> Option<String> {
        let Budget { unit, limit, .. } = self.budget;
        let taken = self.spent.saturating_add(self.reserved);
        if !self.budget.pauses || taken.saturating_add(more) <= limit && taken < limit {
            return None;
        }
        let line = self.budget.line();
        let spent = unit.say(self.spent);
        Some(if self.spent >= limit {
            format!("the budget of {line} is reached: {spent} spent")
        } else {
            let next = unit.say(self.reserved.saturating_add(more));
            format!(
                "the budget of {line} is nearly reached: {spent} spent, and the next request may take {next}"
            )
        })
    }

    /// What a person types who wants to go on: more room first, then the word.
    pub fn ways_on(&self, session: &str) -> Vec<String> {
        let Budget {
            unit,
            limit,
            ref budget_id,
            ..
        } = self.budget;
        let more = limit.max(self.spent).saturating_mul(2);
        let more = unit.say(more);
        if budget_id == Budget::OWN {
            return vec![format!("agentctl run -s {session} --budget '{more}' \"go on\"")];
        }
        vec![
            format!("agentctl usage budget raise {budget_id} '{more}'"),
            format!("agentctl run -s {session} \"go on\""),
        ]
    }

    /// The highest of [`STEPS`] that is passed.
    pub fn step(&self) -> Option<u8> {
        let percent = self.percent();
        STEPS.into_iter().rev().find(|step| percent >= u64::from(*step))
    }
}

/// Whole percents of `limit`; a limit of nothing is always full.
pub fn percent(spent: u64, limit: u64) -> u64 {
    if limit == 0 {
        return 100;
    }
    u64::try_from(u128::from(spent) * 100 / u128::from(limit)).unwrap_or(u64::MAX)
}

/// Why somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Part of a budget is spent.
    BudgetWarning,
    /// All of it: sessions under it pause, if it pauses.
    BudgetReached,
    /// An hour costs more than three times the usual.
    Spike,
    /// A turn asks the model again and again and changes no file.
    Loop,
    /// A budget of money can't count a request whose price is unknown.
    PriceUnknown,
}

impl AlertKind {
    /// The word used in every UI and given to the hook.
    pub fn word(self) -> &'static str {
        match self {
            Self::BudgetWarning => "budget_warning",
            Self::BudgetReached => "budget_reached",
            Self::Spike => "spike",
            Self::Loop => "loop",
            Self::PriceUnknown => "price_unknown",
        }
    }
}

/// Something about spending that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Such as `al-7k2f9q`.
    pub alert_id: String,
    /// Why.
    pub kind: AlertKind,
    /// A sentence.
    pub message: String,
    /// Which budget; empty: none.
    pub budget_id: String,
    /// Which step of it; 0: none.
    pub percent: u8,
    /// The session it arose in.
    pub session_id: String,
    /// When.
    pub raised_us: i64,
    /// When a person acknowledged it.
    #[serde(default)]
    pub acknowledged_us: Option<i64>,
    /// Who did.
    #[serde(default)]
    pub acknowledged_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(limit: u64, spent: u64, reserved: u64) -> Standing {
        Standing {
            budget: Budget {
                budget_id: "b-1".into(),
                window: Window::Day,
                unit: Unit::MicroUsd,
                limit,
                only: None,
                pauses: true,
            },
            stretch: "2026-11-22".into(),
            spent,
            reserved,
            unpriced: 0,
        }
    }

    #[test]
    fn a_request_goes_on_only_if_it_fits_beside_those_under_way() {
        assert_eq!(standing(100, 40, 20).refuses(40), None);
        assert!(standing(100, 40, 20).refuses(41).is_some());
        assert!(standing(100, 100, 0).refuses(0).is_some());
        assert!(standing(0, 0, 0).refuses(0).is_some());
        let told = Standing {
            budget: Budget {
                pauses: false,
                ..standing(1, 0, 0).budget
            },
            ..standing(100, 500, 0)
        };
        assert_eq!(told.refuses(1), None);
    }

    #[test]
    fn amounts_are_said_as_everywhere() {
        let said = [
            Unit::MicroUsd.say(5_000_000),
            Unit::Tokens.say(500_000),
            Unit::Tokens.say(999),
            Unit::Turns.say(1),
            Unit::Turns.say(20),
            Unit::Milliseconds.say(1_800_000),
            Unit::Milliseconds.say(90_000),
        ];
        assert_eq!(
            said,
            [
                "$5.00",
                "500k tokens",
                "999 tokens",
                "1 turn",
                "20 turns",
                "30m",
                "1m30s"
            ]
        );
    }

    #[test]
    fn who_is_stopped_is_told_how_to_go_on() {
        let full = standing(5_000_000, 5_000_000, 0);
        let hints = full.ways_on("s-7k2f");
        assert_eq!(
            hints,
            [
                "agentctl usage budget raise b-1 '$10.00'",
                "agentctl run -s s-7k2f \"go on\""
            ]
        );
        let own = Standing {
            budget: Budget {
                budget_id: Budget::OWN.into(),
                ..full.budget.clone()
            },
            ..full
        };
        assert_eq!(
            own.ways_on("s-7k2f"),
            ["agentctl run -s s-7k2f --budget '$10.00' \"go on\""]
        );
    }

    #[test]
    fn steps_are_passed_at_their_percent() {
        let step = |spent| standing(1_000, spent, 0).step();
        assert_eq!(
            [step(499), step(500), step(800), step(5_000)],
            [None, Some(50), Some(80), Some(100)]
        );
    }

    #[test]
    fn money_is_never_shown_as_nothing() {
        let said: Vec<String> = [0, 500, 10_000, 4_980_000, 4_995_000].map(dollars).into();
        assert_eq!(said, ["$0.00", "$0.0005", "$0.01", "$4.98", "$5.00"]);
    }

    #[test]
    fn a_budget_of_tasks_does_not_count_what_has_none() {
        let mut budget = standing(1, 0, 0).budget;
        budget.window = Window::Task;
        assert!(!budget.covers(&Booking::default()));
        budget.window = Window::Day;
        budget.only = Some((Dimension::Provider, "openai".into()));
        let booking = Booking {
            model: "openai/gpt-x".into(),
            ..Booking::default()
        };
        assert!(budget.covers(&booking) && !budget.covers(&Booking::default()));
    }
}
