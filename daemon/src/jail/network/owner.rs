//! Owns: what the kernel says of a jail's sockets: who listens, whose a connection is, whether somebody tried another way.
//! Guarantees: read from outside, so that nothing inside can lie about it; a process that is gone meanwhile is no error.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest program's name that is kept.
const NAME: usize = 64;
/// Processes looked at for the owner of a socket: an answer that takes longer is worth less.
const LOOKED_AT: usize = 4096;

/// Somebody who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// The address.
    pub address: IpAddr,
    /// The program, where it is known.
    pub program: String,
    /// Its process as the jail numbers it; 0 where it is not known.
    pub pid: u32,
}

/// One line of the kernel's table of sockets.
struct Socket {
    local: (IpAddr, u16),
    remote_port: u16,
    listens: bool,
    inode: u64,
}

/// Who listens in the network of this process (as the host numbers it), by port.
pub(super) fn listening(init: u32) -> Vec<Listening> {
    let mut found: Vec<Listening> = Vec::new();
    let sockets: Vec<Socket> = table(init).into_iter().filter(|one| one.listens).collect();
    let owners = owners(init, &sockets.iter().map(|one| one.inode).collect());
    for one in sockets {
        let owner = owners.iter().find(|(inode, _, _)| *inode == one.inode);
        found.push(Listening {
            port: one.local.1,
            address: one.local.0,
            program: owner.map(|(_, name, _)| name.clone()).unwrap_or_default(),
            pid: owner.map_or(0, |(_, _, pid)| *pid),
        });
    }
    found.sort_by_key(|one| (one.port, one.address));
    found
}

/// The program behind a connection from `port` to `to`, with its process as the jail numbers it.
pub(super) fn program(init: u32, port: u16, to: u16) -> Option<(String, u32)> {
    let socket = table(init)
        .into_iter()
        .find(|one| !one.listens && one.local.1 == port && one.remote_port == to)?;
    let (_, name, pid) = owners(init, &HashSet::from([socket.inode])).pop()?;
    Some((name, pid))
}

/// How often programs in the network of this process tried to go another way than the proxy: packets without a route and
/// questions to a name server that is not there.
pub(super) fn strays(init: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{init}/net/snmp")).ok()?;
    Some(counter(&text, "Ip:", "OutNoRoutes")? + counter(&text, "Udp:", "NoPorts")?)
}

fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let at = lines.next()?.split(' ').position(|word| word == name)?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}

fn table(init: u32) -> Vec<Socket> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/{init}/net/{name}")).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(socket).collect::<Vec<_>>())
        .collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let local = end(words.next()?)?;
    let (_, remote_port) = end(words.next()?)?;
    let state = words.next()?;
    Some(Socket {
        local,
        remote_port,
        listens: state == "0A",
        inode: words.nth(5)?.parse().ok()?,
    })
}

/// `0100007F:0C38`: an address as the machine's words, and a port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    if !address.len().is_multiple_of(8) {
        return None;
    }
    let words: Option<Vec<[u8; 4]>> = address
        .as_bytes()
        .chunks(8)
        .map(|word| {
            let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// Socket, program and process for those of the sockets that a process below `init` holds.
fn owners(init: u32, wanted: &HashSet<u64>) -> Vec<(u64, String, u32)> {
    let mut found = Vec::new();
    let mut open = children(init);
    let mut looked_at = 0;
    while let Some(pid) = open.pop() {
        looked_at += 1;
        if found.len() == wanted.len() || looked_at > LOOKED_AT {
            break;
        }
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let link = fs::read_link(entry.path()).unwrap_or_default();
            let inode = link
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode.filter(|inode| wanted.contains(inode))
                && !found.iter().any(|(known, _, _)| *known == inode)
            {
                found.push((inode, name(pid), inner_pid(pid)));
            }
        }
        open.extend(children(pid));
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|p| p.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn name(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.trim_end().chars().take(NAME).collect()
}

/// The process's number in its innermost namespace.
fn inner_pid(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        let line = format!(
            "   0: {word:08X}:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4711 1 x"
        );
        let one = socket(&line).unwrap();
        assert_eq!(one.local, (IpAddr::V4(Ipv4Addr::LOCALHOST), 3128));
        assert!(one.listens && one.inode == 4711);
        assert!(socket("garbage").is_none() && end("zz:1").is_none() && end("00:1").is_none());
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: Forwarding OutNoRoutes X\nIp: 1 5 2\nUdp: InDatagrams NoPorts\nUdp: 0 7\n";
        assert_eq!(counter(text, "Ip:", "OutNoRoutes"), Some(5));
        assert_eq!(counter(text, "Udp:", "NoPorts"), Some(7));
        assert_eq!(counter(text, "Tcp:", "NoPorts"), None);
    }

    #[test]
    fn this_very_process_is_found_by_its_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Its parent is looked below.
        let parent = std::os::unix::process::parent_id();
        let found = listening(parent);
        let own = found.iter().find(|one| one.port == port).unwrap();
        assert_eq!(own.address, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(own.pid > 0, "{own:?}");
    }
}
