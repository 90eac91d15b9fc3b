//! Owns: what a token may call.
//! Guarantees: every call with a token is checked against its scopes before any service sees it, also a method
//! that nobody listed here (it needs admin); a revoked device's open streams end.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::No;
use crate::accounts::{Accounts, Grant};
use crate::clock::now_us;
use crate::domain::principal::Scope;
use crate::domain::rejection::Rejection;

/// What a call needs.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// Any valid token: the service itself looks closer.
    Token,
    /// A scope.
    Scope(Scope),
    /// The user's own programs only.
    NoToken,
}

/// The methods by what they need. Whatever is missing here needs admin.
fn need(path: &str) -> Need {
    let method = path.strip_prefix("/agentd.v1.").unwrap_or(path);
    match method {
        "AccountService/GetCaller" | "AccountService/ListDevices" | "AccountService/RevokeDevice" => {
            Need::Token
        }
        // A code from a signed-in browser would let it trade its scopes for another device's.
        "AccountService/RedeemPairing" => Need::NoToken,
        "SessionService/GetSession"
        | "SessionService/ListSessions"
        | "SessionService/ListEvents"
        | "LifecycleService/SearchSessions"
        | "LifecycleService/ExportSession"
        | "LifecycleService/AuditSession"
        | "LifecycleService/GetCassette"
        | "LifecycleService/ReportStorage"
        | "SessionService/ListQueuedMessages"
        | "SessionService/ListClients"
        | "SessionService/FindInSession"
        | "SessionService/WatchSession"
        | "SessionService/Watch"
        | "SessionService/GetContext"
        | "ShellService/ReadOutput"
        | "WorkspaceService/ListFiles"
        | "WorkspaceService/ReadFile"
        | "ShellService/GetScreen"
        | "ShellService/ListJobs"
        | "ShellService/AckOutput"
        | "ApprovalService/ListApprovals"
        | "ApprovalService/GetApproval"
        | "NetworkService/GetNetwork"
        | "NetworkService/ListConnections"
        | "NetworkService/ListPorts"
        | "PolicyService/ListPersonas"
        | "PolicyService/GetPersona"
        | "PolicyService/ListPolicies"
        | "PolicyService/GetPolicy"
        | "PolicyService/TestPolicy"
        | "PolicyService/ListGrants"
        | "TaskService/ListBoards"
        | "TaskService/ListTasks"
        | "TaskService/GetTask"
        | "DaemonService/GetStatus"
        | "DaemonService/ListModels"
        | "UsageService/QueryUsage"
        | "UsageService/ForecastUsage"
        | "UsageService/ExportUsage"
        | "UsageService/ReconcileUsage"
        | "UsageService/ListBudgets"
        | "UsageService/ListAlerts" => Need::Scope(Scope::Read),
        "SessionService/CreateSession"
        | "SessionService/RenameSession"
        | "SessionService/PostMessage"
        | "SessionService/EditMessage"
        | "SessionService/RemoveMessage"
        | "SessionService/InterruptTurn"
        | "SessionService/CompactSession"
        | "LifecycleService/PauseSession"
        | "LifecycleService/ResumeSession"
        | "LifecycleService/ArchiveSession"
        | "LifecycleService/UnarchiveSession"
        | "LifecycleService/DeleteSession"
        | "LifecycleService/RestoreSession"
        | "LifecycleService/ForkSession"
        | "LifecycleService/ImportSession"
        | "LifecycleService/RedactSession"
        | "LifecycleService/PruneStorage"
        | "ShellService/Exec"
        | "ShellService/StartExec"
        | "ShellService/WriteInput"
        | "ShellService/ResizePty"
        | "ShellService/InterruptExec"
        | "ShellService/EndJob"
        | "ShellService/OpenShell"
        | "NetworkService/ForwardPort"
        | "NetworkService/RequestHostPort"
        | "NetworkService/ClosePort"
        | "WorkspaceService/WriteFile"
        | "WorkspaceService/CheckProject"
        | "UsageService/AcknowledgeAlert"
        | "TaskService/AddTask"
        | "TaskService/EditTask"
        | "TaskService/ClaimTask"
        | "TaskService/ReleaseTask"
        | "TaskService/CompleteTask"
        | "TaskService/StartTask"
        | "TaskService/ChooseTask"
        | "TaskService/ResolveConflict"
        | "TaskService/SyncBoard" => Need::Scope(Scope::Drive),
        // What is widened thereby is what approvals guard.
        "ApprovalService/ResolveApproval"
        | "NetworkService/SetNetwork"
        | "PolicyService/ChoosePersona"
        | "PolicyService/RevokeGrant" => Need::Scope(Scope::Approve),
        _ => Need::Scope(Scope::Admin),
    }
}

