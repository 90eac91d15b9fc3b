//! Owns: the open session: its loaded events, their fold, what is live, and where the reader looks.
//! Guarantees: bounded memory, however long the log is; an event out of order is noticed, not shown.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};

use agentd_proto::pb;
use agentd_proto::pb::event::Body;
use agentd_proto::transcript::{Kind, Transcript};

use super::editor::Editor;
use super::output::Output;
use crate::layout::Cache;

/// Most bytes of events held; the oldest give way and are fetched again when looked at.
const HELD_BYTES: usize = 12 * 1024 * 1024;
/// Commands whose output is held.
const HELD_OUTPUTS: usize = 64;

/// Items at the end among which one that runs is looked for.
const LOOKED_THROUGH: usize = 200;

/// Where the reader looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scroll {
    /// The end, whatever comes.
    Follow,
    /// This line of this block is the first on the screen.
    At { block: u64, line: usize },
}

/// The answer being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) turn_id: String,
    pub(crate) step: u32,
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) tool_call: String,
}

/// An event that does not follow the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap;

/// The open session.
#[derive(Debug)]
pub(crate) struct OpenSession {
    pub(crate) id: String,
    events: VecDeque<pb::Event>,
    bytes: usize,
    pub(crate) transcript: Transcript,
    /// The first page has come.
    pub(crate) loaded: bool,
    /// An older page is on its way.
    pub(crate) loading_older: bool,
    pub(crate) preview: Option<Preview>,
    pub(crate) outputs: HashMap<String, Output>,
    /// Commands whose output was asked for.
    pub(crate) fetched: HashSet<String>,
    /// When the open turn began, in seconds of wall time.
    pub(crate) turn_began: Option<i64>,
    pub(crate) usage: Option<pb::Usage>,
    pub(crate) scroll: Scroll,
    /// Items that came while the reader looked elsewhere.
    pub(crate) unseen: usize,
    pub(crate) selected: Option<u64>,
    pub(crate) expanded: HashSet<u64>,
    /// Of what commands wrote, only lines that look like failures are shown.
    pub(crate) errors_only: bool,
    /// The last command that ran, for the side pane.
    pub(crate) last_exec: Option<(String, String)>,
    /// A terminal that is open in the jail, possibly by another client.
    pub(crate) pty: Option<String>,
    /// The agent's plan, as far as the events held tell.
    pub(crate) plan: Vec<pb::PlanItem>,
    /// Messages that wait for the agent.
    pub(crate) queue: Vec<pb::QueuedMessage>,
    /// The waiting message that is in the composer, and what was there before.
    pub(crate) editing: Option<(String, Editor)>,
    /// Who follows the session, this program included.
    pub(crate) clients: Vec<pb::AttachedClient>,
    pub(crate) cache: RefCell<Cache>,
}

