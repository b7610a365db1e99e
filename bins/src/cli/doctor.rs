//! `microserve doctor`: a configuration, held against reality.

use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use microserve_core::account::Email;
use microserve_core::inspect::{Fact, Step};
use serde::Serialize;

use super::table::one_line;
use super::{Failure, Outcome, print, runtime};
use crate::config::{ConfigError, Stores};
use crate::registry::{Registry, inspect_path};

mod trials;
mod words;

/// No check takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Check the configuration against reality: say of each dependency whether it works, and how to mend it.
///
/// Give it the options or the environment that `microserve serve` gets. Each line says what was found: ok, warn for what
/// works and may be better, fail for what does not work; below it, what to do. Everything is asked at the same time, for
/// 20 seconds at most. Nothing is changed, and no mail is sent unless --send-mail says so; the exit code is 1 if anything
/// failed.
#[derive(Args)]
pub(super) struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,

    /// Also send a test mail to this address
    #[arg(long, value_name = "EMAIL")]
    send_mail: Option<Email>,

    /// Whom that mail comes from
    #[arg(long, env = "MICROSERVE_MAIL_FROM", default_value = "microserve@localhost", value_name = "EMAIL")]
    mail_from: Email,

    #[command(flatten)]
    stores: Stores,
}

/// What was found, and what it means.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was checked.
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// Something that is checked: its name, and the option that says where it is.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    option: &'static str,
}

type Check<'c> = (Subject, BoxFuture<'c, Vec<Fact>>);

pub(super) fn run(args: &Doctor) -> Outcome {
    let runtime = runtime()?;
    let findings = runtime.block_on(async {
        let registry = Registry::embedded();
        let checks = checks(args, &registry).into_iter().map(|(subject, facts)| async move {
            let facts = tokio::time::timeout(PATIENCE, facts).await;
            let silent = |_| vec![Fact::obstacle(Step::Reach, format!("no answer within {PATIENCE:?}"))];
            facts.unwrap_or_else(silent).iter().map(|fact| words::judge(subject, fact)).collect::<Vec<_>>()
        });
        let all: Vec<Finding> = join_all(checks).await.into_iter().flatten().collect();
        all
    });
    // Whatever did not answer is not waited for.
    runtime.shutdown_background();
    report(&findings, args.json)
}

/// All that there is to check, in the order in which it is shown.
fn checks<'c>(args: &'c Doctor, registry: &'c Registry) -> Vec<Check<'c>> {
    let stores = &args.stores;
    let mut checks =
        vec![
            check("accounts", "--accounts", stores.accounts_url(), |url| async move {
                registry.accounts.inspect(&url).await
            }),
            check("jobs", "--jobs", stores.jobs_url(), |url| async move { registry.jobs.inspect(&url).await }),
            check("blobs", "--blobs", stores.blobs_url(), |url| async move { registry.blobs.inspect(&url).await }),
            check("queue", "--queue", stores.queue_url(), |url| async move { registry.queue.inspect(&url).await }),
            check("mailer", "--mailer", stores.mailer_url(), |url| async move { registry.mailer.inspect(&url).await }),
            check("transcoder", "--transcoder", stores.transcoder_url(), |url| trials::transcode(registry, url)),
            check("sandbox", "--sandbox", stores.transcoder_url(), |url| async move {
                registry.transcoder.inspect(&url).await
            }),
            check("data", "--data", Ok(stores.data.folder.clone()), inspect_path),
            check("work", "--data", Ok(stores.data.folder.join("work")), inspect_path),
        ];
    if let Some(to) = &args.send_mail {
        let from = &args.mail_from;
        checks.push(check("mail", "--mailer", stores.mailer_url(), |url| trials::send_mail(registry, url, from, to)));
    }
    checks
}

fn check<'c, T, F>(
    name: &'static str,
    option: &'static str,
    place: Result<T, ConfigError>,
    inspect: impl FnOnce(T) -> F,
) -> Check<'c>
where
    F: Future<Output = Vec<Fact>> + Send + 'c,
{
    let facts = match place {
        Ok(place) => inspect(place).boxed(),
        Err(err) => std::future::ready(vec![Fact::obstacle(Step::Read, err)]).boxed(),
    };
    (Subject { name, option }, facts)
}

fn report(findings: &[Finding], json: bool) -> Outcome {
    if json {
        print(&serde_json::to_string_pretty(findings)?)?;
    }
    for Finding { check, verdict, found, fix } in findings.iter().filter(|_| !json) {
        let word = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        print(&format!("{word:4}  {check:10}  {}", one_line(found, 400)))?;
        if let Some(fix) = fix {
            print(&format!("{:18}fix: {}", "", one_line(fix, 400)))?;
        }
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        1 => Err(Failure::new(1, "1 check failed")),
        failed => Err(Failure::new(1, format!("{failed} checks failed"))),
    }
}
