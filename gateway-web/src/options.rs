//! Owns: the command line, and which combinations are refused.
//! Guarantees: what is reachable from other machines is encrypted, or the program does not start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

/// The port when it is free; a fixed one keeps bookmarks and cookies good.
pub(crate) const PORT: u16 = 7777;

/// Serves agentd to browsers on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "agent-web", version)]
pub(crate) struct Options {
    /// Port on 127.0.0.1 [default: 7777, or a free one when that is taken; 0: a free one]
    #[arg(long, conflicts_with = "listen")]
    pub(crate) port: Option<u16>,
    /// Listen on this address instead of 127.0.0.1; anything but loopback needs --tls-cert and --tls-key
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The address people type when it is not the one listened on: an ssh tunnel or a TLS reverse proxy.
    /// Allows exactly one more Host and Origin
    #[arg(long, value_name = "URL", env = "AGENTD_WEB_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
    /// Believe X-Forwarded-For from this address (for rate limits), and from no other
    #[arg(long, value_name = "IP")]
    pub(crate) trusted_proxy: Option<IpAddr>,
    /// The daemon's socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

impl Options {
    /// Says why these options can't be used together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(address) = self.listen
            && !address.ip().is_loopback()
            && self.tls_cert.is_none()
        {
            return Err(format!(
                "--listen {address} would send your sessions and sign-in unencrypted over the network\n  \
                 next: give --tls-cert FILE and --tls-key FILE\n  \
                 next: or leave out --listen and use: ssh -L {PORT}:127.0.0.1:{PORT} THIS-MACHINE"
            ));
        }
        if let Some(url) = &self.public_url {
            public_site(url)?;
        }
        Ok(())
    }

    /// Addresses to try, best first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match (self.listen, self.port) {
            (Some(address), _) => vec![address],
            (None, Some(port)) => vec![local(port)],
            (None, None) => vec![local(PORT), local(0)],
        }
    }

    /// True when this program itself speaks TLS.
    pub(crate) fn tls(&self) -> bool {
        self.tls_cert.is_some()
    }
}

/// Host and Origin of a public URL.
pub(crate) fn public_site(url: &str) -> Result<(String, String), String> {
    let wrong = || format!("--public-url '{url}' is not like https://agent.example.org");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !matches!(scheme, "http" | "https") || host.is_empty() || !host.chars().all(plain) {
        return Err(wrong());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback =
        name == "localhost" || name == "[::1]" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if scheme == "http" && !loopback {
        return Err(format!(
            "--public-url '{url}' is not encrypted; use https, or an ssh tunnel to localhost"
        ));
    }
    // Browsers leave out the port that the scheme implies.
    let implied = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(implied).unwrap_or(host).to_ascii_lowercase();
    let origin = format!("{scheme}://{host}");
    Ok((host, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Options {
        Options::parse_from(["agent-web"].iter().chain(words))
    }

    #[test]
    fn nothing_unencrypted_leaves_the_machine() {
        assert!(parse(&[]).check().is_ok());
        assert!(parse(&["--listen", "127.0.0.1:1"]).check().is_ok());
        assert!(parse(&["--listen", "[::1]:1"]).check().is_ok());
        let refused = parse(&["--listen", "0.0.0.0:7777"]).check().unwrap_err();
        assert!(
            refused.contains("unencrypted") && refused.contains("--tls-cert"),
            "{refused}"
        );
        assert!(
            parse(&["--listen", "0.0.0.0:1", "--tls-cert", "a", "--tls-key", "b"])
                .check()
                .is_ok()
        );
        assert!(
            parse(&["--public-url", "http://agent.example.org"])
                .check()
                .is_err()
        );
    }

    #[test]
    fn a_public_url_is_one_host_and_one_origin() {
        let site = |url| public_site(url).unwrap();
        assert_eq!(
            site("https://A.example.org/"),
            ("a.example.org".into(), "https://a.example.org".into())
        );
        assert_eq!(site("https://a.b:443"), ("a.b".into(), "https://a.b".into()));
        assert_eq!(
            site("http://localhost:9000"),
            ("localhost:9000".into(), "http://localhost:9000".into())
        );
        for bad in [
            "a.b",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a@b",
            "https://a b",
        ] {
            assert!(public_site(bad).is_err(), "{bad}");
        }
    }
}
