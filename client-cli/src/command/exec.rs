//! Owns: `agentctl exec`: a command in a session's persistent shell.
//! Guarantees: its bytes pass through unchanged, its exit code is this program's; a caller that is
//! interrupted, or whose reader goes away, does not leave the command running.

use std::collections::{BTreeMap, VecDeque};

use agentd_proto::pb::read_output_response::Item;
use agentd_proto::resume::Update;
use agentd_proto::{Client, id, pb};
use tokio::signal::unix::{SignalKind, signal};

use super::interactive;
use crate::args::ExecArgs;
use crate::context::{Context, Wanted};
use crate::exit::{self, Failure};
use crate::render::json;
use crate::{quote, stdin, tty};

/// Most shell text the daemon takes.
const SCRIPT_LIMIT: u64 = 16 << 20;
/// Most input the daemon takes at once.
const WRITE_LIMIT: usize = 256 << 10;
/// Attempts to reach a lost daemon before a command is given up: half an hour. The command goes on without us and without
/// the daemon; an upgrade, or a person who has to start it by hand, may take their time.
const GIVE_UP_AFTER: u32 = 360;

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: ExecArgs) -> Result<u8, Failure> {
    exec(context, args).await.map_err(Failure::of_exec)
}

async fn exec(context: &Context, args: ExecArgs) -> Result<u8, Failure> {
    let script = script(&args).await?;
    let environment = variables(&args.env)?;
    if args.terminal && !stdin::is_terminal() {
        return Err(
            Failure::usage("-t needs a terminal on standard input").next("agentctl exec --stdin -- …")
        );
    }
    let wanted = Wanted {
        name: args.name.clone(),
        origin: pb::SessionOrigin::Shell,
        layout: args.layout,
        jail: args.jail,
        network: super::network::mode(args.net),
        flags: args.flags.clone(),
        ..Wanted::default()
    };
    let session = super::network::session_with_ports(context, wanted, &args.host_port).await?;
    let mode = if args.terminal {
        pb::StdinMode::Pty
    } else if args.stdin {
        pb::StdinMode::Open
    } else {
        pb::StdinMode::None
    };
    let command = pb::ExecCommand {
        script,
        environment,
        cwd: args.cwd.clone().unwrap_or_default(),
        timeout: context
            .global
            .timeout
            .map(prost_types::Duration::try_from)
            .transpose()
            .map_err(|_| Failure::usage("the time-out is too long"))?,
        stdin: mode.into(),
        pty_size: args.terminal.then(tty::size),
    };
    let request = pb::StartExecRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        command: Some(command),
    };
    let exec_id = context.client.start_exec(request).await?.exec_id;
    if args.terminal {
        let end = interactive::drive(context, &session.session_id, &exec_id, false).await?;
        return Ok(end.map_or(exit::OK, |result| code(&result)));
    }
    let run = Run {
        context,
        session: &session,
        exec_id: &exec_id,
    };
    let result = run.follow(&args).await;
    if result.is_err() {
        run.interrupt().await;
    }
    result
}

async fn script(args: &ExecArgs) -> Result<Vec<u8>, Failure> {
    match args.command.as_slice() {
        [] => Err(Failure::usage("no command was given").next("agentctl exec -- make test")),
        [dash] if dash == "-" && args.stdin => Err(Failure::usage(
            "standard input cannot be both the script ('-') and the command's input (--stdin)",
        )),
        [dash] if dash == "-" => stdin::read_all(SCRIPT_LIMIT).await?.ok_or_else(|| {
            Failure::usage("the script is longer than 16 MiB").next("agentctl exec -- . ./script.sh")
        }),
        words => Ok(quote::script(words)),
    }
}

fn variables(list: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    list.iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => {
                Err(Failure::usage(format!("'{pair}' is not NAME=VALUE"))
                    .next("agentctl exec --env CI=1 -- …"))
            }
        })
        .collect()
}

/// A command under way.
struct Run<'a> {
    context: &'a Context,
    session: &'a pb::Session,
    exec_id: &'a str,
}

