//! Owns: the order of things for one request: guard, limits, then what it wants.
//! Guarantees: no request gets past the guard; no call reaches the daemon without a device's token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use agentd_proto::Client;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use tonic::transport::Channel;

use crate::guard::{Refusal, Site, Wish};
use crate::limit::{Limit, MAX_BODY};
use crate::metrics::Metrics;
use crate::{assets, pair, proxy};

/// All a request may need.
pub(crate) struct App {
    pub(crate) site: Site,
    pub(crate) port: u16,
    pub(crate) channel: Channel,
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) calls: Limit,
    pub(crate) pairings: Limit,
    pub(crate) trusted_proxy: Option<IpAddr>,
}

impl App {
    pub(crate) fn new(
        site: Site,
        port: u16,
        channel: Channel,
        client: Client,
        trusted_proxy: Option<IpAddr>,
    ) -> Self {
        Self {
            site,
            port,
            channel,
            client,
            metrics: Arc::new(Metrics::new()),
            // Typing in a shell is up to 125 calls a second; eight tabs rarely type at once.
            calls: Limit::new(400.0, 1200.0),
            pairings: Limit::new(0.2, 10.0),
            trusted_proxy,
        }
    }
}

/// Where a connection came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Answers one request.
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let mut response = route(&app, peer.ip(), request).await;
    assets::harden(response.headers_mut());
    response
}

async fn route(app: &App, peer: IpAddr, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let wish = match app.site.judge(&parts) {
        Ok(wish) => wish,
        Err(Refusal(status, why)) => {
            Metrics::count(&app.metrics.refused);
            return answer(status, why);
        }
    };
    let limited = |why| {
        Metrics::count(&app.metrics.limited);
        let mut response = answer(StatusCode::TOO_MANY_REQUESTS, why);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        response
    };
    let request = Request::from_parts(parts, body);
    match wish {
        Wish::Page => {
            Metrics::count(&app.metrics.pages);
            assets::get(request.uri().path(), request.headers())
        }
        Wish::Health => assets::health(),
        Wish::Metrics => answer(StatusCode::OK, &app.metrics.text()),
        Wish::Pair => {
            let from = app.origin_of(peer, request.headers());
            if !app.pairings.take(&from.to_string(), Instant::now()) {
                return limited("too many tries; wait a little");
            }
            let secure = app.site.secure(request.headers());
            let (done, response) = pair::redeem(&app.client, request, app.port, secure).await;
            Metrics::count(if done {
                &app.metrics.pairings
            } else {
                &app.metrics.pairings_refused
            });
            response
        }
        Wish::SignOut => pair::sign_out(app.port, app.site.secure(request.headers())),
        Wish::Call => {
            let Some(token) = pair::token(request.headers(), app.port) else {
                Metrics::count(&app.metrics.refused);
                return answer(StatusCode::UNAUTHORIZED, "this browser is not signed in");
            };
            let device: String = Sha256::digest(token.as_bytes())
                .iter()
                .take(8)
                .map(|b| format!("{b:02x}"))
                .collect();
            if !app.calls.take(&device, Instant::now()) {
                return limited("too many calls; slow down");
            }
            if announced(request.headers()) > MAX_BODY as u64 {
                return answer(StatusCode::PAYLOAD_TOO_LARGE, "this is too large");
            }
            proxy::call(app.channel.clone(), app.metrics.clone(), request, &token)
                .await
                .map(Body::new)
        }
    }
}

impl App {
    /// Whom to blame: the peer, or whom a trusted proxy names last.
    fn origin_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.trusted_proxy != Some(peer) {
            return peer;
        }
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|v| v.to_str().ok());
        forwarded
            .and_then(|all| all.rsplit(',').next())
            .and_then(|last| last.trim().parse().ok())
            .unwrap_or(peer)
    }
}

/// The size a request announces.
fn announced(headers: &HeaderMap) -> u64 {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// A short text.
pub(crate) fn answer(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
