//! `agentd`: reads its arguments and configuration, then runs the daemon until it is told to stop.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agentd::args::{Args, DaemonArgs, StartError};
use agentd::credentials::Credentials;
use agentd::daemon::{BeginError, Daemon, redactor_of};
use agentd::instance::InstanceError;
use agentd::paths::{Env, private_umask};
use agentd::shutdown::{Shutdown, Signals};
use agentd::telemetry::{self, LogOptions, Sink};
use clap::Parser as _;

fn main() -> ExitCode {
    private_umask();
    let args = Args::parse();
    let env: Env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect::<BTreeMap<_, _>>();
    if let Some(answer) = args.answer(&env) {
        say(&answer.stdout, &answer.stderr);
        return ExitCode::from(answer.code);
    }
    match run(&args.daemon, &env) {
        Ok(code) => code,
        Err(error) => {
            say("", &format!("error: {error:#}\n"));
            let usage = error.downcast_ref::<StartError>().is_some();
            let twice = matches!(
                error.downcast_ref::<BeginError>(),
                Some(BeginError::Instance(InstanceError::AlreadyRunning { .. }))
            );
            ExitCode::from(if usage {
                2
            } else if twice {
                6
            } else {
                1
            })
        }
    }
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the verbs of agentd answer on its own streams"
)]
fn say(stdout: &str, stderr: &str) {
    print!("{stdout}");
    eprint!("{stderr}");
}

fn run(args: &DaemonArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let (paths, config) = args.load(env)?;
    paths.prepare()?;
    raise_open_files();
    let credentials = Credentials::open(&paths.credentials_file)?;
    let redactor = redactor_of(&config, &credentials, env);
    let journal = env.contains_key("JOURNAL_STREAM");
    telemetry::init(LogOptions {
        filter: config.log.level.clone(),
        json: config.log.json,
        sink: Sink::choose(args.foreground, journal, &paths.log_file),
        scrubber: std::sync::Arc::new(move |line| redactor.redact(line)),
    })?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let shutdown = Shutdown::new();
        // Caught before anything is begun: a SIGTERM during recovery must not leave it half done.
        let signals = Signals::catch()?;
        let daemon = Daemon::begin(paths, config, env, shutdown.clone())
            .await
            .inspect_err(|error| tracing::error!(%error, "agentd could not begin"))?;
        let running = daemon
            .listen()
            .await
            .inspect_err(|error| tracing::error!(%error, "agentd could not listen"))?;
        tokio::select! {
            () = running.run() => anyhow::Ok(ExitCode::SUCCESS),
            hard = signals.drive(&shutdown) => Ok(ExitCode::from(hard.code)),
        }
    })?;
    // A blocking thread that hangs on a dead disk must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(code)
}

/// A thousand sessions need more than the usual 1024 descriptors.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}
