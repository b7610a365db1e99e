//! Jobs: a document each.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::job::{Job, JobError, JobId, JobStore, ListQuery, Status};
use microserve_core::pool::PoolState;
use microserve_core::quota::Usage;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Bson, DateTime, Document, doc};
use serde::Deserialize;
use tracing::error;

use crate::error::{Failure, PATIENCE, within};
use crate::mongo::{Mongo, make_index};
use crate::pool::Pool;

/// Jobs in the collection `jobs` of the database `microserve`.
///
/// ```text
/// { _id: ObjectId, version: 3, owner: "…", status: "queued", created_at: Date, due_at: Date or null, bytes: 81526, seconds: 12.5,
///   job: { … } }
/// ```
///
/// `job` is all of it; what stands beside it is for looking it up.
#[derive(Clone)]
pub struct MongoJobs {
    jobs: Collection<Document>,
    pool: Pool,
}

impl MongoJobs {
    pub(crate) async fn open(mongo: &Mongo) -> Result<Self, Failure> {
        let jobs = mongo.database("microserve").collection("jobs");
        make_index(&jobs, doc! { "owner": 1, "created_at": -1, "_id": -1, "status": 1 }, false).await?;
        make_index(&jobs, doc! { "created_at": -1, "_id": -1, "status": 1 }, false).await?;
        make_index(&jobs, doc! { "due_at": 1, "_id": 1 }, false).await?;
        make_index(&jobs, doc! { "status": 1, "created_at": -1, "_id": -1 }, false).await?;
        Ok(Self { jobs, pool: mongo.pool.clone() })
    }

    /// The first documents of a query, in its order.
    async fn page(&self, filter: Document, sort: Document, limit: usize) -> Result<Vec<Job>, Failure> {
        // MongoDB takes zero for no limit.
        let Some(limit) = i64::try_from(limit).ok().filter(|limit| *limit > 0) else { return Ok(Vec::new()) };
        // All in one answer, unless they are more than a message holds.
        let batch = u32::try_from(limit).unwrap_or(u32::MAX);
        let find = self.jobs.find(filter).sort(sort).limit(limit).batch_size(batch);
        let page = async { find.await?.try_collect::<Vec<_>>().await };
        Ok(within(2 * PATIENCE, page).await?.into_iter().filter_map(readable).collect())
    }
}

#[async_trait]
impl JobStore for MongoJobs {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        match within(PATIENCE, self.jobs.insert_one(document(job)?)).await {
            Err(failure) if failure.is_duplicate() => Err(JobError::Conflict),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        let found = within(PATIENCE, self.jobs.find_one(doc! { "_id": key(id) })).await?;
        Ok(found.map(job).transpose()?)
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        Ok(self.page(any_of(ids), doc! {}, ids.len()).await?)
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        let this = this_version(&job)?;
        let next = Job { version: job.version + 1, ..job };
        let replaced = within(PATIENCE, self.jobs.replace_one(this, document(&next)?)).await?;
        if replaced.matched_count == 0 { Err(JobError::Conflict) } else { Ok(next) }
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        let removed = within(PATIENCE, self.jobs.delete_one(this_version(job)?)).await?.deleted_count;
        let stale = removed == 0 && self.get(job.id).await?.is_some();
        if stale { Err(JobError::Conflict) } else { Ok(()) }
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        let (filter, sort) = listed(query);
        Ok(self.page(filter, sort, query.limit).await?)
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        let (filter, sort) = overdue(before);
        Ok(self.page(filter, sort, limit).await?)
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        let sum = async { self.jobs.aggregate(summed(owner, since)).await?.try_collect::<Vec<_>>().await };
        let mut usage = Usage::default();
        for row in within(2 * PATIENCE, sum).await? {
            let row: Row = bson::deserialize_from_document(row).map_err(Failure::from)?;
            usage.add(row.status, row.jobs, row.with_files, row.bytes, row.seconds);
        }
        Ok(usage)
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        Ok(within(PATIENCE, self.jobs.count_documents(waiting(moment))).await?)
    }

    fn pool(&self) -> Option<PoolState> {
        Some(self.pool.state())
    }

    async fn ping(&self) -> Result<(), JobError> {
        // Also when there are none.
        within(PATIENCE, self.jobs.find_one(doc! {}).projection(doc! { "_id": 1 })).await?;
        Ok(())
    }
}

fn listed(query: &ListQuery) -> (Document, Document) {
    let status = query
        .status
        .map_or_else(|| doc! { "$ne": "deleted" }, |status| doc! { "$eq": status.as_str(), "$ne": "deleted" });
    let mut filter = doc! { "status": status };
    if let Some(owner) = query.owner {
        filter.insert("owner", owner.to_string());
    }
    if let Some((created_at, id)) = query.after {
        let created_at = date(created_at);
        filter.insert("created_at", doc! { "$lte": created_at });
        filter
            .insert("$or", [doc! { "created_at": { "$lt": created_at } }, doc! { "_id": { "$lt": key(id) } }].to_vec());
    }
    (filter, doc! { "created_at": -1, "_id": -1 })
}

/// What an owner's jobs of one status come to.
#[derive(Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    status: Status,
    jobs: u64,
    with_files: u64,
    bytes: u64,
    seconds: f64,
}