impl OpenSession {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            events: VecDeque::new(),
            bytes: 0,
            transcript: Transcript::default(),
            loaded: false,
            loading_older: false,
            preview: None,
            outputs: HashMap::new(),
            fetched: HashSet::new(),
            turn_began: None,
            usage: None,
            scroll: Scroll::Follow,
            unseen: 0,
            selected: None,
            expanded: HashSet::new(),
            errors_only: false,
            last_exec: None,
            pty: None,
            plan: Vec::new(),
            queue: Vec::new(),
            editing: None,
            clients: Vec::new(),
            cache: RefCell::default(),
        }
    }

    /// Seq of the oldest event held; 0 when none is.
    pub(crate) fn first_seq(&self) -> u64 {
        self.events.front().map_or(0, |event| event.seq)
    }

    /// Seq of the newest event held; 0 when none is.
    pub(crate) fn last_seq(&self) -> u64 {
        self.events.back().map_or(0, |event| event.seq)
    }

    /// True when the log reaches further back than what is held.
    pub(crate) fn has_older(&self) -> bool {
        self.first_seq() > 1
    }

    /// Takes in the next event. One that was seen is passed over.
    pub(crate) fn event(&mut self, event: pb::Event) -> Result<bool, Gap> {
        let last = self.last_seq();
        if last > 0 && event.seq <= last {
            return Ok(false);
        }
        if last > 0 && event.seq != last + 1 {
            return Err(Gap);
        }
        self.live(&event);
        let added = self.transcript.apply(&event).is_some();
        if added && self.scroll != Scroll::Follow {
            self.unseen += 1;
        }
        self.bytes += size(&event);
        self.events.push_back(event);
        if self.bytes > HELD_BYTES && self.scroll == Scroll::Follow {
            while self.bytes > HELD_BYTES / 2 {
                let Some(oldest) = self.events.pop_front() else {
                    break;
                };
                self.bytes -= size(&oldest);
            }
            self.fold();
        }
        Ok(added)
    }

    /// Puts an older page in front. Where the reader looks stays the same, since blocks are known by seq.
    pub(crate) fn older(&mut self, page: Vec<pb::Event>) {
        self.loading_older = false;
        let first = self.first_seq();
        for event in page.into_iter().rev() {
            if event.seq < first || first == 0 {
                self.bytes += size(&event);
                self.events.push_front(event);
            }
        }
        // What is far below the reader gives way; following again reads it anew.
        self.fold();
    }

    /// True when so much is held that looking back further has to begin anew at the end.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > 2 * HELD_BYTES
    }

    /// Makes the transcript from the events held.
    fn fold(&mut self) {
        let mut transcript = Transcript::default();
        for event in &self.events {
            transcript.apply(event);
        }
        self.transcript = transcript;
        self.cache.borrow_mut().clear();
    }

    /// What changes beside the transcript.
    fn live(&mut self, event: &pb::Event) {
        match &event.body {
            Some(Body::TurnStarted(_)) => {
                self.turn_began = event.event_time.map(|time| time.seconds);
                self.preview = None;
            }
            Some(Body::StepFinished(step)) => {
                self.preview = None;
                if let Some(usage) = &step.usage {
                    self.usage = Some(usage.clone());
                }
            }
            Some(Body::TurnFinished(_)) => {
                self.turn_began = None;
                self.preview = None;
            }
            Some(Body::PlanUpdated(plan)) => self.plan.clone_from(&plan.items),
            Some(Body::ExecStarted(started)) => {
                if started.pty && started.call_id.is_empty() {
                    self.pty = Some(started.exec_id.clone());
                } else {
                    self.last_exec = Some((started.exec_id.clone(), started.script.clone()));
                }
            }
            Some(Body::ExecFinished(finished)) if self.pty.as_ref() == Some(&finished.exec_id) => {
                self.pty = None;
            }
            _ => {}
        }
    }

    /// Takes in a glimpse of the answer being made.
    pub(crate) fn glimpse(&mut self, new: &pb::Preview) {
        let fresh = self
            .preview
            .as_ref()
            .is_none_or(|old| new.restart || old.turn_id != new.turn_id || old.step != new.step);
        if fresh {
            self.preview = Some(Preview {
                turn_id: new.turn_id.clone(),
                step: new.step,
                ..Preview::default()
            });
        }
        if let Some(preview) = &mut self.preview {
            preview.text.push_str(&new.text);
            preview.reasoning.push_str(&new.reasoning);
            if !new.tool_call.is_empty() {
                preview.tool_call.clone_from(&new.tool_call);
            }
        }
    }

    /// Takes in bytes that a command wrote.
    pub(crate) fn output(&mut self, chunk: &pb::OutputChunk) {
        if self.outputs.len() >= HELD_OUTPUTS && !self.outputs.contains_key(&chunk.exec_id) {
            let running = self.last_exec.as_ref().map(|(id, _)| id.clone());
            self.outputs.retain(|id, _| Some(id) == running.as_ref());
            self.fetched.clear();
        }
        self.outputs
            .entry(chunk.exec_id.clone())
            .or_default()
            .chunk(chunk);
    }

    /// True while a command or tool runs, other than a raw shell, which may be open for days.
    pub(crate) fn runs_something(&self) -> bool {
        let runs = |kind: &Kind| match kind {
            Kind::Exec {
                exec_id,
                result: None,
                script,
            } => self.pty.as_ref() != Some(exec_id) && !script.trim().is_empty(),
            Kind::Tool { end: None, .. } => true,
            _ => false,
        };
        let last = self.transcript.items().iter().rev().take(LOOKED_THROUGH);
        last.map(|item| &item.kind).any(runs)
    }

    /// The open questions of this session, oldest first.
    pub(crate) fn open_approvals(&self) -> impl Iterator<Item = &pb::Approval> {
        self.transcript
            .items()
            .iter()
            .filter_map(|item| match &item.kind {
                Kind::Approval(one) if one.decision() == pb::ApprovalDecision::Unspecified => Some(&**one),
                _ => None,
            })
    }

    /// Files changed: path, kind and the sums of lines, in the order they were first changed.
    pub(crate) fn changes(&self) -> Vec<pb::ChangeRecorded> {
        let mut all: Vec<pb::ChangeRecorded> = Vec::new();
        for item in self.transcript.items() {
            let Kind::Change(change) = &item.kind else {
                continue;
            };
            match all.iter_mut().find(|one| one.path == change.path) {
                Some(one) => {
                    one.added_lines += change.added_lines;
                    one.removed_lines += change.removed_lines;
                    if change.kind() == pb::ChangeKind::Deleted {
                        one.kind = change.kind;
                    }
                }
                None => all.push(change.clone()),
            }
        }
        all
    }
}

/// About what an event takes in memory, twice: as it came and as it is shown.
fn size(event: &pb::Event) -> usize {
    let text = match &event.body {
        Some(Body::MessagePosted(posted)) => posted.parts.iter().map(part_size).sum(),
        Some(Body::MessageEdited(edited)) => edited.parts.iter().map(part_size).sum(),
        Some(Body::StepFinished(step)) => step.parts.iter().map(part_size).sum(),
        Some(Body::ToolCallFinished(finished)) => finished.result.len(),
        Some(Body::ToolCallStarted(started)) => {
            started.summary.len() + started.call.as_ref().map_or(0, |call| call.arguments_json.len())
        }
        Some(Body::ExecStarted(started)) => started.script.len(),
        Some(Body::NoticeRecorded(notice)) => notice.message.len(),
        _ => 0,
    };
    // Measured with short notices: an event with its item and its place in the lists.
    1_300 + 2 * text
}

fn part_size(part: &pb::Part) -> usize {
    match &part.part {
        Some(pb::part::Part::Text(text) | pb::part::Part::Reasoning(text)) => text.len(),
        Some(pb::part::Part::Attachment(attachment)) => attachment.text.len(),
        Some(pb::part::Part::ToolCall(call)) => call.arguments_json.len(),
        // Its name; the picture itself is not kept here.
        Some(pb::part::Part::Image(_)) => 100,
        None => 0,
    }
}
