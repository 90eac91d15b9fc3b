//! Owns: `agentctl personas` and `agentctl policies`.
//! Guarantees: a text is checked by the daemon before it replaces anything; what an editor left behind is never lost to a
//! mistake in it.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use agentd_proto::{escape, format, id, pb};
use serde_json::{Value, json};

use crate::args::{PersonasVerb, PoliciesVerb, PolicyTest};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::policy::{level, persona as persona_json, policy as policy_json, tested as tested_json};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::text;
use crate::time;

const PERSONAS: &[Column] = &[
    fixed("NAME", 9),
    flexible("POLICY", 5, 8),
    flexible("MODEL", 2, 8),
    flexible("FROM", 1, 8),
    flexible("WHAT", 3, 20),
];
const POLICIES: &[Column] = &[
    fixed("NAME", 9),
    fixed("RULES", 5),
    fixed("WALL", 9),
    flexible("FROM", 1, 8),
    flexible("WHAT", 3, 20),
];
const GRANTS: &[Column] = &[
    fixed("ID", 9),
    flexible("RULE", 8, 20),
    flexible("PROJECT", 4, 12),
    fixed("ENDS", 10),
    flexible("BY", 2, 10),
];
const MATCHES: &[Column] = &[
    flexible("SESSION", 4, 9),
    fixed("SEQ", 5),
    fixed("AGE", 6),
    flexible("WHAT", 8, 20),
];

/// What a list says of one: what is wrong with its file comes before what it is for.
fn said_of(problem: &str, description: &str) -> String {
    escape::line(if problem.is_empty() { description } else { problem })
}

/// `personas`.
pub(crate) async fn personas(context: &Context, verb: PersonasVerb) -> Result<u8, Failure> {
    match verb {
        PersonasVerb::List => {
            let all = context
                .client
                .list_personas(pb::ListPersonasRequest {})
                .await?
                .personas;
            let rows = all.iter().map(|one| {
                vec![
                    one.name.clone(),
                    text::or_unknown(&one.policy),
                    text::or_unknown(&one.model),
                    origin(one.built_in),
                    said_of(&one.problem, &one.description),
                ]
            });
            list(
                context,
                PERSONAS,
                rows.collect(),
                all.iter().map(persona_json).collect(),
            )
        }
        PersonasVerb::Show { name } => {
            let name = match name {
                Some(name) => name,
                None => context.target(None).await?.persona,
            };
            let persona = persona(context, &name).await?;
            let mut fields = vec![
                ("persona", persona.name.clone()),
                ("what", persona.description.clone()),
                ("policy", persona.policy.clone()),
                ("model", text::or_unknown(&persona.model)),
                (
                    "tools",
                    if persona.tools.is_empty() {
                        "all".to_owned()
                    } else {
                        persona.tools.join(", ")
                    },
                ),
                ("instructions", escape::line(&persona.instructions)),
                (
                    "from",
                    if persona.path.is_empty() {
                        "built in".to_owned()
                    } else {
                        persona.path.clone()
                    },
                ),
            ];
            if persona.turn_budget_micro_usd > 0 {
                fields.push((
                    "budget",
                    format!("{} a turn", format::money(Some(persona.turn_budget_micro_usd))),
                ));
            }
            if !persona.problem.is_empty() {
                fields.push(("problem", persona.problem.clone()));
            }
            text::document(&context.out, &fields, &persona_json(&persona))?;
            Ok(exit::OK)
        }
        PersonasVerb::New { name, from, file } => {
            let begin = persona(context, &from).await?.toml;
            keep(context, &name, &begin, file, true, true).await
        }
        PersonasVerb::Edit { name, file } => {
            let begin = persona(context, &name).await?;
            if begin.built_in {
                return Err(built_in(&name, "personas"));
            }
            keep(context, &name, &begin.toml, file, true, false).await
        }
        PersonasVerb::Rm { name } => {
            let request = pb::DeletePersonaRequest {
                request_id: id::request_id(),
                name: name.clone(),
            };
            context.client.delete_persona(request).await?;
            context.out.note(&format!(
                "the persona '{name}' is gone; sessions that have it keep it"
            ));
            Ok(exit::OK)
        }
    }
}

