//! Owns: processes by number and start time: numbers are used again, the two together are not.

fn stat_fields(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut words = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(18)?.parse().ok()?))
}

pub(super) fn start_time(pid: u32) -> Option<u64> {
    stat_fields(pid).map(|(_, started)| started)
}

/// Numbers are used again; a number with its start time is not.
pub(super) fn is(pid: u32, started: u64) -> bool {
    stat_fields(pid).is_some_and(|(state, at)| at == started && !matches!(state, 'Z' | 'X'))
}

pub(super) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .filter(|p| *p > 1)
        .and_then(rustix::process::Pid::from_raw)
    {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The processes that this one started.
pub(super) fn children(pid: u32) -> Vec<(u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|p| p.parse().ok())
        .filter_map(|p| Some((p, start_time(p)?)))
        .collect()
}

/// Waits until all of them have ended.
pub(super) async fn gone(all: &[(u32, u64)]) {
    for (pid, started) in all.iter().copied() {
        let target = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let handle =
            target.and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::NONBLOCK).ok());
        let Some(handle) = handle.filter(|_| is(pid, started)) else {
            continue;
        };
        // Readable once the process has ended; no polling.
        if let Ok(handle) = super::link::watched(handle) {
            let _ended = handle.readable().await;
        }
    }
}
