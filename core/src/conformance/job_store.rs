//! The promises of [`JobStore`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::now;
use crate::account::AccountId;
use crate::blob::{Fid, Sha256};
use crate::clock::later;
use crate::job::{
    Job, JobError, JobId, JobStore, ListQuery, MOST_AT_ONCE, MailState, Output, Part, Parts, Phase, Policy, State,
    Status,
};
use crate::quota::Usage;
use crate::trace::TraceContext;
use crate::transcode::{Channels, Options, Problem, Quality, SourceInfo, TrackChoice, TrackInfo};

fn job() -> Job {
    job_of(AccountId::random(), now())
}

fn job_of(owner: AccountId, created_at: Timestamp) -> Job {
    let email = "anna@example.com".parse().expect("an address");
    Job::new(owner, email, "holiday.mp4".into(), Options::default(), created_at, &Policy::default())
}

/// A job with something in every field.
fn full_job() -> Job {
    let problem =
        Problem { code: "corrupt".into(), detail: "the file is damaged: „moov“ 🎬 'is' \"missing\"\n\\".into() };
    let audio = TrackInfo {
        kind: "audio".into(),
        codec: "aac".into(),
        channels: 6,
        sample_rate: 48_000,
        duration: Some(0.1 + 0.2),
        language: Some("deu".into()),
    };
    let at = |secs: u64| later(now(), Duration::from_millis(secs * 1000 + 123));
    Job {
        version: 0,
        filename: "Ünïcödé 🎬 'a' \"b\" %_\\.mp4".into(),
        options: Options {
            quality: Some(Quality::Cbr(320)),
            channels: Some(Channels::Mono),
            track: Some(TrackChoice::Language("de".into())),
            start: Some(0.1),
            fallback_title: Some("Ünï".into()),
            ..Options::default()
        },
        request: Some(Sha256([0x7f; 32])),
        trace: Some(TraceContext { sampled: true, ..TraceContext::begin() }),
        parts: Some(Parts {
            length: Some(5_000_000_000),
            content_type: "video/mp4".into(),
            metadata: "filename w5xuw68=".into(),
            stored: vec![Part { fid: Fid::random(), size: 4_999_999_999 }, Part { fid: Fid::random(), size: 1 }],
        }),
        video_size: Some(5_000_000_000),
        video_gone: true,
        epoch: 7,
        attempt: 3,
        progress: 1.0 / 3.0,
        rings: 9,
        due_at: Some(at(1)),
        source: Some(SourceInfo {
            container: "mp4".into(),
            tracks: vec![TrackInfo { kind: "video".into(), ..TrackInfo::default() }, audio],
            chosen: Some(1),
            title: Some("A title".into()),
            chapters: 3,
            problem: Some(problem.clone()),
        }),
        output: Some(Output {
            fid: Fid::random(),
            size: 4_999_999_999,
            sha256: Sha256([0xfe; 32]),
            duration: Some(12_345.678_901),
            bitrate: Some(191_999),
        }),
        last_problem: Some(problem),
        created_at: at(2),
        accepted_at: Some(at(3)),
        started_at: Some(at(4)),
        finished_at: Some(at(5)),
        ..job()
    }
}

fn every_state() -> Vec<State> {
    let at = later(now(), Duration::from_millis(1));
    let converting = |phase| State::Converting { lease_until: at, phase };
    vec![
        State::Uploading { seen_at: at },
        State::Queued { not_before: at },
        converting(Phase::Probing),
        converting(Phase::Transcoding),
        converting(Phase::Storing),
        State::Done,
        State::Failed { problem: Problem { code: "no_audio_track".into(), detail: "it has no sound".into() } },
        State::Cancelled,
        State::Expired,
        State::Deleted,
    ]
}

fn every_mail() -> Vec<MailState> {
    let at = later(now(), Duration::from_millis(1));
    vec![
        MailState::None,
        MailState::Pending { not_before: at, attempts: 2, repeated: false },
        MailState::Sending { lease_until: at, attempts: 3, repeated: true },
        MailState::Sent { at },
        MailState::Unknown,
        MailState::Failed { reason: "550 „no such user“".into() },
    ]
}

async fn insert(store: &dyn JobStore, job: &Job) {
    store.insert(job).await.expect("a job can be added");
}

