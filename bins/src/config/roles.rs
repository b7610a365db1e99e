//! What the roles are told: one group of options each, and the services and the all-in-one as sums of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use microserve_core::Backoff;
use microserve_core::account::Email;
use microserve_core::job::Policy;
use microserve_core::open::SecretUrl;
use microserve_core::quota::Quota;
use microserve_http::Limits;
use secrecy::SecretString;

use super::client::secret;
use super::stores::{Accounts, Blobs, Data, Jobs, Mailer, Stores, Transcoder};
use super::{Keep, parse_duration, parse_keep, parse_size};

/// What every service is told.
#[derive(Args, Clone, Debug)]
pub struct Process {
    /// The address for health checks; never open it to the internet.
    #[arg(long, env = "MICROSERVE_OPS_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDR")]
    pub ops_listen: SocketAddr,

    /// How long a stopping server waits for what was begun; what is left then is begun again by the next one.
    #[arg(long, env = "MICROSERVE_GRACE", default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub grace: Duration,

    /// What is logged: error, warn, info, debug, or a filter such as "microserve_core=debug,warn".
    #[arg(long, env = "MICROSERVE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How it is logged: as lines for people, as JSON, or as whichever suits where standard error leads to.
    #[arg(long, env = "MICROSERVE_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Print the configuration that results from options and environment, secrets hidden, and stop.
    #[arg(long)]
    pub print_config: bool,
}

/// The form of the log.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// A line for people for each event.
    Text,
    /// A line of JSON for each event.
    Json,
}

/// How many connections are taken.
#[derive(Args, Clone, Debug)]
pub struct Connections {
    /// How many connections are taken at a time; more of them wait.
    #[arg(long, env = "MICROSERVE_CONNECTIONS", default_value = "512", value_name = "N", value_parser = at_least_one)]
    pub connections: usize,

    /// How many connections are taken from one address at a time; more of them are closed. Behind a proxy, which is one
    /// address, as many as in all.
    #[arg(long, env = "MICROSERVE_CONNECTIONS_PER_ADDRESS", default_value = "128", value_name = "N", value_parser = at_least_one)]
    pub connections_per_address: usize,

    /// The networks of proxies that are believed when they say in X-Forwarded-For whom a request comes from, with commas
    /// between them. Failed logins are counted by that address.
    #[arg(
        long,
        env = "MICROSERVE_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1/128",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<IpNet>,
}

/// What logging in is told.
#[derive(Args, Clone, Debug)]
pub struct Login {
    /// The folder with the Ed25519 keys that sign tokens, as PEM files: the last by name signs, all of them are believed.
    /// A first one is made if there is none [default: the folder keys in the data folder].
    #[arg(long, env = "MICROSERVE_KEYS", value_name = "DIR")]
    pub keys: Option<PathBuf>,

    /// Who may make an account by POST /register: nobody ("closed"), whoever has an invitation from
    /// `microserve user invite`, or everybody.
    #[arg(long, env = "MICROSERVE_REGISTRATION", default_value = "closed", value_name = "WHO")]
    pub registration: Registration,

    /// With --compat tutorial: the secret, of 32 bytes at least, that the tutorial's auth service has signed tokens with
    /// (JWT_SECRET there). They are good for uploads, jobs and downloads until they end.
    #[arg(long, env = "MICROSERVE_JWT_SECRET", hide_env_values = true, value_name = "SECRET", value_parser = secret)]
    pub jwt_secret: Option<SecretString>,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Registration {
    /// Nobody.
    Closed,
    /// Whoever was invited.
    Invited,
    /// Everybody.
    Open,
}

impl From<Registration> for microserve_http::Registration {
    fn from(registration: Registration) -> Self {
        match registration {
            Registration::Closed => Self::Closed,
            Registration::Invited => Self::Invited,
            Registration::Open => Self::Open,
        }
    }
}

/// What one account may take up.
#[derive(Args, Clone, Copy, Debug)]
pub struct Quotas {
    /// Bytes of videos and MP3s that are kept for an account, or a number with KiB, MiB or GiB [default: no limit].
    #[arg(long, env = "MICROSERVE_QUOTA_BYTES", value_name = "SIZE", value_parser = parse_size)]
    pub quota_bytes: Option<u64>,

    /// Files that are kept for an account [default: no limit].
    #[arg(long, env = "MICROSERVE_QUOTA_FILES", value_name = "N")]
    pub quota_files: Option<u64>,

    /// Jobs of an account that may be unfinished at a time [default: no limit].
    #[arg(long, env = "MICROSERVE_QUOTA_UNFINISHED", value_name = "N")]
    pub quota_unfinished: Option<u64>,

