//! Owns: models for tests: sessions, events and keys with fixed ids and times.

use std::time::{Duration, Instant};

use agentd_proto::pb;
use agentd_proto::pb::event::Body;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::keys::{Key, Keymap};
use crate::model::Model;
use crate::msg::{Cmd, FromLink, Msg};
use crate::theme;
use crate::update::update;

/// 2026-11-22 10:42:00 UTC.
pub(crate) const WALL: i64 = 1_795_344_120;

/// A model with a clock that tests turn.
pub(crate) struct Desk {
    pub(crate) model: Model,
    pub(crate) start: Instant,
    pub(crate) ms: u64,
    seq: u64,
    /// What the model wanted so far.
    pub(crate) cmds: Vec<Cmd>,
}

impl Desk {
    /// Connected, nothing there.
    pub(crate) fn new(width: u16, height: u16) -> Self {
        let start = Instant::now();
        let mut model = Model::new(
            Keymap::default(),
            theme::by_name("dark").unwrap(),
            (width, height),
            start,
        );
        model.wall = WALL;
        model.user = "ana@box".into();
        model.workspace = "/home/ana/src/shop".into();
        let mut desk = Self {
            model,
            start,
            ms: 0,
            seq: 0,
            cmds: Vec::new(),
        };
        let status = pb::GetStatusResponse {
            version: "0.1.0".into(),
            pid: 4121,
            jail: "bwrap 0.8.0 ok".into(),
            ..Default::default()
        };
        let demo = pb::Model {
            name: "demo/demo".into(),
            status: "ready".into(),
            ..Default::default()
        };
        desk.news(FromLink::Up {
            started: false,
            status: Box::new(status),
            models: vec![demo],
        });
        desk
    }

    /// In the session `fix-login`, with a page of its log.
    pub(crate) fn session(width: u16, height: u16, bodies: Vec<Body>) -> Self {
        let mut desk = Self::new(width, height);
        let row = row("s-7k2f", "fix-login", pb::SessionState::Ready);
        desk.news(FromLink::Session(Box::new(row.clone())));
        let mut cmds = Vec::new();
        crate::update::begin(&mut desk.model, row, &mut cmds);
        desk.cmds.extend(cmds);
        let events = bodies.into_iter().map(|body| desk.event(body)).collect();
        desk.news(FromLink::Page {
            session_id: "s-7k2f".into(),
            events,
            older: false,
        });
        desk
    }

    pub(crate) fn event(&mut self, body: Body) -> pb::Event {
        self.seq += 1;
        pb::Event {
            session_id: "s-7k2f".into(),
            seq: self.seq,
            event_time: Some(prost_types::Timestamp {
                seconds: WALL - 12,
                nanos: 0,
            }),
            principal: "ana".into(),
            client: "tui".into(),
            body: Some(body),
            ..Default::default()
        }
    }

    pub(crate) fn fact(&mut self, body: Body) {
        let event = self.event(body);
        self.news(FromLink::Event(Box::new(event)));
    }

    /// A fact that another client caused.
    pub(crate) fn fact_via(&mut self, client: &str, body: Body) {
        let mut event = self.event(body);
        event.client = client.into();
        self.news(FromLink::Event(Box::new(event)));
    }

    pub(crate) fn news(&mut self, news: FromLink) {
        self.msg(Msg::Link(news));
    }

    pub(crate) fn msg(&mut self, msg: Msg) {
        let now = self.start + Duration::from_millis(self.ms);
        let cmds = update(&mut self.model, msg, now);
        self.cmds.extend(cmds);
    }

