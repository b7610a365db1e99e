//! `microserve jobs`, `cancel`, `retry` and `delete`: one's own jobs.

use clap::Args;
use microserve_core::job::{JobId, Status};
use reqwest::Method;

use super::api::{self, Api};
use super::job::{Job, path};
use super::watch::until_final;
use crate::cli::table;
use crate::cli::{Failure, Outcome, print, say};
use crate::config::Client;

/// So many are asked for at a time.
const PAGE: usize = 100;

/// List your jobs on a server, the newest first.
///
/// A job is one uploaded video: uploading, queued, converting, then done, failed or cancelled; expired when its MP3 is
/// no longer kept.
#[derive(Args)]
pub(crate) struct Jobs {
    /// Only those that are uploading, queued, converting, done, failed, cancelled or expired
    #[arg(long, value_name = "STATUS", value_parser = shown_status)]
    status: Option<Status>,

    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// Print them as JSON, one a line, as the server tells of them
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: Client,
}

/// Cancel a job that is not finished.
#[derive(Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    one: One,
}

/// Have a job that failed or was cancelled run again, while its video is kept.
#[derive(Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    one: One,
}

/// Delete a job with its video and its MP3; one that is not finished is cancelled first.
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    one: One,
}

#[derive(Args)]
struct One {
    /// Its id, as `microserve jobs` shows it
    #[arg(value_name = "JOB")]
    id: JobId,

    #[command(flatten)]
    client: Client,
}

fn shown_status(word: &str) -> Result<Status, String> {
    let status = word.parse::<Status>().map_err(|err| err.to_string())?;
    if status == Status::Deleted { Err("deleted jobs are not listed".to_owned()) } else { Ok(status) }
}

pub(crate) fn list(args: &Jobs) -> Outcome {
    super::run("interrupted", async {
        let api = Api::signed_in(&args.client)?;
        let (jobs, more) = pages(&api, args.status, args.limit as usize).await?;
        if args.json {
            jobs.iter().try_for_each(|job| print(&job.0.to_string()))?;
        } else if jobs.is_empty() {
            say("there are no such jobs");
        } else {
            table::print(["ID", "STATUS", "CREATED", "FILE"], jobs.iter().map(Job::row))?;
        }
        if more {
            say("there are more: --limit shows them");
        }
        Ok(())
    })
}

/// At most `limit` jobs, and whether there are more.
async fn pages(api: &Api, status: Option<Status>, limit: usize) -> Result<(Vec<Job>, bool), Failure> {
    let (mut jobs, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let wanted = PAGE.min(limit - jobs.len()).to_string();
        let mut query = vec![("limit", wanted.as_str())];
        query.extend(status.as_ref().map(|status| ("status", status.as_str())));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = api.document(|| api.request_with(Method::GET, "jobs", &query)).await?;
        let before = jobs.len();
        let listed = page["jobs"].as_array().into_iter().flatten();
        jobs.extend(listed.take(limit - before).cloned().map(Job));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        // A page without a job has none behind it, whatever it says.
        if cursor.is_none() || jobs.len() == limit || jobs.len() == before {
            return Ok((jobs, cursor.is_some()));
        }
    }
}

pub(crate) fn cancel(args: &Cancel) -> Outcome {
    super::run("interrupted", async {
        let (api, id) = (Api::signed_in(&args.one.client)?, args.one.id);
        let job = Job::find(&api, id).await?;
        if job.is_final() {
            let status = job.state();
            return Err(Failure::new(1, format!("job {id} is over ({status}); `microserve delete {id}` removes it")));
        }
        remove(&api, id).await?;
        say(&format!("job {id} is cancelled; `microserve retry {id}` has it run again"));
        Ok(())
    })
}

pub(crate) fn retry(args: &Retry) -> Outcome {
    super::run("interrupted", async {
        let (api, id) = (Api::signed_in(&args.one.client)?, args.one.id);
        api.call(|| api.request(Method::POST, &format!("{}/retry", path(id)))).await?;
        say(&format!("job {id} is queued again"));
        Ok(())
    })
}

pub(crate) fn delete(args: &Delete) -> Outcome {
    super::run("interrupted; the job may be cancelled, but is not deleted", async {
        let (api, id) = (Api::signed_in(&args.one.client)?, args.one.id);
        if !Job::find(&api, id).await?.is_final() {
            remove(&api, id).await?;
            until_final(&api, id, &indicatif::ProgressBar::hidden(), &mut |_| Ok(())).await?;
        }
        remove(&api, id).await?;
        say(&format!("job {id} is deleted"));
        Ok(())
    })
}

/// `DELETE /jobs/{id}`: what is running is cancelled, what is over deleted. Once: a cancelled job is not to be deleted
/// because an answer was lost.
async fn remove(api: &Api, id: JobId) -> Result<(), Failure> {
    let request = api.request(Method::DELETE, &path(id));
    Ok(api::answer(request.send(), api::IDLE).await.map(drop)?)
}
