//! The roles, each put together from the ports that it needs: auth, gateway, converter, notifier, relay. A process runs
//! one of them or all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use microserve_core::account::{AuthStore, Email};
use microserve_core::api_key::ApiKeys;
use microserve_core::blob::BlobStore;
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::convert::Convert;
use microserve_core::download::Download;
use microserve_core::expect::Expect;
use microserve_core::job::{JobStore, Policy};
use microserve_core::login::{Login, Owners};
use microserve_core::mail::Mailer;
use microserve_core::notify::Notify;
use microserve_core::password::Passwords;
use microserve_core::queue::{Queue, QueueName};
use microserve_core::quota::Quota;
use microserve_core::relay::Relay;
use microserve_core::throttle::WINDOW;
use microserve_core::transcode::Transcoder;
use microserve_core::upload::{Preflight, Upload};
use microserve_core::watch::Watches;
use microserve_core::worker::{Handler, Worker};
use microserve_core::{BoxError, Shutdown};
use microserve_http::{Auth, Gateway, JwtSecret, Verifier};
use tracing::{debug, warn};

use crate::config::{Compat, Data, Mailing, Peers};
use crate::metrics::Metrics;
use crate::{config, keys};

/// Mails that are sent at the same time.
const MAILS: u16 = 4;
/// How often a delivery in hand is extended: the embedded queue takes it back after a minute.
const EXTEND_EVERY: Duration = Duration::from_secs(15);

/// What all roles of a process share.
pub(crate) struct Roles {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    /// Roles run as tasks of it.
    pub(crate) shutdown: Shutdown,
    /// Counts what they do.
    pub(crate) metrics: Metrics,
}

/// Jobs, the blobs they are about, and the queue that tells of them.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) videos: Arc<dyn BlobStore>,
    pub(crate) mp3s: Arc<dyn BlobStore>,
    pub(crate) queue: Arc<dyn Queue>,
}

impl Roles {
    pub(crate) fn new(policy: Policy, shutdown: &Shutdown, metrics: &Metrics) -> Self {
        Self { clock: Arc::new(SystemClock), policy, shutdown: shutdown.clone(), metrics: metrics.clone() }
    }

    /// Logins, with keys that are made if there are none; and who else can tell a token by them.
    pub(crate) fn auth(
        &self,
        accounts: &Arc<dyn AuthStore>,
        login: &config::Login,
        peers: Peers,
        data: &Data,
        mailing: Option<(&Arc<dyn Mailer>, &Email)>,
    ) -> Result<(Auth, Verifier), BoxError> {
        let accounts = &self.metrics.accounts("auth", accounts);
        let folder = login.keys(data);
        let keys = keys::load_or_make(&folder, &*self.clock);
        let mut keys = keys.map_err(|err| format!("can't use the keys in {}: {err}", folder.display()))?;
        let compat = peers.compat == Some(Compat::Tutorial);
        match login.jwt_secret.as_ref().filter(|_| compat).map(JwtSecret::new) {
            Some(Ok(secret)) => keys = keys.believing(secret),
            Some(Err(err)) => warn!("tokens of the tutorial's auth service are not taken: {err}"),
            None => {}
        }
        let keys = Arc::new(keys);
        let (kept, clock, stop) = (Arc::clone(&keys), Arc::clone(&self.clock), self.shutdown.clone());
        self.shutdown.spawn(async move { keys::keep_fresh(&kept, &folder, &*clock, &stop).await });
        let mut passwords = Passwords::new(processors());
        if compat {
            passwords = passwords.with_plain_text();
        }
        let verifier = Verifier::new(Arc::clone(&keys), Arc::clone(accounts), Arc::clone(&self.clock));
        let mut people = Login::new(Arc::clone(accounts), passwords, Arc::clone(&self.clock));
        if let Some((mailer, from)) = mailing {
            let mailer = self.metrics.mailer("auth", mailer);
            people = people.telling(Owners { mailer, from: from.clone(), shutdown: self.shutdown.clone() });
        }
        let auth = Auth {
            login: people,
            api_keys: ApiKeys::new(Arc::clone(accounts), Arc::clone(&self.clock)),
            keys,
            verifier: verifier.clone(),
            registration: login.registration.into(),
            clock: Arc::clone(&self.clock),
        };
        let (accounts, clock, stop) = (Arc::clone(accounts), Arc::clone(&self.clock), self.shutdown.clone());
        self.shutdown.spawn(async move { forget_tallies(&*accounts, &*clock, &stop).await });
        Ok((auth, verifier))
    }

