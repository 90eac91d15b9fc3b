//! Owns: `make eval MODEL=…`: how many exercises a model solves through us, how reliably, and for how many tokens; beside any
//! peer program that is asked for. Opt-in: it needs a key or a server, and spends money.
//! Guarantees: the solver sees no reference solution; tests are put back before they are run, in the jail; every
//! figure is counted, none is estimated; what could not be measured is said.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a measuring program: what goes wrong ends it, with its reason"
)]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use exercise::Exercise;
use serde_json::Value;

const USAGE: &str = "\
usage: make eval MODEL=PROVIDER/NAME [RUNS=3] [LANGUAGES=python,rust,javascript,cpp] [COUNT=N] [EXERCISES=DIR] [PEERS=codex,…]
  The key is taken from the environment, such as OPENAI_API_KEY; a local server needs none.
  EXERCISES: a checkout of a public benchmark in this layout: DIR/LANGUAGE/exercises/practice/SLUG.";
/// A spread needs as many.
const FEWEST_RUNS: usize = 3;
/// For one exercise.
const LIMIT: Duration = Duration::from_secs(600);

/// Peers, each with the arguments for one unattended task in the current directory.
const PEERS: &[(&str, &[&str])] = &[
    ("codex", &["exec", "--full-auto", "--skip-git-repo-check"]),
    ("claude", &["--permission-mode", "acceptEdits", "-p"]),
    ("opencode", &["run"]),
    ("gemini", &["--yolo", "-p"]),
    (
        "aider",
        &["--yes-always", "--no-git", "--no-check-update", "--message"],
    ),
];

/// What one exercise came to.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    solved: bool,
    tokens: Option<u64>,
    cost_micro_usd: Option<u64>,
    steps: Option<u64>,
    seconds: f64,
}

struct Wishes {
    model: String,
    runs: usize,
    languages: Vec<String>,
    count: usize,
    root: PathBuf,
    peers: Vec<String>,
}

fn main() -> ExitCode {
    let wish = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let Some(model) = wish("EVAL_MODEL") else {
        eprintln!("error: no model is named\n{USAGE}");
        return ExitCode::from(2);
    };
    let number = |name: &str, usual: usize| match wish(name).map(|text| text.parse::<usize>()) {
        None => usual,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            eprintln!("error: {name} is no number\n{USAGE}");
            std::process::exit(2);
        }
    };
    let list = |name: &str, usual: &str| -> Vec<String> {
        let text = wish(name).unwrap_or_else(|| usual.to_owned());
        text.split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    let wishes = Wishes {
        model,
        runs: number("EVAL_RUNS", FEWEST_RUNS).max(FEWEST_RUNS),
        languages: list("EVAL_LANGUAGES", "python,rust,javascript,cpp"),
        count: number("EVAL_COUNT", usize::MAX),
        root: wish("EVAL_EXERCISES").map_or_else(exercise::ours, PathBuf::from),
        peers: list("EVAL_PEERS", ""),
    };
    match evaluate(&wishes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// A daemon of its own, with the caller's keys.
struct Rig {
    dir: tempfile::TempDir,
    bin: PathBuf,
}

impl Rig {
    fn start() -> Self {
        let exe = std::env::current_exe().unwrap();
        let bin = exe.ancestors().nth(2).unwrap().to_owned();
        let dir = tempfile::Builder::new()
            .prefix("agde")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::write(dir.path().join("config.toml"), exercise::config()).unwrap();
        Self { dir, bin }
    }

    fn ctl(&self, at: &Path, words: &[&str]) -> std::process::Output {
        Command::new(self.bin.join("agentctl"))
            .args(words)
            .env("AGENTD_STATE_DIR", self.dir.path().join("s"))
            .env("AGENTD_CONFIG", self.dir.path().join("config.toml"))
            .env_remove("AGENTD_SOCKET")
            .env_remove("AGENTCTL_SESSION")
            .current_dir(at)
            .stdin(Stdio::null())
            .output()
            .expect("agentctl is built with the eval")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // One that never started needs no stop.
        drop(self.ctl(Path::new("/"), &["daemon", "stop", "--no-autostart"]));
    }
}

fn evaluate(wishes: &Wishes) -> Result<(), String> {
    let rig = Rig::start();
    let root = rig.dir.path().to_owned();
    let tried = rig.ctl(&root, &["models", "test", &wishes.model]);
    let said = String::from_utf8_lossy(&tried.stderr);
    if said.contains("[no_tool_call]") {
        eprintln!(
            "note: it answered in words where it was asked to call a tool; it is evaluated all the same"
        );
    } else if !tried.status.success() {
        return Err(format!(
            "the model does not answer; nothing was evaluated\n{}\n{USAGE}",
            said.trim()
        ));
    }
    let exercises: Vec<Exercise> = wishes
        .languages
        .iter()
        .flat_map(|language| {
            exercise::all(&wishes.root, language)
                .into_iter()
                .take(wishes.count)
        })
        .collect();
    println!(
        "{} exercises, {} runs, from {}\n",
        exercises.len(),
        wishes.runs,
        wishes.root.display()
    );
    println!(
        "| solver | solved | lowest to highest run | tokens each | cost each | steps each | seconds each |"
    );
    println!("|---|---|---|---|---|---|---|");
    row(
        &format!("agentd, {}", wishes.model),
        wishes.runs,
        &exercises,
        |exercise, place| solve(&rig, &wishes.model, exercise, place),
    );
    for (peer, arguments) in PEERS {
        let there = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(peer).is_file()));
        if !wishes.peers.iter().any(|wished| wished == peer) {
            if there {
                eprintln!(
                    "{peer} is installed: PEERS={peer} runs it too, with its own model, account and rights"
                );
            }
            continue;
        }
        if !there {
            return Err(format!("{peer} is not installed"));
        }
        row(peer, wishes.runs, &exercises, |exercise, place| {
            let begun = Instant::now();
            let ended = Command::new("timeout")
                .arg(LIMIT.as_secs().to_string())
                .arg(peer)
                .args(*arguments)
                .arg(exercise.prompt())
                .current_dir(place)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            Outcome {
                solved: ended.is_ok() && passes(&rig, exercise, place),
                seconds: begun.elapsed().as_secs_f64(),
                ..Outcome::default()
            }
        });
    }
    Ok(())
}

