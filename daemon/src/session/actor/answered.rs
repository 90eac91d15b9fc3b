//! Owns: answers that were given before, for those who ask again.
//! Guarantees: the same request gets the same answer, from memory or from the store; another one under its id is refused.

use super::{ANSWERED, State};
use crate::domain::command::Reply;
use crate::domain::rejection::Rejection;
use crate::session::Fault;
use crate::store::RequestKey;

impl State {
    /// A "no" to something that was answered before is still that answer.
    pub(super) async fn rejected(
        &self,
        key: Option<&RequestKey>,
        rejection: Rejection,
    ) -> Result<Reply, Fault> {
        if let Some(key) = key
            && let Some(before) = self.store.request(&key.request_id).await?
        {
            return if before.matches(key) {
                Ok(before.reply)
            } else {
                Err(Rejection::RequestIdReused(key.request_id.clone()).into())
            };
        }
        Err(rejection.into())
    }

    /// What was answered to this very request before.
    pub(super) fn answered_before(&self, key: Option<&RequestKey>) -> Result<Option<Reply>, Fault> {
        let Some(key) = key else { return Ok(None) };
        match self
            .answered
            .iter()
            .find(|(before, _)| before.request_id == key.request_id)
        {
            None => Ok(None),
            Some((before, reply)) if before == key => Ok(Some(reply.clone())),
            Some(_) => Err(Rejection::RequestIdReused(key.request_id.clone()).into()),
        }
    }

    pub(super) fn remember(&mut self, key: RequestKey, reply: Reply) {
        self.answered.push_back((key, reply));
        if self.answered.len() > ANSWERED {
            self.answered.pop_front();
        }
    }
}
