//! Owns: `agentctl models`: list and test.

use agentd_proto::{format, pb};
use serde_json::json;

use crate::args::ModelsVerb;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::json;
use crate::render::table::{self, Column, fixed, flexible};

const COLUMNS: &[Column] = &[
    flexible("NAME", 9, 12),
    fixed("STATUS", 8),
    fixed("DEFAULT", 3),
    fixed("TOOLS", 4),
    fixed("CTX", 4),
    fixed("IN $/M", 5),
    fixed("OUT $/M", 5),
    flexible("NOTE", 2, 12),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: ModelsVerb) -> Result<u8, Failure> {
    match verb {
        ModelsVerb::List => list(context).await,
        ModelsVerb::Test { model: Some(model) } => test(context, &model).await,
        ModelsVerb::Test { model: None } => {
            let status = context.client.get_status(pb::GetStatusRequest {}).await?;
            if status.default_model.is_empty() {
                return Err(Failure::usage("no model is named, and none is configured")
                    .next("agentctl models list")
                    .next("agentctl config set model.default PROVIDER/NAME"));
            }
            test(context, &status.default_model).await
        }
    }
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let request = pb::ListModelsRequest {
        probe_loopback: true,
        environment: context.environment().variables,
    };
    let models = context.client.list_models(request).await?.models;
    if context.out.is_json() {
        context.out.json_list(models.iter().map(json::model).collect())?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|model| {
            let window = match model.context_window_tokens {
                0 => format::UNKNOWN.to_owned(),
                tokens => format::tokens(tokens),
            };
            vec![
                model.name.clone(),
                model.status.replace('_', " "),
                if model.is_default { "default" } else { "" }.to_owned(),
                match model.tool_use() {
                    pb::ToolUse::Yes => "yes",
                    pb::ToolUse::No => "no",
                    pb::ToolUse::Unspecified => format::UNKNOWN,
                }
                .to_owned(),
                window,
                format::money(model.input_micro_usd_per_million),
                format::money(model.output_micro_usd_per_million),
                model.note.clone(),
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    Ok(exit::OK)
}

async fn test(context: &Context, model: &str) -> Result<u8, Failure> {
    let request = pb::TestModelRequest {
        model: model.to_owned(),
        environment: context.environment().variables,
    };
    let answer = context.client.test_model(request).await?;
    if answer.ok {
        if context.out.is_json() {
            context.out.json(
                &json!({"model": model, "ok": true, "first_token_ms": answer.first_token_ms,
                    "passed": answer.passed_stages}),
            )?;
        } else {
            context.out.line(&format!(
                "ok: {model} answered, first token after {} ms · passed: {}",
                answer.first_token_ms,
                answer.passed_stages.join(", ")
            ))?;
        }
        return Ok(exit::OK);
    }
    let exit = match exit::of_turn(pb::TurnOutcome::Failed, &answer.reason) {
        exit::FAILED => exit::PROVIDER,
        code => code,
    };
    let message = match answer.failed_stage.as_str() {
        "" => answer.message,
        stage => format!("{stage}: {}", answer.message),
    };
    let mut failure = Failure::new(exit, &answer.reason, message);
    if !answer.passed_stages.is_empty() {
        failure
            .notes
            .push(format!("passed: {}", answer.passed_stages.join(", ")));
    }
    failure.next = answer.hints;
    Err(failure.with_ways_to_a_key())
}
