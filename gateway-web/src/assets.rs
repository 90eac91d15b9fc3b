//! Owns: the page inside the binary, and the headers that keep it safe.
//! Guarantees: nothing outside `ui/dist` is served; every address of the page gets the page, so that links work.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "ui/dist"]
struct Dist;

/// What the page may do. Svelte makes elements through its own Trusted Types policy, ours names the worker.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'; \
    font-src 'self'; img-src 'self' data:; style-src 'self'; manifest-src 'self'; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; \
    trusted-types svelte-trusted-html agentd";

/// Which page this is, to one that was loaded before: the answer to `/healthz` has it.
const PAGE: &str = "x-agentd-page";

/// Alive, and with which page.
pub(crate) fn health() -> Response<Body> {
    let mut response = crate::app::answer(StatusCode::OK, "ok");
    let tag = Dist::get("index.html").map(|file| tag(&file));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(PAGE, tag);
    }
    response
}

fn tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// A part of the page, or the page.
pub(crate) fn get(path: &str, headers: &HeaderMap) -> Response<Body> {
    let name = path.trim_start_matches('/');
    let (name, file) = match Dist::get(name) {
        Some(file) => (name, file),
        None if name.starts_with("assets/") => {
            return crate::app::answer(StatusCode::NOT_FOUND, "nothing is here");
        }
        None => match Dist::get("index.html") {
            Some(file) => ("index.html", file),
            None => return crate::app::answer(StatusCode::NOT_FOUND, "the page was not built in"),
        },
    };
    let tag = format!("\"{}\"", tag(&file));
    let fresh = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let body = if fresh {
        Body::empty()
    } else {
        Body::from(file.data.into_owned())
    };
    let mut response = Response::new(body);
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let hashed = name.starts_with("assets/");
    let cache = if hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let all = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(file.metadata.mimetype()) {
        all.insert(header::CONTENT_TYPE, kind);
    }
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        all.insert(header::ETAG, tag);
    }
    response
}

/// Puts the headers on that every answer carries.
pub(crate) fn harden(headers: &mut HeaderMap) {
    let fixed = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
