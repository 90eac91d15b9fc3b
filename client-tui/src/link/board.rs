//! Owns: the calls about task boards.
//! Guarantees: a change says which state of the board it is based on, so that what the file changed meanwhile
//! is kept beside it, not lost.

use agentd_proto::{Client, ClientError, id, pb, surroundings};

use super::calls::Failed;
use crate::msg::{BoardNews, BoardWish, FromLink, Keep, TaskWish};

/// Does what was asked.
pub(super) async fn perform(client: &Client, wish: BoardWish) -> Result<Option<FromLink>, Failed> {
    let news = match wish {
        BoardWish::Known => {
            let known = client.list_boards(pb::ListBoardsRequest {}).await;
            BoardNews::Known(known.map_err(|error| ("boards", error))?.workspaces)
        }
        BoardWish::List { workspace } => {
            let request = pb::ListTasksRequest {
                workspace: workspace.clone(),
                states: Vec::new(),
            };
            let board = client.list_tasks(request).await;
            BoardNews::Board {
                workspace,
                board: Box::new(board.map_err(|error| ("tasks", error))?),
            }
        }
        BoardWish::Task { workspace, task_id } => {
            let request = pb::GetTaskRequest {
                workspace: workspace.clone(),
                task_id,
            };
            let task = client.get_task(request).await;
            BoardNews::Task {
                workspace,
                task: Box::new(task.map_err(|error| ("task", error))?),
            }
        }
        BoardWish::Change {
            workspace,
            task_id,
            base_rev,
            change,
        } => {
            let what = word(&change);
            let call = Change {
                client,
                workspace,
                task_id,
                base_rev,
            };
            call.make(change).await.map_err(|error| (what, error))?
        }
    };
    Ok(Some(FromLink::Board(news)))
}

/// What a change is called when it is told of.
fn word(change: &TaskWish) -> &'static str {
    match change {
        TaskWish::Add { .. } => "new task",
        TaskWish::Title(_) | TaskWish::Priority(_) | TaskWish::Owner(_) => "change",
        TaskWish::Note(_) => "note",
        TaskWish::Move(_) => "move",
        TaskWish::Claim => "claim",
        TaskWish::Release => "give back",
        TaskWish::Done { .. } => "done",
        TaskWish::Start { .. } => "start",
        TaskWish::Keep { .. } => "conflict",
        TaskWish::Sync { .. } => "sync",
    }
}

struct Change<'a> {
    client: &'a Client,
    workspace: String,
    task_id: String,
    base_rev: u64,
}

impl Change<'_> {
    async fn make(self, change: TaskWish) -> Result<BoardNews, ClientError> {
        let what = word(&change);
        let request_id = id::request_id();
        let workspace = self.workspace.clone();
        let (task_id, base_rev) = (self.task_id.clone(), self.base_rev);
        let edit = pb::EditTaskRequest {
            request_id: request_id.clone(),
            workspace: workspace.clone(),
            task_id: task_id.clone(),
            base_rev,
            ..Default::default()
        };
        let task = match change {
            TaskWish::Add { title, state } => {
                let request = pb::AddTaskRequest {
                    request_id,
                    workspace,
                    title,
                    state: state.into(),
                    ..Default::default()
                };
                self.client.add_task(request).await?.task
            }
            TaskWish::Title(title) => self.edit(edit, |edit| edit.title = Some(title)).await?,
            TaskWish::Priority(text) => self.edit(edit, |edit| edit.priority = Some(text)).await?,
            TaskWish::Owner(text) => self.edit(edit, |edit| edit.owner = Some(text)).await?,
            TaskWish::Note(note) => self.edit(edit, |edit| edit.note = note).await?,
            TaskWish::Move(to) => self.edit(edit, |edit| edit.state = to.into()).await?,
            TaskWish::Claim => {
                let request = pb::ClaimTaskRequest {
                    request_id,
                    workspace,
                    task_id,
                    ..Default::default()
                };
                self.client.claim_task(request).await?.task
            }
            TaskWish::Release => {
                let request = pb::ReleaseTaskRequest {
                    request_id,
                    workspace,
                    task_id,
                    force: false,
                };
                self.client.release_task(request).await?.task
            }
            TaskWish::Done { link } => {
                let request = pb::CompleteTaskRequest {
                    request_id,
                    workspace,
                    task_id,
                    link,
                    note: String::new(),
                };
                self.client.complete_task(request).await?.task
            }
            TaskWish::Start { run } => {
                let request = pb::StartTaskRequest {
                    request_id,
                    workspace,
                    task_id,
                    run,
                    variables: surroundings::provider_variables(),
                    ..Default::default()
                };
                let made = self.client.start_task(request).await?;
                return Ok(BoardNews::Started {
                    session_id: made.session_id,
                    name: made.session_name,
                    run,
                });
            }
            TaskWish::Keep { field, keep } => {
                use pb::resolve_conflict_request::Keep as Side;
                let request = pb::ResolveConflictRequest {
                    request_id,
                    workspace,
                    task_id,
                    field,
                    keep: Some(match keep {
                        Keep::File => Side::File(true),
                        Keep::Board => Side::Board(true),
                        Keep::Text(text) => Side::Text(text),
                    }),
                };
                self.client.resolve_conflict(request).await?.task
            }
            TaskWish::Sync { restore } => {
                let request = pb::SyncBoardRequest {
                    request_id,
                    workspace,
                    restore,
                };
                self.client.sync_board(request).await?;
                None
            }
        };
        Ok(BoardNews::Done {
            workspace: self.workspace,
            what,
            task: task.map(Box::new),
        })
    }

    async fn edit(
        &self,
        mut request: pb::EditTaskRequest,
        set: impl FnOnce(&mut pb::EditTaskRequest),
    ) -> Result<Option<pb::Task>, ClientError> {
        set(&mut request);
        Ok(self.client.edit_task(request).await?.task)
    }
}
