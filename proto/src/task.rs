//! Owns: tasks as words, the same in every client.
//! Guarantees: an unknown cost is `—`, never a guess. Texts of tasks come back as they are: escape before showing.

use crate::{format, pb};

/// The word of a task's state.
pub fn state_word(state: pb::TaskState) -> &'static str {
    match state {
        pb::TaskState::Unspecified => "",
        pb::TaskState::Todo => "todo",
        pb::TaskState::InProgress => "in progress",
        pb::TaskState::Blocked => "blocked",
        pb::TaskState::Review => "review",
        pb::TaskState::Done => "done",
    }
}

/// What it cost: `—` when nothing is known, never a guess.
pub fn cost(task: &pb::Task) -> String {
    if task.requests == 0 {
        return String::new();
    }
    format::money(task.cost_known.then_some(task.cost_micro_usd))
}

/// The newest thing known of it: a conflict, what its session does, who has it, what it waits for.
pub fn last(task: &pb::Task) -> String {
    if !task.conflicts.is_empty() {
        let fields: Vec<&str> = task.conflicts.iter().map(|c| c.field.as_str()).collect();
        return format!("! conflict: {}", fields.join(", "));
    }
    if let Some(session) = task
        .sessions
        .first()
        .filter(|_| task.state() != pb::TaskState::Done)
    {
        return format!(
            "{} {}: {}",
            session.name,
            session.state.replace('_', " "),
            session.last_line
        );
    }
    if !task.open_waits.is_empty() {
        return format!("waits {}", task.open_waits.join(", "));
    }
    match &task.claim {
        Some(claim) => format!("claimed by {}", claim.holder),
        None => String::new(),
    }
}
