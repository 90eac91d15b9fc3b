//! Owns: who is on the other end of the socket.
//! Guarantees: a peer of another user gets no answer but "no"; every request has a Caller.

use sha2::{Digest, Sha256};
use tonic::Request;
use tonic::transport::server::UdsConnectInfo;

use super::status::{self, No, invalid};
use crate::domain::principal::{Caller, Client};
use crate::domain::rejection::Rejection;
use crate::listener::same_user;
use crate::session::trace_id;
use crate::supervisor::RequestKey;

/// Checked for every request before any service sees it.
pub(super) fn check(request: Request<()>) -> Result<Request<()>, No> {
    let peer = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred);
    match peer {
        Some(peer) if same_user(peer) => Ok(request),
        _ => Err(status::foreign_user()),
    }
}

/// Who asks. `request_id` is empty where the client chose none.
pub(super) fn caller<T>(request: &Request<T>, request_id: &str) -> Caller {
    let client = request
        .metadata()
        .get("x-agentd-client")
        .and_then(|value| value.to_str().ok())
        .map_or(Client::Api, Client::from_word);
    Caller {
        principal: user_name(),
        // "daemon" is the daemon's own word; nobody else signs with it.
        client: if client == Client::Daemon {
            Client::Api
        } else {
            client
        },
        trace_id: trace_id(),
        request_id: Some(request_id.to_owned()).filter(|id| !id.is_empty()),
    }
}

/// The key under which an answer is remembered; `None` where the client chose no id.
pub(super) fn key<M: prost::Message>(
    request_id: &str,
    method: &'static str,
    message: &M,
) -> Result<Option<RequestKey>, Rejection> {
    if request_id.is_empty() {
        return Ok(None);
    }
    if request_id.len() > 64
        || !request_id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return Err(invalid("request_id is not a UUID"));
    }
    let digest = Sha256::digest(message.encode_to_vec());
    let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(RequestKey {
        request_id: request_id.to_owned(),
        method,
        fingerprint,
    }))
}

/// The user's name: every peer has the daemon's own uid.
fn user_name() -> String {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let uid = rustix::process::getuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        named.unwrap_or_else(|| format!("uid-{uid}"))
    })
    .clone()
}
