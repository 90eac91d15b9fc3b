//! Owns: sessions and messages between wire and domain.

use agentd_proto::pb;

use super::super::status::invalid;
use super::timestamp;
use crate::domain::event::Origin;
use crate::domain::id::MessageId;
use crate::domain::message::Part;
use crate::domain::network::NetworkMode;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::{InputWait, QueuedMessage, State, Summary};
use crate::domain::task::TaskId;
use crate::domain::usage::{Cost, CostSource, Tokens, Usage};
use crate::domain::workspace::{JailKind, Layout, ShellKind};
use crate::session::Attached;
use crate::supervisor::SessionOrder;

impl From<Summary> for pb::Session {
    fn from(s: Summary) -> Self {
        let model = s.model.as_ref();
        let in_force = s.in_force;
        Self {
            session_id: s.session_id.to_string(),
            name: s.name,
            state: state(s.state).into(),
            principal: s.spec.principal,
            create_time: Some(timestamp(s.created_us)),
            update_time: Some(timestamp(s.updated_us)),
            workspace: s.spec.workspace.root.to_string_lossy().into_owned(),
            start_dir: s.spec.workspace.start_dir.to_string_lossy().into_owned(),
            layout: layout(s.spec.workspace.layout).into(),
            layout_reason: s.spec.workspace.layout_reason,
            shell: match s.spec.shell {
                ShellKind::Sh => pb::ShellKind::Sh,
                ShellKind::Bash => pb::ShellKind::Bash,
            }
            .into(),
            jail: match s.spec.jail {
                JailKind::Bwrap => pb::JailKind::Bwrap,
                JailKind::Outer => pb::JailKind::Outer,
            }
            .into(),
            origin: match s.spec.origin {
                Origin::Shell => pb::SessionOrigin::Shell,
                Origin::Agent => pb::SessionOrigin::Agent,
            }
            .into(),
            head: s.head,
            model: model.map(|m| m.name.clone()).unwrap_or_default(),
            turn_id: s.turn_id.map(|t| t.to_string()).unwrap_or_default(),
            last_line: s.last_line,
            approval_ids: s.approval_ids.iter().map(ToString::to_string).collect(),
            context_tokens: s.spent.context_tokens,
            context_window_tokens: model.and_then(|m| m.context_tokens).unwrap_or(0),
            cost_micro_usd: s.spent.micro_usd,
            cost_known: !s.spent.unknown,
            total_tokens: s.spent.tokens.total(),
            queued_messages: s.queued,
            policy_generation: in_force.generation,
            persona: in_force.persona,
            policy: in_force.policy,
            read_only: in_force.read_only,
            demo: model.is_some_and(|m| m.demo),
            log_level: log_level(s.spec.log).into(),
            task_id: s.task.map(|task| task.to_string()).unwrap_or_default(),
            pause_reason: s.standing.paused.unwrap_or_default(),
            purge_time: s.standing.purge_us.map(timestamp),
            forked_from: s
                .standing
                .forked_from
                .map(|(id, _)| id.to_string())
                .unwrap_or_default(),
            network: network(s.network).into(),
            title: s.title,
            last_input_tokens: s.spent.input_tokens,
            last_cached_tokens: s.spent.cached_tokens,
            input_tokens: s.spent.tokens.input,
            cached_input_tokens: s.spent.tokens.cached_input,
            // Costs a look at the machine: only those who ask for one session are told.
            limits: Vec::new(),
            added_dirs: s
                .spec
                .added_dirs
                .into_iter()
                .map(|dir| pb::AddedDir {
                    path: dir.path.display().to_string(),
                    writable: dir.writable,
                })
                .collect(),
            waiting: s.waiting.map(Into::into),
        }
    }
}

