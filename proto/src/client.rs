//! Owns: the connection to the daemon and one typed method per call of the contract.
//! Guarantees: a call that is safe to repeat (all are: reads, or mutations with a request id) survives a
//! restart of the daemon; a daemon that is not there is started, where that is allowed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Streaming};

use crate::autostart;
use crate::endpoint::Endpoint;
use crate::error::{Answer, Cause, ClientError};
use crate::pb;
use crate::unit::Unit;

/// Largest message either way: the most an exec may capture.
const MAX_MESSAGE: usize = 64 * 1024 * 1024 + 64 * 1024;
/// HTTP/2 flow-control window: with the default of 64 KiB bulk output crawls.
const WINDOW: u32 = 4 * 1024 * 1024;
/// How long a started daemon may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(5);
/// How often a starting daemon is looked for.
const POLL: Duration = Duration::from_millis(10);
/// How long a call whose connection broke is tried again.
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// Names the client in the event log.
const CLIENT_KEY: &str = "x-agentd-client";

/// How to reach the daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// The only socket to try; `None`: wherever the environment says.
    pub socket: Option<PathBuf>,
    /// Start a daemon when none answers.
    pub autostart: bool,
    /// Which client this is: `cli`, `tui`, `web` or `api`.
    pub client: &'static str,
}

/// A connection to the daemon. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    autostart: bool,
    tag: MetadataValue<tonic::metadata::Ascii>,
    link: Mutex<Link>,
}

/// The present channel. The number tells a broken channel from its successor.
#[derive(Debug, Default)]
struct Link {
    number: u64,
    channel: Option<Channel>,
    started: Option<Started>,
}

/// This client started the daemon, or had it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started;

/// An export under way.
#[derive(Debug)]
pub struct UsageExport {
    pieces: Streaming<pb::ExportUsageResponse>,
}

impl UsageExport {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<pb::ExportUsageResponse>, ClientError> {
        self.pieces.message().await.map_err(ClientError::from)
    }
}

/// A file on its way.
#[derive(Debug)]
pub struct FileRead {
    pieces: Streaming<pb::ReadFileResponse>,
}

