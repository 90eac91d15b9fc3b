//! Owns: what commands about a session's network lead to.
//! Guarantees: pure; a host is asked about once at a time; questions about hosts are bounded.

use super::command::Command;
use super::event::EventBody;
use super::network::{Direction, NetworkMode};
use super::rejection::Rejection;
use super::session::Session;
use super::standing::check_awake;
use super::workspace::JailKind;

/// Open questions about hosts in one session at most: a program that tries hundreds of hosts is no reason for hundreds of
/// questions.
pub const MAX_QUESTIONS: usize = 20;
/// Open doors of one session at most.
const MAX_DOORS: usize = 50;

/// Decides a command about the network.
pub(super) fn decide(session: &Session, command: &Command) -> Result<Vec<EventBody>, Rejection> {
    match command {
        Command::AskHosts { approval } => {
            let about_hosts = |one: &&super::approval::Approval| one.is_about_hosts();
            if session
                .approvals
                .iter()
                .filter(about_hosts)
                .any(|open| approval.hosts.iter().all(|host| open.hosts.contains(host)))
            {
                return Ok(Vec::new());
            }
            if session.approvals.iter().filter(about_hosts).count() >= MAX_QUESTIONS {
                return Err(Rejection::WrongState(format!(
                    "{MAX_QUESTIONS} questions about hosts are open already"
                )));
            }
            Ok(vec![EventBody::ApprovalRequested {
                approval: (**approval).clone(),
            }])
        }
        Command::RecordConnections { connections, omitted } => Ok(vec![EventBody::ConnectionsRecorded {
            connections: connections.clone(),
            omitted: *omitted,
        }]),
        Command::ChooseNetwork { mode } => {
            check_awake(session)?;
            if session.network == *mode {
                return Ok(Vec::new());
            }
            if session.spec.jail == JailKind::Outer && *mode != NetworkMode::Off {
                return Err(Rejection::WrongState(
                    "without a jail of its own a session has no network of its own".into(),
                ));
            }
            if !session.execs.is_empty() {
                return Err(Rejection::NotNow {
                    message: "a command runs: the jail is made anew for another network".into(),
                    hints: vec![format!("agentctl wait {}", session.name)],
                });
            }
            Ok(vec![EventBody::NetworkChosen { mode: *mode }])
        }
        Command::OpenPort { door } => {
            if session.doors.contains(door) {
                return Ok(Vec::new());
            }
            if session.doors.len() >= MAX_DOORS {
                return Err(Rejection::WrongState(format!(
                    "{MAX_DOORS} ports are open already"
                )));
            }
            Ok(vec![EventBody::PortOpened { door: *door }])
        }
        Command::ClosePort { direction, port } => {
            let is_it = |door: &&super::network::Door| door.direction == *direction && door.port == *port;
            match session.doors.iter().find(is_it) {
                Some(door) => Ok(vec![EventBody::PortClosed { door: *door }]),
                None => Err(Rejection::PortNotOpen(session.name.clone())),
            }
        }
        _ => Ok(Vec::new()),
    }
}

/// Checks a port of this machine that is to be reachable inside.
pub fn check_host_port(port: u16) -> Result<(), Rejection> {
    if port < 1024 || port == PROXY_PORT {
        return Err(Rejection::InvalidArgument(format!(
            "port: {port} can't be opened inside; take one from 1024 on that is not {PROXY_PORT}"
        )));
    }
    Ok(())
}

/// Where the proxy listens inside.
const PROXY_PORT: u16 = 3128;

/// The door of a service of this machine.
pub fn host_door(port: u16) -> super::network::Door {
    super::network::Door {
        direction: Direction::Host,
        port,
        local_port: port,
    }
}
