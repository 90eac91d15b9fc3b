//! Owns: LifecycleService: pause, archive, trash, search, copies, redaction, storage.

use std::pin::Pin;

use agentd_proto::pb;
use futures::{Stream, StreamExt as _};
use pb::lifecycle_service_server::LifecycleService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::convert::timestamp;
use super::peer::{caller, key};
use super::status::{No, Reply, invalid};
use crate::supervisor::{
    Deletion, Found, Piece, PruneWish, RedactWish, Report, SearchWish, Storage, Supervisor, Upload,
};

/// The service.
pub(super) struct Lifecycle {
    supervisor: Supervisor,
}

impl Lifecycle {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }
}

/// One of the changes that are a handle's method and answer with a seq.
macro_rules! change {
    ($self:ident, $request:ident, $name:literal, $response:ident, |$handle:ident, $who:ident, $key:ident| $change:expr) => {{
        let $who = caller(&$request, &$request.get_ref().request_id);
        let $key = key(&$request.get_ref().request_id, $name, $request.get_ref())?;
        let $handle = $self
            .supervisor
            .find(&$request.get_ref().session_id, &$who)
            .await?;
        let seq = $change.await?;
        Ok(Response::new(pb::$response { seq }))
    }};
}

#[tonic::async_trait]
impl LifecycleService for Lifecycle {
    async fn pause_session(
        &self,
        request: Request<pb::PauseSessionRequest>,
    ) -> Reply<pb::PauseSessionResponse> {
        change!(
            self,
            request,
            "PauseSession",
            PauseSessionResponse,
            |handle, who, key| { handle.pause(who, key, request.get_ref().reason.clone()) }
        )
    }

    async fn resume_session(
        &self,
        request: Request<pb::ResumeSessionRequest>,
    ) -> Reply<pb::ResumeSessionResponse> {
        change!(
            self,
            request,
            "ResumeSession",
            ResumeSessionResponse,
            |handle, who, key| { handle.resume(who, key) }
        )
    }

    async fn archive_session(
        &self,
        request: Request<pb::ArchiveSessionRequest>,
    ) -> Reply<pb::ArchiveSessionResponse> {
        change!(
            self,
            request,
            "ArchiveSession",
            ArchiveSessionResponse,
            |handle, who, key| { handle.archive(who, key) }
        )
    }

    async fn unarchive_session(
        &self,
        request: Request<pb::UnarchiveSessionRequest>,
    ) -> Reply<pb::UnarchiveSessionResponse> {
        change!(
            self,
            request,
            "UnarchiveSession",
            UnarchiveSessionResponse,
            |handle, who, key| { handle.unarchive(who, key) }
        )
    }

