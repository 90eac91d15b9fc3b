//! Owns: recognising a patch typed into the shell: `apply_patch <<'EOF' … EOF`, maybe after `cd dir &&`. Pure.
//! Guarantees: only that exact form; anything more is left to the shell.

/// A patch in a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PatchCommand {
    /// The directory of a leading `cd`.
    pub(super) dir: Option<String>,
    /// The patch.
    pub(super) patch: String,
}

/// The patch in a command that is nothing else.
pub(super) fn patch_command(command: &str) -> Option<PatchCommand> {
    let command = command.trim_start();
    let (first, body) = command.split_once('\n')?;
    let mut rest = first.trim();
    let mut dir = None;
    if let Some(after) = rest.strip_prefix("cd ") {
        let (path, after) = after.split_once("&&")?;
        dir = Some(plain_word(path.trim())?);
        rest = after.trim();
    }
    let rest = rest
        .strip_prefix("apply_patch")
        .or_else(|| rest.strip_prefix("applypatch"))?;
    let marker = rest.trim().strip_prefix("<<")?;
    let (tabs, marker) = match marker.strip_prefix('-') {
        Some(marker) => (true, marker),
        None => (false, marker),
    };
    let marker = marker.trim();
    let marker = unquoted(marker).filter(|word| is_word(word))?;
    let mut patch = String::new();
    let mut lines = body.lines();
    for line in lines.by_ref() {
        // `<<-` takes leading tabs away, as the shell would.
        let line = if tabs { line.trim_start_matches('\t') } else { line };
        if line == marker {
            return lines
                .all(|line| line.trim().is_empty())
                .then_some(PatchCommand { dir, patch });
        }
        patch.push_str(line);
        patch.push('\n');
    }
    None
}

fn unquoted(word: &str) -> Option<&str> {
    for quote in ['\'', '"'] {
        if let Some(inner) = word.strip_prefix(quote) {
            return inner.strip_suffix(quote);
        }
    }
    Some(word)
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A path that means the same to us as to the shell.
fn plain_word(word: &str) -> Option<String> {
    let quoted = word.starts_with('\'') || word.starts_with('"');
    let inner = unquoted(word)?;
    let special = |c: char| {
        matches!(
            c,
            '$' | '`' | '\\' | '\'' | '"' | '*' | '?' | '[' | '~' | ';' | '&' | '|' | '<' | '>' | '(' | ')'
        )
    };
    let bad =
        inner.is_empty() || inner.chars().any(special) || (!quoted && inner.contains(char::is_whitespace));
    (!bad && !inner.starts_with('-')).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "*** Begin Patch\n*** Delete File: a\n*** End Patch\n";

    #[test]
    fn a_patch_heredoc_is_recognised() {
        for (command, dir) in [
            (format!("apply_patch <<'EOF'\n{PATCH}EOF"), None),
            (format!("apply_patch << \"END\"\n{PATCH}END\n"), None),
            (format!("  applypatch <<PATCH\n{PATCH}PATCH\n\n"), None),
            (
                format!("cd src && apply_patch <<'EOF'\n{PATCH}EOF\n"),
                Some("src"),
            ),
            (
                format!("cd '/a b' && apply_patch <<'EOF'\n{PATCH}EOF\n"),
                Some("/a b"),
            ),
        ] {
            let found = patch_command(&command).unwrap();
            assert_eq!(
                (found.dir.as_deref(), found.patch.as_str()),
                (dir, PATCH),
                "{command}"
            );
        }
    }

    #[test]
    fn anything_more_is_left_to_the_shell() {
        for command in [
            format!("apply_patch <<'EOF'\n{PATCH}EOF\nrm x"),
            format!("apply_patch <<'EOF' && make\n{PATCH}EOF"),
            format!("apply_patch <<'EOF'\n{PATCH}"),
            format!("cd $HOME && apply_patch <<'EOF'\n{PATCH}EOF"),
            format!("cd a; apply_patch <<'EOF'\n{PATCH}EOF"),
            format!("echo x && apply_patch <<'EOF'\n{PATCH}EOF"),
            format!("cat <<'EOF'\n{PATCH}EOF"),
            "apply_patch patch.txt".to_owned(),
            "apply_patch".to_owned(),
            String::new(),
        ] {
            assert_eq!(patch_command(&command), None, "{command}");
        }
    }
}
