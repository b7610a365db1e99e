//! Blobs and mail of microserve in folders.
//!
//! For one machine, with nothing to install: [`FileBlobs`] keeps videos and MP3s as files, [`FileMailer`] puts mails
//! into a folder instead of sending them. What was answered survives a power cut, and what was begun and not finished
//! is never seen. Files are readable to their owner only.
//!
//! ```
//! use futures_util::{StreamExt, TryStreamExt, stream};
//! use microserve_core::blob::{BlobMeta, BlobStore, Fid};
//! use microserve_core::job::JobId;
//! use microserve_filesystem::FileBlobs;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("blobs");
//! let blobs = FileBlobs::open(&dir).await?;
//!
//! let fid = Fid::random();
//! let meta = BlobMeta { job: JobId::random(), content_type: "audio/mpeg".into(), filename: "tone.mp3".into() };
//! let info = blobs.put(&fid, meta, stream::iter([Ok("la la la".into())]).boxed()).await?;
//! assert_eq!(info.size, 8);
//!
//! let blob = blobs.get(&fid, Some(3..100)).await?;
//! assert_eq!(blob.range, 3..8);
//! let pieces: Vec<bytes::Bytes> = blob.body.try_collect().await?;
//! assert_eq!(pieces.concat(), b"la la");
//! # Ok(())
//! # }
//! ```
//!
//! The folders need a file system with hard links and file locks: any of Linux's or macOS' own.

mod blob_file;
mod blobs;
mod draft;
mod folder;
mod inspect;
mod mailer;

pub use blobs::FileBlobs;
pub use inspect::inspect;
pub use mailer::FileMailer;
