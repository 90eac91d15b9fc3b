//! Owns: exercises in the layout of the public benchmarks: `LANGUAGE/exercises/practice/SLUG` with a stub, tests and a
//! reference solution, named in `.meta/config.json`.
//! Guarantees: a path to a checkout of such a benchmark serves as well as our own; what is not of this form is said
//! with its path.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of a test function; each program uses its own part"
)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The configuration with which a jail sees the toolchain of this build.
pub fn config() -> String {
    format!("[jail]\nread_only = [\"{}\"]\n", rust_toolchain())
}

fn rust_toolchain() -> String {
    let printed = std::process::Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc is not installed: https://rustup.rs");
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

/// One exercise.
#[derive(Debug, Clone)]
pub struct Exercise {
    pub language: String,
    pub slug: String,
    dir: PathBuf,
    pub solution: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
    /// The files of the reference solution, each with the file of the exercise that it is for.
    example: Vec<(PathBuf, PathBuf)>,
}

/// Our own exercises.
pub fn ours() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exercises"))
}

/// All exercises of a language below `root`, by name. `root` is our directory, or a checkout of one language's track.
pub fn all(root: &Path, language: &str) -> Vec<Exercise> {
    let places = [
        root.join(language).join("exercises/practice"),
        root.join("exercises/practice"),
    ];
    let practice = places
        .iter()
        .find(|place| place.is_dir())
        .unwrap_or_else(|| panic!("{}: no {language}/exercises/practice", root.display()));
    let mut found: Vec<Exercise> = std::fs::read_dir(practice)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join(".meta/config.json").is_file())
        .map(|entry| Exercise::load(&entry.path(), language))
        .collect();
    found.sort_by(|one, two| one.slug.cmp(&two.slug));
    assert!(!found.is_empty(), "{}: no exercise", practice.display());
    found
}

impl Exercise {
    fn load(dir: &Path, language: &str) -> Self {
        let text = std::fs::read_to_string(dir.join(".meta/config.json")).unwrap();
        let config: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let files = |name: &str| -> Vec<PathBuf> {
            let list = config["files"][name].as_array().cloned().unwrap_or_default();
            list.iter().map(|file| file.as_str().unwrap().into()).collect()
        };
        let (solution, examples) = (files("solution"), files("example"));
        let example = examples
            .iter()
            .filter_map(|example| {
                let kind = example.extension();
                let own = solution.iter().find(|file| file.extension() == kind)?;
                Some((example.clone(), own.clone()))
            })
            .collect();
        Self {
            language: language.to_owned(),
            slug: dir.file_name().unwrap().to_str().unwrap().to_owned(),
            dir: dir.to_owned(),
            test: files("test"),
            solution,
            example,
        }
    }

    /// What is to be done, as a prompt.
    pub fn prompt(&self) -> String {
        let text =
            |name: &str| std::fs::read_to_string(self.dir.join(".docs").join(name)).unwrap_or_default();
        let names: Vec<String> = self
            .solution
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        format!(
            "{}{}{}\nSolve this exercise in {}. Don't change the tests. They are run by `{}`.",
            text("introduction.md"),
            text("instructions.md"),
            text("instructions.append.md"),
            names.join(", "),
            self.command()
        )
    }

    /// Puts what a solver gets into `to`: everything but the reference.
    pub fn put(&self, to: &Path) {
        copy(&self.dir, to);
        std::fs::remove_dir_all(to.join(".meta")).unwrap();
    }

    /// Puts the tests back as they were: whoever changes them proves nothing.
    pub fn put_tests(&self, to: &Path) {
        for file in &self.test {
            std::fs::copy(self.dir.join(file), to.join(file)).unwrap();
        }
    }

