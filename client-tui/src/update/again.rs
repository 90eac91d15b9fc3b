//! Owns: going on: with the line to the daemon, or with a turn that a restart or a budget stopped.

use super::composer;
use crate::model::stopped::Stopped;
use crate::model::{Link, Model, Screen};
use crate::msg::{Cmd, ToLink};

/// What is said to an agent that stands still.
const GO_ON: &str = "go on";

/// Goes on with what stands still.
pub(super) fn act(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let stopped = match (&model.link, model.screen) {
        (Link::Up, Screen::Session) => model.stopped(),
        _ => return cmds.push(Cmd::Link(ToLink::Retry)),
    };
    let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) else {
        return;
    };
    match stopped {
        None => model.toast("nothing was stopped"),
        Some(Stopped::Restart | Stopped::Limit) => {
            composer::say(model, session_id, GO_ON, cmds);
        }
        Some(Stopped::Budget { budget_id, more }) => cmds.push(Cmd::Link(ToLink::Raise {
            session_id,
            budget_id,
            limit: more,
        })),
    }
}

/// A budget has more room: the agent goes on.
pub(super) fn raised(model: &mut Model, session_id: String, line: &str, cmds: &mut Vec<Cmd>) {
    model.toast(format!("the budget is now {}", agentd_proto::escape::line(line)));
    let here = model.open.as_ref().is_some_and(|open| open.id == session_id);
    if here && matches!(model.stopped(), Some(Stopped::Budget { .. })) {
        composer::say(model, session_id, GO_ON, cmds);
    }
}
