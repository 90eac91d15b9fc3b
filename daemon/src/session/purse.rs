//! Owns: what a turn may spend: asked before each model request, settled after it.
//! Guarantees: a request that does not fit is not made; a ledger that can't answer stops nobody's work; who
//! should know is told in the session's log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::mailbox::TurnView;
use super::turn::TurnJob;
use crate::clock::now_us;
use crate::domain::budget::Alert;
use crate::domain::event::TurnOutcome;
use crate::domain::principal::Caller;
use crate::domain::usage::{Booking, Sums, Tokens};
use crate::ledger::budgets::Entry;
use crate::ledger::{Estimate, Hold, Spender};
use crate::model::catalog;

/// Tokens an answer is reckoned with before it is there.
const ANSWER_TOKENS: u64 = 500;
/// Bytes of text that are about one token.
const BYTES_PER_TOKEN: u64 = 4;

/// A turn's reservations.
#[derive(Default)]
pub(super) struct Purse {
    hold: Mutex<Option<Hold>>,
    /// Model requests since the last changed file.
    steps: AtomicU32,
}

impl Purse {
    /// Asks for room for one more request. The error says which budget has none, and how to go on.
    pub(super) async fn open(&self, job: &TurnJob, view: &TurnView) -> Result<(), TurnOutcome> {
        let spender = spender(job, view);
        let (entry, alerts) = match job.settings.ledger.reserve(&spender, estimate(job, view)).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, turn = %job.turn_id, "ledger: the budgets could not be asked");
                return Ok(());
            }
        };
        tell(job, alerts).await;
        match entry {
            Entry::Granted(hold) => {
                *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
                Ok(())
            }
            Entry::Refused { why, hints } => Err(TurnOutcome::OverBudget { reason: why, hints }),
        }
    }

    /// The request is booked, or was never made.
    pub(super) async fn close(&self, job: &TurnJob, view: &TurnView) {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hold) = hold {
            job.settings.ledger.settle(hold).await;
        }
        let steps = self.steps.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match job.settings.ledger.look(&spender(job, view), steps).await {
            Ok(alerts) => tell(job, alerts).await,
            Err(error) => tracing::error!(%error, turn = %job.turn_id, "ledger: no look at the budgets"),
        }
    }

    /// A tool changed a file: the turn gets somewhere.
    pub(super) fn changed(&self) {
        self.steps.store(0, Ordering::Relaxed);
    }
}

async fn tell(job: &TurnJob, alerts: Vec<Alert>) {
    for alert in alerts {
        let caller = Caller::daemon(super::trace_id());
        job.actor.notice(caller, alert.kind.word(), &alert.message).await;
    }
}

fn spender(job: &TurnJob, view: &TurnView) -> Spender {
    let elapsed = now_us().saturating_sub(view.started_us).max(0) / 1_000;
    Spender {
        booking: Booking {
            principal: view.asker.principal.clone(),
            client: view.asker.client.word().to_owned(),
            session_id: view.session_id.to_string(),
            task_id: view.task.as_ref().map(ToString::to_string).unwrap_or_default(),
            persona: view.spec.persona.clone(),
            model: job.model().name().to_owned(),
            tool: String::new(),
        },
        turn_id: job.turn_id.to_string(),
        turn: Sums {
            turns: u64::from(view.steps > 0),
            requests: u64::from(view.steps),
            cost_micro_usd: view.totals.cost.map_or(0, |cost| cost.micro_usd),
            unpriced_requests: u64::from(view.steps > 0 && view.totals.cost.is_none()),
            tokens: view.totals.tokens,
            busy_ms: u64::try_from(elapsed).unwrap_or_default(),
            ..Sums::default()
        },
        turn_limit: view.options.budget_micro_usd,
    }
}

/// What the next request may take: what the last one held, at list price, and a short answer.
fn estimate(job: &TurnJob, view: &TurnView) -> Estimate {
    let input = match view.context_tokens {
        0 => bytes(view) / BYTES_PER_TOKEN,
        known => known,
    };
    let tokens = Tokens {
        input,
        output: ANSWER_TOKENS,
        ..Tokens::default()
    };
    let micro_usd = if job.model().is_demo() {
        Some(0)
    } else {
        let entry = job.settings.models().catalog_entry(job.model().name());
        catalog::cost(&entry, Some(&tokens), None).map(|cost| cost.micro_usd)
    };
    Estimate {
        micro_usd,
        tokens: tokens.total(),
    }
}

/// Text of the history. Asked for only before the first request of a session, when there is little.
fn bytes(view: &TurnView) -> u64 {
    let sizes = view.history.iter().map(|message| message.weight());
    sizes.fold(0, u64::saturating_add)
}
