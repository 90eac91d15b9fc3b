//! What a person has seen, and what is shown of what changes: a rule before it is granted, times, the selected item.

use agentd_proto::pb;
use agentd_proto::pb::event::Body;

use crate::fixture::{Desk, asked, began, called, finished, row, said};
use crate::msg::FromLink;

/// In a window of this size, deciding about a question whose rule is below what fits.
fn deciding(width: u16, height: u16) -> Desk {
    let mut desk = Desk::session(width, height, vec![said("go on"), began()]);
    desk.fact(asked(
        "a-31",
        &"a long command ".repeat(60),
        "allow executes: a long command",
    ));
    desk.wait(600);
    desk.press("ctrl-y");
    assert!(desk.model.deciding);
    desk
}

#[test]
fn a_rule_that_was_not_on_the_screen_is_shown_before_it_is_granted() {
    let mut desk = deciding(40, 12);
    desk.press("s");
    assert_eq!(desk.decisions(), [], "it was not seen");
    assert!(desk.model.deciding && desk.model.question_scroll > 0);
    desk.press("s");
    assert_eq!(desk.decisions()[0].1, pb::ApprovalDecision::ApprovedSession);
    // Scrolled to by hand it counts as well.
    let mut desk = deciding(40, 12);
    for _ in 0..40 {
        desk.press("pgdn");
    }
    desk.press("s");
    assert_eq!(desk.decisions().len(), 1);
}

#[test]
fn where_no_rule_can_be_shown_none_is_granted() {
    let mut desk = deciding(20, 5);
    desk.press("s s s");
    assert_eq!(desk.decisions(), []);
    desk.press("n");
    assert_eq!(desk.decisions()[0].1, pb::ApprovalDecision::Denied);
}

fn ran(exec: &str, script: &str, pty: bool) -> Body {
    Body::ExecStarted(pb::ExecStarted {
        exec_id: exec.into(),
        script: script.into(),
        pty,
        ..Default::default()
    })
}

#[test]
fn the_time_of_a_command_goes_on_without_a_turn() {
    let working = || FromLink::Session(Box::new(row("s-7k2f", "fix-login", pb::SessionState::Working)));
    let mut desk = Desk::session(80, 24, vec![ran("x-1", "sleep 9", false)]);
    desk.news(working());
    assert!(desk.model.wakes_at().is_some());
    desk.fact(Body::ExecFinished(pb::ExecFinished {
        exec_id: "x-1".into(),
        ..Default::default()
    }));
    desk.wait(10_000);
    assert_eq!(desk.model.wakes_at(), None);
    // A tool that outlives its turn, as after a restart.
    desk.fact(called("2", "exec", "make", "x-2"));
    assert!(desk.model.wakes_at().is_some());
    desk.fact(finished("2", pb::ToolCallOutcome::Succeeded, ""));
    desk.wait(10_000);
    assert_eq!(desk.model.wakes_at(), None);
    // An idle raw shell may be open for days: nothing is drawn for it.
    desk.fact(ran("x-3", "", true));
    desk.wait(10_000);
    assert_eq!(desk.model.wakes_at(), None);
}

#[test]
fn going_to_the_end_keeps_an_item_selected() {
    let mut desk = Desk::session(80, 24, (0..40).map(|n| said(&format!("line {n}"))).collect());
    desk.press("f6 g");
    let open = |desk: &Desk| desk.model.open.as_ref().unwrap().selected;
    let first = open(&desk);
    desk.press("G");
    assert!(open(&desk) > first, "{:?}", open(&desk));
}
