//! Owns: the proxy as its clients see it: CONNECT by name, and plain HTTP in absolute form.
//! Guarantees: each request is judged by itself, the next one of a connection and what a redirect leads to included; what
//! is passed on was read whole and written anew, so that no two readers see two requests; a refusal says why.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::relay::{Counts, relay};
use super::upstream::Way;
use super::{Network, Reached, Wish};
use crate::domain::network::{Connection, Target};

/// How long a request's head may take to come.
const HEAD: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 * 1024;
/// How long a server may take to begin its answer to a plain request.
const ANSWER: Duration = Duration::from_secs(300);

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Serves one connection of a program inside.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, network: Arc<Network>) {
    let served = network.clone();
    let answer = service_fn(move |request| {
        let network = served.clone();
        async move { Ok::<_, Infallible>(answer(request, peer, network).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .preserve_header_case(true)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    if let Err(error) = connection.await
        && error.is_parse()
    {
        let program = network.program_of(peer).await;
        network.gate().record(Connection {
            program,
            exec_id: network.gate().current(),
            ..refused("?", 0, "it was no request that could be read".to_owned())
        });
    }
}

async fn answer(request: Request<Incoming>, peer: SocketAddr, network: Arc<Network>) -> Answer {
    let tunnel = request.method() == Method::CONNECT;
    let target = match target_of(&request, tunnel) {
        Ok(target) => target,
        Err(why) => {
            let program = network.program_of(peer).await;
            let asked: String = request.uri().to_string().chars().take(200).collect();
            network.gate().record(Connection {
                program,
                exec_id: network.gate().current(),
                ..refused(&asked, 0, why.to_owned())
            });
            return say(StatusCode::BAD_REQUEST, why);
        }
    };
    let wish = Wish {
        exec_id: network.gate().current(),
        program: network.program_of(peer).await,
        target,
    };
    let reached = match network.reach(&wish, tunnel).await {
        Ok(reached) => reached,
        Err(no) => return say(no.status, &no.why),
    };
    if tunnel {
        through(request, reached, wish, network)
    } else {
        plain(request, reached, wish, network).await
    }
}

/// The one host a request speaks of.
fn target_of(request: &Request<Incoming>, tunnel: bool) -> Result<Target, &'static str> {
    let uri = request.uri();
    let target = if tunnel {
        let authority = uri.authority().ok_or("CONNECT wants host:port")?;
        Target::parse(authority.as_str(), None).map_err(|no| no.0)?
    } else {
        if uri.scheme_str() != Some("http") {
            return Err("this is a proxy: it takes CONNECT, and http addresses in full");
        }
        let authority = uri.authority().ok_or("the address has no host")?;
        Target::parse(authority.as_str(), Some(80)).map_err(|no| no.0)?
    };
    let mut hosts = request.headers().get_all(header::HOST).iter();
    if let Some(host) = hosts.next() {
        let said = host
            .to_str()
            .ok()
            .and_then(|text| Target::parse(text, Some(target.port())).ok());
        if said.as_ref() != Some(&target) || hosts.next().is_some() {
            return Err("the Host header names another host than the request");
        }
    }
    Ok(target)
}

/// A tunnel, once the answer that opens it is out.
fn through(request: Request<Incoming>, outer: Reached, wish: Wish, network: Arc<Network>) -> Answer {
    let ends = network.until_gone();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return tracing::error!("the proxy's connection is none of its own");
        };
        let counts = Counts::default();
        let moving = relay(parts.io.into_inner(), outer.stream, &parts.read_buf, &counts);
        tokio::select! {
            // How a connection ends is between its two ends.
            _either = moving => {}
            () = ends.cancelled() => {}
        }
        network.gate().record(reached(&wish, outer.at, &counts));
    });
    Response::new(Empty::new().map_err(|never| match never {}).boxed())
}

