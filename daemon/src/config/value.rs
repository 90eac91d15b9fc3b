//! Owns: the kinds of configuration values, and how people write them.
//! Guarantees: a value is checked when it is read, so what has been read needs no second check; messages say what
//! was found and what would be right.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use crate::domain::network::{HostRule, Target};

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Yes or no.
    Flag,
    /// A duration, or `none`.
    Span,
    /// A size in bytes, or `none`.
    Size,
    /// An `http://` or `https://` address.
    Url,
    /// A proxy's address.
    Proxy,
    /// A file.
    Path,
    /// What to log.
    Filter,
    /// Several texts.
    Texts,
    /// Several directories.
    Paths,
    /// Names with texts.
    TextMap,
    /// US dollars per million tokens, as text.
    Price,
    /// Several hosts.
    Hosts,
    /// Hosts with addresses.
    Pins,
}

/// A value that fits its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Unset,
    /// Text, Choice, Url, Proxy, Path, Filter.
    Text(String),
    /// Count.
    Count(u64),
    /// Flag.
    Flag(bool),
    /// Span; `None`: no limit.
    Span(Option<Duration>),
    /// Size; `None`: no limit.
    Size(Option<u64>),
    /// Texts, Paths, Hosts.
    List(Vec<String>),
    /// TextMap, Pins.
    Map(BTreeMap<String, String>),
}

impl Kind {
    /// Its name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Choice(_) => "choice",
            Self::Count { .. } => "count",
            Self::Flag => "flag",
            Self::Span => "duration",
            Self::Size => "size",
            Self::Url => "url",
            Self::Proxy => "proxy url",
            Self::Path => "path",
            Self::Filter => "log filter",
            Self::Texts => "list of texts",
            Self::Paths => "list of paths",
            Self::TextMap => "table of texts",
            Self::Price => "US dollars per million tokens",
            Self::Hosts => "list of hosts",
            Self::Pins => "table of addresses",
        }
    }

    /// The words it takes, if it takes only some.
    pub fn choices(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Choice(words) => Some(words),
            _ => None,
        }
    }

    /// For the documentation.
    pub fn describe(self) -> String {
        match self {
            Self::Choice(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Flag => "`true`, `false`".to_owned(),
            other => other.name().to_owned(),
        }
    }

    /// Reads a value as variables and flags hold it.
    pub fn parse_text(self, text: &str) -> Result<Value, String> {
        let word = text.trim();
        match self {
            Self::Text => non_empty(word).map(Value::Text),
            Self::Choice(words) => choice(words, word).map(Value::Text),
            Self::Count { min, max } => {
                let number = word
                    .parse()
                    .map_err(|_| format!("'{word}' is not a whole number"))?;
                count(min, max, number).map(Value::Count)
            }
            Self::Flag => match word {
                "true" | "1" | "yes" | "on" => Ok(Value::Flag(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Flag(false)),
                _ => Err(format!("'{word}' is neither true nor false")),
            },
            Self::Span => parse_span(word).map(Value::Span),
            Self::Size => parse_size(word).map(Value::Size),
            Self::Url => url(word, &["http", "https"]).map(Value::Text),
            Self::Proxy => url(word, &["http", "https", "socks5", "socks5h"]).map(Value::Text),
            Self::Path => path(word).map(Value::Text),
            Self::Filter => filter(word).map(Value::Text),
            Self::Texts => Ok(Value::List(split(word).map(str::to_owned).collect())),
            Self::Paths => split(word).map(path).collect::<Result<_, _>>().map(Value::List),
            Self::Price => price(word).map(Value::Text),
            Self::TextMap | Self::Hosts | Self::Pins => Err("can't be set by a variable".to_owned()),
        }
    }

    /// Reads a value as the file holds it.
    pub fn parse_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        let wanted = |what: &str| Err(format!("{what} is wanted here, not {}", article(value)));
        match (self, value) {
            (Self::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Self::Flag, _) => wanted("true or false"),
            (Self::Count { .. } | Self::Size, DeValue::Integer(number)) => {
                let digits = number.as_str();
                if number.radix() != 10 {
                    return Err("write the number in decimal".to_owned());
                }
                self.parse_text(digits)
            }
            (Self::Count { .. }, _) => wanted("a whole number"),
            (Self::Price, DeValue::Integer(number)) => self.parse_text(number.as_str()),
            (Self::Price, DeValue::Float(number)) => self.parse_text(number.as_str()),
            (Self::Price, _) => wanted("a number of US dollars"),
            (Self::Span, DeValue::Integer(number)) => self.parse_text(number.as_str()),
            (Self::Texts | Self::Paths | Self::Hosts, DeValue::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
                let Some(texts) = texts else {
                    return Err("a list of strings is wanted here".to_owned());
                };
                let one = match self {
                    Self::Paths => path,
                    Self::Hosts => host_rule,
                    _ => non_empty,
                };
                texts
                    .into_iter()
                    .map(one)
                    .collect::<Result<_, _>>()
                    .map(Value::List)
            }
            (Self::Texts | Self::Paths | Self::Hosts, _) => wanted("a list of strings"),
            (Self::TextMap | Self::Pins, DeValue::Table(table)) => {
                let entries = table.iter().map(|(name, item)| {
                    let Some(text) = item.get_ref().as_str() else {
                        return Err(format!("'{}' must be a string", name.get_ref()));
                    };
                    if self == Self::Pins {
                        pin(name.get_ref(), text)?;
                    }
                    Ok((name.get_ref().to_string(), text.to_owned()))
                });
                entries.collect::<Result<_, _>>().map(Value::Map)
            }
            (Self::TextMap | Self::Pins, _) => wanted("a table of strings"),
            (_, DeValue::String(text)) => self.parse_text(text),
            _ => wanted("a string"),
        }
    }
}

