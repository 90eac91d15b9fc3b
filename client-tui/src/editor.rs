//! Owns: writing a message, or the file of a persona or policy, in the person's own editor.
//! Guarantees: the draft is readable by its owner only, and gone afterwards.

use std::io::Write as _;

/// Opens `$VISUAL`, `$EDITOR` or vi on a text; what was written, or `None` when that failed.
pub(crate) async fn write(text: &str, ending: &str) -> Option<String> {
    let mut file = tempfile::Builder::new()
        .prefix("agent-draft-")
        .suffix(ending)
        .tempfile()
        .ok()?;
    file.write_all(text.as_bytes()).ok()?;
    let command = ["VISUAL", "EDITOR"]
        .iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .unwrap_or_else(|| "vi".into());
    // Editors are given with arguments, as in `code --wait`: a shell takes them apart as everywhere.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(r#"eval "$1 \"\$2\"""#)
        .arg("sh")
        .arg(command)
        .arg(file.path())
        .status()
        .await
        .ok()?;
    if !status.success() {
        return None;
    }
    // Editors replace the file: it is read by its name.
    std::fs::read_to_string(file.path()).ok()
}
