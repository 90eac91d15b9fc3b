//! Owns: `agentctl tasks …`: the board of this directory.
//! Guarantees: a change is in TASKS.md when the verb ends with 0; a conflict is exit 6 and loses neither side.

use agentd_proto::{format, id, pb};

use crate::args::{
    Place, Side, TasksAdd, TasksClaim, TasksEdit, TasksList, TasksStart, TasksSync, TasksVerb,
};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::{task as show, text};
use crate::time;

const COLUMNS: &[Column] = &[
    flexible("ID", 9, 4),
    fixed("STATE", 8),
    flexible("PRIO", 3, 4),
    flexible("TITLE", 7, 16),
    flexible("OWNER", 4, 6),
    fixed("COST", 5),
    fixed("AGE", 2),
    flexible("LAST", 1, 12),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: TasksVerb) -> Result<u8, Failure> {
    match verb {
        TasksVerb::List(args) => list(context, args).await,
        TasksVerb::Add(args) => add(context, args).await,
        TasksVerb::Show { task } => one(context, &task).await,
        TasksVerb::Edit(args) => edit_fields(context, args).await,
        TasksVerb::Move { task, to } => edit(context, &task, Some(to), "", "moved").await,
        TasksVerb::Start(args) => start(context, args, false).await,
        TasksVerb::Run(args) => start(context, args, true).await,
        TasksVerb::Claim(args) => claim(context, args).await,
        TasksVerb::Unclaim { task, force } => unclaim(context, task, force).await,
        TasksVerb::Note { task, text } => edit(context, &task, None, &text.join(" "), "noted").await,
        TasksVerb::Block { task, text } => {
            edit(context, &task, Some(Place::Blocked), &text.join(" "), "blocked").await
        }
        TasksVerb::Review { task, text } => {
            edit(context, &task, Some(Place::Review), &text.join(" "), "to review").await
        }
        TasksVerb::Done { task, link, text } => done(context, task, link, text.join(" ")).await,
        TasksVerb::Sync(args) => sync(context, args).await,
    }
}

fn state(place: Place) -> pb::TaskState {
    match place {
        Place::Todo => pb::TaskState::Todo,
        Place::InProgress => pb::TaskState::InProgress,
        Place::Blocked => pb::TaskState::Blocked,
        Place::Review => pb::TaskState::Review,
        Place::Done => pb::TaskState::Done,
    }
}

fn workspace(context: &Context) -> Result<String, Failure> {
    Ok(context.workspace()?.root)
}

async fn list(context: &Context, args: TasksList) -> Result<u8, Failure> {
    let request = pb::ListTasksRequest {
        workspace: workspace(context)?,
        states: args.state.iter().map(|place| state(*place).into()).collect(),
    };
    let mut board = context.client.list_tasks(request).await?;
    if args.free {
        board.tasks.retain(|task| {
            task.claim.is_none()
                && task.owner.is_empty()
                && task.open_waits.is_empty()
                && task.state() == pb::TaskState::Todo
        });
        board.tasks.sort_by_key(|task| task.urgency);
    }
    if context.out.is_json() {
        context
            .out
            .json_list(board.tasks.iter().map(show::json).collect())?;
    } else if board.tasks.is_empty() && context.out.out_tty {
        context.out.note(if board.files.is_empty() {
            "no board here yet: agentctl tasks add \"…\" makes docs/TASKS.md"
        } else {
            "no tasks"
        });
    } else {
        let rows: Vec<Vec<String>> = board.tasks.iter().map(row).collect();
        table::print(&context.out, COLUMNS, &rows)?;
    }
    told(context, &board.problems, board.conflicts);
    Ok(exit::OK)
}

fn row(task: &pb::Task) -> Vec<String> {
    let nested = "  ".repeat(usize::try_from(task.depth).unwrap_or(0).min(8));
    vec![
        task.task_id.clone(),
        show::state_word(task.state()).to_owned(),
        task.priority.clone(),
        format!("{nested}{}", task.title),
        task.owner.clone(),
        show::cost(task),
        format::age(time::age(task.change_time)),
        show::last(task),
    ]
}

