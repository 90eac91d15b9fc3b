//! Owns: the figures as a Markdown document, with the machine and its load, since both belong to every figure.

use std::fmt;
use std::time::Duration;

/// All that was measured.
#[derive(Debug)]
pub struct Report {
    head: Vec<String>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    title: &'static str,
    note: String,
    rows: Vec<[String; 3]>,
}

/// Times of one thing done many times.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorted once.
    pub fn of(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    fn at(&self, share: f64) -> Duration {
        let last = self.0.len() - 1;
        self.0[((last as f64) * share).round() as usize]
    }

    /// Half took less.
    pub fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// The quickest.
    pub fn min(&self) -> Duration {
        self.at(0.0)
    }

    /// All but one in a hundred took less.
    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    /// `median (fastest …, p95 …)`.
    pub fn shown(&self) -> String {
        format!(
            "{} (fastest {}, p95 {})",
            ms(self.median()),
            ms(self.min()),
            ms(self.at(0.95))
        )
    }
}

/// Milliseconds with three digits that mean something.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 1.0 {
        format!("{ms:.3} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// Megabytes, as in 10^6.
pub fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

impl Report {
    /// Notes the machine and its load.
    pub fn begin() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let memory: u64 = read("/proc/meminfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let build = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        Self {
            head: vec![
                format!("- agentd {}, {build} build", env!("CARGO_PKG_VERSION")),
                format!(
                    "- {cores} × {cpu}, {:.1} GB, Linux {}",
                    memory as f64 / 1e6,
                    read("/proc/sys/kernel/osrelease").trim()
                ),
                format!("- load average before: {}", load()),
            ],
            parts: Vec::new(),
        }
    }

    /// Notes the load afterwards.
    pub fn end(&mut self) {
        self.head.push(format!("- load average after: {}", load()));
    }

    /// The following rows belong here.
    pub fn part(&mut self, title: &'static str, note: impl Into<String>) {
        eprintln_progress(title);
        self.parts.push(Part {
            title,
            note: note.into(),
            rows: Vec::new(),
        });
    }

    /// One figure; `goal` may be empty.
    pub fn row(&mut self, what: impl Into<String>, figure: impl Into<String>, goal: &str) {
        let part = self.parts.last_mut().expect("a part was begun");
        part.rows.push([what.into(), figure.into(), goal.to_owned()]);
    }

    /// How many figures there are.
    #[allow(dead_code, reason = "asked by the test of the quick form")]
    pub fn figures(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }
}

/// A run takes minutes: it says where it is.
fn eprintln_progress(title: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "bench: {title}").ok();
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Benchmarks\n")?;
        writeln!(
            f,
            "Made by `make bench`. Each figure is what this one run found on this machine at this load; compare ratios and \
             fastest times rather than medians where the machine was busy. Goals are for a quiet machine.\n"
        )?;
        for line in &self.head {
            writeln!(f, "{line}")?;
        }
        for part in &self.parts {
            writeln!(f, "\n## {}\n", part.title)?;
            if !part.note.is_empty() {
                writeln!(f, "{}\n", part.note)?;
            }
            writeln!(f, "| what | found | goal |\n|---|---|---|")?;
            for [what, found, goal] in &part.rows {
                writeln!(f, "| {what} | {found} | {goal} |")?;
            }
        }
        Ok(())
    }
}
