//! Owns: what keys do on the task board, and what news of it does to the model.
//! Guarantees: every change names the state of the board that the person saw; a conflict is told, and both
//! versions stay until one is chosen.

use agentd_proto::{escape, pb};

use super::actions::prompt;
use crate::keys::Action;
use crate::model::board::COLUMNS;
use crate::model::overlay::{Ask, Overlay, TaskAsk};
use crate::model::{Level, Link, Model, Screen};
use crate::msg::{BoardNews, BoardWish, Cmd, Keep, TaskWish, ToLink};

/// Goes to the board: that of the open session's workspace, else that of where the program was started.
pub(super) fn show(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let here = match model.screen {
        Screen::Session => model.session().map(|session| session.workspace.clone()),
        _ => None,
    };
    let workspace = match here {
        Some(here) => here,
        None if model.board.workspace.is_empty() => model.workspace.clone(),
        None => model.board.workspace.clone(),
    };
    model.screen = Screen::Board;
    model.deciding = false;
    go(model, workspace, cmds);
    cmds.push(wish(BoardWish::Known));
}

fn go(model: &mut Model, workspace: String, cmds: &mut Vec<Cmd>) {
    if model.board.workspace != workspace {
        model.board.board = None;
        model.board.selected = None;
        model.board.workspace.clone_from(&workspace);
    }
    cmds.push(wish(BoardWish::List { workspace }));
}

fn wish(wish: BoardWish) -> Cmd {
    Cmd::Link(ToLink::Board(wish))
}

/// The board of the chosen workspace.
pub(super) fn choose(model: &mut Model, at: usize, cmds: &mut Vec<Cmd>) {
    if let Some(workspace) = model.board.known.get(at).cloned() {
        go(model, workspace, cmds);
    }
}

fn change(model: &Model, task_id: &str, change: TaskWish) -> Cmd {
    wish(BoardWish::Change {
        workspace: model.board.workspace.clone(),
        task_id: task_id.to_owned(),
        base_rev: model.board.board.as_ref().map_or(0, |board| board.rev),
        change,
    })
}

/// Does what a key means here. From the palette it may be asked for elsewhere: then it goes here first.
pub(super) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    use Action as A;
    if model.screen != Screen::Board {
        show(model, cmds);
        return model.toast("choose a task");
    }
    let columns = COLUMNS.len();
    match action {
        A::ColumnLeft | A::ColumnRight => {
            let step = if action == A::ColumnLeft { columns - 1 } else { 1 };
            model.board.column = (model.board.column + step) % columns;
            model.board.selected = model.board.task().map(|task| task.task_id.clone());
            return;
        }
        A::OtherBoard => return model.overlay = Some(Overlay::Boards { selected: 0 }),
        _ if model.read_only => return model.toast("read-only"),
        _ if model.link != Link::Up => return model.toast("not connected: this waits for the daemon"),
        A::TaskAdd => {
            let ask = Ask::Task {
                task_id: String::new(),
                what: TaskAsk::New,
            };
            return prompt(model, ask, "");
        }
        A::TaskSync => {
            let missing = model
                .board
                .board
                .as_ref()
                .is_some_and(|board| board.problems.iter().any(|problem| problem.code == "missing"));
            return cmds.push(change(model, "", TaskWish::Sync { restore: missing }));
        }
        _ => {}
    }
    let Some(task) = model.board.task().cloned() else {
        return model.toast("no task is chosen");
    };
    let id = task.task_id.as_str();
    let ask = |what| Ask::Task {
        task_id: task.task_id.clone(),
        what,
    };
    match action {
        A::TaskEdit => prompt(model, ask(TaskAsk::Title), &task.title),
        A::TaskPriority => prompt(model, ask(TaskAsk::Priority), &task.priority),
        A::TaskOwner => prompt(model, ask(TaskAsk::Owner), &task.owner),
        A::TaskNote => prompt(model, ask(TaskAsk::Note), ""),
        A::TaskDone => prompt(model, ask(TaskAsk::Link), ""),
        A::TaskForward | A::TaskBackward => {
            let to = match action {
                A::TaskForward => model.board.column.checked_add(1),
                _ => model.board.column.checked_sub(1),
            };
            let Some((column, state)) = to.and_then(|at| Some((at, *COLUMNS.get(at)?))) else {
                return model.toast("it is in the last column on that side");
            };
            // The focus goes along, so that the same task can be moved on.
            model.board.column = column;
            model.board.selected = Some(task.task_id.clone());
            cmds.push(change(model, id, TaskWish::Move(state)));
        }
        A::TaskClaim => {
            let wanted = match &task.claim {
                Some(_) => TaskWish::Release,
                None => TaskWish::Claim,
            };
            cmds.push(change(model, id, wanted));
        }
        A::TaskStart | A::TaskRun => {
            let run = action == A::TaskRun;
            cmds.push(change(model, id, TaskWish::Start { run }));
        }
        _ => {}
    }
}

