//! Owns: the calls about a session's whole life: pause, archive, trash, forks, bundles, search.
//! Guarantees: nothing is deleted here that was not asked for by its id; a file is never overwritten.

use std::io::Write as _;

use agentd_proto::pb::export_session_response::Piece;
use agentd_proto::{Client, ClientError, id, lifecycle, pb};

use super::calls::{Failed, Place};
use crate::msg::{FromLink, Life};

/// Places that a search shows.
const HITS: u32 = 100;

/// Does what was asked.
pub(super) async fn perform(client: &Client, place: &Place, wish: Life) -> Result<Option<FromLink>, Failed> {
    let request_id = id::request_id();
    match wish {
        Life::Pause(session_id) => {
            let request = pb::PauseSessionRequest {
                request_id,
                session_id,
                reason: String::new(),
            };
            done("pause", client.pause_session(request).await)
        }
        Life::Resume(session_id) => {
            let request = pb::ResumeSessionRequest {
                request_id,
                session_id,
            };
            done("resume", client.resume_session(request).await)
        }
        Life::Archive(session_id) => {
            let request = pb::ArchiveSessionRequest {
                request_id,
                session_id,
            };
            done("archive", client.archive_session(request).await)
        }
        Life::Unarchive(session_id) => {
            let request = pb::UnarchiveSessionRequest {
                request_id,
                session_id,
            };
            done("unarchive", client.unarchive_session(request).await)
        }
        Life::Restore(session_id) => {
            let request = pb::RestoreSessionRequest {
                request_id,
                session_id,
            };
            done("restore", client.restore_session(request).await)
        }
        Life::AskDelete(session_id) => {
            let request = pb::DeleteSessionRequest {
                request_id,
                session_id,
                purge: false,
                validate_only: true,
            };
            let answer = client.delete_session(request).await;
            let answer = answer.map_err(|error| ("delete", error))?;
            Ok(Some(FromLink::Loss(Box::new(answer))))
        }
        Life::Delete(session_id) => {
            let request = pb::DeleteSessionRequest {
                request_id,
                session_id,
                purge: false,
                validate_only: false,
            };
            done("delete", client.delete_session(request).await)
        }
        Life::Fork {
            session_id,
            seq,
            name,
        } => {
            let request = pb::ForkSessionRequest {
                request_id,
                session_id,
                seq,
                name,
            };
            let made = client.fork_session(request).await;
            let made = made.map_err(|error| ("fork", error))?.session;
            Ok(made.map(|session| FromLink::Created(Box::new(session))))
        }
        Life::Export { session_id, name } => {
            let told = export(client, place, session_id, &name).await;
            Ok(Some(FromLink::Exported(told)))
        }
        Life::Search { session_id, text } => {
            let request = pb::SearchSessionsRequest {
                text: text.clone(),
                session_id,
                include_archived: true,
                page_size: HITS,
            };
            let found = client.search_sessions(request).await;
            let hits = found.map_err(|error| ("search", error))?.hits;
            Ok(Some(FromLink::Found { text, hits }))
        }
    }
}

/// The fact comes on the watch: there is nothing more to tell.
fn done<T>(what: &'static str, answer: Result<T, ClientError>) -> Result<Option<FromLink>, Failed> {
    answer.map(|_| None).map_err(|error| (what, error))
}

/// Writes a session's bundle beside the workspace's other files; gives its name and what is in it.
async fn export(client: &Client, place: &Place, session_id: String, name: &str) -> Result<String, String> {
    let stem = format!("{}.agentd", name.replace([' ', '/'], "_"));
    let (mut file, path) = super::calls::new_file(place, &stem, "jsonl")?;
    let request = pb::ExportSessionRequest {
        session_id,
        without_outputs: false,
    };
    let mut stream = client.export_session(request).await.map_err(|e| e.message)?;
    let mut report = None;
    loop {
        let piece = stream.message().await.map_err(|e| ClientError::from(e).message)?;
        match piece.map(|piece| piece.piece) {
            Some(Some(Piece::Data(data))) => file.write_all(&data).map_err(|e| e.to_string())?,
            Some(Some(Piece::Report(found))) => report = Some(found),
            Some(None) => {}
            None => break,
        }
    }
    let report = report.ok_or("the bundle has no end")?;
    Ok(format!("{path} · {}", lifecycle::bundle(&report).join(" · ")))
}
