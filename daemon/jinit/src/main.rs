//! Owns: what `agent-jinit` does by its first argument: `launch` and
//! `launch-from` (on the host, become bwrap), `serve` (PID 1 of the
//! jail), `terminal` (takes a terminal as its own, becomes the person's shell).
//! Guarantees: no descriptor but the ones it was given on 0, 1, 2 survives into the jail.

mod bounds;
mod command;
mod input;
mod jobs;
mod keys;
mod launch;
mod link;
mod options;
mod procs;
mod reaper;
mod run;
mod serve;
mod shell;
mod stream;
mod waits;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let mode = args.next().unwrap_or_default();
    let rest: Vec<_> = args.collect();
    let result = match mode.to_str() {
        Some("launch") => launch::launch(&rest),
        Some("launch-from") => launch::launch_from(&rest),
        Some("terminal") => launch::terminal(&rest),
        Some("serve") => options::Options::parse(&rest).and_then(|options| {
            if let Some(mask) = options.umask.and_then(|mask| u32::try_from(mask).ok()) {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask & 0o777));
            }
            serve::serve(options)
        }),
        Some("--version") => {
            let line = format!(
                "agent-jinit {} protocol {}\n",
                env!("CARGO_PKG_VERSION"),
                agent_jinit::wire::VERSION
            );
            std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())
        }
        _ => Err(std::io::Error::other(
            "agent-jinit is started by agentd; it is not meant to be run by hand",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("agent-jinit: {error}\n");
            let _unheard = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            ExitCode::from(125)
        }
    }
}
