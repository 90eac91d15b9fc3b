//! Owns: the modes of the terminal.
//! Guarantees: whatever mode was set is taken back when the guard goes, also on a failure.

use std::io;

use agentd_proto::pb;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};

/// Holds a changed terminal; dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct Mode {
    before: Termios,
}

impl Mode {
    /// Every key goes to the program, nothing is echoed.
    pub(crate) fn raw() -> io::Result<Self> {
        Self::change(Termios::make_raw)
    }

    /// Lines as usual, but not echoed.
    pub(crate) fn no_echo() -> io::Result<Self> {
        Self::change(|modes| modes.local_modes.remove(LocalModes::ECHO))
    }

    fn change(edit: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        edit(&mut modes);
        tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        Ok(Self { before })
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Forgets what was typed ahead.
pub(crate) fn discard_input() {
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// The terminal's size; 80x24 when unknown.
pub(crate) fn size() -> pb::PtySize {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok();
    let side = |cells: Option<u16>, default: u32| {
        cells
            .map(u32::from)
            .filter(|cells| (1..=1000).contains(cells))
            .unwrap_or(default)
    };
    pb::PtySize {
        columns: side(size.map(|s| s.ws_col), 80),
        rows: side(size.map(|s| s.ws_row), 24),
    }
}
