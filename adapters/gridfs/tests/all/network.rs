//! A network with faults between us and MongoDB, while blobs and jobs are written and read: nobody waits without end,
//! nothing is there by half, what was acknowledged stays, and things go on by themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{CHUNK, a_job, body, bytes, meta, words};
use futures_util::TryStreamExt;
use microserve_core::blob::{BlobError, BlobStore, Fid};
use microserve_core::job::{Job, JobError, JobStore};
use microserve_gridfs::{GridFsBlobs, Mongo, MongoJobs};
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};
use microserve_testkit::servers::mongodb::Server;
use mongodb::bson::doc;

/// No call takes longer, whatever the fault, if that ends in time: two answers of five seconds are waited for, and a busy
/// machine.
const BOUND: Duration = Duration::from_secs(15);
/// A network that is well again is used again within this time.
const RECOVERY: Duration = Duration::from_secs(20);
/// How long a fault lasts that does not end by itself.
const LASTING: Duration = Duration::from_millis(2_500);
/// Bytes of a blob: two chunks.
const SIZE: usize = CHUNK + 7;

struct World {
    server: Server,
    proxy: Arc<ChaosProxy>,
    /// Through the proxy.
    blobs: GridFsBlobs,
    jobs: MongoJobs,
    /// Past it.
    direct: Mongo,
    prefix: String,
    asked: Vec<Fid>,
    kept: Vec<Fid>,
    saved: Vec<Job>,
    failed: usize,
}

/// What came, unless it may pass. Anything else, or anything too late, is a failure.
fn judged<T, E: std::error::Error + 'static>(
    what: &str,
    started: Instant,
    outcome: Result<T, E>,
    may_pass: fn(&E) -> bool,
) -> Option<T> {
    let (took, said) = (started.elapsed(), outcome.as_ref().err().map(|err| words(err)));
    assert!(took < BOUND, "{what}: {said:?} came after {took:?}");
    assert!(outcome.as_ref().err().is_none_or(may_pass), "{what}: {said:?}");
    outcome.ok()
}

fn blob_may(err: &BlobError) -> bool {
    matches!(err, BlobError::Unavailable(_))
}

fn job_may(err: &JobError) -> bool {
    matches!(err, JobError::Unavailable(_))
}

impl World {
    async fn start() -> Self {
        let server = Server::start();
        let url = server.database();
        let proxy = Arc::new(ChaosProxy::start(server.port()));
        // The driver would go where the replica set says its members are.
        let through = url.replace(&format!(":{}", server.port()), &format!(":{}", proxy.port()));
        let through = through.replace("replicaSet=rs0", "directConnection=true");
        let direct = Mongo::open(&url.parse().unwrap()).await.unwrap();
        let mongo = Mongo::open(&through.parse().unwrap()).await.unwrap();
        let (blobs, jobs) = (mongo.blobs("videos").await.unwrap(), mongo.jobs().await.unwrap());
        let prefix = url.split("prefix=").nth(1).unwrap().to_owned();
        let (asked, kept, saved) = Default::default();
        Self { server, proxy, blobs, jobs, direct, prefix, asked, kept, saved, failed: 0 }
    }

    /// Every kind of call once; whether all went well.
    async fn round(&mut self) -> bool {
        let (fid, started) = (Fid::random(), Instant::now());
        self.asked.push(fid);
        let put = judged("put", started, self.blobs.put(&fid, meta(), body(&bytes(SIZE))).await, blob_may);
        self.kept.extend(put.as_ref().map(|info| info.fid));
        let started = Instant::now();
        let listed = judged("list", started, self.blobs.list(Some(fid), 3).await, blob_may);
        let started = Instant::now();
        let read = match self.kept.first() {
            Some(fid) => judged("head", started, self.blobs.head(fid).await, blob_may).is_some(),
            None => true,
        };
        let (job, started) = (a_job(), Instant::now());
        let inserted = judged("insert", started, self.jobs.insert(&job).await, job_may);
        let mut well = put.is_some() && listed.is_some() && read && inserted.is_some();
        if inserted.is_some() {
            let started = Instant::now();
            let updated = judged("update", started, self.jobs.update(job.clone()).await, job_may);
            well &= updated.is_some();
            self.saved.push(updated.unwrap_or(job));
        }
        self.failed += usize::from(!well);
        well
    }

