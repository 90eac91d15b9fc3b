//! Owns: the model's way to the board: the tool `task` on behalf of its session.
//! Guarantees: a claim is the session's own; what the model reads is short and says what to do next.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::board::{BoardView, Boards, ClaimWish, EditWish, Holder, Refusal, TaskView};
use crate::domain::id::SessionId;
use crate::domain::principal::Caller;
use crate::domain::session::clip;
use crate::domain::task::{Field, Fields, TaskId, TaskState};
use crate::session::{Desks, trace_id};
use crate::supervisor::Supervisor;
use crate::tools::{TaskCall, TaskDesk};

/// Most tasks in one list: a board of thousands must not fill the context.
const LISTED: usize = 100;

/// Known once the supervisor is made; sessions are brought back only after that.
pub(super) type Late = Arc<OnceLock<Supervisor>>;

/// Desks on these boards.
pub(super) fn desks(boards: Boards, supervisor: Late) -> Desks {
    Box::new(move |session_id, workspace| {
        Arc::new(Desk {
            boards: boards.clone(),
            supervisor: supervisor.clone(),
            session_id: session_id.clone(),
            workspace: workspace.to_owned(),
        })
    })
}

struct Desk {
    boards: Boards,
    supervisor: Late,
    session_id: SessionId,
    workspace: PathBuf,
}

#[async_trait]
impl TaskDesk for Desk {
    async fn call(&self, call: TaskCall) -> Result<String, String> {
        self.answer(call).await.map_err(|refusal| match refusal {
            Refusal::Rejected(no) => {
                let hints = no.hints();
                if hints.is_empty() {
                    format!("{no}.")
                } else {
                    format!("{no}. Next: {}", hints.join("; "))
                }
            }
            Refusal::Store(error) => {
                tracing::error!(%error, "the board failed");
                "The board could not be stored.".into()
            }
        })
    }
}

impl Desk {
    async fn holder(&self) -> Holder {
        let name = match self.supervisor.get() {
            Some(supervisor) => supervisor
                .handle(&self.session_id)
                .await
                .ok()
                .map(|h| h.summary().name),
            None => None,
        };
        let name = name.unwrap_or_else(|| self.session_id.to_string());
        Holder {
            owner: name.clone(),
            name,
            session_id: Some(self.session_id.clone()),
        }
    }

    async fn answer(&self, call: TaskCall) -> Result<String, Refusal> {
        let (boards, ws) = (&self.boards, self.workspace.as_path());
        let holder = self.holder().await;
        let by = holder.name.clone();
        let set = |field: Field, text: &str| vec![(field, text.to_owned())];
        let edit = |set: Vec<(Field, String)>, note: &str| EditWish {
            set,
            note: Some(note.to_owned()).filter(|note| !note.trim().is_empty()),
            ..EditWish::default()
        };
        let wish = match call.verb.as_str() {
            "list" => return Ok(list(&boards.view(ws).await?)),
            "show" => return self.show(&call.task).await,
            "add" => {
                let fields = Fields {
                    title: call.text,
                    status: TaskState::read(&call.state).unwrap_or(TaskState::Todo),
                    priority: String::new(),
                    owner: String::new(),
                    notes: String::new(),
                };
                let id = boards.add(ws, "", fields, None, &by).await?;
                return self.show(id.as_str()).await;
            }
            "claim" => {
                let id = boards.claim(ws, &call.task, holder, ClaimWish::default()).await?;
                self.choose(&id).await;
                return self.show(id.as_str()).await;
            }
            "unclaim" => {
                let id = boards.release(ws, &call.task, &holder, false).await?;
                return self.show(id.as_str()).await;
            }
            "done" => {
                let (id, _) = boards
                    .complete(ws, &call.task, &by, &call.link, &call.text)
                    .await?;
                return self.show(id.as_str()).await;
            }
            "edit" => edit(set(Field::Title, &call.text), ""),
            "move" => edit(set(Field::Status, &call.state), &call.text),
            "block" => edit(set(Field::Status, TaskState::Blocked.title()), &call.text),
            "review" => edit(set(Field::Status, TaskState::Review.title()), &call.text),
            _ => edit(Vec::new(), &call.text),
        };
        let (id, conflicts) = boards.edit(ws, &call.task, &by, wish).await?;
        let mut text = self.show(id.as_str()).await?;
        if !conflicts.is_empty() {
            text.push_str(
                "\nThe file was changed by hand meanwhile: both versions are kept and a person is asked.",
            );
        }
        Ok(text)
    }

    async fn show(&self, task: &str) -> Result<String, Refusal> {
        let (view, _) = self.boards.task(&self.workspace, task, 0).await?;
        Ok(line(&view))
    }

    /// What the session costs from here on counts for the task.
    async fn choose(&self, task: &TaskId) {
        let Some(supervisor) = self.supervisor.get() else {
            return;
        };
        let chosen = match supervisor.handle(&self.session_id).await {
            Ok(handle) => handle
                .choose_task(Caller::daemon(trace_id()), None, Some(task.clone()))
                .await
                .map(|_| ()),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = chosen {
            tracing::warn!(%fault, session = %self.session_id, "the session's task could not be noted");
        }
    }
}

fn list(view: &BoardView) -> String {
    if view.files.is_empty() {
        return "This workspace has no board yet; `add` makes docs/TASKS.md.".into();
    }
    let open = view
        .tasks
        .iter()
        .filter(|task| task.twin.task.fields.status != TaskState::Done);
    let mut text = String::new();
    let total = open.clone().count();
    for task in open.take(LISTED) {
        let _ = writeln!(text, "{}", line(task));
    }
    let done = view.tasks.len().saturating_sub(total);
    let _ = write!(text, "{total} open, {done} done");
    if total > LISTED {
        let _ = write!(text, "; the first {LISTED} are shown");
    }
    for problem in &view.problems {
        let _ = write!(text, "\n{}:{}: {}", problem.path, problem.line, problem.message);
    }
    text
}

fn line(view: &TaskView) -> String {
    let task = &view.twin.task;
    let fields = &task.fields;
    let mut text = format!(
        "{} [{}] {}",
        task.task_id,
        fields.status.title(),
        clip(&fields.title, 300)
    );
    for (name, value) in [
        ("priority", &fields.priority),
        ("owner", &fields.owner),
        ("notes", &fields.notes),
    ] {
        if !value.is_empty() {
            let _ = write!(text, " · {name}: {}", clip(value, 500));
        }
    }
    if !view.open_waits.is_empty() {
        let _ = write!(text, " · waits for {}", view.open_waits.join(", "));
    }
    if let Some(claim) = &view.twin.claim {
        let _ = write!(text, " · claimed by {}", claim.holder);
    }
    text
}