impl FileRead {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<pb::ReadFileResponse>, ClientError> {
        self.pieces.message().await.map_err(ClientError::from)
    }
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint: Endpoint::discover(options.socket.as_deref())?,
                autostart: options.autostart,
                tag: MetadataValue::from_static(options.client),
                link: Mutex::default(),
            }),
        })
    }

    /// Where this client looks for the daemon.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Connects now, starting a daemon if need be; `Started` when this call started one.
    pub async fn connect(&self) -> Result<Option<Started>, ClientError> {
        self.channel(self.shared.autostart).await?;
        Ok(self.shared.link.lock().await.started.take())
    }

    /// True when a daemon answers. Never starts one.
    pub async fn is_up(&self) -> bool {
        self.channel(false).await.is_ok()
    }

    /// True when a daemon has answered this client, whatever became of it since.
    pub(crate) async fn was_connected(&self) -> bool {
        self.shared.link.lock().await.number > 0
    }

    /// The same connection settings, without ever starting a daemon.
    pub fn without_autostart(&self) -> Self {
        Self {
            shared: Arc::new(Shared {
                endpoint: self.shared.endpoint.clone(),
                autostart: false,
                tag: self.shared.tag.clone(),
                link: Mutex::default(),
            }),
        }
    }

    fn tag<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(CLIENT_KEY, self.shared.tag.clone());
        request
    }

    /// The present channel, or a new one.
    async fn channel(&self, autostart: bool) -> Result<(u64, Channel), ClientError> {
        let mut link = self.shared.link.lock().await;
        if let Some(channel) = &link.channel {
            return Ok((link.number, channel.clone()));
        }
        // Where systemd listens for the daemon, the mere connection would start it.
        if !autostart && Unit::of(&self.shared.endpoint).is_some() && !self.shared.endpoint.daemon_lives() {
            return Err(ClientError::unreachable("no daemon is running"));
        }
        let channel = match dial(&self.shared.endpoint).await {
            Ok(channel) => channel,
            Err(error) if !autostart => return Err(error),
            Err(_) => {
                let channel = start_and_dial(&self.shared.endpoint).await?;
                link.started = Some(Started);
                channel
            }
        };
        link.number += 1;
        link.channel = Some(channel.clone());
        Ok((link.number, channel))
    }

    /// Drops the channel with this number, unless it was replaced already.
    async fn forget(&self, number: u64) {
        let mut link = self.shared.link.lock().await;
        if link.number == number {
            link.channel = None;
        }
    }

    /// Makes a call, again after a reconnect when the connection broke.
    async fn call<R, F, Fut>(&self, attempt: F) -> Result<R, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Answer<Response<R>>>,
    {
        let deadline = Instant::now() + RETRY_WITHIN;
        let mut wait = Duration::from_millis(50);
        let mut lost_before = false;
        loop {
            let error = match self.channel(self.shared.autostart).await {
                Ok((number, channel)) => match attempt(channel).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => {
                        let error = ClientError::from(status);
                        if error.is_transient() {
                            self.forget(number).await;
                            lost_before = true;
                        }
                        error
                    }
                },
                Err(error) => error,
            };
            // A daemon that never answered is not waited for; one that went away may be restarting.
            if !(error.is_transient() && lost_before) || Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    /// Opens a stream once. Following for ever is the business of `resume`.
    async fn open<R, F, Fut>(&self, autostart: bool, attempt: F) -> Result<Streaming<R>, ClientError>
    where
        F: FnOnce(Channel) -> Fut,
        Fut: Future<Output = Answer<Response<Streaming<R>>>>,
    {
        let (number, channel) = self.channel(autostart && self.shared.autostart).await?;
        match attempt(channel).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let error = ClientError::from(status);
                if error.is_transient() {
                    self.forget(number).await;
                }
                Err(error)
            }
        }
    }

    /// Drops a connection that a stream found broken.
    pub(crate) async fn reset(&self) {
        self.shared.link.lock().await.channel = None;
    }

    /// Opens the watch of one session.
    pub(crate) async fn open_watch_session(
        &self,
        request: pb::WatchSessionRequest,
        autostart: bool,
    ) -> Result<Streaming<pb::WatchSessionResponse>, ClientError> {
        let request = self.tag(request);
        self.open(autostart, |channel| async move {
            pb::session_service_client::SessionServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .watch_session(request)
                .await
        })
        .await
    }

    /// Opens the multiplexed watch.
    pub(crate) async fn open_watch(
        &self,
        request: pb::WatchRequest,
        autostart: bool,
    ) -> Result<Streaming<pb::WatchResponse>, ClientError> {
        let request = self.tag(request);
        self.open(autostart, |channel| async move {
            pb::session_service_client::SessionServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .watch(request)
                .await
        })
        .await
    }

    /// Begins an export of ledger rows.
    pub async fn export_usage(&self, request: pb::ExportUsageRequest) -> Result<UsageExport, ClientError> {
        let request = self.tag(request);
        let pieces = self
            .open(true, |channel| async move {
                pb::usage_service_client::UsageServiceClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .export_usage(request)
                    .await
            })
            .await?;
        Ok(UsageExport { pieces })
    }

    /// Begins to read a file.
    pub async fn read_file(&self, request: pb::ReadFileRequest) -> Result<FileRead, ClientError> {
        let request = self.tag(request);
        let pieces = self
            .open(true, |channel| async move {
                pb::workspace_service_client::WorkspaceServiceClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .read_file(request)
                    .await
            })
            .await?;
        Ok(FileRead { pieces })
    }

    /// Opens the output of a command.
    pub(crate) async fn open_read_output(
        &self,
        request: pb::ReadOutputRequest,
        autostart: bool,
    ) -> Result<Streaming<pb::ReadOutputResponse>, ClientError> {
        let request = self.tag(request);
        self.open(autostart, |channel| async move {
            pb::shell_service_client::ShellServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .read_output(request)
                .await
        })
        .await
    }
}

/// Connects to the first socket that answers.
async fn dial(endpoint: &Endpoint) -> Result<Channel, ClientError> {
    let mut tried = Vec::new();
    for path in endpoint.candidates() {
        match dial_path(&path).await {
            Ok(channel) => return Ok(channel),
            Err(why) => tried.push(format!("'{}': {why}", path.display())),
        }
    }
    Err(ClientError::unreachable(format!(
        "no daemon answers at {}",
        tried.join(" or ")
    )))
}

