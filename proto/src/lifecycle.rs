//! Owns: what is told of a session's end and of its bundle, the same in every client.
//! Guarantees: what is lost, and what was taken out as a secret, is said in full; nothing untrusted is raw.

use crate::{escape, format, pb};

/// What deleting a session loses. `until` is when it leaves the trash, as the client writes times; empty: it is
/// gone at once.
pub fn loss(answer: &pb::DeleteSessionResponse, until: &str) -> Vec<String> {
    let loss = answer.loss.clone().unwrap_or_default();
    let session = loss.session.clone().unwrap_or_default();
    let mut lines = vec![format!(
        "{} ({}): {}, {}, {} with {} of output",
        escape::line(&session.name),
        session.session_id,
        format::count(loss.messages, "message"),
        format::count(loss.events, "event"),
        format::count(loss.commands, "command"),
        format::bytes(loss.output_bytes),
    )];
    if loss.open_turn || loss.open_commands > 0 {
        lines.push("  it is at work: its turn and commands will be ended".to_owned());
    }
    if loss.queued_messages > 0 {
        lines.push(format!(
            "  {} waiting will never be answered",
            format::count(u64::from(loss.queued_messages), "message")
        ));
    }
    let workspace = escape::line(&session.workspace);
    lines.push(match until {
        "" => format!("  for good: nothing brings it back; the workspace {workspace} stays as it is"),
        until => format!("  in the trash until {until}; the workspace {workspace} stays as it is"),
    });
    lines
}

/// What is in a bundle, for people.
pub fn bundle(report: &pb::BundleReport) -> Vec<String> {
    let mut lines = vec![format!(
        "in it: {}, {}{}; names of people: {}",
        format::count(report.events, "event"),
        format::count(report.outputs, "output"),
        if report.cut_outputs > 0 {
            format!(" ({} without their middle)", report.cut_outputs)
        } else {
            String::new()
        },
        report
            .principals
            .iter()
            .map(|name| escape::line(name))
            .collect::<Vec<_>>()
            .join(", "),
    )];
    if report.redacted.is_empty() {
        lines.push("no known secret was found; look through it before you give it away".to_owned());
    } else {
        let kinds: Vec<String> = report
            .redacted
            .iter()
            .map(|(kind, n)| format!("{n} {}", escape::line(kind)))
            .collect();
        let seqs: Vec<String> = report
            .redacted_seqs
            .iter()
            .take(20)
            .map(ToString::to_string)
            .collect();
        lines.push(format!(
            "taken out as secrets: {} (events {})",
            kinds.join(", "),
            seqs.join(", ")
        ));
    }
    lines
}
