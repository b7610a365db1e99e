//! The jobs in the file.

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::job::{Job, JobError, JobId, JobStore, ListQuery, Status};
use microserve_core::pool::PoolState;
use microserve_core::quota::Usage;
use tracing::error;

use crate::error::Failure;
use crate::{Rings, Sqlite, rows};

/// Jobs in a SQLite file.
#[derive(Clone)]
pub struct SqliteJobs {
    file: Sqlite,
}

const INSERT: &str = "INSERT INTO jobs (id, version, owner, status, created_at, due_at, body, bytes, seconds)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
const GET: &str = "SELECT version, body FROM jobs WHERE id = ?1";
const GET_MANY: &str = "SELECT version, body FROM jobs WHERE id IN (SELECT value FROM json_each(?1))";
const UPDATE: &str =
    "UPDATE jobs SET version = ?2 + 1, owner = ?3, status = ?4, created_at = ?5, due_at = ?6, body = ?7,
        bytes = ?8, seconds = ?9
    WHERE id = ?1 AND version = ?2";
const REMOVE: &str = "DELETE FROM jobs WHERE id = ?1 AND version = ?2";
const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)";
const LIST: &str = "SELECT version, body FROM jobs
    WHERE owner = ?1 AND (created_at, id) < (?2, ?3) AND status <> 'deleted' AND (?4 IS NULL OR status = ?4)
    ORDER BY created_at DESC, id DESC LIMIT ?5";
const LIST_ALL: &str = "SELECT version, body FROM jobs
    WHERE (created_at, id) < (?1, ?2) AND status <> 'deleted' AND (?3 IS NULL OR status = ?3)
    ORDER BY created_at DESC, id DESC LIMIT ?4";
const USAGE: &str =
    "SELECT status, COUNT(*), SUM(bytes > 0), SUM(bytes), TOTAL(seconds) FILTER (WHERE created_at >= ?2)
    FROM jobs WHERE owner = ?1 GROUP BY status";
const QUEUED_BEFORE: &str = "SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND created_at < ?1";
const DUE: &str = "SELECT version, body FROM jobs WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2";

type Row = (i64, String);

impl SqliteJobs {
    pub(crate) fn new(file: Sqlite) -> Self {
        Self { file }
    }

    /// Writes the job's row by `sql`, if the row is as `sql` wants it.
    async fn write(&self, sql: &'static str, job: &Job) -> Result<(), JobError> {
        let body = serde_json::to_string(job).map_err(|err| JobError::Internal(err.into()))?;
        let version = version_column(job)?;
        let (id, owner, status) = (job.id.to_string(), job.owner.to_string(), job.status().as_str());
        let (created_at, due_at) = (job.created_at.as_millisecond(), job.due_at.map(Timestamp::as_millisecond));
        let (bytes, seconds) = (i64::try_from(job.bytes()).unwrap_or(i64::MAX), job.seconds());
        let written = self.file.writer.run(Rings::No, move |conn| {
            Box::pin(async move {
                let query = sqlx::query(sql).bind(id).bind(version).bind(owner).bind(status);
                let query = query.bind(created_at).bind(due_at).bind(body).bind(bytes).bind(seconds);
                Ok(query.execute(conn).await?.rows_affected())
            })
        });
        if written.await? == 1 { Ok(()) } else { Err(JobError::Conflict) }
    }
}

