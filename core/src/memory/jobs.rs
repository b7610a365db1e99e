use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use super::lock;
use crate::account::AccountId;
use crate::job::{Job, JobError, JobId, JobStore, ListQuery, State, Status};
use crate::quota::Usage;

/// Jobs in a map. Lists go through all of it: a real store has an index on the owner and one on `due_at`.
#[derive(Clone, Default)]
pub struct MemoryJobs {
    jobs: Arc<Mutex<HashMap<JobId, Job>>>,
}

#[async_trait]
impl JobStore for MemoryJobs {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        let mut jobs = lock(&self.jobs);
        if jobs.contains_key(&job.id) {
            return Err(JobError::Conflict);
        }
        jobs.insert(job.id, job.clone());
        Ok(())
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        Ok(lock(&self.jobs).get(&id).cloned())
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        let ids: HashSet<&JobId> = ids.iter().collect();
        let jobs = lock(&self.jobs);
        Ok(ids.into_iter().filter_map(|id| jobs.get(id).cloned()).collect())
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        // Comparing and swapping under one lock is all that makes concurrent workers safe.
        let mut jobs = lock(&self.jobs);
        let stored = jobs.get_mut(&job.id).filter(|stored| stored.version == job.version).ok_or(JobError::Conflict)?;
        *stored = Job { version: job.version + 1, ..job };
        Ok(stored.clone())
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        let mut jobs = lock(&self.jobs);
        if jobs.get(&job.id).is_some_and(|stored| stored.version != job.version) {
            return Err(JobError::Conflict);
        }
        jobs.remove(&job.id);
        Ok(())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        let wanted = |job: &&Job| {
            query.owner.is_none_or(|owner| job.owner == owner)
                && job.state != State::Deleted
                && query.status.is_none_or(|status| job.status() == status)
                && query.after.is_none_or(|after| (job.created_at, job.id) < after)
        };
        let mut list: Vec<Job> = lock(&self.jobs).values().filter(wanted).cloned().collect();
        list.sort_by_key(|job| Reverse((job.created_at, job.id)));
        list.truncate(query.limit);
        Ok(list)
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        let is_due = |job: &&Job| job.due_at.is_some_and(|at| at <= before);
        let mut due: Vec<Job> = lock(&self.jobs).values().filter(is_due).cloned().collect();
        due.sort_by_key(|job| (job.due_at, job.id));
        due.truncate(limit);
        Ok(due)
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        let mut usage = Usage::default();
        for job in lock(&self.jobs).values().filter(|job| job.owner == owner) {
            let seconds = if job.created_at >= since { job.seconds() } else { 0.0 };
            usage.add(job.status(), 1, u64::from(job.bytes() > 0), job.bytes(), seconds);
        }
        Ok(usage)
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        let waits = |job: &&Job| job.status() == Status::Queued && job.created_at < moment;
        Ok(lock(&self.jobs).values().filter(waits).count() as u64)
    }

    async fn ping(&self) -> Result<(), JobError> {
        Ok(())
    }
}
