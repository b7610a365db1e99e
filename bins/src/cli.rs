//! The command line.
//!
//! Exit codes: 0 done · 1 something failed · 2 the command line is wrong · 3 the file can't be converted ·
//! 4 a file can't be read or written · 5 the output exists already · 6 not logged in, or refused · 7 the server can't be
//! reached · 130 interrupted.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use crate::config::with_secret_files;

mod admin;
mod client;
mod convert;
mod dead_letters;
mod demo;
mod doctor;
mod probe;
mod run;
mod serve;
mod services;
mod table;
mod user;
mod wanted;

pub use services::{auth, converter, gateway, notifier};

/// Turns uploaded videos into MP3s: log in, upload, wait for the mail, download.
///
/// Try it: `microserve demo` shows the whole way, `microserve convert VIDEO` converts a file without any server.
/// To use a server: `microserve login --server URL`, then `microserve upload VIDEO --output .` brings the MP3 back.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 something failed; 2 the command line is wrong; 3 the file can't be \
converted; 4 a file can't be read or written; 5 the output exists already; 6 not logged in, or refused; 7 the server can't \
be reached; 130 interrupted.";

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process: gateway, converter, notifier, with all data in one folder
    Serve(Box<crate::config::Serve>),
    /// Add, list, change or remove accounts, also beside a running server
    User(Box<user::User>),
    Doctor(Box<doctor::Doctor>),
    Admin(Box<admin::Admin>),
    DeadLetters(Box<dead_letters::DeadLettersArgs>),
    /// Turn a video or audio file into an MP3, without any server
    Convert(Box<convert::Convert>),
    /// Say what is in a file and whether it can be converted
    Probe(probe::Probe),
    /// Show the whole way with curl: a server in a temporary folder, log in, upload, mail, download
    Demo(demo::Demo),
    Login(client::login::Login),
    Logout(client::login::Logout),
    Upload(Box<client::upload::Upload>),
    Jobs(client::jobs::Jobs),
    Watch(client::watch::Watch),
    Get(client::get::Get),
    Cancel(client::jobs::Cancel),
    Retry(client::jobs::Retry),
    Delete(client::jobs::Delete),
    Keys(client::keys::Keys),
}

/// Runs the command of `microserve` that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(done) = crate::child() {
        return done;
    }
    ended(parsed::<Cli>().and_then(|cli| match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::User(args) => user::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Login(args) => client::login::run(&args),
        Command::Logout(args) => client::login::forget(&args),
        Command::Upload(args) => client::upload::run(&args),
        Command::Jobs(args) => client::jobs::list(&args),
        Command::Watch(args) => client::watch::run(&args),
        Command::Get(args) => client::get::run(&args),
        Command::Cancel(args) => client::jobs::cancel(&args),
        Command::Retry(args) => client::jobs::retry(&args),
        Command::Delete(args) => client::jobs::delete(&args),
        Command::Keys(args) => client::keys::run(&args),
    }))
}

/// The command line that the process was started with, with the environment and its files.
fn parsed<C: Parser>() -> Result<C, Failure> {
    // One line: a decoder that gives up on a damaged file is an error like any other.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        say(&format!("microserve: internal error at {place}"));
    }));
    let matches = with_secret_files(C::command())?.try_get_matches();
    matches.and_then(|matches| C::from_arg_matches(&matches)).map_err(|err| without_secrets(err).exit())
}

/// A complaint about a URL does not repeat it: it may hold a password.
fn without_secrets(mut err: clap::Error) -> clap::Error {
    let is_url = matches!(err.get(ContextKind::InvalidArg), Some(ContextValue::String(arg)) if arg.ends_with("<URL>"));
    if is_url && err.get(ContextKind::InvalidValue).is_some() {
        err.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    err
}

fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// What a command ends with when it does not succeed.
#[derive(Debug)]
struct Failure {
    /// The process's exit code.
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    const NOT_CONVERTIBLE: u8 = 3;
    /// As clap's own.
    const USAGE: u8 = 2;
    const FILE: u8 = 4;
    const EXISTS: u8 = 5;
    /// Nobody is logged in, or the server does not let them.
    const REFUSED: u8 = 6;
    const UNREACHABLE: u8 = 7;
    const INTERRUPTED: u8 = 130;

    fn new(code: u8, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, error: error.into() }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(1, error)
    }
}

type Outcome = Result<(), Failure>;

fn exists(path: &Path) -> Failure {
    Failure::new(Failure::EXISTS, format!("{} exists already; --force replaces it", path.display()))
}

/// Writes a line for people to standard error. That nobody reads it is no reason to fail.
fn say(line: &str) {
    use std::io::Write;
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}

/// Writes a line of results to standard output.
fn print(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}

fn complain(failure: &Failure) {
    let mut text = format!("microserve: {}", failure.error);
    let mut source = failure.error.source();
    while let Some(err) = source {
        text.push_str(&format!(": {err}"));
        source = err.source();
    }
    say(&text);
}

/// A runtime for a command, with as many threads as the machine has processors.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
