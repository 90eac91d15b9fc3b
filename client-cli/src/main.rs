//! Owns: the way from the command line to an exit code. The one-shot client of agentd.

mod args;
mod command;
mod command_line;
mod context;
mod exit;
mod quote;
mod render;
mod stdin;
mod time;
mod tty;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;
use crate::context::Context;
use crate::render::Out;

fn main() -> ExitCode {
    let words = command_line::normalize(std::env::args_os().collect());
    let parsed = Cli::command().try_get_matches_from(&words).and_then(|found| {
        Ok((
            Cli::from_arg_matches(&found)?,
            found.subcommand_name().map(str::to_owned),
        ))
    });
    let (code, quick) = match parsed {
        Ok((cli, verb)) => (run(cli, verb.as_deref()), true),
        Err(error) => (command_line::answer(&error, &words), false),
    };
    if quick {
        // A thread may sit in a read of standard input for ever: leaving must not wait for it.
        #[expect(
            clippy::disallowed_methods,
            reason = "the only place that may leave without unwinding"
        )]
        std::process::exit(i32::from(code));
    }
    ExitCode::from(code)
}

fn run(cli: Cli, verb: Option<&str>) -> u8 {
    let out = Out::new(&cli.global);
    // The command runs on this thread and may be held up by who reads its output; the connection has the other one.
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            out.important(&format!("error: cannot start: {error}"));
            return exit::FAILED;
        }
    };
    let result = runtime.block_on(async {
        let context = Context::new(cli.global, out.clone())?;
        // One small allocation keeps the stack of every verb small.
        Box::pin(command::run(context, cli.verb)).await
    });
    match result {
        Ok(code) => code,
        Err(failure) => {
            let failure = failure.of_verb(verb);
            out.failure(&failure);
            failure.exit
        }
    }
}
