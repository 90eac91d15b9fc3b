//! Owns: what keys and slash commands do with panels, and answering a command that waits for input.
//! Guarantees: nothing is ended, closed or typed without a key of its own; no file is removed before its name was
//! typed, and what was written of one is never lost to a mistake in it.

use agentd_proto::pb;

use super::actions::{prompt, target};
use crate::keys::Action;
use crate::model::overlay::{Ask, Overlay};
use crate::model::panel::{Data, Deed, Draft, Hand, IN_FORCE, Named, Panel, SAVE, Trial, View};
use crate::model::{Link, Model};
use crate::msg::{Cmd, ToLink};

/// The panel that an action opens.
fn panel(action: Action) -> Option<Panel> {
    Some(match action {
        Action::About => Panel::About,
        Action::Context => Panel::Context,
        Action::Jobs => Panel::Jobs,
        Action::Network => Panel::Network,
        Action::Models => Panel::Models,
        Action::Audit => Panel::Audit,
        Action::Daemon => Panel::Daemon,
        Action::Project => Panel::Project,
        Action::Personas => Panel::Personas,
        Action::Policies => Panel::Policies,
        Action::Grants => Panel::Grants,
        Action::Budgets => Panel::Budgets,
        _ => return None,
    })
}

/// Does what an action of the key table asks for.
pub(super) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    if let Some(what) = panel(action) {
        return show(model, what, cmds);
    }
    match action {
        Action::Compact => deed(model, Panel::Context, Deed::Compact(String::new()), cmds),
        Action::Answer => ask(model),
        Action::TryCommand => deed(model, Panel::Trial, Deed::AskTry(Trial::default()), cmds),
        Action::NextPolicy => next_policy(model, cmds),
        _ => {}
    }
}

/// Opens a panel about the open or the selected session.
fn show(model: &mut Model, what: Panel, cmds: &mut Vec<Cmd>) {
    let Some(session_id) = about(model, what) else {
        return;
    };
    open(model, what, session_id.clone());
    cmds.push(Cmd::Link(ToLink::Panel {
        what,
        session_id,
        deed: None,
    }));
}

/// The open or the selected session; empty where the panel needs none; says so where it does.
fn about(model: &mut Model, what: Panel) -> Option<String> {
    let found = target(model);
    if found.is_none() && what.needs_session() {
        model.toast("choose a session first");
        return None;
    }
    Some(found.unwrap_or_default())
}

/// Puts up a panel that has nothing to show yet.
fn open(model: &mut Model, what: Panel, session_id: String) {
    model.overlay = Some(Overlay::Panel(View {
        what,
        session_id,
        trial: Trial::default(),
        rows: None,
        selected: 0,
    }));
}

/// Does it, and shows the panel that tells how it stands then.
pub(super) fn deed(model: &mut Model, what: Panel, deed: Deed, cmds: &mut Vec<Cmd>) {
    if model.read_only && !deed.only_looks() {
        return model.toast("read-only");
    }
    if let Deed::Save(draft) = &deed {
        model.unsaved = Some(draft.clone());
    }
    if model.link != Link::Up {
        return model.toast("not connected: this waits for the daemon");
    }
    let Some(session_id) = about(model, what) else {
        return;
    };
    match deed {
        Deed::Model(name) => {
            model.overlay = None;
            super::composer::choose_model(model, &name);
        }
        Deed::AskForward => prompt(model, Ask::Forward { session_id }, ""),
        Deed::AskHostPort => prompt(model, Ask::HostPort { session_id }, ""),
        Deed::AskBudget => prompt(model, Ask::Budget, "$10 per day"),
        Deed::Edit(draft) => edit(model, draft, cmds),
        Deed::AskCopy(draft) => {
            let name = format!("my-{}", draft.name);
            prompt(model, Ask::Copy(draft), &name);
        }
        Deed::AskRemove(what, name) => prompt(model, Ask::Remove(what, name), ""),
        Deed::AskTry(trial) => {
            let command = trial.command.clone();
            prompt(model, Ask::Try(trial), &command);
        }
        Deed::AskRule(trial) => {
            let rule = trial.rule.clone();
            prompt(model, Ask::Rule(trial), &rule);
        }
        deed => {
            if let Deed::Compact(_) = deed {
                model.toast("the context is compacted before the next request");
            }
            let shown = matches!(&model.overlay, Some(Overlay::Panel(view)) if view.what == what);
            if !shown {
                open(model, what, session_id.clone());
            }
            if let (Deed::Try(trial), Some(Overlay::Panel(view))) = (&deed, &mut model.overlay) {
                view.trial = trial.clone();
            }
            cmds.push(Cmd::Link(ToLink::Panel {
                what,
                session_id,
                deed: Some(deed),
            }));
        }
    }
}

