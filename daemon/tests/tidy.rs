//! Owns: the house rules that no compiler checks, as tests over the sources of the whole workspace.
//! Guarantees: every rule can fail (each checker is tried on a bad sample first), and every exception is listed
//! here with its reason; an exception that is no longer needed fails too.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail in any way it likes"
)]

mod tidy_source;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tidy_source::{Source, words_after};

/// 400 lines is a file; more than this needs a reason.
const SIZE_LIMIT: usize = 600;
/// Tests are lists of cases; they may be longer.
const TEST_SIZE_LIMIT: usize = 900;
/// Longer files, with the reason.
const SIZE_EXCEPTIONS: &[(&str, &str)] = &[
    ("client-cli/src/args/verbs.rs", "a list: every flag with its help"),
    (
        "daemon/jinit/src/wire.rs",
        "one protocol: each frame beside its bytes",
    ),
    (
        "daemon/src/config/keys.rs",
        "a list: every setting with its words",
    ),
    (
        "daemon/src/domain/event.rs",
        "the log's whole vocabulary in one place",
    ),
    ("proto/src/client.rs", "a list: one method for each call"),
];

/// A word that may appear only behind its door.
struct Door {
    word: &'static str,
    /// Files, or directories ending in `/`.
    behind: &'static [&'static str],
    /// Look into string literals too.
    in_strings: bool,
}

/// Each foreign vocabulary has one door.
const DOORS: &[Door] = &[
    Door {
        word: "tonic::Status",
        behind: STATUS,
        in_strings: false,
    },
    Door {
        word: "Status::",
        behind: STATUS,
        in_strings: false,
    },
    Door {
        word: "rusqlite",
        behind: &["daemon/src/store/", "daemon/src/store.rs"],
        in_strings: false,
    },
    Door {
        word: "async_openai",
        behind: &["daemon/src/model/", "daemon/src/model.rs"],
        in_strings: false,
    },
    Door {
        word: "\"--unshare-",
        behind: BWRAP,
        in_strings: true,
    },
    Door {
        word: "\"--ro-bind",
        behind: BWRAP,
        in_strings: true,
    },
    Door {
        word: "\"--bind",
        behind: BWRAP,
        in_strings: true,
    },
    Door {
        word: "\"--tmpfs\"",
        behind: BWRAP,
        in_strings: true,
    },
    Door {
        word: "\"--as-pid-1\"",
        behind: BWRAP,
        in_strings: true,
    },
    Door {
        word: "println!",
        behind: PRINTS,
        in_strings: false,
    },
    Door {
        word: "print!",
        behind: PRINTS,
        in_strings: false,
    },
    Door {
        word: "eprintln!",
        behind: PRINTS,
        in_strings: false,
    },
    Door {
        word: "eprint!",
        behind: PRINTS,
        in_strings: false,
    },
];
const STATUS: &[&str] = &[
    "daemon/src/api/status.rs",
    "proto/src/error.rs",
    "proto/src/pb.rs",
    "gateway-web/src/proxy.rs",
];
const BWRAP: &[&str] = &["daemon/src/jail/bwrap.rs"];
/// What talks to a person or, in build scripts, to cargo.
const PRINTS: &[&str] = &[
    "client-cli/src/render/",
    "client-cli/src/render.rs",
    "daemon/src/main.rs",
    "proto/build.rs",
    "gateway-web/src/main.rs",
    "daemon/build.rs",
    "daemon/jinit/build.rs",
];

