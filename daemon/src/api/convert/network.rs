//! Owns: connections and doors between wire and domain.

use agentd_proto::pb;

use super::super::status::invalid;
use crate::domain::network::{Connection, Direction, Door};
use crate::domain::rejection::Rejection;

impl From<Connection> for pb::Connection {
    fn from(one: Connection) -> Self {
        Self {
            host: one.host,
            port: one.port.into(),
            address: one.address,
            exec_id: one.exec_id.map(|id| id.to_string()).unwrap_or_default(),
            program: one.program,
            refusal: one.refusal,
            count: one.count,
            sent_bytes: one.sent_bytes,
            received_bytes: one.received_bytes,
        }
    }
}

impl From<Door> for pb::PortDoor {
    fn from(door: Door) -> Self {
        let direction = match door.direction {
            Direction::Forward => pb::PortDirection::Forward,
            Direction::Host => pb::PortDirection::Host,
        };
        Self {
            direction: direction.into(),
            port: door.port.into(),
            local_port: door.local_port.into(),
        }
    }
}

/// Which way a door goes.
pub(in crate::api) fn direction(number: i32) -> Result<Direction, Rejection> {
    match pb::PortDirection::try_from(number) {
        Ok(pb::PortDirection::Forward) => Ok(Direction::Forward),
        Ok(pb::PortDirection::Host) => Ok(Direction::Host),
        _ => Err(invalid("direction: FORWARD or HOST")),
    }
}

/// A port that something can listen on.
pub(in crate::api) fn port(name: &str, number: u32) -> Result<u16, Rejection> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(invalid(format!("{name}: {number} is not between 1 and 65535"))),
    }
}
