//! Owns: what a command text is as shell: one plain command, or what else, and every command in it.
//! Guarantees: pure; bounded in time and depth, whatever the text; a command is plain only when it is one program with
//! words known beforehand: no list, pipe, substitution, expansion, wildcard, assignment, writing redirection, here-document,
//! function, or program that runs another (eval, sh -c, xargs, find -exec).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use brush_parser::ast::{
    self, Command, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList,
    IoFileRedirectKind as Kind, IoFileRedirectTarget as Target, IoRedirect, Pipeline,
};
use brush_parser::word::{self, WordPiece, WordPieceWithSource};
use brush_parser::{ParserOptions, parse_tokens, uncached_tokenize_str};

use super::depth::nesting;
use super::is_hidden;
use super::wrap;

/// Longest text that is read as shell, bytes. Longer ones match no allow rule.
pub const MAX_COMMAND_BYTES: usize = 1024 * 1024;
/// Most tokens: the parser's time grows faster than they do.
const MAX_TOKENS: usize = 4000;
/// Deepest nesting: the parser tries again at each level, twice as often for each deeper one.
const MAX_DEPTH: usize = 12;
/// What opens no more than this is read on the spot: at home on a worker's stack, and quickly over.
const OWN_STACK_OPENS: usize = 4;
/// Stack of the thread that reads the others.
const STACK: usize = 64 * 1024 * 1024;
/// How long that may take. A text can be made to look less deep than it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads that took longer, and are still at it.
static LATE: AtomicUsize = AtomicUsize::new(0);
/// The most of these there may be; from then on what is not read on the spot is not read.
const MAX_LATE: usize = 2;
/// Most texts within texts: `sh -c 'sh -c …'`.
const MAX_INNER: usize = 6;

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// What the program will see.
    Known(String),
    /// What it will see is decided only when it runs; the text.
    Open(String),
}

impl Word {
    /// What the program will see, where that is known.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Open(_) => None,
        }
    }

    /// What it will see, else what stands there.
    pub fn text(&self) -> &str {
        match self {
            Self::Known(text) | Self::Open(text) => text,
        }
    }
}

/// One program and its words, wherever it stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// The program, then its arguments.
    pub words: Vec<Word>,
    /// More words may come when it runs (`xargs`).
    pub open: bool,
}

/// A command text, read as shell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// Every command in it, also inside substitutions and behind `sudo`, `sh -c`, `xargs` and the like.
    pub commands: Vec<Simple>,
    /// Files it writes by redirection, as far as known.
    pub overwritten: Vec<String>,
    /// The words, when it is one plain command.
    plain: Option<Vec<String>>,
    /// Why not: which character (byte of the text), and a sentence.
    why: Option<(usize, String)>,
    /// Why it can't be read at all.
    unread: Option<String>,
}

impl Reading {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        Self::within(text, 0)
    }

    pub(super) fn within(text: &str, inner: usize) -> Self {
        let mut reading = Self::default();
        if text.len() > MAX_COMMAND_BYTES {
            return Self::not_read(0, "it is too long to be read".into());
        }
        if text.trim().is_empty() {
            reading.compound(0, "it is empty");
            return reading;
        }
        let nesting = nesting(text);
        if nesting.depth > MAX_DEPTH || inner > MAX_INNER {
            return Self::not_read(0, "it is nested too deep to be read".into());
        }
        if nesting.opens <= OWN_STACK_OPENS {
            return parse(text, inner);
        }
        aside(text, inner)
            .unwrap_or_else(|| Self::not_read(text.len(), "it could not be read in time".into()))
    }

    /// The words, when the text is one plain command.
    pub fn plain(&self) -> Option<&[String]> {
        self.plain.as_deref()
    }

    /// Where (byte) and why the text is not one plain command.
    pub fn why_not_plain(&self) -> (usize, String) {
        self.why.clone().unwrap_or_default()
    }

    /// True when the text could be read.
    pub fn is_read(&self) -> bool {
        self.unread.is_none()
    }

    /// Why it could not be read.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    fn not_read(at: usize, why: String) -> Self {
        Self {
            why: Some((at, why.clone())),
            unread: Some(why),
            ..Self::default()
        }
    }

    fn compound(&mut self, at: usize, why: &str) {
        if self.why.is_none() {
            self.why = Some((at, why.to_owned()));
        }
    }
}

