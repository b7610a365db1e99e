//! The port that keeps jobs.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Job, JobId, NotPossible, Policy, Status};
use crate::account::AccountId;
use crate::pool::PoolState;
use crate::quota::Usage;
use crate::retry::{Backoff, BoxError, Retryable};

/// So many jobs can be asked for with [`JobStore::get_many`].
pub const MOST_AT_ONCE: usize = 1000;

/// Keeps jobs: compares versions and swaps, and decides nothing.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Adds a job. (Checks: `inserted_is_found`, `second_insert_is_refused`.)
    ///
    /// # Errors
    /// [`JobError::Conflict`] when there is one of this id; [`JobError::Unavailable`], [`JobError::Internal`].
    async fn insert(&self, job: &Job) -> Result<(), JobError>;

    /// Finds a job. (Checks: `inserted_is_found`, `every_field_is_kept`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError>;

    /// Finds jobs, in one query: those of `ids` that exist, each once and in any order. One that is there and can't be read
    /// is left out, so that it hides no other. (Checks: `many_are_found_at_once`, `nothing_is_found_of_nothing`.)
    ///
    /// `ids` are at most [`MOST_AT_ONCE`]; a store may refuse more with [`JobError::Internal`].
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError>;

    /// Replaces the job of this id if the store still holds `job.version`, and returns it with the next version.
    /// (Checks: `update_bumps_the_version`, `stale_update_is_a_conflict`, `racing_updates_have_one_winner`.)
    ///
    /// # Errors
    /// [`JobError::Conflict`] when the version is another or the job is gone; [`JobError::Unavailable`] — the outcome
    /// is unknown then, see [`JobStoreExt::save`]; [`JobError::Internal`].
    async fn update(&self, job: Job) -> Result<Job, JobError>;

    /// Removes the job if the store still holds `job.version`. Removing one that is gone succeeds.
    /// (Checks: `removed_is_gone`, `stale_remove_is_a_conflict`.)
    ///
    /// # Errors
    /// [`JobError::Conflict`], [`JobError::Unavailable`], [`JobError::Internal`].
    async fn remove(&self, job: &Job) -> Result<(), JobError>;

    /// Jobs of one owner or of everybody, newest first (`created_at`, then `id`, both descending), without deleted ones.
    /// (Checks: `list_shows_only_the_owners`, `list_pages_newest_first`, `list_filters_by_status`,
    /// `list_without_an_owner_shows_everybodys`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError>;

    /// Jobs whose `due_at` is at or before `before`, the longest overdue first. (Checks: `due_is_ordered_and_bounded`,
    /// `undated_jobs_are_never_due`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError>;

    /// What an owner's jobs take up, deleted ones included as far as they are still there: see [`Usage::add`],
    /// [`Job::bytes`] and [`Job::seconds`], of which a store keeps what they were when the job was written. Seconds are
    /// those of jobs made at `since` or later. (Check: `usage_is_the_sum_of_the_owners_jobs`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError>;

    /// How many jobs of everybody are queued and were made before a moment. (Check: `queued_ones_are_counted`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError>;

    /// The connections that it keeps to its server. None by default: it keeps none, or does not tell.
    fn pool(&self) -> Option<PoolState> {
        None
    }

    /// Whether the store can be used right now. (Check: `ping_succeeds`.)
    ///
    /// # Errors
    /// [`JobError::Unavailable`], [`JobError::Internal`].
    async fn ping(&self) -> Result<(), JobError>;
}

/// Which jobs to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Whose; `None`: everybody's.
    pub owner: Option<AccountId>,
    /// Only those of this status.
    pub status: Option<Status>,
    /// Only those behind this one in the list: its `created_at` and `id`.
    pub after: Option<(Timestamp, JobId)>,
    /// At most so many.
    pub limit: usize,
}

/// What can be said with the port's own methods, for every adapter.
#[async_trait]
pub trait JobStoreExt {
    /// As [`JobStore::update`], but certain: when the answer is lost, it is read again whether the change is there,
    /// and tried again for some seconds.
    ///
    /// # Errors
    /// [`JobError::Conflict`] when somebody else changed the job; [`JobError::Unavailable`] when the store did not
    /// answer for long: the outcome is unknown; [`JobError::Internal`].
    async fn save(&self, job: Job) -> Result<Job, JobError>;
}

