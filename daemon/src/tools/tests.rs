//! Owns: tests of the tools as the session uses them: plan, clear, run, on a real directory.

use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;

use super::testing::Bench;
use super::*;

fn patch(body: &str) -> serde_json::Value {
    json!({"patch": format!("*** Begin Patch\n{body}*** End Patch\n")})
}

#[tokio::test]
async fn protected_paths_are_named_in_the_plan_and_need_clearance() {
    let bench = Bench::new(&[("src/x", "")]);
    std::fs::create_dir_all(bench.dir.path().join(".git/hooks")).unwrap();
    symlink("../.git/hooks", bench.dir.path().join("src/h")).unwrap();
    let args = json!({"path": "src/h/pre-commit", "content": "#!/bin/sh\n"});
    let plan = bench.plan("write", args.clone()).unwrap();
    assert_eq!(
        plan.cleared(),
        [std::path::PathBuf::from(".git/hooks/pre-commit")]
    );
    assert_eq!(
        plan.facts("write", std::path::Path::new("/work")).protected.len(),
        1
    );
    let tool = Registry::for_dialect(crate::domain::tool::EditDialect::ApplyPatch)
        .get("write")
        .unwrap();
    let error = tool.run(&args, &bench.ctx).await.unwrap_err().to_string();
    assert!(error.contains("is protected"), "{error}");
    assert_eq!(bench.text(".git/hooks/pre-commit"), "<NotFound>");
    bench.ok("write", args).await;
    assert_eq!(bench.text(".git/hooks/pre-commit"), "#!/bin/sh\n");
}

#[tokio::test]
async fn no_tool_leaves_the_workspace() {
    let bench = Bench::new(&[("src/x", "")]);
    symlink("/etc/passwd", bench.dir.path().join("x")).unwrap();
    symlink("/etc", bench.dir.path().join("etc")).unwrap();
    for path in ["x", "etc/passwd", "../../etc/passwd", "src/../../x"] {
        for (tool, args) in [
            ("read", json!({"path": path})),
            ("write", json!({"path": path, "content": "x"})),
            ("edit", json!({"path": path, "old": "root", "new": "x"})),
            ("search", json!({"pattern": "root", "path": path})),
            (
                "apply_patch",
                patch(&format!("*** Update File: {path}\n-root\n+x\n")),
            ),
        ] {
            let error = bench.no(tool, args).await;
            assert!(error.contains("outside the workspace"), "{tool} {path}: {error}");
        }
    }
    assert!(
        !bench
            .ok("search", json!({"pattern": "root:"}))
            .await
            .contains("x:")
    );
}

#[tokio::test]
async fn read_numbers_lines_and_counts_what_it_cuts() {
    let long: String = (1..=3000).map(|n| format!("line {n}\n")).collect();
    let bench = Bench::new(&[
        ("long", &long),
        ("short", "a\r\nb"),
        ("wide", &"x".repeat(5000)),
        ("esc", "a\u{1b}[2Jb\n"),
    ]);
    assert_eq!(
        bench.ok("read", json!({"path": "short"})).await,
        "     1\ta\n     2\tb\n"
    );
    let text = bench.ok("read", json!({"path": "long"})).await;
    assert!(text.ends_with("  2000\tline 2000\n[lines 1 to 2000 of 3000; next: offset=2001]\n"));
    let text = bench
        .ok("read", json!({"path": "long", "offset": "2999", "limit": 10.0}))
        .await;
    assert_eq!(
        text,
        "  2999\tline 2999\n  3000\tline 3000\n[lines 2999 to 3000 of 3000]\n"
    );
    assert!(
        bench
            .no("read", json!({"path": "long", "offset": 9999}))
            .await
            .contains("3000 lines")
    );
    assert!(
        bench
            .ok("read", json!({"path": "wide"}))
            .await
            .contains("[... 3000 more characters in this line]")
    );
    assert_eq!(
        bench.ok("read", json!({"path": "esc"})).await,
        "     1\ta\\x1b[2Jb\n"
    );
    assert!(
        bench
            .no("read", json!({"path": "lnog"}))
            .await
            .contains("Did you mean long?")
    );
    assert!(bench.no("read", json!({})).await.contains("Usage: {path"));
}

