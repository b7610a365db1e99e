//! The frame without sound that comes first and tells how long the rest is (Xing's header, and the LAME tag
//! specification revision 1). What depends on the settings is taken from the tag that LAME makes of nothing; what
//! depends on the sound is filled in here, as the frames of many encoders pass by.
//!
//! LAME leaves the tag out, and with it the exact length, if a frame of a low constant bitrate has no room for it. Here
//! it gets a frame of a higher bitrate then, which decoders skip.

use microserve_core::transcode::{Quality, TranscodeError};

use super::instance::{Format, blank_tag};
use super::seek_table::SeekTable;

/// From the word `Info` or `Xing` to the end of the tag.
const TAG: usize = 156;
/// Samples that LAME adds at the start.
const DELAY: u64 = 576;

/// A tag that is filled in.
pub(super) struct Tag {
    frame: Vec<u8>,
    /// Where the tag begins in its frame.
    at: usize,
    /// Samples of a frame.
    per_frame: u64,
    frames: u64,
    bytes: u64,
    music_crc: u16,
    seek_table: SeekTable,
}

impl Tag {
    pub(super) fn new(format: Format) -> Result<Self, TranscodeError> {
        let at = 4 + side_info(format);
        let mut frame = blank_tag(format)?;
        if frame.is_empty() {
            frame = larger_frame(format, at);
        }
        if frame.len() < at + TAG {
            return Err(TranscodeError::Internal("LAME gave no tag frame".into()));
        }
        let (per_frame, seek_table) = (format.frame() as u64, SeekTable::default());
        Ok(Self { frame, at, per_frame, frames: 0, bytes: 0, music_crc: 0, seek_table })
    }

    /// What stands in the tag's place until it is complete.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Takes note of the next frame behind the tag.
    pub(super) fn add(&mut self, frame: &[u8]) {
        self.seek_table.add(self.bytes);
        self.music_crc = crc(self.music_crc, frame);
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    /// Samples in all frames, those that the encoder added among them.
    pub(super) fn samples(&self) -> u64 {
        self.frames * self.per_frame
    }

    /// Bytes of all frames, without the tag.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills it in for a sound of `samples` samples.
    pub(super) fn complete(&mut self, samples: u64) {
        let padding = self.samples().saturating_sub(DELAY + samples).min(0xfff);
        let total = self.bytes + self.frame.len() as u64;
        let delays = ((DELAY as u32) << 12 | padding as u32).to_be_bytes();
        let toc = self.seek_table.percents(self.frame.len() as u64, total);
        self.set(8, &saturated(self.frames).to_be_bytes());
        self.set(12, &saturated(total).to_be_bytes());
        self.set(16, &toc);
        self.set(141, &delays[1..]);
        self.set(148, &saturated(total).to_be_bytes());
        self.set(152, &self.music_crc.to_be_bytes());
        let crc = crc(0, &self.frame[..self.at + 154]);
        self.set(154, &crc.to_be_bytes());
    }

    fn set(&mut self, at: usize, field: &[u8]) {
        let at = self.at + at;
        self.frame[at..at + field.len()].copy_from_slice(field);
    }
}

/// A frame that has room for the tag where LAME's own has not, with the tag as LAME would begin it.
fn larger_frame(format: Format, at: usize) -> Vec<u8> {
    let Format { rate, channels, .. } = format;
    let sizes = bitrates(rate).iter().map(|kbps| frame_size(rate, *kbps));
    let Some((index, size)) = (1..).zip(sizes).find(|(_, size)| *size >= at + TAG) else { return Vec::new() };
    let kbps = format.constant().unwrap_or_default();
    let mut frame = header(rate, channels, index).to_vec();
    frame.resize(at, 0);
    frame.extend(b"Info\0\0\0\x0f");
    frame.extend([0; 108]); // frames, bytes, seek table
    frame.extend(57u32.to_be_bytes()); // what LAME makes of its quality 3
    frame.extend(b"LAME3.100");
    frame.extend([0x01, 0]); // revision 0, constant bitrate; lowpass unknown
    frame.extend([0; 8]); // peak and gains unknown
    frame.extend([0x04, u8::try_from(kbps).unwrap_or(u8::MAX)]); // ATH type 4
    frame.resize(size, 0);
    frame
}

fn side_info(format: Format) -> usize {
    match (format.rate >= 32_000, format.channels) {
        (true, 1) | (false, 2) => 17,
        (true, _) => 32,
        (false, _) => 9,
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The bitrates of a header's index 1 to 14.
fn bitrates(rate: u32) -> &'static [u16] {
    const MPEG_2: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    if rate >= 32_000 { &Quality::BITRATES } else { &MPEG_2 }
}

fn frame_size(rate: u32, kbps: u16) -> usize {
    let factor = if rate >= 32_000 { 144_000 } else { 72_000 };
    factor * usize::from(kbps) / rate as usize
}

/// A frame's header (ISO/IEC 11172-3, 2.4.1.3; 13818-3, and MPEG-2.5 below 16 kHz).
fn header(rate: u32, channels: usize, bitrate_index: u8) -> [u8; 4] {
    let (version, base) = match rate {
        32_000.. => (0xfb, rate),
        16_000.. => (0xf3, rate * 2),
        _ => (0xe3, rate * 4),
    };
    let rate_index = match base {
        44_100 => 0,
        48_000 => 1,
        _ => 2,
    };
    let mode = if channels == 1 { 0xc0 } else { 0x40 };
    [0xff, version, bitrate_index << 4 | rate_index << 2, mode]
}

/// CRC-16 with the polynomial 0x8005, reflected, from zero.
fn crc(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u16;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { value >> 1 ^ 0xa001 } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lame::frames::Frames;
    use crate::lame::instance::{Block, alone};
    use crate::sniff::mpeg;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc(0, b"123456789"), 0xbb3d);
    }

