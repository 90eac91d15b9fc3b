//! Owns: one terminal on one jailed terminal, until either ends.
//! Guarantees: the person's terminal is as it was afterwards, whatever happened; keys never take the input from another
//! client unless the person asked for that, and whoever loses it is told.

use agentd_proto::pb;
use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::terminal::Drawn;
use agentd_proto::watch::Watch;
use agentd_proto::{ClientError, escape, id};
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
        writer: id::request_id(),
        offset: 0,
        input: Input::Free,
    };
    let mut others = Some(follow(context, session_id, &writer.writer).await?);
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
                let keys = typed.take(&piece);
                if keys.input {
                    writer.input = Input::Wanted;
                }
                if !keys.data.is_empty() {
                    writer.write(keys.data).await?;
                } else if keys.input {
                    writer.say("the next key takes the input");
                }
                if keys.leave {
                    break None;
                }
            }
            update = news(&mut others) => match update {
                Some(Ok(Update::Item(Item::Clients(list)))) => writer.seen(&list.clients),
                // The output says what becomes of the connection.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => others = None,
            },
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

/// Who follows the session, from now on; it makes this terminal one of those who can have the input.
async fn follow(context: &Context, session_id: &str, writer: &str) -> Result<Watch, Failure> {
    let request = pb::GetSessionRequest {
        session_id: session_id.to_owned(),
    };
    let session = context.client.get_session(request).await?.session;
    let subscription = pb::WatchSubscription {
        session_id: session_id.to_owned(),
        after_seq: session.map_or(0, |session| session.head),
        writer: writer.to_owned(),
        clients: true,
        ..Default::default()
    };
    Ok(context.client.watch_session(subscription).await?)
}

/// The next of it; never, once it is over.
async fn news(watch: &mut Option<Watch>) -> Option<Result<Update<Item>, ClientError>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Whose the input is, as far as this terminal knows.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    /// Nobody's, or another's who is not told yet.
    Free,
    /// The person asked for it.
    Wanted,
    Mine,
    /// Another client's, and the person knows.
    Other,
}

struct Writer<'a> {
    context: &'a Context,
    session_id: &'a str,
    exec_id: &'a str,
    writer: String,
    offset: u64,
    input: Input,
}

impl Writer<'_> {
    fn say(&self, text: &str) {
        self.context.out.note(&format!("\r\n{text}\r"));
    }

    /// The list of those who follow the session, as it is now.
    fn seen(&mut self, clients: &[pb::AttachedClient]) {
        let Some(holder) = clients.iter().find(|one| one.input) else {
            if self.input == Input::Other {
                self.input = Input::Free;
                self.say("the input is free");
            }
            return;
        };
        match (holder.you, &self.input) {
            (true, _) => self.input = Input::Mine,
            (false, Input::Mine) => {
                self.input = Input::Other;
                let by = escape::line(&format!("{} via {}", holder.principal, holder.client));
                self.say(&format!("! {by} took the input · Ctrl-] t takes it back"));
            }
            _ => {}
        }
    }

    async fn write(&mut self, data: Vec<u8>) -> Result<(), Failure> {
        let unless_held = self.input != Input::Wanted;
        let request = pb::WriteInputRequest {
            session_id: self.session_id.to_owned(),
            exec_id: self.exec_id.to_owned(),
            offset: self.offset,
            data: data.into(),
            eof: false,
            // A person at another terminal or in a browser may type into the same one.
            writer: self.writer.clone(),
            unless_held,
        };
        match self.context.client.write_input(request).await {
            Ok(answer) => {
                self.offset = answer.next_offset;
                self.input = Input::Mine;
            }
            // The keys are nobody's; said once.
            Err(error) if error.is(pb::ErrorReason::InputHeld) => {
                if self.input != Input::Other {
                    self.input = Input::Other;
                    self.say(&format!("! {} · Ctrl-] t takes it", escape::line(&error.message)));
                }
            }
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
    /// What of it is for the terminal and what for us. Ctrl-] twice passes one on.
    fn take(&mut self, piece: &[u8]) -> Keys {
        let mut keys = Keys::default();
        let data = &mut keys.data;
        for byte in piece {
            if self.escaped {
                self.escaped = false;
                match byte {
                    b'd' => {
                        keys.leave = true;
                        return keys;
                    }
                    b't' => keys.input = true,
                    &ESCAPE => data.push(ESCAPE),
                    other => data.extend([ESCAPE, *other]),
                }
            } else if *byte == ESCAPE {
                self.escaped = true;
            } else {
                data.push(*byte);
            }
        }
        keys
    }
}

/// A piece of what was typed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Keys {
    /// For the terminal.
    data: Vec<u8>,
    /// The person wants the input.
    input: bool,
    /// The person wants to leave.
    leave: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leave_key_is_found_across_pieces() {
        let mut typed = Typed::default();
        let keys = |data: &[u8], input, leave| Keys {
            data: data.to_vec(),
            input,
            leave,
        };
        assert_eq!(typed.take(b"ls\x1d"), keys(b"ls", false, false));
        assert_eq!(typed.take(b"d more"), keys(b"", false, true));
        let mut typed = Typed::default();
        assert_eq!(typed.take(b"\x1d\x1dx\x1dy"), keys(b"\x1dx\x1dy", false, false));
        assert_eq!(typed.take(b"\x1dtls"), keys(b"ls", true, false));
    }
}
