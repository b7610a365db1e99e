//! `microserve admin`: for whoever runs the server.

use clap::{Args, Subcommand};

use super::Outcome;

mod jobs;

/// For whoever runs the server: look after everybody's jobs, on the stores themselves.
///
/// It takes the options and the environment of `microserve serve`, and disturbs no server that runs.
#[derive(Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Jobs(Box<jobs::Jobs>),
}

pub(super) fn run(args: &Admin) -> Outcome {
    match &args.what {
        What::Jobs(args) => jobs::run(args),
    }
}
