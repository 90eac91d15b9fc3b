//! Owns: `agentctl logs`: what happened in a session, as transcript, shell or events.

use std::time::SystemTime;

use agentd_proto::pb::event::Body;
use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::transcript::{Touched, Transcript};
use agentd_proto::{escape, pb};

use crate::args::{Format, LogsArgs};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::event::Lines;
use crate::render::line::Line;
use crate::render::{Look, line};
use crate::time;

/// Events asked for at once.
const PAGE: u32 = 1000;

/// What is shown of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Transcript,
    Shell,
    Events,
    Json,
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: LogsArgs) -> Result<u8, Failure> {
    let since = args
        .since
        .as_deref()
        .map(time::parse_since)
        .transpose()
        .map_err(Failure::usage)?;
    let session = context.target(args.target.as_deref()).await?;
    context.warn_outer(&session);
    let view = match context.out.format {
        Format::Json | Format::Jsonl => View::Json,
        _ if args.shell => View::Shell,
        _ if args.events => View::Events,
        _ => View::Transcript,
    };
    let mut log = Log {
        context,
        session: &session,
        view,
        since,
        transcript: Transcript::default(),
        lines: Lines::new(&session.session_id, 0),
        documents: Vec::new(),
        shown: std::collections::HashMap::new(),
    };
    let mut cursor = 0;
    let mut pieces = Vec::new();
    loop {
        let page = context
            .client
            .list_events(pb::ListEventsRequest {
                session_id: session.session_id.clone(),
                after_seq: cursor,
                page_size: PAGE,
                ..Default::default()
            })
            .await?;
        for event in &page.events {
            cursor = event.seq;
            pieces.extend(log.piece(event));
        }
        if page.events.is_empty() || cursor >= page.head {
            break;
        }
    }
    let from = args.tail.map_or(0, |tail| pieces.len().saturating_sub(tail));
    for piece in pieces.into_iter().skip(from) {
        log.show(piece).await?;
    }
    if context.out.format == Format::Json && !args.follow {
        context.out.json_list(std::mem::take(&mut log.documents))?;
    }
    if args.follow {
        log.follow(cursor).await
    } else {
        Ok(exit::OK)
    }
}

/// What one event adds to the view.
enum Piece {
    Text(Vec<Line>),
    Json(Vec<serde_json::Value>),
    Shell { lines: Vec<Line>, exec_id: String },
}

struct Log<'a> {
    context: &'a Context,
    session: &'a pb::Session,
    view: View,
    since: Option<SystemTime>,
    transcript: Transcript,
    lines: Lines,
    documents: Vec<serde_json::Value>,
    /// Output shown live, per command: the rest is not read again.
    shown: std::collections::HashMap<String, ()>,
}

