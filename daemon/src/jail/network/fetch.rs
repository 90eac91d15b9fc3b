//! Owns: getting one page for the model, on the way programs of the session go.
//! Guarantees: the address was checked and is the one that is connected to, unless a company's proxy is the way out; no
//! cookie or key of the daemon's is used; time and size are bounded.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::redirect::Policy;

use super::{Network, proxy};
use crate::domain::network::{Connection, Target};

/// How long a page may take.
const TIME: Duration = Duration::from_secs(20);
/// Bytes of a page that are read.
const BYTES: usize = 2 * 1024 * 1024;
/// Redirects on one host that are followed.
const HOPS: usize = 5;

/// What came.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where from, in the end.
    pub url: String,
    /// HTTP's number.
    pub status: u16,
    /// What it is.
    pub content_type: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// There were more.
    pub cut: bool,
    /// Another host that it leads to, as an address in full.
    pub leads_to: Option<String>,
}

impl Network {
    /// Gets a page of a host that was decided on.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub async fn fetch(&self, url: &str, target: &Target) -> Result<Fetched, String> {
        let entry = |refusal: String| Connection {
            program: "fetch".to_owned(),
            ..proxy::refused(target.host(), target.port(), refusal)
        };
        let got = async {
            let addresses = match self.way(target) {
                Some(_) => Vec::new(),
                None => self.addresses(target).await?,
            };
            let at = addresses.first().copied();
            let fetched = tokio::time::timeout(TIME, self.get(url, target, &addresses)).await;
            let fetched = fetched.map_err(|_| format!("{target} gave no whole answer within 20 s"))??;
            Ok((fetched, at))
        };
        match got.await {
            Ok((fetched, at)) => {
                self.gate().record(Connection {
                    address: at.map(|at| at.ip().to_string()).unwrap_or_default(),
                    received_bytes: fetched.body.len() as u64,
                    ..entry(String::new())
                });
                Ok(fetched)
            }
            Err(why) => {
                self.gate().record(entry(String::clone(&why)));
                Err(why)
            }
        }
    }

    async fn get(&self, url: &str, target: &Target, addresses: &[SocketAddr]) -> Result<Fetched, String> {
        let failed = |error: reqwest::Error| {
            let mut why = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                why.push_str(&format!(": {error}"));
                cause = error.source();
            }
            format!("{target} could not be fetched from: {why}")
        };
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .user_agent(concat!("agentd/", env!("CARGO_PKG_VERSION")));
        builder = match (self.way(target), &self.settings.upstream) {
            (Some(_), Some(upstream)) => {
                builder.proxy(reqwest::Proxy::all(upstream.url().expose()).map_err(failed)?)
            }
            _ => builder.resolve_to_addrs(target.host(), addresses),
        };
        if let Some(file) = &self.settings.ca_file {
            let pem = std::fs::read(file).map_err(|e| format!("network.ca_file {}: {e}", file.display()))?;
            for one in reqwest::Certificate::from_pem_bundle(&pem).map_err(failed)? {
                builder = builder.add_root_certificate(one);
            }
        }
        let client = builder.build().map_err(failed)?;
        let mut url: reqwest::Url = url.parse().map_err(|_| "the address can't be read".to_owned())?;
        for _ in 0..=HOPS {
            let answer = client
                .get(url.clone())
                .header(
                    "accept",
                    "text/html, text/markdown, text/plain, application/json;q=0.9, */*;q=0.5",
                )
                .send()
                .await
                .map_err(failed)?;
            let status = answer.status();
            let text = |name: &str| {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let fetched = Fetched {
                url: url.to_string(),
                status: status.as_u16(),
                content_type: text("content-type"),
                body: Vec::new(),
                cut: false,
                leads_to: None,
            };
            let next = url
                .join(&text("location"))
                .ok()
                .filter(|_| status.is_redirection());
            let Some(next) = next else {
                return read(answer, fetched).await.map_err(failed);
            };
            let same = next.scheme() == url.scheme()
                && next.host_str() == url.host_str()
                && next.port_or_known_default() == url.port_or_known_default();
            if !same {
                return Ok(Fetched {
                    leads_to: Some(next.to_string()),
                    ..fetched
                });
            }
            url = next;
        }
        Err(format!("{target} leads in circles"))
    }
}

async fn read(answer: reqwest::Response, mut fetched: Fetched) -> Result<Fetched, reqwest::Error> {
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let room = BYTES.saturating_sub(fetched.body.len());
        fetched
            .body
            .extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        if piece.len() > room {
            fetched.cut = true;
            break;
        }
    }
    Ok(fetched)
}
