//! Owns: which addresses are the public internet's, and looking names up.
//! Guarantees: what is connected to is exactly an address that was checked; one private address among a name's makes all
//! of them refused, since the name is then not what it says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::domain::network::Target;

/// How long a name may take to look up.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a name that are tried.
const TRIED: usize = 4;

/// The addresses of a host, checked.
///
/// # Errors
/// Why it has none that may be reached, as a sentence.
pub(super) async fn look_up(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let name = target.host();
    if target.is_address() {
        return Err(format!(
            "{target} is refused: addresses are not reached, only names are"
        ));
    }
    // The dot at the end keeps the resolver from trying the machine's own search domains.
    let found = tokio::time::timeout(
        LOOK_UP,
        tokio::net::lookup_host((format!("{name}."), target.port())),
    );
    let found: Vec<SocketAddr> = match found.await {
        Err(_) => return Err(format!("{name} could not be looked up: no answer within 10 s")),
        Ok(Err(error)) => return Err(format!("{name} could not be looked up: {error}")),
        Ok(Ok(found)) => found.collect(),
    };
    check(name, found)
}

fn check(name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    if let Some(bad) = found.iter().find(|at| !is_public(at.ip())) {
        return Err(format!(
            "{name} is refused: its address {} is not a public one (the user can allow it: [network] pins)",
            bad.ip()
        ));
    }
    if found.is_empty() {
        return Err(format!("{name} has no address"));
    }
    Ok(found)
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// Why none did, as a sentence.
pub(super) async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), String> {
    let mut last = "it has no address".to_owned();
    for at in addresses.iter().take(TRIED) {
        match tokio::time::timeout(CONNECT, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => {
                return Ok((stream, *at));
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer within 10 s".to_owned(),
        }
    }
    Err(format!("{target} could not be reached: {last}"))
}

/// True for an address of the public internet: not private, not of this machine or link, not set aside for anything else
/// (the IANA's registries of special addresses), also when it is written inside one of version 6.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 175, 48)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let inner = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(w, x, y, z))
    };
    match [a, b, c, d, e, f] {
        // Translated from version 4: as public as that.
        [0x64, 0xff9b, 0, 0, 0, 0] => inner(g, h),
        [0x2002, high, low, ..] => inner(high, low),
        // Teredo, benchmarks, ORCHID, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // All of the global unicast space; everything else is this machine, this link, mapped, multicast or unassigned.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::a01:203",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }

    #[test]
    fn one_private_address_among_many_refuses_the_name() {
        let mixed = vec!["1.1.1.1:443".parse().unwrap(), "127.0.0.1:443".parse().unwrap()];
        let why = check("rebind.example", mixed).unwrap_err();
        assert!(why.contains("127.0.0.1 is not a public one"), "{why}");
        assert!(check("none.example", Vec::new()).is_err());
    }

    #[tokio::test]
    async fn names_of_this_machine_are_refused_after_they_were_looked_up() {
        let why = look_up(&Target::new("localhost", 443).unwrap())
            .await
            .unwrap_err();
        assert!(
            why.contains("not a public one") || why.contains("looked up"),
            "{why}"
        );
    }
}
