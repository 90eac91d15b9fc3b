//! Owns: the HTTP clients, one per way out (proxy, roots, connect limit), shared so that connections are reused.
//! Guarantees: the process environment plays no part; redirects are not followed; loopback is never proxied.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::error::ModelError;
use super::install_tls;
use crate::domain::proxy::address;

/// A way out of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Route {
    /// Proxy URL, which may hold a password: never shown.
    pub(crate) proxy: Option<String>,
    /// Hosts that go without the proxy, as in NO_PROXY.
    pub(crate) no_proxy: Option<String>,
    /// PEM files with further roots.
    pub(crate) ca_files: Vec<PathBuf>,
    pub(crate) connect: Duration,
    /// True for `http://` without a proxy: the machine's certificates are then not even read.
    pub(crate) plain: bool,
}

impl Route {
    /// The proxy that requests to this host go through, without its credentials.
    pub(crate) fn proxy_of(&self, host: &str) -> Option<String> {
        let proxy = self.proxy.as_deref()?;
        let direct = self
            .no_proxy
            .iter()
            .flat_map(|list| list.split(','))
            .any(|entry| {
                let entry = entry.trim().trim_start_matches('.');
                entry == "*" || (!entry.is_empty() && (host == entry || host.ends_with(&format!(".{entry}"))))
            });
        if direct {
            return None;
        }
        let url = reqwest::Url::parse(proxy).ok()?;
        let port = url
            .port_or_known_default()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        Some(format!("{}{port}", url.host_str()?))
    }
}

/// The clients made so far.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<Route, reqwest::Client>>);

impl Clients {
    /// The client of a route, made on first use.
    pub(crate) fn get(&self, route: &Route) -> Result<reqwest::Client, ModelError> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(route) {
            return Ok(client.clone());
        }
        let client = build(route)?;
        clients.insert(route.clone(), client.clone());
        Ok(client)
    }
}

fn build(route: &Route) -> Result<reqwest::Client, ModelError> {
    install_tls();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(route.connect)
        .pool_idle_timeout(Duration::from_secs(90))
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(concat!("agentd/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = &route.proxy {
        let no_proxy = route.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
        let proxy = reqwest::Proxy::all(address(proxy))
            .map_err(|_| ModelError::Config("the proxy is not a usable URL (http://host:port)".into()))?;
        builder = builder.proxy(proxy.no_proxy(no_proxy));
    }
    if route.plain {
        builder = builder.tls_certs_only(Vec::new());
    } else {
        let mut roots = Vec::new();
        for file in &route.ca_files {
            let shown = file.display();
            let pem = std::fs::read(file)
                .map_err(|why| ModelError::Config(format!("cannot read ca_file {shown}: {why}")))?;
            // A file without any is as good as none, and nobody would know why the server is not believed.
            let more = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|more| !more.is_empty())
                .ok_or_else(|| {
                    ModelError::Config(format!("ca_file {shown} holds no readable PEM certificate"))
                })?;
            roots.extend(more);
        }
        if !roots.is_empty() {
            builder = builder.tls_certs_merge(roots);
        }
    }
    builder.build().map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        ModelError::Config(format!(
            "cannot set up HTTPS: {cause} (are CA certificates installed?)"
        ))
    })
}