/// A key of a panel on the selected row.
pub(super) fn chosen(model: &mut Model, hand: Hand, cmds: &mut Vec<Cmd>) {
    let Some(Overlay::Panel(view)) = &model.overlay else {
        return;
    };
    let what = view.what;
    let row = view.rows.as_ref().and_then(|rows| rows.get(view.selected));
    let deeds = row.map(|row| row.deeds.as_slice()).unwrap_or_default();
    let of = |hand: Hand| deeds.iter().find(|deed| deed.hand() == hand);
    // Where there is nothing to take, Enter tries.
    let wanted = of(hand).or_else(|| of(Hand::Try).filter(|_| hand == Hand::Take));
    if let Some(wanted) = wanted.cloned() {
        deed(model, what, wanted, cmds);
    }
}

/// Reads the panel anew.
pub(super) fn reload(model: &Model, cmds: &mut Vec<Cmd>) {
    if let Some(Overlay::Panel(view)) = &model.overlay {
        cmds.push(Cmd::Link(ToLink::Panel {
            what: view.what,
            session_id: view.session_id.clone(),
            deed: (view.what == Panel::Trial).then(|| Deed::Try(view.trial.clone())),
        }));
    }
}

/// Opens the person's editor on a file; on what was written of it before, where that was not taken.
fn edit(model: &mut Model, mut draft: Draft, cmds: &mut Vec<Cmd>) {
    let before = model.unsaved.take();
    if let Some(before) = before.filter(|one| one.what == draft.what && one.name == draft.name) {
        draft.toml = before.toml;
    }
    cmds.push(Cmd::Editor {
        text: draft.toml.clone(),
        toml: true,
    });
    model.file = Some(draft);
}

/// What was written; `None` when the editor failed.
pub(super) fn edited(model: &mut Model, text: Option<String>, cmds: &mut Vec<Cmd>) {
    let Some(mut draft) = model.file.take() else {
        return;
    };
    match text {
        None => model.toast("the editor did not end well: nothing was changed"),
        Some(text) if text == draft.toml && !draft.create => model.toast("nothing was changed"),
        Some(text) => {
            draft.toml = text;
            deed(model, draft.what.panel(), Deed::Save(draft), cmds);
        }
    }
}

/// A panel that waits for its rows gets none: why stands in it.
pub(super) fn failed(model: &mut Model, what: &str, why: &str) {
    if let Some(Overlay::Panel(view)) = &mut model.overlay
        && view.rows.is_none()
        && view.what.title() == what
    {
        view.failed(why);
    }
}

/// What to say when a file was not taken: what was written of it is there.
pub(super) fn kept(model: &Model, what: &str) -> String {
    match &model.unsaved {
        Some(draft) if what == SAVE => {
            let keys = &model.keymap;
            let key = keys.shown(crate::keys::Context::Panel, Action::PanelEdit);
            let name = agentd_proto::escape::line(&draft.name);
            match draft.create {
                true => format!(" · your text is kept: another copy named {name} goes on with it"),
                false => {
                    let key = key.unwrap_or_default();
                    format!(" · your text is kept: {key} on {name} goes on with it")
                }
            }
        }
        _ => String::new(),
    }
}

/// The name of a copy was given.
pub(super) fn copied(model: &mut Model, mut draft: Draft, name: &str, cmds: &mut Vec<Cmd>) {
    if name.is_empty() {
        return model.toast("nothing was copied: it needs a name");
    }
    draft.name = name.to_owned();
    draft.create = true;
    edit(model, draft, cmds);
}

/// Its name was typed, or something else.
pub(super) fn removed(model: &mut Model, what: Named, name: &str, typed: &str, cmds: &mut Vec<Cmd>) {
    if typed == name {
        deed(model, what.panel(), Deed::Remove(what, name.to_owned()), cmds);
    } else {
        model.toast("that is not its name: nothing was removed");
    }
}

/// A budget was written, or something else.
pub(super) fn budget(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    match agentd_proto::budget::parse(text) {
        Some(_) => deed(model, Panel::Budgets, Deed::Budget(text.to_owned()), cmds),
        None => model.toast(
            "a limit and what it counts over: $10 per day, 500k tokens per session, 20 turns per task",
        ),
    }
}

/// The call to try was given.
pub(super) fn tried(model: &mut Model, trial: Trial, cmds: &mut Vec<Cmd>) {
    if trial.command.is_empty() {
        return model.toast("nothing was tried");
    }
    deed(model, Panel::Trial, Deed::Try(trial), cmds);
}

/// The session's next policy, in the order of what they let through.
fn next_policy(model: &mut Model, cmds: &mut Vec<Cmd>) {
    const ROUND: [&str; 3] = ["plan", "ask", "auto"];
    if model.read_only {
        return model.toast("read-only");
    }
    if model.link != Link::Up {
        return model.toast("not connected: this waits for the daemon");
    }
    let Some(session) = model.session() else { return };
    let at = ROUND.iter().position(|name| *name == session.policy);
    let next = ROUND.iter().cycle().nth(at.map_or(0, |at| at + 1));
    cmds.push(Cmd::Link(ToLink::Choose {
        session_id: session.session_id.clone(),
        what: Named::Policy,
        name: next.copied().unwrap_or_default().to_owned(),
    }));
}

