//! Owns: reading standard input without holding up anything else.

use std::io::{IsTerminal as _, Read as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::exit::Failure;

/// Bytes handed on at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// How long typed lines are waited for before somebody looks whether they are still wanted.
const A_MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// True when somebody types.
pub(crate) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// All of standard input, at most `limit` bytes; `None` when there is more.
pub(crate) async fn read_all(limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let read = tokio::task::spawn_blocking(move || {
        let mut data = Vec::new();
        std::io::stdin()
            .lock()
            .take(limit + 1)
            .read_to_end(&mut data)
            .map(|_| data)
    });
    let data = read
        .await
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    Ok((data.len() as u64 <= limit).then_some(data))
}

/// Standard input piece by piece; the end of the channel is the end of the input.
pub(crate) fn chunks() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let piece = buffer.get(..count).unwrap_or_default().to_vec();
                    if sender.blocking_send(piece).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// Lines that are typed. Who drops the receiver leaves the next line to others.
pub(crate) fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let input = std::io::stdin();
        while !sender.is_closed() {
            // Looked at again: what came after the last line that was wanted is for whoever reads next.
            if !has_input() || sender.is_closed() {
                continue;
            }
            let mut line = String::new();
            match input.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if sender
                        .blocking_send(line.trim_end_matches(['\n', '\r']).to_owned())
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

/// True when a read would not wait, or can't be waited for; false after a moment.
fn has_input() -> bool {
    let input = std::io::stdin();
    let mut asked = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut asked, Some(&A_MOMENT)) {
        Ok(ready) => ready > 0,
        Err(Errno::INTR) => false,
        Err(_) => true,
    }
}
