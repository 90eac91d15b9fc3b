//! Owns: a raw shell's bytes both ways.
//! Guarantees: keys arrive in order and once each; leaving the shell alone does not end it.

use agentd_proto::resume::Update;
use agentd_proto::terminal::Drawn;
use agentd_proto::{Client, ClientError, id, pb};
use tokio::sync::mpsc;

use super::News;
use crate::msg::{FromLink, Msg};

/// Keys that may wait for a slow line.
const WAITING: usize = 256;
/// Most bytes of one write.
const MOST: usize = 64 * 1024;

/// Something for the shell.
#[derive(Debug)]
pub(super) enum Input {
    Keys(Vec<u8>),
    Size((u16, u16)),
}

/// Which shell.
pub(super) struct Wanted {
    pub(super) session_id: String,
    /// One that is open; otherwise a new one.
    pub(super) existing: Option<String>,
    pub(super) size: (u16, u16),
    /// An open one takes that size, too.
    pub(super) resize: bool,
    /// Who writes.
    pub(super) writer: String,
}

/// Opens a shell, or comes back to one that is open, and serves it in the background.
pub(super) fn open(
    client: Client,
    news: News,
    opener: mpsc::Sender<(String, mpsc::Sender<Input>)>,
    wanted: Wanted,
) {
    tokio::spawn(async move {
        let result = serve(&client, &news, &opener, wanted).await;
        if let Err(error) = result {
            let told = FromLink::Failed {
                what: "raw shell",
                error,
            };
            drop(news.send(Msg::Link(told)).await);
            let ended = FromLink::ShellEnded {
                exec_id: String::new(),
                words: "it could not be opened".to_owned(),
            };
            drop(news.send(Msg::Link(ended)).await);
        }
    });
}

fn pty((columns, rows): (u16, u16)) -> pb::PtySize {
    pb::PtySize {
        columns: columns.into(),
        rows: rows.into(),
    }
}

/// Columns and rows of a screen.
pub(super) fn size(screen: &pb::TerminalScreen) -> (u16, u16) {
    let cells = |count: u32| u16::try_from(count).unwrap_or(1_000).clamp(1, 1_000);
    (cells(screen.columns), cells(screen.rows))
}

async fn serve(
    client: &Client,
    news: &News,
    opener: &mpsc::Sender<(String, mpsc::Sender<Input>)>,
    Wanted {
        session_id,
        existing,
        size,
        resize,
        writer,
    }: Wanted,
) -> Result<(), ClientError> {
    let session_id = session_id.as_str();
    let mut written = 0;
    let joined = existing.is_some();
    let exec_id = match existing {
        Some(exec_id) => {
            // What was written before, by whomever, is not to be written again.
            let request = pb::WriteInputRequest {
                session_id: session_id.to_owned(),
                exec_id: exec_id.clone(),
                writer: writer.clone(),
                ..Default::default()
            };
            written = client.write_input(request).await?.next_offset;
            if resize {
                // First, so that the screen comes in this terminal's size: another client's may have been another.
                let request = pb::ResizePtyRequest {
                    session_id: session_id.to_owned(),
                    exec_id: exec_id.clone(),
                    size: Some(pty(size)),
                };
                drop(client.resize_pty(request).await);
            }
            exec_id
        }
        None => {
            let request = pb::OpenShellRequest {
                request_id: id::request_id(),
                session_id: session_id.to_owned(),
                size: Some(pty(size)),
                term: "xterm-256color".to_owned(),
            };
            client.open_shell(request).await?.exec_id
        }
    };
    let (input, keys) = mpsc::channel(WAITING);
    drop(opener.send((exec_id.clone(), input)).await);
    let told = FromLink::ShellOpened {
        session_id: session_id.to_owned(),
        exec_id: exec_id.clone(),
    };
    drop(news.send(Msg::Link(told)).await);
    let hand = Hand {
        client: client.clone(),
        session_id: session_id.to_owned(),
        exec_id: exec_id.clone(),
        writer,
    };
    let writing = tokio::spawn(write_all(hand, written, keys));
    let words = read_all(client, news, session_id, (&exec_id, joined)).await;
    writing.abort();
    drop(
        news.send(Msg::Link(FromLink::ShellEnded {
            exec_id,
            words: words?,
        }))
        .await,
    );
    Ok(())
}

async fn read_all(
    client: &Client,
    news: &News,
    session_id: &str,
    (exec_id, joined): (&str, bool),
) -> Result<String, ClientError> {
    let mut terminal = client.terminal(session_id, exec_id, joined).await?;
    while let Some(update) = terminal.next().await {
        let (size_of, data) = match update? {
            Update::Item(Drawn::Bytes(data)) => (None, data.to_vec()),
            Update::Item(Drawn::Screen(screen)) => {
                let data = [b"\x1bc", screen.data.as_ref()].concat();
                (Some(size(&screen)), data)
            }
            Update::Item(Drawn::Ended(result)) => return Ok(crate::layout::exec_word(&result)),
            Update::Reconnecting { .. } | Update::Back { .. } => continue,
        };
        let told = FromLink::ShellOutput {
            exec_id: exec_id.to_owned(),
            screen: size_of,
            data,
        };
        drop(news.send(Msg::Link(told)).await);
    }
    Ok("its output ended".to_owned())
}

/// Who writes where.
struct Hand {
    client: Client,
    session_id: String,
    exec_id: String,
    writer: String,
}

/// Writes keys at their offsets, so that one tried twice is taken once.
async fn write_all(hand: Hand, mut offset: u64, mut keys: mpsc::Receiver<Input>) {
    let Hand {
        client,
        session_id,
        exec_id,
        writer,
    } = hand;
    let resize = |size| {
        let request = pb::ResizePtyRequest {
            session_id: session_id.clone(),
            exec_id: exec_id.clone(),
            size: Some(pty(size)),
        };
        client.resize_pty(request)
    };
    while let Some(input) = keys.recv().await {
        let mut data = match input {
            Input::Keys(data) => data,
            Input::Size(size) => {
                let _ = resize(size).await;
                continue;
            }
        };
        while data.len() < MOST {
            match keys.try_recv() {
                Ok(Input::Keys(more)) => data.extend(more),
                Ok(Input::Size(size)) => {
                    let _ = resize(size).await;
                }
                Err(_) => break,
            }
        }
        let request = |offset| pb::WriteInputRequest {
            session_id: session_id.clone(),
            writer: writer.clone(),
            exec_id: exec_id.clone(),
            offset,
            data: data.clone().into(),
            // The person was asked before.
            ..Default::default()
        };
        match client.write_input(request(offset)).await {
            Ok(answer) => offset = answer.next_offset,
            Err(error) if error.is(pb::ErrorReason::OffsetMismatch) => {
                // Where it stands is told in the answer. What had arrived before the line broke is not typed again.
                let Some(next) = next_offset(&error.message) else {
                    return;
                };
                let sent = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
                let request = pb::WriteInputRequest {
                    offset: next,
                    data: data.get(sent..).unwrap_or_default().to_vec().into(),
                    ..request(next)
                };
                match client.write_input(request).await {
                    Ok(answer) => offset = answer.next_offset,
                    Err(_) => return,
                }
            }
            Err(_) => return,
        }
    }
}

/// The first number of the refusal's sentence.
fn next_offset(message: &str) -> Option<u64> {
    message
        .split(|c: char| !c.is_ascii_digit())
        .find(|word| !word.is_empty())?
        .parse()
        .ok()
}
