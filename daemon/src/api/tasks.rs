//! Owns: TaskService: the boards of workspaces, and sessions for their tasks.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use agentd_proto::pb;
use pb::task_service_server::TaskService;
use tonic::{Request, Response};

use super::convert::session as sessions;
use super::convert::task as convert;
use super::peer::{caller, key};
use super::status::{No, Reply, invalid};
use crate::board::{BoardView, Boards, ClaimWish, EditWish, Holder, Keep, TaskView};
use crate::domain::command::Reply as Answer;
use crate::domain::event::{Origin, TurnOptions};
use crate::domain::limits::LimitsWish;
use crate::domain::message::Part;
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::task::{Field, Fields, TaskId, TaskIdError, TaskState};
use crate::session::{Environment, Post};
use crate::supervisor::{NewSession, RequestKey, Supervisor};

/// How many answered requests are remembered: more than any client has under way.
const ANSWERED: usize = 512;
/// Entries of a task's history in one answer.
const HISTORY: u32 = 100;

/// The service.
pub(super) struct Tasks {
    supervisor: Supervisor,
    boards: Boards,
    /// Requests that were answered, with the task they were about: a retry happens once.
    answered: Mutex<VecDeque<(RequestKey, String)>>,
}

impl Tasks {
    pub(super) fn new(supervisor: Supervisor, boards: Boards) -> Self {
        Self {
            supervisor,
            boards,
            answered: Mutex::default(),
        }
    }

    /// The task that this very request was about, when it was answered before.
    fn before(&self, key: Option<&RequestKey>) -> Result<Option<String>, Rejection> {
        let Some(key) = key else { return Ok(None) };
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match answered.iter().find(|(old, _)| old.request_id == key.request_id) {
            None => Ok(None),
            Some((old, task)) if old == key => Ok(Some(task.clone())),
            Some(_) => Err(Rejection::RequestIdReused(key.request_id.clone())),
        }
    }

    fn remember(&self, key: Option<RequestKey>, task: &str) {
        let Some(key) = key else { return };
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.push_back((key, task.to_owned()));
        if answered.len() > ANSWERED {
            answered.pop_front();
        }
    }

    async fn view(&self, workspace: &Path, task: &str) -> Result<TaskView, No> {
        Ok(self.boards.task(workspace, task, 0).await?.0)
    }

    async fn task(&self, workspace: &Path, task: &str) -> Result<Option<pb::Task>, No> {
        Ok(Some(self.view(workspace, task).await?.into()))
    }

    /// A session that is the task's own, new or found.
    async fn session_for(
        &self,
        who: &Caller,
        wish: &pb::StartTaskRequest,
        workspace: &Path,
        task: &TaskId,
    ) -> Result<crate::session::SessionHandle, No> {
        let name = match wish.name.as_str() {
            "" => task
                .as_str()
                .chars()
                .filter(|c| !matches!(c, '#' | '/'))
                .collect(),
            name => name.to_owned(),
        };
        let new = NewSession {
            name,
            workspace: workspace.to_owned(),
            start_dir: PathBuf::new(),
            layout: None,
            shell: None,
            jail: None,
            origin: Origin::Agent,
            model: Some(wish.model.clone()).filter(|m| !m.is_empty()),
            get_or_create: true,
            task: Some(task.clone()),
            network: None,
            limits: LimitsWish::default(),
            added_dirs: Vec::new(),
            search_path: String::new(),
            log: None,
            persona: String::new(),
            policy: String::new(),
        };
        let key = key(&wish.request_id, "StartTask", wish)?;
        let (handle, _) = self.supervisor.create(who, key, new).await?;
        Ok(handle)
    }

