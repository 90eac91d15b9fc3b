//! Owns: git in a jail: it works inside, and nothing written inside is run by git outside.
//! Guarantees: each trap is sprung by the host's own git, and the canary is looked for outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod shell_support;

use std::path::Path;
use std::process::Command;

use agentd::domain::limits::AddedDir;
use agentd::domain::workspace::{Layout, ShellKind};
use shell_support::Rig;

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn repository(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q"]);
    std::fs::write(dir.join("a"), "a\n").unwrap();
    git(dir, &["add", "."]);
    git(dir, &["commit", "-qm", "one"]);
}

/// Everything a person or a prompt does without thinking.
fn use_git(dir: &Path) {
    git(dir, &["status"]);
    git(dir, &["diff"]);
    git(dir, &["log", "-1"]);
    git(dir, &["branch"]);
    git(dir, &["commit", "--allow-empty", "-qm", "host"]);
}

fn identity() -> [(&'static str, &'static str); 4] {
    [
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@a"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@a"),
    ]
}

fn rig(layout: Option<Layout>, fill: impl Fn(&Path)) -> Rig {
    Rig::made(ShellKind::Sh, layout, fill, |_, spec| {
        spec.env
            .extend(identity().map(|(k, v)| (k.to_owned(), v.to_owned())));
    })
}

/// What each script plants makes this file when git runs it.
const EVIL: &str = r#"evil() { mkdir -p "$1/hooks" "$1/objects" "$1/refs"; echo 'ref: refs/heads/main' >"$1/HEAD"
printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = "touch CANARY; false"\n' >"$1/config"
for h in post-commit pre-commit post-checkout post-index-change reference-transaction
do printf '#!/bin/sh\ntouch CANARY\n' >"$1/hooks/$h"; chmod +x "$1/hooks/$h"; done; }
"#;

#[tokio::test]
async fn what_a_repository_lacks_cannot_be_slipped_in() {
    let traps = [
        "evil e; mkdir -p .git/hooks; cp -r e/hooks/. .git/hooks/",
        "evil e; rm -rf .git/hooks; cp -r e/hooks .git/hooks",
        "evil e; cp e/config .git/config",
        "evil e; cp e/config .git/config.worktree",
        "evil e; git config core.fsmonitor 'touch CANARY'; git config core.hooksPath $PWD/e/hooks",
        "evil e; cp -r .git/objects .git/refs e/; echo ../e >.git/commondir",
        "evil e; mv .git old; cp -r old .git; cp e/config .git/config; cp -r e/hooks .git",
        "evil .git/worktrees/w; echo $PWD/.git/worktrees/w >.git/commondir",
    ];
    for layout in [Layout::Root, Layout::Host] {
        for bare_bones in [true, false] {
            for trap in traps {
                let canary = tempfile::tempdir().unwrap();
                let canary = canary.path().join("sprung");
                let rig = rig(Some(layout), |root| {
                    repository(root);
                    if bare_bones {
                        std::fs::remove_dir_all(root.join(".git/hooks")).unwrap();
                        std::fs::write(
                            root.join(".git/config"),
                            "[extensions]\n\tworktreeConfig = true\n",
                        )
                        .unwrap();
                    }
                });
                let script = format!("{EVIL}{trap}").replace("CANARY", &canary.display().to_string());
                rig.run(script).await;
                let root = rig.root().to_owned();
                use_git(&root);
                assert!(!canary.exists(), "{layout:?} {bare_bones} while it lives: {trap}");
                let (shell, keep) = (rig.shell.clone(), rig.dir);
                shell.end().await.unwrap();
                use_git(&root);
                assert!(!canary.exists(), "{layout:?} {bare_bones} afterwards: {trap}");
                assert!(!bare_bones || !root.join(".git/hooks").exists(), "litter: {trap}");
                drop(keep);
            }
        }
    }
}

#[tokio::test]
async fn what_could_not_be_prevented_is_said() {
    let rig = rig(None, |_| {});
    let made = rig
        .run("git init -q . && git commit -q --allow-empty -m one")
        .await;
    assert_eq!((made.code, made.result.message.clone()), (0, None), "{made:?}");
    let armed = rig.run("git config core.fsmonitor 'touch /pwned'").await;
    let message = armed.result.message.unwrap_or_default();
    assert!(
        message.contains("fsmonitor") && message.contains("outside"),
        "{message}"
    );
    assert_eq!(rig.run("true").await.result.message, None, "said once");
    rig.end().await;
    let rig = self::rig(None, repository);
    let redirected = rig.run("echo ../e >.git/commondir").await;
    let message = redirected.result.message.unwrap_or_default();
    assert!(
        message.contains("commondir") && message.contains("moved"),
        "{message}"
    );
    rig.end().await;
}

#[tokio::test]
async fn git_works_inside() {
    for layout in [Layout::Root, Layout::Host] {
        let rig = rig(Some(layout), repository);
        let ran = rig
            .run("set -e; echo b >b; git add b; git commit -qm two; git worktree add -q w -b side; cd w; echo c >c; git add c; git commit -qm three; cd ..; git merge -q side; git rebase -q HEAD~1; git stash -q || :; git worktree remove w; git gc -q; git log --oneline | wc -l")
            .await;
        assert_eq!(ran.out.trim(), "3", "{layout:?} {ran:?}");
        let root = rig.root().to_owned();
        assert!(git(&root, &["log", "--oneline"]).contains("three"));
        rig.end().await;
    }
}

