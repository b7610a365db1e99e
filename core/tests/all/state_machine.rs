//! Whatever happens to a job, in whatever order: the rules of its life hold.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::time::Duration;

use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::blob::{Fid, Sha256};
use microserve_core::clock::later;
use microserve_core::job::{Job, MailState, NotPossible, Output, Phase, Policy, State, Status};
use microserve_core::queue::QueueName;
use microserve_core::transcode::{Options, Problem, SourceInfo};
use proptest::prelude::*;

/// Everything that can be done to a job. Epochs are relative to the job's: 0 is the present one.
#[derive(Clone, Debug)]
enum Event {
    KeepUploading,
    Accept,
    Claim,
    Beat(i8),
    Complete(i8),
    Fail(i8),
    RetryLater(i8),
    Release(i8),
    LoseLease,
    Cancel,
    Retry,
    Delete,
    Rang,
    PutOff,
    ForgetVideo,
    Expire,
    Retained,
    StartMail,
    MailSent,
    MailRefused,
    MailDeferred(Option<Duration>),
    MailUnknown,
    LoseMail,
}

fn event() -> impl Strategy<Value = Event> {
    // The present epoch often enough that jobs get somewhere.
    let epoch = || prop_oneof![4 => Just(0i8), 1 => -2i8..=2];
    let after = proptest::option::of((0u64..100_000).prop_map(Duration::from_secs));
    prop_oneof![
        1 => Just(Event::KeepUploading),
        3 => Just(Event::Accept),
        6 => Just(Event::Claim),
        2 => epoch().prop_map(Event::Beat),
        3 => epoch().prop_map(Event::Complete),
        1 => epoch().prop_map(Event::Fail),
        3 => epoch().prop_map(Event::RetryLater),
        1 => epoch().prop_map(Event::Release),
        3 => Just(Event::LoseLease),
        1 => Just(Event::Cancel),
        2 => Just(Event::Retry),
        1 => Just(Event::Delete),
        1 => Just(Event::Rang),
        1 => Just(Event::PutOff),
        1 => Just(Event::ForgetVideo),
        1 => Just(Event::Expire),
        1 => Just(Event::Retained),
        6 => Just(Event::StartMail),
        1 => Just(Event::MailSent),
        1 => Just(Event::MailRefused),
        1 => after.prop_map(Event::MailDeferred),
        3 => Just(Event::MailUnknown),
        3 => Just(Event::LoseMail),
    ]
}

/// How much later an event happens: at once, within a lease, after it, days later.
fn pause() -> impl Strategy<Value = Duration> {
    prop_oneof![0..50u64, 0..30_000u64, 30_000..400_000u64, 0..2_000_000_000u64].prop_map(Duration::from_millis)
}

fn policy() -> impl Strategy<Value = Policy> {
    let keep = || proptest::option::of((0u64..100_000).prop_map(Duration::from_secs));
    (1u32..4, keep(), keep()).prop_map(|(attempts, keep_videos, keep_mp3s)| Policy {
        attempts,
        keep_videos,
        keep_mp3s,
        ..Policy::default()
    })
}

fn problem() -> Problem {
    Problem { code: "corrupt".into(), detail: "the file is damaged".into() }
}

fn new_job(now: Timestamp, p: &Policy) -> Job {
    let email = "anna@example.com".parse().unwrap();
    Job::new(AccountId::random(), email, "holiday.mp4".into(), Options::default(), now, p)
}

fn output() -> Output {
    Output { fid: Fid::random(), size: 1, sha256: Sha256([0; 32]), duration: Some(1.0), bitrate: Some(128_000) }
}

fn apply(job: &Job, event: &Event, now: Timestamp, p: &Policy) -> Result<Job, NotPossible> {
    let job = job.clone();
    let epoch = |relative: i8| job.epoch.wrapping_add_signed(relative.into());
    match event {
        Event::KeepUploading => job.keep_uploading(now, p),
        Event::Accept => job.accept(1, now, p),
        Event::Claim => job.claim(now, p),
        Event::Beat(e) => job.clone().beat(epoch(*e), Phase::Transcoding, 0.5, now, p),
        Event::Complete(e) => job.clone().complete(epoch(*e), SourceInfo::default(), output(), now, p),
        Event::Fail(e) => job.clone().fail(epoch(*e), problem(), now, p),
        Event::RetryLater(e) => job.clone().retry_later(epoch(*e), problem(), now, p),
        Event::Release(e) => job.clone().release(epoch(*e), now, p),
        Event::LoseLease => job.lose_lease(now, p),
        Event::Cancel => job.cancel(now, p),
        Event::Retry => job.retry(now, p),
        Event::Delete => job.delete(now, p),
        Event::Rang => job.rang(now, p),
        Event::PutOff => job.put_off(now, p),
        Event::ForgetVideo => job.forget_video(now, p),
        Event::Expire => job.expire(now, p),
        Event::Retained => job.retained(now, p),
        Event::StartMail => job.start_mail(now, p),
        Event::MailSent => job.mail_sent(now, p),
        Event::MailRefused => job.mail_refused("550".into(), now, p),
        Event::MailDeferred(after) => job.mail_deferred(*after, "421".into(), now, p),
        Event::MailUnknown => job.mail_unknown(now, p),
        Event::LoseMail => job.lose_mail(now, p),
    }
}

