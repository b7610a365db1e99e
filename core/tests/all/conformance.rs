//! The reference adapters keep the promises of their ports.

use std::sync::Arc;

use microserve_core::conformance::Fixture;
use microserve_core::conformance::faulty::{Faulty, Script};
use microserve_core::memory::{FakeTranscoder, MemoryAccounts, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};

microserve_core::blob_store_conformance!(|| async { Fixture::new(MemoryBlobs::default()) });
microserve_core::queue_conformance!(|| async { Fixture::new(MemoryQueue::default()) });
microserve_core::dead_letters_conformance!(|| async { Fixture::new(MemoryQueue::default()) });
microserve_core::auth_store_conformance!(|| async { Fixture::new(MemoryAccounts::default()) });
microserve_core::job_store_conformance!(|| async { Fixture::new(MemoryJobs::default()) });
microserve_core::mailer_conformance!(|| async { Fixture::new(MemoryMailer::default()) });
microserve_core::transcoder_conformance!(|| async { Fixture::new(FakeTranscoder) });

/// As long as its script is empty, a faulty adapter is as good as the one inside.
mod without_faults {
    use super::*;

    fn faulty<P>(adapter: P) -> Fixture<Faulty<P>> {
        Fixture::new(Faulty::new(Arc::new(adapter), &Script::new()))
    }

    microserve_core::blob_store_conformance!(|| async { faulty(MemoryBlobs::default()) });
    microserve_core::queue_conformance!(|| async { faulty(MemoryQueue::default()) });
    microserve_core::dead_letters_conformance!(|| async { faulty(MemoryQueue::default()) });
    microserve_core::auth_store_conformance!(|| async { faulty(MemoryAccounts::default()) });
    microserve_core::job_store_conformance!(|| async { faulty(MemoryJobs::default()) });
    microserve_core::mailer_conformance!(|| async { faulty(MemoryMailer::default()) });
}
