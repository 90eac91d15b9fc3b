//! Owns: ShellService: commands in a session's persistent shell, their input and output.

use std::pin::Pin;
use std::time::Duration;

use agentd_proto::pb;
use futures::Stream;
use pb::read_output_response::Item;
use pb::shell_service_server::ShellService;
use tonic::{Request, Response};

use super::convert::shell as convert;
use super::peer::{caller, key};
use super::status::{No, Reply, invalid};
use crate::domain::event::ExecResult;
use crate::domain::id::ExecId;
use crate::session::{Fault, OutputKind, OutputPiece, Run, SessionHandle, Shown, Stdin, Viewing};
use crate::supervisor::Supervisor;

/// Bytes of each stream in an answer to Exec, unless asked otherwise; and the most.
const CAPTURE: u64 = 1024 * 1024;
const MAX_CAPTURE: u64 = 64 * 1024 * 1024;
/// Bytes in one chunk of a stream.
const CHUNK: u64 = 256 * 1024;

/// The service.
pub(super) struct Shells {
    supervisor: Supervisor,
}

impl Shells {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }

    async fn start<T>(
        &self,
        request: &Request<T>,
        (session_id, request_id): (&str, &str),
        key: Option<crate::supervisor::RequestKey>,
        mut run: Run,
    ) -> Result<(SessionHandle, ExecId, u64), Fault> {
        let who = caller(request, request_id);
        let handle = self.supervisor.find(session_id, &who).await?;
        if run.timeout.is_none() && !run.interactive {
            run.timeout = self.supervisor.exec_timeout();
        }
        let (exec_id, seq) = handle.start_exec(who, key, run).await?;
        Ok((handle, exec_id, seq))
    }
}

#[tonic::async_trait]
impl ShellService for Shells {
    async fn exec(&self, request: Request<pb::ExecRequest>) -> Reply<pb::ExecResponse> {
        let wish = request.get_ref();
        let key = key(&wish.request_id, "Exec", wish)?;
        let run = convert::run(wish.command.clone())?;
        if run.stdin != Stdin::None {
            return Err(invalid("stdin must be NONE here: use StartExec for input").into());
        }
        let capture = if wish.capture_bytes == 0 {
            CAPTURE
        } else {
            wish.capture_bytes.min(MAX_CAPTURE)
        };
        let ids = (wish.session_id.as_str(), wish.request_id.as_str());
        let (handle, exec_id, started) = self.start(&request, ids, key, run).await?;
        let result = handle.exec_finished(&exec_id, started).await?;
        let output = handle.output(&exec_id).await?;
        let (out, out_tail, out_cut) = output.ends(OutputKind::Stdout, &result, capture).await;
        let (err, err_tail, err_cut) = output.ends(OutputKind::Stderr, &result, capture).await;
        Ok(Response::new(pb::ExecResponse {
            exec_id: exec_id.to_string(),
            result: Some(result.into()),
            stdout: [out, out_tail].concat(),
            stderr: [err, err_tail].concat(),
            truncated: out_cut || err_cut,
            seq: handle.summary().head,
            session_id: handle.session_id().to_string(),
        }))
    }

    async fn start_exec(&self, request: Request<pb::StartExecRequest>) -> Reply<pb::StartExecResponse> {
        let wish = request.get_ref();
        let key = key(&wish.request_id, "StartExec", wish)?;
        let run = convert::run(wish.command.clone())?;
        let ids = (wish.session_id.as_str(), wish.request_id.as_str());
        let (handle, exec_id, seq) = self.start(&request, ids, key, run).await?;
        Ok(Response::new(pb::StartExecResponse {
            exec_id: exec_id.to_string(),
            seq,
            session_id: handle.session_id().to_string(),
        }))
    }

    type ReadOutputStream = Pin<Box<dyn Stream<Item = Result<pb::ReadOutputResponse, No>> + Send>>;

