//! Owns: a session's files and limits through agentctl.
//! Guarantees: every case runs the real programs in a home of its own, with real jails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use support::{Ran, TestDaemon, run};

#[test]
fn files_are_listed_read_and_written_byte_for_byte() {
    let home = TestDaemon::start();
    home.ctl([
        "exec",
        "--name",
        "x",
        "--layout",
        "root",
        "--",
        "mkdir src; printf 'a\\0\\377b' >src/a; mkfifo pipe",
    ])
    .exits(0);
    assert_eq!(
        home.ctl(["files", "cat", "x", "/src/a"]).exits(0).stdout,
        b"a\0\xffb"
    );
    let listed = home.ctl(["files", "ls", "x", "-o", "json"]).exits(0).json();
    let kind = |name: &str| {
        let all = listed.as_array().unwrap().iter();
        all.filter(|one| one["name"] == name)
            .map(|one| one["kind"].clone())
            .next()
    };
    assert_eq!(kind("src"), Some("directory".into()), "{listed}");
    // What the jail needed as mount points is not the project's.
    assert!(home.project().join("usr").is_dir());
    assert_eq!((kind("usr"), kind("proc")), (None, None), "{listed}");
    assert_eq!(kind("pipe"), Some("other".into()));
    let ran = home.ctl(["files", "cat", "x", "pipe"]).exits(1);
    assert!(
        ran.err().contains("FIFO") && ran.err().contains("[file_refused]"),
        "{ran}"
    );
    home.ctl(["files", "cat", "x", "none"]).exits(3);
    home.ctl(["files", "cat", "x", "../../etc/passwd"]).exits(1);
    let local = home.path().join("local");
    std::fs::write(&local, b"new\0\n").unwrap();
    let local = local.to_str().unwrap();
    // One that is there is replaced only when said so, or when it is the one that was read.
    let ran = home.ctl(["files", "put", "x", "src/a", local]).exits(6);
    assert!(
        ran.err().contains("[file_changed]") && ran.err().contains("--force"),
        "{ran}"
    );
    let etag = home
        .ctl(["files", "cat", "x", "src/a", "-o", "json"])
        .exits(0)
        .json()["etag"]
        .as_str()
        .unwrap()
        .to_owned();
    home.ctl(["exec", "-s", "x", "--", "echo other >/src/a"]).exits(0);
    home.ctl(["files", "put", "x", "src/a", local, "--etag", &etag])
        .exits(6);
    home.ctl(["files", "put", "x", "src/a", local, "--force"])
        .exits(0);
    assert_eq!(std::fs::read(home.project().join("src/a")).unwrap(), b"new\0\n");
    let ran = home.ctl(["files", "put", "x", ".envrc", local]).exits(1);
    assert!(ran.err().contains("[file_protected]"), "{ran}");
    home.ctl(["files", "put", "x", ".envrc", local, "--protected"])
        .exits(0);
    let log = home.ctl(["logs", "x", "--events"]).exits(0).out();
    assert!(log.contains("/src/a was written by"), "{log}");
    // A workspace that went away is a clear answer, and nothing of the session is lost.
    let (other, moved) = (home.path().join("other"), home.path().join("moved"));
    std::fs::create_dir(&other).unwrap();
    let at = other.to_str().unwrap();
    home.ctl(["exec", "--name", "y", "-C", at, "--", "true"]).exits(0);
    std::fs::rename(&other, &moved).unwrap();
    for words in [&["files", "ls", "y"][..], &["exec", "-s", "y", "--", "true"]] {
        let ran = home.ctl(words.iter().copied());
        assert!(
            ran.code != 0 && ran.err().contains("the workspace is gone"),
            "{ran}"
        );
    }
    home.ctl(["sessions", "show", "y"]).exits(0);
    std::fs::rename(&moved, &other).unwrap();
    home.ctl(["exec", "-s", "y", "--", "true"]).exits(0);
}

/// `agentctl files edit` on a terminal (`script` gives one) with an editor that is a line of shell.
fn edit(home: &TestDaemon, path: &str, editor: &str) -> Ran {
    let mut command = home.command("script");
    let line = format!("{}/agentctl files edit x {path}", home.bin().display());
    command.args(["-qec", &line, "/dev/null"]).env("EDITOR", editor);
    run(command, b"")
}

