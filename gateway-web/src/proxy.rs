//! Owns: the way of a call from the browser to the daemon: grpc-web in, gRPC out. No method is named here.
//! Guarantees: the daemon sees our words about who asks, never the browser's; a daemon that is down is a status
//! (14, unavailable), not a broken connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::Limited;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::limit::MAX_BODY;
use crate::metrics::Metrics;
use crate::rounds::{POLL, Rounds};

/// Names the client in the event log.
const CLIENT: HeaderName = HeaderName::from_static("x-agentd-client");
/// What of a browser's headers the daemon gets.
const PASSED: &[&str] = &["content-type", "accept", "te", "x-grpc-web", "grpc-timeout"];

/// Passes a call on with the device's token.
pub(crate) async fn call(
    channel: Channel,
    metrics: Arc<Metrics>,
    request: Request<axum::body::Body>,
    token: &str,
) -> Response<Body> {
    Metrics::count(&metrics.calls);
    let rounds = request.headers().contains_key(POLL);
    let (mut parts, body) = request.into_parts();
    parts.headers = passed(&parts.headers, token);
    // A path may carry a query; the daemon's methods have none.
    parts.uri = parts.uri.path().parse().unwrap_or_default();
    parts.extensions = http::Extensions::new();
    let request = Request::from_parts(parts, Body::new(Limited::new(body, MAX_BODY)));
    let unreachable = metrics.clone();
    let inner = service_fn(move |request: Request<Body>| {
        let (mut channel, metrics) = (channel.clone(), unreachable.clone());
        async move {
            let answer = match channel.ready().await {
                Ok(ready) => ready.call(request).await,
                Err(error) => Err(error),
            };
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                Metrics::count(&metrics.unreachable);
                tracing::debug!(%error, "the daemon can't be reached");
                Status::unavailable("the daemon is not running").into_http()
            }))
        }
    });
    let answer = GrpcWebLayer::new().layer(inner).oneshot(request).await;
    let mut answer = answer.unwrap_or_else(|never: Infallible| match never {});
    // nginx holds streams back unless told otherwise.
    answer
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer.map(|body| {
        let body = if rounds {
            Body::new(Rounds::new(body))
        } else {
            body
        };
        Body::new(Counted::new(body, metrics))
    })
}

fn passed(theirs: &HeaderMap, token: &str) -> HeaderMap {
    let mut ours = HeaderMap::new();
    for name in PASSED {
        if let Some(value) = theirs.get(*name) {
            ours.insert(HeaderName::from_static(name), value.clone());
        }
    }
    // The page also asks for the token to be checked here: a value no daemon knows is refused there.
    let mut bearer =
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap_or(HeaderValue::from_static("Bearer"));
    bearer.set_sensitive(true);
    ours.insert(header::AUTHORIZATION, bearer);
    ours.insert(CLIENT, HeaderValue::from_static("web"));
    ours
}

/// A body that is counted as long as it is open.
struct Counted {
    body: Body,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn new(body: Body, metrics: Arc<Metrics>) -> Self {
        metrics.open_calls.fetch_add(1, Ordering::Relaxed);
        Self { body, metrics }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.open_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
