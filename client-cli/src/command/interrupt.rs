//! Owns: `agentctl interrupt`: stops a session's turn, one of its commands, or what a command left in the background.

use agentd_proto::{id, pb};

use crate::args::InterruptArgs;
use crate::context::Context;
use crate::exit::{self, Failure};

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: InterruptArgs) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    for exec_id in &args.exec {
        command(context, &session, exec_id).await?;
    }
    if !args.exec.is_empty() {
        return Ok(exit::OK);
    }
    let request = pb::InterruptTurnRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
    };
    match context.client.interrupt_turn(request).await {
        Ok(_) => {
            context.out.note(&format!("{} was told to stop", session.name));
            Ok(exit::OK)
        }
        Err(error) => Err(with_next(error.into(), &session)),
    }
}

/// A command that runs is stopped; of one that has ended, its background jobs.
async fn command(context: &Context, session: &pb::Session, exec_id: &str) -> Result<(), Failure> {
    let jobs = super::sessions::jobs(context, &session.session_id).await?;
    if jobs.iter().any(|job| job.exec_id == exec_id) {
        let request = pb::EndJobRequest {
            session_id: session.session_id.clone(),
            exec_id: exec_id.to_owned(),
        };
        context.client.end_job(request).await?;
    } else {
        let request = pb::InterruptExecRequest {
            session_id: session.session_id.clone(),
            exec_id: exec_id.to_owned(),
        };
        let told = context.client.interrupt_exec(request).await;
        told.map_err(|error| with_next(error.into(), session))?;
    }
    context.out.note(&format!(
        "{} was told to stop",
        agentd_proto::escape::line(exec_id)
    ));
    Ok(())
}

fn with_next(mut failure: Failure, session: &pb::Session) -> Failure {
    if failure.next.is_empty() {
        failure
            .next
            .push(format!("agentctl sessions show {}", session.session_id));
    }
    failure
}
