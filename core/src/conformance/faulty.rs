//! Scripted faults: any port can be made to fail, lose its answer, freeze or crash its process at a chosen operation.
//!
//! One [`Script`] stands for one process: all its adapters are wrapped with clones of it, and it counts their operations
//! together. So "crash at the 7th thing you do" can be asked for every number, one after the other, until a run has
//! fewer operations than that; then every place where a process can die has been tried.
//!
//! ```
//! # use std::sync::Arc;
//! # use microserve_core::conformance::faulty::{Fault, Faulty, Script};
//! # use microserve_core::job::{JobStore, JobError};
//! # use microserve_core::memory::MemoryJobs;
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let script = Script::new().on("jobs.ping", 2, Fault::Before);
//! let jobs = Faulty::new(Arc::new(MemoryJobs::default()), &script);
//! assert!(jobs.ping().await.is_ok());
//! assert!(matches!(jobs.ping().await, Err(JobError::Unavailable(_))));
//! assert!(jobs.ping().await.is_ok());
//! # });
//! ```

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use crate::api_key::{ApiKey, ApiKeyId, KeyDigest};
use crate::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use crate::dead_letters::{DeadLetters, Decide};
use crate::job::{Job, JobError, JobId, JobStore, ListQuery};
use crate::mail::{Accepted, Mail, MailError, Mailer};
use crate::pool::PoolState;
use crate::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Receipt, Settlement};
use crate::quota::Usage;

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and the caller hears `Unavailable`.
    Before,
    /// It is done, and the caller hears `Unavailable`: the answer was lost.
    After,
    /// As [`Fault::After`], but the caller hears it this much later: a connection that times out.
    TimesOut(Duration),
    /// The process dies before it is done.
    CrashBefore,
    /// The process dies after it is done.
    CrashAfter,
    /// The whole process stands still for this long, does it then, and goes on as if nothing had been.
    FreezeBefore(Duration),
    /// The whole process does it, stands still for this long, and goes on as if nothing had been.
    FreezeAfter(Duration),
}

/// The faults of one process. Clones are the same script.
#[derive(Clone)]
pub struct Script {
    inner: Arc<Mutex<Inner>>,
    life: Arc<watch::Sender<Life>>,
}

#[derive(Default)]
struct Inner {
    faults: Vec<(Which, Fault)>,
    /// The names of the operations so far.
    log: Vec<&'static str>,
}

/// Which operation a fault is for, counted from 1.
enum Which {
    Nth(usize),
    NthOf(&'static str, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    /// Stands still. Whoever waits for it thaws it, because the operation that froze it may be dropped meanwhile.
    Frozen {
        until: Instant,
    },
    /// Died; what it was doing hangs.
    Crashed,
    /// Died, and its connections are closed: whatever it still tries fails and has no effect.
    Buried,
}

impl Default for Script {
    fn default() -> Self {
        Self { inner: Arc::default(), life: Arc::new(watch::Sender::new(Life::Alive)) }
    }
}

impl Script {
    /// Nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This goes wrong at the `n`-th operation of the process, counted from 1.
    #[must_use]
    pub fn at(self, n: usize, fault: Fault) -> Self {
        self.lock().faults.push((Which::Nth(n), fault));
        self
    }

    /// This goes wrong at the `n`-th operation of this name, counted from 1: `blobs.put`, `jobs.update`,
    /// `queue.publish`, `queue.settle`, `accounts.find`, `mailer.send` and so on.
    #[must_use]
    pub fn on(self, name: &'static str, n: usize, fault: Fault) -> Self {
        self.lock().faults.push((Which::NthOf(name, n), fault));
        self
    }

    /// The names of the operations that were begun so far.
    #[must_use]
    pub fn log(&self) -> Vec<&'static str> {
        self.lock().log.clone()
    }

    /// Resolves when the process has crashed.
    pub async fn crashed(&self) {
        let mut life = self.life.subscribe();
        let _ = life.wait_for(|life| matches!(life, Life::Crashed | Life::Buried)).await;
    }

