//! Syncframes of AC-3 and E-AC-3 (ATSC A/52:2018, 5.3 and E.1.2): where one ends, and what it says of its sound. Their
//! decoder and every container that has them without lengths begin here.

/// Bytes that [`frame`] wants to see.
pub(crate) const HEADER: usize = 8;

/// What the head of a syncframe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes, with the header.
    pub(crate) size: usize,
    /// Hz.
    pub(crate) rate: u32,
    /// Per channel.
    pub(crate) samples: u32,
    /// With the LFE channel.
    pub(crate) channels: u16,
    /// E-AC-3, and not AC-3.
    pub(crate) enhanced: bool,
    pub(crate) substream: Substream,
}

/// Which of a stream's programs a syncframe belongs to (A/52:2018, E.2.3.1.1 and E.2.3.1.2). The first frame of an
/// access unit is that of independent substream 0; AC-3 has no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Substream {
    /// A program of its own.
    Independent(u8),
    /// More channels for the program whose frame came last.
    Dependent(u8),
}

impl Frame {
    /// Whether both may be of one stream.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.rate == other.rate
    }

    /// Whether an access unit begins with it.
    pub(crate) fn begins_unit(&self) -> bool {
        self.substream == Substream::Independent(0)
    }
}

/// `fscod` (table 5.6).
pub(crate) const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// `frmsizecod` / 2 (table 5.18).
const KBPS: [usize; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
/// Full-bandwidth channels of `acmod` (table 5.8).
pub(crate) const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// Reads the head of the syncframe that `bytes` begins with.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    let head: &[u8; HEADER] = bytes.first_chunk()?;
    if head[..2] != [0x0b, 0x77] {
        return None;
    }
    match head[5] >> 3 {
        0..=10 => plain(head),
        11..=16 => enhanced(head),
        _ => None,
    }
}

fn plain(head: &[u8; HEADER]) -> Option<Frame> {
    let (code, size_code) = (head[4] >> 6, usize::from(head[4] & 0x3f));
    let rate = *RATES.get(usize::from(code))?;
    let kbps = *KBPS.get(size_code / 2)?;
    let words = match code {
        0 => 2 * kbps,
        1 => 320 * kbps / 147 + size_code % 2,
        _ => 3 * kbps,
    };
    // Streams of half and quarter the rate have the numbers of the whole one.
    let shift = (head[5] >> 3).saturating_sub(8);
    let mode = head[6] >> 5;
    // Up to two mix levels of two bits, or the Dolby Surround mode, stand in front of `lfeon`.
    let skipped = match mode {
        0 | 1 => 3,
        2 | 3 | 4 | 6 => 5,
        _ => 7,
    };
    let lfe = u16::from(head[6] >> (7 - skipped) & 1);
    let channels = CHANNELS[usize::from(mode)] + lfe;
    let substream = Substream::Independent(0);
    Some(Frame { size: 2 * words, rate: rate >> shift, samples: 1536, channels, enhanced: false, substream })
}

fn enhanced(head: &[u8; HEADER]) -> Option<Frame> {
    let id = head[2] >> 3 & 7;
    let substream = match head[2] >> 6 {
        0 | 2 => Substream::Independent(id),
        1 => Substream::Dependent(id),
        _ => return None,
    };
    let size = 2 * ((usize::from(head[2] & 7) << 8 | usize::from(head[3])) + 1);
    let second = head[4] >> 4 & 3;
    let (rate, blocks) = match head[4] >> 6 {
        3 => (*RATES.get(usize::from(second))? / 2, 6),
        code => (RATES[usize::from(code)], [1, 2, 3, 6][usize::from(second)]),
    };
    let channels = CHANNELS[usize::from(head[4] >> 1 & 7)] + u16::from(head[4] & 1);
    (size > HEADER).then_some(Frame { size, rate, samples: 256 * blocks, channels, enhanced: true, substream })
}

/// Whether the checksums of a whole syncframe are right (A/52:2018, 6.1.7 and E.2.3.1).
pub(crate) fn is_intact(frame: &[u8], enhanced: bool) -> bool {
    let Some(checked) = frame.get(2..) else { return false };
    if enhanced {
        return checksum(checked) == 0;
    }
    // The first of two ends with the first 5/8 of the frame.
    let words = frame.len() / 2;
    let first = 2 * (words / 2 + words / 8);
    let Some((head, tail)) = first.checked_sub(2).and_then(|at| checked.split_at_checked(at)) else { return false };
    checksum(head) == 0 && checksum(tail) == 0
}

/// CRC-16 with the polynomial x¹⁶ + x¹⁵ + x² + 1, the highest bit first (6.1.7).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut crc, mut bit) = ((n as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// Whether syncframes follow each other from the first byte on, or from a little later: recordings begin anywhere.
pub(crate) fn starts_stream(head: &[u8]) -> bool {
    // No frame is longer.
    const LATEST_START: usize = 4096;
    (0..head.len().min(LATEST_START)).any(|start| {
        // The later it starts, the more frames are asked for, so that chance has none.
        head[start..].starts_with(&[0x0b, 0x77]) && run(&head[start..], if start == 0 { 3 } else { 6 })
    })
}

fn run(bytes: &[u8], wanted: usize) -> bool {
    let Some(first) = frame(bytes) else { return false };
    let (mut at, mut frames, mut intact) = (0, 0, false);
    while frames < wanted {
        let rest = bytes.get(at..).unwrap_or_default();
        match frame(rest) {
            Some(next) if next.is_like(&first) => {
                intact |= rest.get(..next.size).is_some_and(|frame| is_intact(frame, next.enhanced));
                at += next.size;
            }
            Some(_) => return false,
            // The end of the file, or a tag behind the last frame.
            None => break,
        }
        frames += 1;
    }
    // A file may have a single frame: then its checksum is to be right.
    frames >= wanted || intact && (at >= bytes.len() || bytes[at..].starts_with(b"TAG"))
}

/// The same with the bytes of each word the other way round, as old sound cards and their capture programs wrote it.
pub(crate) fn starts_swapped_stream(head: &[u8]) -> bool {
    head.starts_with(&[0x77, 0x0b]) && starts_stream(&swapped(head))
}

/// Turns the bytes of each word round.
pub(crate) fn swapped(bytes: &[u8]) -> Vec<u8> {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().flat_map(|[a, b]| [*b, *a]).collect()
}