    /// Uploads, jobs and downloads of those whom the verifier knows.
    pub(crate) fn gateway(
        &self,
        work: &Work,
        transcoder: &Arc<dyn Transcoder>,
        verifier: Verifier,
        intake: config::Intake,
        quota: Quota,
    ) -> Router {
        let (work, transcoder) = (self.metrics.work("gateway", work), self.metrics.transcoder("gateway", transcoder));
        let probes = intake.probes.map_or_else(processors, usize::from);
        let Work { jobs, videos, mp3s, queue } = work;
        microserve_http::gateway(Gateway {
            upload: Upload {
                jobs: Arc::clone(&jobs),
                videos,
                queue,
                preflight: Some(Preflight::new(transcoder, probes)),
                clock: Arc::clone(&self.clock),
                policy: self.policy,
                max_bytes: intake.max_upload,
                quota,
            },
            download: Download { jobs: Arc::clone(&jobs), mp3s },
            expect: Expect::new(Arc::clone(&jobs), Arc::clone(&self.clock)),
            watches: Watches::new(Arc::clone(&jobs), &self.shutdown, intake.watchers),
            jobs,
            verifier,
            clock: Arc::clone(&self.clock),
            policy: self.policy,
            shutdown: self.shutdown.clone(),
        })
    }

    /// Converts what the queue `video` tells of, with MP3s growing in the data folder.
    ///
    /// # Errors
    /// When there is no such folder, and it can't be made.
    pub(crate) fn converter(
        &self,
        work: &Work,
        transcoder: &Arc<dyn Transcoder>,
        conversions: Option<u16>,
        quota: Quota,
        data: &Data,
    ) -> Result<(), BoxError> {
        let work_dir = data.folder.join("work");
        make_folder(&work_dir)?;
        let transcoder = self.metrics.transcoder("converter", transcoder);
        let Work { jobs, videos, mp3s, queue } = self.metrics.work("converter", work);
        let convert = Convert {
            jobs,
            videos,
            mp3s,
            queue: Arc::clone(&queue),
            transcoder,
            clock: Arc::clone(&self.clock),
            policy: self.policy,
            quota,
            work_dir,
        };
        let parallel = conversions.unwrap_or_else(|| u16::try_from(processors()).unwrap_or(u16::MAX));
        self.work(queue, QueueName::VIDEO, parallel, Arc::new(convert));
        Ok(())
    }

    /// Mails to the owners whose jobs the queue `mp3` tells of.
    pub(crate) fn notifier(&self, work: &Work, mailer: &Arc<dyn Mailer>, mailing: &Mailing, public_url: String) {
        let mailer = self.metrics.mailer("notifier", mailer);
        let Work { jobs, videos, mp3s, queue } = self.metrics.work("notifier", work);
        let (clock, policy, from) = (Arc::clone(&self.clock), self.policy, mailing.mail_from.clone());
        let notify = Notify { jobs, videos, mp3s, mailer, clock, policy, from, public_url };
        self.work(queue, QueueName::MP3, MAILS, Arc::new(notify));
    }

    /// Looks after what has been silent for too long. Any number of processes may do so.
    pub(crate) fn relay(&self, work: &Work) {
        self.metrics.tell_of(&work.jobs, &self.clock);
        let Work { jobs, videos, mp3s, queue } = self.metrics.work("relay", work);
        let relay = Relay {
            jobs,
            videos,
            mp3s,
            queue,
            clock: Arc::clone(&self.clock),
            policy: self.policy,
            every: Duration::from_secs(1),
            collect_every: Duration::from_secs(600),
            orphan_age: Duration::from_secs(3600),
        };
        let shutdown = self.shutdown.clone();
        self.shutdown.spawn(async move { relay.run(&shutdown).await });
    }

    fn work(&self, queue: Arc<dyn Queue>, name: QueueName, parallel: u16, handler: Arc<dyn Handler>) {
        let worker = Worker { queue, name, parallel, extend_every: EXTEND_EVERY, handler };
        let shutdown = self.shutdown.clone();
        self.shutdown.spawn(async move { worker.run(&shutdown).await });
    }
}

/// Tallies that nothing was added to for longer than they count.
async fn forget_tallies(accounts: &dyn AuthStore, clock: &dyn Clock, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(WINDOW) => {}
        }
        let before = clock.now().checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
        if let Err(err) = accounts.forget_tallies(before).await {
            debug!(error = &err as &dyn std::error::Error, "could not forget old tallies");
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), BoxError> {
    std::fs::create_dir_all(folder).map_err(|err| format!("can't make the folder {}: {err}", folder.display()).into())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
