//! Owns: tests of the tools that change files, as the session uses them: plan, clear, run, on a real directory.

use std::os::unix::fs::symlink;

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
