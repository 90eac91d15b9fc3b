//! Owns: what a session works by: finding it, choosing another, saying what it would decide, and what was granted.
//! Guarantees: a session keeps what it was given until somebody chooses; nothing runs to find out what would be decided.

use std::path::{Component, Path, PathBuf};

use super::Supervisor;
use crate::clock::now_us;
use crate::domain::approval::ProjectGrant;
use crate::domain::event::{Event, EventBody, Origin};
use crate::domain::id::{GrantId, Seq};
use crate::domain::persona::Persona;
use crate::domain::policy::{self, CallFacts, CheckLevel, Judged, Policy, Rule};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Summary, clip};
use crate::domain::tool::Effect;
use crate::personas::Personas;
use crate::session::{self, Fault, SessionHandle};
use crate::store::RequestKey;
use crate::workspace::protected;

use super::create::NewSession;

/// Calls of the past that are looked at unless more are asked for.
const HISTORY: u32 = 500;
/// The most.
const HISTORY_MAX: u32 = 5000;
/// Matches that are shown.
const SHOWN: usize = 20;

/// What a new session works by, and what its project asked for and did not get.
pub(super) struct Orders {
    pub(super) persona: Persona,
    notices: Vec<String>,
}

impl Orders {
    /// The facts that stand behind SessionCreated; none for what every session has.
    pub(super) fn events(&self) -> impl Iterator<Item = EventBody> {
        let chosen = (self.persona != Persona::usual()).then(|| EventBody::PersonaChosen {
            persona: std::sync::Arc::new(self.persona.clone()),
            generation: 1,
        });
        let notices: Vec<EventBody> = self.notices.iter().map(|message| notice(message)).collect();
        chosen.into_iter().chain(notices)
    }
}

fn notice(message: &str) -> EventBody {
    EventBody::NoticeRecorded {
        code: "project_policy".into(),
        message: message.to_owned(),
    }
}

/// A call to be judged.
pub struct PolicyTest {
    /// As this session would; empty: by `policy` or `persona`.
    pub session: String,
    /// By this policy.
    pub policy: String,
    /// By this persona.
    pub persona: String,
    /// Shell text.
    pub command: String,
    /// Paths to be written.
    pub paths: Vec<String>,
    /// A rule to look at instead of the deciding one.
    pub rule: String,
    /// Calls of the past to look at; 0: the usual number.
    pub history: u32,
    /// Only of sessions on this directory; empty: all.
    pub workspace: String,
}

/// What was decided about it.
pub struct Tested {
    /// The policy it was judged by.
    pub policy: Policy,
    /// The judgement.
    pub judged: Judged,
    /// `None`: it is one plain command; else why not; empty without a command.
    pub compound_why: Option<String>,
    /// The rules an approval would offer.
    pub offered: Vec<String>,
    /// The rule that was looked at in history.
    pub rule: Option<Rule>,
    /// Whether it matches the call.
    pub rule_matches: bool,
    /// Calls of the past that were looked at.
    pub seen: u32,
    /// Those it matches.
    pub matched: u32,
    /// The newest of these: session, seq, time, summary.
    pub matches: Vec<(Summary, Seq, i64, String)>,
}

impl Supervisor {
    /// The personas and policies there are.
    pub fn personas(&self) -> &Personas {
        &self.0.defaults.personas
    }

    /// What a session to be made works by.
    pub(super) fn orders(&self, wish: &NewSession, root: &Path) -> Result<Orders, Fault> {
        let name = if wish.persona.is_empty() {
            &self.0.defaults.persona
        } else {
            &wish.persona
        };
        match self.personas().resolve(name, &wish.policy, root) {
            Ok((persona, ignored)) => {
                let notices = look_at(&persona)?.into_iter().chain(
                    ignored
                        .iter()
                        .map(|what| format!("{}: ignored: {what}", crate::personas::PROJECT_FILE)),
                );
                Ok(Orders {
                    notices: notices.collect(),
                    persona,
                })
            }
            // Commands of people are not judged: a project's broken file must not keep them from their shell. Should
            // the session work with a model later, it asks about everything until a persona is chosen.
            Err(Rejection::PolicyInvalid { message, .. }) if wish.origin == Origin::Shell => Ok(Orders {
                persona: Persona {
                    policy: Policy::default(),
                    ..Persona::usual()
                },
                notices: vec![format!(
                    "everything the agent wants is asked about, since {message}"
                )],
            }),
            Err(no) => Err(no.into()),
        }
    }

