//! Owns: `agentctl interrupt`: stops a session's turn.

use agentd_proto::{id, pb};

use crate::args::OneSession;
use crate::context::Context;
use crate::exit::{self, Failure};

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: OneSession) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    let request = pb::InterruptTurnRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
    };
    match context.client.interrupt_turn(request).await {
        Ok(_) => {
            context.out.note(&format!("{} was told to stop", session.name));
            Ok(exit::OK)
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            if failure.next.is_empty() {
                failure
                    .next
                    .push(format!("agentctl sessions show {}", session.session_id));
            }
            Err(failure)
        }
    }
}
