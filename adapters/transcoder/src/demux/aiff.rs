//! AIFF and AIFF-C (Apple, "Audio Interchange File Format" 1.3 and its AIFF-C draft of 1991).

use microserve_core::transcode::TranscodeError;

use super::pcm::{self, Sound};
use super::{LARGEST_PACKET, Opened, corrupt, id3v2};
use crate::codec::pcm::{Order, Sample};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::{Key, Tags};

/// No more chunks are looked at.
const MOST_CHUNKS: usize = 10_000;
/// No text, and no chunk that describes the sound, is longer.
const LARGEST_TEXT: u64 = 64 * 1024;

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (mut tags, mut at, mut common, mut data) = (Tags::default(), 12, None, None);
    // Chunks may come in any order: the description behind the sound, and tags last of all.
    for _ in 0..MOST_CHUNKS {
        let Some([kind @ .., s0, s1, s2, s3]) = input.array_at::<8>(at)? else { break };
        let size = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
        let body = at + 8;
        match &kind {
            b"COMM" => common = Common::parse(&input.vec_at(body, size.min(LARGEST_TEXT))?),
            b"SSND" => {
                let offset = u64::from(input.array_at(body)?.map_or(0, u32::from_be_bytes));
                // Programs that could not go back to write the size down left none.
                let end = if size < 8 { input.len() } else { body + size };
                let start = body.saturating_add(8).saturating_add(offset);
                data.get_or_insert((start, end.saturating_sub(start)));
                at = end;
            }
            b"NAME" => tags.set(Key::Title, &text(&mut input, body, size)?),
            b"AUTH" => tags.set(Key::Artist, &text(&mut input, body, size)?),
            b"ID3 " | b"id3 " if size <= LARGEST_PACKET * 2 => tags.merge(id3v2::read(&mut input, body)?),
            _ => {}
        }
        at = at.max(body.saturating_add(size));
        at += at & 1;
    }
    let Some(common) = common else { return Err(corrupt("it does not say what its sound is, or is cut off before")) };
    let Some(data) = data else { return Err(corrupt("it has no sound, which happens when a file is cut off")) };
    let sound = common.sound();
    // The number of samples, or of blocks, is right where the program went back to write it down.
    let samples = common.frames.saturating_mul(sound.block.1);
    pcm::open(Container::Aiff, input, sound, data, Some(samples).filter(|samples| *samples > 0), tags)
}

fn text(input: &mut Input<'_>, at: u64, size: u64) -> Result<String, TranscodeError> {
    Ok(String::from_utf8_lossy(&input.vec_at(at, size.min(LARGEST_TEXT))?).into_owned())
}

/// What the common chunk says.
#[derive(Debug, PartialEq)]
struct Common {
    channels: u16,
    frames: u64,
    bits: u16,
    rate: u32,
    /// In AIFF-C.
    compression: Option<[u8; 4]>,
}

impl Common {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<18>()?;
        let [c0, c1, f0, f1, f2, f3, b0, b1, rate @ ..] = *head;
        Some(Self {
            channels: u16::from_be_bytes([c0, c1]),
            frames: u32::from_be_bytes([f0, f1, f2, f3]).into(),
            bits: u16::from_be_bytes([b0, b1]),
            rate: extended(rate),
            compression: rest.first_chunk().copied(),
        })
    }

    fn sound(&self) -> Sound {
        let (rate, channels) = (self.rate, self.channels);
        let kind = self.compression.unwrap_or(*b"NONE");
        let integer = |bits, order| Sample::integer(bits, true, order);
        let sample = match &kind {
            b"NONE" | b"twos" => integer(self.bits.into(), Order::Big),
            b"sowt" => integer(self.bits.into(), Order::Little),
            b"raw " => Sample::integer(self.bits.into(), false, Order::Big),
            b"in24" => integer(24, Order::Big),
            b"in32" => integer(32, Order::Big),
            b"42ni" => integer(24, Order::Little),
            b"23ni" => integer(32, Order::Little),
            b"fl32" | b"FL32" => Sample::float(32, Order::Big),
            b"fl64" | b"FL64" => Sample::float(64, Order::Big),
            b"alaw" | b"ALAW" => Some(Sample::A_LAW),
            b"ulaw" | b"ULAW" => Some(Sample::MU_LAW),
            b"ima4" => return Sound::ima4(rate, channels),
            _ => None,
        };
        match sample {
            Some(sample) => Sound::pcm(sample, rate, channels, None),
            None => Sound::unsupported(unsupported(&kind, self.bits), rate, channels),
        }
    }
}

fn unsupported(kind: &[u8; 4], bits: u16) -> String {
    let name = match kind {
        b"MAC3" => "mace3",
        b"MAC6" => "mace6",
        b"QDM2" => "qdm2",
        b"QDMC" => "qdmc",
        b"Qclp" => "qcelp",
        b"ADP4" => "adpcm_ima_ws",
        b"G722" => "adpcm_g722",
        b"G726" => "adpcm_g726",
        b"GSM " | b"agsm" => "gsm",
        b"NONE" | b"twos" | b"sowt" | b"raw " => return format!("pcm of {bits} bits"),
        other => return format!("aiff-c {}", other.escape_ascii()),
    };
    name.to_owned()
}

/// A rate as a float of 80 bits (IEEE 754 double extended): sign and exponent, then 64 bits of which the first is the
/// one before the point. Zero for what is no rate.
fn extended(bytes: [u8; 10]) -> u32 {
    let [e0, e1, mantissa @ ..] = bytes;
    let exponent = i32::from(u16::from_be_bytes([e0, e1])) - 16_383;
    let mantissa = u64::from_be_bytes(mantissa);
    match exponent {
        0..=31 => {
            let rate = u128::from(mantissa) << exponent;
            u32::try_from((rate + (1 << 62)) >> 63).unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Common, extended};

    #[test]
    fn rates_are_read_from_80_bits() {
        assert_eq!(extended([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]), 44_100);
        assert_eq!(extended([0x40, 0x10, 0xbb, 0x80, 0, 0, 0, 0, 0, 0]), 192_000);
        // 22254.5454… Hz, as the first Macintoshes had it
        assert_eq!(extended([0x40, 0x0d, 0xad, 0xdd, 0x17, 0x45, 0xd1, 0x74, 0x5d, 0x17]), 22_255);
        for nonsense in [
            [0; 10],
            [0xff; 10],
            [0x7f, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
            [0x40, 0x1e, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(extended(nonsense), 0);
        }
    }

    #[test]
    fn a_cut_off_description_is_none() {
        assert_eq!(Common::parse(&[0; 17]), None);
        assert_eq!(Common::parse(&[0; 18]).and_then(|common| common.compression), None);
    }
}
