//! Owns: the rest of a Jail in which nothing has run for a while: when to ask for it, and what to say afterwards.
//! Guarantees: only a Jail whose state is kept rests; jinit has the last word on whether anything lives in it; no command is
//! handed over between the question and the answer.

use std::time::Duration;

use agent_jinit::wire::ToJail;
use tokio::time::Instant;

use super::actor::Actor;

/// How long jinit may take to answer, before commands go on without its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the matter stands.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// When to ask, or when to stop waiting for the answer.
    at: Option<Instant>,
    pub(super) asked: bool,
    /// It said that it ends; whether files of somebody's in /tmp end with it.
    slept: Option<bool>,
    /// The shell can't print its functions (dash) and may have some: it would lose them.
    pub(super) functions: bool,
}

impl Idle {
    /// Rings at the next moment that matters.
    pub(super) fn alarm(&self) -> impl Future<Output = ()> + use<> {
        let at = self.at;
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Something lives in there; asked again after another while.
    pub(super) fn refused(&mut self) {
        self.asked = false;
        self.at = None;
    }

    pub(super) fn sleeps(&mut self, files: bool) {
        self.slept = Some(files);
    }

    /// Whether the Jail went to rest, rather than died.
    pub(super) fn has_slept(&self) -> bool {
        self.slept.is_some()
    }

    /// The same, once.
    pub(super) fn take_slept(&mut self) -> bool {
        self.slept.take().is_some()
    }
}

impl Actor {
    /// After each turn of the loop: the clock runs only while there is nothing to do.
    pub(super) fn watch_idleness(&mut self) {
        if self.idle.asked {
            return;
        }
        let nothing = self.jail.is_some()
            && self.current.is_none()
            && self.queue.is_empty()
            && self.jobs.is_empty()
            && !self.snapshotting;
        let keeps_all = self.state_kept && !self.idle.functions;
        self.idle.at = match (self.spec.idle_timeout, self.idle.at) {
            (Some(after), None) if nothing && keeps_all => Some(Instant::now() + after),
            (Some(_), at) if nothing && keeps_all => at,
            _ => None,
        };
    }

    pub(super) async fn alarmed(&mut self) {
        if std::mem::take(&mut self.idle.asked) {
            tracing::warn!(session = %self.spec.session, "a jail did not answer whether it can rest");
            self.idle.at = None;
            return;
        }
        self.idle.asked = true;
        self.idle.at = Some(Instant::now() + ANSWER);
        self.tell(&ToJail::Rest).await;
    }

    /// The Jail is gone. True when that was its rest.
    pub(super) fn rest_begins(&mut self) -> bool {
        self.idle.asked = false;
        self.idle.at = None;
        if !self.idle.has_slept() {
            return false;
        }
        tracing::debug!(session = %self.spec.session, "the jail rests");
        if self.idle.slept == Some(true) {
            self.note =
                Some("nothing ran for a while and the jail was started anew: /tmp is empty".to_owned());
        }
        true
    }
}

/// Whether a script may leave functions behind, as far as its text tells.
pub(super) fn may_define(script: &[u8]) -> bool {
    let mut open = false;
    for byte in script {
        match byte {
            b'(' => open = true,
            b')' if open => return true,
            b' ' | b'\t' => {}
            _ => open = false,
        }
    }
    script
        .split(|b| b.is_ascii_whitespace() || b";&|(){}\"'\\".contains(b))
        .any(|word| matches!(word, b"." | b"eval"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_noticed() {
        for text in [
            "f() { :; }",
            "f ( ) { :; }",
            ". ./lib.sh",
            "eval \"$x\"",
            "a; \\. x",
        ] {
            assert!(may_define(text.as_bytes()), "{text}");
        }
        for text in ["make test", "(cd x; ls)", "ls ./a.b", "echo $(pwd)", "cd .."] {
            assert!(!may_define(text.as_bytes()), "{text}");
        }
    }
}
