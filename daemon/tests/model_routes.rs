//! Owns: the ways out of the machine: proxies of both kinds, exceptions from them, certificates.
//! Guarantees: every proxy and server is a real one on loopback; the certificates are made for the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod model_server;

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use agentd::model::provider::ProviderConfig;
use agentd::model::{
    Api, Credentials, Environment, ModelError, ModelEvent, ModelRegistry, ModelSettings, StepReply,
};
use futures::StreamExt;
use model_server::{sse, stop, text, tuning};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where a listener is and the heads of the requests it got.
struct Listener {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Serves every connection on a thread of its own, for as long as the test's process lives.
    fn start<F>(serve: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<String>>) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, serve) = (heads.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, serve) = (seen.clone(), serve.clone());
                // A client that goes away is its own affair.
                std::thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Self { port, heads }
    }

    /// A model over HTTP; also what a proxy answers to a request for a `http://` address.
    fn model() -> Self {
        Self::start(answer)
    }

    /// A model over TLS with the certificate in `dir`.
    fn tls_model(dir: &Path) -> Self {
        let certificates: Vec<_> = CertificateDer::pem_file_iter(dir.join("cert.pem"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let config = Arc::new(config);
        Self::start(move |stream, heads| {
            let connection = rustls::ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            answer(rustls::StreamOwned::new(connection, stream), heads)
        })
    }

    /// A proxy that tunnels everything to one port.
    fn proxy(to: u16) -> Self {
        Self::start(move |mut stream, heads| {
            let head = head(&mut BufReader::new(Bytewise(&mut stream)))?;
            let connect = head.starts_with("CONNECT ");
            heads.lock().unwrap().push(head);
            if !connect {
                return reply(stream);
            }
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let upstream = TcpStream::connect(("127.0.0.1", to))?;
            let (mut from, mut into) = (stream.try_clone()?, upstream.try_clone()?);
            let there = std::thread::spawn(move || drop(std::io::copy(&mut from, &mut into)));
            let (mut from, mut into) = (upstream, stream);
            std::io::copy(&mut from, &mut into)?;
            into.shutdown(std::net::Shutdown::Both)?;
            drop(there.join());
            Ok(())
        })
    }

    /// A proxy that wants to know who asks.
    fn closed_proxy() -> Self {
        Self::start(|mut stream, heads| {
            let head = head(&mut BufReader::new(Bytewise(&mut stream)))?;
            heads.lock().unwrap().push(head);
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        })
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Never reads ahead: what follows a CONNECT belongs to the tunnel.
struct Bytewise<'a>(&'a mut TcpStream);

impl Read for Bytewise<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let one = buf.len().min(1);
        self.0.read(&mut buf[..one])
    }
}

fn head(from: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let mut all = String::new();
    while !all.ends_with("\r\n\r\n") && from.read_line(&mut all)? > 0 {}
    Ok(all)
}

fn answer(stream: impl Read + Write, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader)?;
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    reader.read_exact(&mut vec![0; length])?;
    heads.lock().unwrap().push(head);
    reply(reader.into_inner())
}

