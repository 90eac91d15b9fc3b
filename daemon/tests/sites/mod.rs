//! Owns: a small internet on this machine for tests of the network: a certificate authority made on the fly, https and
//! http servers by host name, an sshd.
//! Guarantees: loopback only, ports as they come, everything below one temporary directory and gone with the value.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "an sshd rings no bell: it is polled; each test binary uses its part, and a test may fail in any way it likes"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The names that are served.
pub const HOSTS: &[&str] = &[
    "listed.test",
    "asked.test",
    "evil.test",
    "index.crates.io",
    "static.crates.io",
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
    "git.test",
];

pub struct Sites {
    pub dir: tempfile::TempDir,
    server: Child,
    pub https: u16,
    pub http: u16,
}

impl Sites {
    pub fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sites")
            .tempdir_in("/tmp")
            .unwrap();
        certificates(dir.path());
        for host in HOSTS {
            let root = dir.path().join("hosts").join(host);
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("hello"), format!("hello from {host}\n")).unwrap();
        }
        let script = include_str!("../python/sites.py");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let args = [dir.path().display().to_string(), at("cert.pem"), at("key.pem")];
        let (server, ports) = serve(script, &args);
        Self {
            dir,
            server,
            https: ports[0],
            http: ports[1],
        }
    }

    /// Where the files of a host are.
    pub fn host(&self, name: &str) -> PathBuf {
        self.dir.path().join("hosts").join(name)
    }

    /// A configuration that pins all hosts to here, with the authority trusted; `more` comes first.
    pub fn config(&self, more: &str, pins: &[(&str, u16)]) -> String {
        let ca = self.dir.path().join("ca.pem");
        let mut text = format!("{more}\n[network]\nca_file = \"{}\"\n", ca.display());
        text.push_str("allow = [\"listed.test\"]\n[network.pins]\n");
        for host in HOSTS {
            let (https, http) = (self.https, self.http);
            writeln!(
                text,
                "\"{host}:443\" = \"127.0.0.1:{https}\"\n\"{host}:80\" = \"127.0.0.1:{http}\""
            )
            .unwrap();
        }
        for (host, port) in pins {
            writeln!(text, "\"{host}\" = \"127.0.0.1:{port}\"").unwrap();
        }
        text
    }

    /// Proxies through which every name leads to here.
    pub fn proxies(&self) -> Proxies {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let ports = [self.https.to_string(), self.http.to_string()];
        let [https, http] = ports;
        let log = at("proxies.log");
        let args = [at("cert.pem"), at("key.pem"), https, http, log.clone()];
        let (server, ports) = serve(include_str!("../python/proxies.py"), &args);
        Proxies {
            server,
            log: log.into(),
            tls: ports[0],
            socks: ports[1],
        }
    }

    /// The requests that arrived.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// A company's proxies, which let in `me:canary-0123`.
pub struct Proxies {
    server: Child,
    log: PathBuf,
    /// Spoken to over TLS, as `localhost`.
    pub tls: u16,
    pub socks: u16,
}

impl Proxies {
    /// What they were asked.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Starts a server of a few lines; gives the ports it says.
fn serve(script: &str, args: &[String]) -> (Child, Vec<u16>) {
    let mut server = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is missing");
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let ports = line.split_whitespace().map(|port| port.parse().unwrap());
    (server, ports.collect())
}

/// An authority, and a certificate for all hosts signed by it.
fn certificates(dir: &Path) {
    let names: Vec<String> = HOSTS
        .iter()
        .chain(&["localhost"])
        .map(|host| format!("DNS:{host}"))
        .collect();
    std::fs::write(dir.join("names"), format!("subjectAltName={}\n", names.join(","))).unwrap();
    for args in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    ] {
        let made = Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(dir)
            .output()
            .expect("openssl is missing");
        assert!(
            made.status.success(),
            "{args}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}

/// An sshd that lets one key in, as the user who runs the test.
pub struct Sshd {
    server: Child,
    pub port: u16,
    pub key: PathBuf,
}

impl Sshd {
    pub fn start(dir: &Path) -> Self {
        let key = dir.join("client");
        for name in ["client", "host"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.join(name))
                .status()
                .expect("ssh-keygen is missing");
            assert!(made.success());
        }
        std::fs::copy(dir.join("client.pub"), dir.join("keys")).unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let at = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPidFile none\nAcceptEnv *\n",
            at("host"),
            at("keys")
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        // As root it wants this directory, which a package's service would have made.
        if rustix::process::getuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd is missing");
        let sshd = Self { server, port, key };
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed().as_secs() < 30, "sshd does not answer");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        sshd
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
