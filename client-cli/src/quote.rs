//! Owns: turning the words of a command line into shell text.
//! Guarantees: the shell reads exactly the words that were given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// One word is shell text as it is; several are quoted, so that the shell sees these words.
pub(crate) fn script(words: &[OsString]) -> Vec<u8> {
    match words {
        [] => Vec::new(),
        [text] => text.as_bytes().to_vec(),
        several => {
            let mut out = Vec::new();
            for (index, word) in several.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                quote(word, &mut out);
            }
            out
        }
    }
}

fn quote(word: &OsStr, out: &mut Vec<u8>) {
    let bytes = word.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-./:,+@%".contains(b);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'\'');
    for byte in bytes {
        if *byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*byte);
        }
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        String::from_utf8(script(&words)).unwrap()
    }

    #[test]
    fn one_word_is_shell_text() {
        assert_eq!(of(&["cd docs && ls"]), "cd docs && ls");
        assert_eq!(of(&[""]), "");
    }

    #[test]
    fn several_words_are_quoted() {
        assert_eq!(of(&["sh", "-c", "exit 42"]), "sh -c 'exit 42'");
        assert_eq!(of(&["echo", "it's", "", "a\nb"]), "echo 'it'\\''s' '' 'a\nb'");
        assert_eq!(of(&["A=1", "~", "*"]), "'A=1' '~' '*'");
    }

    #[test]
    fn a_real_shell_reads_the_same_words() {
        let words: Vec<OsString> = ["printf", "%s\\n", "a b", "$(id)", "'\"`\\", "", "--", "é\u{1b}"]
            .iter()
            .map(OsString::from)
            .collect();
        let text = script(&words);
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(std::ffi::OsStr::from_bytes(&text))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "a b\n$(id)\n'\"`\\\n\n--\né\u{1b}\n"
        );
    }
}
