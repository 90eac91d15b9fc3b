//! Owns: `agentctl shell`: an interactive shell inside the jail.

use agentd_proto::{id, pb};

use super::{exec, interactive};
use crate::args::ShellArgs;
use crate::context::{Context, Wanted};
use crate::exit::{self, Failure};
use crate::{stdin, tty};

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: ShellArgs) -> Result<u8, Failure> {
    if !stdin::is_terminal() || !context.out.out_tty {
        return Err(
            Failure::usage("shell needs a terminal on standard input and output")
                .next("agentctl exec -- CMD")
                .next("agentctl exec --stdin -- sh < script"),
        );
    }
    let wanted = Wanted {
        name: args.name.clone(),
        origin: pb::SessionOrigin::Shell,
        layout: args.layout,
        jail: args.jail,
        network: super::network::mode(args.net),
        flags: args.flags,
        ..Wanted::default()
    };
    let session = super::network::session_with_ports(context, wanted, &args.host_port).await?;
    let joined = args.rejoin.is_some();
    let exec_id = match args.rejoin {
        Some(exec_id) => exec_id,
        None => {
            let request = pb::OpenShellRequest {
                request_id: id::request_id(),
                session_id: session.session_id.clone(),
                size: Some(tty::size()),
                term: std::env::var("TERM").unwrap_or_default(),
            };
            context.client.open_shell(request).await?.exec_id
        }
    };
    context.out.note(&format!(
        "session {} ({}) · Ctrl-] d leaves",
        session.session_id, session.name
    ));
    let end = interactive::drive(context, &session.session_id, &exec_id, joined).await?;
    let Some(result) = end else { return Ok(exit::OK) };
    if !result.message.is_empty() {
        context.out.note(&agentd_proto::escape::line(&result.message));
    }
    Ok(exec::code(&result))
}
