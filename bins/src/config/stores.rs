//! Where things are kept: a URL for each port, and a folder for what no URL is given for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use microserve_core::open::SecretUrl;
use microserve_sandbox::Limits;

use super::{ConfigError, parse_limit, parse_size};

/// The folder of everything that is kept nowhere else. The option may stand behind a subcommand (`user add ADDRESS --data
/// DIR`) as well as before it; so may the others of this file.
#[derive(Args, Clone, Debug)]
pub struct Data {
    /// The folder that holds whatever no URL is given for: accounts, jobs and queue in one SQLite file, videos, MP3s and
    /// mails as files; and MP3s while they grow.
    #[arg(
        id = "data",
        long,
        global = true,
        env = "MICROSERVE_DATA",
        default_value = "microserve-data",
        value_name = "DIR"
    )]
    pub folder: PathBuf,
}

impl Data {
    fn sqlite(&self) -> Result<SecretUrl, ConfigError> {
        file_url("sqlite", &self.folder.join("microserve.db"))
    }
}

/// Where accounts are kept.
#[derive(Args, Clone, Debug)]
pub struct Accounts {
    /// Where accounts are kept: mysql://USER:PASSWORD@HOST/DATABASE, or sqlite:///file [default: sqlite in the data
    /// folder].
    #[arg(long, global = true, env = "MICROSERVE_ACCOUNTS", value_name = "URL", hide_env_values = true)]
    pub accounts: Option<SecretUrl>,
}

/// Where jobs are kept, and what carries their messages.
#[derive(Args, Clone, Debug)]
pub struct Jobs {
    /// Where jobs are kept: mongodb://USER:PASSWORD@HOST,HOST/?replicaSet=NAME, or sqlite:///file [default: sqlite in the
    /// data folder].
    #[arg(long, global = true, env = "MICROSERVE_JOBS", value_name = "URL", hide_env_values = true)]
    pub jobs: Option<SecretUrl>,

    /// What carries the messages: amqps://USER:PASSWORD@HOST/VHOST, amqp://… without TLS, or sqlite:///file [default:
    /// sqlite in the data folder].
    #[arg(long, global = true, env = "MICROSERVE_QUEUE", value_name = "URL", hide_env_values = true)]
    pub queue: Option<SecretUrl>,
}

/// Where videos and MP3s are kept.
#[derive(Args, Clone, Debug)]
pub struct Blobs {
    /// Where videos and MP3s are kept: mongodb://…, in GridFS, or file:///folder [default: the folder blobs in the data
    /// folder].
    #[arg(long, global = true, env = "MICROSERVE_BLOBS", value_name = "URL", hide_env_values = true)]
    pub blobs: Option<SecretUrl>,
}

/// What takes the mails.
#[derive(Args, Clone, Debug)]
pub struct Mailer {
    /// What takes the mails: smtp://USER:PASSWORD@HOST, smtps://…, or file:///folder [default: the folder mail in the data
    /// folder, a file each].
    #[arg(long, global = true, env = "MICROSERVE_MAILER", value_name = "URL", hide_env_values = true)]
    pub mailer: Option<SecretUrl>,
}

/// What transcodes.
#[derive(Args, Clone, Debug)]
pub struct Transcoder {
    /// What turns videos into MP3s [default: native:, the built-in transcoder].
    #[arg(long, global = true, env = "MICROSERVE_TRANSCODER", value_name = "URL", hide_env_values = true)]
    pub transcoder: Option<SecretUrl>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
    pub sandbox: Sandbox,
}

/// What keeps files of strangers from doing harm.
#[derive(Args, Clone, Copy, Debug)]
pub struct Sandbox {
    /// Read media in child processes that have no files, no network and few system calls: "strict" does not start where
    /// the kernel can't enforce all of it, "best-effort" goes on and says what is missing, "off" reads it in this process.
    // Not strict by default: on a kernel without Landlock, nothing would start.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX", default_value = "best-effort", value_name = "MODE")]
    pub sandbox: SandboxMode,

    /// The most memory that one conversion may use in its sandbox.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX_MEMORY", default_value = "256MiB", value_name = "SIZE", value_parser = parse_size)]
    pub sandbox_memory: u64,

    /// The most processor time that one conversion may use, all its threads together.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX_CPU", default_value = "2h", value_name = "TIME", value_parser = parse_limit)]
    pub sandbox_cpu: Duration,

    /// The longest that one conversion may take, from the first byte to the last.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX_TIME", default_value = "6h", value_name = "TIME", value_parser = parse_limit)]
    pub sandbox_time: Duration,

    /// The longest that one conversion may go without progress.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX_SILENCE", default_value = "60s", value_name = "TIME", value_parser = parse_limit)]
    pub sandbox_silence: Duration,

    /// The largest MP3 that may come out of a conversion.
    #[arg(long, global = true, env = "MICROSERVE_SANDBOX_OUTPUT", default_value = "4GiB", value_name = "SIZE", value_parser = parse_size)]
    pub sandbox_output: u64,
}

