//! Owns: what the assistant itself costs: a tool turn beside the model's time, one-shot runs, starts, memory and writes.

use std::time::{Duration, Instant};

use agentd_proto::pb;
use serde_json::Value;

use super::figures::Size;
use super::model::{Asked, Instantly};
use super::report::{Report, Times, mb, ms};
use super::rig::{self, Wal};
use super::support::{TestDaemon, until};

/// `agentctl run` as a script would call it.
fn run(home: &TestDaemon) -> Duration {
    let ran = home.ctl(["run", "--new", "--last", "Do it."]).exits(0);
    assert_eq!(ran.out().trim(), "Done.", "{ran}");
    ran.took
}

/// Between the last byte of each reply and the first of the next request.
fn overheads(asked: &[Asked]) -> Vec<Duration> {
    asked
        .windows(2)
        .map(|pair| pair[1].begun.saturating_duration_since(pair[0].answered))
        .collect()
}

/// Tool turns with a model that needs no time.
pub async fn tool_turns(size: &Size, report: &mut Report) {
    report.part(
        "A tool turn",
        "From the last byte of a reply that calls `exec true` to the first byte of the next request, with a local server that \
         answers at once: the reply is committed before the command runs, the result before the model sees it.",
    );
    let model = Instantly::listen().await;
    for name in ["on disk", "in memory"] {
        let (mut home, _place) = match name {
            "on disk" => (TestDaemon::home(), None),
            _ => match rig::in_memory() {
                Some((home, place)) => (home, Some(place)),
                None => continue,
            },
        };
        rig::configure(&home, &model.base);
        home.spawn();
        // Warm: the jail of another session, the connection to the server.
        model.will_call(1);
        tokio::task::block_in_place(|| run(&home));
        model.take();
        let dir = tempfile::tempdir_in(home.state()).unwrap();
        let commit = super::exec::commit(dir.path(), size.rounds.min(100)).await;
        let (pid, cpu, bytes) = (home.pid(), rig::cpu(home.pid()), rig::written(home.pid()));
        model.will_call(size.turns);
        tokio::task::block_in_place(|| run(&home));
        let used = rig::cpu(pid).saturating_sub(cpu);
        let written = rig::written(pid) - bytes;
        let asked = model.take();
        assert_eq!(asked.len(), size.turns + 1);
        // The first call of a session starts its jail; it is told apart.
        let all = overheads(&asked);
        let times = Times::of(all[1..].to_vec());
        report.row(
            format!("per tool turn, database {name}"),
            times.shown(),
            "≤ 3 ms, p95 ≤ 8 ms outside fsync",
        );
        report.row(format!("one commit, {name}"), commit.shown(), "");
        let outside = times.median().saturating_sub(commit.median() * 2);
        report.row(format!("outside of two commits, {name}"), ms(outside), "≤ 3 ms");
        report.row(format!("first turn, jail start included, {name}"), ms(all[0]), "");
        let turns = size.turns as u32;
        report.row(
            format!("processor time of the daemon per tool turn, {name}"),
            ms(used / turns),
            "≤ 4 ms",
        );
        if name == "on disk" {
            report.row(
                "bytes written per tool turn",
                format!("{}", written / u64::from(turns)),
                "",
            );
        }
    }
    commits(report, &model).await;
    requests(report, &model).await;
}

/// Commits between two requests, counted in the write-ahead log of a short turn.
async fn commits(report: &mut Report, model: &Instantly) {
    let mut home = TestDaemon::home();
    rig::configure(&home, &model.base);
    home.spawn();
    model.will_call(1);
    tokio::task::block_in_place(|| run(&home));
    let count = |calls: usize| {
        model.will_call(calls);
        let before = Wal::read(&home);
        tokio::task::block_in_place(|| run(&home));
        Wal::read(&home).commits_since(&before)
    };
    if let (Some(few), Some(more)) = (count(2), count(10)) {
        let each = (more as f64 - few as f64) / 8.0;
        report.row(
            "commits per tool turn, the saved shell state included (it holds nothing up)",
            format!("{each:.1}"),
            "≤ 2 in series",
        );
    }
    model.take();
}

/// What is sent: how large, how much of it again, over how many connections.
async fn requests(report: &mut Report, model: &Instantly) {
    let mut home = TestDaemon::home();
    rig::configure(&home, &model.base);
    home.spawn();
    model.will_call(3);
    tokio::task::block_in_place(|| run(&home));
    let asked = model.take();
    report.row(
        "first request",
        format!("{} bytes", asked[0].body.len()),
        "≤ 8 KB",
    );
    let parsed: Vec<Value> = asked
        .iter()
        .map(|one| serde_json::from_slice(&one.body).unwrap())
        .collect();
    let shared = parsed
        .windows(2)
        .filter(|pair| extends(&pair[0], &pair[1]))
        .count();
    report.row(
        "requests whose beginning is exactly the one before",
        format!("{shared} of {}", parsed.len() - 1),
        "all",
    );
    let mut connections: Vec<usize> = asked.iter().map(|one| one.connection).collect();
    connections.dedup();
    report.row(
        "connections to the model's server",
        connections.len().to_string(),
        "1",
    );
}

