//! The uploaded bytes, behind one window of read-ahead.
//!
//! Demuxers of ours read at positions ([`Input::read_at`]), so that skipping over a video's frames costs a seek and no
//! reading; Symphonia's read a stream ([`Spliced`]).

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use microserve_core::transcode::{Source, TranscodeError};
use symphonia::core::io::MediaSource;

/// How much is read ahead. Interleaved files have little audio in a row, so more would mostly read video.
const WINDOW: usize = 32 * 1024;

/// The first error that reading the source gave. Symphonia does not tell a broken source from the end of a broken
/// file, so it is remembered on the way.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn record(&self, err: io::Error) -> io::Error {
        let kind = err.kind();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(err);
        kind.into()
    }

    /// The error, as the transcoder reports it.
    pub(crate) fn take(&self) -> Option<TranscodeError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(TranscodeError::Source)
    }
}

/// A source with a window of read-ahead and a position.
pub(crate) struct Input<'a> {
    // Never locked: the mutex only makes the source `Sync`, which Symphonia asks of its sources.
    source: Mutex<&'a mut dyn Source>,
    source_at: u64,
    /// Bytes of the source that are hidden before the first one.
    base: u64,
    len: u64,
    /// Bytes of ours, which are behind those of the source.
    appended: Vec<u8>,
    window: Vec<u8>,
    window_at: u64,
    failure: Failure,
}

impl<'a> Input<'a> {
    pub(crate) fn new(source: &'a mut dyn Source) -> Result<Self, TranscodeError> {
        let len = source.seek(SeekFrom::End(0)).map_err(TranscodeError::Source)?;
        Ok(Self {
            source: Mutex::new(source),
            source_at: len,
            base: 0,
            len,
            appended: Vec::new(),
            window: Vec::with_capacity(WINDOW),
            window_at: 0,
            failure: Failure::default(),
        })
    }

    /// Hides the first bytes: from here on the source begins behind them.
    pub(crate) fn begin_at(&mut self, offset: u64) {
        let hidden = offset.min(self.len);
        (self.base, self.len) = (self.base + hidden, self.len - hidden);
        self.window.clear();
    }

    /// Hides what lies behind a position.
    pub(crate) fn end_at(&mut self, end: u64) {
        self.len = self.len.min(end);
        self.window.clear();
    }

    /// Puts bytes behind all others, to be read like them, and says where they are. From then on, nothing can be hidden.
    pub(crate) fn append(&mut self, bytes: Vec<u8>) -> Range<u64> {
        let start = self.len - self.appended.len() as u64;
        self.len = start.saturating_add(bytes.len() as u64);
        self.appended = bytes;
        start..self.len
    }

    /// The size of the source in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads at a position, until `buf` is full or the source ends.
    ///
    /// # Errors
    /// [`TranscodeError::Source`] when the source can't be read.
    pub(crate) fn read_at(&mut self, at: u64, buf: &mut [u8]) -> Result<usize, TranscodeError> {
        let mut done = 0;
        while done < buf.len() {
            let n = self.read_some(at.saturating_add(done as u64), &mut buf[done..]).map_err(TranscodeError::Source)?;
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }

    /// Reads `N` bytes at a position; `None` if the source ends before.
    pub(crate) fn array_at<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>, TranscodeError> {
        let mut array = [0; N];
        Ok((self.read_at(at, &mut array)? == N).then_some(array))
    }

    /// Reads up to `len` bytes at a position. What is allocated is bounded by what the source has.
    pub(crate) fn vec_at(&mut self, at: u64, len: u64) -> Result<Vec<u8>, TranscodeError> {
        let len = len.min(self.len.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let n = self.read_at(at, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn read_some(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let own = self.len - self.appended.len() as u64;
        if let Some(behind) = at.checked_sub(own).and_then(|at| usize::try_from(at).ok()) {
            return self.appended.get(behind..).unwrap_or_default().read(buf);
        }
        let left = usize::try_from(own.saturating_sub(at)).unwrap_or(usize::MAX);
        if left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let most = buf.len().min(left);
        let buf = &mut buf[..most];
        if let Some(window) = at.checked_sub(self.window_at).and_then(|o| self.window.get(usize::try_from(o).ok()?..))
            && !window.is_empty()
        {
            let n = window.len().min(buf.len());
            buf[..n].copy_from_slice(&window[..n]);
            return Ok(n);
        }
        if buf.len() >= WINDOW {
            return self.fetch(at, buf);
        }
        let mut window = std::mem::take(&mut self.window);
        window.resize(WINDOW.min(left), 0);
        let fetched = self.fetch(at, &mut window);
        window.truncate(*fetched.as_ref().unwrap_or(&0));
        self.window = window;
        self.window_at = at;
        let n = fetched?.min(buf.len());
        buf[..n].copy_from_slice(&self.window[..n]);
        Ok(n)
    }

    fn fetch(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let at = at.saturating_add(self.base);
        let source = self.source.get_mut().unwrap_or_else(PoisonError::into_inner);
        let read = || -> io::Result<usize> {
            if self.source_at != at {
                source.seek(SeekFrom::Start(at))?;
            }
            loop {
                match source.read(buf) {
                    Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            }
        };
        match { read }() {
            Ok(n) if n > 0 || buf.is_empty() => {
                self.source_at = at + n as u64;
                Ok(n)
            }
            // Taking this for the end of the file would leave out what follows.
            other => {
                let early = || io::Error::new(io::ErrorKind::UnexpectedEof, "the source ended before its length");
                let err = other.err().unwrap_or_else(early);
                self.source_at = u64::MAX;
                // The original goes to whoever is asked for it first: the caller here, `take` behind Symphonia.
                let kind = err.kind();
                let copy = io::Error::new(kind, err.to_string());
                self.failure.record(err);
                Err(copy)
            }
        }
    }
}

/// A few bytes, and behind them an input from a position on: what Symphonia gets to read.
pub(crate) struct Spliced<'a> {
    head: Vec<u8>,
    input: Input<'a>,
    position: u64,
}

impl<'a> Spliced<'a> {
    pub(crate) fn new(head: Vec<u8>, mut input: Input<'a>, from: u64) -> Self {
        input.begin_at(from);
        Self { head, input, position: 0 }
    }

    pub(crate) fn failure(&self) -> Failure {
        self.input.failure.clone()
    }

    fn len(&self) -> u64 {
        self.head.len() as u64 + self.input.len
    }
}

impl Read for Spliced<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match self.position.checked_sub(self.head.len() as u64) {
            Some(behind) => self.input.read_some(behind, buf)?,
            None => (&self.head[self.position as usize..]).read(buf)?,
        };
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Spliced<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for Spliced<'_> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}