async fn dial_path(path: &Path) -> Result<Channel, String> {
    // The plain connect first: its error is the operating system's own word, and it costs microseconds.
    tokio::net::UnixStream::connect(path)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "no such socket".to_owned(),
            std::io::ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
            _ => error.to_string(),
        })?;
    let text = path.to_str().ok_or("the path is not UTF-8")?;
    tonic::transport::Endpoint::from_shared(format!("unix:{text}"))
        .map_err(|error| error.to_string())?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .map_err(|error| error.to_string())
}

async fn start_and_dial(endpoint: &Endpoint) -> Result<Channel, ClientError> {
    let mut starting = autostart::start(endpoint)?;
    let deadline = Instant::now() + START_WITHIN;
    // A daemon that ends at once may have met another one that is just coming up: wait a little for it.
    let mut ended_deadline = deadline;
    loop {
        match dial(endpoint).await {
            Ok(channel) => return Ok(channel),
            Err(error) if Instant::now() >= deadline.min(ended_deadline) => {
                let mut message = "the daemon was started but does not answer".to_owned();
                for line in starting.last_words() {
                    message.push_str("\n  ");
                    message.push_str(&crate::escape::line(&line));
                }
                return Err(ClientError {
                    code: "daemon_start_failed".to_owned(),
                    message,
                    ..error
                });
            }
            Err(_) => {}
        }
        if starting.unit_was_no_use() {
            starting = autostart::start_program(endpoint)?;
        }
        if starting.has_ended() && ended_deadline == deadline {
            ended_deadline = Instant::now() + Duration::from_millis(700);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// One method per unary call: the request as it is in the contract, the answer or a `ClientError`.
macro_rules! unary {
    ($($(#[$doc:meta])* $module:ident :: $service:ident . $method:ident ( $request:ident ) -> $response:ident;)*) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $method(&self, request: pb::$request) -> Result<pb::$response, ClientError> {
                self.call(|channel| {
                    let request = self.tag(request.clone());
                    async move {
                        pb::$module::$service::new(channel)
                            .max_decoding_message_size(MAX_MESSAGE)
                            .max_encoding_message_size(MAX_MESSAGE)
                            .$method(request)
                            .await
                    }
                })
                .await
            })*
        }
    };
}

unary! {
    /// Makes or finds a session.
    session_service_client::SessionServiceClient.create_session(CreateSessionRequest) -> CreateSessionResponse;
    /// One session.
    session_service_client::SessionServiceClient.get_session(GetSessionRequest) -> GetSessionResponse;
    /// A page of sessions.
    session_service_client::SessionServiceClient.list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    /// Gives a session another name.
    session_service_client::SessionServiceClient.rename_session(RenameSessionRequest) -> RenameSessionResponse;
    /// Posts a message.
    session_service_client::SessionServiceClient.post_message(PostMessageRequest) -> PostMessageResponse;
    /// The messages that wait.
    session_service_client::SessionServiceClient.list_queued_messages(ListQueuedMessagesRequest) -> ListQueuedMessagesResponse;
    /// Changes a message that waits.
    session_service_client::SessionServiceClient.edit_message(EditMessageRequest) -> EditMessageResponse;
    /// Takes a message that waits back.
    session_service_client::SessionServiceClient.remove_message(RemoveMessageRequest) -> RemoveMessageResponse;
    /// Who follows a session.
    session_service_client::SessionServiceClient.list_clients(ListClientsRequest) -> ListClientsResponse;
    /// Stops the open turn.
    session_service_client::SessionServiceClient.interrupt_turn(InterruptTurnRequest) -> InterruptTurnResponse;
    /// Replaces earlier messages of the context by a summary.
    session_service_client::SessionServiceClient.compact_session(CompactSessionRequest) -> CompactSessionResponse;
    /// What fills the context.
    session_service_client::SessionServiceClient.get_context(GetContextRequest) -> GetContextResponse;
    /// A page of the log.
    session_service_client::SessionServiceClient.list_events(ListEventsRequest) -> ListEventsResponse;
    /// Finds a text in a session's log.
    session_service_client::SessionServiceClient.find_in_session(FindInSessionRequest) -> FindInSessionResponse;
    /// Stops a session in mid-stride.
    lifecycle_service_client::LifecycleServiceClient.pause_session(PauseSessionRequest) -> PauseSessionResponse;
    /// Lets it go on.
    lifecycle_service_client::LifecycleServiceClient.resume_session(ResumeSessionRequest) -> ResumeSessionResponse;
    /// Hides a session.
    lifecycle_service_client::LifecycleServiceClient.archive_session(ArchiveSessionRequest) -> ArchiveSessionResponse;
    /// Shows it again.
    lifecycle_service_client::LifecycleServiceClient.unarchive_session(UnarchiveSessionRequest) -> UnarchiveSessionResponse;
    /// Puts a session into the trash.
    lifecycle_service_client::LifecycleServiceClient.delete_session(DeleteSessionRequest) -> DeleteSessionResponse;
    /// Takes it out again.
    lifecycle_service_client::LifecycleServiceClient.restore_session(RestoreSessionRequest) -> RestoreSessionResponse;
    /// Finds words in sessions, commands and outputs.
    lifecycle_service_client::LifecycleServiceClient.search_sessions(SearchSessionsRequest) -> SearchSessionsResponse;
    /// Makes a session that begins with another's log.
    lifecycle_service_client::LifecycleServiceClient.fork_session(ForkSessionRequest) -> ForkSessionResponse;
    /// Takes in a piece of a bundle.
    lifecycle_service_client::LifecycleServiceClient.import_session(ImportSessionRequest) -> ImportSessionResponse;
    /// Takes texts out of a session for good.
    lifecycle_service_client::LifecycleServiceClient.redact_session(RedactSessionRequest) -> RedactSessionResponse;
    /// What a session did to the world.
    lifecycle_service_client::LifecycleServiceClient.audit_session(AuditSessionRequest) -> AuditSessionResponse;
    /// A session as a cassette.
    lifecycle_service_client::LifecycleServiceClient.get_cassette(GetCassetteRequest) -> GetCassetteResponse;
    /// What is on disk.
    lifecycle_service_client::LifecycleServiceClient.report_storage(ReportStorageRequest) -> ReportStorageResponse;
    /// Takes away what is old.
    lifecycle_service_client::LifecycleServiceClient.prune_storage(PruneStorageRequest) -> PruneStorageResponse;
    /// Runs a command to its end.
    shell_service_client::ShellServiceClient.exec(ExecRequest) -> ExecResponse;
    /// Starts a command.
    shell_service_client::ShellServiceClient.start_exec(StartExecRequest) -> StartExecResponse;
    /// Writes to a command's standard input.
    shell_service_client::ShellServiceClient.write_input(WriteInputRequest) -> WriteInputResponse;
    /// What a command's terminal shows.
    shell_service_client::ShellServiceClient.get_screen(GetScreenRequest) -> GetScreenResponse;
    /// Acknowledges a terminal's output.
    shell_service_client::ShellServiceClient.ack_output(AckOutputRequest) -> AckOutputResponse;
    /// Resizes a command's terminal.
    shell_service_client::ShellServiceClient.resize_pty(ResizePtyRequest) -> ResizePtyResponse;
    /// Stops a command.
    shell_service_client::ShellServiceClient.interrupt_exec(InterruptExecRequest) -> InterruptExecResponse;
    /// What commands left running.
    shell_service_client::ShellServiceClient.list_jobs(ListJobsRequest) -> ListJobsResponse;
    /// Ends it.
    shell_service_client::ShellServiceClient.end_job(EndJobRequest) -> EndJobResponse;
    /// Opens an interactive shell.
    shell_service_client::ShellServiceClient.open_shell(OpenShellRequest) -> OpenShellResponse;
    /// Names in a directory.
    workspace_service_client::WorkspaceServiceClient.list_files(ListFilesRequest) -> ListFilesResponse;
    /// Writes a file, whole or not at all.
    workspace_service_client::WorkspaceServiceClient.write_file(WriteFileRequest) -> WriteFileResponse;
    /// What of a person's tools works in a jail.
    workspace_service_client::WorkspaceServiceClient.check_project(CheckProjectRequest) -> CheckProjectResponse;
    /// Questions, open ones first.
    approval_service_client::ApprovalServiceClient.list_approvals(ListApprovalsRequest) -> ListApprovalsResponse;
    /// One question.
    approval_service_client::ApprovalServiceClient.get_approval(GetApprovalRequest) -> GetApprovalResponse;
    /// Answers a question.
    approval_service_client::ApprovalServiceClient.resolve_approval(ResolveApprovalRequest) -> ResolveApprovalResponse;
    /// What a session may reach, and its open doors.
    network_service_client::NetworkServiceClient.get_network(GetNetworkRequest) -> GetNetworkResponse;
    /// Another network for a session.
    network_service_client::NetworkServiceClient.set_network(SetNetworkRequest) -> SetNetworkResponse;
    /// What a session reached.
    network_service_client::NetworkServiceClient.list_connections(ListConnectionsRequest) -> ListConnectionsResponse;
    /// Who listens in a jail.
    network_service_client::NetworkServiceClient.list_ports(ListPortsRequest) -> ListPortsResponse;
    /// A port of a jail, here.
    network_service_client::NetworkServiceClient.forward_port(ForwardPortRequest) -> ForwardPortResponse;
    /// A port of this machine, inside.
    network_service_client::NetworkServiceClient.request_host_port(RequestHostPortRequest) -> RequestHostPortResponse;
    /// Closes either.
    network_service_client::NetworkServiceClient.close_port(ClosePortRequest) -> ClosePortResponse;
    /// Personas: the built-in ones, then the user's own.
    policy_service_client::PolicyServiceClient.list_personas(ListPersonasRequest) -> ListPersonasResponse;
    /// One persona.
    policy_service_client::PolicyServiceClient.get_persona(GetPersonaRequest) -> GetPersonaResponse;
    /// Makes or replaces a persona of the user's.
    policy_service_client::PolicyServiceClient.save_persona(SavePersonaRequest) -> SavePersonaResponse;
    /// Takes a persona of the user's away.
    policy_service_client::PolicyServiceClient.delete_persona(DeletePersonaRequest) -> DeletePersonaResponse;
    /// Policies: the built-in ones, then the user's own.
    policy_service_client::PolicyServiceClient.list_policies(ListPoliciesRequest) -> ListPoliciesResponse;
    /// One policy, or what is in force in a session.
    policy_service_client::PolicyServiceClient.get_policy(GetPolicyRequest) -> GetPolicyResponse;
    /// Makes or replaces a policy of the user's.
    policy_service_client::PolicyServiceClient.save_policy(SavePolicyRequest) -> SavePolicyResponse;
    /// Takes a policy of the user's away.
    policy_service_client::PolicyServiceClient.delete_policy(DeletePolicyRequest) -> DeletePolicyResponse;
    /// Gives a session another persona or policy.
    policy_service_client::PolicyServiceClient.choose_persona(ChoosePersonaRequest) -> ChoosePersonaResponse;
    /// Says what would be decided, and by which rule.
    policy_service_client::PolicyServiceClient.test_policy(TestPolicyRequest) -> TestPolicyResponse;
    /// What was granted to projects.
    policy_service_client::PolicyServiceClient.list_grants(ListGrantsRequest) -> ListGrantsResponse;
    /// Takes a grant back.
    policy_service_client::PolicyServiceClient.revoke_grant(RevokeGrantRequest) -> RevokeGrantResponse;
    /// Workspaces that have a board.
    task_service_client::TaskServiceClient.list_boards(ListBoardsRequest) -> ListBoardsResponse;
    /// A board.
    task_service_client::TaskServiceClient.list_tasks(ListTasksRequest) -> ListTasksResponse;
    /// One task with its history.
    task_service_client::TaskServiceClient.get_task(GetTaskRequest) -> GetTaskResponse;
    /// Writes a new task into the file.
    task_service_client::TaskServiceClient.add_task(AddTaskRequest) -> AddTaskResponse;
    /// Changes, moves or notes.
    task_service_client::TaskServiceClient.edit_task(EditTaskRequest) -> EditTaskResponse;
    /// Takes a task, or renews the claim.
    task_service_client::TaskServiceClient.claim_task(ClaimTaskRequest) -> ClaimTaskResponse;
    /// Gives a task back.
    task_service_client::TaskServiceClient.release_task(ReleaseTaskRequest) -> ReleaseTaskResponse;
    /// Ends a task.
    task_service_client::TaskServiceClient.complete_task(CompleteTaskRequest) -> CompleteTaskResponse;
    /// A session on a task.
    task_service_client::TaskServiceClient.start_task(StartTaskRequest) -> StartTaskResponse;
    /// What a session works on.
    task_service_client::TaskServiceClient.choose_task(ChooseTaskRequest) -> ChooseTaskResponse;
    /// Settles a conflict.
    task_service_client::TaskServiceClient.resolve_conflict(ResolveConflictRequest) -> ResolveConflictResponse;
    /// Looks at the files now.
    task_service_client::TaskServiceClient.sync_board(SyncBoardRequest) -> SyncBoardResponse;
    /// A one-time code.
    account_service_client::AccountServiceClient.create_pairing(CreatePairingRequest) -> CreatePairingResponse;
    /// A device for a code.
    account_service_client::AccountServiceClient.redeem_pairing(RedeemPairingRequest) -> RedeemPairingResponse;
    /// Devices with a token.
    account_service_client::AccountServiceClient.list_devices(ListDevicesRequest) -> ListDevicesResponse;
    /// Ends a device's access.
    account_service_client::AccountServiceClient.revoke_device(RevokeDeviceRequest) -> RevokeDeviceResponse;
    /// Sums over the ledger.
    usage_service_client::UsageServiceClient.query_usage(QueryUsageRequest) -> QueryUsageResponse;
    /// Where the month's cost is going.
    usage_service_client::UsageServiceClient.forecast_usage(ForecastUsageRequest) -> ForecastUsageResponse;
    /// The ledger beside a provider's own export.
    usage_service_client::UsageServiceClient.reconcile_usage(ReconcileUsageRequest) -> ReconcileUsageResponse;
    /// Takes a person out of the ledger.
    usage_service_client::UsageServiceClient.forget_principal(ForgetPrincipalRequest) -> ForgetPrincipalResponse;
    /// Budgets and where they stand.
    usage_service_client::UsageServiceClient.list_budgets(ListBudgetsRequest) -> ListBudgetsResponse;
    /// Makes or changes a budget.
    usage_service_client::UsageServiceClient.set_budget(SetBudgetRequest) -> SetBudgetResponse;
    /// Takes a budget away.
    usage_service_client::UsageServiceClient.delete_budget(DeleteBudgetRequest) -> DeleteBudgetResponse;
    /// Alerts, newest first.
    usage_service_client::UsageServiceClient.list_alerts(ListAlertsRequest) -> ListAlertsResponse;
    /// Notes that a person saw an alert.
    usage_service_client::UsageServiceClient.acknowledge_alert(AcknowledgeAlertRequest) -> AcknowledgeAlertResponse;
    /// How the daemon is.
    daemon_service_client::DaemonServiceClient.get_status(GetStatusRequest) -> GetStatusResponse;
    /// Checks prerequisites.
    daemon_service_client::DaemonServiceClient.run_doctor(RunDoctorRequest) -> RunDoctorResponse;
    /// Models that can be used or offered.
    daemon_service_client::DaemonServiceClient.list_models(ListModelsRequest) -> ListModelsResponse;
    /// Tries a model.
    daemon_service_client::DaemonServiceClient.test_model(TestModelRequest) -> TestModelResponse;
    /// Stores a provider's key.
    daemon_service_client::DaemonServiceClient.set_credential(SetCredentialRequest) -> SetCredentialResponse;
    /// Providers that have a key.
    daemon_service_client::DaemonServiceClient.list_credentials(ListCredentialsRequest) -> ListCredentialsResponse;
    /// Forgets a provider's key.
    daemon_service_client::DaemonServiceClient.delete_credential(DeleteCredentialRequest) -> DeleteCredentialResponse;
}

impl Client {
    /// Stops the daemon. Never repeated and never starts one: a second try would stop its successor.
    pub async fn stop_daemon(
        &self,
        request: pb::StopDaemonRequest,
    ) -> Result<pb::StopDaemonResponse, ClientError> {
        let (number, channel) = self.channel(false).await?;
        let answer = pb::daemon_service_client::DaemonServiceClient::new(channel)
            .stop_daemon(self.tag(request))
            .await;
        self.forget(number).await;
        answer.map(Response::into_inner).map_err(ClientError::from)
    }

    /// A session as one file, in pieces. Not repeated: whoever reads it begins anew.
    pub async fn export_session(
        &self,
        request: pb::ExportSessionRequest,
    ) -> Result<Streaming<pb::ExportSessionResponse>, ClientError> {
        self.call(|channel| {
            let request = self.tag(request.clone());
            async move {
                pb::lifecycle_service_client::LifecycleServiceClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .export_session(request)
                    .await
            }
        })
        .await
    }

    /// True when the error means that no daemon was there at all.
    pub fn was_absent(error: &ClientError) -> bool {
        error.cause == Cause::Unreachable
    }
}
