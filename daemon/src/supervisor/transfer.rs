//! Owns: bundles on their way out and in: written piece by piece, taken in piece by piece.
//! Guarantees: memory stays bounded whatever the session's size; an upload that stops leaves no session.

use std::io::{BufReader, Seek, SeekFrom, Write};
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::Supervisor;
use super::bundle::{self, Head, Line, MAX_STREAM, Report, Tally};
use crate::clock::now_us;
use crate::domain::event::EventBody;
use crate::domain::id::{ExecId, Seq};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::session::{Fault, SessionHandle};
use crate::shell::SpoolPaths;
use crate::store::RequestKey;

/// Events read at a time.
const BATCH: u32 = 256;
/// Largest bundle taken in.
const MAX_BUNDLE: u64 = 1024 * 1024 * 1024;

/// A piece of a bundle, or the report at its end.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the file.
    Data(Vec<u8>),
    /// What is in it and what was taken out.
    End(Box<Report>),
}

/// Which upload a piece belongs to, and what becomes of it.
#[derive(Debug)]
pub struct Upload {
    /// UUID chosen by the client; the same for all pieces.
    pub id: String,
    /// Where the piece begins.
    pub offset: u64,
    /// Its bytes.
    pub data: Vec<u8>,
    /// With the last piece: the host directory the session is to work on.
    pub workspace: Option<PathBuf>,
    /// The session's name; empty: the bundle's.
    pub name: String,
}

impl Supervisor {
    /// A session as a stream of pieces. What is committed meanwhile is not in it.
    pub fn export(&self, session: Summary, outputs: bool) -> mpsc::Receiver<Result<Piece, Fault>> {
        let (pieces, receiver) = mpsc::channel(4);
        let me = self.clone();
        tokio::spawn(async move {
            if let Err(fault) = me.write_bundle(session, outputs, &pieces).await {
                // A reader that is gone wants no error either.
                let _gone = pieces.send(Err(fault)).await;
            }
        });
        receiver
    }

