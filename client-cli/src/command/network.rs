//! Owns: `agentctl ports` and `forward`, and what `--net` and `--host-port` ask of a session.
//! Guarantees: a port of this machine opens inside only with a person's approval, asked for on the spot; who can't be
//! asked is told the command that answers.

use std::time::Duration;

use agentd_proto::transcript::decision_word;
use agentd_proto::{escape, format, id, pb};
use serde_json::json;

use super::ask::Asker;
use super::turn::Approvals;
use crate::args::{ForwardArgs, Net, OneSession};
use crate::context::{Context, Wanted, empty_answer};
use crate::exit::{self, Failure};
use crate::render::line;
use crate::render::progress::Screen;
use crate::render::table::{self, Column, fixed, flexible};

const PORTS: &[Column] = &[
    fixed("PORT", 9),
    flexible("ADDRESS", 5, 9),
    flexible("PROGRAM", 7, 8),
    fixed("PID", 4),
    fixed("HERE", 8),
];
/// How often an approval is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(300);
/// How long an approved port may take to open.
const OPENING: Duration = Duration::from_secs(5);

/// `ports`: who listens inside.
pub(crate) async fn ports(context: &Context, args: OneSession) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    let request = pb::ListPortsRequest {
        session_id: session.session_id.clone(),
    };
    let ports = context.client.list_ports(request).await?.ports;
    if context.out.is_json() {
        let value = |one: &pb::ListeningPort| {
            json!({"port": one.port, "address": one.address, "program": one.program, "pid": one.pid,
                "local_port": one.local_port})
        };
        context.out.json_list(ports.iter().map(value).collect())?;
        return Ok(exit::OK);
    }
    if ports.is_empty() && context.out.out_tty {
        context
            .out
            .note(&format!("nothing listens in {}", escape::line(&session.name)));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = ports
        .iter()
        .map(|one| {
            vec![
                one.port.to_string(),
                one.address.clone(),
                one.program.clone(),
                one.pid.to_string(),
                here(one.local_port),
            ]
        })
        .collect();
    table::print(&context.out, PORTS, &rows)?;
    Ok(exit::OK)
}

fn here(port: u32) -> String {
    match port {
        0 => "-".to_owned(),
        port => format!("127.0.0.1:{port}"),
    }
}

/// `forward`: a port of the jail, here.
pub(crate) async fn forward(context: &Context, args: ForwardArgs) -> Result<u8, Failure> {
    let session = context.target(Some(&args.target)).await?;
    let Some(port) = args.port else {
        return doors(context, &session).await;
    };
    let (port, local_port) = pair(&port)?;
    let door = if args.close {
        let request = pb::ClosePortRequest {
            request_id: id::request_id(),
            session_id: session.session_id.clone(),
            direction: pb::PortDirection::Forward.into(),
            port,
        };
        context.client.close_port(request).await?;
        context.out.note(&format!("port {port} is closed"));
        return Ok(exit::OK);
    } else {
        let request = pb::ForwardPortRequest {
            request_id: id::request_id(),
            session_id: session.session_id.clone(),
            port,
            local_port,
        };
        context
            .client
            .forward_port(request)
            .await?
            .door
            .ok_or_else(empty_answer)?
    };
    if context.out.is_json() {
        context.out.json(&door_value(&door))?;
    } else {
        context.out.line(&here(door.local_port))?;
        context.out.note(&format!(
            "leads to port {port} of {}; it closes with the session, or: agentctl forward {} {port} --close",
            escape::line(&session.name),
            session.session_id
        ));
    }
    Ok(exit::OK)
}

async fn doors(context: &Context, session: &pb::Session) -> Result<u8, Failure> {
    let request = pb::GetNetworkRequest {
        session_id: session.session_id.clone(),
    };
    let doors = context.client.get_network(request).await?.doors;
    if context.out.is_json() {
        context.out.json_list(doors.iter().map(door_value).collect())?;
        return Ok(exit::OK);
    }
    if doors.is_empty() && context.out.out_tty {
        context
            .out
            .note("no port is open; open one: agentctl forward SESSION PORT");
    }
    for door in &doors {
        context.out.line(&match door.direction() {
            pb::PortDirection::Host => format!(
                "{}\tport {} of this machine, inside",
                here(door.local_port),
                door.port
            ),
            _ => format!("{}\tport {} of the jail", here(door.local_port), door.port),
        })?;
    }
    Ok(exit::OK)
}

fn door_value(door: &pb::PortDoor) -> serde_json::Value {
    let direction = match door.direction() {
        pb::PortDirection::Host => "host",
        _ => "forward",
    };
    json!({"direction": direction, "port": door.port, "local_port": door.local_port})
}

/// `3000` or `3000:8080`.
fn pair(text: &str) -> Result<(u32, u32), Failure> {
    let (port, local) = text.split_once(':').unwrap_or((text, "0"));
    match (port.parse::<u16>(), local.parse::<u16>()) {
        (Ok(port), Ok(local)) if port > 0 => Ok((port.into(), local.into())),
        _ => Err(Failure::usage(format!("'{}' is no port", escape::line(text)))
            .next("agentctl forward SESSION 3000")
            .next("agentctl forward SESSION 3000:8080")),
    }
}

/// The mode on the wire.
pub(crate) fn mode(net: Option<Net>) -> pb::NetworkMode {
    match net {
        None => pb::NetworkMode::Unspecified,
        Some(Net::Off) => pb::NetworkMode::Off,
        Some(Net::Ask) => pb::NetworkMode::Ask,
        Some(Net::List) => pb::NetworkMode::List,
    }
}