    /// Turns the clock.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.ms += ms;
        self.msg(Msg::Tick);
    }

    /// Presses keys, as `keys.toml` writes them.
    pub(crate) fn press(&mut self, keys: &str) {
        for word in keys.split(' ') {
            let key = Key::parse(word).unwrap();
            self.msg(Msg::Key(KeyEvent::new(key.code, key.modifiers)));
        }
    }

    /// Types letters.
    pub(crate) fn type_in(&mut self, text: &str) {
        for c in text.chars() {
            let code = if c == '\n' {
                KeyCode::Enter
            } else {
                KeyCode::Char(c)
            };
            self.msg(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
    }

    /// The decisions that were sent.
    pub(crate) fn decisions(&self) -> Vec<(String, pb::ApprovalDecision, String)> {
        let decision = |cmd: &Cmd| match cmd {
            Cmd::Link(crate::msg::ToLink::Resolve {
                approval_id,
                decision,
                reason,
                ..
            }) => Some((approval_id.clone(), *decision, reason.clone())),
            _ => None,
        };
        self.cmds.iter().filter_map(decision).collect()
    }

    pub(crate) fn draft(&self) -> String {
        self.model
            .draft()
            .map(|draft| draft.expanded())
            .unwrap_or_default()
    }
}

pub(crate) fn row(id: &str, name: &str, state: pb::SessionState) -> pb::Session {
    pb::Session {
        session_id: id.into(),
        name: name.into(),
        state: state.into(),
        workspace: "/home/ana/src/shop".into(),
        model: "openai/gpt-x".into(),
        context_tokens: 105_000,
        context_window_tokens: 258_000,
        cost_micro_usd: 840_000,
        cost_known: true,
        total_tokens: 118_000,
        persona: "default".into(),
        jail: pb::JailKind::Bwrap.into(),
        last_line: "done: 4 files changed".into(),
        update_time: Some(prost_types::Timestamp {
            seconds: WALL,
            nanos: 0,
        }),
        turn_id: if state == pb::SessionState::Working {
            "t-1".into()
        } else {
            String::new()
        },
        ..Default::default()
    }
}

pub(crate) fn text(text: &str) -> pb::Part {
    pb::Part {
        part: Some(pb::part::Part::Text(text.into())),
    }
}

pub(crate) fn said(words: &str) -> Body {
    Body::MessagePosted(pb::MessagePosted {
        message_id: "m-1".into(),
        parts: vec![text(words)],
        queued: false,
        steer: false,
    })
}

pub(crate) fn began() -> Body {
    Body::TurnStarted(pb::TurnStarted {
        turn_id: "t-1".into(),
        model: "openai/gpt-x".into(),
        ..Default::default()
    })
}

pub(crate) fn answered(words: &str) -> Body {
    Body::StepFinished(pb::StepFinished {
        turn_id: "t-1".into(),
        step: 1,
        parts: vec![text(words)],
        usage: Some(pb::Usage {
            tokens: Some(pb::Tokens {
                input: 13_300,
                cached_input: 9_310,
                output: 1_600,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub(crate) fn called(call: &str, tool: &str, summary: &str, exec: &str) -> Body {
    Body::ToolCallStarted(pb::ToolCallStarted {
        turn_id: "t-1".into(),
        call: Some(pb::ToolCall {
            call_id: call.into(),
            tool: tool.into(),
            arguments_json: "{}".into(),
        }),
        summary: summary.into(),
        exec_id: exec.into(),
        ..Default::default()
    })
}

pub(crate) fn finished(call: &str, outcome: pb::ToolCallOutcome, result: &str) -> Body {
    Body::ToolCallFinished(pb::ToolCallFinished {
        turn_id: "t-1".into(),
        call_id: call.into(),
        outcome: outcome.into(),
        result: result.into(),
        duration: Some(prost_types::Duration {
            seconds: 11,
            nanos: 0,
        }),
    })
}

pub(crate) fn changed(path: &str, kind: pb::ChangeKind) -> Body {
    Body::ChangeRecorded(pb::ChangeRecorded {
        change_id: "c-9".into(),
        path: path.into(),
        kind: kind.into(),
        added_lines: 12,
        removed_lines: 3,
        ..Default::default()
    })
}

pub(crate) fn asked(id: &str, detail: &str, rule: &str) -> Body {
    Body::ApprovalRequested(pb::ApprovalRequested {
        approval: Some(pb::Approval {
            approval_id: id.into(),
            session_id: "s-7k2f".into(),
            session_name: "fix-login".into(),
            call_id: format!("c-{id}"),
            tool: "exec".into(),
            summary: detail.lines().next().unwrap_or_default().into(),
            detail: detail.into(),
            effects: vec!["executes".into(), "reaches_out".into()],
            why: "it reaches out of the jail".into(),
            session_rule: rule.into(),
            ..Default::default()
        }),
    })
}

pub(crate) fn resolved(id: &str) -> Body {
    Body::ApprovalResolved(pb::ApprovalResolved {
        approval_id: id.into(),
        call_id: format!("c-{id}"),
        decision: pb::ApprovalDecision::ApprovedOnce.into(),
        ..Default::default()
    })
}

/// The first that a command wrote.
pub(crate) fn output(exec: &str, data: &str) -> FromLink {
    output_from(exec, 0, data)
}

/// What it wrote from this byte on.
pub(crate) fn output_from(exec: &str, offset: u64, data: &str) -> FromLink {
    FromLink::Output {
        session_id: "s-7k2f".into(),
        chunk: pb::OutputChunk {
            exec_id: exec.into(),
            stream: pb::OutputStream::Stdout.into(),
            offset,
            data: data.to_owned().into(),
            ..Default::default()
        },
    }
}

/// A turn in full, up to a command that runs.
pub(crate) fn story() -> Vec<Body> {
    vec![
        said("make the login redirect keep ?next="),
        began(),
        called("1", "read", "src/login.rs", ""),
        finished("1", pb::ToolCallOutcome::Succeeded, "fn login() {}\n"),
        changed("src/login.rs", pb::ChangeKind::Modified),
        answered(
            "The redirect drops the query because `next` is not *escaped*.\n\n| file | lines |\n|---|---|\n| src/login.rs | 12 |\n\n```rust\nlet next = escape(next);\n```",
        ),
        called("2", "exec", "cargo test -p auth", "x-1"),
    ]
}