#[tokio::test]
async fn read_lists_directories_and_refuses_binaries() {
    let bench = Bench::new(&[("d/a", "12345"), ("d/sub/x", ""), ("bin", "a\0b"), ("empty", "")]);
    std::fs::write(bench.dir.path().join("p.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    assert_eq!(
        bench.ok("read", json!({"path": "/d"})).await,
        "d is a directory with 2 entries:\na\t5\nsub/\n"
    );
    assert!(bench.ok("read", json!({"path": "/"})).await.contains("4 entries"));
    assert!(
        bench
            .no("read", json!({"path": "bin"}))
            .await
            .contains("a binary file, 3 bytes")
    );
    assert!(
        bench
            .no("read", json!({"path": "p.png"}))
            .await
            .contains("a PNG image, 8 bytes")
    );
    assert_eq!(
        bench.ok("read", json!({"path": "empty"})).await,
        "[the file is empty]"
    );
}

#[tokio::test]
async fn search_finds_text_and_files() {
    let bench = Bench::new(&[
        (".gitignore", "ignored\n"),
        ("ignored", "needle\n"),
        ("a.rs", "fn x() {}\n// needle 1\n"),
        ("src/b.rs", "needle 2\nNEEDLE\n"),
        ("src/c.txt", "a needle(\n"),
        ("bin", "needle\0"),
    ]);
    let find = |args| bench.ok("search", args);
    assert_eq!(
        find(json!({"pattern": "needle"})).await,
        "a.rs:2: // needle 1\nsrc/b.rs:1: needle 2\nsrc/c.txt:1: a needle(\n"
    );
    assert_eq!(
        find(json!({"pattern": "(?i)needle$", "path": "src"})).await,
        "src/b.rs:2: NEEDLE\n"
    );
    assert_eq!(
        find(json!({"pattern": "needle", "glob": "*.rs", "path": "/src"})).await,
        "src/b.rs:1: needle 2\n"
    );
    assert_eq!(
        find(json!({"files": true, "glob": "src/**/*.rs"})).await,
        "src/b.rs\n"
    );
    assert_eq!(
        find(json!({"files": true, "glob": "!*.rs"})).await,
        ".gitignore\nbin\nsrc/c.txt\n"
    );
    let literal = find(json!({"pattern": "needle("})).await;
    assert!(
        literal.starts_with("src/c.txt:1: a needle(\n[the pattern is no valid"),
        "{literal}"
    );
    let cut = find(json!({"pattern": "needle", "limit": 2})).await;
    assert!(cut.contains("[stopped at 2 results"), "{cut}");
    assert!(
        find(json!({"pattern": "absent"}))
            .await
            .starts_with("No matches (5 files")
    );
    assert!(
        bench
            .no("search", json!({}))
            .await
            .contains("`pattern` is missing")
    );
}

#[tokio::test]
async fn search_survives_traps() {
    let bench = Bench::new(&[("a", "needle\n")]);
    std::fs::File::create(bench.dir.path().join("sparse"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let fifo = bench.dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    symlink(".", bench.dir.path().join("loop")).unwrap();
    let text = bench.ok("search", json!({"pattern": "needle"})).await;
    assert!(text.starts_with("a:1: needle\n"), "{text}");
    bench.ctx.cancel.cancel();
    assert_eq!(
        bench
            .call("search", json!({"pattern": "needle"}))
            .await
            .unwrap_err(),
        ToolError::Cancelled
    );
}

#[tokio::test]
async fn exec_reports_how_a_command_ended() {
    let bench = Bench::new(&[]);
    *bench.shell.answer.lock().unwrap() = CommandOutput {
        exit_code: Some(2),
        stdout: OutputView::whole("\u{1b}[32mok\u{1b}[0m\n"),
        stderr: OutputView::whole("bad\n"),
        duration: Duration::from_millis(1500),
        cwd: Some("/src".into()),
        timed_out: true,
        ..CommandOutput::default()
    };
    let output = bench
        .call(
            "exec",
            json!({"command": ["bash", "-lc", "make test"], "timeout_seconds": 9}),
        )
        .await
        .unwrap();
    assert!(!output.ok);
    let want = "exit code 2, 1.5 s, now in /src\nThe command hit its time limit and was stopped. Give it more with timeout_seconds, or run it in the background with `&`.\nstdout:\nok\nstderr:\nbad\n";
    assert_eq!(output.text, want);
    let asked = bench.shell.asked.lock().unwrap().clone();
    assert_eq!(asked, [("make test".to_owned(), Some(Duration::from_secs(9)))]);
    let plan = bench.plan("exec", json!({"command": "a\r\u{1b}[2K\nb"})).unwrap();
    assert_eq!(plan.summary, "a\\r\\u{1b}[2K\\nb");
    assert_eq!(plan.command.as_deref(), Some("a\r\u{1b}[2K\nb"));
    assert!(bench.no("exec", json!({"command": "a\0b"})).await.contains("NUL"));
    assert!(bench.no("exec", json!({"command": " "})).await.contains("empty"));
}

#[tokio::test]
async fn a_patch_typed_into_the_shell_goes_through_the_edit_engine() {
    let bench = Bench::new(&[("src/a", "one\n")]);
    *bench.shell.cwd.lock().unwrap() = Some("/".into());
    let command = "cd src && apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: a\n-one\n+two\n*** End Patch\nEOF\n";
    let plan = bench.plan("exec", json!({"command": command})).unwrap();
    assert_eq!((plan.summary.as_str(), plan.command), ("patch src/a", None));
    assert_eq!(
        bench.ok("exec", json!({"command": command})).await,
        "Patch applied.\nchanged src/a (+1 -1)"
    );
    assert_eq!(bench.text("src/a"), "two\n");
    assert!(bench.shell.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn read_output_pages_through() {
    let bench = Bench::new(&[]);
    bench.shell.answer.lock().unwrap().stdout = OutputView::whole("0123456789");
    let page = |offset: u64| json!({"exec_id": "x-abc", "stream": "stdout", "offset": offset, "limit": 6});
    assert_eq!(
        bench.ok("read_output", page(0)).await,
        "012345\n[stdout bytes 0 to 6 of 10; next: offset=6]"
    );
    assert_eq!(
        bench.ok("read_output", page(6)).await,
        "6789\n[stdout bytes 6 to 10 of 10; this is the end]"
    );
    assert!(
        bench
            .no("read_output", json!({"exec_id": "../x"}))
            .await
            .contains("exec_id")
    );
}

#[test]
fn arguments_may_be_malformed() {
    assert_eq!(parse_arguments("").unwrap(), json!({}));
    for bad in ["{", "[]", "\"x\"", "{\"a\": }"] {
        assert!(
            matches!(parse_arguments(bad), Err(ToolError::Arguments(_))),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn hostile_sizes_end_soon() {
    let many: String = (0..20_000).map(|n| format!("{:>100}\n", n * 7919)).collect();
    let bench = Bench::new(&[
        ("many", &many),
        ("ones", &"1\n".repeat(200_000)),
        ("wide", &"w".repeat(6 << 20)),
    ]);
    bench.ok("read", json!({"path": "many"})).await;
    let start = std::time::Instant::now();
    let old: String = (0..100).map(|n| format!("{:>100}\n", n * 7919 + 1)).collect();
    bench
        .no("edit", json!({"path": "many", "old": old, "new": "x"}))
        .await;
    bench
        .ok(
            "edit",
            json!({"path": "ones", "old": "1", "new": "2", "replace_all": true}),
        )
        .await;
    let text = bench
        .ok("search", json!({"pattern": "^w+$", "path": "wide"}))
        .await;
    assert!(text.contains("too long lines"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
