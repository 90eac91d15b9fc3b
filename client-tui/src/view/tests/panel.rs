//! Panels about a session, and a command that waits for input.

use agentd_proto::pb;

use super::{paint, rows, snapshot};
use crate::fixture::{Desk, WALL, row, story};
use crate::keys::Action;
use crate::model::overlay::Overlay;
use crate::model::panel::{Data, Deed, Panel};
use crate::msg::{Cmd, FromLink, ToLink};
use crate::text;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: WALL - seconds,
        nanos: 0,
    })
}

fn plan() -> Vec<pb::PlanItem> {
    use pb::PlanState as S;
    [
        (S::Done, "read the code"),
        (S::Doing, "mend the redirect"),
        (S::Todo, "run the tests \u{1b}[2J"),
    ]
    .map(|(state, text)| pb::PlanItem {
        text: text.into(),
        state: state.into(),
    })
    .into()
}

fn context() -> pb::GetContextResponse {
    let share = |kind: &str, count, tokens| pb::ContextShare {
        kind: kind.into(),
        count,
        tokens,
    };
    pb::GetContextResponse {
        tokens: 105_000,
        window_tokens: 258_000,
        window_source: "catalog".into(),
        shares: vec![
            share("tool_results", 41, 70_000),
            share("agent", 12, 20_000),
            share("tools", 1, 15_000),
        ],
        largest: vec![pb::ContextPiece {
            kind: "tool_results".into(),
            name: "cargo test \u{202e}".into(),
            tokens: 31_000,
        }],
        compact_at_tokens: 200_000,
        compactions: 1,
        messages: 6,
        plan: plan(),
        instruction_files: vec!["AGENTS.md".into()],
    }
}

fn session() -> pb::Session {
    let limit = |limit: &str, text: &str, keeper: pb::LimitKeeper, note: &str| pb::SessionLimit {
        limit: limit.into(),
        text: text.into(),
        keeper: keeper.into(),
        note: note.into(),
        ..Default::default()
    };
    pb::Session {
        title: "Login redirect keeps ?next=".into(),
        log_level: pb::LogLevel::Redacted.into(),
        network: pb::NetworkMode::Ask.into(),
        principal: "ana".into(),
        create_time: at(3_600),
        limits: vec![
            limit("memory", "4 GiB", pb::LimitKeeper::Kernel, "cgroup"),
            limit(
                "disk_growth",
                "2 GiB",
                pb::LimitKeeper::Watch,
                "looked at twice a second",
            ),
        ],
        added_dirs: vec![pb::AddedDir {
            path: "/srv/data".into(),
            writable: false,
        }],
        ..row("s-7k2f", "fix-login", pb::SessionState::Ready)
    }
}

fn network() -> Data {
    let door = pb::PortDoor {
        direction: pb::PortDirection::Forward.into(),
        port: 3_000,
        local_port: 8_080,
    };
    let port = |port, local_port| pb::ListeningPort {
        port,
        address: "127.0.0.1".into(),
        program: "node".into(),
        pid: 7,
        local_port,
    };
    let connection = |refusal: &str| pb::RecordedConnection {
        seq: 3,
        record_time: at(60),
        connection: Some(pb::Connection {
            host: "registry.example".into(),
            port: 443,
            program: "npm".into(),
            refusal: refusal.into(),
            sent_bytes: 1_200,
            received_bytes: 3_400_000,
            ..Default::default()
        }),
    };
    Data::Network {
        network: Box::new(pb::GetNetworkResponse {
            mode: pb::NetworkMode::Ask.into(),
            listed: vec!["*.example".into()],
            granted: vec!["registry.example:443".into()],
            doors: vec![door],
            ..Default::default()
        }),
        ports: vec![port(3_000, 8_080), port(5_173, 0)],
        connections: vec![connection(""), connection("it is a private address")],
    }
}

fn jobs() -> Data {
    Data::Jobs(vec![pb::Job {
        exec_id: "x-9".into(),
        script: "npm run dev &".into(),
        start_time: at(600),
        processes: vec![pb::JobProcess {
            pid: 12,
            command: "node server.js".into(),
        }],
        output_open: true,
    }])
}

/// In the session, with this panel as the daemon filled it.
fn opened(width: u16, height: u16, keys: &str, data: Data) -> Desk {
    let mut desk = Desk::session(width, height, story());
    desk.press(keys);
    desk.news(FromLink::Panel {
        session_id: "s-7k2f".into(),
        data,
    });
    desk
}