/// The daemon's answer; of a panel that is not looked at any more it is nothing.
pub(super) fn news(model: &mut Model, session_id: &str, data: &Data) {
    if let Data::Models(models) = data {
        model.models.clone_from(models);
    }
    if let Some(draft) = model.unsaved.take_if(|draft| data.holds(draft)) {
        model.toast(format!(
            "the {} {} is saved; sessions take it up when it is chosen again",
            draft.what.word(),
            agentd_proto::escape::line(&draft.name)
        ));
    }
    let zone = model.zone.clone();
    let clock = move |time: Option<prost_types::Timestamp>| {
        time.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok())
            .map(|time| time.to_zoned(zone.clone()).strftime("%m-%d %H:%M").to_string())
            .unwrap_or_default()
    };
    if let Some(Overlay::Panel(view)) = &mut model.overlay
        && view.session_id == session_id
        && view.what == data.panel()
    {
        let rows = data.rows(&clock);
        let first = view.rows.is_none();
        view.selected = match first {
            // What is in force first: nothing is changed by who only looks.
            true => rows
                .iter()
                .position(|row| row.right == IN_FORCE)
                .or_else(|| rows.iter().position(|row| !row.deeds.is_empty()))
                .unwrap_or(0),
            false => view.selected.min(rows.len().saturating_sub(1)),
        };
        view.rows = Some(rows);
    }
}

/// The command that waits for input, of the open or selected session; says so when there is none.
fn waiting(model: &mut Model) -> Option<(String, pb::InputWait)> {
    if model.read_only {
        model.toast("read-only");
        return None;
    }
    let row = target(model).and_then(|id| model.rows.get(&id).cloned());
    let found = row.and_then(|row| Some((row.session_id, row.waiting?)));
    if found.is_none() {
        model.toast("no command waits for input");
    }
    found
}

/// Answers it with this line.
pub(super) fn answer_with(model: &mut Model, line: &str, cmds: &mut Vec<Cmd>) {
    if let Some((session_id, wait)) = waiting(model) {
        answer(model, session_id, wait.exec_id, wait.pty, line, cmds);
    }
}

/// Asks for the line that it is to read.
fn ask(model: &mut Model) {
    let Some((session_id, wait)) = waiting(model) else {
        return;
    };
    let ask = Ask::Input {
        session_id,
        exec_id: wait.exec_id,
        pty: wait.pty,
        line: wait.line,
    };
    prompt(model, ask, "");
}

/// Types it, with a line's end.
pub(super) fn answer(
    model: &mut Model,
    session_id: String,
    exec_id: String,
    pty: bool,
    text: &str,
    cmds: &mut Vec<Cmd>,
) {
    if model.link != Link::Up {
        return model.toast("not connected: nothing was typed");
    }
    // A terminal's line ends with the key that was pressed, a pipe's with the character.
    let end = if pty { '\r' } else { '\n' };
    model.toast(format!("typed into {}", agentd_proto::escape::line(&exec_id)));
    cmds.push(Cmd::Link(ToLink::Input {
        session_id,
        exec_id,
        data: format!("{text}{end}").into_bytes(),
    }));
}

/// `3000` or `3000:8080`: inside, and here.
pub(super) fn ports(text: &str) -> Option<(u32, u32)> {
    let (port, local) = text.split_once(':').unwrap_or((text, "0"));
    match (port.trim().parse::<u16>(), local.trim().parse::<u16>()) {
        (Ok(port), Ok(local)) if port > 0 => Some((port.into(), local.into())),
        _ => None,
    }
}

/// A port was given, or something else.
pub(super) fn forward(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    match ports(text) {
        Some((port, local)) => deed(model, Panel::Network, Deed::Forward(port, local), cmds),
        None => model.toast("a port, such as 3000, or 3000:8080 for another one here"),
    }
}

/// The same for a service of this machine.
pub(super) fn host_port(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    match ports(text) {
        Some((port, 0)) => deed(model, Panel::Network, Deed::HostPort(port), cmds),
        _ => model.toast("a port of this machine, such as 5432"),
    }
}

/// `/network off`, `ask` or `list`.
pub(super) fn mode(model: &mut Model, word: &str, cmds: &mut Vec<Cmd>) {
    use pb::NetworkMode as M;
    let found = [M::Off, M::Ask, M::List]
        .into_iter()
        .find(|mode| agentd_proto::format::network_word(*mode) == word);
    match found {
        Some(mode) => deed(model, Panel::Network, Deed::Network(mode), cmds),
        None => model.toast("/network off, ask or list"),
    }
}