#[test]
fn a_file_is_edited_and_who_was_overtaken_keeps_the_text() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "x", "--", "printf 'one\\n' >a"])
        .exits(0);
    let a = home.project().join("a");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let ran = edit(&home, "a", "printf 'two\\n' >>").exits(0);
    assert!(ran.out().contains("written"), "{ran}");
    assert_eq!(read(&a), "one\ntwo\n");
    let ran = edit(&home, "a", "true").exits(0);
    assert!(ran.out().contains("unchanged"), "{ran}");
    edit(&home, "new", "printf 'made\\n' >>").exits(0);
    assert_eq!(read(&home.project().join("new")), "made\n");
    // An editor that fails changes nothing.
    let ran = edit(&home, "a", "printf lost >\"$1\"; false");
    assert!(ran.code != 0 && read(&a) == "one\ntwo\n", "{ran}");
    // The file changes while the editor is open: refused, and the text is where the error says.
    let meanwhile = format!("printf 'theirs\\n' >{}; printf 'mine\\n' >>", a.display());
    let ran = edit(&home, "a", &meanwhile).exits(6);
    assert!(ran.out().contains("[file_changed]"), "{ran}");
    assert_eq!(read(&a), "theirs\n");
    let (_, kept) = ran
        .out()
        .split_once("your text is kept in ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("it says where");
    let kept = std::path::PathBuf::from(kept.lines().next().unwrap().trim());
    assert_eq!(read(&kept), "one\ntwo\nmine\n");
    std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    // What the host would execute is refused before the editor opens.
    home.ctl(["exec", "-s", "x", "--", "touch .envrc"]).exits(0);
    let ran = edit(&home, ".envrc", "touch opened; true");
    assert!(ran.out().contains("[file_protected]"), "{ran}");
    assert!(!home.project().join("opened").exists());
    // A workspace that was deleted is said, and one made anew in its place is used.
    let (gone, at) = (
        home.path().join("gone"),
        home.path().join("gone").display().to_string(),
    );
    std::fs::create_dir(&gone).unwrap();
    home.ctl(["exec", "--name", "z", "-C", &at, "--", "touch f"])
        .exits(0);
    std::fs::remove_dir_all(&gone).unwrap();
    for words in [
        &["files", "cat", "z", "f"][..],
        &["exec", "-s", "z", "--", "true"],
    ] {
        let ran = home.ctl(words.iter().copied());
        assert!(
            ran.code != 0 && ran.err().contains("the workspace is gone"),
            "{ran}"
        );
    }
    std::fs::create_dir(&gone).unwrap();
    home.ctl(["exec", "-s", "z", "--", "touch g"]).exits(0);
    assert!(gone.join("g").exists() && !gone.join("f").exists());
}

