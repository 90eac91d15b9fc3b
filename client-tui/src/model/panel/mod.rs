//! Owns: the panels over a view: about a session, and what decides in all of them; as rows with what can be done.
//! Guarantees: texts of rows hold nothing that steers a terminal.

mod budgets;
mod daemon;
mod network;
mod policies;
mod session;

use agentd_proto::escape::line as clean;
use agentd_proto::pb;

pub(crate) use policies::{Draft, Named, Trial};
pub(crate) use session::plan_line;

/// Beside the choice that is in force.
pub(crate) const IN_FORCE: &str = "now";

/// What is told to have failed when a persona or policy was not taken.
pub(crate) const SAVE: &str = "save";

/// Gives a moment as people read it.
pub(crate) type Clock<'a> = &'a dyn Fn(Option<prost_types::Timestamp>) -> String;

/// Which panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    About,
    Context,
    Jobs,
    Network,
    Models,
    Audit,
    Personas,
    Policies,
    /// What was granted to projects.
    Grants,
    /// Limits on spending, and what was told of them.
    Budgets,
    /// Which rule decides about a call.
    Trial,
    /// How the daemon is, and its checks.
    Daemon,
    /// What works in a jail on the session's workspace.
    Project,
}

impl Panel {
    /// Its name.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::Context => "context",
            Self::Jobs => "background jobs",
            Self::Network => "network",
            Self::Models => "models",
            Self::Audit => "what it did",
            Self::Personas => "personas",
            Self::Policies => "policies",
            Self::Grants => "granted to projects",
            Self::Budgets => "budgets",
            Self::Trial => "which rule decides",
            Self::Daemon => "daemon",
            Self::Project => "project in the jail",
        }
    }

    /// True for those whose rows are of the session alone.
    pub(crate) fn is_about_one(self) -> bool {
        self.needs_session() && self != Self::Models
    }

    /// True for those that say nothing without a session.
    pub(crate) fn needs_session(self) -> bool {
        !matches!(
            self,
            Self::Personas | Self::Policies | Self::Grants | Self::Budgets | Self::Trial | Self::Daemon
        )
    }
}

/// A panel on the screen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) what: Panel,
    /// Empty where none is chosen and none is needed.
    pub(crate) session_id: String,
    /// What the panel of trials tries.
    pub(crate) trial: Trial,
    /// `None` until the daemon has answered.
    pub(crate) rows: Option<Vec<Row>>,
    pub(crate) selected: usize,
}

impl View {
    /// The daemon did not answer with rows: why, and what can be done instead.
    pub(crate) fn failed(&mut self, why: &str) {
        let mut rows = vec![Row::bad(why)];
        if self.what == Panel::Trial {
            let again = Row::field("command", &self.trial.command);
            rows.push(again.can(Deed::AskTry(self.trial.clone())));
            let rule = Row::field("rule", &self.trial.rule);
            rows.push(rule.can(Deed::AskRule(self.trial.clone())));
        }
        self.selected = rows.len() - 1;
        self.rows = Some(rows);
    }
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Heading,
    Plain,
    Dim,
    Bad,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) left: String,
    pub(crate) right: String,
    pub(crate) tone: Tone,
    /// What can be done with it, at most one deed for each hand.
    pub(crate) deeds: Vec<Deed>,
}

/// What can be done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// With what the summary should keep in mind.
    Compact(String),
    EndJob {
        exec_id: String,
    },
    Network(pb::NetworkMode),
    /// A port of the jail on this machine: inside and here; 0: any.
    Forward(u32, u32),
    /// A service of this machine inside the jail.
    HostPort(u32),
    Close(pb::PortDirection, u32),
    /// Asks for a port to forward.
    AskForward,
    /// Asks for a port of this machine.
    AskHostPort,
    Model(String),
    /// Gives it to the session.
    Choose(Named, String),
    /// Opens the person's editor on it.
    Edit(Draft),
    /// Asks for the name of a copy, then as `Edit`.
    AskCopy(Draft),
    /// Hands the daemon what was written.
    Save(Draft),
    /// Asks for its name first.
    AskRemove(Named, String),
    Remove(Named, String),
    /// Takes a grant back.
    Revoke(String),
    /// Asks for a budget.
    AskBudget,
    /// Makes one: a limit and what it counts over.
    Budget(String),
    /// Gives one twice the room.
    Raise(String),
    /// Takes one away.
    DropBudget(String),
    /// Marks what was told as seen.
    Seen(String),
    Try(Trial),
    /// Asks which call to try.
    AskTry(Trial),
    /// Asks which rule to look at.
    AskRule(Trial),
}

/// Which key a deed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hand {
    Take,
    /// For what takes something away.
    End,
    Edit,
    Try,
}

impl Hand {
    /// In the order in which a title names them.
    pub(crate) const ALL: [Self; 4] = [Self::Take, Self::Edit, Self::Try, Self::End];
}

impl Deed {
    /// The key that does it.
    pub(crate) fn hand(&self) -> Hand {
        match self {
            Self::EndJob { .. }
            | Self::Close(..)
            | Self::AskRemove(..)
            | Self::Remove(..)
            | Self::Revoke(_)
            | Self::DropBudget(_) => Hand::End,
            Self::Edit(_) | Self::AskCopy(_) | Self::Save(_) => Hand::Edit,
            Self::AskTry(_) => Hand::Try,
            _ => Hand::Take,
        }
    }

