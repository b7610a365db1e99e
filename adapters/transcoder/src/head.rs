//! The ID3 tag in front of an MP3. It is written before the sound, whose end is where its last chapter may end.

use std::io::{self, SeekFrom};

use microserve_core::transcode::{Sink, TranscodeError};

/// Bytes of the head of the tag, and of that of a frame (ID3v2.4.0 structure, 3.1 and 4).
const HEAD: usize = 10;

/// A tag as it is written.
pub(crate) struct Head {
    bytes: Vec<u8>,
    /// Where the end of a chapter stands that has no length yet.
    open: Option<usize>,
}

impl Head {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let open = open_end(&bytes);
        Self { bytes, open }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells the chapter without a length, in the MP3 that begins with this tag, that the sound ends after so many
    /// samples.
    pub(crate) fn close(&self, sink: &mut dyn Sink, samples: u64, rate: u32) -> Result<(), TranscodeError> {
        let Some(at) = self.open else { return Ok(()) };
        let millis = u128::from(samples) * 1000 / u128::from(rate.max(1));
        let start = self.bytes[at - 4..at].try_into().map_or(0, u32::from_be_bytes);
        let end = u32::try_from(millis).unwrap_or(u32::MAX).max(start);
        let mut write = || -> io::Result<()> {
            sink.seek(SeekFrom::Start(at as u64))?;
            sink.write_all(&end.to_be_bytes())?;
            sink.seek(SeekFrom::End(0))?;
            sink.flush()
        };
        write().map_err(TranscodeError::Sink)
    }
}

/// Where the end of the chapter stands that begins where it ends: behind its name and its start (ID3v2 Chapter Frame
/// Addendum 1.0, 3.1).
fn open_end(tag: &[u8]) -> Option<usize> {
    let mut at = HEAD;
    loop {
        let [id @ .., s0, s1, s2, s3, _, _] = *tag.get(at..)?.first_chunk::<HEAD>()?;
        let body = at + HEAD;
        at = body + [s0, s1, s2, s3].iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        if &id != b"CHAP" {
            continue;
        }
        let name = tag.get(body..at)?.iter().position(|byte| *byte == 0)?;
        let start = body + name + 1;
        if tag.get(start..start + 4)? == tag.get(start + 4..start + 8)? {
            return Some(start + 4);
        }
    }
}
