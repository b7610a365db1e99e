//! The registry: which adapter a URL's scheme stands for. The only file that names adapters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryFutureExt;
use microserve_core::BoxError;
use microserve_core::account::AuthStore;
use microserve_core::blob::BlobStore;
use microserve_core::dead_letters::DeadLetters;
use microserve_core::inspect::{Fact, Step};
use microserve_core::job::JobStore;
use microserve_core::mail::Mailer;
use microserve_core::open::SecretUrl;
use microserve_core::queue::Queue;
use microserve_core::transcode::Transcoder;
use microserve_filesystem::{FileBlobs, FileMailer};
use microserve_smtp::SmtpMailer;
use microserve_sqlite::Sqlite;
use microserve_transcoder::Codecs;

use crate::native;

mod schemes;

pub use schemes::{OpenError, Schemes};

/// How long to wait for another process that brings the tables up to date.
#[cfg(feature = "mysql")]
const MIGRATION: std::time::Duration = std::time::Duration::from_secs(30);

/// How MongoDB is named: by its hosts, or by a name that DNS knows the hosts of.
const MONGODB: [&str; 2] = ["mongodb", "mongodb+srv"];

/// The two blob stores that a `--blobs` URL stands for.
#[derive(Clone)]
pub struct Blobs {
    /// Uploaded videos.
    pub videos: Arc<dyn BlobStore>,
    /// Finished MP3s.
    pub mp3s: Arc<dyn BlobStore>,
}

/// Every port's adapters. A value, not a global: add your own schemes to it and pass it on.
pub struct Registry {
    /// Account stores.
    pub accounts: Schemes<Arc<dyn AuthStore>>,
    /// Job stores.
    pub jobs: Schemes<Arc<dyn JobStore>>,
    /// Blob stores.
    pub blobs: Schemes<Blobs>,
    /// Queues.
    pub queue: Schemes<Arc<dyn Queue>>,
    /// The same queues, for those who look after their dead letters.
    pub dead_letters: Schemes<Arc<dyn DeadLetters>>,
    /// Mailers.
    pub mailer: Schemes<Arc<dyn Mailer>>,
    /// Transcoders.
    pub transcoder: Schemes<Arc<dyn Transcoder>>,
    files: Arc<SqliteFiles>,
    #[cfg(feature = "mongodb")]
    servers: Arc<MongoServers>,
}

