//! Owns: `agentctl doctor`: what is missing, and the exact fix.
//! Guarantees: also without a daemon there is an answer; exit 0 only when nothing failed.

use agentd_proto::unit::{self, Unit};
use agentd_proto::{Cause, autostart, escape, pb};

use super::project;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{Look, json};

/// Runs the verb.
pub(crate) async fn run(context: &Context, prove: bool, project: bool) -> Result<u8, Failure> {
    let mut findings = vec![program(), socket(context).await];
    match context.client.run_doctor(pb::RunDoctorRequest { prove }).await {
        Ok(answer) => {
            findings.push(versions(context).await);
            findings.extend(answer.findings);
            if project {
                findings.extend(project::findings(context).await?);
            }
        }
        Err(error) if matches!(error.cause, Cause::Unreachable | Cause::Lost | Cause::Version) => {
            findings.push(finding(
                "daemon",
                pb::FindingLevel::Failed,
                &error.message,
                &error.hints.join("\n"),
            ));
            // The daemon would say more; this much can be seen from here.
            findings.push(bubblewrap());
        }
        Err(error) => return Err(error.into()),
    }
    if context.out.is_json() {
        context
            .out
            .json_list(findings.iter().map(json::finding).collect())?;
    } else {
        findings.iter().try_for_each(|finding| show(context, finding))?;
    }
    let failed = findings
        .iter()
        .any(|finding| finding.level() == pb::FindingLevel::Failed);
    Ok(if failed { exit::FAILED } else { exit::OK })
}

fn show(context: &Context, finding: &pb::Finding) -> Result<(), Failure> {
    let (word, look) = match finding.level() {
        pb::FindingLevel::Ok => ("ok", Look::Green),
        pb::FindingLevel::Warning => ("warning", Look::Yellow),
        _ => ("FAILED", Look::Red),
    };
    let word = context.out.paint(look, &format!("{word:<8}"));
    let mut message = escape::block(&finding.message);
    if let Some((first, rest)) = message.clone().split_once('\n') {
        message = format!(
            "{first}\n{}",
            rest.lines()
                .map(|line| format!("          {line}"))
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    context
        .out
        .line(&format!("{word}  {}: {message}", escape::line(&finding.check)))?;
    for (index, line) in finding.fix.lines().enumerate() {
        let lead = if index == 0 { "fix: " } else { "     " };
        context
            .out
            .line(&format!("          {lead}{}", escape::line(line)))?;
    }
    Ok(())
}

pub(super) fn finding(check: &str, level: pb::FindingLevel, message: &str, fix: &str) -> pb::Finding {
    pb::Finding {
        check: check.to_owned(),
        level: level.into(),
        message: message.to_owned(),
        fix: fix.to_owned(),
    }
}

fn program() -> pb::Finding {
    match autostart::find_program() {
        Some(path) => finding(
            "program",
            pb::FindingLevel::Ok,
            &format!("agentd is {}", path.display()),
            "",
        ),
        None => finding(
            "program",
            pb::FindingLevel::Failed,
            "no program 'agentd' beside agentctl or on PATH",
            "put agentd beside agentctl, or on PATH",
        ),
    }
}

fn bubblewrap() -> pb::Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/usr/local/bin".into()])
        .map(|dir| dir.join("bwrap"))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok());
    match found {
        Some(file) => finding(
            "bwrap",
            pb::FindingLevel::Ok,
            &format!("bwrap is {}", file.display()),
            "",
        ),
        None => finding(
            "bwrap",
            pb::FindingLevel::Failed,
            "bwrap is not installed: no command can be jailed",
            "sudo apt install bubblewrap",
        ),
    }
}

/// A socket file that nobody listens at; the daemon's start replaces it.
async fn socket(context: &Context) -> pb::Finding {
    let up = context.client.without_autostart().is_up().await;
    let stale = context
        .client
        .endpoint()
        .candidates()
        .into_iter()
        .find(|path| path.exists());
    // The connection that would tell a stale socket from systemd's would start the daemon.
    let by_systemd =
        || Unit::of(context.client.endpoint()).is_some() && Unit::tell(&["is-active", unit::SOCKET]).is_ok();
    match stale {
        Some(path) if !up && by_systemd() => finding(
            "socket",
            pb::FindingLevel::Ok,
            &format!("systemd listens at {}; no daemon was running", path.display()),
            "",
        ),
        Some(path) if !up => {
            let path = path.display();
            finding(
                "socket",
                pb::FindingLevel::Failed,
                &format!("'{path}' is stale: nobody listened there (a started daemon replaces it)"),
                &format!("agentctl daemon start   (or by hand: rm '{path}')"),
            )
        }
        Some(path) => finding(
            "socket",
            pb::FindingLevel::Ok,
            &format!("a daemon answers at {}", path.display()),
            "",
        ),
        None => finding("socket", pb::FindingLevel::Ok, "no daemon was running", ""),
    }
}

async fn versions(context: &Context) -> pb::Finding {
    let client = env!("CARGO_PKG_VERSION");
    let daemon = context
        .client
        .get_status(pb::GetStatusRequest {})
        .await
        .map(|status| status.version);
    match daemon {
        Ok(daemon) if daemon == client => finding(
            "version",
            pb::FindingLevel::Ok,
            &format!("agentd and agentctl {client}"),
            "",
        ),
        Ok(daemon) => finding(
            "version",
            pb::FindingLevel::Warning,
            &format!("agentd is {daemon}, agentctl is {client}"),
            "agentctl daemon restart",
        ),
        Err(error) => finding(
            "version",
            pb::FindingLevel::Failed,
            &error.message,
            "agentctl daemon restart",
        ),
    }
}
