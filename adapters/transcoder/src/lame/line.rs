//! What the threads of one conversion share: the sound that waits to be encoded, and how far each segment is.
//!
//! The conversion's own thread puts blocks in and takes finished segments out, in their order. Whoever has a free
//! processor takes a segment that nobody has, and asks for its blocks until there are no more.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use microserve_core::transcode::TranscodeError;

use super::frames::Frames;
use super::instance::Block;
use super::segment::{Plan, Segment};

/// Blocks that are handed out at once: some milliseconds of work.
const HANDFUL: u64 = 8;
/// A worker that has fewer blocks than this before it is about to run dry.
const FEW: u64 = 4 * HANDFUL;

/// See the module.
pub(super) struct Line {
    state: Mutex<State>,
    /// Something in it is different.
    changed: Condvar,
}

/// A segment in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) n: u64,
    /// Whether it begins with an empty bit reservoir: it was encoded before, and could not be joined.
    pub(super) empty: bool,
}

/// What there is to do next with a segment.
pub(super) enum Next {
    /// Encode these.
    Blocks(Vec<Block>),
    /// The next block has not come yet.
    Nothing,
    /// It has its blocks.
    Enough,
    /// It has all blocks that there are.
    Finish,
    /// It is not wanted any more.
    Gone,
}

/// What the conversion's own thread should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Bring more sound.
    Bring,
    /// Encode something of a segment that no other thread has.
    Encode(Task),
    /// Wait for the others.
    Wait,
}

/// What is next on the way to the sink.
pub(super) enum Ready {
    /// Segment `n`, and the first frames of the next one, to be joined.
    Pair(u64, Box<Segment>, Frames),
    /// The last segment, `n`.
    Last(u64, Box<Segment>),
}

struct State {
    plan: Plan,
    /// Those that somebody still needs.
    blocks: VecDeque<Block>,
    /// The number of the first of them.
    first: u64,
    /// Blocks so far.
    front: u64,
    ended: bool,
    /// Nobody wants the result any more.
    dropped: bool,
    /// Segments that began and were not taken out.
    segments: VecDeque<Entry>,
    /// The one that begins next.
    upcoming: u64,
    /// Counts what happens.
    changes: u64,
}

struct Entry {
    task: Task,
    /// The next block that its encoder gets.
    next: u64,
    status: Status,
    head: Option<Frames>,
    /// Whether it is joined to what comes before it. Until then it may have to be encoded once more.
    joined: bool,
}

enum Status {
    /// For whoever has time.
    Waiting,
    /// The conversion's own thread has it.
    Mine,
    /// Another thread has it.
    Theirs,
    Done(Result<Box<Segment>, TranscodeError>),
}

impl Entry {
    fn new(plan: Plan, n: u64) -> Self {
        let task = Task { n, empty: false };
        Self { task, next: plan.start(n), status: Status::Waiting, head: None, joined: n == 0 }
    }
}