impl Registry {
    /// Nothing registered.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            accounts: Schemes::new("accounts"),
            jobs: Schemes::new("jobs"),
            blobs: Schemes::new("blobs"),
            queue: Schemes::new("queue"),
            dead_letters: Schemes::new("dead letters"),
            mailer: Schemes::new("mailer"),
            transcoder: Schemes::new("transcoder"),
            files: Arc::default(),
            #[cfg(feature = "mongodb")]
            servers: Arc::default(),
        }
    }

    /// The adapters that come along: `sqlite:`, `file:` and `native:`, which need no server; `smtp:` and `smtps:`; and
    /// `mysql:`, `mongodb:`, `mongodb+srv:`, `amqp:` and `amqps:`, which without their cargo features (`mysql`,
    /// `mongodb`, `rabbitmq`) say only that they are missing.
    #[must_use]
    pub fn embedded() -> Self {
        Self::empty().with_accounts().with_jobs().with_blobs().with_queue().with_mailer().with_transcoder()
    }

    /// And where accounts are kept: `sqlite:`, `mysql:`. A program that needs no more than some ports is smaller without
    /// the others' adapters.
    #[must_use]
    pub fn with_accounts(mut self) -> Self {
        let files = Arc::clone(&self.files);
        self.accounts.add("sqlite", move |url| {
            let files = Arc::clone(&files);
            async move { Ok(Arc::new(files.open(&url).await?.accounts()) as Arc<dyn AuthStore>) }
        });
        self.accounts.add_inspection("sqlite", inspect_file);
        #[cfg(feature = "mysql")]
        self.accounts.add("mysql", |url| async move {
            let accounts = microserve_mysql::MySqlAccounts::open(&url).await?;
            accounts.migrate(MIGRATION).await?;
            Ok(Arc::new(accounts) as Arc<dyn AuthStore>)
        });
        #[cfg(feature = "mysql")]
        self.accounts
            .add_inspection("mysql", |url| async move { microserve_mysql::MySqlAccounts::inspect(&url).await });
        #[cfg(not(feature = "mysql"))]
        self.accounts.add("mysql", |_url| async { Err("this is built without the cargo feature mysql".into()) });
        self
    }

    /// And where jobs are kept: `sqlite:`, `mongodb:`, `mongodb+srv:`.
    #[must_use]
    pub fn with_jobs(mut self) -> Self {
        let files = Arc::clone(&self.files);
        self.jobs.add("sqlite", move |url| {
            let files = Arc::clone(&files);
            async move { Ok(Arc::new(files.open(&url).await?.jobs()) as Arc<dyn JobStore>) }
        });
        self.jobs.add_inspection("sqlite", inspect_file);
        for scheme in MONGODB {
            #[cfg(feature = "mongodb")]
            {
                let servers = Arc::clone(&self.servers);
                self.jobs.add(scheme, move |url| {
                    let servers = Arc::clone(&servers);
                    async move { Ok(Arc::new(servers.open(&url).await?.jobs().await?) as Arc<dyn JobStore>) }
                });
                self.jobs
                    .add_inspection(scheme, |url| async move { microserve_gridfs::Mongo::inspect_jobs(&url).await });
            }
            #[cfg(not(feature = "mongodb"))]
            self.jobs.add(scheme, |_url| async { Err("this is built without the cargo feature mongodb".into()) });
        }
        self
    }

    /// And where videos and MP3s are kept: `file:`, `mongodb:`, `mongodb+srv:`.
    #[must_use]
    pub fn with_blobs(mut self) -> Self {
        self.blobs.add("file", |url| async move {
            let dir = path_of(&url)?;
            let videos = Arc::new(FileBlobs::open(dir.join("videos")).await?);
            let mp3s = Arc::new(FileBlobs::open(dir.join("mp3s")).await?);
            Ok(Blobs { videos, mp3s })
        });
        self.blobs.add_inspection("file", inspect_folder);
        for scheme in MONGODB {
            #[cfg(feature = "mongodb")]
            {
                let servers = Arc::clone(&self.servers);
                self.blobs.add(scheme, move |url| {
                    let servers = Arc::clone(&servers);
                    async move {
                        let mongo = servers.open(&url).await?;
                        let videos = Arc::new(mongo.blobs("videos").await?);
                        let mp3s = Arc::new(mongo.blobs("mp3s").await?);
                        Ok(Blobs { videos, mp3s })
                    }
                });
                self.blobs
                    .add_inspection(scheme, |url| async move { microserve_gridfs::Mongo::inspect_blobs(&url).await });
            }
            #[cfg(not(feature = "mongodb"))]
            self.blobs.add(scheme, |_url| async { Err("this is built without the cargo feature mongodb".into()) });
        }
        self
    }

    /// And what carries the messages: `sqlite:`, `amqp:`, `amqps:`.
    #[must_use]
    pub fn with_queue(mut self) -> Self {
        let files = Arc::clone(&self.files);
        self.add_queue("sqlite", move |url| {
            let files = Arc::clone(&files);
            async move { Ok(files.open(&url).await?.queue()) }
        });
        self.queue.add_inspection("sqlite", inspect_file);
        for scheme in ["amqp", "amqps"] {
            #[cfg(feature = "rabbitmq")]
            {
                self.add_queue(scheme, |url| async move { Ok(microserve_rabbitmq::RabbitQueue::open(&url).await?) });
                self.queue
                    .add_inspection(scheme, |url| async move { microserve_rabbitmq::RabbitQueue::inspect(&url).await });
            }
            #[cfg(not(feature = "rabbitmq"))]
            {
                let missing = "this is built without the cargo feature rabbitmq";
                self.queue.add(scheme, move |_url| async move { Err(missing.into()) });
                self.dead_letters.add(scheme, move |_url| async move { Err(missing.into()) });
            }
        }
        self
    }

    /// Adds a queue whose dead letters can be looked after.
    pub fn add_queue<Q, F, R>(&mut self, scheme: &str, open: F)
    where
        Q: DeadLetters + 'static,
        F: Fn(SecretUrl) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Q, BoxError>> + Send + 'static,
    {
        let same = open.clone();
        self.queue.add(scheme, move |url| open(url).map_ok(|queue| Arc::new(queue) as Arc<dyn Queue>));
        self.dead_letters.add(scheme, move |url| same(url).map_ok(|queue| Arc::new(queue) as Arc<dyn DeadLetters>));
    }

    /// And what takes the mails: `file:`, `smtp:`, `smtps:`.
    #[must_use]
    pub fn with_mailer(mut self) -> Self {
        self.mailer
            .add("file", |url| async move { Ok(Arc::new(FileMailer::open(path_of(&url)?).await?) as Arc<dyn Mailer>) });
        self.mailer.add_inspection("file", inspect_folder);
        for scheme in ["smtp", "smtps"] {
            self.mailer.add(scheme, |url| async move { Ok(Arc::new(SmtpMailer::new(&url)?) as Arc<dyn Mailer>) });
            self.mailer.add_inspection(scheme, |url| async move { SmtpMailer::inspect(&url).await });
        }
        self
    }

    /// And what transcodes: `native:`, in a sandbox unless its URL says `sandbox=off`. The program has to call
    /// [`child`](crate::child) first thing in `main`.
    #[must_use]
    pub fn with_transcoder(mut self) -> Self {
        self.transcoder.add("native", |url| native::open(url, Codecs::default()));
        self.transcoder.add_inspection("native", native::inspect);
        self
    }

    /// And with decoders beside the built-in ones for `native:` without a sandbox. In a sandbox, they are those that
    /// [`child_with`](crate::child_with) was given.
    #[must_use]
    pub fn with_codecs(mut self, codecs: Codecs) -> Self {
        self.transcoder.add("native", move |url| native::open(url, codecs.clone()));
        self
    }
}

