//! The one connection that writes.
//!
//! SQLite has one writer at a time, so this process has one too: a thread of its own that takes changes from a
//! channel and makes them in one transaction per batch. That gives three things:
//!
//! - **Certainty**: a change that was begun is brought to its end, even when whoever asked for it is dropped. No
//!   transaction is ever held open by a future that nobody polls.
//! - **Speed**: changes that arrive while the disk is busy share the next `fsync`.
//! - **Last wishes**: a lease that is dropped can be given back without a runtime, from `drop`, also while the
//!   process is shutting down.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::error;

use crate::error::Failure;

/// So many changes share a transaction at most: nobody waits long for the first.
const BATCH: usize = 64;

/// Hands changes to the writing thread, which ends when the last clone is gone and everything is written.
#[derive(Clone)]
pub(crate) struct Writer {
    changes: mpsc::UnboundedSender<Box<dyn Change>>,
    /// Fires when a change to the queues was committed.
    pub(crate) queues_changed: Arc<Notify>,
}

/// Whether consumers have to look at their queues after a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rings {
    Yes,
    No,
}

impl Writer {
    /// Starts the thread. When `conn` breaks, a new connection is made from `options`.
    pub(crate) fn start(options: SqliteConnectOptions, conn: SqliteConnection) -> std::io::Result<Self> {
        // Its own small runtime: the thread outlives the one of whoever opened the file, to write last wishes.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (changes, incoming) = mpsc::unbounded_channel();
        let queues_changed = Arc::new(Notify::new());
        let bell = Arc::clone(&queues_changed);
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || runtime.block_on(write_all(incoming, &options, conn, &bell)))?;
        Ok(Self { changes, queues_changed })
    }

    /// Makes a change and returns when it is durable. Dropping this future before the change was begun cancels it;
    /// afterwards the change is made, and what `change` returned is dropped.
    ///
    /// `change` makes at most one statement that writes, and fails only if the transaction can't go on: other changes
    /// are in it too. (SQLite undoes a failed statement, not what was done before it.)
    pub(crate) async fn run<T, F>(&self, rings: Rings, change: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Asked { change: Some(change), outcome: None, reply: Some(reply), rings });
        answer.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }

    /// Makes a change sooner or later, whose outcome nobody waits for.
    pub(crate) fn run_later<F>(&self, rings: Rings, change: F)
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + 'static,
    {
        self.send(Asked { change: Some(change), outcome: None, reply: None, rings });
    }

    fn send<T, F>(&self, asked: Asked<T, F>)
    where
        Asked<T, F>: Change + 'static,
    {
        // If the thread is gone the reply is dropped unanswered, which the waiting side takes for an answer.
        let _ = self.changes.send(Box::new(asked));
    }
}

/// A change on its way through the writing thread.
trait Change: Send {
    /// Whether somebody still wants it.
    fn is_wanted(&self) -> bool;
    /// Makes it; fails if the transaction can't go on.
    fn make<'c>(&'c mut self, conn: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), Failure>>;
    /// Whether it is for the queues' consumers to know.
    fn rings(&self) -> bool;
    /// Tells whoever asked how the transaction ended.
    fn answer(self: Box<Self>, committed: &Result<(), Failure>);
}

struct Asked<T, F> {
    change: Option<F>,
    outcome: Option<Result<T, Failure>>,
    reply: Option<oneshot::Sender<Result<T, Failure>>>,
    rings: Rings,
}

impl<T, F> Change for Asked<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send,
{
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }

    fn make<'c>(&'c mut self, conn: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), Failure>> {
        Box::pin(async move {
            let Some(change) = self.change.take() else { return Ok(()) };
            let outcome = change(conn).await.map_err(Failure::from);
            let go_on = outcome.as_ref().map(|_| ()).map_err(Failure::for_bystanders);
            self.outcome = Some(outcome);
            go_on
        })
    }

    fn rings(&self) -> bool {
        self.rings == Rings::Yes
    }

    fn answer(self: Box<Self>, committed: &Result<(), Failure>) {
        let outcome = match (self.outcome, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(own)), _) => Err(own),
            (_, Err(shared)) => Err(shared.clone()),
            (None, Ok(())) => return,
        };
        match self.reply {
            // If nobody listens any more, the value is dropped here: a lease gives itself back.
            Some(reply) => drop(reply.send(outcome)),
            None => {
                if let Err(failure) = outcome {
                    error!(?failure, "a change nobody waited for could not be made");
                }
            }
        }
    }
}

async fn write_all(
    mut incoming: mpsc::UnboundedReceiver<Box<dyn Change>>,
    options: &SqliteConnectOptions,
    conn: SqliteConnection,
    queues_changed: &Notify,
) {
    let mut idle = Some(conn);
    let mut batch = Vec::with_capacity(BATCH);
    while incoming.recv_many(&mut batch, BATCH).await > 0 {
        batch.retain(|change| change.is_wanted());
        if batch.is_empty() {
            continue;
        }
        let conn = match idle.take() {
            Some(conn) => Ok(conn),
            None => SqliteConnection::connect_with(options).await.map_err(Failure::from),
        };
        let committed = match conn {
            Ok(mut conn) => {
                let committed = commit(&mut conn, &mut batch).await;
                // A connection that failed is dropped, and with it whatever was left undone.
                idle = committed.is_ok().then_some(conn);
                committed
            }
            Err(failure) => Err(failure),
        };
        let rings = committed.is_ok() && batch.iter().any(|change| change.rings());
        for change in batch.drain(..) {
            change.answer(&committed);
        }
        if rings {
            queues_changed.notify_waiters();
        }
    }
    if let Some(conn) = idle {
        // Ends in a checkpoint if no other process has the file open; without one the next opener makes it.
        let _ = conn.close().await;
    }
}

/// Makes all of a batch in one transaction.
async fn commit(conn: &mut SqliteConnection, batch: &mut [Box<dyn Change>]) -> Result<(), Failure> {
    // IMMEDIATE: waits here for other processes' transactions; later a lock could be refused half-way.
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    for change in batch {
        change.make(&mut transaction).await?;
    }
    Ok(transaction.commit().await?)
}