/// What must be true of a job at any time.
fn check_job(job: &Job, p: &Policy) -> Result<(), TestCaseError> {
    let status = job.status();
    prop_assert!(job.attempt <= p.attempts, "attempt {} of {}", job.attempt, p.attempts);
    prop_assert!((0.0..=1.0).contains(&job.progress));
    let somebody_has_to_act = !status.is_final() || job.state == State::Deleted || job.bell().is_some();
    let in_a_mailers_hands = matches!(job.mail, MailState::Sending { .. }) && job.state != State::Deleted;
    if somebody_has_to_act || in_a_mailers_hands {
        prop_assert!(job.due_at.is_some(), "the relay would forget {job:?}");
    }
    let retention = [job.video_expires_at(p), job.mp3_expires_at(p)].into_iter().flatten().min();
    if retention.is_some() {
        prop_assert!(job.due_at.is_some(), "the relay would never clean up after {job:?}");
    }
    let bell = match (&job.state, job.mail.is_pending()) {
        (State::Queued { .. }, _) => Some(QueueName::VIDEO),
        (State::Done | State::Failed { .. }, true) => Some(QueueName::MP3),
        _ => None,
    };
    prop_assert_eq!(job.bell(), bell, "the bell is rung for those who can act, and for nobody else");
    prop_assert_eq!(job.mp3().is_some(), status == Status::Done, "there is an MP3 if and only if it is done");
    let deleted = job.state == State::Deleted;
    prop_assert_eq!(job.needs(&job.video), !job.video_gone && !deleted, "a job needs its video until it is gone");
    if let Some(output) = &job.output {
        prop_assert_eq!(job.needs(&output.fid), status == Status::Done, "and its MP3 while it is done");
    }
    prop_assert!(!job.needs(&Fid::random()));
    prop_assert_eq!(job.finished_at.is_some(), status.is_final(), "finished_at says when it ended");
    prop_assert!(
        job.accepted_at.is_some() || matches!(status, Status::Uploading | Status::Cancelled | Status::Deleted)
    );
    Ok(())
}

