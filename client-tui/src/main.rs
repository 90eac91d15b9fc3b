//! Owns: the way from the command line to the running screen. The terminal UI of agentd: a cursor on its
//! sessions; leaving it never changes one.

mod app;
mod args;
mod background;
mod clusters;
mod editor;
#[cfg(test)]
mod fixture;
mod keep;
mod keyboard;
mod keys;
mod layout;
mod link;
mod model;
mod msg;
mod plain;
mod start;
mod terminal;
mod text;
mod theme;
mod update;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let linear = args.plain || std::env::var_os("AGENTCTL_A11Y").is_some_and(|value| value == "1");
    let result = if linear {
        plain::run(&args)
    } else {
        start::run(args)
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code)
        }
    }
}