/// Which modules of the daemon each module may use. What is not listed is forbidden; a module that is not in
/// the table has no place in the house yet.
const ARROWS: &[(&str, &[&str])] = &[
    // The frame: knows nothing of sessions.
    ("clock", &[]),
    ("paths", &[]),
    ("telemetry", &["durable"]),
    ("shutdown", &[]),
    ("instance", &["durable"]),
    ("durable", &[]),
    ("listener", &["durable", "instance", "paths"]),
    ("service", &["paths"]),
    ("survival", &["paths"]),
    ("config", &["domain", "paths", "telemetry"]),
    ("credentials", &["domain", "durable", "paths"]),
    ("args", &["config", "paths"]),
    ("accounts", &["domain", "durable", "paths"]),
    ("personas", &["config", "credentials", "domain"]),
    // The house, from right to left.
    ("domain", &[]),
    ("store", &["domain", "durable"]),
    ("model", &["clock", "domain"]),
    ("workspace", &["domain", "durable"]),
    ("jail", &["domain", "durable"]),
    ("shell", &["domain", "durable", "jail"]),
    ("tools", &["domain", "jail", "shell", "workspace"]),
    ("board", &["clock", "domain", "store", "workspace"]),
    ("ledger", &["clock", "domain", "store"]),
    (
        "session",
        &[
            "clock",
            "config",
            "domain",
            "jail",
            // Before a model request the session asks whether a budget has room for it.
            "ledger",
            "model",
            "shell",
            "store",
            "tools",
            "workspace",
        ],
    ),
    (
        "supervisor",
        &[
            "clock",
            "config",
            "credentials",
            "domain",
            "jail",
            "model",
            "paths",
            "personas",
            "session",
            "shell",
            "shutdown",
            "store",
            "tools",
            "workspace",
        ],
    ),
    (
        "api",
        &[
            "clock",
            "accounts",
            "board",
            "credentials",
            "domain",
            "personas",
            "ledger",
            "listener",
            "session",
            "shutdown",
            "supervisor",
        ],
    ),
    // These two see everything: the composition root, and the daemon made for tests.
    ("daemon", ALL),
    ("testing", ALL),
];
const ALL: &[&str] = &["*"];