/// Gives a session another persona, policy or both.
pub(crate) async fn choose(
    context: &Context,
    session: &pb::Session,
    persona: &str,
    policy: &str,
) -> Result<pb::Session, Failure> {
    let request = pb::ChoosePersonaRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        persona: persona.to_owned(),
        policy: policy.to_owned(),
    };
    context
        .client
        .choose_persona(request)
        .await?
        .session
        .ok_or_else(empty_answer)
}

/// `policies`.
pub(crate) async fn policies(context: &Context, verb: PoliciesVerb) -> Result<u8, Failure> {
    match verb {
        PoliciesVerb::List { grants: true, all } => grants(context, all).await,
        PoliciesVerb::List { .. } => {
            let all = context
                .client
                .list_policies(pb::ListPoliciesRequest {})
                .await?
                .policies;
            let rows = all.iter().map(|one| {
                vec![
                    one.name.clone(),
                    one.rules.len().to_string(),
                    wall(one.read_only).to_owned(),
                    origin(one.built_in),
                    said_of(&one.problem, &one.description),
                ]
            });
            list(
                context,
                POLICIES,
                rows.collect(),
                all.iter().map(policy_json).collect(),
            )
        }
        PoliciesVerb::Show { name } => show(context, name).await,
        PoliciesVerb::Test(args) => test(context, args).await,
        PoliciesVerb::Edit { name, file } => {
            let found = get_policy(context, &name, "").await;
            let (begin, create) = match found {
                Ok(policy) if policy.built_in => return Err(built_in(&name, "policies")),
                Ok(policy) => (policy.toml, false),
                Err(failure) if failure.code == "policy_not_found" => {
                    (get_policy(context, "ask", "").await?.toml, true)
                }
                Err(failure) => return Err(failure),
            };
            keep(context, &name, &begin, file, false, create).await
        }
        PoliciesVerb::Rm { name } => {
            let request = pb::DeletePolicyRequest {
                request_id: id::request_id(),
                name: name.clone(),
            };
            context.client.delete_policy(request).await?;
            context.out.note(&format!(
                "the policy '{name}' is gone; sessions that have it keep it"
            ));
            Ok(exit::OK)
        }
        PoliciesVerb::Revoke { grants } => {
            for grant_id in grants {
                let request = pb::RevokeGrantRequest {
                    request_id: id::request_id(),
                    grant_id,
                };
                if let Some(grant) = context.client.revoke_grant(request).await?.grant {
                    let rule = escape::line(&grant.rule);
                    context
                        .out
                        .note(&format!("{} counts no longer: {rule}", grant.grant_id));
                }
            }
            Ok(exit::OK)
        }
    }
}

async fn show(context: &Context, name: Option<String>) -> Result<u8, Failure> {
    let policy = match name {
        Some(name) => get_policy(context, &name, "").await?,
        None => {
            let session = context.target(None).await?;
            get_policy(context, "", &session.session_id).await?
        }
    };
    let checks = policy
        .checks
        .iter()
        .map(|check| format!("{} {}", check.name, level(check.level())));
    let mut fields = vec![
        ("policy", policy.name.clone()),
        ("what", policy.description.clone()),
        ("workspace", wall(policy.read_only).to_owned()),
        ("checks", checks.collect::<Vec<_>>().join(", ")),
    ];
    if policy.approval_expires_seconds > 0 {
        let after = std::time::Duration::from_secs(policy.approval_expires_seconds);
        fields.push((
            "expires",
            format!("questions are denied after {}", format::duration(after)),
        ));
    }
    if !policy.path.is_empty() {
        fields.push(("from", policy.path.clone()));
    }
    if !policy.problem.is_empty() {
        fields.push(("problem", policy.problem.clone()));
    }
    text::document(&context.out, &fields, &policy_json(&policy))?;
    if context.out.is_json() {
        return Ok(exit::OK);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        let project = u32::try_from(index).is_ok_and(|index| policy.project_rules.contains(&index));
        let from = if project { "   (the project's)" } else { "" };
        context
            .out
            .line(&format!("  {}. {}{from}", index + 1, escape::line(rule)))?;
    }
    context.out.line("  otherwise ask")?;
    for what in &policy.ignored {
        context
            .out
            .warning(&format!("ignored in .agentd/policy.toml: {}", escape::line(what)));
    }
    Ok(exit::OK)
}

