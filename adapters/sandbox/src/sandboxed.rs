//! The parent's side of a job: starts a child, serves it source and sink, and gives back what came of it.

use std::io::{self, SeekFrom};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use microserve_core::transcode::{
    Core, Cores, Limit, Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder,
};

use crate::child;
use crate::confine::{Enforced, Layers};
use crate::outcome::{Job, Outcome, Task, bounded, cut, plausible};
use crate::process::{Broken, Running};
use crate::settings::{Limits, Mode};
use crate::wire::{Answer, Ask, BLOCK};

/// How long the trial child may take: far more than it needs.
const TRIAL: Duration = Duration::from_secs(20);
/// After so long without progress the caller is asked anyway whether to go on.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// No child takes more cores.
const CORES: usize = 256;

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A child would not know that it is one, and do whatever this program does.
    #[error("this program has to call microserve_sandbox::child first thing in its main function")]
    NoEntry,
    /// No child could be started.
    #[error("could not start a child process")]
    Start(#[source] io::Error),
    /// The trial child failed.
    #[error("the trial child failed")]
    Trial(#[source] TranscodeError),
    /// In strict mode: something is not enforced.
    #[error("the sandbox is not complete here: {}", .0.missing.join("; "))]
    Incomplete(Enforced),
}

/// A transcoder that runs another one in a locked-down child process, one for each job.
///
/// What it needs of a program is [`child`](crate::child). All that the other transcoder reads and writes goes over a
/// socket: its child has no file system, no network, and little else.
#[derive(Clone, Debug)]
pub struct Sandboxed {
    program: PathBuf,
    words: String,
    mode: Mode,
    limits: Limits,
    layers: Layers,
    cores: Cores,
    enforced: Enforced,
    glance: Option<Glance>,
}

/// What [`Transcoder::glance`] says.
type Glance = fn(&[u8]) -> Option<TranscodeError>;

impl Sandboxed {
    /// A sandbox for the transcoder that [`child`](crate::child)'s `make` makes of these words. They are no secret: they
    /// stand in the list of processes. A trial child finds out what the kernel can enforce.
    ///
    /// # Errors
    /// When this program does not call [`child`](crate::child), no child can be started, or, in strict mode, not all of it
    /// can be enforced.
    pub fn new(words: &str, mode: Mode) -> Result<Self, SandboxError> {
        if !child::is_known() {
            return Err(SandboxError::NoEntry);
        }
        Self::of_program(this_program()?, words, mode)
    }

    /// The same with another program's [`child`](crate::child). It must call that.
    ///
    /// # Errors
    /// As [`Sandboxed::new`].
    pub fn of_program(program: PathBuf, words: &str, mode: Mode) -> Result<Self, SandboxError> {
        if child::is_child() {
            // It has been started by a sandbox and gone its own way: it would start the next, and that another.
            return Err(SandboxError::NoEntry);
        }
        let (limits, cores, enforced) = (Limits::default(), Cores::of_process(), Enforced::default());
        let words = words.to_owned();
        let sandboxed = Self { program, words, mode, limits, layers: Layers::ALL, cores, enforced, glance: None };
        let enforced = sandboxed.check()?;
        Ok(Self { enforced, ..sandboxed })
    }

    /// Lets each job use so much.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Has the first bytes of files looked at by this ([`Transcoder::glance`]), in this process: it has to be careful.
    #[must_use]
    pub fn with_glance(self, glance: fn(&[u8]) -> Option<TranscodeError>) -> Self {
        Self { glance: Some(glance), ..self }
    }

    /// Has jobs take their cores from this budget, instead of the process's.
    #[must_use]
    pub fn with_cores(self, cores: Cores) -> Self {
        Self { cores, ..self }
    }

    /// Puts on these layers alone: for tests of each.
    #[doc(hidden)]
    #[must_use]
    pub fn with_layers(self, layers: Layers) -> Self {
        Self { layers, ..self }
    }

    /// What was found to be enforced at the beginning.
    #[must_use]
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// Starts a child that does nothing, and finds out what the kernel enforces now.
    ///
    /// # Errors
    /// When no child can be started, or, in strict mode, something is not enforced.
    pub fn check(&self) -> Result<Enforced, SandboxError> {
        let limits = Limits { time: TRIAL, silence: TRIAL, ..self.limits };
        let mut child = self.start(Task::Nothing, limits)?;
        let mut enforced = None;
        let outcome = loop {
            let frame = match child.receive() {
                Ok(Some(frame)) => frame,
                Ok(None) => continue,
                Err(broken) => break Err(broken),
            };
            match Ask::decode(&frame) {
                Some(Ask::Confined(json)) => enforced = serde_json::from_slice::<Enforced>(json).ok(),
                Some(Ask::Done(_)) => break Ok(()),
                _ => break Err(Broken::Nonsense),
            }
        };
        if let Err(broken) = outcome {
            return Err(SandboxError::Trial(child.explain(broken)));
        }
        let Some(enforced) = enforced else {
            return Err(SandboxError::Trial(child.explain(Broken::Nonsense)));
        };
        let enforced = Enforced { missing: enforced.missing.iter().map(|what| cut(what, 300)).collect() };
        self.accept(&enforced)?;
        Ok(enforced)
    }

    fn accept(&self, enforced: &Enforced) -> Result<(), SandboxError> {
        match self.mode {
            Mode::Strict if !enforced.is_full() => Err(SandboxError::Incomplete(enforced.clone())),
            Mode::Strict | Mode::BestEffort => Ok(()),
        }
    }

    fn start(&self, task: Task, limits: Limits) -> Result<Running, SandboxError> {
        let job = Job { task, limits, layers: self.layers };
        let job = serde_json::to_vec(&job).map_err(|err| SandboxError::Start(err.into()))?;
        let mut child = Running::start(&self.program, &self.words, &limits).map_err(SandboxError::Start)?;
        match child.send(&Answer::Job(&job)) {
            Ok(()) => Ok(child),
            Err(broken) => Err(SandboxError::Trial(child.explain(broken))),
        }
    }

    fn run(&self, task: Task, mut world: World<'_>) -> Result<Outcome, TranscodeError> {
        let mut child = self.start(task, self.limits).map_err(|err| TranscodeError::Internal(err.into()))?;
        match self.converse(&mut child, &mut world) {
            Ok(Outcome::Panicked) => Err(child.crashed("it panicked")),
            Ok(Outcome::Failed(failure)) => match failure.into() {
                // Nobody told it to stop: that would have ended it. To believe it would be to try again for ever.
                TranscodeError::Cancelled => Err(child.explain(Broken::Nonsense)),
                err => Err(err),
            },
            Ok(Outcome::NotMade(words)) => Err(TranscodeError::Internal(cut(&words, 300).into())),
            Ok(outcome) => Ok(outcome),
            Err(Stop::Broken(broken)) => Err(child.explain(broken)),
            Err(Stop::Ours(err)) => Err(err),
        }
    }

    /// Answers what the child asks, until it is done.
    fn converse(&self, child: &mut Running, world: &mut World<'_>) -> Result<Outcome, Stop> {
        let (mut confined, mut held) = (false, Vec::new());
        loop {
            let Some(frame) = child.receive()? else {
                if child.watch.silent() >= ASK_AGAIN {
                    world.go_on()?;
                }
                continue;
            };
            match Ask::decode(&frame).ok_or(Broken::Nonsense)? {
                Ask::Confined(json) if !confined => {
                    let enforced: Enforced = serde_json::from_slice(json).map_err(|_| Broken::Nonsense)?;
                    self.accept(&enforced).map_err(|err| Stop::Ours(TranscodeError::Internal(err.into())))?;
                    confined = true;
                }
                _ if !confined => return Err(Broken::Nonsense.into()),
                Ask::Confined(_) => return Err(Broken::Nonsense.into()),
                Ask::Read { at, len } => {
                    let bytes = world.read(at, len)?;
                    child.send(&Answer::Bytes(bytes))?;
                }
                Ask::Length => {
                    let length = world.length()?;
                    child.send(&Answer::Number(length))?;
                }
                Ask::Write { at, bytes } => world.write(at, bytes, self.limits.output)?,
                Ask::Progress(progress) => {
                    child.watch.progress();
                    world.last = progress;
                    world.go_on()?;
                }
                ask @ (Ask::OccupyCore | Ask::TakeCore | Ask::GiveCore) => {
                    if let Some(granted) = self.share(&ask, &mut held)? {
                        child.send(&Answer::Number(granted.into()))?;
                    }
                }
                Ask::Done(json) => {
                    let outcome = serde_json::from_slice(json).map_err(|_| Broken::Nonsense)?;
                    if let Outcome::Made(_) = outcome {
                        world.finish()?;
                    }
                    return Ok(outcome);
                }
            }
            child.watch.check()?;
        }
    }

    /// Gives the child cores and takes them back; what it holds at its end comes back by itself. Gives the answer, if
    /// there is one.
    fn share(&self, ask: &Ask<'_>, held: &mut Vec<Core>) -> Result<Option<bool>, Broken> {
        match ask {
            // One it may have at any rate, so that it can't take those of others.
            Ask::OccupyCore if held.is_empty() => {
                held.push(self.cores.occupy());
                Ok(None)
            }
            Ask::TakeCore => {
                let core = if held.len() < CORES { self.cores.try_take() } else { None };
                let granted = core.is_some();
                held.extend(core);
                Ok(Some(granted))
            }
            Ask::GiveCore if !held.is_empty() => {
                held.pop();
                Ok(None)
            }
            _ => Err(Broken::Nonsense),
        }
    }
}

impl Transcoder for Sandboxed {
    fn glance(&self, head: &[u8]) -> Option<TranscodeError> {
        self.glance.and_then(|glance| glance(head))
    }

    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        match self.run(Task::Probe, World::new(source, None, None))? {
            Outcome::Probed(info) => Ok(bounded(info)),
            _ => Err(nonsense()),
        }
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        match self.run(Task::Transcode(Box::new(options.clone())), World::new(source, Some(sink), Some(progress)))? {
            Outcome::Made(made) => plausible(made).ok_or_else(nonsense),
            _ => Err(nonsense()),
        }
    }
}

