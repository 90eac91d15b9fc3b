//! What commands wrote: counted once, however often and from wherever it is read.

use agentd_proto::pb;

use crate::fixture::{Desk, called, finished, output_from};
use crate::msg::{Cmd, FromLink, ToLink};

fn chunk(offset: u64, data: &str) -> FromLink {
    output_from("x-1", offset, data)
}

/// A command that was watched from its first byte on, or not, and has ended.
fn ran(first: u64) -> Desk {
    let mut desk = Desk::session(80, 24, vec![called("2", "exec", "seq 3", "x-1")]);
    desk.news(chunk(first, "1\n2\n"));
    desk.news(chunk(first + 4, "3\n"));
    desk.fact(finished("2", pb::ToolCallOutcome::Succeeded, "1\n2\n3\n"));
    desk
}

fn reads(desk: &Desk) -> usize {
    let read = |cmd: &&Cmd| matches!(cmd, Cmd::Link(ToLink::ReadOutput { .. }));
    desk.cmds.iter().filter(read).count()
}

fn lines(desk: &Desk) -> (u64, Vec<String>) {
    let output = &desk.model.open.as_ref().unwrap().outputs["x-1"];
    (output.count(), output.tail(9))
}

#[test]
fn what_is_held_whole_is_not_read_again() {
    let mut desk = ran(0);
    desk.press("ctrl-t");
    assert_eq!(reads(&desk), 0);
    assert_eq!(lines(&desk), (3, vec!["1".into(), "2".into(), "3".into()]));
}

#[test]
fn a_tail_gives_way_to_the_whole() {
    let mut desk = ran(1_000);
    desk.press("ctrl-t");
    assert_eq!(reads(&desk), 1);
    desk.news(chunk(0, "0\n"));
    desk.news(chunk(2, "1\n2\n3\n"));
    assert_eq!(lines(&desk).0, 4, "{:?}", lines(&desk));
}

#[test]
fn bytes_that_come_again_after_a_break_add_nothing() {
    let mut desk = Desk::session(80, 24, vec![called("2", "exec", "seq 3", "x-1")]);
    desk.news(chunk(0, "1\n2\n"));
    desk.news(chunk(2, "2\n3\n"));
    desk.news(chunk(0, "1\n2\n3\n"));
    assert_eq!(lines(&desk), (3, vec!["1".into(), "2".into(), "3".into()]));
}
