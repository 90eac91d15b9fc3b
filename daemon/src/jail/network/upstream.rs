//! Owns: the way out through a company's own proxy.
//! Guarantees: it is asked only for what the gate let pass; its password stands in no error, log entry or jail; hosts with a
//! pinned address, and those the user excepts, are reached without it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::network::Target;
use crate::domain::secret::Secret;

/// How long the proxy may take to be connected to, and again to open a tunnel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of its answer's head.
const HEAD_BYTES: usize = 16 * 1024;

/// A company's proxy.
#[derive(Debug)]
pub struct Upstream {
    matcher: Matcher,
    url: Secret,
}

/// The proxy on the way to one host.
#[derive(Debug, Clone)]
pub(super) struct Way(Intercept);

impl Upstream {
    /// The proxy of an address (`http://NAME:PASSWORD@HOST:PORT`), but for the hosts of a list as in `NO_PROXY`.
    ///
    /// # Errors
    /// Why it can't be used, as a sentence without the password.
    pub fn new(url: &str, except: &str) -> Result<Self, String> {
        let matcher = Matcher::builder().all(url).no(except).build();
        let usual = Matcher::builder().all(url).build();
        let proxy = usual.intercept(&Uri::from_static("https://example.org/"));
        match proxy.as_ref().and_then(|proxy| proxy.uri().scheme_str()) {
            Some("http") => Ok(Self {
                matcher,
                url: Secret::new(url),
            }),
            _ => Err("the proxy is not a usable address: write http://HOST:PORT".to_owned()),
        }
    }

    /// The way to a host; `None`: it is excepted.
    pub(super) fn towards(&self, target: &Target) -> Option<Way> {
        let scheme = if target.port() == 80 { "http" } else { "https" };
        let uri: Uri = format!("{scheme}://{target}/").parse().ok()?;
        self.matcher.intercept(&uri).map(Way)
    }

    /// Its address, password and all.
    pub(super) fn url(&self) -> &Secret {
        &self.url
    }
}

impl super::Network {
    /// The company's proxy on the way to a host; `None`: it is reached directly.
    pub(super) fn way(&self, target: &Target) -> Option<Way> {
        if self.settings.pins.contains_key(target) {
            return None;
        }
        self.settings.upstream.as_ref()?.towards(target)
    }
}

impl Way {
    /// What tells the proxy who asks.
    pub(super) fn login(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }

    /// A connection to the proxy itself.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn dial(&self) -> Result<(TcpStream, SocketAddr), String> {
        let uri = self.0.uri();
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
        let failed = |why: &str| format!("the proxy {host}:{port} could not be reached: {why}");
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect((name, port)))
            .await
            .map_err(|_| failed("no answer within 30 s"))?
            .map_err(|error| failed(&error.to_string()))?;
        // What is relayed comes in pieces that wait for nobody. A socket that refuses is only slower.
        let _slower = stream.set_nodelay(true);
        let at = stream.peer_addr().map_err(|error| failed(&error.to_string()))?;
        Ok((stream, at))
    }

    /// A tunnel through the proxy to a host.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn tunnel(&self, target: &Target) -> Result<(TcpStream, SocketAddr), String> {
        let (mut stream, at) = self.dial().await?;
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(login) = self.login().and_then(|login| login.to_str().ok()) {
            let _infallible = write!(head, "Proxy-Authorization: {login}\r\n");
        }
        head.push_str("\r\n");
        let opened = async {
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::with_capacity(256);
            // Byte by byte: what follows the head is the host's, and may come at once.
            while !answer.ends_with(b"\r\n\r\n") && answer.len() < HEAD_BYTES {
                answer.push(stream.read_u8().await?);
            }
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, opened)
            .await
            .map_err(|_| format!("the proxy opened no way to {target} within 30 s"))?
            .map_err(|error| format!("the proxy opened no way to {target}: {error}"))?;
        let line = String::from_utf8_lossy(&answer);
        let line = line.lines().next().unwrap_or_default();
        match line.split_whitespace().nth(1) {
            Some(code) if line.starts_with("HTTP/1.") && code.starts_with('2') => Ok((stream, at)),
            Some("407") => Err(
                "the proxy wants a name and a password: [network] proxy = \"http://NAME:PASSWORD@HOST:PORT\""
                    .to_owned(),
            ),
            Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => {
                Err(format!("the proxy opened no way to {target}: it answered {code}"))
            }
            _ => Err(format!(
                "the proxy opened no way to {target}: its answer can't be read"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excepted_goes_without_it_and_the_password_is_nowhere_to_be_read() {
        let proxy = Upstream::new("http://me:canary@proxy.test:3128", "inner.test, .corp.test").unwrap();
        let towards = |text: &str| proxy.towards(&Target::parse(text, Some(443)).unwrap());
        assert!(towards("crates.io").is_some() && towards("crates.io:80").is_some());
        assert!(towards("inner.test").is_none() && towards("a.corp.test").is_none());
        let login = towards("crates.io").unwrap();
        assert!(login.login().unwrap().is_sensitive());
        assert!(!format!("{proxy:?} {login:?}").contains("canary"));
        for bad in ["", "https://proxy.test", "socks5://proxy.test:1080", "::"] {
            assert!(Upstream::new(bad, "").is_err(), "{bad}");
        }
    }
}