    async fn start(&self, who: Caller, wish: pb::StartTaskRequest) -> Result<pb::StartTaskResponse, No> {
        let workspace = workspace(&wish.workspace)?;
        let view = self.view(&workspace, &wish.task_id).await?;
        let task = view.twin.task.task_id.clone();
        if let Some(claim) = view.twin.claim.as_ref().filter(|c| c.session_id.is_none()) {
            // A person's own claim goes over to the session; another person's stays theirs.
            if claim.holder.split(" via ").next() != Some(who.principal.as_str()) {
                return Err(Rejection::TaskClaimed {
                    task: task.to_string(),
                    holder: claim.holder.clone(),
                }
                .into());
            }
            self.boards
                .release(&workspace, task.as_str(), &Holder::person(&who), true)
                .await?;
        }
        if !view.open_waits.is_empty() && !wish.force {
            return Err(Rejection::TaskWaits {
                task: task.to_string(),
                waits: view.open_waits,
            }
            .into());
        }
        let environment = Environment::from_vars(wish.variables.clone());
        let handle = self.session_for(&who, &wish, &workspace, &task).await?;
        let named = Some(wish.model.clone()).filter(|m| !m.is_empty());
        // Refused before anything is claimed: no model, no run.
        let model = match wish.run {
            true => Some(
                self.supervisor
                    .model_for(&handle, named.as_deref(), &environment)
                    .await?,
            ),
            false => None,
        };
        let mut summary = handle.summary();
        handle.choose_task(who.clone(), None, Some(task.clone())).await?;
        summary.task = Some(task.clone());
        let claim = ClaimWish {
            lease: None,
            run: wish.run,
            force: wish.force,
        };
        self.boards
            .claim(&workspace, task.as_str(), Holder::session(&summary), claim)
            .await?;
        let mut turn = String::new();
        if let Some((model, choose_model)) = model {
            let post = Post {
                parts: vec![Part::Text {
                    text: prompt(&view, &wish.text),
                }],
                model: Some(model),
                choose_model,
                options: TurnOptions {
                    deny_approvals: false,
                    approver_present: false,
                    max_steps: self.supervisor.max_steps(wish.max_steps),
                    ..TurnOptions::default()
                },
                expected_head: None,
                steer: false,
            };
            if let Answer::Posted { turn_id, .. } = handle.post(who, None, post).await? {
                turn = turn_id.map(|t| t.to_string()).unwrap_or_default();
            }
        }
        Ok(pb::StartTaskResponse {
            session_id: handle.session_id().to_string(),
            session_name: summary.name,
            turn_id: turn,
            task: self.task(&workspace, task.as_str()).await?,
        })
    }
}

/// What the agent is told of its task.
fn prompt(view: &TaskView, more: &str) -> String {
    let task = &view.twin.task;
    let mut text = format!(
        "Work on task {} of {}: {}\n",
        task.task_id, task.path, task.fields.title
    );
    if !task.section.is_empty() {
        text.push_str(&format!("It stands under: {}\n", task.section.join(" > ")));
    }
    if !task.fields.notes.is_empty() {
        text.push_str(&format!("Notes on it: {}\n", task.fields.notes));
    }
    if !more.is_empty() {
        text.push_str(more);
        text.push('\n');
    }
    text.push_str("The task is claimed for you and moves to Review when you end your turn. If something stops you, say so with the tool `task` (verb block) before you end.");
    text
}

fn workspace(text: &str) -> Result<PathBuf, Rejection> {
    if !text.starts_with('/') {
        return Err(invalid("workspace must be an absolute path"));
    }
    let path = PathBuf::from(text);
    // One directory, one board, whatever links lead to it.
    Ok(path.canonicalize().unwrap_or(path))
}

