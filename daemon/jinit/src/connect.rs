//! Owns: `agent-jinit connect HOST PORT`: standard input and output through the proxy, for ssh's ProxyCommand.
//! Guarantees: a refusal is printed as the proxy said it, and nothing of it reaches the other end.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

/// Longest answer to CONNECT.
const MAX_ANSWER: u64 = 64 * 1024;

/// Connects, then copies both ways until the other end is through.
pub(crate) fn connect(args: &[OsString]) -> io::Result<()> {
    let [host, port] = args else {
        return Err(io::Error::other("connect HOST PORT"));
    };
    let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
    // An address of version 6 stands in brackets.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.into_owned()
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, agent_jinit::names::PROXY_PORT))?;
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let head = head(&mut stream)?;
    if head.split(' ').nth(1) != Some("200") {
        let mut why = String::new();
        stream.shutdown(Shutdown::Write)?;
        stream.take(MAX_ANSWER).read_to_string(&mut why)?;
        return Err(io::Error::other(why.trim().to_owned()));
    }
    let mut up = stream.try_clone()?;
    // Ends with the process: nobody waits for more input once the other end is through.
    std::thread::spawn(move || {
        // An error here shows on the other side as well.
        let _ended = io::copy(&mut io::stdin().lock(), &mut up);
        let _gone = up.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    let mut piece = [0; 64 * 1024];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => {
                out.write_all(piece.get(..n).unwrap_or_default())?;
                out.flush()?;
            }
        }
    }
}

/// The answer up to its empty line, a byte at a time: what follows is the other end's.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if text.len() as u64 > MAX_ANSWER || stream.read(&mut byte)? == 0 {
            return Err(io::Error::other("the proxy gave no answer"));
        }
        text.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