async fn test(context: &Context, args: PolicyTest) -> Result<u8, Failure> {
    let command = String::from_utf8_lossy(&crate::quote::script(&args.command)).into_owned();
    if command.is_empty() && args.writes.is_empty() {
        return Err(
            Failure::usage("no command to test").next("agentctl policies test -- git push origin main")
        );
    }
    let by_name = !args.policy.is_empty() || !args.persona.is_empty();
    let session_id = match &context.global.session {
        Some(session) if !by_name => context.session(session).await?.session_id,
        _ => String::new(),
    };
    let workspace = if args.here {
        context.workspace()?.root
    } else {
        String::new()
    };
    let request = pb::TestPolicyRequest {
        session_id,
        policy: args.policy,
        persona: args.persona,
        command,
        paths: args.writes,
        rule: args.rule,
        history: args.history,
        workspace,
    };
    let tested = context.client.test_policy(request).await?;
    let mut fields = vec![
        ("verdict", tested.verdict.clone()),
        ("decided by", format!("{} ({})", tested.rule, tested.origin)),
    ];
    if !tested.why.is_empty() {
        fields.push(("why", tested.why.clone()));
    }
    if !tested.compound_why.is_empty() {
        fields.push((
            "compound",
            format!("no rule with a pattern can allow it: {}", tested.compound_why),
        ));
    }
    for part in &tested.parts {
        fields.push((
            "part",
            format!(
                "{}: {} by {} ({})",
                part.part, part.verdict, part.rule, part.origin
            ),
        ));
    }
    for warning in &tested.warnings {
        fields.push(("warns", warning.clone()));
    }
    for rule in &tested.offered_rules {
        fields.push(("offers", rule.clone()));
    }
    if !tested.history_rule.is_empty() {
        let matches = if tested.rule_matches {
            "matches"
        } else {
            "does not match"
        };
        fields.push(("rule", format!("{} {matches} this call", tested.history_rule)));
        fields.push((
            "history",
            format!(
                "{} of the last {} calls",
                tested.history_matched, tested.history_seen
            ),
        ));
    }
    text::document(&context.out, &fields, &tested_json(&tested))?;
    if !context.out.is_json() && !tested.matches.is_empty() {
        let rows = tested.matches.iter().map(|one| {
            vec![
                one.session_name.clone(),
                one.seq.to_string(),
                format::age(time::age(one.time)),
                escape::line(&one.summary),
            ]
        });
        table::print(&context.out, MATCHES, &rows.collect::<Vec<_>>())?;
    }
    Ok(exit::OK)
}

async fn grants(context: &Context, all: bool) -> Result<u8, Failure> {
    let request = pb::ListGrantsRequest {
        workspace: String::new(),
        include_ended: all,
    };
    let grants = context.client.list_grants(request).await?.grants;
    let rows = grants.iter().map(|grant| {
        let ends = if grant.revoke_time.is_some() {
            "taken back".to_owned()
        } else {
            time::date_and_clock(grant.expire_time)
        };
        vec![
            grant.grant_id.clone(),
            escape::line(&grant.rule),
            grant.workspace.clone(),
            ends,
            grant.granted_by.clone(),
        ]
    });
    let values = grants.iter().map(|grant| {
        json!({"grant_id": grant.grant_id, "rule": grant.rule, "workspace": grant.workspace,
            "principal": grant.principal, "create_time": time::rfc3339(grant.create_time),
            "expire_time": time::rfc3339(grant.expire_time), "granted_by": grant.granted_by,
            "approval_id": grant.approval_id, "revoke_time": time::rfc3339(grant.revoke_time)})
    });
    list(context, GRANTS, rows.collect(), values.collect())
}