/// Enter: what is in conflict side by side, else the task in full.
pub(super) fn open_task(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let Some(task) = model.board.task().cloned() else {
        return model.toast("no task is chosen");
    };
    let (workspace, task_id) = (model.board.workspace.clone(), task.task_id);
    if !task.conflicts.is_empty() {
        model.overlay = Some(Overlay::Conflict { task_id, field: 0 });
        return;
    }
    model.board.detail = None;
    model.overlay = Some(Overlay::Task { scroll: 0 });
    cmds.push(wish(BoardWish::Task { workspace, task_id }));
}

/// Settles the field that is shown.
pub(super) fn keep(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    let Some(Overlay::Conflict { task_id, field }) = model.overlay.clone() else {
        return;
    };
    let conflict = model
        .board
        .get(&task_id)
        .and_then(|task| task.conflicts.get(field));
    let Some(conflict) = conflict.cloned() else {
        return;
    };
    if model.read_only {
        return model.toast("read-only");
    }
    let field = conflict.field;
    let keep = match action {
        Action::KeepFile => Keep::File,
        Action::KeepBoard => Keep::Board,
        _ => {
            let what = TaskAsk::Keep { field };
            return prompt(model, Ask::Task { task_id, what }, &conflict.board);
        }
    };
    cmds.push(change(model, &task_id, TaskWish::Keep { field, keep }));
}

/// The answer to a one-line question about a task.
pub(super) fn answer(model: &mut Model, task_id: String, what: TaskAsk, text: &str, cmds: &mut Vec<Cmd>) {
    let text = text.to_owned();
    let needs_text = matches!(what, TaskAsk::New | TaskAsk::Title | TaskAsk::Note);
    if needs_text && text.is_empty() {
        return;
    }
    let wanted = match what {
        TaskAsk::New => TaskWish::Add {
            title: text,
            state: COLUMNS.get(model.board.column).copied().unwrap_or_default(),
        },
        TaskAsk::Title => TaskWish::Title(text),
        TaskAsk::Priority => TaskWish::Priority(text),
        TaskAsk::Owner => TaskWish::Owner(text),
        TaskAsk::Note => TaskWish::Note(text),
        TaskAsk::Link => TaskWish::Done { link: text },
        TaskAsk::Keep { field } => TaskWish::Keep {
            field,
            keep: Keep::Text(text),
        },
    };
    cmds.push(change(model, &task_id, wanted));
}

