//! Owns: `agentctl web`: the browser's way in: starts the gateway, signs browsers in, lists and revokes them.
//! Guarantees: a code is made for each link, good once and for 60 seconds; tokens are never printed.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentd_proto::endpoint::WEB_FILE;
use agentd_proto::{escape, format, pb};
use serde_json::{Value, json};

use crate::args::{ScopeWord, TokenVerb, WebArgs, WebVerb};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::time;

const PROGRAM: &str = "agent-web";
const COLUMNS: &[Column] = &[
    fixed("DEVICE", 8),
    flexible("NAME", 9, 8),
    fixed("MAY", 7),
    fixed("SEEN", 6),
    fixed("UNTIL", 5),
];
/// How long a started gateway may take until it listens.
const START_WITHIN: Duration = Duration::from_secs(5);

/// A gateway that runs.
struct Gateway {
    pid: i32,
    url: String,
    public_url: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: WebArgs, verb: Option<WebVerb>) -> Result<u8, Failure> {
    match verb {
        None if args.pair_phone => phone(context, &args).await,
        None | Some(WebVerb::Open) => {
            let link = link(context, &args).await?;
            if !args.no_browser && open_browser(&link) {
                context
                    .out
                    .note("opened in the browser; or open this link within 60 seconds:");
            } else {
                context
                    .out
                    .note("open this link within 60 seconds; it works once:");
            }
            context.out.line(&link)?;
            Ok(exit::OK)
        }
        Some(WebVerb::Url) => {
            let link = link(context, &args).await?;
            context.out.line(&link)?;
            Ok(exit::OK)
        }
        Some(WebVerb::Token {
            verb: TokenVerb::List,
        }) => list(context).await,
        Some(WebVerb::Token {
            verb: TokenVerb::Revoke { device },
        }) => {
            let request = pb::RevokeDeviceRequest { device_id: device };
            let device = context
                .client
                .revoke_device(request)
                .await?
                .device
                .unwrap_or_default();
            context.out.note(&format!(
                "{} is signed out: {}",
                device.device_id,
                escape::line(&device.name)
            ));
            Ok(exit::OK)
        }
        Some(WebVerb::Stop) => stop(context).await,
    }
}

/// A link that signs a browser in, on a gateway that runs.
async fn link(context: &Context, args: &WebArgs) -> Result<String, Failure> {
    let gateway = running_or_started(context).await?;
    let code = code(context, &args.scopes).await?;
    let base = gateway
        .public_url
        .as_deref()
        .filter(|_| args.public)
        .unwrap_or(&gateway.url);
    Ok(format!("{}/pair#c={code}", base.trim_end_matches('/')))
}

async fn code(context: &Context, scopes: &[ScopeWord]) -> Result<String, Failure> {
    let scopes = scopes.iter().map(|word| i32::from(word.scope())).collect();
    Ok(context
        .client
        .create_pairing(pb::CreatePairingRequest { scopes })
        .await?
        .code)
}