    async fn delete_session(
        &self,
        request: Request<pb::DeleteSessionRequest>,
    ) -> Reply<pb::DeleteSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "DeleteSession", request.get_ref())?;
        let wish = request.into_inner();
        let session = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let deletion = if wish.validate_only {
            self.supervisor.deletion(session, wish.purge).await?
        } else {
            self.supervisor.delete(who, key, session, wish.purge).await?
        };
        Ok(Response::new(deletion.into()))
    }

    async fn restore_session(
        &self,
        request: Request<pb::RestoreSessionRequest>,
    ) -> Reply<pb::RestoreSessionResponse> {
        change!(
            self,
            request,
            "RestoreSession",
            RestoreSessionResponse,
            |handle, who, key| { handle.restore(who, key) }
        )
    }

    async fn search_sessions(
        &self,
        request: Request<pb::SearchSessionsRequest>,
    ) -> Reply<pb::SearchSessionsResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        if wish.text.len() > 1000 {
            return Err(invalid("text has more than 1000 bytes").into());
        }
        if !wish.text.chars().any(char::is_alphanumeric) {
            return Err(
                invalid("nothing to look for: give at least one word with a letter or a digit").into(),
            );
        }
        let session_id = match wish.session_id.as_str() {
            "" => None,
            text => Some(self.supervisor.find_summary(text, &who).await?.session_id),
        };
        let limit = if wish.page_size == 0 {
            50
        } else {
            wish.page_size.min(500)
        };
        let found = self
            .supervisor
            .search(SearchWish {
                text: wish.text,
                session_id,
                archived: wish.include_archived,
                limit,
            })
            .await?;
        Ok(Response::new(pb::SearchSessionsResponse {
            hits: found.into_iter().map(Into::into).collect(),
        }))
    }

    async fn fork_session(&self, request: Request<pb::ForkSessionRequest>) -> Reply<pb::ForkSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ForkSession", request.get_ref())?;
        let wish = request.into_inner();
        let original = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let handle = self
            .supervisor
            .fork(&who, key, original, wish.seq, &wish.name)
            .await?;
        Ok(Response::new(pb::ForkSessionResponse {
            session: Some(handle.summary().into()),
        }))
    }

    type ExportSessionStream = Pin<Box<dyn Stream<Item = Result<pb::ExportSessionResponse, No>> + Send>>;

    async fn export_session(
        &self,
        request: Request<pb::ExportSessionRequest>,
    ) -> Reply<Self::ExportSessionStream> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let session = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let pieces = self.supervisor.export(session, !wish.without_outputs);
        let stream = ReceiverStream::new(pieces).map(|piece| piece.map(Into::into).map_err(No::from));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn import_session(
        &self,
        request: Request<pb::ImportSessionRequest>,
    ) -> Reply<pb::ImportSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let fingerprint = pb::ImportSessionRequest {
            data: Vec::new(),
            ..request.get_ref().clone()
        };
        let key = key(&request.get_ref().request_id, "ImportSession", &fingerprint)?;
        let wish = request.into_inner();
        if wish.last && !wish.workspace.starts_with('/') {
            return Err(invalid("workspace must be an absolute path").into());
        }
        let upload = Upload {
            id: wish.upload_id,
            offset: wish.offset,
            data: wish.data,
            workspace: wish.last.then(|| wish.workspace.into()),
            name: wish.name,
        };
        let (next_offset, made) = Box::pin(self.supervisor.take_in(&who, key, upload)).await?;
        let (session, report) = made.map(|(handle, report)| (handle.summary(), report)).unzip();
        Ok(Response::new(pb::ImportSessionResponse {
            next_offset,
            session: session.map(Into::into),
            report: report.map(Into::into),
        }))
    }

    async fn redact_session(
        &self,
        request: Request<pb::RedactSessionRequest>,
    ) -> Reply<pb::RedactSessionResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "RedactSession", request.get_ref())?;
        let wish = request.into_inner();
        let session = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let what = if wish.text.is_empty() {
            if wish.from_seq == 0 || wish.to_seq < wish.from_seq {
                return Err(invalid("from_seq to to_seq is no range, and there is no text").into());
            }
            RedactWish::Range(wish.from_seq, wish.to_seq)
        } else {
            RedactWish::Text(wish.text)
        };
        let done = self
            .supervisor
            .redact(who, key, session, what, wish.reason)
            .await?;
        Ok(Response::new(pb::RedactSessionResponse {
            seq: done.seq,
            seqs: done.events,
            outputs: done.outputs,
            also_in: done.also_in.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn audit_session(
        &self,
        request: Request<pb::AuditSessionRequest>,
    ) -> Reply<pb::AuditSessionResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let session = self.supervisor.find_summary(&wish.session_id, &who).await?;
        let audit = self.supervisor.audit(&session, wish.after_seq).await?;
        Ok(Response::new(audit.into()))
    }

    async fn get_cassette(&self, request: Request<pb::GetCassetteRequest>) -> Reply<pb::GetCassetteResponse> {
        let who = caller(&request, "");
        let session = self
            .supervisor
            .find_summary(&request.get_ref().session_id, &who)
            .await?;
        let cassette = self.supervisor.cassette(&session).await?;
        Ok(Response::new(pb::GetCassetteResponse {
            data: cassette.data,
            prompts: cassette.prompts,
            steps: cassette.steps,
        }))
    }

    async fn report_storage(
        &self,
        _request: Request<pb::ReportStorageRequest>,
    ) -> Reply<pb::ReportStorageResponse> {
        Ok(Response::new(self.supervisor.storage().await?.into()))
    }

    async fn prune_storage(
        &self,
        request: Request<pb::PruneStorageRequest>,
    ) -> Reply<pb::PruneStorageResponse> {
        let wish = request.into_inner();
        let outputs_older = wish
            .outputs_older_than
            .as_ref()
            .map(|age| super::convert::duration("outputs_older_than", age))
            .transpose()?;
        let pruned = self
            .supervisor
            .prune(PruneWish {
                outputs_older,
                trash: wish.trash,
                dry: wish.validate_only,
            })
            .await?;
        Ok(Response::new(pb::PruneStorageResponse {
            outputs: pruned.outputs,
            output_bytes: pruned.output_bytes,
            sessions: pruned.sessions,
        }))
    }
}

impl From<Found> for pb::SearchHit {
    fn from(found: Found) -> Self {
        Self {
            session: Some(found.session.into()),
            seq: found.event.seq,
            event_time: Some(timestamp(found.event.time_us)),
            kind: found.event.body.kind().to_owned(),
            snippet: found.snippet,
        }
    }
}

impl From<Piece> for pb::ExportSessionResponse {
    fn from(piece: Piece) -> Self {
        use pb::export_session_response::Piece as Wire;
        Self {
            piece: Some(match piece {
                Piece::Data(data) => Wire::Data(data),
                Piece::End(report) => Wire::Report((*report).into()),
            }),
        }
    }
}

impl From<Report> for pb::BundleReport {
    fn from(report: Report) -> Self {
        Self {
            events: report.events,
            outputs: report.outputs,
            cut_outputs: report.cut_outputs,
            redacted: report.redacted,
            redacted_seqs: report.redacted_seqs,
            principals: report.principals,
        }
    }
}

impl From<Storage> for pb::ReportStorageResponse {
    fn from(s: Storage) -> Self {
        Self {
            database_bytes: s.database_bytes,
            output_bytes: s.output_bytes,
            sessions: s.sessions,
            archived_sessions: s.archived,
            deleted_sessions: s.deleted,
            max_output_bytes: s.max_output.unwrap_or(0),
            max_log_bytes: s.max_log.unwrap_or(0),
            largest: s
                .largest
                .into_iter()
                .map(|(id, name, output_bytes)| pb::SessionStorage {
                    session_id: id.to_string(),
                    name,
                    output_bytes,
                })
                .collect(),
        }
    }
}

impl From<Deletion> for pb::DeleteSessionResponse {
    fn from(d: Deletion) -> Self {
        Self {
            seq: d.seq,
            purge_time: d.purge_us.map(timestamp),
            loss: Some(pb::DeletionLoss {
                events: d.loss.events,
                messages: d.loss.messages,
                commands: d.loss.commands,
                output_bytes: d.output_bytes,
                open_turn: d.session.turn_id.is_some(),
                open_commands: d.session.open_execs,
                queued_messages: d.session.queued,
                session: Some(d.session.into()),
            }),
        }
    }
}
