//! Accounts whose server is not there yet: it may come up after us, and until then everything else works.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest};
use microserve_core::open::SecretUrl;
use microserve_core::pool::PoolState;
use microserve_core::{BoxError, Retryable, Shutdown};
use tracing::{info, warn};

use crate::open::AGAIN;
use crate::registry::Registry;

/// An account store that is opened when it can be.
struct LateAccounts(Arc<OnceLock<Arc<dyn AuthStore>>>);

/// Opens the accounts, or stands in for them until that is possible.
///
/// # Errors
/// When trying again won't help.
pub(crate) async fn accounts(
    registry: &Registry,
    url: SecretUrl,
    shutdown: &Shutdown,
) -> Result<Arc<dyn AuthStore>, BoxError> {
    match registry.accounts.open(&url).await {
        Ok(accounts) => Ok(accounts),
        Err(err) if err.is_retryable() => {
            warn!(
                error = &err as &dyn std::error::Error,
                "starting without accounts; trying again until they are there"
            );
            let store = Arc::new(OnceLock::new());
            let (schemes, opened, stop) = (registry.accounts.clone(), Arc::clone(&store), shutdown.clone());
            shutdown.spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.stop().cancelled() => return,
                        () = tokio::time::sleep(AGAIN) => {}
                    }
                    match schemes.open(&url).await {
                        Ok(accounts) => {
                            info!("the accounts are there");
                            let _only_this_task_sets_it = opened.set(accounts);
                            return;
                        }
                        Err(err) => warn!(error = &err as &dyn std::error::Error, "still without accounts"),
                    }
                }
            });
            Ok(Arc::new(LateAccounts(store)))
        }
        Err(err) => Err(err.into()),
    }
}

impl LateAccounts {
    fn store(&self) -> Result<&dyn AuthStore, AuthError> {
        self.0.get().map(|store| &**store).ok_or_else(|| AuthError::Unavailable("not connected yet".into()))
    }
}

#[async_trait]
impl AuthStore for LateAccounts {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        self.store()?.insert(account).await
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        self.store()?.find(email).await
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        self.store()?.get(id).await
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        self.store()?.list(after, limit).await
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        self.store()?.set_password(id, to, changed_at).await
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        self.store()?.rehash(id, from, to).await
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        self.store()?.set_disabled(id, disabled).await
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.store()?.delete(id).await
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        self.store()?.insert_api_key(key).await
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        self.store()?.find_api_key(digest).await
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        self.store()?.api_keys(account).await
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        self.store()?.delete_api_key(account, id).await
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        self.store()?.tally(name).await
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        self.store()?.swap_tally(name, from, to).await
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.store()?.forget_tallies(before).await
    }

    fn pool(&self) -> Option<PoolState> {
        self.store().ok()?.pool()
    }

    async fn ping(&self) -> Result<(), AuthError> {
        self.store()?.ping().await
    }
}