    /// Gives a session another persona, policy, or both.
    pub async fn choose_persona(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        session: &str,
        persona: &str,
        policy: &str,
    ) -> Result<(SessionHandle, Seq), Fault> {
        let handle = self.find(session, &caller).await?;
        let summary = handle.summary();
        let name = if persona.is_empty() {
            &summary.in_force.persona
        } else {
            persona
        };
        let root = &summary.spec.workspace.root;
        let (persona, ignored) = self.personas().resolve(name, policy, root)?;
        let said = look_at(&persona)?;
        let model = persona.model.as_ref().map(|name| self.model_ref(name));
        let seq = handle
            .choose_persona(caller.clone(), request, persona, model)
            .await?;
        if seq > summary.head {
            for what in ignored {
                let message = format!("{}: ignored: {what}", crate::personas::PROJECT_FILE);
                handle.notice(caller.clone(), "project_policy", &message).await;
            }
            for message in said {
                handle
                    .notice(caller.clone(), "check_hidden_unicode", &message)
                    .await;
            }
        }
        Ok((handle, seq))
    }

    /// What is in force in a session, and what its project asks for and does not get.
    pub async fn policy_of(&self, session: &str, caller: &Caller) -> Result<(Policy, Vec<String>), Fault> {
        let handle = self.find(session, caller).await?;
        let summary = handle.summary();
        let (persona, _) = handle.in_force().await?;
        let fresh = self
            .personas()
            .persona(&persona.name)
            .ok()
            .and_then(|entry| entry.read.ok());
        let project = self
            .personas()
            .project(&summary.spec.workspace.root)
            .ok()
            .flatten();
        let ignored = match (fresh, project) {
            (Some(mut fresh), Some(project)) => fresh.tighten(&project),
            _ => Vec::new(),
        };
        Ok((persona.policy.clone(), ignored))
    }

    /// Says what would be decided about a call, and what a rule matches in history.
    pub async fn test_policy(&self, wish: PolicyTest, caller: &Caller) -> Result<Tested, Fault> {
        let (policy, grants) = self.judge_of(&wish, caller).await?;
        let mut call = call_of(&wish, self.to_write(&wish, caller).await?)?;
        call.root = self.root_of(&wish, caller).await?;
        let judged = policy::judge(&policy, &grants, &call);
        let reading = call.command.as_deref().map(policy::Reading::of);
        let rule =
            if wish.rule.is_empty() {
                match &judged.by {
                    policy::By::Rule(index) => policy.rules.get(*index).map(|rule| rule.line.clone()),
                    policy::By::Grant(rule) => Some(rule.clone()),
                    policy::By::Check(_) | policy::By::ReadOnly | policy::By::Default => None,
                }
            } else {
                let rule = wish.rule.parse::<Rule>();
                Some(rule.map_err(|error| {
                    Rejection::RuleInvalid(format!("'{}', {error}", clip(&wish.rule, 200)))
                })?)
            };
        let mut tested = Tested {
            compound_why: reading
                .as_ref()
                .filter(|reading| reading.plain().is_none())
                .map(|reading| reading.why_not_plain().1),
            // What is denied is not asked about: nobody is offered anything.
            offered: policy::offer(&call)
                .ok()
                .filter(|_| !matches!(judged.decision, policy::Decision::Deny { .. }))
                .unwrap_or_default()
                .iter()
                .map(ToString::to_string)
                .collect(),
            rule_matches: rule.as_ref().is_some_and(|rule| policy::touches(rule, &call)),
            seen: 0,
            matched: 0,
            matches: Vec::new(),
            policy,
            judged,
            rule,
        };
        if let Some(rule) = tested.rule.clone() {
            let limit = if wish.history == 0 {
                HISTORY
            } else {
                wish.history.min(HISTORY_MAX)
            };
            let workspace = Some(wish.workspace).filter(|workspace| !workspace.is_empty());
            self.past(&mut tested, &rule, workspace, limit).await?;
        }
        Ok(tested)
    }

    /// The workspace in question; empty where none is named.
    async fn root_of(&self, wish: &PolicyTest, caller: &Caller) -> Result<PathBuf, Fault> {
        Ok(match wish.session.as_str() {
            "" => PathBuf::from(&wish.workspace),
            session => self.find(session, caller).await?.summary().spec.workspace.root,
        })
    }

    /// The files that the paths in question lead to.
    async fn to_write(&self, wish: &PolicyTest, caller: &Caller) -> Result<Vec<PathBuf>, Fault> {
        let paths = wish.paths.clone();
        Ok(if paths.is_empty() {
            Vec::new()
        } else if !wish.session.is_empty() {
            self.find(&wish.session, caller).await?.to_write(paths).await?
        } else if wish.workspace.is_empty() {
            paths.iter().map(|path| plain(Path::new(path))).collect()
        } else {
            session::to_write_in(PathBuf::from(&wish.workspace), paths).await?
        })
    }

    async fn judge_of(&self, wish: &PolicyTest, caller: &Caller) -> Result<(Policy, Vec<Rule>), Fault> {
        if !wish.session.is_empty() {
            if !wish.policy.is_empty() || !wish.persona.is_empty() {
                return Err(Rejection::InvalidArgument(
                    "a session has its policy: name one or the other".into(),
                )
                .into());
            }
            let handle = self.find(&wish.session, caller).await?;
            let (persona, grants) = handle.in_force().await?;
            return Ok((persona.policy.clone(), grants));
        }
        let persona = if wish.persona.is_empty() {
            &self.0.defaults.persona
        } else {
            &wish.persona
        };
        let workspace = Path::new(&wish.workspace);
        let (persona, _) = self.personas().resolve(persona, &wish.policy, workspace)?;
        Ok((persona.policy, Vec::new()))
    }