impl Line {
    pub(super) fn new(plan: Plan) -> Self {
        let state = State {
            plan,
            blocks: VecDeque::new(),
            first: 0,
            front: 0,
            ended: false,
            dropped: false,
            segments: VecDeque::from([Entry::new(plan, 0)]),
            upcoming: 1,
            changes: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// No code of ours panics while it has the lock, and the state is whole between any two statements anyway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.changes += 1;
        let result = change(&mut state);
        drop(state);
        self.changed.notify_all();
        result
    }

    /// Adds the next block.
    pub(super) fn bring(&self, block: Block) {
        self.change(|state| state.bring(block));
    }

    /// There is no more sound than `rest`, which is less than a block and may be empty.
    pub(super) fn end(&self, rest: Block) {
        self.change(|state| {
            state.end();
            if !rest.is_empty() {
                state.blocks.push_back(rest);
                state.front += 1;
            }
        });
    }

    /// Nobody wants the result any more: who works on it stops soon.
    pub(super) fn abandon(&self) {
        self.change(|state| state.dropped = true);
    }

    /// The oldest segment that nobody has is for another thread now.
    pub(super) fn hand_out(&self) -> Option<Task> {
        let mut state = self.lock();
        let entry = state.segments.iter_mut().find(|entry| matches!(entry.status, Status::Waiting))?;
        entry.status = Status::Theirs;
        Some(entry.task)
    }

    /// What comes next for a segment. `patient`: waits rather than to say [`Next::Nothing`].
    pub(super) fn next(&self, task: Task, patient: bool) -> Next {
        let mut state = self.lock();
        loop {
            let next = state.next(task);
            if !patient || !matches!(next, Next::Nothing) {
                state.changes += 1;
                drop(state);
                self.changed.notify_all();
                return next;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first frames of a segment: as many as it takes to join it to what comes before.
    pub(super) fn put_head(&self, task: Task, head: Frames) {
        self.change(|state| {
            if let Some(entry) = state.entry(task) {
                entry.head = Some(head);
            }
        });
    }

    /// A segment has its blocks, or failed.
    pub(super) fn put(&self, task: Task, segment: Result<Box<Segment>, TranscodeError>) {
        self.change(|state| {
            if let Some(entry) = state.entry(task) {
                entry.status = Status::Done(segment);
            }
        });
    }

    /// The segment is for whoever has time, as if nobody had begun it.
    pub(super) fn give_back(&self, task: Task) {
        self.change(|state| {
            let start = state.plan.start(task.n);
            if let Some(entry) = state.entry(task) {
                (entry.next, entry.status, entry.head) = (start, Status::Waiting, None);
            }
        });
    }

    /// Takes out what is next on the way to the sink, if it is there.
    pub(super) fn take(&self) -> Result<Option<Ready>, TranscodeError> {
        self.lock().take()
    }

    /// A block behind the oldest segment's, which is still here: the next segment may need it.
    pub(super) fn block(&self, number: u64) -> Option<Block> {
        let state = self.lock();
        state.blocks.get(usize::try_from(number.checked_sub(state.first)?).ok()?).cloned()
    }

    /// The segment that is the oldest now is joined to the one that was taken out.
    pub(super) fn joined(&self) {
        self.change(|state| {
            if let Some(next) = state.segments.front_mut() {
                next.joined = true;
            }
            state.forget();
        });
    }

    /// The segment that is the oldest now can't be joined to segment `n`, which was taken out and comes back: it is
    /// encoded once more. `false` if it was before.
    pub(super) fn not_joined(&self, n: u64, segment: Box<Segment>) -> bool {
        self.change(|state| {
            let plan = state.plan;
            let Some(next) = state.segments.front_mut().filter(|next| !next.task.empty) else { return false };
            let task = Task { empty: true, ..next.task };
            *next = Entry { task, ..Entry::new(plan, task.n) };
            let status = Status::Done(Ok(segment));
            state.segments.push_front(Entry { next: plan.end(n), status, joined: true, ..Entry::new(plan, n) });
            true
        })
    }

    /// What the conversion's own thread should do, which has so many `others` beside it, or could have:
    /// that is `has_spare`.
    pub(super) fn duty(&self, others: u64, has_spare: bool) -> Duty {
        let mut state = self.lock();
        let duty = state.duty(others, has_spare);
        if let Duty::Encode(task) = duty
            && let Some(entry) = state.entry(task)
        {
            entry.status = Status::Mine;
        }
        duty
    }

    /// How much has happened so far.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Waits for something to happen since there were so many `changes`.
    pub(super) fn wait(&self, changes: u64) {
        let state = self.changed.wait_while(self.lock(), |state| state.changes == changes);
        drop(state);
    }
}

impl State {
    fn entry(&mut self, task: Task) -> Option<&mut Entry> {
        self.segments.iter_mut().find(|entry| entry.task == task)
    }

    fn bring(&mut self, block: Block) {
        if self.plan.start(self.upcoming) <= self.front {
            self.segments.push_back(Entry::new(self.plan, self.upcoming));
            self.upcoming += 1;
        }
        self.blocks.push_back(block);
        self.front += 1;
    }

    /// A segment that does not get all the blocks it wants goes on to the end of the sound instead, and there is none
    /// behind it.
    fn end(&mut self) {
        self.ended = true;
        while let Some(before) = self.segments.iter().nth_back(1)
            && self.plan.limit(before.task.n) > self.front
        {
            self.segments.pop_back();
        }
    }

    /// Whether it goes on to the end of the sound.
    fn is_last(&self, n: u64) -> bool {
        self.ended && self.segments.back().is_some_and(|last| last.task.n == n)
    }

    fn next(&mut self, task: Task) -> Next {
        let (front, first) = (self.front, self.first);
        let end = if self.is_last(task.n) { u64::MAX } else { self.plan.end(task.n) };
        let entry = self.segments.iter_mut().find(|entry| entry.task == task);
        let Some(entry) = entry.filter(|_| !self.dropped) else { return Next::Gone };
        let until = end.min(front).min(entry.next + HANDFUL);
        if entry.next < until {
            let range = (entry.next - first) as usize..(until - first) as usize;
            entry.next = until;
            let blocks = self.blocks.range(range).cloned().collect();
            self.forget();
            return Next::Blocks(blocks);
        }
        match entry.next >= end {
            true => Next::Enough,
            false if self.ended => Next::Finish,
            false => Next::Nothing,
        }
    }

    fn take(&mut self) -> Result<Option<Ready>, TranscodeError> {
        let is_done = |entry: &Entry| match &entry.status {
            Status::Done(done) => Some(done.is_ok()),
            _ => None,
        };
        let Some(is_ok) = self.segments.front().and_then(is_done) else { return Ok(None) };
        let is_last = self.ended && self.segments.len() == 1;
        let head = self.segments.get_mut(1).filter(|_| is_ok).and_then(|next| next.head.take());
        if is_ok && !is_last && head.is_none() {
            return Ok(None);
        }
        let Some(Entry { task, status: Status::Done(done), .. }) = self.segments.pop_front() else { return Ok(None) };
        let segment = done?;
        Ok(Some(match head {
            Some(head) => Ready::Pair(task.n, segment, head),
            None => Ready::Last(task.n, segment),
        }))
    }

    fn duty(&self, others: u64, has_spare: bool) -> Duty {
        // A few more than what waits for the slowest: it must never be the block that is missing.
        let most = self.plan.frames * others + self.plan.frames / 8 + self.plan.lead + self.plan.joints;
        let is_full = self.front - self.slowest() >= most;
        let runs_dry = |entry: &Entry| {
            let left = self.front.saturating_sub(entry.next);
            matches!(entry.status, Status::Theirs) && left < FEW && self.front < self.plan.end(entry.task.n)
        };
        if !self.ended && !is_full && (has_spare || self.segments.iter().any(runs_dry)) {
            return Duty::Bring;
        }
        let can_go_on = |entry: &&Entry| {
            matches!(entry.status, Status::Waiting | Status::Mine)
                && (self.ended || entry.next < self.front || entry.next >= self.plan.end(entry.task.n))
        };
        match self.segments.iter().find(can_go_on) {
            Some(entry) => Duty::Encode(entry.task),
            None if self.ended || is_full => Duty::Wait,
            None => Duty::Bring,
        }
    }

    /// The next block of whoever is most behind.
    fn slowest(&self) -> u64 {
        let busy = self.segments.iter().filter(|entry| !matches!(entry.status, Status::Done(_)));
        busy.map(|entry| entry.next).min().unwrap_or(self.front)
    }

    /// Lets go of blocks that nobody needs.
    fn forget(&mut self) {
        let needed = |entry: &Entry| if entry.joined { entry.next } else { self.plan.start(entry.task.n) };
        let needed = self.segments.iter().map(needed).min().unwrap_or(u64::MAX);
        let needed = needed.min(self.plan.start(self.upcoming));
        while self.first < needed && self.blocks.pop_front().is_some() {
            self.first += 1;
        }
    }
}