fn reply(mut stream: impl Write) -> std::io::Result<()> {
    let mut body = sse(&[text("hello"), stop()]);
    body.extend_from_slice(b"data: [DONE]\n\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.flush()
}

/// A CA and a server's certificate for `name` and 127.0.0.1.
fn certificates(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("ext"),
        format!("subjectAltName=DNS:{name},IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"),
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=test-ca -days 30 -addext keyUsage=critical,keyCertSign"
        ),
        format!("req {key} -keyout key.pem -out req.pem -subj /CN={name}"),
        "x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 30 -extfile ext"
            .into(),
    ] {
        let made = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(dir.path())
            .output()
            .expect("openssl is needed: sudo apt install openssl");
        assert!(
            made.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    dir
}

/// What one request through an entry comes to, with these variables in the caller's environment.
async fn ask(entry: ProviderConfig, variables: &[(&str, String)]) -> Result<StepReply, ModelError> {
    let mut settings = ModelSettings::default();
    settings.providers.insert(
        "p".into(),
        ProviderConfig {
            api: Some(Api::Chat),
            ..entry
        },
    );
    let registry =
        ModelRegistry::with_tuning(settings, Credentials::default(), Environment::default(), tuning());
    let key = ("P_API_KEY".to_owned(), "sk-canary-4242".to_owned());
    let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    let model = registry.resolve("p/m", &Environment::from_vars(variables.chain([key])))?;
    let mut stream = model.stream(model_server::request());
    loop {
        match stream.next().await {
            Some(Ok(ModelEvent::Finished(reply))) => return Ok(reply),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => panic!("a stream ends with a reply or an error"),
        }
    }
}

fn at(base: impl Into<String>) -> ProviderConfig {
    ProviderConfig {
        base_url: Some(base.into()),
        ..ProviderConfig::default()
    }
}

#[tokio::test]
async fn a_plain_address_goes_through_the_proxy_by_its_whole_name() {
    let proxy = Listener::proxy(0);
    let variable = (
        "HTTP_PROXY",
        format!("http://ana:secret-pw@127.0.0.1:{}", proxy.port),
    );
    ask(at("http://model.test/v1"), &[variable]).await.unwrap();
    let heads = proxy.heads();
    assert!(
        heads[0].starts_with("POST http://model.test/v1/chat/completions HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert!(
        heads[0].to_lowercase().contains("proxy-authorization: basic "),
        "{heads:?}"
    );
}

#[tokio::test]
async fn a_tls_address_is_tunnelled_and_the_proxy_sees_no_key() {
    let dir = certificates("model.test");
    let server = Listener::tls_model(dir.path());
    let proxy = Listener::proxy(server.port);
    let entry = ProviderConfig {
        ca_file: Some(dir.path().join("ca.pem")),
        ..at("https://model.test/v1")
    };
    let variable = ("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port));
    ask(entry, &[variable]).await.unwrap();
    let (seen, served) = (proxy.heads(), server.heads());
    assert!(seen[0].starts_with("CONNECT model.test:443 "), "{seen:?}");
    assert!(!seen.concat().contains("canary"), "{seen:?}");
    assert!(
        served[0].contains("authorization: Bearer sk-canary-4242"),
        "{served:?}"
    );
}

#[tokio::test]
async fn exceptions_from_the_proxy_are_kept() {
    let (server, proxy) = (Listener::model(), Listener::proxy(0));
    let http_proxy = ("HTTP_PROXY", format!("http://127.0.0.1:{}", proxy.port));
    // An address that is this machine, and not a loopback one by its name.
    let base = format!("http://0.0.0.0:{}/v1", server.port);
    let except = |hosts: &str| [http_proxy.clone(), ("NO_PROXY", hosts.to_owned())];
    let ways = || (server.heads().len(), proxy.heads().len());
    ask(at(&base), std::slice::from_ref(&http_proxy)).await.unwrap();
    assert_eq!(ways(), (0, 1), "no exception: the proxy");
    ask(at(&base), &except("other.test,0.0.0.0")).await.unwrap();
    assert_eq!(ways(), (1, 1), "an exception: direct");
    ask(at(&base), &except("other.test")).await.unwrap();
    assert_eq!(ways(), (1, 2), "another's exception: the proxy");
    let entry = |proxy: &str| ProviderConfig {
        proxy: Some(proxy.to_owned()),
        ..at(&base)
    };
    ask(entry(&http_proxy.1), &except("0.0.0.0")).await.unwrap();
    assert_eq!(ways(), (1, 3), "the entry's own proxy is meant for it");
    ask(entry("none"), std::slice::from_ref(&http_proxy))
        .await
        .unwrap();
    assert_eq!(ways(), (2, 3), "the entry goes direct");
    let loopback = format!("http://127.0.0.1:{}/v1", server.port);
    ask(at(loopback), std::slice::from_ref(&http_proxy))
        .await
        .unwrap();
    assert_eq!(ways(), (3, 3), "loopback never goes through a proxy");
}

#[tokio::test]
async fn certificates_of_a_house_are_believed_when_named_and_only_then() {
    let dir = certificates("model.test");
    let server = Listener::tls_model(dir.path());
    let base = format!("https://127.0.0.1:{}/v1", server.port);
    let with = |file: PathBuf| ProviderConfig {
        ca_file: Some(file),
        ..at(&base)
    };
    let ca = dir.path().join("ca.pem");
    ask(with(ca.clone()), &[]).await.unwrap();
    let variable = ("SSL_CERT_FILE", ca.display().to_string());
    ask(at(&base), &[variable]).await.unwrap();
    let believed = server.heads().len();

    let error = ask(at(&base), &[]).await.unwrap_err();
    assert_eq!(error.reason_code(), "provider_tls", "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("127.0.0.1:{}", server.port)), "{said}");
    assert!(
        said.contains("UnknownIssuer"),
        "the cause, in the library's word: {said}"
    );
    assert!(error.hints().iter().any(|hint| hint.contains("ca_file")));

    // Another house's CA does not help, nor a name that the certificate does not have.
    let other = certificates("other.test");
    let error = ask(with(other.path().join("ca.pem")), &[]).await.unwrap_err();
    assert_eq!(error.reason_code(), "provider_tls", "{error}");
    let error = ask(
        ProviderConfig {
            ca_file: Some(ca),
            ..at(format!("https://localhost:{}/v1", server.port))
        },
        &[],
    )
    .await
    .unwrap_err();
    assert_eq!(error.reason_code(), "provider_tls", "{error}");
    assert!(error.to_string().to_lowercase().contains("name"), "{error}");
    assert_eq!(server.heads().len(), believed, "no request, no key, before trust");

    for (file, content) in [
        ("missing.pem", None),
        ("empty.pem", Some("")),
        ("bad.pem", Some("no PEM")),
    ] {
        let path = dir.path().join(file);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = ask(with(path), &[]).await.unwrap_err();
        assert_eq!(error.reason_code(), "model_config", "{file}: {error}");
        assert!(error.to_string().contains(file), "{file}: {error}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let proxy = Listener::closed_proxy();
    for (base, variable) in [
        ("http://model.test/v1", "HTTP_PROXY"),
        ("https://model.test/v1", "HTTPS_PROXY"),
    ] {
        let url = format!("http://ana:canary-pw@127.0.0.1:{}", proxy.port);
        let error = ask(at(base), &[(variable, url)]).await.unwrap_err();
        let said = format!("{error} {error:?} {:?}", error.hints());
        assert!(!said.contains("canary"), "{said}");
        assert!(said.to_lowercase().contains("proxy"), "{base}: {said}");
    }
    assert!(proxy.heads().len() >= 2);
}
