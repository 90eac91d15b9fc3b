//! The guard's matrix: Host x Origin x site x method x CSRF x content type. Exactly the intended cells are open.

use http::Request;

use super::*;

fn site() -> Site {
    Site::new(
        7777,
        false,
        None,
        Some(("agent.example.org".into(), "https://agent.example.org".into())),
    )
}

fn judge(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Wish, u16> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site()
        .judge(&request.body(()).unwrap().into_parts().0)
        .map_err(|refusal| refusal.0.as_u16())
}

#[test]
fn exactly_the_intended_cells_are_open() {
    let hosts = [
        ("127.0.0.1:7777", true),
        ("localhost:7777", true),
        ("[::1]:7777", true),
        ("agent.example.org", true),
        ("evil.example.org", false),
        ("evil.example.org:7777", false),
        ("127.0.0.1", false),
        ("127.0.0.1:7778", false),
        ("agent.example.org.evil", false),
        ("", false),
    ];
    let origins = [
        (Some("http://127.0.0.1:7777"), true),
        (Some("http://localhost:7777"), true),
        (Some("https://agent.example.org"), true),
        (Some("http://agent.example.org"), false),
        (Some("https://127.0.0.1:7777"), false),
        (Some("http://evil.example.org"), false),
        (Some("null"), false),
        (None, false),
    ];
    let sites = [
        (None, true),
        (Some("same-origin"), true),
        (Some("same-site"), false),
        (Some("cross-site"), false),
        (Some("none"), false),
    ];
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let csrf = [(Some("1"), true), (Some("0"), false), (None, false)];
    let types = [
        "application/grpc-web+proto",
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/grpc-web-text",
        "",
    ];
    let paths = [
        (
            "/agentd.v1.SessionService/ListSessions",
            "application/grpc-web+proto",
            Wish::Call,
        ),
        ("/pair/redeem", "application/json", Wish::Pair),
        ("/sign-out", "application/json", Wish::SignOut),
    ];
    let (mut open, mut all) = (0, 0);
    for (path, wanted, wish) in paths {
        for (host, host_ok) in hosts {
            for (origin, origin_ok) in origins {
                for (from, from_ok) in sites {
                    for method in methods {
                        for (token, token_ok) in csrf {
                            for kind in types {
                                let mut headers = vec![("host", host), ("content-type", kind)];
                                headers.extend(origin.map(|v| ("origin", v)));
                                headers.extend(from.map(|v| ("sec-fetch-site", v)));
                                headers.extend(token.map(|v| (CSRF, v)));
                                let found = judge(method, path, &headers);
                                let meant = host_ok
                                    && origin_ok
                                    && from_ok
                                    && method == "POST"
                                    && token_ok
                                    && kind == wanted;
                                assert_eq!(found.is_ok(), meant, "{method} {path} {headers:?}: {found:?}");
                                all += 1;
                                if let Ok(found) = found {
                                    assert_eq!(found, wish);
                                    open += 1;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    // 3 addresses x 4 hosts x 3 origins x 2 sites.
    assert_eq!((open, all), (72, 151_200));
}

#[test]
fn a_foreign_host_is_refused_before_anything_else() {
    for path in [
        "/",
        "/healthz",
        "/metrics",
        "/nothing.v1/x",
        "/agentd.v1.SessionService/Watch",
    ] {
        assert_eq!(
            judge("GET", path, &[("host", "evil.example.org")]),
            Err(421),
            "{path}"
        );
        assert_eq!(judge("GET", path, &[]), Err(421), "{path}");
    }
    // Two of a kind, and a URI that names somebody else.
    assert_eq!(
        judge("GET", "/", &[("host", "127.0.0.1:7777"), ("host", "evil")]),
        Err(421)
    );
    assert_eq!(
        judge("GET", "http://evil/", &[("host", "127.0.0.1:7777")]),
        Err(421)
    );
}

#[test]
fn only_listed_services_are_reachable() {
    let path = |path: &str| {
        judge(
            "POST",
            path,
            &[
                ("host", "localhost:7777"),
                ("origin", "http://localhost:7777"),
                (CSRF, "1"),
                ("content-type", "application/grpc-web+proto"),
            ],
        )
    };
    assert_eq!(path("/agentd.v1.ShellService/WriteInput"), Ok(Wish::Call));
    // A method added to the contract later needs no change here.
    assert_eq!(path("/agentd.v1.UsageService/Whatever"), Ok(Wish::Call));
    for bad in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/agentd.v1.Nothing/X",
        "/agentd.v1.ShellService/",
        "/agentd.v1.ShellService/A/B",
        "/agentd.v1.ShellService/..%2f",
        "/agentd.v1.ShellService",
    ] {
        assert_eq!(path(bad), Err(404), "{bad}");
    }
}

#[test]
fn pages_may_be_opened_from_elsewhere_and_used_nowhere_else() {
    let get = |headers: &[(&str, &str)]| {
        let mut all = vec![("host", "127.0.0.1:7777")];
        all.extend(headers);
        judge("GET", "/s/s-7k2f", &all)
    };
    assert_eq!(get(&[]), Ok(Wish::Page));
    assert_eq!(
        get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
        Ok(Wish::Page)
    );
    assert_eq!(
        get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]),
        Err(403)
    );
    assert_eq!(
        judge("GET", "/metrics", &[("host", "agent.example.org")]),
        Err(404)
    );
    assert_eq!(judge("POST", "/", &[("host", "127.0.0.1:7777")]), Err(405));
}