    /// A tag that has taken note of LAME's frames, and what LAME says of them itself.
    fn ours_and_lames(format: Format, blocks: usize) -> (Tag, Vec<u8>) {
        let tone = |n: usize| (0.3 * (n as f64 * 0.05).sin() * (n as f64 * 1e-5).sin()) as f32;
        let block = |n: usize| -> Block {
            let plane = (n * format.frame()..(n + 1) * format.frame()).map(tone);
            (0..format.channels).flat_map(|_| plane.clone()).collect()
        };
        let (theirs, bytes) = alone(format, &(0..blocks).map(block).collect::<Vec<_>>());
        let (mut ours, mut frames) = (Tag::new(format).unwrap(), Frames::new());
        frames.bytes = bytes;
        assert!(frames.find());
        (0..frames.count().unwrap()).for_each(|n| ours.add(frames.get(n)));
        ours.complete((blocks * format.frame()) as u64);
        (ours, theirs)
    }

    #[test]
    fn it_says_what_lame_says() {
        for (rate, channels, quality) in [
            (44_100, 2, Quality::Cbr(192)),
            (44_100, 2, Quality::Vbr(2)),
            (48_000, 1, Quality::Vbr(9)),
            (22_050, 2, Quality::Cbr(160)),
            (8_000, 1, Quality::Vbr(4)),
        ] {
            let format = Format { rate, channels, quality };
            let (tag, theirs) = ours_and_lames(format, 300);
            let (mut ours, toc) = (tag.frame().to_vec(), tag.at + 16..tag.at + 116);
            // The next to last bits of the header say how stereo the last frame was, which had no sound here.
            ours[3] = ours[3] & 0xcf | theirs[3] & 0x30;
            // LAME counts without the tag, and to the end of a frame.
            for (ours, theirs) in ours[toc.clone()].iter().zip(&theirs[toc.clone()]) {
                assert!(ours.abs_diff(*theirs) <= 3, "{ours} {theirs}");
            }
            ours[toc.clone()].copy_from_slice(&theirs[toc]);
            let end = tag.at + 154;
            let crc = crc(0, &ours[..end]).to_be_bytes();
            ours[end..end + 2].copy_from_slice(&crc);
            assert!(ours == theirs, "{format:?}:\n{ours:x?}\n{theirs:x?}");
        }
    }

    #[test]
    fn it_is_a_frame_even_where_lame_has_no_room() {
        for (rate, channels, kbps) in
            [(48_000, 2, 32), (44_100, 1, 32), (24_000, 2, 8), (22_050, 1, 32), (16_000, 1, 16), (44_100, 2, 56)]
        {
            let format = Format { rate, channels, quality: Quality::Cbr(kbps) };
            let (tag, theirs) = ours_and_lames(format, 20);
            assert!(theirs.is_empty());
            let frame = mpeg::frame(tag.frame()).unwrap();
            assert_eq!((frame.size, frame.rate, usize::from(frame.channels)), (tag.frame().len(), rate, channels));
        }
    }
}
