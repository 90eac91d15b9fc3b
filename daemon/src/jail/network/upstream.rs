//! Owns: the way out through a company's own proxy: HTTP, the same over TLS, or SOCKS5.
//! Guarantees: it is asked only for what the gate let pass; its password stands in no error, log entry or jail; hosts with a
//! pinned address, and those the user excepts, are reached without it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::socks;
use crate::domain::network::Target;
use crate::domain::proxy;
use crate::domain::secret::Secret;

/// How long the proxy may take to be connected to, and again to open a tunnel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of its answer's head.
const HEAD_BYTES: usize = 16 * 1024;

/// A connection to a host, or to the proxy before it, which may want to be spoken to over TLS.
pub(super) type Outer = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A company's proxy.
pub struct Upstream {
    matcher: Matcher,
    url: Secret,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// The proxy on the way to one host.
#[derive(Clone)]
pub(super) struct Way {
    proxy: Intercept,
    tls: Option<TlsConnector>,
}

impl Upstream {
    /// The proxy of an address (`http://NAME:PASSWORD@HOST:PORT`, `https://…`, `socks5h://…`), but for the hosts of a list
    /// as in `NO_PROXY`. `ca_file`: who besides the machine's authorities may vouch for it.
    ///
    /// # Errors
    /// Why it can't be used, as a sentence without the password.
    pub fn new(url: &str, except: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let url = proxy::address(url);
        let matcher = Matcher::builder().all(url.as_str()).no(except).build();
        let usual = Matcher::builder().all(url.as_str()).build();
        let proxy = usual.intercept(&Uri::from_static("https://example.org/"));
        let tls = match proxy.as_ref().and_then(|proxy| proxy.uri().scheme_str()) {
            Some("http" | "socks5h") => None,
            Some("https") => Some(connector(ca_file)?),
            _ => {
                return Err(
                    "the proxy is not a usable address: write http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            matcher,
            url: Secret::new(url),
            tls,
        })
    }

    /// The way to a host; `None`: it is excepted.
    pub(super) fn towards(&self, target: &Target) -> Option<Way> {
        let scheme = if target.port() == 80 { "http" } else { "https" };
        let uri: Uri = format!("{scheme}://{target}/").parse().ok()?;
        let proxy = self.matcher.intercept(&uri)?;
        Some(Way {
            proxy,
            tls: self.tls.clone(),
        })
    }

    /// Its address, password and all.
    pub(super) fn url(&self) -> &Secret {
        &self.url
    }
}

/// What speaks TLS to the proxy.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let failed = |why: &dyn std::fmt::Display| format!("the proxy's certificate can't be checked: {why}");
    let mut roots = Vec::new();
    if let Some(file) = ca_file {
        let named =
            |error: &dyn std::fmt::Display| failed(&format!("network.ca_file {}: {error}", file.display()));
        for one in CertificateDer::pem_file_iter(file).map_err(|error| named(&error))? {
            roots.push(one.map_err(|error| named(&error))?);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone());
    let verifier = verifier.map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
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
        self.proxy.basic_auth()
    }

    /// True for a proxy that knows of connections only: a plain request goes to the host itself, through it.
    pub(super) fn is_socks(&self) -> bool {
        self.proxy.uri().scheme_str() == Some("socks5h")
    }

    /// A connection to the proxy itself.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn dial(&self) -> Result<(Outer, SocketAddr), String> {
        let uri = self.proxy.uri();
        let usual = match (&self.tls, self.is_socks()) {
            (Some(_), _) => 443,
            (None, true) => 1080,
            (None, false) => 80,
        };
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual));
        let failed = |why: &str| format!("the proxy {host}:{port} could not be reached: {why}");
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let connect = async {
            let stream = TcpStream::connect((name, port)).await?;
            let at = stream.peer_addr()?;
            let Some(tls) = &self.tls else {
                return Ok((Either::Left(stream), at));
            };
            let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            Ok::<_, std::io::Error>((Either::Right(Box::new(stream)), at))
        };
        match tokio::time::timeout(PATIENCE, connect).await {
            Err(_) => Err(failed("no answer within 30 s")),
            Ok(Ok(reached)) => Ok(reached),
            Ok(Err(error)) => {
                let why = error.to_string();
                Err(if why.contains("UnknownIssuer") {
                    failed(&format!(
                        "{why}; if its authority is your company's: [network] ca_file"
                    ))
                } else {
                    failed(&why)
                })
            }
        }
    }

    /// A tunnel through the proxy to a host.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn tunnel(&self, target: &Target) -> Result<(Outer, SocketAddr), String> {
        let (mut stream, at) = self.dial().await?;
        if self.is_socks() {
            let opened = socks::open(&mut stream, self.proxy.raw_auth(), target);
            return match tokio::time::timeout(PATIENCE, opened).await {
                Err(_) => Err(format!("the proxy opened no way to {target} within 30 s")),
                Ok(Ok(())) => Ok((stream, at)),
                Ok(Err(why)) => Err(format!("the proxy opened no way to {target}: {why}")),
            };
        }
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(login) = self.login().and_then(|login| login.to_str().ok()) {
            let _infallible = write!(head, "Proxy-Authorization: {login}\r\n");
        }
        head.push_str("\r\n");
        let opened = async {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
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
        let except = "inner.test, .corp.test";
        for (scheme, socks) in [
            ("http", false),
            ("https", false),
            ("socks5", true),
            ("socks5h", true),
        ] {
            let url = format!("{scheme}://me:canary@proxy.test:3128");
            let proxy = Upstream::new(&url, except, None).unwrap();
            let towards = |text: &str| proxy.towards(&Target::parse(text, Some(443)).unwrap());
            assert!(towards("crates.io").is_some() && towards("crates.io:80").is_some());
            assert!(towards("inner.test").is_none() && towards("a.corp.test").is_none());
            let way = towards("crates.io").unwrap();
            assert_eq!(
                (way.is_socks(), way.tls.is_some()),
                (socks, scheme == "https"),
                "{scheme}"
            );
            let login = way.login().is_some_and(HeaderValue::is_sensitive);
            assert_eq!(
                (login, way.proxy.raw_auth()),
                (!socks, socks.then_some(("me", "canary"))),
                "{scheme}"
            );
            assert!(!format!("{proxy:?}").contains("canary"));
        }
        for bad in ["", "ftp://proxy.test", "socks4://proxy.test:1080", "::"] {
            assert!(Upstream::new(bad, "", None).is_err(), "{bad}");
        }
        let why = Upstream::new("https://proxy.test", "", Some(Path::new("/none/ca.pem"))).unwrap_err();
        assert!(why.contains("network.ca_file /none/ca.pem"), "{why}");
    }
}
