//! The collections of a GridFS, and what is asked of them.

use std::sync::Arc;

use bytes::Bytes;
use microserve_core::blob::Fid;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, RawDocumentBuf, doc, rawdoc};
use tokio::sync::Semaphore;

use crate::error::{Failure, PATIENCE, persist, within};
use crate::file::{File, object_id};
use crate::mongo::{Mongo, make_index};

/// The collections of a GridFS, and drafts beside them.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) files: Collection<Document>,
    chunks: Collection<RawDocumentBuf>,
    pub(crate) drafts: Collection<Document>,
    pub(crate) writing: Arc<Semaphore>,
    pub(crate) read_ahead: Arc<Semaphore>,
}

impl Bucket {
    /// Makes the indexes that drivers of GridFS count on. A second chunk of the same number must be refused, so that
    /// writing one again after a lost answer writes it once.
    pub(crate) async fn open(mongo: &Mongo, database: &str) -> Result<Self, Failure> {
        let database = mongo.database(database);
        let bucket = Self {
            files: database.collection("fs.files"),
            chunks: database.collection("fs.chunks"),
            drafts: database.collection("fs.drafts"),
            writing: Arc::clone(&mongo.writing),
            read_ahead: Arc::clone(&mongo.read_ahead),
        };
        make_index(&bucket.files, doc! { "filename": 1, "uploadDate": 1 }, false).await?;
        match make_index(&bucket.chunks, doc! { "files_id": 1, "n": 1 }, true).await {
            // Some drivers make it like this.
            Err(failure) if failure.is_other_index() => bucket.make_unique().await?,
            outcome => outcome?,
        }
        Ok(bucket)
    }

    /// Makes the index of the chunks unique (MongoDB 6.0 and later).
    async fn make_unique(&self) -> Result<(), Failure> {
        let (database, chunks) = (self.chunks.client().database(&self.chunks.namespace().db), self.chunks.name());
        for step in ["prepareUnique", "unique"] {
            let index = doc! { "keyPattern": { "files_id": 1, "n": 1 }, step: true };
            let made = within(4 * PATIENCE, database.run_command(doc! { "collMod": chunks, "index": index })).await;
            made.map_err(|failure| {
                failure.about("the index {files_id: 1, n: 1} of fs.chunks has to be unique: drop it")
            })?;
        }
        Ok(())
    }

    /// The file of a blob.
    pub(crate) async fn file(&self, fid: &Fid) -> Result<Option<File>, Failure> {
        let found = within(PATIENCE, self.files.find_one(doc! { "_id": object_id(fid) })).await?;
        found.as_ref().map(File::parse).transpose()
    }

    /// Adds a file: what its chunks wait for to be a blob. Says whether there is none of its id but this.
    pub(crate) async fn add_file(&self, file: &File) -> Result<bool, Failure> {
        let document = &file.document()?;
        let insert = |_| async move {
            match within(2 * PATIENCE, self.files.insert_one(document)).await {
                // It may be ours, from an attempt whose answer was lost.
                Err(failure) if failure.is_duplicate() => {
                    let found = self.file(&file.fid).await?;
                    found.map(|found| found == *file).ok_or_else(|| Failure::busy("a majority has yet to get the file"))
                }
                outcome => outcome.map(|_| true),
            }
        };
        persist(insert).await
    }

    /// Writes a chunk.
    pub(crate) async fn add_chunk(&self, fid: Fid, n: i32, data: Vec<u8>) -> Result<(), Failure> {
        let mut chunk = rawdoc! { "_id": ObjectId::new(), "files_id": object_id(&fid), "n": n };
        chunk.append(
            mongodb::bson::raw::cstr!("data"),
            mongodb::bson::RawBinaryRef { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: &data },
        );
        drop(data);
        let chunk = &chunk;
        let insert = |attempt| async move {
            match within(2 * PATIENCE, self.chunks.insert_one(chunk)).await {
                // An earlier attempt had done it, and its answer was lost.
                Err(failure) if failure.is_duplicate() && attempt > 1 => Ok(()),
                outcome => outcome.map(drop),
            }
        };
        persist(insert).await.map_err(|failure| failure.about(format!("writing chunk {n} of blob {fid}")))
    }

    /// Reads a chunk, which has to have so many bytes.
    pub(crate) async fn chunk(&self, fid: Fid, n: u64, length: u64) -> Result<Bytes, Failure> {
        let number = i64::try_from(n).map_err(|_| Failure::damage("a file has too many chunks"))?;
        let filter = doc! { "files_id": object_id(&fid), "n": number };
        let find = |_| within(2 * PATIENCE, self.chunks.find_one(filter.clone()));
        let Some(chunk) = persist(find).await? else {
            return Err(Failure::damage(format!("chunk {n} of blob {fid} is missing")));
        };
        let data =
            chunk.get_binary("data").map_err(|_| Failure::damage(format!("chunk {n} of blob {fid} has no data")))?;
        let (at, found) = (data.bytes.as_ptr().addr() - chunk.as_bytes().as_ptr().addr(), data.bytes.len());
        if found as u64 != length {
            return Err(Failure::damage(format!("chunk {n} of blob {fid} has {found} bytes instead of {length}")));
        }
        // The bytes stay where they were received.
        Ok(Bytes::from_owner(chunk.into_bytes()).slice(at..at + found))
    }

    /// Makes sure that a majority of the servers holds so many chunks of a blob.
    pub(crate) async fn verify_chunks(&self, fid: &Fid, expected: u64) -> Result<(), Failure> {
        let chunks = &doc! { "files_id": object_id(fid) };
        let count = |_| async move {
            match within(2 * PATIENCE, self.chunks.count_documents(chunks.clone())).await? {
                found if found == expected => Ok(()),
                found => Err(Failure::busy(format!("a majority has {found} of the {expected} chunks of blob {fid}"))),
            }
        };
        persist(count).await
    }

    /// Removes a blob's file, if there is one.
    pub(crate) async fn remove_file(&self, fid: &Fid) -> Result<(), Failure> {
        within(PATIENCE, self.files.delete_one(doc! { "_id": object_id(fid) })).await.map(drop)
    }

    /// Removes a blob's chunks. There may be many.
    pub(crate) async fn remove_chunks(&self, fid: &Fid) -> Result<(), Failure> {
        within(12 * PATIENCE, self.chunks.delete_many(doc! { "files_id": object_id(fid) })).await.map(drop)
    }
}
