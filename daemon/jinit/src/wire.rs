//! Owns: the frames on the control socket (SOCK_SEQPACKET: one frame per packet).
//! Guarantees: decoding never panics and never reads past a frame; encode then decode is identity.

mod codec;

use codec::{Reader, Writer, signed};

/// Version of these frames. The daemon also adopts jails of [`OLDEST`].
/// 2: input by writer and answered, jobs, the word about waiting.
pub const VERSION: u16 = 2;
/// The oldest version this daemon can still talk to.
pub const OLDEST: u16 = 1;
/// No frame is longer: input is cut to fit, everything bulky travels in files.
pub const MAX_FRAME: usize = 64 * 1024;
/// Most input bytes in one [`ToJail::Write`].
pub const MAX_INPUT: usize = 32 * 1024;

/// What a run reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdinKind {
    /// `/dev/null`.
    Null,
    /// A pipe fed by [`ToJail::Input`].
    Open,
    /// A terminal of the jail's own, on all three streams.
    Pty,
}

/// One run of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFrame {
    pub exec: String,
    pub stdin: StdinKind,
    /// An interactive shell of its own on a terminal, rather than a script in the long-lived shell.
    pub own_shell: bool,
    /// 0 = none. Counts from the start of the command.
    pub timeout_ms: u64,
    /// Bytes kept per stream.
    pub cap: u64,
    pub has_status: bool,
    pub has_before: bool,
    pub has_after: bool,
    pub rows: u16,
    pub cols: u16,
}

/// Daemon to jinit. A [`ToJail::Run`] carries two spool files, out and err, as descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToJail {
    Run(RunFrame),
    /// Input for a jail of version 1.
    Input {
        exec: String,
        offset: u64,
        data: Vec<u8>,
        eof: bool,
    },
    Resize {
        exec: String,
        rows: u16,
        cols: u16,
    },
    Interrupt {
        exec: String,
    },
    /// Start the long-lived shell; with a restore file (named by this id) when state is to be put back.
    Spawn {
        restore: Option<String>,
    },
    /// The daemon has what it needs: the run may be forgotten.
    Ack {
        exec: String,
    },
    /// End the long-lived shell, if no command runs in it: its state is to come from elsewhere.
    Retire,
    /// Drop what the user's functions have put in the protocol's way (bash: a function named `.`).
    Heal,
    /// Kill everything and exit.
    End,
    /// Stop every process where it is; time limits stop with them.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Exit if nothing runs here; answered with [`FromJail::Resting`] or [`FromJail::Busy`].
    Rest,
    /// Input, counted by writer: what was taken before is not taken again. Each is answered with
    /// [`FromJail::Written`], once there is room for more.
    Write {
        exec: String,
        writer: String,
        offset: u64,
        data: Vec<u8>,
        eof: bool,
    },
    /// What do commands that have ended still run? Answered with [`FromJail::Jobs`].
    Jobs,
    /// End what this command left in the background.
    EndJob {
        exec: String,
    },
}

/// How far a writer's input was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The offset of the next byte: before the offset of a write that left a gap or found no room.
    Next(u64),
    /// The command reads no input, or none any more.
    Closed,
}

/// A process of a background job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProcess {
    /// The command that left it.
    pub exec: String,
    pub pid: u32,
    /// Its command line, cut, words parted by blanks.
    pub command: Vec<u8>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    pub status: i32,
    pub signal: i32,
    pub timed_out: bool,
    pub interrupted: bool,
    pub background: bool,
    pub shell_died: bool,
    pub not_run: bool,
    /// The shell was alive but no longer executed anything (`set -n`); it was replaced.
    pub stuck: bool,
    pub duration_us: u64,
}

/// A bound that no kernel keeps for a jail, looked at several times a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of memory of everything together.
    Memory,
    /// Processes and threads.
    Processes,
    /// Files in a tmpfs.
    TmpFiles,
    /// Bytes that stay free on the workspace's disk.
    DiskFloor,
    /// Bytes by which free space there may fall.
    DiskGrowth,
}