    /// Whether the process has crashed.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        matches!(*self.life.borrow(), Life::Crashed | Life::Buried)
    }

    /// Ends what is left of a process, crashed or not: from here on nothing it does has any effect. What hangs since
    /// the crash ends in errors, so that its threads and deliveries are given back.
    pub fn bury(&self) {
        self.life.send_replace(Life::Buried);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Counts an operation and says what goes wrong with it.
    fn begin(&self, name: &'static str) -> Option<Fault> {
        let mut inner = self.lock();
        inner.log.push(name);
        let nth = inner.log.len();
        let of_name = inner.log.iter().filter(|other| **other == name).count();
        let applies = |which: &Which| match which {
            Which::Nth(n) => *n == nth,
            Which::NthOf(this, n) => *this == name && *n == of_name,
        };
        inner.faults.iter().find(|(which, _)| applies(which)).map(|(_, fault)| *fault)
    }

    /// Waits while the process stands still or has crashed; returns whether it may go on.
    async fn alive(&self) -> bool {
        let mut life = self.life.subscribe();
        loop {
            let now = *life.borrow_and_update();
            let changed = match now {
                Life::Alive => return true,
                Life::Buried => return false,
                Life::Crashed => life.changed().await,
                Life::Frozen { until } => tokio::select! {
                    changed = life.changed() => changed,
                    () = tokio::time::sleep_until(until) => {
                        self.life.send_if_modified(|life| *life == now && std::mem::replace(life, Life::Alive) == now);
                        Ok(())
                    }
                },
            };
            if changed.is_err() {
                return false;
            }
        }
    }

    async fn crash<E: Down>(&self) -> E {
        self.life
            .send_if_modified(|life| *life != Life::Buried && std::mem::replace(life, Life::Crashed) != Life::Crashed);
        self.alive().await;
        E::before()
    }

    async fn freeze(&self, time: Duration) {
        let frozen = Life::Frozen { until: Instant::now() + time };
        self.life.send_if_modified(|life| *life == Life::Alive && std::mem::replace(life, frozen) == Life::Alive);
        self.alive().await;
    }

    /// Does an operation the way the script wants it.
    async fn run<T, E: Down>(&self, name: &'static str, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        if !self.alive().await {
            return Err(E::before());
        }
        let fault = self.begin(name);
        match fault {
            Some(Fault::Before) => return Err(E::before()),
            Some(Fault::CrashBefore) => return Err(self.crash().await),
            Some(Fault::FreezeBefore(time)) => self.freeze(time).await,
            _ => {}
        }
        let outcome = tokio::select! {
            biased;
            // A process that dies elsewhere takes this operation with it, half-way.
            () = self.crashed() => return Err(self.crash().await),
            outcome = operation => outcome,
        };
        match fault {
            Some(Fault::After) => return Err(E::after()),
            Some(Fault::TimesOut(time)) => {
                tokio::time::sleep(time).await;
                return Err(E::after());
            }
            Some(Fault::CrashAfter) => return Err(self.crash().await),
            Some(Fault::FreezeAfter(time)) => self.freeze(time).await,
            _ => {}
        }
        if self.alive().await { outcome } else { Err(E::before()) }
    }
}

/// The errors of a port that can't be reached.
trait Down {
    /// The operation was certainly not done.
    fn before() -> Self;
    /// The operation may have been done.
    fn after() -> Self;
}

macro_rules! unavailable {
    ($($error:ident)+) => {$(
        impl Down for $error {
            fn before() -> Self {
                Self::Unavailable("scripted: not done".into())
            }

            fn after() -> Self {
                Self::Unavailable("scripted: done, but the answer was lost".into())
            }
        }
    )+};
}

unavailable! { AuthError BlobError JobError QueueError }

impl Down for MailError {
    fn before() -> Self {
        Self::Deferred { after: None, source: "scripted: not sent".into() }
    }

    fn after() -> Self {
        Self::Unknown("scripted: sent, but the answer was lost".into())
    }
}

/// An adapter whose operations go the way a [`Script`] wants.
pub struct Faulty<P: ?Sized> {
    script: Script,
    inner: Arc<P>,
}

