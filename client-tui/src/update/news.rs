//! Owns: what news from the daemon does to the model.
//! Guarantees: facts are taken in order, once each; drafts and unsent messages outlive a lost line.

use agentd_proto::pb::event::Body;
use agentd_proto::{ClientError, escape, format, pb};

use super::{again, attach, board, composer, decide, lifecycle, open, panel, queue};
use crate::model::session::OpenSession;
use crate::model::{Level, Link, Model, Screen};
use crate::msg::{Cmd, FromLink, ToLink};

/// Takes in news.
pub(crate) fn news(model: &mut Model, news: FromLink, cmds: &mut Vec<Cmd>) {
    match news {
        FromLink::Up {
            started,
            status,
            models,
        } => {
            // Told beside the watch, at each new line: whether there is one says the watch.
            let first = model.status.is_none();
            if first {
                model.link = Link::Up;
            }
            if started {
                model.toast(format!(
                    "agentd started (pid {})   jail: {}",
                    status.pid,
                    escape::line(&status.jail)
                ));
            }
            // Once, not at each reconnect, and before anybody leaves something running.
            for limit in status.limits.iter().filter(|one| first && one.check == "logout") {
                let fix = limit.fix.lines().next().unwrap_or_default();
                model.notice(Level::Info, escape::line(&format!("{} · {fix}", limit.message)));
            }
            model.status = Some(*status);
            // Nobody answered: those of before.
            if first || !models.is_empty() {
                model.models = models;
            }
            if model.link == Link::Up {
                resend(model, cmds);
            }
        }
        FromLink::Reconnecting { attempt, wait } => {
            model.link = Link::Reconnecting {
                attempt,
                until: model.now + wait,
            };
        }
        FromLink::Back { events } => {
            model.link = Link::Up;
            let events = format::count(events, "event");
            model.notice(Level::Info, format!("connected again · caught up {events}"));
            resend(model, cmds);
            cmds.push(Cmd::Link(ToLink::Approvals));
        }
        FromLink::Usage(data) => model.usage.data = Some(data),
        FromLink::Today { words, session_limit } => {
            model.today = words;
            model.session_limit = session_limit;
        }
        FromLink::Exported(Ok(words)) => model.notice(Level::Info, format!("exported to {words}")),
        FromLink::Exported(Err(words)) => {
            model.notice(Level::Problem, format!("nothing was exported: {words}"))
        }
        FromLink::Loss(answer) => lifecycle::confirm(model, &answer),
        FromLink::Found { text, hits } => lifecycle::found(model, &text, hits),
        FromLink::Board(news) => board::news(model, news, cmds),
        FromLink::Panel { session_id, data } => panel::news(model, &session_id, &data),
        FromLink::Down(error) => {
            model.link = Link::Down(words(&error));
            model.notice(Level::Problem, words(&error));
        }
        FromLink::Session(session) => {
            let known = model
                .rows
                .get(&session.session_id)
                .map(|row| row.approval_ids.clone());
            let spent = model
                .rows
                .get(&session.session_id)
                .map(|row| (row.total_tokens, row.cost_micro_usd));
            if spent != Some((session.total_tokens, session.cost_micro_usd)) {
                cmds.push(Cmd::Link(ToLink::Today));
                if model.screen == Screen::Usage {
                    super::usage::load(model, cmds);
                }
            }
            if known.unwrap_or_default() != session.approval_ids {
                cmds.push(Cmd::Link(ToLink::Approvals));
            }
            let here = opened(model, &session.session_id);
            if here.is_some_and(|open| open.queue.is_empty() != (session.queued_messages == 0)) {
                cmds.push(Cmd::Link(ToLink::Queue {
                    session_id: session.session_id.clone(),
                }));
            }
            let asked = model.rows.get(&session.session_id).map(pb::Session::state);
            let asks = session.state() == pb::SessionState::NeedsYou;
            // What was open before this program came is no news.
            if asks && asked.is_some_and(|before| before != pb::SessionState::NeedsYou) && model.notify {
                let words = format!("{} needs you: {}", session.name, session.last_line);
                cmds.push(Cmd::Notify(escape::line(&words)));
            }
            if model.rows.selected.is_none() && model.rows.is_empty() {
                model.rows.selected = Some(session.session_id.clone());
            }
            model.rows.set(*session);
        }
        FromLink::Purged { session_id } => {
            model.rows.remove(&session_id);
            if model.open.as_ref().is_some_and(|open| open.id == session_id) {
                model.notice(
                    Level::Problem,
                    "this session was purged: nothing of it is left".to_owned(),
                );
            }
        }
        FromLink::Page {
            session_id,
            events,
            older,
        } => {
            page(model, &session_id, events, older);
            super::actions::open_shell(model, cmds);
        }
        FromLink::Event(event) => fact(model, *event, cmds),
        FromLink::Preview { session_id, preview } => {
            if let Some(open) = opened(model, &session_id) {
                open.glimpse(&preview);
            }
        }
        FromLink::Output { session_id, chunk } => {
            if let Some(open) = opened(model, &session_id) {
                open.output(&chunk);
            }
        }
        FromLink::Approvals(approvals) => model.approvals = approvals,
        FromLink::Queue { session_id, messages } => queue::news(model, &session_id, messages),
        FromLink::Clients { session_id, clients } => {
            let mine = clients.iter().any(|one| one.you && one.input);
            if let Some(open) = opened(model, &session_id) {
                open.clients = clients;
            }
            if let Some(shell) = model
                .shell
                .as_mut()
                .filter(|shell| shell.session_id == session_id)
            {
                shell.taking &= !mine;
                shell.stale = true;
            }
        }
        FromLink::Files { workspace, files } => {
            model.files = Some((workspace, files));
            // The answer to what was typed: it is offered now.
            composer::suggest(model, &mut Vec::new());
        }
        FromLink::Created(session) => {
            let id = session.session_id.clone();
            model.rows.set(*session);
            open(model, &id, cmds);
        }
        FromLink::Posted { key, result } => posted(model, key, result),
        FromLink::Attached {
            session_id,
            result,
            pasted,
        } => attach::attached(model, session_id, result, pasted),
        FromLink::Raised { session_id, line } => again::raised(model, session_id, &line, cmds),
        FromLink::Failed { what, error } => {
            let why = words(&error);
            decide::refused(model, what, &why);
            panel::failed(model, what, &why);
            let kept = panel::kept(model, what);
            model.notice(Level::Problem, format!("{what}: {why}{kept}"));
        }
        FromLink::ShellOpened { session_id, exec_id } => {
            if let Some(shell) = model
                .shell
                .as_mut()
                .filter(|shell| shell.session_id == session_id)
            {
                shell.exec_id = exec_id;
                // What was typed while it opened.
                let early = std::mem::take(&mut shell.early);
                if !early.is_empty() {
                    cmds.extend(shell.input(early));
                }
            }
        }
        FromLink::ShellOutput {
            exec_id,
            screen,
            data,
        } => {
            if let (Some(size), Some(shell)) = (screen, model.shell.as_mut())
                && shell.exec_id == exec_id
            {
                shell.resize(size);
            }
            shell_output(model, &exec_id, &data, cmds);
        }
        FromLink::ShellSize { exec_id, size } => {
            let theirs = model.other_input().is_some();
            if let Some(shell) = model
                .shell
                .as_mut()
                .filter(|shell| theirs && shell.exec_id == exec_id)
            {
                shell.resize(size);
            }
        }
        FromLink::ShellEnded { exec_id, words } => {
            if let Some(shell) = model.shell.as_mut().filter(|shell| shell.exec_id == exec_id) {
                shell.ended = true;
                model.shell_focus = false;
                model.toast(format!("the raw shell ended: {words}"));
            }
        }
    }
}

