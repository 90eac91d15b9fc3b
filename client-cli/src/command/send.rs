//! Owns: `agentctl send`: a message into a session without waiting for the turn, the messages that wait, and words for a
//! command that waits for input.

use agentd_proto::transcript::text_of;
use agentd_proto::{escape, id, pb};
use serde_json::json;

use super::prompt;
use crate::args::SendArgs;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};

const COLUMNS: &[Column] = &[
    fixed("ID", 10),
    fixed("WHEN", 6),
    flexible("BY", 1, 8),
    flexible("MESSAGE", 4, 16),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: SendArgs) -> Result<u8, Failure> {
    let session = context.session(&args.target).await?;
    if args.list {
        return list(context, &session).await;
    }
    if let Some(message_id) = args.remove {
        let request = pb::RemoveMessageRequest {
            request_id: id::request_id(),
            session_id: session.session_id,
            message_id: message_id.clone(),
        };
        let seq = context.client.remove_message(request).await?.seq;
        return changed(context, &message_id, "taken back", seq);
    }
    if let Some(message_id) = args.edit.clone() {
        return edit(context, &session, message_id, args).await;
    }
    if let Some(focus) = compaction(&args.text) {
        return compact(context, &session, focus).await;
    }
    if args.stdin {
        return answer(context, &session, &args).await;
    }
    if let Some(focus) = compaction(&args.text) {
        return compact(context, &session, focus).await;
    }
    let parts = prompt::parts(context, &args.text, &args.file).await?;
    post(context, &session, parts, args.steer).await
}

/// What a summary should keep in mind, when the text is `/compact`.
fn compaction(words: &[String]) -> Option<String> {
    let text = words.join(" ");
    let rest = text.trim().strip_prefix("/compact")?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim().to_owned())
}

async fn compact(context: &Context, session: &pb::Session, focus: String) -> Result<u8, Failure> {
    let request = pb::CompactSessionRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        focus,
    };
    let seq = context.client.compact_session(request).await?.seq;
    if context.out.is_json() {
        context
            .out
            .json(&json!({"session_id": session.session_id, "seq": seq}))?;
    } else {
        let when = match session.state() {
            pb::SessionState::Working | pb::SessionState::NeedsYou => "before the next step",
            _ => "now",
        };
        let (name, id) = (escape::line(&session.name), &session.session_id);
        context.out.note(&format!(
            "{name}: its context is compacted {when} · agentctl sessions show {id} --context"
        ));
    }
    Ok(exit::OK)
}

async fn post(
    context: &Context,
    session: &pb::Session,
    parts: Vec<pb::Part>,
    steer: bool,
) -> Result<u8, Failure> {
    let request = pb::PostMessageRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        parts,
        on_approval: pb::OnApproval::Wait.into(),
        environment: Some(context.environment()),
        approver_present: true,
        steer,
        ..Default::default()
    };
    let posted = context.client.post_message(request).await?;
    if context.out.is_json() {
        context.out.json(&json!({
            "session_id": session.session_id,
            "message_id": posted.message_id,
            "turn_id": posted.turn_id,
            "queued": posted.queued,
            "steer": posted.queued && steer,
            "seq": posted.seq,
        }))?;
    } else if posted.queued && steer {
        let id = &posted.message_id;
        context
            .out
            .note(&format!("{id}: {} reads it before its next step", session.name));
    } else if posted.queued
        && let Some(approval) = session.approval_ids.first()
    {
        let name = &session.name;
        context.out.note(&format!(
            "queued: {name} waits for an answer · agentctl approve {approval}"
        ));
    } else if posted.queued {
        let (id, name) = (&posted.message_id, &session.name);
        context.out.note(&format!(
            "queued behind the open turn of {name} · agentctl send {name} --edit {id} \"…\""
        ));
    } else {
        context.out.note(&format!(
            "{} is at work · agentctl attach {}",
            session.name, session.session_id
        ));
    }
    Ok(exit::OK)
}

/// Most that is typed at once.
const ANSWER_LIMIT: u64 = 256 * 1024;