/// Names that say nothing, and words that the glossary replaced by others.
const BANNED_NAMES: &[&str] = &[
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "misc",
    "manager",
    "managers",
    "conversation",
    "thread",
    "chat",
    "sandbox",
    "permission",
    "permissions",
];
const NAME_EXCEPTIONS: &[(&str, &str)] = &[
    (
        "daemon/src/store/thread.rs",
        "an operating-system thread, the one that writes",
    ),
    (
        "daemon/src/model/chat.rs",
        "the provider API called Chat Completions",
    ),
    (
        "daemon/src/model/chat/",
        "the provider API called Chat Completions",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file of the workspace with one of these endings, by its path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                // What a solver is given is code of another house.
                let foreign = path.ends_with("daemon/tests/exercises");
                if !(name.starts_with('.') || name == "target" || name == "node_modules" || foreign) {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((relative, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    files(&[".rs"])
        .into_iter()
        .map(|(path, text)| Source::new(path, text))
        .collect()
}

fn is_behind(path: &str, doors: &[&str]) -> bool {
    doors.iter().any(|door| {
        if door.ends_with('/') {
            path.starts_with(door)
        } else {
            path == *door
        }
    })
}

/// Fails with all findings at once.
fn expect_none(rule: &str, findings: &[String]) {
    let mut list = String::new();
    for finding in findings {
        let _ = write!(list, "\n  {finding}");
    }
    assert!(findings.is_empty(), "{rule}:{list}");
}

fn missing_docs(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let says_something = first
        .strip_prefix("//!")
        .is_some_and(|words| words.trim().len() > 10);
    let message = "the first line is not a `//!` that says what the file owns";
    (!says_something).then(|| format!("{}: {message}", source.path))
}

fn oversize(source: &Source, exceptions: &[(&str, &str)]) -> Option<String> {
    let lines = source.text.lines().count();
    let limit = if source.is_test() {
        TEST_SIZE_LIMIT
    } else {
        SIZE_LIMIT
    };
    let excepted = exceptions.iter().any(|(path, _)| *path == source.path);
    match (lines > limit, excepted) {
        (true, false) => Some(format!("{}: {lines} lines, more than {limit}", source.path)),
        (false, true) => Some(format!("{}: no longer needs its exception", source.path)),
        _ => None,
    }
}

fn wrong_doors(source: &Source, doors: &[Door]) -> Vec<String> {
    let mut found = Vec::new();
    if source.is_test() {
        return found;
    }
    let (code, bare) = (source.code(), source.bare());
    for door in doors.iter().filter(|door| !is_behind(&source.path, door.behind)) {
        let view = if door.in_strings { &code } else { &bare };
        for (number, line) in view.lines().enumerate() {
            let grouped = door.word == "tonic::Status" && imports_status(line);
            if grouped || contains_word(line, door.word) {
                let behind = door.behind.join(", ");
                found.push(format!(
                    "{}:{}: {} belongs into {behind}",
                    source.path,
                    number + 1,
                    door.word
                ));
            }
        }
    }
    found
}

/// `use tonic::{Request, Status};`
fn imports_status(line: &str) -> bool {
    line.split_once("tonic::{")
        .is_some_and(|(_, names)| contains_word(names, "Status"))
}

/// The word, not as a part of a longer one (`ExitStatus::` is not `Status::`).
fn contains_word(line: &str, word: &str) -> bool {
    let joined = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = word.starts_with(joined) && line[..at].chars().next_back().is_some_and(joined);
        let after = word.ends_with(joined) && line[at + word.len()..].chars().next().is_some_and(joined);
        !before && !after
    })
}

fn wrong_arrows(source: &Source, table: &[(&str, &[&str])]) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("daemon/src/") else {
        return Vec::new();
    };
    if source.is_test() || inside == "main.rs" || inside == "lib.rs" {
        return Vec::new();
    }
    let module = inside.trim_end_matches(".rs").split('/').next().unwrap();
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{}: the module `{module}` is not in the table of arrows",
            source.path
        )];
    };
    let forbidden = source.modules_used().into_iter().filter(|(_, used)| {
        let known = used == module || allowed.contains(&used.as_str()) || *allowed == ALL;
        // `crate::Thing` is what lib.rs re-exports, which is nothing.
        !known && !used.is_empty() && !used.starts_with(char::is_uppercase)
    });
    forbidden
        .map(|(line, used)| format!("{}:{line}: `{module}` may not use `{used}`", source.path))
        .collect()
}

fn banned_name(path: &str, exceptions: &[(&str, &str)]) -> Option<String> {
    let excepted = exceptions.iter().any(|(except, _)| is_behind(path, &[except]));
    let bad = path
        .trim_end_matches(".rs")
        .split('/')
        .find(|part| BANNED_NAMES.contains(part))?;
    (!excepted).then(|| format!("{path}: `{bad}` is not a name for a module"))
}

fn uncommented_rpcs(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let commented = |at: usize| {
        at.checked_sub(1)
            .is_some_and(|above| lines[above].starts_with("//"))
    };
    let rpcs = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("rpc "));
    rpcs.filter(|(at, _)| !commented(*at))
        .map(|(at, line)| format!("{path}:{}: no comment above {line}", at + 1))
        .collect()
}

fn own_lints(path: &str, text: &str) -> Option<String> {
    let is_package = text.lines().any(|line| line.trim() == "[package]");
    let section = words_after(text, "[lints]").unwrap_or_default();
    let inherits = section
        .lines()
        .any(|line| line.replace(' ', "") == "workspace=true");
    (is_package && !inherits).then(|| format!("{path}: does not inherit the lints of the workspace"))
}

/// Relative links of a Markdown file that lead nowhere.
fn dead_links(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let dir = Path::new(path).parent().unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let own = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '/']));
    let names = own
        .filter_map(|target| target.split('#').next())
        .filter(|name| !name.contains(' '));
    names
        .filter(|name| !exists(&dir.join(name)))
        .map(|name| format!("{path}: no file {name}"))
        .collect()
}

