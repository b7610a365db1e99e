//! The document of a file in GridFS (MongoDB "GridFS Specification", files collection document), and what a blob is in it.

use jiff::Timestamp;
use microserve_core::blob::{BlobInfo, BlobMeta, Fid, Sha256};
use microserve_core::job::JobId;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::error::Failure;

/// Bytes in a chunk of ours. What other drivers write by default, so that a chunk's document stays below 256 KiB.
pub(crate) const CHUNK: u32 = 255 * 1024;

/// A file, ours or somebody else's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) fid: Fid,
    pub(crate) size: u64,
    /// Bytes in each chunk but the last.
    pub(crate) chunk: u64,
    pub(crate) created_at: Timestamp,
    /// Others don't say.
    pub(crate) sha256: Option<Sha256>,
    pub(crate) meta: BlobMeta,
}

pub(crate) fn object_id(fid: &Fid) -> ObjectId {
    ObjectId::from_bytes(*fid.as_bytes())
}

impl File {
    pub(crate) fn document(&self) -> Result<Document, Failure> {
        let length = i64::try_from(self.size).map_err(|_| Failure::misuse("a blob has less than 2^63 bytes"))?;
        let chunk = i32::try_from(self.chunk).map_err(|_| Failure::misuse("a chunk has less than 2^31 bytes"))?;
        Ok(doc! {
            "_id": object_id(&self.fid),
            "length": length,
            "chunkSize": chunk,
            "uploadDate": DateTime::from_millis(self.created_at.as_millisecond()),
            "filename": &self.meta.filename,
            "metadata": {
                "job_id": self.meta.job.to_string(),
                "filename": &self.meta.filename,
                "content_type": &self.meta.content_type,
                "sha256": self.sha256.map(|sha256| sha256.to_string()),
            },
        })
    }

    /// Reads what any driver may have written: numbers of any type, no name, other metadata or none.
    pub(crate) fn parse(document: &Document) -> Result<Self, Failure> {
        let damaged = |what: &str| Failure::damage(format!("a document of fs.files has no {what} that can be read"));
        let id = document.get_object_id("_id").map_err(|_| damaged("_id"))?;
        let fid = Fid::from_bytes(id.bytes());
        let number = |name| document.get(name).and_then(whole).ok_or_else(|| damaged(name));
        let date = document.get_datetime("uploadDate").map_err(|_| damaged("uploadDate"))?;
        let empty = Document::new();
        let metadata = document.get_document("metadata").unwrap_or(&empty);
        let text = |from: &Document, name: &str| from.get_str(name).ok().map(str::to_owned);
        Ok(Self {
            fid,
            size: number("length")?,
            chunk: number("chunkSize")?.max(1),
            created_at: Timestamp::from_millisecond(date.timestamp_millis()).map_err(|_| damaged("uploadDate"))?,
            sha256: text(metadata, "sha256").and_then(|hex| hex.parse().ok()),
            meta: BlobMeta {
                // No job has made it: this one is nobody's.
                job: text(metadata, "job_id")
                    .and_then(|id| id.parse().ok())
                    .unwrap_or(JobId::from_bytes(*fid.as_bytes())),
                content_type: text(metadata, "content_type")
                    .or_else(|| text(document, "contentType"))
                    .unwrap_or_else(|| "application/octet-stream".to_owned()),
                filename: text(document, "filename").unwrap_or_default(),
            },
        })
    }

    pub(crate) fn info(&self) -> BlobInfo {
        BlobInfo {
            fid: self.fid,
            size: self.size,
            sha256: self.sha256.unwrap_or(Sha256([0; 32])),
            created_at: self.created_at,
            meta: self.meta.clone(),
        }
    }

    /// How many bytes chunk `n` has.
    pub(crate) fn length_of(&self, n: u64) -> u64 {
        self.size.saturating_sub(n.saturating_mul(self.chunk)).min(self.chunk)
    }
}

/// A number that counts something. JavaScript writes doubles.
fn whole(number: &Bson) -> Option<u64> {
    match *number {
        Bson::Int32(n) => u64::try_from(n).ok(),
        Bson::Int64(n) => u64::try_from(n).ok(),
        Bson::Double(n) if n >= 0.0 && n.fract() == 0.0 && n < 9e15 => Some(n as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_are_read() {
        let id = ObjectId::new();
        let date = DateTime::from_millis(1_000);
        let bare = File::parse(&doc! { "_id": id, "length": 7.0, "chunkSize": 3i64, "uploadDate": date }).unwrap();
        assert_eq!((bare.size, bare.chunk, bare.sha256, &*bare.meta.filename), (7, 3, None, ""));
        assert_eq!([0, 1, 2, 3].map(|n| bare.length_of(n)), [3, 3, 1, 0]);
        for broken in [doc! { "_id": 1 }, doc! { "_id": id, "length": -1, "chunkSize": 3, "uploadDate": date }] {
            assert!(File::parse(&broken).is_err(), "{broken}");
        }
    }
}
