//! The task board and what belongs to a session's whole life, at four sizes.

use agentd_proto::pb;

use super::{many, running, shown, snapshot};
use crate::fixture::{Desk, WALL, row};
use crate::msg::{BoardNews, FromLink};

fn task(id: &str, title: &str, state: pb::TaskState) -> pb::Task {
    pb::Task {
        task_id: id.into(),
        title: title.into(),
        state: state.into(),
        path: "docs/TASKS.md".into(),
        line: 12,
        section: vec!["Shop".into(), "Login".into()],
        priority: "P1".into(),
        ..Default::default()
    }
}

fn tasks() -> Vec<pb::Task> {
    use pb::TaskState as S;
    let mut login = task(
        "T-12",
        "Make the login redirect keep ?next= für alle 日本語",
        S::InProgress,
    );
    login.owner = "ana".into();
    login.requests = 9;
    login.cost_known = true;
    login.cost_micro_usd = 840_000;
    login.sessions = vec![pb::TaskSession {
        session_id: "s-7k2f".into(),
        name: "fix-login".into(),
        state: "needs_you".into(),
        last_line: "wants: npm publish".into(),
        update_time: None,
    }];
    let mut waits = task("T-9", "Move the database", S::Blocked);
    waits.open_waits = vec!["T-12".into()];
    let mut claimed = task("T-15", "Docs", S::Todo);
    claimed.claim = Some(pb::TaskClaim {
        holder: "ana via cli".into(),
        ..Default::default()
    });
    let mut all = vec![task("T-14", "Rate limits", S::Todo), claimed, login, waits];
    all.push(task("T-1", "Begin", S::Done));
    all.extend((20..50).map(|n| task(&format!("T-{n}"), "One of many that are done", S::Done)));
    all
}

fn synced(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

/// On the board, with these tasks and problems.
fn board(width: u16, height: u16, tasks: Vec<pb::Task>, problems: Vec<pb::BoardProblem>) -> Desk {
    let mut desk = Desk::new(width, height);
    desk.press("2");
    let conflicts = tasks.iter().filter(|task| !task.conflicts.is_empty()).count();
    let board = pb::ListTasksResponse {
        tasks,
        files: vec!["docs/TASKS.md".into()],
        problems,
        sync_time: synced(WALL),
        rev: 7,
        conflicts: u32::try_from(conflicts).unwrap(),
    };
    desk.news(FromLink::Board(BoardNews::Board {
        workspace: "/home/ana/src/shop".into(),
        board: Box::new(board),
    }));
    desk
}

fn conflicted() -> Vec<pb::Task> {
    let mut tasks = tasks();
    tasks[2].conflicts = vec![
        pb::TaskConflict {
            field: "title".into(),
            base: "Login".into(),
            file: "Make the login redirect keep ?next= and nothing else of the query".into(),
            board: "Login keeps\u{202e} ?next= 日本語".into(),
            by: "ana via web".into(),
            conflict_time: synced(WALL),
        },
        pb::TaskConflict {
            field: "notes".into(),
            file: "see #12".into(),
            ..Default::default()
        },
    ];
    tasks
}

#[test]
fn boards() {
    snapshot("board", |w, h| board(w, h, tasks(), Vec::new()));
    snapshot("board_done_filtered", |w, h| {
        let mut desk = board(w, h, tasks(), Vec::new());
        desk.press("right right right j j j /");
        desk.type_in("many\n");
        desk
    });
    snapshot("board_none", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.press("2");
        desk.news(FromLink::Board(BoardNews::Board {
            workspace: "/home/ana/src/shop".into(),
            board: Box::default(),
        }));
        desk
    });
    snapshot("board_merge_conflict", |w, h| {
        let problem = |line, code: &str, message: &str| pb::BoardProblem {
            path: "docs/TASKS.md".into(),
            line,
            code: code.into(),
            message: message.into(),
        };
        let problems = vec![
            problem(
                12,
                "merge_conflict",
                "an unfinished git merge: settle it in the file first",
            ),
            problem(30, "duplicate_id", "T-9 is there twice\u{1b}[2J"),
            problem(31, "unknown_status", "'perhaps' is no status"),
            problem(40, "extra_cells", "more cells than columns"),
        ];
        board(w, h, tasks(), problems)
    });
    snapshot("board_conflict", |w, h| board(w, h, conflicted(), Vec::new()));
    snapshot("board_conflict_side_by_side", |w, h| {
        let mut desk = board(w, h, conflicted(), Vec::new());
        desk.press("enter");
        desk
    });
}

