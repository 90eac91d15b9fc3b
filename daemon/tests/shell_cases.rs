//! Owns: the shell's cases, each pinned to its exact result, in sh and bash, in a real jail.
mod shell_support;
use agentd::domain::workspace::ShellKind;
use shell_support::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn first() {
    for kind in [ShellKind::Sh, ShellKind::Bash] {
        let rig = Rig::new(kind);
        for script in ["pwd", "ls -la /", "id; echo hi >&2; exit_code() { return 3; }; exit_code", "echo $?", "X=1; exit 3", "echo $X $?; true", "cd /usr; pwd"] {
            let t = std::time::Instant::now();
            let ran = rig.run(script).await;
            println!("{script:?} {:?} {ran:?}", t.elapsed());
        }
        let mut best = std::time::Duration::from_secs(1);
        for _ in 0..300 { let t = std::time::Instant::now(); rig.run("true").await; best = best.min(t.elapsed()); }
        println!("best {best:?}");
        rig.end().await;
    }
}