    async fn read_output(&self, request: Request<pb::ReadOutputRequest>) -> Reply<Self::ReadOutputStream> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let exec_id = convert::exec_id(&wish.exec_id)?;
        handle.output(&exec_id).await?;
        let viewer = convert::viewer(wish.viewer)?;
        let from = (!wish.screen).then_some(wish.stdout_offset);
        let view = Some(viewer)
            .filter(|viewer| !viewer.is_empty())
            .and_then(|viewer| handle.view(&exec_id, &viewer, from));
        let reader = Reader {
            view,
            handle,
            exec_id,
            offsets: [wish.stdout_offset, wish.stderr_offset],
            follow: wish.follow,
            ended: None,
            told: false,
            turn: 0,
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            Some(reader),
            Reader::next,
        ))))
    }

    async fn write_input(&self, request: Request<pb::WriteInputRequest>) -> Reply<pb::WriteInputResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        if wish.data.len() > 256 * 1024 {
            return Err(invalid("data has more than 256 KiB").into());
        }
        if wish.writer.chars().count() > 64 {
            return Err(invalid("writer has more than 64 characters").into());
        }
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let exec_id = convert::exec_id(&wish.exec_id)?;
        let next_offset = handle
            .write_input(
                &exec_id,
                (wish.writer, wish.offset),
                (wish.data, wish.eof),
                wish.unless_held,
            )
            .await?;
        Ok(Response::new(pb::WriteInputResponse { next_offset }))
    }

    async fn get_screen(&self, request: Request<pb::GetScreenRequest>) -> Reply<pb::GetScreenResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let exec_id = convert::exec_id(&wish.exec_id)?;
        // A run that is over has no screen; one that never was is not found.
        handle.output(&exec_id).await?;
        let screen = Some(handle.screen(&exec_id).await?.into());
        Ok(Response::new(pb::GetScreenResponse { screen }))
    }

    async fn ack_output(&self, request: Request<pb::AckOutputRequest>) -> Reply<pb::AckOutputResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let exec_id = convert::exec_id(&wish.exec_id)?;
        let viewer = convert::viewer(wish.viewer)?;
        if viewer.is_empty() {
            return Err(
                invalid("viewer is missing: the name given with the watch or with ReadOutput").into(),
            );
        }
        handle.ack_output(&exec_id, &viewer, wish.offset);
        Ok(Response::new(pb::AckOutputResponse {}))
    }

    async fn resize_pty(&self, request: Request<pb::ResizePtyRequest>) -> Reply<pb::ResizePtyResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let size = convert::size(wish.size)?;
        handle
            .resize(&convert::exec_id(&wish.exec_id)?, size.cols, size.rows)
            .await?;
        Ok(Response::new(pb::ResizePtyResponse {}))
    }

    async fn interrupt_exec(
        &self,
        request: Request<pb::InterruptExecRequest>,
    ) -> Reply<pb::InterruptExecResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        handle.interrupt_exec(&convert::exec_id(&wish.exec_id)?).await?;
        Ok(Response::new(pb::InterruptExecResponse {}))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Reply<pb::ListJobsResponse> {
        let who = caller(&request, "");
        let handle = self.supervisor.find(&request.get_ref().session_id, &who).await?;
        let jobs = handle.jobs().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListJobsResponse { jobs }))
    }

    async fn end_job(&self, request: Request<pb::EndJobRequest>) -> Reply<pb::EndJobResponse> {
        let who = caller(&request, "");
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        handle.end_job(&convert::exec_id(&wish.exec_id)?).await?;
        Ok(Response::new(pb::EndJobResponse {}))
    }

    async fn open_shell(&self, request: Request<pb::OpenShellRequest>) -> Reply<pb::OpenShellResponse> {
        let wish = request.get_ref();
        let key = key(&wish.request_id, "OpenShell", wish)?;
        let run = Run {
            script: Vec::new(),
            stdin: Stdin::Pty(convert::size(wish.size)?),
            timeout: None,
            environment: Vec::new(),
            cwd: None,
            interactive: true,
            term: convert::term(wish.term.clone())?,
        };
        let ids = (wish.session_id.as_str(), wish.request_id.as_str());
        let (_, exec_id, seq) = self.start(&request, ids, key, run).await?;
        Ok(Response::new(pb::OpenShellResponse {
            exec_id: exec_id.to_string(),
            seq,
        }))
    }
}

