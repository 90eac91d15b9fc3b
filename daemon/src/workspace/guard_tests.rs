//! Owns: the attacks on the guard (JAIL.md 6: 13-18, 65-70), run against a real file system with a canary outside.
//! Guarantees: nothing of its own; a test here that fails means a way out of the Workspace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode};

use super::guard::{Expect, Guard, GuardError, Kind};

const CANARY: &str = "canary-5f1c";

struct Place {
    dir: tempfile::TempDir,
    guard: Guard,
}

impl Place {
    /// `ws/` is the Workspace, `outside/secret` the canary beside it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ws")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), CANARY).unwrap();
        let guard = Guard::open(&dir.path().join("ws")).unwrap();
        Self { dir, guard }
    }

    fn ws(&self, rel: &str) -> std::path::PathBuf {
        self.dir.path().join("ws").join(rel)
    }

    fn secret_is_intact(&self) {
        assert_eq!(
            fs::read_to_string(self.dir.path().join("outside/secret")).unwrap(),
            CANARY
        );
        assert_eq!(fs::read_dir(self.dir.path().join("outside")).unwrap().count(), 1);
    }

    fn read(&self, rel: &str) -> Result<Vec<u8>, GuardError> {
        self.guard
            .read(Path::new(rel), 1 << 20)
            .map(|content| content.bytes)
    }

    fn write(&self, rel: &str, text: &str) -> Result<super::Written, GuardError> {
        self.guard
            .write(&self.guard.real(Path::new(rel))?, text.as_bytes(), &Expect::Any)
    }
}

#[test]
fn no_path_leads_outside() {
    let place = Place::new();
    fs::create_dir(place.ws("d")).unwrap();
    symlink("/etc/passwd", place.ws("absolute")).unwrap();
    symlink("../outside/secret", place.ws("relative")).unwrap();
    symlink("../outside", place.ws("dir")).unwrap();
    symlink("/proc/self/root", place.ws("magic")).unwrap();
    for path in [
        "../outside/secret",
        "d/../../outside/secret",
        "/etc/passwd",
        "absolute",
        "relative",
        "dir/secret",
        "magic/etc/passwd",
        "..",
        "../../../../../../etc/shadow",
    ] {
        assert!(
            matches!(place.read(path), Err(GuardError::Outside(_))),
            "read {path}: {:?}",
            place.read(path)
        );
        assert!(place.write(path, "x").is_err(), "write {path}");
        assert!(
            place.guard.remove(Path::new(path), &Expect::Any).is_err(),
            "remove {path}"
        );
        assert!(place.guard.list(Path::new(path), 10).is_err(), "list {path}");
    }
    place.secret_is_intact();
}

#[test]
fn links_that_stay_inside_work_and_writes_reach_their_target() {
    let place = Place::new();
    fs::create_dir_all(place.ws("v2/src")).unwrap();
    fs::write(place.ws("v2/src/a"), "old").unwrap();
    symlink("v2", place.ws("latest")).unwrap();
    symlink("../v2/src/a", place.ws("v2/link")).unwrap();
    assert_eq!(place.read("latest/src/a").unwrap(), b"old");
    assert_eq!(
        place.guard.real(Path::new("latest/src/new")).unwrap(),
        Path::new("v2/src/new")
    );
    assert_eq!(
        place.guard.real(Path::new("latest/link")).unwrap(),
        Path::new("v2/src/a")
    );
    place.write("latest/link", "new").unwrap();
    assert_eq!(fs::read_to_string(place.ws("v2/src/a")).unwrap(), "new");
    assert_eq!(place.guard.kind(Path::new("v2/link")).unwrap(), Kind::Symlink);
}

#[test]
fn a_link_that_was_not_resolved_is_not_written_through() {
    let place = Place::new();
    fs::create_dir(place.ws("real")).unwrap();
    symlink("real", place.ws("link")).unwrap();
    fs::write(place.ws("file"), "x").unwrap();
    symlink("file", place.ws("file-link")).unwrap();
    for path in ["link/a", "link/deep/a", "file-link"] {
        let result = place.guard.write(Path::new(path), b"y", &Expect::Any);
        assert!(matches!(result, Err(GuardError::Moved(_))), "{path}: {result:?}");
    }
    assert_eq!(fs::read_dir(place.ws("real")).unwrap().count(), 0);
}