    /// Has a fault while calls go on, and waits until they go well again.
    async fn survive(&mut self, fault: Fault) {
        let (name, started, proxy) = (format!("{fault:?}"), Instant::now(), Arc::clone(&self.proxy));
        let once = matches!(fault, Fault::CutOn { .. });
        proxy.set(fault);
        // It ends while a call is under way.
        let healing = async {
            while !once && started.elapsed() < LASTING {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if !once {
                proxy.heal();
            }
        };
        let going_on = async {
            while !(self.round().await && self.proxy.is_healthy()) {
                assert!(started.elapsed() < RECOVERY, "{name}: never came to pass, or is not over");
            }
        };
        tokio::join!(healing, going_on);
        println!("{name}: well again {:?} after it began", started.elapsed());
    }

    async fn assert_whole(&self) {
        let (blobs, jobs) = (self.direct.blobs("videos").await.unwrap(), self.direct.jobs().await.unwrap());
        let mut there = 0;
        for fid in &self.asked {
            let blob = match blobs.get(fid, None).await {
                Err(BlobError::NotFound(_)) if !self.kept.contains(fid) => continue,
                blob => blob.unwrap(),
            };
            let pieces: Vec<_> = blob.body.try_collect().await.unwrap();
            assert!(pieces.concat() == bytes(SIZE), "{fid} is there by half");
            there += 1;
        }
        for job in &self.saved {
            let found = jobs.get(job.id).await.unwrap().unwrap();
            assert!(found.version >= job.version, "{:?}: an update is lost", job.id);
        }
        // What was begun and is no blob is noted, so that it is swept away.
        blobs.sweep(Duration::ZERO).await.unwrap();
        let database = format!("{}videos", self.prefix);
        let chunks = self.server.run(&database, doc! { "count": "fs.chunks" }).get_i32("n").unwrap();
        assert_eq!(chunks, 2 * there, "chunks of no blob are left");
        println!("blobs {}, jobs {}, lost 0; {} rounds failed", self.kept.len(), self.saved.len(), self.failed);
    }
}

async fn survives(faults: impl IntoIterator<Item = Fault>) {
    let mut world = World::start().await;
    assert!(world.round().await, "at first");
    for fault in faults {
        world.survive(fault).await;
    }
    world.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_breaks_loses_nothing() {
    survives([Fault::Refuse, Fault::Reset, Fault::HalfClose, Fault::CutAfter(100_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_loses_nothing() {
    survives([Fault::BlackHole, Fault::BlackHole]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_loses_nothing() {
    survives([Fault::Latency(Duration::from_millis(100)), Fault::Throttle(400_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_the_worst_moment_loses_nothing() {
    let mut world = World::start().await;
    assert!(world.round().await, "at first");
    let sha256 = world.blobs.head(&world.kept[0]).await.unwrap().sha256;
    // The end of the file's document, which stands at the end of the command: when it arrives, the blob is there.
    let file = format!("sha256\0\x41\0\0\0{sha256}\0\0\0");
    let commands = ["insert\0\x09\0\0\0fs.files", "insert\0\x0a\0\0\0fs.chunks", "insert\0\x05\0\0\0jobs", &file];
    let updates = ["update\0\x0a\0\0\0fs.drafts", "delete\0\x0a\0\0\0fs.drafts", "update\0\x05\0\0\0jobs"];
    // One document was written: what the server says to each of them.
    let written = "\x10n\0\x01\0\0\0";
    for arrive in [false, true] {
        for command in commands.into_iter().chain(updates) {
            world.survive(Fault::CutOn { towards: Towards::Server, bytes: command.into(), arrive }).await;
        }
        world.survive(Fault::CutOn { towards: Towards::Client, bytes: written.into(), arrive }).await;
    }
    world.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_answers_end_in_time() {
    let mut world = World::start().await;
    assert!(world.round().await, "at first");
    let (blobs, jobs, kept, job) = (&world.blobs, &world.jobs, world.kept[0], world.saved[0].clone());
    let fid = Fid::random();
    for fault in [Fault::BlackHole, Fault::Refuse] {
        world.proxy.set(fault);
        let started = Instant::now();
        let outcomes = tokio::join!(
            async { blobs.put(&fid, meta(), body(b"x")).await.map(drop) },
            async { blobs.head(&kept).await.map(drop) },
            async { blobs.get(&kept, None).await.map(drop) },
            async { blobs.list(None, 9).await.map(drop) },
            blobs.delete(&kept),
            blobs.ping(),
        );
        <[_; 6]>::from(outcomes)
            .into_iter()
            .for_each(|outcome| assert!(judged("blob", started, outcome, blob_may).is_none()));
        let started = Instant::now();
        let new = a_job();
        let outcomes = tokio::join!(
            jobs.insert(&new),
            async { jobs.get(job.id).await.map(drop) },
            async { jobs.update(job.clone()).await.map(drop) },
            async { jobs.due(job.created_at, 9).await.map(drop) },
            jobs.ping(),
        );
        <[_; 5]>::from(outcomes)
            .into_iter()
            .for_each(|outcome| assert!(judged("job", started, outcome, job_may).is_none()));
    }
    world.proxy.heal();
    let started = Instant::now();
    while !world.round().await {
        assert!(started.elapsed() < RECOVERY, "it is not there again");
    }
}
