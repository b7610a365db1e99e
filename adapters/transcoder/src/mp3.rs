//! What an MP3 has beside the frames of its sound: the tag frame in front of them, and frames of silence.

use crate::sniff::mpeg;

mod seek_table;
mod tag;

pub(crate) use tag::Tag;

/// Bytes of a header, in front of the side information.
pub(crate) const HEADER: usize = 4;

/// A frame of nothing with a header like this one, but for a bitrate that is higher if that takes to have so many bytes,
/// and the checksum. Without side information it is silent (ISO/IEC 11172-3, 2.4.1.7), and its main data may be anything.
pub(crate) fn silent_frame(like: [u8; HEADER], size: usize) -> Option<Vec<u8>> {
    let [sync, version, rates, mode] = like;
    (rates >> 4..15).find_map(|bitrate| {
        // No checksum, no padding, and none of the ways of joining channels.
        let header = [sync, version | 1, bitrate << 4 | rates & 0x0c, mode & 0xcf];
        let frame = mpeg::frame(&header).filter(|frame| frame.size >= size.max(HEADER + frame.side_info()))?;
        let mut bytes = header.to_vec();
        bytes.resize(frame.size, 0);
        Some(bytes)
    })
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
    use super::{crc, mpeg, silent_frame};

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc(0, b"123456789"), 0xbb3d);
    }

    #[test]
    fn a_silent_frame_has_the_room_that_it_is_asked_for() {
        let like = [0xff, 0xfa, 0x92, 0x64]; // 128 kbit/s at 44.1 kHz with a checksum, padding and joined channels
        for (room, size) in [(0, 417), (417, 417), (418, 522), (1044, 1044)] {
            let frame = silent_frame(like, room).unwrap();
            assert_eq!((frame.len(), mpeg::frame(&frame).unwrap().size), (size, size));
            assert!(mpeg::frame(&frame).unwrap().is_like(&mpeg::frame(&like).unwrap()));
        }
        assert_eq!(silent_frame(like, 1045), None);
    }
}
