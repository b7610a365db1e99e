//! A small world, gone through completely: one job, two workers, every order of their steps, and faults at every place.
//!
//! The job's life is the real one of `job.rs`; the store (compare and swap), the blobs and the queue are models of the
//! ports' promises, and a worker takes the steps of `convert.rs`, one at a time. Between any two steps another worker,
//! the relay, the notifier or a fault may come. Leases last no time at all here: they may run out at any moment, which
//! also stands for workers that freeze. What is checked: at most one MP3 is ever committed, and it stays; nothing is
//! lost; every run comes to an end, with the owner told and no file left over.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use microserve_core::Backoff;
use microserve_core::account::AccountId;
use microserve_core::blob::{Fid, Sha256};
use microserve_core::job::{Job, MailState, NotPossible, Output, Phase, Policy, State, Status};
use microserve_core::transcode::{Options, Problem, SourceInfo};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const AT_ONCE: Backoff = Backoff { first: Duration::ZERO, factor: 1, max: Duration::ZERO };

/// No wait and no lease lasts: time never keeps anybody from anything.
fn policy() -> Policy {
    Policy {
        lease: Duration::ZERO,
        mail_lease: Duration::ZERO,
        ring_again: AT_ONCE,
        backoff: AT_ONCE,
        attempts: 2,
        keep_videos: None,
        ..Policy::default()
    }
}

/// A job's row.
#[derive(Clone, Debug)]
struct Row(Rc<Job>);

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Row {}

impl Hash for Row {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.0.version, self.0.epoch, self.0.attempt, self.0.rings, self.0.status(), self.0.mp3()).hash(hasher);
    }
}

/// A change of the row that a worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    Claim,
    Beat,
    Complete,
    RetryLater,
    Fail,
    Release,
}

/// What a worker does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Next {
    /// Wait for a delivery.
    Idle,
    /// Read the row and decide.
    Read(Change),
    /// Swap the row for this one, if its version is still the same.
    Save(Change, Row),
    /// Find out whether that was done: the answer was lost.
    Unsure(Change, Row),
    Transcode,
    StoreMp3,
    DeleteMp3,
    /// Settle the delivery: with an ack, or so that it comes again.
    Settle {
        again: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    next: Next,
    epoch: u32,
    has_beaten: bool,
}

const IDLE: Worker = Worker { next: Next::Idle, epoch: 0, has_beaten: false };

/// How often something may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Faults {
    /// A worker dies between two steps; its delivery comes again.
    crashes: u8,
    /// The store swaps and its answer is lost.
    lost_answers: u8,
    /// A message is delivered once more.
    duplicates: u8,
    /// A conversion fails, for now or for good, or is told to stop.
    failures: u8,
    /// The owner cancels.
    cancels: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    row: Row,
    mp3s: BTreeSet<Fid>,
    /// The first MP3 that the row named.
    committed: Option<Fid>,
    /// Messages on the queue `video`.
    waiting: u8,
    workers: [Worker; 2],
    somebody_died: bool,
    faults: Faults,
}

