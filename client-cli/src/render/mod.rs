//! Owns: everything that is written to standard output and standard error.
//! Guarantees: standard output carries data only; no escape byte goes to a stream that is no terminal
//! unless asked for; a reader that went away ends the program silently.

pub(crate) mod event;
pub(crate) mod help;
pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod policy;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod usage;

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use crate::args::{Format, Global, When};
use crate::exit::Failure;

/// The two streams and how to write to them.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    /// Standard output is a terminal.
    pub(crate) out_tty: bool,
    /// Standard error is a terminal.
    pub(crate) err_tty: bool,
    /// Form of lists and documents.
    pub(crate) format: Format,
    /// Columns of a terminal, 80 when unknown.
    pub(crate) width: usize,
    pub(crate) fields: Vec<String>,
    pub(crate) header: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    color_out: bool,
    color_err: bool,
}

/// The few looks there are, from the terminal's own 16 colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Out {
    /// As the flags, the environment and the streams say.
    pub(crate) fn new(global: &Global) -> Self {
        let out_tty = std::io::stdout().is_terminal();
        let err_tty = std::io::stderr().is_terminal();
        let auto = if out_tty { Format::Table } else { Format::Plain };
        Self {
            out_tty,
            err_tty,
            format: if global.json {
                Format::Json
            } else {
                global.output.unwrap_or(auto)
            },
            width: width(),
            fields: global.fields.clone(),
            header: !global.no_header,
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: colored(global.color, out_tty),
            color_err: colored(global.color, err_tty),
        }
    }

    /// True for the two JSON forms.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Bytes to standard output, unchanged and at once.
    pub(crate) fn bytes(&self, data: &[u8]) -> Result<(), Failure> {
        let mut stream = std::io::stdout().lock();
        stream.write_all(data)?;
        stream.flush()?;
        Ok(())
    }

    /// Bytes to standard error, unchanged. Nobody is left to tell when that fails.
    pub(crate) fn err_bytes(&self, data: &[u8]) {
        let mut stream = std::io::stderr().lock();
        let _ = stream.write_all(data).and_then(|()| stream.flush());
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// A line about what goes on, unless quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.err_bytes(format!("{text}\n").as_bytes());
        }
    }

    /// Makes room for the next picture of what is watched.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        self.bytes(b"\x1b[H\x1b[2J")
    }

    /// A line that must be seen, quiet or not.
    pub(crate) fn important(&self, text: &str) {
        self.err_bytes(format!("{text}\n").as_bytes());
    }

    /// Something to know that does not stop the verb.
    pub(crate) fn warning(&self, text: &str) {
        let word = self.paint_err(Look::Yellow, "warning:");
        self.err_bytes(format!("{word} {text}\n").as_bytes());
    }

    /// A document: pretty for `json`, one line for `jsonl`.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        let value = self.pick(value);
        if self.format == Format::Jsonl || !self.out_tty {
            return self.line(&value.to_string());
        }
        self.line(&serde_json::to_string_pretty(&value).unwrap_or_default())
    }

    /// A list: one array for `json`, one object per line for `jsonl`.
    pub(crate) fn json_list(&self, values: Vec<Value>) -> Result<(), Failure> {
        let values: Vec<Value> = values.iter().map(|value| self.pick(value)).collect();
        if self.format == Format::Jsonl {
            return values.iter().try_for_each(|value| self.line(&value.to_string()));
        }
        let list = Value::Array(values);
        let text = if self.out_tty {
            serde_json::to_string_pretty(&list).unwrap_or_default()
        } else {
            list.to_string()
        };
        self.line(&text)
    }

    /// Only the fields that were asked for.
    fn pick(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) if !self.fields.is_empty() => Value::Object(
                map.iter()
                    .filter(|(key, _)| self.fields.iter().any(|field| field.eq_ignore_ascii_case(key)))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    /// Text with a look, for standard output.
    pub(crate) fn paint(&self, look: Look, text: &str) -> String {
        paint(self.color_out, look, text)
    }

    /// Text with a look, for standard error.
    pub(crate) fn paint_err(&self, look: Look, text: &str) -> String {
        paint(self.color_err, look, text)
    }
}

fn paint(colored: bool, look: Look, text: &str) -> String {
    if !colored || text.is_empty() {
        return text.to_owned();
    }
    let code = match look {
        Look::Bold => 1,
        Look::Dim => 2,
        Look::Red => 31,
        Look::Green => 32,
        Look::Yellow => 33,
        Look::Cyan => 36,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

fn colored(when: When, tty: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if set("NO_COLOR") => false,
        When::Auto if std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
        When::Auto => tty && std::env::var_os("TERM").is_some_and(|term| term != "dumb"),
    }
}

fn width() -> usize {
    let from_variable = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    let from_terminal = || {
        rustix::termios::tcgetwinsize(std::io::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()))
            .ok()
            .map(|size| usize::from(size.ws_col))
    };
    from_variable
        .or_else(from_terminal)
        .filter(|width| *width > 0)
        .unwrap_or(80)
}
