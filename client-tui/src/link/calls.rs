//! Owns: the calls that are not streams.
//! Guarantees: posts go out in the order they were written; the same post tried again keeps its request id.

use std::collections::HashMap;

use agentd_proto::{Client, ClientError, id, pb, surroundings};
use tokio::sync::mpsc;

use super::News;
use crate::msg::{FromLink, Msg, ToLink};

/// Files that are offered for completion.
const MOST_FILES: usize = 20_000;

/// Where new sessions work.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) root: String,
    pub(crate) start_dir: String,
}

/// Makes calls and tells how they went.
pub(crate) struct Calls {
    client: Client,
    news: News,
    place: Place,
    posts: mpsc::Sender<Post>,
}

struct Post {
    key: u64,
    session_id: String,
    text: String,
    files: Vec<pb::Part>,
    model: String,
    effort: String,
    steer: bool,
}

impl Calls {
    pub(crate) fn new(client: Client, news: News, place: Place) -> Self {
        let (posts, waiting) = mpsc::channel(64);
        tokio::spawn(post_all(client.clone(), news.clone(), waiting));
        Self {
            client,
            news,
            place,
            posts,
        }
    }

    /// Asks for the page before a seq.
    pub(crate) fn older(&self, session_id: String, before: u64, page_size: u32) {
        let (client, news) = (self.client.clone(), self.news.clone());
        tokio::spawn(async move {
            let request = pb::ListEventsRequest {
                session_id: session_id.clone(),
                before_seq: before,
                page_size,
                ..Default::default()
            };
            let answer = match client.list_events(request).await {
                Ok(page) => FromLink::Page {
                    session_id,
                    events: page.events,
                    older: true,
                },
                Err(error) => FromLink::Failed {
                    what: "older events",
                    error,
                },
            };
            drop(news.send(Msg::Link(answer)).await);
        });
    }

    /// Makes a call without waiting for its end.
    pub(crate) async fn call(&mut self, wish: ToLink) {
        if let ToLink::Post {
            key,
            session_id,
            text,
            files,
            model,
            effort,
            steer,
        } = wish
        {
            drop(
                self.posts
                    .send(Post {
                        key,
                        session_id,
                        text,
                        files,
                        model,
                        effort,
                        steer,
                    })
                    .await,
            );
            return;
        }
        let (client, news, place) = (self.client.clone(), self.news.clone(), self.place.clone());
        tokio::spawn(async move {
            let told = match perform(&client, &news, place, wish).await {
                Ok(told) => told,
                Err((what, error)) => Some(FromLink::Failed { what, error }),
            };
            if let Some(told) = told {
                drop(news.send(Msg::Link(told)).await);
            }
        });
    }
}

