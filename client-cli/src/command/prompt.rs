//! Owns: making a message out of words, files and standard input.
//! Guarantees: never sits silently: without words, standard input must be a pipe or file.

use std::path::{Path, PathBuf};

use agentd_proto::attach::{self, AttachError};
use agentd_proto::pb;
use agentd_proto::pb::part::Part;

use crate::context::Context;
use crate::exit::Failure;
use crate::stdin;

/// Most bytes of standard input.
const LIMIT: u64 = attach::MAX_TEXT;

/// The parts of a message. Piped input is the prompt when there are no words, else an attachment.
pub(crate) async fn parts(
    context: &Context,
    words: &[String],
    files: &[PathBuf],
) -> Result<Vec<pb::Part>, Failure> {
    let (text, attachment) = match words {
        [] if stdin::is_terminal() => {
            return Err(Failure::usage("there is no prompt")
                .next("agentctl run \"what to do\"")
                .next("agentctl run - < prompt.txt"));
        }
        [] => (piped(context, "prompt").await?, None),
        [dash] if dash == "-" => (piped(context, "prompt").await?, None),
        words => {
            let input = if stdin::is_terminal() {
                String::new()
            } else {
                piped(context, "attachment").await?
            };
            (words.join(" "), (!input.is_empty()).then_some(input))
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty").next("agentctl run \"what to do\""));
    }
    let mut parts = vec![pb::Part {
        part: Some(Part::Text(text)),
    }];
    for file in files {
        parts.push(read(file)?);
    }
    if let Some(text) = attachment {
        parts.push(attach::text_part("stdin", text));
    }
    Ok(parts)
}

async fn piped(context: &Context, what: &str) -> Result<String, Failure> {
    let reading = stdin::read_all(LIMIT);
    tokio::pin!(reading);
    // A pipe that nobody closes would look like a hang: say what is waited for.
    let early = tokio::time::timeout(std::time::Duration::from_secs(2), &mut reading).await;
    let data = match early {
        Ok(data) => data?,
        Err(_) => {
            context
                .out
                .note("reading standard input to its end (none wanted: add </dev/null)");
            reading.await?
        }
    };
    let data = data.ok_or_else(|| {
        Failure::usage(format!(
            "standard input is longer than 1 MiB, the most a {what} may be"
        ))
        .next("agentctl run -f FILE \"…\"   (a smaller file, or put it in the workspace)")
    })?;
    text(data, "standard input")
}

/// A file as a part.
fn read(file: &Path) -> Result<pb::Part, Failure> {
    attach::read(file).map_err(|error| {
        let failure = Failure::usage(error.to_string());
        match error {
            AttachError::Unreadable(..) => failure,
            _ => failure.next("put it in the workspace and name it in the prompt"),
        }
    })
}

fn text(data: Vec<u8>, what: &str) -> Result<String, Failure> {
    if data.contains(&0) {
        return Err(Failure::usage(format!("{what} is not text"))
            .next("put the file in the workspace and name it in the prompt"));
    }
    Ok(
        String::from_utf8(data)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}
