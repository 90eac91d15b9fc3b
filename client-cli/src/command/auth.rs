//! Owns: `agentctl auth`: keys of providers.
//! Guarantees: a key is never an argument, never echoed and never printed.

use std::io::BufRead as _;

use agentd_proto::{escape, pb};
use serde_json::json;

use crate::args::AuthVerb;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::{stdin, tty};

const COLUMNS: &[Column] = &[flexible("PROVIDER", 9, 8), fixed("SOURCE", 8)];
/// Longer than any key.
const KEY_LIMIT: u64 = 16 * 1024;

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: AuthVerb) -> Result<u8, Failure> {
    match verb {
        AuthVerb::Set { provider } => set(context, &provider).await,
        AuthVerb::List => list(context).await,
        AuthVerb::Rm { provider } => {
            let request = pb::DeleteCredentialRequest {
                provider: provider.clone(),
            };
            if !context.client.delete_credential(request).await?.existed {
                return Err(Failure::new(
                    exit::NOT_FOUND,
                    "credential_not_found",
                    format!("no key is stored for provider '{}'", escape::line(&provider)),
                )
                .next("agentctl auth list"));
            }
            context
                .out
                .note(&format!("the key of {} is forgotten", escape::line(&provider)));
            Ok(exit::OK)
        }
    }
}

async fn set(context: &Context, provider: &str) -> Result<u8, Failure> {
    let key = read_key(context, provider).await?;
    let api_key = key.trim().to_owned();
    if api_key.is_empty() {
        return Err(Failure::usage("the key is empty").next(format!("agentctl auth set {provider}")));
    }
    let request = pb::SetCredentialRequest {
        provider: provider.to_owned(),
        api_key,
    };
    let path = context.client.set_credential(request).await?.path;
    context
        .out
        .note(&format!("stored in {path} (mode 0600) · agentctl models list"));
    Ok(exit::OK)
}

async fn read_key(context: &Context, provider: &str) -> Result<String, Failure> {
    let unreadable = || Failure::usage("the key cannot be read");
    if !stdin::is_terminal() {
        let data = stdin::read_all(KEY_LIMIT).await?.ok_or_else(unreadable)?;
        let text = String::from_utf8(data).map_err(|_| unreadable())?;
        if text.trim().is_empty() {
            return Err(Failure::usage("standard input has no key")
                .next(format!("agentctl auth set {provider}   (on a terminal)"))
                .next(format!("pass show {provider} | agentctl auth set {provider}")));
        }
        return Ok(text);
    }
    if !context.can_ask() {
        return Err(
            Failure::usage("the key is to be typed, and --no-input forbids asking")
                .next(format!("pass show {provider} | agentctl auth set {provider}")),
        );
    }
    context
        .out
        .err_bytes(format!("API key for {}: ", escape::line(provider)).as_bytes());
    let mode = tty::Mode::no_echo().map_err(|_| unreadable())?;
    let typing = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = typing => line.map_err(|_| unreadable())?.map_err(|_| unreadable())?,
        // The terminal must get its echo back before this program is gone.
        _ = tokio::signal::ctrl_c() => {
            drop(mode);
            context.out.err_bytes(b"\n");
            return Err(Failure::silent(exit::INTERRUPTED));
        }
    };
    drop(mode);
    context.out.err_bytes(b"\n");
    Ok(line)
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let credentials = context
        .client
        .list_credentials(pb::ListCredentialsRequest {})
        .await?
        .credentials;
    if context.out.is_json() {
        let values = credentials
            .iter()
            .map(|one| json!({"provider": one.provider, "source": one.source}));
        context.out.json_list(values.collect())?;
        return Ok(exit::OK);
    }
    if credentials.is_empty() && context.out.out_tty {
        context.out.note("no keys · agentctl auth set openai");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = credentials
        .into_iter()
        .map(|one| vec![one.provider, one.source])
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    Ok(exit::OK)
}
