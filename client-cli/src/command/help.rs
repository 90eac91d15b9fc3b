//! Owns: `agentctl help`: verbs and topics.

use clap::CommandFactory as _;

use super::screen;
use crate::args::Cli;
use crate::command_line::nearest;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::help;

/// The topic that agent-tui knows: its keys, as they are in force.
const KEYS: &str = "keys";

/// The key table of the terminal UI, from itself, so that the two cannot differ.
fn keys(context: &Context) -> Result<u8, Failure> {
    let table = screen::keys().map_err(|error| {
        Failure::usage(format!(
            "the keys are those of agent-tui, which cannot be asked: {error}"
        ))
        .next("install agent-tui beside agentctl")
    })?;
    context.out.bytes(&table)?;
    Ok(exit::OK)
}

/// Runs the verb.
pub(crate) fn run(context: &Context, topic: &[String]) -> Result<u8, Failure> {
    let Some(first) = topic.first() else {
        context.out.bytes(help::ROOT.as_bytes())?;
        return Ok(exit::OK);
    };
    if let Some((_, text)) = help::TOPICS.iter().find(|(name, _)| name == first) {
        context.out.bytes(text.as_bytes())?;
        return Ok(exit::OK);
    }
    if first == KEYS {
        return keys(context);
    }
    let mut command = Cli::command();
    command.build();
    let mut found = command;
    for word in topic {
        let Some(next) = found.find_subcommand(word).cloned() else {
            let names: Vec<String> = found
                .get_subcommands()
                .map(|one| one.get_name().to_owned())
                .chain(help::TOPICS.iter().map(|(name, _)| (*name).to_owned()))
                .chain([KEYS.to_owned()])
                .collect();
            let meant = nearest(word, &names)
                .map(|name| format!(". Did you mean '{name}'?"))
                .unwrap_or_default();
            return Err(Failure::usage(format!("no help on '{word}'{meant}")).next("agentctl help"));
        };
        found = next;
    }
    context
        .out
        .bytes(found.render_long_help().to_string().as_bytes())?;
    Ok(exit::OK)
}
