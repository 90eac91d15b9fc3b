//! Owns: ApprovalService: the inbox of questions.

use agentd_proto::pb;
use pb::approval_service_server::ApprovalService;
use tonic::{Request, Response};

use super::convert::approval as convert;
use super::peer::{caller, key};
use super::status::Reply;
use crate::clock::now_us;
use crate::domain::decide::decided;
use crate::session::{Fault, Resolution};
use crate::supervisor::Supervisor;

/// The service.
pub(super) struct Approvals {
    supervisor: Supervisor,
}

impl Approvals {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }

    async fn get(&self, id: &str) -> Result<pb::Approval, Fault> {
        let (session, approval) = self.supervisor.find_approval(id).await?;
        Ok(convert::approval(&session.session_id, &session.name, approval))
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn list_approvals(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Reply<pb::ListApprovalsResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let limit = if wish.page_size == 0 {
            100
        } else {
            wish.page_size.min(1000)
        };
        let session = match wish.session_id.as_str() {
            "" => None,
            text => Some(self.supervisor.find_summary(text, &who).await?.session_id),
        };
        let rows = self
            .supervisor
            .approvals(session.as_ref(), wish.include_decided, limit)
            .await?;
        let approvals = rows
            .into_iter()
            .map(|(s, a)| convert::approval(&s.session_id, &s.name, a))
            .collect();
        Ok(Response::new(pb::ListApprovalsResponse { approvals }))
    }

    async fn get_approval(&self, request: Request<pb::GetApprovalRequest>) -> Reply<pb::GetApprovalResponse> {
        let approval = self.get(&request.get_ref().approval_id).await?;
        Ok(Response::new(pb::GetApprovalResponse {
            approval: Some(approval),
        }))
    }

    async fn resolve_approval(
        &self,
        request: Request<pb::ResolveApprovalRequest>,
    ) -> Reply<pb::ResolveApprovalResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(
            &request.get_ref().request_id,
            "ResolveApproval",
            request.get_ref(),
        )?;
        let wish = request.into_inner();
        let verdict = convert::verdict(wish.decision)?;
        let rules_until_us = convert::until(verdict, wish.expires_in.as_ref(), now_us())?;
        let (session, approval) = self.supervisor.find_approval(&wish.approval_id).await?;
        let id = approval.approval_id.clone();
        let handle = self.supervisor.handle(&session.session_id).await?;
        let head = Some(wish.expected_head).filter(|head| *head > 0);
        let resolution = Resolution {
            verdict,
            reason: wish.reason,
            rules: wish.rules,
            rules_until_us,
            expected_head: head,
        };
        let done = handle.resolve(who, key, id.clone(), resolution).await;
        let seq = match (done, &approval.answer) {
            (Ok(seq), _) => seq,
            // Decided long ago: the actor no longer remembers, the store does.
            (Err(_), Some(answer)) => return Err(decided(id.as_str(), answer).into()),
            (Err(fault), None) => return Err(fault.into()),
        };
        let approval = self.get(id.as_str()).await?;
        Ok(Response::new(pb::ResolveApprovalResponse {
            approval: Some(approval),
            seq,
        }))
    }
}
