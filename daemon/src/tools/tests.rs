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
async fn edit_changes_several_files_or_none() {
    let bench = Bench::new(&[("a.txt", "one\n"), ("b.txt", "two\n")]);
    let edits = json!({"edits": [
        {"path": "a.txt", "old": "one", "new": "1"},
        {"path": "/b.txt", "old": "three", "new": "3"},
    ]});
    let error = bench.no("edit", edits).await;
    assert!(
        error.starts_with("Edit 2 of 2: `old` is not in b.txt. Nothing was written."),
        "{error}"
    );
    assert_eq!(bench.text("a.txt"), "one\n");
    let edits = json!({"edits": [
        {"path": "a.txt", "old": "one", "new": "1"},
        {"path": "a.txt", "old": "1\n", "new": "1\n2\n"},
        {"path": "new/c.txt", "old": "", "new": "made\n"},
    ]});
    assert_eq!(
        bench.ok("edit", edits).await,
        "changed a.txt (+2 -1)\ncreated new/c.txt (+1 -0)"
    );
    assert_eq!(
        (bench.text("a.txt"), bench.text("new/c.txt")),
        ("1\n2\n".into(), "made\n".into())
    );
    let after = bench.witness.after.lock().unwrap();
    let kinds: Vec<&ChangeKind> = after.iter().map(|change| &change.kind).collect();
    assert_eq!(kinds, [&ChangeKind::Modified, &ChangeKind::Created]);
    assert_eq!(after[0].before.as_deref(), Some(&b"one\n"[..]));
    assert_eq!(after[0].after.as_deref(), Some(&b"1\n2\n"[..]));
    assert_eq!(bench.witness.before.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn edit_says_what_it_forgave_and_never_guesses() {
    let bench = Bench::new(&[("a.c", "int f() {\n\treturn 1;\n}\nint g() {\n\treturn 1;\n}\n")]);
    let error = bench
        .no(
            "edit",
            json!({"path": "a.c", "old": "return 1;", "new": "return 2;"}),
        )
        .await;
    assert!(error.contains("matches 2 places in a.c: lines 2, 5"), "{error}");
    let text = bench.ok("edit", json!({"path": "a.c", "old": "int g() {\n    return 1;\n}", "new": "int g() {\n    return 2;\n}"})).await;
    assert_eq!(
        text,
        "changed a.c (+1 -1)\na.c: matched after ignoring indentation at line 4."
    );
    assert_eq!(
        bench.text("a.c"),
        "int f() {\n\treturn 1;\n}\nint g() {\n\treturn 2;\n}\n"
    );
    let error = bench
        .no(
            "edit",
            json!({"path": "a.c", "old": "int h() { return 2 }", "new": "x"}),
        )
        .await;
    assert!(error.contains("Nothing was written."), "{error}");
    let all = json!({"path": "a.c", "old": "return", "new": "yield", "replace_all": true});
    assert!(bench.ok("edit", all).await.contains("replaced 2 places"));
    let error = bench
        .no(
            "edit",
            json!({"path": "a.c", "old": "int q()", "new": "int f() {\n\tyield"}),
        )
        .await;
    assert!(error.contains("is there already, at line 1"), "{error}");
}

#[tokio::test]
async fn a_file_changed_since_it_was_read_is_not_edited_blindly() {
    let bench = Bench::new(&[("a.txt", "one\ntwo\n")]);
    bench.ok("read", json!({"path": "a.txt"})).await;
    bench.put("a.txt", "zero\none\ntwo\n");
    let edit = json!({"path": "a.txt", "old": "one", "new": "1"});
    let error = bench.no("edit", edit.clone()).await;
    assert!(
        error.contains("changed since you last read") && error.contains("     2\tone"),
        "{error}"
    );
    assert_eq!(bench.text("a.txt"), "zero\none\ntwo\n");
    // It has seen the place now; the same edit sent again is meant. Seeing a piece is not enough to overwrite.
    let whole = json!({"path": "a.txt", "content": "x"});
    assert!(bench.no("write", whole.clone()).await.contains("not read it"));
    bench.ok("edit", edit).await;
    assert!(bench.no("write", whole.clone()).await.contains("not read it"));
    bench.ok("read", json!({"path": "a.txt"})).await;
    bench.put("a.txt", "again\n");
    assert!(bench.no("write", whole).await.contains("changed since"));
    assert!(
        bench
            .no("apply_patch", patch("*** Delete File: a.txt\n"))
            .await
            .contains("changed since")
    );
    assert_eq!(bench.text("a.txt"), "again\n");
}

#[tokio::test]
async fn write_creates_and_overwrites_what_was_read() {
    let bench = Bench::new(&[("old", "x\n"), ("empty", "")]);
    assert_eq!(
        bench
            .ok("write", json!({"path": "/d/new", "content": "a\n"}))
            .await,
        "created d/new (+1 -0)"
    );
    bench
        .ok("write", json!({"path": "d/new", "content": "b\n"}))
        .await;
    bench
        .ok("write", json!({"path": "empty", "content": "b\n"}))
        .await;
    assert!(
        bench
            .no("write", json!({"path": "old", "content": "y"}))
            .await
            .contains("`read` it first")
    );
    bench.ok("read", json!({"path": "old"})).await;
    bench.ok("write", json!({"path": "old", "content": "y"})).await;
    assert!(
        bench
            .ok("write", json!({"path": "old", "content": "y"}))
            .await
            .contains("already reads so")
    );
    assert_eq!(
        (bench.text("d/new"), bench.text("old")),
        ("b\n".into(), "y".into())
    );
}

#[tokio::test]
async fn a_patch_changes_several_files_or_none() {
    let bench = Bench::new(&[("a", "one\r\ntwo\r\n"), ("gone", "x\n"), ("from", "m\nn\n")]);
    let body = "*** Update File: a\n one\n-two\n+2\n*** Add File: new\n+hello\n*** Delete File: gone\n*** Update File: from\n*** Move to: sub/to\n m\n-n\n+N\n";
    let bad = format!("{body}*** Update File: a\n-missing\n+x\n");
    assert!(
        bench
            .no("apply_patch", patch(&bad))
            .await
            .contains("is not in the file")
    );
    assert_eq!(
        (bench.text("a"), bench.text("new")),
        ("one\r\ntwo\r\n".into(), "<NotFound>".into())
    );
    let plan = bench.plan("apply_patch", patch(body)).unwrap();
    assert_eq!(plan.summary, "patch a, new, gone and 2 more");
    let output = bench.call("apply_patch", patch(body)).await.unwrap();
    let want = "Patch applied.\nchanged a (+1 -1)\ncreated new (+1 -0)\nrenamed from to sub/to (+1 -1)\ndeleted gone (+0 -1)";
    assert_eq!(output.text, want);
    assert_eq!(output.changes.len(), 4);
    assert_eq!(
        (bench.text("a"), bench.text("sub/to")),
        ("one\r\n2\r\n".into(), "m\nN\n".into())
    );
    assert_eq!(
        (bench.text("gone"), bench.text("from")),
        ("<NotFound>".into(), "<NotFound>".into())
    );
}

#[tokio::test]
async fn a_patch_adds_over_nothing_and_moves_onto_nothing() {
    let bench = Bench::new(&[("a", "a\n"), ("b", "b\n")]);
    assert!(
        bench
            .no("apply_patch", patch("*** Add File: a\n+x\n"))
            .await
            .contains("already exists")
    );
    let onto = "*** Update File: a\n*** Move to: b\n-a\n+x\n";
    assert!(
        bench
            .no("apply_patch", patch(onto))
            .await
            .contains("already exists")
    );
    assert!(
        bench
            .no("apply_patch", patch("*** Delete File: c\n"))
            .await
            .contains("does not exist")
    );
    symlink("a", bench.dir.path().join("link")).unwrap();
    assert!(
        bench
            .no("apply_patch", patch("*** Delete File: link\n"))
            .await
            .contains("symbolic link")
    );
    bench
        .ok("apply_patch", patch("*** Delete File: a\n*** Add File: a\n+x\n"))
        .await;
    let over = bench
        .call(
            "apply_patch",
            patch(&format!("*** Delete File: b\n{onto}").replace("-a\n+x", "-x\n+y")),
        )
        .await;
    let kinds: Vec<ChangeKind> = over
        .unwrap()
        .changes
        .into_iter()
        .map(|change| change.kind)
        .collect();
    assert_eq!(kinds, [ChangeKind::Modified, ChangeKind::Deleted]);
    assert_eq!(
        (bench.text("a"), bench.text("b")),
        ("<NotFound>".into(), "y\n".into())
    );
}

#[tokio::test]
async fn a_write_that_fails_half_way_is_taken_back() {
    let bench = Bench::new(&[("a", "a\n"), ("z", "z\n")]);
    let path = bench.dir.path().join("z");
    // Someone else saves `z` after the plan and before the writing.
    *bench.witness.mischief.lock().unwrap() =
        Some(Box::new(move || std::fs::write(path, "theirs\n").unwrap()));
    let body = "*** Update File: a\n-a\n+A\n*** Add File: new/dir/f\n+f\n*** Update File: z\n-z\n+Z\n";
    let error = bench.no("apply_patch", patch(body)).await;
    assert!(
        error.contains("z was changed by someone else") && error.contains("No file was changed."),
        "{error}"
    );
    assert_eq!(
        (bench.text("a"), bench.text("z")),
        ("a\n".into(), "theirs\n".into())
    );
    assert!(!bench.dir.path().join("new").exists());
    assert!(bench.witness.after.lock().unwrap().is_empty());
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
    assert_eq!(plan.facts("write").protected.len(), 1);
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
async fn moved_and_restored_scripts_stay_executable() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new(&[("run.sh", "a\n"), ("z", "z\n")]);
    let script = bench.dir.path().join("run.sh");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |rel: &str| {
        std::fs::metadata(bench.dir.path().join(rel))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    bench
        .ok(
            "apply_patch",
            patch("*** Update File: run.sh\n*** Move to: bin/run.sh\n-a\n+b\n"),
        )
        .await;
    assert_eq!(mode("bin/run.sh"), 0o755);
    let path = bench.dir.path().join("z");
    *bench.witness.mischief.lock().unwrap() =
        Some(Box::new(move || std::fs::write(path, "theirs\n").unwrap()));
    let both = "*** Delete File: bin/run.sh\n*** Delete File: z\n";
    assert!(
        bench
            .no("apply_patch", patch(both))
            .await
            .contains("No file was changed.")
    );
    assert_eq!(
        (mode("bin/run.sh"), bench.text("bin/run.sh").as_str()),
        (0o755, "b\n")
    );
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

#[tokio::test]
async fn slips_in_the_form_of_a_call_are_forgiven() {
    let bench = Bench::new(&[("a", "one\n"), ("b", "one\n")]);
    bench
        .ok(
            "edit",
            json!({"edits": "[{\"path\": \"a\", \"old\": \"one\", \"new\": \"1\"}]"}),
        )
        .await;
    bench
        .ok(
            "edit",
            json!({"path": "b", "edits": {"old_string": "one", "new_string": "1"}}),
        )
        .await;
    assert_eq!((bench.text("a"), bench.text("b")), ("1\n".into(), "1\n".into()));
    assert!(bench.no("edit", json!({"edits": "x"})).await.contains("Usage:"));
    let error = bench
        .no(
            "apply_patch",
            json!({"patch": "*** Begin Patch\n\u{1b}[2K\n*** End Patch"}),
        )
        .await;
    assert!(error.contains("\\u{1b}[2K"), "{error}");
}
