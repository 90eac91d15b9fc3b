//! Owns: programs that run other programs, and what they run as far as it stands in the words.
//! Guarantees: pure; what is not known is left out, never guessed.

use super::command::{Simple, Word};

/// Something that runs inside.
pub(super) enum Inner {
    /// A command, word by word.
    Command(Simple),
    /// Shell text.
    Text(String),
}

/// Shells: with `-c` they run a text.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "mksh"];
/// Interpreters, each with the flags after which code follows.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["-c"]),
    ("python2", &["-c"]),
    ("python3", &["-c"]),
    ("perl", &["-e", "-E"]),
    ("ruby", &["-e"]),
    ("node", &["-e", "-p", "--eval", "--print"]),
    ("deno", &["eval"]),
    ("php", &["-r"]),
    ("lua", &["-e"]),
    ("awk", &[]),
    ("gawk", &[]),
    ("mawk", &[]),
];
/// Programs that run the rest of their words, each with its options that take a value.
const RUNNERS: &[(&str, &[&str])] = &[
    ("sudo", &["-u", "-g", "-h", "-p", "-C", "-T", "-U", "-D", "-R"]),
    ("doas", &["-u", "-C"]),
    ("env", &["-u", "-C", "-S", "--unset", "--chdir"]),
    ("nohup", &[]),
    ("nice", &["-n"]),
    ("ionice", &["-c", "-n", "-p"]),
    ("timeout", &["-s", "-k", "--signal", "--kill-after"]),
    ("setsid", &[]),
    ("stdbuf", &["-i", "-o", "-e"]),
    ("time", &["-f", "-o"]),
    ("command", &[]),
    ("builtin", &[]),
    ("exec", &["-a"]),
    ("busybox", &[]),
    ("watch", &["-n", "-d"]),
    ("strace", &["-e", "-o", "-p", "-s"]),
    ("flock", &["-w", "-E"]),
    ("chroot", &[]),
    ("unshare", &[]),
    ("script", &["-c"]),
    ("xargs", &["-n", "-P", "-I", "-L", "-d", "-a", "-E", "-s"]),
    ("parallel", &["-j"]),
    ("ssh", &["-p", "-i", "-o", "-l", "-F", "-J", "-L", "-R", "-D"]),
    ("su", &["-c", "-s"]),
];
/// Commands of the shell that run texts, now or later.
const TEXTS: &[&str] = &["eval", "source", ".", "trap", "alias"];
/// Runners whose first plain word is not the program: `timeout 5`, `flock FILE`, `chroot DIR`, `ssh HOST`, `su USER`.
const ONE_FIRST: &[&str] = &["timeout", "flock", "chroot", "ssh", "su"];

fn program(words: &[Word]) -> Option<&str> {
    let program = words.first()?.known()?;
    Some(program.rsplit('/').next().unwrap_or(program))
}

/// Why a rule on its words can't hold a command: the program runs another one.
pub(super) fn runs_another(words: &[Word]) -> Option<String> {
    let program = program(words)?;
    let has = |flags: &[&str]| {
        words
            .iter()
            .skip(1)
            .any(|word| word.known().is_some_and(|w| flags.contains(&w)))
    };
    let runs = if SHELLS.contains(&program) {
        words.len() < 2
            || words.iter().skip(1).any(|word| {
                word.known()
                    .is_some_and(|w| w.starts_with('-') && !w.starts_with("--") && w.contains(['c', 's']))
            })
    } else if let Some((_, flags)) = INTERPRETERS.iter().find(|(name, _)| *name == program) {
        words.len() < 2 || flags.is_empty() || has(flags) || has(&["-"])
    } else if program == "find" || program == "fd" {
        has(&[
            "-exec",
            "-execdir",
            "-ok",
            "-okdir",
            "-x",
            "-X",
            "--exec",
            "--exec-batch",
        ])
    } else if program == "git" {
        words.iter().any(|word| {
            word.known()
                .is_some_and(|w| w.contains("alias.") && w.contains('!'))
        })
    } else {
        RUNNERS.iter().any(|(name, _)| *name == program) || TEXTS.contains(&program)
    };
    runs.then(|| format!("'{program}' runs another program"))
}

/// What the words make run besides the program itself.
pub(super) fn inner(words: &[Word], depth: usize) -> Vec<Inner> {
    let Some(program) = program(words) else {
        return Vec::new();
    };
    let rest = words.get(1..).unwrap_or_default();
    if SHELLS.contains(&program) {
        return after_c(rest);
    }
    if program == "eval" || program == "trap" || program == "alias" {
        let texts: Vec<&str> = rest.iter().filter_map(Word::known).collect();
        let text = match program {
            "eval" => texts.join(" "),
            "trap" => texts.first().copied().unwrap_or_default().to_owned(),
            _ => texts
                .first()
                .and_then(|t| t.split_once('='))
                .map(|(_, t)| t.to_owned())
                .unwrap_or_default(),
        };
        return vec![Inner::Text(text)];
    }
    if program == "find" || program == "fd" {
        return executed(rest);
    }
    let Some((_, valued)) = RUNNERS.iter().find(|(name, _)| *name == program) else {
        return Vec::new();
    };
    if program == "su" || program == "script" {
        return after_c(rest);
    }
    let mut rest = rest.iter();
    let mut first = ONE_FIRST.contains(&program);
    let mut command: Vec<Word> = Vec::new();
    while let Some(word) = rest.next() {
        let text = word.text();
        if text == "--" {
            continue;
        }
        if text.starts_with('-') {
            if valued.contains(&text) {
                rest.next();
            }
            continue;
        }
        if program == "env" && text.contains('=') {
            continue;
        }
        if std::mem::take(&mut first) {
            continue;
        }
        command.push(word.clone());
        command.extend(rest.by_ref().cloned());
    }
    if command.is_empty() {
        return Vec::new();
    }
    if program == "ssh" || program == "watch" {
        let text: Vec<&str> = command.iter().map(Word::text).collect();
        return vec![Inner::Text(text.join(" "))];
    }
    if depth > 5 {
        return Vec::new();
    }
    let mut found = inner(&command, depth + 1);
    let open = matches!(program, "xargs" | "parallel");
    found.push(Inner::Command(Simple { words: command, open }));
    found
}

/// The text after `-c`.
fn after_c(rest: &[Word]) -> Vec<Inner> {
    let at = rest.iter().position(|word| {
        let text = word.text();
        text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')
    });
    let text = at.and_then(|at| rest.get(at + 1)).and_then(Word::known);
    text.map(|text| Inner::Text(text.to_owned()))
        .into_iter()
        .collect()
}

/// The commands after `-exec` and its kin.
fn executed(rest: &[Word]) -> Vec<Inner> {
    let mut found = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        if !matches!(
            word.text(),
            "-exec" | "-execdir" | "-ok" | "-okdir" | "-x" | "-X" | "--exec" | "--exec-batch"
        ) {
            continue;
        }
        let words: Vec<Word> = rest
            .by_ref()
            .take_while(|word| !matches!(word.text(), ";" | "\\;" | "+"))
            .cloned()
            .collect();
        if !words.is_empty() {
            found.extend(inner(&words, 1));
            found.push(Inner::Command(Simple { words, open: true }));
        }
    }
    found
}

/// True for programs whose words are a program of their own.
pub(super) fn is_interpreter(program: &str) -> bool {
    let program = program.rsplit('/').next().unwrap_or(program);
    SHELLS.contains(&program) || INTERPRETERS.iter().any(|(name, _)| *name == program)
}
