//! Owns: WorkspaceService: a session's files, and what works in a jail on a directory.

use std::pin::Pin;

use agentd_proto::pb;
use futures::{Stream, StreamExt as _};
use pb::workspace_service_server::WorkspaceService;
use pb::write_file_request::Expect;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::convert::files as convert;
use super::convert::session::layout_asked;
use super::peer::caller;
use super::status::{No, Reply, invalid};
use crate::domain::principal::Scope;
use crate::session::FileWish;
use crate::supervisor::{ProjectWish, Supervisor};

/// Names in one answer, unless asked otherwise; and the most.
const PAGE: u32 = 1000;
const MAX_PAGE: u32 = 10_000;
/// The largest file that can be written.
const MAX_DATA: usize = 32 * 1024 * 1024;
/// The longest path the kernel takes.
const MAX_PATH: usize = 4096;

/// The service.
pub(super) struct Files {
    supervisor: Supervisor,
}

impl Files {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }
}

fn path(bytes: Vec<u8>) -> Result<Vec<u8>, No> {
    if bytes.len() > MAX_PATH {
        return Err(invalid("path has more than 4096 bytes").into());
    }
    Ok(bytes)
}

#[tonic::async_trait]
impl WorkspaceService for Files {
    async fn list_files(&self, request: Request<pb::ListFilesRequest>) -> Reply<pb::ListFilesResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let limit = match wish.page_size {
            0 => PAGE,
            size => size.min(MAX_PAGE),
        };
        let page = handle
            .list_files(path(wish.path)?, wish.after_name, limit as usize)
            .await?;
        Ok(Response::new(convert::page(page, limit as usize)))
    }

    type ReadFileStream = Pin<Box<dyn Stream<Item = Result<pb::ReadFileResponse, No>> + Send>>;

    async fn read_file(&self, request: Request<pb::ReadFileRequest>) -> Reply<Self::ReadFileStream> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let limit = Some(wish.limit_bytes).filter(|limit| *limit > 0);
        let pieces = handle.read_file(path(wish.path)?, wish.offset, limit).await?;
        let stream = ReceiverStream::new(pieces).map(|piece| Ok(convert::piece(piece?)));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn write_file(&self, request: Request<pb::WriteFileRequest>) -> Reply<pb::WriteFileResponse> {
        if request.get_ref().allow_protected {
            // What the host executes is written: more than driving what runs in a jail.
            super::auth::require(&request, Scope::Admin)?;
        }
        let who = caller(&request, &request.get_ref().request_id);
        let wish = request.into_inner();
        if wish.data.len() > MAX_DATA {
            return Err(invalid("data has more than 32 MiB").into());
        }
        let expected = match wish.expect {
            Some(Expect::ExpectedEtag(etag)) if !etag.is_empty() => Some(etag),
            Some(Expect::Absent(true)) => Some(String::new()),
            Some(Expect::Any(true)) => None,
            _ => return Err(invalid("expect is missing: expected_etag, absent or any").into()),
        };
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let file = FileWish {
            path: path(wish.path)?,
            data: wish.data,
            expected,
            allow_protected: wish.allow_protected,
        };
        let wrote = handle.write_file(who, file).await?;
        Ok(Response::new(pb::WriteFileResponse {
            etag: wrote.etag,
            path: wrote.path,
            written: wrote.written,
            created: wrote.created,
            seq: wrote.seq,
        }))
    }

    async fn check_project(
        &self,
        request: Request<pb::CheckProjectRequest>,
    ) -> Reply<pb::CheckProjectResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        if !wish.workspace.starts_with('/') {
            return Err(invalid("workspace must be an absolute path").into());
        }
        let wish = ProjectWish {
            workspace: wish.workspace.into(),
            start_dir: wish.start_dir.into(),
            search_path: wish.search_path,
            layout: layout_asked(wish.layout)?,
            principal: who.principal,
        };
        let project = self.supervisor.check_project(wish).await?;
        Ok(Response::new(project.into()))
    }
}
