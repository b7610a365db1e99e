//! The four services of a cluster, a role each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use microserve_core::{BoxError, Shutdown};
use microserve_http::{AuthService, Verifier, accounts_elsewhere};

use crate::config::{Auth, Blobs, Compat, Converter, Data, Gateway, Jobs, Notifier};
use crate::process::{self, OpsPort, bind, serve};
use crate::registry::Registry;
use crate::roles::{Roles, Work};
use crate::{late, open};

/// The auth service is asked by gateways alone, and they say for whom.
const EVERYBODY: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0)),
];

/// A running service.
pub struct Service {
    /// Where it is reached, if it is.
    pub address: Option<SocketAddr>,
    /// Where its health is told.
    pub ops_address: SocketAddr,
    ops: OpsPort,
}

impl Service {
    /// Drains `shutdown`, then closes the ops port. Returns whether everything ended within the grace.
    pub async fn stop(&self, shutdown: &Shutdown, grace: Duration) -> bool {
        self.ops.stop_after(shutdown, grace).await
    }

    fn new(address: Option<SocketAddr>, ops: OpsPort) -> Self {
        Self { address, ops_address: ops.address, ops }
    }

    /// Logins, and what others need to believe their tokens.
    ///
    /// # Errors
    /// When accounts can't be opened and trying again won't help, a key can't be read or an address can't be bound.
    pub async fn auth(config: &Auth, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let ops = OpsPort::start(config.process.ops_listen, shutdown).await?;
        let accounts = late::accounts(registry, config.accounts.url(&config.data)?, shutdown).await?;
        let roles = Roles::new(config.peers.policy(), shutdown, &ops.metrics);
        let mailer = match &config.owners.mailer {
            Some(url) => Some(registry.mailer.open(url).await?),
            None => None,
        };
        let mailing = mailer.as_ref().map(|mailer| (mailer, &config.owners.mail_from));
        let (auth, _) = roles.auth(&accounts, &config.login, config.peers, &config.data, mailing)?;
        let listener = bind(config.listen).await?;
        let address = listener.local_addr()?;
        let router = ops.metrics.logins(microserve_http::auth_of_gateways(auth));
        serve(listener, ops.metrics.requests(router), config.connections.limits(&EVERYBODY), shutdown);
        ops.checks.set(vec![process::accounts(&accounts)]);
        Ok(Self::new(Some(address), ops))
    }

    /// Uploads, jobs and downloads. It looks after silent jobs, too.
    ///
    /// # Errors
    /// When a store can't be opened and trying again won't help, or an address can't be bound or used.
    pub async fn gateway(config: &Gateway, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let ops = OpsPort::start(config.process.ops_listen, shutdown).await?;
        let auth = Arc::new(AuthService::new(&config.auth)?);
        let transcoder = registry.transcoder.open(&config.transcoder.url()?).await?;
        let work = open_work(&config.jobs, &config.blobs, &config.data, registry).await?;
        let roles = Roles::new(config.retention.policy(config.peers), shutdown, &ops.metrics);
        let mut verifier = Verifier::remote(Arc::clone(&auth), Arc::clone(&roles.clock));
        if config.peers.compat == Some(Compat::Tutorial) {
            verifier = verifier.asking_about_tutorial_tokens();
        }
        let gateway = roles.gateway(&work, &transcoder, verifier, config.intake, config.quotas.quota());
        let (keeper, stopping) = (Arc::clone(&auth), shutdown.clone());
        shutdown.spawn(async move { keeper.keep_fresh(&stopping).await });
        let listener = bind(config.listen).await?;
        let address = listener.local_addr()?;
        let router = config.peers.answers(gateway.merge(accounts_elsewhere(Arc::clone(&auth))));
        serve(listener, ops.metrics.requests(router), config.connections.limits(&[]), shutdown);
        roles.relay(&work);
        let mut checks = process::work(&work);
        checks.push(process::auth(&auth));
        ops.checks.set(checks);
        Ok(Self::new(Some(address), ops))
    }

    /// Converts. It looks after silent jobs, too.
    ///
    /// # Errors
    /// When a store can't be opened and trying again won't help, or an address can't be bound.
    pub async fn converter(config: &Converter, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let ops = OpsPort::start(config.process.ops_listen, shutdown).await?;
        let transcoder = registry.transcoder.open(&config.transcoder.url()?).await?;
        let work = open_work(&config.jobs, &config.blobs, &config.data, registry).await?;
        let roles = Roles::new(config.retention.policy(config.peers), shutdown, &ops.metrics);
        roles.converter(&work, &transcoder, config.converting.conversions, config.quotas.quota(), &config.data)?;
        roles.relay(&work);
        ops.checks.set(process::work(&work));
        Ok(Self::new(None, ops))
    }

    /// Mails.
    ///
    /// # Errors
    /// When a store can't be opened and trying again won't help, or an address can't be bound.
    pub async fn notifier(config: &Notifier, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let ops = OpsPort::start(config.process.ops_listen, shutdown).await?;
        let work = open_work(&config.jobs, &config.blobs, &config.data, registry).await?;
        let mailer = open::patiently(&registry.mailer, &config.mailer.url(&config.data)?).await?;
        let roles = Roles::new(config.peers.policy(), shutdown, &ops.metrics);
        let public_url = config.mailing.public_url(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let mut checks = process::work(&work);
        checks.push(process::mailer(&mailer));
        roles.notifier(&work, &mailer, &config.mailing, public_url);
        ops.checks.set(checks);
        Ok(Self::new(None, ops))
    }
}

async fn open_work(jobs: &Jobs, blobs: &Blobs, data: &Data, registry: &Registry) -> Result<Work, BoxError> {
    let blobs = open::patiently(&registry.blobs, &blobs.url(data)?).await?;
    Ok(Work {
        jobs: open::patiently(&registry.jobs, &jobs.url(data)?).await?,
        videos: blobs.videos,
        mp3s: blobs.mp3s,
        queue: open::patiently(&registry.queue, &jobs.queue_url(data)?).await?,
    })
}