#[tokio::test]
async fn a_worktree_and_a_submodule_work_and_stay_closed() {
    let outer = tempfile::tempdir().unwrap();
    let main = outer.path().join("main");
    repository(&main);
    let library = outer.path().join("library");
    repository(&library);
    git(
        &main,
        &["submodule", "add", "-q", &library.display().to_string(), "sub"],
    );
    git(&main, &["commit", "-qm", "sub"]);
    let tree = outer.path().join("tree");
    git(
        &main,
        &["worktree", "add", "-q", &tree.display().to_string(), "-b", "side"],
    );
    let canary = outer.path().join("sprung");
    for (root, gitdir) in [
        (tree, main.join(".git/worktrees/tree")),
        (main.join("sub"), main.join(".git/modules/sub")),
    ] {
        let root = root.canonicalize().unwrap();
        let rig = Rig::made(
            ShellKind::Sh,
            Some(Layout::Host),
            |_| {},
            |_, spec| {
                spec.workspace.root.clone_from(&root);
                spec.env
                    .extend(identity().map(|(k, v)| (k.to_owned(), v.to_owned())));
            },
        );
        let ran = rig
            .run("set -e; echo n >n; git add n; git commit -qm inside; git worktree add -q extra; git -C extra log --oneline | head -1; git worktree list | wc -l")
            .await;
        assert!(ran.code == 0 && ran.out.contains("inside"), "{ran:?}");
        let gitdir = gitdir.display();
        for trap in [
            format!("evil e; e=$PWD/e; cp -r {gitdir}/objects {gitdir}/refs e/; echo $e >{gitdir}/commondir"),
            format!(
                "evil e; e=$PWD/e; mv {gitdir} {gitdir}.old; cp -r {gitdir}.old {gitdir}; echo $e >{gitdir}/commondir"
            ),
            "evil e; rm -f .git; echo gitdir: $PWD/e >.git".to_owned(),
            "evil e; mv .git x; cp -r e .git".to_owned(),
            format!(
                "evil e; cp -r e/hooks {gitdir}/; cp e/config {gitdir}/config; cp e/config {gitdir}/config.worktree"
            ),
            "evil e; d=$(git rev-parse --git-common-dir); cp -r e/hooks $d/; cp e/config $d/config"
                .to_owned(),
        ] {
            let script = format!("set +e; {EVIL}{trap}").replace("CANARY", &canary.display().to_string());
            rig.run(script).await;
            use_git(&root);
            use_git(&main);
            assert!(!canary.exists(), "{}: {trap}", root.display());
        }
        rig.end().await;
        assert!(git(&root, &["log", "--oneline"]).contains("inside"));
    }
}

#[tokio::test]
async fn a_file_that_names_somebody_elses_repository_gets_nothing() {
    let other = tempfile::tempdir().unwrap();
    repository(other.path());
    let named = other.path().join(".git");
    let rig = rig(Some(Layout::Host), |root| {
        std::fs::write(root.join(".git"), format!("gitdir: {}\n", named.display())).unwrap();
    });
    assert_ne!(rig.run(format!("ls {}", named.display())).await.code, 0);
    rig.end().await;
}

/// The same as an ordinary user, where it is root that runs the tests.
#[tokio::test]
async fn a_repository_beside_the_workspace_is_guarded_as_well() {
    let traps = [
        "evil e; rm -rf .git/hooks; cp -r e/hooks .git/; cp e/hooks/* .git/hooks/",
        "evil e; cp e/config .git/config; git config core.fsmonitor 'touch CANARY'",
        "evil e; mv .git old; cp -r old .git; cp e/config .git/config; cp -r e/hooks .git",
    ];
    for layout in [Layout::Root, Layout::Host] {
        for trap in traps {
            let canary = tempfile::tempdir().unwrap();
            let canary = canary.path().join("sprung");
            let beside = tempfile::tempdir_in("/var/tmp").unwrap();
            repository(beside.path());
            let added = AddedDir {
                path: beside.path().to_owned(),
                writable: true,
            };
            let rig = Rig::made(
                ShellKind::Sh,
                Some(layout),
                |_| {},
                |_, spec| {
                    let who = identity().map(|(k, v)| (k.to_owned(), v.to_owned()));
                    spec.env.extend(who);
                    spec.added = vec![added.clone()];
                },
            );
            let go = format!("cd {} && ", beside.path().display());
            let script = format!("{EVIL}{go}{trap}").replace("CANARY", &canary.display().to_string());
            rig.run(script).await;
            use_git(beside.path());
            assert!(!canary.exists(), "{layout:?}: {trap}");
            let work = rig
                .run(format!("{go}echo b >b && git add b && git commit -qm inside"))
                .await;
            assert_eq!(work.code, 0, "{layout:?}: {trap}: {work:?}");
            assert!(git(beside.path(), &["log", "--format=%s"]).starts_with("inside\n"));
            rig.end().await;
        }
    }
}

#[test]
fn an_ordinary_users_repositories_are_guarded_as_well() {
    if rustix::process::getuid().is_root() {
        shell_support::as_ordinary_user(&[
            "what_a_repository_lacks_cannot_be_slipped_in",
            "what_could_not_be_prevented_is_said",
            "git_works_inside",
            "a_worktree_and_a_submodule_work_and_stay_closed",
            "a_file_that_names_somebody_elses_repository_gets_nothing",
            "a_repository_beside_the_workspace_is_guarded_as_well",
        ]);
    }
}
