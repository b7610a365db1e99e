//! A look at a video's headers while the rest of it is still coming.
//!
//! Many containers say at their beginning what is in them. A probe that has read nothing but bytes which are there says what
//! it would say of the whole file; one that wanted others is asked again when all are there.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::Preflight;
use crate::blob::ByteStream;
use crate::transcode::Problem;

/// So much of a video is looked at before the rest has come (bytes).
const PEEK_BYTES: usize = 1 << 20;
/// Where a file ends whose length is not known (bytes).
const FAR: u64 = 1 << 50;
/// What a beginning can tell. Damage is left to the whole: what is missing at the end of a beginning is no damage.
const TELLING: [&str; 3] = ["no_audio_track", "unsupported_codec", "encrypted"];

/// Why the bytes that come need not go on.
pub(super) type Verdict = Arc<OnceLock<Problem>>;

/// An upload that is looked at while it comes.
struct Peek<'a> {
    body: ByteStream<'a>,
    preflight: Preflight,
    /// The length of the file, if it is known.
    length: Option<u64>,
    step: Step,
    verdict: Verdict,
}

enum Step {
    /// Its beginning comes. So many are kept at the same time.
    Collecting(Vec<u8>, OwnedSemaphorePermit),
    /// It is looked at.
    Looking(JoinHandle<Option<Problem>>),
    /// There is nothing more to be seen.
    Done,
}

impl Preflight {
    /// The same bytes, which end in an error as soon as there is a verdict.
    pub(super) fn peeked<'a>(&self, body: ByteStream<'a>, length: Option<u64>, verdict: &Verdict) -> ByteStream<'a> {
        if length.is_some_and(|length| length <= PEEK_BYTES as u64) {
            return body;
        }
        let Ok(room) = Arc::clone(&self.beginnings).try_acquire_owned() else { return body };
        let (preflight, verdict) = (self.clone(), Arc::clone(verdict));
        let peek = Peek { body, preflight, length, step: Step::Collecting(Vec::new(), room), verdict };
        stream::unfold(peek, |mut peek| async move { peek.next().await.map(|piece| (piece, peek)) }).boxed()
    }
}

impl Peek<'_> {
    async fn next(&mut self) -> Option<io::Result<bytes::Bytes>> {
        if let Step::Looking(probe) = &mut self.step {
            tokio::select! {
                biased;
                seen = probe => {
                    self.step = Step::Done;
                    if let Ok(Some(problem)) = seen {
                        let _first = self.verdict.set(problem);
                        return Some(Err(io::Error::other("the video can't be converted")));
                    }
                }
                piece = self.body.next() => return piece,
            }
        }
        let piece = self.body.next().await;
        if let (Step::Collecting(head, _), Some(Ok(piece))) = (&mut self.step, &piece) {
            head.extend_from_slice(&piece[..piece.len().min(PEEK_BYTES - head.len())]);
            if head.len() == PEEK_BYTES {
                self.look();
            }
        }
        piece
    }

    /// Looks at the beginning, unless others are looked at: it is looked at again in any case.
    fn look(&mut self) {
        let Step::Collecting(head, room) = std::mem::replace(&mut self.step, Step::Done) else { return };
        let Some(place) = self.preflight.free_place() else { return };
        let (transcoder, length) = (Arc::clone(&self.preflight.transcoder), self.length);
        self.step = Step::Looking(tokio::task::spawn_blocking(move || {
            // They go along: a task that is given up makes no room for another before the work is over.
            let _places = (room, place);
            let mut source = Beginning::of(head, length);
            let problem = match transcoder.probe(&mut source) {
                Ok(info) => info.problem,
                Err(err) => Some(err.problem()),
            };
            problem.filter(|problem| !source.is_too_short && TELLING.contains(&&*problem.code))
        }));
    }
}

/// The first bytes of a file.
struct Beginning {
    bytes: Vec<u8>,
    /// Of the file.
    length: u64,
    position: u64,
    /// Whether others of its bytes were wanted.
    is_too_short: bool,
}

impl Beginning {
    fn of(bytes: Vec<u8>, length: Option<u64>) -> Self {
        Self { bytes, length: length.unwrap_or(FAR).min(FAR), position: 0, is_too_short: false }
    }
}

impl Read for Beginning {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.length || buf.is_empty() {
            return Ok(0);
        }
        let there = usize::try_from(self.position).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if there.is_empty() {
            self.is_too_short = true;
            return Err(io::Error::other("the rest of the file is not there yet"));
        }
        let read = buf.len().min(there.len());
        buf[..read].copy_from_slice(&there[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Beginning {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the beginning"))?;
        Ok(self.position)
    }
}