/// Gives a session that was found the mode that was asked for.
pub(crate) async fn set(
    context: &Context,
    session: pb::Session,
    wanted: pb::NetworkMode,
) -> Result<pb::Session, Failure> {
    if wanted == pb::NetworkMode::Unspecified || wanted == session.network() {
        return Ok(session);
    }
    let request = pb::SetNetworkRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        mode: wanted.into(),
    };
    context.client.set_network(request).await?;
    context.out.note(&format!(
        "network of {}: {} (was {})",
        escape::line(&session.name),
        format::network_word(wanted),
        format::network_word(session.network())
    ));
    let mut session = session;
    session.set_network(wanted);
    Ok(session)
}

/// Makes services of this machine reachable inside; each is asked about unless it has its approval.
pub(crate) async fn host_ports(
    context: &Context,
    session: &pb::Session,
    ports: &[u16],
    approvals: Approvals,
) -> Result<(), Failure> {
    for port in ports {
        let request = pb::RequestHostPortRequest {
            request_id: id::request_id(),
            session_id: session.session_id.clone(),
            port: u32::from(*port),
        };
        let asked = context.client.request_host_port(request).await?.approval_id;
        if !asked.is_empty() {
            answered(context, session, &asked, approvals).await?;
            opened(context, session, *port).await?;
        }
    }
    Ok(())
}

/// The session of a command or a shell, with its ports. Who answers, no flag says: whoever sits at the terminal; where
/// nobody does, nobody is waited for.
pub(crate) async fn session_with_ports(
    context: &Context,
    wanted: Wanted,
    ports: &[u16],
) -> Result<pb::Session, Failure> {
    let session = context.session_for(wanted).await?;
    let approvals = if context.can_ask() && !context.out.is_json() {
        Approvals::Ask
    } else {
        Approvals::Exit
    };
    host_ports(context, &session, ports, approvals).await?;
    context.warn_outer(&session);
    Ok(session)
}

/// Waits until a question was answered with yes, here or elsewhere.
async fn answered(
    context: &Context,
    session: &pb::Session,
    approval_id: &str,
    approvals: Approvals,
) -> Result<(), Failure> {
    let mut screen = Screen::new(&context.out, &session.session_id);
    let mut asker = Asker::default();
    let first = look(context, approval_id).await?;
    match approvals {
        Approvals::Ask => asker.add(first, &mut screen),
        Approvals::Wait => {
            let mut lines = line::approval_lines(&first);
            lines.push((
                None,
                format!("     waits for: agentctl approve {approval_id} --session"),
            ));
            screen.say(&lines);
        }
        Approvals::Deny => {
            let request = pb::ResolveApprovalRequest {
                request_id: id::request_id(),
                approval_id: approval_id.to_owned(),
                decision: pb::ApprovalDecision::Denied.into(),
                reason: "nobody is to be asked (--on-approval deny)".to_owned(),
                ..Default::default()
            };
            context.client.resolve_approval(request).await?;
        }
        Approvals::Exit => {
            let why = format!(
                "'{approval_id}' needs an answer: {}",
                line::tool_line(&first.tool, &first.summary)
            );
            return Err(Failure::new(exit::APPROVAL, "approval_needed", why)
                .next(format!("agentctl approve {approval_id} --session"))
                .next(format!("agentctl deny {approval_id} --reason \"…\"")));
        }
    }
    loop {
        let one = look(context, approval_id).await?;
        match one.decision() {
            pb::ApprovalDecision::Unspecified => {}
            pb::ApprovalDecision::Denied
            | pb::ApprovalDecision::Withdrawn
            | pb::ApprovalDecision::Expired => {
                let reason = match one.reason.as_str() {
                    "" => String::new(),
                    reason => format!(": {}", escape::line(reason)),
                };
                let what = line::tool_line(&one.tool, &one.summary);
                let why = format!("{}{reason} ({what})", decision_word(one.decision()));
                return Err(Failure::new(exit::DENIED, "denied", why));
            }
            _ => {
                screen.say(&[line::resolved(&one)]);
                return Ok(());
            }
        }
        tokio::select! {
            text = asker.typed(&mut screen) => asker.answer(context, &text, &mut screen).await?,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(context: &Context, approval_id: &str) -> Result<pb::Approval, Failure> {
    let request = pb::GetApprovalRequest {
        approval_id: approval_id.to_owned(),
    };
    let answer = context.client.get_approval(request).await?;
    answer.approval.ok_or_else(empty_answer)
}

/// The daemon opens what was approved: the first command shall find it open.
async fn opened(context: &Context, session: &pb::Session, port: u16) -> Result<(), Failure> {
    let until = tokio::time::Instant::now() + OPENING;
    loop {
        let request = pb::GetNetworkRequest {
            session_id: session.session_id.clone(),
        };
        let doors = context.client.get_network(request).await?.doors;
        let ours =
            |door: &pb::PortDoor| door.direction() == pb::PortDirection::Host && door.port == u32::from(port);
        if doors.iter().any(ours) {
            return Ok(());
        }
        if tokio::time::Instant::now() >= until {
            let why = format!("port {port} of this machine was approved, and is not open inside");
            return Err(Failure::new(exit::FAILED, "port_not_open", why)
                .next(format!("agentctl forward {}", session.session_id)));
        }
        tokio::time::sleep(LOOK / 10).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_alone_or_in_pairs() {
        assert_eq!(pair("3000").ok(), Some((3000, 0)));
        assert_eq!(pair("3000:8080").ok(), Some((3000, 8080)));
        for bad in ["", "0", "x", "3000:", "70000", "3000:x", "-1"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }
}
