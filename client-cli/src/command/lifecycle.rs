//! Owns: pausing, archiving, deleting and what brings sessions back.
//! Guarantees: nothing is deleted without `--yes` or the name typed on a terminal, after what is lost was said.

use agentd_proto::{escape, id, lifecycle, pb};
use serde_json::json;

use crate::args::{DeleteArgs, PauseArgs};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::json as forms;
use crate::time;
use crate::{stdin, tty};

/// One of the changes that ask for nothing but the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Resume,
    Archive,
    Unarchive,
    Restore,
}

/// `sessions pause`.
pub(crate) async fn pause(context: &Context, args: PauseArgs) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    let request = pb::PauseSessionRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        reason: args.reason,
    };
    context.client.pause_session(request).await?;
    let next = format!("go on with: agentctl sessions resume {}", session.name);
    done(context, &session, "paused", Some(next)).await
}

/// `sessions resume`, `archive`, `unarchive`, `restore`.
pub(crate) async fn change(context: &Context, target: Option<&str>, change: Change) -> Result<u8, Failure> {
    let session = context.target(target).await?;
    let (request_id, session_id) = (id::request_id(), session.session_id.clone());
    let client = &context.client;
    let word = match change {
        Change::Resume => {
            let request = pb::ResumeSessionRequest {
                request_id,
                session_id,
            };
            client.resume_session(request).await.map(drop)?;
            "goes on"
        }
        Change::Archive => {
            let request = pb::ArchiveSessionRequest {
                request_id,
                session_id,
            };
            client.archive_session(request).await.map(drop)?;
            "archived"
        }
        Change::Unarchive => {
            let request = pb::UnarchiveSessionRequest {
                request_id,
                session_id,
            };
            client.unarchive_session(request).await.map(drop)?;
            "shown again"
        }
        Change::Restore => {
            let request = pb::RestoreSessionRequest {
                request_id,
                session_id,
            };
            client.restore_session(request).await.map(drop)?;
            "restored"
        }
    };
    let next = (change == Change::Archive).then(|| {
        format!(
            "show it again with: agentctl sessions unarchive {}",
            session.session_id
        )
    });
    done(context, &session, word, next).await
}

async fn done(
    context: &Context,
    session: &pb::Session,
    word: &str,
    next: Option<String>,
) -> Result<u8, Failure> {
    if context.out.is_json() {
        let now = context.session(&session.session_id).await?;
        context.out.json(&forms::session(&now))?;
        return Ok(exit::OK);
    }
    let name = escape::line(&session.name);
    context
        .out
        .note(&format!("{name} ({}): {word}", session.session_id));
    if let Some(next) = next {
        context.out.note(&next);
    }
    Ok(exit::OK)
}

/// `sessions delete`, also as `rm`.
pub(crate) async fn delete(context: &Context, args: DeleteArgs) -> Result<u8, Failure> {
    let mut answers = Vec::new();
    for target in &args.targets {
        let session = context.session(target).await?;
        let mut request = pb::DeleteSessionRequest {
            request_id: id::request_id(),
            session_id: session.session_id.clone(),
            purge: args.purge,
            validate_only: true,
        };
        let before = context.client.delete_session(request.clone()).await?;
        if !context.out.is_json() {
            let until = before.purge_time.filter(|_| !args.purge);
            let until = until.map_or_else(String::new, |at| time::date_and_clock(Some(at)));
            for line in lifecycle::loss(&before, &until) {
                context.out.important(&line);
            }
        }
        if args.dry_run {
            answers.push(before);
            continue;
        }
        confirm(context, &session, args.purge).await?;
        request.validate_only = false;
        request.request_id = id::request_id();
        let after = context.client.delete_session(request).await?;
        if !context.out.is_json() {
            let name = escape::line(&session.name);
            context.out.note(&match after.purge_time {
                Some(_) => format!(
                    "{name} ({id}) is in the trash; agentctl sessions restore {id} brings it back",
                    id = session.session_id
                ),
                None => format!("{name} ({}) is gone", session.session_id),
            });
        }
        answers.push(after);
    }
    if context.out.is_json() {
        let answers = answers.iter().map(deletion).collect::<Result<_, Failure>>()?;
        context.out.json_list(answers)?;
    }
    Ok(exit::OK)
}

fn deletion(answer: &pb::DeleteSessionResponse) -> Result<serde_json::Value, Failure> {
    let loss = answer.loss.as_ref().ok_or_else(empty_answer)?;
    Ok(json!({
        "session": loss.session.as_ref().map(forms::session),
        "seq": answer.seq,
        "purge_time": answer.purge_time.map(|time| time::rfc3339(Some(time))),
        "loss": {
            "events": loss.events, "messages": loss.messages, "commands": loss.commands,
            "output_bytes": loss.output_bytes, "open_turn": loss.open_turn,
            "open_commands": loss.open_commands, "queued_messages": loss.queued_messages,
        },
    }))
}

async fn confirm(context: &Context, session: &pb::Session, purge: bool) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    let purge = if purge { " --purge" } else { "" };
    let command = format!("agentctl sessions delete{purge} --yes {}", session.session_id);
    if context.global.no_input || !stdin::is_terminal() {
        return Err(Failure::usage("nobody is there to confirm the deletion").next(command));
    }
    tty::discard_input();
    let name = escape::line(&session.name);
    context
        .out
        .important(&format!("type the name '{name}' to delete it:"));
    let typed = stdin::lines().recv().await.unwrap_or_default();
    if typed.trim() == session.name {
        Ok(())
    } else {
        Err(Failure::new(
            exit::FAILED,
            "not_confirmed",
            "that is not its name; nothing was deleted",
        )
        .next(command))
    }
}
