//! Owns: personas, policies and approvals through agentctl: what is refused, what is granted and taken back.
//! Guarantees: every case runs the real programs in a home of its own, with the demo model and a real jail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::process::Stdio;

use support::{TestDaemon, until};

fn open(home: &TestDaemon) -> serde_json::Value {
    until("a question is open", || {
        let list = home.ctl(["approvals", "list", "-o", "json"]).exits(0).json();
        list.get(0).cloned()
    })
}

fn detached(home: &TestDaemon, words: &[&str]) -> String {
    let mut all = vec!["run", "-d", "--on-approval", "wait", "--model", "demo"];
    all.extend(words);
    home.ctl(all).exits(0).out().trim().to_owned()
}

fn done(home: &TestDaemon, session: &str) -> String {
    home.ctl(["wait", session, "--for", "done", "--timeout", "20s"]);
    home.ctl(["logs", session]).exits(0).out()
}

#[test]
fn a_plan_looks_and_changes_nothing_until_another_persona_is_chosen() {
    let home = TestDaemon::start();
    std::fs::write(home.project().join("seen.txt"), "words\n").unwrap();
    let look = "demo: run cat seen.txt; touch made || echo kept out";
    let id = detached(&home, &["--persona", "plan", look]);
    let log = done(&home, &id);
    assert!(log.contains("words") && log.contains("kept out"), "{log}");
    assert!(!home.project().join("made").exists());
    let show = home
        .ctl(["policies", "show", "-s", &id, "-o", "json"])
        .exits(0)
        .json();
    assert!(
        show["read_only"].as_bool().unwrap() && show["name"] == "plan",
        "{show}"
    );
    let id = detached(&home, &["-s", &id, "--persona", "code", "demo: run touch made"]);
    done(&home, &id);
    assert!(
        home.project().join("made").exists(),
        "the next generation has the other wall"
    );
    let show = home.ctl(["sessions", "show", &id, "-o", "json"]).exits(0).json();
    assert_eq!(
        (show["persona"].as_str(), show["policy"].as_str()),
        (Some("code"), Some("auto")),
        "{show}"
    );
    // The other layout, where the project is the root.
    let words = ["--name", "root", "--layout", "root", "--persona", "plan", look];
    let log = done(&home, &detached(&home, &words));
    assert!(log.contains("words") && log.contains("kept out"), "{log}");
    // Without a jail nothing would keep it.
    let no = home
        .ctl([
            "run",
            "--name",
            "bare",
            "--jail",
            "outer",
            "--persona",
            "plan",
            "--model",
            "demo",
            "x",
        ])
        .exits(2);
    assert!(no.err().contains("needs a jail"), "{no}");
    home.ctl(["run", "--persona", "pln", "--model", "demo", "x"])
        .exits(3);
}

