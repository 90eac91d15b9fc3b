//! Owns: what a session reaches and who reaches it, as rows.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

use super::{Clock, Deed, IN_FORCE, Row, Tone};

pub(super) fn reaching(
    network: &pb::GetNetworkResponse,
    ports: &[pb::ListeningPort],
    connections: &[pb::RecordedConnection],
    clock: Clock<'_>,
) -> Vec<Row> {
    use pb::NetworkMode as M;
    let mut rows = vec![Row::heading("mode")];
    for (mode, what) in [
        (M::Off, "nothing is reached"),
        (M::Ask, "hosts on the list; others are asked about"),
        (M::List, "hosts on the list; others are refused"),
    ] {
        let now = if mode == network.mode() { IN_FORCE } else { "" };
        let words = format!("{:<6} {what}", format::network_word(mode));
        let row = Row::new(words, now);
        rows.push(match mode == network.mode() {
            true => row,
            false => row.can(Deed::Network(mode)),
        });
    }
    rows.push(Row::heading("hosts that need no question"));
    let hosts = network.listed.iter().map(|host| (host, "configured"));
    let hosts = hosts.chain(network.granted.iter().map(|host| (host, "this session")));
    rows.extend(hosts.map(|(host, from)| Row::new(clean(host), from)));
    if network.listed.is_empty() && network.granted.is_empty() {
        rows.push(Row::dim("none"));
    }
    rows.push(Row::heading("doors to this machine"));
    for door in &network.doors {
        let here = format!("127.0.0.1:{}", door.local_port);
        let row = match door.direction() {
            pb::PortDirection::Host => Row::new(format!("{here} can be reached inside"), "of this machine"),
            _ => Row::new(format!("{here} leads to port {} inside", door.port), "forwarded"),
        };
        rows.push(row.can(Deed::Close(door.direction(), door.port)));
    }
    rows.push(Row::dim("open a port of the jail here").can(Deed::AskForward));
    rows.push(Row::dim("let the jail reach a service of this machine").can(Deed::AskHostPort));
    if !ports.is_empty() {
        rows.push(Row::heading("what listens inside"));
    }
    for port in ports {
        let row = Row::new(
            format!(
                "{:>5} {} {}",
                port.port,
                clean(&port.address),
                clean(&port.program)
            ),
            match port.local_port {
                0 => "not open here".to_owned(),
                local => format!("127.0.0.1:{local}"),
            },
        );
        rows.push(match port.local_port {
            0 => row.can(Deed::Forward(port.port, 0)),
            _ => row.can(Deed::Close(pb::PortDirection::Forward, port.port)),
        });
    }
    rows.push(Row::heading("connections, newest first"));
    if connections.is_empty() {
        rows.push(Row::dim("none"));
    }
    for one in connections {
        let at = clock(one.record_time);
        let Some(connection) = &one.connection else {
            continue;
        };
        let place = format!("{}:{}", clean(&connection.host), connection.port);
        let program = clean(&connection.program);
        rows.push(if connection.refusal.is_empty() {
            let bytes = format!(
                "{} out, {} in · {at}",
                format::bytes(connection.sent_bytes),
                format::bytes(connection.received_bytes)
            );
            Row::new(format!("{place} {program}"), bytes)
        } else {
            let why = clean(&connection.refusal);
            Row::new(format!("{place} {program} refused: {why}"), at).toned(Tone::Bad)
        });
    }
    rows
}
