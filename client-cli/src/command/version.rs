//! Owns: `agentctl version`: both versions, without starting anything.

use agentd_proto::pb;
use serde_json::json;

use crate::context::Context;
use crate::exit::{self, Failure};

/// Runs the verb.
pub(crate) async fn run(context: &Context) -> Result<u8, Failure> {
    let client = env!("CARGO_PKG_VERSION");
    let daemon = context
        .client
        .without_autostart()
        .get_status(pb::GetStatusRequest {})
        .await
        .ok();
    let daemon = daemon.map(|status| status.version);
    if context.out.is_json() {
        context.out.json(&json!({"agentctl": client, "agentd": daemon}))?;
        return Ok(exit::OK);
    }
    context.out.line(&format!("agentctl {client}"))?;
    context
        .out
        .line(&format!("agentd {}", daemon.as_deref().unwrap_or("not running")))?;
    Ok(exit::OK)
}