fn waiting(width: u16, height: u16) -> Desk {
    let mut desk = Desk::session(width, height, story());
    desk.news(FromLink::Session(Box::new(pb::Session {
        waiting: Some(pb::InputWait {
            exec_id: "x-1".into(),
            line: "Overwrite src/login.rs? [y/N] \u{1b}[2J".into(),
            pty: true,
            ..Default::default()
        }),
        turn_id: "t-1".into(),
        ..row("s-7k2f", "fix-login", pb::SessionState::NeedsYou)
    })));
    desk
}

fn inputs(desk: &Desk) -> Vec<Vec<u8>> {
    let data = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::Input { data, .. }) => Some(data.clone()),
        _ => None,
    };
    desk.cmds.iter().filter_map(data).collect()
}

fn deeds(desk: &Desk) -> Vec<Deed> {
    let deed = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::Panel { deed, .. }) => deed.clone(),
        _ => None,
    };
    desk.cmds.iter().filter_map(deed).collect()
}

#[test]
fn panels() {
    snapshot("panel_context", |w, h| {
        opened(w, h, "ctrl-x c", Data::Context(Box::new(context())))
    });
    snapshot("panel_about", |w, h| {
        opened(
            w,
            h,
            "ctrl-x o",
            Data::About(Box::new(session()), Box::new(context())),
        )
    });
    snapshot("panel_network", |w, h| opened(w, h, "ctrl-x e", network()));
    snapshot("panel_jobs", |w, h| opened(w, h, "ctrl-x j", jobs()));
}

#[test]
fn a_command_that_waits() {
    snapshot("waiting_for_input", waiting);
    snapshot("plan_in_the_side_pane", |w, h| {
        let mut desk = Desk::session(w, h, story());
        desk.fact(pb::event::Body::PlanUpdated(pb::PlanUpdated {
            turn_id: "t-1".into(),
            items: plan(),
            ..Default::default()
        }));
        desk
    });
}

#[test]
fn a_line_for_a_command_is_typed_as_it_is_and_only_when_asked_for() {
    let mut desk = waiting(80, 24);
    desk.type_in("y\n");
    assert!(inputs(&desk).is_empty(), "what is written goes to the agent");
    desk.press("ctrl-x i");
    desk.type_in(" yes \n");
    assert_eq!(inputs(&desk), [b" yes \r".to_vec()]);
    desk.type_in("/input no\n");
    assert_eq!(inputs(&desk).last().unwrap(), b"no\r");
    let mut idle = Desk::session(80, 24, story());
    idle.press("ctrl-x i");
    assert!(idle.model.overlay.is_none() && idle.model.toast.is_some());
}

#[test]
fn only_its_own_key_ends_a_job_or_closes_a_door() {
    let mut desk = opened(80, 24, "ctrl-x j", jobs());
    desk.press("enter");
    assert_eq!(deeds(&desk), []);
    desk.press("d");
    assert_eq!(
        deeds(&desk),
        [Deed::EndJob {
            exec_id: "x-9".into()
        }]
    );
    let mut reader = opened(80, 24, "ctrl-x j", jobs());
    reader.model.read_only = true;
    reader.press("d");
    assert_eq!(deeds(&reader), []);
}

#[test]
fn slash_commands_do_what_the_panels_do() {
    let mut desk = Desk::session(80, 24, story());
    for (said, wanted) in [
        ("/network off", Deed::Network(pb::NetworkMode::Off)),
        ("/forward 3000:8080", Deed::Forward(3_000, 8_080)),
        ("/compact the tests", Deed::Compact("the tests".into())),
    ] {
        desk.type_in(&format!("{said}\n"));
        assert_eq!(deeds(&desk).last(), Some(&wanted), "{said}");
        desk.press("esc");
    }
    let before = deeds(&desk).len();
    desk.type_in("/network sideways\n");
    desk.type_in("/forward all\n");
    assert_eq!(deeds(&desk).len(), before);
}

#[test]
fn a_model_is_picked_for_the_next_message() {
    let models = ["openai/gpt-x", "local/qwen"].map(|name| pb::Model {
        name: name.into(),
        status: "ready".into(),
        ..Default::default()
    });
    let mut desk = opened(80, 24, "ctrl-x m", Data::Models(models.into()));
    desk.press("j enter");
    assert!(desk.model.overlay.is_none());
    assert_eq!(desk.model.next_model.as_ref().unwrap().1, "local/qwen");
}

