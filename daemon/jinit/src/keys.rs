//! Owns: the keys that are signals, on the terminal of a command in the long-lived shell.
//! Guarantees: Ctrl-C and Ctrl-\\ reach the command as on any terminal, unless it reads keys raw; nothing that ran before it
//! is touched.

use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::procs;
use crate::serve::Server;

const INTERRUPT: u8 = 3;
const QUIT: u8 = 28;

impl Server {
    /// That shell leads no session, so the terminal is nobody's own and the kernel would signal nobody.
    pub(crate) fn signal_keys(&mut self, exec: &str, typed: &[u8]) {
        let Some(run) = self.runs.get(exec) else { return };
        if run.pts.is_none() || run.frame.own_shell || self.current.as_deref() != Some(exec) {
            return;
        }
        let signal = match typed.iter().rev().find(|key| matches!(**key, INTERRUPT | QUIT)) {
            Some(&INTERRUPT) => Signal::INT,
            Some(_) => Signal::QUIT,
            None => return,
        };
        let signals = run
            .out
            .source()
            .and_then(|master| rustix::termios::tcgetattr(master).ok())
            .is_some_and(|modes| modes.local_modes.contains(LocalModes::ISIG));
        if !signals {
            return;
        }
        for pid in self.processes_of(exec) {
            procs::signal(pid, signal);
        }
        // An interactive shell gives up its list of commands at SIGINT, and goes on.
        if let Some(shell) = self.shell.as_ref().filter(|_| signal == Signal::INT) {
            procs::signal(shell.pid, Signal::INT);
        }
    }
}
