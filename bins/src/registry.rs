//! The registry: which adapter a URL's scheme stands for. The only file that names adapters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use microserve_core::account::{AuthError, AuthStore};
use microserve_core::blob::{BlobError, BlobStore};
use microserve_core::job::{JobError, JobStore};
use microserve_core::mail::Mailer;
use microserve_core::open::SecretUrl;
use microserve_core::queue::{Queue, QueueError};
use microserve_core::transcode::Transcoder;
use microserve_core::{BoxError, Retryable};
use microserve_filesystem::{FileBlobs, FileMailer};
use microserve_smtp::SmtpMailer;
use microserve_sqlite::Sqlite;
use microserve_transcoder::NativeTranscoder;

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

type Opener<T> = Arc<dyn Fn(SecretUrl) -> BoxFuture<'static, Result<T, BoxError>> + Send + Sync>;

/// The adapters of one port, by scheme. Clones share them.
#[derive(Clone)]
pub struct Schemes<T> {
    port: &'static str,
    openers: BTreeMap<String, Opener<T>>,
}

impl<T> Schemes<T> {
    fn new(port: &'static str) -> Self {
        Self { port, openers: BTreeMap::new() }
    }

    /// Adds an adapter, or replaces the one of this scheme.
    pub fn add<F, R>(&mut self, scheme: &str, open: F)
    where
        F: Fn(SecretUrl) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, BoxError>> + Send + 'static,
    {
        self.openers.insert(scheme.to_owned(), Arc::new(move |url| open(url).boxed()));
    }

    /// Opens the adapter that the URL's scheme stands for.
    ///
    /// # Errors
    /// [`OpenError::UnknownScheme`] with those that are known, or [`OpenError::Failed`] with the adapter's own words.
    pub async fn open(&self, url: &SecretUrl) -> Result<T, OpenError> {
        let Some(open) = self.openers.get(url.scheme()) else {
            let known = self.openers.keys().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", ");
            return Err(OpenError::UnknownScheme { port: self.port, scheme: url.scheme().to_owned(), known });
        };
        open(url.clone()).await.map_err(|source| OpenError::Failed { port: self.port, url: url.clone(), source })
    }
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
        #[cfg(feature = "mysql")]
        self.accounts.add("mysql", |url| async move {
            let accounts = microserve_mysql::MySqlAccounts::open(&url).await?;
            accounts.migrate(MIGRATION).await?;
            Ok(Arc::new(accounts) as Arc<dyn AuthStore>)
        });
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
        for scheme in MONGODB {
            #[cfg(feature = "mongodb")]
            {
                let servers = Arc::clone(&self.servers);
                self.jobs.add(scheme, move |url| {
                    let servers = Arc::clone(&servers);
                    async move { Ok(Arc::new(servers.open(&url).await?.jobs().await?) as Arc<dyn JobStore>) }
                });
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
        self.queue.add("sqlite", move |url| {
            let files = Arc::clone(&files);
            async move { Ok(Arc::new(files.open(&url).await?.queue()) as Arc<dyn Queue>) }
        });
        for scheme in ["amqp", "amqps"] {
            #[cfg(feature = "rabbitmq")]
            self.queue.add(scheme, |url| async move {
                Ok(Arc::new(microserve_rabbitmq::RabbitQueue::open(&url).await?) as Arc<dyn Queue>)
            });
            #[cfg(not(feature = "rabbitmq"))]
            self.queue.add(scheme, |_url| async { Err("this is built without the cargo feature rabbitmq".into()) });
        }
        self
    }

    /// And what takes the mails: `file:`, `smtp:`, `smtps:`.
    #[must_use]
    pub fn with_mailer(mut self) -> Self {
        self.mailer
            .add("file", |url| async move { Ok(Arc::new(FileMailer::open(path_of(&url)?).await?) as Arc<dyn Mailer>) });
        for scheme in ["smtp", "smtps"] {
            self.mailer.add(scheme, |url| async move { Ok(Arc::new(SmtpMailer::new(&url)?) as Arc<dyn Mailer>) });
        }
        self
    }

    /// And what transcodes: `native:`.
    #[must_use]
    pub fn with_transcoder(mut self) -> Self {
        self.transcoder
            .add("native", |_url| async { Ok(Arc::new(NativeTranscoder::default()) as Arc<dyn Transcoder>) });
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

/// The path in `file:///path` or `sqlite:///path`.
fn path_of(url: &SecretUrl) -> Result<PathBuf, BoxError> {
    let as_file = url.expose().replacen(url.scheme(), "file", 1);
    let parsed = url::Url::parse(&as_file)?;
    parsed.to_file_path().map_err(|()| format!("{url} names no file: write {}:///the/path", url.scheme()).into())
}

/// Why an adapter could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No adapter of this port is registered for the scheme.
    #[error("{port}: no adapter for {scheme}: here; there are {known}")]
    UnknownScheme {
        /// The port.
        port: &'static str,
        /// The scheme that was asked for.
        scheme: String,
        /// The schemes that there are.
        known: String,
    },
    /// The adapter could not be opened.
    #[error("{port}: could not open {url}")]
    Failed {
        /// The port.
        port: &'static str,
        /// What was to be opened.
        url: SecretUrl,
        /// What the adapter says.
        source: BoxError,
    },
}

impl Retryable for OpenError {
    /// Whether what the adapter opens can't be reached right now.
    fn is_retryable(&self) -> bool {
        fn says<E: Retryable + std::error::Error + 'static>(source: &BoxError) -> bool {
            source.downcast_ref::<E>().is_some_and(Retryable::is_retryable)
        }
        let Self::Failed { source, url, .. } = self else { return false };
        // A folder does not come up after us.
        if !url.expose_url().is_some_and(|url| url.has_host()) {
            return false;
        }
        #[cfg(feature = "mongodb")]
        if says::<microserve_gridfs::OpenError>(source) {
            return true;
        }
        says::<AuthError>(source) || says::<BlobError>(source) || says::<JobError>(source) || says::<QueueError>(source)
    }
}
