//! Owns: which requests are from our own page: Host, Origin, Sec-Fetch-Site, method, CSRF header, content type.
//! Guarantees: Host is looked at before anything else; whatever changes something, and every call, must come from
//! our own origin; what is not explicitly open is closed.

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

/// Sent by our page with every POST. A foreign page can't send it without a preflight, which nobody answers.
pub(crate) const CSRF: &str = "x-agentd-csrf";

/// The services a browser may reach. Reflection and health stay inside.
const SERVICES: &[&str] = &[
    "agentd.v1.SessionService",
    "agentd.v1.LifecycleService",
    "agentd.v1.ShellService",
    "agentd.v1.ApprovalService",
    "agentd.v1.AccountService",
    "agentd.v1.DaemonService",
    // These arrive with their capabilities.
    "agentd.v1.WorkspaceService",
    "agentd.v1.NetworkService",
    "agentd.v1.TaskService",
    "agentd.v1.UsageService",
    "agentd.v1.PolicyService",
];

/// Hosts and origins that are ours.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    hosts: Vec<String>,
    origins: Vec<String>,
    public_host: Option<String>,
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The page or a part of it.
    Page,
    /// A call to the daemon.
    Call,
    /// A code for a cookie.
    Pair,
    /// An end to this device's access.
    SignOut,
    /// Is this program alive.
    Health,
    /// Counters.
    Metrics,
}

/// A refusal: what the client gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) &'static str);

impl Site {
    /// The names of this machine's loopback at `port`, and the public one.
    pub(crate) fn new(port: u16, tls: bool, own: Option<&str>, public: Option<(String, String)>) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let mut hosts: Vec<String> = ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .map(|h| format!("{h}:{port}"))
            .collect();
        hosts.extend(own.map(str::to_owned).filter(|own| !hosts.contains(own)));
        let mut origins: Vec<String> = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        let public_host = public.map(|(host, origin)| {
            hosts.push(host.clone());
            origins.push(origin);
            host
        });
        Self {
            hosts,
            origins,
            public_host,
        }
    }

    /// True when cookies for this request must not travel unencrypted.
    pub(crate) fn secure(&self, headers: &HeaderMap) -> bool {
        one(headers, header::ORIGIN.as_str()).is_some_and(|origin| origin.starts_with("https://"))
    }

    /// What the request wants, or why it gets nothing.
    pub(crate) fn judge(&self, parts: &Parts) -> Result<Wish, Refusal> {
        self.check_host(parts)?;
        let wish = wish(parts.uri.path())?;
        let headers = &parts.headers;
        match wish {
            Wish::Page | Wish::Health | Wish::Metrics => {
                if parts.method != Method::GET && parts.method != Method::HEAD {
                    return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET here"));
                }
                if wish == Wish::Metrics && one(headers, "host") == self.public_host.as_deref() {
                    return Err(Refusal(StatusCode::NOT_FOUND, "counters are for this machine"));
                }
                // A page may be opened from a link elsewhere; a part of it may not be used elsewhere.
                let navigates = one(headers, "sec-fetch-mode") == Some("navigate");
                if one(headers, "sec-fetch-site") == Some("cross-site") && !navigates {
                    return Err(Refusal(StatusCode::FORBIDDEN, "not from another site"));
                }
                Ok(wish)
            }
            Wish::Call | Wish::Pair | Wish::SignOut => {
                if parts.method != Method::POST {
                    return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "only POST here"));
                }
                self.check_origin(headers)?;
                if one(headers, CSRF) != Some("1") {
                    return Err(Refusal(
                        StatusCode::FORBIDDEN,
                        "the x-agentd-csrf header is missing",
                    ));
                }
                let wanted = if wish == Wish::Call {
                    "application/grpc-web+proto"
                } else {
                    "application/json"
                };
                if one(headers, "content-type") != Some(wanted) {
                    return Err(Refusal(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "not the content type of this address",
                    ));
                }
                Ok(wish)
            }
        }
    }

    fn check_host(&self, parts: &Parts) -> Result<(), Refusal> {
        let refused = Refusal(StatusCode::MISDIRECTED_REQUEST, "this name is not one of ours");
        let host = one(&parts.headers, "host").ok_or(refused)?;
        // An absolute URI could name another host than the header.
        if parts
            .uri
            .authority()
            .is_some_and(|a| !a.as_str().eq_ignore_ascii_case(host))
        {
            return Err(refused);
        }
        if self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)) {
            Ok(())
        } else {
            Err(refused)
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refused = Refusal(StatusCode::FORBIDDEN, "not from our own page");
        let origin = one(headers, "origin").ok_or(refused)?;
        let ours = self.origins.iter().any(|known| known == origin);
        // Old browsers do not send it; those that do must agree.
        let site = one_or_none(headers, "sec-fetch-site")?;
        if ours && site.is_none_or(|site| site == "same-origin") {
            Ok(())
        } else {
            Err(refused)
        }
    }
}

/// The only value of a header. Two values are none: somebody between us may see the other one.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    one_or_none(headers, name).ok().flatten()
}

fn one_or_none<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| Refusal(StatusCode::BAD_REQUEST, "a header is not text")),
        _ => Err(Refusal(StatusCode::BAD_REQUEST, "a header came twice")),
    }
}

fn wish(path: &str) -> Result<Wish, Refusal> {
    match path {
        "/pair/redeem" => return Ok(Wish::Pair),
        "/sign-out" => return Ok(Wish::SignOut),
        "/healthz" => return Ok(Wish::Health),
        "/metrics" => return Ok(Wish::Metrics),
        _ => {}
    }
    let mut pieces = path.trim_start_matches('/').split('/');
    let first = pieces.next().unwrap_or_default();
    if !first.starts_with("agentd.") && !first.starts_with("grpc.") {
        return Ok(Wish::Page);
    }
    let method = pieces.next().unwrap_or_default();
    let named = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric());
    if SERVICES.contains(&first) && named && pieces.next().is_none() {
        return Ok(Wish::Call);
    }
    Err(Refusal(StatusCode::NOT_FOUND, "nothing is here"))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
