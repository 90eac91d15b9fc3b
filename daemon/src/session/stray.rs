//! Owns: naming the program that tried another way out than the proxy, by what it wrote.
//! Guarantees: pure; a name is a plain word or "a program"; whether anybody tried is the kernel's to say, not this text's.

/// What programs say when there is no way out.
const STRAYS: &[&str] = &[
    "network is unreachable",
    "could not resolve",
    "couldn't resolve",
    "unable to resolve",
    "name resolution",
    "name or service not known",
    "no address associated",
    "getaddrinfo",
    "enetunreach",
    "eai_again",
    "failed to lookup address",
    "dns error",
    "lookup ",
];

/// The program that says so in the end of an error output: the word before its first colon, where that is one.
pub(super) fn stray(stderr: &str) -> Option<String> {
    let line = stderr.lines().rev().find(|line| {
        let line = line.to_lowercase();
        STRAYS.iter().any(|words| line.contains(words))
    })?;
    let word = line.split_once(':').map_or("", |(word, _)| word).trim();
    let word = word.rsplit('/').next().unwrap_or_default();
    let is_name = (1..=32).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
    Some(if is_name {
        word.to_owned()
    } else {
        "a program".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_went_astray_is_named_where_it_says_its_name() {
        for (line, who) in [
            ("curl: (6) Could not resolve host: example.org", Some("curl")),
            (
                "x\nping: example.org: Temporary failure in name resolution\n",
                Some("ping"),
            ),
            ("/usr/bin/wget: unable to resolve host", Some("wget")),
            ("Error: getaddrinfo EAI_AGAIN example.org", Some("Error")),
            ("dial tcp: lookup example.org on 127.0.0.1:53", Some("a program")),
            ("OSError [Errno 101] Network is unreachable", Some("a program")),
            ("make: *** [all] Error 1", None),
            ("", None),
        ] {
            assert_eq!(stray(line).as_deref(), who, "{line}");
        }
    }
}
