//! Owns: handing the terminal over to agent-tui, which is found beside agentctl.
//! Guarantees: only where a person sits at a terminal that can be drawn on; elsewhere nothing happens.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use crate::context::Context;
use crate::stdin;

/// Name of the program.
const PROGRAM: &str = "agent-tui";

/// The program, where it may take over; `None` where lines are wanted, or where it is not installed.
pub(crate) fn program(context: &Context) -> Option<PathBuf> {
    let wanted = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let draws = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    if !context.out.out_tty
        || !stdin::is_terminal()
        || !draws
        || context.global.no_input
        || context.out.is_json()
        || wanted("AGENTCTL_A11Y")
    {
        return None;
    }
    let path = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    path.exists().then_some(path)
}

/// Its key table, as Markdown.
pub(crate) fn keys() -> std::io::Result<Vec<u8>> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    let output = std::process::Command::new(program).arg("--print-keys").output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = agentd_proto::escape::line(String::from_utf8_lossy(&output.stderr).trim());
    Err(std::io::Error::other(said))
}

/// Becomes the program. Comes back only when that fails.
pub(crate) fn become_it(context: &Context, program: &PathBuf, rest: Vec<OsString>) {
    let mut command = std::process::Command::new(program);
    if let Some(socket) = &context.global.socket {
        command.arg("--socket").arg(socket);
    }
    if context.global.no_autostart {
        command.arg("--no-autostart");
    }
    if let Some(dir) = &context.global.dir {
        command.arg("-C").arg(dir);
    }
    let error = command.args(rest).exec();
    context
        .out
        .note(&format!("'{}' cannot be run: {error}", program.display()));
}
