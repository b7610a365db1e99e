//! `microserve admin jobs`: everybody's jobs. Works on the stores themselves, so no server is needed, and none is disturbed.

use std::sync::Arc;

use clap::{Args, Subcommand};
use microserve_core::account::Email;
use microserve_core::bell;
use microserve_core::blob::BlobError;
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::job::{Job, JobId, JobStore, ListQuery, MailState, Policy, State, Status, change};

use crate::cli::table::{self, one_line};
use crate::cli::{Failure, Outcome, print, runtime, say};
use crate::config::Stores;
use crate::registry::Registry;

/// So many are read at a time.
const PAGE: usize = 100;

/// List, show or run again everybody's jobs, also beside a running server.
///
/// A job is one uploaded video: uploading, queued, converting, then done, failed or cancelled; expired when its MP3 is no
/// longer kept. A failed one was tried as often as makes sense; `show` says why it failed. `retry` has it run again, with
/// the same video, which is kept for a day unless the server says otherwise (`--keep-videos`).
#[derive(Args)]
#[group(skip)]
pub(super) struct Jobs {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    stores: Stores,
}

#[derive(Subcommand)]
enum Action {
    /// List them, the newest first
    List {
        /// Only those that are uploading, queued, converting, done, failed, cancelled or expired
        #[arg(long, value_name = "STATUS", value_parser = shown_status)]
        status: Option<Status>,
        /// Only those of this account
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Print them as JSON, with everything that is stored of them
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its id, as `list` shows it
        id: JobId,
        /// Print it as JSON, with everything that is stored of it
        #[arg(long)]
        json: bool,
    },
    /// Have one that failed or was cancelled run again
    Retry {
        /// Its id, as `list` shows it
        id: JobId,
    },
}

/// Deleted jobs are not shown to anybody.
fn shown_status(word: &str) -> Result<Status, String> {
    let status = word.parse::<Status>().map_err(|err| err.to_string())?;
    if status == Status::Deleted { Err("deleted jobs are not listed".to_owned()) } else { Ok(status) }
}

pub(super) fn run(args: &Jobs) -> Outcome {
    runtime()?.block_on(async {
        let registry = Registry::embedded();
        let jobs = registry.jobs.open(&args.stores.jobs_url()?).await?;
        match &args.action {
            Action::List { status, owner, limit, json } => {
                let owner = match owner {
                    Some(email) => {
                        let accounts = registry.accounts.open(&args.stores.accounts_url()?).await?;
                        Some(crate::cli::user::find(&*accounts, email).await?.id)
                    }
                    None => None,
                };
                list(&*jobs, ListQuery { owner, status: *status, after: None, limit: *limit as usize }, *json).await
            }
            Action::Show { id, json } => show(&find(&*jobs, *id).await?, *json),
            Action::Retry { id } => retry(&registry, &args.stores, jobs, *id).await,
        }
    })
}

async fn list(jobs: &dyn JobStore, query: ListQuery, json: bool) -> Outcome {
    // One more than is shown tells whether there are more.
    let (mut list, wanted) = (Vec::new(), query.limit + 1);
    while list.len() < wanted {
        let after = list.last().map(|job: &Job| (job.created_at, job.id));
        let page = jobs.list(&ListQuery { after, limit: PAGE.min(wanted - list.len()), ..query.clone() }).await?;
        if page.is_empty() {
            break;
        }
        list.extend(page);
    }
    let more = list.len() == wanted;
    list.truncate(query.limit);
    if json {
        print(&serde_json::to_string_pretty(&list)?)?;
    } else if list.is_empty() {
        say("there are no such jobs");
    } else {
        table::print(["ID", "STATUS", "CREATED", "OWNER", "FILE"], list.iter().map(row))?;
    }
    if more {
        say("there are more: --limit shows them");
    }
    Ok(())
}

fn row(job: &Job) -> [String; 5] {
    let status = match &job.state {
        State::Failed { problem } => format!("failed: {}", problem.code),
        State::Converting { .. } => format!("converting {:.0} %", job.progress * 100.0),
        _ => job.status().as_str().to_owned(),
    };
    let owner = one_line(job.email.as_str(), 60);
    [job.id.to_string(), status, table::time(Some(job.created_at)), owner, one_line(&job.filename, 60)]
}

fn show(job: &Job, json: bool) -> Outcome {
    if json {
        return Ok(print(&serde_json::to_string_pretty(job)?)?);
    }
    let problem = match &job.state {
        State::Failed { problem } => Some(problem),
        _ => job.last_problem.as_ref(),
    };
    let gone = if job.video_gone { ", no longer kept" } else { "" };
    let size = job.video_size.map(|size| format!(", {size} bytes")).unwrap_or_default();
    let output = job.output.as_ref().map(|mp3| {
        let seconds = mp3.duration.map(|seconds| format!(", {} s", seconds.round())).unwrap_or_default();
        let bitrate = mp3.bitrate.map(|bitrate| format!(", {bitrate} bit/s")).unwrap_or_default();
        format!("{}, {} bytes{seconds}{bitrate}", mp3.fid, mp3.size)
    });
    let mail = match &job.mail {
        MailState::Failed { reason } => format!("failed: {reason}"),
        mail => mail.as_str().unwrap_or_default().to_owned(),
    };
    let progress = if let State::Converting { phase, .. } = &job.state {
        format!("{phase:?}, {:.0} %", job.progress * 100.0)
    } else {
        String::new()
    };
    let attempts = if job.attempt > 0 { job.attempt.to_string() } else { String::new() };
    Ok(table::print_fields([
        ("id", job.id.to_string()),
        ("status", job.status().as_str().to_owned()),
        ("progress", progress.to_lowercase()),
        ("problem", problem.map(|why| format!("{} ({})", why.detail, why.code)).unwrap_or_default()),
        ("attempts", attempts),
        ("owner", job.email.to_string()),
        ("file", job.filename.clone()),
        ("video", format!("{}{size}{gone}", job.video)),
        ("mp3", output.unwrap_or_default()),
        ("mail", mail),
        ("created", table::time(Some(job.created_at))),
        ("started", table::time(job.started_at)),
        ("finished", table::time(job.finished_at)),
        ("due", table::time(job.due_at)),
    ])?)
}

async fn find(jobs: &dyn JobStore, id: JobId) -> Result<Job, Failure> {
    let job = jobs.get(id).await?.filter(|job| job.status() != Status::Deleted);
    job.ok_or_else(|| Failure::new(1, format!("there is no job {id}; `microserve admin jobs list` shows all")))
}

async fn retry(registry: &Registry, stores: &Stores, jobs: Arc<dyn JobStore>, id: JobId) -> Outcome {
    let (now, policy) = (SystemClock.now(), Policy::default());
    let job = find(&*jobs, id).await?;
    // Told before anything is changed, if it is certain: the attempt would end the same way.
    job.clone().retry(now, &policy)?;
    let videos = registry.blobs.open(&stores.blobs_url()?).await?.videos;
    match videos.head(&job.video).await {
        Err(BlobError::NotFound(_)) => {
            return Err(Failure::new(1, format!("the video of job {id} is lost; it has to be uploaded again")));
        }
        found => drop(found?),
    }
    let job = change(&*jobs, id, |job| job.retry(now, &policy)).await?;
    say(&format!("job {id} is queued again"));
    let rung = async { bell::ring(&*registry.queue.open(&stores.queue_url()?).await?, &job).await };
    if let Err(err) = rung.await {
        say(&format!("its bell could not be rung ({err}): a running server does so within a minute"));
    }
    Ok(())
}
