//! Drafts: chunks that belong to no file, because it is being written, or being removed.
//!
//! Before the first chunk of a blob is written, and before its file is removed, its fid is noted in `fs.drafts`; the note
//! goes when there are no chunks without a file any more. So whoever dies half-way leaves a note of what is to be swept
//! away, and nobody has to look for it among all chunks. A note also keeps others off the fid: it belongs to the token in
//! it, for as long as it is touched now and then.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use microserve_core::blob::{BlobError, Fid};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::bucket::Bucket;
use crate::error::{Failure, PATIENCE, persist, within};
use crate::file::{File, object_id};

/// How often a writer touches its note.
pub(crate) const TOUCH: Duration = Duration::from_secs(60);
/// A writer that was silent for so long has died. By the servers' clock, so that writers' clocks need not agree.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(30 * 60);
/// How often a note of somebody else's is looked at until it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// So many are swept away in one go.
const SWEEP: i64 = 100;

/// The right to a fid that has no file, or is about to have none.
#[derive(Clone)]
struct Note {
    bucket: Bucket,
    fid: Fid,
    token: ObjectId,
}

impl Note {
    fn key(&self) -> Document {
        doc! { "_id": object_id(&self.fid), "token": self.token }
    }

    /// Makes the note, or finds that it is there. Waits for others who are at the same fid, for a while.
    async fn make(&self) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let touch = doc! { "$currentDate": { "seen_at": true } };
            match within(PATIENCE, self.bucket.drafts.update_one(self.key(), touch).upsert(true)).await {
                Err(failure) if failure.is_duplicate() && started.elapsed() < PATIENCE => {}
                Err(failure) if failure.is_duplicate() => {
                    return Err(Failure::busy(format!("blob {} is being written or removed", self.fid)));
                }
                outcome => return outcome.map(drop),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Says that its owner is alive; whether it is still the owner's.
    async fn touch(&self) -> Result<bool, Failure> {
        let touch = || self.bucket.drafts.update_one(self.key(), doc! { "$currentDate": { "seen_at": true } });
        Ok(persist(|_| within(2 * PATIENCE, touch())).await?.matched_count > 0)
    }

    /// Whether it is still the owner's.
    async fn is_there(&self) -> Result<bool, Failure> {
        let find = || self.bucket.drafts.find_one(self.key());
        Ok(persist(|_| within(2 * PATIENCE, find())).await?.is_some())
    }

    /// Ends the note; whether it was still the owner's. That is not waited for until it is durable: a note that comes back
    /// is one more for the sweep.
    async fn end(&self) -> Result<bool, Failure> {
        let soon = WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(false).build();
        let end = self.bucket.drafts.delete_one(self.key()).write_concern(soon);
        Ok(within(PATIENCE, end).await?.deleted_count > 0)
    }

    /// Removes the file, if there is one, the chunks, and the note. Makes the note again if it was lost: chunks may have
    /// been written since.
    async fn remove_all(&self) -> Result<(), Failure> {
        self.make().await?;
        self.bucket.remove_file(&self.fid).await?;
        self.bucket.remove_chunks(&self.fid).await?;
        self.end().await.map(drop)
    }
}

/// What happens to a draft that is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// The note goes: there is nothing else, or it is not the draft's.
    EndNote,
    /// File, chunks and note go.
    RemoveAll,
    /// All is done; or what is to be done is not known yet, and the sweep will know.
    Nothing,
}

/// A fid that nobody else writes or removes. What is in it goes when it is dropped.
pub(crate) struct Draft {
    note: Note,
    writes: JoinSet<Result<(), Failure>>,
    on_drop: OnDrop,
}

impl Draft {
    /// Waits for others who are at the same fid, for a while.
    pub(crate) async fn begin(bucket: &Bucket, fid: &Fid) -> Result<Self, Failure> {
        let note = Note { bucket: bucket.clone(), fid: *fid, token: ObjectId::new() };
        let draft = Self { note, writes: JoinSet::new(), on_drop: OnDrop::EndNote };
        draft.note.make().await?;
        Ok(draft)
    }

    /// A new blob's draft.
    pub(crate) async fn of_new(bucket: &Bucket, fid: &Fid) -> Result<Self, BlobError> {
        let mut draft = Self::begin(bucket, fid).await?;
        if bucket.file(fid).await?.is_some() {
            return Err(BlobError::AlreadyExists(*fid));
        }
        draft.on_drop = OnDrop::RemoveAll;
        Ok(draft)
    }

    /// Writes a chunk some time soon. Returns when there is room for another: at most `in_flight` are on their way.
    pub(crate) async fn write(&mut self, n: i32, data: Vec<u8>, in_flight: usize) -> Result<(), Failure> {
        while self.writes.len() >= in_flight {
            self.written().await?;
        }
        let (bucket, fid) = (self.note.bucket.clone(), self.note.fid);
        let turn = bucket.writing.clone().acquire_owned().await.map_err(|_| Failure::misuse("closed"))?;
        self.writes.spawn(async move {
            let written = bucket.add_chunk(fid, n, data).await;
            drop(turn);
            written
        });
        Ok(())
    }

