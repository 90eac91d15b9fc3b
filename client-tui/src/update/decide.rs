//! Owns: deciding approvals.
//! Guarantees: the eight rules: no focus is taken, two steps, dead time, fixed letters, a rule only where one
//! is offered, denying is not stopping, the first answer wins, and nothing is decided by Enter.

use agentd_proto::pb::ApprovalDecision;
use agentd_proto::{escape, pb};

use crate::keys::Action;
use crate::model::editor::Editor;
use crate::model::overlay::{Ask, Overlay};
use crate::model::{Level, Model, Screen};
use crate::msg::{Cmd, ToLink};

/// Turns the keys to the question on the screen: the first of the two steps.
pub(crate) fn begin(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.read_only {
        return model.toast("read-only: nothing can be decided here");
    }
    if model.screen == Screen::Dashboard {
        let selected = model
            .rows
            .selected
            .clone()
            .and_then(|id| model.rows.get(&id).cloned());
        let needs = selected.filter(|row| !row.approval_ids.is_empty()).or_else(|| {
            model
                .rows
                .all()
                .first()
                .filter(|row| !row.approval_ids.is_empty())
                .map(|row| (*row).clone())
        });
        // Nothing is decided that is not on the screen in full.
        return match needs {
            Some(row) => super::open(model, &row.session_id, cmds),
            None => model.toast("no approval is open"),
        };
    }
    let Some(question) = model.question() else {
        return model.toast("no approval is open here");
    };
    let id = question.approval_id.clone();
    if model.gate.open(model.now) == Some(id.as_str()) {
        model.deciding = true;
        model.toast = None;
    } else {
        too_soon(model);
    }
}

/// The second step.
pub(crate) fn decide(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    let Some(question) = model.question() else {
        model.deciding = false;
        return;
    };
    let (id, rule) = (question.approval_id.clone(), question.session_rule.clone());
    if model.gate.open(model.now) != Some(id.as_str()) {
        return too_soon(model);
    }
    let decision = match action {
        Action::ApproveOnce => ApprovalDecision::ApprovedOnce,
        Action::ApproveSession if rule.is_empty() => {
            return model.toast("not offered for the session: no exact rule would cover it");
        }
        Action::ApproveSession => ApprovalDecision::ApprovedSession,
        Action::DenyBecause => {
            let ask = Ask::DenyBecause { approval_id: id };
            model.overlay = Some(Overlay::Prompt {
                ask,
                text: Editor::default(),
            });
            return;
        }
        _ => ApprovalDecision::Denied,
    };
    model.deciding = false;
    cmds.push(Cmd::Link(ToLink::Resolve {
        approval_id: id,
        decision,
        reason: String::new(),
    }));
}

/// Denies with words for the model.
pub(crate) fn deny(model: &mut Model, approval_id: String, reason: &str, cmds: &mut Vec<Cmd>) {
    model.deciding = false;
    let decision = ApprovalDecision::Denied;
    let reason: String = reason.chars().take(2_000).collect();
    cmds.push(Cmd::Link(ToLink::Resolve {
        approval_id,
        decision,
        reason,
    }));
}

/// A swallowed key counts as typed: a burst of keys never gets through.
fn too_soon(model: &mut Model) {
    model.gate.typed(model.now);
    model.toast("too soon to have been read: look, then press it again");
}

/// Tells who answered, unless it was this client.
pub(crate) fn resolved(model: &mut Model, event: &pb::Event, resolved: &pb::ApprovalResolved) {
    model
        .approvals
        .retain(|one| one.approval_id != resolved.approval_id);
    let word = agentd_proto::transcript::decision_word(resolved.decision());
    let who = escape::line(&format!("{} via {}", event.principal, event.client));
    if event.client != "tui" {
        model.notice(Level::Info, format!("{} {word} by {who}", resolved.approval_id));
    }
}
