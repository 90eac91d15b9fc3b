//! Owns: the way out through a company's own proxy, of whatever kind: HTTP, the same over TLS, SOCKS5.
//! Guarantees: real programs against servers on this machine, with a certificate authority made on the fly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/sites/mod.rs"]
mod sites;
#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use sites::Sites;
use support::{Ran, TestDaemon};

fn exec(home: &TestDaemon, flags: &[&str], script: &str) -> Ran {
    let mut words = vec!["exec", "--name", "n"];
    words.extend(flags);
    words.extend(["--", script]);
    home.ctl(words)
}

/// A company's proxy that lets in whom it knows: names lead to the sites, whatever they are. Gives its port and what it was
/// asked.
fn company_proxy(sites: &Sites) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, heard) = std::sync::mpsc::channel();
    let (https, http) = (sites.https, sites.http);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = stream.unwrap();
            let asked = asked.clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap().to_owned();
                // me:canary-0123
                let known = head.contains("Basic bWU6Y2FuYXJ5LTAxMjM=");
                asked.send(line.clone()).ok();
                if !known {
                    client
                        .write_all(
                            b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                        )
                        .ok();
                    return;
                }
                let tunnel = line.starts_with("CONNECT ");
                let mut server =
                    TcpStream::connect(("127.0.0.1", if tunnel { https } else { http })).unwrap();
                if tunnel {
                    client.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").unwrap();
                } else {
                    let path = line.split(' ').nth(1).unwrap();
                    assert!(path.starts_with("http://listed.test"), "{path}");
                    let own =
                        head.replacen("http://listed.test:80", "", 1)
                            .replacen("http://listed.test", "", 1);
                    server.write_all(own.as_bytes()).unwrap();
                }
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let back = std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(std::net::Shutdown::Write).ok();
                });
                std::io::copy(&mut client, &mut server).ok();
                server.shutdown(std::net::Shutdown::Write).ok();
                back.join().unwrap();
            });
        }
    });
    (port, heard)
}

#[test]
fn a_companys_proxy_is_the_way_out_and_is_asked_only_for_what_was_allowed() {
    let sites = Sites::start();
    let (port, heard) = company_proxy(&sites);
    let config = |login: &str| {
        format!(
            "[network]\nca_file = \"{}\"\nallow = [\"listed.test\"]\nproxy = \"http://{login}127.0.0.1:{port}\"\n",
            sites.dir.path().join("ca.pem").display()
        )
    };
    let mut home = TestDaemon::home();
    home.config(&config("me:canary-0123@"));
    home.spawn();
    let ran = exec(
        &home,
        &["--net", "list"],
        "curl -sSf https://listed.test/hello http://listed.test/hello; curl -sS https://evil.test/hello; env",
    );
    assert!(
        ran.out()
            .starts_with("hello from listed.test\nhello from listed.test\n"),
        "{ran}"
    );
    assert!(!ran.out().contains("canary"), "{ran}");
    let asked: Vec<String> = heard.try_iter().collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].starts_with("CONNECT listed.test:443 "), "{asked:?}");
    assert!(asked[1].starts_with("GET http://listed.test"), "{asked:?}");
    let shown = home.ctl(["config", "list"]).exits(0);
    assert!(
        !shown.out().contains("canary") && !home.log().contains("canary"),
        "{shown}"
    );
    // A proxy that does not know us.
    home.config(&config(""));
    home.kill9();
    home.restart();
    let ran = exec(&home, &["-o", "json"], "curl -sSf https://listed.test/hello");
    assert_ne!(ran.code, 0);
    assert!(
        ran.out().contains("the proxy wants a name and a password"),
        "{ran}"
    );
}

#[test]
fn a_companys_proxy_may_be_over_tls_or_socks_for_programs_pages_and_models() {
    let sites = Sites::start();
    let proxies = sites.proxies();
    let ca = sites.dir.path().join("ca.pem").display().to_string();
    let config = |proxy: &str| {
        format!(
            "[providers.far]\nbase_url = \"https://asked.test/v1\"\nauth = \"none\"\nproxy = \"{proxy}\"\nca_file = \"{ca}\"\n\
             [network]\nca_file = \"{ca}\"\nallow = [\"listed.test\"]\nproxy = \"{proxy}\"\n"
        )
    };
    let mut home = TestDaemon::start();
    let (tls, socks) = (
        format!("localhost:{}", proxies.tls),
        format!("127.0.0.1:{}", proxies.socks),
    );
    for (kind, at, asked) in [
        (
            "https",
            &tls,
            [
                "tls CONNECT listed.test:443 ",
                "tls GET http://listed.test",
                "tls CONNECT asked.test:443 ",
            ],
        ),
        (
            "socks5h",
            &socks,
            [
                "socks listed.test:443\n",
                "socks listed.test:80\n",
                "socks asked.test:443\n",
            ],
        ),
        (
            "socks5",
            &socks,
            [
                "socks listed.test:443\n",
                "socks listed.test:80\n",
                "socks asked.test:443\n",
            ],
        ),
    ] {
        home.config(&config(&format!("{kind}://me:canary-0123@{at}")));
        home.kill9();
        home.restart();
        let before = proxies.log().len();
        let both = "curl -sSf https://listed.test/hello http://listed.test/hello; curl -sS https://evil.test/hello; env";
        let ran = exec(&home, &["--net", "list"], both);
        assert!(
            ran.out()
                .starts_with("hello from listed.test\nhello from listed.test\n")
                && !ran.out().contains("canary"),
            "{kind}: {ran}"
        );
        let long = exec(&home, &[], "curl -sSf https://listed.test/length?3000000 | wc -c").exits(0);
        assert_eq!(long.out().trim(), "3000000", "{kind}");
        // The model behind it, which has a page fetched that way too.
        let ran = home
            .ctl([
                "run",
                "--new",
                "--model",
                "far/m",
                "--",
                "https://listed.test/hello",
            ])
            .exits(0);
        assert!(
            ran.out().starts_with("200 https://listed.test/hello\n") && ran.out().contains("23 bytes"),
            "{kind}: {ran}"
        );
        let log = proxies.log().split_off(before);
        for line in asked {
            assert!(log.contains(line), "{kind}: {line}: {log}");
        }
        assert!(
            !log.contains("evil.test") && !home.log().contains("canary"),
            "{kind}: {log}"
        );
        // One that does not know us, and one that nobody vouches for, say so.
        home.config(&config(&format!("{kind}://me:wrong@{at}")));
        home.kill9();
        home.restart();
        let ran = exec(&home, &["-o", "json"], "curl -sSf https://listed.test/hello");
        assert_ne!(ran.code, 0);
        assert!(
            ran.out().contains("a password") || ran.out().contains("or the password"),
            "{kind}: {ran}"
        );
    }
    home.config(&format!(
        "[network]\nallow = [\"listed.test\"]\nproxy = \"https://me:canary-0123@{tls}\"\n"
    ));
    home.kill9();
    home.restart();
    let ran = exec(&home, &["-o", "json"], "curl -sSf https://listed.test/hello");
    assert!(ran.code != 0 && ran.out().contains("[network] ca_file"), "{ran}");
}