#[test]
fn loops_long_chains_and_dangling_links_end() {
    let place = Place::new();
    symlink("b", place.ws("a")).unwrap();
    symlink("a", place.ws("b")).unwrap();
    for i in 0..50 {
        symlink(format!("c{}", i + 1), place.ws(&format!("c{i}"))).unwrap();
    }
    fs::write(place.ws("c50"), "end").unwrap();
    symlink("nothing/here", place.ws("dangling")).unwrap();
    assert!(matches!(place.read("a"), Err(GuardError::Loop(_))));
    assert!(matches!(place.read("c0"), Err(GuardError::Loop(_))));
    assert!(matches!(place.write("a", "x"), Err(GuardError::Loop(_))));
    assert!(matches!(place.write("c0", "x"), Err(GuardError::Loop(_))));
    assert!(matches!(
        place.write("dangling", "x"),
        Err(GuardError::Dangling(_))
    ));
}

#[test]
fn only_regular_files_are_opened_and_nothing_hangs() {
    let place = Place::new();
    let fifo = place.ws("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.ws("socket")).unwrap();
    fs::create_dir(place.ws("dir")).unwrap();
    let expected = [
        ("fifo", Kind::Fifo),
        ("socket", Kind::Socket),
        ("dir", Kind::Directory),
    ];
    for (path, kind) in expected {
        assert!(
            matches!(place.read(path), Err(GuardError::NotAFile(_, k)) if k == kind),
            "{path}"
        );
        assert!(
            matches!(place.write(path, "x"), Err(GuardError::NotAFile(_, k)) if k == kind),
            "{path}"
        );
        assert!(
            place.guard.remove(Path::new(path), &Expect::Any).is_err(),
            "{path}"
        );
    }
    // A device cannot be made without privileges; the directory that has them can be guarded instead.
    let dev = Guard::open(Path::new("/dev")).unwrap();
    for name in ["zero", "tty", "null"] {
        let result = dev.read(Path::new(name), 10);
        assert!(
            matches!(result, Err(GuardError::NotAFile(_, Kind::Device))),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn strange_names_round_trip() {
    let place = Place::new();
    let names: [&[u8]; 7] = [
        b"-rf",
        b"new\nline",
        b"caf\xe9",
        b"\xff\xfe",
        b"a\rb",
        "rtl\u{202e}x".as_bytes(),
        &[b'x'; 255],
    ];
    for name in names {
        let path = Path::new(OsStr::from_bytes(name));
        place.guard.write(path, name, &Expect::Absent).unwrap();
        assert_eq!(place.guard.read(path, 1000).unwrap().bytes, name);
    }
    let listed = place.guard.list(Path::new(""), 100).unwrap();
    assert_eq!(listed.total, names.len());
    assert!(
        names
            .iter()
            .all(|name| listed.entries.iter().any(|entry| entry.name.as_bytes() == *name))
    );
    for bad in [&b"nul\0byte"[..], &[b'x'; 256]] {
        let path = Path::new(OsStr::from_bytes(bad));
        assert!(matches!(place.guard.read(path, 10), Err(GuardError::BadName(..))));
        assert!(matches!(
            place.guard.write(path, b"", &Expect::Any),
            Err(GuardError::BadName(..))
        ));
    }
    let deep = "d/".repeat(5000);
    assert!(place.guard.read(Path::new(&deep), 10).is_err());
    for path in ["", ".", "d/.."] {
        assert!(place.write(path, "x").is_err(), "{path:?}");
    }
}

#[test]
fn a_hard_link_is_broken_not_written_through() {
    let place = Place::new();
    fs::hard_link(place.dir.path().join("outside/secret"), place.ws("x")).unwrap();
    let written = place.write("x", "mine").unwrap();
    assert!(written.broke_link);
    assert_eq!(place.read("x").unwrap(), b"mine");
    place.secret_is_intact();
}

#[test]
fn modes_are_kept_set_id_bits_dropped_and_read_only_respected() {
    let place = Place::new();
    let mode = |rel: &str| fs::metadata(place.ws(rel)).unwrap().mode() & 0o7777;
    fs::write(place.ws("script"), "").unwrap();
    fs::set_permissions(place.ws("script"), fs::Permissions::from_mode(0o4755)).unwrap();
    place.write("script", "x").unwrap();
    assert_eq!(mode("script"), 0o755);
    fs::set_permissions(place.ws("script"), fs::Permissions::from_mode(0o600)).unwrap();
    place.write("script", "y").unwrap();
    assert_eq!(mode("script"), 0o600);
    fs::set_permissions(place.ws("script"), fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(
        place.write("script", "z"),
        Err(GuardError::ReadOnly(_, 0o444))
    ));
    place.write("new/dir/file", "x").unwrap();
    assert_eq!(mode("new/dir/file") & 0o7000, 0);
}

#[test]
fn a_write_meets_what_it_expects_or_changes_nothing() {
    let place = Place::new();
    let path = Path::new("f");
    place.guard.write(path, b"one", &Expect::Absent).unwrap();
    assert!(matches!(
        place.guard.write(path, b"two", &Expect::Absent),
        Err(GuardError::Exists(_))
    ));
    let seen = place.guard.read(path, 100).unwrap().stamp;
    // The same content touched is the same file; the same length rewritten is not.
    fs::write(place.ws("f"), "one").unwrap();
    let touched = place
        .guard
        .write(path, b"two", &Expect::Stamp(seen.clone()))
        .unwrap()
        .stamp;
    assert!(matches!(
        place.guard.write(path, b"six", &Expect::Stamp(seen)),
        Err(GuardError::Stale(_))
    ));
    fs::write(place.ws("f"), "ten").unwrap();
    let gone = Expect::Stamp(touched);
    assert!(matches!(
        place.guard.write(path, b"six", &gone),
        Err(GuardError::Stale(_))
    ));
    assert!(matches!(
        place.guard.remove(path, &gone),
        Err(GuardError::Stale(_))
    ));
    assert_eq!(place.read("f").unwrap(), b"ten");
    fs::remove_file(place.ws("f")).unwrap();
    assert!(matches!(
        place.guard.write(path, b"six", &gone),
        Err(GuardError::Stale(_))
    ));
    assert_eq!(
        fs::read_dir(place.ws("")).unwrap().count(),
        0,
        "no temporary file is left"
    );
}

#[test]
fn what_is_written_into_a_file_the_moment_it_appears_is_a_change() {
    let place = Place::new();
    let path = Path::new("f");
    let file = place.ws("f");
    for _ in 0..20 {
        std::thread::scope(|scope| {
            // Somebody's editor saves in place as soon as the name is there.
            scope.spawn(|| {
                while !file.exists() {
                    std::hint::spin_loop();
                }
                fs::write(&file, "by hand").unwrap();
            });
            let stamp = place.guard.write(path, b"ours", &Expect::Any).unwrap().stamp;
            while fs::read(&file).unwrap() != b"by hand" {
                std::hint::spin_loop();
            }
            assert!(matches!(
                place.guard.write(path, b"ours again", &Expect::Stamp(stamp)),
                Err(GuardError::Stale(_))
            ));
        });
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_failed_write_leaves_no_directories() {
    let place = Place::new();
    let result = place
        .guard
        .write(Path::new(&format!("a/b/{}", "x".repeat(300))), b"", &Expect::Any);
    assert!(result.is_err());
    assert_eq!(fs::read_dir(place.ws("")).unwrap().count(), 0);
}

#[test]
fn a_sparse_terabyte_is_read_in_part() {
    let place = Place::new();
    let file = fs::File::create(place.ws("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    let content = place.guard.read(Path::new("sparse"), 4096).unwrap();
    assert_eq!(
        (content.bytes.len(), content.total_bytes, content.is_whole()),
        (4096, 1 << 40, false)
    );
}

/// A thread swaps a name between something inside and the way out, as fast as it can.
fn with_swapper(place: &Place, name: &str, inside: &Path, outside: &Path, work: impl Fn()) {
    let stop = AtomicBool::new(false);
    let (name, spare) = (place.ws(name), place.ws("spare"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for target in [outside, inside] {
                    symlink(target, &spare).unwrap();
                    fs::rename(&spare, &name).unwrap();
                }
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_link_swapped_under_the_reader_never_shows_the_secret() {
    let place = Place::new();
    fs::write(place.ws("good"), "good").unwrap();
    symlink("good", place.ws("x")).unwrap();
    with_swapper(
        &place,
        "x",
        Path::new("good"),
        Path::new("../outside/secret"),
        || {
            for _ in 0..10_000 {
                if let Ok(bytes) = place.read("x") {
                    assert_eq!(bytes, b"good");
                }
                let _ = place.guard.real(Path::new("x"));
            }
        },
    );
}

#[test]
fn a_parent_swapped_under_the_writer_never_leads_outside() {
    let place = Place::new();
    fs::create_dir(place.ws("good")).unwrap();
    symlink("good", place.ws("d")).unwrap();
    with_swapper(&place, "d", Path::new("good"), Path::new("../outside"), || {
        for i in 0..5000 {
            let _ = place.write("d/secret", "overwritten");
            let _ = place
                .guard
                .write(Path::new("d/secret"), b"overwritten", &Expect::Any);
            let _ = place
                .guard
                .write(Path::new(&format!("d/n{i}/x")), b"new", &Expect::Any);
            let _ = place.guard.remove(Path::new("d/secret"), &Expect::Any);
        }
    });
    place.secret_is_intact();
}

#[test]
fn a_directory_exchanged_for_a_link_under_the_writer_never_leads_outside() {
    let place = Place::new();
    fs::create_dir(place.ws("d")).unwrap();
    symlink("../outside", place.ws("trap")).unwrap();
    let stop = AtomicBool::new(false);
    let (dir, trap) = (place.ws("d"), place.ws("trap"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &dir, CWD, &trap, flags).unwrap();
            }
        });
        for _ in 0..5000 {
            let _ = place.write("d/secret", "overwritten");
            let _ = place
                .guard
                .write(Path::new("d/deep/secret"), b"overwritten", &Expect::Any);
            if let Ok(bytes) = place.read("d/secret") {
                assert_eq!(bytes, b"overwritten");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    place.secret_is_intact();
}

#[test]
fn a_walk_respects_ignore_files_and_survives_traps() {
    let place = Place::new();
    for (path, text) in [
        (".gitignore", "target/\n*.log\n!keep.log\n"),
        ("src/.gitignore", "/generated.c\n"),
        ("src/a.c", ""),
        ("src/generated.c", ""),
        ("src/deep/generated.c", ""),
        ("x.log", ""),
        ("keep.log", ""),
        ("target/out", ""),
        (".github/ci.yml", ""),
        (".git/config", ""),
    ] {
        place.write(path, text).unwrap();
    }
    symlink("../outside", place.ws("trap")).unwrap();
    symlink("..", place.ws("src/up")).unwrap();
    let fifo = place.ws("src/deep/.gitignore");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let walk = |start: &str| {
        let mut found = Vec::new();
        let skipped = place.guard.walk(Path::new(start), |path| {
            found.push(path.to_str().unwrap().to_owned());
            std::ops::ControlFlow::Continue(())
        });
        (found, skipped.unwrap().directories)
    };
    let all = [
        ".github/ci.yml",
        ".gitignore",
        "keep.log",
        "src/.gitignore",
        "src/a.c",
        "src/deep/generated.c",
    ];
    assert_eq!(walk(""), (all.map(str::to_owned).to_vec(), 0));
    assert_eq!(walk("src/deep").0, ["src/deep/generated.c"]);
    assert_eq!(walk("target").0, ["target/out"]);
}

#[test]
fn leftovers_of_a_killed_daemon_are_removed_and_nothing_else() {
    let place = Place::new();
    for name in [
        ".agentd-0123456789abcdef.tmp",
        ".agentd-notes.tmp",
        ".agentd-0123456789abcdef.tmp.txt",
        "x.tmp",
    ] {
        place.write(name, "x").unwrap();
    }
    assert_eq!(place.guard.remove_leftovers(Path::new("")).unwrap(), 1);
    assert_eq!(place.guard.list(Path::new(""), 10).unwrap().total, 3);
}