#[async_trait]
impl JobStore for SqliteJobs {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        self.write(INSERT, job).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        let row = sqlx::query_as(GET).bind(id.to_string()).fetch_optional(&self.file.readers);
        row.await.map_err(Failure::from)?.map(job).transpose()
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        // One parameter, however many there are: SQLite prepares the statement once.
        let ids = serde_json::to_string(ids).map_err(|err| JobError::Internal(err.into()))?;
        let found = sqlx::query_as(GET_MANY).bind(ids).fetch_all(&self.file.readers);
        Ok(readable(found.await.map_err(Failure::from)?))
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        self.write(UPDATE, &job).await?;
        Ok(Job { version: job.version + 1, ..job })
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        let (id, version) = (job.id.to_string(), version_column(job)?);
        let stale = self.file.writer.run(Rings::No, move |conn| {
            Box::pin(async move {
                let removed = sqlx::query(REMOVE).bind(&id).bind(version).execute(&mut *conn).await?.rows_affected();
                Ok(removed == 0 && sqlx::query_scalar(IS_THERE).bind(&id).fetch_one(conn).await?)
            })
        });
        if stale.await? { Err(JobError::Conflict) } else { Ok(()) }
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        // Without a cursor the list starts behind the end of time.
        let (created_at, id) = match query.after {
            Some((created_at, id)) => (created_at.as_millisecond(), id.to_string()),
            None => (i64::MAX, String::new()),
        };
        let page = match query.owner {
            Some(owner) => sqlx::query_as(LIST).bind(owner.to_string()),
            None => sqlx::query_as(LIST_ALL),
        };
        let page =
            page.bind(created_at).bind(id).bind(query.status.map(|status| status.as_str())).bind(rows(query.limit));
        Ok(readable(page.fetch_all(&self.file.readers).await.map_err(Failure::from)?))
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        let page = sqlx::query_as(DUE).bind(before.as_millisecond()).bind(rows(limit)).fetch_all(&self.file.readers);
        Ok(readable(page.await.map_err(Failure::from)?))
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        let rows: sqlx::Result<Vec<(String, u64, u64, u64, f64)>> = sqlx::query_as(USAGE)
            .bind(owner.to_string())
            .bind(since.as_millisecond())
            .fetch_all(&self.file.readers)
            .await;
        let mut usage = Usage::default();
        for (status, jobs, with_files, bytes, seconds) in rows.map_err(Failure::from)? {
            let status = status.parse::<Status>().map_err(|err| JobError::Internal(err.into()))?;
            usage.add(status, jobs, with_files, bytes, seconds);
        }
        Ok(usage)
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        let count = sqlx::query_scalar(QUEUED_BEFORE).bind(moment.as_millisecond()).fetch_one(&self.file.readers);
        Ok(count.await.map_err(Failure::from)?)
    }

    fn pool(&self) -> Option<PoolState> {
        Some(self.file.pool())
    }

    async fn ping(&self) -> Result<(), JobError> {
        Ok(self.file.ping().await?)
    }
}

fn version_column(job: &Job) -> Result<i64, JobError> {
    i64::try_from(job.version).map_err(|err| JobError::Internal(err.into()))
}

/// The column's version is the one that was compared and swapped; the body was written with the one before.
fn job((version, body): Row) -> Result<Job, JobError> {
    let mut job: Job = serde_json::from_str(&body).map_err(|err| JobError::Internal(err.into()))?;
    job.version = u64::try_from(version).map_err(|err| JobError::Internal(err.into()))?;
    Ok(job)
}

/// The jobs of a list that can be read. One that can't (from a newer microserve, say) must not hide the others, nor
/// stop the relay.
fn readable(rows: Vec<Row>) -> Vec<Job> {
    let report = |outcome: Result<Job, JobError>| {
        outcome
            .inspect_err(|err| error!(error = err as &dyn std::error::Error, "left out a job that can't be read"))
            .ok()
    };
    rows.into_iter().map(job).filter_map(report).collect()
}

#[cfg(test)]
mod tests {
    use microserve_core::job::Policy;
    use microserve_core::transcode::Options;

    use super::*;

    #[tokio::test]
    async fn hot_queries_use_an_index() {
        crate::queue::tests::assert_indexed(&[GET, LIST, LIST_ALL, QUEUED_BEFORE, DUE, UPDATE, REMOVE]).await;
    }

    /// `json_each` is gone through, and the few statuses are grouped; `jobs` is not gone through.
    #[tokio::test]
    async fn many_are_looked_up_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let file = Sqlite::open(folder.path().join("db")).await.unwrap();
        for sql in [GET_MANY, USAGE] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&file.readers).await.unwrap();
            let of_jobs: Vec<_> = plan.iter().map(|step| &step.3).filter(|step| step.contains(" jobs ")).collect();
            assert!(!of_jobs.is_empty() && of_jobs.iter().all(|step| step.starts_with("SEARCH")), "{plan:?}");
        }
    }

    #[tokio::test]
    async fn an_unreadable_job_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = Sqlite::open(folder.path().join("db")).await.unwrap();
        let jobs = file.jobs();
        let owner = AccountId::random();
        let [good, bad] = ["good.mp4", "bad.mp4"].map(|name| {
            let email = "anna@example.com".parse().unwrap();
            Job::new(owner, email, name.to_owned(), Options::default(), file.clock.now(), &Policy::default())
        });
        jobs.insert(&good).await.unwrap();
        jobs.insert(&bad).await.unwrap();
        let id = bad.id.to_string();
        let spoil = file.writer.run(Rings::No, move |conn| {
            Box::pin(async move {
                sqlx::query("UPDATE jobs SET body = '{\"is\":\"new\"}' WHERE id = ?1").bind(id).execute(conn).await
            })
        });
        spoil.await.unwrap();
        assert!(matches!(jobs.get(bad.id).await, Err(JobError::Internal(_))));
        let query = ListQuery { owner: Some(owner), status: None, after: None, limit: 9 };
        assert_eq!(jobs.list(&query).await.unwrap(), std::slice::from_ref(&good));
        assert_eq!(jobs.get_many(&[bad.id, good.id]).await.unwrap(), std::slice::from_ref(&good));
        assert_eq!(jobs.due(Timestamp::MAX, 9).await.unwrap(), [good]);
    }
}
