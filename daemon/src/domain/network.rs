//! Owns: what a session's programs may reach: modes, hosts, the rules over them, what was reached, doors to this machine.
//! Guarantees: pure; a host has one spelling (ASCII, lower case, no trailing dot), and what has none is no host; what no
//! rule and no grant names is never reached.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::ExecId;
use super::policy::{Policy, Rule, Subject, Verdict};

/// What the programs of a session can reach beyond its jail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Nothing.
    #[default]
    Off,
    /// Listed and granted hosts; others are asked about.
    Ask,
    /// Listed and granted hosts; others are refused.
    List,
}

impl NetworkMode {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ask => "ask",
            Self::List => "list",
        }
    }
}

/// Ports that a host can be reached at unless the user's configuration names another.
pub const PORTS: [u16; 3] = [443, 80, 22];
/// Stands where a host's name would, for a service of this machine. A blank is in no host's name.
const THIS_MACHINE: &str = "this machine";

/// A host and a port, written `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Target {
    host: String,
    port: u16,
}

/// Text that is no host, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoHost(pub &'static str);

impl Target {
    /// A host as a program or a person wrote it, in its one spelling.
    pub fn new(host: &str, port: u16) -> Result<Self, NoHost> {
        if port == 0 {
            return Err(NoHost("port 0 is no port"));
        }
        let host = spelling(host)?;
        Ok(Self { host, port })
    }

    /// `host:port`, or `host` with the port of its kind.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, NoHost> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an address without a port stand inside brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match (port, default_port) {
            (Some(port), _) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| NoHost("the port is no port"))?
            }
            (Some(_), _) => return Err(NoHost("the port is no number")),
            (None, Some(port)) => port,
            (None, None) => return Err(NoHost("the port is missing")),
        };
        Self::new(host, port)
    }

    /// A service of this machine.
    pub fn this_machine(port: u16) -> Self {
        Self {
            host: THIS_MACHINE.to_owned(),
            port,
        }
    }

    /// The name; an address where it is one, in brackets where that is of version 6.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True for a service of this machine.
    pub fn is_this_machine(&self) -> bool {
        self.host == THIS_MACHINE
    }

    /// True where the host is an address rather than a name.
    pub fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<std::net::Ipv4Addr>().is_ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = NoHost;

    fn try_from(text: String) -> Result<Self, NoHost> {
        match text
            .strip_prefix(THIS_MACHINE)
            .and_then(|rest| rest.strip_prefix(':'))
        {
            Some(port) => port
                .parse()
                .map(Self::this_machine)
                .map_err(|_| NoHost("the port is no port")),
            None => Self::parse(&text, None),
        }
    }
}

/// The one spelling of a host's name.
fn spelling(text: &str) -> Result<String, NoHost> {
    if text.is_empty() || text.len() > 1000 {
        return Err(NoHost("the host's name is empty or too long"));
    }
    // What could make two readers read two hosts.
    let odd = |c: char| c.is_control() || c.is_whitespace() || "%@#/?\\&;,\"'<>^`{|}*$!()=+~".contains(c);
    if text.contains(odd) {
        return Err(NoHost("the host's name has a character that no name has"));
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) => {
            let whole = name.len() <= 253
                && name.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                });
            if whole {
                Ok(name)
            } else {
                Err(NoHost("the host's name is no name"))
            }
        }
        Ok(url::Host::Ipv4(address)) => Ok(address.to_string()),
        Ok(url::Host::Ipv6(address)) => Ok(format!("[{address}]")),
        Err(_) => Err(NoHost("the host's name is no name")),
    }
}

/// An entry of the list: `name`, `*.name` (what lies below it), each at one port or at the usual ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    below: bool,
    host: String,
    port: Option<u16>,
}

