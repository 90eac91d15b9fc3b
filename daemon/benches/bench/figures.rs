//! Owns: which parts are measured, in which size, and the order of the report.

use super::report::Report;
use super::{crowd, exec, ledger, network, policy, scale, turns};

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Size {
    /// Round trips of one kind.
    pub rounds: usize,
    /// Bytes of a burst of output.
    pub burst: u64,
    /// Tool turns in one go.
    pub turns: usize,
    /// Starts of programs.
    pub starts: usize,
    /// Numbers of live sessions.
    pub sessions: &'static [usize],
    /// Sessions at work at once.
    pub busy: usize,
    /// Events of a long log.
    pub events: u64,
    /// Sessions that a killed daemon had.
    pub recover: usize,
    /// Rows of usage.
    pub usage_rows: u64,
    /// Tasks of a board.
    pub tasks: usize,
    /// Followers of one session.
    pub followers: usize,
    /// Sessions in one list.
    pub listed: usize,
    /// Files of a repository.
    pub files: usize,
    /// Bytes of a download.
    pub download: u64,
    /// Downloads.
    pub downloads: usize,
    /// How long nothing happens.
    pub idle_seconds: u64,
}

impl Size {
    /// What the document quotes.
    pub const FULL: Self = Self {
        rounds: 1000,
        burst: 1 << 30,
        turns: 50,
        starts: 15,
        sessions: &[1, 20, 200, 1000],
        busy: 20,
        events: 1_000_000,
        recover: 1000,
        usage_rows: 1_000_000,
        tasks: 5000,
        followers: 100,
        listed: 10_000,
        files: 1_000_000,
        download: 100_000_000,
        downloads: 9,
        idle_seconds: 60,
    };
    /// What shows in seconds that everything can be measured.
    pub const QUICK: Self = Self {
        rounds: 10,
        burst: 8 << 20,
        turns: 3,
        starts: 2,
        sessions: &[1, 4],
        busy: 2,
        events: 2000,
        recover: 5,
        usage_rows: 3000,
        tasks: 50,
        followers: 5,
        listed: 20,
        files: 2000,
        download: 1_000_000,
        downloads: 1,
        idle_seconds: 1,
    };
}

/// Measures everything, or the one part that is named.
pub fn measure(size: &Size, only: Option<&str>) -> Report {
    let mut report = Report::begin();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let wanted = |part: &str| only.is_none_or(|one| one == part);
    if wanted("exec") {
        runtime.block_on(exec::round_trip(size, &mut report));
    }
    if wanted("burst") {
        runtime.block_on(exec::burst(size, &mut report));
    }
    if wanted("turns") {
        runtime.block_on(turns::tool_turns(size, &mut report));
    }
    if wanted("start") {
        runtime.block_on(turns::starts(size, &mut report));
    }
    if wanted("rest") {
        runtime.block_on(turns::at_rest(size, &mut report));
    }
    if wanted("policy") {
        policy::decisions(size, &mut report);
    }
    if wanted("sessions") {
        runtime.block_on(scale::sessions(size, &mut report));
    }
    if wanted("attach") {
        runtime.block_on(scale::attach(size, &mut report));
    }
    if wanted("recovery") {
        runtime.block_on(scale::recovery(size, &mut report));
    }
    if wanted("ledger") {
        runtime.block_on(ledger::ledger(size, &mut report));
    }
    if wanted("board") {
        runtime.block_on(ledger::board(size, &mut report));
    }
    if wanted("crowd") {
        runtime.block_on(crowd::followers(size, &mut report));
    }
    if wanted("list") {
        runtime.block_on(crowd::list(size, &mut report));
    }
    if wanted("proxy") {
        network::download(size, &mut report);
    }
    if wanted("repository") {
        runtime.block_on(crowd::repository(size, &mut report));
    }
    report.end();
    report
}