#[test]
fn every_file_says_what_it_owns() {
    let bad = Source::new("x.rs", "use std::fmt;\n");
    assert!(missing_docs(&bad).is_some());
    assert!(missing_docs(&Source::new("x.rs", "//! x\n")).is_some());
    let findings: Vec<_> = sources().iter().filter_map(missing_docs).collect();
    expect_none("every file begins with `//!`", &findings);
}

#[test]
fn no_file_is_too_long() {
    let long = Source::new("x/src/a.rs", "//! a\n".repeat(601));
    assert!(oversize(&long, &[]).is_some());
    assert!(oversize(&long, &[("x/src/a.rs", "because")]).is_none());
    assert!(oversize(&Source::new("x/src/a.rs", "//! a\n"), &[("x/src/a.rs", "stale")]).is_some());
    assert!(oversize(&Source::new("x/tests/a.rs", "//! a\n".repeat(601)), &[]).is_none());
    let findings: Vec<_> = sources()
        .iter()
        .filter_map(|source| oversize(source, SIZE_EXCEPTIONS))
        .collect();
    expect_none("400 lines is a file, 600 needs a reason", &findings);
    let all: Vec<String> = sources().into_iter().map(|source| source.path).collect();
    for (path, _) in SIZE_EXCEPTIONS {
        assert!(
            all.iter().any(|known| known == path),
            "the exception {path} names no file"
        );
    }
}

#[test]
fn foreign_words_stay_behind_their_doors() {
    let found = |path: &str, text: &str| wrong_doors(&Source::new(path, text), DOORS).len();
    assert_eq!(found("daemon/src/session/actor.rs", "use rusqlite::Row;"), 1);
    assert_eq!(found("daemon/src/store/reader.rs", "use rusqlite::Row;"), 0);
    assert_eq!(
        found(
            "daemon/src/session/actor.rs",
            "// rusqlite is elsewhere\nlet s = \"rusqlite\";"
        ),
        0
    );
    assert_eq!(
        found("daemon/src/api/shell.rs", "use tonic::{Request, Status};"),
        1
    );
    assert_eq!(
        found("daemon/src/api/shell.rs", "Err(Status::internal(\"x\"))"),
        1
    );
    assert_eq!(
        found("daemon/src/api/status.rs", "Err(tonic::Status::internal(\"x\"))"),
        0
    );
    assert_eq!(found("daemon/src/shell/x.rs", "ExitStatus::default()"), 0);
    assert_eq!(found("daemon/src/shell/x.rs", "args.push(\"--unshare-net\");"), 1);
    assert_eq!(
        found("daemon/src/jail/bwrap.rs", "args.push(\"--unshare-net\");"),
        0
    );
    assert_eq!(found("client-cli/src/command/run.rs", "println!(\"x\");"), 1);
    assert_eq!(found("client-cli/src/render/text.rs", "println!(\"x\");"), 0);
    assert_eq!(
        found(
            "daemon/src/x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { println!(\"}\"); } }"
        ),
        0
    );
    let findings: Vec<_> = sources()
        .iter()
        .flat_map(|source| wrong_doors(source, DOORS))
        .collect();
    expect_none("each foreign vocabulary has one door", &findings);
}