/// What a person should look at, on standard error.
fn told(context: &Context, problems: &[pb::BoardProblem], conflicts: u32) {
    for problem in problems {
        let place = match problem.line {
            0 => problem.path.clone(),
            line => format!("{}:{line}", problem.path),
        };
        context.out.warning(&agentd_proto::escape::line(&format!(
            "{place}: {}",
            problem.message
        )));
    }
    if conflicts > 0 {
        context.out.warning(&format!(
            "{} changed both in the file and on the board: agentctl tasks sync T --keep file|board",
            format::count(u64::from(conflicts), "task")
        ));
    }
}

async fn one(context: &Context, task: &str) -> Result<u8, Failure> {
    let request = pb::GetTaskRequest {
        workspace: workspace(context)?,
        task_id: task.to_owned(),
    };
    let answer = context.client.get_task(request).await?;
    let task = answer.task.ok_or_else(empty_answer)?;
    let mut json = show::json(&task);
    if let Some(map) = json.as_object_mut() {
        let history = answer.history.iter().map(show::change_json).collect();
        map.insert("history".to_owned(), serde_json::Value::Array(history));
    }
    text::document(&context.out, &show::fields(&task), &json)?;
    if !context.out.is_json() && context.out.format == crate::args::Format::Table {
        for change in answer.history.iter().rev().take(10) {
            let line = agentd_proto::escape::line(&show::change_line(change));
            context.out.line(&format!("  {line}"))?;
        }
    }
    Ok(exit::OK)
}

/// Says what became of a task; a conflict is no success.
fn changed(context: &Context, task: Option<pb::Task>, what: &str) -> Result<u8, Failure> {
    let task = task.ok_or_else(empty_answer)?;
    if context.out.is_json() {
        context.out.json(&show::json(&task))?;
    } else if context.out.out_tty {
        context.out.note(&agentd_proto::escape::line(&format!(
            "{} {what}: {} · {} · {}:{}",
            task.task_id,
            task.title,
            show::state_word(task.state()),
            task.path,
            task.line
        )));
    } else {
        context.out.line(&task.task_id)?;
    }
    Ok(exit::OK)
}

fn conflicted(task: &Option<pb::Task>) -> Result<(), Failure> {
    let Some(task) = task.as_ref().filter(|task| !task.conflicts.is_empty()) else {
        return Ok(());
    };
    let mut failure = Failure::new(
        exit::CONFLICT,
        "task_conflict",
        format!(
            "{} and the board both changed {}; both versions are kept",
            task.path, task.task_id
        ),
    );
    for conflict in &task.conflicts {
        failure = failure.note(agentd_proto::escape::line(&format!(
            "{}: the file says '{}', the board '{}'",
            conflict.field, conflict.file, conflict.board
        )));
    }
    Err(failure
        .next(format!("agentctl tasks sync {} --keep file", task.task_id))
        .next(format!("agentctl tasks sync {} --keep board", task.task_id)))
}

async fn add(context: &Context, args: TasksAdd) -> Result<u8, Failure> {
    let request = pb::AddTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        title: args.title.join(" "),
        state: args.state.map(state).unwrap_or_default().into(),
        priority: args.priority,
        owner: args.owner,
        notes: args.notes,
        section: args.section,
        path: args.file,
    };
    let answer = context.client.add_task(request).await?;
    changed(context, answer.task, "added")
}

async fn edit_fields(context: &Context, args: TasksEdit) -> Result<u8, Failure> {
    let asked =
        args.title.is_some() || args.priority.is_some() || args.owner.is_some() || args.notes.is_some();
    if !asked && args.id.is_empty() {
        return Err(Failure::usage("nothing to change").next("agentctl tasks edit T-12 --title \"…\""));
    }
    let request = pb::EditTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: args.task,
        title: args.title,
        priority: args.priority,
        owner: args.owner,
        notes: args.notes,
        new_id: args.id,
        ..Default::default()
    };
    let answer = context.client.edit_task(request).await?;
    conflicted(&answer.task)?;
    changed(context, answer.task, "changed")
}

