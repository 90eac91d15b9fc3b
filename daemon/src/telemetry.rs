//! Owns: where the daemon's log goes and what it looks like.
//! Guarantees: every line passes the scrubber before it is written; one event is one line, whatever text is in
//! it; the log file never grows past its cap; a log that can't be written stops nothing.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::durable::Point;

/// Takes secrets out of a line.
pub type Scrubber = Arc<dyn for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync>;

/// A full file is kept once, as `agentd.log.1`; so the log takes at most twice this.
pub const LOG_FILE_CAP: u64 = 10 * 1024 * 1024;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard error: a terminal, or the journal.
    Stderr {
        /// With colours.
        colour: bool,
    },
    /// A file of bounded size.
    File(PathBuf),
}

impl Sink {
    /// Standard error when somebody reads it (a terminal, the journal, or `--foreground`), else the file.
    pub fn choose(foreground: bool, journal: bool, log_file: &Path) -> Self {
        let terminal = io::stderr().is_terminal();
        if foreground || journal || terminal {
            Self::Stderr { colour: terminal }
        } else {
            Self::File(log_file.to_owned())
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stderr { .. } => None,
        }
    }
}

/// How to log.
#[derive(Clone)]
pub struct LogOptions {
    /// What is logged: a level, or directives such as `info,agentd::model=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Where to.
    pub sink: Sink,
    /// Applied to each line.
    pub scrubber: Scrubber,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("'{filter}' is not a log level or filter: {reason}; use error, warn, info, debug or trace")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log file can't be opened.
    #[error("can't open the log file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Something in this process logs already.
    #[error("logging was begun twice")]
    Twice,
}

/// Begins logging for the whole process.
pub fn init(options: LogOptions) -> Result<(), TelemetryError> {
    let subscriber = subscriber(options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)
}

/// Whether a filter makes sense.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(|_| ())
}

fn subscriber(options: LogOptions) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError> {
    let filter = parse_filter(&options.filter)?;
    let (target, colour) = match options.sink {
        Sink::Stderr { colour } => (Target::Stderr, colour && !options.json),
        Sink::File(path) => {
            let file = CappedFile::open(&path, LOG_FILE_CAP).map_err(|source| TelemetryError::File {
                path: path.clone(),
                source,
            })?;
            (Target::File(file), false)
        }
    };
    let writer = LineWriter {
        target: Arc::new(Mutex::new(target)),
        scrubber: options.scrubber,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour);
    Ok(if options.json {
        Box::new(builder.json().flatten_event(true).finish())
    } else {
        Box::new(builder.with_target(true).finish())
    })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // tracing-subscriber takes any single word for a target; a mistyped level would silence everything.
    let word = !filter.is_empty() && filter.bytes().all(|byte| byte.is_ascii_alphabetic());
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    if word && !levels.contains(&filter.to_ascii_lowercase().as_str()) {
        return Err(TelemetryError::Filter {
            filter: filter.to_owned(),
            reason: "no such level".to_owned(),
        });
    }
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| TelemetryError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        })?;
    // These log the text of answers they can't read, and every word of a command: no business of the log.
    let silent = [
        "async_openai=off",
        "parse=off",
        "tokenize=off",
        "expansion=off",
        "arithmetic=off",
    ];
    let silent = silent.iter().filter_map(|directive| directive.parse().ok());
    Ok(silent.fold(parsed, EnvFilter::add_directive))
}

/// Scrubs and writes whole events. tracing's formatter hands each one over in a single `write`.
#[derive(Clone)]
struct LineWriter {
    target: Arc<Mutex<Target>>,
    scrubber: Scrubber,
}

enum Target {
    Stderr,
    File(CappedFile),
    #[cfg(test)]
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LineWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        // Text from models and commands may hold line ends; a forged line must not look like one of ours.
        let mut line = (self.scrubber)(body).replace('\n', "\\n").replace('\r', "\\r");
        line.push('\n');
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk or a closed terminal must not stop the daemon: the line is lost, the work is not.
        let _ = match &mut *target {
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
            Target::File(file) => file.append(line.as_bytes()),
            #[cfg(test)]
            Target::Memory(bytes) => bytes.lock().unwrap().write_all(line.as_bytes()),
        };
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is renamed to `.1` when full.
struct CappedFile {
    path: PathBuf,
    file: File,
    length: u64,
    cap: u64,
}

impl CappedFile {
    fn open(path: &Path, cap: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            cap,
        })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let more = line.len() as u64;
        if self.length > 0 && self.length.saturating_add(more) > self.cap {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            Point::LogRename.through(|| fs::rename(&self.path, old))?;
            *self = Self::open(&self.path, self.cap)?;
        }
        self.file.write_all(line)?;
        self.length = self.length.saturating_add(more);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(json: bool, filter: &str, events: impl FnOnce()) -> String {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let writer = LineWriter {
            target: Arc::new(Mutex::new(Target::Memory(bytes.clone()))),
            scrubber: Arc::new(|line| line.replace("sk-canary", "[redacted]").into()),
        };
        let builder = tracing_subscriber::fmt()
            .with_env_filter(parse_filter(filter).unwrap())
            .with_writer(writer)
            .with_ansi(false);
        if json {
            tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), events);
        } else {
            tracing::subscriber::with_default(builder.finish(), events);
        }
        let bytes = bytes.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_scrubbed_and_one_event_is_one_line() {
        for json in [false, true] {
            let text = logged(json, "info", || {
                tracing::info!(header = "Bearer sk-canary", "one\ntwo \u{1b}[31m sk-canary");
                tracing::debug!("quiet");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("[redacted]") && !text.contains("canary"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn a_mistyped_level_is_an_error() {
        assert!(check_filter("inof").unwrap_err().to_string().contains("'inof'"));
        assert!(check_filter("agentd=loud").is_err());
        for good in ["info", "WARN", "info,agentd::model=debug", "off"] {
            check_filter(good).unwrap();
        }
    }

    #[test]
    fn the_log_file_is_private_and_capped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd.log");
        let mut file = CappedFile::open(&path, 100).unwrap();
        for _ in 0..25 {
            file.append(b"twenty bytes of text\n").unwrap();
        }
        let old = dir.path().join("agentd.log.1");
        for each in [&path, &old] {
            let meta = fs::metadata(each).unwrap();
            assert!(meta.len() <= 100 && meta.len() > 0);
            assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let reopened = CappedFile::open(&path, 100).unwrap();
        assert_eq!(reopened.length, fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn a_log_file_that_can_not_be_opened_is_an_error_at_start() {
        let options = LogOptions {
            filter: "info".into(),
            json: false,
            sink: Sink::File("/dev/null/agentd.log".into()),
            scrubber: Arc::new(|line| line.into()),
        };
        assert!(matches!(subscriber(options), Err(TelemetryError::File { .. })));
    }
}
