//! The child: this program, started anew to do one job.
//!
//! It learns from its first argument that it is one, confines itself before it makes the transcoder, and has nothing of
//! the world but the socket to its parent.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use microserve_core::BoxError;
use microserve_core::transcode::{Cores, TranscodeError, Transcoder};

use crate::confine;
use crate::outcome::{Job, Outcome, Task, bounded};
use crate::remote::{Parent, RemoteCores, RemoteSink, RemoteSource};
use crate::wire::{Ask, MAX_FRAME};

/// What a child is called: its argument 0.
pub(crate) const NAME: &str = "microserve-sandbox-child";
/// Exit code of a child that nobody talks to.
const NO_PARENT: u8 = 2;

/// Whether this program would know a child of itself.
static KNOWS: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_known() -> bool {
    KNOWS.load(Ordering::Relaxed)
}

/// Whether this process was started as a child.
pub(crate) fn is_child() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// To be called first thing in `main` of every program that uses [`Sandboxed`](crate::Sandboxed): before it starts a
/// thread, reads its arguments, or opens anything.
///
/// In the program itself this gives `None` at once. In a child that a [`Sandboxed`](crate::Sandboxed) started it does
/// the child's job and gives the code to end with. `make` gets the words that the parent's
/// [`Sandboxed::new`](crate::Sandboxed::new) was given, and makes the transcoder that they stand for; by then there is no
/// file system any more. The cores are the parent's to give.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use microserve_core::memory::FakeTranscoder;
/// use microserve_sandbox::{Mode, Sandboxed};
///
/// fn main() -> ExitCode {
///     if let Some(done) = microserve_sandbox::child(|_words, _cores| Ok(Box::new(FakeTranscoder))) {
///         return done;
///     }
///     let transcoder = Sandboxed::new("fake", Mode::Strict);
///     // …
///     ExitCode::from(u8::from(transcoder.is_err()))
/// }
/// ```
#[must_use = "in a child, the process has to end with this"]
pub fn child(make: impl FnOnce(&str, Cores) -> Result<Box<dyn Transcoder>, BoxError>) -> Option<ExitCode> {
    KNOWS.store(true, Ordering::Relaxed);
    if !is_child() {
        return None;
    }
    let words = std::env::args_os().nth(1).and_then(|words| words.into_string().ok()).unwrap_or_default();
    Some(match serve(|cores| make(&words, cores)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::from(NO_PARENT),
    })
}

/// Does one job.
///
/// # Errors
/// When the parent has gone, or somebody else than a parent started this.
fn serve(make: impl FnOnce(Cores) -> Result<Box<dyn Transcoder>, BoxError>) -> io::Result<()> {
    confine::close_inherited();
    std::panic::set_hook(Box::new(|panic| {
        use io::Write;
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _nobody_listens = writeln!(io::stderr(), "panicked at {place}");
    }));
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    let descriptor = link.as_raw_fd();
    let parent = Arc::new(Parent::new(File::from(link)));
    let Job { task, limits, layers } = parent.job()?;
    let enforced = confine::confine(&limits, layers, descriptor);
    // A parent that died before it could take us along is not there to hear this.
    parent.tell(&Ask::Confined(&serde_json::to_vec(&enforced)?))?;
    let outcome = catch_unwind(AssertUnwindSafe(|| match task {
        Task::Nothing => Outcome::Nothing,
        task => match make(Cores::by(RemoteCores(Arc::clone(&parent)))) {
            Ok(transcoder) => work(&*transcoder, task, &parent),
            Err(err) => Outcome::NotMade(err.to_string()),
        },
    }));
    parent.tell(&Ask::Done(&encoded(&outcome.unwrap_or(Outcome::Panicked))?))
}

fn work(transcoder: &dyn Transcoder, task: Task, parent: &Arc<Parent>) -> Outcome {
    let mut source = RemoteSource::new(Arc::clone(parent));
    let outcome = match task {
        Task::Nothing => return Outcome::Nothing,
        Task::Probe => transcoder.probe(&mut source).map(|info| Outcome::Probed(bounded(info))),
        Task::Transcode(options) => {
            let mut sink = RemoteSink::new(Arc::clone(parent));
            let progress = &mut |progress| match parent.tell(&Ask::Progress(progress)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let made = transcoder.transcode(&mut source, &mut sink, &options, progress);
            // What lies in the buffer is a part of the MP3.
            let made = made.and_then(|made| sink.pass_on().map(|()| made).map_err(TranscodeError::Sink));
            made.map(|mut made| {
                made.source = bounded(made.source);
                Outcome::Made(made)
            })
        }
    };
    outcome.unwrap_or_else(|err| Outcome::Failed(err.into()))
}

fn encoded(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(outcome)?;
    if json.len() <= MAX_FRAME {
        return Ok(json);
    }
    Ok(serde_json::to_vec(&Outcome::NotMade("there is too much to say of this file".to_owned()))?)
}