/// Who takes a step, and which.
type Step = (&'static str, usize);

impl World {
    fn new(faults: Faults) -> Self {
        let (owner, p) = (AccountId::random(), policy());
        let job = Job::new(owner, "a@example.com".parse().unwrap(), "a.mp4".into(), Options::default(), NOW, &p);
        let row = Row(Rc::new(job.accept(1, NOW, &p).unwrap()));
        Self {
            row,
            mp3s: BTreeSet::new(),
            committed: None,
            waiting: 0,
            workers: [IDLE, IDLE],
            somebody_died: false,
            faults,
        }
    }

    /// The worlds that one step of somebody leads to, without faults.
    fn steps(&self) -> Vec<(Step, Self)> {
        let mut worlds = Vec::new();
        for w in 0..self.workers.len() {
            self.worker_steps(w, &mut worlds);
        }
        let mut change = |who, next: Result<Job, NotPossible>, rings: u8| {
            if let Ok(job) = next {
                let mut world = self.clone();
                world.swap(job);
                world.waiting += rings;
                worlds.push(((who, 0), world));
            }
        };
        let (job, p) = (|| (*self.row.0).clone(), &policy());
        change("the relay takes the job from its worker", job().lose_lease(NOW, p), 1);
        let about_to_claim = |w: &Worker| matches!(w.next, Next::Read(Change::Claim) | Next::Save(Change::Claim, _));
        if job().status() == Status::Queued && self.waiting == 0 && !self.workers.iter().any(about_to_claim) {
            change("the relay rings", job().rang(NOW, p), 1);
        }
        // No bell is needed for the notifier: the relay may ring it at any moment.
        change("the notifier takes the mail in hand", job().start_mail(NOW, p), 0);
        change("the notifier has sent the mail", job().mail_sent(NOW, p), 0);
        worlds
    }

    /// The worlds that one fault leads to.
    fn faults(&self) -> Vec<(Step, Self)> {
        let mut worlds = Vec::new();
        let mut fault = |step, count: fn(&mut Faults) -> &mut u8, change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            if *count(&mut world.faults) > 0 {
                *count(&mut world.faults) -= 1;
                change(&mut world);
                worlds.push((step, world));
            }
        };
        for w in 0..self.workers.len() {
            if self.workers[w].next != Next::Idle {
                fault(("crashes", w), |f| &mut f.crashes, &|world| {
                    world.workers[w] = IDLE;
                    world.waiting += 1;
                    world.somebody_died = true;
                });
            }
            if let Next::Save(change, row) = &self.workers[w].next
                && row.0.version == self.row.0.version
            {
                fault(("saves, and hears nothing", w), |f| &mut f.lost_answers, &|world| {
                    world.swap((*row.0).clone());
                    world.workers[w].next = Next::Unsure(*change, row.clone());
                });
            }
            if self.workers[w].next == Next::Transcode {
                for change in [Change::RetryLater, Change::Fail, Change::Release] {
                    fault(("can't convert", w), |f| &mut f.failures, &|world| {
                        world.workers[w].next = Next::Read(change);
                    });
                }
            }
        }
        fault(("a message is doubled", 0), |f| &mut f.duplicates, &|world| world.waiting += 1);
        if let Ok(job) = (*self.row.0).clone().cancel(NOW, &policy()) {
            fault(("the owner cancels", 0), |f| &mut f.cancels, &|world| world.swap(job.clone()));
        }
        worlds
    }

    fn worker_steps(&self, w: usize, worlds: &mut Vec<(Step, Self)>) {
        let mut step = |what, change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(((what, w), world));
        };
        match &self.workers[w].next {
            Next::Idle if self.waiting == 0 => {}
            Next::Idle => step("takes a delivery", &|world| {
                world.waiting -= 1;
                world.workers[w].next = Next::Read(Change::Claim);
            }),
            Next::Read(change) => step("reads", &|world| {
                world.workers[w].next = match world.attempt(w, *change) {
                    Ok(job) => Next::Save(*change, Row(Rc::new(job))),
                    Err(_) => world.refused(w, *change),
                };
            }),
            Next::Save(change, row) => step("saves", &|world| {
                if world.row.0.version == row.0.version {
                    world.swap((*row.0).clone());
                    world.saved(w, *change);
                } else {
                    world.workers[w].next = Next::Read(*change);
                }
            }),
            // As `JobStoreExt::save` does it.
            Next::Unsure(change, row) => step("finds out", &|world| {
                let ours = Job { version: row.0.version + 1, ..(*row.0).clone() };
                if *world.row.0 == ours {
                    world.saved(w, *change);
                } else {
                    world.workers[w].next = Next::Read(*change);
                }
            }),
            Next::Transcode => {
                step("converts", &|world| world.workers[w].next = Next::StoreMp3);
                if !self.workers[w].has_beaten {
                    step("has a heartbeat", &|world| world.workers[w].next = Next::Read(Change::Beat));
                }
            }
            Next::StoreMp3 => step("stores its MP3", &|world| {
                world.mp3s.insert(world.mp3_of(w));
                world.workers[w].next = Next::Read(Change::Complete);
            }),
            Next::DeleteMp3 => step("deletes its MP3", &|world| {
                world.mp3s.remove(&world.mp3_of(w));
                world.workers[w].next = Next::Settle { again: false };
            }),
            Next::Settle { again } => step("settles", &|world| {
                world.workers[w] = IDLE;
                world.waiting += u8::from(*again);
            }),
        }
    }

    fn attempt(&self, w: usize, change: Change) -> Result<Job, NotPossible> {
        let (job, epoch, p) = ((*self.row.0).clone(), self.workers[w].epoch, &policy());
        let problem = || Problem { code: "test".into(), detail: String::new() };
        match change {
            Change::Claim => job.claim(NOW, p),
            Change::Beat => job.beat(epoch, Phase::Transcoding, 0.5, NOW, p),
            Change::Complete => {
                let output = Output {
                    fid: self.mp3_of(w),
                    size: 1,
                    sha256: Sha256([0; 32]),
                    duration: Some(1.0),
                    bitrate: Some(1),
                };
                job.complete(epoch, SourceInfo::default(), output, NOW, p)
            }
            Change::RetryLater => job.retry_later(epoch, problem(), NOW, p),
            Change::Fail => job.fail(epoch, problem(), NOW, p),
            Change::Release => job.release(epoch, NOW, p),
        }
    }

    /// The worker knows that its change was made.
    fn saved(&mut self, w: usize, change: Change) {
        let worker = &mut self.workers[w];
        assert!(change == Change::Claim || worker.epoch == self.row.0.epoch, "only who holds a job changes it");
        worker.next = match change {
            Change::Claim => {
                worker.epoch = self.row.0.epoch;
                Next::Transcode
            }
            Change::Beat => {
                worker.has_beaten = true;
                Next::Transcode
            }
            Change::Complete | Change::Fail => Next::Settle { again: false },
            Change::RetryLater | Change::Release => Next::Settle { again: self.row.0.status() == Status::Queued },
        };
    }

    /// What a worker does whose change is not possible.
    fn refused(&self, w: usize, change: Change) -> Next {
        let is_ours = self.row.0.output.as_ref().is_some_and(|output| output.fid == self.mp3_of(w));
        match change {
            Change::Complete if !is_ours => Next::DeleteMp3,
            _ => Next::Settle { again: false },
        }
    }

    /// The fid that a worker stores its MP3 under: another one for each claim.
    fn mp3_of(&self, w: usize) -> Fid {
        format!("{w:012x}{:012x}", self.workers[w].epoch).parse().unwrap()
    }

    fn swap(&mut self, job: Job) {
        let job = Job { version: job.version + 1, ..job };
        self.committed = self.committed.or(job.mp3().copied());
        self.row = Row(Rc::new(job));
    }

    /// What holds always.
    fn check(&self) -> Result<(), &'static str> {
        let job = &self.row.0;
        let holds = |what, holds: bool| if holds { Ok(()) } else { Err(what) };
        holds("a committed MP3 is never replaced or forgotten", job.mp3() == self.committed.as_ref())?;
        holds("a committed MP3 is there", self.committed.is_none_or(|fid| self.mp3s.contains(&fid)))?;
        holds("no attempt is made too often", job.attempt <= policy().attempts)
    }

    /// What holds when nobody has anything left to do.
    fn check_end(&self) -> Result<(), &'static str> {
        let job = &self.row.0;
        let holds = |what, holds: bool| if holds { Ok(()) } else { Err(what) };
        holds(
            "the job is not left behind",
            matches!(job.state, State::Done | State::Failed { .. } | State::Cancelled),
        )?;
        let told = matches!(job.mail, MailState::Sent { .. }) || job.state == State::Cancelled;
        holds("the owner hears of it", told)?;
        holds("no message is left", self.waiting == 0 && self.workers == [IDLE, IDLE])?;
        let mut collected = self.mp3s.clone();
        collected.retain(|fid| job.needs(fid));
        holds("the collector leaves the job's MP3 only", collected.iter().eq(&self.committed))?;
        // The collector is for the MP3s of the dead: the living clean up after themselves.
        holds("workers delete what they don't need", self.somebody_died || self.mp3s == collected)
    }
}

