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

/// Bytes a second of a link of 1 Gbit/s.
const LINK: u64 = 125_000_000;

/// A download of many bytes over https, from a server on this machine: as over a fast link, and as fast as the processors
/// can.
pub fn download(size: &Size, report: &mut Report) {
    let bytes = size.download;
    report.part(
        "The proxy",
        "curl's own time for a download over https from a server on this machine, in turns: from outside, and from a jail \
         through the proxy, with the same certificate authorities (reading them is a good part of curl's work). First the \
         server sends no faster than a link of 1 Gbit/s does. Then it sends without a limit: server and curl alone fill two \
         processors, so that figure is what the proxy's work costs where there is no third one.",
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
    let to = format!(
        "--cacert {} --connect-to listed.test:443:127.0.0.1:{}",
        authorities.display(),
        sites.https
    );
    let measure = |path: &str| {
        let url = format!("https://listed.test/length?{path}");
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for _ in 0..size.downloads {
            let mut outside = home.command("sh");
            outside.args(["-c", &format!("{CURL} {to} '{url}'")]);
            direct.push(took(run(outside, b""), bytes));
            let inside = format!("{CURL} '{url}'");
            let ran = home.ctl(["exec", "--name", "n", "--net", "list", "--", &inside]);
            through.push(took(ran, bytes));
        }
        (Times::of(direct), Times::of(through))
    };
    for (how, path, goal) in [
        ("over 1 Gbit/s", format!("{bytes},{LINK}"), "≤ 10 %"),
        ("without a limit", bytes.to_string(), ""),
    ] {
        let (direct, through) = measure(&path);
        report.row(format!("{} {how}, from outside", mb(bytes)), direct.shown(), "");
        report.row(
            format!("{} {how}, through the proxy", mb(bytes)),
            through.shown(),
            "",
        );
        let added = |from: Duration, to: Duration| (to.as_secs_f64() / from.as_secs_f64() - 1.0) * 100.0;
        report.row(
            format!("added by the proxy, {how}"),
            format!(
                "{:+.1} % (fastest {:+.1} %)",
                added(direct.median(), through.median()),
                added(direct.min(), through.min())
            ),
            goal,
        );
    }
}
