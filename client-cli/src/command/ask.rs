//! Owns: asking a person about an approval, on a terminal.
//! Guarantees: what was typed before the question could be read never answers it; Enter alone never
//! approves; deny is always offered.

use std::time::Duration;

use agentd_proto::{escape, id, pb};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::context::Context;
use crate::exit::Failure;
use crate::render::line::Line;
use crate::render::progress::Screen;
use crate::render::{Look, line};
use crate::{stdin, tty};

/// How long after it appears a question takes no answer.
const DEAD_TIME: Duration = Duration::from_millis(500);

/// Asks one question after the other.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    open: Vec<pb::Approval>,
    lines: Option<mpsc::Receiver<String>>,
    /// When the question at the front takes answers.
    ready_at: Option<Instant>,
    prompted: bool,
}

/// What a typed line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, once.
    Once,
    /// Yes, for the session.
    Session,
    /// Yes, for the project, for as long as the daemon says.
    Project,
    /// No, with words for the model.
    Deny(String),
    /// Not an answer.
    Unclear,
}

impl Asker {
    /// True while a question is on the screen.
    pub(crate) fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// A new question.
    pub(crate) fn add(&mut self, approval: pb::Approval, screen: &mut Screen) {
        self.open.push(approval);
        if self.open.len() == 1 {
            self.show(screen);
        }
    }

    /// A question was answered, here or elsewhere.
    pub(crate) fn remove(&mut self, approval_id: &str, screen: &mut Screen) {
        let first = self
            .open
            .first()
            .is_some_and(|one| one.approval_id == approval_id);
        self.open.retain(|one| one.approval_id != approval_id);
        if first && !self.open.is_empty() {
            self.show(screen);
        }
    }

    fn show(&mut self, screen: &mut Screen) {
        if let Some(approval) = self.open.first() {
            screen.say(&line::approval_lines(approval));
        }
        self.ready_at = Some(Instant::now() + DEAD_TIME);
        self.prompted = false;
    }

    /// Waits until something was typed for the question; pending for ever while there is none.
    pub(crate) async fn typed(&mut self, screen: &mut Screen) -> String {
        loop {
            let Some(ready_at) = self.ready_at.filter(|_| self.is_asking()) else {
                return std::future::pending().await;
            };
            let lines = self.lines.get_or_insert_with(stdin::lines);
            if !self.prompted {
                tokio::time::sleep_until(ready_at).await;
                tty::discard_input();
                while lines.try_recv().is_ok() {}
                self.prompted = true;
                screen.prompt(&self.question());
                continue;
            }
            match lines.recv().await {
                Some(line) => return line,
                // The terminal is gone: the question stays open for others.
                None => return std::future::pending().await,
            }
        }
    }

    fn question(&self) -> String {
        let session = self.open.first().is_some_and(|one| !one.session_rule.is_empty());
        let session = if session {
            "s for the session · p for the project · "
        } else {
            ""
        };
        format!("y once · {session}n deny · n REASON deny and say why > ")
    }

    /// Sends what was typed.
    pub(crate) async fn answer(
        &mut self,
        context: &Context,
        text: &str,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let Some(approval) = self.open.first().cloned() else {
            return Ok(());
        };
        let (decision, reason) = match parse(text, !approval.session_rule.is_empty()) {
            Answer::Once => (pb::ApprovalDecision::ApprovedOnce, String::new()),
            Answer::Session => (pb::ApprovalDecision::ApprovedSession, String::new()),
            Answer::Project => (pb::ApprovalDecision::ApprovedProject, String::new()),
            Answer::Deny(reason) => (pb::ApprovalDecision::Denied, reason),
            Answer::Unclear => {
                screen.prompt(&self.question());
                return Ok(());
            }
        };
        let request = pb::ResolveApprovalRequest {
            request_id: id::request_id(),
            approval_id: approval.approval_id.clone(),
            decision: decision.into(),
            reason,
            expected_head: 0,
            ..Default::default()
        };
        match context.client.resolve_approval(request).await {
            Ok(_) => {}
            Err(error) if error.is(pb::ErrorReason::ApprovalDecided) => {
                screen.say(&[(Some(Look::Yellow), escape::line(&error.message)) as Line]);
            }
            Err(error) => return Err(error.into()),
        }
        self.remove(&approval.approval_id, screen);
        Ok(())
    }
}

/// What a typed line means. Only whole words count; Enter alone is no answer.
pub(crate) fn parse(text: &str, rule_offered: bool) -> Answer {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match (word, rest.trim()) {
        ("y" | "yes", "") => Answer::Once,
        ("s" | "session", "") if rule_offered => Answer::Session,
        ("p" | "project", "") if rule_offered => Answer::Project,
        ("n" | "N" | "no", reason) => Answer::Deny(reason.to_owned()),
        _ => Answer::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clear_words_answer() {
        assert_eq!(parse("y", false), Answer::Once);
        assert_eq!(parse(" yes ", true), Answer::Once);
        assert_eq!(parse("s", true), Answer::Session);
        assert_eq!(parse("s", false), Answer::Unclear);
        assert_eq!(parse("p", true), Answer::Project);
        assert_eq!(parse("p", false), Answer::Unclear);
        assert_eq!(parse("N use staging", true), Answer::Deny("use staging".into()));
        assert_eq!(parse("n", true), Answer::Deny(String::new()));
        for text in ["", "  ", "yy", "y and more", "Y", "ls", "yikes"] {
            assert_eq!(parse(text, true), Answer::Unclear, "{text}");
        }
    }
}