/// What makes something durable, or a frame go to or come from a jail, on a line that passes no `Point`.
fn unnamed_points(source: &Source) -> Vec<String> {
    const ACTS: &[&str] = &[
        "fsync(",
        "sync_all(",
        "sync_data(",
        "fs::rename(",
        "renameat(",
        "renameat_with(",
        "\"COMMIT\"",
        ".commit()",
        "net::send(",
        "net::sendmsg(",
        "fn hear(",
        "frames.recv(",
    ];
    /// Code that makes a frame but only waits, or hands it to a line that passes one; and the frame itself.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("daemon/src/shell/actor.rs", "frames.recv("),
        ("daemon/src/shell/outcome.rs", "frames.recv("),
    ];
    let of_tests = source.is_test() || source.path.ends_with("_tests.rs");
    if !source.path.starts_with("daemon/src/") || of_tests {
        return Vec::new();
    }
    let code = source.code();
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for act in ACTS.iter().filter(|act| line.contains(**act)) {
            // The point is named on the line, or a few lines around it where the formatter broke them.
            let near = |before: usize, after: usize, word: &str| {
                lines[at.saturating_sub(before)..lines.len().min(at + after)]
                    .iter()
                    .any(|line| line.contains(word))
            };
            let named = near(4, 3, ".through(") || near(14, 3, ".pass()");
            let excepted = ELSEWHERE.contains(&(source.path.as_str(), *act));
            if !named && !excepted {
                found.push(format!("{}:{}: {act} without a `Point`", source.path, at + 1));
            }
        }
    }
    found
}

#[test]
fn what_becomes_durable_passes_a_point() {
    let found = |text: &str| unnamed_points(&Source::new("daemon/src/x.rs", text)).len();
    assert_eq!(found("file.sync_all()?;"), 1);
    assert_eq!(found("Point::LockSync.through(|| file.sync_all())?;"), 0);
    assert_eq!(
        found("let _passing = Point::A.pass();\nlet sent = net::sendmsg(fd);"),
        0
    );
    assert_eq!(found("c.execute_batch(\"COMMIT\")"), 1);
    assert_eq!(found("// then fsync(file)\nlet a = 1;"), 0);
    let findings: Vec<_> = sources().iter().flat_map(unnamed_points).collect();
    expect_none(
        "what becomes durable passes a Point, so that a test can kill the daemon there",
        &findings,
    );
}

/// The wall clock is for stamping events, and for servers that answer with a date.
const WALL_CLOCK: &[&str] = &["daemon/src/clock.rs", "daemon/src/model/retry.rs"];

fn wall_clock(source: &Source) -> Vec<String> {
    let inside = ["daemon/src/", "daemon/jinit/src/", "proto/src/"];
    if source.is_test() || !inside.iter().any(|dir| source.path.starts_with(dir)) {
        return Vec::new();
    }
    let bare = source.bare();
    let reads = ["SystemTime::now", "Timestamp::now", "Zoned::now"];
    let lines = bare.lines().enumerate();
    lines
        .filter(|(_, line)| reads.iter().any(|word| line.contains(word)))
        .filter(|_| !is_behind(&source.path, WALL_CLOCK))
        .map(|(number, _)| format!("{}:{}: reads the wall clock", source.path, number + 1))
        .collect()
}

#[test]
fn time_outs_use_the_clock_that_never_jumps() {
    let found = |path: &str| wall_clock(&Source::new(path, "let a = SystemTime::now();")).len();
    assert_eq!(found("daemon/src/shell/idle.rs"), 1);
    assert_eq!(found("daemon/src/clock.rs"), 0);
    let findings: Vec<_> = sources().iter().flat_map(wall_clock).collect();
    expect_none("a clock that is set must not end or prolong anything", &findings);
    // Where it is read it makes stamps: nothing compares them to decide whether time is up.
    for path in WALL_CLOCK {
        let used = sources().iter().any(|source| source.path == *path);
        assert!(used, "{path} is no longer there");
    }
}

