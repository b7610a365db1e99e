//! Notify: the owner of a finished job hears of it by mail.
//!
//! Order: take the mail in hand (a compare-and-swap with a lease) → send → say in the row what became of it → settle.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::field::{self, Empty};
use tracing::{Instrument, Span, info, info_span, warn};

use crate::account::Email;
use crate::adopt::Adopt;
use crate::blob::BlobStore;
use crate::clock::{Clock, later, since};
use crate::job::{ChangeError, Job, JobId, JobStore, MailState, Policy, State, change};
use crate::mail::{Mail, MailError, Mailer};
use crate::queue::{Message, Settlement};
use crate::trace::Place;
use crate::worker::Handler;

/// Sends the mails of the `mp3` queue.
#[derive(Clone)]
pub struct Notify {
    /// Where jobs are kept.
    pub jobs: Arc<dyn JobStore>,
    /// Where videos are: those of others, which have no job yet.
    pub videos: Arc<dyn BlobStore>,
    /// Where MP3s are: those of others are taken over.
    pub mp3s: Arc<dyn BlobStore>,
    /// Takes the mails.
    pub mailer: Arc<dyn Mailer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The job's measures.
    pub policy: Policy,
    /// Whom the mails come from.
    pub from: Email,
    /// Where people reach the gateway: `https://mp3converter.com`, without a slash at the end.
    pub public_url: String,
}

#[async_trait]
impl Handler for Notify {
    async fn handle(&self, message: &Message, _kill: &CancellationToken) -> Settlement {
        let id = match self.job_of(message).await {
            Ok(id) => id,
            Err(settlement) => return settlement,
        };
        let (now, policy) = (self.clock.now(), &self.policy);
        let mut place = Place::of(None);
        let taken = change(&*self.jobs, id, |job| {
            place = Place::of(job.trace);
            Ok(job.start_mail(now, policy)?.caused_by(place.here))
        });
        match taken.await {
            Ok(job) => self.send(&job).instrument(span(&job, &place)).await,
            Err(ChangeError::Gone) => Settlement::Ack,
            Err(ChangeError::NotPossible(_)) => self.not_now(id).await,
            Err(ChangeError::Store(err)) => {
                warn!(job.id = %id, error = &err as &dyn std::error::Error, "could not take a mail in hand");
                Settlement::Retry { after: self.policy.backoff.first }
            }
        }
    }
}

impl Notify {
    /// The job that is to be told of, with its MP3, if the message brings that.
    async fn job_of(&self, message: &Message) -> Result<JobId, Settlement> {
        let (jobs, videos) = (&*self.jobs, &*self.videos);
        let adopt = Adopt { jobs, videos, clock: &*self.clock, policy: &self.policy };
        let (id, event) = adopt.job_of(message).await?;
        if let Some(mp3) = event.mp3_fid {
            let theirs = mp3
                .parse()
                .map_err(|_| Settlement::DeadLetter { reason: "the event's mp3_fid is not an id".to_owned() })?;
            adopt.mp3(id, &theirs, &self.mp3s).await?;
        }
        Ok(id)
    }

    async fn send(&self, job: &Job) -> Settlement {
        let Some(mail) = compose(job, &self.from, &self.public_url, &self.policy) else { return Settlement::Ack };
        // Some seconds of the lease are left to say in the row what became of the mail.
        let patience = self.policy.mail_lease.mul_f64(0.8);
        let outcome = match tokio::time::timeout(patience, self.mailer.send(&mail)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(MailError::Unknown("the mailer took too long".into())),
        };
        Span::current().record("outcome", outcome.as_ref().map_or_else(became, |_| "sent"));
        match &outcome {
            Ok(_) => info!(job.id = %job.id, "sent the mail of job {}", job.id),
            Err(err) => {
                warn!(job.id = %job.id, error = err as &dyn std::error::Error, "could not send the mail of job {}", job.id);
            }
        }
        let (now, policy) = (self.clock.now(), &self.policy);
        let noted = change(&*self.jobs, job.id, |row| match &outcome {
            Ok(_) => row.mail_sent(now, policy),
            Err(MailError::Refused { reply }) => row.mail_refused(reply.clone(), now, policy),
            Err(MailError::Deferred { after, source }) => row.mail_deferred(*after, source.to_string(), now, policy),
            Err(MailError::Unknown(_)) => row.mail_unknown(now, policy),
            Err(err) => row.mail_deferred(None, err.to_string(), now, policy),
        });
        match noted.await {
            Ok(Job { mail: MailState::Pending { not_before, .. }, .. }) => {
                Settlement::Retry { after: since(not_before, now) }
            }
            Ok(_) | Err(ChangeError::Gone | ChangeError::NotPossible(_)) => Settlement::Ack,
            // The row still says `sending`: when that lease runs out, the relay has it sent once more.
            Err(ChangeError::Store(_)) => Settlement::Ack,
        }
    }

