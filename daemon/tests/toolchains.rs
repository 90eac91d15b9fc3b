//! Owns: work done in a jail with the person's own tools, and looked at afterwards with the same tools outside.
//! Guarantees: what a build, an install or git leaves in the host layout works for the host without complaint; credentials
//! in toolchains are hidden; nothing goes over a network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shell_support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use agentd::domain::limits::AddedDir;
use agentd::domain::workspace::{Layout, ShellKind};
use agentd::jail::Person;
use shell_support::Rig;

/// As the person who runs the tests has them.
fn person() -> Arc<Person> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Arc::new(Person::of(&env, true))
}

fn rig(layout: Layout, fill: impl Fn(&Path)) -> Rig {
    Rig::made(ShellKind::Sh, Some(layout), fill, |config, spec| {
        spec.person = Some(person());
        spec.search_path = std::env::var("PATH").unwrap_or_default();
        spec.git_identity = Some(("Ana".into(), "ana@example.org".into()));
        spec.cache_dir = Some(config.state_dir.join("cache"));
    })
}

/// Outside, in the workspace; what it printed on both.
#[track_caller]
fn host(dir: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{script}: {text}");
    text
}

#[track_caller]
fn fine(ran: &shell_support::Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn what_cargo_and_make_build_inside_is_fresh_outside() {
    let rig = rig(Layout::Host, |root| {
        std::fs::create_dir(root.join("src")).unwrap();
        std::fs::write(root.join("src/main.rs"), "fn main() { println!(\"built\"); }\n").unwrap();
        std::fs::write(
            root.join("hello.c"),
            "int puts(const char*);\nint main(){ puts(\"made\"); }\n",
        )
        .unwrap();
        std::fs::write(root.join("Makefile"), "hello: hello.c\n\tcc -o $@ $<\n").unwrap();
        std::fs::write(
            root.join("Cargo.toml"),
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        )
        .unwrap();
    });
    fine(&rig.run("cargo build --offline && make").await);
    let root = rig.root().to_owned();
    let clean = "unset CARGO_TARGET_DIR CARGO_MANIFEST_DIR RUSTFLAGS;";
    assert_eq!(host(&root, "./target/debug/a; ./hello"), "built\nmade\n");
    let again = host(&root, &format!("{clean} cargo build --offline -v; make"));
    assert!(
        again.contains("Fresh a ") && again.contains("up to date"),
        "{again}"
    );
    rig.end().await;
}

#[tokio::test]
async fn what_npm_and_pip_install_inside_works_outside() {
    let rig = rig(Layout::Host, |root| {
        std::fs::create_dir(root.join("dep")).unwrap();
        std::fs::write(
            root.join("dep/package.json"),
            r#"{"name":"dep","version":"1.0.0","main":"i.js"}"#,
        )
        .unwrap();
        std::fs::write(root.join("dep/i.js"), "module.exports = 'dep'\n").unwrap();
        std::fs::write(
            root.join("package.json"),
            r#"{"name":"p","version":"1.0.0","dependencies":{"dep":"file:dep"}}"#,
        )
        .unwrap();
        std::fs::write(
            root.join("package-lock.json"),
            r#"{"name":"p","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
                "":{"name":"p","version":"1.0.0","dependencies":{"dep":"file:dep"}},
                "dep":{"version":"1.0.0"},"node_modules/dep":{"resolved":"dep","link":true}}}"#,
        )
        .unwrap();
        std::fs::write(root.join("wheel.py"), WHEEL).unwrap();
    });
    fine(&rig.run("npm ci --offline --no-audit --no-fund").await);
    fine(
        &rig.run("python3 wheel.py && python3 -m venv .venv && .venv/bin/pip install --no-index --no-deps ./tiny-1-py3-none-any.whl")
            .await,
    );
    let root = rig.root().to_owned();
    assert_eq!(host(&root, "node -p \"require('dep')\""), "dep\n");
    assert!(host(&root, "npm ls --offline").contains("dep@1.0.0"));
    assert_eq!(
        host(
            &root,
            ".venv/bin/python -c 'import tiny; print(tiny.NAME)'; .venv/bin/tiny"
        ),
        "tiny\ntiny ran\n"
    );
    assert!(host(&root, ".venv/bin/pip list --disable-pip-version-check").contains("tiny"));
    rig.end().await;
}

