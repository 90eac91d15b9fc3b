//! Owns: the life of a session as its handle offers it: pause, resume, archive, trash and back.
//! Guarantees: each is one fact; what has to be quiet before it is quiet.

use super::mailbox::Wish;
use super::{Fault, SessionHandle};
use crate::domain::command::{Command, Reply};
use crate::domain::event::EventBody;
use crate::domain::id::{Seq, TurnId};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::store::{RequestKey, StoreError};

impl SessionHandle {
    /// Stops the session in mid-stride.
    pub async fn pause(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        reason: String,
    ) -> Result<Seq, Fault> {
        self.change(caller, request, Command::Pause { reason }).await
    }

    /// Lets it go on.
    pub async fn resume(&self, caller: Caller, request: Option<RequestKey>) -> Result<Seq, Fault> {
        let turn_id = TurnId::random();
        self.change(caller, request, Command::Resume { turn_id }).await
    }

    /// Hides it; its jail ends, the shell's state is kept.
    pub async fn archive(&self, caller: Caller, request: Option<RequestKey>) -> Result<Seq, Fault> {
        let seq = self.change(caller, request, Command::Archive).await?;
        self.end_jail().await;
        Ok(seq)
    }

    /// Shows it again.
    pub async fn unarchive(&self, caller: Caller, request: Option<RequestKey>) -> Result<Seq, Fault> {
        self.change(caller, request, Command::Unarchive).await
    }

    /// Ends its turn, commands and jail, and puts it into the trash.
    pub async fn delete(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        purge_us: i64,
    ) -> Result<Seq, Fault> {
        if self.summary().standing.purge_us.is_none() {
            match self.interrupt(caller.clone(), None).await {
                Ok(_) | Err(Fault::Rejected(Rejection::NoOpenTurn(_))) => {}
                Err(fault) => return Err(fault),
            }
            self.actor.rest().await;
            self.end_jail().await;
        }
        self.change(caller, request, Command::Delete { purge_us }).await
    }

    /// Takes it out of the trash.
    pub async fn restore(&self, caller: Caller, request: Option<RequestKey>) -> Result<Seq, Fault> {
        self.change(caller, request, Command::Restore).await
    }

    /// Puts events without texts in the place of earlier ones.
    pub async fn redact(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        rewrites: Vec<(Seq, EventBody)>,
        reason: String,
    ) -> Result<Seq, Fault> {
        let reason = crate::domain::session::clip(&reason, 500);
        self.change(caller, request, Command::Redact { rewrites, reason })
            .await
    }

    async fn change(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        command: Command,
    ) -> Result<Seq, Fault> {
        let wish = Wish {
            command,
            caller,
            request,
            model: None,
            launch: None,
        };
        match self.actor.wish(wish).await {
            Ok(Reply::Done { seq }) => Ok(seq),
            Ok(_) => Ok(self.summary().head),
            Err(Fault::Store(StoreError::NameTaken(name))) => Err(Rejection::NameTaken {
                name,
                workspace: "another session".into(),
            }
            .into()),
            Err(error) => Err(error),
        }
    }
}
