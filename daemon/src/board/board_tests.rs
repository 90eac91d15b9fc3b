//! Owns: boards on disk: hand edits, conflicts, claims, and files that are no good.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::BoardState;
use super::{Boards, ClaimWish, EditWish, Holder, Keep, Refusal, Settings};
use crate::clock::now_us;
use crate::domain::principal::{Caller, Client};
use crate::domain::rejection::Rejection;
use crate::domain::task::{Field, Fields, TaskState};
use crate::store::Store;
use crate::store::redact::Redactor;

const FILE: &str = "# Tasks\n\n| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n\
| T-1 | one | Todo | High | | |\n| T-2 | two | Todo | Low | | waits T-1 |\n";

struct Place {
    dir: tempfile::TempDir,
    state: tempfile::TempDir,
    boards: Boards,
}

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("agentd.db"), Arc::new(Redactor::new())).unwrap()
}

fn settings() -> Settings {
    Settings {
        files: vec!["docs/TASKS.md".into(), "TASKS.md".into()],
        lease: Duration::from_secs(3600),
    }
}

impl Place {
    fn new(text: &str) -> Self {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if !text.is_empty() {
            fs::create_dir(dir.path().join("docs")).unwrap();
            fs::write(dir.path().join("docs/TASKS.md"), text).unwrap();
        }
        let boards = Boards::new(store(state.path()), settings());
        Self { dir, state, boards }
    }

    fn ws(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.ws().join("docs/TASKS.md")).unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(self.ws().join("docs/TASKS.md"), text).unwrap();
    }

    async fn told(&self) -> Vec<String> {
        let view = self.boards.view(self.ws()).await.unwrap();
        view.tasks
            .iter()
            .map(|t| {
                let f = &t.twin.task.fields;
                format!(
                    "{} {} {} @{}",
                    t.twin.task.task_id,
                    f.title,
                    f.status.word(),
                    f.owner
                )
            })
            .collect()
    }

    async fn edit(&self, id: &str, field: Field, text: &str, base_rev: u64) -> Result<usize, Refusal> {
        let wish = EditWish {
            set: vec![(field, text.to_owned())],
            base_rev,
            ..EditWish::default()
        };
        Ok(self
            .boards
            .edit(self.ws(), id, "ana via cli", wish)
            .await?
            .1
            .len())
    }
}

fn ana() -> Holder {
    person("ana")
}

fn person(name: &str) -> Holder {
    Holder::person(&Caller {
        principal: name.into(),
        client: Client::Cli,
        trace_id: String::new(),
        request_id: None,
    })
}

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Rejection {
    match result.unwrap_err() {
        Refusal::Rejected(rejection) => rejection,
        Refusal::Store(error) => panic!("{error}"),
    }
}

