//! Owns: `agentctl` without a verb: what works now, and how to go on.

use agentd_proto::{escape, pb};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::help;

/// Runs it: the first screen on a terminal, short help elsewhere.
pub(crate) async fn run(context: &Context) -> Result<u8, Failure> {
    if !context.out.out_tty {
        context.out.important(help::ROOT.trim_end());
        context.out.important("You can already, without any key:");
        context.out.important(help::WITHOUT_MODEL);
        context.out.important(help::WITH_MODEL);
        return Ok(exit::USAGE);
    }
    let started = context.client.connect().await?;
    let status = context.client.get_status(pb::GetStatusRequest {}).await?;
    let word = if started.is_some() { "started" } else { "running" };
    let (pid, socket, jail) = (status.pid, &status.socket, escape::line(&status.jail));
    context.out.line(&format!(
        "agentd {word} (pid {pid}, socket {socket})   jail: {jail}"
    ))?;
    let request = pb::ListModelsRequest {
        probe_loopback: true,
        environment: context.environment().variables,
    };
    let models = context
        .client
        .list_models(request)
        .await
        .map(|answer| answer.models)
        .unwrap_or_default();
    // The demo model is always ready; it is no reason to say that a model is set up.
    let real = |model: &&pb::Model| {
        model.status == "ready" && model.name != "demo" && !model.name.starts_with("demo/")
    };
    let default = models.iter().filter(real).find(|model| model.is_default);
    if let Some(model) = default.or_else(|| models.iter().find(real)) {
        let model = escape::line(&model.name);
        context.out.line(&format!("Model: {model}"))?;
        context
            .out
            .line("  agentctl run \"what to do\"           one turn of the agent in this directory")?;
        context.out.line(help::WITHOUT_MODEL)?;
        context
            .out
            .line("  agentctl sessions list              what there is; agentctl -h for all verbs")?;
        return Ok(exit::OK);
    }
    context.out.line("No model is set up yet. You can already:")?;
    context.out.line(help::WITHOUT_MODEL)?;
    context.out.line(help::WITH_MODEL)?;
    let found: Vec<String> = models
        .iter()
        .filter(|model| model.status == "found")
        .map(|model| {
            escape::line(&format!("{} {}", model.name, model.note))
                .trim()
                .to_owned()
        })
        .collect();
    let found = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    context.out.line(&format!(
        "                      (or start Ollama, LM Studio or llama.cpp; found: {found})"
    ))?;
    Ok(exit::OK)
}
