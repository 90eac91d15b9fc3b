//! Owns: writing and sending: editing, history, suggestions, slash commands, `!` commands.

use super::{actions, attach, lifecycle, panel, queue};
use crate::keys::Action;
use crate::model::editor::Editor;
use crate::model::overlay::{Popup, Suggestion, fits};
use crate::model::panel::{Deed, Named, Panel, Trial};
use crate::model::{Link, Model, Outgoing};
use crate::msg::{Cmd, ToLink};
use agentd_proto::transcript::Kind;

/// Suggestions shown at once.
const SUGGESTIONS: usize = 8;

/// What is typed after a `/`, what that does, and the action it stands for.
pub(crate) const SLASH: &[(&str, &str, Option<Action>)] = &[
    ("/help", "all keys", Some(Action::Help)),
    ("/sessions", "all sessions", Some(Action::Sessions)),
    ("/approvals", "approvals of all sessions", Some(Action::Approvals)),
    ("/new", "new session", Some(Action::New)),
    ("/tasks", "task board", Some(Action::Board)),
    ("/usage", "usage and cost", Some(Action::Usage)),
    (
        "/budget",
        "budgets; or a new one: /budget $10 per day",
        Some(Action::Budgets),
    ),
    (
        "/search",
        "search in all sessions, commands and outputs",
        Some(Action::SearchAll),
    ),
    ("/rename", "another name for this session", Some(Action::Rename)),
    ("/model", "model of the next turns: /model PROVIDER/NAME", None),
    ("/models", "models to choose from", Some(Action::Models)),
    ("/effort", "how long models think: /effort low", None),
    (
        "/attach",
        "a file or picture with the message: /attach PATH; alone: takes off",
        None,
    ),
    (
        "/about",
        "title, plan, log level, limits, network",
        Some(Action::About),
    ),
    ("/context", "what fills the context", Some(Action::Context)),
    (
        "/compact",
        "compact the context: /compact [WHAT TO KEEP IN MIND]",
        Some(Action::Compact),
    ),
    ("/jobs", "background jobs", Some(Action::Jobs)),
    (
        "/input",
        "answer the command that waits: /input [LINE]",
        Some(Action::Answer),
    ),
    (
        "/network",
        "mode, hosts, ports: /network [off|ask|list]",
        Some(Action::Network),
    ),
    ("/forward", "a port of the jail here: /forward PORT[:HERE]", None),
    ("/audit", "what it ran, changed and reached", Some(Action::Audit)),
    (
        "/doctor",
        "how the daemon is, and its checks",
        Some(Action::Daemon),
    ),
    ("/project", "which tools work in the jail", Some(Action::Project)),
    (
        "/persona",
        "another persona for this session: /persona NAME",
        Some(Action::Personas),
    ),
    (
        "/policy",
        "another policy for this session: /policy NAME",
        Some(Action::Policies),
    ),
    (
        "/personas",
        "give one to the session, edit, copy, remove",
        Some(Action::Personas),
    ),
    (
        "/policies",
        "rules and checks; what is in force here",
        Some(Action::Policies),
    ),
    (
        "/try",
        "which rule decides: /try COMMAND; nothing runs",
        Some(Action::TryCommand),
    ),
    (
        "/grants",
        "what was granted to projects: take it back",
        Some(Action::Grants),
    ),
    (
        "/steer",
        "into the open turn, for its next step: /steer TEXT",
        None,
    ),
    ("/queue", "messages that wait", Some(Action::Queue)),
    ("/interrupt", "stop the turn", Some(Action::Interrupt)),
    ("/pause", "stop it in mid-stride", Some(Action::Pause)),
    ("/resume", "let a paused session go on", Some(Action::Pause)),
    ("/archive", "hide this session", Some(Action::Archive)),
    ("/unarchive", "show it again", Some(Action::Archive)),
    ("/delete", "into the trash", Some(Action::Delete)),
    ("/restore", "out of the trash", Some(Action::Archive)),
    ("/fork", "a session that begins as this one", Some(Action::Fork)),
    ("/export", "this session as a bundle", Some(Action::Export)),
    ("/shell", "raw shell in the jail", Some(Action::Shell)),
    ("/editor", "write in your editor", Some(Action::Editor)),
    ("/notices", "what was told", Some(Action::Notices)),
    ("/theme", "next theme", Some(Action::Theme)),
    ("/quit", "leave; sessions go on", Some(Action::Quit)),
];

