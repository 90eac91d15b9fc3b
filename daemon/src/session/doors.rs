//! Owns: the doors between a session's jail and this machine, and what a session tells of its network.
//! Guarantees: a door is open exactly while the log says so, from one daemon to the next; a service of this machine opens
//! inside only after a person said yes.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::mailbox::Wish;
use super::network::{Net, View, question};
use super::{Fault, SessionHandle, trace_id};
use crate::domain::command::{Command, Reply};
use crate::domain::id::{ApprovalId, Seq};
use crate::domain::network::{self, Direction, Door, NetworkMode, Target};
use crate::domain::policy::{HostPattern, Subject};
use crate::domain::principal::Caller;
use crate::domain::reach;
use crate::domain::rejection::Rejection;
use crate::jail::network::{Listening, Network};
use crate::store::RequestKey;

impl SessionHandle {
    /// What its programs may reach, hosts that approvals added, open doors, open questions about hosts.
    pub fn network(&self) -> (NetworkMode, Vec<HostPattern>, Vec<Door>, Vec<ApprovalId>) {
        let view = self.net.view();
        let granted = self
            .net
            .grants(&view)
            .into_iter()
            .filter_map(|rule| match rule.on {
                Subject::ReachesOut(Some(host)) => Some(host),
                _ => None,
            });
        let open = view.questions.into_iter().filter(|one| one.answer.is_none());
        (
            view.mode,
            granted.collect(),
            view.doors,
            open.map(|one| one.approval_id).collect(),
        )
    }

    /// Lets its programs reach other things, from the next command on.
    pub async fn set_network(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        mode: NetworkMode,
    ) -> Result<Seq, Fault> {
        let wish = Wish {
            command: Command::ChooseNetwork { mode },
            caller,
            request,
            model: None,
            launch: None,
        };
        match self.actor.wish(wish).await? {
            Reply::Done { seq } => Ok(seq),
            _ => Ok(self.summary().head),
        }
    }

    /// The programs that listen in its jail, with the ports of this machine on which they are open.
    pub async fn ports(&self) -> Vec<(Listening, Option<u16>)> {
        let doors = self.net.view().doors;
        let local = |port| {
            let door = |door: &&Door| door.direction == Direction::Forward && door.port == port;
            doors.iter().find(door).map(|door| door.local_port)
        };
        let found = self.net.listening().await.into_iter();
        found.map(|one| (one.clone(), local(one.port))).collect()
    }

    /// Opens a port of its jail on this machine's loopback; 0: the same port where it is free.
    pub async fn forward(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        port: u16,
        local: u16,
    ) -> Result<(Door, Seq), Fault> {
        let (door, seq) = self.net.forward(caller, request, port, local).await?;
        Ok((door, seq.unwrap_or_else(|| self.summary().head)))
    }

    /// Asks for a port of this machine inside; the question, unless it is open.
    pub async fn request_host_port(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        port: u16,
    ) -> Result<(Option<ApprovalId>, Seq), Fault> {
        let (approval, seq) = self.net.request_host(caller, request, port).await?;
        Ok((approval, seq.unwrap_or_else(|| self.summary().head)))
    }

    /// Closes a door.
    pub async fn close_port(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        direction: Direction,
        port: u16,
    ) -> Result<Seq, Fault> {
        let seq = self.net.close(caller, request, direction, port).await?;
        Ok(seq.unwrap_or_else(|| self.summary().head))
    }
}

impl Net {
    /// Who listens inside.
    pub(super) async fn listening(&self) -> Vec<Listening> {
        match self.engine() {
            Some(engine) => engine.listening().await,
            None => Vec::new(),
        }
    }

