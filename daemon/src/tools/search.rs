//! Owns: the tool `search`: text in files by regular expression, or files by name.
//! Guarantees: bounded in results, time and bytes, and says which bound ended it; every file is opened through the guard,
//! no link is followed; files git ignores and binary files are left out.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, sinks::Lossy};
use ignore::overrides::{Override, OverrideBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{blocking, decode, explain, number, resolve};
use super::output::{clean, cut_line};
use super::{CallPlan, PlanContext, Tool, ToolContext, ToolError, ToolOutput};
use crate::domain::policy::visible;
use crate::domain::tool::{Effect, ToolSpec};
use crate::workspace::{GuardError, Kind};

const USAGE: &str = "{pattern, path?, glob?, limit?, files?, log?}";
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
/// Entries of the log; each is a line.
const LOG_LIMIT: u64 = 20;
/// A person waits for an agent that waits for this.
const MAX_TIME: Duration = Duration::from_secs(15);
/// Of each file; sparse and huge ones end here.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// A line longer than this ends the search of its file instead of filling memory.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
const MAX_TEXT: usize = 48 * 1024;
const LINE_CHARS: usize = 300;

/// `search`: finds text and files.
pub(super) struct Search;

#[derive(Debug, Deserialize)]
struct Args {
    #[serde(default)]
    pattern: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    glob: Option<String>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<u64>,
    #[serde(default)]
    files: bool,
    #[serde(default)]
    log: bool,
}

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search".into(),
            description: "Search file contents by regular expression (ripgrep syntax; `(?i)` ignores case); results are `path:line: \
                          text`. With files: true, list files whose path matches `glob` instead. Respects .gitignore. With log: true, \
                          find plain words in this session's earlier messages and results."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string"},
                    "path": {"type": "string", "description": "file or directory to search in"},
                    "glob": {"type": "string", "description": "e.g. *.rs or src/**/*.ts"},
                    "limit": {"type": "integer", "description": "results, default 100"},
                    "files": {"type": "boolean"},
                    "log": {"type": "boolean"}
                }
            }),
        }
    }

    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError> {
        let args = parsed(args)?;
        if args.log {
            return Ok(CallPlan {
                effects: vec![Effect::Reads],
                summary: format!(
                    "search the session's log for {}",
                    cut_line(&visible(&args.pattern), 120)
                ),
                ..CallPlan::default()
            });
        }
        let place = match &args.path {
            Some(path) => format!(" in {}", visible(&ctx.paths().show(&resolve(ctx, path)?))),
            None => String::new(),
        };
        let what = if args.files { "list files" } else { "search" };
        let wanted = if args.files {
            args.glob.unwrap_or_default()
        } else {
            args.pattern
        };
        let summary = format!("{what} {}{place}", cut_line(&visible(&wanted), 120));
        Ok(CallPlan {
            effects: vec![Effect::Reads],
            summary,
            ..CallPlan::default()
        })
    }

    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError> {
        let args = parsed(args)?;
        if args.log {
            let limit = args.limit.unwrap_or(LOG_LIMIT).min(MAX_LIMIT);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let text = ctx
                .log
                .find(&args.pattern, limit)
                .await
                .map_err(ToolError::Refused)?;
            return Ok(ToolOutput {
                text,
                ok: true,
                ..ToolOutput::default()
            });
        }
        let inner = ctx.clone();
        let text = blocking(move || Hunt::run(&inner, &args)).await?;
        Ok(ToolOutput {
            text,
            ok: true,
            ..ToolOutput::default()
        })
    }
}

fn parsed(args: &Value) -> Result<Args, ToolError> {
    let mut args: Args = decode(args, USAGE)?;
    if args.files && args.glob.is_none() && !args.pattern.is_empty() {
        // What is meant is clear.
        args.glob = Some(std::mem::take(&mut args.pattern));
    }
    if !args.files && args.pattern.is_empty() {
        return Err(ToolError::Arguments(format!(
            "`pattern` is missing. Usage: {USAGE}; to list files set files: true."
        )));
    }
    Ok(args)
}

/// A search under way.
struct Hunt<'a> {
    ctx: &'a ToolContext,
    matcher: Option<RegexMatcher>,
    globs: Override,
    searcher: Searcher,
    limit: u64,
    deadline: Instant,
    text: String,
    results: u64,
    files_seen: u64,
    /// Why it ended before its end.
    stopped: Option<String>,
    /// Files that were not searched to their end.
    cut_files: u64,
    /// What globs are not about: where the search began, in a directory that was added.
    above: PathBuf,
}

impl<'a> Hunt<'a> {
    fn run(ctx: &'a ToolContext, args: &Args) -> Result<String, ToolError> {
        let mut notes = String::new();
        let matcher = if args.files {
            None
        } else {
            Some(matcher(&args.pattern, &mut notes)?)
        };
        let searcher = SearcherBuilder::new()
            .line_number(true)
            .heap_limit(Some(MAX_LINE_BYTES))
            .binary_detection(BinaryDetection::quit(0))
            .build();
        let mut hunt = Self {
            ctx,
            matcher,
            globs: globs(args.glob.as_deref())?,
            searcher,
            limit: args.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
            deadline: Instant::now() + MAX_TIME,
            text: String::new(),
            results: 0,
            files_seen: 0,
            stopped: None,
            cut_files: 0,
            above: PathBuf::new(),
        };
        let start = match &args.path {
            Some(path) => resolve(ctx, path)?,
            None => PathBuf::new(),
        };
        if start.is_absolute() {
            hunt.above.clone_from(&start);
        }
        let kind = ctx.guard.kind(&start).map_err(|error| explain(ctx, &error))?;
        let mut skipped = 0;
        match kind {
            Kind::Directory => {
                let walked = ctx.guard.walk(&start, |path| hunt.visit(path));
                skipped = walked.map_err(|error| explain(ctx, &error))?.directories;
            }
            Kind::File => {
                let _ = hunt.visit(&start);
            }
            kind => return Err(explain(ctx, &GuardError::NotAFile(start, kind))),
        }
        if ctx.cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        Ok(hunt.conclude(notes, skipped))
    }