/// Without the padding that keeps columns in line.
fn squeezed(file: &str) -> String {
    let rows = file.lines().map(|row| {
        row.split(' ')
            .filter(|w| !w.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn title(title: &str) -> Fields {
    Fields {
        title: title.into(),
        status: TaskState::Todo,
        priority: String::new(),
        owner: String::new(),
        notes: String::new(),
    }
}

#[tokio::test]
async fn edits_go_into_the_file_and_hand_edits_come_out_of_it() {
    let place = Place::new(FILE);
    assert_eq!(place.told().await, ["T-1 one todo @", "T-2 two todo @"]);
    place.edit("t-1", Field::Status, "Review", 0).await.unwrap();
    assert_eq!(
        place.file(),
        FILE.replacen("| one | Todo |", "| one | Review |", 1)
    );
    place.write(&place.file().replace("two", "two and more"));
    assert_eq!(place.told().await[1], "T-2 two and more todo @");
    let (_, history) = place.boards.task(place.ws(), "T-2", 10).await.unwrap();
    let what: Vec<_> = history.iter().map(|c| (c.what.as_str(), c.by.as_str())).collect();
    assert_eq!(what, [("added", "the file"), ("edited", "the file")]);
    let added = place
        .boards
        .add(place.ws(), "", title("three"), None, "ana via cli")
        .await
        .unwrap();
    assert_eq!(added.as_str(), "T-3");
    assert!(
        squeezed(&place.file()).contains("\n| T-3 | three | Todo |"),
        "{}",
        place.file()
    );
    // All of it is in the store: another daemon goes on from there.
    let again = Boards::new(store(place.state.path()), settings());
    assert_eq!(again.view(place.ws()).await.unwrap().tasks.len(), 3);
    let (_, history) = again.task(place.ws(), "T-1", 10).await.unwrap();
    assert_eq!(history.last().unwrap().by, "ana via cli");
}

#[tokio::test]
async fn the_first_task_makes_the_file() {
    let place = Place::new("");
    assert!(place.told().await.is_empty());
    let id = place
        .boards
        .add(place.ws(), "", title("one"), None, "ana")
        .await
        .unwrap();
    assert_eq!(id.as_str(), "T-1");
    assert!(place.file().starts_with("# Tasks\n\n| ID | Title |"));
}

#[tokio::test]
async fn what_is_just_being_read_from_the_file_is_not_overwritten() {
    let place = Place::new(FILE);
    let rev = place.boards.view(place.ws()).await.unwrap().rev;
    place.write(&FILE.replace("| one |", "| by hand |"));
    // A look at the file holds the board and has found the hand's change, which is not in the store yet.
    let (found, held) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (boards, ws) = (place.boards.clone(), place.ws().to_owned());
    let look = tokio::spawn(async move {
        let work = move |state: &mut BoardState| {
            state.sync(now_us());
            found.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        };
        boards.with(&ws, work).await
    });
    held.await.unwrap();
    let mut edit = std::pin::pin!(place.edit("T-1", Field::Title, "by board", rev));
    assert!(futures::poll!(edit.as_mut()).is_pending());
    // What the edit may have asked of the store is answered before this.
    let key = place.ws().to_string_lossy().into_owned();
    let id = "T-1".parse().unwrap();
    place
        .boards
        .0
        .store
        .task_history(&key, &id, rev, 9)
        .await
        .unwrap();
    assert!(futures::poll!(edit.as_mut()).is_pending());
    go.send(()).unwrap();
    look.await.unwrap().unwrap();
    assert_eq!(edit.await.unwrap(), 1, "both are kept, and asked about");
    assert!(place.file().contains("| by hand |"), "{}", place.file());
}

#[tokio::test]
async fn what_both_changed_is_kept_and_asked_about() {
    let place = Place::new(FILE);
    let rev = place.boards.view(place.ws()).await.unwrap().rev;
    place.write(&FILE.replace("| one |", "| by hand |"));
    // Seen by the board before the edit arrives, or not: the edit looked at the older one either way.
    assert_eq!(place.told().await[0], "T-1 by hand todo @");
    assert_eq!(place.edit("T-1", Field::Title, "by board", rev).await.unwrap(), 1);
    assert_eq!(
        place.file(),
        FILE.replace("| one |", "| by hand |"),
        "the file is not overwritten"
    );
    let (task, _) = place.boards.task(place.ws(), "T-1", 10).await.unwrap();
    let conflict = &task.twin.conflicts[0];
    assert_eq!(
        (
            conflict.base.as_str(),
            conflict.file.as_str(),
            conflict.board.as_str()
        ),
        ("one", "by hand", "by board")
    );
    // Another field of the same task is no conflict.
    assert_eq!(place.edit("T-1", Field::Priority, "Low", rev).await.unwrap(), 0);
    // It survives a restart, and the answer is the board's side.
    let again = Boards::new(store(place.state.path()), settings());
    again
        .resolve(place.ws(), "T-1", None, Keep::Board, "ana")
        .await
        .unwrap();
    assert!(place.file().contains("| T-1 | by board | Todo | Low"));
    let (task, _) = again.task(place.ws(), "T-1", 10).await.unwrap();
    assert!(task.twin.conflicts.is_empty());
    assert!(matches!(
        refused(again.resolve(place.ws(), "T-1", None, Keep::File, "ana").await),
        Rejection::WrongState(_)
    ));
}

#[tokio::test]
async fn a_file_lost_while_nobody_looked_comes_back_with_its_last_edit() {
    let place = Place::new(FILE);
    place.told().await;
    // More edits than are kept one by one.
    for n in 0..450 {
        place
            .edit("T-2", Field::Title, &format!("zwei – {n}"), 0)
            .await
            .unwrap();
        if [0, 3, 449].contains(&n) {
            let last = place.file();
            let again = Boards::new(store(place.state.path()), settings());
            fs::remove_file(place.ws().join("docs/TASKS.md")).unwrap();
            again.sync(place.ws(), true).await.unwrap();
            assert_eq!(place.file(), last);
        }
    }
}

#[tokio::test]
async fn a_hand_edit_in_the_very_moment_is_a_conflict_too() {
    let place = Place::new(FILE);
    place.told().await;
    place.write(&FILE.replace("| one |", "| by hand |"));
    assert_eq!(place.edit("T-1", Field::Title, "by board", 0).await.unwrap(), 1);
    place
        .boards
        .resolve(
            place.ws(),
            "T-1",
            Some(Field::Title),
            Keep::Text("both".into()),
            "ana",
        )
        .await
        .unwrap();
    assert!(place.file().contains("| T-1 | both    |"), "{}", place.file());
}

#[tokio::test]
async fn files_that_are_no_good_are_named_and_never_written() {
    let place = Place::new(FILE);
    place.told().await;
    let path = place.ws().join("docs/TASKS.md");
    let merge = FILE
        .replace("| T-2", "<<<<<<< HEAD\n| T-2")
        .replace("waits T-1 |\n", "waits T-1 |\n=======\n>>>>>>> x\n");
    let broken = FILE.replace("|---|---|---|---|---|---|", "|---|---|");
    for (text, line, code) in [
        (merge.as_bytes(), 6, "merge_conflict"),
        (broken.as_bytes(), 3, "malformed_table"),
        (b"# x\n\xff\xfe", 2, "not_utf8"),
    ] {
        fs::write(&path, text).unwrap();
        let view = place.boards.view(place.ws()).await.unwrap();
        assert_eq!(view.tasks.len(), 2, "the last good state stays");
        assert!(
            view.problems.iter().any(|p| p.code == code && p.line == line),
            "{:?}",
            view.problems
        );
        let no = refused(place.edit("T-1", Field::Title, "x", 0).await);
        assert!(
            matches!(&no, Rejection::BoardRefused { message, .. } if message.contains(&format!("docs/TASKS.md:{line}"))),
            "{no}"
        );
        assert_eq!(fs::read(&path).unwrap(), text, "nothing is overwritten");
    }
    fs::remove_file(&path).unwrap();
    let view = place.boards.view(place.ws()).await.unwrap();
    assert_eq!((view.tasks.len(), view.problems[0].code.as_str()), (2, "missing"));
    assert!(
        matches!(refused(place.edit("T-1", Field::Title, "x", 0).await), Rejection::BoardRefused { hints, .. } if hints[0].contains("--restore"))
    );
    fs::create_dir(&path).unwrap();
    let view = place.boards.view(place.ws()).await.unwrap();
    assert_eq!(
        (view.tasks.len(), view.problems[0].code.as_str()),
        (2, "unreadable")
    );
    assert!(
        view.problems[0].message.contains("a directory"),
        "{:?}",
        view.problems
    );
    refused(place.edit("T-1", Field::Title, "x", 0).await);
    fs::remove_dir(&path).unwrap();
    place.boards.sync(place.ws(), true).await.unwrap();
    assert_eq!(place.file(), FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let no = refused(place.edit("T-1", Field::Title, "x", 0).await);
    assert!(no.to_string().contains("read-only"), "{no}");
    assert_eq!(place.file(), FILE);
    assert_eq!(place.told().await[0], "T-1 one todo @");
}

#[tokio::test]
async fn two_boards_are_one_and_say_where_ids_clash() {
    let place = Place::new(FILE);
    fs::write(place.ws().join("TASKS.md"), "- [ ] T-1: other\n- [ ] T-9: nine\n").unwrap();
    assert_eq!(
        place.told().await,
        [
            "T-1 one todo @",
            "T-2 two todo @",
            "T-1#2 other todo @",
            "T-9 nine todo @"
        ]
    );
    let view = place.boards.view(place.ws()).await.unwrap();
    let problem = &view.problems[0];
    assert_eq!(
        (problem.path.as_str(), problem.line, problem.code.as_str()),
        ("TASKS.md", 1, "duplicate_id")
    );
    place.edit("T-9", Field::Status, "Done", 0).await.unwrap();
    assert_eq!(
        fs::read_to_string(place.ws().join("TASKS.md")).unwrap(),
        "- [ ] T-1: other\n- [x] T-9: nine\n"
    );
}

#[tokio::test]
async fn items_without_ids_keep_theirs_while_they_are_alike() {
    let place =
        Place::new("## A\n\n- [ ] write the parser\n- [ ] write the tests\n\n## B\n\n- [ ] ship it\n");
    let before = place.told().await;
    place.write(
        "## A\n\n- [x] write the parsers\n- [ ] write the tests\n- [ ] new one\n\n## B\n\n- [ ] ship it\n",
    );
    let after = place.told().await;
    let ids = |told: &[String]| -> Vec<String> {
        told.iter()
            .map(|t| t.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let (before, after) = (ids(&before), ids(&after));
    assert_eq!(
        [&after[0], &after[1], &after[3]],
        [&before[0], &before[1], &before[2]]
    );
    assert!(before.iter().all(|id| id.starts_with("i-")));
    // The file has none of it until somebody asks.
    let wish = EditWish {
        new_id: Some("T-7".parse().unwrap()),
        ..EditWish::default()
    };
    place
        .boards
        .edit(place.ws(), &after[2], "ana", wish)
        .await
        .unwrap();
    assert!(place.file().contains("- [ ] T-7: new one\n") && !place.file().contains("i-"));
}

#[tokio::test]
async fn a_claim_has_one_holder_and_ends_by_itself() {
    let place = Place::new(FILE);
    let claim = |name: &'static str, lease_ms: u64| {
        let (boards, ws) = (place.boards.clone(), place.ws().to_owned());
        async move {
            let wish = ClaimWish {
                lease: Some(Duration::from_millis(lease_ms)),
                ..ClaimWish::default()
            };
            boards.claim(&ws, "T-1", person(name), wish).await
        }
    };
    // Twenty at once: one has it.
    let names = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
    ];
    let all = futures::future::join_all(names.map(|name| claim(name, 3_600_000))).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
    let winner = all.iter().position(Result::is_ok).unwrap();
    assert!(
        place
            .file()
            .contains(&format!("| one | In Progress | High | {} |", names[winner])),
        "{}",
        place.file()
    );
    assert!(matches!(
        refused(
            place
                .boards
                .release(place.ws(), "T-1", &person("zoe"), false)
                .await
        ),
        Rejection::TaskClaimed { .. }
    ));
    place
        .boards
        .release(place.ws(), "T-1", &person(names[winner]), false)
        .await
        .unwrap();
    assert_eq!(place.told().await[0], "T-1 one todo @", "as it was found");
    // What is not renewed ends: the watch sees to it, and gives the task back.
    claim("ana", 1).await.unwrap();
    let stop = CancellationToken::new();
    let watch = tokio::spawn(place.boards.clone().watch(stop.clone()));
    let mut bell = place.boards.listen();
    loop {
        let (task, _) = place.boards.task(place.ws(), "T-1", 1).await.unwrap();
        if task.twin.claim.is_none() {
            break;
        }
        bell.changed().await.unwrap();
    }
    stop.cancel();
    watch.await.unwrap();
    assert_eq!(place.told().await[0], "T-1 one todo @");
}

#[tokio::test]
async fn waiting_tasks_are_not_taken_by_accident() {
    let place = Place::new(FILE);
    let claim = |force| {
        place.boards.claim(
            place.ws(),
            "T-2",
            ana(),
            ClaimWish {
                force,
                ..ClaimWish::default()
            },
        )
    };
    assert!(matches!(refused(claim(false).await), Rejection::TaskWaits { waits, .. } if waits == ["T-1"]));
    claim(true).await.unwrap();
    place
        .boards
        .release(place.ws(), "T-2", &ana(), false)
        .await
        .unwrap();
    place.edit("T-1", Field::Status, "Done", 0).await.unwrap();
    claim(false).await.unwrap();
}

#[tokio::test]
async fn a_hand_edit_is_seen_within_a_second_and_idling_writes_nothing() {
    let place = Place::new(FILE);
    let stop = CancellationToken::new();
    let mut bell = place.boards.listen();
    let watch = tokio::spawn(place.boards.clone().watch(stop.clone()));
    place.told().await;
    bell.borrow_and_update();
    let before = fs::metadata(place.state.path().join("agentd.db-wal"))
        .unwrap()
        .len();
    let quiet = tokio::time::timeout(Duration::from_millis(900), bell.changed()).await;
    assert!(quiet.is_err(), "nothing changed, nothing rings");
    let after = fs::metadata(place.state.path().join("agentd.db-wal"))
        .unwrap()
        .len();
    assert_eq!(before, after, "idle: not a byte");
    place.write(&FILE.replace("| one |", "| by hand |"));
    tokio::time::timeout(Duration::from_secs(1), bell.changed())
        .await
        .expect("within a second")
        .unwrap();
    stop.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn done_takes_a_commit_that_exists() {
    let place = Place::new(FILE);
    let git = |args: &[&str]| {
        let out = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(args)
            .current_dir(place.ws())
            .output()
            .unwrap();
        assert!(out.status.success(), "{args:?} {out:?}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let short = git(&["rev-parse", "--short", "HEAD"]);
    for link in ["deadbeef", "no-such-branch", "-h", "--exec=x", "a b", "ftp://x"] {
        let no = refused(place.boards.complete(place.ws(), "T-1", "ana", link, "").await);
        assert!(
            matches!(no, Rejection::CommitUnknown(_) | Rejection::InvalidArgument(_)),
            "{link}: {no}"
        );
    }
    assert_eq!(place.file(), FILE);
    let (_, link) = place
        .boards
        .complete(place.ws(), "T-1", "ana", "HEAD", "at last")
        .await
        .unwrap();
    assert_eq!(link, short);
    assert!(
        place
            .file()
            .contains(&format!("| one | Done | High | | done in {short}: at last |")),
        "{}",
        place.file()
    );
    place
        .boards
        .complete(place.ws(), "T-2", "ana", "https://example.org/pull/4", "")
        .await
        .unwrap();
    assert!(
        place
            .file()
            .contains("waits T-1; done in https://example.org/pull/4 |")
    );
}