/// Messages said in the open session, oldest first.
pub(crate) fn history(model: &Model) -> Vec<String> {
    let Some(open) = &model.open else {
        return Vec::new();
    };
    open.transcript
        .items()
        .iter()
        .filter_map(|item| match &item.kind {
            Kind::You { text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// A character typed into the composer.
pub(crate) fn typed(model: &mut Model, c: char, cmds: &mut Vec<Cmd>) {
    if model.read_only {
        return model.toast("read-only");
    }
    model.walking = None;
    if let Some(draft) = model.draft_mut() {
        draft.insert(&c.to_string());
    }
    suggest(model, cmds);
}

/// An action of the composer.
pub(crate) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    use Action as A;
    match action {
        A::Send => return enter(model, false, cmds),
        A::Steer => return enter(model, true, cmds),
        A::Editor => {
            let text = model.draft().map(Editor::expanded).unwrap_or_default();
            return cmds.push(Cmd::Editor { text, toml: false });
        }
        A::HistoryPrevious => return walk(model, true),
        A::HistoryNext => return walk(model, false),
        A::Complete => return complete(model, cmds),
        _ => {}
    }
    if let Some(draft) = model.draft_mut() {
        match action {
            A::Newline => draft.insert("\n"),
            A::CharLeft => draft.left(),
            A::CharRight => draft.right(),
            A::WordLeft => draft.word_left(),
            A::WordRight => draft.word_right(),
            A::LineStart => draft.line_start(),
            A::LineEnd => draft.line_end(),
            A::DeleteLeft => draft.delete_left(),
            A::DeleteRight => draft.delete_right(),
            A::DeleteWord => draft.delete_word(),
            A::DeleteToStart => draft.delete_to_start(),
            A::DeleteToEnd => draft.delete_to_end(),
            _ => return,
        }
    }
    suggest(model, cmds);
}

/// What came back from the person's editor.
pub(crate) fn edited(model: &mut Model, text: Option<String>) {
    match (text, model.draft_mut()) {
        (Some(text), Some(draft)) => *draft = Editor::with(text.trim_end()),
        (None, _) => model.toast("the editor did not end well: the draft is as it was"),
        _ => {}
    }
}

fn enter(model: &mut Model, steer: bool, cmds: &mut Vec<Cmd>) {
    if model.draft_mut().is_some_and(Editor::unfold) {
        return;
    }
    if model.popup.is_some() && !is_whole_command(model) {
        complete(model, cmds);
        // A finished command is run at once; a file name or a command that wants more is not.
        let whole = model.popup.is_none() && model.draft().is_some_and(|draft| is_slash(draft.text()));
        if !whole {
            return;
        }
    }
    model.popup = None;
    model.walking = None;
    let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) else {
        return;
    };
    let text = model.draft().map(Editor::expanded).unwrap_or_default();
    let text = text.trim_end().to_owned();
    if text.trim().is_empty() && model.attached().is_empty() || model.read_only {
        return;
    }
    if queue::send(model, &text, cmds) {
        return;
    }
    if let Some(draft) = model.draft_mut() {
        draft.clear();
    }
    model.history.push(text.clone());
    if let Some(script) = text.strip_prefix('!') {
        let script = script.trim().to_owned();
        if model.link != Link::Up {
            restore(model, &text);
            return model.toast("not connected: a command is not kept for later");
        }
        return cmds.push(Cmd::Link(ToLink::Exec { session_id, script }));
    }
    if is_slash(&text) {
        return slash(model, &text, cmds);
    }
    send(model, session_id, text, steer, cmds);
}

/// Sends a message, or keeps it until the line is back.
pub(super) fn send(model: &mut Model, session_id: String, text: String, steer: bool, cmds: &mut Vec<Cmd>) {
    let files = model.attached.remove(&session_id).unwrap_or_default();
    post(model, session_id, (text, files), steer, cmds);
}

/// The same without what is attached: that is for the message that is still being written.
pub(super) fn say(model: &mut Model, session_id: String, text: &str, cmds: &mut Vec<Cmd>) {
    post(model, session_id, (text.to_owned(), Vec::new()), false, cmds);
}

fn post(
    model: &mut Model,
    session_id: String,
    (text, files): (String, Vec<agentd_proto::pb::Part>),
    steer: bool,
    cmds: &mut Vec<Cmd>,
) {
    let key = model.next_key;
    model.next_key += 1;
    let waiting = model.link != Link::Up;
    if let Some(open) = &mut model.open {
        open.scroll = crate::model::session::Scroll::Follow;
        open.unseen = 0;
    }
    model.outbox.push(Outgoing {
        key,
        session_id: session_id.clone(),
        text: text.clone(),
        files: files.clone(),
        steer,
        waiting,
    });
    if !waiting {
        let effort = model.efforts.get(&session_id).cloned().unwrap_or_default();
        let model = next_model(model, &session_id);
        cmds.push(Cmd::Link(ToLink::Post {
            key,
            session_id,
            text,
            files,
            model,
            effort,
            steer,
        }));
    }
}

/// The model that was chosen for the next turn, once.
pub(crate) fn next_model(model: &mut Model, session_id: &str) -> String {
    match model.next_model.take() {
        Some((id, name)) if id == session_id => name,
        other => {
            model.next_model = other;
            String::new()
        }
    }
}

/// Puts a text back into the composer, in front of what is there.
pub(crate) fn restore(model: &mut Model, text: &str) {
    if let Some(draft) = model.draft_mut() {
        let rest = draft.expanded();
        *draft = Editor::with(if rest.is_empty() {
            text.to_owned()
        } else {
            format!("{text}\n{rest}")
        });
    }
}

/// Chooses the model of the next turns.
pub(crate) fn choose_model(model: &mut Model, name: &str) {
    let Some(id) = model.open.as_ref().map(|open| open.id.clone()) else {
        return model.toast("open a session first");
    };
    model.next_model = Some((id, name.to_owned()));
    model.toast(format!(
        "the next message goes to {}",
        agentd_proto::escape::line(name)
    ));
}

/// A path such as `/etc/hosts` is a message.
fn is_slash(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.starts_with('/') && !word.trim_start_matches('/').contains('/') && !text.contains('\n')
}

fn is_whole_command(model: &Model) -> bool {
    let text = model
        .draft()
        .map(|draft| draft.text().to_owned())
        .unwrap_or_default();
    SLASH.iter().any(|(name, _, _)| *name == text)
}

fn slash(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("/model", "") => {
            restore(model, "/model ");
            suggest(model, cmds);
        }
        ("/model", name) => choose_model(model, name),
        ("/budget", text) if !text.is_empty() => panel::budget(model, text, cmds),
        ("/effort", word) => attach::effort(model, word, cmds),
        ("/attach", path) => attach::command(model, path, cmds),
        ("/compact", focus) if !focus.is_empty() => {
            let compact = Deed::Compact(focus.to_owned());
            panel::deed(model, Panel::Context, compact, cmds);
        }
        ("/network", word) if !word.is_empty() => panel::mode(model, word, cmds),
        ("/persona", name) if !name.is_empty() => {
            let persona = Deed::Choose(Named::Persona, name.to_owned());
            panel::deed(model, Panel::Personas, persona, cmds);
        }
        ("/policy", name) if !name.is_empty() => {
            let policy = Deed::Choose(Named::Policy, name.to_owned());
            panel::deed(model, Panel::Policies, policy, cmds);
        }
        ("/try", command) if !command.is_empty() => {
            let command = command.to_owned();
            let trial = Trial {
                command,
                ..Trial::default()
            };
            panel::tried(model, trial, cmds);
        }
        ("/forward", port) => panel::forward(model, port, cmds),
        ("/input", line) if !line.is_empty() => panel::answer_with(model, line, cmds),
        ("/steer", "") => restore(model, "/steer "),
        ("/steer", words) => {
            if let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) {
                send(model, session_id, words.to_owned(), true, cmds);
            }
        }
        ("/new", name) if !name.is_empty() => {
            cmds.push(Cmd::Link(ToLink::Create {
                name: name.to_owned(),
            }));
        }
        ("/rename", name) if !name.is_empty() => {
            if let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) {
                cmds.push(Cmd::Link(ToLink::Rename {
                    session_id,
                    name: name.to_owned(),
                }));
            }
        }
        ("/theme", name) if crate::theme::by_name(name).is_some() => {
            model.theme = crate::theme::by_name(name).unwrap_or(model.theme);
        }
        ("/archive" | "/pause", _) if lifecycle::is_so(model, word) => {
            let back = if word == "/pause" {
                "/resume"
            } else {
                "/unarchive or /restore"
            };
            model.toast(format!("it is so already; {back} brings it back"));
        }
        ("/resume" | "/unarchive" | "/restore", _) if !lifecycle::rests(model, word) => {
            model.toast("nothing to bring back: it is in use");
        }
        _ => match SLASH.iter().find(|(name, _, _)| *name == word) {
            Some((_, _, Some(action))) => actions::act(model, *action, cmds),
            _ => {
                restore(model, text);
                model.toast(format!(
                    "there is no command {}",
                    agentd_proto::escape::line(word)
                ));
            }
        },
    }
}