    /// A delivery that came before the mail's time has to come again; any other found nothing to do.
    async fn not_now(&self, id: JobId) -> Settlement {
        match self.jobs.get(id).await {
            Ok(Some(Job { mail: MailState::Pending { not_before, .. }, .. })) => {
                Settlement::Retry { after: since(not_before, self.clock.now()).max(Duration::from_millis(10)) }
            }
            Ok(_) => Settlement::Ack,
            Err(_) => Settlement::Retry { after: self.policy.backoff.first },
        }
    }
}

/// A mail, for the log and for whoever records traces.
fn span(job: &Job, Place { here, parent }: &Place) -> Span {
    info_span!(
        "mail",
        trace_id = %here.trace,
        span_id = %here.span,
        parent_id = parent.map(field::display),
        job.id = %job.id,
        outcome = Empty,
    )
}

/// A word for what became of a mail that was not taken.
fn became(err: &MailError) -> &'static str {
    match err {
        MailError::Refused { .. } => "refused",
        MailError::Unknown(_) => "unknown",
        MailError::Deferred { .. } | MailError::Internal(_) => "deferred",
    }
}

/// The mail for a job: nothing in it changes from one time to the next. `None`: there is nothing to tell.
#[must_use]
pub fn compose(job: &Job, from: &Email, public_url: &str, policy: &Policy) -> Option<Mail> {
    let (subject, text, html) = match (&job.state, &job.output) {
        (State::Done, Some(output)) => {
            let fid = output.fid;
            let name = html_escape(&job.filename);
            let by_token = format!("{public_url}/download?fid={fid}");
            let curl =
                format!("curl -X GET -H \"Authorization: Bearer $TOKEN\" --output mp3_download.mp3 \"{by_token}\"");
            let expires = later(job.finished_at.unwrap_or(job.created_at), policy.link_ttl);
            let signed = job.link(expires).map(|query| format!("{public_url}/download?{query}"));
            let until = expires.strftime("%Y-%m-%d %H:%M UTC");
            let note = if signed.is_some() {
                format!("until {until}, without logging in")
            } else {
                "with your token".to_owned()
            };
            let link = signed.unwrap_or(by_token);
            let text = format!(
                "Your video {} is an MP3 now.\n\nFile ID: {fid}\n\nDownload it (with the token that logging in gave you):\n\n{curl}\n\nLink ({note}): {link}\n",
                one_line(&job.filename)
            );
            let html = format!(
                "<p>Your video <b>{name}</b> is an MP3 now.</p>\n<p>File ID: <code>{fid}</code></p>\n<p><a href=\"{}\">Download it</a> ({note}), or with curl and the token that logging in gave you:</p>\n<pre>{}</pre>\n",
                html_escape(&link),
                html_escape(&curl)
            );
            ("Your MP3 file is ready!", text, html)
        }
        (State::Failed { problem }, _) => {
            let advice = advice(&problem.code);
            let text = format!(
                "Your video {} could not be converted: {} ({}).\n\n{advice}\n\nJob: {}\n",
                one_line(&job.filename),
                problem.detail,
                problem.code,
                job.id
            );
            let html = format!(
                "<p>Your video <b>{}</b> could not be converted: {} (<code>{}</code>).</p>\n<p>{advice}</p>\n<p>Job: <code>{}</code></p>\n",
                html_escape(&job.filename),
                html_escape(&problem.detail),
                html_escape(&problem.code),
                job.id
            );
            ("Your video could not be converted", text, html)
        }
        _ => return None,
    };
    Some(Mail {
        // The epoch: a job that is told to run again and fails once more has something new to say.
        message_id: format!("{}.{}.{}", job.id, job.epoch, job.status().as_str()),
        from: from.clone(),
        to: job.email.clone(),
        date: job.finished_at.unwrap_or(job.created_at),
        subject: subject.to_owned(),
        text,
        html,
    })
}

/// What somebody can do about a failure.
#[must_use]
pub fn advice(code: &str) -> &'static str {
    match code {
        "no_audio_track" => "The video has no sound. Upload one that has.",
        "unsupported_codec" | "unsupported_container" => {
            "Convert the video to a common format first, MP4 with AAC sound for instance, and upload it again."
        }
        "no_such_track" => "Ask for one of the tracks that there are, and upload the video again.",
        "start_behind_end" => "Ask for a start that is within the video, and upload it again.",
        "encrypted" => "The video is copy-protected. Upload one that is not.",
        "corrupt" => "The file is damaged or incomplete. Check whether it plays, and upload it again.",
        "too_long" | "memory_exceeded" | "cpu_exceeded" | "output_exceeded" => {
            "Cut the video into shorter parts and upload them one by one."
        }
        "poison" => "Convert the video to another format first, and upload it again.",
        _ => "Upload the video again; if that does not help, tell whoever runs this service the job's id.",
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn html_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