/// A plain request, passed on and answered.
async fn plain(request: Request<Incoming>, outer: Reached, wish: Wish, network: Arc<Network>) -> Answer {
    let counts = Arc::new(Counts::default());
    let log = Arc::new(Ended {
        wish,
        at: outer.at,
        counts: counts.clone(),
        network: network.clone(),
    });
    let failed = |error: hyper::Error| {
        say(
            StatusCode::BAD_GATEWAY,
            &format!("{} did not answer: {error}", log.wish.target),
        )
    };
    let (mut sender, connection) = match hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(outer.stream))
        .await
    {
        Ok(made) => made,
        Err(error) => return failed(error),
    };
    let ends = network.until_gone();
    tokio::spawn(async move {
        tokio::select! {
            // What goes wrong shows in the answer.
            _either = connection => {}
            () = ends.cancelled() => {}
        }
    });
    let request = match onward(request, &log.wish.target, outer.via.as_ref()) {
        Ok(request) => request.map(|body| Counted {
            body,
            counts: counts.clone(),
            sent: true,
            log: log.clone(),
        }),
        Err(why) => return say(StatusCode::BAD_REQUEST, why),
    };
    match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(mut response)) => {
            drop_hops(response.headers_mut());
            response.map(|body| {
                Counted {
                    body,
                    counts,
                    sent: false,
                    log,
                }
                .boxed()
            })
        }
        Ok(Err(error)) => failed(error),
        Err(_) => say(
            StatusCode::GATEWAY_TIMEOUT,
            &format!("{} gave no answer within 300 s", log.wish.target),
        ),
    }
}

/// The request as the server is to read it.
fn onward(
    mut request: Request<Incoming>,
    target: &Target,
    via: Option<&Way>,
) -> Result<Request<Incoming>, &'static str> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // The next proxy wants it in absolute form, the server does not.
    let uri = match via {
        Some(_) => format!("http://{target}{path}").parse(),
        None => path.parse::<Uri>(),
    };
    *request.uri_mut() = uri.map_err(|_| "the path can't be read")?;
    *request.version_mut() = http::Version::HTTP_11;
    let headers = request.headers_mut();
    drop_hops(headers);
    let host = if target.port() == 80 {
        target.host().to_owned()
    } else {
        target.to_string()
    };
    let host = HeaderValue::try_from(host).map_err(|_| "the host can't be written")?;
    headers.insert(header::HOST, host);
    // One request a connection: the next one may be for another host.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(login) = via.and_then(Way::login) {
        headers.insert(header::PROXY_AUTHORIZATION, login.clone());
    }
    Ok(request)
}

/// Takes away what is meant for the next hop only.
fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        // The length of the body is ours to know.
        if name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("proxy-connection");
    headers.remove("keep-alive");
}

fn say(status: StatusCode, why: &str) -> Answer {
    let body = Full::new(Bytes::from(format!("agentd: {why}\n")));
    let mut answer = Response::new(body.map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// The log's entry for what was refused.
pub(super) fn refused(host: &str, port: u16, why: String) -> Connection {
    Connection {
        host: host.to_owned(),
        port,
        address: String::new(),
        exec_id: None,
        program: String::new(),
        refusal: why,
        count: 1,
        sent_bytes: 0,
        received_bytes: 0,
    }
}

fn reached(wish: &Wish, at: SocketAddr, counts: &Counts) -> Connection {
    Connection {
        address: at.ip().to_string(),
        program: wish.program.clone(),
        exec_id: wish.exec_id.clone(),
        sent_bytes: counts.sent.load(Ordering::Relaxed),
        received_bytes: counts.received.load(Ordering::Relaxed),
        ..refused(wish.target.host(), wish.target.port(), String::new())
    }
}

/// Writes the log's entry once the last holder is gone.
struct Ended {
    wish: Wish,
    at: SocketAddr,
    counts: Arc<Counts>,
    network: Arc<Network>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.network
            .gate()
            .record(reached(&self.wish, self.at, &self.counts));
    }
}

/// A body whose bytes are counted as they pass.
struct Counted {
    body: Incoming,
    counts: Arc<Counts>,
    sent: bool,
    #[expect(dead_code, reason = "held until the body is through")]
    log: Arc<Ended>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let counter = if self.sent {
                &self.counts.sent
            } else {
                &self.counts.received
            };
            counter.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
