//! The file keeps every promise of the ports it adapts.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::time::Duration;

use microserve_core::conformance::Fixture;
use microserve_sqlite::Sqlite;
use tempfile::TempDir;

async fn fresh() -> (Sqlite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = Sqlite::open(folder.path().join("microserve.db")).await.unwrap();
    (file, folder)
}

microserve_core::auth_store_conformance!(|| async {
    let (file, folder) = super::fresh().await;
    Fixture::new(file.accounts()).keep(folder)
});

microserve_core::job_store_conformance!(|| async {
    let (file, folder) = super::fresh().await;
    Fixture::new(file.jobs()).keep(folder)
});

microserve_core::queue_conformance!(|| async {
    let (file, folder) = super::fresh().await;
    Fixture::new(file.queue().with_lease(Duration::from_secs(2))).keep(folder)
});

microserve_core::dead_letters_conformance!(|| async {
    let (file, folder) = super::fresh().await;
    Fixture::new(file.queue().with_lease(Duration::from_secs(2))).keep(folder)
});
