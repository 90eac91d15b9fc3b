//! Owns: `agentctl send`: a message into a session, without waiting for the turn.

use agentd_proto::{id, pb};
use serde_json::json;

use super::prompt;
use crate::args::SendArgs;
use crate::context::Context;
use crate::exit::{self, Failure};

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: SendArgs) -> Result<u8, Failure> {
    let parts = prompt::parts(context, &args.text, &args.file).await?;
    let session = context.session(&args.target).await?;
    let request = pb::PostMessageRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        parts,
        on_approval: pb::OnApproval::Wait.into(),
        environment: Some(context.environment()),
        approver_present: true,
        ..Default::default()
    };
    let posted = context.client.post_message(request).await?;
    if context.out.is_json() {
        context.out.json(&json!({
            "session_id": session.session_id,
            "message_id": posted.message_id,
            "turn_id": posted.turn_id,
            "queued": posted.queued,
            "seq": posted.seq,
        }))?;
    } else if posted.queued {
        context
            .out
            .note(&format!("queued behind the open turn of {}", session.name));
    } else {
        context.out.note(&format!(
            "{} is at work · agentctl attach {}",
            session.name, session.session_id
        ));
    }
    Ok(exit::OK)
}