/// Makes a wheel without any tool for it.
const WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("tiny-1-py3-none-any.whl", "w") as z:
    z.writestr("tiny.py", "NAME = 'tiny'\ndef main(): print('tiny ran')\n")
    z.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
    z.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("tiny-1.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
    z.writestr("tiny-1.dist-info/RECORD", "")
"#;

#[tokio::test]
async fn commits_and_worktrees_made_inside_are_the_hosts_own() {
    let rig = rig(Layout::Host, |root| {
        host(root, "git init -q -b main . && mkdir sub && echo a >sub/a");
    });
    fine(
        &rig.run("git add -A && git commit -q -m first && git worktree add -q wt -b side && cd wt && echo b >b && git add b && git commit -q -m second")
            .await,
    );
    let root = rig.root().to_owned();
    let log = host(&root, "git log --all --format='%an <%ae> %s' | sort");
    assert_eq!(log, "Ana <ana@example.org> first\nAna <ana@example.org> second\n");
    assert_eq!(host(&root, "git -C wt status --porcelain; git fsck 2>&1"), "");
    assert!(host(&root, "git worktree list").contains("[side]"));
    host(&root, "git worktree remove wt && git branch -D -q side");
    rig.end().await;
}

#[tokio::test]
async fn both_layouts_have_the_persons_tools_and_none_of_their_secrets() {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| home.path().join(name);
    for sub in [".cargo/bin", ".nvm/bin", "extra", "more", ".ssh"] {
        std::fs::create_dir_all(at(sub)).unwrap();
    }
    for (name, text) in [
        (".cargo/bin/mytool", "#!/bin/sh\necho mine\n"),
        (".cargo/credentials.toml", "canary"),
        (".nvm/.npmrc", "canary"),
        (".ssh/id_ed25519", "canary"),
        ("extra/x", "x\n"),
        ("more/y", "y\n"),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(at(".cargo/bin/mytool"), mode).unwrap();
    for layout in [Layout::Root, Layout::Host] {
        let home_dir = home.path().to_owned();
        let rig = Rig::made(
            ShellKind::Sh,
            Some(layout),
            |_| {},
            |_, spec| {
                let env = [("HOME".to_owned(), home_dir.display().to_string())].into();
                spec.person = Some(Arc::new(Person::of(&env, true)));
                spec.read_only = vec![home_dir.join(".cargo")];
                spec.added = vec![
                    AddedDir {
                        path: home_dir.join("extra"),
                        writable: false,
                    },
                    AddedDir {
                        path: home_dir.join("more"),
                        writable: true,
                    },
                ];
                spec.init = Some("greet() { echo hello; }; export GREETED=yes".into());
            },
        );
        let ran = rig.run("mytool; greet; echo $GREETED").await;
        assert_eq!(ran.out, "mine\nhello\nyes\n", "{layout:?} {ran:?}");
        let h = home.path().display();
        let ran = rig
            .run(format!(
                "cat {h}/extra/x {h}/more/y; echo z >>{h}/more/y && echo wrote; echo z >{h}/extra/z || echo held; \
                 touch {h}/.cargo/bin/x {h}/new || echo held"
            ))
            .await;
        assert_eq!(ran.out, "x\ny\nwrote\nheld\nheld\n", "{layout:?} {ran:?}");
        std::fs::write(at("more/y"), "y\n").unwrap();
        let ran = rig
            .run(format!(
                "cat {h}/.cargo/credentials.toml {h}/.nvm/.npmrc; ls -A {h}/.ssh; ls /var/log"
            ))
            .await;
        assert!(ran.out.is_empty(), "{layout:?} {ran:?}");
        let root = rig.root().to_owned();
        rig.end().await;
        // What the root layout needed in the project is gone again.
        assert_eq!(
            std::fs::read_dir(&root).map_or(0, Iterator::count),
            0,
            "{layout:?}"
        );
    }
}

#[tokio::test]
async fn what_the_person_downloaded_with_npm_installs_inside_without_a_network() {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = home.path().display().to_string();
    let made = host(
        home.path(),
        "mkdir -p pkg .npm && cd pkg && echo '{\"name\":\"far\",\"version\":\"1.0.0\",\"main\":\"i.js\"}' >package.json && \
         echo \"module.exports = 'far'\" >i.js && npm pack --silent --cache ../scratch >&2 && \
         npm cache add ./far-1.0.0.tgz --cache ../.npm >&2 && openssl dgst -sha512 -binary far-1.0.0.tgz | openssl base64 -A",
    );
    // It comes first: what npm says is on the other stream.
    let sum = made.split("==").next().unwrap_or_default().to_owned() + "==";
    let rig = Rig::made(
        ShellKind::Sh,
        Some(Layout::Host),
        |root| {
            std::fs::write(
                root.join("package.json"),
                r#"{"name":"p","version":"1.0.0","dependencies":{"far":"1.0.0"}}"#,
            )
            .unwrap();
            let lock = r#"{"name":"p","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
                "":{"name":"p","version":"1.0.0","dependencies":{"far":"1.0.0"}},
                "node_modules/far":{"version":"1.0.0","resolved":"https://registry.npmjs.org/far/-/far-1.0.0.tgz",
                "integrity":"sha512-SUM"}}}"#;
            std::fs::write(root.join("package-lock.json"), lock.replace("SUM", &sum)).unwrap();
        },
        |config, spec| {
            let env = [("HOME".to_owned(), at.clone())].into();
            spec.person = Some(Arc::new(Person::of(&env, true)));
            spec.search_path = std::env::var("PATH").unwrap_or_default();
            spec.cache_dir = Some(config.state_dir.join("cache"));
        },
    );
    let before = host(home.path(), "find .npm -type f | xargs sha256sum | sort");
    let ran = rig
        .run(
            "npm ci --offline --no-audit --no-fund >&2 && node -p \"require('far')\" && npm cache verify >&2",
        )
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "far\n"), "{ran:?}");
    let ran = rig.run(format!("touch {at}/.npm/_cacache/x")).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(
        host(home.path(), "find .npm -type f | xargs sha256sum | sort"),
        before
    );
    rig.end().await;
}

#[tokio::test]
async fn a_project_with_its_own_directory_of_the_name_keeps_it() {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let extra = home.path().join("extra");
    std::fs::create_dir(&extra).unwrap();
    let rig = Rig::made(
        ShellKind::Sh,
        Some(Layout::Root),
        |root| {
            std::fs::create_dir(root.join("var")).unwrap();
            std::fs::write(root.join("var/own"), "own\n").unwrap();
        },
        |_, spec| {
            spec.added = vec![AddedDir {
                path: extra.clone(),
                writable: false,
            }];
        },
    );
    assert_eq!(rig.run("cat /var/own; ls /var").await.out, "own\nown\n");
    rig.end().await;
}
