//! Owns: `agentctl daemon`: status, start, stop, restart, logs.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use agentd_proto::unit::{self, Unit};
use agentd_proto::{Cause, autostart, escape, format, pb};

use crate::args::DaemonVerb;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, text};
use crate::time;

/// How long a stopping daemon may take: five seconds for open turns, and some.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: DaemonVerb) -> Result<u8, Failure> {
    match verb {
        DaemonVerb::Status => status(context).await,
        DaemonVerb::Start => start(context).await,
        DaemonVerb::Stop(args) => {
            if stop(context, args.keep_jails).await? {
                context.out.note("agentd stopped");
            } else {
                context.out.note("agentd is not running");
            }
            Ok(exit::OK)
        }
        DaemonVerb::Restart => {
            if !restart_unit(context)? {
                stop(context, true).await?;
            }
            start(context).await
        }
        DaemonVerb::Logs { follow, tail } => logs(context, follow, tail).await,
    }
}

async fn status(context: &Context) -> Result<u8, Failure> {
    let client = context.client.without_autostart();
    let status = match client.get_status(pb::GetStatusRequest {}).await {
        Ok(status) => status,
        Err(error) if error.cause == Cause::Unreachable => {
            let mut failure = Failure::new(exit::DAEMON, "daemon_unreachable", "agentd is not running");
            failure = failure
                .note(escape::line(&error.message))
                .next("agentctl daemon start");
            return Err(failure);
        }
        Err(error) => return Err(error.into()),
    };
    let age = time::age(status.start_time);
    let mut fields = vec![
        (
            "daemon",
            format!(
                "running for {} (pid {}, version {})",
                format::duration(age),
                status.pid,
                status.version
            ),
        ),
        ("socket", status.socket.clone()),
        ("database", status.database.clone()),
        ("log", text::or_unknown(&status.log_file)),
        ("jail", status.jail.clone()),
        (
            "sessions",
            format!(
                "{} · {} working · {} live",
                status.sessions,
                status.working_sessions,
                format::count(u64::from(status.jails), "jail")
            ),
        ),
        ("approvals", format!("{} open", status.open_approvals)),
        (
            "model",
            if status.default_model.is_empty() {
                "none set up".to_owned()
            } else {
                status.default_model.clone()
            },
        ),
        ("memory", format::bytes(status.resident_bytes)),
        ("config", text::or_unknown(&status.config_files.join(", "))),
    ];
    fields.extend(
        status
            .limits
            .iter()
            .map(|limit| ("limit", escape::line(&limit.message))),
    );
    text::document(&context.out, &fields, &json::status(&status))?;
    Ok(exit::OK)
}

async fn start(context: &Context) -> Result<u8, Failure> {
    if context.global.no_autostart {
        return Err(
            Failure::usage("'daemon start' and --no-autostart exclude each other")
                .next("agentctl daemon start"),
        );
    }
    let started = context.client.connect().await?;
    let status = context.client.get_status(pb::GetStatusRequest {}).await?;
    let word = if started.is_some() {
        "started"
    } else {
        "is running"
    };
    if context.out.is_json() {
        context.out.json(&json::status(&status))?;
    } else {
        context.out.note(&format!(
            "agentd {word} (pid {}, socket {})",
            status.pid, status.socket
        ));
    }
    Ok(exit::OK)
}

/// Where systemd runs the daemon, systemd restarts it: its socket stays open, and no client is turned away meanwhile.
fn restart_unit(context: &Context) -> Result<bool, Failure> {
    let endpoint = context.client.endpoint();
    let running = endpoint.lock_file().map(|lock| lock.pid);
    if Unit::of(endpoint).is_none() || running.is_none() || Unit::main_pid() != running {
        return Ok(false);
    }
    Unit::tell(&["restart", unit::SERVICE]).map_err(by_systemd)?;
    Ok(true)
}

fn by_systemd(words: String) -> Failure {
    Failure::new(exit::DAEMON, "systemd_refused", "systemd did not do it")
        .note(escape::line(&words))
        .next("systemctl --user status agentd")
        .next("journalctl --user -u agentd")
}

/// Stops the daemon and waits until it is gone; false when none ran.
async fn stop(context: &Context, keep_jails: bool) -> Result<bool, Failure> {
    let client = context.client.without_autostart();
    let pid = match client.stop_daemon(pb::StopDaemonRequest { keep_jails }).await {
        Ok(answer) => answer.pid,
        Err(error) if error.cause == Cause::Unreachable => return Ok(false),
        // Somebody else is stopping it; the wait below is the same.
        Err(error) if error.is(pb::ErrorReason::ShuttingDown) || error.cause == Cause::Lost => 0,
        Err(error) => return Err(error.into()),
    };
    let deadline = Instant::now() + STOP_WITHIN;
    loop {
        let gone = pid == 0 || is_gone(pid);
        if gone && !client.is_up().await {
            // It listens no more either: stopped means that no stray connection starts it again.
            if Unit::of(context.client.endpoint()).is_some() {
                Unit::tell(&["stop", unit::SERVICE, unit::SOCKET]).map_err(by_systemd)?;
            }
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                exit::FAILED,
                "stop_timeout",
                format!("agentd (pid {pid}) is still stopping"),
            )
            .next("agentctl daemon status")
            .next("agentctl daemon logs"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// True when the process does not exist any more, or only as a zombie that nobody collected yet.
fn is_gone(pid: i64) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

async fn logs(context: &Context, follow: bool, tail: usize) -> Result<u8, Failure> {
    let running = context
        .client
        .without_autostart()
        .get_status(pb::GetStatusRequest {})
        .await
        .ok();
    let path = running
        .map(|status| status.log_file)
        .filter(|path| !path.is_empty())
        .map_or_else(|| context.client.endpoint().log_file(), Into::into);
    let failed = |error: std::io::Error| {
        Failure::new(
            exit::FAILED,
            "no_log",
            format!("cannot read '{}': {error}", path.display()),
        )
        .next("journalctl --user -u agentd   (when systemd runs it)")
    };
    for line in autostart::last_lines(&path, tail) {
        context.out.line(&shown(context, &line))?;
    }
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    let mut rest = String::new();
    let mut place = file.seek(SeekFrom::End(0)).map_err(failed)?;
    if !follow {
        return Ok(exit::OK);
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let length = std::fs::metadata(&path).map_err(failed)?.len();
        if length < place {
            // The log was begun anew.
            file = std::fs::File::open(&path).map_err(failed)?;
            place = 0;
        }
        let mut data = Vec::new();
        place += file.read_to_end(&mut data).map_err(failed)? as u64;
        rest.push_str(&String::from_utf8_lossy(&data));
        while let Some((line, tail)) = rest.split_once('\n') {
            context.out.line(&shown(context, line))?;
            rest = tail.to_owned();
        }
    }
}

fn shown(context: &Context, line: &str) -> String {
    if context.out.out_tty {
        escape::output(line)
    } else {
        line.to_owned()
    }
}
