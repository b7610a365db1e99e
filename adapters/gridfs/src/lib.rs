//! Blobs and jobs of microserve in MongoDB (6.0 and later), for servers that share them: blobs in GridFS, where any driver
//! finds them, and a document for each job.
//!
//! ```no_run
//! use microserve_core::blob::BlobStore;
//! use microserve_gridfs::Mongo;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mongo = Mongo::open(&"mongodb://a.example.com,b.example.com/?replicaSet=rs0".parse()?).await?;
//! let (jobs, videos, mp3s) = (mongo.jobs().await?, mongo.blobs("videos").await?, mongo.blobs("mp3s").await?);
//! let first = videos.list(None, 100).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The URL
//!
//! MongoDB's own (its manual, "Connection Strings"), with one option more: `prefix=NAME` is put before the name of every
//! database, so that several installations can share servers. Without it they are `videos` and `mp3s`, each with a
//! GridFS bucket `fs`, and `microserve` with the collection `jobs`. What the path names is, as everywhere, the database
//! that knows the user. Options for reading and writing (`w`, `journal`, `readConcernLevel`, `readPreference`) change
//! nothing: what is written is on the disks of a majority, and what is read comes from the primary.
//!
//! A standalone server will do. Of a replica set, an upload or a download that is under way outlives the election of a
//! new primary.
//!
//! # TLS
//!
//! Off the loopback address TLS is used, and the server's certificate verified for the name in the URL.
//! `?tlsCAFile=/path.pem` names an authority of one's own; `?tls=false` does without TLS, in a network where nobody else
//! listens.
//!
//! # Rights
//!
//! The role `readWrite` on each of the three databases.
//!
//! # What is where
//!
//! ```text
//! fs.files     a blob each: length, chunkSize, uploadDate, filename, metadata: { job_id, content_type, sha256 }
//! fs.chunks    its bytes, in pieces of 255 KiB: files_id, n, data
//! fs.drafts    fids whose chunks have no file, because they are being written or removed
//! ```
//!
//! Chunks are written first, several at a time, and the file last: from then on there is a blob. Who dies before that
//! leaves a draft, and whoever next goes through all blobs half an hour later removes it and its chunks.

mod blobs;
mod bucket;
mod draft;
mod error;
mod file;
mod inspect;
mod jobs;
mod mongo;
mod pool;
mod read;
mod settings;
mod write;

pub use blobs::GridFsBlobs;
pub use error::OpenError;
pub use jobs::MongoJobs;
pub use mongo::Mongo;