fn health() -> Data {
    let finding = |check: &str, level: pb::FindingLevel, message: &str, fix: &str| pb::Finding {
        check: check.into(),
        level: level.into(),
        message: message.into(),
        fix: fix.into(),
    };
    let status = pb::GetStatusResponse {
        version: "0.1.0".into(),
        pid: 4711,
        socket: "/run/user/1000/agentd/agentd.sock".into(),
        jail: "bwrap 0.8.0 ok".into(),
        sessions: 3,
        limits: vec![finding(
            "logout",
            pb::FindingLevel::Warning,
            "detached work ends at a logout",
            "loginctl enable-linger ana",
        )],
        ..Default::default()
    };
    let checks = vec![
        finding("bwrap", pb::FindingLevel::Ok, "0.8.0", ""),
        finding(
            "database",
            pb::FindingLevel::Failed,
            "evil \u{1b}[2J\nand more",
            "agentctl daemon restart",
        ),
    ];
    Data::Daemon(Box::new(status), checks)
}

fn project() -> Data {
    let tool = |tool: &str, program: &str, version: &str| pb::ToolVersion {
        tool: tool.into(),
        program: program.into(),
        version: version.into(),
    };
    let found = pb::CheckProjectResponse {
        tools: vec![
            tool("cargo", "/home/ana/.cargo/bin/cargo", "cargo 1.88.0 \u{202e}"),
            tool("go", "", ""),
        ],
        toolchains: vec!["/home/ana/.cargo".into()],
        left_out: vec!["/opt/tools".into()],
        init: Some(pb::ProjectInit {
            ran: false,
            note: "nobody agreed to it yet".into(),
        }),
        ..Default::default()
    };
    Data::Project {
        workspace: "/home/ana/shop".into(),
        found: Box::new(found),
    }
}

#[test]
fn the_daemon_and_the_project_say_what_is_wrong_and_what_mends_it() {
    let mut desk = Desk::session(80, 30, story());
    for (said, data, wanted) in [
        (
            "/doctor\n",
            health(),
            [
                "FAILED database: evil",
                "fix: agentctl daemon restart",
                "fix: loginctl enable-linger ana",
            ],
        ),
        (
            "/project\n",
            project(),
            [
                "cargo 1.88.0",
                "not there   go",
                "did not run: nobody agreed to it yet",
            ],
        ),
    ] {
        desk.type_in(said);
        desk.news(FromLink::Panel {
            session_id: "s-7k2f".into(),
            data,
        });
        let screen = rows(&paint(&desk.model)).join("\n");
        for words in wanted {
            assert!(screen.contains(words), "{words}:\n{screen}");
        }
        desk.press("esc");
    }
}

#[test]
fn panels_hold_nothing_raw_and_fit_every_width() {
    let audit = Data::Audit(Box::new(pb::AuditSessionResponse {
        commands: vec![pb::AuditedCommand {
            script: "evil \u{1b}[2J\u{202e}".into(),
            ..Default::default()
        }],
        refusals: vec![pb::AuditedRefusal {
            what: "exec rm".into(),
            by: "policy".into(),
            ..Default::default()
        }],
        ..Default::default()
    }));
    let all = [
        Data::Context(Box::new(context())),
        Data::About(Box::new(session()), Box::new(context())),
        network(),
        jobs(),
        audit,
        health(),
        project(),
    ];
    for data in all {
        for width in [1_u16, 4, 20, 39, 80, 200] {
            let mut desk = Desk::session(width, 20, story());
            let mut cmds = Vec::new();
            let action = match data.panel() {
                Panel::About => Action::About,
                Panel::Context => Action::Context,
                Panel::Jobs => Action::Jobs,
                Panel::Network => Action::Network,
                Panel::Models => Action::Models,
                Panel::Audit => Action::Audit,
                Panel::Daemon => Action::Daemon,
                Panel::Project => Action::Project,
                other => panic!("{other:?} is looked at elsewhere"),
            };
            crate::update::act(&mut desk.model, action, &mut cmds);
            desk.news(FromLink::Panel {
                session_id: "s-7k2f".into(),
                data: data.clone(),
            });
            let buffer = paint(&desk.model);
            for cell in &buffer.content {
                assert!(!cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'));
            }
            for row in rows(&buffer) {
                assert_eq!(text::width(&row), usize::from(width), "{row:?}");
            }
        }
    }
}

#[test]
fn the_network_panel_opens_on_what_is_in_force() {
    let mut desk = opened(80, 24, "ctrl-x e", network());
    let Some(Overlay::Panel(view)) = &desk.model.overlay else {
        panic!("no panel")
    };
    let rows = view.rows.as_ref().unwrap();
    assert_eq!(rows[view.selected].right, "now");
    // Who only looks and closes with Enter changes nothing.
    let before = deeds(&desk).len();
    desk.press("enter");
    assert_eq!(deeds(&desk).len(), before);
}