impl Value {
    /// As JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Unset => serde_json::Value::Null,
            Self::Text(text) => text.as_str().into(),
            Self::Count(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Span(None) | Self::Size(None) => "none".into(),
            Self::Span(Some(span)) => write_span(*span).into(),
            Self::Size(Some(bytes)) => (*bytes).into(),
            Self::List(items) => items.as_slice().into(),
            Self::Map(entries) => entries
                .iter()
                .map(|(k, v)| (k.clone(), serde_json::Value::from(v.as_str())))
                .collect(),
        }
    }
}

fn price(text: &str) -> Result<String, String> {
    match text.parse::<f64>() {
        Ok(dollars) if (0.0..1e6).contains(&dollars) => Ok(text.to_owned()),
        _ => Err(format!(
            "'{text}' is no price; write US dollars per million tokens, such as 2.5"
        )),
    }
}

/// `1h30m`, `90s`, `500ms`, `none`.
pub fn parse_span(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" {
        return Ok(None);
    }
    let wrong = || format!("'{text}' is not a duration; write it like '90s', '10min', '1h30m' or 'none'");
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "{text} has no unit; write '{text}s' for seconds or '{text}min' for minutes"
        ));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, after) = digits(rest).ok_or_else(wrong)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end).ok_or_else(wrong)?;
        let milliseconds: u64 = match unit.trim() {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number
            .checked_mul(milliseconds)
            .map(Duration::from_millis)
            .ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next.trim_start();
    }
    if total.is_zero() {
        return Err(format!("'{text}' is no time at all; write 'none' for no limit"));
    }
    Ok(Some(total))
}

/// `64MiB`, `2GB`, `4096`, `none`.
pub fn parse_size(text: &str) -> Result<Option<u64>, String> {
    if text == "none" {
        return Ok(None);
    }
    let wrong = || format!("'{text}' is not a size; write it like '64MiB', '2GB', '4096' or 'none'");
    let (number, unit) = digits(text).ok_or_else(wrong)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" | "K" | "k" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" | "M" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" | "G" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" | "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    match number.checked_mul(factor) {
        Some(0) => Err(format!("'{text}' is no room at all; write 'none' for no limit")),
        Some(bytes) => Ok(Some(bytes)),
        None => Err(wrong()),
    }
}

