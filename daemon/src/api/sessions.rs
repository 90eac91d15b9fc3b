//! Owns: SessionService: make, find, post to, follow.

use std::path::PathBuf;
use std::pin::Pin;

use agentd_proto::pb;
use futures::Stream;
use pb::session_service_server::SessionService;
use tonic::{Request, Response};

use super::convert::context::context;
use super::convert::files;
use super::convert::session as convert;
use super::peer::{caller, key};
use super::status::{No, Reply, invalid};
use super::watch;
use crate::board::Boards;
use crate::domain::command::{Command, Reply as Answer};
use crate::domain::event::TurnOptions;
use crate::domain::find::{LONGEST, Needle};
use crate::domain::id::Seq;
use crate::domain::principal::Scope;
use crate::domain::session::Summary;
use crate::session::{Environment, Post};
use crate::supervisor::{NewSession, SessionFilter, Supervisor};

/// Most sessions in one list.
const MAX_PAGE: u32 = 1000;
/// Events one call looks at.
const FIND_EVENTS: u32 = 10_000;

/// The service.
pub(super) struct Sessions {
    supervisor: Supervisor,
    boards: Boards,
}

impl Sessions {
    pub(super) fn new(supervisor: Supervisor, boards: Boards) -> Self {
        Self { supervisor, boards }
    }

    /// A session with its bounds.
    fn in_full(&self, session: Summary) -> pb::Session {
        let limits = self.supervisor.limits(&session);
        pb::Session {
            limits: limits.into_iter().map(Into::into).collect(),
            ..session.into()
        }
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Reply<pb::CreateSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "CreateSession", request.get_ref())?;
        if request.get_ref().jail == i32::from(pb::JailKind::Outer) {
            // Without a jail a session's shell is the user's own: more than driving.
            super::auth::require(&request, Scope::Admin)?;
        }
        if !request.get_ref().persona.is_empty() || !request.get_ref().policy.is_empty() {
            // Who chooses what is asked about could as well give the answers.
            super::auth::require(&request, Scope::Approve)?;
        }
        let wish = request.into_inner();
        if wish.model.len() > 200 {
            return Err(invalid("model has more than 200 bytes").into());
        }
        if !wish.workspace.starts_with('/') {
            return Err(invalid("workspace must be an absolute path").into());
        }
        let new = NewSession {
            name: wish.name,
            workspace: PathBuf::from(wish.workspace),
            start_dir: PathBuf::from(wish.start_dir),
            layout: convert::layout_asked(wish.layout)?,
            shell: convert::shell_asked(wish.shell)?,
            jail: convert::jail_asked(wish.jail)?,
            origin: convert::origin(wish.origin)?,
            model: Some(wish.model).filter(|m| !m.is_empty()),
            get_or_create: wish.get_or_create,
            task: convert::task_asked(&wish.task_id)?,
            network: convert::network_asked(wish.network)?,
            limits: files::limits_asked(wish.limits)?,
            added_dirs: files::added_asked(wish.added_dirs)?,
            search_path: files::search_path_asked(wish.search_path)?,
            log: convert::log_asked(wish.log_level)?,
            persona: wish.persona,
            policy: wish.policy,
        };
        let (handle, created) = self.supervisor.create(&who, key, new).await?;
        Ok(Response::new(pb::CreateSessionResponse {
            session: Some(self.in_full(handle.summary())),
            created,
        }))
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Reply<pb::GetSessionResponse> {
        let who = caller(&request, "");
        let found = self
            .supervisor
            .find_summary(&request.get_ref().session_id, &who)
            .await?;
        Ok(Response::new(pb::GetSessionResponse {
            session: Some(self.in_full(found)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Reply<pb::ListSessionsResponse> {
        let wish = request.into_inner();
        let limit = if wish.page_size == 0 {
            100
        } else {
            wish.page_size.min(MAX_PAGE)
        };
        let offset = match wish.page_token.as_str() {
            "" => 0,
            token => token
                .parse()
                .map_err(|_| invalid("page_token is not one of ours"))?,
        };
        let filter = SessionFilter {
            states: convert::states(&wish.states)?,
            workspace: Some(wish.workspace).filter(|w| !w.is_empty()),
            order: convert::order(wish.order)?,
            offset,
            limit,
        };
        let sessions = self.supervisor.list(filter).await?;
        let more = u32::try_from(sessions.len()).unwrap_or(u32::MAX) == limit;
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: sessions.into_iter().map(Into::into).collect(),
            next_page_token: if more {
                offset.saturating_add(limit).to_string()
            } else {
                String::new()
            },
        }))
    }

    async fn rename_session(
        &self,
        request: Request<pb::RenameSessionRequest>,
    ) -> Reply<pb::RenameSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "RenameSession", request.get_ref())?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let seq = handle.rename(who, key, wish.name).await?;
        Ok(Response::new(pb::RenameSessionResponse { seq }))
    }