#[test]
fn limits_are_shown_refused_and_told() {
    let home = TestDaemon::start();
    let made = ["exec", "--name", "x", "--memory", "200MiB", "--", "true"];
    home.ctl(made).exits(0);
    let shown = home.ctl(["sessions", "show", "x", "-o", "json"]).exits(0).json();
    let memory = shown["limits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["limit"] == "memory")
        .unwrap();
    assert_eq!(
        (memory["text"].as_str(), memory["value"].as_u64()),
        (Some("200 MiB"), Some(200 << 20))
    );
    assert_ne!(memory["kept_by"], "nobody");
    assert!(
        home.ctl(["sessions", "show", "x"])
            .exits(0)
            .out()
            .contains("limits")
    );
    let hog =
        "/usr/bin/python3 -c 'import time\nb=[]\nwhile True: b.append(b\"x\"*(4<<20)); time.sleep(0.01)'";
    let ran = home.ctl(["exec", "-s", "x", "--", hog]).exits(137);
    assert!(
        ran.err().contains("killed: out of memory, limit 200 MiB"),
        "{ran}"
    );
    // Another bound for the same session is not silently the old one.
    let other = ["exec", "--name", "x", "--memory", "300MiB", "--", "true"];
    let ran = home.ctl(other).exits(6);
    assert!(ran.err().contains("has other limits"), "{ran}");
    home.ctl(["exec", "-s", "x", "--processes", "99", "--", "true"])
        .exits(2);
    let ran = home
        .ctl(["exec", "--name", "y", "--cpu-weight", "500", "--", "true"])
        .exits(125);
    assert!(
        ran.err().contains("[limit_unavailable]") && ran.err().contains("control groups"),
        "{ran}"
    );
    let doctor = home.ctl(["doctor", "--project"]).exits(0).out();
    for part in ["git: git version", "inside as outside", "limit processes"] {
        assert!(doctor.contains(part), "{part}: {doctor}");
    }
}

#[test]
fn a_directory_beside_the_workspace_is_reached_as_commands_reach_it() {
    let home = TestDaemon::start();
    let (shared, notes) = (home.path().join("shared"), home.path().join("notes"));
    for dir in [&shared, &notes] {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(dir.join("a.txt"), "far away\n").unwrap();
    }
    std::fs::write(home.path().join("secret.txt"), "canary\n").unwrap();
    std::os::unix::fs::symlink("../secret.txt", shared.join("out")).unwrap();
    let (at, read_only) = (shared.display().to_string(), notes.display().to_string());
    let local = home.path().join("local");
    std::fs::write(&local, "near\n").unwrap();
    for layout in ["root", "host"] {
        let new = [
            "sessions", "new", "--name", layout, "--layout", layout, "-m", "demo",
        ];
        let dirs = [
            "--add-dir".to_owned(),
            format!("{at}:rw"),
            "--add-dir".to_owned(),
            read_only.clone(),
        ];
        home.ctl(new.map(str::to_owned).into_iter().chain(dirs)).exits(0);
        // A person's.
        let files = |args: &[&str]| home.ctl(["files"].iter().chain(args));
        let listed = files(&["ls", layout, &at, "-o", "json"]).exits(0).json();
        assert!(
            listed
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["name"] == "a.txt"),
            "{listed}"
        );
        assert_eq!(
            files(&["cat", layout, &format!("{at}/a.txt")]).exits(0).out(),
            "far away\n"
        );
        let put = |dir: &str, name: &str| {
            files(&[
                "put",
                "--force",
                layout,
                &format!("{dir}/{name}"),
                local.to_str().unwrap(),
            ])
        };
        put(&at, &format!("deep/{layout}.txt")).exits(0);
        assert_eq!(
            std::fs::read(shared.join(format!("deep/{layout}.txt"))).unwrap(),
            b"near\n"
        );
        let no = put(&read_only, "a.txt").exits(1);
        assert!(no.err().contains("added read-only"), "{no}");
        assert!(put(&at, ".envrc").exits(1).err().contains("[file_protected]"));
        let no = files(&["cat", layout, &format!("{at}/out")]).exits(1);
        assert!(no.err().contains("leads outside"), "{no}");
        let beside = home.path().join("secret.txt");
        assert_ne!(files(&["cat", layout, beside.to_str().unwrap()]).code, 0);
        // The model's: read, changed, and told of.
        let script = format!(
            "demo:\nread {at}/a.txt\nwrite {at}/by-{layout}.txt made\nwrite {read_only}/b.txt made\nread {at}/out\nrun cat {at}/by-{layout}.txt"
        );
        home.ctl(["run", "-s", layout, "--on-approval", "deny", &script])
            .exits(0);
        assert_eq!(
            std::fs::read(shared.join(format!("by-{layout}.txt"))).unwrap(),
            b"made\n"
        );
        assert!(!notes.join("b.txt").exists());
        let log = home.ctl(["logs", layout, "--events"]).exits(0).out();
        for part in ["far away", "added read-only", "leads outside"] {
            assert!(log.contains(part), "{layout}: {part}: {log}");
        }
        assert!(!log.contains("canary"), "{log}");
        // Something else in its place is nobody's: not the person's, and not a new jail's, which says so.
        let kept = home.path().join("kept");
        std::fs::rename(&shared, &kept).unwrap();
        std::os::unix::fs::symlink("/etc", &shared).unwrap();
        let no = put(&at, "new.txt").exits(1);
        assert!(no.err().contains("something else is in its place"), "{no}");
        home.ctl(["daemon", "stop"]).exits(0);
        let ran = home.ctl(["exec", "-s", layout, "--", &format!("ls {at}/passwd")]);
        assert!(
            ran.code != 0 && ran.err().contains(&format!("not in the jail: {at}")),
            "{ran}"
        );
        std::fs::remove_file(&shared).unwrap();
        std::fs::rename(&kept, &shared).unwrap();
    }
}
