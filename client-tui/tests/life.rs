//! A session's whole life and the task board by keys, seen by other clients as it happens.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

mod screen;

use std::time::Duration;

use screen::Screen;
use support::TestDaemon;

/// Waits until agentctl knows the session in this state.
fn is(screen: &Screen<'_>, state: &str) {
    let args = ["sessions", "show", "shop", "-o", "json"];
    screen.until(state, Duration::from_secs(10), |_| {
        screen.home.ctl(args).exits(0).json()["state"] == state
    });
}

#[test]
fn pausing_archiving_deleting_and_searching_are_seen_by_all() {
    let home = TestDaemon::start();
    let screen = Screen::session(&home, (100, 30), "");
    screen.say(&["demo: say the peculiar word"]);
    screen.shows("─ done");
    home.ctl(["sessions", "pause", "shop"]).exits(0);
    screen.shows("paused: /resume lets it go on");
    screen.say(&["/resume"]);
    is(&screen, "ready");
    screen.keys(&["C-x", "s"]);
    screen.shows("▸ ○ ready");
    screen.keys(&["p"]);
    is(&screen, "paused");
    screen.shows("▸ ‖ paused");
    screen.keys(&["p"]);
    screen.shows("▸ ○ ready");
    screen.keys(&["a"]);
    is(&screen, "archived");
    screen.shows("[▫1 archived]");
    // What is archived is found, and opens.
    screen.keys(&["s"]);
    screen.type_in("peculiar");
    screen.shows("message posted");
    screen.keys(&["Enter"]);
    screen.shows("▫ archived");
    screen.keys(&["Escape"]);
    screen.say(&["/unarchive"]);
    is(&screen, "ready");
    // Nothing goes without its name.
    screen.keys(&["C-x", "s"]);
    screen.shows("▸ ○ ready");
    screen.keys(&["D"]);
    let asked = screen.shows("type 'shop' to delete it");
    assert!(asked.contains("in the trash until"), "{asked}");
    screen.say(&["yes"]);
    screen.shows("nothing was deleted");
    screen.keys(&["D"]);
    screen.shows("type 'shop' to delete it");
    screen.say(&["shop"]);
    screen.shows("[✕1 deleted]");
    is(&screen, "deleted");
    for _ in 0..7 {
        screen.keys(&["Tab"]);
    }
    screen.shows("▸ ✕ deleted");
    screen.keys(&["a"]);
    is(&screen, "ready");
}

#[test]
fn the_board_is_two_way() {
    let home = TestDaemon::start();
    let docs = home.project().join("docs");
    std::fs::create_dir_all(&docs).unwrap();
    let file = docs.join("TASKS.md");
    let table = |rows: &str| format!("# Plan\n\n| ID | Task | Status |\n|---|---|---|\n{rows}");
    std::fs::write(&file, table("| T-1 | First thing | Todo |\n")).unwrap();
    let screen = Screen::start(&home, (130, 36), "");
    screen.shows("2 Tasks");
    screen.keys(&["2"]);
    screen.shows("▸ T-1 First thing");
    // By hand in the file: seen here.
    let more = "| T-1 | First thing | Todo |\n| T-2 | Second | Review |\n";
    std::fs::write(&file, table(more)).unwrap();
    screen.until("the new row", Duration::from_secs(3), |now| {
        now.contains("T-2 Second") && now.contains("REVIEW 1")
    });
    // Here: seen in the file.
    screen.keys(&[">"]);
    let text = || std::fs::read_to_string(&file).unwrap();
    screen.until("the move", Duration::from_secs(10), |_| {
        text().contains("| T-1 | First thing | In Progress |")
    });
    screen.shows("IN PROGRESS 1");
    screen.keys(&["n"]);
    screen.shows("new task");
    screen.say(&["Third from here"]);
    screen.until("the new task", Duration::from_secs(10), |_| {
        text().contains("Third from here")
    });
    // The news names it before the board has it: it is chosen once it stands there.
    screen.shows("▸ T-3");
    // A session for it: opened, and the dashboard names its task.
    screen.keys(&["s"]);
    screen.shows("type a message");
    screen.keys(&["C-x", "s"]);
    let rows = screen.shows("TASK");
    assert!(
        rows.lines()
            .any(|line| line.contains("ready") && line.contains("T-3")),
        "{rows}"
    );
    // A file in a merge is told and left alone.
    let row = "| T-2 | Second | Review |\n";
    let torn = format!("<<<<<<< ours\n{row}=======\n| T-2 | Second | Done |\n>>>>>>> theirs\n");
    let torn = text().replace(row, &torn);
    std::fs::write(&file, &torn).unwrap();
    screen.keys(&["2"]);
    screen.until("the merge", Duration::from_secs(5), |now| {
        now.contains("TASKS.md:") && now.contains("merge")
    });
    assert_eq!(text(), torn);
}