impl<P: ?Sized> Faulty<P> {
    /// Wraps an adapter.
    #[must_use]
    pub fn new(adapter: Arc<P>, script: &Script) -> Self {
        Self { script: script.clone(), inner: adapter }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: BlobStore + ?Sized> BlobStore for Faulty<P> {
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        self.script.run("blobs.put", self.inner.put(fid, meta, body)).await
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        self.script.run("blobs.head", self.inner.head(fid)).await
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        self.script.run("blobs.get", self.inner.get(fid, range)).await
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        self.script.run("blobs.delete", self.inner.delete(fid)).await
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        self.script.run("blobs.list", self.inner.list(after, limit)).await
    }

    async fn ping(&self) -> Result<(), BlobError> {
        self.script.run("blobs.ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: AuthStore + ?Sized> AuthStore for Faulty<P> {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        self.script.run("accounts.insert", self.inner.insert(account)).await
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        self.script.run("accounts.find", self.inner.find(email)).await
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        self.script.run("accounts.get", self.inner.get(id)).await
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        self.script.run("accounts.list", self.inner.list(after, limit)).await
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        self.script.run("accounts.set_password", self.inner.set_password(id, to, changed_at)).await
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        self.script.run("accounts.rehash", self.inner.rehash(id, from, to)).await
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        self.script.run("accounts.set_disabled", self.inner.set_disabled(id, disabled)).await
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.script.run("accounts.delete", self.inner.delete(id)).await
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        self.script.run("accounts.insert_api_key", self.inner.insert_api_key(key)).await
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        self.script.run("accounts.find_api_key", self.inner.find_api_key(digest)).await
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        self.script.run("accounts.api_keys", self.inner.api_keys(account)).await
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        self.script.run("accounts.delete_api_key", self.inner.delete_api_key(account, id)).await
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        self.script.run("accounts.tally", self.inner.tally(name)).await
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        self.script.run("accounts.swap_tally", self.inner.swap_tally(name, from, to)).await
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.script.run("accounts.forget_tallies", self.inner.forget_tallies(before)).await
    }

    fn pool(&self) -> Option<PoolState> {
        self.inner.pool()
    }

    async fn ping(&self) -> Result<(), AuthError> {
        self.script.run("accounts.ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: JobStore + ?Sized> JobStore for Faulty<P> {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        self.script.run("jobs.insert", self.inner.insert(job)).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        self.script.run("jobs.get", self.inner.get(id)).await
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        self.script.run("jobs.get_many", self.inner.get_many(ids)).await
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        self.script.run("jobs.update", self.inner.update(job)).await
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        self.script.run("jobs.remove", self.inner.remove(job)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        self.script.run("jobs.list", self.inner.list(query)).await
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        self.script.run("jobs.due", self.inner.due(before, limit)).await
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        self.script.run("jobs.usage", self.inner.usage(owner, since)).await
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        self.script.run("jobs.queued_before", self.inner.queued_before(moment)).await
    }

    fn pool(&self) -> Option<PoolState> {
        self.inner.pool()
    }

    async fn ping(&self) -> Result<(), JobError> {
        self.script.run("jobs.ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: Mailer + ?Sized> Mailer for Faulty<P> {
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError> {
        self.script.run("mailer.send", self.inner.send(mail)).await
    }

    async fn ping(&self) -> Result<(), MailError> {
        self.script.run("mailer.ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: Queue + ?Sized> Queue for Faulty<P> {
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        self.script.run("queue.publish", self.inner.publish(queue, message)).await
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let inner = self.script.run("queue.consume", self.inner.consume(queue, prefetch)).await?;
        Ok(Box::new(FaultyConsumer { script: self.script.clone(), inner }))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.script.run("queue.ping", self.inner.ping()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl<P: DeadLetters + ?Sized> DeadLetters for Faulty<P> {
    async fn visit(&self, queue: &QueueName, decide: &mut Decide<'_>) -> Result<u64, QueueError> {
        self.script.run("queue.visit", self.inner.visit(queue, decide)).await
    }
}

struct FaultyConsumer {
    script: Script,
    inner: Box<dyn Consumer>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let delivery = self.script.run("queue.next", self.inner.next()).await?;
        let receipt = FaultyReceipt { script: self.script.clone(), inner: delivery.receipt };
        Ok(Delivery { receipt: Box::new(receipt), ..delivery })
    }
}

struct FaultyReceipt {
    script: Script,
    inner: Box<dyn Receipt>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would be without faults")]
impl Receipt for FaultyReceipt {
    async fn extend(&self) -> Result<(), QueueError> {
        self.script.run("queue.extend", self.inner.extend()).await
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let Self { script, inner } = *self;
        script.run("queue.settle", inner.settle(settlement)).await
    }
}
