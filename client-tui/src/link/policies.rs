//! Owns: the calls about personas, policies, what was granted to projects, and which rule decides.

use agentd_proto::{Client, ClientError, id, pb};

use super::calls::Failed;
use super::panel::done;
use crate::model::panel::{Data, Deed, Draft, Named, SAVE, Trial};

/// Calls of the past that a rule is compared with.
const HISTORY: u32 = 500;

pub(super) async fn personas(client: &Client, session_id: String) -> Result<Data, ClientError> {
    let personas = client.list_personas(pb::ListPersonasRequest {}).await?.personas;
    let session = !session_id.is_empty();
    let chosen = match session {
        true => {
            let request = pb::GetSessionRequest { session_id };
            let found = client.get_session(request).await?.session;
            found.unwrap_or_default().persona
        }
        false => String::new(),
    };
    Ok(Data::Personas {
        personas,
        chosen,
        session,
    })
}

pub(super) async fn policies(client: &Client, session_id: String) -> Result<Data, ClientError> {
    let policies = client.list_policies(pb::ListPoliciesRequest {}).await?.policies;
    let in_force = match session_id.is_empty() {
        true => None,
        false => {
            let name = String::new();
            let request = pb::GetPolicyRequest { name, session_id };
            client.get_policy(request).await?.policy.map(Box::new)
        }
    };
    Ok(Data::Policies { policies, in_force })
}

pub(super) async fn grants(client: &Client) -> Result<Data, ClientError> {
    let list = |include_ended| pb::ListGrantsRequest {
        workspace: String::new(),
        include_ended,
    };
    // The daemon says which ones count: the clocks may differ.
    let counting = client.list_grants(list(false)).await?.grants;
    let mut ended = client.list_grants(list(true)).await?.grants;
    ended.retain(|one| counting.iter().all(|other| other.grant_id != one.grant_id));
    Ok(Data::Grants { counting, ended })
}

/// Which rule decides about a call; nothing runs.
pub(super) async fn tried(client: &Client, session: &str, trial: Trial) -> Result<Data, ClientError> {
    let path = trial.path().map(str::to_owned);
    let request = pb::TestPolicyRequest {
        session_id: match trial.policy.as_str() {
            "" => session.to_owned(),
            _ => String::new(),
        },
        policy: trial.policy.clone(),
        command: match path {
            Some(_) => String::new(),
            None => trial.command.clone(),
        },
        paths: path.into_iter().collect(),
        rule: trial.rule.clone(),
        history: HISTORY,
        ..Default::default()
    };
    let tested = client.test_policy(request).await?;
    Ok(Data::Trial(Box::new(trial), Box::new(tested)))
}

/// Gives a session another persona or policy.
pub(super) async fn choose(
    client: &Client,
    session_id: String,
    what: Named,
    name: String,
) -> Result<(), Failed> {
    let (persona, policy) = match what {
        Named::Persona => (name, String::new()),
        Named::Policy => (String::new(), name),
    };
    let request = pb::ChoosePersonaRequest {
        request_id: id::request_id(),
        session_id,
        persona,
        policy,
    };
    done(what.word(), client.choose_persona(request).await)
}

pub(super) async fn act(client: &Client, session_id: String, deed: Deed) -> Result<(), Failed> {
    let request_id = id::request_id();
    match deed {
        Deed::Choose(what, name) => choose(client, session_id, what, name).await,
        Deed::Save(draft) => save(client, request_id, draft).await,
        Deed::Remove(Named::Persona, name) => {
            let request = pb::DeletePersonaRequest { request_id, name };
            done("remove", client.delete_persona(request).await)
        }
        Deed::Remove(Named::Policy, name) => {
            let request = pb::DeletePolicyRequest { request_id, name };
            done("remove", client.delete_policy(request).await)
        }
        Deed::Revoke(grant_id) => {
            let request = pb::RevokeGrantRequest { request_id, grant_id };
            done("take back", client.revoke_grant(request).await)
        }
        _ => Ok(()),
    }
}

async fn save(client: &Client, request_id: String, draft: Draft) -> Result<(), Failed> {
    let Draft {
        what,
        name,
        toml,
        create,
    } = draft;
    match what {
        Named::Persona => {
            let request = pb::SavePersonaRequest {
                request_id,
                name,
                toml,
                create,
            };
            done(SAVE, client.save_persona(request).await)
        }
        Named::Policy => {
            let request = pb::SavePolicyRequest {
                request_id,
                name,
                toml,
                create,
            };
            done(SAVE, client.save_policy(request).await)
        }
    }
}