    async fn past(
        &self,
        tested: &mut Tested,
        rule: &Rule,
        workspace: Option<String>,
        limit: u32,
    ) -> Result<(), Fault> {
        for event in self.0.store.recent_calls(workspace, limit).await? {
            let Some((call, summary)) = call_in(&event) else {
                continue;
            };
            tested.seen = tested.seen.saturating_add(1);
            if !policy::touches(rule, &call) {
                continue;
            }
            tested.matched = tested.matched.saturating_add(1);
            if tested.matches.len() < SHOWN
                && let Some(session) = self.0.store.session(&event.session_id).await?
            {
                tested.matches.push((session, event.seq, event.time_us, summary));
            }
        }
        Ok(())
    }

    /// What was granted to projects, newest first.
    pub async fn project_grants(&self, workspace: &str, ended: bool) -> Result<Vec<ProjectGrant>, Fault> {
        let now = now_us();
        let mut grants = self.0.store.project_grants().await?;
        grants.retain(|grant| {
            let counts = grant.revoked_us.is_none() && grant.expires_us > now;
            (ended || counts) && (workspace.is_empty() || grant.workspace == workspace)
        });
        Ok(grants)
    }

    /// Takes a grant back.
    pub async fn revoke_grant(&self, text: &str) -> Result<ProjectGrant, Fault> {
        let missing = || Rejection::GrantNotFound(clip(text, 80));
        if text.parse::<GrantId>().is_err() {
            return Err(missing().into());
        }
        let all = self.0.store.project_grants().await?;
        let mut found = all
            .iter()
            .filter(|grant| grant.grant_id.as_str().starts_with(text));
        let grant = found.next().ok_or_else(missing)?;
        if found.next().is_some() {
            return Err(Rejection::InvalidArgument(format!("'{text}' matches several grants")).into());
        }
        let now = now_us();
        self.0.store.revoke_grant(grant.grant_id.clone(), now).await?;
        self.0.settings.grants.load(&self.0.store).await?;
        Ok(ProjectGrant {
            revoked_us: grant.revoked_us.or(Some(now)),
            ..grant.clone()
        })
    }
}

/// What the check on hidden characters says of a persona's instructions.
fn look_at(persona: &Persona) -> Result<Vec<String>, Rejection> {
    let name = format!("the persona '{}'", persona.name);
    let Some(found) = policy::hidden_unicode(&name, &persona.instructions) else {
        return Ok(Vec::new());
    };
    match persona.policy.checks.hidden_unicode {
        CheckLevel::Off => Ok(Vec::new()),
        CheckLevel::Warn => Ok(vec![found.why]),
        CheckLevel::Ask | CheckLevel::Deny => Err(Rejection::PolicyInvalid {
            message: found.why,
            hints: vec![format!("agentctl personas edit {}", persona.name)],
        }),
    }
}

/// A path without dots and doubled slashes: as far as it goes where no directory is named.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// The call that was asked about.
fn call_of(wish: &PolicyTest, paths: Vec<PathBuf>) -> Result<CallFacts, Rejection> {
    if !wish.command.is_empty() {
        return Ok(CallFacts {
            tool: "exec".into(),
            effects: vec![Effect::Reads, Effect::Writes, Effect::Executes],
            command: Some(wish.command.clone()),
            ..CallFacts::default()
        });
    }
    if paths.is_empty() {
        return Err(Rejection::InvalidArgument("name a command or a path".into()));
    }
    let protected = paths.iter().filter_map(|path| {
        protected(path).map(|why| policy::ProtectedPath {
            path: path.clone(),
            why: why.to_owned(),
        })
    });
    Ok(CallFacts {
        tool: "write".into(),
        effects: vec![Effect::Writes],
        protected: protected.collect(),
        paths: paths.clone(),
        ..CallFacts::default()
    })
}

/// A call as the log has it.
fn call_in(event: &Event) -> Option<(CallFacts, String)> {
    let EventBody::ToolCallStarted {
        call,
        summary,
        effects,
        ..
    } = &event.body
    else {
        return None;
    };
    let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    let text = |field: &str| {
        arguments
            .get(field)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let command = text("command").filter(|_| effects.contains(&Effect::Executes));
    let paths = text("path").filter(|_| effects.contains(&Effect::Writes) && command.is_none());
    let facts = CallFacts {
        tool: call.tool.clone(),
        effects: effects.clone(),
        command,
        paths: paths.into_iter().map(Into::into).collect(),
        ..CallFacts::default()
    };
    Some((facts, summary.clone()))
}