    /// What the key does, for the panel's title.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Compact(_) => "compacts it",
            Self::EndJob { .. } => "ends it",
            Self::Network(_) => "chooses it",
            Self::Forward(..) => "opens it on this machine",
            Self::HostPort(_) => "asks for it",
            Self::Close(..) => "closes it",
            Self::AskForward | Self::AskHostPort => "asks which port",
            Self::Model(_) => "takes it for the next message",
            Self::Choose(..) => "gives it to the session",
            Self::Edit(_) => "edits it",
            Self::AskCopy(_) => "copies it",
            Self::Save(_) => "saves it",
            Self::AskRemove(..) | Self::Remove(..) => "removes it",
            Self::Revoke(_) => "takes it back",
            Self::AskBudget | Self::Budget(_) => "makes one",
            Self::Raise(_) => "gives it twice the room",
            Self::DropBudget(_) => "takes it away",
            Self::Seen(_) => "marks it as seen",
            Self::Try(_) | Self::AskTry(_) => "tries a command",
            Self::AskRule(_) => "looks at a rule",
        }
    }

    /// True for what only looks: it is there for readers, too.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::Try(_) | Self::AskTry(_) | Self::AskRule(_))
    }
}

/// What the daemon said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    About(Box<pb::Session>, Box<pb::GetContextResponse>),
    Context(Box<pb::GetContextResponse>),
    Jobs(Vec<pb::Job>),
    Network {
        network: Box<pb::GetNetworkResponse>,
        ports: Vec<pb::ListeningPort>,
        connections: Vec<pb::RecordedConnection>,
    },
    Models(Vec<pb::Model>),
    Audit(Box<pb::AuditSessionResponse>),
    Personas {
        personas: Vec<pb::Persona>,
        /// That of the session.
        chosen: String,
        /// Whether there is a session to give one to.
        session: bool,
    },
    Policies {
        policies: Vec<pb::Policy>,
        /// What is in force in the session.
        in_force: Option<Box<pb::Policy>>,
    },
    Grants {
        counting: Vec<pb::ProjectGrant>,
        ended: Vec<pb::ProjectGrant>,
    },
    Budgets {
        budgets: Vec<pb::BudgetStanding>,
        alerts: Vec<pb::Alert>,
    },
    Trial(Box<Trial>, Box<pb::TestPolicyResponse>),
    Daemon(Box<pb::GetStatusResponse>, Vec<pb::Finding>),
    Project {
        workspace: String,
        found: Box<pb::CheckProjectResponse>,
    },
}

impl Data {
    /// Which panel it is for.
    pub(crate) fn panel(&self) -> Panel {
        match self {
            Self::About(..) => Panel::About,
            Self::Context(_) => Panel::Context,
            Self::Jobs(_) => Panel::Jobs,
            Self::Network { .. } => Panel::Network,
            Self::Models(_) => Panel::Models,
            Self::Audit(_) => Panel::Audit,
            Self::Personas { .. } => Panel::Personas,
            Self::Policies { .. } => Panel::Policies,
            Self::Grants { .. } => Panel::Grants,
            Self::Budgets { .. } => Panel::Budgets,
            Self::Trial(..) => Panel::Trial,
            Self::Daemon(..) => Panel::Daemon,
            Self::Project { .. } => Panel::Project,
        }
    }

    /// As rows.
    pub(crate) fn rows(&self, clock: Clock<'_>) -> Vec<Row> {
        match self {
            Self::About(session, context) => session::about(session, context, clock),
            Self::Context(context) => session::filling(context),
            Self::Jobs(jobs) => session::running(jobs, clock),
            Self::Network {
                network,
                ports,
                connections,
            } => network::reaching(network, ports, connections, clock),
            Self::Models(models) => session::choosing(models),
            Self::Audit(audit) => session::done(audit, clock),
            Self::Personas {
                personas,
                chosen,
                session,
            } => policies::personas(personas, chosen, *session),
            Self::Policies { policies, in_force } => policies::policies(policies, in_force.as_deref()),
            Self::Grants { counting, ended } => policies::grants(counting, ended, clock),
            Self::Budgets { budgets, alerts } => budgets::standing(budgets, alerts, clock),
            Self::Trial(trial, tested) => policies::trial(trial, tested, clock),
            Self::Daemon(status, findings) => daemon::health(status, findings, clock),
            Self::Project { workspace, found } => daemon::project(workspace, found),
        }
    }

    /// True when the daemon holds this text of a persona or policy.
    pub(crate) fn holds(&self, draft: &Draft) -> bool {
        let same = |name: &str, toml: &str| name == draft.name && toml.trim() == draft.toml.trim();
        match (self, draft.what) {
            (Self::Personas { personas, .. }, Named::Persona) => {
                personas.iter().any(|one| same(&one.name, &one.toml))
            }
            (Self::Policies { policies, .. }, Named::Policy) => {
                policies.iter().any(|one| same(&one.name, &one.toml))
            }
            _ => false,
        }
    }
}

impl Row {
    fn new(left: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            left: left.into(),
            right: right.into(),
            tone: Tone::Plain,
            deeds: Vec::new(),
        }
    }

    fn heading(words: impl Into<String>) -> Self {
        Self::new(words, "").toned(Tone::Heading)
    }

    fn dim(words: impl Into<String>) -> Self {
        Self::new(words, "").toned(Tone::Dim)
    }

    fn bad(words: impl Into<String>) -> Self {
        Self::new(words, "").toned(Tone::Bad)
    }

    fn field(name: &str, value: impl AsRef<str>) -> Self {
        Self::new(format!("{name:<11} {}", clean(value.as_ref())), "")
    }

    fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    fn can(mut self, deed: Deed) -> Self {
        self.deeds.push(deed);
        self
    }
}