#[test]
fn a_task_in_full() {
    snapshot("task", |w, h| {
        let mut desk = board(w, h, tasks(), Vec::new());
        desk.press("enter");
        let mut task = tasks()[2].clone();
        task.notes = "one\ntwo".into();
        let change = pb::TaskChange {
            rev: 6,
            change_time: synced(WALL),
            by: "ana via web".into(),
            what: "edited".into(),
            fields: vec![pb::TaskFieldChange {
                field: "status".into(),
                before: "todo".into(),
                after: "in progress".into(),
            }],
            text: String::new(),
        };
        desk.news(FromLink::Board(BoardNews::Task {
            workspace: "/home/ana/src/shop".into(),
            task: Box::new(pb::GetTaskResponse {
                task: Some(task),
                history: vec![change],
            }),
        }));
        desk
    });
}

#[test]
fn the_life_of_a_session() {
    let resting = |w, h| {
        let mut desk = many(w, h, 5);
        let mut on_task = row("s-0001", "session-1", pb::SessionState::Working);
        on_task.task_id = "T-12".into();
        desk.news(FromLink::Session(Box::new(on_task)));
        let mut paused = row("s-0004", "session-4", pb::SessionState::Paused);
        paused.pause_reason = "budget $5.00 reached".into();
        desk.news(FromLink::Session(Box::new(paused)));
        desk.news(FromLink::Session(Box::new(row(
            "s-a",
            "old",
            pb::SessionState::Archived,
        ))));
        let mut gone = row("s-d", "gone", pb::SessionState::Deleted);
        gone.purge_time = synced(WALL + 7 * 86_400);
        desk.news(FromLink::Session(Box::new(gone)));
        desk
    };
    snapshot("dashboard_paused_archived_deleted", |w, h| {
        let mut desk = resting(w, h);
        desk.press("j j j j");
        desk
    });
    snapshot("dashboard_trash", |w, h| {
        let mut desk = resting(w, h);
        desk.press("tab tab tab tab tab tab tab");
        desk
    });
    snapshot("delete_confirm", |w, h| {
        let mut desk = resting(w, h);
        let loss = pb::DeletionLoss {
            session: Some(row("s-0001", "session-1", pb::SessionState::Working)),
            events: 236,
            messages: 12,
            commands: 40,
            output_bytes: 3_250_585,
            open_turn: true,
            open_commands: 1,
            queued_messages: 2,
        };
        desk.news(FromLink::Loss(Box::new(pb::DeleteSessionResponse {
            purge_time: synced(WALL + 7 * 86_400),
            loss: Some(loss),
            ..Default::default()
        })));
        desk.type_in("session");
        desk
    });
    snapshot("session_archived", |w, h| {
        let mut desk = running(w, h);
        desk.news(FromLink::Session(Box::new(row(
            "s-7k2f",
            "fix-login",
            pb::SessionState::Archived,
        ))));
        desk
    });
    snapshot("search_all", |w, h| {
        let mut desk = resting(w, h);
        desk.press("s");
        desk.type_in("redirect");
        let hit = |seq, kind: &str, snippet: &str| pb::SearchHit {
            session: Some(row("s-7k2f", "fix-login", pb::SessionState::Ready)),
            seq,
            event_time: synced(WALL),
            kind: kind.into(),
            snippet: snippet.into(),
        };
        desk.news(FromLink::Found {
            text: "redirect".into(),
            hits: vec![
                hit(12, "message_posted", "make the login redirect keep ?next="),
                hit(
                    40,
                    "exec_finished",
                    "test redirect_\u{1b}[31mopen ... 日本語 FAILED",
                ),
            ],
        });
        desk.press("down");
        desk
    });
}

#[test]
fn nothing_raw_of_a_board_reaches_the_screen() {
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}";
    let mut bad = task(evil, evil, pb::TaskState::InProgress);
    bad.owner = evil.into();
    bad.notes = evil.into();
    bad.path = evil.into();
    bad.section = vec![evil.into()];
    for (width, height) in super::SIZES {
        let desk = board(width, height, vec![bad.clone()], Vec::new());
        let all = shown(&desk.model);
        assert!(
            !all.contains('\u{1b}') && !all.contains('\u{202e}') && !all.contains('\u{7}'),
            "{all}"
        );
    }
}