/// MongoDB that is connected to: jobs and blobs of one URL share their connections.
#[cfg(feature = "mongodb")]
#[derive(Default)]
struct MongoServers(Mutex<BTreeMap<String, microserve_gridfs::Mongo>>);

#[cfg(feature = "mongodb")]
impl MongoServers {
    async fn open(&self, url: &SecretUrl) -> Result<microserve_gridfs::Mongo, BoxError> {
        if let Some(open) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url.expose()) {
            return Ok(open.clone());
        }
        let mongo = microserve_gridfs::Mongo::open(url).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(url.expose().to_owned(), mongo.clone());
        Ok(mongo)
    }
}

/// SQLite files that are open: accounts, jobs and queue of one file share its one writer.
#[derive(Default)]
struct SqliteFiles(Mutex<BTreeMap<PathBuf, Sqlite>>);

impl SqliteFiles {
    async fn open(&self, url: &SecretUrl) -> Result<Sqlite, BoxError> {
        let path = path_of(url)?;
        if let Some(open) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&path) {
            return Ok(open.clone());
        }
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let file = Sqlite::open(&path).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, file.clone());
        Ok(file)
    }
}

async fn inspect_file(url: SecretUrl) -> Vec<Fact> {
    match path_of(&url) {
        Ok(path) => Sqlite::inspect(path).await,
        Err(err) => vec![Fact::obstacle(Step::Read, err)],
    }
}

/// Whether a folder takes files.
pub(crate) async fn inspect_path(folder: PathBuf) -> Vec<Fact> {
    microserve_filesystem::inspect(folder).await
}

async fn inspect_folder(url: SecretUrl) -> Vec<Fact> {
    match path_of(&url) {
        Ok(path) => inspect_path(path).await,
        Err(err) => vec![Fact::obstacle(Step::Read, err)],
    }
}

/// The path in `file:///path` or `sqlite:///path`.
fn path_of(url: &SecretUrl) -> Result<PathBuf, BoxError> {
    let as_file = url.expose().replacen(url.scheme(), "file", 1);
    let parsed = url::Url::parse(&as_file)?;
    parsed.to_file_path().map_err(|()| format!("{url} names no file: write {}:///the/path", url.scheme()).into())
}
