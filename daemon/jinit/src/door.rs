//! Owns: sockets of the jail's own network, made here and handed to the daemon.
//! Guarantees: loopback only; a listener stays ours too, so that a program which connects while no daemon is there waits
//! for the next one instead of being refused.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use agent_jinit::wire::FromJail;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::serve::Server;

/// Connections that may wait for the daemon.
const BACKLOG: i32 = 1024;

impl Server {
    /// Listens on a port of loopback, once, and hands the listener over.
    pub(crate) fn listen(&mut self, port: u16) {
        // Without a jail this would be the network outside.
        let held = if self.options.outer {
            Err(Errno::OPNOTSUPP)
        } else {
            match self.doors.remove(&port) {
                Some(listener) => Ok(listener),
                None => listener(port),
            }
        };
        let (errno, fd) = match held {
            Ok(listener) => {
                let shared = rustix::io::fcntl_dupfd_cloexec(&listener, 3);
                self.doors.insert(port, listener);
                split(shared)
            }
            Err(error) => (number(error), None),
        };
        self.hand_over(&FromJail::Listening { port, errno }, fd);
    }

    /// Lets a port go.
    pub(crate) fn unlisten(&mut self, port: u16) {
        self.doors.remove(&port);
    }

    /// A socket that can reach what listens on loopback in here, wherever it is used from.
    pub(crate) fn dial(&mut self, dial: u64, v6: bool) {
        let made = if self.options.outer {
            Err(Errno::OPNOTSUPP)
        } else {
            socket(if v6 {
                AddressFamily::INET6
            } else {
                AddressFamily::INET
            })
        };
        let (errno, fd) = split(made);
        self.hand_over(&FromJail::Dialled { dial, errno }, fd);
    }

    fn hand_over(&mut self, frame: &FromJail, fd: Option<OwnedFd>) {
        if let Some(link) = &mut self.link {
            link.hand_over(frame, fd);
        }
    }
}

fn split(made: Result<OwnedFd, Errno>) -> (u32, Option<OwnedFd>) {
    match made {
        Ok(fd) => (0, Some(fd)),
        Err(error) => (number(error), None),
    }
}

fn number(error: Errno) -> u32 {
    error.raw_os_error().unsigned_abs()
}

fn socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

fn listener(port: u16) -> Result<OwnedFd, Errno> {
    let fd = socket(AddressFamily::INET)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, BACKLOG)?;
    Ok(fd)
}
