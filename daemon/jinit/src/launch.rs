//! Owns: the two short stages that end in exec: becoming bwrap on the host, becoming a shell on a terminal inside.
//! Guarantees: the jail runs in a session of its own, so neither the daemon's end nor a Ctrl-C in the terminal it was
//! started from reaches it; bwrap's descriptors are numbered here, in a process with one thread.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};

/// Stands in an argument list for the number of a descriptor holding the n-th part of the filter file.
const FILTER: &str = "@filter";

/// `launch PARTS -- PROGRAM ARGS…`: stdin is the file with the seccomp filters, stdout the listening control socket.
/// PARTS are the lengths of the filters, joined by commas (`-` = none). The program gets the socket as its stdin.
pub(crate) fn launch(args: &[OsString]) -> io::Result<()> {
    let [parts, dash, program, rest @ ..] = args else {
        return Err(io::Error::other("launch PARTS -- PROGRAM ARGS"));
    };
    if dash != "--" {
        return Err(io::Error::other("launch PARTS -- PROGRAM ARGS"));
    }
    close_all_but_standard();
    // Already a leader when the daemon made a process group for us: then a new session is not possible and not needed.
    let _leader = rustix::process::setsid();
    let socket = rustix::io::dup(io::stdout())?;
    let filters = split_filters(&parts.to_string_lossy())?;
    let mut argv = Vec::with_capacity(rest.len());
    let mut next = filters.iter();
    for arg in rest {
        if arg == FILTER {
            let fd = next
                .next()
                .ok_or_else(|| io::Error::other("fewer filters than places for them"))?;
            argv.push(OsString::from(raw(fd.as_fd()).to_string()));
        } else {
            argv.push(arg.clone());
        }
    }
    rustix::stdio::dup2_stdin(&socket)?;
    drop(socket);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    // What led systemd-run to its manager leads nobody inside to it.
    Err(Command::new(program)
        .args(argv)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .exec())
}

/// `launch-from FILE`: the same, with the arguments in a file of the working directory, a NUL after each but the last: what
/// stands between the daemon and this program may change arguments, and takes no secrets.
pub(crate) fn launch_from(args: &[OsString]) -> io::Result<()> {
    let [file] = args else {
        return Err(io::Error::other("launch-from FILE"));
    };
    let text = std::fs::read(file)?;
    std::env::set_current_dir("/")?;
    let args: Vec<OsString> = text
        .split(|byte| *byte == 0)
        .map(|arg| OsString::from(std::ffi::OsStr::from_bytes(arg)))
        .collect();
    match args.split_first() {
        Some((mode, rest)) if mode == "launch" => launch(rest),
        _ => Err(io::Error::other("the file does not begin with launch")),
    }
}

fn raw(fd: BorrowedFd<'_>) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd)
}

/// bwrap reads each filter from a descriptor of its own, to the end.
fn split_filters(parts: &str) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    for len in parts.split(',').filter(|p| *p != "-") {
        let len: usize = len
            .parse()
            .map_err(|_| io::Error::other("a filter's length is not a number"))?;
        let mut bytes = vec![0; len];
        io::Read::read_exact(&mut io::stdin().lock(), &mut bytes)?;
        // Without CLOEXEC: bwrap must inherit it.
        let fd = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::empty())?;
        let mut file = std::fs::File::from(fd);
        io::Write::write_all(&mut file, &bytes)?;
        io::Seek::rewind(&mut file)?;
        fds.push(file.into());
    }
    Ok(fds)
}

/// `terminal PTS PROGRAM ARGS…`: a session of its own with PTS as the controlling terminal.
pub(crate) fn terminal(args: &[OsString]) -> io::Result<()> {
    let [pts, program, rest @ ..] = args else {
        return Err(io::Error::other("terminal PTS PROGRAM ARGS"));
    };
    rustix::process::setsid()?;
    let tty = rustix::fs::open(pts, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    rustix::process::ioctl_tiocsctty(&tty)?;
    rustix::stdio::dup2_stdin(&tty)?;
    rustix::stdio::dup2_stdout(&tty)?;
    rustix::stdio::dup2_stderr(&tty)?;
    drop(tty);
    close_all_but_standard();
    Err(Command::new(program).args(rest).exec())
}

/// A descriptor that somebody above forgot must not reach the jail (a control socket once did).
pub(crate) fn close_all_but_standard() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        close(fd);
    }
}

#[expect(
    unsafe_code,
    reason = "no safe call closes a descriptor known only by its number"
)]
fn close(fd: i32) {
    // SAFETY: called before any other code of this process opened or holds a descriptor above 2, so nothing here
    // owns `fd`. The check skips the directory handle that listed it, which is closed by now.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if rustix::io::fcntl_getfd(borrowed).is_ok() {
        // SAFETY: as above; it is open, and this is its only owner.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    }
}