async fn stored(store: &dyn JobStore, id: JobId) -> Job {
    store.get(id).await.expect("jobs can be read").expect("the job is there")
}

fn assert_conflict<T: std::fmt::Debug>(outcome: &Result<T, JobError>, what: &str) {
    assert!(matches!(outcome, Err(JobError::Conflict)), "{what} must be a Conflict, not {outcome:?}");
}

async fn inserted_is_found(store: Arc<dyn JobStore>) {
    let job = job();
    assert_eq!(store.get(job.id).await.unwrap(), None, "a job that was never added is None");
    insert(&*store, &job).await;
    assert_eq!(stored(&*store, job.id).await, job, "an added job is found as it is, version included");
}

async fn second_insert_is_refused(store: Arc<dyn JobStore>) {
    let first = job();
    insert(&*store, &first).await;
    assert_conflict(
        &store.insert(&Job { filename: "other".into(), ..first.clone() }).await,
        "a second insert of an id",
    );
    assert_eq!(stored(&*store, first.id).await, first, "and the first is left as it was");
}

async fn every_field_is_kept(store: Arc<dyn JobStore>) {
    for state in every_state() {
        for mail in every_mail() {
            let job = Job { state: state.clone(), mail, ..full_job() };
            insert(&*store, &job).await;
            assert_eq!(stored(&*store, job.id).await, job, "insert keeps every field");
        }
    }
    for (state, mail) in every_state().into_iter().zip(every_mail().into_iter().cycle()) {
        let bare = job();
        insert(&*store, &bare).await;
        let full = Job { id: bare.id, state, mail, ..full_job() };
        let expected = Job { version: 1, ..full.clone() };
        assert_eq!(store.update(full).await.unwrap(), expected, "update answers with the job and its next version");
        assert_eq!(stored(&*store, bare.id).await, expected, "update replaces every field");
        let cleared = Job { version: 1, ..bare };
        store.update(cleared.clone()).await.expect("a job can be changed again");
        assert_eq!(stored(&*store, cleared.id).await, Job { version: 2, ..cleared }, "update also takes fields away");
    }
}

async fn many_are_found_at_once(store: Arc<dyn JobStore>) {
    // More than a driver's first page may hold.
    let mut jobs: Vec<Job> = (0..150).map(|_| job()).collect();
    jobs[7].state = State::Deleted;
    let inserted = futures_util::future::join_all(jobs.iter().map(|job| store.insert(job))).await;
    assert!(inserted.iter().all(Result::is_ok), "jobs can be added");
    jobs[0] = store.update(jobs[0].clone()).await.expect("a job can be changed");
    insert(&*store, &job()).await;
    let mut ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    ids.push(ids[3]);
    ids.extend((ids.len()..MOST_AT_ONCE).map(|_| JobId::random()));
    let mut found = store.get_many(&ids).await.expect("jobs can be read");
    found.sort_by_key(|job| job.id);
    jobs.sort_by_key(|job| job.id);
    assert_eq!(found, jobs, "those that exist are found, each once, as they are, and no others");
}

async fn nothing_is_found_of_nothing(store: Arc<dyn JobStore>) {
    insert(&*store, &job()).await;
    assert_eq!(store.get_many(&[]).await.expect("jobs can be read"), []);
    assert_eq!(store.get_many(&[JobId::random()]).await.expect("jobs can be read"), []);
}

async fn update_bumps_the_version(store: Arc<dyn JobStore>) {
    let mut job = job();
    insert(&*store, &job).await;
    for version in 1..=3 {
        job.progress += 0.1;
        let updated = store.update(job.clone()).await.expect("a job can be changed");
        assert_eq!(updated, Job { version, ..job }, "each update is one version more");
        assert_eq!(stored(&*store, updated.id).await, updated, "and what it answers is what is stored");
        job = updated;
    }
}

async fn stale_update_is_a_conflict(store: Arc<dyn JobStore>) {
    let old = job();
    insert(&*store, &old).await;
    let new = store.update(Job { rings: 1, ..old.clone() }).await.expect("a job can be changed");
    assert_conflict(&store.update(Job { rings: 2, ..old.clone() }).await, "an update of an old version");
    assert_conflict(&store.update(Job { version: 2, ..old }).await, "an update of a version that is yet to come");
    assert_eq!(stored(&*store, new.id).await, new, "and nothing is changed");
    assert_conflict(&store.update(job()).await, "an update of a job that isn't there");
}

