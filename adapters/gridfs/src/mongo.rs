//! The servers that a URL stands for.

use std::sync::Arc;

use microserve_core::open::SecretUrl;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};
use tokio::sync::Semaphore;

use crate::blobs::GridFsBlobs;
use crate::error::{Failure, OpenError, PATIENCE, within};
use crate::jobs::MongoJobs;
use crate::pool::Pool;
use crate::settings;

/// So many chunks are on their way to the servers at the same time, whoever uploads them.
const WRITING: usize = 8;
/// So many are read before they are asked for, whoever downloads them.
const READ_AHEAD: usize = 32;

/// The servers that a URL stands for. Clones, and what is opened by them, share their connections and the memory that
/// bodies take on their way.
#[derive(Clone)]
pub struct Mongo {
    client: Client,
    prefix: String,
    pub(crate) pool: Pool,
    pub(crate) writing: Arc<Semaphore>,
    pub(crate) read_ahead: Arc<Semaphore>,
}

impl Mongo {
    /// Opens `mongodb://user:password@host,host/?option=…` or `mongodb+srv://…`. Asks once for an answer, for some
    /// seconds at most, so that a wrong URL or servers that are not there show here and now.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`] when the servers can't be reached, [`OpenError::Misused`] when the URL or the password
    /// is wrong.
    pub async fn open(url: &SecretUrl) -> Result<Self, OpenError> {
        let mut settings = settings::parse(url).await?;
        let pool = Pool::watching(&mut settings.options);
        let client = Client::with_options(settings.options).map_err(Failure::from)?;
        let mongo = Self {
            client,
            prefix: settings.prefix,
            pool,
            writing: Arc::new(Semaphore::new(WRITING)),
            read_ahead: Arc::new(Semaphore::new(READ_AHEAD)),
        };
        match mongo.ping().await {
            Err(failure) if settings.tls_by_default => {
                let hint = "no answer over TLS, which is used off the loopback address unless the URL says tls=false";
                Err(failure.about(hint).into())
            }
            outcome => Ok(outcome.map(|()| mongo)?),
        }
    }

    /// The blobs of one kind, in the GridFS of a database: `videos`, say. Makes what is missing there.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`], [`OpenError::Misused`].
    pub async fn blobs(&self, database: &str) -> Result<GridFsBlobs, OpenError> {
        Ok(GridFsBlobs::open(self, database).await?)
    }

    /// The jobs, in the database `microserve`. Makes what is missing there.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`], [`OpenError::Misused`].
    pub async fn jobs(&self) -> Result<MongoJobs, OpenError> {
        Ok(MongoJobs::open(self).await?)
    }

    /// A database, behind the prefix.
    ///
    /// What is written is on the disks of a majority of the servers before it is said to be written, and what is read is
    /// what no failure takes back, from the primary. (Not `linearizable`, which costs a write for each reading and would
    /// tell nobody more: what is read here is old by the time it is acted on, and each change compares before it swaps.)
    pub(crate) fn database(&self, name: &str) -> Database {
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let options = DatabaseOptions::builder()
            .write_concern(durable)
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        self.client.database_with_options(&format!("{}{name}", self.prefix), options)
    }

    /// Whether the servers answer.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        within(PATIENCE, self.database("microserve").run_command(doc! { "ping": 1 })).await.map(drop)
    }
}

/// Makes an index unless it is there.
pub(crate) async fn make_index<T: Send + Sync>(
    collection: &Collection<T>,
    keys: Document,
    unique: bool,
) -> Result<(), Failure> {
    let options = mongodb::options::IndexOptions::builder().unique(unique.then_some(true)).build();
    let made = collection.create_index(IndexModel::builder().keys(keys).options(options).build());
    within(4 * PATIENCE, made).await.map(drop)
}
