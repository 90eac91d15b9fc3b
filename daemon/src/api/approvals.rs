//! Owns: ApprovalService: the inbox of questions.

use agentd_proto::pb;
use pb::approval_service_server::ApprovalService;
use tonic::{Request, Response, Status};

use super::convert::approval as convert;
use super::peer::{caller, key};
use super::status::{rejected, status};
use crate::domain::decide::decided;
use crate::supervisor::Supervisor;

/// The service.
pub(super) struct Approvals {
    supervisor: Supervisor,
}

impl Approvals {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }

    async fn get(&self, id: &str) -> Result<pb::Approval, Status> {
        let (session, approval) = self.supervisor.find_approval(id).await.map_err(status)?;
        Ok(convert::approval(&session.session_id, &session.name, approval))
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn list_approvals(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Result<Response<pb::ListApprovalsResponse>, Status> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let limit = if wish.page_size == 0 { 100 } else { wish.page_size.min(1000) };
        let session = match wish.session_id.as_str() {
            "" => None,
            text => Some(self.supervisor.find_summary(text, &who).await.map_err(status)?.session_id),
        };
        let rows = self.supervisor.approvals(session.as_ref(), wish.include_decided, limit).await.map_err(status)?;
        let approvals =
            rows.into_iter().map(|(s, a)| convert::approval(&s.session_id, &s.name, a)).collect();
        Ok(Response::new(pb::ListApprovalsResponse { approvals }))
    }

    async fn get_approval(
        &self,
        request: Request<pb::GetApprovalRequest>,
    ) -> Result<Response<pb::GetApprovalResponse>, Status> {
        let approval = self.get(&request.get_ref().approval_id).await?;
        Ok(Response::new(pb::GetApprovalResponse { approval: Some(approval) }))
    }

    async fn resolve_approval(
        &self,
        request: Request<pb::ResolveApprovalRequest>,
    ) -> Result<Response<pb::ResolveApprovalResponse>, Status> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ResolveApproval", request.get_ref())?;
        let wish = request.into_inner();
        let verdict = convert::verdict(wish.decision)?;
        let (session, approval) = self.supervisor.find_approval(&wish.approval_id).await.map_err(status)?;
        let id = approval.approval_id.clone();
        let handle = self.supervisor.handle(&session.session_id).await.map_err(status)?;
        let head = Some(wish.expected_head).filter(|head| *head > 0);
        let done = handle.resolve(who, key, id.clone(), verdict, wish.reason, head).await;
        let seq = match (done, &approval.answer) {
            (Ok(seq), _) => seq,
            // Decided long ago: the actor no longer remembers, the store does.
            (Err(_), Some(answer)) => return Err(rejected(&decided(id.as_str(), answer))),
            (Err(fault), None) => return Err(status(fault)),
        };
        let approval = self.get(id.as_str()).await?;
        Ok(Response::new(pb::ResolveApprovalResponse { approval: Some(approval), seq }))
    }
}