    async fn post_message(&self, request: Request<pb::PostMessageRequest>) -> Reply<pb::PostMessageResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let fingerprint = pb::PostMessageRequest {
            environment: None,
            ..request.get_ref().clone()
        };
        let key = key(&request.get_ref().request_id, "PostMessage", &fingerprint)?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let variables = wish.environment.map(|e| e.variables).unwrap_or_default();
        let environment = Environment::from_vars(variables);
        let named = Some(wish.model).filter(|m| !m.is_empty());
        let (model, choose_model) = self
            .supervisor
            .model_for(&handle, named.as_deref(), &environment)
            .await?;
        let deny = match pb::OnApproval::try_from(wish.on_approval) {
            Ok(mode) => mode == pb::OnApproval::Deny,
            Err(_) => return Err(invalid("on_approval is not a mode").into()),
        };
        let max_steps = self.supervisor.max_steps(wish.max_steps);
        let post = Post {
            parts: convert::posted(wish.parts)?,
            model: Some(model),
            choose_model,
            options: TurnOptions {
                deny_approvals: deny,
                approver_present: wish.approver_present,
                max_steps,
                budget_micro_usd: Some(wish.budget_micro_usd).filter(|limit| *limit > 0),
                effort: convert::effort(wish.effort)?,
                json_schema: convert::json_schema(wish.json_schema)?,
                compact_only: false,
            },
            steer: wish.steer,
            expected_head: Some(wish.expected_head).filter(|head| *head > 0),
        };
        match handle.post(who, key, post).await? {
            Answer::Posted {
                seq,
                message_id,
                queued,
                turn_id,
            } => Ok(Response::new(pb::PostMessageResponse {
                seq,
                message_id: message_id.to_string(),
                queued,
                turn_id: turn_id.map(|t| t.to_string()).unwrap_or_default(),
            })),
            _ => Err(invalid("request_id belongs to another call").into()),
        }
    }

    async fn list_queued_messages(
        &self,
        request: Request<pb::ListQueuedMessagesRequest>,
    ) -> Reply<pb::ListQueuedMessagesResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let waiting = handle.queue().await?;
        Ok(Response::new(pb::ListQueuedMessagesResponse {
            messages: waiting.into_iter().map(Into::into).collect(),
        }))
    }

    async fn edit_message(&self, request: Request<pb::EditMessageRequest>) -> Reply<pb::EditMessageResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "EditMessage", request.get_ref())?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        if wish.parts.is_empty() && wish.steer.is_none() {
            return Err(invalid("nothing to change: give parts or steer").into());
        }
        let parts = match wish.parts.is_empty() {
            true => None,
            false => Some(convert::edited(wish.parts)?),
        };
        let command = Command::EditMessage {
            message_id: convert::message_id(&wish.message_id)?,
            parts,
            steer: wish.steer,
        };
        let seq = handle.change_queue(who, key, command).await?;
        Ok(Response::new(pb::EditMessageResponse { seq }))
    }

    async fn remove_message(
        &self,
        request: Request<pb::RemoveMessageRequest>,
    ) -> Reply<pb::RemoveMessageResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "RemoveMessage", request.get_ref())?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let message_id = convert::message_id(&wish.message_id)?;
        let seq = handle
            .change_queue(who, key, Command::RemoveMessage { message_id })
            .await?;
        Ok(Response::new(pb::RemoveMessageResponse { seq }))
    }

    async fn list_clients(&self, request: Request<pb::ListClientsRequest>) -> Reply<pb::ListClientsResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let attached = handle.attached();
        Ok(Response::new(pb::ListClientsResponse {
            clients: attached.iter().map(|one| convert::attached(one, None)).collect(),
        }))
    }

    async fn compact_session(
        &self,
        request: Request<pb::CompactSessionRequest>,
    ) -> Reply<pb::CompactSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "CompactSession", request.get_ref())?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let seq = handle.compact(who, key, wish.focus).await?;
        Ok(Response::new(pb::CompactSessionResponse { seq }))
    }

    async fn get_context(&self, request: Request<pb::GetContextRequest>) -> Reply<pb::GetContextResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        Ok(Response::new(context(handle.context().await?)))
    }

    async fn interrupt_turn(
        &self,
        request: Request<pb::InterruptTurnRequest>,
    ) -> Reply<pb::InterruptTurnResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "InterruptTurn", request.get_ref())?;
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let seq = handle.interrupt(who, key).await?;
        Ok(Response::new(pb::InterruptTurnResponse { seq }))
    }

    async fn list_events(&self, request: Request<pb::ListEventsRequest>) -> Reply<pb::ListEventsResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let found = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let limit = if wish.page_size == 0 {
            500
        } else {
            wish.page_size.min(5000)
        };
        let before = Some(wish.before_seq).filter(|seq| *seq > 0);
        let events = self
            .supervisor
            .events(&found.session_id, wish.after_seq, before, limit)
            .await?;
        Ok(Response::new(pb::ListEventsResponse {
            events: events.into_iter().map(Into::into).collect(),
            head: found.head,
        }))
    }

    async fn find_in_session(
        &self,
        request: Request<pb::FindInSessionRequest>,
    ) -> Reply<pb::FindInSessionResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let needle = Needle::new(&wish.text)
            .ok_or_else(|| invalid(format!("text is empty or has more than {LONGEST} characters")))?;
        let session_id = self
            .supervisor
            .find_summary(&wish.session_id, &who)
            .await?
            .session_id;
        let most = if wish.page_size == 0 {
            50
        } else {
            wish.page_size.min(500) as usize
        };
        let before = if wish.before_seq == 0 {
            Seq::MAX
        } else {
            wish.before_seq
        };
        let places = self
            .supervisor
            .find_text(&session_id, needle, before, FIND_EVENTS, most)
            .await?;
        let found = places.found.into_iter();
        Ok(Response::new(pb::FindInSessionResponse {
            found: found.map(|(seq, line)| pb::FoundText { seq, line }).collect(),
            next_before_seq: places.before,
        }))
    }

    type WatchSessionStream = Pin<Box<dyn Stream<Item = Result<pb::WatchSessionResponse, No>> + Send>>;

    async fn watch_session(
        &self,
        request: Request<pb::WatchSessionRequest>,
    ) -> Reply<Self::WatchSessionStream> {
        let who = caller(&request, "");
        let wish = request
            .into_inner()
            .subscription
            .ok_or_else(|| invalid("subscription is missing"))?;
        Ok(Response::new(Box::pin(
            watch::one(&self.supervisor, &who, wish).await?,
        )))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, No>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        Ok(Response::new(Box::pin(
            watch::many(&self.supervisor, &self.boards, &who, wish).await?,
        )))
    }
}
