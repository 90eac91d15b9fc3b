//! agent-web: the browser's way to the daemon. Serves the page, signs devices in, and carries grpc-web calls to
//! the daemon's socket.

mod app;
mod assets;
mod daemon;
mod guard;
mod limit;
mod metrics;
mod options;
mod pair;
mod proxy;
mod rounds;
mod running;
mod serve;

use clap::Parser;

use options::Options;

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("AGENTD_LOG").unwrap_or_else(|_| "info".into()),
        )
        .init();
    if let Err(why) = options.check() {
        say(&why);
        return Ok(std::process::ExitCode::from(2));
    }
    serve::run(options).await?;
    Ok(std::process::ExitCode::SUCCESS)
}

#[expect(
    clippy::print_stderr,
    reason = "a refused command line is said to the person who typed it"
)]
fn say(why: &str) {
    eprintln!("error: {why}");
}