fn write_span(span: Duration) -> String {
    let milliseconds = span.as_millis();
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

fn host_rule(text: &str) -> Result<String, String> {
    let rule: Result<HostRule, _> = text.parse();
    rule.map(|_| text.to_owned()).map_err(|why| {
        format!("'{text}': {why}; write it like 'example.org', '*.example.org' or 'example.org:8443'")
    })
}

/// `"host:port" = "address"`, where the port of the address is the host's unless it has one.
pub(super) fn pin(host: &str, address: &str) -> Result<(Target, SocketAddr), String> {
    let target = Target::parse(host, None)
        .map_err(|why| format!("'{host}': {why}; write it like 'example.org:443'"))?;
    let at = address
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, target.port()))
        .or_else(|_| address.parse::<SocketAddr>());
    at.map(|at| (target, at))
        .map_err(|_| format!("'{address}' is not an address; write it like '10.0.0.5' or '127.0.0.1:8443'"))
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("an empty text says nothing; leave the key out".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn choice(words: &[&str], word: &str) -> Result<String, String> {
    if words.contains(&word) {
        return Ok(word.to_owned());
    }
    let near = nearest(word, words.iter().copied()).map(|near| format!(" Did you mean '{near}'?"));
    Err(format!(
        "'{word}' is not one of {}.{}",
        words.join(", "),
        near.unwrap_or_default()
    ))
}

fn count(min: u64, max: u64, number: u64) -> Result<u64, String> {
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is not between {min} and {max}"))
    }
}

fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    match text.split_once("://") {
        Some((scheme, host)) if schemes.contains(&scheme) && !host.is_empty() && !host.starts_with('/') => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => {
            let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
            Err(format!(
                "'{text}' is not an address; it must begin with {}",
                schemes.join(" or ")
            ))
        }
    }
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') || text == "~" || text.starts_with("~/") {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "'{text}' is not an absolute path; begin it with '/' or '~/'"
        ))
    }
}

fn filter(text: &str) -> Result<String, String> {
    crate::telemetry::check_filter(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(':').map(str::trim).filter(|item| !item.is_empty())
}

fn article(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The candidate a person most likely meant, if any is near.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let seconds = |n| Ok(Some(Duration::from_secs(n)));
        assert_eq!(parse_span("90s"), seconds(90));
        assert_eq!(parse_span("10min"), seconds(600));
        assert_eq!(parse_span("1h30m"), seconds(5400));
        assert_eq!(parse_span("1h 30m"), seconds(5400));
        assert_eq!(parse_span("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(parse_span("none"), Ok(None));
        for bad in [
            "",
            "10",
            "min",
            "10 parsecs",
            "-5s",
            "0s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        assert!(parse_span("10").unwrap_err().contains("'10s'"));
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!(parse_size("64MiB"), Ok(Some(64 << 20)));
        assert_eq!(parse_size("2 GB"), Ok(Some(2_000_000_000)));
        assert_eq!(parse_size("4096"), Ok(Some(4096)));
        assert_eq!(parse_size("none"), Ok(None));
        for bad in ["", "MiB", "64 Mib", "-1", "0", "999999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_suggested() {
        let error = Kind::Choice(&["bwrap", "outer"]).parse_text("bwarp").unwrap_err();
        assert!(error.ends_with("Did you mean 'bwrap'?"), "{error}");
        assert_eq!(nearest("zzz", ["bwrap", "outer"].into_iter()), None);
    }

    #[test]
    fn addresses_and_paths_are_checked() {
        assert_eq!(
            Kind::Url.parse_text("http://h/v1/"),
            Ok(Value::Text("http://h/v1".into()))
        );
        for bad in ["h/v1", "ftp://h", "http://", "http:///v1"] {
            assert!(Kind::Url.parse_text(bad).is_err(), "{bad}");
        }
        assert!(Kind::Path.parse_text("relative").is_err());
        assert_eq!(
            Kind::Paths.parse_text("/a:~/b"),
            Ok(Value::List(vec!["/a".into(), "~/b".into()]))
        );
    }
}