const BOUNDS: [Bound; 5] = [
    Bound::Memory,
    Bound::Processes,
    Bound::TmpFiles,
    Bound::DiskFloor,
    Bound::DiskGrowth,
];

/// jinit to daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromJail {
    /// First frame of every connection; the state of known runs follows, then [`FromJail::Ready`].
    Hello {
        version: u16,
        shell: u32,
        outer: bool,
    },
    Ready,
    /// A known run that has not ended (after a reconnect).
    Running {
        exec: String,
        out: u64,
        err: u64,
        cap: u64,
    },
    /// Bytes produced so far: a doorbell.
    Progress {
        exec: String,
        out: u64,
        err: u64,
    },
    Finished {
        exec: String,
        out: u64,
        err: u64,
        cap: u64,
        end: End,
        umask: u32,
        cwd: Vec<u8>,
    },
    /// Both streams reached their end: nothing more will be written to the spools.
    Closed {
        exec: String,
        out: u64,
        err: u64,
    },
    /// The run was never started.
    Refused {
        exec: String,
        why: Refusal,
    },
    /// The shell died outside a run.
    ShellGone {
        status: i32,
        signal: i32,
    },
    /// Something runs: no rest now.
    Busy,
    /// The last word before the exit that [`ToJail::Rest`] asked for; whether files in /tmp go with it.
    Resting {
        files: bool,
    },
    /// A run waits for input, or does so no longer. Its last words are on standard error, or not.
    Waiting {
        exec: String,
        waits: bool,
        error: bool,
    },
    /// The answer to a [`ToJail::Write`].
    Written {
        exec: String,
        writer: String,
        taken: Taken,
    },
    /// The answer to [`ToJail::Jobs`]; as many as fit.
    Jobs {
        processes: Vec<JobProcess>,
    },
    /// A bound was passed, and what passed it is being stopped: a run, or what an earlier one left behind.
    Limit {
        exec: Option<String>,
        bound: Bound,
        limit: u64,
    },
}

/// Why a run was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No shell: send [`ToJail::Spawn`] first.
    NoShell,
    /// A command is running.
    Busy,
    /// The mounts are gone (their mount points were removed on the host): the jail must be restarted.
    MountsLost,
    /// Its files could not be opened.
    Files,
}

/// A frame that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFrame;

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a control frame could not be decoded")
    }
}

impl std::error::Error for BadFrame {}

