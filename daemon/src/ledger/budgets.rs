//! Owns: budgets and alerts at work: reserve before a model request, settle after it, tell who should know.
//! Guarantees: what is let in is counted as taken until it is settled, so that requests side by side can't
//! pass a limit together; the same alert is raised once.

use std::sync::atomic::Ordering;

use super::calendar::Bucket;
use super::{Ledger, LedgerError, hook};
use crate::clock::now_us;
use crate::domain::budget::{Alert, AlertKind, Budget, Standing, Unit, Window, dollars};
use crate::domain::id::{AlertId, BudgetId};
use crate::domain::rejection::Rejection;
use crate::domain::usage::{Booking, Dimension, Sums};
use crate::store::ledger::Wanted;

/// Model requests of one turn without a changed file that look like a loop.
pub const LOOP_STEPS: u32 = 30;
/// An hour out of the ordinary is looked for this often at most.
const SPIKE_EVERY_US: i64 = 60_000_000;
/// The most budgets: each is looked at before each request.
const MAX_BUDGETS: usize = 100;

/// Who is about to spend.
#[derive(Debug, Clone, Default)]
pub struct Spender {
    /// What the request will be booked to.
    pub booking: Booking,
    /// Its turn.
    pub turn_id: String,
    /// What the turn took so far.
    pub turn: Sums,
    /// The turn's own limit in micro-dollars, as its poster gave it.
    pub turn_limit: Option<u64>,
}

/// What a request may take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Estimate {
    /// Micro-dollars; `None`: the price is unknown.
    pub micro_usd: Option<u64>,
    /// Tokens.
    pub tokens: u64,
}

/// A request that was let in. Give it back with [`Ledger::settle`].
#[derive(Debug, Default)]
#[must_use]
pub struct Hold {
    taken: Vec<((String, String), u64)>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Entry {
    /// It may be made.
    Granted(Hold),
    /// It may not.
    Refused {
        /// Why.
        why: String,
        /// What a person types to go on.
        hints: Vec<String>,
    },
}

impl Ledger {
    /// Lets a request in, or says which budget it does not fit. Alerts that arose come with it.
    pub async fn reserve(
        &self,
        spender: &Spender,
        estimate: Estimate,
    ) -> Result<(Entry, Vec<Alert>), LedgerError> {
        let mut budgets = self.covering(&spender.booking).await?;
        budgets.extend(spender.turn_limit.map(own_limit));
        let mut reserved = self.0.reserved.lock().await;
        let (mut hold, mut alerts) = (Hold::default(), Vec::new());
        for budget in budgets {
            let mut standing = self.standing(&budget, spender).await?;
            let key = (budget.budget_id.clone(), standing.stretch.clone());
            standing.reserved = reserved.get(&key).copied().unwrap_or_default();
            // Who gave this turn a limit is told before the first request that it can't hold back.
            if budget.budget_id == Budget::OWN && estimate.micro_usd.is_none() {
                alerts.extend(self.price_unknown(&standing, spender).await?);
            }
            let more = match budget.unit {
                Unit::MicroUsd => estimate.micro_usd.unwrap_or_default(),
                Unit::Tokens => estimate.tokens,
                // A turn that has begun goes on.
                Unit::Turns if spender.turn.turns > 0 => continue,
                Unit::Turns => 1,
                Unit::Milliseconds => 0,
            };
            if let Some(why) = standing.refuses(more) {
                let about = format!("{}:{}:{}:full", budget.budget_id, standing.stretch, budget.limit);
                let alert = alert(AlertKind::BudgetReached, &why, &standing, 100, &spender.booking);
                alerts.extend(self.raise(alert, about).await?);
                let hints = standing.ways_on(&spender.booking.session_id);
                return Ok((Entry::Refused { why, hints }, alerts));
            }
            hold.taken.push((key, more));
        }
        for (key, more) in &hold.taken {
            let sum = reserved.entry(key.clone()).or_default();
            *sum = sum.saturating_add(*more);
        }
        Ok((Entry::Granted(hold), alerts))
    }

    /// Gives a reservation back: its request is in the ledger, or was never made.
    pub async fn settle(&self, hold: Hold) {
        let mut reserved = self.0.reserved.lock().await;
        for (key, more) in hold.taken {
            let left = reserved
                .get(&key)
                .copied()
                .unwrap_or_default()
                .saturating_sub(more);
            if left == 0 {
                reserved.remove(&key);
            } else {
                reserved.insert(key, left);
            }
        }
    }

