//! What is particular to a file: it is reopened, shared and found in odd states.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use microserve_core::account::AccountId;
use microserve_core::job::{Job, JobError, JobStore, Policy};
use microserve_core::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Settlement};
use microserve_core::transcode::Options;
use microserve_core::{Clock, SystemClock};
use microserve_sqlite::{OpenError, Sqlite};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

fn fresh() -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (folder.path().join("microserve.db"), folder)
}

fn job() -> Job {
    let email = "anna@example.com".parse().unwrap();
    Job::new(AccountId::random(), email, "a.mp4".into(), Options::default(), SystemClock.now(), &Policy::default())
}

async fn publish(file: &Sqlite, id: &str) {
    file.queue().publish(&QueueName::VIDEO, Message::new(id, "{}")).await.unwrap();
}

async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(SOON, consumer.next()).await.expect("a message comes").unwrap()
}

async fn sql(path: &Path, sql: &'static str) {
    let mut conn = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

#[tokio::test]
async fn what_was_stored_survives_reopening() {
    let (path, _folder) = fresh();
    let job = job();
    {
        let file = Sqlite::open(&path).await.unwrap();
        file.jobs().insert(&job).await.unwrap();
        publish(&file, "1").await;
    }
    let file = Sqlite::open(&path).await.unwrap();
    assert_eq!(file.jobs().get(job.id).await.unwrap(), Some(job));
    let mut consumer = file.queue().consume(&QueueName::VIDEO, 1).await.unwrap();
    assert_eq!(next(&mut *consumer).await.message, Message::new("1", "{}"));
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let (path, _folder) = fresh();
    let (ours, theirs) = (Sqlite::open(&path).await.unwrap(), Sqlite::open(&path).await.unwrap());
    let job = job();
    ours.jobs().insert(&job).await.unwrap();
    let updated = theirs.jobs().update(job.clone()).await.unwrap();
    assert!(matches!(ours.jobs().update(job).await, Err(JobError::Conflict)), "the other process was first");
    assert_eq!(ours.jobs().get(updated.id).await.unwrap(), Some(updated));

    let mut consumer = theirs.queue().consume(&QueueName::VIDEO, 1).await.unwrap();
    let began = Instant::now();
    let (delivery, ()) = tokio::join!(next(&mut *consumer), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        publish(&ours, "1").await;
    });
    assert!(began.elapsed() < Duration::from_secs(1), "a message of another process comes soon");
    delivery.receipt.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test]
async fn processes_that_write_at_once_wait_for_each_other() {
    let (path, _folder) = fresh();
    // All of them find an empty file.
    let (a, b, c) = tokio::join!(Sqlite::open(&path), Sqlite::open(&path), Sqlite::open(&path));
    let files = [a.unwrap(), b.unwrap(), c.unwrap()];
    let writers = files.iter().map(|file| async move {
        for _ in 0..20 {
            file.jobs().insert(&job()).await.unwrap();
            publish(file, "x").await;
        }
    });
    tokio::time::timeout(SOON, futures_util::future::join_all(writers)).await.unwrap();
    let due = files[0].jobs().due(jiff::Timestamp::MAX, 1000).await.unwrap();
    assert_eq!(due.len(), 60, "every job is there");
}

#[tokio::test]
async fn a_silent_consumer_loses_its_lease() {
    let (path, _folder) = fresh();
    let file = Sqlite::open(&path).await.unwrap();
    let queue = file.queue().with_lease(Duration::from_millis(100));
    publish(&file, "1").await;
    let mut frozen = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let held = next(&mut *frozen).await;
    let mut another = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let again = next(&mut *another).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    assert!(matches!(held.receipt.extend().await, Err(QueueError::Stale)));
    assert!(matches!(held.receipt.settle(Settlement::Ack).await, Err(QueueError::Stale)));
    again.receipt.settle(Settlement::Ack).await.unwrap();
}

#[test]
fn a_delivery_comes_back_when_its_runtime_dies() {
    let (path, _folder) = fresh();
    let dying = tokio::runtime::Runtime::new().unwrap();
    let delivery = dying.block_on(async {
        let file = Sqlite::open(&path).await.unwrap();
        publish(&file, "1").await;
        let mut consumer = file.queue().consume(&QueueName::VIDEO, 1).await.unwrap();
        next(&mut *consumer).await
    });
    dying.spawn(async move {
        std::future::pending::<()>().await;
        drop(delivery);
    });
    drop(dying);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let file = Sqlite::open(&path).await.unwrap();
        let mut consumer = file.queue().consume(&QueueName::VIDEO, 1).await.unwrap();
        assert_eq!(next(&mut *consumer).await.attempt, 2, "it comes long before its lease of a minute has run out");
    });
}

#[tokio::test]
async fn messages_come_in_the_order_they_were_published() {
    let (path, _folder) = fresh();
    let file = Sqlite::open(&path).await.unwrap();
    for n in 0..20 {
        publish(&file, &n.to_string()).await;
    }
    let mut consumer = file.queue().consume(&QueueName::VIDEO, 1).await.unwrap();
    for n in 0..20 {
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.message.id, n.to_string());
        delivery.receipt.settle(Settlement::Ack).await.unwrap();
    }
}

#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    let (path, folder) = fresh();
    let file = Sqlite::open(&path).await.unwrap();
    publish(&file, "1").await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let (path, folder) = fresh();
    std::fs::write(&path, "").unwrap();
    sql(&path, "CREATE TABLE recipes (name TEXT)").await;
    assert!(matches!(Sqlite::open(&path).await, Err(OpenError::Foreign { .. })));

    let newer = folder.path().join("newer.db");
    drop(Sqlite::open(&newer).await.unwrap());
    sql(&newer, "PRAGMA user_version = 99").await;
    assert!(matches!(Sqlite::open(&newer).await, Err(OpenError::Newer { version: 99, .. })));

    let text = folder.path().join("letter.txt");
    std::fs::write(&text, "Dear Anna, ".repeat(1000)).unwrap();
    assert!(matches!(Sqlite::open(&text).await, Err(OpenError::File { .. })));
    assert!(matches!(Sqlite::open(folder.path().join("no/such/folder.db")).await, Err(OpenError::File { .. })));
}

#[tokio::test]
async fn a_path_is_only_ever_a_path() {
    let (_, folder) = fresh();
    for name in [":memory:", "file:x?mode=memory", "with space & ümlaut.db"] {
        let path = folder.path().join(name);
        let file = Sqlite::open(&path).await.unwrap();
        publish(&file, "1").await;
        assert!(std::fs::metadata(&path).unwrap().is_file(), "{name}");
    }
}
