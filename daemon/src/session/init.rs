//! Owns: whether a session's shell may begin with its project's `[shell] init`: the question, and what its answer means.
//! Guarantees: what runs is the very text that somebody agreed to, once for each text; nobody is waited for who is not
//! there, and the shell then begins without it and says so; an answer that comes later counts from the next command on.

use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;

use super::network::{Net, PATIENCE, View};
use super::trace_id;
use crate::clock::now_us;
use crate::config::project;
use crate::domain::approval::{Answer, Approval, Verdict as Answered};
use crate::domain::command::Command;
use crate::domain::id::{ApprovalId, CallId};
use crate::domain::policy::{self, Rule, Verdict};
use crate::domain::principal::Caller;
use crate::domain::tool::Effect;
use crate::domain::workspace::JailKind;
use crate::shell::{Beginning, ProjectInit, Start};

#[async_trait]
impl Beginning for Net {
    async fn start(&self, fresh: bool, began: Option<String>) -> Start {
        // What a session goes on with says nothing new.
        let without = |why: String| Start {
            init: None,
            note: fresh.then(|| format!("the project's shell init did not run: {why}")),
        };
        let init = match project::shell_init(&self.workspace) {
            Ok(Some(text)) => ProjectInit::new(text),
            Ok(None) => return Start::default(),
            Err(why) => return without(why),
        };
        if began.as_deref() == Some(init.digest.as_str()) {
            return Start::default();
        }
        let mut bell = self.view.clone();
        let (until, mut asked) = (Instant::now() + PATIENCE, false);
        loop {
            let view = bell.borrow_and_update().clone();
            let question = about(&view, &init.digest);
            if let Some(answer) = question.and_then(|one| one.answer.as_ref()) {
                return if answer.verdict.approves() {
                    yes(init)
                } else {
                    without(no(answer))
                };
            }
            // A shell that has begun is asked nothing more; an answer that is still to come is heard.
            if !fresh {
                if question.is_some() {
                    self.listen(&init.digest);
                }
                return Start::default();
            }
            let (verdict, rule) = policy::judge_init(&view.persona.policy, &self.grants(&view), &init.digest);
            match verdict {
                Verdict::Allow => return yes(init),
                Verdict::Deny => return without(format!("the policy denies it ({rule})")),
                Verdict::Ask => {}
            }
            let Some(open) = question.map(|one| one.approval_id.clone()) else {
                if view.deny {
                    return without("nobody is to be asked (--on-approval=deny)".to_owned());
                }
                if asked {
                    return without("it could not be asked about".to_owned());
                }
                if let Err(why) = self.ask_init(&view, &init, rule).await {
                    return without(format!("it could not be asked about: {why}"));
                }
                // The view follows the commit at once.
                asked = true;
                continue;
            };
            let now = Instant::now();
            if !self.is_watched() || now >= until {
                self.listen(&init.digest);
                return without(format!("it waits for a person's answer: agentctl approve {open}"));
            }
            tokio::select! {
                changed = bell.changed() => if changed.is_err() {
                    return Start::default();
                },
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
    }
}

impl Net {
    async fn ask_init(&self, view: &View, init: &ProjectInit, rule: String) -> Result<(), String> {
        let now = now_us();
        let place = match view.jail {
            JailKind::Bwrap => "in its jail",
            JailKind::Outer => "without a jail, as you",
        };
        let approval = Approval {
            approval_id: ApprovalId::random(),
            call_id: CallId(String::new()),
            tool: "shell".to_owned(),
            summary: format!("shell init of this project ({})", project::CONFIG),
            detail: init.text.clone(),
            effects: vec![Effect::Executes],
            why: format!(
                "the project wants the session's shell to begin with this text, {place}; nobody has agreed to it yet"
            ),
            deciding_rule: rule,
            rules: vec![Rule::init(&init.digest).to_string()],
            no_rule_why: String::new(),
            session_grant: None,
            expires_us: view.persona.policy.expires_us(now),
            hosts: Vec::new(),
            init: Some(init.digest.clone()),
            asked_us: now,
            answer: None,
        };
        let command = Command::AskInit {
            approval: Box::new(approval),
        };
        let asked = self.tell(command, Caller::daemon(trace_id()), None).await;
        asked.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Has the shell begin once the open question is answered with yes.
    fn listen(&self, digest: &str) {
        let (me, mut bell, digest): (Weak<Self>, _, _) =
            (self.me.clone(), self.view.clone(), digest.to_owned());
        tokio::spawn(async move {
            let answered = |view: &View| about(view, &digest).is_none_or(|one| one.answer.is_some());
            // An error: the session is at rest; its next command asks anew.
            if bell.wait_for(answered).await.is_ok()
                && let Some(execs) = me.upgrade().and_then(|me: Arc<Self>| me.execs.get()?.upgrade())
            {
                execs.begin_again();
            }
        });
    }
}

/// The newest question about a text.
fn about<'a>(view: &'a View, digest: &str) -> Option<&'a Approval> {
    let mut asked = view
        .inits
        .iter()
        .filter(|one| one.init.as_deref() == Some(digest));
    // Open ones come first.
    let first = asked.next()?;
    Some(
        asked
            .next_back()
            .filter(|_| first.answer.is_some())
            .unwrap_or(first),
    )
}

fn yes(init: ProjectInit) -> Start {
    Start {
        init: Some(init),
        note: None,
    }
}

fn no(answer: &Answer) -> String {
    match (answer.verdict, answer.reason.as_str()) {
        (Answered::Expired, _) => "nobody answered in the time the policy gives".to_owned(),
        (_, "") => format!("{} said no", answer.by),
        (_, reason) => format!("{} said no: {reason}", answer.by),
    }
}