/// An error as one sentence with its code and next step.
pub(crate) fn words(error: &ClientError) -> String {
    let mut words = format!(
        "{}  [{}]",
        escape::line(&error.message),
        escape::line(&error.code)
    );
    if let Some(hint) = error.hints.first() {
        words.push_str(&format!(" · next: {}", escape::line(hint)));
    }
    words
}

fn opened<'a>(model: &'a mut Model, session_id: &str) -> Option<&'a mut OpenSession> {
    model.open.as_mut().filter(|open| open.id == session_id)
}

fn page(model: &mut Model, session_id: &str, events: Vec<pb::Event>, older: bool) {
    let Some(open) = opened(model, session_id) else {
        return;
    };
    if older {
        return open.older(events);
    }
    for event in events {
        // The first page is asked for before the watch: it begins at its own seq.
        let _ = open.event(event);
    }
    open.loaded = true;
}

fn fact(model: &mut Model, event: pb::Event, cmds: &mut Vec<Cmd>) {
    if let Some(Body::ApprovalResolved(resolved)) = &event.body {
        decide::resolved(model, &event, resolved);
    }
    if let Some(Body::NoticeRecorded(notice)) = &event.body {
        model.notice(Level::Info, escape::line(&notice.message));
    }
    let (session_id, seq) = (event.session_id.clone(), event.seq);
    let Some(open) = opened(model, &session_id) else {
        return;
    };
    open.loaded = true;
    let requeued = changes_queue(&event.body);
    let is_next = open.event(event);
    if requeued && is_next.is_ok() {
        cmds.push(Cmd::Link(ToLink::Queue {
            session_id: session_id.clone(),
        }));
    }
    let Some(open) = opened(model, &session_id) else {
        return;
    };
    if is_next.is_err() {
        let last = open.last_seq();
        // Never guess over a hole: what is shown begins anew from the log.
        model.open = Some(OpenSession::new(&session_id));
        model.notice(
            Level::Problem,
            format!("event {seq} came after {last}: reading the session anew"),
        );
        cmds.push(Cmd::Link(ToLink::Open(session_id)));
    }
}