/// Refuses unless the caller is the user's own program or has the scope.
pub(super) fn require<T>(request: &tonic::Request<T>, scope: Scope) -> Result<(), Rejection> {
    match request.extensions().get::<Grant>() {
        Some(grant) => grant.needs(scope),
        None => Ok(()),
    }
}

/// Stands before all services.
#[derive(Clone)]
pub(super) struct Gate {
    accounts: Accounts,
}

impl Gate {
    pub(super) fn new(accounts: Accounts) -> Self {
        Self { accounts }
    }

    /// The grant of a call with a token; `None` for the user's own programs.
    fn admit(&self, request: &http::Request<Body>) -> Result<Option<Grant>, Rejection> {
        let Some(value) = request.headers().get(http::header::AUTHORIZATION) else {
            return Ok(None);
        };
        let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let grant = self.accounts.admit(token.unwrap_or_default(), now_us())?;
        match need(request.uri().path()) {
            Need::Token => {}
            Need::Scope(scope) => grant.needs(scope)?,
            Need::NoToken => return Err(Rejection::ScopeMissing("local")),
        }
        Ok(Some(grant))
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            gate: self.clone(),
            inner,
        }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let grant = match self.gate.admit(&request) {
            Ok(grant) => grant,
            Err(no) => return Box::pin(async move { Ok(No::from(no).into_http()) }),
        };
        let Some(grant) = grant else {
            return Box::pin(self.inner.call(request));
        };
        let revoked = grant.revoked.clone();
        request.extensions_mut().insert(grant);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let cut = Box::pin(revoked.cancelled_owned());
            Ok(answer.await?.map(|body| {
                Body::new(UntilRevoked {
                    body,
                    cut,
                    ended: false,
                })
            }))
        })
    }
}

/// A body that ends when its device is revoked.
struct UntilRevoked {
    body: Body,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl http_body::Body for UntilRevoked {
    type Data = bytes::Bytes;
    type Error = No;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.cut.as_mut().poll(cx).is_ready() {
            self.ended = true;
            let trailers = No::from(Rejection::TokenRefused)
                .into_http::<()>()
                .into_parts()
                .0
                .headers;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contract_has_its_need() {
        let descriptor: prost_types::FileDescriptorSet =
            prost::Message::decode(agentd_proto::pb::DESCRIPTOR).unwrap();
        let mut admin = Vec::new();
        for service in descriptor.file.iter().flat_map(|f| &f.service) {
            for method in &service.method {
                let path = format!("/agentd.v1.{}/{}", service.name(), method.name());
                if need(&path) == Need::Scope(Scope::Admin) {
                    admin.push(format!("{}/{}", service.name(), method.name()));
                }
            }
        }
        // A new method lands here by itself; whoever adds one decides whether that is right.
        assert_eq!(
            admin,
            [
                "AccountService/CreatePairing",
                "DaemonService/StopDaemon",
                "DaemonService/RunDoctor",
                "DaemonService/TestModel",
                "DaemonService/SetCredential",
                "DaemonService/ListCredentials",
                "DaemonService/DeleteCredential",
                "PolicyService/SavePersona",
                "PolicyService/DeletePersona",
                "PolicyService/SavePolicy",
                "PolicyService/DeletePolicy",
                "UsageService/ForgetPrincipal",
                "UsageService/SetBudget",
                "UsageService/DeleteBudget",
            ]
        );
        assert_eq!(
            need("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            Need::Scope(Scope::Admin)
        );
    }
}
