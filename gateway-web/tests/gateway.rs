//! The gateway from outside: what opens without a sign-in, sign-in itself, scopes, limits, a daemon that is down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may fail in any way it likes"
)]

mod support;

use support::{Home, KIND};

#[test]
fn nothing_opens_without_a_sign_in() {
    let home = Home::serving(&[]);
    home.ctl(&["daemon", "start"]);
    assert_eq!(home.call("SessionService/ListSessions", "", &[]).0, 401);
    assert_eq!(
        home.call(
            "SessionService/ListSessions",
            &format!("agentd_{}={}", home.port, "0".repeat(64)),
            &[]
        ),
        (200, Some(16))
    );
    // What a rebinding name, a foreign page or a form could send.
    let host = home.host();
    assert_eq!(home.get("/", "evil.example.org").0, 421);
    let post = |headers: &str| {
        home.raw(format!("POST /agentd.v1.SessionService/ListSessions HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n").as_bytes()).0
    };
    assert_eq!(post(&format!("Host: {host}\r\n")), 403);
    assert_eq!(
        post(&format!(
            "Host: {host}\r\nOrigin: http://evil\r\nx-agentd-csrf: 1\r\nContent-Type: {KIND}\r\n"
        )),
        403
    );
    assert_eq!(
        post(&format!(
            "Host: {host}\r\nOrigin: http://{host}\r\nContent-Type: {KIND}\r\n"
        )),
        403
    );
    assert_eq!(
        post(&format!(
            "Host: {host}\r\nOrigin: http://{host}\r\nx-agentd-csrf: 1\r\nContent-Type: text/plain\r\n"
        )),
        415
    );
    assert_eq!(home.raw(format!("OPTIONS /agentd.v1.SessionService/ListSessions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).0, 405);
    let (status, page) = home.get("/sessions", &host);
    assert_eq!(status, 200);
    let head = page.split("\r\n\r\n").next().unwrap().to_lowercase();
    assert!(!head.contains("access-control"), "{head}");
    for wanted in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "nosniff",
        "no-referrer",
    ] {
        assert!(head.contains(wanted), "{wanted} is missing: {head}");
    }
    assert!(!head.contains("unsafe-"), "{head}");
    assert_eq!(home.get("/healthz", &host).0, 200);
    assert!(home.get("/metrics", &host).1.contains("agentd_web_refused_total"));
    for path in ["/assets/../../Cargo.toml", "/../Cargo.toml", "/assets/nothing.js"] {
        let (_, text) = home.get(path, &host);
        assert!(!text.contains("[package]"), "{path}: {text}");
    }
}

#[test]
fn a_code_signs_in_once_and_is_in_no_log() {
    let home = Home::serving(&[]);
    let code = home.code("read");
    let body = format!("{{\"code\":\"{code}\"}}");
    let redeem = || home.post("/pair/redeem", "application/json", "", body.as_bytes());
    assert_eq!(redeem().0, 200);
    assert_eq!(redeem().0, 403);
    assert_eq!(
        home.post("/pair/redeem", "application/json", "", &[b'x'; 10_000])
            .0,
        413
    );
    for entry in std::fs::read_dir(home.dir.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(&code), "{}", path.display());
        }
    }
    // The rest of the burst, and then no more.
    let answers: Vec<u16> = (0..12).map(|_| redeem().0).collect();
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
}

