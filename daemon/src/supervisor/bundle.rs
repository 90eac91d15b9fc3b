//! Owns: a session as one file: written with a report of what was taken out of it, read with suspicion.
//! Guarantees: what is written went through the redactor once more; what is read is parsed line by line against
//! limits, brings no rights along, and is refused whole when any line of it is wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::approval::Verdict;
use crate::domain::event::{Event, EventBody, NewEvent, Origin, SCHEMA};
use crate::domain::id::{ExecId, Seq, SessionId};
use crate::domain::policy::visible;
use crate::domain::principal::{Caller, Client};
use crate::domain::session::clip;

/// Version of the format.
const FORMAT: u32 = 1;
/// Longest line: an event of a message at its limit, escaped, passes.
const MAX_LINE: u64 = 32 * 1024 * 1024;
/// Most events.
const MAX_EVENTS: usize = 1_000_000;
/// Most bytes of one stream of a command that travel along: half from its head, half from its tail.
pub(super) const MAX_STREAM: usize = 1024 * 1024;

/// A line of a bundle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// The first one.
    Bundle(Head),
    /// A fact.
    Event(Box<Fact>),
    /// What a command wrote.
    Output(Written),
    /// The last one.
    End(Report),
}

/// What a bundle is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) session_id: SessionId,
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) head: Seq,
    pub(super) exported_us: i64,
    pub(super) agentd: String,
}

impl Head {
    /// The first line of a session's bundle.
    pub(super) fn of(session: &crate::domain::session::Summary, now_us: i64) -> Self {
        Self {
            format: FORMAT,
            session_id: session.session_id.clone(),
            name: session.name.clone(),
            origin: session.spec.origin,
            head: session.head,
            exported_us: now_us,
            agentd: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// An event as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fact {
    pub(super) seq: Seq,
    pub(super) time_us: i64,
    pub(super) schema: u32,
    pub(super) principal: String,
    pub(super) client: String,
    pub(super) trace_id: String,
    pub(super) body: EventBody,
}

/// What a command wrote, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) exec_id: ExecId,
    pub(super) stderr: bool,
    pub(super) base64: String,
}

/// What was taken out, and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Events in it.
    pub events: u64,
    /// Streams of commands in it.
    pub outputs: u64,
    /// Streams that were cut to their head and tail.
    pub cut_outputs: u64,
    /// What stands for secrets in it, by kind: taken out now or when it was written.
    pub redacted: BTreeMap<String, u64>,
    /// The events they are in; at most 1000.
    pub redacted_seqs: Vec<Seq>,
    /// Names of people in it.
    pub principals: Vec<String>,
    /// SHA-256 of all lines before this one, hex.
    pub sha256: String,
}

/// Counts what it sees, and knows the lines so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) report: Report,
    hash: Sha256,
}

impl Tally {
    /// A line's text with its end; counted.
    pub(super) fn line(&mut self, line: &Line) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        Ok(text)
    }

    /// Counts the marks of secrets in a text of event `seq`.
    pub(super) fn marks(&mut self, seq: Seq, text: &str) {
        let mut any = false;
        for after in text.split("[redacted:").skip(1) {
            let kind: String = after.chars().take_while(|c| *c != ']').take(40).collect();
            *self.report.redacted.entry(kind).or_default() += 1;
            any = true;
        }
        if any && self.report.redacted_seqs.len() < 1000 {
            self.report.redacted_seqs.push(seq);
        }
    }

    /// Remembers who is in it.
    pub(super) fn person(&mut self, principal: &str) {
        if !self.report.principals.iter().any(|known| known == principal) {
            self.report.principals.push(principal.to_owned());
        }
    }

    /// The last line.
    pub(super) fn end(mut self) -> (Report, Result<Vec<u8>, serde_json::Error>) {
        self.report.sha256 = hex(&self.hash.finalize());
        let mut text = serde_json::to_vec(&Line::End(self.report.clone()));
        if let Ok(text) = &mut text {
            text.push(b'\n');
        }
        (self.report, text)
    }
}

/// A fact on its way out.
pub(super) fn fact(event: &Event, body: EventBody) -> Line {
    Line::Event(Box::new(Fact {
        seq: event.seq,
        time_us: event.time_us,
        schema: event.schema,
        principal: event.caller.principal.clone(),
        client: event.caller.client.word().to_owned(),
        trace_id: event.caller.trace_id.clone(),
        body,
    }))
}

