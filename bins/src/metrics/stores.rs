//! Accounts, blobs and jobs, counted.

use std::ops::Range;

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest};
use microserve_core::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use microserve_core::job::{Job, JobError, JobId, JobStore, ListQuery};
use microserve_core::pool::PoolState;
use microserve_core::quota::Usage;

use super::ports::Measured;

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: BlobStore + ?Sized> BlobStore for Measured<P> {
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        self.calls.run("put", self.inner.put(fid, meta, body)).await
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        self.calls.run("head", self.inner.head(fid)).await
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        self.calls.run("get", self.inner.get(fid, range)).await
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        self.calls.run("delete", self.inner.delete(fid)).await
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        self.calls.run("list", self.inner.list(after, limit)).await
    }

    async fn ping(&self) -> Result<(), BlobError> {
        self.calls.run("ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: AuthStore + ?Sized> AuthStore for Measured<P> {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        self.calls.run("insert", self.inner.insert(account)).await
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        self.calls.run("find", self.inner.find(email)).await
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        self.calls.run("get", self.inner.get(id)).await
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        self.calls.run("list", self.inner.list(after, limit)).await
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        self.calls.run("set_password", self.inner.set_password(id, to, changed_at)).await
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        self.calls.run("rehash", self.inner.rehash(id, from, to)).await
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        self.calls.run("set_disabled", self.inner.set_disabled(id, disabled)).await
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.calls.run("delete", self.inner.delete(id)).await
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        self.calls.run("insert_api_key", self.inner.insert_api_key(key)).await
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        self.calls.run("find_api_key", self.inner.find_api_key(digest)).await
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        self.calls.run("api_keys", self.inner.api_keys(account)).await
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        self.calls.run("delete_api_key", self.inner.delete_api_key(account, id)).await
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        self.calls.run("tally", self.inner.tally(name)).await
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        self.calls.run("swap_tally", self.inner.swap_tally(name, from, to)).await
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.calls.run("forget_tallies", self.inner.forget_tallies(before)).await
    }

    fn pool(&self) -> Option<PoolState> {
        self.inner.pool()
    }

    async fn ping(&self) -> Result<(), AuthError> {
        self.calls.run("ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: JobStore + ?Sized> JobStore for Measured<P> {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        self.calls.run("insert", self.inner.insert(job)).await?;
        self.calls.wrote(job.status().as_str());
        Ok(())
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        self.calls.run("get", self.inner.get(id)).await
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        self.calls.run("get_many", self.inner.get_many(ids)).await
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        let job = self.calls.run("update", self.inner.update(job)).await?;
        self.calls.wrote(job.status().as_str());
        Ok(job)
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        self.calls.run("remove", self.inner.remove(job)).await?;
        self.calls.wrote("gone");
        Ok(())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        self.calls.run("list", self.inner.list(query)).await
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        self.calls.run("due", self.inner.due(before, limit)).await
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        self.calls.run("usage", self.inner.usage(owner, since)).await
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        self.calls.run("queued_before", self.inner.queued_before(moment)).await
    }

    fn pool(&self) -> Option<PoolState> {
        self.inner.pool()
    }

    async fn ping(&self) -> Result<(), JobError> {
        self.calls.run("ping", self.inner.ping()).await
    }
}
