//! Configuration: command-line options, each with its environment variable. A field's comment is its manual.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use microserve_core::account::Email;
use microserve_core::open::SecretUrl;

/// Where things are kept. Everything lies under one data folder unless told otherwise. The options may stand behind a
/// subcommand (`user add ADDRESS --data DIR`) as well as before it.
#[derive(Args, Clone, Debug)]
pub struct Stores {
    /// The folder that holds everything: accounts, jobs and queue in one SQLite file, videos, MP3s and mails as files.
    #[arg(long, global = true, env = "MICROSERVE_DATA", default_value = "microserve-data", value_name = "DIR")]
    pub data: PathBuf,

    /// Where accounts are kept: mysql://USER:PASSWORD@HOST/DATABASE, or sqlite:///file [default: sqlite in the data
    /// folder].
    #[arg(long, global = true, env = "MICROSERVE_ACCOUNTS", value_name = "URL", hide_env_values = true)]
    pub accounts: Option<SecretUrl>,

    /// Where jobs are kept: mongodb://USER:PASSWORD@HOST,HOST/?replicaSet=NAME, or sqlite:///file [default: sqlite in the
    /// data folder].
    #[arg(long, global = true, env = "MICROSERVE_JOBS", value_name = "URL", hide_env_values = true)]
    pub jobs: Option<SecretUrl>,

    /// Where videos and MP3s are kept: mongodb://…, in GridFS, or file:///folder [default: the folder blobs in the data
    /// folder].
    #[arg(long, global = true, env = "MICROSERVE_BLOBS", value_name = "URL", hide_env_values = true)]
    pub blobs: Option<SecretUrl>,

    /// What carries the messages: amqp://USER:PASSWORD@HOST/VHOST, amqps://…, or sqlite:///file [default: sqlite in the
    /// data folder].
    #[arg(long, global = true, env = "MICROSERVE_QUEUE", value_name = "URL", hide_env_values = true)]
    pub queue: Option<SecretUrl>,

    /// What takes the mails: smtp://USER:PASSWORD@HOST, smtps://…, or file:///folder [default: the folder mail in the data
    /// folder, a file each].
    #[arg(long, global = true, env = "MICROSERVE_MAILER", value_name = "URL", hide_env_values = true)]
    pub mailer: Option<SecretUrl>,

    /// What turns videos into MP3s [default: native:, the built-in transcoder].
    #[arg(long, global = true, env = "MICROSERVE_TRANSCODER", value_name = "URL", hide_env_values = true)]
    pub transcoder: Option<SecretUrl>,
}

impl Stores {
    /// Where accounts are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn accounts_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.accounts.as_ref(), || file_url("sqlite", &self.data.join("microserve.db")))
    }

    /// Where jobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn jobs_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.jobs.as_ref(), || file_url("sqlite", &self.data.join("microserve.db")))
    }

    /// Where blobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn blobs_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.blobs.as_ref(), || file_url("file", &self.data.join("blobs")))
    }

    /// What carries the messages.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn queue_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.queue.as_ref(), || file_url("sqlite", &self.data.join("microserve.db")))
    }

    /// What takes the mails.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn mailer_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.mailer.as_ref(), || file_url("file", &self.data.join("mail")))
    }

    /// What transcodes.
    ///
    /// # Errors
    /// Never, with the default.
    pub fn transcoder_url(&self) -> Result<SecretUrl, ConfigError> {
        or_default(self.transcoder.as_ref(), || parse_url("native:"))
    }
}