/// A stream on its way out.
pub(super) fn written(exec_id: ExecId, stderr: bool, data: &[u8]) -> Line {
    Line::Output(Written {
        exec_id,
        stderr,
        base64: BASE64.encode(data),
    })
}

/// A bundle that was read and found to be one.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) head: Head,
    pub(super) events: Vec<NewEvent>,
    pub(super) outputs: Vec<(ExecId, bool, Vec<u8>)>,
    pub(super) report: Report,
}

/// Reads a bundle. The error is a sentence that names the line.
pub(super) fn read(mut input: impl BufRead) -> Result<Bundle, String> {
    let mut hash = Sha256::new();
    let mut head = None;
    let (mut events, mut outputs) = (Vec::new(), Vec::new());
    for number in 1.. {
        let mut text = Vec::new();
        let read = (&mut input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut text)
            .map_err(|e| format!("the bundle can't be read: {e}"))?;
        if read == 0 {
            return Err(format!("the bundle is cut off after {} lines", number - 1));
        }
        if text.last() != Some(&b'\n') {
            return Err(format!(
                "line {number} of the bundle is cut off or longer than 32 MiB"
            ));
        }
        let line: Line = serde_json::from_slice(&text)
            .map_err(|e| format!("line {number} of the bundle is not one of ours: {e}"))?;
        match line {
            Line::Bundle(first) if number == 1 => {
                if first.format != FORMAT {
                    return Err(format!(
                        "the bundle has format {}, this agentd reads {FORMAT}",
                        first.format
                    ));
                }
                head = Some(first);
            }
            _ if number == 1 => return Err("the first line does not say what the bundle is".to_owned()),
            Line::Bundle(_) => return Err(format!("line {number}: a second beginning")),
            Line::Event(fact) => {
                let expected = events.len() as Seq + 1;
                if fact.seq != expected || events.len() >= MAX_EVENTS {
                    return Err(format!(
                        "line {number}: event {} where {expected} is expected",
                        fact.seq
                    ));
                }
                events.push(trusted(*fact, number)?);
            }
            Line::Output(output) => {
                let data = BASE64
                    .decode(&output.base64)
                    .map_err(|_| format!("line {number}: what the command wrote is not base64"))?;
                if data.len() > MAX_STREAM + 4096 {
                    return Err(format!("line {number}: more output than a bundle holds"));
                }
                outputs.push((output.exec_id, output.stderr, data));
            }
            Line::End(report) => {
                if report.sha256 != hex(&hash.finalize()) {
                    return Err(
                        "the bundle was changed after it was written: its checksum is wrong".to_owned(),
                    );
                }
                if !matches!(
                    events.first().map(|e: &NewEvent| &e.body),
                    Some(EventBody::SessionCreated(_))
                ) {
                    return Err("the bundle's log does not begin with a session".to_owned());
                }
                let head = head.ok_or("the bundle has no beginning")?;
                return Ok(Bundle {
                    head,
                    events,
                    outputs,
                    report,
                });
            }
        }
        hash.update(&text);
    }
    Err("the bundle has no end".to_owned())
}

/// An event without the rights it may claim.
fn trusted(fact: Fact, number: u64) -> Result<NewEvent, String> {
    if fact.schema != SCHEMA {
        return Err(format!(
            "line {number}: schema {} is not known to this agentd",
            fact.schema
        ));
    }
    let mut body = fact.body;
    match &mut body {
        EventBody::SessionCreated(_) if fact.seq > 1 => {
            return Err(format!("line {number}: a second session"));
        }
        EventBody::ApprovalRequested { approval } => {
            approval.rules = Vec::new();
            approval.session_grant = None;
        }
        // What somebody elsewhere allowed is not allowed here.
        EventBody::ApprovalResolved {
            verdict,
            rule,
            rules,
            rules_until_us,
            ..
        } => {
            if verdict.approves() {
                *verdict = Verdict::ApprovedOnce;
            }
            *rule = None;
            *rules = Vec::new();
            *rules_until_us = None;
        }
        _ => {}
    }
    let trace = fact.trace_id.chars().all(|c| c.is_ascii_hexdigit()) && fact.trace_id.len() == 32;
    Ok(NewEvent {
        time_us: fact.time_us,
        caller: Caller {
            principal: format!("{}@import", clip(&visible(&fact.principal), 64)),
            client: Client::from_word(&fact.client),
            trace_id: if trace { fact.trace_id } else { "0".repeat(32) },
            request_id: None,
        },
        body,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
