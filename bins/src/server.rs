//! Every role in one process: gateway, auth, converter, notifier and relay, on the adapters that the configuration
//! names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use microserve_core::account::AuthStore;
use microserve_core::blob::BlobStore;
use microserve_core::job::JobStore;
use microserve_core::mail::Mailer;
use microserve_core::queue::Queue;
use microserve_core::transcode::Transcoder;
use microserve_core::{BoxError, Shutdown};

use crate::config::{Serve, Stores};
use crate::process::{self, OpsPort, bind, serve};
use crate::registry::Registry;
use crate::roles::{Roles, Work};
use crate::{late, open};

/// The opened adapters of every port.
#[derive(Clone)]
pub struct Stack {
    /// Accounts.
    pub accounts: Arc<dyn AuthStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Uploaded videos.
    pub videos: Arc<dyn BlobStore>,
    /// Finished MP3s.
    pub mp3s: Arc<dyn BlobStore>,
    /// Messages.
    pub queue: Arc<dyn Queue>,
    /// Mails.
    pub mailer: Arc<dyn Mailer>,
    /// Turns videos into MP3s.
    pub transcoder: Arc<dyn Transcoder>,
}

impl Stack {
    /// Opens what the configuration names, and waits for what can't be reached yet. Accounts are not waited for: a task
    /// of `shutdown` opens them as soon as it can; until then they are unavailable.
    ///
    /// # Errors
    /// When a URL names no adapter, or an adapter can't be opened and trying again won't help.
    pub async fn open(stores: &Stores, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let blobs = open::patiently(&registry.blobs, &stores.blobs_url()?).await?;
        Ok(Self {
            accounts: late::accounts(registry, stores.accounts_url()?, shutdown).await?,
            jobs: open::patiently(&registry.jobs, &stores.jobs_url()?).await?,
            videos: blobs.videos,
            mp3s: blobs.mp3s,
            queue: open::patiently(&registry.queue, &stores.queue_url()?).await?,
            mailer: open::patiently(&registry.mailer, &stores.mailer_url()?).await?,
            transcoder: registry.transcoder.open(&stores.transcoder_url()?).await?,
        })
    }

    fn work(&self) -> Work {
        let Self { jobs, videos, mp3s, queue, .. } = self.clone();
        Work { jobs, videos, mp3s, queue }
    }
}

/// A running all-in-one server.
pub struct Server {
    /// Where people reach it.
    pub address: SocketAddr,
    /// Where its health is told.
    pub ops_address: SocketAddr,
    /// What it runs on.
    pub stack: Stack,
    ops: OpsPort,
}

impl Server {
    /// Opens the stores, binds both addresses and starts every role as tasks of `shutdown`. The ops port answers
    /// before the stores are open.
    ///
    /// # Errors
    /// When a store can't be opened, a key can't be read or an address can't be bound.
    pub async fn start(config: &Serve, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let ops = OpsPort::start(config.process.ops_listen, shutdown).await?;
        let listener = bind(config.listen).await?;
        let address = listener.local_addr()?;
        let (stack, data) = (Stack::open(&config.stores, registry, shutdown).await?, &config.stores.data);
        let work = stack.work();

        let roles = Roles::new(config.retention.policy(config.peers), shutdown, &ops.metrics);
        let (auth, verifier) = roles.auth(
            &stack.accounts,
            &config.login,
            config.peers,
            data,
            Some((&stack.mailer, &config.mailing.mail_from)),
        )?;
        let gateway = roles.gateway(&work, &stack.transcoder, verifier, config.intake, config.quotas.quota());
        let router = config.peers.answers(gateway.merge(ops.metrics.logins(microserve_http::auth(auth))));
        serve(listener, ops.metrics.requests(router), config.connections.limits(&[]), shutdown);
        roles.converter(&work, &stack.transcoder, config.converting.conversions, config.quotas.quota(), data)?;
        roles.notifier(&work, &stack.mailer, &config.mailing, config.mailing.public_url(address));
        roles.relay(&work);

        let mut checks = process::work(&work);
        checks.extend([process::accounts(&stack.accounts), process::mailer(&stack.mailer)]);
        ops.checks.set(checks);
        Ok(Self { address, ops_address: ops.address, stack, ops })
    }

    /// Drains `shutdown`, then closes the ops port. Returns whether everything ended within the grace.
    pub async fn stop(&self, shutdown: &Shutdown, grace: Duration) -> bool {
        self.ops.stop_after(shutdown, grace).await
    }
}
