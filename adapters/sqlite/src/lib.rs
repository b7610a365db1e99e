//! Accounts, jobs and queue of microserve in one SQLite file.
//!
//! For one machine: a server and its command line tools share the file, each process with one connection that writes
//! and a few that read (write-ahead log, `synchronous=FULL`: what was answered survives a power cut). Messages are
//! leased: a consumer that vanishes gives its messages back when the lease runs out.
//!
//! ```
//! use microserve_core::queue::{Message, Queue, QueueName, Settlement};
//! use microserve_sqlite::Sqlite;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("microserve.db");
//! let file = Sqlite::open(&path).await?;
//! let (_accounts, _jobs, queue) = (file.accounts(), file.jobs(), file.queue());
//!
//! queue.publish(&QueueName::VIDEO, Message::new("4f2a", "{}")).await?;
//!
//! let mut consumer = queue.consume(&QueueName::VIDEO, 1).await?;
//! let delivery = consumer.next().await?;
//! assert_eq!(delivery.message.id, "4f2a");
//! delivery.receipt.settle(Settlement::Ack).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The file needs a local disk: SQLite's write-ahead log doesn't work over NFS or SMB.

use std::path::Path;
use std::sync::Arc;

use microserve_core::pool::PoolState;
use microserve_core::{Clock, SystemClock};
use sqlx::SqlitePool;

mod accounts;
mod dead_letters;
mod error;
mod inspect;
mod jobs;
mod open;
mod queue;
mod writer;

pub use accounts::SqliteAccounts;
pub use jobs::SqliteJobs;
pub use open::OpenError;
pub use queue::SqliteQueue;

use writer::{Rings, Writer};

/// An open file. Clones share its connections; it is closed when the last of them, and of what was made from them, is
/// dropped.
#[derive(Clone)]
pub struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    clock: Arc<dyn Clock>,
}

impl Sqlite {
    /// Opens the file, makes it if it isn't there (readable to its owner only), and brings its tables up to date. The
    /// folder must be there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let (readers, writer) = open::open(path.as_ref()).await?;
        Ok(Self { readers, writer, clock: Arc::new(SystemClock) })
    }

    /// Takes the time from `clock`, which decides when messages are visible and leases run out. Processes that share
    /// a file have to agree on the time.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The accounts in the file.
    #[must_use]
    pub fn accounts(&self) -> SqliteAccounts {
        SqliteAccounts::new(self.clone())
    }

    /// The jobs in the file.
    #[must_use]
    pub fn jobs(&self) -> SqliteJobs {
        SqliteJobs::new(self.clone())
    }

    /// The queues in the file.
    #[must_use]
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::new(self.clone())
    }

    /// Those that read; there is one more, which writes.
    fn pool(&self) -> PoolState {
        let idle = u32::try_from(self.readers.num_idle()).unwrap_or(u32::MAX);
        PoolState { open: self.readers.size(), idle, most: self.readers.options().get_max_connections() }
    }

    /// Whether the file can be read, and written without waiting for ever.
    async fn ping(&self) -> Result<(), error::Failure> {
        sqlx::query("SELECT 1 FROM sqlite_schema").fetch_optional(&self.readers).await?;
        self.writer.run(Rings::No, |_| Box::pin(async { Ok(()) })).await
    }
}

/// `limit` as SQLite takes it.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