    /// Jobs of an account that are converted at a time; more of them wait [default: no limit].
    #[arg(long, env = "MICROSERVE_QUOTA_CONVERTING", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub quota_converting: Option<u64>,

    /// Hours of sound that are converted for an account within a day [default: no limit].
    #[arg(long, env = "MICROSERVE_QUOTA_HOURS", value_name = "N")]
    pub quota_hours: Option<u32>,
}

impl Quotas {
    pub(crate) fn quota(self) -> Quota {
        Quota {
            bytes: self.quota_bytes,
            files: self.quota_files,
            unfinished: self.quota_unfinished,
            converting: self.quota_converting,
            seconds_per_day: self.quota_hours.map(|hours| f64::from(hours) * 3600.0),
        }
    }
}

/// What services of others there are.
#[derive(Args, Clone, Copy, Debug)]
pub struct Peers {
    /// Go along with services of others. "tutorial" takes passwords that are stored in plain text, and hashes each when
    /// its owner logs in; answers a login with the bare token, and an upload with "200 success!"; and rings again for a
    /// waiting video after half an hour only, because other converters convert it as often as they hear of it. Say it to
    /// every service, and leave it out once all of them are ours.
    #[arg(long, env = "MICROSERVE_COMPAT", value_name = "NAME")]
    pub compat: Option<Compat>,
}

/// What the gateway is told.
#[derive(Args, Clone, Copy, Debug)]
pub struct Intake {
    /// The largest video that is taken: bytes, or a number with KiB, MiB or GiB.
    #[arg(long, env = "MICROSERVE_MAX_UPLOAD", default_value = "4GiB", value_name = "SIZE", value_parser = parse_size)]
    pub max_upload: u64,

    /// How many uploads are looked at at the same time, to tell their senders at once what can't be converted; each may
    /// take 256 MiB. Others wait, and after half a minute they are accepted without [default: one per processor].
    #[arg(long, env = "MICROSERVE_PROBES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub probes: Option<u16>,

    /// How many requests may wait for what becomes of a job at a time, a quarter of them one account's; more of them are
    /// told to come back later. Each is a connection, too.
    #[arg(long, env = "MICROSERVE_WATCHERS", default_value = "1024", value_name = "N", value_parser = at_least_one)]
    pub watchers: usize,
}

/// How long things are kept.
#[derive(Args, Clone, Copy, Debug)]
pub struct Retention {
    /// How long a video is kept after its conversion: 90s, 15m, 24h, 30d, or "forever".
    #[arg(long, env = "MICROSERVE_KEEP_VIDEOS", default_value = "24h", value_name = "TIME", value_parser = parse_keep)]
    pub keep_videos: Keep,

    /// How long an MP3 is kept.
    #[arg(long, env = "MICROSERVE_KEEP_MP3S", default_value = "forever", value_name = "TIME", value_parser = parse_keep)]
    pub keep_mp3s: Keep,
}

/// What the converter is told.
#[derive(Args, Clone, Copy, Debug)]
pub struct Converting {
    /// How many videos are converted at the same time [default: one per processor].
    #[arg(long, env = "MICROSERVE_CONVERSIONS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub conversions: Option<u16>,
}

/// What the notifier is told.
#[derive(Args, Clone, Debug)]
pub struct Mailing {
    /// How people reach the service from outside, for the links in mails [default: http:// and the gateway's listen
    /// address].
    #[arg(long, env = "MICROSERVE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Whom mails come from.
    #[arg(long, env = "MICROSERVE_MAIL_FROM", default_value = "microserve@localhost", value_name = "EMAIL")]
    pub mail_from: Email,
}

/// Services that were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Compat {
    /// The Python services of the well-known tutorial.
    Tutorial,
}

/// How `microserve serve` serves: every role.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Serve {
    #[command(flatten)]
    pub stores: Stores,

    /// The address that people reach. Put a TLS-terminating proxy before it if it is not the loopback address.
    #[arg(long, env = "MICROSERVE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub connections: Connections,
    #[command(flatten)]
    pub login: Login,
    #[command(flatten)]
    pub intake: Intake,
    #[command(flatten)]
    pub quotas: Quotas,
    #[command(flatten)]
    pub retention: Retention,
    #[command(flatten)]
    pub converting: Converting,
    #[command(flatten)]
    pub mailing: Mailing,
    #[command(flatten)]
    pub peers: Peers,
    #[command(flatten)]
    pub process: Process,
}

