//! PCM of Blu-rays, of DVDs, and of studios (SMPTE ST 302): samples become big-endian ones of 16 or 24 bits.

use super::{Format, Head, Kind};
use crate::audio::{Speaker, wave_order};
use crate::codec::PcmFormat;
use crate::demux::Packet;

use Speaker::{BackCentre, BackLeft, BackRight, FrontCentre, FrontLeft, FrontRight, Lfe, SideLeft, SideRight};

/// Puts a head to samples; an incomplete frame of them at the end is left out.
fn cut(kind: Kind, name: &'static str, pcm: PcmFormat, mut data: Vec<u8>) -> Option<(Head, Packet)> {
    let frame = pcm.frame();
    let samples = data.len() / frame.max(1);
    data.truncate(samples * frame);
    let (rate, channels) = (pcm.rate, u16::try_from(pcm.speakers.len()).unwrap_or(0));
    let key = u32::from(pcm.bytes) << 16 | u32::from(pcm.slots) << 8 | u32::from(channels);
    let format = Format { key, pcm: Some(pcm), ..Format::new(kind, name, rate, channels) };
    let head = Head { format, samples: u32::try_from(samples).unwrap_or(0), size: data.len() };
    (samples > 0).then_some((head, Packet { data, ..Packet::default() }))
}

/// A packet of a Blu-ray: four bytes of header (size, channels and rate, width), and behind them the samples, with one
/// more for an odd number of channels (Blu-ray Disc Read-Only Format, part 3).
pub(super) fn bluray(bytes: &[u8]) -> Option<(Head, Packet)> {
    let ([_, _, format, width], samples) = bytes.split_first_chunk()?;
    let speakers = match format >> 4 {
        1 => vec![FrontCentre],
        3 => vec![FrontLeft, FrontRight],
        4 => vec![FrontLeft, FrontRight, FrontCentre],
        5 => vec![FrontLeft, FrontRight, BackCentre],
        6 => vec![FrontLeft, FrontRight, FrontCentre, BackCentre],
        7 => vec![FrontLeft, FrontRight, SideLeft, SideRight],
        8 => vec![FrontLeft, FrontRight, FrontCentre, SideLeft, SideRight],
        9 => vec![FrontLeft, FrontRight, FrontCentre, SideLeft, SideRight, Lfe],
        10 => vec![FrontLeft, FrontRight, FrontCentre, SideLeft, BackLeft, BackRight, SideRight],
        11 => vec![FrontLeft, FrontRight, FrontCentre, SideLeft, BackLeft, BackRight, SideRight, Lfe],
        _ => return None,
    };
    let rate = match format & 0xf {
        1 => 48_000,
        4 => 96_000,
        5 => 192_000,
        _ => return None,
    };
    let bytes = match width >> 6 {
        1 => 2,
        2 | 3 => 3,
        _ => return None,
    };
    let slots = u8::try_from(speakers.len().next_multiple_of(2)).ok()?;
    cut(Kind::BlurayPcm, "pcm_bluray", PcmFormat { rate, bytes, slots, speakers }, samples.to_vec())
}

/// Pairs of samples of 16, 20 or 24 bits, the lowest bit first, each with four bits that say what it is (SMPTE ST 302,
/// 6). `suspected`: they may be something else.
pub(super) fn aes3(bytes: &[u8], suspected: bool) -> Option<(Head, Packet)> {
    let (header, samples) = bytes.split_first_chunk()?;
    let header = u32::from_be_bytes(*header);
    let channels = 2 * (usize::try_from(header >> 14 & 3).ok()? + 1);
    let width = match header >> 4 & 3 {
        0 => 16,
        1 => 20,
        2 => 24,
        _ => return None,
    };
    let samples = &samples[..samples.len().min(usize::try_from(header >> 16).ok()?)];
    let mut data = Vec::with_capacity(samples.len());
    for pair in samples.chunks_exact((width + 4) / 4) {
        let bits = pair.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for word in [bits >> (width + 4), bits] {
            let sample = (word >> 4 << (64 - width)).reverse_bits() << (24 - width);
            data.extend(&sample.to_be_bytes()[5..]);
        }
    }
    // Other codecs travel in the place of sound (SMPTE ST 337); played, they are noise.
    let name = if suspected && holds_data(&data) { "s337" } else { "s302m" };
    let speakers = match channels {
        // Behind 5.1, a pair for stereo, which has all of it once more (SMPTE ST 320).
        8 => [&wave_order(6)[..], &[Speaker::Mixdown; 2]].concat(),
        _ => wave_order(channels),
    };
    let pcm = PcmFormat { rate: 48_000, bytes: 3, slots: u8::try_from(channels).ok()?, speakers };
    let (mut head, packet) = cut(Kind::Aes3, name, pcm, data)?;
    head.format.pcm = head.format.pcm.filter(|_| name == "s302m");
    Some((head, packet))
}

