//! A daemon and a gateway of a test's own: private directories, a free port, gone when dropped.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../../daemon/tests/support/leftovers.rs"]
mod leftovers;

/// A directory with a daemon's state, its socket and a workspace.
pub struct Home {
    pub dir: tempfile::TempDir,
    gateway: Option<Child>,
    pub port: u16,
}

/// Directory of the programs under test: those built beside this test, or given ones where figures are judged.
pub fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("AGENTD_TEST_PROGRAMS") {
        return given.into();
    }
    Path::new(env!("CARGO_BIN_EXE_agent-web"))
        .parent()
        .unwrap()
        .to_owned()
}

impl Home {
    /// Without a gateway.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("aw").tempdir_in("/tmp").unwrap();
        for name in ["state", "run", "config", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for program in ["agentd", "agentctl", "agent-jinit"] {
            assert!(
                programs().join(program).is_file(),
                "{program} is not built: cargo build --workspace"
            );
        }
        Self {
            dir,
            gateway: None,
            port: 0,
        }
    }

    /// With a gateway that listens.
    pub fn serving(flags: &[&str]) -> Self {
        let mut home = Self::new();
        let mut command = home.command("agent-web");
        if !flags.contains(&"--listen") {
            command.args(["--port", "0"]);
        }
        home.gateway = Some(command.args(flags).stderr(Stdio::null()).spawn().unwrap());
        let file = home.dir.path().join("state/agent-web.json");
        let text = until("the gateway listens", || {
            std::fs::read_to_string(&file).ok().filter(|t| t.ends_with('}'))
        });
        let url = text
            .split("\"url\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        home.port = url.rsplit(':').next().unwrap().parse().unwrap();
        home
    }

    /// A program with this home's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        self.environment(&mut command);
        command
    }

    pub fn environment(&self, command: &mut Command) {
        let path = self.dir.path();
        command
            .env("AGENTD_STATE_DIR", path.join("state"))
            .env("AGENTD_SOCKET", path.join("d.sock"))
            .env("XDG_RUNTIME_DIR", path.join("run"))
            .env("XDG_CONFIG_HOME", path.join("config"))
            .env("HOME", path)
            .stdin(Stdio::null());
    }

    /// Runs agentctl; its output.
    pub fn ctl(&self, args: &[&str]) -> String {
        let output = self.command("agentctl").args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// A fresh one-time code.
    pub fn code(&self, scopes: &str) -> String {
        let link = self.ctl(&["web", "url", "--scopes", scopes]);
        link.trim().rsplit("#c=").next().unwrap().to_owned()
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends bytes as they are; status and the whole answer.
    pub fn raw(&self, request: &[u8]) -> (u16, String) {
        raw_at(self.port, request)
    }

    /// A POST as our own page makes it, with more headers.
    pub fn post(&self, path: &str, kind: &str, more: &str, body: &[u8]) -> (u16, String) {
        let host = self.host();
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\
             x-agentd-csrf: 1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.raw(&request)
    }

    pub fn get(&self, path: &str, host: &str) -> (u16, String) {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// A cookie for a code.
    pub fn cookie(&self, scopes: &str) -> String {
        let body = format!("{{\"code\":\"{}\",\"name\":\"test\"}}", self.code(scopes));
        let (status, text) = self.post("/pair/redeem", "application/json", "", body.as_bytes());
        assert_eq!(status, 200, "{text}");
        let set = text
            .lines()
            .find(|l| l.to_lowercase().starts_with("set-cookie:"))
            .unwrap();
        assert!(
            set.contains("HttpOnly") && set.contains("SameSite=Strict"),
            "{set}"
        );
        set.split_once(':')
            .unwrap()
            .1
            .split(';')
            .next()
            .unwrap()
            .trim()
            .to_owned()
    }

    /// A grpc-web call with a cookie: HTTP status and gRPC status.
    pub fn call(&self, method: &str, cookie: &str, message: &[u8]) -> (u16, Option<u32>) {
        let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        body.extend_from_slice(message);
        let path = format!("/agentd.v1.{method}");
        let (status, text) = self.post(&path, KIND, &format!("Cookie: {cookie}\r\n"), &body);
        let grpc = text.split("grpc-status:").nth(1);
        (
            status,
            grpc.and_then(|t| {
                t.trim_start()
                    .split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            }),
        )
    }
}

/// Content type of our calls.
pub const KIND: &str = "application/grpc-web+proto";

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.command("agentctl").args(["web", "stop"]).output();
        let _ = self.command("agentctl").args(["daemon", "stop"]).output();
        if let Some(mut child) = self.gateway.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        leftovers::end_all_of(self.dir.path());
    }
}

/// Sends bytes as they are to a port of this machine; status (0: no HTTP came) and the whole answer.
pub fn raw_at(port: u16, request: &[u8]) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return (0, String::new());
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A refusal may come before all was sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let http = text.starts_with("HTTP/");
    let status = text
        .split(' ')
        .nth(1)
        .filter(|_| http)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    (status, text)
}

/// An sshd of a test's own, on loopback, with its own keys; gone when dropped.
pub struct Ssh {
    dir: PathBuf,
    port: u16,
    server: Child,
}

impl Ssh {
    pub fn new(home: &Path) -> Self {
        let dir = home.join("ssh");
        std::fs::create_dir(&dir).unwrap();
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.join(name))
                .status()
                .unwrap();
            assert!(made.success());
        }
        // Root's sshd changes into this directory, which its package's service makes.
        let _not_root = std::fs::create_dir("/run/sshd");
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = port.local_addr().unwrap().port();
        let at = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowTcpForwarding yes\n",
            at("host"),
            at("user.pub")
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        // It wants its own full path.
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .expect("no sshd here: apt-get install openssh-server");
        let server = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.join("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        Self { dir, port, server }
    }

    /// `ssh -L port:127.0.0.1:to`; ends with what it returns.
    pub fn forward(&self, port: u16, to: u16) -> Forward {
        until("sshd listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap();
        let child = Command::new("ssh")
            .args([
                "-N",
                "-F",
                "/dev/null",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "ExitOnForwardFailure=yes",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.dir.join("known").display()))
            .arg("-i")
            .arg(self.dir.join("user"))
            .args([
                "-L",
                &format!("127.0.0.1:{port}:127.0.0.1:{to}"),
                "-p",
                &self.port.to_string(),
            ])
            .arg(format!("{}@127.0.0.1", user.trim()))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(self.dir.join("ssh.log")).unwrap())
            .spawn()
            .unwrap();
        Forward(child)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An open tunnel.
pub struct Forward(Child);

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something to be there.
pub fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