/// All exercises, as often as asked for, as a line of the table.
fn row(
    solver: &str,
    runs: usize,
    exercises: &[Exercise],
    mut solve: impl FnMut(&Exercise, &Path) -> Outcome,
) {
    let mut all = Vec::new();
    let mut rates = Vec::new();
    for run in 1..=runs {
        let mut solved = 0;
        for exercise in exercises {
            let place = tempfile::tempdir().unwrap();
            let work = place.path().join(&exercise.slug);
            exercise.put(&work);
            let outcome = solve(exercise, &work);
            eprintln!(
                "{solver} · run {run} · {}/{} · {}",
                exercise.language,
                exercise.slug,
                if outcome.solved { "solved" } else { "not solved" }
            );
            solved += usize::from(outcome.solved);
            all.push(outcome);
        }
        rates.push(solved * 100 / exercises.len().max(1));
    }
    let each = |of: &dyn Fn(&Outcome) -> Option<u64>| {
        let known: Vec<u64> = all.iter().filter_map(of).collect();
        (known.len() == all.len()).then(|| known.iter().sum::<u64>() / known.len().max(1) as u64)
    };
    let shown = |value: Option<u64>| value.map_or("—".to_owned(), |value| value.to_string());
    let cost = each(&|one| one.cost_micro_usd)
        .map_or("—".to_owned(), |micro| format!("${:.4}", micro as f64 / 1e6));
    println!(
        "| {solver} | {} of {} | {} % to {} % | {} | {cost} | {} | {:.1} |",
        all.iter().filter(|one| one.solved).count(),
        all.len(),
        rates.iter().min().unwrap_or(&0),
        rates.iter().max().unwrap_or(&0),
        shown(each(&|one| one.tokens)),
        shown(each(&|one| one.steps)),
        all.iter().map(|one| one.seconds).sum::<f64>() / all.len().max(1) as f64
    );
}

fn solve(rig: &Rig, model: &str, exercise: &Exercise, place: &Path) -> Outcome {
    let begun = Instant::now();
    let limit = format!("{}s", LIMIT.as_secs());
    let words = [
        "run",
        "--new",
        "-m",
        model,
        "--on-approval",
        "deny",
        "--timeout",
        &limit,
        "-o",
        "json",
    ];
    let prompt = exercise.prompt();
    let ran = rig.ctl(place, &[&words[..], &[&prompt]].concat());
    let seconds = begun.elapsed().as_secs_f64();
    let document: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    let number = |value: &Value| value.as_u64();
    let tokens = &document["tokens"];
    Outcome {
        solved: passes(rig, exercise, place),
        tokens: number(&tokens["input"]).map(|input| input + number(&tokens["output"]).unwrap_or_default()),
        cost_micro_usd: number(&document["cost_micro_usd"]),
        steps: number(&document["steps"]),
        seconds,
    }
}

fn passes(rig: &Rig, exercise: &Exercise, place: &Path) -> bool {
    exercise.put_tests(place);
    let name = format!(
        "tests-{}",
        place
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
    );
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let words = ["exec", "--name", &name, "--timeout", "300s", "--"];
    rig.ctl(place, &[&words[..], &[&exercise.command()]].concat())
        .status
        .success()
}
