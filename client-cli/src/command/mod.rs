//! Owns: which verb is which file.

mod approvals;
mod ask;
mod attach;
mod audit;
mod auth;
mod bare;
mod budgets;
mod config;
mod daemon;
mod doctor;
mod exec;
mod files;
mod fill;
mod help;
mod interactive;
mod interrupt;
mod lifecycle;
mod logs;
mod models;
pub(crate) mod network;
mod policies;
mod project;
mod prompt;
mod replay;
mod review;
mod run;
mod screen;
mod send;
mod sessions;
mod shell;
mod storage;
mod tasks;
mod transfer;
mod turn;
mod usage;
mod version;
mod wait;
mod web;

use crate::args::{
    ApprovalsVerb, AuthVerb, ConfigVerb, DaemonVerb, ModelsVerb, PersonasVerb, PoliciesVerb, SessionsList,
    State, StorageVerb, TasksList, TasksVerb, Verb,
};
use crate::context::Context;
use crate::exit::Failure;

/// Runs a verb; gives its exit code. A noun alone lists.
pub(crate) async fn run(context: Context, verb: Option<Verb>) -> Result<u8, Failure> {
    let Some(verb) = verb else {
        return bare::run(&context).await;
    };
    match verb {
        Verb::Run(args) => run::run(&context, args).await,
        Verb::Exec(args) => exec::run(&context, args).await,
        Verb::Shell(args) => shell::run(&context, args).await,
        Verb::Attach(args) => attach::run(&context, args).await,
        Verb::Send(args) => send::run(&context, args).await,
        Verb::Interrupt(args) => interrupt::run(&context, args).await,
        Verb::Ports(args) => network::ports(&context, args).await,
        Verb::Forward(args) => network::forward(&context, args).await,
        Verb::Wait(args) => wait::run(&context, args).await,
        Verb::Logs(args) => logs::run(&context, args).await,
        Verb::Sessions { verb: Some(verb) } => sessions::run(&context, verb).await,
        Verb::Sessions { verb: None } => sessions::list(&context, SessionsList::all_open()).await,
        Verb::Ls(args) => sessions::list(&context, args).await,
        Verb::Ps(mut args) => {
            args.state = vec![State::Working, State::NeedsYou];
            sessions::list(&context, args).await
        }
        Verb::Files { verb } => files::run(&context, verb).await,
        Verb::Search(args) => storage::search(&context, args).await,
        Verb::Storage { verb } => storage::run(&context, verb.unwrap_or(StorageVerb::Report)).await,
        Verb::Rm(args) => lifecycle::delete(&context, args).await,
        Verb::Tasks { verb } => {
            tasks::run(&context, verb.unwrap_or(TasksVerb::List(TasksList::default()))).await
        }
        Verb::Approvals { verb } => {
            approvals::run(&context, verb.unwrap_or(ApprovalsVerb::List { all: false })).await
        }
        Verb::Approve(args) => approvals::approve(&context, args).await,
        Verb::Deny(args) => approvals::deny(&context, args).await,
        Verb::Personas { verb } => policies::personas(&context, verb.unwrap_or(PersonasVerb::List)).await,
        Verb::Policies { verb } => {
            let list = PoliciesVerb::List {
                grants: false,
                all: false,
            };
            policies::policies(&context, verb.unwrap_or(list)).await
        }
        Verb::Usage { verb } => usage::run(&context, verb).await,
        Verb::Review(args) => review::run(&context, args).await,
        Verb::Audit(args) => audit::run(&context, args).await,
        Verb::Replay(args) => replay::run(&context, args).await,
        Verb::Models { verb } => models::run(&context, verb.unwrap_or(ModelsVerb::List)).await,
        Verb::Auth { verb } => auth::run(&context, verb.unwrap_or(AuthVerb::List)).await,
        Verb::Daemon { verb } => daemon::run(&context, verb.unwrap_or(DaemonVerb::Status)).await,
        Verb::Config { verb } => {
            config::run(&context, verb.unwrap_or(ConfigVerb::List { origin: false })).await
        }
        Verb::Web { args, verb } => web::run(&context, args, verb).await,
        Verb::Doctor { prove, project } => doctor::run(&context, prove, project).await,
        Verb::Help { topic } => help::run(&context, &topic),
        Verb::Version => version::run(&context).await,
    }
}