/// Takes in news of a board.
pub(super) fn news(model: &mut Model, news: BoardNews, cmds: &mut Vec<Cmd>) {
    match news {
        BoardNews::Changed(mark) => {
            if model.screen == Screen::Board && mark.workspace == model.board.workspace {
                let workspace = mark.workspace;
                cmds.push(wish(BoardWish::List { workspace }));
            }
        }
        BoardNews::Known(known) => model.board.known = known,
        BoardNews::Board { workspace, board } if workspace == model.board.workspace => fresh(model, board),
        BoardNews::Task { workspace, task } if workspace == model.board.workspace => {
            model.board.detail = Some(task);
        }
        BoardNews::Done {
            workspace,
            what,
            task,
        } if workspace == model.board.workspace => {
            match task {
                Some(task) if !task.conflicts.is_empty() => {
                    let words = format!(
                        "{} was changed in the file, too: both versions are kept · Enter shows them",
                        escape::line(&task.task_id)
                    );
                    model.notice(Level::Problem, words);
                }
                Some(task) => {
                    let words = format!("{what}: {} {}", task.task_id, task.title);
                    model.toast(escape::line(&words));
                    if what == "new task" {
                        model.board.selected = Some(task.task_id);
                    }
                }
                None => model.toast("TASKS.md was read anew"),
            }
            cmds.push(wish(BoardWish::List { workspace }));
        }
        BoardNews::Started {
            session_id,
            name,
            run,
        } => {
            if run {
                let words = format!("{} works in the background", escape::line(&name));
                model.notice(Level::Info, words);
                let workspace = model.board.workspace.clone();
                cmds.push(wish(BoardWish::List { workspace }));
            } else {
                super::open(model, &session_id, cmds);
            }
        }
        BoardNews::Board { .. } | BoardNews::Task { .. } | BoardNews::Done { .. } => {}
    }
}

