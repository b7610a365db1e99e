//! The adapters of one port, by scheme.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use microserve_core::account::AuthError;
use microserve_core::blob::BlobError;
use microserve_core::inspect::{Fact, Step};
use microserve_core::job::JobError;
use microserve_core::open::SecretUrl;
use microserve_core::queue::QueueError;
use microserve_core::{BoxError, Retryable};

type Opener<T> = Arc<dyn Fn(SecretUrl) -> BoxFuture<'static, Result<T, BoxError>> + Send + Sync>;
type Inspector = Arc<dyn Fn(SecretUrl) -> BoxFuture<'static, Vec<Fact>> + Send + Sync>;

/// The adapters of one port, by scheme. Clones share them.
#[derive(Clone)]
pub struct Schemes<T> {
    port: &'static str,
    openers: BTreeMap<String, Opener<T>>,
    inspectors: BTreeMap<String, Inspector>,
}

impl<T> Schemes<T> {
    pub(super) fn new(port: &'static str) -> Self {
        Self { port, openers: BTreeMap::new(), inspectors: BTreeMap::new() }
    }

    /// Adds an adapter, or replaces the one of this scheme.
    pub fn add<F, R>(&mut self, scheme: &str, open: F)
    where
        F: Fn(SecretUrl) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, BoxError>> + Send + 'static,
    {
        self.openers.insert(scheme.to_owned(), Arc::new(move |url| open(url).boxed()));
    }

    /// Adds what finds out about the server or folder behind an adapter. Without it, `microserve doctor` says only whether
    /// the adapter can be opened.
    pub fn add_inspection<F, R>(&mut self, scheme: &str, inspect: F)
    where
        F: Fn(SecretUrl) -> R + Send + Sync + 'static,
        R: Future<Output = Vec<Fact>> + Send + 'static,
    {
        self.inspectors.insert(scheme.to_owned(), Arc::new(move |url| inspect(url).boxed()));
    }

    /// Finds out what can be found out about what the URL names.
    pub async fn inspect(&self, url: &SecretUrl) -> Vec<Fact> {
        if let Some(inspect) = self.inspectors.get(url.scheme()) {
            return inspect(url.clone()).await;
        }
        match self.open(url).await {
            Ok(_) => vec![Fact::Answers(url.to_string())],
            Err(err @ OpenError::UnknownScheme { .. }) => vec![Fact::obstacle(Step::Read, err)],
            Err(err) => vec![Fact::obstacle(Step::Use, err)],
        }
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