#[test]
fn a_rule_for_the_project_is_checked_listed_counts_and_can_be_taken_back() {
    let home = TestDaemon::start();
    let id = detached(&home, &["--name", "one", "demo: ask"]);
    let question = open(&home);
    let approval = question["approval_id"].as_str().unwrap();
    let offered = question["rules"][0].as_str().unwrap().to_owned();
    assert_eq!(offered, "allow writes: AGENTS.md", "{question}");
    for (rule, code) in [
        ("alow writes: AGENTS.md", "[rule_invalid]"),
        ("allow writes: **", "[rule_too_broad]"),
        ("allow writes: .envrc", "[rule_too_broad]"),
        ("allow executes", "[rule_too_broad]"),
    ] {
        let no = home
            .ctl(["approve", approval, "--project", "--rule", rule])
            .exits(2);
        assert!(no.err().contains(code) && no.err().contains("next: "), "{no}");
    }
    home.ctl(["approve", approval, "--project", "--expires", "7d"])
        .exits(0);
    home.ctl(["approve", approval]).exits(6);
    done(&home, &id);
    let grants = home
        .ctl(["policies", "list", "--grants", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(grants[0]["rule"], offered.as_str(), "{grants}");
    // Another session on the project asks no more, also after a restart.
    let mut home = home;
    home.kill9();
    home.restart();
    let id = detached(&home, &["--name", "two", "demo: ask"]);
    let log = done(&home, &id);
    assert!(!log.contains("approved"), "{log}");
    let grant = grants[0]["grant_id"].as_str().unwrap();
    home.ctl(["policies", "revoke", grant]).exits(0);
    home.ctl(["policies", "revoke", "g-zzzzzz"]).exits(3);
    let id = detached(&home, &["--name", "three", "demo: ask"]);
    let question = open(&home);
    home.ctl(["deny", question["approval_id"].as_str().unwrap()])
        .exits(0);
    done(&home, &id);
}

#[test]
fn a_policy_decides_says_by_which_rule_and_what_it_matched_before() {
    let home = TestDaemon::start();
    let bad = home.path().join("bad.toml");
    std::fs::write(&bad, "bse = \"ask\"\nrules = [\"deny executs: git push *\"]\n").unwrap();
    let no = home
        .ctl(["policies", "edit", "mine", "--file", bad.to_str().unwrap()])
        .exits(2);
    assert!(
        no.err().contains("[policy_invalid]") && no.err().contains(":1:1:"),
        "{no}"
    );
    assert!(
        no.err().contains("Did you mean 'base'?") && no.err().contains("Did you mean 'executes'?"),
        "{no}"
    );
    let good = home.path().join("good.toml");
    std::fs::write(&good, "base = \"ask\"\nrules = [\"deny executes: git push *\"]\n").unwrap();
    home.ctl(["policies", "edit", "mine", "--file", good.to_str().unwrap()])
        .exits(0);
    let id = detached(
        &home,
        &["--policy", "mine", "demo: run cd . && git push\nrun echo went on"],
    );
    let log = done(&home, &id);
    assert!(
        log.contains("denied by policy: ")
            && log.contains("(deny executes: git push *)")
            && log.contains("went on"),
        "{log}"
    );
    let words = [
        "policies",
        "test",
        "--policy",
        "mine",
        "-o",
        "json",
        "--",
        "cd x && git push",
    ];
    let tested = home.ctl(words).exits(0).json();
    assert_eq!(
        (tested["verdict"].as_str(), tested["rule"].as_str()),
        (Some("deny"), Some("deny executes: git push *"))
    );
    assert!(!tested["plain"].as_bool().unwrap(), "{tested}");
    let words = [
        "policies",
        "test",
        "--rule",
        "allow executes: echo *",
        "-o",
        "json",
        "--",
        "echo",
        "hi",
    ];
    let tested = home.ctl(words).exits(0).json();
    assert!(
        tested["rule_matches"].as_bool().unwrap() && tested["history_matched"] == 1,
        "{tested}"
    );
    let words = ["policies", "test", "--policy", "nope", "--", "ls"];
    home.ctl(words).exits(3);
}

#[test]
fn a_project_can_only_tighten_and_its_questions_end_by_themselves() {
    let home = TestDaemon::start();
    std::fs::create_dir(home.project().join(".agentd")).unwrap();
    let file = home.project().join(".agentd/policy.toml");
    std::fs::write(
        &file,
        "rules = [\"allow reaches_out\", \"ask executes: echo *\"]\napproval_expires = \"1s\"\n",
    )
    .unwrap();
    let id = detached(&home, &["demo: run echo asked\nrun true"]);
    let question = open(&home);
    assert!(question["expire_time"].is_string(), "{question}");
    let log = done(&home, &id);
    assert!(log.contains("can't allow anything"), "{log}");
    assert!(log.contains("nobody answered"), "{log}");
    let late = home
        .ctl(["approve", question["approval_id"].as_str().unwrap()])
        .exits(6);
    assert!(late.err().contains("[approval_decided]"), "{late}");
    // Who makes a session there is told at once, once.
    let new = || {
        home.ctl(["run", "--name", "told", "--model", "demo", "demo: say x"])
            .exits(0)
    };
    let told = "warning: .agentd/policy.toml: ignored: 'allow reaches_out'";
    assert!(new().err().contains(told) && !new().err().contains(told));
    std::fs::write(&file, "ruls = []\n").unwrap();
    let no = home
        .ctl(["run", "--new", "--name", "b", "--model", "demo", "hello"])
        .exits(2);
    assert!(
        no.err().contains("policy.toml:1:1:") && no.err().contains("Did you mean 'rules'?"),
        "{no}"
    );
    home.ctl(["exec", "--name", "sh", "--", "true"]).exits(0);
}

#[test]
fn the_users_own_program_is_told_and_given_no_key() {
    let mut home = TestDaemon::home();
    let told = home.path().join("told");
    let script = format!("cat > {0}.tmp; env >> {0}.tmp; mv {0}.tmp {0}", told.display());
    home.config(&format!(
        "[hooks]\nneeds_you = [\"/bin/sh\", \"-c\", '''{script}''']\n"
    ));
    home.set("OPENAI_API_KEY", "sk-canary-0123456789abcdef");
    home.spawn();
    let id = detached(&home, &["demo: ask"]);
    let text = until("the program was told", || std::fs::read_to_string(&told).ok());
    let said: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(said["event"], "needs_you");
    assert_eq!(said["session_id"], id.as_str());
    assert!(!text.contains("canary"), "{text}");
    home.ctl(["deny", said["approval_id"].as_str().unwrap()]).exits(0);
}

#[test]
fn of_two_people_who_answer_at_once_the_first_one_counts_and_the_other_is_told() {
    let home = TestDaemon::start();
    let id = detached(&home, &["demo: ask"]);
    let question = open(&home);
    let approval = question["approval_id"].as_str().unwrap();
    let (yes, no) = std::thread::scope(|scope| {
        let yes = scope.spawn(|| home.ctl(["approve", approval]));
        let no = scope.spawn(|| home.ctl(["deny", approval, "--reason", "not now"]));
        (yes.join().unwrap(), no.join().unwrap())
    });
    let (won, lost) = if yes.code == 0 { (&yes, &no) } else { (&no, &yes) };
    assert_eq!((won.code, lost.code), (0, 6), "{yes}\n{no}");
    assert!(lost.err().contains("[approval_decided]"), "{lost}");
    let log = done(&home, &id);
    assert_eq!(log.contains("not now"), yes.code != 0, "{log}");
    let events = home
        .ctl(["logs", &id, "--events", "-o", "jsonl"])
        .exits(0)
        .lines();
    let answers = events.iter().filter(|one| one["type"] == "approval.resolved");
    assert_eq!(answers.count(), 1);
}

/// What the project wants every shell to begin with.
fn wish(home: &TestDaemon, init: &str) {
    std::fs::create_dir_all(home.project().join(".agentd")).unwrap();
    let text = format!("[shell]\ninit = '''\n{init}'''\n");
    std::fs::write(home.project().join(".agentd/config.toml"), text).unwrap();
}

/// A command's output and what is said besides.
fn said(home: &TestDaemon, session: &str, script: &str) -> (String, String) {
    let ran = home.ctl(["exec", "--name", session, "-o", "json", "--", script]);
    let told = ran.exits(0).json();
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    (text("stdout"), text("message"))
}

#[test]
fn a_check_of_the_project_begins_as_its_shells_do() {
    let home = TestDaemon::start();
    let tools = home.project().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("node"), "#!/bin/sh\necho v0.from.project\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tools.join("node"), mode).unwrap();
    let check = || {
        let findings = home.ctl(["doctor", "--project", "-o", "json"]).json();
        let of = |check: &str| {
            let found = findings
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["check"] == check);
            found.map(|one| one["message"].as_str().unwrap().to_owned())
        };
        (of("shell init"), of("node").unwrap_or_default())
    };
    assert_eq!(check().0, None);
    wish(&home, "PATH=\"$PWD/tools:$PATH\"\nexport PATH\n");
    let (init, node) = check();
    assert!(init.unwrap().contains("did not run: nobody has agreed to it"));
    assert!(!node.contains("from.project"), "{node}");
    assert_eq!(
        home.ctl(["approvals", "list", "-o", "json"]).json(),
        serde_json::json!([])
    );
    said(&home, "a", "true");
    let id = open(&home)["approval_id"].as_str().unwrap().to_owned();
    home.ctl(["approve", &id, "--project"]).exits(0);
    let (init, node) = check();
    assert!(init.unwrap().contains("ran first, as agreed to"));
    assert!(node.contains("v0.from.project"), "{node}");
    // What goes wrong in it is said; another text is another matter.
    wish(&home, "exit 3\n");
    assert!(check().0.unwrap().contains("did not run"));
    said(&home, "b", "true");
    let id = open(&home)["approval_id"].as_str().unwrap().to_owned();
    home.ctl(["approve", &id, "--project"]).exits(0);
    let init = check().0.unwrap();
    assert!(init.contains("ended the shell"), "{init}");
}

#[test]
fn a_projects_shell_init_runs_once_somebody_agreed_to_its_text() {
    const WISH: &str = "export FROM_PROJECT=yes\ncd docs\nls no-such-file\necho heard by nobody\n";
    let mut home = TestDaemon::start();
    std::fs::create_dir(home.project().join("docs")).unwrap();
    wish(&home, WISH);
    let look = "echo ${FROM_PROJECT-no} in ${PWD##*/}";
    // Nobody is there to answer: the shell begins without it, says so, and the question stays, over a restart too.
    let (out, message) = said(&home, "a", look);
    assert!(out.starts_with("no in"), "{out}");
    home.kill9();
    home.spawn();
    let asked = open(&home);
    let id = asked["approval_id"].as_str().unwrap().to_owned();
    assert!(
        message.contains("shell init did not run") && message.contains(&format!("agentctl approve {id}")),
        "{message}"
    );
    assert_eq!(
        (&asked["kind"], &asked["detail"]),
        (&"shell_init".into(), &WISH.into())
    );
    let rule = asked["rules"][0].as_str().unwrap().to_owned();
    assert!(rule.starts_with("allow init: "), "{rule}");
    let shown = home.ctl(["approvals", "show", &id, "-o", "table"]).exits(0).out();
    assert!(
        shown.contains("export FROM_PROJECT=yes") && shown.contains(&rule),
        "{shown}"
    );
    // It is asked once.
    said(&home, "a", "true");
    let list = home.ctl(["approvals", "list", "-o", "json"]).exits(0).json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    // Approved: it runs before the next command, once, and its state is the session's.
    home.ctl(["approve", &id]).exits(0);
    until("it has run", || {
        (said(&home, "a", look).0 == "yes in docs\n").then_some(())
    });
    said(&home, "a", "export FROM_PROJECT=changed; cd ..");
    home.kill9();
    home.spawn();
    assert!(said(&home, "a", look).0.starts_with("changed in"));
    // That was for the one session; for the project it counts in every other one.
    said(&home, "b", "true");
    let id = open(&home)["approval_id"].as_str().unwrap().to_owned();
    home.ctl(["approve", &id, "--project", "--rule", "allow init"])
        .exits(2);
    home.ctl(["approve", &id, "--project"]).exits(0);
    assert_eq!(said(&home, "c", look).0, "yes in docs\n");
    let granted = home.ctl(["policies", "list", "--grants"]).exits(0).out();
    assert!(granted.contains(&rule), "{granted}");
    // What goes wrong in it is told with the next result, and does no harm.
    wish(&home, "echo oh dear >&2\nexit 3\n");
    said(&home, "d", "true");
    let asked = open(&home);
    assert_ne!(asked["rules"][0], rule, "another text is another question");
    home.ctl(["approve", asked["approval_id"].as_str().unwrap(), "--session"])
        .exits(0);
    let message = until("it has run", || {
        Some(said(&home, "d", "true").1).filter(|said| !said.is_empty())
    });
    assert!(
        message.contains("ended the shell") && message.contains("oh dear"),
        "{message}"
    );
    assert_eq!(said(&home, "d", "echo on").0, "on\n");
    // No is told with the reason, and nothing runs; a policy answers by itself.
    wish(&home, "export FROM_PROJECT=evil\n");
    said(&home, "e", "true");
    let id = open(&home)["approval_id"].as_str().unwrap().to_owned();
    home.ctl(["deny", &id, "--reason", "not this"]).exits(0);
    let (out, _) = said(&home, "e", look);
    assert!(out.starts_with("no in"), "{out}");
    std::fs::write(
        home.project().join(".agentd/policy.toml"),
        "rules = [\"deny init\"]\n",
    )
    .unwrap();
    let (out, message) = said(&home, "f", look);
    assert!(
        out.starts_with("no in") && message.contains("the policy denies it (deny init)"),
        "{out}{message}"
    );
    // Nor does anything else of a project's configuration count.
    std::fs::write(
        home.project().join(".agentd/config.toml"),
        "[jail]\nkind = \"none\"\n",
    )
    .unwrap();
    let (_, message) = said(&home, "g", "true");
    assert!(
        message.contains(".agentd/config.toml:1:2: ") && message.contains("'jail'"),
        "{message}"
    );
}

#[test]
fn a_shell_waits_for_the_answer_of_somebody_who_watches() {
    let home = TestDaemon::start();
    wish(&home, "export FROM_PROJECT=yes\n");
    let id = home
        .ctl(["sessions", "new", "--name", "n", "-o", "json"])
        .exits(0);
    let mut watching = home.agentctl(["logs", "n", "-f"]);
    watching
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut watching = watching.spawn().unwrap();
    until("it is attached", || {
        let clients = home
            .ctl(["sessions", "clients", "n", "-o", "json"])
            .exits(0)
            .json();
        (!clients.as_array().unwrap().is_empty()).then_some(())
    });
    let (out, message) = std::thread::scope(|scope| {
        let command = scope.spawn(|| said(&home, "n", "echo ${FROM_PROJECT-no}"));
        let asked = open(&home);
        assert!(!command.is_finished());
        home.ctl(["approve", asked["approval_id"].as_str().unwrap()])
            .exits(0);
        command.join().unwrap()
    });
    assert_eq!((out.as_str(), message.as_str()), ("yes\n", ""), "{id}");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_path_is_judged_as_the_file_it_leads_to() {
    let home = TestDaemon::start();
    let project = home.project();
    std::fs::create_dir_all(project.join("docs")).unwrap();
    std::fs::create_dir_all(project.join("src")).unwrap();
    std::os::unix::fs::symlink("docs", project.join("manual")).unwrap();
    let policy = home.path().join("mine.toml");
    std::fs::write(&policy, "base = \"ask\"\nrules = [\"deny writes: docs/**\"]\n").unwrap();
    home.ctl(["policies", "edit", "mine", "--file", policy.to_str().unwrap()])
        .exits(0);
    home.ctl([
        "run",
        "--name",
        "w",
        "--policy",
        "mine",
        "-m",
        "demo",
        "demo: say hi",
    ])
    .exits(0);
    let absolute = project.join("docs/x");
    for (path, known) in [
        ("docs/x", true),
        ("./docs/x", true),
        ("docs//x", true),
        ("src/../docs/x", true),
        // Where a link leads and where a workspace lies only a session knows.
        ("manual/x", false),
        (absolute.to_str().unwrap(), false),
    ] {
        for by in [&["-s", "w"][..], &["--policy", "mine"]] {
            if !known && by[0] != "-s" {
                continue;
            }
            let words = [&["policies", "test", "-o", "json", "--writes", path], by].concat();
            let tested = home.ctl(words).exits(0).json();
            assert_eq!(tested["verdict"], "deny", "{path} {by:?}: {tested}");
            assert_eq!(tested["offered_rules"], serde_json::json!([]), "{tested}");
        }
    }
    let outside = home.ctl(["policies", "test", "-s", "w", "--writes", "/etc/passwd"]);
    assert!(
        outside.code != 0 && outside.err().contains("outside the workspace"),
        "{outside}"
    );
}