/// Types into the command that waits.
async fn answer(context: &Context, session: &pb::Session, args: &SendArgs) -> Result<u8, Failure> {
    let waiting = session.waiting.as_ref();
    let exec_id = match (&args.exec, waiting) {
        (Some(exec_id), _) => exec_id.clone(),
        (None, Some(waiting)) => waiting.exec_id.clone(),
        (None, None) => {
            let name = escape::line(&session.name);
            return Err(Failure::new(
                exit::CONFLICT,
                "wrong_state",
                format!("no command of {name} waits for input"),
            )
            .next(format!("agentctl sessions show {}", session.session_id))
            .next(format!(
                "agentctl send {} --stdin --exec COMMAND …",
                session.session_id
            )));
        }
    };
    let typed = match args.text.as_slice() {
        [] if args.eof => Vec::new(),
        [] => read_answer().await?,
        [dash] if dash == "-" => read_answer().await?,
        words => {
            // A terminal's line ends with the key that was pressed, a pipe's with the character.
            let pty = waiting.is_some_and(|waiting| waiting.exec_id == exec_id && waiting.pty);
            let end = if pty { "\r" } else { "\n" };
            format!("{}{end}", words.join(" ")).into_bytes()
        }
    };
    let request = pb::WriteInputRequest {
        session_id: session.session_id.clone(),
        exec_id: exec_id.clone(),
        offset: 0,
        data: typed.into(),
        eof: args.eof,
        writer: id::request_id(),
        // It answers a question, and takes a terminal from nobody.
        unless_held: false,
    };
    context.client.write_input(request).await?;
    if context.out.is_json() {
        context.out.json(&json!({"exec_id": exec_id}))?;
    } else {
        context
            .out
            .note(&format!("typed into {}", escape::line(&exec_id)));
    }
    Ok(exit::OK)
}

async fn read_answer() -> Result<Vec<u8>, Failure> {
    if crate::stdin::is_terminal() {
        return Err(Failure::usage("what is to be typed was not given")
            .next("agentctl send S --stdin yes")
            .next("agentctl send S --stdin < FILE"));
    }
    crate::stdin::read_all(ANSWER_LIMIT).await?.ok_or_else(|| {
        Failure::usage("more than 256 KiB to type").next("agentctl exec --stdin -- CMD < FILE")
    })
}

async fn edit(
    context: &Context,
    session: &pb::Session,
    message_id: String,
    args: SendArgs,
) -> Result<u8, Failure> {
    let steer = (args.steer || args.queue).then_some(args.steer);
    // Only when it is read: its words stay, and nothing is read from standard input.
    let parts = if args.text.is_empty() && args.file.is_empty() && steer.is_some() {
        Vec::new()
    } else {
        prompt::parts(context, &args.text, &args.file).await?
    };
    let request = pb::EditMessageRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        message_id: message_id.clone(),
        parts,
        steer,
    };
    let seq = context.client.edit_message(request).await?.seq;
    changed(context, &message_id, "changed", seq)
}

fn changed(context: &Context, message_id: &str, word: &str, seq: u64) -> Result<u8, Failure> {
    if context.out.is_json() {
        context.out.json(&json!({"message_id": message_id, "seq": seq}))?;
    } else {
        context.out.note(&format!("{} {word}", escape::line(message_id)));
    }
    Ok(exit::OK)
}

async fn list(context: &Context, session: &pb::Session) -> Result<u8, Failure> {
    let request = pb::ListQueuedMessagesRequest {
        session_id: session.session_id.clone(),
    };
    let messages = context.client.list_queued_messages(request).await?.messages;
    if context.out.is_json() {
        let value = |one: &pb::QueuedMessage| {
            json!({"message_id": one.message_id, "text": text_of(&one.parts), "steer": one.steer,
                "principal": one.principal, "client": one.client})
        };
        context.out.json_list(messages.iter().map(value).collect())?;
        return Ok(exit::OK);
    }
    if messages.is_empty() && context.out.out_tty {
        context.out.note("no message waits");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = messages
        .iter()
        .map(|one| {
            vec![
                one.message_id.clone(),
                if one.steer { "steers" } else { "queued" }.to_owned(),
                format!("{} via {}", one.principal, one.client),
                text_of(&one.parts),
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    Ok(exit::OK)
}