    /// Opens a port of the jail here.
    pub(super) async fn forward(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        port: u16,
        local: u16,
    ) -> Result<(Door, Option<Seq>), Fault> {
        let same = |door: &Door| {
            door.direction == Direction::Forward
                && door.port == port
                && (local == 0 || door.local_port == local)
        };
        if let Some(door) = self.view.borrow().doors.iter().copied().find(same) {
            return Ok((door, None));
        }
        if self
            .view
            .borrow()
            .doors
            .iter()
            .any(|door| door.direction == Direction::Forward && door.port == port)
        {
            self.close(caller.clone(), None, Direction::Forward, port).await?;
        }
        let engine = self.engine().ok_or(Rejection::ShuttingDown)?;
        let local_port = engine
            .forward(port, local)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => Rejection::PortTaken(local),
                _ => Rejection::WrongState(format!("port {local} can't be opened here: {error}")),
            })?;
        let door = Door {
            direction: Direction::Forward,
            port,
            local_port,
        };
        match self.tell(Command::OpenPort { door }, caller, request).await {
            Ok(Reply::Done { seq }) => Ok((door, Some(seq))),
            Ok(_) => Ok((door, None)),
            Err(error) => {
                engine.close_forward(port, local_port);
                Err(error)
            }
        }
    }

    /// Closes a door.
    pub(super) async fn close(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        direction: Direction,
        port: u16,
    ) -> Result<Option<Seq>, Fault> {
        match self
            .tell(Command::ClosePort { direction, port }, caller, request)
            .await?
        {
            Reply::Done { seq } => Ok(Some(seq)),
            _ => Ok(None),
        }
    }

    /// Asks for a service of this machine, or opens it where that is granted. The question, where there is one.
    pub(super) async fn request_host(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        port: u16,
    ) -> Result<(Option<ApprovalId>, Option<Seq>), Fault> {
        reach::check_host_port(port)?;
        let target = Target::this_machine(port);
        let view = self.view();
        let door = reach::host_door(port);
        if view.doors.contains(&door) {
            return Ok((None, None));
        }
        let command = if network::is_granted(&self.grants(&view), &target) {
            Command::OpenPort { door }
        } else {
            let why = "programs inside can then use this service of your machine".to_owned();
            let summary = format!("reach port {port} of this machine");
            Command::AskHosts {
                approval: Box::new(question(
                    vec![target.clone()],
                    None,
                    (summary, String::new()),
                    why,
                    &view.persona,
                )),
            }
        };
        let asks = matches!(command, Command::AskHosts { .. });
        let reply = self.tell(command, caller, request).await?;
        let seq = match reply {
            Reply::Done { seq } => Some(seq),
            _ => None,
        };
        if !asks {
            return Ok((None, seq));
        }
        let mut view = self.view.clone();
        // Committed before the answer: the view has it, or has it in a moment.
        let found = view
            .wait_for(|view| view.questions.iter().any(|one| one.hosts.contains(&target)))
            .await;
        let id = found.ok().and_then(|view| {
            let one = view
                .questions
                .iter()
                .find(|one| one.hosts.contains(&target) && one.answer.is_none());
            one.map(|one| one.approval_id.clone())
        });
        Ok((id, seq))
    }
}

/// Opens and closes doors as the log says, from one daemon to the next; opens what a person approved.
pub(super) async fn keep(net: Weak<Net>, mut view: watch::Receiver<View>, engine: Arc<Network>) {
    let mut asked: Vec<(ApprovalId, u16)> = Vec::new();
    let mut known: Vec<Door> = Vec::new();
    loop {
        let now = view.borrow_and_update().clone();
        let (forwards, hosts) = engine.doors();
        let mut lost = Vec::new();
        for door in &now.doors {
            let opened = match door.direction {
                Direction::Forward if forwards.iter().any(|(port, _)| *port == door.port) => Ok(()),
                Direction::Forward => engine.forward(door.port, door.local_port).await.map(|_| ()),
                Direction::Host if hosts.contains(&door.port) => Ok(()),
                Direction::Host => engine.open_host(door.port).await,
            };
            if let Err(error) = opened {
                tracing::warn!(%error, %door, "a port could not be opened");
                lost.push(*door);
            }
        }
        // Only what was in the log before: one that is just being opened is not in it yet.
        for door in known.iter().filter(|door| !now.doors.contains(door)) {
            match door.direction {
                Direction::Forward => engine.close_forward(door.port, door.local_port),
                Direction::Host => engine.close_host(door.port).await,
            };
        }
        known.clone_from(&now.doors);
        let Some(me) = net.upgrade() else { return };
        for door in lost {
            // The session may be closing: then the doors are as well.
            let _closing = me
                .close(Caller::daemon(trace_id()), None, door.direction, door.port)
                .await;
        }
        asked.retain(|(id, port)| {
            let Some(answer) = now
                .questions
                .iter()
                .find(|one| one.approval_id == *id)
                .and_then(|one| one.answer.clone())
            else {
                return true;
            };
            if answer.verdict.approves() {
                let (me, door) = (me.clone(), reach::host_door(*port));
                tokio::spawn(async move {
                    let opened = me
                        .tell(Command::OpenPort { door }, Caller::daemon(trace_id()), None)
                        .await;
                    if let Err(error) = opened {
                        tracing::warn!(%error, %door, "an approved port could not be opened");
                    }
                });
            }
            false
        });
        for one in now.questions.iter().filter(|one| one.answer.is_none()) {
            if let Some(host) = one.hosts.iter().find(|host| host.is_this_machine())
                && !asked.iter().any(|(id, _)| *id == one.approval_id)
            {
                asked.push((one.approval_id.clone(), host.port()));
            }
        }
        drop(me);
        if view.changed().await.is_err() {
            return;
        }
    }
}
