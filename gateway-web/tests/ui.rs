//! The committed page is what the sources give: built again from the lock file, byte by byte; generated code is
//! current; the bundle keeps its budget.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may fail in any way it likes"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn ui() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ui")
}

/// Node's directory first on the path, as the test setup found it.
fn tool(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(name);
    if let Some(node) = std::env::var_os("AGENTD_TEST_NODE") {
        let bin = Path::new(&node).parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{bin}:{path}"));
    }
    command.current_dir(dir);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&text)
    );
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn same(committed: &Path, made: &Path) {
    let (old, new) = (files(committed), files(made));
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&old),
        names(&new),
        "{} is not what the sources give: make ui",
        committed.display()
    );
    for (name, bytes) in &old {
        assert!(
            new.get(name) == Some(bytes),
            "{}/{name} is not what the sources give: make ui",
            committed.display()
        );
    }
}

#[test]
fn the_committed_page_is_what_the_sources_give() {
    // A copy beside the contract, so that a running build disturbs nobody.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("gateway-web/ui");
    std::fs::create_dir_all(&copy).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    run(Command::new("cp")
        .arg("-r")
        .arg(root.join("proto"))
        .arg(dir.path()));
    for entry in std::fs::read_dir(ui()).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("node_modules") {
            run(Command::new("cp").arg("-r").arg(&path).arg(&copy));
        }
    }
    run(tool("npm", &copy).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]));
    run(tool("npm", &copy).args(["run", "check"]));
    std::fs::remove_dir_all(copy.join("src/gen")).unwrap();
    run(tool("npm", &copy).args(["run", "gen"]));
    same(&ui().join("src/gen"), &copy.join("src/gen"));
    std::fs::remove_dir_all(copy.join("dist")).unwrap();
    run(tool("npm", &copy).args(["run", "build"]));
    same(&ui().join("dist"), &copy.join("dist"));
}

#[test]
fn the_page_and_the_terminals_warn_of_the_same_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = |path: PathBuf, to: &str| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let (table, _) = text.split_once(to).unwrap();
        let codes = table.split("\\u{").skip(1);
        codes
            .map(|code| code.split('}').next().unwrap().to_owned())
            .collect()
    };
    let ours = table(
        root.join("proto/src/escape/lookalikes.rs"),
        "/// What is pretended",
    );
    assert!(ours.len() > 80, "{}", ours.len());
    assert_eq!(table(ui().join("src/lib/asked.ts"), "const SCRIPTS"), ours);
}

#[test]
fn the_page_keeps_its_budget() {
    let dist = ui().join("dist");
    let zipped = |name: &str| {
        let output = Command::new("gzip")
            .args(["-9c"])
            .arg(dist.join(name))
            .output()
            .unwrap();
        output.stdout.len()
    };
    let all = files(&dist);
    let total: usize = all.keys().map(|name| zipped(name)).sum();
    assert!(total <= 400_000, "everything: {total} bytes gzip");
    // The first route: the entry, what it imports, and the worker.
    let mut open: Vec<String> = all
        .keys()
        .filter(|n| n.contains("assets/index-") && n.ends_with(".js"))
        .cloned()
        .collect();
    open.extend(all.keys().filter(|n| n.contains("assets/worker-")).cloned());
    let mut first: Vec<String> = Vec::new();
    while let Some(name) = open.pop() {
        if first.contains(&name) {
            continue;
        }
        let text = String::from_utf8_lossy(&all[&name]).into_owned();
        let head: String = text.chars().take(4000).collect();
        // Static imports only: `from"./x.js"` and `import"./x.js"`.
        for piece in head.split("\"./").skip(1) {
            let file = format!("assets/{}", piece.split('"').next().unwrap_or_default());
            let before = head
                .split(&format!("\"./{}", &file[7..]))
                .next()
                .unwrap_or_default();
            if (before.ends_with("from") || before.ends_with("import")) && all.contains_key(&file) {
                open.push(file);
            }
        }
        first.push(name);
    }
    let size: usize = first.iter().map(|name| zipped(name)).sum();
    assert!(first.len() >= 3, "{first:?}");
    assert!(size <= 120_000, "first route: {size} bytes gzip ({first:?})");
    println!("first route {size}, everything {total} bytes gzip");
}
