//! Owns: counters, in Prometheus' text form. No names, paths or tokens are in them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) pages: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) pairings: AtomicU64,
    pub(crate) pairings_refused: AtomicU64,
    pub(crate) open_calls: AtomicI64,
    started: Instant,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            pages: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limited: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            pairings: AtomicU64::new(0),
            pairings_refused: AtomicU64::new(0),
            open_calls: AtomicI64::new(0),
            started: Instant::now(),
        }
    }

    /// Counts one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The text Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let rows = [
            (
                "agentd_web_pages_total",
                "Pages and their parts served",
                &self.pages,
            ),
            (
                "agentd_web_calls_total",
                "Calls passed to the daemon",
                &self.calls,
            ),
            (
                "agentd_web_refused_total",
                "Requests refused by the guard",
                &self.refused,
            ),
            (
                "agentd_web_limited_total",
                "Requests refused by a limit",
                &self.limited,
            ),
            (
                "agentd_web_daemon_unreachable_total",
                "Calls that found no daemon",
                &self.unreachable,
            ),
            ("agentd_web_pairings_total", "Devices paired", &self.pairings),
            (
                "agentd_web_pairings_refused_total",
                "Pairing codes refused",
                &self.pairings_refused,
            ),
        ];
        let mut text = String::new();
        for (name, help, counter) in rows {
            let value = counter.load(Ordering::Relaxed);
            let _ = write!(
                text,
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name} {value}\n"
            );
        }
        let open = self.open_calls.load(Ordering::Relaxed);
        let up = self.started.elapsed().as_secs();
        let _ = write!(
            text,
            "# HELP agentd_web_open_calls Calls and streams that are open now.\n\
             # TYPE agentd_web_open_calls gauge\nagentd_web_open_calls {open}\n\
             # HELP agentd_web_uptime_seconds Seconds since the start.\n\
             # TYPE agentd_web_uptime_seconds gauge\nagentd_web_uptime_seconds {up}\n"
        );
        text
    }
}
