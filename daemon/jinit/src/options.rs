//! Owns: the arguments of `agent-jinit serve`.
//! Guarantees: an unknown or incomplete argument is an error, never a default.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// How a shell reads its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// dash, busybox: reads a block at a time and throws the rest away on a syntax error.
    Ash,
    /// bash, under any name: reads a byte at a time.
    Bash,
}

/// What jinit was told.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dir: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) dialect: Dialect,
    pub(crate) cwd: PathBuf,
    pub(crate) myself: PathBuf,
    /// No jail of our own: only our descendants are ours.
    pub(crate) outer: bool,
    pub(crate) nofile: Option<u64>,
    pub(crate) fsize: Option<u64>,
    pub(crate) nproc: Option<u64>,
    pub(crate) data: Option<u64>,
    /// Niceness of everything that runs here; not ours, which the daemon may lower.
    pub(crate) nice: i32,
    /// Bytes of memory of everything together, where no kernel keeps the bound.
    pub(crate) memory: Option<u64>,
    /// Processes and threads, likewise.
    pub(crate) processes: Option<u64>,
    /// Files in a tmpfs.
    pub(crate) tmp_files: Option<u64>,
    /// Bytes that stay free on the disk.
    pub(crate) disk_floor: Option<u64>,
    /// Bytes by which free space may fall.
    pub(crate) disk_growth: Option<u64>,
    /// Which disk; absent: that of the start directory.
    pub(crate) disk: Option<PathBuf>,
    /// The file mode mask of everything that runs here; absent: the one inherited.
    pub(crate) umask: Option<u64>,
}

impl Options {
    pub(crate) fn parse(args: &[OsString]) -> io::Result<Self> {
        let (mut dir, mut program, mut dialect, mut cwd, mut myself) = (None, None, None, None, None);
        let (mut nofile, mut fsize, mut nproc, mut data) = (None, None, None, None);
        let mut umask = None;
        let (mut nice, mut memory, mut processes, mut tmp_files) = (None, None, None, None);
        let (mut disk_floor, mut disk_growth, mut disk) = (None, None, None);
        let mut outer = false;
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let name = name.to_string_lossy();
            if name == "--outer" {
                outer = true;
                continue;
            }
            let value = args
                .next()
                .ok_or_else(|| io::Error::other(format!("{name} needs a value")))?;
            let number = || {
                let text = value.to_string_lossy();
                text.parse::<u64>()
                    .map(Some)
                    .map_err(|_| io::Error::other(format!("{name}: not a number: {text}")))
            };
            match &*name {
                "--dir" => dir = Some(PathBuf::from(value)),
                "--program" => program = Some(PathBuf::from(value)),
                "--cwd" => cwd = Some(PathBuf::from(value)),
                "--self" => myself = Some(PathBuf::from(value)),
                "--dialect" if value == "ash" => dialect = Some(Dialect::Ash),
                "--dialect" if value == "bash" => dialect = Some(Dialect::Bash),
                "--nofile" => nofile = number()?,
                "--fsize" => fsize = number()?,
                "--nproc" => nproc = number()?,
                "--data" => data = number()?,
                "--umask" => umask = number()?,
                "--nice" => nice = number()?,
                "--memory" => memory = number()?,
                "--processes" => processes = number()?,
                "--tmp-files" => tmp_files = number()?,
                "--disk-floor" => disk_floor = number()?,
                "--disk-growth" => disk_growth = number()?,
                "--disk" => disk = Some(PathBuf::from(value)),
                _ => return Err(io::Error::other(format!("unknown argument {name}"))),
            }
        }
        let missing = || io::Error::other("--dir, --program, --dialect, --cwd and --self are required");
        Ok(Self {
            dir: dir.ok_or_else(missing)?,
            program: program.ok_or_else(missing)?,
            dialect: dialect.ok_or_else(missing)?,
            cwd: cwd.ok_or_else(missing)?,
            myself: myself.ok_or_else(missing)?,
            outer,
            nofile,
            fsize,
            nproc,
            data,
            // Absent: as we were started.
            nice: match nice.and_then(|nice| i32::try_from(nice).ok()) {
                Some(nice) => nice,
                None => rustix::process::getpriority_process(None)?,
            },
            memory,
            processes,
            tmp_files,
            disk_floor,
            disk_growth,
            disk,
            umask,
        })
    }
}
