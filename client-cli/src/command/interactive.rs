//! Owns: one terminal on one jailed terminal, until either ends.
//! Guarantees: the person's terminal is as it was afterwards, whatever happened.

use agentd_proto::pb;
use agentd_proto::resume::Update;
use agentd_proto::terminal::Drawn;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{stdin, tty};

/// Ctrl-], the key that is not passed on.
const ESCAPE: u8 = 0x1d;

/// Before a screen is drawn: attributes, modes and the alternate screen of what was shown until now are gone. What
/// scrolled away above stays the person's.
const CLEAN: &[u8] = b"\x1b[!p\x1b[?1049l\x1b[m\x1b[H\x1b[2J";

/// Connects the terminal to a command that has one; one that was `joined` begins with its screen. `None`: the person
/// left and the command goes on.
pub(crate) async fn drive(
    context: &Context,
    session_id: &str,
    exec_id: &str,
    joined: bool,
) -> Result<Option<pb::ExecResult>, Failure> {
    let failed = |error: std::io::Error| Failure::new(exit::FAILED, "terminal", error.to_string());
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let size = || pb::ResizePtyRequest {
        session_id: session_id.to_owned(),
        exec_id: exec_id.to_owned(),
        size: Some(tty::size()),
    };
    if joined {
        // First, so that the screen comes in this terminal's size. It may be over; its end is then read below.
        drop(context.client.resize_pty(size()).await);
    }
    let mut output = context.client.terminal(session_id, exec_id, joined).await?;
    let mode = tty::Mode::raw().map_err(failed)?;
    let mut keys = stdin::chunks();
    let mut typed = Typed::default();
    let mut writer = Writer {
        context,
        session_id,
        exec_id,
        writer: agentd_proto::id::request_id(),
        offset: 0,
    };
    let end = loop {
        tokio::select! {
            update = output.next() => match update {
                Some(Ok(Update::Item(Drawn::Bytes(data)))) => context.out.bytes(&data)?,
                Some(Ok(Update::Item(Drawn::Screen(screen)))) => {
                    context.out.bytes(&[CLEAN, &screen.data].concat())?;
                }
                Some(Ok(Update::Item(Drawn::Ended(result)))) => break Some(result),
                Some(Ok(Update::Reconnecting { attempt, .. })) => {
                    context.out.note(&format!("\r\n? reconnecting · try {attempt} · Ctrl-] d leaves\r"));
                }
                Some(Ok(Update::Back { .. })) => context.out.note("back\r"),
                Some(Err(error)) => return Err(error.into()),
                None => break None,
            },
            piece = keys.recv() => {
                let Some(piece) = piece else { break None };
                let (data, leave) = typed.take(&piece);
                if !data.is_empty() {
                    writer.write(data).await?;
                }
                if leave {
                    break None;
                }
            }
            _ = resized.recv() => {
                // The shell may just have ended; its result is on the way.
                drop(context.client.resize_pty(size()).await);
            }
            _ = hangup.recv() => break None,
            _ = terminate.recv() => break None,
        }
    };
    drop(mode);
    if end.is_none() {
        context.out.note(&format!(
            "\nleft; it goes on. Back: agentctl shell -s {session_id} --rejoin {exec_id}"
        ));
        context.warn_leaving().await;
    }
    Ok(end)
}

struct Writer<'a> {
    context: &'a Context,
    session_id: &'a str,
    exec_id: &'a str,
    writer: String,
    offset: u64,
}

impl Writer<'_> {
    async fn write(&mut self, data: Vec<u8>) -> Result<(), Failure> {
        let request = pb::WriteInputRequest {
            session_id: self.session_id.to_owned(),
            exec_id: self.exec_id.to_owned(),
            offset: self.offset,
            data: data.into(),
            eof: false,
            // A person at another terminal or in a browser may type into the same one.
            writer: self.writer.clone(),
        };
        match self.context.client.write_input(request).await {
            Ok(answer) => self.offset = answer.next_offset,
            // Keys typed after the end are nobody's.
            Err(error)
                if error.is(pb::ErrorReason::WrongState) || error.is(pb::ErrorReason::ExecNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Finds the leave key in what was typed.
#[derive(Debug, Default)]
struct Typed {
    escaped: bool,
}

impl Typed {
    /// What is to be passed on, and whether the person wants to leave. Ctrl-] twice passes one on.
    fn take(&mut self, piece: &[u8]) -> (Vec<u8>, bool) {
        let mut data = Vec::with_capacity(piece.len());
        for byte in piece {
            if self.escaped {
                self.escaped = false;
                match byte {
                    b'd' => return (data, true),
                    &ESCAPE => data.push(ESCAPE),
                    other => data.extend([ESCAPE, *other]),
                }
            } else if *byte == ESCAPE {
                self.escaped = true;
            } else {
                data.push(*byte);
            }
        }
        (data, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leave_key_is_found_across_pieces() {
        let mut typed = Typed::default();
        assert_eq!(typed.take(b"ls\x1d"), (b"ls".to_vec(), false));
        assert_eq!(typed.take(b"d more"), (Vec::new(), true));
        let mut typed = Typed::default();
        assert_eq!(typed.take(b"\x1d\x1dx\x1dy"), (b"\x1dx\x1dy".to_vec(), false));
    }
}
