//! The services of a cluster: `microserve-auth`, `microserve-gateway`, `microserve-converter`, `microserve-notifier`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use microserve_core::{BoxError, Shutdown};
use tracing::info;

use super::run::{print_config, until_stopped};
use super::{Outcome, ended, parsed, runtime, user};
use crate::config::{self, Accounts, Data, LogFormat, Process};
use crate::open;
use crate::registry::Registry;
use crate::services::Service;
use crate::telemetry;

/// Logs people in: credentials become tokens, and everybody can ask for the keys to tell them by.
///
/// Without any option it keeps accounts and keys in the folder microserve-data.
#[derive(Parser)]
#[command(name = "microserve-auth", version, max_term_width = 100)]
struct AuthCli {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    /// Serve logins, and the keys that tokens are told by
    Serve(Box<config::Auth>),
    /// Bring the accounts' table up to date and stop; `serve` needs no right to change tables afterwards
    Migrate(Migrate),
    /// Add, list, change or remove accounts, also beside a running server
    User(Box<user::User>),
}

#[derive(Args)]
struct Migrate {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    accounts: Accounts,

    /// What is logged: error, warn, info, debug, or a filter such as "microserve_mysql=debug,warn".
    #[arg(long, env = "MICROSERVE_LOG", default_value = "info", value_name = "FILTER")]
    log: String,

    /// How it is logged: as lines for people, as JSON, or as whichever suits where standard error leads to.
    #[arg(long, env = "MICROSERVE_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Takes uploads, tells of jobs and gives out MP3s, to those whom the auth service knows. Passes logins on to it.
#[derive(Parser)]
#[command(name = "microserve-gateway", version, max_term_width = 100)]
struct GatewayCli {
    #[command(flatten)]
    config: config::Gateway,
}

/// Makes MP3s of the videos that the queue tells of.
#[derive(Parser)]
#[command(name = "microserve-converter", version, max_term_width = 100)]
struct ConverterCli {
    #[command(flatten)]
    config: config::Converter,
}

/// Mails to the owners of finished and failed jobs.
#[derive(Parser)]
#[command(name = "microserve-notifier", version, max_term_width = 100)]
struct NotifierCli {
    #[command(flatten)]
    config: config::Notifier,
}

/// `microserve-auth`.
#[must_use]
pub fn auth() -> ExitCode {
    ended(parsed::<AuthCli>().and_then(|cli| match cli.command {
        AuthCommand::Serve(config) if config.process.print_config => print_config(&config),
        AuthCommand::Serve(config) => serve(&config.process, async |shutdown| {
            Service::auth(&config, &Registry::empty().with_accounts(), shutdown).await
        }),
        AuthCommand::Migrate(args) => migrate(&args),
        AuthCommand::User(args) => user::run(&args),
    }))
}

/// `microserve-gateway`.
#[must_use]
pub fn gateway() -> ExitCode {
    if let Some(done) = crate::child() {
        return done;
    }
    ended(parsed::<GatewayCli>().and_then(|GatewayCli { config }| {
        if config.process.print_config {
            return print_config(&config);
        }
        serve(&config.process, async |shutdown| Service::gateway(&config, &work().with_transcoder(), shutdown).await)
    }))
}

/// `microserve-converter`.
#[must_use]
pub fn converter() -> ExitCode {
    if let Some(done) = crate::child() {
        return done;
    }
    ended(parsed::<ConverterCli>().and_then(|ConverterCli { config }| {
        if config.process.print_config {
            return print_config(&config);
        }
        serve(&config.process, async |shutdown| Service::converter(&config, &work().with_transcoder(), shutdown).await)
    }))
}

/// `microserve-notifier`.
#[must_use]
pub fn notifier() -> ExitCode {
    ended(parsed::<NotifierCli>().and_then(|NotifierCli { config }| {
        if config.process.print_config {
            return print_config(&config);
        }
        serve(&config.process, async |shutdown| Service::notifier(&config, &work().with_mailer(), shutdown).await)
    }))
}

/// What gateways, converters and notifiers share.
fn work() -> Registry {
    Registry::empty().with_jobs().with_blobs().with_queue()
}

fn serve(process: &Process, start: impl AsyncFnOnce(&Shutdown) -> Result<Service, BoxError>) -> Outcome {
    until_stopped(
        process,
        async |shutdown| {
            let service = start(shutdown).await?;
            let (address, ops) = (service.address.map(|address| format!("http://{address}")), service.ops_address);
            info!(listens = address, ops = format!("http://{ops}"), "started");
            Ok(service)
        },
        async |service: &Service, shutdown: &Shutdown, grace: Duration| service.stop(shutdown, grace).await,
    )
}

/// Opening accounts brings their table up to date.
fn migrate(args: &Migrate) -> Outcome {
    telemetry::start_log(&args.log, args.log_format);
    runtime()?.block_on(async {
        open::patiently(&Registry::empty().with_accounts().accounts, &args.accounts.url(&args.data)?).await?;
        info!("the accounts' table is up to date");
        Ok(())
    })
}