impl ToJail {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Run(r) => {
                let stdin = match r.stdin {
                    StdinKind::Null => 0,
                    StdinKind::Open => 1,
                    StdinKind::Pty => 2,
                };
                Writer::tag(1)
                    .text(&r.exec)
                    .num(stdin)
                    .flag(r.own_shell)
                    .num(r.timeout_ms)
                    .num(r.cap)
                    .flag(r.has_status)
                    .flag(r.has_before)
                    .flag(r.has_after)
                    .num(u64::from(r.rows))
                    .num(u64::from(r.cols))
                    .0
            }
            Self::Input {
                exec,
                offset,
                data,
                eof,
            } => Writer::tag(2).text(exec).num(*offset).bytes(data).flag(*eof).0,
            Self::Resize { exec, rows, cols } => {
                Writer::tag(3)
                    .text(exec)
                    .num(u64::from(*rows))
                    .num(u64::from(*cols))
                    .0
            }
            Self::Interrupt { exec } => Writer::tag(4).text(exec).0,
            Self::Spawn { restore } => Writer::tag(5).text(restore.as_deref().unwrap_or("")).0,
            Self::Ack { exec } => Writer::tag(6).text(exec).0,
            Self::End => Writer::tag(7).0,
            Self::Retire => Writer::tag(8).0,
            Self::Rest => Writer::tag(9).0,
            Self::Heal => Writer::tag(10).0,
            Self::Freeze => Writer::tag(11).0,
            Self::Thaw => Writer::tag(12).0,
            Self::Write {
                exec,
                writer,
                offset,
                data,
                eof,
            } => {
                Writer::tag(13)
                    .text(exec)
                    .text(writer)
                    .num(*offset)
                    .bytes(data)
                    .flag(*eof)
                    .0
            }
            Self::Jobs => Writer::tag(14).0,
            Self::EndJob { exec } => Writer::tag(15).text(exec).0,
        }
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`BadFrame`] when it is not one of ours.
    pub fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let mut r = Reader(frame);
        Ok(match r.tag()? {
            1 => Self::Run(RunFrame {
                exec: r.id()?,
                stdin: match r.num()? {
                    0 => StdinKind::Null,
                    1 => StdinKind::Open,
                    2 => StdinKind::Pty,
                    _ => return Err(BadFrame),
                },
                own_shell: r.flag()?,
                timeout_ms: r.num()?,
                cap: r.num()?,
                has_status: r.flag()?,
                has_before: r.flag()?,
                has_after: r.flag()?,
                rows: r.small()?,
                cols: r.small()?,
            }),
            2 => Self::Input {
                exec: r.id()?,
                offset: r.num()?,
                data: r.bytes()?.to_vec(),
                eof: r.flag()?,
            },
            3 => Self::Resize {
                exec: r.id()?,
                rows: r.small()?,
                cols: r.small()?,
            },
            4 => Self::Interrupt { exec: r.id()? },
            5 => {
                let name = r.text()?;
                if !name.is_empty() && !super::names::is_safe(&name) {
                    return Err(BadFrame);
                }
                Self::Spawn {
                    restore: Some(name).filter(|n| !n.is_empty()),
                }
            }
            6 => Self::Ack { exec: r.id()? },
            7 => Self::End,
            8 => Self::Retire,
            9 => Self::Rest,
            10 => Self::Heal,
            11 => Self::Freeze,
            12 => Self::Thaw,
            13 => Self::Write {
                exec: r.id()?,
                writer: r.text()?,
                offset: r.num()?,
                data: r.bytes()?.to_vec(),
                eof: r.flag()?,
            },
            14 => Self::Jobs,
            15 => Self::EndJob { exec: r.id()? },
            _ => return Err(BadFrame),
        })
    }
}

