//! Owns: NetworkService: what sessions may reach, what they reached, doors to this machine.

use agentd_proto::pb;
use pb::network_service_server::NetworkService;
use tonic::{Request, Response};

use super::convert::network::{direction, port};
use super::convert::session::{network, network_asked};
use super::convert::timestamp;
use super::peer::{caller, key};
use super::status::{Reply, invalid};
use crate::domain::event::EventBody;
use crate::supervisor::Supervisor;

/// Events looked at for one page of the connection log.
const LOOKED_AT: u32 = 10_000;
/// Events read at a time.
const BATCH: u32 = 1000;

/// The service.
pub(super) struct Networks {
    supervisor: Supervisor,
}

impl Networks {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }
}

#[tonic::async_trait]
impl NetworkService for Networks {
    async fn get_network(&self, request: Request<pb::GetNetworkRequest>) -> Reply<pb::GetNetworkResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let (mode, granted, doors, open) = handle.network();
        let listed = &self.supervisor.settings().network.allow;
        Ok(Response::new(pb::GetNetworkResponse {
            mode: network(mode).into(),
            listed: listed.iter().map(ToString::to_string).collect(),
            granted: granted.iter().map(ToString::to_string).collect(),
            doors: doors.into_iter().map(Into::into).collect(),
            approval_ids: open.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn set_network(&self, request: Request<pb::SetNetworkRequest>) -> Reply<pb::SetNetworkResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "SetNetwork", request.get_ref())?;
        let wish = request.into_inner();
        let mode = network_asked(wish.mode)?.ok_or_else(|| invalid("mode is missing"))?;
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let seq = handle.set_network(who, key, mode).await?;
        Ok(Response::new(pb::SetNetworkResponse { seq }))
    }

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Reply<pb::ListConnectionsResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let session = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let wanted = match wish.page_size {
            0 => 100,
            size => size.min(1000),
        };
        let (mut connections, mut facts, mut looked_at) = (Vec::new(), 0, 0);
        let mut before = match wish.before_seq {
            0 => session.head.saturating_add(1),
            seq => seq,
        };
        while before > 1 && facts < wanted && looked_at < LOOKED_AT {
            let page = self
                .supervisor
                .events(&session.session_id, 0, Some(before), BATCH)
                .await?;
            let Some(first) = page.first().map(|event| event.seq) else {
                before = 0;
                break;
            };
            let mut next = first;
            for event in page.into_iter().rev() {
                looked_at = looked_at.saturating_add(1);
                let EventBody::ConnectionsRecorded {
                    connections: found, ..
                } = event.body
                else {
                    continue;
                };
                let (seq, at) = (event.seq, timestamp(event.time_us));
                connections.extend(found.into_iter().map(|one| pb::RecordedConnection {
                    seq,
                    record_time: Some(at),
                    connection: Some(one.into()),
                }));
                facts += 1;
                if facts >= wanted {
                    next = seq;
                    break;
                }
            }
            before = next;
        }
        Ok(Response::new(pb::ListConnectionsResponse {
            connections,
            next_before_seq: if before > 1 { before } else { 0 },
        }))
    }

    async fn list_ports(&self, request: Request<pb::ListPortsRequest>) -> Reply<pb::ListPortsResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let ports = handle
            .ports()
            .await
            .into_iter()
            .map(|(one, local)| pb::ListeningPort {
                port: one.port.into(),
                address: one.address.to_string(),
                program: one.program,
                pid: one.pid,
                local_port: local.unwrap_or(0).into(),
            });
        Ok(Response::new(pb::ListPortsResponse {
            ports: ports.collect(),
        }))
    }

    async fn forward_port(&self, request: Request<pb::ForwardPortRequest>) -> Reply<pb::ForwardPortResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ForwardPort", request.get_ref())?;
        let wish = request.into_inner();
        let inside = port("port", wish.port)?;
        let local = match wish.local_port {
            0 => 0,
            number => port("local_port", number)?,
        };
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let (door, seq) = handle.forward(who, key, inside, local).await?;
        Ok(Response::new(pb::ForwardPortResponse {
            door: Some(door.into()),
            seq,
        }))
    }

    async fn request_host_port(
        &self,
        request: Request<pb::RequestHostPortRequest>,
    ) -> Reply<pb::RequestHostPortResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(
            &request.get_ref().request_id,
            "RequestHostPort",
            request.get_ref(),
        )?;
        let wish = request.into_inner();
        let port = port("port", wish.port)?;
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let (approval, seq) = handle.request_host_port(who, key, port).await?;
        Ok(Response::new(pb::RequestHostPortResponse {
            approval_id: approval.map(|id| id.to_string()).unwrap_or_default(),
            seq,
        }))
    }

    async fn close_port(&self, request: Request<pb::ClosePortRequest>) -> Reply<pb::ClosePortResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ClosePort", request.get_ref())?;
        let wish = request.into_inner();
        let (way, port) = (direction(wish.direction)?, port("port", wish.port)?);
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let seq = handle.close_port(who, key, way, port).await?;
        Ok(Response::new(pb::ClosePortResponse { seq }))
    }
}