/// The board as it is now. The focus stays with its task, wherever that was moved.
fn fresh(model: &mut Model, board: Box<pb::ListTasksResponse>) {
    let first = model.board.board.is_none();
    model.board.board = Some(board);
    let selected = model.board.selected.clone();
    let there = selected
        .as_deref()
        .and_then(|id| model.board.get(id))
        .map(|task| task.task_id.clone());
    if let Some(id) = there {
        model.board.focus(&id);
    }
    if first && model.board.column(model.board.column).is_empty() {
        let some = (0..COLUMNS.len()).find(|at| !model.board.column(*at).is_empty());
        model.board.column = some.unwrap_or(0);
    }
    if model.board.selected.is_none() {
        model.board.selected = model.board.task().map(|task| task.task_id.clone());
    }
    if let Some(Overlay::Conflict { task_id, field }) = &mut model.overlay {
        let left = model.board.get(task_id).map_or(0, |task| task.conflicts.len());
        *field = (*field).min(left.saturating_sub(1));
        if left == 0 {
            model.overlay = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Desk;
    use crate::msg::FromLink;

    const SHOP: &str = "/home/ana/src/shop";

    fn task(id: &str, state: pb::TaskState) -> pb::Task {
        pb::Task {
            task_id: id.into(),
            title: format!("title of {id}"),
            state: state.into(),
            ..Default::default()
        }
    }

    fn read(desk: &mut Desk, tasks: Vec<pb::Task>) {
        desk.news(FromLink::Board(BoardNews::Board {
            workspace: SHOP.into(),
            board: Box::new(pb::ListTasksResponse {
                tasks,
                rev: 7,
                files: vec!["TASKS.md".into()],
                ..Default::default()
            }),
        }));
    }

    fn desk() -> Desk {
        let mut desk = Desk::new(120, 36);
        desk.press("ctrl-x t");
        let (todo, doing) = (pb::TaskState::Todo, pb::TaskState::InProgress);
        read(
            &mut desk,
            vec![task("T-1", todo), task("T-2", doing), task("T-3", doing)],
        );
        desk
    }

    fn changes(desk: &Desk) -> Vec<(String, TaskWish)> {
        let change = |cmd: &Cmd| match cmd {
            Cmd::Link(ToLink::Board(BoardWish::Change {
                task_id,
                base_rev,
                change,
                workspace,
            })) => {
                assert_eq!((*base_rev, workspace.as_str()), (7, SHOP));
                Some((task_id.clone(), change.clone()))
            }
            _ => None,
        };
        desk.cmds.iter().filter_map(change).collect()
    }

    #[test]
    fn a_task_moves_and_the_focus_goes_along() {
        let mut desk = desk();
        desk.press("j > >");
        let to = |state| ("T-3".to_owned(), TaskWish::Move(state));
        // The second key finds the first one not done yet: the same task is not moved from where it was.
        assert_eq!(changes(&desk), [to(pb::TaskState::Blocked)]);
        read(
            &mut desk,
            vec![
                task("T-1", pb::TaskState::Todo),
                task("T-3", pb::TaskState::Blocked),
            ],
        );
        desk.press("<");
        assert_eq!(changes(&desk).last(), Some(&to(pb::TaskState::InProgress)));
        desk.press("h");
        assert_eq!(desk.model.board.selected.as_deref(), Some("T-1"));
        desk.press("<");
        assert_eq!(changes(&desk).len(), 2, "there is no column before the first");
    }

    #[test]
    fn keys_edit_add_claim_note_start_and_end() {
        let mut desk = desk();
        desk.press("n");
        desk.type_in("new one\n");
        desk.press("e");
        desk.type_in("!\n");
        desk.press("p");
        desk.type_in("P1\n");
        desk.press("m");
        desk.type_in("seen\n");
        desk.press("c s R D");
        desk.type_in("HEAD\n");
        let id = "T-2".to_owned();
        assert_eq!(
            changes(&desk),
            [
                (
                    String::new(),
                    TaskWish::Add {
                        title: "new one".into(),
                        state: pb::TaskState::InProgress
                    }
                ),
                (id.clone(), TaskWish::Title("title of T-2!".into())),
                (id.clone(), TaskWish::Priority("P1".into())),
                (id.clone(), TaskWish::Note("seen".into())),
                (id.clone(), TaskWish::Claim),
                (id.clone(), TaskWish::Start { run: false }),
                (id.clone(), TaskWish::Start { run: true }),
                (id, TaskWish::Done { link: "HEAD".into() }),
            ]
        );
        desk.model.read_only = true;
        desk.press("> c s R u");
        assert_eq!(changes(&desk).len(), 8);
    }

    #[test]
    fn a_conflict_is_shown_and_settled_field_by_field() {
        let mut desk = desk();
        let mut torn = task("T-2", pb::TaskState::InProgress);
        let field = |field: &str| pb::TaskConflict {
            field: field.into(),
            file: "of the file".into(),
            board: "of the board".into(),
            ..Default::default()
        };
        torn.conflicts = vec![field("title"), field("owner")];
        desk.news(FromLink::Board(BoardNews::Done {
            workspace: SHOP.into(),
            what: "change",
            task: Some(Box::new(torn.clone())),
        }));
        assert!(
            desk.model
                .toast
                .as_ref()
                .unwrap()
                .0
                .text
                .contains("both versions are kept")
        );
        read(&mut desk, vec![torn]);
        desk.press("enter down b");
        let keep = |field: &str, keep| {
            let field = field.to_owned();
            ("T-2".to_owned(), TaskWish::Keep { field, keep })
        };
        assert_eq!(changes(&desk), [keep("owner", Keep::Board)]);
        desk.press("up f w");
        desk.type_in(" and more\n");
        let text = Keep::Text("of the board and more".into());
        assert_eq!(
            changes(&desk)[1..],
            [keep("title", Keep::File), keep("title", text)]
        );
        desk.press("enter");
        read(&mut desk, vec![task("T-2", pb::TaskState::InProgress)]);
        assert_eq!(desk.model.overlay, None, "settled elsewhere");
    }

    #[test]
    fn it_is_read_anew_when_it_changed_and_only_then() {
        let mut desk = desk();
        let asked = desk.cmds.len();
        let mark = |workspace: &str| {
            FromLink::Board(BoardNews::Changed(pb::BoardMark {
                workspace: workspace.into(),
                rev: 8,
            }))
        };
        desk.news(mark("/elsewhere"));
        assert_eq!(desk.cmds.len(), asked);
        desk.news(mark(SHOP));
        assert_eq!(desk.cmds.len(), asked + 1);
        desk.press("q");
        desk.news(mark(SHOP));
        assert_eq!(desk.cmds.len(), asked + 1);
    }
}
