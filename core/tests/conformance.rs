//! The reference adapters keep the promises of their ports.

use microserve_core::conformance::Fixture;
use microserve_core::memory::{FakeTranscoder, MemoryAccounts, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};

microserve_core::blob_store_conformance!(|| async { Fixture::new(MemoryBlobs::default()) });
microserve_core::queue_conformance!(|| async { Fixture::new(MemoryQueue::default()) });
microserve_core::auth_store_conformance!(|| async { Fixture::new(MemoryAccounts::default()) });
microserve_core::job_store_conformance!(|| async { Fixture::new(MemoryJobs::default()) });
microserve_core::mailer_conformance!(|| async { Fixture::new(MemoryMailer::default()) });
microserve_core::transcoder_conformance!(|| async { Fixture::new(FakeTranscoder) });