/// Offers what could be meant at the cursor.
pub(crate) fn suggest(model: &mut Model, cmds: &mut Vec<Cmd>) {
    model.popup = None;
    let Some(draft) = model.draft() else { return };
    let before = draft.before().to_owned();
    if let Some(name) = before.strip_prefix("/model ") {
        let items = model
            .models
            .iter()
            .filter(|one| fits(&one.name, name) && (one.status == "ready" || one.status == "found"))
            .map(|one| suggestion(one.name.clone(), one.name.clone(), one.status.clone()))
            .collect();
        return offer(model, name.len(), items);
    }
    if let Some(word) = before.strip_prefix("/effort ") {
        let words = attach::EFFORTS.iter().filter(|known| known.starts_with(word));
        let items = words
            .map(|known| suggestion((*known).to_owned(), (*known).to_owned(), String::new()))
            .collect();
        return offer(model, word.len(), items);
    }
    if before.starts_with('/') && is_slash(&before) && !before.contains(' ') {
        let items = SLASH
            .iter()
            .filter(|(name, _, _)| name.starts_with(before.as_str()))
            .map(|(name, note, _)| suggestion((*name).to_owned(), (*name).to_owned(), (*note).to_owned()))
            .collect();
        return offer(model, before.len(), items);
    }
    let word = before
        .rsplit(char::is_whitespace)
        .next()
        .unwrap_or_default()
        .to_owned();
    let Some(wanted) = word.strip_prefix('@') else {
        return;
    };
    let workspace = model
        .session()
        .map(|session| session.workspace.clone())
        .unwrap_or_default();
    let known = model.files.as_ref().filter(|(root, _)| *root == workspace);
    let Some((_, files)) = known else {
        return cmds.push(Cmd::Link(ToLink::Files { workspace }));
    };
    let mut fitting: Vec<&String> = files.iter().filter(|file| fits(file, wanted)).collect();
    // What contains the letters in one piece comes first, then what is short.
    fitting.sort_by_key(|file| (!file.to_lowercase().contains(&wanted.to_lowercase()), file.len()));
    let items = fitting
        .into_iter()
        .take(SUGGESTIONS)
        .map(|file| {
            suggestion(
                format!("@{file} "),
                agentd_proto::escape::line(file),
                String::new(),
            )
        })
        .collect();
    offer(model, word.len(), items);
}

