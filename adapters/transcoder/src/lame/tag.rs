//! What LAME's settings are in the tag frame: taken from the tag that LAME makes of nothing.
//!
//! LAME leaves the tag out, and with it the exact length, if a frame of a low constant bitrate has no room for it. Here
//! it gets a frame of a higher bitrate then, which decoders skip.

use microserve_core::transcode::TranscodeError;

use super::instance::{Format, blank_tag};
use crate::mp3::Tag;

/// Samples that LAME adds at the start.
pub(super) const DELAY: u64 = 576;

/// The tag of a sound in this format, which is filled in as its frames pass by.
pub(super) fn blank(format: Format) -> Result<Tag, TranscodeError> {
    let frame = blank_tag(format)?;
    let tag = if frame.is_empty() { larger(format) } else { Tag::new(frame) };
    tag.ok_or_else(|| TranscodeError::Internal("LAME gave no tag frame".into()))
}

/// A tag in a frame that has room for it where LAME's own has not, as LAME would begin it.
fn larger(format: Format) -> Option<Tag> {
    const OF_QUALITY_3: u32 = 57; // what LAME makes of that
    Tag::constant(lowest(format.rate, format.channels), format.constant().unwrap_or_default(), OF_QUALITY_3)
}

/// The header of a frame of the lowest bitrate (ISO/IEC 11172-3, 2.4.1.3; 13818-3, and MPEG-2.5 below 16 kHz).
fn lowest(rate: u32, channels: usize) -> [u8; 4] {
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
    [0xff, version, 1 << 4 | rate_index << 2, mode]
}

#[cfg(test)]
mod tests {
    use microserve_core::transcode::Quality;

    use super::*;
    use crate::lame::frames::Frames;
    use crate::lame::instance::{Block, alone};
    use crate::sniff::mpeg;

    /// A tag that has taken note of LAME's frames, and what LAME says of them itself.
    fn ours_and_lames(format: Format, blocks: usize) -> (Tag, Vec<u8>) {
        let tone = |n: usize| (0.3 * (n as f64 * 0.05).sin() * (n as f64 * 1e-5).sin()) as f32;
        let block = |n: usize| -> Block {
            let plane = (n * format.frame()..(n + 1) * format.frame()).map(tone);
            (0..format.channels).flat_map(|_| plane.clone()).collect()
        };
        let (theirs, bytes) = alone(format, &(0..blocks).map(block).collect::<Vec<_>>());
        let (mut ours, mut frames) = (blank(format).unwrap(), Frames::new());
        frames.bytes = bytes;
        assert!(frames.find());
        (0..frames.count().unwrap()).for_each(|n| ours.add(frames.get(n)));
        ours.complete(DELAY, (blocks * format.frame()) as u64);
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
            let (mut ours, at) = (tag.frame().to_vec(), 4 + mpeg::frame(tag.frame()).unwrap().side_info());
            let toc = at + 16..at + 116;
            // The next to last bits of the header say how stereo the last frame was, which had no sound here.
            ours[3] = ours[3] & 0xcf | theirs[3] & 0x30;
            // LAME counts without the tag, and to the end of a frame.
            for (ours, theirs) in ours[toc.clone()].iter().zip(&theirs[toc.clone()]) {
                assert!(ours.abs_diff(*theirs) <= 3, "{ours} {theirs}");
            }
            ours[toc.clone()].copy_from_slice(&theirs[toc]);
            // The checksum is of all this.
            let crc = at + 154..at + 156;
            ours[crc.clone()].copy_from_slice(&theirs[crc]);
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