impl FromStr for HostRule {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let has_port = rest
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let target = Target::parse(rest, Some(1))?;
        // `*.com` would be the internet.
        if below && (!target.host.contains('.') || target.is_address()) {
            return Err(NoHost("'*.' wants a name with at least two parts after it"));
        }
        Ok(Self {
            below,
            port: has_port.then_some(target.port),
            host: target.host,
        })
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stars = if self.below { "*." } else { "" };
        write!(f, "{stars}{}", self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl HostRule {
    fn covers(&self, target: &Target) -> bool {
        let host = if self.below {
            target
                .host
                .strip_suffix(&self.host)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            target.host == self.host
        };
        host && match self.port {
            Some(port) => target.port == port,
            None => PORTS.contains(&target.port),
        }
    }
}

/// What the rules say of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It may be reached.
    Allow,
    /// A person is to be asked.
    Ask,
    /// It may not, and why.
    Refuse(String),
}

/// Judges a host. `pinned`: the user's own configuration says what address it has, which makes any port a usual one.
pub fn judge(
    mode: NetworkMode,
    listed: &[HostRule],
    policy: &Policy,
    grants: &[Rule],
    target: &Target,
    pinned: bool,
) -> Judgement {
    let refuse = |why: &str| Judgement::Refuse(format!("{target} is refused: {why}"));
    if mode == NetworkMode::Off {
        return Judgement::Refuse("the network is off in this session".to_owned());
    }
    if target.is_address() && !pinned {
        return refuse("addresses are not reached, only names are");
    }
    let ruled = ruled(policy, target);
    if let Some((Verdict::Deny, note)) = ruled {
        let note = if note.is_empty() {
            "the policy denies it"
        } else {
            note
        };
        return refuse(note);
    }
    let allowed = match ruled {
        Some((Verdict::Allow, _)) => true,
        // A rule that asks about this very host is stricter than a list that names it.
        Some(_) => false,
        None => listed.iter().any(|rule| rule.covers(target)),
    };
    if allowed || is_granted(grants, target) {
        return Judgement::Allow;
    }
    if !pinned && !PORTS.contains(&target.port) {
        return refuse("only ports 443, 80 and 22 are reached");
    }
    match mode {
        NetworkMode::Ask => Judgement::Ask,
        _ => refuse("it is not on this session's list of hosts"),
    }
}

/// What a policy's own rules say of a host: the stricter of the person's first rule and the project's. A rule without a
/// pattern only counts when it denies: what may be reached is the list's to say.
fn ruled<'a>(policy: &'a Policy, target: &Target) -> Option<(Verdict, &'a str)> {
    let first = |project: bool| {
        let about = policy.rules.iter().filter(|rule| rule.project == project);
        let mut about = about.filter(|rule| match &rule.line.on {
            Subject::ReachesOut(Some(_)) => is_about(&rule.line, target),
            Subject::ReachesOut(None) => rule.line.then == Verdict::Deny,
            _ => false,
        });
        about.next().map(|rule| (rule.line.then, rule.note.as_str()))
    };
    [first(false), first(true)]
        .into_iter()
        .flatten()
        .max_by_key(|(verdict, _)| *verdict)
}

/// True for a rule with a pattern that matches the host. One that allows without naming a port means the usual ports.
fn is_about(rule: &Rule, target: &Target) -> bool {
    match &rule.on {
        Subject::ReachesOut(Some(pattern)) => {
            pattern.matches(target)
                && (pattern.port.is_some() || rule.then != Verdict::Allow || PORTS.contains(&target.port))
        }
        _ => false,
    }
}

/// True where an approval lets programs reach the host.
pub fn is_granted(grants: &[Rule], target: &Target) -> bool {
    let allows = |rule: &&Rule| rule.then == Verdict::Allow;
    grants.iter().filter(allows).any(|rule| is_about(rule, target))
}

/// What one program did with one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The name as it was asked for, in its one spelling.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address it was connected to last; empty when it was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The command that ran, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_id: Option<ExecId>,
    /// The program, where it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// Why it was refused or failed; empty when it was reached.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// How many connections.
    pub count: u32,
    /// Bytes sent to the host.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
}