    async fn write_bundle(
        &self,
        session: Summary,
        outputs: bool,
        pieces: &mpsc::Sender<Result<Piece, Fault>>,
    ) -> Result<(), Fault> {
        let mut tally = Tally::default();
        let head = Line::Bundle(Head::of(&session, now_us()));
        let mut buffer = line(&mut tally, &head)?;
        let mut execs: Vec<(ExecId, Seq)> = Vec::new();
        let mut after = 0;
        while after < session.head {
            let page = self
                .0
                .store
                .kept_events_after(&session.session_id, after, BATCH)
                .await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for event in page.into_iter().filter(|event| event.seq <= session.head) {
                if let EventBody::ExecStarted { exec_id, .. } = &event.body {
                    execs.push((exec_id.clone(), event.seq));
                }
                let text = serde_json::to_string(&event.body).map_err(broken)?;
                // Once more: secrets learnt since it was written go as well.
                let text = self.0.store.redactor().redact_json(&text).unwrap_or(text);
                tally.marks(event.seq, &text);
                tally.person(&event.caller.principal);
                let body: EventBody = serde_json::from_str(&text).map_err(broken)?;
                tally.report.events += 1;
                buffer.extend(line(&mut tally, &bundle::fact(&event, body))?);
            }
            if !send(pieces, Piece::Data(std::mem::take(&mut buffer))).await {
                return Ok(());
            }
        }
        let spool = self.0.settings.jails.spool_dir(&session.session_id);
        for (exec_id, seq) in execs.into_iter().filter(|_| outputs) {
            let paths = SpoolPaths::new(&spool, &exec_id);
            for (file, stderr) in [(paths.stdout, false), (paths.stderr, true)] {
                let Some((data, cut)) = ends_of(&file) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&data);
                let clean = self.0.store.redactor().redact(&text);
                tally.marks(seq, &clean);
                tally.report.outputs += 1;
                tally.report.cut_outputs += u64::from(cut);
                // Bytes that are no text can hide no key that reads as one.
                let data = if clean == text {
                    data.clone()
                } else {
                    clean.into_owned().into_bytes()
                };
                let piece = line(&mut tally, &bundle::written(exec_id.clone(), stderr, &data))?;
                if !send(pieces, Piece::Data(piece)).await {
                    return Ok(());
                }
            }
        }
        let (report, last) = tally.end();
        send(pieces, Piece::Data(last.map_err(broken)?)).await;
        send(pieces, Piece::End(Box::new(report))).await;
        Ok(())
    }

    /// Takes in a piece; with the last one, makes the session. Gives the next offset.
    pub async fn take_in(
        &self,
        caller: &Caller,
        request: Option<RequestKey>,
        upload: Upload,
    ) -> Result<(u64, Option<(SessionHandle, Report)>), Fault> {
        let file = self.upload_file(&upload.id)?;
        let end = store_piece(&file, &upload)?;
        let Some(workspace) = upload.workspace else {
            return Ok((end, None));
        };
        let read = tokio::task::spawn_blocking({
            let file = file.clone();
            move || {
                bundle::read(BufReader::new(
                    std::fs::File::open(file).map_err(|e| e.to_string())?,
                ))
            }
        })
        .await
        .unwrap_or_else(|_| Err("the bundle could not be read".to_owned()));
        if let Err(error) = std::fs::remove_file(&file) {
            tracing::warn!(%error, "an upload stays");
        }
        let bundle = read.map_err(Rejection::InvalidArgument)?;
        let report = bundle.report.clone();
        let handle = self
            .import(caller, request, bundle, &workspace, &upload.name)
            .await?;
        Ok((end, Some((handle, report))))
    }

    fn upload_file(&self, id: &str) -> Result<PathBuf, Fault> {
        let id = uuid::Uuid::parse_str(id)
            .map_err(|_| Rejection::InvalidArgument("upload_id is not a UUID".into()))?;
        let dir = self.uploads();
        std::fs::create_dir_all(&dir).map_err(|e| Fault::from(crate::store::StoreError::Io(e)))?;
        Ok(dir.join(format!("{}.upload", id.simple())))
    }

    fn uploads(&self) -> PathBuf {
        self.0.store.path().with_file_name("uploads")
    }

    /// What clients never finished sending.
    pub(super) fn forget_uploads(&self) {
        // Most of the time there is none.
        let _none = std::fs::remove_dir_all(self.uploads());
    }
}

fn store_piece(file: &std::path::Path, upload: &Upload) -> Result<u64, Fault> {
    let io = |error| Fault::from(crate::store::StoreError::Io(error));
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)
        .map_err(io)?;
    let length = out.metadata().map_err(io)?.len();
    if upload.offset > length {
        return Err(
            Rejection::OffsetMismatch(format!("the next byte is {length}, not {}", upload.offset)).into(),
        );
    }
    let end = upload.offset.saturating_add(upload.data.len() as u64);
    if end > MAX_BUNDLE {
        return Err(Rejection::InvalidArgument("a bundle has at most 1 GiB".into()).into());
    }
    out.seek(SeekFrom::Start(upload.offset)).map_err(io)?;
    out.write_all(&upload.data).map_err(io)?;
    Ok(end.max(length))
}

/// The head and the tail of a file; true when there is more between. `None`: empty or absent.
fn ends_of(file: &std::path::Path) -> Option<(Vec<u8>, bool)> {
    let data = std::fs::read(file).ok().filter(|data| !data.is_empty())?;
    if data.len() <= MAX_STREAM {
        return Some((data, false));
    }
    let half = MAX_STREAM / 2;
    let mut cut = data.get(..half).unwrap_or_default().to_vec();
    cut.extend_from_slice(b"\n[...]\n");
    cut.extend_from_slice(data.get(data.len().saturating_sub(half)..).unwrap_or_default());
    Some((cut, true))
}

fn line(tally: &mut Tally, line: &Line) -> Result<Vec<u8>, Fault> {
    tally.line(line).map_err(broken)
}

fn broken(error: serde_json::Error) -> Fault {
    Fault::from(crate::store::StoreError::Io(std::io::Error::other(error)))
}

async fn send(pieces: &mpsc::Sender<Result<Piece, Fault>>, piece: Piece) -> bool {
    pieces.send(Ok(piece)).await.is_ok()
}
