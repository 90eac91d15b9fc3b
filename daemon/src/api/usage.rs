//! Owns: UsageService: sums, forecast, export, comparison, budgets, alerts.

use std::pin::Pin;

use agentd_proto::pb;
use futures::Stream;
use pb::usage_service_server::UsageService;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response};

use super::convert::usage as convert;
use super::peer::{caller, key};
use super::status::{No, Reply, invalid};
use crate::domain::id::BudgetId;
use crate::domain::rejection::Rejection;
use crate::ledger::{Ledger, Query, Wish};

/// Most bytes of a file to compare with.
const MAX_FILE: usize = 32 * 1024 * 1024;
/// Most alerts in one list.
const MAX_PAGE: u32 = 1_000;

/// The service.
pub(super) struct UsageApi {
    ledger: Ledger,
}

impl UsageApi {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

/// The id of a budget made by this request: a retry makes the same one.
fn made_by(request_id: &str) -> Result<BudgetId, Rejection> {
    if request_id.is_empty() {
        return Ok(BudgetId::random());
    }
    let digest = Sha256::digest(request_id.as_bytes());
    let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("b-{tail}")
        .parse()
        .map_err(|_| invalid("request_id is not a UUID"))
}

#[tonic::async_trait]
impl UsageService for UsageApi {
    async fn query_usage(&self, request: Request<pb::QueryUsageRequest>) -> Reply<pb::QueryUsageResponse> {
        let wish = request.into_inner();
        let query = Query {
            range: convert::range(wish.range)?,
            zone: wish.time_zone,
            group_by: convert::dimension(wish.group_by)?,
            bucket: convert::bucket(wish.bucket)?,
            filters: convert::filters(wish.filters)?,
            max_groups: usize::try_from(wish.max_groups).unwrap_or(usize::MAX),
            latency: wish.with_latency,
        };
        Ok(Response::new(self.ledger.query(query).await?.into()))
    }

    async fn forecast_usage(
        &self,
        request: Request<pb::ForecastUsageRequest>,
    ) -> Reply<pb::ForecastUsageResponse> {
        let wish = request.into_inner();
        let filters = convert::filters(wish.filters)?;
        Ok(Response::new(
            self.ledger.forecast(&wish.time_zone, filters).await?.into(),
        ))
    }

    type ExportUsageStream = Pin<Box<dyn Stream<Item = Result<pb::ExportUsageResponse, No>> + Send>>;

    async fn export_usage(&self, request: Request<pb::ExportUsageRequest>) -> Reply<Self::ExportUsageStream> {
        let wish = request.into_inner();
        let export = self.ledger.export(Wish {
            range: convert::range(wish.range)?,
            zone: wish.time_zone,
            filters: convert::filters(wish.filters)?,
            format: convert::format(wish.format)?,
            tool_calls: wish.tool_calls,
        })?;
        let pieces = futures::stream::try_unfold(export, |mut export| async move {
            let piece = export.next().await.map_err(No::from)?;
            Ok(piece.map(|(data, rows)| (pb::ExportUsageResponse { data, rows }, export)))
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn reconcile_usage(
        &self,
        request: Request<pb::ReconcileUsageRequest>,
    ) -> Reply<pb::ReconcileUsageResponse> {
        let wish = request.into_inner();
        if wish.data.len() > MAX_FILE {
            return Err(invalid("the file has more than 32 MiB").into());
        }
        Ok(Response::new(
            self.ledger.reconcile(&wish.data, &wish.provider).await?.into(),
        ))
    }

    async fn forget_principal(
        &self,
        request: Request<pb::ForgetPrincipalRequest>,
    ) -> Reply<pb::ForgetPrincipalResponse> {
        let wish = request.into_inner();
        let rows = self.ledger.forget_principal(&wish.principal, wish.delete).await?;
        Ok(Response::new(pb::ForgetPrincipalResponse { rows }))
    }

    async fn list_budgets(
        &self,
        _request: Request<pb::ListBudgetsRequest>,
    ) -> Reply<pb::ListBudgetsResponse> {
        let budgets = self.ledger.budgets().await?;
        Ok(Response::new(pb::ListBudgetsResponse {
            budgets: budgets.into_iter().map(Into::into).collect(),
        }))
    }

    async fn set_budget(&self, request: Request<pb::SetBudgetRequest>) -> Reply<pb::SetBudgetResponse> {
        // Checks the id's form; the budget's own id makes a retry safe.
        key(&request.get_ref().request_id, "SetBudget", request.get_ref())?;
        let wish = request.into_inner();
        let budget = convert::budget(wish.budget)?;
        let standing = self.ledger.set_budget(budget, made_by(&wish.request_id)?).await?;
        Ok(Response::new(pb::SetBudgetResponse {
            budget: Some(standing.into()),
        }))
    }

    async fn delete_budget(
        &self,
        request: Request<pb::DeleteBudgetRequest>,
    ) -> Reply<pb::DeleteBudgetResponse> {
        self.ledger.delete_budget(&request.get_ref().budget_id).await?;
        Ok(Response::new(pb::DeleteBudgetResponse {}))
    }

    async fn list_alerts(&self, request: Request<pb::ListAlertsRequest>) -> Reply<pb::ListAlertsResponse> {
        let wish = request.into_inner();
        let limit = if wish.page_size == 0 {
            100
        } else {
            wish.page_size.min(MAX_PAGE)
        };
        let alerts = self.ledger.alerts(wish.include_acknowledged, limit).await?;
        Ok(Response::new(pb::ListAlertsResponse {
            alerts: alerts.into_iter().map(Into::into).collect(),
        }))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<pb::AcknowledgeAlertRequest>,
    ) -> Reply<pb::AcknowledgeAlertResponse> {
        let who = caller(&request, &request.get_ref().request_id);
        let alert = self
            .ledger
            .acknowledge(&request.get_ref().alert_id, who.signature())
            .await?;
        Ok(Response::new(pb::AcknowledgeAlertResponse {
            alert: Some(alert.into()),
        }))
    }
}
