//! The form of an upload (RFC 7578): options, then exactly one file.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, header};
use futures_util::stream::{self, Stream, StreamExt};
use microserve_core::blob::ByteStream;
use microserve_core::transcode::Asked;
use multer::{Field, Multipart};

use crate::body;
use crate::problem::{Code, Problem};
use crate::upload::UNKNOWN;

/// A longer value is none of an option's (bytes).
const MAX_VALUE: usize = 1024;
/// What the form may have in bytes besides the file: headers, options, boundaries.
pub(crate) const OVERHEAD: u64 = 64 * 1024;
/// So many parts at most before the file.
const MAX_OPTIONS: usize = 16;

/// The boundary that the request names.
pub(crate) fn boundary(headers: &HeaderMap) -> Result<String, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        let detail = "send the file as multipart/form-data with a boundary, as `curl -F file=@video.mkv` does";
        Problem::new(Code::ExpectedMultipart, detail)
    })?;
    // RFC 2046 §5.1.1.
    if (1..=70).contains(&boundary.len()) {
        Ok(boundary)
    } else {
        Err(malformed("the boundary is longer than 70 characters, or empty"))
    }
}

/// A form that is being read.
pub(crate) struct Form<'a> {
    parts: Multipart<'a>,
    /// What may still come before the file, or after it: `multer` collects a part's headers without a limit.
    room: &'a AtomicU64,
}

/// The file part, up to its first byte.
pub(crate) struct FilePart<'a> {
    form: Form<'a>,
    field: Field<'a>,
}

impl<'a> Form<'a> {
    /// Reads a form from `body`. `room` is the form's own.
    pub(crate) fn new<S>(body: S, boundary: String, room: &'a AtomicU64) -> Self
    where
        S: Stream<Item = io::Result<bytes::Bytes>> + Send + 'a,
    {
        room.store(OVERHEAD, Ordering::Relaxed);
        let metered = body.map(|piece| {
            let piece = piece?;
            let left = room.load(Ordering::Relaxed);
            if left == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too much beside the file"));
            }
            room.store(left.saturating_sub(piece.len() as u64), Ordering::Relaxed);
            Ok(piece)
        });
        Self { parts: Multipart::new(metered, boundary), room }
    }

    /// Reads the options up to the file.
    pub(crate) async fn file(mut self, asked: &mut Asked) -> Result<FilePart<'a>, Problem> {
        for _ in 0..=MAX_OPTIONS {
            let Some(mut field) = self.parts.next_field().await.map_err(problem)? else {
                let detail = "the form has no file part: one with a filename, as in `curl -F file=@video.mkv`";
                return Err(Problem::new(Code::NoFile, detail));
            };
            if is_file(&field) {
                return Ok(FilePart { form: self, field });
            }
            let value = value(&mut field).await?;
            asked.set(field.name().unwrap_or_default(), &value)?;
        }
        Err(malformed("there are too many parts before the file"))
    }

    /// Makes sure that nothing comes behind the file.
    async fn end(mut self) -> Result<(), Problem> {
        self.room.store(OVERHEAD, Ordering::Relaxed);
        let Some(field) = self.parts.next_field().await.map_err(problem)? else { return Ok(()) };
        if is_file(&field) {
            return Err(Problem::new(Code::SeveralFiles, "the form has more than one file part: send one per upload"));
        }
        // By now the job is there and has its options.
        let detail = "an option comes behind the file: send options before it, or in the query";
        Err(Problem::new(Code::InvalidOption, detail))
    }
}

impl<'a> FilePart<'a> {
    /// What the client calls the file.
    pub(crate) fn filename(&self) -> &str {
        self.field.file_name().unwrap_or_default()
    }

    /// What the client takes the file for.
    pub(crate) fn content_type(&self) -> String {
        self.field.content_type().map_or_else(|| UNKNOWN.to_owned(), |kind| kind.essence_str().to_owned())
    }

    /// The file's bytes. The stream ends well only if the form does; else in an error that `fault` explains.
    pub(crate) fn into_body(self, fault: &'a OnceLock<Problem>) -> ByteStream<'a> {
        let Self { form, field } = self;
        form.room.store(u64::MAX, Ordering::Relaxed);
        stream::try_unfold((form, field), move |(form, mut field)| async move {
            let outcome = match field.chunk().await {
                Ok(Some(piece)) => return Ok(Some((piece, (form, field)))),
                Ok(None) => {
                    drop(field);
                    form.end().await
                }
                Err(err) => Err(problem(err)),
            };
            outcome.map(|()| None).map_err(|problem| {
                let _ = fault.set(problem);
                io::Error::other("the form is not what it should be")
            })
        })
        .boxed()
    }
}

/// A part with a filename is a file, even if `multer` can't read the name because it is not UTF-8.
fn is_file(field: &Field<'_>) -> bool {
    let disposition =
        field.headers().get(header::CONTENT_DISPOSITION).map(|value| value.as_bytes()).unwrap_or_default();
    field.file_name().is_some() || disposition.windows(9).any(|bytes| bytes.eq_ignore_ascii_case(b"filename="))
}

async fn value(field: &mut Field<'_>) -> Result<String, Problem> {
    let mut value = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(problem)? {
        value.extend_from_slice(&piece);
        if value.len() > MAX_VALUE {
            return Err(Problem::new(Code::InvalidOption, "an option's value is longer than 1024 bytes"));
        }
    }
    String::from_utf8(value).map_err(|_| Problem::new(Code::InvalidOption, "an option's value is not UTF-8"))
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(Code::MalformedMultipart, detail)
}

/// What went wrong with a form, in our words: `multer`'s repeat what the client sent.
fn problem(err: multer::Error) -> Problem {
    let multer::Error::StreamReadFailed(cause) = err else {
        return malformed("the body breaks off, or is not multipart/form-data as its header says");
    };
    match cause.downcast_ref::<io::Error>() {
        Some(err) if err.kind() == io::ErrorKind::InvalidData => {
            malformed("there is too much beside the file: more than 64 KiB")
        }
        Some(err) if err.kind() == io::ErrorKind::ConnectionReset => malformed("the body broke off"),
        Some(err) => body::problem(err),
        None => Problem::unavailable(cause),
    }
}