/// Reads one command's output to its end.
struct Reader {
    /// With a terminal and a viewer: credit and screens.
    view: Option<Viewing>,
    handle: SessionHandle,
    exec_id: ExecId,
    offsets: [u64; 2],
    follow: bool,
    ended: Option<ExecResult>,
    /// It was told that the end is held up.
    told: bool,
    turn: usize,
}

/// What keeps an end from being told, for the person who waits for it.
const HELD_UP: &str = "the disk that holds agentd's state is full; free some space, and it goes on by itself";

impl Reader {
    async fn next(me: Option<Self>) -> Option<(Result<pb::ReadOutputResponse, No>, Option<Self>)> {
        let mut me = me?;
        let mut bell = me.handle.listen();
        loop {
            bell.borrow_and_update();
            if me.ended.is_none() {
                // Looked up before reading: what was written before the end is then surely read.
                match me.handle.exec_result(&me.exec_id).await {
                    Ok(ended) => me.ended = ended,
                    Err(fault) => return Some((Err(fault.into()), None)),
                }
            }
            match me.item().await {
                Ok(Some(item)) => {
                    let item = Some(item);
                    return Some((Ok(pb::ReadOutputResponse { item }), Some(me)));
                }
                Ok(None) => {}
                Err(fault) => return Some((Err(fault.into()), None)),
            }
            if let Some(result) = me.ended.take() {
                let item = Some(Item::Result(result.into()));
                return Some((Ok(pb::ReadOutputResponse { item }), None));
            }
            if !me.follow {
                return None;
            }
            if !me.told && me.handle.is_held(&me.exec_id) {
                me.told = true;
                let item = Some(Item::HeldUp(HELD_UP.to_owned()));
                return Some((Ok(pb::ReadOutputResponse { item }), Some(me)));
            }
            // A missed ring costs at most this wait; the bell is the usual way.
            if let Ok(Err(_)) = tokio::time::timeout(Duration::from_secs(5), bell.changed()).await {
                return None;
            }
        }
    }

    async fn item(&mut self) -> Result<Option<Item>, Fault> {
        if let Some(view) = &mut self.view {
            return Ok(view.next(self.ended.as_ref()).await.map(|shown| match shown {
                Shown::Screen(screen) => Item::Screen(screen.into()),
                Shown::Bytes(piece) => Item::Chunk(piece.into()),
            }));
        }
        Ok(self.piece().await?.map(|piece| Item::Chunk(piece.into())))
    }

    /// The next bytes of either stream, in turns.
    async fn piece(&mut self) -> Result<Option<OutputPiece>, Fault> {
        let output = self.handle.output(&self.exec_id).await?;
        for _ in 0..2 {
            self.turn ^= 1;
            let (kind, index) = if self.turn == 1 {
                (OutputKind::Stdout, 0)
            } else {
                (OutputKind::Stderr, 1)
            };
            let Some(slot) = self.offsets.get_mut(index) else {
                continue;
            };
            let (first, data) = match &self.ended {
                Some(result) => output.read_ended(kind, result, *slot, CHUNK).await,
                None => output.read(kind, *slot, CHUNK).await,
            };
            if !data.is_empty() {
                let dropped = first.saturating_sub(*slot);
                *slot = first.saturating_add(data.len() as u64);
                let exec_id = self.exec_id.clone();
                return Ok(Some(OutputPiece {
                    exec_id,
                    kind,
                    offset: first,
                    data,
                    dropped,
                }));
            }
        }
        Ok(None)
    }
}
