//! Frames of DTS Coherent Acoustics (ETSI TS 102 114, 5.3.1), in any of the four ways in which they are written: in
//! words of 16 bits or, for what takes them for PCM, in the lower 14 bits of such words; of either byte order.

/// What a frame of the core begins with.
pub(crate) const CORE: [u8; 4] = [0x7f, 0xfe, 0x80, 0x01];
/// What an extension substream begins with, which may be behind a frame or stand alone (7.4.1).
pub(crate) const EXTENSION: [u8; 4] = [0x64, 0x58, 0x20, 0x25];
/// Bytes of a header, in any form.
pub(crate) const HEADER: usize = 14;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes, as they are written.
    pub(crate) size: usize,
    /// In Hz.
    pub(crate) rate: u32,
    /// Of the core, with the one for low frequencies.
    pub(crate) channels: u16,
    /// Per channel.
    pub(crate) samples: u32,
    /// Which loudspeakers the channels are for (Table 5-4).
    pub(crate) arrangement: u8,
    form: Form,
}

/// How a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    is_little_endian: bool,
    has_14_bits: bool,
}

impl Form {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (is_little_endian, has_14_bits) = match *bytes.first_chunk()? {
            CORE => (false, false),
            [0xfe, 0x7f, 0x01, 0x80] => (true, false),
            // Here the word is longer than two of 14 bits, and so a part of what follows is known too.
            [0x1f, 0xff, 0xe8, 0x00] if bytes.get(4) == Some(&0x07) => (false, true),
            [0xff, 0x1f, 0x00, 0xe8] if bytes.get(5) == Some(&0x07) => (true, true),
            _ => return None,
        };
        Some(Self { is_little_endian, has_14_bits })
    }

    /// The same in words of 16 bits, the higher byte first.
    fn normal(self, bytes: &[u8]) -> Vec<u8> {
        let words = bytes.as_chunks::<2>().0.iter();
        let words = words.map(|word| if self.is_little_endian { [word[1], word[0]] } else { *word });
        if !self.has_14_bits {
            return words.flatten().collect();
        }
        let (mut packed, mut bits, mut count) = (Vec::with_capacity(bytes.len()), 0u32, 0);
        for word in words {
            bits = bits << 14 | u32::from(u16::from_be_bytes(word) & 0x3fff);
            count += 14;
            while count >= 8 {
                count -= 8;
                packed.push((bits >> count) as u8);
            }
        }
        packed
    }
}

impl Frame {
    /// Reads the header that the bytes begin with.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let form = Form::of(bytes)?;
        let head = form.normal(bytes.get(..HEADER)?);
        let head = head.iter().take(12).fold(0u128, |head, byte| head << 8 | u128::from(*byte));
        let field = |at: u32, width: u32| (head >> (96 - at - width) & ((1 << width) - 1)) as u32;
        let (blocks, size) = (field(39, 7) + 1, field(46, 14) as usize + 1);
        let (arrangement, rate, low) = (field(60, 6) as u8, field(66, 4), field(85, 2));
        let rate = match rate {
            1 => 8000,
            2 => 16_000,
            3 => 32_000,
            6 => 11_025,
            7 => 22_050,
            8 => 44_100,
            11 => 12_000,
            12 => 24_000,
            13 => 48_000,
            _ => return None,
        };
        let channels = *[1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 6, 7, 8, 8].get(usize::from(arrangement))?;
        let channels = channels + u16::from(low == 1 || low == 2);
        // Fourteen bits of a word count, and the words are whole.
        let size_written = if form.has_14_bits { (size * 8).div_ceil(14) * 2 } else { size };
        (blocks >= 6 && size >= 96 && low != 3).then_some(Self {
            size: size_written,
            rate,
            channels,
            samples: blocks * 32,
            arrangement,
            form,
        })
    }

    /// Whether both may be of one stream.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.form, self.rate) == (other.form, other.rate)
    }

    /// Its bytes in words of 16 bits, the higher byte first.
    pub(crate) fn normal(&self, bytes: &[u8]) -> Vec<u8> {
        self.form.normal(&bytes[..self.size.min(bytes.len())])
    }
}

/// The bytes of an extension substream, if there is one at the start (7.4.1).
pub(crate) fn extension(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c, d, e] = *bytes.strip_prefix(&EXTENSION)?.first_chunk()?;
    let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
    // Two bits for its number, one for the widths of two fields, of which the second is the size.
    let size = if bits >> 37 & 1 == 0 { bits >> 13 & 0xffff } else { bits >> 5 & 0xf_ffff };
    Some(size as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_say_the_same() {
        // Of a file of ffmpeg's: 5.1 at 48 kHz.
        let big = [0x7f, 0xfe, 0x80, 0x01, 0xfc, 0x3c, 0x75, 0xb2, 0x76, 0xc0, 0x05, 0x38, 0, 9, 0xef, 0x7b];
        let frame = Frame::parse(&big).unwrap();
        assert_eq!((frame.rate, frame.samples, frame.channels, frame.size), (48_000, 512, 6, 1884));
        let swapped: Vec<u8> = big.as_chunks().0.iter().flat_map(|[a, b]| [*b, *a]).collect();
        let little = Frame::parse(&swapped).unwrap();
        assert_eq!(little.normal(&swapped), big);
        let bits = u128::from_be_bytes(big);
        // The highest of fourteen bits is a sign, and goes on above.
        let word = |n: u32| ((bits >> (114 - 14 * n) << 2) as i16 >> 2).to_be_bytes();
        let narrow: Vec<u8> = (0..9).flat_map(word).collect();
        let narrow = Frame::parse(&narrow).unwrap();
        assert_eq!((narrow.rate, narrow.samples, narrow.channels), (frame.rate, frame.samples, frame.channels));
        assert_eq!(narrow.size, (frame.size * 8).div_ceil(14) * 2);
        for end in 0..HEADER {
            assert_eq!(Frame::parse(&big[..end]), None);
        }
    }
}