    /// The command that runs all tests, offline.
    pub fn command(&self) -> String {
        let tests: Vec<String> = self.test.iter().map(|file| file.display().to_string()).collect();
        match self.language.as_str() {
            "python" => format!("python3 -B -m unittest -q {}", tests.join(" ")),
            "rust" => format!(
                "PATH={}/bin:$PATH cargo test --offline --quiet --tests -- --include-ignored",
                rust_toolchain()
            ),
            "javascript" if self.dir.join("node_modules/.bin/jest").exists() => "npx --no jest".into(),
            "javascript" => format!("node --test {}", tests.join(" ")),
            "cpp" => "g++ -std=c++17 -DEXERCISM_RUN_ALL_TESTS -I. $(find . -name '*.cpp') -o /tmp/tests && /tmp/tests".into(),
            other => panic!("no command is known for {other}"),
        }
    }

    /// The steps of a model that knows the reference solution, as a cassette: it reads each stub, edits it with the tool
    /// of its dialect, runs the tests and says so.
    pub fn cassette(&self, dialect: &str) -> String {
        let mut lines = vec![
            json!({"cassette": {"format": 1, "model": format!("reference/{dialect}"), "dialect": dialect}}),
            json!({"prompt": {"parts": [{"type": "text", "text": self.prompt()}]}}),
        ];
        let mut number = 0;
        let mut call = |text: &str, tool: &str, arguments: Value| {
            number += 1;
            json!({"step": {"parts": [
                {"type": "text", "text": text},
                {"type": "tool_call", "call_id": format!("call_{number}"), "tool": tool, "arguments": arguments.to_string()},
            ]}})
        };
        for (example, own) in &self.example {
            let path = own.to_str().unwrap();
            let after = std::fs::read_to_string(self.dir.join(example)).unwrap();
            let Ok(before) = std::fs::read_to_string(self.dir.join(own)) else {
                lines.push(call(
                    "A new file.",
                    "write",
                    json!({"path": path, "content": after}),
                ));
                continue;
            };
            lines.push(call("I read the stub.", "read", json!({"path": path})));
            let (tool, arguments) = match dialect {
                "apply_patch" => ("apply_patch", json!({"patch": patch(path, &before, &after)})),
                _ => {
                    let (old, new) = changed(&before, &after);
                    ("edit", json!({"path": path, "old": old, "new": new}))
                }
            };
            lines.push(call("I write the solution.", tool, arguments));
        }
        lines.push(call(
            "I run the tests.",
            "exec",
            json!({"command": self.command()}),
        ));
        lines.push(json!({"step": {"parts": [{"type": "text", "text": "Solved; the tests pass."}]}}));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Lines that differ, with up to two lines around them: before and after.
fn hunk<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
        .min(most);
    let around = |lines: &[&'a str]| lines.to_vec();
    (
        around(&old[head.saturating_sub(2)..head]),
        around(&old[head..old.len() - tail]),
        around(&new[head..new.len() - tail]),
        around(&old[old.len() - tail..(old.len() - tail + 2).min(old.len())]),
    )
}

/// The shortest texts that name the change exactly once.
fn changed(before: &str, after: &str) -> (String, String) {
    let (above, old, new, below) = hunk(before, after);
    let joined = |middle: &[&str]| [&above[..], middle, &below[..]].concat().join("\n");
    let (one, two) = (joined(&old), joined(&new));
    if !one.trim().is_empty() && before.matches(one.as_str()).count() == 1 {
        (one, two)
    } else {
        (before.to_owned(), after.to_owned())
    }
}

fn patch(path: &str, before: &str, after: &str) -> String {
    let (above, old, new, below) = hunk(before, after);
    let marked = |mark: char, lines: &[&str]| {
        lines
            .iter()
            .map(|line| format!("{mark}{line}\n"))
            .collect::<String>()
    };
    format!(
        "*** Begin Patch\n*** Update File: {path}\n@@\n{}{}{}{}*** End Patch\n",
        marked(' ', &above),
        marked('-', &old),
        marked('+', &new),
        marked(' ', &below)
    )
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