#[async_trait]
impl<S: JobStore + ?Sized> JobStoreExt for S {
    async fn save(&self, job: Job) -> Result<Job, JobError> {
        let mut maybe_written = false;
        for n in 1..=6 {
            match self.update(job.clone()).await {
                Err(JobError::Conflict) if maybe_written => {
                    // The version has moved on: by our own lost write, or by somebody else's.
                    match self.get(job.id).await {
                        Ok(Some(stored)) if is_written(&job, &stored) => return Ok(stored),
                        Ok(_) => return Err(JobError::Conflict),
                        Err(err) if !err.is_retryable() => return Err(err),
                        Err(_) => {}
                    }
                }
                Err(err) if err.is_retryable() && n < 6 => maybe_written = true,
                outcome => return outcome,
            }
            tokio::time::sleep(SAVE_AGAIN.delay(n, u64::from(n))).await;
        }
        Err(JobError::Unavailable("the store did not say whether the job was saved".into()))
    }
}

const SAVE_AGAIN: Backoff = Backoff { first: Duration::from_millis(100), factor: 3, max: Duration::from_secs(5) };

/// Whether `stored` is `job` one version later, and so our own write.
fn is_written(job: &Job, stored: &Job) -> bool {
    let ours = Job { version: job.version + 1, ..job.clone() };
    ours == *stored
}

/// Reads a job, takes a step and saves it; when somebody else got there first, reads again and decides anew.
///
/// # Errors
/// [`ChangeError::Gone`]; [`ChangeError::NotPossible`] when the step can't be taken from where the job stands now;
/// [`ChangeError::Store`], whose [`JobError::Unavailable`] leaves the outcome unknown.
pub async fn change<F>(store: &dyn JobStore, id: JobId, mut step: F) -> Result<Job, ChangeError>
where
    F: FnMut(Job) -> Result<Job, NotPossible>,
{
    let mut rounds = 0;
    loop {
        let job = store.get(id).await?.ok_or(ChangeError::Gone)?;
        rounds += 1;
        match store.save(step(job)?).await {
            Err(JobError::Conflict) if rounds < 16 => {}
            saved => return Ok(saved?),
        }
    }
}

/// Deletes every job of an owner, unfinished ones too. Their files go with them when a relay comes by. Returns how many
/// there were. What begins meanwhile may be missed: whoever deletes an account looks again afterwards.
///
/// # Errors
/// [`JobError`], after a part of them; the rest can be deleted by trying again.
pub async fn delete_all(store: &dyn JobStore, owner: AccountId, now: Timestamp, p: &Policy) -> Result<u64, JobError> {
    let mut deleted = 0;
    let mut query = ListQuery { owner: Some(owner), status: None, after: None, limit: 100 };
    loop {
        let page = store.list(&query).await?;
        let Some(last) = page.last() else { return Ok(deleted) };
        // A job that can't be deleted just now must not be met again and again.
        query.after = Some((last.created_at, last.id));
        for job in page {
            let gone = change(store, job.id, |job| {
                let job = if job.status().is_final() { job } else { job.cancel(now, p)? };
                job.delete(now, p)
            });
            match gone.await {
                Ok(_) | Err(ChangeError::Gone | ChangeError::NotPossible(_)) => deleted += 1,
                Err(ChangeError::Store(err)) => return Err(err),
            }
        }
    }
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such job (any more).
    #[error("the job is gone")]
    Gone,
    /// It can't be taken from where the job stands.
    #[error(transparent)]
    NotPossible(#[from] NotPossible),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] JobError),
}

/// Why jobs can't be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Somebody else changed the job: read it again and decide anew.
    #[error("the job was changed by somebody else")]
    Conflict,
    /// The store can't be reached or is busy; a change may have been made or not.
    #[error("the job store is unavailable")]
    Unavailable(#[source] BoxError),
    /// The store is broken or misused: trying again won't help.
    #[error("the job store failed")]
    Internal(#[source] BoxError),
}

impl Retryable for JobError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