async fn phone(context: &Context, args: &WebArgs) -> Result<u8, Failure> {
    let gateway = running_or_started(context).await?;
    let base = match (&gateway.public_url, gateway.url.starts_with("https://")) {
        (Some(url), _) => url.clone(),
        (None, true) if !gateway.url.contains("127.0.0.1") => gateway.url.clone(),
        _ => {
            return Err(Failure::new(
                exit::FAILED,
                "not_reachable",
                format!(
                    "a phone can't reach {}: it is this machine's loopback",
                    gateway.url
                ),
            )
            .next("agentctl web stop; agent-web --public-url https://NAME   (a TLS reverse proxy in front)")
            .next("agentctl web stop; agent-web --listen ADDR:7777 --tls-cert FILE --tls-key FILE"));
        }
    };
    let default = [ScopeWord::Read, ScopeWord::Approve];
    let scopes = if args.scopes.is_empty() {
        &default[..]
    } else {
        &args.scopes
    };
    let link = format!(
        "{}/pair#c={}",
        base.trim_end_matches('/'),
        code(context, scopes).await?
    );
    let drawn = qrcode::QrCode::new(link.as_bytes())
        .map_err(|error| Failure::new(exit::FAILED, "no_qr", format!("no QR code can be made: {error}")))?
        .render::<qrcode::render::unicode::Dense1x2>()
        .dark_color(qrcode::render::unicode::Dense1x2::Light)
        .light_color(qrcode::render::unicode::Dense1x2::Dark)
        .build();
    for line in drawn.lines() {
        context.out.line(line)?;
    }
    let may: Vec<&str> = scopes.iter().map(|word| word.word()).collect();
    context.out.note(&format!(
        "scan it within 60 seconds; the phone may: {}",
        may.join(", ")
    ));
    context.out.line(&link)?;
    Ok(exit::OK)
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let devices = context
        .client
        .list_devices(pb::ListDevicesRequest {})
        .await?
        .devices;
    if context.out.is_json() {
        let value = |one: &pb::Device| {
            json!({
                "device_id": one.device_id, "name": one.name, "scopes": words(one),
                "create_time": time::rfc3339(one.create_time), "seen_time": time::rfc3339(one.seen_time),
                "expire_time": time::rfc3339(one.expire_time),
            })
        };
        context.out.json_list(devices.iter().map(value).collect())?;
        return Ok(exit::OK);
    }
    if devices.is_empty() && context.out.out_tty {
        context.out.note("no browser is signed in · agentctl web");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|one| {
            let until = time::rfc3339(one.expire_time)
                .unwrap_or_default()
                .chars()
                .take(10)
                .collect();
            let seen = format::duration(time::age(one.seen_time));
            vec![
                one.device_id.clone(),
                one.name.clone(),
                words(one).join(","),
                seen,
                until,
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    Ok(exit::OK)
}

fn words(device: &pb::Device) -> Vec<&'static str> {
    device
        .scopes()
        .map(|scope| ScopeWord::of(scope).map_or("?", ScopeWord::word))
        .collect()
}

async fn stop(context: &Context) -> Result<u8, Failure> {
    let Some(gateway) = running(context) else {
        context.out.note("agent-web is not running");
        return Ok(exit::OK);
    };
    let pid = rustix::process::Pid::from_raw(gateway.pid);
    let told =
        pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok());
    let deadline = Instant::now() + START_WITHIN;
    while told && listens(&gateway.url) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if listens(&gateway.url) {
        return Err(Failure::new(
            exit::FAILED,
            "stop_failed",
            format!("agent-web (pid {}) goes on", gateway.pid),
        ));
    }
    context
        .out
        .note("agent-web stopped; browsers stay signed in for when it is back");
    Ok(exit::OK)
}

/// The gateway that runs, if one does.
fn running(context: &Context) -> Option<Gateway> {
    let text = std::fs::read_to_string(context.client.endpoint().state_dir.join(WEB_FILE)).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let gateway = Gateway {
        pid: i32::try_from(value.get("pid")?.as_i64()?).ok()?,
        url: value.get("url")?.as_str()?.to_owned(),
        public_url: value.get("public_url").and_then(Value::as_str).map(str::to_owned),
    };
    (is_ours(gateway.pid) && listens(&gateway.url)).then_some(gateway)
}

/// A number in an old file may belong to another program by now.
fn is_ours(pid: i32) -> bool {
    let mut name = String::new();
    let read =
        std::fs::File::open(format!("/proc/{pid}/comm")).and_then(|mut file| file.read_to_string(&mut name));
    read.is_ok() && name.trim() == PROGRAM
}

fn listens(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, rest)| rest);
    let Some(address) = place.to_socket_addrs().ok().and_then(|mut all| all.next()) else {
        return false;
    };
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

async fn running_or_started(context: &Context) -> Result<Gateway, Failure> {
    // The daemon first: it makes the code, and its state directory says where the gateway is.
    context.client.connect().await?;
    if let Some(gateway) = running(context) {
        return Ok(gateway);
    }
    let failed = |message: String| Failure::new(exit::FAILED, "web_start_failed", message);
    let program = find_program().ok_or_else(|| {
        failed("no program 'agent-web' was found".into()).next("put agent-web beside agentctl, or on PATH")
    })?;
    let log_path = context.client.endpoint().state_dir.join("agent-web.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .map_err(|error| failed(format!("cannot open '{}': {error}", log_path.display())))?;
    let mut command = Command::new(&program);
    if let Some(socket) = &context.client.endpoint().explicit {
        command.arg("--socket").arg(socket);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .current_dir("/")
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| failed(format!("starting '{}' failed: {error}", program.display())))?;
    let deadline = Instant::now() + START_WITHIN;
    while Instant::now() < deadline {
        if let Some(gateway) = running(context) {
            return Ok(gateway);
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut failure = failed("agent-web was started but does not answer".into());
    for line in agentd_proto::autostart::last_lines(&log_path, 5) {
        failure = failure.note(escape::line(&line));
    }
    Err(failure)
}

fn find_program() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|dir| dir.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)))
        .find(|p| p.is_file())
}

/// Opens the link where there is a desktop; true when something took it. The link is no secret for longer than a
/// minute, and only this user can see the arguments' use in time.
fn open_browser(link: &str) -> bool {
    let desktop = std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some();
    if !desktop {
        return false;
    }
    let _ = std::io::stdout().flush();
    Command::new("xdg-open")
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
