//! Owns: the gRPC services: one file each, thin; the boundary of the wire.
//! Guarantees: knows the domain and the supervisor's handles; never the store's SQL, a model or a jail.

mod accounts;
mod approvals;
mod auth;
mod convert;
mod daemon;
mod files;
mod lifecycle;
mod network;
mod peer;
mod policies;
mod sessions;
mod shell;
mod status;
mod tasks;
mod usage;
mod watch;

use agentd_proto::pb;
use pb::account_service_server::AccountServiceServer;
use pb::approval_service_server::ApprovalServiceServer;
use pb::daemon_service_server::DaemonServiceServer;
use pb::lifecycle_service_server::LifecycleServiceServer;
use pb::network_service_server::NetworkServiceServer;
use pb::policy_service_server::PolicyServiceServer;
use pb::session_service_server::SessionServiceServer;
use pb::shell_service_server::ShellServiceServer;
use pb::task_service_server::TaskServiceServer;
use pb::usage_service_server::UsageServiceServer;
use pb::workspace_service_server::WorkspaceServiceServer;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

pub use self::daemon::{DaemonApi, Facts, Host};
use crate::accounts::Accounts;
use crate::board::Boards;
use crate::ledger::Ledger;
use crate::supervisor::Supervisor;

/// Largest message in either direction: a page of events with long outputs stays well below.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Flow-control windows: output bursts would crawl through HTTP/2's 64 KiB default.
const WINDOW: u32 = 4 * 1024 * 1024;

/// Serves until `shutdown` resolves and open requests are done.
pub async fn serve(
    listener: tokio::net::UnixListener,
    supervisor: Supervisor,
    boards: Boards,
    daemon: DaemonApi,
    accounts: Accounts,
    ledger: Ledger,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<SessionServiceServer<sessions::Sessions>>()
        .await;
    health.set_serving::<ShellServiceServer<shell::Shells>>().await;
    health
        .set_serving::<LifecycleServiceServer<lifecycle::Lifecycle>>()
        .await;
    health
        .set_serving::<ApprovalServiceServer<approvals::Approvals>>()
        .await;
    health.set_serving::<DaemonServiceServer<DaemonApi>>().await;
    health
        .set_serving::<AccountServiceServer<accounts::Devices>>()
        .await;
    health.set_serving::<UsageServiceServer<usage::UsageApi>>().await;
    health.set_serving::<TaskServiceServer<tasks::Tasks>>().await;
    health
        .set_serving::<NetworkServiceServer<network::Networks>>()
        .await;
    health.set_serving::<WorkspaceServiceServer<files::Files>>().await;
    health
        .set_serving::<PolicyServiceServer<policies::Policies>>()
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let sessions = SessionServiceServer::new(sessions::Sessions::new(supervisor.clone(), boards.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let shells = ShellServiceServer::new(shell::Shells::new(supervisor.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(2 * MAX_MESSAGE + 1024 * 1024);
    let usage = UsageServiceServer::new(usage::UsageApi::new(ledger))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let lifecycle = LifecycleServiceServer::new(lifecycle::Lifecycle::new(supervisor.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let tasks = TaskServiceServer::new(tasks::Tasks::new(supervisor.clone(), boards))
        .max_encoding_message_size(MAX_MESSAGE);
    let networks = NetworkServiceServer::new(network::Networks::new(supervisor.clone()));
    let files = WorkspaceServiceServer::new(files::Files::new(supervisor.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let policies = PolicyServiceServer::new(policies::Policies::new(supervisor.clone()));
    let approvals = ApprovalServiceServer::new(approvals::Approvals::new(supervisor));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .layer(auth::Gate::new(accounts.clone()))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(InterceptedService::new(sessions, peer::check))
        .add_service(InterceptedService::new(shells, peer::check))
        .add_service(InterceptedService::new(lifecycle, peer::check))
        .add_service(InterceptedService::new(approvals, peer::check))
        .add_service(InterceptedService::new(networks, peer::check))
        .add_service(InterceptedService::new(policies, peer::check))
        .add_service(InterceptedService::new(usage, peer::check))
        .add_service(InterceptedService::new(tasks, peer::check))
        .add_service(InterceptedService::new(files, peer::check))
        .add_service(InterceptedService::new(
            DaemonServiceServer::new(daemon),
            peer::check,
        ))
        .add_service(InterceptedService::new(
            AccountServiceServer::new(accounts::Devices::new(accounts)),
            peer::check,
        ))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown)
        .await?;
    Ok(())
}