impl FromJail {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello {
                version,
                shell,
                outer,
            } => {
                Writer::tag(1)
                    .num(u64::from(*version))
                    .num(u64::from(*shell))
                    .flag(*outer)
                    .0
            }
            Self::Ready => Writer::tag(2).0,
            Self::Running { exec, out, err, cap } => {
                Writer::tag(3).text(exec).num(*out).num(*err).num(*cap).0
            }
            Self::Progress { exec, out, err } => Writer::tag(4).text(exec).num(*out).num(*err).0,
            Self::Finished {
                exec,
                out,
                err,
                cap,
                end,
                umask,
                cwd,
            } => {
                Writer::tag(5)
                    .text(exec)
                    .num(*out)
                    .num(*err)
                    .num(*cap)
                    .num(signed(end.status))
                    .num(signed(end.signal))
                    .flag(end.timed_out)
                    .flag(end.interrupted)
                    .flag(end.background)
                    .flag(end.shell_died)
                    .flag(end.not_run)
                    .flag(end.stuck)
                    .num(end.duration_us)
                    .num(u64::from(*umask))
                    .bytes(cwd)
                    .0
            }
            Self::Closed { exec, out, err } => Writer::tag(6).text(exec).num(*out).num(*err).0,
            Self::Refused { exec, why } => {
                let why = match why {
                    Refusal::NoShell => 0,
                    Refusal::Busy => 1,
                    Refusal::MountsLost => 2,
                    Refusal::Files => 3,
                };
                Writer::tag(7).text(exec).num(why).0
            }
            Self::ShellGone { status, signal } => Writer::tag(8).num(signed(*status)).num(signed(*signal)).0,
            Self::Busy => Writer::tag(9).0,
            Self::Resting { files } => Writer::tag(10).flag(*files).0,
            Self::Waiting { exec, waits, error } => Writer::tag(11).text(exec).flag(*waits).flag(*error).0,
            Self::Written { exec, writer, taken } => {
                let (open, next) = match taken {
                    Taken::Next(next) => (true, *next),
                    Taken::Closed => (false, 0),
                };
                Writer::tag(12).text(exec).text(writer).flag(open).num(next).0
            }
            Self::Jobs { processes } => {
                let frame = Writer::tag(13).num(processes.len() as u64);
                let each = |frame: Writer, one: &JobProcess| {
                    frame.text(&one.exec).num(u64::from(one.pid)).bytes(&one.command)
                };
                processes.iter().fold(frame, each).0
            }
            Self::Limit { exec, bound, limit } => {
                let bound = BOUNDS.iter().position(|one| one == bound).unwrap_or(0);
                Writer::tag(20)
                    .text(exec.as_deref().unwrap_or(""))
                    .num(bound as u64)
                    .num(*limit)
                    .0
            }
        }
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`BadFrame`] when it is not one of ours.
    pub fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let mut r = Reader(frame);
        Ok(match r.tag()? {
            1 => Self::Hello {
                version: r.small()?,
                shell: r.small()?,
                outer: r.flag()?,
            },
            2 => Self::Ready,
            3 => Self::Running {
                exec: r.id()?,
                out: r.num()?,
                err: r.num()?,
                cap: r.num()?,
            },
            4 => Self::Progress {
                exec: r.id()?,
                out: r.num()?,
                err: r.num()?,
            },
            5 => Self::Finished {
                exec: r.id()?,
                out: r.num()?,
                err: r.num()?,
                cap: r.num()?,
                end: End {
                    status: r.signed()?,
                    signal: r.signed()?,
                    timed_out: r.flag()?,
                    interrupted: r.flag()?,
                    background: r.flag()?,
                    shell_died: r.flag()?,
                    not_run: r.flag()?,
                    stuck: r.flag()?,
                    duration_us: r.num()?,
                },
                umask: r.small()?,
                cwd: r.bytes()?.to_vec(),
            },
            6 => Self::Closed {
                exec: r.id()?,
                out: r.num()?,
                err: r.num()?,
            },
            7 => Self::Refused {
                exec: r.id()?,
                why: match r.num()? {
                    0 => Refusal::NoShell,
                    1 => Refusal::Busy,
                    2 => Refusal::MountsLost,
                    3 => Refusal::Files,
                    _ => return Err(BadFrame),
                },
            },
            8 => Self::ShellGone {
                status: r.signed()?,
                signal: r.signed()?,
            },
            9 => Self::Busy,
            10 => Self::Resting { files: r.flag()? },
            11 => Self::Waiting {
                exec: r.id()?,
                waits: r.flag()?,
                error: r.flag()?,
            },
            12 => Self::Written {
                exec: r.id()?,
                writer: r.text()?,
                taken: match (r.flag()?, r.num()?) {
                    (true, next) => Taken::Next(next),
                    (false, _) => Taken::Closed,
                },
            },
            13 => {
                let count = r.num()?;
                // As many as the frame can hold, whatever number it claims.
                let mut processes = Vec::new();
                for _ in 0..count {
                    processes.push(JobProcess {
                        exec: r.id()?,
                        pid: r.small()?,
                        command: r.bytes()?.to_vec(),
                    });
                }
                Self::Jobs { processes }
            }
            20 => Self::Limit {
                exec: Some(r.text()?).filter(|exec| !exec.is_empty()),
                bound: *BOUNDS.get(r.small::<usize>()?).ok_or(BadFrame)?,
                limit: r.num()?,
            },
            _ => return Err(BadFrame),
        })
    }
}

#[cfg(test)]
mod tests;