/// The same instructions, tools and messages, and more messages after them.
fn extends(before: &Value, after: &Value) -> bool {
    let (Some(old), Some(new)) = (before["messages"].as_array(), after["messages"].as_array()) else {
        return false;
    };
    new.len() > old.len() && new[..old.len()] == old[..] && before["tools"] == after["tools"]
}

/// Programs from nothing to done.
pub async fn starts(size: &Size, report: &mut Report) {
    report.part(
        "Starts",
        "`agentctl run` of one question that the model answers at once, as a script waits for it; warm: the daemon runs; cold: \
         the client starts it.",
    );
    let model = Instantly::listen().await;
    model.will_call(0);
    let mut home = TestDaemon::home();
    rig::configure(&home, &model.base);
    let (mut warm, mut cold, mut up) = (Vec::new(), Vec::new(), Vec::new());
    tokio::task::block_in_place(|| {
        for _ in 0..size.starts {
            cold.push(run(&home));
            for _ in 0..3 {
                warm.push(run(&home));
            }
            home.ctl(["daemon", "stop"]).exits(0);
        }
        for _ in 0..size.starts {
            let begun = Instant::now();
            home.spawn();
            home.ctl(["daemon", "status", "--no-autostart"]).exits(0);
            up.push(begun.elapsed());
            home.ctl(["daemon", "stop"]).exits(0);
            home.forget_daemon();
        }
    });
    report.row("`agentctl run`, warm", Times::of(warm).shown(), "≤ 60 ms");
    report.row("`agentctl run`, cold", Times::of(cold).shown(), "≤ 300 ms");
    report.row(
        "daemon start to first answer, `agentctl daemon status` included",
        Times::of(up).shown(),
        "",
    );
}

/// What is used while little or nothing happens.
pub async fn at_rest(size: &Size, report: &mut Report) {
    report.part("Memory, and nothing to do", "");
    let model = Instantly::listen().await;
    let mut home = TestDaemon::home();
    rig::configure(&home, &model.base);
    home.spawn();
    let client = home.client();
    client.get_status(pb::GetStatusRequest {}).await.unwrap();
    report.row(
        "daemon that has done nothing yet",
        mb(rig::resident(home.pid())),
        "≤ 25 MB",
    );

    model.will_call(size.turns);
    let mut command = home.agentctl(["run", "--new", "--last", "Do it."]);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    tokio::task::block_in_place(|| {
        until("agentctl run has ended", || {
            most = most.max(rig::peak(child.id()));
            child.try_wait().unwrap()
        })
    });
    let both = most + rig::peak(home.pid());
    report.row(
        format!(
            "daemon and client over {} tool turns, the most each had",
            size.turns
        ),
        format!("{} ({} + {})", mb(both), mb(rig::peak(home.pid())), mb(most)),
        "≤ 40 MB",
    );

    let jails = 10;
    for number in 0..jails {
        let session = rig::session(&home, &client, &format!("idle{number}")).await;
        rig::exec(&client, &session, "true").await;
    }
    let shares: u64 = rig::jails(&home)
        .iter()
        .flat_map(|pid| rig::family(*pid))
        .map(rig::share)
        .sum();
    let count = rig::jails(&home).len() as u64;
    report.row(format!("idle jail, of {count}"), mb(shares / count), "≤ 1 MB");

    // What is still to be written is written: the saved state of the shells.
    tokio::time::sleep(Duration::from_secs(2).min(Duration::from_secs(size.idle_seconds))).await;
    let (bytes, cpu) = (rig::written(home.pid()), rig::cpu(home.pid()));
    let wal = Wal::read(&home);
    tokio::time::sleep(Duration::from_secs(size.idle_seconds)).await;
    let written = rig::written(home.pid()) - bytes;
    let commits = Wal::read(&home)
        .commits_since(&wal)
        .map_or("?".to_owned(), |n| n.to_string());
    let busy = rig::cpu(home.pid()).saturating_sub(cpu).as_secs_f64() / size.idle_seconds as f64;
    report.row(
        format!(
            "written in {} s of rest with {count} live jails",
            size.idle_seconds
        ),
        format!("{written} bytes, {commits} commits"),
        "0",
    );
    report.row("processor meanwhile", format!("{:.3} %", busy * 100.0), "< 0.1 %");
}
