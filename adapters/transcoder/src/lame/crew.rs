//! Who encodes: the conversion's own thread, and others for as long as processors have nothing else to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use microserve_core::transcode::{Core, Cores, TranscodeError};

use super::instance::Format;
use super::line::{Line, Next, Task};
use super::segment::{Plan, Segment};

/// No more threads than this beside the conversion's own: each of them costs some megabytes of sound that waits.
const MOST: usize = 7;

/// When there was no idle core, it is asked for one again after so many times.
const PATIENCE: u32 = 32;

/// The threads of one conversion.
pub(super) struct Crew {
    line: Arc<Line>,
    format: Format,
    plan: Plan,
    cores: Cores,
    /// Of the conversion's own thread.
    _core: Core,
    /// What the conversion's own thread encodes.
    mine: Vec<Job>,
    others: Vec<JoinHandle<()>>,
    /// For the next segment.
    spare: Option<Core>,
    patience: u32,
    may_hire: bool,
}

impl Crew {
    pub(super) fn new(line: Arc<Line>, format: Format, plan: Plan, cores: &Cores) -> Self {
        let (_core, cores) = (cores.occupy(), cores.clone());
        let (mine, others) = (Vec::new(), Vec::new());
        Self { line, format, plan, cores, _core, mine, others, spare: None, patience: 0, may_hire: true }
    }

    /// How many threads there are, or could be, beside the conversion's own.
    pub(super) fn others(&self) -> u64 {
        (self.others.len() + usize::from(self.has_spare())) as u64
    }

    /// Whether there is a core for a segment that nobody has.
    pub(super) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Starts a thread for each segment that nobody has, while there are idle cores.
    pub(super) fn hire(&mut self) {
        self.others.retain(|thread| !thread.is_finished());
        while self.find_spare()
            && let Some(task) = self.line.hand_out()
        {
            let (line, format, plan, core) = (self.line.clone(), self.format, self.plan, self.spare.take());
            let work = move || {
                let _core = core;
                encode(&line, format, plan, task);
            };
            match std::thread::Builder::new().name("mp3 encoder".to_owned()).spawn(work) {
                Ok(thread) => self.others.push(thread),
                // Where threads are forbidden, or there are too many: it takes longer, that is all.
                Err(_) => {
                    self.may_hire = false;
                    self.line.give_back(task);
                }
            }
        }
    }

    fn find_spare(&mut self) -> bool {
        if self.spare.is_none() && self.may_hire && self.others.len() < MOST {
            self.patience = self.patience.checked_sub(1).unwrap_or(PATIENCE);
            if self.patience == PATIENCE {
                self.spare = self.cores.try_take();
            }
            if self.spare.is_some() {
                self.patience = 0;
            }
        }
        self.has_spare()
    }

    /// Encodes a little of a segment in this thread.
    pub(super) fn encode(&mut self, task: Task) -> Result<(), TranscodeError> {
        let at = match self.mine.iter().position(|job| job.task == task) {
            Some(at) => at,
            None => {
                self.mine.push(Job::new(self.format, self.plan, task)?);
                self.mine.len() - 1
            }
        };
        if !self.mine[at].step(&self.line, false) {
            self.mine.swap_remove(at);
        }
        Ok(())
    }
}

impl Drop for Crew {
    /// Nobody goes on with what nobody wants. The threads are waited for, for some milliseconds.
    fn drop(&mut self) {
        self.line.abandon();
        for thread in self.others.drain(..) {
            // It can't have panicked: that ends in the segment's error.
            let _ = thread.join();
        }
    }
}

/// What another thread does.
fn encode(line: &Line, format: Format, plan: Plan, task: Task) {
    let work = || match Job::new(format, plan, task) {
        Ok(mut job) => while job.step(line, true) {},
        Err(err) => line.put(task, Err(err)),
    };
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        line.put(task, Err(TranscodeError::Internal("an encoder panicked".into())));
    }
}

/// A segment that a thread is at.
struct Job {
    task: Task,
    /// Gone when it is finished.
    segment: Option<Box<Segment>>,
    has_head: bool,
}

impl Job {
    fn new(format: Format, plan: Plan, task: Task) -> Result<Self, TranscodeError> {
        Ok(Self { task, segment: Some(Box::new(Segment::new(format, plan, task)?)), has_head: false })
    }

    /// Goes on; `false` when there is nothing more to do.
    fn step(&mut self, line: &Line, patient: bool) -> bool {
        let next = line.next(self.task, patient);
        let Some(segment) = &mut self.segment else { return false };
        let done = match &next {
            Next::Nothing => return true,
            Next::Gone => return false,
            Next::Blocks(blocks) => blocks.iter().try_for_each(|block| segment.feed(block)),
            Next::Enough => Ok(()),
            Next::Finish => segment.finish(),
        };
        let goes_on = done.is_ok() && matches!(next, Next::Blocks(_));
        if !self.has_head && (segment.has_head() || !goes_on) {
            self.has_head = true;
            line.put_head(self.task, segment.frames().clone());
        }
        if goes_on {
            return true;
        }
        if let Some(segment) = self.segment.take() {
            line.put(self.task, done.map(|()| segment));
        }
        false
    }
}
