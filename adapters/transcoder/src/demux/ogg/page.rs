//! Pages (RFC 3533, 6).

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

const HEADER: usize = 27;

/// A page, whole and with the right checksum.
pub(super) struct Page {
    flags: u8,
    /// Samples up to the end of the last packet that ends in this page; -1: none does.
    pub(super) granule: i64,
    pub(super) serial: u32,
    segments: Vec<u8>,
    body: Vec<u8>,
    /// Where the next page begins.
    pub(super) end: u64,
}

impl Page {
    /// Its first packet began in the page before.
    pub(super) fn continues(&self) -> bool {
        self.flags & 1 != 0
    }

    /// It is the first of its stream.
    pub(super) fn begins(&self) -> bool {
        self.flags & 2 != 0
    }

    /// It is the last of its stream.
    pub(super) fn ends(&self) -> bool {
        self.flags & 4 != 0
    }

    /// The packets, each with whether it ends in this page.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let (mut segments, mut body) = (self.segments.as_slice(), self.body.as_slice());
        std::iter::from_fn(move || {
            if segments.is_empty() {
                return None;
            }
            // A packet ends with the first segment that is not full.
            let last = segments.iter().position(|length| *length < 255);
            let (own, rest) = segments.split_at(last.map_or(segments.len(), |last| last + 1));
            let length: usize = own.iter().map(|length| usize::from(*length)).sum();
            let (packet, behind) = body.split_at(length.min(body.len()));
            (segments, body) = (rest, behind);
            Some((packet, last.is_some()))
        })
    }
}

/// The page that begins at a position; `None` when no whole one does.
pub(super) fn page_at(input: &mut Input<'_>, at: u64) -> Result<Option<Page>, TranscodeError> {
    let Some(head) = input.array_at::<HEADER>(at)? else { return Ok(None) };
    let [b'O', b'g', b'g', b'S', 0, flags, g0, g1, g2, g3, g4, g5, g6, g7, s0, s1, s2, s3, rest @ ..] = head else {
        return Ok(None);
    };
    let count = u64::from(rest[8]);
    let mut bytes = input.vec_at(at, HEADER as u64 + count)?;
    let length: u64 = bytes.get(HEADER..).unwrap_or_default().iter().map(|length| u64::from(*length)).sum();
    let segments = bytes.get(HEADER..).unwrap_or_default().to_vec();
    let body = input.vec_at(at + HEADER as u64 + count, length)?;
    if segments.len() as u64 != count || body.len() as u64 != length {
        return Ok(None);
    }
    // The checksum is taken with its own field zero.
    let wanted = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]);
    bytes[22..26].fill(0);
    if crc(crc(0, &bytes), &body) != wanted {
        return Ok(None);
    }
    Ok(Some(Page {
        flags,
        granule: i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]),
        serial: u32::from_le_bytes([s0, s1, s2, s3]),
        segments,
        body,
        end: at + HEADER as u64 + count + length,
    }))
}

/// Goes from page to page, and over what is none.
#[derive(Default)]
pub(super) struct Pages {
    at: u64,
    /// Places that looked like a page and were none: each may cost a page's checksum.
    mistaken: u64,
}

/// So many mistakes are made in a file, and one more for every so many bytes.
const MISTAKES: u64 = 10_000;
const BYTES_A_MISTAKE: u64 = 64 * 1024;

impl Pages {
    /// The next whole page.
    pub(super) fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Page>, TranscodeError> {
        while self.mistaken < MISTAKES + input.len() / BYTES_A_MISTAKE {
            if let Some(page) = page_at(input, self.at)? {
                self.at = page.end;
                return Ok(Some(page));
            }
            self.mistaken += 1;
            match find(input, self.at.saturating_add(1))? {
                Some(found) => self.at = found,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Where the next page may begin, from a position on.
fn find(input: &mut Input<'_>, mut at: u64) -> Result<Option<u64>, TranscodeError> {
    const STEP: u64 = 64 * 1024;
    loop {
        let bytes = input.vec_at(at, STEP)?;
        if let Some(found) = bytes.windows(4).position(|four| four == b"OggS") {
            return Ok(Some(at + found as u64));
        }
        if (bytes.len() as u64) < STEP {
            return Ok(None);
        }
        at += STEP - 3;
    }
}

/// CRC-32 with the polynomial 0x04c11db7, not reflected, from zero and without a final inversion.
fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 0x8000_0000 != 0 { value << 1 ^ 0x04c1_1db7 } else { value << 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};