#[test]
fn arrows_point_one_way() {
    let found = |path: &str, text: &str| wrong_arrows(&Source::new(path, text), ARROWS).len();
    assert_eq!(found("daemon/src/domain/event.rs", "use crate::store::Store;"), 1);
    assert_eq!(
        found("daemon/src/domain/event.rs", "use crate::domain::id::SessionId;"),
        0
    );
    assert_eq!(
        found(
            "daemon/src/api/shell.rs",
            "use crate::{domain::id, store::Store, model};"
        ),
        2
    );
    assert_eq!(
        found("daemon/src/store/log.rs", "use super::super::model::Model;"),
        1
    );
    assert_eq!(found("daemon/src/store/log.rs", "use super::codec::decode;"), 0);
    assert_eq!(found("daemon/src/store/mod.rs", "use super::model::Model;"), 1);
    assert_eq!(
        found(
            "daemon/src/jail/spec.rs",
            "fn f(x: &crate::workspace::Workspace) {}"
        ),
        1
    );
    assert_eq!(
        found(
            "daemon/src/model/mod.rs",
            "// crate::store\nfn f() { g(\"crate::store\") }"
        ),
        0
    );
    assert_eq!(
        found(
            "daemon/src/model/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::store::Store; }"
        ),
        0
    );
    assert_eq!(found("daemon/src/daemon.rs", "use crate::store::Store;"), 0);
    assert_eq!(found("daemon/src/newcomer.rs", ""), 1);
    let findings: Vec<_> = sources()
        .iter()
        .flat_map(|source| wrong_arrows(source, ARROWS))
        .collect();
    expect_none("a module uses only what lies to its right", &findings);
}

#[test]
fn names_say_something() {
    assert!(banned_name("daemon/src/utils.rs", NAME_EXCEPTIONS).is_some());
    assert!(banned_name("daemon/src/shell/common/x.rs", NAME_EXCEPTIONS).is_some());
    assert!(banned_name("daemon/src/store/thread.rs", NAME_EXCEPTIONS).is_none());
    let findings: Vec<_> = sources()
        .iter()
        .filter_map(|source| banned_name(&source.path, NAME_EXCEPTIONS))
        .collect();
    expect_none("module names come from the glossary", &findings);
}

#[test]
fn every_rpc_is_described() {
    let sample = "service A {\n  rpc B(C) returns (D);\n  // E.\n  rpc F(C) returns (D);\n}";
    assert_eq!(uncommented_rpcs("x.proto", sample).len(), 1);
    let protos = files(&[".proto"]);
    assert!(!protos.is_empty());
    let findings: Vec<_> = protos
        .iter()
        .flat_map(|(path, text)| uncommented_rpcs(path, text))
        .collect();
    expect_none("the proto comments are the reference manual", &findings);
}

#[test]
fn no_test_is_skipped() {
    let skipped = |source: &Source| {
        let bare = tidy_source::strip(&source.text, false);
        let hit = bare.lines().any(|line| line.trim_start().starts_with("#[ignore"));
        hit.then(|| format!("{}: a test that never runs proves nothing", source.path))
    };
    let sample = "#[cfg(test)]\nmod tests {\n  #[test]\n  #[ignore = \"slow\"]\n  fn f() {}\n}";
    assert!(skipped(&Source::new("x.rs", sample)).is_some());
    let findings: Vec<_> = sources().iter().filter_map(skipped).collect();
    expect_none("no #[ignore]", &findings);
}

#[test]
fn every_package_has_the_lints_of_the_workspace() {
    assert!(own_lints("x", "[package]\nname = \"x\"\n").is_some());
    assert!(own_lints("x", "[package]\n[lints]\nworkspace = true\n").is_none());
    assert!(own_lints("x", "[workspace]\n").is_none());
    let manifests = files(&["Cargo.toml"]);
    let findings: Vec<_> = manifests
        .iter()
        .filter_map(|(path, text)| own_lints(path, text))
        .collect();
    expect_none("lints are inherited", &findings);
}

#[test]
fn documents_link_to_files_that_exist() {
    let sample = "[a](B.md) [b](C.md#x) [c](http://h/) [d](#here)";
    let found = dead_links("docs/A.md", sample, |path| path.ends_with("B.md"));
    assert_eq!(found, ["docs/A.md: no file C.md"]);
    let documents = files(&[".md"]);
    let exists = |path: &Path| root().join(path).exists();
    let findings: Vec<_> = documents
        .iter()
        .flat_map(|(path, text)| dead_links(path, text, exists))
        .collect();
    expect_none("links lead somewhere", &findings);
}