/// The daemon knows the queue best: it is asked after each fact that changes it.
fn changes_queue(body: &Option<Body>) -> bool {
    match body {
        Some(Body::MessagePosted(posted)) => posted.queued,
        Some(
            Body::MessageEdited(_) | Body::MessageRemoved(_) | Body::TurnSteered(_) | Body::TurnStarted(_),
        ) => true,
        _ => false,
    }
}

/// Sends what had to wait for the line, oldest first.
fn resend(model: &mut Model, cmds: &mut Vec<Cmd>) {
    for index in 0..model.outbox.len() {
        let Some(one) = model.outbox.get_mut(index).filter(|one| one.waiting) else {
            continue;
        };
        one.waiting = false;
        let (key, session_id, text) = (one.key, one.session_id.clone(), one.text.clone());
        let (files, steer) = (one.files.clone(), one.steer);
        let effort = model.efforts.get(&session_id).cloned().unwrap_or_default();
        let model = composer::next_model(model, &session_id);
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

fn posted(model: &mut Model, key: u64, result: Result<(), ClientError>) {
    let Some(at) = model.outbox.iter().position(|one| one.key == key) else {
        return;
    };
    match result {
        Ok(()) => {
            model.outbox.remove(at);
        }
        Err(error) if error.is_transient() => {
            if let Some(one) = model.outbox.get_mut(at) {
                one.waiting = true;
            }
        }
        Err(error) => {
            let refused = model.outbox.remove(at);
            model.notice(Level::Problem, words(&error));
            let back = model.attached.entry(refused.session_id.clone()).or_default();
            back.extend(refused.files);
            if model.screen == Screen::Session
                && model
                    .open
                    .as_ref()
                    .is_some_and(|open| open.id == refused.session_id)
            {
                composer::restore(model, &refused.text);
            } else {
                model.drafts.insert(
                    refused.session_id,
                    crate::model::editor::Editor::with(refused.text),
                );
            }
        }
    }
}

fn shell_output(model: &mut Model, exec_id: &str, data: &[u8], cmds: &mut Vec<Cmd>) {
    let Some(shell) = model.shell.as_mut().filter(|shell| shell.exec_id == exec_id) else {
        return;
    };
    let answer = shell.feed(data);
    shell.stale = true;
    if !answer.is_empty() {
        let session_id = shell.session_id.clone();
        let exec_id = exec_id.to_owned();
        cmds.push(Cmd::Link(ToLink::ShellInput {
            session_id,
            exec_id,
            data: answer,
        }));
    }
}