    fn conclude(mut self, notes: String, skipped: usize) -> String {
        if self.results == 0 {
            let what = if self.matcher.is_some() {
                "matches"
            } else {
                "files"
            };
            self.text = format!(
                "No {what} ({} files looked at; ignored and binary files left out).\n",
                self.files_seen
            );
        }
        if let Some(stopped) = self.stopped {
            self.text.push_str(&format!(
                "[stopped {stopped}; narrow it down with path, glob or pattern]\n"
            ));
        }
        if self.cut_files > 0 {
            self.text.push_str(&format!(
                "[{} files were too large (or had too long lines) to be searched to their end]\n",
                self.cut_files
            ));
        }
        if skipped > 0 {
            self.text.push_str(&format!(
                "[{skipped} directories were unreadable, too deep or too full]\n"
            ));
        }
        self.text + &notes
    }

    fn visit(&mut self, path: &Path) -> ControlFlow<()> {
        if self.ctx.cancel.is_cancelled() {
            return ControlFlow::Break(());
        }
        if Instant::now() > self.deadline {
            self.stopped = Some(format!("after {} s", MAX_TIME.as_secs()));
            return ControlFlow::Break(());
        }
        // In a directory that was added, a glob is about what lies below where the search began.
        let named = path.strip_prefix(&self.above).unwrap_or(path);
        if self.globs.matched(named, false).is_ignore() {
            return ControlFlow::Continue(());
        }
        self.files_seen += 1;
        let shown = visible(&self.ctx.paths.show(path));
        match self.matcher.clone() {
            None => self.add(&shown),
            Some(matcher) => self.search_file(&matcher, path, &shown),
        }
    }

    fn search_file(&mut self, matcher: &RegexMatcher, path: &Path, shown: &str) -> ControlFlow<()> {
        // Gone, unreadable or swapped for something else since it was listed: nothing to find in it.
        let Ok((file, size)) = self.ctx.guard.open_file(path) else {
            return ControlFlow::Continue(());
        };
        if size > MAX_FILE_BYTES {
            self.cut_files += 1;
        }
        let mut searcher = self.searcher.clone();
        let mut flow = ControlFlow::Continue(());
        let sink = Lossy(|number, line: &str| {
            let line = cut_line(clean(line.as_bytes()).trim_end(), LINE_CHARS);
            flow = self.add(&format!("{shown}:{number}: {line}"));
            Ok(flow.is_continue() && Instant::now() <= self.deadline)
        });
        // An error in the middle (an endless line, a bad disk) ends the file; what was found stays.
        let searched = searcher.search_reader(matcher, file.take(MAX_FILE_BYTES), sink);
        if searched.is_err() && size <= MAX_FILE_BYTES {
            self.cut_files += 1;
        }
        flow
    }

    fn add(&mut self, line: &str) -> ControlFlow<()> {
        if self.results >= self.limit {
            self.stopped = Some(format!("at {} results", self.limit));
            return ControlFlow::Break(());
        }
        if self.text.len() + line.len() > MAX_TEXT {
            self.stopped = Some(format!("at {} results, {} KiB", self.results, MAX_TEXT / 1024));
            return ControlFlow::Break(());
        }
        self.text.push_str(line);
        self.text.push('\n');
        self.results += 1;
        ControlFlow::Continue(())
    }
}

fn matcher(pattern: &str, notes: &mut String) -> Result<RegexMatcher, ToolError> {
    let build = |literal: bool| {
        RegexMatcherBuilder::new()
            .line_terminator(Some(b'\n'))
            .fixed_strings(literal)
            .size_limit(8 * 1024 * 1024)
            .dfa_size_limit(8 * 1024 * 1024)
            .build(pattern)
    };
    match build(false) {
        Ok(matcher) => Ok(matcher),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            let literal = build(true).map_err(|_| {
                ToolError::Arguments(format!(
                    "The pattern cannot be searched for: {reason}. Matches lie within one line."
                ))
            })?;
            notes.push_str(&format!(
                "[the pattern is no valid regular expression ({reason}); searched for it as plain text]\n"
            ));
            Ok(literal)
        }
    }
}

fn globs(glob: Option<&str>) -> Result<Override, ToolError> {
    let Some(glob) = glob.filter(|glob| !glob.is_empty()) else {
        return Ok(Override::empty());
    };
    let mut builder = OverrideBuilder::new("");
    builder
        .add(glob.strip_prefix("./").unwrap_or(glob))
        .and_then(|builder| builder.build())
        .map_err(|error| ToolError::Arguments(format!("`glob` is not a valid pattern: {error}.")))
}