fn nonsense() -> TranscodeError {
    TranscodeError::Crashed { detail: "its answer makes no sense".to_owned() }
}

#[cfg(target_os = "linux")]
fn this_program() -> Result<PathBuf, SandboxError> {
    // Also after another program took its place on the disk: a new version would speak another language.
    Ok(PathBuf::from("/proc/self/exe"))
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> Result<PathBuf, SandboxError> {
    std::env::current_exe().map_err(SandboxError::Start)
}

/// What stops a conversation.
enum Stop {
    /// The child did.
    Broken(Broken),
    /// Our own source, sink or caller did.
    Ours(TranscodeError),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

type ProgressFn<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// What a child is given of the world.
struct World<'a> {
    source: &'a mut dyn Source,
    sink: Option<&'a mut dyn Sink>,
    progress: Option<ProgressFn<'a>>,
    last: Progress,
    block: Vec<u8>,
    source_at: Option<u64>,
    sink_at: u64,
    /// How much the sink holds.
    written: u64,
}

impl<'a> World<'a> {
    fn new(source: &'a mut dyn Source, sink: Option<&'a mut dyn Sink>, progress: Option<ProgressFn<'a>>) -> Self {
        let last = Progress { position: 0.0, duration: None };
        Self { source, sink, progress, last, block: Vec::new(), source_at: None, sink_at: 0, written: 0 }
    }

    fn read(&mut self, at: u64, len: u32) -> Result<&[u8], Stop> {
        let failed = |err| Stop::Ours(TranscodeError::Source(err));
        self.block.resize(usize::try_from(len).unwrap_or(BLOCK).min(BLOCK), 0);
        if self.source_at != Some(at) {
            self.source_at = None;
            self.source.seek(SeekFrom::Start(at)).map_err(failed)?;
        }
        let n = loop {
            match self.source.read(&mut self.block) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(failed)?,
            }
        };
        self.source_at = at.checked_add(n as u64);
        Ok(&self.block[..n])
    }

    fn length(&mut self) -> Result<u64, Stop> {
        let length = self.source.seek(SeekFrom::End(0)).map_err(|err| Stop::Ours(TranscodeError::Source(err)))?;
        self.source_at = Some(length);
        Ok(length)
    }

    /// Writes within the sink or at its end, up to a limit.
    fn write(&mut self, at: u64, bytes: &[u8], limit: u64) -> Result<(), Stop> {
        let Some(sink) = &mut self.sink else { return Err(Broken::Nonsense.into()) };
        let end = at.checked_add(bytes.len() as u64).ok_or(Broken::Nonsense)?;
        if at > self.written {
            return Err(Broken::Nonsense.into());
        }
        if end > limit {
            return Err(Broken::Exceeded(Limit::Output).into());
        }
        let failed = |err| Stop::Ours(TranscodeError::Sink(err));
        if self.sink_at != at {
            sink.seek(SeekFrom::Start(at)).map_err(failed)?;
        }
        sink.write_all(bytes).map_err(failed)?;
        self.sink_at = end;
        self.written = self.written.max(end);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Stop> {
        match &mut self.sink {
            Some(sink) => sink.flush().map_err(|err| Stop::Ours(TranscodeError::Sink(err))),
            None => Ok(()),
        }
    }

    /// Asks the caller whether to go on.
    fn go_on(&mut self) -> Result<(), Stop> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        if progress(self.last).is_break() { Err(Stop::Ours(TranscodeError::Cancelled)) } else { Ok(()) }
    }
}