impl Run<'_> {
    async fn follow(&self, args: &ExecArgs) -> Result<u8, Failure> {
        let out = &self.context.out;
        let failed = |error: std::io::Error| Failure::new(exit::FAILED, "signals", error.to_string());
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        if args.stdin {
            tokio::spawn(feed(
                self.context.client.clone(),
                self.session.session_id.clone(),
                self.exec_id.to_owned(),
            ));
        }
        let mut output = self
            .context
            .client
            .read_output(pb::ReadOutputRequest {
                session_id: self.session.session_id.clone(),
                exec_id: self.exec_id.to_owned(),
                stdout_offset: 0,
                stderr_offset: 0,
                follow: true,
                ..Default::default()
            })
            .await?;
        let mut kept = [Capture::new(args.capture), Capture::new(args.capture)];
        let mut interrupted = false;
        loop {
            tokio::select! {
                update = output.next() => match update {
                    Some(Ok(Update::Item(Item::Chunk(chunk)))) => {
                        let [stdout, stderr] = &mut kept;
                        let error = chunk.stream() == pb::OutputStream::Stderr;
                        if out.is_json() {
                            let capture = if error { stderr } else { stdout };
                            capture.skipped(chunk.dropped_bytes);
                            capture.push(&chunk.data);
                        } else {
                            if chunk.dropped_bytes > 0 {
                                out.warning(&format!("{} bytes in the middle were not kept", chunk.dropped_bytes));
                            }
                            if error { out.err_bytes(&chunk.data); } else { out.bytes(&chunk.data)?; }
                        }
                    }
                    // Screens come only to viewers, which a command without a terminal has not.
                    Some(Ok(Update::Item(Item::Screen(_)))) => {}
                    Some(Ok(Update::Item(Item::HeldUp(why)))) => {
                        out.warning(&format!("the command has ended; its end waits: {}", agentd_proto::escape::line(&why)));
                    }
                    Some(Ok(Update::Item(Item::Result(result)))) => return self.end(&result, kept),
                    Some(Ok(Update::Reconnecting { attempt, .. })) => {
                        if attempt > GIVE_UP_AFTER {
                            return Err(Failure::new(exit::DAEMON, "daemon_unreachable",
                                "the daemon went away and did not come back").next("agentctl daemon start")
                                .next(format!("agentctl logs -f --shell {}   (the command goes on)", self.session.session_id)));
                        }
                        if attempt > 1 {
                            out.note(&format!("? reconnecting · try {attempt}"));
                        }
                    }
                    Some(Ok(Update::Back { .. })) => out.note("back"),
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(Failure::new(exit::FAILED, "connection_lost", "the output ended early")),
                },
                _ = interrupts.recv() => {
                    if interrupted {
                        return Err(Failure::silent(exit::INTERRUPTED));
                    }
                    interrupted = true;
                    self.interrupt().await;
                }
                _ = terminate.recv() => return Err(Failure::silent(exit::TERMINATED)),
                // Closing the terminal must not kill a build: the command goes on.
                _ = hangup.recv() => return Ok(exit::HANGUP),
            }
        }
    }

    fn end(&self, result: &pb::ExecResult, kept: [Capture; 2]) -> Result<u8, Failure> {
        let out = &self.context.out;
        let code = code(result);
        if out.is_json() {
            let truncated = kept.iter().any(|capture| capture.cut);
            let [stdout, stderr] = kept.map(Capture::into_bytes);
            out.json(&json::exec(&json::Exec {
                session: self.session,
                exec_id: self.exec_id,
                result,
                exit_code: i32::from(code),
                stdout: &stdout,
                stderr: &stderr,
                truncated,
            }))?;
        } else if !result.message.is_empty() {
            out.note(&format!(
                "agentctl: {}",
                agentd_proto::escape::line(&result.message)
            ));
        }
        Ok(code)
    }

    async fn interrupt(&self) {
        let request = pb::InterruptExecRequest {
            session_id: self.session.session_id.clone(),
            exec_id: self.exec_id.to_owned(),
        };
        // A command that has ended meanwhile, or a daemon that is gone, needs no interrupt.
        drop(
            self.context
                .client
                .without_autostart()
                .interrupt_exec(request)
                .await,
        );
    }
}

/// The exit code to leave with.
pub(crate) fn code(result: &pb::ExecResult) -> u8 {
    if result.unknown {
        return exit::EXEC_FAILED;
    }
    if result.timed_out {
        return exit::TIMEOUT;
    }
    u8::try_from(result.exit_code).unwrap_or(exit::EXEC_FAILED)
}

/// Passes standard input on until it, or the command, ends.
async fn feed(client: Client, session_id: String, exec_id: String) {
    let mut input = stdin::chunks();
    let mut offset = 0;
    loop {
        let piece = input.recv().await;
        let eof = piece.is_none();
        let mut data = piece.unwrap_or_default();
        // What is there already goes along: each write waits for its answer.
        while data.len() + stdin::CHUNK <= WRITE_LIMIT
            && let Ok(more) = input.try_recv()
        {
            data.extend(more);
        }
        let request = pb::WriteInputRequest {
            session_id: session_id.clone(),
            exec_id: exec_id.clone(),
            offset,
            data: data.into(),
            eof,
            ..Default::default()
        };
        match client.write_input(request).await {
            Ok(answer) if !eof => offset = answer.next_offset,
            // The end, or nobody reads any more: what the command does is then its own affair.
            _ => return,
        }
    }
}

/// The first and the last half of what a stream wrote.
struct Capture {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: bool,
}

impl Capture {
    fn new(limit: u64) -> Self {
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX / 2).max(1);
        Self {
            half,
            head: Vec::new(),
            tail: VecDeque::new(),
            cut: false,
        }
    }

    fn skipped(&mut self, bytes: u64) {
        self.cut |= bytes > 0;
    }

    fn push(&mut self, data: &[u8]) {
        let room = self.half.saturating_sub(self.head.len()).min(data.len());
        let (first, rest) = data.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.half);
        if excess > 0 {
            self.cut = true;
            self.tail.drain(..excess);
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        bytes.extend(self.tail);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_kept() {
        let mut capture = Capture::new(6);
        for piece in ["ab", "cd", "efgh", "ij"] {
            capture.push(piece.as_bytes());
        }
        assert!(capture.cut);
        assert_eq!(capture.into_bytes(), b"abchij");
    }

    #[test]
    fn what_fits_is_whole() {
        let mut capture = Capture::new(6);
        capture.push(b"abcdef");
        assert!(!capture.cut);
        assert_eq!(capture.into_bytes(), b"abcdef");
    }

    #[test]
    fn codes_of_results() {
        let result = |exit_code, timed_out, unknown| pb::ExecResult {
            exit_code,
            timed_out,
            unknown,
            ..Default::default()
        };
        assert_eq!(code(&result(42, false, false)), 42);
        assert_eq!(code(&result(137, true, false)), exit::TIMEOUT);
        assert_eq!(code(&result(0, false, true)), exit::EXEC_FAILED);
        assert_eq!(code(&result(-1, false, false)), exit::EXEC_FAILED);
    }
}
