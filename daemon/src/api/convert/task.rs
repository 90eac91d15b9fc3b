//! Owns: tasks and boards between wire and domain.

use agentd_proto::pb;

use super::super::status::invalid;
use super::timestamp;
use crate::board::TaskView;
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::domain::task::{Change, Conflict, Field, Form, Problem, TaskState, urgency};

/// A state asked for; `None`: not said.
pub(in crate::api) fn state_asked(number: i32) -> Result<Option<TaskState>, Rejection> {
    match pb::TaskState::try_from(number) {
        Ok(pb::TaskState::Unspecified) => Ok(None),
        Ok(pb::TaskState::Todo) => Ok(Some(TaskState::Todo)),
        Ok(pb::TaskState::InProgress) => Ok(Some(TaskState::InProgress)),
        Ok(pb::TaskState::Blocked) => Ok(Some(TaskState::Blocked)),
        Ok(pb::TaskState::Review) => Ok(Some(TaskState::Review)),
        Ok(pb::TaskState::Done) => Ok(Some(TaskState::Done)),
        Err(_) => Err(invalid(format!("state: {number} is not a task's state"))),
    }
}

/// A field asked for; `None`: all of them.
pub(in crate::api) fn field_asked(word: &str) -> Result<Option<Field>, Rejection> {
    match word {
        "" => Ok(None),
        word => Field::from_word(word)
            .map(Some)
            .ok_or_else(|| invalid(format!("field: '{word}' is not a task's field"))),
    }
}

fn state(state: TaskState) -> pb::TaskState {
    match state {
        TaskState::Todo => pb::TaskState::Todo,
        TaskState::InProgress => pb::TaskState::InProgress,
        TaskState::Blocked => pb::TaskState::Blocked,
        TaskState::Review => pb::TaskState::Review,
        TaskState::Done => pb::TaskState::Done,
    }
}

impl From<TaskView> for pb::Task {
    fn from(view: TaskView) -> Self {
        let (twin, task) = (view.twin.clone(), view.twin.task);
        Self {
            task_id: task.task_id.to_string(),
            named: task.named,
            path: task.path,
            line: task.line,
            form: match task.form {
                Form::Row => pb::TaskForm::Row,
                Form::Item => pb::TaskForm::Item,
            }
            .into(),
            section: task.section,
            depth: task.depth,
            tags: task.tags,
            waits: task.waits.iter().map(ToString::to_string).collect(),
            open_waits: view.open_waits,
            title: task.fields.title,
            state: state(task.fields.status).into(),
            urgency: urgency(&task.fields.priority).into(),
            priority: task.fields.priority,
            owner: task.fields.owner,
            notes: task.fields.notes,
            claim: twin.claim.map(|claim| pb::TaskClaim {
                holder: claim.holder,
                session_id: claim.session_id.map(|id| id.to_string()).unwrap_or_default(),
                claim_time: Some(timestamp(claim.since_us)),
                expire_time: Some(timestamp(claim.until_us)),
                run: claim.run,
            }),
            conflicts: twin.conflicts.into_iter().map(conflict).collect(),
            sessions: view.sessions.into_iter().map(session).collect(),
            cost_micro_usd: view.cost.micro_usd,
            cost_known: !view.cost.unknown,
            requests: view.cost.requests,
            rev: twin.rev,
            change_time: Some(timestamp(twin.changed_us)),
        }
    }
}

fn conflict(conflict: Conflict) -> pb::TaskConflict {
    pb::TaskConflict {
        field: conflict.field.word().to_owned(),
        base: conflict.base,
        file: conflict.file,
        board: conflict.board,
        by: conflict.by,
        conflict_time: Some(timestamp(conflict.time_us)),
    }
}

fn session(summary: Summary) -> pb::TaskSession {
    pb::TaskSession {
        session_id: summary.session_id.to_string(),
        name: summary.name,
        state: summary.state.word().to_owned(),
        last_line: summary.last_line,
        update_time: Some(timestamp(summary.updated_us)),
    }
}

/// A problem of a file.
pub(in crate::api) fn problem(problem: Problem) -> pb::BoardProblem {
    pb::BoardProblem {
        path: problem.path,
        line: problem.line,
        code: problem.code,
        message: problem.message,
    }
}

/// An entry of a task's history.
pub(in crate::api) fn change(change: Change) -> pb::TaskChange {
    pb::TaskChange {
        rev: change.rev,
        change_time: Some(timestamp(change.time_us)),
        by: change.by,
        what: change.what,
        fields: change
            .fields
            .into_iter()
            .map(|field| pb::TaskFieldChange {
                field: field.field.word().to_owned(),
                before: field.before,
                after: field.after,
            })
            .collect(),
        text: change.text,
    }
}
