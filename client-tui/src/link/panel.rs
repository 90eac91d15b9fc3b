//! Owns: the calls behind the panels, and typing into a command that waits for input.

use agentd_proto::{Client, ClientError, id, pb, surroundings};

use super::calls::Failed;
use super::{News, policies, usage};
use crate::model::panel::{Data, Deed, Panel, Trial};
use crate::msg::{FromLink, Msg};

/// Connections that the network panel shows.
const CONNECTIONS: u32 = 100;

/// Does what a row was chosen for, then reads the panel anew.
pub(super) async fn perform(
    client: &Client,
    news: &News,
    what: Panel,
    session_id: String,
    deed: Option<Deed>,
) -> Result<Option<FromLink>, Failed> {
    let data = match deed {
        Some(Deed::Try(trial)) => policies::tried(client, &session_id, trial).await,
        deed => {
            if let Some(deed) = deed
                && let Err((what, error)) = act(client, &session_id, deed).await
            {
                // What could not be done is told, and the panel shows how it stands all the same.
                let failed = FromLink::Failed { what, error };
                drop(news.send(Msg::Link(failed)).await);
            }
            load(client, what, &session_id).await
        }
    };
    let data = data.map_err(|error| (what.title(), error))?;
    Ok(Some(FromLink::Panel { session_id, data }))
}

async fn load(client: &Client, what: Panel, session: &str) -> Result<Data, ClientError> {
    let session_id = session.to_owned();
    Ok(match what {
        Panel::About => {
            let request = pb::GetSessionRequest {
                session_id: session.to_owned(),
            };
            let found = client.get_session(request).await?.session.unwrap_or_default();
            let context = client.get_context(pb::GetContextRequest { session_id }).await?;
            Data::About(Box::new(found), Box::new(context))
        }
        Panel::Context => {
            let request = pb::GetContextRequest { session_id };
            Data::Context(Box::new(client.get_context(request).await?))
        }
        Panel::Jobs => Data::Jobs(client.list_jobs(pb::ListJobsRequest { session_id }).await?.jobs),
        Panel::Network => {
            let request = pb::GetNetworkRequest {
                session_id: session.to_owned(),
            };
            let network = Box::new(client.get_network(request).await?);
            let request = pb::ListPortsRequest {
                session_id: session.to_owned(),
            };
            let ports = client.list_ports(request).await?.ports;
            let request = pb::ListConnectionsRequest {
                session_id,
                before_seq: 0,
                page_size: CONNECTIONS,
            };
            let connections = client.list_connections(request).await?.connections;
            Data::Network {
                network,
                ports,
                connections,
            }
        }
        Panel::Models => {
            let request = pb::ListModelsRequest {
                probe_loopback: true,
                environment: surroundings::provider_variables(),
            };
            Data::Models(client.list_models(request).await?.models)
        }
        Panel::Audit => Data::Audit(Box::new(audit(client, session_id).await?)),
        Panel::Personas => policies::personas(client, session_id).await?,
        Panel::Policies => policies::policies(client, session_id).await?,
        Panel::Grants => policies::grants(client).await?,
        Panel::Budgets => usage::budgets(client).await?,
        Panel::Daemon => {
            let status = client.get_status(pb::GetStatusRequest {}).await?;
            let checks = client.run_doctor(pb::RunDoctorRequest { prove: false }).await?;
            Data::Daemon(Box::new(status), checks.findings)
        }
        Panel::Project => project(client, session_id).await?,
        // Nothing is tried that was not asked for.
        Panel::Trial => policies::tried(client, session, Trial::default()).await?,
    })
}

/// Tries the tools of developers in a jail on the session's workspace.
async fn project(client: &Client, session_id: String) -> Result<Data, ClientError> {
    let request = pb::GetSessionRequest { session_id };
    let session = client.get_session(request).await?.session.unwrap_or_default();
    let request = pb::CheckProjectRequest {
        workspace: session.workspace.clone(),
        start_dir: session.start_dir,
        search_path: surroundings::search_path(),
        layout: session.layout,
    };
    Ok(Data::Project {
        workspace: session.workspace,
        found: Box::new(client.check_project(request).await?),
    })
}

/// The whole audit, page after page.
async fn audit(client: &Client, session_id: String) -> Result<pb::AuditSessionResponse, ClientError> {
    let mut all = pb::AuditSessionResponse::default();
    loop {
        let request = pb::AuditSessionRequest {
            session_id: session_id.clone(),
            after_seq: all.seq,
        };
        let page = client.audit_session(request).await?;
        all.commands.extend(page.commands);
        all.files.extend(page.files);
        all.hosts.extend(page.hosts);
        all.refusals.extend(page.refusals);
        if page.seq >= page.head || page.seq == all.seq {
            return Ok(all);
        }
        all.seq = page.seq;
    }
}

async fn act(client: &Client, session: &str, deed: Deed) -> Result<(), Failed> {
    let (request_id, session_id) = (id::request_id(), session.to_owned());
    match deed {
        Deed::Compact(focus) => {
            let request = pb::CompactSessionRequest {
                request_id,
                session_id,
                focus,
            };
            done("compact", client.compact_session(request).await)
        }
        Deed::EndJob { exec_id } => {
            let request = pb::EndJobRequest { session_id, exec_id };
            done("job", client.end_job(request).await)
        }
        Deed::Network(mode) => {
            let request = pb::SetNetworkRequest {
                request_id,
                session_id,
                mode: mode.into(),
            };
            done("network", client.set_network(request).await)
        }
        Deed::Forward(port, local_port) => {
            let request = pb::ForwardPortRequest {
                request_id,
                session_id,
                port,
                local_port,
            };
            done("forward", client.forward_port(request).await)
        }
        Deed::HostPort(port) => {
            let request = pb::RequestHostPortRequest {
                request_id,
                session_id,
                port,
            };
            done("port", client.request_host_port(request).await)
        }
        Deed::Close(direction, port) => {
            let request = pb::ClosePortRequest {
                request_id,
                session_id,
                direction: direction.into(),
                port,
            };
            done("close", client.close_port(request).await)
        }
        Deed::Choose(..) | Deed::Save(_) | Deed::Remove(..) | Deed::Revoke(_) => {
            policies::act(client, session_id, deed).await
        }
        Deed::Budget(_) | Deed::Raise(_) | Deed::DropBudget(_) | Deed::Seen(_) => {
            usage::act(client, deed).await
        }
        // Those are this side's own: a question first, the editor, the next message.
        Deed::AskForward
        | Deed::AskHostPort
        | Deed::AskBudget
        | Deed::Model(_)
        | Deed::Edit(_)
        | Deed::AskCopy(_)
        | Deed::AskRemove(..)
        | Deed::Try(_)
        | Deed::AskTry(_)
        | Deed::AskRule(_) => Ok(()),
    }
}

pub(super) fn done<T>(what: &'static str, answer: Result<T, ClientError>) -> Result<(), Failed> {
    answer.map(drop).map_err(|error| (what, error))
}

/// Types a line into a command that waits.
pub(super) async fn answer(
    client: &Client,
    session_id: String,
    exec_id: String,
    data: Vec<u8>,
) -> Result<Option<FromLink>, Failed> {
    let request = pb::WriteInputRequest {
        session_id,
        exec_id,
        offset: 0,
        data: data.into(),
        eof: false,
        // A writer of its own: what another client types is not this one's to count on from.
        writer: id::request_id(),
        unless_held: false,
    };
    let answer = client.write_input(request).await;
    answer.map(|_| None).map_err(|error| ("answer", error))
}
