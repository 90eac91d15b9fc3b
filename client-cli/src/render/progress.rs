//! Owns: the screen of `run`: the answer on standard output, what goes on around it on standard error.
//! Guarantees: without a terminal no carriage return and no escape byte; the two streams never overwrite
//! each other on one terminal; program output is made harmless and shown in a gutter.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agentd_proto::{escape, format};

use super::line::Line;
use super::{Look, Out, table};
use crate::exit::Failure;

/// How long nothing is said.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// How often a pipe is told that work goes on.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// The screen.
#[derive(Debug)]
pub(crate) struct Screen {
    out: Out,
    session: String,
    started: Instant,
    /// What the agent is at.
    doing: String,
    tokens: u64,
    cost: Option<u64>,
    status_drawn: bool,
    /// Standard output stands in the middle of a line, on the terminal that standard error shares.
    mid_line: bool,
    /// A line of output that has no end yet, per stream.
    partial: HashMap<(String, i32), Vec<u8>>,
    last_plain: Instant,
    last_state: String,
}

impl Screen {
    /// A screen for a turn of this session.
    pub(crate) fn new(out: &Out, session: &str) -> Self {
        let now = Instant::now();
        Self {
            out: out.clone(),
            session: session.to_owned(),
            started: now,
            doing: "model".to_owned(),
            tokens: 0,
            cost: Some(0),
            status_drawn: false,
            mid_line: false,
            partial: HashMap::new(),
            last_plain: now,
            last_state: String::new(),
        }
    }

    /// A piece of the answer, as it streams.
    pub(crate) fn answer(&mut self, text: &str) -> Result<(), Failure> {
        self.clear_status();
        let shown = if self.out.out_tty {
            escape::prose(text)
        } else {
            escape::controls(text)
        };
        self.out.bytes(shown.as_bytes())?;
        if self.out.out_tty && !text.is_empty() {
            self.mid_line = !text.ends_with('\n');
        }
        Ok(())
    }

    /// Ends the line of the answer.
    pub(crate) fn end_answer(&mut self) -> Result<(), Failure> {
        if self.mid_line {
            self.out.bytes(b"\n")?;
            self.mid_line = false;
        }
        Ok(())
    }

    /// Lines about what goes on.
    pub(crate) fn lines(&mut self, lines: &[Line]) {
        if self.out.quiet {
            return;
        }
        self.say(lines);
    }

    /// Lines that must be seen, quiet or not.
    pub(crate) fn say(&mut self, lines: &[Line]) {
        self.clear_status();
        self.leave_line();
        for (look, line) in lines {
            let line = look.map_or_else(|| line.clone(), |look| self.out.paint_err(look, line));
            self.out.important(&line);
        }
    }

    /// A question without a line end, whose answer is typed behind it.
    pub(crate) fn prompt(&mut self, text: &str) {
        self.clear_status();
        self.leave_line();
        let text = self.out.paint_err(Look::Yellow, text);
        self.out.err_bytes(text.as_bytes());
    }

    /// Output of a command, in a dim gutter; only on a terminal.
    pub(crate) fn output(&mut self, exec: &str, stream: i32, data: &[u8]) {
        if !self.out.err_tty || self.out.quiet {
            return;
        }
        let buffer = self.partial.entry((exec.to_owned(), stream)).or_default();
        buffer.extend_from_slice(data);
        let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let whole: Vec<u8> = buffer.drain(..=end).collect();
        let text = String::from_utf8_lossy(&whole).into_owned();
        self.gutter(&text);
    }

    /// The command has ended: also what has no line end is shown.
    pub(crate) fn output_end(&mut self, exec: &str) {
        let keys: Vec<_> = self
            .partial
            .keys()
            .filter(|(id, _)| id == exec)
            .cloned()
            .collect();
        for key in keys {
            let rest = self.partial.remove(&key).unwrap_or_default();
            if !rest.is_empty() {
                self.gutter(&String::from_utf8_lossy(&rest));
            }
        }
    }

    fn gutter(&mut self, text: &str) {
        self.clear_status();
        self.leave_line();
        for line in text.lines() {
            // A progress bar rewrites its line: the last state is the one to see.
            let last = line
                .trim_end_matches('\r')
                .rsplit('\r')
                .next()
                .unwrap_or_default();
            let line = format!("│ {}", escape::output(last));
            let line = table::cut(&line, self.out.width.max(20));
            self.out.important(&self.out.paint_err(Look::Dim, &line));
        }
    }

    /// What the agent is at now.
    pub(crate) fn doing(&mut self, what: &str) {
        what.clone_into(&mut self.doing);
    }

    /// Adds what a step cost.
    pub(crate) fn spent(&mut self, tokens: u64, cost: Option<u64>) {
        self.tokens += tokens;
        self.cost = self.cost.zip(cost).map(|(sum, cost)| sum + cost);
    }

    /// Called once a second, and at each change of state.
    pub(crate) fn tick(&mut self, state: &str) {
        if self.out.quiet {
            return;
        }
        if self.out.err_tty {
            if self.mid_line || self.started.elapsed() < SILENT_FOR {
                return;
            }
            let line = format!("{}  (Ctrl-C stops)", self.status(state));
            let line = table::cut(&line, self.out.width.saturating_sub(1));
            self.out
                .err_bytes(format!("\r\u{1b}[K{}", self.out.paint_err(Look::Dim, &line)).as_bytes());
            self.status_drawn = true;
            return;
        }
        let changed = state != self.last_state;
        if self.started.elapsed() >= SILENT_FOR && (changed || self.last_plain.elapsed() >= PLAIN_EVERY) {
            state.clone_into(&mut self.last_state);
            self.last_plain = Instant::now();
            self.out.note(&self.status(state));
        }
    }

    fn status(&self, state: &str) -> String {
        let glyph = if state == "queued" { "○" } else { "●" };
        format!(
            "{glyph} {} {state} · {} · {} · {} tok · {}",
            self.session,
            escape::line(&self.doing),
            format::duration(Duration::from_secs(self.started.elapsed().as_secs().max(1))),
            format::tokens(self.tokens),
            format::money(self.cost),
        )
    }

    /// Takes the status line away, before anything else is written.
    pub(crate) fn clear_status(&mut self) {
        if self.status_drawn {
            self.out.err_bytes(b"\r\x1b[K");
            self.status_drawn = false;
        }
    }

    /// Moves to a line of its own when the answer shares the terminal.
    fn leave_line(&mut self) {
        if self.mid_line && self.out.err_tty {
            self.out.err_bytes(b"\n");
            self.mid_line = false;
        }
    }
}
