//! Watchers hear of every change, whatever the store does, and cost little.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use microserve_core::account::AccountId;
use microserve_core::conformance::faulty::{Fault, Faulty, Script};
use microserve_core::job::{Job, JobId, JobStore, Policy, Status};
use microserve_core::memory::MemoryJobs;
use microserve_core::transcode::Options;
use microserve_core::watch::{TooManyWatchers, Watcher, Watches};
use microserve_core::{Clock, Shutdown, TokioClock};

struct World {
    jobs: Arc<MemoryJobs>,
    script: Script,
    clock: TokioClock,
    shutdown: Shutdown,
    watches: Watches,
}

impl World {
    fn new(most: usize) -> Self {
        Self::with(Script::new(), most)
    }

    fn with(script: Script, most: usize) -> Self {
        let (jobs, shutdown) = (Arc::new(MemoryJobs::default()), Shutdown::new());
        let asked = Arc::new(Faulty::new(Arc::clone(&jobs), &script));
        let watches = Watches::new(asked, &shutdown, most);
        Self { jobs, script, clock: TokioClock::start(), shutdown, watches }
    }

    async fn job(&self) -> Job {
        let (email, p) = ("anna@example.com".parse().unwrap(), Policy::default());
        let name = "holiday.mp4".to_owned();
        let job = Job::new(AccountId::random(), email, name, Options::default(), self.clock.now(), &p);
        let job = job.accept(1, self.clock.now(), &p).unwrap();
        self.jobs.insert(&job).await.unwrap();
        job
    }

    async fn stored(&self, id: JobId) -> Job {
        self.jobs.get(id).await.unwrap().unwrap()
    }

    async fn claim(&self, id: JobId) -> Job {
        let job = self.stored(id).await.claim(self.clock.now(), &Policy::default()).unwrap();
        self.jobs.update(job).await.unwrap()
    }

    /// How often the store was asked.
    fn asked(&self) -> usize {
        self.script.log().into_iter().filter(|name| *name == "jobs.get_many").count()
    }
}