impl Log<'_> {
    fn piece(&mut self, event: &pb::Event) -> Option<Piece> {
        let touched = self.transcript.apply(event);
        if self
            .since
            .is_some_and(|since| time::system(event.event_time).is_some_and(|time| time < since))
        {
            return None;
        }
        match self.view {
            View::Json => Some(Piece::Json(self.lines.event(event))),
            View::Events => Some(Piece::Text(vec![(None, self.event_line(event))])),
            View::Shell => shell(event),
            View::Transcript => {
                let (Touched::Added(index) | Touched::Changed(index)) = touched?;
                let item = self.transcript.get(index)?;
                let lines = match touched? {
                    Touched::Added(_) => line::stamped(item, line::added(item)),
                    Touched::Changed(_) => line::ended(item)
                        .into_iter()
                        .map(|(look, line)| (look, format!("      {line}")))
                        .collect(),
                };
                Some(Piece::Text(lines))
            }
        }
    }

    /// A fact in one line: seq, time, who, what.
    fn event_line(&mut self, event: &pb::Event) -> String {
        let mut kinds = Vec::new();
        let mut fields = String::new();
        for value in self.lines.event(event) {
            if let serde_json::Value::Object(mut map) = value {
                for key in ["v", "seq", "ts", "session"] {
                    map.remove(key);
                }
                if let Some(serde_json::Value::String(kind)) = map.remove("type") {
                    kinds.push(kind);
                }
                fields = serde_json::Value::Object(map).to_string();
            }
        }
        let when = time::rfc3339(event.event_time).unwrap_or_default();
        let who = format!("{}/{}", event.principal, event.client);
        escape::line(&format!(
            "{:>6}  {when}  {who:<12}  {}  {fields}",
            event.seq,
            kinds.join("+")
        ))
    }

    async fn show(&mut self, piece: Piece) -> Result<(), Failure> {
        match piece {
            Piece::Text(lines) => self.print(&lines),
            Piece::Json(values) => {
                if self.context.out.format == Format::Json {
                    self.documents.extend(values);
                    return Ok(());
                }
                values
                    .iter()
                    .try_for_each(|value| self.context.out.line(&value.to_string()))
            }
            Piece::Shell { lines, exec_id } => {
                if !exec_id.is_empty() && self.shown.remove(&exec_id).is_none() {
                    self.output(&exec_id).await?;
                }
                self.print(&lines)
            }
        }
    }

    fn print(&self, lines: &[Line]) -> Result<(), Failure> {
        let out = &self.context.out;
        lines.iter().try_for_each(|(look, line)| {
            out.line(&look.map_or_else(|| line.clone(), |look| out.paint(look, line)))
        })
    }

    /// What a command wrote, made harmless on a terminal.
    async fn output(&self, exec_id: &str) -> Result<(), Failure> {
        use agentd_proto::pb::read_output_response::Item;
        let request = pb::ReadOutputRequest {
            session_id: self.session.session_id.clone(),
            exec_id: exec_id.to_owned(),
            ..Default::default()
        };
        let mut output = match self.context.client.read_output(request).await {
            Ok(output) => output,
            // Kept output has its limits; the facts stay.
            Err(error) if error.is(pb::ErrorReason::ExecNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(update) = output.next().await {
            if let Update::Item(Item::Chunk(chunk)) = update? {
                self.bytes(&chunk)?;
            }
        }
        Ok(())
    }

    fn bytes(&self, chunk: &pb::OutputChunk) -> Result<(), Failure> {
        let out = &self.context.out;
        if chunk.dropped_bytes > 0 {
            out.line(&format!("… {} bytes were not kept …", chunk.dropped_bytes))?;
        }
        if !out.out_tty {
            return out.bytes(&chunk.data);
        }
        out.bytes(escape::output(&String::from_utf8_lossy(&chunk.data)).as_bytes())
    }

    async fn follow(&mut self, cursor: u64) -> Result<u8, Failure> {
        let subscription = pb::WatchSubscription {
            session_id: self.session.session_id.clone(),
            after_seq: cursor,
            previews: false,
            output: self.view == View::Shell,
            output_tail_bytes: 0,
            ..Default::default()
        };
        let mut watch = self.context.client.watch_session(subscription).await?;
        while let Some(update) = watch.next().await {
            match update? {
                Update::Item(Item::Event(event)) => {
                    if let Some(piece) = self.piece(&event) {
                        self.show(piece).await?;
                        // One document cannot be open for ever: while following, json is jsonl.
                        for value in std::mem::take(&mut self.documents) {
                            self.context.out.line(&value.to_string())?;
                        }
                    }
                }
                Update::Item(Item::Output(chunk)) => {
                    self.shown.insert(chunk.exec_id.clone(), ());
                    self.bytes(&chunk)?;
                }
                Update::Item(_) => {}
                Update::Reconnecting { attempt, .. } if attempt > 1 => {
                    self.context.out.note(&format!("? reconnecting · try {attempt}"));
                }
                Update::Reconnecting { .. } => {}
                Update::Back { events } => {
                    let events = agentd_proto::format::count(events, "event");
                    self.context.out.note(&format!("back · caught up {events}"));
                }
            }
        }
        Ok(exit::OK)
    }
}

fn shell(event: &pb::Event) -> Option<Piece> {
    match event.body.as_ref()? {
        Body::ExecStarted(started) => {
            let mark = if started.script_truncated { " …" } else { "" };
            let script = escape::block(started.script.trim_end());
            let line = if script.is_empty() {
                format!("({})", line::RAW_SHELL)
            } else {
                format!("$ {script}{mark}")
            };
            let lines = vec![(Some(Look::Bold), line)];
            Some(Piece::Shell {
                lines,
                exec_id: String::new(),
            })
        }
        Body::ExecFinished(finished) => {
            let result = finished.result.clone().unwrap_or_default();
            let fine = result.exit_code == 0 && !result.unknown;
            let look = if fine { Look::Dim } else { Look::Red };
            let lines = if fine && !result.background {
                Vec::new()
            } else {
                vec![(Some(look), format!("[{}]", line::exec_word(&result)))]
            };
            Some(Piece::Shell {
                lines,
                exec_id: finished.exec_id.clone(),
            })
        }
        _ => None,
    }
}
