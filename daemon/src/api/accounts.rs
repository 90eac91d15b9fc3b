//! Owns: AccountService: devices and the codes that make them.

use agentd_proto::pb;
use pb::account_service_server::AccountService;
use tonic::{Request, Response};

use super::auth::require;
use super::convert::timestamp;
use super::peer::caller;
use super::status::{Reply, internal, invalid};
use crate::accounts::{Accounts, Device, Grant};
use crate::clock::now_us;
use crate::domain::principal::Scope;
use crate::domain::rejection::Rejection;

/// The service.
pub(super) struct Devices {
    accounts: Accounts,
}

impl Devices {
    pub(super) fn new(accounts: Accounts) -> Self {
        Self { accounts }
    }
}

fn wire(device: Device, caller: Option<&Grant>) -> pb::Device {
    pb::Device {
        is_caller: caller.is_some_and(|grant| grant.device.device_id == device.device_id),
        device_id: device.device_id.to_string(),
        name: device.name,
        scopes: device.scopes.into_iter().map(|s| scope(s).into()).collect(),
        create_time: Some(timestamp(device.created_us)),
        seen_time: Some(timestamp(device.seen_us)),
        expire_time: Some(timestamp(device.expires_us)),
    }
}

fn scope(scope: Scope) -> pb::Scope {
    match scope {
        Scope::Read => pb::Scope::Read,
        Scope::Drive => pb::Scope::Drive,
        Scope::Approve => pb::Scope::Approve,
        Scope::Admin => pb::Scope::Admin,
    }
}

fn asked(scopes: &[i32]) -> Result<Vec<Scope>, Rejection> {
    if scopes.is_empty() {
        return Ok(Scope::ALL.to_vec());
    }
    let one = |number: &i32| match pb::Scope::try_from(*number) {
        Ok(pb::Scope::Read) => Ok(Scope::Read),
        Ok(pb::Scope::Drive) => Ok(Scope::Drive),
        Ok(pb::Scope::Approve) => Ok(Scope::Approve),
        Ok(pb::Scope::Admin) => Ok(Scope::Admin),
        _ => Err(invalid("scopes holds an unknown one")),
    };
    scopes.iter().map(one).collect()
}

#[tonic::async_trait]
impl AccountService for Devices {
    async fn create_pairing(
        &self,
        request: Request<pb::CreatePairingRequest>,
    ) -> Reply<pb::CreatePairingResponse> {
        let scopes = asked(&request.get_ref().scopes)?;
        let (code, life) = self.accounts.create_pairing(scopes).map_err(|e| internal(&e))?;
        let until = now_us().saturating_add(i64::try_from(life.as_micros()).unwrap_or(0));
        Ok(Response::new(pb::CreatePairingResponse {
            code,
            expire_time: Some(timestamp(until)),
        }))
    }

    async fn redeem_pairing(
        &self,
        request: Request<pb::RedeemPairingRequest>,
    ) -> Reply<pb::RedeemPairingResponse> {
        let wish = request.into_inner();
        let (device, token) = self.accounts.redeem(&wish.code, &wish.device_name, now_us())?;
        tracing::info!(device = %device.device_id, "a device was paired");
        Ok(Response::new(pb::RedeemPairingResponse {
            device: Some(wire(device, None)),
            token,
        }))
    }

    async fn get_caller(&self, request: Request<pb::GetCallerRequest>) -> Reply<pb::GetCallerResponse> {
        let grant = request.extensions().get::<Grant>();
        let scopes = grant.map_or_else(|| Scope::ALL.to_vec(), |g| g.device.scopes.clone());
        Ok(Response::new(pb::GetCallerResponse {
            principal: caller(&request, "").principal,
            scopes: scopes.into_iter().map(|s| scope(s).into()).collect(),
            device: grant.map(|g| wire(g.device.clone(), Some(g))),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn list_devices(&self, request: Request<pb::ListDevicesRequest>) -> Reply<pb::ListDevicesResponse> {
        let grant = request.extensions().get::<Grant>();
        let all = require(&request, Scope::Admin).is_ok();
        let devices = self.accounts.list(now_us()).into_iter().map(|d| wire(d, grant));
        Ok(Response::new(pb::ListDevicesResponse {
            devices: devices.filter(|d| all || d.is_caller).collect(),
        }))
    }

    async fn revoke_device(
        &self,
        request: Request<pb::RevokeDeviceRequest>,
    ) -> Reply<pb::RevokeDeviceResponse> {
        let own = request
            .extensions()
            .get::<Grant>()
            .map(|g| g.device.device_id.to_string());
        let wanted = match (request.get_ref().device_id.as_str(), own) {
            ("", Some(own)) => own,
            ("", None) => return Err(invalid("device_id is missing").into()),
            (id, Some(own)) if id == own => own,
            (id, _) => {
                require(&request, Scope::Admin)?;
                id.to_owned()
            }
        };
        let device = self.accounts.revoke(&wanted)?;
        tracing::info!(device = %device.device_id, "a device was revoked");
        Ok(Response::new(pb::RevokeDeviceResponse {
            device: Some(wire(device, None)),
        }))
    }
}