/// Whether two samples in a row are the words that bursts of data begin with (SMPTE ST 337, 6.1.1).
fn holds_data(samples: &[u8]) -> bool {
    const WORDS: [[u32; 2]; 3] = [[0xf8_7200, 0x4e_1f00], [0x6f_8720, 0x54_e1f0], [0x96_f872, 0xa5_4e1f]];
    let words: Vec<u32> = samples.chunks_exact(3).map(|s| u32::from_be_bytes([0, s[0], s[1], s[2]])).collect();
    words.windows(2).any(|two| WORDS.iter().any(|pair| two == pair))
}

/// A DVD's sound goes on from packet to packet, in groups of samples: their upper 16 bits first, then the rest.
#[derive(Default)]
pub(super) struct Dvd {
    /// The beginning of a group.
    rest: Vec<u8>,
    format: Option<[u8; 2]>,
}

impl Dvd {
    /// Reads a packet: three bytes of header (of which the second tells width, rate and channels), and samples (DVD
    /// Specifications for Read-Only Disc, part 3, 5.2.3).
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(Head, Packet)> {
        let ([_, format, range], samples) = bytes.split_first_chunk()?;
        if self.format != Some([*format, *range]) {
            self.rest.clear();
        }
        self.format = Some([*format, *range]);
        let rate = [48_000, 96_000, 44_100, 32_000][usize::from(format >> 4 & 3)];
        let channels = usize::from(format & 7) + 1;
        let (width, name) = match format >> 6 {
            0 => (16, "pcm_dvd"),
            1 => (20, "pcm_dvd"),
            2 => (24, "pcm_dvd"),
            _ => return None,
        };
        self.rest.extend_from_slice(samples);
        // Two moments make a group: a moment of an even number of samples has whole bytes in each half.
        let group = if channels == 1 { 2 } else { 4 };
        let in_group = group * width / 8;
        let whole = self.rest.len() / (in_group * channels) * (in_group * channels);
        let mut data = Vec::with_capacity(whole / width * 24 + 24);
        for bytes in self.rest[..whole].chunks_exact(in_group) {
            if width == 16 {
                data.extend_from_slice(bytes);
                continue;
            }
            let (upper, lower) = bytes.split_at(2 * group);
            for (n, two) in upper.chunks_exact(2).enumerate() {
                let low = match (width, n % 2) {
                    (24, _) => lower[n],
                    (_, 0) => lower[n / 2] & 0xf0,
                    _ => lower[n / 2] << 4,
                };
                data.extend([two[0], two[1], low]);
            }
        }
        self.rest.drain(..whole);
        let bytes = if width == 16 { 2 } else { 3 };
        let pcm = PcmFormat { rate, bytes, slots: u8::try_from(channels).ok()?, speakers: wave_order(channels) };
        cut(Kind::DvdPcm, name, pcm, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_dvd_are_put_together_across_packets() {
        let group24 = [1, 2, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 0xd];
        let bytes = [&[0, 0x81, 0x80][..], &group24.repeat(2), &[1, 2]].concat();
        let mut dvd = Dvd::default();
        let (head, packet) = dvd.read(&bytes).unwrap();
        assert_eq!((head.samples, head.format.channels, head.format.rate), (4, 2, 48_000));
        assert_eq!(packet.data[..12], [1, 2, 0xa, 3, 4, 0xb, 5, 6, 0xc, 7, 8, 0xd]);
        // The first two bytes of the next group are kept.
        let (_, packet) = dvd.read(&[&[0, 0x81, 0x80][..], &group24[2..], &group24].concat()).unwrap();
        assert_eq!(packet.data[..3], [1, 2, 0xa]);
        let twenty = [&[0, 0x41, 0x80][..], &[1, 2, 3, 4, 5, 6, 7, 8, 0xab, 0xcd].repeat(2)].concat();
        let (_, packet) = Dvd::default().read(&twenty).unwrap();
        assert_eq!(packet.data[..12], [1, 2, 0xa0, 3, 4, 0xb0, 5, 6, 0xc0, 7, 8, 0xd0]);
    }

    #[test]
    fn other_codecs_in_the_place_of_pcm_are_no_sound() {
        // 0xf872 and 0x4e1f, the lowest bit first, each with four bits behind it.
        let pair = [0x4e, 0x1f, 0x0f, 0x87, 0x20];
        let (head, _) = aes3(&[&[0, 5, 0, 0][..], &pair].concat(), true).unwrap();
        assert_eq!((head.format.name, head.format.pcm), ("s337", None));
    }
}
