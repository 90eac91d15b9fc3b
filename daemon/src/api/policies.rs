//! Owns: PolicyService: personas, policies, what decides, and what was granted.

use agentd_proto::pb;
use pb::policy_service_server::PolicyService;
use tonic::{Request, Response};

use super::convert::policy as convert;
use super::peer::{caller, key};
use super::status::Reply;
use crate::personas::Kind;
use crate::supervisor::{PolicyTest, Supervisor};

/// The service.
pub(super) struct Policies {
    supervisor: Supervisor,
}

impl Policies {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list_personas(&self, _: Request<pb::ListPersonasRequest>) -> Reply<pb::ListPersonasResponse> {
        let personas = self.supervisor.personas().personas();
        Ok(Response::new(pb::ListPersonasResponse {
            personas: personas.into_iter().map(convert::persona).collect(),
        }))
    }

    async fn get_persona(&self, request: Request<pb::GetPersonaRequest>) -> Reply<pb::GetPersonaResponse> {
        let found = self.supervisor.personas().persona(&request.get_ref().name)?;
        Ok(Response::new(pb::GetPersonaResponse {
            persona: Some(convert::persona(found)),
        }))
    }

    async fn save_persona(&self, request: Request<pb::SavePersonaRequest>) -> Reply<pb::SavePersonaResponse> {
        let wish = request.into_inner();
        self.supervisor
            .personas()
            .save(Kind::Persona, &wish.name, &wish.toml, wish.create)?;
        let kept = self.supervisor.personas().persona(&wish.name)?;
        Ok(Response::new(pb::SavePersonaResponse {
            persona: Some(convert::persona(kept)),
        }))
    }

    async fn delete_persona(
        &self,
        request: Request<pb::DeletePersonaRequest>,
    ) -> Reply<pb::DeletePersonaResponse> {
        self.supervisor
            .personas()
            .delete(Kind::Persona, &request.get_ref().name)?;
        Ok(Response::new(pb::DeletePersonaResponse {}))
    }

    async fn list_policies(&self, _: Request<pb::ListPoliciesRequest>) -> Reply<pb::ListPoliciesResponse> {
        let policies = self.supervisor.personas().policies();
        Ok(Response::new(pb::ListPoliciesResponse {
            policies: policies.into_iter().map(convert::policy).collect(),
        }))
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Reply<pb::GetPolicyResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let policy = if wish.session_id.is_empty() {
            convert::policy(self.supervisor.personas().policy(&wish.name)?)
        } else {
            let (policy, ignored) = self.supervisor.policy_of(&wish.session_id, &who).await?;
            convert::in_force(&policy, ignored)
        };
        Ok(Response::new(pb::GetPolicyResponse { policy: Some(policy) }))
    }

    async fn save_policy(&self, request: Request<pb::SavePolicyRequest>) -> Reply<pb::SavePolicyResponse> {
        let wish = request.into_inner();
        self.supervisor
            .personas()
            .save(Kind::Policy, &wish.name, &wish.toml, wish.create)?;
        let kept = self.supervisor.personas().policy(&wish.name)?;
        Ok(Response::new(pb::SavePolicyResponse {
            policy: Some(convert::policy(kept)),
        }))
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Reply<pb::DeletePolicyResponse> {
        self.supervisor
            .personas()
            .delete(Kind::Policy, &request.get_ref().name)?;
        Ok(Response::new(pb::DeletePolicyResponse {}))
    }

    async fn choose_persona(
        &self,
        request: Request<pb::ChoosePersonaRequest>,
    ) -> Reply<pb::ChoosePersonaResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ChoosePersona", request.get_ref())?;
        let wish = request.into_inner();
        let (handle, seq) = self
            .supervisor
            .choose_persona(who, key, &wish.session_id, &wish.persona, &wish.policy)
            .await?;
        Ok(Response::new(pb::ChoosePersonaResponse {
            seq,
            session: Some(handle.summary().into()),
        }))
    }

    async fn test_policy(&self, request: Request<pb::TestPolicyRequest>) -> Reply<pb::TestPolicyResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let test = PolicyTest {
            session: wish.session_id,
            policy: wish.policy,
            persona: wish.persona,
            command: wish.command,
            paths: wish.paths,
            rule: wish.rule,
            history: wish.history,
            workspace: wish.workspace,
        };
        let tested = self.supervisor.test_policy(test, &who).await?;
        Ok(Response::new(convert::tested(tested)))
    }

    async fn list_grants(&self, request: Request<pb::ListGrantsRequest>) -> Reply<pb::ListGrantsResponse> {
        let wish = request.into_inner();
        let grants = self
            .supervisor
            .project_grants(&wish.workspace, wish.include_ended)
            .await?;
        Ok(Response::new(pb::ListGrantsResponse {
            grants: grants.into_iter().map(convert::grant).collect(),
        }))
    }

    async fn revoke_grant(&self, request: Request<pb::RevokeGrantRequest>) -> Reply<pb::RevokeGrantResponse> {
        let grant = self.supervisor.revoke_grant(&request.get_ref().grant_id).await?;
        Ok(Response::new(pb::RevokeGrantResponse {
            grant: Some(convert::grant(grant)),
        }))
    }
}
