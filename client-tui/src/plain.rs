//! Owns: the linear mode: labelled lines without redraws, for screen readers and logs.
//! Guarantees: it is the linear view of `agentctl attach`, so that there is one of it.

use std::os::unix::process::CommandExt as _;

use crate::args::Args;
use crate::start::Failure;

/// Becomes `agentctl attach --plain`.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let beside = std::env::current_exe()
        .ok()
        .map(|path| path.with_file_name("agentctl"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| "agentctl".into());
    let mut command = std::process::Command::new(&beside);
    if let Some(socket) = &args.socket {
        command.arg("--socket").arg(socket);
    }
    if args.no_autostart {
        command.arg("--no-autostart");
    }
    if let Some(dir) = &args.dir {
        command.arg("-C").arg(dir);
    }
    match &args.session {
        Some(session) => {
            command.args(["attach", "--plain"]);
            if args.read_only {
                command.arg("--read-only");
            }
            command.arg(session);
        }
        None => {
            command.args(["sessions", "list"]);
        }
    }
    let error = command.exec();
    Err(Failure::new(
        1,
        format!("'{}' cannot be run: {error}", beside.display()),
    ))
}