fn suggestion(insert: String, shown: String, note: String) -> Suggestion {
    Suggestion { insert, shown, note }
}

fn offer(model: &mut Model, replaces: usize, mut items: Vec<Suggestion>) {
    items.truncate(SLASH.len().max(SUGGESTIONS));
    if !items.is_empty() {
        model.popup = Some(Popup {
            replaces,
            items,
            selected: 0,
        });
    }
}

/// Takes the suggestion.
fn complete(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let Some(popup) = model.popup.take() else {
        // Nothing to complete: it queues behind the open turn, as Enter does.
        if model.is_working() {
            enter(model, false, cmds);
        }
        return;
    };
    let Some(chosen) = popup.items.get(popup.selected) else {
        return;
    };
    let insert = chosen.insert.clone();
    if let Some(draft) = model.draft_mut() {
        draft.replace_before(popup.replaces, &insert);
    }
    if matches!(insert.as_str(), "/model" | "/steer" | "/effort" | "/attach") {
        if let Some(draft) = model.draft_mut() {
            draft.insert(" ");
        }
        suggest(model, cmds);
    }
}

/// Up and down: suggestions, lines of the draft, then older and newer messages.
fn walk(model: &mut Model, older: bool) {
    if let Some(popup) = &mut model.popup {
        let count = popup.items.len().max(1);
        popup.selected = if older {
            (popup.selected + count - 1) % count
        } else {
            (popup.selected + 1) % count
        };
        return;
    }
    let moved = model
        .draft_mut()
        .is_some_and(|draft| if older { draft.up() } else { draft.down() });
    if moved {
        return;
    }
    let said = history(model);
    let draft = model.draft().cloned().unwrap_or_default();
    let (at, saved) = model.walking.take().unwrap_or((said.len(), draft));
    let next = if older { at.checked_sub(1) } else { Some(at + 1) };
    let text = next.and_then(|next| said.get(next));
    match (text, next) {
        (Some(text), Some(next)) => {
            let editor = Editor::with(text.clone());
            model.walking = Some((next, saved));
            if let Some(draft) = model.draft_mut() {
                *draft = editor;
            }
        }
        // Below the newest message is what was being written.
        (None, Some(_)) => {
            if let Some(draft) = model.draft_mut() {
                *draft = saved;
            }
        }
        (_, None) => model.walking = Some((at, saved)),
    }
}
