//! Owns: what was granted to projects, at hand for every decision.
//! Guarantees: as the store has it after each answer and each taking back; what is over counts for nothing.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use crate::domain::approval::ProjectGrant;
use crate::domain::policy::Rule;
use crate::store::{Store, StoreError};

/// What was granted to projects.
#[derive(Debug, Default)]
pub struct ProjectGrants(RwLock<Vec<(ProjectGrant, Rule)>>);

impl ProjectGrants {
    /// Reads what the store has.
    pub async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let all = store.project_grants().await?;
        let counting = all.into_iter().filter(|grant| grant.revoked_us.is_none());
        let read = counting.filter_map(|grant| {
            let rule = grant.rule.parse().ok()?;
            Some((grant, rule))
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read.collect();
        Ok(())
    }

    /// The rules that count for a person's sessions on a directory now.
    pub fn rules(&self, principal: &str, workspace: &Path, now_us: i64) -> Vec<Rule> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let counting = all.iter().filter(|(grant, _)| {
            grant.expires_us > now_us
                && grant.principal == principal
                && Path::new(&grant.workspace) == workspace
        });
        counting.map(|(_, rule)| rule.clone()).collect()
    }
}
