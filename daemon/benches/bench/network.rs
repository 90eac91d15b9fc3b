//! Owns: what the proxy adds to a download, against the same program reaching the same server outside.

use std::time::Duration;

use super::figures::Size;
use super::report::{Report, Times, mb};
use super::sites::Sites;
use super::support::{Ran, TestDaemon, run};

const CURL: &str = "curl -sS -o /dev/null -w '%{time_total} %{size_download}'";

fn took(ran: Ran, bytes: u64) -> Duration {
    let out = ran.exits(0).out();
    let (seconds, size) = out.trim().split_once(' ').unwrap();
    assert_eq!(size, bytes.to_string());
    Duration::from_secs_f64(seconds.parse().unwrap())
}

/// A download of many bytes over https, from a server on this machine.
pub fn download(size: &Size, report: &mut Report) {
    let bytes = size.download;
    report.part(
        "The proxy",
        "curl's own time for a download over https from a server on this machine, in turns: from outside, and from a jail \
         through the proxy, with the same certificate authorities (reading them is a good part of curl's work). The server, \
         curl and the daemon share the processors, so a busy or small machine shows more.",
    );
    let sites = Sites::start();
    let mut home = TestDaemon::home();
    home.config(&sites.config("", &[]));
    home.spawn();
    // What a jail shows: the machine's own and the one of the configuration.
    let authorities = sites.dir.path().join("all.pem");
    let inside = home.ctl([
        "exec",
        "--name",
        "n",
        "--net",
        "list",
        "--",
        "cat \"$CURL_CA_BUNDLE\"",
    ]);
    std::fs::write(&authorities, inside.exits(0).stdout).unwrap();
    let url = format!("https://listed.test/length?{bytes}");
    let to = format!(
        "--cacert {} --connect-to listed.test:443:127.0.0.1:{}",
        authorities.display(),
        sites.https
    );
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..size.downloads {
        let mut outside = home.command("sh");
        outside.args(["-c", &format!("{CURL} {to} '{url}'")]);
        direct.push(took(run(outside, b""), bytes));
        let inside = format!("{CURL} '{url}'");
        let ran = home.ctl(["exec", "--name", "n", "--net", "list", "--", &inside]);
        through.push(took(ran, bytes));
    }
    let (direct, through) = (Times::of(direct), Times::of(through));
    let added = |from: Duration, to: Duration| (to.as_secs_f64() / from.as_secs_f64() - 1.0) * 100.0;
    report.row(format!("{} from outside", mb(bytes)), direct.shown(), "");
    report.row(format!("{} through the proxy", mb(bytes)), through.shown(), "");
    report.row(
        "added by the proxy",
        format!(
            "{:+.1} % (fastest {:+.1} %)",
            added(direct.median(), through.median()),
            added(direct.min(), through.min())
        ),
        "≤ 10 %",
    );
}
