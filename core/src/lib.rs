//! The heart of microserve: uploaded videos become MP3s.
//!
//! # Map
//!
//! A **port** is a trait for something outside, with its types and its error; an adapter implements it:
//! [`account`] · [`blob`] · [`job`] · [`queue`] (and its [`dead_letters`]) · [`transcode`] · [`mail`].
//!
//! A **use-case** is what the system does with the ports, each in a file: [`login`], [`upload`], [`convert`],
//! [`notify`], [`download`], [`relay`]. They never call each other: they meet in the [`job::JobStore`] and on two
//! queues, `video` and `mp3`. [`worker`] runs `convert` and `notify` on a queue's deliveries; [`watch`] lets people follow
//! their jobs.
//!
//! Around them: `adopt` (videos and MP3s of services that know nothing of jobs), [`bell`], [`events`] (the JSON on the
//! queues), [`failure`] (what jobs fail of), [`password`], [`source`] (a blob to seek in), [`retry`], [`clock`], [`shutdown`], [`open`] (URLs that may hold
//! secrets), [`inspect`] (facts about an installation), [`trace`] (one id from the upload to the mail), [`memory`] (reference adapters) and, with the feature
//! `conformance`, the suites that every adapter must pass.
//!
//! # Invariants
//!
//! 1. A blob is visible only as a whole, and never changes. *(suite `blob_store`)*
//! 2. `publish` returns after the broker has stored the message. *(suite `queue`)*
//! 3. A delivery is settled only after its effects are durable. *(`tests/crash.rs`)*
//! 4. Every handler may run twice, or twice at once: the job's version and epoch decide. *(`tests/model.rs`)*
//! 5. An attempt is counted before its work. *(`tests/state_machine.rs`)*
//! 6. The job's row is the truth, a message is only a doorbell: whatever is silent for too long has a `due_at`, and the
//!    relay rings again. *(`tests/state_machine.rs`, `tests/crash.rs`)*
//! 7. No accepted upload is lost; at most one MP3 is committed for each job; its mail goes out at least once.
//!    *(`tests/crash.rs`, `tests/model.rs`)*
//! 8. Nothing secret or personal is in logs or `Debug`. *(`account::tests`, `open::tests`)*
//!
//! # A tour
//!
//! ```
//! use std::sync::Arc;
//! use microserve_core::account::AccountId;
//! use microserve_core::convert::Convert;
//! use microserve_core::download::Download;
//! use microserve_core::job::{JobStore, Policy};
//! use microserve_core::memory::{FakeTranscoder, MemoryBlobs, MemoryJobs, MemoryQueue};
//! use microserve_core::queue::QueueName;
//! use microserve_core::quota::Quota;
//! use microserve_core::transcode::Options;
//! use microserve_core::upload::{Incoming, Upload};
//! use microserve_core::worker::Worker;
//! use microserve_core::{Shutdown, SystemClock};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let (jobs, queue) = (Arc::new(MemoryJobs::default()), Arc::new(MemoryQueue::default()));
//! let (videos, mp3s) = (Arc::new(MemoryBlobs::default()), Arc::new(MemoryBlobs::default()));
//! let (clock, policy) = (Arc::new(SystemClock), Policy::default());
//!
//! // Somebody uploads (a second of silence: the fake transcoder understands WAV).
//! let mut wav = b"RIFF\xac\x58\x01\x00WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data\x88\x58\x01\0".to_vec();
//! wav.resize(44 + 88_200, 0);
//! let upload = Upload {
//!     jobs: jobs.clone(), videos: videos.clone(), queue: queue.clone(), preflight: None,
//!     clock: clock.clone(), policy, max_bytes: 1 << 30, quota: Quota::default(),
//! };
//! let anna = AccountId::random();
//! let job = upload.upload(Incoming {
//!     owner: anna,
//!     email: "anna@example.com".parse()?,
//!     filename: "holiday.wav".to_owned(),
//!     content_type: "audio/wav".to_owned(),
//!     options: Options::default(),
//!     key: None,
//!     trace: None,
//!     body: Box::pin(futures_util::stream::iter([Ok(wav.into())])),
//! }).await?;
//!
//! // A worker converts.
//! let convert = Convert {
//!     jobs: jobs.clone(), videos, mp3s: mp3s.clone(), queue: queue.clone(),
//!     transcoder: Arc::new(FakeTranscoder), clock, policy,
//!     quota: Quota::default(), work_dir: std::env::temp_dir(),
//! };
//! let worker = Worker {
//!     queue, name: QueueName::VIDEO, parallel: 1,
//!     extend_every: std::time::Duration::from_secs(15), handler: Arc::new(convert),
//! };
//! let shutdown = Shutdown::new();
//! let stopping = shutdown.clone();
//! shutdown.spawn(async move { worker.run(&stopping).await });
//!
//! // The owner downloads.
//! let done = loop {
//!     let job = jobs.get(job.id).await?.ok_or("the job is gone")?;
//!     if job.status().is_final() { break job; }
//!     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
//! };
//! let download = Download { jobs, mp3s };
//! let fid = done.mp3().ok_or("no mp3")?;
//! let mp3 = download.open(&download.find(anna, fid).await?, None).await?;
//! assert_eq!(mp3.info.meta.filename, "holiday.mp3");
//! assert!(shutdown.drain(std::time::Duration::from_secs(5)).await);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).map_err(|err| err.to_string()).unwrap();
//! # Ok::<_, std::io::Error>(())
//! ```

pub mod account;
mod adopt;
pub mod api_key;
pub mod bell;
pub mod blob;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod convert;
pub mod dead_letters;
pub mod download;
pub mod events;
pub mod expect;
pub mod failure;
mod id;
pub mod idempotency;
pub mod inspect;
pub mod job;
pub mod link;
pub mod login;
pub mod mail;
pub mod memory;
pub mod notify;
pub mod open;
pub mod password;
pub mod pool;
pub mod queue;
pub mod quota;
pub mod relay;
pub mod retry;
pub mod shutdown;
pub mod source;
pub mod throttle;
pub mod trace;
pub mod transcode;
pub mod upload;
pub mod watch;
pub mod worker;

pub use clock::{Clock, SystemClock, TokioClock};
pub use id::ParseIdError;
pub use retry::{Backoff, BoxError, Retryable};
pub use shutdown::Shutdown;
