//! The frame without sound that comes first and tells how long the rest is (Xing's header, and the LAME tag
//! specification revision 1). LAME writes it itself, unless a frame of a low constant bitrate has no room for it: then
//! it leaves it out, and with it the exact length. Here it gets a frame of a higher bitrate, which decoders skip.

use microserve_core::transcode::Quality;

/// From the word `Info` to the end of the tag.
const TAG: usize = 156;
/// Samples that LAME adds at the start.
const DELAY: u64 = 576;

/// The tag of an MP3 of constant bitrate whose frames are too small for LAME's own.
pub(super) struct InfoTag {
    rate: u32,
    kbps: u16,
    side_info: usize,
    frame: Vec<u8>,
    music_crc: u16,
    bytes: u64,
}

impl InfoTag {
    /// `None` when LAME writes its own.
    pub(super) fn needed(rate: u32, channels: usize, kbps: u16) -> Option<Self> {
        let side_info = match (rate >= 32_000, channels) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        };
        let room = 4 + side_info + TAG;
        if frame_size(rate, kbps) >= room {
            return None;
        }
        let (index, _) = bitrates(rate).iter().enumerate().find(|(_, kbps)| frame_size(rate, **kbps) >= room)?;
        let mut frame = vec![0; frame_size(rate, bitrates(rate)[index])];
        frame[..4].copy_from_slice(&header(rate, channels, index as u8 + 1));
        Some(Self { rate, kbps, side_info, frame, music_crc: 0, bytes: 0 })
    }

    /// What stands in the tag's place until it is complete.
    pub(super) fn placeholder(&self) -> &[u8] {
        &self.frame
    }

    /// Takes note of frames that were written behind the tag.
    pub(super) fn add(&mut self, frames: &[u8]) {
        self.music_crc = crc(self.music_crc, frames);
        self.bytes += frames.len() as u64;
    }

    /// The tag of `samples` samples.
    pub(super) fn complete(mut self, samples: u64) -> Vec<u8> {
        let per_frame = if self.rate >= 32_000 { 1152 } else { 576 };
        // Padding bytes keep the mean exact, so the number of frames follows from that of the bytes.
        let mean = per_frame as f64 / 8.0 * f64::from(self.kbps) * 1000.0 / f64::from(self.rate);
        let frames = (self.bytes as f64 / mean).round() as u64;
        let padding = (frames * per_frame).saturating_sub(DELAY + samples).min(0xfff);
        let total = self.bytes + self.frame.len() as u64;

        let start = 4 + self.side_info;
        let mut tag = Vec::with_capacity(TAG);
        tag.extend(b"Info\0\0\0\x0f");
        tag.extend(saturated(frames).to_be_bytes());
        tag.extend(saturated(total).to_be_bytes());
        tag.extend((0..100u32).map(|percent| (percent * 256 / 100) as u8)); // constant bitrate: even steps
        tag.extend(57u32.to_be_bytes()); // what LAME makes of its quality 3
        tag.extend(b"LAME3.100");
        tag.extend([0x01, 0]); // revision 0, constant bitrate; lowpass unknown
        tag.extend([0; 8]); // peak and gains unknown
        tag.extend([0x04, u8::try_from(self.kbps).unwrap_or(u8::MAX)]); // ATH type 4
        let both = (DELAY as u32) << 12 | padding as u32;
        tag.extend(&both.to_be_bytes()[1..]);
        tag.extend([0; 4]); // noise shaping, gain, preset
        tag.extend(saturated(total).to_be_bytes());
        tag.extend(self.music_crc.to_be_bytes());
        self.frame[start..start + tag.len()].copy_from_slice(&tag);
        let end = start + tag.len();
        let crc = crc(0, &self.frame[..end]);
        self.frame[end..end + 2].copy_from_slice(&crc.to_be_bytes());
        self.frame
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
    use super::{InfoTag, crc};
    use crate::sniff::mpeg;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc(0, b"123456789"), 0xbb3d);
    }

    #[test]
    fn a_tag_is_a_frame_and_only_there_where_lame_has_no_room() {
        assert!(InfoTag::needed(44_100, 2, 64).is_none() && InfoTag::needed(44_100, 2, 56).is_some());
        for (rate, channels, kbps) in
            [(48_000, 2, 32), (44_100, 1, 32), (24_000, 2, 8), (22_050, 1, 32), (16_000, 1, 16)]
        {
            let tag = InfoTag::needed(rate, channels, kbps).unwrap().complete(rate.into());
            let frame = mpeg::frame(&tag).unwrap();
            assert_eq!((frame.size, frame.rate, usize::from(frame.channels)), (tag.len(), rate, channels));
        }
    }
}