    /// What a person should be told after a request was booked.
    pub async fn look(
        &self,
        spender: &Spender,
        steps_without_change: u32,
    ) -> Result<Vec<Alert>, LedgerError> {
        let mut alerts = Vec::new();
        for budget in self.covering(&spender.booking).await? {
            let standing = self.standing(&budget, spender).await?;
            if budget.unit == Unit::MicroUsd && standing.unpriced > 0 {
                alerts.extend(self.price_unknown(&standing, spender).await?);
            }
            let Some(step) = standing.step() else { continue };
            let about = format!(
                "{}:{}:{}:{step}",
                budget.budget_id, standing.stretch, budget.limit
            );
            let kind = if step >= 100 {
                AlertKind::BudgetReached
            } else {
                AlertKind::BudgetWarning
            };
            let message = format!(
                "{} % of the budget of {} are spent: {}",
                standing.percent(),
                budget.line(),
                budget.unit.say(standing.spent)
            );
            alerts.extend(
                self.raise(alert(kind, &message, &standing, step, &spender.booking), about)
                    .await?,
            );
        }
        if steps_without_change == LOOP_STEPS {
            let message = format!(
                "{LOOP_STEPS} model requests in this turn without a changed file: it may be going round in circles"
            );
            let about = format!("loop:{}", spender.turn_id);
            alerts.extend(
                self.raise(plain(AlertKind::Loop, &message, &spender.booking), about)
                    .await?,
            );
        }
        let now = now_us();
        let looked = self.0.spike_looked_us.load(Ordering::Relaxed);
        if now.saturating_sub(looked) >= SPIKE_EVERY_US {
            self.0.spike_looked_us.store(now, Ordering::Relaxed);
            if let Some((cost, median, local)) = self.spike().await? {
                let message = format!(
                    "this hour cost {} so far, more than three times the usual {}",
                    dollars(cost),
                    dollars(median)
                );
                let about = format!("spike:{local}");
                alerts.extend(
                    self.raise(plain(AlertKind::Spike, &message, &spender.booking), about)
                        .await?,
                );
            }
        }
        Ok(alerts)
    }

    async fn covering(&self, booking: &Booking) -> Result<Vec<Budget>, LedgerError> {
        let all = self.0.store.budgets().await?;
        Ok(all.into_iter().filter(|budget| budget.covers(booking)).collect())
    }

    async fn price_unknown(
        &self,
        standing: &Standing,
        spender: &Spender,
    ) -> Result<Option<Alert>, LedgerError> {
        let model = &spender.booking.model;
        let message = format!(
            "the price of {model} is unknown: the budget of {} can't count all requests",
            standing.budget.line()
        );
        let about = format!("{}:{}:price:{model}", standing.budget.budget_id, standing.stretch);
        let alert = alert(AlertKind::PriceUnknown, &message, standing, 0, &spender.booking);
        self.raise(alert, about).await
    }

    /// Keeps an alert and tells the user's program, unless the same was said before.
    async fn raise(&self, alert: Alert, about: String) -> Result<Option<Alert>, LedgerError> {
        if !self.0.store.raise_alert(alert.clone(), about).await? {
            return Ok(None);
        }
        tracing::info!(kind = alert.kind.word(), message = alert.message, "ledger: alert");
        hook::tell(&self.0.settings.alert_command, &alert);
        Ok(Some(alert))
    }

    /// Where a budget stands for this spender.
    async fn standing(&self, budget: &Budget, spender: &Spender) -> Result<Standing, LedgerError> {
        let booking = &spender.booking;
        let mut filters: Vec<(Dimension, Vec<String>)> = budget
            .only
            .iter()
            .map(|(dimension, value)| (*dimension, vec![value.clone()]))
            .collect();
        let now = now_us();
        let everything = (0, now.saturating_add(1));
        let (stretch, (from_us, to_us)) = match budget.window {
            Window::Turn => {
                return Ok(Standing {
                    budget: budget.clone(),
                    stretch: spender.turn_id.clone(),
                    spent: budget.unit.of(&spender.turn),
                    reserved: 0,
                    unpriced: spender.turn.unpriced_requests,
                });
            }
            Window::Session => {
                filters.push((Dimension::Session, vec![booking.session_id.clone()]));
                (booking.session_id.clone(), everything)
            }
            Window::Task => {
                filters.push((Dimension::Task, vec![booking.task_id.clone()]));
                (booking.task_id.clone(), everything)
            }
            Window::Day | Window::Month => {
                let bucket = if budget.window == Window::Day {
                    Bucket::Day
                } else {
                    Bucket::Month
                };
                let (name, from, to) = self.calendar("")?.stretch(bucket, now)?;
                (name, (from, to))
            }
        };
        let sums = self.sums(from_us, to_us, filters, None).await?.1;
        Ok(Standing {
            spent: budget.unit.of(&sums),
            unpriced: sums.unpriced_requests,
            budget: budget.clone(),
            stretch,
            reserved: 0,
        })
    }