/// How owners of accounts hear of what others do with their addresses.
#[derive(Args, Clone, Debug)]
pub struct Owners {
    /// What takes mails to those who have an account already when somebody asks for another: smtp://USER:PASSWORD@HOST,
    /// smtps://…, or file:///folder [default: they are not told].
    #[arg(long, env = "MICROSERVE_MAILER", value_name = "URL", hide_env_values = true)]
    pub mailer: Option<SecretUrl>,

    /// Whom these mails come from.
    #[arg(long, env = "MICROSERVE_MAIL_FROM", default_value = "microserve@localhost", value_name = "EMAIL")]
    pub mail_from: Email,
}

/// How `microserve-auth serve` serves.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Auth {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub accounts: Accounts,

    /// The address that gateways reach.
    #[arg(long, env = "MICROSERVE_LISTEN", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub connections: Connections,
    #[command(flatten)]
    pub login: Login,
    #[command(flatten)]
    pub owners: Owners,
    #[command(flatten)]
    pub peers: Peers,
    #[command(flatten)]
    pub process: Process,
}

/// How `microserve-gateway` serves.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Gateway {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub jobs: Jobs,
    #[command(flatten)]
    pub blobs: Blobs,
    #[command(flatten)]
    pub transcoder: Transcoder,

    /// Where the auth service is: http://HOST:PORT, or https://HOST:PORT (with ?ca=FILE for an authority of your own).
    #[arg(long, env = "MICROSERVE_AUTH", default_value = "http://127.0.0.1:5000", value_name = "URL")]
    pub auth: String,

    /// The address that people reach. Put a TLS-terminating proxy before it if it is not the loopback address.
    #[arg(long, env = "MICROSERVE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub connections: Connections,
    #[command(flatten)]
    pub intake: Intake,
    #[command(flatten)]
    pub quotas: Quotas,
    #[command(flatten)]
    pub retention: Retention,
    #[command(flatten)]
    pub peers: Peers,
    #[command(flatten)]
    pub process: Process,
}

/// How `microserve-converter` works.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Converter {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub jobs: Jobs,
    #[command(flatten)]
    pub blobs: Blobs,
    #[command(flatten)]
    pub transcoder: Transcoder,
    #[command(flatten)]
    pub converting: Converting,
    #[command(flatten)]
    pub quotas: Quotas,
    #[command(flatten)]
    pub retention: Retention,
    #[command(flatten)]
    pub peers: Peers,
    #[command(flatten)]
    pub process: Process,
}

/// How `microserve-notifier` works.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Notifier {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub jobs: Jobs,
    #[command(flatten)]
    pub blobs: Blobs,
    #[command(flatten)]
    pub mailer: Mailer,
    #[command(flatten)]
    pub mailing: Mailing,
    #[command(flatten)]
    pub peers: Peers,
    #[command(flatten)]
    pub process: Process,
}

impl Connections {
    /// The limits of the public listener.
    pub(crate) fn limits(&self, more_proxies: &[IpNet]) -> Limits {
        Limits {
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            proxies: self.trusted_proxies.iter().chain(more_proxies).copied().collect(),
            ..Limits::default()
        }
    }
}

impl Peers {
    /// The same routes, with the answers that others' clients wait for.
    pub(crate) fn answers(self, router: Router) -> Router {
        match self.compat {
            Some(Compat::Tutorial) => microserve_http::as_in_the_tutorial(router),
            None => router,
        }
    }
}

impl Login {
    /// The folder of the keys.
    pub(crate) fn keys(&self, data: &Data) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data.folder.join("keys"))
    }
}

impl Retention {
    /// The policy of jobs.
    pub(crate) fn policy(self, peers: Peers) -> Policy {
        Policy { keep_videos: self.keep_videos.0, keep_mp3s: self.keep_mp3s.0, ..peers.policy() }
    }
}

impl Peers {
    /// The policy of jobs where nothing is said of their retention.
    pub(crate) fn policy(self) -> Policy {
        let policy = Policy::default();
        match self.compat {
            None => policy,
            Some(Compat::Tutorial) => Policy {
                ring_again: Backoff {
                    first: Duration::from_secs(30 * 60),
                    factor: 2,
                    max: Duration::from_secs(4 * 60 * 60),
                },
                ..policy
            },
        }
    }
}

impl Mailing {
    /// How people reach a gateway on this address, if nothing else was said.
    pub(crate) fn public_url(&self, gateway: SocketAddr) -> String {
        let url = self.public_url.clone().unwrap_or_else(|| format!("http://{gateway}"));
        url.trim_end_matches('/').to_owned()
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| *n > 0);
    number.ok_or_else(|| format!("{text:?} is not a number from 1 on"))
}