async fn racing_updates_have_one_winner(store: Arc<dyn JobStore>) {
    let job = job();
    insert(&*store, &job).await;
    for version in 0..5 {
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let (store, job) = (Arc::clone(&store), Job { version, rings: n, ..job.clone() });
                tokio::spawn(async move { store.update(job).await })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            match racer.await.unwrap() {
                Ok(job) => winners.push(job),
                Err(JobError::Conflict) => {}
                Err(err) => panic!("a loser must hear Conflict, not {err:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "exactly one of the updates of a version wins");
        assert_eq!(stored(&*store, job.id).await, winners[0], "and its job is the one that is stored");
    }
}

async fn removed_is_gone(store: Arc<dyn JobStore>) {
    let (gone, other) = (job(), job());
    insert(&*store, &gone).await;
    insert(&*store, &other).await;
    for _ in 0..2 {
        store.remove(&gone).await.expect("removing succeeds, also when there is nothing to remove");
    }
    assert_eq!(store.get(gone.id).await.unwrap(), None, "a removed job is gone");
    assert_conflict(&store.update(gone).await, "an update of a removed job");
    assert_eq!(stored(&*store, other.id).await, other, "others are left alone");
}

async fn stale_remove_is_a_conflict(store: Arc<dyn JobStore>) {
    let old = job();
    insert(&*store, &old).await;
    let new = store.update(old.clone()).await.expect("a job can be changed");
    assert_conflict(&store.remove(&old).await, "removing an old version");
    assert_eq!(stored(&*store, new.id).await, new, "and the job is still there");
    store.remove(&new).await.expect("the present version can be removed");
}

async fn list(store: &dyn JobStore, owner: AccountId, status: Option<Status>) -> Vec<Job> {
    let query = ListQuery { owner: Some(owner), status, after: None, limit: 100 };
    store.list(&query).await.expect("jobs can be listed")
}

async fn list_shows_only_the_owners(store: Arc<dyn JobStore>) {
    let (ours, theirs) = (job(), job());
    insert(&*store, &ours).await;
    insert(&*store, &theirs).await;
    assert_eq!(list(&*store, ours.owner, None).await, [ours], "an owner's list has the owner's jobs only");
    assert_eq!(list(&*store, AccountId::random(), None).await, [], "and is empty without any");
}

async fn list_pages_newest_first(store: Arc<dyn JobStore>) {
    let (owner, start) = (AccountId::random(), now());
    let mut jobs: Vec<Job> = Vec::new();
    // Two of each moment, so that the id has to decide.
    for n in [3, 0, 4, 1, 2, 0, 3, 1, 4, 2] {
        let job = job_of(owner, later(start, Duration::from_millis(n)));
        insert(&*store, &job).await;
        jobs.push(job);
    }
    jobs.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
    for limit in [1, 3, 100] {
        let mut listed: Vec<Job> = Vec::new();
        loop {
            let after = listed.last().map(|job| (job.created_at, job.id));
            let page = store
                .list(&ListQuery { owner: Some(owner), status: None, after, limit })
                .await
                .expect("jobs can be listed");
            assert!(page.len() <= limit, "a page has at most {limit} jobs, not {}", page.len());
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert_eq!(listed, jobs, "pages of {limit} show every job once, newest first, the higher id first if need be");
    }
}

async fn list_filters_by_status(store: Arc<dyn JobStore>) {
    let owner = AccountId::random();
    let mut jobs = Vec::new();
    for state in every_state() {
        let job = Job { owner, state, ..job() };
        insert(&*store, &job).await;
        jobs.push(job);
    }
    for status in Status::ALL {
        let mut expected: Vec<&Job> = jobs.iter().filter(|job| job.status() == status).collect();
        expected.retain(|job| job.state != State::Deleted);
        expected.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
        let listed = list(&*store, owner, Some(status)).await;
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "the filter {status:?} shows these jobs and no others");
    }
    let shown = list(&*store, owner, None).await;
    assert_eq!(shown.len(), jobs.len() - 1, "without a filter all are shown but the deleted one");
}

async fn list_without_an_owner_shows_everybodys(store: Arc<dyn JobStore>) {
    let start = long_ago();
    let mut jobs = Vec::new();
    for (n, state) in
        [State::Done, State::Cancelled, State::Deleted, State::Done, State::Expired].into_iter().enumerate()
    {
        let job = Job { state, ..job_of(AccountId::random(), later(start, Duration::from_millis(n as u64))) };
        insert(&*store, &job).await;
        jobs.push(job);
    }
    jobs.retain(|job| job.state != State::Deleted);
    jobs.reverse();
    let mut listed: Vec<Job> = Vec::new();
    while listed.len() < jobs.len() {
        // Others are in the store too, and older ones behind ours.
        let after =
            listed.last().map_or((later(start, Duration::from_millis(9)), job().id), |job| (job.created_at, job.id));
        let query = ListQuery { owner: None, status: None, after: Some(after), limit: 2 };
        let page = store.list(&query).await.expect("jobs can be listed");
        assert!(!page.is_empty() && page.len() <= 2, "a page has what there is, and not more than was asked for");
        listed.extend(page);
    }
    assert_eq!(listed, jobs, "everybody's jobs are shown once, newest first, but deleted ones");
    let after = Some((later(start, Duration::from_millis(9)), job().id));
    let query = ListQuery { owner: None, status: Some(Status::Done), after, limit: 2 };
    let done = store.list(&query).await.expect("jobs can be listed");
    assert_eq!(done, [jobs[1].clone(), jobs[3].clone()], "and those of one status can be picked");
}

/// A time long ago that no other run of these checks has chosen: what is due then is overdue the longest.
fn long_ago() -> Timestamp {
    let bytes = JobId::random();
    let random = bytes.as_bytes().iter().take(5).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    later(Timestamp::UNIX_EPOCH, Duration::from_millis(random % 200_000_000_000 + 100_000_000_000))
}

async fn due_is_ordered_and_bounded(store: Arc<dyn JobStore>) {
    let start = long_ago();
    let mut jobs = Vec::new();
    for n in [2, 0, 3, 1] {
        let job = Job { due_at: Some(later(start, Duration::from_millis(n))), ..job() };
        insert(&*store, &job).await;
        jobs.push(job);
    }
    // One is put off by an update.
    let put_off = store.update(Job { due_at: Some(later(start, Duration::from_millis(9))), ..jobs.remove(0) }).await;
    jobs.sort_by_key(|job| job.due_at);
    let until = later(start, Duration::from_millis(3));
    let due = store.due(until, 10_000).await.expect("due jobs can be asked for");
    assert!(due.is_sorted_by_key(|job| job.due_at), "the longest overdue comes first");
    let ours: Vec<Job> = due.into_iter().filter(|job| jobs.contains(job)).collect();
    assert_eq!(ours, jobs, "every job due at that moment or before is there once");
    let few = store.due(until, 2).await.expect("due jobs can be asked for");
    assert_eq!(few.len(), 2, "at most as many as were asked for");
    assert!(few.iter().all(|job| job.due_at <= jobs[1].due_at), "and those are the longest overdue");
    let id = put_off.expect("a job can be changed").id;
    let before = store.due(start, 10_000).await.expect("due jobs can be asked for");
    assert!(before.iter().all(|job| job.due_at <= Some(start) && job.id != id), "nothing comes before its time");
}

async fn undated_jobs_are_never_due(store: Arc<dyn JobStore>) {
    let never = Job { due_at: None, ..job() };
    let once = Job { due_at: Some(long_ago()), ..job() };
    insert(&*store, &never).await;
    insert(&*store, &once).await;
    store.update(Job { due_at: None, ..once.clone() }).await.expect("a job can be changed");
    let due = store.due(later(now(), Duration::from_secs(1)), 10_000).await.expect("due jobs can be asked for");
    let ours = due.iter().filter(|job| [never.id, once.id].contains(&job.id)).count();
    assert_eq!(ours, 0, "a job without due_at is never due");
}

/// Jobs of every kind that counts in another way, all made at the same moment.
fn jobs_of(owner: AccountId, created_at: Timestamp) -> Vec<Job> {
    let output = Output {
        fid: Fid::random(),
        size: 4_000_000_000,
        sha256: Sha256([1; 32]),
        duration: Some(0.5),
        bitrate: Some(128_000),
    };
    let parts = Parts { length: Some(6_000_000_000), ..Parts::default() };
    let states = [
        State::Uploading { seen_at: created_at },
        State::Queued { not_before: created_at },
        State::Converting { lease_until: created_at, phase: Phase::Probing },
        State::Done,
        State::Failed { problem: Problem { code: "corrupt".into(), detail: "x".into() } },
        State::Cancelled,
        State::Expired,
        State::Deleted,
    ];
    let mut jobs = vec![job_of(owner, created_at), Job { parts: Some(parts), ..job_of(owner, created_at) }];
    for state in states {
        for (video_gone, output) in [(false, None), (true, Some(output.clone())), (false, Some(output.clone()))] {
            let video_size = Some(7);
            jobs.push(Job { state: state.clone(), video_size, video_gone, output, ..job_of(owner, created_at) });
        }
    }
    jobs
}

async fn usage_is_the_sum_of_the_owners_jobs(store: Arc<dyn JobStore>) {
    let (owner, moment) = (AccountId::random(), now());
    let nothing = store.usage(owner, moment).await.expect("usage can be asked for");
    assert_eq!(nothing, Usage::default(), "nobody's usage is nothing");
    insert(&*store, &full_job()).await;
    let mut expected = Usage::default();
    let before = later(moment, Duration::ZERO).checked_sub(Duration::from_millis(1)).expect("there was a before");
    for (created_at, counts) in [(moment, true), (before, false)] {
        for job in jobs_of(owner, created_at) {
            insert(&*store, &job).await;
            let seconds = if counts { job.seconds() } else { 0.0 };
            expected.add(job.status(), 1, u64::from(job.bytes() > 0), job.bytes(), seconds);
        }
    }
    assert_eq!(store.usage(owner, moment).await.unwrap(), expected, "the sums are those of the jobs");
    let job = job_of(owner, moment);
    insert(&*store, &job).await;
    let done = Job { video_size: Some(11), ..job };
    store.update(done.clone()).await.expect("a job can be changed");
    expected.add(done.status(), 1, 1, done.bytes(), 0.0);
    assert_eq!(store.usage(owner, moment).await.unwrap(), expected, "and what a job takes up changes with it");
    let other = store.usage(AccountId::random(), moment).await.unwrap();
    assert_eq!(other, Usage::default(), "others' jobs don't count");
}

async fn queued_ones_are_counted(store: Arc<dyn JobStore>) {
    // Long ago, so that checks which run beside this one have no jobs from before.
    let at = |millis: u64| later(Timestamp::UNIX_EPOCH, Duration::from_millis(millis));
    let first = store.queued_before(at(1_000)).await.expect("jobs can be counted");
    for millis in [10, 20, 30] {
        let state = State::Queued { not_before: at(millis) };
        insert(&*store, &Job { state, ..job_of(AccountId::random(), at(millis)) }).await;
    }
    insert(&*store, &Job { state: State::Done, ..job_of(AccountId::random(), at(10)) }).await;
    assert_eq!(store.queued_before(at(30)).await.unwrap(), first + 2, "those made before the moment, by anybody");
    assert_eq!(store.queued_before(at(31)).await.unwrap(), first + 3, "and no others");
}

async fn ping_succeeds(store: Arc<dyn JobStore>) {
    store.ping().await.expect("the store can be used");
}

suite! { $ job_store_conformance: job_store of JobStore {
    inserted_is_found,
    second_insert_is_refused,
    every_field_is_kept,
    many_are_found_at_once,
    nothing_is_found_of_nothing,
    update_bumps_the_version,
    stale_update_is_a_conflict,
    racing_updates_have_one_winner,
    removed_is_gone,
    stale_remove_is_a_conflict,
    list_shows_only_the_owners,
    list_pages_newest_first,
    list_filters_by_status,
    list_without_an_owner_shows_everybodys,
    due_is_ordered_and_bounded,
    undated_jobs_are_never_due,
    usage_is_the_sum_of_the_owners_jobs,
    queued_ones_are_counted,
    ping_succeeds,
} }
