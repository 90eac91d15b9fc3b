//! Owns: sign-in and sign-out: a one-time code becomes a cookie, a cookie ends.
//! Guarantees: neither code nor token is ever logged; the cookie is out of reach for scripts and other sites.

use agentd_proto::{Client, pb};
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use crate::app::answer;
use crate::limit::MAX_PAIR_BODY;

/// Seconds a cookie lives: as long as its token.
const LIFE: u32 = 30 * 24 * 3600;

#[derive(Deserialize)]
struct Wish {
    code: String,
    #[serde(default)]
    name: String,
}

/// Name of the cookie: one per port, for cookies know no ports.
pub(crate) fn cookie_name(port: u16) -> String {
    format!("agentd_{port}")
}

/// The token in the request's cookie.
pub(crate) fn token(headers: &HeaderMap, port: u16) -> Option<String> {
    let name = cookie_name(port);
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'));
    let mut found = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(n, _)| *n == name);
    let (_, value) = found.next()?;
    let whole = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| value.to_owned())
}

fn cookie(port: u16, value: &str, life: u32, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let name = cookie_name(port);
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A code for a cookie.
pub(crate) async fn redeem(
    client: &Client,
    request: Request<Body>,
    port: u16,
    secure: bool,
) -> (bool, Response<Body>) {
    let Ok(bytes) = axum::body::to_bytes(request.into_body(), MAX_PAIR_BODY).await else {
        return (
            false,
            answer(StatusCode::PAYLOAD_TOO_LARGE, "this is too long for a code"),
        );
    };
    let Ok(wish) = serde_json::from_slice::<Wish>(&bytes) else {
        return (false, answer(StatusCode::BAD_REQUEST, "not a code"));
    };
    let asked = pb::RedeemPairingRequest {
        code: wish.code,
        device_name: wish.name,
    };
    match client.redeem_pairing(asked).await {
        Ok(done) => {
            let device = done.device.map(|d| d.device_id).unwrap_or_default();
            let mut response = axum::Json(json!({ "device": device })).into_response();
            if let Some(cookie) = cookie(port, &done.token, LIFE, secure) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            (true, response)
        }
        Err(error) if Client::was_absent(&error) => (
            false,
            answer(StatusCode::BAD_GATEWAY, "the daemon is not running"),
        ),
        Err(error) => (false, answer(StatusCode::FORBIDDEN, &error.message)),
    }
}

/// The cookie's end. The page revokes the device first; the daemon refuses the token from then on.
pub(crate) fn sign_out(port: u16, secure: bool) -> Response<Body> {
    let mut response = axum::Json(json!({})).into_response();
    if let Some(cookie) = cookie(port, "", 0, secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_of_this_port_counts() {
        let token_of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(text).unwrap());
            token(&headers, 7)
        };
        let good = "a".repeat(64);
        assert_eq!(token_of(&format!("x=1; agentd_7={good}")), Some(good.clone()));
        for bad in [
            format!("agentd_8={good}"),
            "agentd_7=abc".into(),
            format!("agentd_7={}", "z".repeat(64)),
        ] {
            assert_eq!(token_of(&bad), None, "{bad}");
        }
    }
}
