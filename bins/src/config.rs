//! Configuration: command-line options, each with its environment variable. A field's comment is its manual.
//!
//! An option whose value is a secret can also be given as a file: `MICROSERVE_QUEUE_FILE` names the file that holds what
//! `MICROSERVE_QUEUE` would. With `MICROSERVE_COMPAT=tutorial`, what is still missing is taken from the variables that the
//! tutorial's services have.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

mod client;
mod otel;
mod roles;
mod stores;
mod tutorial;

pub(crate) use client::{Address, Client, Peer, state_folder};
pub(crate) use otel::Otel;
pub use roles::{
    Auth, Compat, Connections, Converter, Converting, Gateway, Intake, LogFormat, Login, Mailing, Notifier, Peers,
    Process, Quotas, Registration, Retention, Serve,
};
pub use stores::{Accounts, Blobs, Data, Jobs, Mailer, Sandbox, SandboxMode, Stores, Transcoder};

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
    /// The file with a secret can't be read.
    #[error("can't read the secret in {}", file.display())]
    SecretFile {
        /// The file that was named.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Takes the values of secret options that are given by neither option nor environment from the files that the
/// environment names: for `MICROSERVE_QUEUE`, the one in `MICROSERVE_QUEUE_FILE`, without the line's end.
///
/// # Errors
/// [`ConfigError::SecretFile`].
pub(crate) fn with_secret_files(command: clap::Command) -> Result<clap::Command, ConfigError> {
    let mut failed = None;
    let mut command = command.mut_args(|arg| {
        let Some(file) = secret_file(&arg) else { return with_tutorials_value(arg) };
        match std::fs::read_to_string(&file) {
            Ok(secret) => arg.default_value(secret.trim_end_matches(['\r', '\n']).to_owned()).hide_default_value(true),
            Err(source) => {
                failed = Some(ConfigError::SecretFile { file, source });
                arg
            }
        }
    });
    if let Some(err) = failed {
        return Err(err);
    }
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let mut outcome = Ok(());
        command = command.mut_subcommand(name, |sub| {
            with_secret_files(sub.clone()).unwrap_or_else(|err| {
                outcome = Err(err);
                sub
            })
        });
        outcome?;
    }
    Ok(command)
}

/// With the tutorial's value in the place of a default, if that is what the environment wants.
fn with_tutorials_value(arg: clap::Arg) -> clap::Arg {
    #[allow(clippy::disallowed_methods, reason = "this is where configuration is read")]
    let variable = |name: &str| std::env::var(name).ok();
    if variable("MICROSERVE_COMPAT").as_deref() != Some("tutorial") {
        return arg;
    }
    let name = arg.get_env().and_then(OsStr::to_str).map(str::to_owned);
    match name.and_then(|name| tutorial::value(&name, variable)) {
        Some(value) => arg.default_value(value).hide_default_value(true),
        None => arg,
    }
}

/// The file that stands for an option's value.
fn secret_file(arg: &clap::Arg) -> Option<PathBuf> {
    let name = arg.get_env().filter(|_| arg.is_hide_env_values_set())?;
    let mut file = name.to_owned();
    file.push("_FILE");
    #[allow(clippy::disallowed_methods, reason = "this is where configuration is read")]
    let variable = |name: &OsStr| std::env::var_os(name);
    if variable(name).is_some() { None } else { variable(&file).map(PathBuf::from) }
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

/// As a limit, no time at all would forbid everything.
fn parse_limit(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|time| if time.is_zero() { Err("0 is no limit".to_owned()) } else { Ok(time) })
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
}
