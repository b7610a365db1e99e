//! `microserve watch`: what becomes of jobs, until they are final.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use microserve_core::job::JobId;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, StatusCode};

use super::api::{self, Api, IDLE};
use super::job::{Job, path};
use super::patience::Patience;
use super::tally::Tally;
use crate::cli::{Outcome, print};
use crate::config::Client;

/// The server answers when something has changed, or after so many seconds.
const WAIT: u64 = 30;
/// Between two questions, whatever the server makes of that.
const PAUSE: Duration = Duration::from_millis(200);

/// Follow jobs until they are done, failed or cancelled.
///
/// The exit code is that of the first that did not end well: 3 if its file can't be converted.
#[derive(Args)]
pub(crate) struct Watch {
    /// Their ids, as `microserve upload` and `microserve jobs` show them
    #[arg(required = true, value_name = "JOB")]
    ids: Vec<JobId>,

    /// Print each change as JSON, one a line, as the server tells of it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Watch) -> Outcome {
    super::run("interrupted; the jobs go on", async {
        let api = Api::signed_in(&args.client)?;
        let mut tally = Tally::of(args.ids.len());
        for id in &args.ids {
            let outcome = async {
                let bar = bar(&id.to_string());
                let mut told = |job: &Job| -> Outcome {
                    if args.json {
                        print(&job.0.to_string())?;
                    }
                    Ok(())
                };
                let job = until_final(&api, *id, &bar, &mut told).await;
                bar.finish_and_clear();
                let job = job?;
                if !args.json {
                    print(&line(&job))?;
                }
                job.outcome()
            };
            tally.count(outcome.await)?;
        }
        tally.outcome()
    })
}

/// A job in a line for people and scripts.
pub(super) fn line(job: &Job) -> String {
    format!("{}  {}  {}", job.id(), job.state(), job.filename())
}

/// A bar for a conversion.
pub(super) fn bar(name: &str) -> ProgressBar {
    let bar = super::bar(1000, "{prefix} {wide_bar} {percent:>3} %  {msg}");
    bar.set_prefix(crate::cli::table::one_line(name, 40));
    bar
}

/// The job once it is final. Each change is told on the way.
pub(super) async fn until_final(
    api: &Api,
    id: JobId,
    bar: &ProgressBar,
    told: &mut (dyn FnMut(&Job) -> Outcome + Send),
) -> Result<Job, crate::cli::Failure> {
    let (path, mut known, mut patience) = (path(id), None::<HeaderValue>, Patience::long(bar));
    loop {
        let mut request = api.request(Method::GET, &path);
        if let Some(etag) = &known {
            request = request.header(header::IF_NONE_MATCH, etag).header("prefer", format!("wait={WAIT}"));
        }
        let news = async {
            let response = api::answer(request.send(), Duration::from_secs(WAIT) + IDLE).await?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let etag = response.headers().get(header::ETAG).cloned();
            Ok(Some((Job(api::document(response).await?), etag)))
        };
        match news.await {
            Ok(Some((job, etag))) => {
                patience.renew();
                bar.set_position((job.progress() * 1000.0) as u64);
                bar.set_message(job.state());
                told(&job)?;
                if job.is_final() {
                    return Ok(job);
                }
                known = etag;
            }
            Ok(None) => patience.renew(),
            Err(trouble) => patience.after(trouble).await?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
