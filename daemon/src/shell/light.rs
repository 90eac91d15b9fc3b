//! Owns: which commands leave the shell that runs them as it was, so that its state need not be asked for anew.
//! Guarantees: pure; in doubt a command is not light. It is light only as one plain command whose program is no builtin
//! that could change the shell, in a shell without functions, aliases or traps that could take its place.

use crate::domain::policy::Reading;

/// Builtins of bash and dash that may change what the shell says of itself, or end it.
const STATEFUL: &[&str] = &[
    ".",
    // Looks into arrays, whose indices are reckoned.
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "setvar",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "time",
    "times",
    "trap",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// How lines begin that only say how options stand.
const OPTIONS: [&[u8]; 3] = [b"shopt ", b"set -o ", b"set +o "];

/// Whether a command leaves its shell as it was, but for `$?`: asked of its text alone.
pub(super) fn is_light(script: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(script) else {
        return false;
    };
    // A redirection can name a variable, whatever a word's quotes say.
    if text.contains(['<', '>', '{', '$', '`']) {
        return false;
    }
    // To the rules a line break is one that hides something.
    let reading = Reading::of(text.trim_end_matches('\n'));
    let program = reading.plain().and_then(|words| words.first());
    program.is_some_and(|program| !STATEFUL.contains(&program.as_str()) && !program.starts_with('%'))
}

/// Whether a shell that says this of itself has nothing that could take the place of a plain command or run beside it:
/// `variables` and traps on one stream, functions, aliases and options on the other.
pub(super) fn is_bare(variables: &[u8], words: &[u8]) -> bool {
    let has = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|at| at == what);
    let only_options = words
        .split(|byte| *byte == b'\n')
        .all(|line| line.is_empty() || OPTIONS.iter().any(|begin| line.starts_with(begin)));
    only_options && !has(variables, b"trap -- ") && !has(variables, b"PROMPT_COMMAND")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_light_and_what_speaks_to_the_shell_is_not() {
        for light in [
            "true",
            "cargo build --release",
            "ls -la 'a b'",
            "grep -rn 'a b' src\n",
            "./configure",
        ] {
            assert!(is_light(light.as_bytes()), "{light}");
        }
        for heavy in [
            "cd src",
            "\\cd src",
            "export A=1",
            "A=1",
            "A=1 make",
            "printf -v A x",
            ". ./env",
            "cd src && make",
            "make; cd x",
            "make &",
            "f() { :; }",
            "exec make",
            "command cd x",
            "read A",
            "${A:=b}",
            "%1",
            "make >log",
            "make {log}<in",
            "echo $HOME",
            "",
            "umask 077",
            "test -v 'a[x=1]'",
            "let a=1",
            "((a=1))",
            "[[ -n ${A:=x} ]]",
        ] {
            assert!(!is_light(heavy.as_bytes()), "{heavy}");
        }
        assert!(!is_light(b"\xff"));
    }

    #[test]
    fn a_shell_with_words_of_its_own_is_not_bare() {
        let options = b"set +o allexport\nset -o braceexpand\nshopt -u autocd\nshopt -s cmdhist\n";
        assert!(is_bare(b"declare -x A=\"1\"\n", options));
        assert!(is_bare(b"A='1'\n", b""));
        assert!(!is_bare(b"trap -- 'cd /' CHLD\n", options));
        assert!(!is_bare(b"declare -- PROMPT_COMMAND=\"cd /\"\n", options));
        assert!(!is_bare(b"", b"shopt -u autocd\nls () \n{ \n    cd /\n}\n"));
        assert!(!is_bare(b"", b"alias ls='cd /'\n"));
    }
}
