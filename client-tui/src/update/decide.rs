//! Owns: deciding approvals.
//! Guarantees: the eight rules: no focus is taken, two steps, dead time, fixed letters, a rule only where one
//! is offered, denying is not stopping, the first answer wins, and nothing is decided by Enter.

use agentd_proto::pb::ApprovalDecision;
use agentd_proto::{escape, pb};

use super::actions::prompt;
use crate::keys::Action;
use crate::layout;
use crate::model::editor::Editor;
use crate::model::grant::{DECISION, Form};
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
        Action::ApproveSession if !rule_is_shown(model) => return,
        Action::ApproveSession => ApprovalDecision::ApprovedSession,
        Action::DenyBecause => return prompt(model, Ask::DenyBecause { approval_id: id }, ""),
        Action::ApproveRule => return with_rule(model),
        _ => ApprovalDecision::Denied,
    };
    model.deciding = false;
    cmds.push(Cmd::Link(ToLink::Resolve {
        approval_id: id,
        decision,
        reason: String::new(),
        grant: None,
    }));
}

/// True when the rule that an approval for the session adds is on the screen. Where it is not, it is brought there: nobody
/// grants what they have not seen.
fn rule_is_shown(model: &mut Model) -> bool {
    let Some(question) = layout::question(model, model.size.0) else {
        return false;
    };
    let Some(rule) = question.rule else { return true };
    let height = layout::frame(model).question.height;
    if question.shown(height, model.question_scroll).contains(&rule) {
        return true;
    }
    model.question_scroll = rule;
    if question.shown(height, rule).contains(&rule) {
        model.toast("this is the rule it adds: press it again");
    } else {
        model.toast("no room to show the rule it adds: once, or a larger window");
    }
    false
}

/// Opens the answer with a rule, where one is offered.
fn with_rule(model: &mut Model) {
    let Some(question) = model.question() else { return };
    match Form::new(question) {
        Some(form) => model.overlay = Some(Overlay::Grant(form)),
        None => {
            let why = match question.no_rule_why.as_str() {
                "" => "no exact rule would cover it".to_owned(),
                why => escape::line(why),
            };
            model.toast(format!("only once: {why}"));
        }
    }
}

/// An action while an answer with a rule is written. Changing a rule is typing: it keeps the answer closed.
pub(crate) fn form(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    use Action as A;
    let Some(Overlay::Grant(form)) = &mut model.overlay else {
        return;
    };
    let last = form.rules.len().saturating_sub(1);
    match action {
        A::Cancel => model.overlay = None,
        A::GrantRule => grant(model, cmds),
        A::NextTerm => form.turn(true),
        A::PreviousTerm => form.turn(false),
        A::Up => form.at = form.at.saturating_sub(1),
        A::Down => form.at = (form.at + 1).min(last),
        action => {
            super::overlay::change(model, action);
            model.gate.typed(model.now);
        }
    }
}

/// Text for the rule that is being changed.
pub(crate) fn edit(form: &mut Form, change: impl FnOnce(&mut Editor)) {
    form.refusal.clear();
    if let Some(rule) = form.rules.get_mut(form.at) {
        change(rule);
    }
}

/// Answers with the rules as they stand on the screen.
fn grant(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let open = model.gate.open(model.now).map(str::to_owned);
    let Some(Overlay::Grant(form)) = &mut model.overlay else {
        return;
    };
    if open.as_ref() != Some(&form.approval_id) {
        return too_soon(model);
    }
    if form.sent {
        return;
    }
    let Some((decision, grant)) = form.answer() else {
        form.refusal = "no rule is left: go back, and approve it once".to_owned();
        return;
    };
    form.sent = true;
    form.refusal.clear();
    cmds.push(Cmd::Link(ToLink::Resolve {
        approval_id: form.approval_id.clone(),
        decision,
        reason: String::new(),
        grant: Some(grant),
    }));
}

/// An answer came to nothing: what was written of it stays, with the reason.
pub(crate) fn refused(model: &mut Model, what: &str, why: &str) {
    if let Some(Overlay::Grant(form)) = &mut model.overlay
        && what == DECISION
    {
        form.sent = false;
        form.refusal = why.to_owned();
    }
}

/// The question changed: what was being written was meant for the one before.
pub(crate) fn changed(model: &mut Model, approval_id: Option<&str>) {
    model.deciding = false;
    model.question_scroll = 0;
    let stale = matches!(&model.overlay, Some(Overlay::Grant(form)) if Some(form.approval_id.as_str()) != approval_id);
    if stale {
        model.overlay = None;
    }
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
        grant: None,
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
