//! `microserve upload`: files become jobs, and jobs MP3s.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, TryStreamExt, stream};
use microserve_core::job::JobId;
use reqwest::{Body, Method};
use tokio::sync::mpsc;

use super::api::{self, Api};
use super::get::{Target, fetch};
use super::job::Job;
use super::store::Store;
use super::tally::Tally;
use super::tus::Sending;
use super::watch;
use crate::cli::wanted::Wanted;
use crate::cli::{Failure, Outcome, exists, print};
use crate::config::Client;

/// Upload videos to a server, which turns them into MP3s.
///
/// What breaks off goes on where it was: by itself when the line is bad, and by the same command after anything else.
/// Prints a line for each file: the job's id, its status and the file's name. A mail tells when the MP3 is there; `--wait`
/// and `--output` wait for it here.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Upload {
    /// The videos; `-` is standard input, which can't go on after a cut
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Wait until the jobs are done, failed or cancelled
    #[arg(long)]
    wait: bool,

    /// Wait, and download the MP3s into this folder, or to this file; `-` is standard output
    #[arg(long, short, value_name = "DIR|FILE")]
    output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long, requires = "output")]
    force: bool,

    /// What to call standard input
    #[arg(long, default_value = "audio", value_name = "NAME")]
    name: String,

    /// Print the jobs as JSON, one a line, as the server tells of them
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    wanted: Wanted,

    #[command(flatten)]
    client: Client,
}

const EXAMPLES: &str = "Examples:
  microserve upload film.mkv --output .                  brings film.mp3
  microserve upload a.mp4 b.mp4 --preset podcast --wait
  ffmpeg … -f matroska - | microserve upload - --name film.mkv

Exit codes: 0 done; 1 something failed; 2 the command line is wrong; 3 a file can't be converted; 4 a file can't be read
or written; 5 a file exists already; 6 not logged in, or refused; 7 the server can't be reached; 130 interrupted. Of
several files, the first that failed decides.";

pub(crate) fn run(args: &Upload) -> Outcome {
    args.wanted.options().map_err(|err| Failure::new(Failure::USAGE, err))?;
    let target = args.output.as_deref().map(|output| target(output, args)).transpose()?;
    let jobs = RefCell::new(Vec::new());
    let outcome = super::run("interrupted; the same command goes on from here", async {
        let (api, store) = (Api::signed_in(&args.client)?, Store::open()?);
        store.tidy();
        let mut tally = Tally::of(args.files.len());
        let waits = args.wait || target.is_some();
        for file in &args.files {
            let sent = async {
                let id = send(&api, &store, file, args).await?;
                if !waits {
                    tell(&Job::find(&api, id).await?, args)?;
                }
                jobs.borrow_mut().push(id);
                Ok(())
            };
            tally.count(sent.await)?;
        }
        let sent = jobs.borrow().clone();
        for id in sent.into_iter().filter(|_| waits) {
            tally.count(bring(&api, id, target.as_ref(), args).await)?;
        }
        tally.outcome()
    });
    let jobs = jobs.into_inner();
    match outcome {
        // What is uploaded would be uploaded again.
        Err(failure) if failure.code == Failure::INTERRUPTED && !jobs.is_empty() => {
            let words = format!(
                "interrupted; what is uploaded goes on: `microserve watch {}`",
                jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            );
            Err(Failure::new(failure.code, words))
        }
        outcome => outcome,
    }
}

/// Where the MP3s go. Several need a folder.
fn target(output: &Path, args: &Upload) -> Result<Target, Failure> {
    let target = Target::of(output);
    if args.files.len() > 1 && !matches!(target, Target::In(_)) {
        let words = "is no folder: several MP3s need one";
        return Err(Failure::new(Failure::USAGE, format!("{} {words}", output.display())));
    }
    match &target {
        // Said before anything is uploaded.
        Target::Named(path) if !args.force && path.exists() => Err(exists(path)),
        Target::Stdout if args.json => Err(Failure::new(Failure::USAGE, "the MP3 and --json can't share an output")),
        _ => Ok(target),
    }
}

/// Uploads one file; the job's id.
async fn send(api: &Api, store: &Store, file: &Path, args: &Upload) -> Result<JobId, Failure> {
    if file == Path::new("-") {
        return send_stdin(api, args).await;
    }
    let name = file.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let bar = super::byte_bar(0, &name);
    let outcome = Sending::new(api, store, file, &args.wanted.asked(), &bar)?.send().await;
    bar.finish_and_clear();
    // A complaint about one of several has to say which.
    outcome.map_err(|failure| Failure::new(failure.code, format!("{}: {}", file.display(), failure.error)))
}

/// `PUT /upload/{name}`: what has passed can't be read again, so a cut is the end.
async fn send_stdin(api: &Api, args: &Upload) -> Result<JobId, Failure> {
    let bar = super::byte_bar(0, &args.name);
    let moved = bar.clone();
    let pieces = stdin_pieces().inspect_ok(move |piece| moved.inc(piece.len() as u64));
    let name = percent_encoding::utf8_percent_encode(&args.name, percent_encoding::NON_ALPHANUMERIC);
    let put = api.request_with(Method::PUT, &format!("upload/{name}"), &args.wanted.asked());
    // As long as whoever writes takes; a dead connection is noticed by its probes.
    let answer = api::answer(put.body(Body::wrap_stream(pieces)).send(), Duration::MAX).await;
    bar.finish_and_clear();
    let accepted = api::document(answer?).await?;
    let strange = || Failure::new(1, "the server's answer names no job: is this a microserve gateway?");
    accepted["job_id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(strange)
}

/// What comes from standard input. Who reads there can't be told to stop, so it is a thread that may be left behind.
fn stdin_pieces() -> impl Stream<Item = io::Result<Bytes>> {
    let (give, mut take) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; 64 * 1024];
            let piece = match io::stdin().read(&mut piece) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&piece[..read])),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => Err(err),
            };
            if give.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    stream::poll_fn(move |context| take.poll_recv(context))
}

/// Waits for a job, and downloads its MP3.
async fn bring(api: &Api, id: JobId, target: Option<&Target>, args: &Upload) -> Outcome {
    let bar = watch::bar(&id.to_string());
    let job = watch::until_final(api, id, &bar, &mut |_| Ok(())).await;
    bar.finish_and_clear();
    let job = job?;
    let brought = match (job.outcome(), target) {
        (Ok(()), Some(target)) => fetch(api, &id.to_string(), target, args.force).await,
        (outcome, _) => outcome.map(|()| None),
    };
    match &brought {
        Ok(Some(path)) if !args.json => print(&format!("{}  {}", watch::line(&job), path.display()))?,
        // The MP3 is on standard output.
        Ok(None) if matches!(target, Some(Target::Stdout)) => {}
        _ => tell(&job, args)?,
    }
    brought.map(drop)
}

fn tell(job: &Job, args: &Upload) -> Outcome {
    Ok(print(&if args.json { job.0.to_string() } else { watch::line(job) })?)
}
