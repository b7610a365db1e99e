//! The folders keep every promise of the ports they adapt.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use microserve_core::conformance::Fixture;
use microserve_filesystem::{FileBlobs, FileMailer};

microserve_core::blob_store_conformance!(|| async {
    let folder = tempfile::tempdir().unwrap();
    Fixture::new(FileBlobs::open(folder.path()).await.unwrap()).keep(folder)
});

microserve_core::mailer_conformance!(|| async {
    let folder = tempfile::tempdir().unwrap();
    Fixture::new(FileMailer::open(folder.path()).await.unwrap()).keep(folder)
});