/// How media is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum SandboxMode {
    /// All of it, or nothing starts.
    Strict,
    /// What the kernel can do.
    BestEffort,
    /// Not at all.
    Off,
}

impl Default for Sandbox {
    fn default() -> Self {
        let Limits { memory, cpu, time, silence, output } = Limits::default();
        Self {
            sandbox: SandboxMode::BestEffort,
            sandbox_memory: memory,
            sandbox_cpu: cpu,
            sandbox_time: time,
            sandbox_silence: silence,
            sandbox_output: output,
        }
    }
}

impl Sandbox {
    /// The built-in transcoder's URL.
    fn native(self) -> String {
        let mode = match self.sandbox {
            SandboxMode::Strict => "strict",
            SandboxMode::BestEffort => "best-effort",
            SandboxMode::Off => return "native:?sandbox=off".to_owned(),
        };
        let (cpu, time, silence) = (self.sandbox_cpu, self.sandbox_time, self.sandbox_silence);
        format!(
            "native:?sandbox={mode}&memory={}&cpu={}&time={}&silence={}&output={}",
            self.sandbox_memory,
            cpu.as_secs(),
            time.as_secs(),
            silence.as_secs(),
            self.sandbox_output
        )
    }
}

/// All of them.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "a comment on a flattened field would replace the heading of the help")]
pub struct Stores {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub accounts: Accounts,
    #[command(flatten)]
    pub jobs: Jobs,
    #[command(flatten)]
    pub blobs: Blobs,
    #[command(flatten)]
    pub mailer: Mailer,
    #[command(flatten)]
    pub transcoder: Transcoder,
}

impl Accounts {
    /// Where accounts are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn url(&self, data: &Data) -> Result<SecretUrl, ConfigError> {
        or_default(self.accounts.as_ref(), || data.sqlite())
    }
}

impl Jobs {
    /// Where jobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn url(&self, data: &Data) -> Result<SecretUrl, ConfigError> {
        or_default(self.jobs.as_ref(), || data.sqlite())
    }

    /// What carries the messages.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn queue_url(&self, data: &Data) -> Result<SecretUrl, ConfigError> {
        or_default(self.queue.as_ref(), || data.sqlite())
    }
}

impl Blobs {
    /// Where blobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn url(&self, data: &Data) -> Result<SecretUrl, ConfigError> {
        or_default(self.blobs.as_ref(), || file_url("file", &data.folder.join("blobs")))
    }
}

impl Mailer {
    /// What takes the mails.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn url(&self, data: &Data) -> Result<SecretUrl, ConfigError> {
        or_default(self.mailer.as_ref(), || file_url("file", &data.folder.join("mail")))
    }
}

impl Transcoder {
    /// What transcodes: the built-in transcoder as its sandbox is told, unless another URL says it all.
    ///
    /// # Errors
    /// Never, with the default.
    pub fn url(&self) -> Result<SecretUrl, ConfigError> {
        match &self.transcoder {
            Some(url) if url.expose() != "native:" => Ok(url.clone()),
            _ => parse_url(&self.sandbox.native()),
        }
    }
}

impl Stores {
    /// Everything in one folder.
    #[must_use]
    pub fn embedded(folder: PathBuf) -> Self {
        Self {
            data: Data { folder },
            accounts: Accounts { accounts: None },
            jobs: Jobs { jobs: None, queue: None },
            blobs: Blobs { blobs: None },
            mailer: Mailer { mailer: None },
            transcoder: Transcoder { transcoder: None, sandbox: Sandbox::default() },
        }
    }

    /// Where accounts are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn accounts_url(&self) -> Result<SecretUrl, ConfigError> {
        self.accounts.url(&self.data)
    }

    /// Where jobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn jobs_url(&self) -> Result<SecretUrl, ConfigError> {
        self.jobs.url(&self.data)
    }

    /// What carries the messages.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn queue_url(&self) -> Result<SecretUrl, ConfigError> {
        self.jobs.queue_url(&self.data)
    }

    /// Where blobs are kept.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn blobs_url(&self) -> Result<SecretUrl, ConfigError> {
        self.blobs.url(&self.data)
    }

    /// What takes the mails.
    ///
    /// # Errors
    /// When the data folder can't be written as a URL.
    pub fn mailer_url(&self) -> Result<SecretUrl, ConfigError> {
        self.mailer.url(&self.data)
    }

    /// What transcodes.
    ///
    /// # Errors
    /// Never, with the default.
    pub fn transcoder_url(&self) -> Result<SecretUrl, ConfigError> {
        self.transcoder.url()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_folders_survive_being_urls() {
        let url = file_url("sqlite", Path::new("/tmp/a b#c?d%e/ü.db")).unwrap();
        let path = url::Url::parse(&url.expose().replacen("sqlite", "file", 1)).unwrap().to_file_path().unwrap();
        assert_eq!(path, Path::new("/tmp/a b#c?d%e/ü.db"));
    }
}