async fn edit(
    context: &Context,
    task: &str,
    to: Option<Place>,
    note: &str,
    what: &str,
) -> Result<u8, Failure> {
    let request = pb::EditTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: task.to_owned(),
        state: to.map(state).unwrap_or_default().into(),
        note: note.to_owned(),
        ..Default::default()
    };
    let answer = context.client.edit_task(request).await?;
    conflicted(&answer.task)?;
    changed(context, answer.task, what)
}

async fn claim(context: &Context, args: TasksClaim) -> Result<u8, Failure> {
    let session_id = match &context.global.session {
        Some(name) => context.session(name).await?.session_id,
        None => String::new(),
    };
    let request = pb::ClaimTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: args.task,
        session_id,
        lease: args
            .lease
            .and_then(|lease| prost_types::Duration::try_from(lease).ok()),
        force: args.force,
    };
    let answer = context.client.claim_task(request).await?;
    changed(context, answer.task, "claimed")
}

async fn unclaim(context: &Context, task: String, force: bool) -> Result<u8, Failure> {
    let request = pb::ReleaseTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: task,
        force,
    };
    let answer = context.client.release_task(request).await?;
    changed(context, answer.task, "given back")
}

async fn done(context: &Context, task: String, link: Option<String>, note: String) -> Result<u8, Failure> {
    let request = pb::CompleteTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: task,
        link: link.unwrap_or_default(),
        note,
    };
    let answer = context.client.complete_task(request).await?;
    conflicted(&answer.task)?;
    changed(context, answer.task, "done")
}

async fn start(context: &Context, args: TasksStart, run: bool) -> Result<u8, Failure> {
    let request = pb::StartTaskRequest {
        request_id: id::request_id(),
        workspace: workspace(context)?,
        task_id: args.task,
        name: args.name,
        model: args.model,
        run,
        text: args.text.join(" "),
        max_steps: args.max_turns.unwrap_or_default(),
        force: args.force,
        variables: context.environment().variables,
    };
    let answer = context.client.start_task(request).await?;
    if context.out.is_json() {
        context.out.json(&serde_json::json!({
            "session_id": answer.session_id,
            "session_name": answer.session_name,
            "turn_id": answer.turn_id,
            "task": answer.task.as_ref().map(show::json),
        }))?;
        return Ok(exit::OK);
    }
    let next = if run {
        "works in the background"
    } else {
        "is ready"
    };
    context.out.note(&format!(
        "{} {next} · agentctl attach {}",
        answer.session_name, answer.session_id
    ));
    context.out.line(&answer.session_id)?;
    Ok(exit::OK)
}

async fn sync(context: &Context, args: TasksSync) -> Result<u8, Failure> {
    let workspace = workspace(context)?;
    if let Some(task) = args.task {
        use pb::resolve_conflict_request::Keep;
        let keep = match (args.keep, args.text) {
            (_, Some(text)) => Keep::Text(text),
            (Some(Side::Board), None) => Keep::Board(true),
            (_, None) => Keep::File(true),
        };
        let request = pb::ResolveConflictRequest {
            request_id: id::request_id(),
            workspace,
            task_id: task,
            field: args.field,
            keep: Some(keep),
        };
        let answer = context.client.resolve_conflict(request).await?;
        return changed(context, answer.task, "settled");
    }
    let request = pb::SyncBoardRequest {
        request_id: id::request_id(),
        workspace,
        restore: args.restore,
    };
    let answer = context.client.sync_board(request).await?;
    if context.out.is_json() {
        context.out.json(&serde_json::json!({
            "rev": answer.rev,
            "conflicts": answer.conflicts,
            "problems": answer.problems.iter().map(|p| serde_json::json!({
                "path": p.path, "line": p.line, "code": p.code, "message": p.message,
            })).collect::<Vec<_>>(),
        }))?;
    } else {
        context
            .out
            .note(if answer.problems.is_empty() && answer.conflicts == 0 {
                "synced"
            } else {
                "synced, with something to look at"
            });
    }
    told(context, &answer.problems, answer.conflicts);
    Ok(if answer.conflicts > 0 {
        exit::CONFLICT
    } else {
        exit::OK
    })
}