/// What must be true of a step.
fn check_step(before: &Job, after: &Job, event: &Event, now: Timestamp, p: &Policy) -> Result<(), TestCaseError> {
    prop_assert_eq!(after.version, before.version, "only stores count versions");
    prop_assert!(after.epoch >= before.epoch, "an epoch never comes back");
    prop_assert_eq!((after.id, after.owner, after.video), (before.id, before.owner, before.video));
    let (was, is) = (before.status(), after.status());
    if let Event::Retry = event {
        prop_assert!(matches!(was, Status::Failed | Status::Cancelled) && is == Status::Queued);
        prop_assert!(before.accepted_at.is_some() && after.needs(&after.video), "there is something to convert");
        prop_assert!(!matches!(before.mail, MailState::Sending { .. }), "nobody has its mail in hand");
        prop_assert_eq!((after.attempt, &after.mail), (0, &MailState::None), "it begins anew");
        return Ok(());
    }
    if let Some(accepted) = before.accepted_at {
        prop_assert_eq!(after.accepted_at, Some(accepted), "once accepted, always accepted");
    }
    match event {
        Event::Beat(e) | Event::Complete(e) | Event::Fail(e) | Event::RetryLater(e) | Event::Release(e) => {
            prop_assert_eq!((was, *e), (Status::Converting, 0), "only the worker of the present epoch has a say");
        }
        Event::Claim => {
            prop_assert_eq!((was, is), (Status::Queued, Status::Converting));
            prop_assert_eq!((after.epoch, after.attempt), (before.epoch + 1, before.attempt + 1));
            let ripe = matches!(before.state, State::Queued { not_before } if not_before <= now);
            prop_assert!(ripe, "nobody takes a job before its time");
        }
        Event::LoseLease => {
            let silent = matches!(before.state, State::Converting { lease_until, .. } if lease_until <= now);
            prop_assert!(silent, "nobody loses a job before the lease has run out");
        }
        Event::Accept => prop_assert!(after.accepted_at.is_some()),
        _ => {}
    }
    if was.is_final() && was != is {
        let allowed = matches!((was, is), (Status::Done, Status::Expired) | (_, Status::Deleted));
        prop_assert!(allowed, "{was:?} is final, and became {is:?}");
        prop_assert!(was != Status::Deleted, "nothing comes after deletion");
    }
    if was == Status::Converting && is == Status::Queued && !matches!(event, Event::Release(_)) {
        prop_assert!(before.attempt < p.attempts, "the last attempt has no other after it");
    }
    if is == Status::Done && was == Status::Done {
        prop_assert_eq!(&before.output, &after.output, "the MP3 of a job never changes");
    }
    if matches!(before.mail, MailState::Sent { .. } | MailState::Unknown | MailState::Failed { .. }) {
        prop_assert_eq!(&before.mail, &after.mail, "a mail that is settled stays so");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_in_any_order_of_events(
        p in policy(),
        events in proptest::collection::vec((event(), pause()), 1..60),
    ) {
        let mut now = Timestamp::constant(1_767_225_600, 0);
        let mut job = new_job(now, &p);
        // Mails that may have gone out: sent, or nobody knows.
        let mut maybe_sent = 0;
        check_job(&job, &p)?;
        for (event, pause) in events {
            now = later(now, pause);
            let Ok(next) = apply(&job, &event, now, &p) else { continue };
            check_step(&job, &next, &event, now, &p)?;
            check_job(&next, &p)?;
            if matches!(event, Event::Retry) {
                // Its new end has a mail of its own.
                maybe_sent = 0;
            }
            maybe_sent += u32::from(matches!(event, Event::MailSent | Event::MailUnknown | Event::LoseMail));
            prop_assert!(maybe_sent <= 2, "a mail is repeated once at most");
            job = next;
        }
    }

    #[test]
    fn the_relay_brings_every_accepted_job_to_its_end(
        p in policy(),
        events in proptest::collection::vec((event(), pause()), 0..40),
    ) {
        let mut now = Timestamp::constant(1_767_225_600, 0);
        let mut job = new_job(now, &p).accept(1, now, &p).unwrap();
        for (event, pause) in events {
            now = later(now, pause);
            job = apply(&job, &event, now, &p).unwrap_or(job);
        }
        // From here on every worker and mailer dies as soon as it has something in hand; only the relay goes on.
        for _ in 0..200 {
            let Some(due) = job.due_at else { break };
            now = now.max(due);
            job = match (&job.state, &job.mail) {
                (State::Queued { .. }, _) => job.rang(now, &p).and_then(|job| job.claim(now, &p)),
                (State::Converting { .. }, _) => job.lose_lease(now, &p),
                (State::Deleted, _) => break,
                (_, MailState::Pending { .. }) if job.bell().is_some() => job.start_mail(now, &p),
                (_, MailState::Sending { .. }) => job.lose_mail(now, &p),
                _ if job.mp3_expires_at(&p).is_some_and(|at| at <= now) => job.expire(now, &p),
                _ if job.video_expires_at(&p).is_some_and(|at| at <= now) => job.forget_video(now, &p),
                _ => job.retained(now, &p),
            }
            .map_err(|err| TestCaseError::fail(format!("the relay is stuck: {err}")))?;
        }
        prop_assert!(job.status().is_final(), "stuck as {job:?}");
        prop_assert!(job.bell().is_none(), "the mail is stuck: {job:?}");
        prop_assert!(job.due_at.is_none() || job.state == State::Deleted, "the relay never rests: {job:?}");
    }
}

/// A job whose one attempt failed, so that its owner is to be told.
fn failed_job(now: Timestamp, p: &Policy) -> Job {
    let job = new_job(now, p).accept(1, now, p).unwrap().claim(now, p).unwrap();
    job.fail(1, problem(), now, p).unwrap()
}

#[test]
fn a_job_that_runs_again_has_its_whole_day_and_another_mail() {
    let (p, start) = (Policy { attempts: 1, ..Policy::default() }, Timestamp::constant(1_767_225_600, 0));
    let failed = failed_job(start, &p);
    let much_later = later(start, 3 * p.give_up_after);
    let again = failed.clone().retry(much_later, &p).unwrap();
    assert_eq!((again.status(), again.bell(), again.attempt), (Status::Queued, Some(QueueName::VIDEO), 0));
    let again = again.claim(much_later, &p).unwrap().fail(2, problem(), much_later, &p).unwrap();
    let from = "mp3@example.com".parse().unwrap();
    let mail =
        |job: &Job| microserve_core::notify::compose(job, &from, "https://example.com", &Policy::default()).unwrap();
    assert_ne!(mail(&failed).message_id, mail(&again).message_id, "a server would take it for a repetition");

    let day = Policy { attempts: 8, ..p };
    let job = failed.retry(much_later, &day).unwrap().claim(much_later, &day).unwrap();
    let job = job.retry_later(2, problem(), much_later, &day).unwrap();
    assert_eq!(job.status(), Status::Queued, "its day has begun anew");
}

#[test]
fn a_job_without_its_video_or_with_a_mail_on_its_way_can_not_run_again() {
    let (p, now) = (Policy::default(), Timestamp::constant(1_767_225_600, 0));
    let words = |job: Job| job.retry(now, &p).unwrap_err().to_string();
    let gone = failed_job(now, &p).forget_video(now, &p).unwrap();
    assert!(words(gone).contains("its video is not there"));
    let never_arrived = new_job(now, &p).cancel(now, &p).unwrap();
    assert!(words(never_arrived).contains("its video is not there"));
    let on_its_way = failed_job(now, &p).start_mail(now, &p).unwrap();
    assert!(words(on_its_way).contains("try again in a moment"));
    let cancelled = new_job(now, &p).accept(1, now, &p).unwrap().cancel(now, &p).unwrap();
    assert_eq!(cancelled.retry(now, &p).unwrap().status(), Status::Queued);
}