fn summed(owner: AccountId, since: Timestamp) -> [Document; 2] {
    let if_ = |condition: Document, then: Bson| doc! { "$sum": { "$cond": [condition, then, 0] } };
    let group = doc! {
        "_id": "$status",
        "jobs": { "$sum": 1 },
        "with_files": if_(doc! { "$gt": ["$bytes", 0] }, Bson::Int32(1)),
        "bytes": { "$sum": "$bytes" },
        "seconds": if_(doc! { "$gte": ["$created_at", date(since)] }, Bson::from("$seconds")),
    };
    [doc! { "$match": { "owner": owner.to_string() } }, doc! { "$group": group }]
}

fn waiting(moment: Timestamp) -> Document {
    doc! { "status": "queued", "created_at": { "$lt": date(moment) } }
}

fn any_of(ids: &[JobId]) -> Document {
    doc! { "_id": { "$in": ids.iter().map(|id| Bson::from(key(*id))).collect::<Vec<_>>() } }
}

fn overdue(before: Timestamp) -> (Document, Document) {
    (doc! { "due_at": { "$lte": date(before) } }, doc! { "due_at": 1, "_id": 1 })
}

fn key(id: JobId) -> ObjectId {
    ObjectId::from_bytes(*id.as_bytes())
}

fn date(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.as_millisecond())
}

fn version(job: &Job) -> Result<i64, Failure> {
    i64::try_from(job.version).map_err(|_| Failure::misuse("a version is less than 2^63"))
}

fn this_version(job: &Job) -> Result<Document, Failure> {
    Ok(doc! { "_id": key(job.id), "version": version(job)? })
}

fn document(job: &Job) -> Result<Document, Failure> {
    Ok(doc! {
        "_id": key(job.id),
        "version": version(job)?,
        "owner": job.owner.to_string(),
        "status": job.status().as_str(),
        "created_at": date(job.created_at),
        "due_at": job.due_at.map(date),
        "bytes": i64::try_from(job.bytes()).unwrap_or(i64::MAX),
        "seconds": job.seconds(),
        "job": bson::serialize_to_bson(job)?,
    })
}

fn job(mut document: Document) -> Result<Job, Failure> {
    let job = document.remove("job").unwrap_or(Bson::Null);
    Ok(bson::deserialize_from_bson(job)?)
}

/// A job of a list, if it can be read. One that can't (from a newer microserve, say) must not hide the others, nor stop
/// the relay.
fn readable(document: Document) -> Option<Job> {
    job(document).inspect_err(|failure| error!(?failure, "left out a job that can't be read")).ok()
}

#[cfg(test)]
mod tests {
    use microserve_core::clock::{Clock, SystemClock};
    use microserve_core::job::Policy;
    use microserve_core::transcode::Options;
    use microserve_testkit::servers::mongodb::Server;

    use super::*;

    async fn jobs(server: &Server) -> MongoJobs {
        Mongo::open(&server.database().parse().unwrap()).await.unwrap().jobs().await.unwrap()
    }

    fn a_job(owner: AccountId) -> Job {
        let email = "anna@example.com".parse().unwrap();
        Job::new(owner, email, "holiday.mp4".to_owned(), Options::default(), SystemClock.now(), &Policy::default())
    }

    #[tokio::test]
    async fn hot_queries_use_an_index_and_sort_nothing() {
        let server = Server::start();
        let jobs = jobs(&server).await;
        let owner = AccountId::random();
        let after = Some((SystemClock.now(), JobId::random()));
        let lists = [(None, None), (None, after), (Some(Status::Done), None), (Some(Status::Failed), after)];
        let mut queries = vec![overdue(SystemClock.now()), (doc! { "_id": key(JobId::random()) }, doc! {})];
        queries.push((waiting(SystemClock.now()), doc! {}));
        queries.push((summed(owner, SystemClock.now())[0].get_document("$match").unwrap().clone(), doc! {}));
        queries.push((any_of(&[JobId::random(), JobId::random()]), doc! {}));
        for owner in [Some(owner), None] {
            queries.extend(lists.map(|(status, after)| listed(&ListQuery { owner, status, after, limit: 9 })));
        }
        for _ in 0..50 {
            jobs.insert(&a_job(AccountId::random())).await.unwrap();
        }
        for (filter, sort) in queries {
            let find = doc! { "find": "jobs", "filter": filter.clone(), "sort": sort, "limit": 9 };
            let explain = doc! { "explain": find, "verbosity": "executionStats" };
            let explained = server.run(&jobs.jobs.namespace().db, explain);
            let plan = explained.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap().to_string();
            assert!(plan.contains("IXSCAN") || plan.contains("IDHACK"), "{filter}\n{plan}");
            assert!(!plan.contains("COLLSCAN") && !plan.contains("\"SORT\""), "{filter}\n{plan}");
        }
    }

    #[tokio::test]
    async fn an_unreadable_job_hides_no_other() {
        let server = Server::start();
        let jobs = jobs(&server).await;
        let owner = AccountId::random();
        let [good, bad] = [a_job(owner), a_job(owner)];
        jobs.insert(&good).await.unwrap();
        jobs.insert(&bad).await.unwrap();
        let spoiled = doc! { "$set": { "job": { "is": "new" } } };
        jobs.jobs.update_one(doc! { "_id": key(bad.id) }, spoiled).await.unwrap();
        assert!(matches!(jobs.get(bad.id).await, Err(JobError::Internal(_))));
        let query = ListQuery { owner: Some(owner), status: None, after: None, limit: 9 };
        assert_eq!(jobs.list(&query).await.unwrap(), std::slice::from_ref(&good));
        assert_eq!(jobs.get_many(&[bad.id, good.id]).await.unwrap(), std::slice::from_ref(&good));
        assert_eq!(jobs.due(Timestamp::MAX, 9).await.unwrap(), [good]);
    }
}