    /// All sums of a range, or those of its fullest group in `unit`.
    async fn sums(
        &self,
        from_us: i64,
        to_us: i64,
        filters: Vec<(Dimension, Vec<String>)>,
        fullest: Option<(Dimension, Unit)>,
    ) -> Result<(String, Sums), LedgerError> {
        let wanted = Wanted {
            from_us,
            to_us,
            group_by: fullest.map(|(dimension, _)| dimension),
            filters,
            ..Wanted::default()
        };
        let summed = self.0.store.sum_usage(wanted).await?;
        let mut best = (String::new(), Sums::default());
        for cell in &summed.cells {
            match fullest {
                None => best.1.add(&cell.sums),
                Some((_, unit)) => {
                    let name = summed.groups.get(cell.group).cloned().unwrap_or_default();
                    if !name.is_empty() && unit.of(&cell.sums) >= unit.of(&best.1) {
                        best = (name, cell.sums);
                    }
                }
            }
        }
        Ok(best)
    }

    /// All budgets and where each stands now: of those that count by session or task, the fullest of today.
    pub async fn budgets(&self) -> Result<Vec<Standing>, LedgerError> {
        let reserved = self.0.reserved.lock().await.clone();
        let mut all = Vec::new();
        for budget in self.0.store.budgets().await? {
            let mut standing = match budget.window {
                Window::Session | Window::Task => {
                    let by = if budget.window == Window::Task {
                        Dimension::Task
                    } else {
                        Dimension::Session
                    };
                    let (_, from, to) = self.calendar("")?.stretch(Bucket::Day, now_us())?;
                    let filters = budget.only.iter().map(|(d, v)| (*d, vec![v.clone()])).collect();
                    let (name, _) = self.sums(from, to, filters, Some((by, budget.unit))).await?;
                    let mut spender = Spender::default();
                    spender.booking.session_id.clone_from(&name);
                    spender.booking.task_id = name;
                    self.standing(&budget, &spender).await?
                }
                _ => self.standing(&budget, &Spender::default()).await?,
            };
            let key = (standing.budget.budget_id.clone(), standing.stretch.clone());
            standing.reserved = reserved.get(&key).copied().unwrap_or_default();
            all.push(standing);
        }
        Ok(all)
    }

    /// Changes the budget of its id; without one, makes it as `new_id`.
    pub async fn set_budget(&self, mut budget: Budget, new_id: BudgetId) -> Result<Standing, LedgerError> {
        let all = self.0.store.budgets().await?;
        if budget.budget_id.is_empty() {
            if all.len() >= MAX_BUDGETS {
                return Err(LedgerError::reject(format!(
                    "there are {MAX_BUDGETS} budgets already"
                )));
            }
            budget.budget_id = new_id.to_string();
        } else if !all.iter().any(|b| b.budget_id == budget.budget_id) {
            return Err(Rejection::BudgetNotFound(budget.budget_id).into());
        }
        if budget.limit == 0 || i64::try_from(budget.limit).is_err() {
            return Err(LedgerError::reject("limit must be above 0"));
        }
        let id = budget.budget_id.clone();
        self.0.store.put_budget(budget, now_us()).await?;
        let all = self.budgets().await?;
        all.into_iter()
            .find(|standing| standing.budget.budget_id == id)
            .ok_or_else(|| Rejection::BudgetNotFound(id).into())
    }

    /// Takes a budget away.
    pub async fn delete_budget(&self, budget_id: &str) -> Result<(), LedgerError> {
        if self.0.store.delete_budget(budget_id).await? {
            Ok(())
        } else {
            Err(Rejection::BudgetNotFound(budget_id.chars().take(60).collect()).into())
        }
    }

    /// Alerts, newest first.
    pub async fn alerts(&self, acknowledged: bool, limit: u32) -> Result<Vec<Alert>, LedgerError> {
        Ok(self.0.store.alerts(acknowledged, limit).await?)
    }

    /// Notes that a person saw an alert.
    pub async fn acknowledge(&self, alert_id: &str, by: String) -> Result<Alert, LedgerError> {
        let found = self.0.store.acknowledge_alert(alert_id, by, now_us()).await?;
        found.ok_or_else(|| Rejection::AlertNotFound(alert_id.chars().take(60).collect()).into())
    }
}

/// The limit a poster gave their own turn, as a budget like any other.
fn own_limit(limit: u64) -> Budget {
    Budget {
        budget_id: Budget::OWN.into(),
        window: Window::Turn,
        unit: Unit::MicroUsd,
        limit,
        only: None,
        pauses: true,
    }
}

fn plain(kind: AlertKind, message: &str, booking: &Booking) -> Alert {
    Alert {
        alert_id: AlertId::random().to_string(),
        kind,
        message: message.to_owned(),
        budget_id: String::new(),
        percent: 0,
        session_id: booking.session_id.clone(),
        raised_us: now_us(),
        acknowledged_us: None,
        acknowledged_by: String::new(),
    }
}

fn alert(kind: AlertKind, message: &str, standing: &Standing, percent: u8, booking: &Booking) -> Alert {
    Alert {
        budget_id: standing.budget.budget_id.clone(),
        percent,
        ..plain(kind, message, booking)
    }
}
