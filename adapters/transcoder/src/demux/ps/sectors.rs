//! Video CDs: what is read of them in a file is whole sectors of the disc, of which a part is the stream (IEC 62107;
//! ISO/IEC 10149, 14).

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// A sector, with its sync pattern and header.
const SECTOR: u64 = 2352;
/// Where in it the stream goes on, and how many bytes it has of it.
const HEAD: u64 = 24;
const BODY: u64 = 2324;
/// What a sector begins with.
const SYNC: [u8; 12] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];

/// A stream, as it is or in sectors.
pub(super) struct Stream<'a> {
    input: Input<'a>,
    /// Where the first sector begins.
    sectors: Option<u64>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(mut input: Input<'a>) -> Result<Self, TranscodeError> {
        const RIFF_HEAD: u64 = 44;
        for start in [0, RIFF_HEAD] {
            if input.array_at(start)? == Some(SYNC) && input.array_at(start + SECTOR)?.is_none_or(|sync| sync == SYNC) {
                return Ok(Self { input, sectors: Some(start) });
            }
        }
        Ok(Self { input, sectors: None })
    }

    pub(super) fn len(&self) -> u64 {
        let Some(start) = self.sectors else { return self.input.len() };
        let bytes = self.input.len().saturating_sub(start);
        bytes / SECTOR * BODY + (bytes % SECTOR).saturating_sub(HEAD).min(BODY)
    }

    /// Reads at a position of the stream, until `buf` is full or the stream ends.
    pub(super) fn read_at(&mut self, at: u64, buf: &mut [u8]) -> Result<usize, TranscodeError> {
        let Some(start) = self.sectors else { return self.input.read_at(at, buf) };
        let mut done = 0;
        while done < buf.len() {
            let at = at.saturating_add(done as u64);
            let within = at % BODY;
            let most = usize::try_from(BODY - within).unwrap_or(0).min(buf.len() - done);
            let place = (at / BODY).saturating_mul(SECTOR).saturating_add(start + HEAD + within);
            let n = self.input.read_at(place, &mut buf[done..done + most])?;
            done += n;
            if n < most {
                break;
            }
        }
        Ok(done)
    }

    pub(super) fn array_at<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>, TranscodeError> {
        let mut array = [0; N];
        Ok((self.read_at(at, &mut array)? == N).then_some(array))
    }

    /// Reads up to `len` bytes.
    pub(super) fn vec_at(&mut self, at: u64, len: u64) -> Result<Vec<u8>, TranscodeError> {
        let len = len.min(self.len().saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let n = self.read_at(at, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}