/// Reads a text on a thread of its own; nothing when that takes too long.
fn aside(text: &str, inner: usize) -> Option<Reading> {
    if LATE.load(Ordering::Relaxed) >= MAX_LATE {
        return None;
    }
    let text = text.to_owned();
    let (done, read) = sync_channel(1);
    let spawned = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let reading = parse(&text, inner);
        // Nobody waits any more: one late thread less.
        if done.send(reading).is_err() {
            LATE.fetch_sub(1, Ordering::Relaxed);
        }
    });
    spawned.ok()?;
    match read.recv_timeout(PATIENCE) {
        Ok(reading) => Some(reading),
        Err(RecvTimeoutError::Timeout) => {
            LATE.fetch_add(1, Ordering::Relaxed);
            None
        }
        // It fell over.
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn options() -> ParserOptions {
    ParserOptions {
        enable_extended_globbing: false,
        ..ParserOptions::default()
    }
}

fn parse(text: &str, inner: usize) -> Reading {
    let options = options();
    let byte = |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let place = |line: usize, column: usize| format!("line {line}, column {column}");
    let tokens = match uncached_tokenize_str(text, &options.tokenizer_options()) {
        Ok(tokens) => tokens,
        Err(error) => return Reading::not_read(text.len(), format!("{error}")),
    };
    if tokens.len() > MAX_TOKENS {
        return Reading::not_read(0, "it is too long to be read".into());
    }
    let program = match parse_tokens(&tokens, &options) {
        Ok(program) => program,
        Err(brush_parser::ParseError::ParsingNear(at)) => {
            let why = format!("syntax error at {}", place(at.line, at.column));
            return Reading::not_read(byte(at.index), why);
        }
        Err(_) => return Reading::not_read(text.len(), "it ends too early".into()),
    };
    let mut walk = Walk {
        reading: Reading::default(),
        inner,
        options,
    };
    let mut lists = program.complete_commands.iter();
    let first = lists.next();
    if lists.next().is_some() {
        walk.reading.compound(0, "it is more than one command");
    }
    let alone = first.and_then(only);
    match alone {
        Some(simple) => walk.alone(simple),
        None => {
            walk.reading.compound(0, "it is more than one command");
            for list in &program.complete_commands {
                walk.list(list);
            }
        }
    }
    if let Some((at, _)) = text.char_indices().find(|(_, c)| is_hidden(*c)) {
        walk.reading
            .compound(at, "a hidden character or line break stands in it");
    }
    let mut reading = walk.reading;
    if let (None, [simple]) = (&reading.why, reading.commands.as_slice()) {
        reading.plain = simple
            .words
            .iter()
            .map(|word| word.known().map(str::to_owned))
            .collect();
    }
    if reading.plain.is_none() {
        reading.compound(0, "it is not one plain command");
    }
    reading
}

/// The command of a list that has only one, and no frills.
fn only(list: &CompoundList) -> Option<&ast::SimpleCommand> {
    let [item] = list.0.as_slice() else { return None };
    let pipeline = &item.0.first;
    let alone = item.0.additional.is_empty()
        && matches!(item.1, ast::SeparatorOperator::Sequence)
        && !pipeline.bang
        && pipeline.timed.is_none();
    match pipeline.seq.as_slice() {
        [Command::Simple(simple)] if alone => Some(simple),
        _ => None,
    }
}

struct Walk {
    reading: Reading,
    inner: usize,
    options: ParserOptions,
}

impl Walk {
    /// The only command of a text.
    fn alone(&mut self, simple: &ast::SimpleCommand) {
        self.simple(simple);
        let Some(first) = self.reading.commands.first() else {
            return;
        };
        if let Some(why) = wrap::runs_another(&first.words) {
            self.reading.compound(0, &why);
        }
    }

    fn list(&mut self, list: &CompoundList) {
        for item in &list.0 {
            self.pipeline(&item.0.first);
            for more in &item.0.additional {
                match more {
                    ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline) => self.pipeline(pipeline),
                }
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        for command in &pipeline.seq {
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) => {
                self.compound(compound);
                self.redirects(redirects.as_ref());
            }
            Command::Function(function) => {
                self.compound(&function.body.0);
                self.redirects(function.body.1.as_ref());
            }
            Command::ExtendedTest(test, redirects) => {
                // Substitutions in a test run commands too: its text is looked at as a word.
                let text = test.to_string();
                self.inside(&text);
                self.redirects(redirects.as_ref());
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) {
        match compound {
            CompoundCommand::Arithmetic(arithmetic) => self.inside(&arithmetic.expr.value),
            CompoundCommand::ArithmeticForClause(clause) => {
                for part in [&clause.initializer, &clause.condition, &clause.updater]
                    .into_iter()
                    .flatten()
                {
                    self.inside(&part.value);
                }
                self.list(&clause.body.list);
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(shell) => self.list(&shell.list),
            CompoundCommand::ForClause(clause) => {
                for value in clause.values.iter().flatten() {
                    self.word(value);
                }
                self.list(&clause.body.list);
            }
            CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value);
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.word(pattern);
                    }
                    if let Some(list) = &case.cmd {
                        self.list(list);
                    }
                }
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition);
                self.list(&clause.then);
                for branch in clause.elses.iter().flatten() {
                    if let Some(condition) = &branch.condition {
                        self.list(condition);
                    }
                    self.list(&branch.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0);
                self.list(&clause.1.list);
            }
            CompoundCommand::Coprocess(process) => self.command(&process.body),
        }
    }

    fn simple(&mut self, simple: &ast::SimpleCommand) {
        let mut words = Vec::with_capacity(4);
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            self.item(item, &mut words, true);
        }
        if let Some(name) = &simple.word_or_name {
            let word = self.word(name);
            words.push(word);
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut words, false);
        }
        if words.is_empty() {
            self.reading.compound(0, "it runs no program");
            return;
        }
        let found = wrap::inner(&words, self.inner);
        self.reading.commands.push(Simple { words, open: false });
        for one in found {
            self.take(one);
        }
    }

    /// Takes in what a text within the text has.
    fn take(&mut self, other: wrap::Inner) {
        match other {
            wrap::Inner::Command(simple) => self.reading.commands.push(simple),
            wrap::Inner::Text(text) => {
                let inner = Reading::within(&text, self.inner + 1);
                self.reading.commands.extend(inner.commands);
                self.reading.overwritten.extend(inner.overwritten);
                if let Some(why) = inner.unread {
                    self.reading.unread.get_or_insert(why);
                }
            }
        }
    }

    fn item(&mut self, item: &Item, words: &mut Vec<Word>, before: bool) {
        match item {
            Item::IoRedirect(redirect) => self.redirect(redirect),
            Item::Word(one) => {
                let word = self.word(one);
                words.push(word);
            }
            Item::AssignmentWord(_, one) => {
                let word = self.word(one);
                if before {
                    self.reading.compound(0, "it sets variables for the command");
                } else {
                    words.push(word);
                }
            }
            Item::ProcessSubstitution(_, shell) => {
                self.reading.compound(0, "a substitution runs another command");
                self.list(&shell.list);
                words.push(Word::Open("<(…)".into()));
            }
        }
    }

    fn redirects(&mut self, list: Option<&ast::RedirectList>) {
        for redirect in list.iter().flat_map(|list| &list.0) {
            self.redirect(redirect);
        }
    }

    fn redirect(&mut self, redirect: &IoRedirect) {
        match redirect {
            IoRedirect::File(_, kind, target) => match target {
                Target::Fd(_) => {}
                Target::Filename(name) | Target::Duplicate(name) => {
                    let word = self.word(name);
                    let digits = matches!(target, Target::Duplicate(_))
                        && word
                            .known()
                            .is_some_and(|to| to.chars().all(|c| c.is_ascii_digit() || c == '-'));
                    let reads = matches!(kind, Kind::Read | Kind::DuplicateInput);
                    if !digits {
                        self.goes_to(word, reads);
                    }
                }
                Target::ProcessSubstitution(_, shell) => {
                    self.reading.compound(0, "a substitution runs another command");
                    self.list(&shell.list);
                }
            },
            IoRedirect::OutputAndError(name, _) => {
                let word = self.word(name);
                self.goes_to(word, false);
            }
            IoRedirect::HereDocument(_, document) => {
                self.reading.compound(0, "it has a here-document");
                if document.requires_expansion {
                    self.inside(&document.doc.value);
                }
            }
            IoRedirect::HereString(_, text) => {
                self.reading.compound(0, "it has a here-string");
                self.word(text);
            }
        }
    }

    fn goes_to(&mut self, word: Word, reads: bool) {
        if word.known() == Some("/dev/null") {
            return;
        }
        if reads {
            return self.reading.compound(0, "it reads its input from a file");
        }
        self.reading.compound(0, "it writes a file by redirection");
        self.reading.overwritten.push(word.text().to_owned());
    }

    /// A text in which only expansions count: a here-document, an arithmetic expression.
    fn inside(&mut self, text: &str) {
        if !text.contains(['$', '`']) {
            return;
        }
        match word::parse_heredoc(text, &self.options) {
            Ok(pieces) => {
                self.pieces(&pieces, &mut String::new(), true);
            }
            Err(_) => {
                self.reading
                    .unread
                    .get_or_insert_with(|| "a word in it can't be read".into());
            }
        }
    }

    fn word(&mut self, word: &ast::Word) -> Word {
        let text = &word.value;
        let usual = |c: char| c.is_alphanumeric() || "_-./:=,+@%^".contains(c);
        if text.chars().all(usual) {
            return Word::Known(text.clone());
        }
        let at = word.loc.as_ref().map_or(0, |span| span.start.index);
        let Ok(pieces) = word::parse(text, &self.options) else {
            self.reading
                .unread
                .get_or_insert_with(|| "a word in it can't be read".into());
            self.reading.compound(at, "a word in it can't be read");
            return Word::Open(text.clone());
        };
        let mut known = String::with_capacity(text.len());
        match self.pieces(&pieces, &mut known, false) {
            None => Word::Known(known),
            Some(why) => {
                self.reading.compound(at, why);
                Word::Open(text.clone())
            }
        }
    }

    /// Adds what the pieces come to; gives why that is not known beforehand.
    fn pieces(
        &mut self,
        pieces: &[WordPieceWithSource],
        known: &mut String,
        quoted: bool,
    ) -> Option<&'static str> {
        let mut open = None;
        for one in pieces {
            let why = match &one.piece {
                WordPiece::Text(text) => {
                    known.push_str(text);
                    (!quoted && text.contains(['*', '?', '[', '{', '!']))
                        .then_some("a wildcard or brace in it is filled in when it runs")
                }
                WordPiece::SingleQuotedText(text) => {
                    known.push_str(text);
                    None
                }
                WordPiece::EscapeSequence(text) => {
                    let c = text.strip_prefix('\\').unwrap_or(text);
                    known.push_str(c);
                    let special = matches!(c, "\"" | "\\" | "$" | "`");
                    ((quoted && !special) || c == "\n")
                        .then_some("an escape in it is read differently by different shells")
                }
                WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    self.pieces(inner, known, true)
                }
                WordPiece::AnsiCQuotedText(_) => Some("$'…' in it is read differently by different shells"),
                WordPiece::TildeExpansion(_) => Some("`~` in it is filled in when it runs"),
                WordPiece::ParameterExpansion(_) => {
                    // A default value can run a command: `${x:-$(…)}`.
                    Some("a variable in it is filled in when it runs")
                }
                WordPiece::ArithmeticExpression(expression) => {
                    let text = expression.value.clone();
                    self.inside(&text);
                    Some("arithmetic in it is filled in when it runs")
                }
                WordPiece::CommandSubstitution(text) => {
                    self.take(wrap::Inner::Text(text.clone()));
                    Some("a substitution runs another command")
                }
                WordPiece::BackquotedCommandSubstitution(text) => {
                    self.take(wrap::Inner::Text(text.replace("\\`", "`")));
                    Some("a substitution runs another command")
                }
            };
            open = open.or(why);
        }
        open
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