/// What did not work, and why.
pub(super) type Failed = (&'static str, ClientError);

async fn perform(
    client: &Client,
    news: &News,
    place: Place,
    wish: ToLink,
) -> Result<Option<FromLink>, Failed> {
    let request_id = id::request_id();
    match wish {
        ToLink::Attach {
            session_id,
            path,
            pasted,
        } => {
            let file = on_disk(&place, &path);
            let read = tokio::task::spawn_blocking(move || agentd_proto::attach::read(&file)).await;
            let result = match read {
                Ok(part) => part.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Ok(Some(FromLink::Attached {
                session_id,
                result,
                pasted,
            }))
        }
        ToLink::Raise {
            session_id,
            budget_id,
            limit,
        } => {
            let raised = super::usage::raise(client, &budget_id, &limit).await;
            let line = raised.map_err(|error| ("raise the budget", error))?;
            Ok(Some(FromLink::Raised { session_id, line }))
        }
        ToLink::Create { name } => {
            let request = pb::CreateSessionRequest {
                request_id,
                name,
                workspace: place.root,
                start_dir: place.start_dir,
                origin: pb::SessionOrigin::Agent.into(),
                search_path: agentd_proto::surroundings::search_path(),
                ..Default::default()
            };
            let made = client
                .create_session(request)
                .await
                .map_err(|error| ("new session", error))?;
            Ok(made.session.map(|session| FromLink::Created(Box::new(session))))
        }
        ToLink::Rename { session_id, name } => {
            let request = pb::RenameSessionRequest {
                request_id,
                session_id,
                name,
            };
            client
                .rename_session(request)
                .await
                .map_err(|error| ("rename", error))?;
            Ok(None)
        }
        ToLink::Interrupt { session_id } => {
            let request = pb::InterruptTurnRequest {
                request_id,
                session_id,
            };
            client
                .interrupt_turn(request)
                .await
                .map_err(|error| ("stop", error))?;
            Ok(None)
        }
        ToLink::Queue { session_id } => {
            let request = pb::ListQueuedMessagesRequest {
                session_id: session_id.clone(),
            };
            // A failure shows as the lost line, not once more here.
            Ok(client
                .list_queued_messages(request)
                .await
                .ok()
                .map(|answer| FromLink::Queue {
                    session_id,
                    messages: answer.messages,
                }))
        }
        ToLink::EditQueued {
            session_id,
            message_id,
            parts,
            steer,
        } => {
            let request = pb::EditMessageRequest {
                request_id,
                session_id,
                message_id,
                parts,
                steer,
            };
            client
                .edit_message(request)
                .await
                .map_err(|error| ("change", error))?;
            Ok(None)
        }
        ToLink::RemoveQueued {
            session_id,
            message_id,
        } => {
            let request = pb::RemoveMessageRequest {
                request_id,
                session_id,
                message_id,
            };
            client
                .remove_message(request)
                .await
                .map_err(|error| ("take back", error))?;
            Ok(None)
        }
        ToLink::Exec { session_id, script } => {
            let command = pb::ExecCommand {
                script: script.into_bytes(),
                ..Default::default()
            };
            let request = pb::StartExecRequest {
                request_id,
                session_id,
                command: Some(command),
            };
            client
                .start_exec(request)
                .await
                .map_err(|error| ("command", error))?;
            Ok(None)
        }
        ToLink::Resolve {
            approval_id,
            decision,
            reason,
            grant,
        } => {
            let grant = grant.unwrap_or_default();
            let request = pb::ResolveApprovalRequest {
                request_id,
                approval_id,
                decision: decision.into(),
                reason,
                expected_head: 0,
                rules: grant.rules,
                expires_in: grant
                    .seconds
                    .map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            };
            client
                .resolve_approval(request)
                .await
                .map_err(|error| (crate::model::grant::DECISION, error))?;
            Ok(None)
        }
        ToLink::Approvals => {
            let request = pb::ListApprovalsRequest::default();
            // A failure shows as the lost line, not once more here.
            Ok(client
                .list_approvals(request)
                .await
                .ok()
                .map(|answer| FromLink::Approvals(answer.approvals)))
        }
        ToLink::Usage { range, by } => {
            let data = super::usage::load(client, range, by)
                .await
                .map_err(|error| ("usage", error))?;
            Ok(Some(FromLink::Usage(data)))
        }
        // A failure shows as the lost line, not once more here.
        ToLink::Today => Ok(super::usage::today(client).await.ok()),
        ToLink::ExportUsage { range } => Ok(Some(FromLink::Exported(
            super::usage::export(client, range, &place).await,
        ))),
        ToLink::Life(life) => super::lifecycle::perform(client, &place, life).await,
        ToLink::Board(wish) => super::board::perform(client, wish).await,
        ToLink::Panel {
            what,
            session_id,
            deed,
        } => super::panel::perform(client, news, what, session_id, deed).await,
        ToLink::Choose {
            session_id,
            what,
            name,
        } => {
            super::policies::choose(client, session_id, what, name).await?;
            Ok(None)
        }
        ToLink::Input {
            session_id,
            exec_id,
            data,
        } => super::panel::answer(client, session_id, exec_id, data).await,
        ToLink::Files { workspace } => {
            let root = workspace.clone();
            let files = tokio::task::spawn_blocking(move || files(&root))
                .await
                .unwrap_or_default();
            Ok(Some(FromLink::Files { workspace, files }))
        }
        ToLink::ShellSize { session_id, exec_id } => {
            let request = pb::GetScreenRequest {
                session_id,
                exec_id: exec_id.clone(),
            };
            // A shell that has just ended has no size any more, and says so on its own stream.
            let screen = client
                .get_screen(request)
                .await
                .ok()
                .and_then(|answer| answer.screen);
            Ok(screen.map(|screen| FromLink::ShellSize {
                exec_id,
                size: super::shell::size(&screen),
            }))
        }
        ToLink::ReadOutput { session_id, exec_id } => {
            read_output(client, news, session_id, exec_id)
                .await
                .map_err(|error| ("output", error))?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Reads what a finished command wrote, and passes it on as if it came now.
async fn read_output(
    client: &Client,
    news: &News,
    session_id: String,
    exec_id: String,
) -> Result<(), ClientError> {
    let request = pb::ReadOutputRequest {
        session_id: session_id.clone(),
        exec_id,
        ..Default::default()
    };
    let mut output = client.read_output(request).await?;
    while let Some(update) = output.next().await {
        if let agentd_proto::resume::Update::Item(pb::read_output_response::Item::Chunk(chunk)) = update? {
            let told = FromLink::Output {
                session_id: session_id.clone(),
                chunk,
            };
            drop(news.send(Msg::Link(told)).await);
        }
    }
    Ok(())
}

/// Posts what is written, one after the other.
async fn post_all(client: Client, news: News, mut waiting: mpsc::Receiver<Post>) {
    let mut ids: HashMap<u64, String> = HashMap::new();
    while let Some(post) = waiting.recv().await {
        let request_id = ids.entry(post.key).or_insert_with(id::request_id).clone();
        let text = (!post.text.trim().is_empty()).then_some(pb::Part {
            part: Some(pb::part::Part::Text(post.text)),
        });
        let parts = text.into_iter().chain(post.files).collect();
        let request = pb::PostMessageRequest {
            request_id,
            session_id: post.session_id,
            parts,
            model: post.model,
            effort: post.effort,
            steer: post.steer,
            on_approval: pb::OnApproval::Wait.into(),
            environment: Some(pb::ClientEnvironment {
                variables: surroundings::provider_variables(),
            }),
            approver_present: true,
            ..Default::default()
        };
        let result = client.post_message(request).await.map(|_| ());
        if result.as_ref().is_ok_and(|()| true) || result.as_ref().is_err_and(|error| !error.is_transient()) {
            ids.remove(&post.key);
        }
        let told = FromLink::Posted {
            key: post.key,
            result,
        };
        drop(news.send(Msg::Link(told)).await);
    }
}

/// A path as it was typed: from where the person works, `~` is the home directory.
fn on_disk(place: &Place, typed: &str) -> std::path::PathBuf {
    let bare = typed.trim_matches(['\'', '"']);
    match (bare.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => std::path::Path::new(&home).join(rest),
        _ => std::path::Path::new(&place.root)
            .join(&place.start_dir)
            .join(bare),
    }
}

/// A new file where the person works, under a name that is free; and its path.
pub(super) fn new_file(place: &Place, stem: &str, ending: &str) -> Result<(std::fs::File, String), String> {
    let dir = std::path::Path::new(&place.root).join(&place.start_dir);
    (0..1000)
        .find_map(|n| {
            let tail = if n == 0 { String::new() } else { format!("-{n}") };
            let path = dir.join(format!("{stem}{tail}.{ending}"));
            match std::fs::File::create_new(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
                made => Some(made.map(|file| (file, path.display().to_string()))),
            }
        })
        .ok_or("every name is taken")?
        .map_err(|error| format!("no file could be made in {}: {error}", dir.display()))
}

/// Paths of a workspace, as its ignore files leave them.
fn files(root: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(root).build().flatten() {
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        if let Some(path) = entry.path().strip_prefix(root).ok().filter(|_| is_file)
            && let Some(text) = path.to_str()
        {
            files.push(text.to_owned());
        }
        if files.len() >= MOST_FILES {
            break;
        }
    }
    files.sort();
    files
}