fn conflicts(view: &BoardView) -> u32 {
    let count = view
        .tasks
        .iter()
        .filter(|task| !task.twin.conflicts.is_empty())
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn list_boards(&self, _: Request<pb::ListBoardsRequest>) -> Reply<pb::ListBoardsResponse> {
        let mut workspaces = self.boards.workspaces().await?;
        let filter = crate::supervisor::SessionFilter {
            limit: 1000,
            ..Default::default()
        };
        for summary in self.supervisor.list(filter).await? {
            workspaces.push(summary.spec.workspace.root.to_string_lossy().into_owned());
        }
        workspaces.sort();
        workspaces.dedup();
        workspaces.retain(|path| Path::new(path).is_dir());
        Ok(Response::new(pb::ListBoardsResponse { workspaces }))
    }

    async fn list_tasks(&self, request: Request<pb::ListTasksRequest>) -> Reply<pb::ListTasksResponse> {
        let wish = request.into_inner();
        let mut states = Vec::new();
        for number in &wish.states {
            states.extend(convert::state_asked(*number)?);
        }
        let view = self.boards.view(&workspace(&wish.workspace)?).await?;
        let conflicts = conflicts(&view);
        Ok(Response::new(pb::ListTasksResponse {
            tasks: view
                .tasks
                .into_iter()
                .filter(|task| states.is_empty() || states.contains(&task.twin.task.fields.status))
                .map(Into::into)
                .collect(),
            files: view.files,
            problems: view.problems.into_iter().map(convert::problem).collect(),
            sync_time: Some(super::convert::timestamp(view.synced_us)),
            rev: view.rev,
            conflicts,
        }))
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Reply<pb::GetTaskResponse> {
        let wish = request.into_inner();
        let (task, history) = self
            .boards
            .task(&workspace(&wish.workspace)?, &wish.task_id, HISTORY)
            .await?;
        Ok(Response::new(pb::GetTaskResponse {
            task: Some(task.into()),
            history: history.into_iter().map(convert::change).collect(),
        }))
    }

    async fn add_task(&self, request: Request<pb::AddTaskRequest>) -> Reply<pb::AddTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "AddTask", request.get_ref())?;
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        if let Some(task) = self.before(key.as_ref())? {
            let task = self.task(&workspace, &task).await?;
            return Ok(Response::new(pb::AddTaskResponse { task }));
        }
        let fields = Fields {
            title: wish.title,
            status: convert::state_asked(wish.state)?.unwrap_or(TaskState::Todo),
            priority: wish.priority,
            owner: wish.owner,
            notes: wish.notes,
        };
        let section = Some(wish.section).filter(|s| !s.is_empty());
        let id = self
            .boards
            .add(&workspace, &wish.path, fields, section, &who.signature())
            .await?;
        self.remember(key, id.as_str());
        let task = self.task(&workspace, id.as_str()).await?;
        Ok(Response::new(pb::AddTaskResponse { task }))
    }

    async fn edit_task(&self, request: Request<pb::EditTaskRequest>) -> Reply<pb::EditTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "EditTask", request.get_ref())?;
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        let id = match self.before(key.as_ref())? {
            Some(task) => task,
            None => {
                let state = convert::state_asked(wish.state)?.map(|state| state.title().to_owned());
                let set = [
                    (Field::Title, wish.title),
                    (Field::Status, state),
                    (Field::Priority, wish.priority),
                    (Field::Owner, wish.owner),
                    (Field::Notes, wish.notes),
                ];
                let new_id = match wish.new_id.as_str() {
                    "" => None,
                    id => Some(id.parse().map_err(|e: TaskIdError| invalid(e.to_string()))?),
                };
                let edit = EditWish {
                    set: set
                        .into_iter()
                        .filter_map(|(field, text)| Some((field, text?)))
                        .collect(),
                    note: Some(wish.note).filter(|note| !note.trim().is_empty()),
                    new_id,
                    base_rev: wish.base_rev,
                };
                let (id, _) = self
                    .boards
                    .edit(&workspace, &wish.task_id, &who.signature(), edit)
                    .await?;
                id.to_string()
            }
        };
        self.remember(key, &id);
        let task = self.task(&workspace, &id).await?;
        Ok(Response::new(pb::EditTaskResponse { task }))
    }

    async fn claim_task(&self, request: Request<pb::ClaimTaskRequest>) -> Reply<pb::ClaimTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        let lease = match &wish.lease {
            Some(lease) => Some(super::convert::duration("lease", lease)?),
            None => None,
        };
        let holder = match wish.session_id.as_str() {
            "" => Holder::person(&who),
            session => {
                let handle = self.supervisor.find(session, &who).await?;
                let task = self.view(&workspace, &wish.task_id).await?.twin.task.task_id;
                let holder = Holder::session(&handle.summary());
                handle.choose_task(who, None, Some(task)).await?;
                holder
            }
        };
        let claim = ClaimWish {
            lease,
            run: false,
            force: wish.force,
        };
        let id = self
            .boards
            .claim(&workspace, &wish.task_id, holder, claim)
            .await?;
        let task = self.task(&workspace, id.as_str()).await?;
        Ok(Response::new(pb::ClaimTaskResponse { task }))
    }

    async fn release_task(&self, request: Request<pb::ReleaseTaskRequest>) -> Reply<pb::ReleaseTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ReleaseTask", request.get_ref())?;
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        let id = match self.before(key.as_ref())? {
            Some(task) => task,
            None => self
                .boards
                .release(&workspace, &wish.task_id, &Holder::person(&who), wish.force)
                .await?
                .to_string(),
        };
        self.remember(key, &id);
        let task = self.task(&workspace, &id).await?;
        Ok(Response::new(pb::ReleaseTaskResponse { task }))
    }

    async fn complete_task(
        &self,
        request: Request<pb::CompleteTaskRequest>,
    ) -> Reply<pb::CompleteTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "CompleteTask", request.get_ref())?;
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        let (id, link) = match self.before(key.as_ref())? {
            Some(task) => (task, wish.link),
            None => {
                let by = who.signature();
                let (id, link) = self
                    .boards
                    .complete(&workspace, &wish.task_id, &by, &wish.link, &wish.note)
                    .await?;
                (id.to_string(), link)
            }
        };
        self.remember(key, &id);
        let task = self.task(&workspace, &id).await?;
        Ok(Response::new(pb::CompleteTaskResponse { task, link }))
    }

    async fn start_task(&self, request: Request<pb::StartTaskRequest>) -> Reply<pb::StartTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        Ok(Response::new(
            Box::pin(self.start(who, request.into_inner())).await?,
        ))
    }

    async fn choose_task(&self, request: Request<pb::ChooseTaskRequest>) -> Reply<pb::ChooseTaskResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(&request.get_ref().request_id, "ChooseTask", request.get_ref())?;
        let wish = request.into_inner();
        let handle = self.supervisor.find(&wish.session_id, &who).await?;
        let task = sessions::task_asked(&wish.task_id)?;
        let seq = handle.choose_task(who, key, task).await?;
        Ok(Response::new(pb::ChooseTaskResponse { seq }))
    }

    async fn resolve_conflict(
        &self,
        request: Request<pb::ResolveConflictRequest>,
    ) -> Reply<pb::ResolveConflictResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let key = key(
            &request.get_ref().request_id,
            "ResolveConflict",
            request.get_ref(),
        )?;
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        let id = match self.before(key.as_ref())? {
            Some(task) => task,
            None => {
                let keep = match wish.keep {
                    Some(pb::resolve_conflict_request::Keep::File(true)) => Keep::File,
                    Some(pb::resolve_conflict_request::Keep::Board(true)) => Keep::Board,
                    Some(pb::resolve_conflict_request::Keep::Text(text)) => Keep::Text(text),
                    _ => return Err(invalid("keep: say file, board, or give a text").into()),
                };
                let field = convert::field_asked(&wish.field)?;
                let by = who.signature();
                self.boards
                    .resolve(&workspace, &wish.task_id, field, keep, &by)
                    .await?
                    .to_string()
            }
        };
        self.remember(key, &id);
        let task = self.task(&workspace, &id).await?;
        Ok(Response::new(pb::ResolveConflictResponse { task }))
    }

    async fn sync_board(&self, request: Request<pb::SyncBoardRequest>) -> Reply<pb::SyncBoardResponse> {
        let wish = request.into_inner();
        let workspace = workspace(&wish.workspace)?;
        self.boards.sync(&workspace, wish.restore).await?;
        let view = self.boards.view(&workspace).await?;
        Ok(Response::new(pb::SyncBoardResponse {
            rev: view.rev,
            conflicts: conflicts(&view),
            problems: view.problems.into_iter().map(convert::problem).collect(),
        }))
    }
}