/// How `microserve serve` serves.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the heading of the help")]
    pub stores: Stores,

    /// The address that people reach. Put a TLS-terminating proxy before it if it is not the loopback address.
    #[arg(long, env = "MICROSERVE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// The address for health checks and metrics; never open it to the internet.
    #[arg(long, env = "MICROSERVE_OPS_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDR")]
    pub ops_listen: SocketAddr,

    /// How people reach the service from outside, for the links in mails [default: http:// and the listen address].
    #[arg(long, env = "MICROSERVE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Whom mails come from.
    #[arg(long, env = "MICROSERVE_MAIL_FROM", default_value = "microserve@localhost", value_name = "EMAIL")]
    pub mail_from: Email,

    /// The largest video that is taken: bytes, or a number with KiB, MiB or GiB.
    #[arg(long, env = "MICROSERVE_MAX_UPLOAD", default_value = "4GiB", value_name = "SIZE", value_parser = parse_size)]
    pub max_upload: u64,

    /// How many videos are converted at the same time [default: one per processor].
    #[arg(long, env = "MICROSERVE_CONVERSIONS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub conversions: Option<u16>,

    /// How long a video is kept after its conversion: 90s, 15m, 24h, 30d, or "forever".
    #[arg(long, env = "MICROSERVE_KEEP_VIDEOS", default_value = "24h", value_name = "TIME", value_parser = parse_keep)]
    pub keep_videos: Keep,

    /// How long an MP3 is kept.
    #[arg(long, env = "MICROSERVE_KEEP_MP3S", default_value = "forever", value_name = "TIME", value_parser = parse_keep)]
    pub keep_mp3s: Keep,

    /// Go along with what other services left: "tutorial" takes passwords that are stored in plain text, and hashes each
    /// when its owner logs in. Leave it out once all of them have.
    #[arg(long, env = "MICROSERVE_COMPAT", value_name = "NAME")]
    pub compat: Option<Compat>,

    /// How long a stopping server waits for what was begun; what is left then is begun again by the next one.
    #[arg(long, env = "MICROSERVE_GRACE", default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub grace: Duration,

    /// What is logged: error, warn, info, debug, or a filter such as "microserve_core=debug,warn".
    #[arg(long, env = "MICROSERVE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// Print the configuration that results from options and environment, secrets hidden, and stop.
    #[arg(long)]
    pub print_config: bool,
}

/// Services that were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Compat {
    /// The Python services of the well-known tutorial.
    Tutorial,
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<Duration>);

/// A configuration that can't work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A folder's name is no URL.
    #[error("{0} can't be written as a URL: give a folder with a plain name")]
    Folder(PathBuf),
    /// A text is no URL.
    #[error("{0:?} is not a URL of the form scheme://…")]
    Url(String),
}

fn or_default(
    given: Option<&SecretUrl>,
    default: impl FnOnce() -> Result<SecretUrl, ConfigError>,
) -> Result<SecretUrl, ConfigError> {
    given.map_or_else(default, |url| Ok(url.clone()))
}

fn parse_url(text: &str) -> Result<SecretUrl, ConfigError> {
    text.parse().map_err(|_| ConfigError::Url(text.to_owned()))
}

/// The URL of a file: absolute, with everything that URLs treat specially escaped.
fn file_url(scheme: &str, path: &Path) -> Result<SecretUrl, ConfigError> {
    let bad = || ConfigError::Folder(path.to_owned());
    let absolute = std::path::absolute(path).map_err(|_| bad())?;
    let url = url::Url::from_file_path(absolute).map_err(|()| bad())?;
    parse_url(&format!("{scheme}{}", &url.as_str()["file".len()..]))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: write a number and s, m, h or d, such as 90s or 24h");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn parse_keep(text: &str) -> Result<Keep, String> {
    if text == "forever" { Ok(Keep(None)) } else { parse_duration(text).map(|time| Keep(Some(time))) }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write bytes, or a number with KiB, MiB or GiB");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|n| *n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        assert_eq!(parse_size("4GiB"), Ok(4 << 30));
        assert_eq!(parse_size("1024"), Ok(1024));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_keep("30d"), Ok(Keep(Some(Duration::from_secs(30 * 86_400)))));
        assert_eq!(parse_keep("forever"), Ok(Keep(None)));
        for bad in ["", "x", "4GB", "-1", "0", "99999999999999999999"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "10", "s", "1w", "-1s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn odd_folders_survive_being_urls() {
        let url = file_url("sqlite", Path::new("/tmp/a b#c?d%e/ü.db")).unwrap();
        let path = url::Url::parse(&url.expose().replacen("sqlite", "file", 1)).unwrap().to_file_path().unwrap();
        assert_eq!(path, Path::new("/tmp/a b#c?d%e/ü.db"));
    }
}
