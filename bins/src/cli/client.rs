//! The client: its commands talk to a gateway by HTTP, wherever it is.
//!
//! `login` stores a token ([`store`]); all others call with it ([`api`]). Uploads go on after a cut, also in another
//! process ([`tus`]); downloads too ([`get`]).

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Outcome, runtime};

mod api;
pub(super) mod get;
mod job;
pub(super) mod jobs;
pub(super) mod keys;
pub(super) mod login;
mod name;
mod patience;
mod store;
mod tally;
mod tus;
pub(super) mod upload;
pub(super) mod watch;

/// Does what a command is for, until it is done or somebody presses Ctrl-C, which is answered with `interrupted`.
fn run(interrupted: &str, work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                Err(Failure::new(Failure::INTERRUPTED, interrupted.to_owned()))
            }
        }
    });
    // Somebody who reads standard input can't be told to stop.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// A bar for people; where there is no terminal, nothing.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A bar for bytes on their way.
fn byte_bar(length: u64, name: &str) -> ProgressBar {
    let bar = bar(length, "{prefix} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
    bar.set_prefix(super::table::one_line(name, 40));
    bar
}