#[test]
fn a_scope_opens_its_calls_and_no_others() {
    let home = Home::serving(&[]);
    let calls = [
        ("SessionService/ListSessions", "read"),
        ("ApprovalService/ListApprovals", "read"),
        ("DaemonService/GetStatus", "read"),
        ("SessionService/PostMessage", "drive"),
        ("ShellService/WriteInput", "drive"),
        ("ApprovalService/ResolveApproval", "approve"),
        ("AccountService/CreatePairing", "admin"),
        ("DaemonService/ListCredentials", "admin"),
        ("DaemonService/MethodOfTheFuture", "admin"),
    ];
    for scope in ["read", "drive", "approve", "admin"] {
        let cookie = home.cookie(scope);
        for (method, needed) in calls {
            let (status, grpc) = home.call(method, &cookie, &[]);
            assert_eq!(status, 200, "{method}");
            // 7 is "permission denied"; an empty message may be refused for other reasons further in.
            assert_eq!(
                grpc == Some(7),
                scope != needed,
                "{method} with {scope}: {grpc:?}"
            );
        }
    }
    // Nobody trades one device for another, or reaches what is not listed.
    let cookie = home.cookie("read,drive,approve,admin");
    assert_eq!(home.call("AccountService/RedeemPairing", &cookie, &[]).1, Some(7));
    let (status, _) = home.post(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        KIND,
        &format!("Cookie: {cookie}\r\n"),
        &[],
    );
    assert_eq!(status, 404);
    // Without a jail is more than driving: CreateSession{workspace, jail: OUTER}.
    let outer = [0x1a, 1, b'/', 0x38, 2];
    assert_eq!(
        home.call("SessionService/CreateSession", &home.cookie("drive"), &outer)
            .1,
        Some(7)
    );
}

#[test]
fn a_revoked_device_is_out_and_a_daemon_that_is_down_is_unavailable() {
    let home = Home::serving(&[]);
    let cookie = home.cookie("read");
    assert_eq!(
        home.call("SessionService/ListSessions", &cookie, &[]),
        (200, Some(0))
    );
    home.ctl(&["daemon", "restart"]);
    assert_eq!(
        home.call("SessionService/ListSessions", &cookie, &[]),
        (200, Some(0)),
        "a restart signs nobody out"
    );
    home.ctl(&["daemon", "stop"]);
    assert_eq!(
        home.call("SessionService/ListSessions", &cookie, &[]),
        (200, Some(14)),
        "stopped stays stopped"
    );
    home.ctl(&["daemon", "start"]);
    let list = home.ctl(&["web", "token", "list", "-o", "plain", "--no-header"]);
    let device = list.split_whitespace().next().unwrap().to_owned();
    home.ctl(&["web", "token", "revoke", &device]);
    assert_eq!(
        home.call("SessionService/ListSessions", &cookie, &[]),
        (200, Some(16))
    );
}

#[test]
fn too_much_is_refused() {
    let home = Home::serving(&[]);
    let cookie = home.cookie("read");
    let (status, _) = home.raw(
        format!(
            "POST /agentd.v1.SessionService/ListSessions HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nx-agentd-csrf: 1\r\n\
             Content-Type: {KIND}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n",
            home.host()
        )
        .as_bytes(),
    );
    assert_eq!(status, 413);
}

#[test]
fn a_public_url_adds_one_host_and_one_origin() {
    let home = Home::serving(&["--public-url", "https://agent.example.org"]);
    assert_eq!(home.get("/", "agent.example.org").0, 200);
    assert_eq!(home.get("/", "agent.example.com").0, 421);
    let code = home.code("read");
    let body = format!("{{\"code\":\"{code}\"}}");
    let (status, text) = home.raw(
        format!(
            "POST /pair/redeem HTTP/1.1\r\nHost: agent.example.org\r\nOrigin: https://agent.example.org\r\nx-agentd-csrf: 1\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("; Secure"),
        "behind TLS the cookie stays there: {text}"
    );
    let qr = home.ctl(&["web", "--pair-phone"]);
    assert!(
        qr.contains("https://agent.example.org/pair#c=") && qr.contains('█'),
        "{qr}"
    );
}

#[test]
fn plain_text_over_the_network_is_refused_with_the_reason() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_agent-web"))
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("unencrypted") && text.contains("--tls-cert"),
        "{text}"
    );
    let home = Home::serving(&[]);
    let refused = home
        .command("agentctl")
        .args(["web", "--pair-phone"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("--public-url"),
        "{text}"
    );
}

