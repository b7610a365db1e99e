//! Watch: any number of watchers follow jobs, and the store is asked once for all of them.
//!
//! One task asks about every watched job in batches, twice a second, and hands out what has changed; it runs only while
//! somebody watches. So a thousand people who look at their progress cost the store a few queries a second, and a job
//! that is watched a thousand times is read once. Changes that come faster than a watcher takes them are one: it
//! finds the latest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::account::AccountId;
use crate::job::{Job, JobError, JobId, JobStore, State};
use crate::retry::Backoff;
use crate::shutdown::Shutdown;

/// How often the store is asked.
const EVERY: Duration = Duration::from_millis(500);
/// So many jobs are asked for at a time: less than [`MOST_AT_ONCE`](crate::job::MOST_AT_ONCE).
const BATCH: usize = 500;
/// When to ask a store again that does not answer.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), factor: 2, max: Duration::from_secs(5) };

/// Lets watchers follow jobs. Clones are the same.
#[derive(Clone)]
pub struct Watches(Arc<Hub>);

struct Hub {
    jobs: Arc<dyn JobStore>,
    shutdown: Shutdown,
    most: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    watched: HashMap<JobId, watch::Sender<Arc<Job>>>,
    watchers: usize,
    by_owner: HashMap<AccountId, usize>,
    /// There is a task that asks.
    asking: bool,
}

impl Watches {
    /// So many watchers at a time unless told otherwise.
    pub const MOST: usize = 1024;

    /// At most `most` watchers at a time, and a quarter of them of one account's jobs, so that nobody keeps all others
    /// from watching. What asks the store is a task of `shutdown`, whose stop ends every watch.
    #[must_use]
    pub fn new(jobs: Arc<dyn JobStore>, shutdown: &Shutdown, most: usize) -> Self {
        Self(Arc::new(Hub { jobs, shutdown: shutdown.clone(), most, table: Mutex::default() }))
    }

    /// Follows a job that was read just now.
    ///
    /// # Errors
    /// [`TooManyWatchers`].
    pub fn watch(&self, job: Job) -> Result<Watcher, TooManyWatchers> {
        let (id, owner) = (job.id, job.owner);
        let mut table = self.0.table();
        let of_owner = table.by_owner.get(&owner).copied().unwrap_or_default();
        if table.watchers >= self.0.most || of_owner >= self.0.most.div_ceil(4) {
            return Err(TooManyWatchers);
        }
        table.watchers += 1;
        table.by_owner.insert(owner, of_owner + 1);
        let receiver = match table.watched.entry(id) {
            Entry::Occupied(known) => {
                replace_older(known.get(), job);
                known.get().subscribe()
            }
            Entry::Vacant(free) => {
                let (sender, receiver) = watch::channel(Arc::new(job));
                free.insert(sender);
                receiver
            }
        };
        let is_asking = std::mem::replace(&mut table.asking, true);
        drop(table);
        if !is_asking {
            let hub = Arc::clone(&self.0);
            self.0.shutdown.spawn(async move { hub.ask_on().await });
        }
        Ok(Watcher { hub: Arc::clone(&self.0), id, owner, job: receiver })
    }

    /// How many watchers there are.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.table().watchers
    }
}

impl Hub {
    /// Held for a moment that has no `.await`. Nothing in it panics half-way through a change.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store until nobody watches any more, or the process stops.
    async fn ask_on(&self) {
        let mut failures = 0;
        let stop = self.shutdown.stop();
        loop {
            let pause = if failures == 0 { EVERY } else { AGAIN.delay(failures, 0) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return self.end_all(),
            }
            let Some(ids) = self.watched() else { return };
            let asked = tokio::select! {
                asked = self.ask(&ids) => asked,
                () = stop.cancelled() => return self.end_all(),
            };
            match asked {
                Ok(()) if failures == 0 => {}
                Ok(()) => {
                    info!("watched jobs can be asked about again");
                    failures = 0;
                }
                Err(err) => {
                    if failures == 0 {
                        warn!(error = &err as &dyn std::error::Error, "can't ask about watched jobs: trying again");
                    }
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// What to ask about. When there is nothing, nobody asks from here on: the next watcher begins it anew.
    fn watched(&self) -> Option<Vec<JobId>> {
        let mut table = self.table();
        if table.watched.is_empty() {
            table.asking = false;
            return None;
        }
        Some(table.watched.keys().copied().collect())
    }

    async fn ask(&self, ids: &[JobId]) -> Result<(), JobError> {
        for batch in ids.chunks(BATCH) {
            let found = self.jobs.get_many(batch).await?;
            self.tell(batch, found);
        }
        Ok(())
    }

    /// Hands out what was found of the jobs that were asked for. A watch ends when its sender is dropped.
    fn tell(&self, asked: &[JobId], found: Vec<Job>) {
        let mut gone: HashSet<JobId> = asked.iter().copied().collect();
        let mut table = self.table();
        for job in found.into_iter().filter(|job| job.state != State::Deleted) {
            gone.remove(&job.id);
            if let Some(known) = table.watched.get(&job.id) {
                replace_older(known, job);
            }
        }
        table.watched.retain(|id, _| !gone.contains(id));
    }

    fn end_all(&self) {
        let mut table = self.table();
        table.watched.clear();
        table.asking = false;
    }
}

/// An answer may be older than what a watcher came with.
fn replace_older(known: &watch::Sender<Arc<Job>>, job: Job) {
    known.send_if_modified(|known| {
        let is_newer = job.version > known.version;
        if is_newer {
            *known = Arc::new(job);
        }
        is_newer
    });
}

/// Somebody who follows a job, until dropped.
pub struct Watcher {
    hub: Arc<Hub>,
    id: JobId,
    owner: AccountId,
    job: watch::Receiver<Arc<Job>>,
}

impl Watcher {
    /// The job as it is known to be; [`Watcher::changed`] waits for a later version.
    pub fn job(&mut self) -> Arc<Job> {
        Arc::clone(&self.job.borrow_and_update())
    }

    /// Waits for a version that was not taken yet, and takes it. `None`: the job is gone or deleted, or the process
    /// stops. May be dropped without losing anything.
    pub async fn changed(&mut self) -> Option<Arc<Job>> {
        self.job.changed().await.ok()?;
        Some(self.job())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut table = self.hub.table();
        table.watchers = table.watchers.saturating_sub(1);
        if let Entry::Occupied(mut count) = table.by_owner.entry(self.owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let Entry::Occupied(known) = table.watched.entry(self.id) else { return };
        // If ours has ended, another may have begun.
        let is_last = known.get().receiver_count() == 1 && known.get().subscribe().same_channel(&self.job);
        if is_last {
            known.remove();
        }
    }
}

/// There are as many watchers as there may be, in all or of one account's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many watchers")]
pub struct TooManyWatchers;