    /// Waits for one of the chunks that are on their way; none if there are none.
    pub(crate) async fn written(&mut self) -> Result<Option<()>, Failure> {
        match self.writes.join_next().await {
            None => Ok(None),
            Some(Ok(written)) => written.map(Some),
            Some(Err(err)) => Err(Failure::misuse(format!("a task that writes has ended: {err}"))),
        }
    }

    /// Says that the writer is alive.
    pub(crate) async fn touch(&self) -> Result<(), Failure> {
        if self.note.touch().await? { Ok(()) } else { Err(self.lost()) }
    }

    fn lost(&self) -> Failure {
        Failure::busy(format!("the writer of blob {} was taken for dead", self.note.fid))
    }

    /// Makes a blob of it: from here on there is one.
    pub(crate) async fn publish(mut self, file: File) -> Result<(), BlobError> {
        while self.written().await?.is_some() {}
        if !self.note.is_there().await? {
            return Err(self.lost().into());
        }
        self.note.bucket.verify_chunks(&file.fid, file.size.div_ceil(file.chunk)).await?;
        // In a task, so that its outcome is known even if nobody waits for it any more.
        let (bucket, fid) = (self.note.bucket.clone(), file.fid);
        let (tell, told) = tokio::sync::oneshot::channel();
        self.writes.spawn(async move {
            let added = bucket.add_file(&file).await;
            let _nobody_waits = tell.send(added);
            Ok(())
        });
        match told.await.unwrap_or_else(|_| Err(Failure::misuse("a task that writes has ended"))) {
            Ok(true) => {}
            Ok(false) => {
                self.on_drop = OnDrop::Nothing;
                return Err(BlobError::AlreadyExists(fid));
            }
            Err(failure) if failure.may_pass() => {
                // It may yet arrive, and must then find its chunks.
                self.on_drop = OnDrop::Nothing;
                return Err(failure.about(format!("whether blob {fid} was written is not known")).into());
            }
            Err(failure) => return Err(failure.into()),
        }
        // A note that is gone was swept away, and the chunks with it: after a very long sleep just now. The file goes too.
        if matches!(self.note.end().await, Ok(false)) {
            return Err(self.lost().into());
        }
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }

    /// Removes the file, the chunks and the note.
    pub(crate) async fn remove(mut self) -> Result<(), Failure> {
        // What was begun is brought to its end.
        self.on_drop = OnDrop::RemoveAll;
        self.note.remove_all().await?;
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let (note, on_drop, mut writes) = (self.note.clone(), self.on_drop, std::mem::take(&mut self.writes));
        // Without a runtime there is no connection either, and the sweep sees to it.
        let (false, Ok(runtime)) = (on_drop == OnDrop::Nothing, tokio::runtime::Handle::try_current()) else { return };
        drop(runtime.spawn(async move {
            // A chunk that comes after its removal would stay for ever.
            while writes.join_next().await.is_some() {}
            let removed = match on_drop {
                OnDrop::RemoveAll => note.remove_all().await,
                OnDrop::EndNote => note.end().await.map(drop),
                OnDrop::Nothing => Ok(()),
            };
            if let Err(failure) = removed {
                warn!(blob.fid = %note.fid, ?failure, "a draft could not be removed: the next sweep does it");
            }
        }));
    }
}

/// Removes the drafts of writers that were silent for so long, by the servers' clock. Returns how many there were.
pub(crate) async fn sweep(bucket: &Bucket, silent: Duration) -> Result<usize, Failure> {
    let silent = i64::try_from(silent.as_millis()).unwrap_or(i64::MAX);
    let dead = doc! { "$expr": { "$lte": ["$seen_at", { "$subtract": ["$$NOW", silent] }] } };
    let found = async { bucket.drafts.find(dead).limit(SWEEP).await?.try_collect::<Vec<_>>().await };
    let mut swept = 0;
    for note in within(PATIENCE, found).await? {
        let Ok(id) = note.get_object_id("_id") else { continue };
        // One of those who sweep gets it; and its writer, should it wake up, finds that it has lost it.
        let mine = Note { bucket: bucket.clone(), fid: Fid::from_bytes(id.bytes()), token: ObjectId::new() };
        let take = doc! { "$set": { "token": mine.token }, "$currentDate": { "seen_at": true } };
        if within(PATIENCE, bucket.drafts.update_one(note, take)).await?.matched_count == 0 {
            continue;
        }
        // A blob whose writer died before it could end its note.
        if bucket.file(&mine.fid).await?.is_some() {
            mine.end().await?;
        } else {
            mine.remove_all().await?;
            swept += 1;
        }
    }
    if swept > 0 {
        info!(swept, "swept away {swept} blobs that were never finished or half removed");
    }
    Ok(swept)
}