impl Connection {
    /// True where the other is more of the same.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |one: &Self| {
            (
                one.host.clone(),
                one.port,
                one.exec_id.clone(),
                one.program.clone(),
                one.refusal.clone(),
            )
        };
        key(self) == key(other)
    }

    /// Adds more of the same.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(other.received_bytes);
        if !other.address.is_empty() {
            self.address = other.address;
        }
    }
}

/// Which way a door between a jail and this machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A port of the jail, open on this machine's loopback.
    Forward,
    /// A service of this machine's loopback, reachable inside.
    Host,
}

/// A door between a jail and this machine's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Which way it goes.
    pub direction: Direction,
    /// The port inside.
    pub port: u16,
    /// The port on this machine.
    pub local_port: u16,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction {
            Direction::Forward => write!(
                f,
                "127.0.0.1:{} leads to port {} of the jail",
                self.local_port, self.port
            ),
            Direction::Host => write!(f, "port {} of this machine can be reached inside", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::PolicyRule;

    fn target(text: &str) -> Target {
        Target::parse(text, Some(443)).unwrap()
    }

    fn grant(hosts: &[&str]) -> Vec<Rule> {
        hosts.iter().map(|host| Rule::host(&target(host))).collect()
    }

    fn ask() -> Policy {
        Policy::built_in("ask").unwrap()
    }

    #[test]
    fn a_policys_rule_about_a_host_is_stricter_than_the_list_and_may_add_to_it() {
        let policy = |rules: &[(&str, bool)]| Policy {
            rules: rules
                .iter()
                .map(|(rule, project)| PolicyRule {
                    line: rule.parse().unwrap(),
                    note: String::new(),
                    project: *project,
                })
                .collect(),
            ..ask()
        };
        let listed = ["good.example".parse::<HostRule>().unwrap()];
        let judged = |rules: &[(&str, bool)], mode, text: &str| {
            judge(mode, &listed, &policy(rules), &[], &target(text), false)
        };
        use Judgement::{Allow, Ask, Refuse};
        let deny = [
            ("deny reaches_out: good.example", true),
            ("allow reaches_out: good.example", false),
        ];
        assert!(matches!(
            judged(&deny, NetworkMode::Ask, "good.example"),
            Refuse(_)
        ));
        let nothing = [("deny reaches_out", false)];
        assert!(matches!(
            judged(&nothing, NetworkMode::Ask, "good.example"),
            Refuse(_)
        ));
        let ask = [("ask reaches_out: good.example", true)];
        assert_eq!(judged(&ask, NetworkMode::Ask, "good.example"), Ask);
        assert!(matches!(
            judged(&ask, NetworkMode::List, "good.example"),
            Refuse(_)
        ));
        let add = [("allow reaches_out: *.more.example", false)];
        assert_eq!(judged(&add, NetworkMode::List, "a.more.example"), Allow);
        assert!(matches!(
            judged(&add, NetworkMode::List, "a.more.example:8080"),
            Refuse(_)
        ));
        assert!(matches!(
            judged(&add, NetworkMode::Off, "a.more.example"),
            Refuse(_)
        ));
        // Without a pattern a rule opens nothing.
        let all = [("allow reaches_out", false)];
        assert_eq!(judged(&all, NetworkMode::Ask, "other.example"), Ask);
    }

    #[test]
    fn a_host_has_one_spelling() {
        for same in [
            "Example.COM",
            "example.com.",
            "ex\u{ad}ample.com",
            "ＥＸＡＭＰＬＥ.com",
        ] {
            assert_eq!(target(same).to_string(), "example.com:443", "{same}");
        }
        assert_eq!(target("bücher.example").host(), "xn--bcher-kva.example");
        assert_eq!(target("xn--bcher-kva.example"), target("BÜCHER.example"));
        // A Cyrillic letter is another host, and looks it.
        assert!(target("ex\u{430}mple.com").host().starts_with("xn--"));
        for address in ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.1"] {
            assert_eq!(target(address).host(), "127.0.0.1", "{address}");
            assert!(target(address).is_address());
        }
        assert_eq!(target("[::FFFF:7f00:1]").host(), "[::ffff:127.0.0.1]");
        assert!(target("[::1]:80").is_address());
    }

    #[test]
    fn what_two_readers_could_read_as_two_hosts_is_no_host() {
        for bad in [
            "",
            ".",
            "a..b",
            "evil.com#good.com",
            "good.com@evil.com",
            "good.com/evil.com",
            "good.com\\evil.com",
            "good.com%00.evil.com",
            "good%2ecom",
            "good.com evil.com",
            "good.com\r\nHost: evil.com",
            "*.good.com",
            "::1",
            "[::1",
            "good.com:443:22",
            "good.com:+443",
            "good.com:99999",
            "good.com:0",
            "a.com..",
        ] {
            assert!(Target::parse(bad, Some(443)).is_err(), "{bad}");
        }
        assert!(Target::parse(&format!("{}.com", "a".repeat(64)), Some(443)).is_err());
        assert!(Target::parse("good.com", None).is_err());
    }

    #[test]
    fn a_target_survives_storage() {
        for one in [
            target("a.example:22"),
            target("[::1]:5"),
            Target::this_machine(5432),
        ] {
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), one, "{text}");
        }
    }

    #[test]
    fn rules_cover_what_they_say_and_no_more() {
        let rule = |text: &str| text.parse::<HostRule>().unwrap();
        let below = rule("*.Example.com");
        assert!(below.covers(&target("a.example.com")) && below.covers(&target("a.b.example.com")));
        for not in [
            "example.com",
            "badexample.com",
            "example.com.evil.org",
            "a.example.com:8443",
        ] {
            assert!(!below.covers(&target(not)), "{not}");
        }
        assert!(rule("example.com:8443").covers(&target("example.com:8443")));
        assert!(!rule("example.com:8443").covers(&target("example.com")));
        assert_eq!(rule("*.Example.com:22").to_string(), "*.example.com:22");
        for bad in ["*.com", "*", "a.*.com", "*.*.com", "*.127.0.0.1", "http://a.com"] {
            assert!(bad.parse::<HostRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_reached_that_no_rule_names() {
        use Judgement::{Allow, Ask, Refuse};
        let listed = ["good.example".parse::<HostRule>().unwrap()];
        let judged = |mode, text: &str| judge(mode, &listed, &ask(), &[], &target(text), false);
        assert_eq!(judged(NetworkMode::List, "good.example"), Allow);
        assert_eq!(judged(NetworkMode::Ask, "good.example"), Allow);
        assert_eq!(judged(NetworkMode::Ask, "other.example"), Ask);
        for (mode, text) in [
            (NetworkMode::Off, "good.example"),
            (NetworkMode::List, "other.example"),
            (NetworkMode::Ask, "good.example:8080"),
            (NetworkMode::Ask, "93.184.216.34"),
            (NetworkMode::Ask, "[2606:2800::1]:443"),
        ] {
            assert!(matches!(judged(mode, text), Refuse(_)), "{text}");
        }
        // An empty list means none.
        let none = judge(
            NetworkMode::List,
            &[],
            &ask(),
            &[],
            &target("good.example"),
            false,
        );
        assert!(matches!(none, Refuse(_)));
        let granted = grant(&["asked.example"]);
        let judged = |mode, text: &str| judge(mode, &[], &ask(), &granted, &target(text), false);
        assert_eq!(judged(NetworkMode::List, "asked.example"), Allow);
        assert!(matches!(judged(NetworkMode::List, "asked.example:22"), Refuse(_)));
        assert!(matches!(judged(NetworkMode::Off, "asked.example"), Refuse(_)));
        // What the user pinned may be asked about at its own port, also when it is an address.
        assert_eq!(
            judge(NetworkMode::Ask, &[], &ask(), &[], &target("10.0.0.5:8080"), true),
            Ask
        );
    }
}