/// What a watcher hears within a moment of tokio's time, which the test's runtime does not really wait for.
async fn next(watcher: &mut Watcher) -> Option<Arc<Job>> {
    tokio::time::timeout(Duration::from_secs(30), watcher.changed()).await.expect("the watcher hears something")
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_of_a_change_within_a_second() {
    let world = World::new(64);
    let job = world.job().await;
    let mut watcher = world.watches.watch(job.clone()).unwrap();
    assert_eq!(*watcher.job(), job);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let claimed = world.claim(job.id).await;
    let heard = tokio::time::timeout(Duration::from_secs(1), watcher.changed()).await.unwrap().unwrap();
    assert_eq!(*heard, claimed);
    let quiet = tokio::time::timeout(Duration::from_secs(60), watcher.changed()).await;
    assert!(quiet.is_err(), "and of nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_comes_with_news_tells_the_others() {
    let world = World::new(64);
    let job = world.job().await;
    let mut first = world.watches.watch(job.clone()).unwrap();
    let claimed = world.claim(job.id).await;
    let mut second = world.watches.watch(claimed.clone()).unwrap();
    // Somebody who read the job before that must not take the news back.
    let mut late = world.watches.watch(job).unwrap();
    for watcher in [&mut first, &mut second, &mut late] {
        assert_eq!(*watcher.job(), claimed);
    }
    assert_eq!(world.asked(), 0, "without a question");
}

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_for_all_at_once_and_not_when_nobody_watches() {
    let world = World::new(4000);
    let mut watchers = Vec::new();
    for _ in 0..1200 {
        watchers.push(world.watches.watch(world.job().await).unwrap());
    }
    let few = world.job().await;
    watchers.extend((0..900).map(|_| world.watches.watch(few.clone()).unwrap()));
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    // 1,201 jobs are three batches, twenty times.
    assert_eq!(world.asked(), 60);
    let claimed = world.claim(few.id).await;
    for watcher in &mut watchers[1200..] {
        assert_eq!(*next(watcher).await.unwrap(), claimed);
    }
    drop(watchers);
    assert_eq!(world.watches.watchers(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = world.asked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.asked(), before, "nobody watches, nobody asks");
    let job = world.job().await;
    let mut again = world.watches.watch(job.clone()).unwrap();
    assert_eq!(*again.job(), job);
    world.claim(job.id).await;
    assert_eq!(next(&mut again).await.unwrap().status(), Status::Converting, "and it begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_ends_no_watch() {
    let script = (2..=6).fold(Script::new(), |script, n| script.on("jobs.get_many", n, Fault::Before));
    let world = World::with(script, 64);
    let job = world.job().await;
    let mut watcher = world.watches.watch(job.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let claimed = world.claim(job.id).await;
    assert_eq!(*next(&mut watcher).await.unwrap(), claimed);
    assert_eq!(world.asked(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_job_is_deleted_or_gone() {
    let world = World::new(64);
    let (deleted, gone, other) = (world.job().await, world.job().await, world.job().await);
    let watch = |job: &Job| world.watches.watch(job.clone()).unwrap();
    let mut watchers = [watch(&deleted), watch(&gone), watch(&gone), watch(&other)];
    let (now, p) = (world.clock.now(), Policy::default());
    let cancelled = world.jobs.update(deleted.cancel(now, &p).unwrap()).await.unwrap();
    assert_eq!(next(&mut watchers[0]).await.unwrap().status(), Status::Cancelled);
    world.jobs.update(cancelled.delete(now, &p).unwrap()).await.unwrap();
    world.jobs.remove(&gone).await.unwrap();
    for watcher in &mut watchers[..3] {
        assert_eq!(next(watcher).await, None);
    }
    world.claim(other.id).await;
    assert!(next(&mut watchers[3]).await.is_some(), "others go on");
    // One that ended takes nothing from one that has begun since.
    world.jobs.insert(&gone).await.unwrap();
    let mut again = watch(&gone);
    let [_, ended, ..] = watchers;
    drop(ended);
    world.claim(gone.id).await;
    assert!(next(&mut again).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_every_watch_at_once() {
    let world = World::new(64);
    let job = world.job().await;
    let mut watchers: Vec<_> = (0..2).map(|_| world.watches.watch(job.clone()).unwrap()).collect();
    let started = tokio::time::Instant::now();
    let ended = async {
        for watcher in &mut watchers {
            assert_eq!(watcher.changed().await, None);
        }
        started.elapsed()
    };
    let (took, drained) = tokio::join!(ended, world.shutdown.drain(Duration::from_secs(1)));
    assert!(drained && took < Duration::from_millis(10), "{took:?}");
    assert_eq!(next(&mut world.watches.watch(job).unwrap()).await, None, "later ones end, too");
}

#[tokio::test(start_paused = true)]
async fn watchers_are_so_many_at_most_and_a_quarter_of_one_account() {
    let world = World::new(8);
    let job = world.job().await;
    let mut watchers: Vec<_> = (0..2).map(|_| world.watches.watch(job.clone()).unwrap()).collect();
    assert_eq!(world.watches.watch(job.clone()).err(), Some(TooManyWatchers), "of this account");
    for _ in 0..6 {
        watchers.push(world.watches.watch(world.job().await).unwrap());
    }
    let other = world.job().await;
    assert_eq!(world.watches.watch(other.clone()).err(), Some(TooManyWatchers), "in all");
    watchers.pop();
    let there_is_room = world.watches.watch(other).unwrap();
    watchers.swap_remove(0);
    assert!(world.watches.watch(job).is_ok());
    drop(there_is_room);
}

/// What this process has resident, in bytes (proc(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Bytes for each of `watchers` on so many jobs, what the store needs for the jobs not counted.
async fn bytes_each(watchers: usize, jobs: usize) -> usize {
    let world = World::new(watchers * 4);
    let mut all = Vec::new();
    for _ in 0..jobs {
        all.push(world.job().await);
    }
    let mut kept = Vec::with_capacity(watchers);
    let before = resident();
    kept.extend((0..watchers).map(|n| world.watches.watch(all[n % jobs].clone()).unwrap()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Memory that was there may have been used again.
    let each = resident().saturating_sub(before) / watchers;
    println!("{watchers} watchers on {jobs} jobs: {each} bytes each");
    each
}

#[tokio::test(start_paused = true)]
async fn watchers_of_a_job_each_take_little_memory() {
    // Many, so that pages are small against them.
    assert!(bytes_each(20_000, 20_000).await < 4096);
}

#[tokio::test(start_paused = true)]
async fn watchers_of_few_jobs_take_hardly_any_memory() {
    assert!(bytes_each(100_000, 10).await < 512);
}