/// Goes through every world that can be reached.
#[derive(Default)]
struct Search {
    /// Worlds seen so far; true while the way from them is being gone.
    seen: HashMap<World, bool>,
    way: Vec<Step>,
    ends: usize,
    done: usize,
}

impl Search {
    fn all(faults: Faults) {
        let mut search = Self::default();
        search.visit(World::new(faults));
        println!("{faults:?}: {} states, {} ends, {} of them done", search.seen.len(), search.ends, search.done);
        assert!(search.done > 0, "some runs succeed");
    }

    fn visit(&mut self, world: World) {
        match self.seen.get(&world) {
            Some(true) => panic!("a run that never ends: {:?}", self.way),
            Some(false) => return,
            None => {}
        }
        let steps = world.steps();
        let mut outcome = world.check();
        if steps.is_empty() {
            outcome = outcome.and_then(|()| world.check_end());
            self.ends += 1;
            self.done += usize::from(world.committed.is_some());
        }
        if let Err(what) = outcome {
            panic!("not so: {what}, after {:#?}, in {world:#?}", self.way);
        }
        let faults = world.faults();
        self.seen.insert(world.clone(), true);
        for (step, next) in steps.into_iter().chain(faults) {
            self.way.push(step);
            self.visit(next);
            self.way.pop();
        }
        self.seen.insert(world, false);
    }
}

#[test]
fn one_crash_anywhere_loses_nothing_and_doubles_nothing() {
    Search::all(Faults { crashes: 1, duplicates: 2, ..Faults::default() });
}

#[test]
fn a_lost_answer_is_no_lost_race() {
    Search::all(Faults { lost_answers: 1, duplicates: 1, ..Faults::default() });
}

#[test]
fn a_failed_attempt_leaves_the_job_to_others() {
    Search::all(Faults { failures: 1, duplicates: 1, ..Faults::default() });
}

#[test]
fn a_cancelled_job_gets_no_mp3() {
    Search::all(Faults { crashes: 1, cancels: 1, ..Faults::default() });
}
