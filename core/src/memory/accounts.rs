use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use super::lock;
use crate::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use crate::api_key::{ApiKey, ApiKeyId, KeyDigest};

/// Accounts in a map, by their address in lower case.
#[derive(Clone, Default)]
pub struct MemoryAccounts {
    accounts: Arc<Mutex<BTreeMap<String, Account>>>,
    api_keys: Arc<Mutex<Vec<ApiKey>>>,
    tallies: Arc<Mutex<BTreeMap<TallyName, Tally>>>,
}

impl MemoryAccounts {
    /// Does something to the account of this id.
    fn with<T>(&self, id: AccountId, change: impl FnOnce(&mut Account) -> T) -> Result<T, AuthError> {
        let mut accounts = lock(&self.accounts);
        accounts.values_mut().find(|account| account.id == id).map(change).ok_or(AuthError::NotFound)
    }
}

#[async_trait]
impl AuthStore for MemoryAccounts {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        let mut accounts = lock(&self.accounts);
        let name = account.email.canonical();
        if accounts.contains_key(&name) {
            return Err(AuthError::AlreadyExists);
        }
        accounts.insert(name, account.clone());
        Ok(())
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        Ok(lock(&self.accounts).get(&email.canonical()).cloned())
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        Ok(lock(&self.accounts).values().find(|account| account.id == id).cloned())
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        let from = after.map_or(Bound::Unbounded, |email| Bound::Excluded(email.canonical()));
        let accounts = lock(&self.accounts);
        Ok(accounts.range((from, Bound::Unbounded)).take(limit).map(|(_, account)| account.clone()).collect())
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        self.with(id, |account| {
            account.password = to.clone();
            account.password_changed_at = changed_at;
        })
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        let replaced = self.with(id, |account| {
            let same = account.password == *from;
            if same {
                account.password = to.clone();
            }
            same
        });
        Ok(replaced.unwrap_or(false))
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        self.with(id, |account| account.disabled = disabled)
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        lock(&self.accounts).retain(|_, account| account.id != id);
        lock(&self.api_keys).retain(|key| key.account != id);
        Ok(())
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        self.with(key.account, |_| lock(&self.api_keys).push(key.clone()))
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        Ok(lock(&self.api_keys).iter().find(|key| key.digest == *digest).cloned())
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        let mut keys: Vec<_> = lock(&self.api_keys).iter().filter(|key| key.account == account).cloned().collect();
        keys.sort_by_key(|key| (key.created_at, key.id));
        Ok(keys)
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        let mut keys = lock(&self.api_keys);
        let before = keys.len();
        keys.retain(|key| (key.account, key.id) != (account, id));
        Ok(keys.len() < before)
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        Ok(lock(&self.tallies).get(name).copied())
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        let mut tallies = lock(&self.tallies);
        let same = tallies.get(name).copied() == from;
        match to {
            Some(to) if same => drop(tallies.insert(name.clone(), to)),
            None if same => drop(tallies.remove(name)),
            _ => {}
        }
        Ok(same)
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        lock(&self.tallies).retain(|_, tally| tally.at >= before);
        Ok(())
    }

    async fn ping(&self) -> Result<(), AuthError> {
        Ok(())
    }
}