/// Sends a text to be kept: from a file, or from the editor, where a mistake leaves the draft behind.
async fn keep(
    context: &Context,
    name: &str,
    begin: &str,
    file: Option<String>,
    persona: bool,
    create: bool,
) -> Result<u8, Failure> {
    let (toml, draft) = match file.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| unread("standard input", &error))?;
            (text, None)
        }
        Some(path) => (
            std::fs::read_to_string(path).map_err(|error| unread(path, &error))?,
            None,
        ),
        None => {
            let (text, draft) = edited(context, name, begin)?;
            (text, Some(draft))
        }
    };
    let sent = if persona {
        let request = pb::SavePersonaRequest {
            request_id: id::request_id(),
            name: name.to_owned(),
            toml,
            create,
        };
        context.client.save_persona(request).await.map(|_| ())
    } else {
        let request = pb::SavePolicyRequest {
            request_id: id::request_id(),
            name: name.to_owned(),
            toml,
            create,
        };
        context.client.save_policy(request).await.map(|_| ())
    };
    if let Err(error) = sent {
        let mut failure = Failure::from(error);
        if let Some(draft) = draft {
            failure
                .next
                .insert(0, format!("your text is kept in {}", draft.display()));
        }
        return Err(failure);
    }
    if let Some(draft) = draft {
        // A draft left behind harms nobody.
        drop(std::fs::remove_file(draft));
    }
    let (noun, verb) = if persona {
        ("persona", "personas")
    } else {
        ("policy", "policies")
    };
    context.out.note(&format!(
        "the {noun} '{name}' is kept · agentctl {verb} show {name}"
    ));
    Ok(exit::OK)
}

/// What the person made of a text in their editor, and where that stands.
fn edited(context: &Context, name: &str, begin: &str) -> Result<(String, PathBuf), Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
    let Some(editor) = editor.filter(|_| context.can_ask()) else {
        return Err(Failure::usage("editing needs a terminal and EDITOR")
            .next("take a file: --file FILE, or --file -"));
    };
    let path = std::env::temp_dir().join(format!("agentctl-{name}-{}.toml", std::process::id()));
    std::fs::write(&path, begin).map_err(|error| unread(&path.display().to_string(), &error))?;
    // EDITOR may have arguments, so a shell reads it; the path stays one word.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&path)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(Failure::new(exit::FAILED, "editor_failed", "the editor failed")
            .next(format!("your text is kept in {}", path.display())));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unread(&path.display().to_string(), &error))?;
    Ok((text, path))
}

fn unread(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        exit::FAILED,
        "file_unreadable",
        format!("{}: {error}", escape::line(what)),
    )
    .next("name another --file")
}

fn built_in(name: &str, verb: &str) -> Failure {
    let make = if verb == "personas" {
        format!("agentctl personas new my-{name} --from {name}")
    } else {
        format!("agentctl policies edit my-{name}   (base = \"{name}\")")
    };
    Failure::usage(format!("'{name}' is built in and stays as it is")).next(make)
}

async fn persona(context: &Context, name: &str) -> Result<pb::Persona, Failure> {
    let request = pb::GetPersonaRequest {
        name: name.to_owned(),
    };
    context
        .client
        .get_persona(request)
        .await?
        .persona
        .ok_or_else(empty_answer)
}

async fn get_policy(context: &Context, name: &str, session_id: &str) -> Result<pb::Policy, Failure> {
    let request = pb::GetPolicyRequest {
        name: name.to_owned(),
        session_id: session_id.to_owned(),
    };
    context
        .client
        .get_policy(request)
        .await?
        .policy
        .ok_or_else(empty_answer)
}

fn list(
    context: &Context,
    columns: &[Column],
    rows: Vec<Vec<String>>,
    values: Vec<Value>,
) -> Result<u8, Failure> {
    if context.out.is_json() {
        context.out.json_list(values)?;
    } else {
        table::print(&context.out, columns, &rows)?;
    }
    Ok(exit::OK)
}

fn origin(built_in: bool) -> String {
    if built_in { "built in" } else { "yours" }.to_owned()
}

fn wall(read_only: bool) -> &'static str {
    if read_only { "read-only" } else { "writable" }
}
