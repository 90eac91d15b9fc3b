//! Owns: a daemon to measure, and what the kernel says about processes and files.

use std::time::Duration;

use agentd_proto::{Client, id, pb};

use super::support::TestDaemon;

/// A session for commands in a directory of its own.
pub async fn session(home: &TestDaemon, client: &Client, name: &str) -> String {
    let workspace = home.project().join(name);
    std::fs::create_dir_all(&workspace).unwrap();
    let request = pb::CreateSessionRequest {
        request_id: id::request_id(),
        name: name.to_owned(),
        workspace: workspace.display().to_string(),
        origin: pb::SessionOrigin::Shell.into(),
        ..Default::default()
    };
    client
        .create_session(request)
        .await
        .unwrap()
        .session
        .unwrap()
        .session_id
}

/// Runs a command to its end.
pub async fn exec(client: &Client, session: &str, script: &str) -> pb::ExecResponse {
    let request = pb::ExecRequest {
        request_id: id::request_id(),
        session_id: session.to_owned(),
        command: Some(pb::ExecCommand {
            script: script.as_bytes().to_vec(),
            ..Default::default()
        }),
        capture_bytes: 0,
    };
    let answer = client.exec(request).await.unwrap();
    assert_eq!(answer.result.as_ref().unwrap().exit_code, 0, "{script}");
    answer
}

fn field(path: String, name: &str) -> u64 {
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Resident memory, bytes.
pub fn resident(pid: u32) -> u64 {
    field(format!("/proc/{pid}/status"), "VmRSS:") * 1024
}

/// The most it ever was.
pub fn peak(pid: u32) -> u64 {
    field(format!("/proc/{pid}/status"), "VmHWM:") * 1024
}

/// Its share of memory, bytes: what is shared with others counts in parts.
pub fn share(pid: u32) -> u64 {
    field(format!("/proc/{pid}/smaps_rollup"), "Pss:") * 1024
}

/// Bytes it made the kernel write to a disk.
pub fn written(pid: u32) -> u64 {
    field(format!("/proc/{pid}/io"), "write_bytes:")
}

/// Processor time it used.
pub fn cpu(pid: u32) -> Duration {
    let mut total = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        total += stat
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Duration::from_nanos(total)
}

/// A process and everything below it.
pub fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(one) = all.get(at).copied() {
        at += 1;
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{one}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|n| n.parse::<u32>().ok()));
        }
    }
    all
}

/// The outermost processes of the jails of this home.
pub fn jails(home: &TestDaemon) -> Vec<u32> {
    let run = home.state().join("run");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(run).unwrap().flatten() {
        let Ok(text) = std::fs::read(entry.path().join("jail.json")) else {
            continue;
        };
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        found.push(value["pid"].as_u64().unwrap() as u32);
    }
    found
}

/// Where a database's write-ahead log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wal {
    salt: [u8; 8],
    commits: u64,
}

impl Wal {
    /// Counts its commits: frames that carry the size of the database. None while it was begun anew since `since`.
    pub fn commits_since(&self, since: &Self) -> Option<u64> {
        (self.salt == since.salt).then(|| self.commits - since.commits)
    }

    /// Reads it.
    pub fn read(home: &TestDaemon) -> Self {
        let bytes = std::fs::read(home.state().join("agentd.db-wal")).unwrap_or_default();
        let none = Self {
            salt: [0; 8],
            commits: 0,
        };
        let Some(header) = bytes.get(..32) else {
            return none;
        };
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let page = number(8) as usize;
        let salt: [u8; 8] = header[16..24].try_into().unwrap();
        let commits = bytes[32..]
            .chunks_exact(24 + page)
            .take_while(|frame| frame[8..16] == salt)
            .filter(|frame| frame[4..8] != [0; 4])
            .count();
        Self {
            salt,
            commits: commits as u64,
        }
    }
}

/// A home whose database is in memory; None where there is no place for it. The directory goes after the home.
pub fn in_memory() -> Option<(TestDaemon, tempfile::TempDir)> {
    let place = tempfile::Builder::new()
        .prefix("agd")
        .tempdir_in("/dev/shm")
        .ok()?;
    let home = TestDaemon::home();
    std::os::unix::fs::symlink(place.path(), home.state()).unwrap();
    Some((home, place))
}

/// A home whose model answers at once.
pub fn configure(home: &TestDaemon, base: &str) {
    home.config(&format!(
        "[model]\ndefault = \"bench/instant\"\n\n[providers.bench]\nbase_url = \"{base}\"\nauth = \"none\"\n"
    ));
}

/// A bare connection to the daemon.
pub async fn channel(home: &TestDaemon) -> tonic::transport::Channel {
    let address = format!("unix:{}", home.socket().display());
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    endpoint.connect().await.unwrap()
}