#[test]
fn tls_serves_the_network_and_plain_text_gets_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let home = Home::serving(&[
        "--listen",
        "0.0.0.0:0",
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    let curl = |path: &str, host: &str| {
        let output = std::process::Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "20",
                "-o",
                "-",
                "-w",
                "\n%{http_code}",
                "--cacert",
            ])
            .arg(&cert)
            .args([
                "-H",
                &format!("Host: {host}"),
                &format!("https://127.0.0.1:{}{path}", home.port),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .rsplit('\n')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(curl("/sessions", &home.host()), "200");
    assert_eq!(
        curl("/sessions", "evil.example.org"),
        "421",
        "TLS is no reason to serve any name"
    );
    let (status, text) = home.get("/sessions", &home.host());
    assert_eq!(status, 0, "plain text was answered: {text}");
    // A pair of files that do not belong together is said at the start.
    let wrong = home
        .command("agent-web")
        .args(["--listen", "0.0.0.0:0", "--tls-cert"])
        .arg(&key)
        .arg("--tls-key")
        .arg(&key)
        .output()
        .unwrap();
    assert!(!wrong.status.success() && !wrong.stderr.is_empty());
}

#[test]
fn only_a_trusted_proxy_says_who_is_behind_it() {
    let tries = |home: &Home, from: &str| -> Vec<u16> {
        (0..12)
            .map(|_| {
                let more = format!("X-Forwarded-For: {from}\r\n");
                home.post("/pair/redeem", "application/json", &more, b"{\"code\":\"0\"}")
                    .0
            })
            .collect()
    };
    let trusting = Home::serving(&["--trusted-proxy", "127.0.0.1"]);
    trusting.ctl(&["daemon", "start"]);
    assert_eq!(tries(&trusting, "10.0.0.1").last(), Some(&429));
    assert_eq!(
        tries(&trusting, "10.0.0.2").first(),
        Some(&403),
        "another one pays for the first"
    );
    // What the client itself put in front of the proxy's word counts for nothing.
    assert_eq!(tries(&trusting, "10.0.0.9, 10.0.0.1").first(), Some(&429));
    let other = Home::serving(&["--trusted-proxy", "10.9.9.9"]);
    other.ctl(&["daemon", "start"]);
    assert_eq!(tries(&other, "10.0.0.1").last(), Some(&429));
    assert_eq!(
        tries(&other, "10.0.0.2").first(),
        Some(&429),
        "anybody could choose an address"
    );
}

#[test]
fn an_ssh_tunnel_reaches_the_page_under_its_own_name() {
    let tunnel = free_port();
    let home = Home::serving(&["--public-url", &format!("http://localhost:{tunnel}")]);
    let ssh = support::Ssh::new(home.dir.path());
    let _forward = ssh.forward(tunnel, home.port);
    let at_tunnel = |request: String| support::raw_at(tunnel, request.as_bytes());
    let get = |host: &str| {
        at_tunnel(format!(
            "GET /sessions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
        .0
    };
    let own = format!("localhost:{tunnel}");
    support::until("the tunnel stands", || (get(&own) == 200).then_some(()));
    // The same port by another name is not it: exactly one more Host and one more Origin.
    assert_eq!(get(&format!("127.0.0.1:{tunnel}")), 421);
    assert_eq!(get(&format!("evil.example.org:{tunnel}")), 421);
    let code = home.code("read");
    let body = format!("{{\"code\":\"{code}\"}}");
    let redeem = |origin: &str| {
        at_tunnel(format!(
            "POST /pair/redeem HTTP/1.1\r\nHost: {own}\r\nOrigin: {origin}\r\nx-agentd-csrf: 1\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    assert_eq!(redeem(&format!("http://localhost:{}", tunnel ^ 1)).0, 403);
    let (status, text) = redeem(&format!("http://{own}"));
    assert_eq!(status, 200, "{text}");
    assert!(text.to_lowercase().contains("set-cookie:"), "{text}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
