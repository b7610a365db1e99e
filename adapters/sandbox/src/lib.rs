//! Any transcoder of microserve in a locked-down child process, one for each job.
//!
//! A file from a stranger is read by a lot of code: demuxers, decoders, an encoder in C. Here that code runs where it can
//! do no harm. A job gets a child process, which has neither files nor network nor any system call but those that
//! computing takes, and so much memory and processor time; source and sink are its parent's, over a socket. When it hangs,
//! crashes or wants too much, that job fails with a code of its own, and nobody else notices.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use microserve_core::memory::FakeTranscoder;
//! use microserve_core::transcode::Transcoder;
//! use microserve_sandbox::{Mode, Sandboxed};
//!
//! fn main() -> ExitCode {
//!     // A job's child is this same program, started anew: it turns off here.
//!     if let Some(done) = microserve_sandbox::child(|_words, _cores| Ok(Box::new(FakeTranscoder))) {
//!         return done;
//!     }
//!     let mut video = std::io::Cursor::new(b"RIFF".to_vec());
//!     match Sandboxed::new("fake", Mode::Strict).map(|sandboxed| sandboxed.probe(&mut video)) {
//!         Ok(_) => ExitCode::SUCCESS,
//!         Err(_) => ExitCode::FAILURE,
//!     }
//! }
//! ```
//!
//! # What a child can't do
//!
//! | layer | since | what it takes |
//! |---|---|---|
//! | seccomp | Linux 3.17 | every system call but computing, memory without execution, threads, its socket and standard error |
//! | Landlock | Linux 5.13 | the file system; TCP from 6.7 on; signals and abstract sockets of others from 6.12 on |
//! | resource limits | | memory, processor time, files, core dumps, descriptors |
//! | the rest | | environment, inherited descriptors, capabilities, new privileges; it dies with its parent |
//!
//! [`Mode::Strict`] refuses to start unless all of them are there; [`Sandboxed::enforced`] tells what is not.
//!
//! # How a job ends
//!
//! | what happened | error | code |
//! |---|---|---|
//! | the transcoder is done or gives an error | the same as without a sandbox | |
//! | more memory, processor time or output than allowed | `LimitExceeded`, final | `memory_exceeded`, `cpu_exceeded`, `output_exceeded` |
//! | too long in all, or no progress | `LimitExceeded`, once more | `time_exceeded`, `stalled` |
//! | ended by a signal, a panic, a forbidden call; talked nonsense | `Crashed`, once more | `crashed` |
//! | source, sink or caller of the parent | theirs | |
//!
//! For programs that are not ours, such as ffmpeg, there is [`External`], with what of this they can bear.
//!
//! A child is believed nothing: sizes, positions and texts are checked, as those of any stranger.

mod child;
mod confine;
mod external;
mod outcome;
mod process;
mod remote;
mod sandboxed;
mod settings;
mod wire;

pub use child::child;
pub use confine::Enforced;
#[doc(hidden)]
pub use confine::Layers;
pub use external::{External, ExternalChild};
pub use sandboxed::{SandboxError, Sandboxed};
pub use settings::{Limits, Mode};