impl From<InputWait> for pb::InputWait {
    fn from(wait: InputWait) -> Self {
        Self {
            exec_id: wait.exec_id.to_string(),
            line: wait.line,
            pty: wait.pty,
            wait_time: Some(timestamp(wait.since_us)),
            call_id: wait.call_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

/// What programs can reach.
pub(in crate::api) fn network(mode: NetworkMode) -> pb::NetworkMode {
    match mode {
        NetworkMode::Off => pb::NetworkMode::Off,
        NetworkMode::Ask => pb::NetworkMode::Ask,
        NetworkMode::List => pb::NetworkMode::List,
    }
}

/// What programs are to reach; `None`: nothing was said.
pub(in crate::api) fn network_asked(number: i32) -> Result<Option<NetworkMode>, Rejection> {
    match pb::NetworkMode::try_from(number) {
        Ok(pb::NetworkMode::Unspecified) => Ok(None),
        Ok(pb::NetworkMode::Off) => Ok(Some(NetworkMode::Off)),
        Ok(pb::NetworkMode::Ask) => Ok(Some(NetworkMode::Ask)),
        Ok(pb::NetworkMode::List) => Ok(Some(NetworkMode::List)),
        Err(_) => Err(invalid(format!("network: {number} is not a mode"))),
    }
}

fn state(state: State) -> pb::SessionState {
    match state {
        State::Ready => pb::SessionState::Ready,
        State::Working => pb::SessionState::Working,
        State::NeedsYou => pb::SessionState::NeedsYou,
        State::Paused => pb::SessionState::Paused,
        State::Failed => pb::SessionState::Failed,
        State::Archived => pb::SessionState::Archived,
        State::Deleted => pb::SessionState::Deleted,
    }
}

fn layout(layout: Layout) -> pb::Layout {
    match layout {
        Layout::Root => pb::Layout::Root,
        Layout::Host => pb::Layout::Host,
    }
}

fn log_level(level: LogLevel) -> pb::LogLevel {
    match level {
        LogLevel::Full => pb::LogLevel::Full,
        LogLevel::Redacted => pb::LogLevel::Redacted,
        LogLevel::None => pb::LogLevel::None,
    }
}

/// A log level asked for; `None`: the configured one.
pub(in crate::api) fn log_asked(number: i32) -> Result<Option<LogLevel>, Rejection> {
    match pb::LogLevel::try_from(number) {
        Ok(pb::LogLevel::Unspecified) => Ok(None),
        Ok(pb::LogLevel::Full) => Ok(Some(LogLevel::Full)),
        Ok(pb::LogLevel::Redacted) => Ok(Some(LogLevel::Redacted)),
        Ok(pb::LogLevel::None) => Ok(Some(LogLevel::None)),
        Err(_) => Err(invalid(format!("log_level: {number} is not a level"))),
    }
}

/// A task asked for; `None`: none.
pub(in crate::api) fn task_asked(text: &str) -> Result<Option<TaskId>, Rejection> {
    match text {
        "" => Ok(None),
        id => id
            .parse()
            .map(Some)
            .map_err(|e: crate::domain::task::TaskIdError| invalid(e.to_string())),
    }
}

/// States of a filter.
pub(in crate::api) fn states(wanted: &[i32]) -> Result<Vec<State>, Rejection> {
    wanted
        .iter()
        .map(|&number| match pb::SessionState::try_from(number) {
            Ok(pb::SessionState::Ready) => Ok(State::Ready),
            Ok(pb::SessionState::Working) => Ok(State::Working),
            Ok(pb::SessionState::NeedsYou) => Ok(State::NeedsYou),
            Ok(pb::SessionState::Paused) => Ok(State::Paused),
            Ok(pb::SessionState::Failed) => Ok(State::Failed),
            Ok(pb::SessionState::Archived) => Ok(State::Archived),
            Ok(pb::SessionState::Deleted) => Ok(State::Deleted),
            _ => Err(invalid(format!("states: {number} is not a session state"))),
        })
        .collect()
}

/// The order of a list.
pub(in crate::api) fn order(number: i32) -> Result<SessionOrder, Rejection> {
    match pb::SessionOrder::try_from(number) {
        Ok(pb::SessionOrder::Unspecified | pb::SessionOrder::Activity) => Ok(SessionOrder::Activity),
        Ok(pb::SessionOrder::Name) => Ok(SessionOrder::Name),
        Ok(pb::SessionOrder::Created) => Ok(SessionOrder::Created),
        Ok(pb::SessionOrder::Cost) => Ok(SessionOrder::Cost),
        Err(_) => Err(invalid(format!("order: {number} is not an order"))),
    }
}

/// A layout asked for.
pub(in crate::api) fn layout_asked(number: i32) -> Result<Option<Layout>, Rejection> {
    match pb::Layout::try_from(number) {
        Ok(pb::Layout::Unspecified) => Ok(None),
        Ok(pb::Layout::Root) => Ok(Some(Layout::Root)),
        Ok(pb::Layout::Host) => Ok(Some(Layout::Host)),
        Err(_) => Err(invalid(format!("layout: {number} is not a layout"))),
    }
}

/// A shell asked for.
pub(in crate::api) fn shell_asked(number: i32) -> Result<Option<ShellKind>, Rejection> {
    match pb::ShellKind::try_from(number) {
        Ok(pb::ShellKind::Unspecified) => Ok(None),
        Ok(pb::ShellKind::Sh) => Ok(Some(ShellKind::Sh)),
        Ok(pb::ShellKind::Bash) => Ok(Some(ShellKind::Bash)),
        Err(_) => Err(invalid(format!("shell: {number} is not a shell"))),
    }
}

/// A jail asked for.
pub(in crate::api) fn jail_asked(number: i32) -> Result<Option<JailKind>, Rejection> {
    match pb::JailKind::try_from(number) {
        Ok(pb::JailKind::Unspecified) => Ok(None),
        Ok(pb::JailKind::Bwrap) => Ok(Some(JailKind::Bwrap)),
        Ok(pb::JailKind::Outer) => Ok(Some(JailKind::Outer)),
        Err(_) => Err(invalid(format!("jail: {number} is not a jail"))),
    }
}

/// An origin asked for.
pub(in crate::api) fn origin(number: i32) -> Result<Origin, Rejection> {
    match pb::SessionOrigin::try_from(number) {
        Ok(pb::SessionOrigin::Unspecified | pb::SessionOrigin::Shell) => Ok(Origin::Shell),
        Ok(pb::SessionOrigin::Agent) => Ok(Origin::Agent),
        Err(_) => Err(invalid(format!("origin: {number} is not an origin"))),
    }
}

/// Pieces in place of those of a message that waits: a picture without data is the one of that name in it.
pub(in crate::api) fn edited(parts: Vec<pb::Part>) -> Result<Vec<Part>, Rejection> {
    let one = |part: pb::Part| match part.part {
        Some(pb::part::Part::Image(image)) if image.data.is_empty() => Ok(vec![Part::Image {
            name: image.name,
            media_type: String::new(),
            data: String::new(),
            width: 0,
            height: 0,
        }]),
        _ => posted(vec![part]),
    };
    let parts: Result<Vec<_>, _> = parts.into_iter().map(one).collect();
    Ok(parts?.concat())
}

/// Pieces a person posts.
pub(in crate::api) fn posted(parts: Vec<pb::Part>) -> Result<Vec<Part>, Rejection> {
    parts
        .into_iter()
        .map(|part| match part.part {
            Some(pb::part::Part::Text(text)) => Ok(Part::Text { text }),
            Some(pb::part::Part::Attachment(a)) => Ok(Part::Attachment {
                name: a.name,
                text: a.text,
            }),
            Some(pb::part::Part::Image(image)) => super::context::image(image),
            _ => Err(invalid("parts: a message has text, attachments and images only")),
        })
        .collect()
}

/// A reasoning effort; `None`: the configured one.
pub(in crate::api) fn effort(word: String) -> Result<Option<String>, Rejection> {
    let usual = word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !usual {
        return Err(invalid(
            "effort is a lower-case word, such as low, medium or high",
        ));
    }
    Ok(Some(word).filter(|word| !word.is_empty()))
}

/// A schema for the answer; `None`: any answer.
pub(in crate::api) fn json_schema(text: String) -> Result<Option<String>, Rejection> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    crate::session::answer::check_schema(&text).map_err(invalid)?;
    Ok(Some(text))
}

/// A message's id.
pub(in crate::api) fn message_id(text: &str) -> Result<MessageId, Rejection> {
    text.parse()
        .map_err(|e: crate::domain::id::IdError| invalid(e.to_string()))
}

impl From<QueuedMessage> for pb::QueuedMessage {
    fn from(waiting: QueuedMessage) -> Self {
        Self {
            message_id: waiting.message_id.to_string(),
            parts: parts(waiting.parts.to_vec()),
            steer: waiting.steer,
            principal: waiting.asker.principal,
            client: waiting.asker.client.word().to_owned(),
        }
    }
}

/// Somebody who follows a session, as seen by the reader with the seat `me`.
pub(in crate::api) fn attached(one: &Attached, me: Option<u64>) -> pb::AttachedClient {
    pb::AttachedClient {
        client: one.asker.client.word().to_owned(),
        principal: one.asker.principal.clone(),
        attach_time: Some(timestamp(one.since_us)),
        input: one.input,
        you: me == Some(one.seat),
    }
}

/// Pieces as clients see them; tool results are facts of their own.
pub(super) fn parts(parts: Vec<Part>) -> Vec<pb::Part> {
    parts
        .into_iter()
        .filter_map(|part| {
            let part = match part {
                Part::Text { text } => pb::part::Part::Text(text),
                Part::Attachment { name, text } => pb::part::Part::Attachment(pb::Attachment { name, text }),
                Part::Image {
                    name,
                    media_type,
                    width,
                    height,
                    ..
                } => pb::part::Part::Image(pb::Image {
                    name,
                    // Nobody's screen needs it with every replay.
                    data: Default::default(),
                    media_type,
                    width,
                    height,
                }),
                // A fact of its own.
                Part::Context(_) => return None,
                Part::Reasoning { text, .. } if text.is_empty() => return None,
                Part::Reasoning { text, .. } => pb::part::Part::Reasoning(text),
                Part::ToolCall(call) => pb::part::Part::ToolCall(call.into()),
                Part::ToolResult(_) => return None,
            };
            Some(pb::Part { part: Some(part) })
        })
        .collect()
}

impl From<crate::domain::message::ToolCall> for pb::ToolCall {
    fn from(call: crate::domain::message::ToolCall) -> Self {
        Self {
            call_id: call.call_id.0,
            tool: call.tool,
            arguments_json: call.arguments,
        }
    }
}

impl From<Tokens> for pb::Tokens {
    fn from(t: Tokens) -> Self {
        Self {
            input: t.input,
            cached_input: t.cached_input,
            cache_write: t.cache_write,
            output: t.output,
            reasoning: t.reasoning,
        }
    }
}

fn source_word(cost: Cost) -> String {
    match cost.source {
        CostSource::Reported => "reported",
        CostSource::Catalog => "catalog",
        CostSource::Demo => "demo",
    }
    .into()
}

impl From<Usage> for pb::Usage {
    fn from(u: Usage) -> Self {
        let ms = |ms: u64| super::span(std::time::Duration::from_millis(ms));
        Self {
            model: u.model,
            tokens: u.tokens.map(Into::into),
            cost_micro_usd: u.cost.map(|c| c.micro_usd),
            cost_source: u.cost.map(source_word).unwrap_or_default(),
            first_token_latency: u.first_token_ms.map(ms),
            total_latency: Some(ms(u.total_ms)),
            retries: u.retries,
        }
    }
}
