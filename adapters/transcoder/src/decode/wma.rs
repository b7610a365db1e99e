//! Windows Media Audio 1 and 2.
//!
//! No standard describes them; what is written here follows from what is publicly known of the format, and agrees with
//! other decoders.
//!
//! Packets of a fixed size hold frames of 512 to 2048 samples, and frames blocks of different lengths: short ones where
//! the sound changes suddenly. A block is a spectrum (MDCT) in numbers that an envelope makes as exact as the ear is
//! at each frequency; high frequencies may be noise of a certain loudness. With the "bit reservoir", a packet's last
//! frame goes on in the next packet.

use microserve_core::transcode::TranscodeError;

use super::{Damaged, Decoder, corrupt};
use crate::audio::{Pcm, Speaker, wave_order};
use crate::codec::Wma;

mod bits;
mod block;
mod setup;
mod synthesis;
mod tables;

use bits::Bits;
use block::{Books, Channel, Noise};
use setup::Setup;
use synthesis::Mdct;

/// A frame that goes on over more bytes than this is none.
const LONGEST_FRAME: usize = 128 * 1024;

pub(super) struct WmaDecoder {
    setup: Setup,
    speakers: Vec<Speaker>,
    /// Bytes of a packet; 0: all that there are.
    packet: usize,
    /// The bits of a frame that began in the packet before, and its number.
    unfinished: Option<Unfinished>,
    frames: Frames,
}

/// A frame that goes on in the next packet.
struct Unfinished {
    /// The last four bits of a count of packets.
    packet: u32,
    bytes: Vec<u8>,
    /// Where in them it begins and ends, in bits.
    start: usize,
    end: usize,
}

impl WmaDecoder {
    pub(super) fn new(wma: &Wma) -> Result<Self, TranscodeError> {
        let setup = Setup::new(wma).ok_or_else(|| corrupt("the settings of its WMA make no sense"))?;
        let speakers = wave_order(setup.channels);
        let frames = Frames::new(&setup);
        Ok(Self { setup, speakers, packet: wma.block.into(), unfinished: None, frames })
    }

    fn packet(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        if !self.setup.reservoir {
            return self.frames.decode(&mut Bits::new(packet, 0), &self.setup, pcm);
        }
        let mut bits = Bits::new(packet, 0);
        // The frames that begin in it, the last of which ends in a later one.
        let (number, begins) = (bits.read(4), bits.read(4));
        let carried = bits.read(self.setup.carry_bits) as usize;
        let start = bits.position() + carried;
        if start > packet.len() * 8 {
            self.unfinished = None;
            return Err(Damaged);
        }
        // Without the packet before this one, nobody knows what goes on here.
        let before = self.unfinished.take().filter(|frame| (frame.packet + 1) % 16 == number);
        let mut outcome = Ok(());
        if let Some(mut frame) = before {
            frame.append(packet, bits.position(), carried);
            frame.packet = number;
            if begins == 0 && frame.bytes.len() < LONGEST_FRAME {
                self.unfinished = Some(frame);
                return Ok(());
            }
            outcome = self.frames.decode(&mut Bits::new(&frame.bytes, frame.start), &self.setup, pcm);
        }
        let mut bits = Bits::new(packet, start);
        self.frames.neighbours_are_unknown();
        for _ in 1..begins {
            self.frames.decode(&mut bits, &self.setup, pcm)?;
        }
        if begins > 0 && !bits.is_over() {
            let start = bits.position();
            let bytes = packet[start / 8..].to_vec();
            let end = bytes.len() * 8;
            self.unfinished = Some(Unfinished { packet: number, bytes, start: start % 8, end });
        }
        outcome
    }
}

impl Unfinished {
    /// Adds bits of another packet.
    fn append(&mut self, packet: &[u8], from: usize, count: usize) {
        let mut bits = Bits::new(packet, from);
        for _ in 0..count {
            if self.end.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut().filter(|_| bits.flag()) {
                *last |= 0x80 >> (self.end % 8);
            }
            self.end += 1;
        }
    }
}

impl Decoder for WmaDecoder {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        pcm.reset(self.setup.rate, &self.speakers);
        let size = if self.packet == 0 { packet.len().max(1) } else { self.packet };
        // What is left over at the end is no whole packet.
        let (mut decoded, mut damaged) = (false, packet.len() < size);
        for packet in packet.chunks_exact(size) {
            match self.packet(packet, pcm) {
                Ok(()) => decoded = true,
                Err(Damaged) => damaged = true,
            }
        }
        if damaged && !decoded { Err(Damaged) } else { Ok(()) }
    }

    /// The second half of the last transform, which nothing follows that it could overlap.
    fn finish(&mut self, pcm: &mut Pcm) {
        pcm.reset(self.setup.rate, &self.speakers);
        for (plane, out) in pcm.planes.iter_mut().zip(&mut self.frames.out) {
            plane.extend_from_slice(&out[..self.setup.frame]);
            out.fill(0.0);
        }
    }
}

/// Decodes frames, each of which overlaps the ones beside it.
struct Frames {
    books: Books,
    noise: Noise,
    mdcts: Vec<Mdct>,
    channels: Vec<Channel>,
    /// The sound of a frame and of the one behind it, as far as it is known.
    out: Vec<Vec<f32>>,
    sound: Vec<f32>,
    /// The sizes of the block before, of this one and of the next; `None` where a packet begins.
    sizes: Option<(usize, usize, usize)>,
}

impl Frames {
    fn new(setup: &Setup) -> Self {
        Self {
            books: Books::new(setup.books),
            noise: Noise::new(setup),
            mdcts: setup.sizes.iter().map(|size| Mdct::new(size.len)).collect(),
            channels: (0..setup.channels).map(|_| Channel::default()).collect(),
            out: vec![vec![0.0; 2 * setup.frame]; setup.channels],
            sound: vec![0.0; 2 * setup.frame],
            sizes: None,
        }
    }

    /// The next block says the sizes of those beside it, too.
    fn neighbours_are_unknown(&mut self) {
        self.sizes = None;
    }

    fn decode(&mut self, bits: &mut Bits<'_>, setup: &Setup, pcm: &mut Pcm) -> Result<(), Damaged> {
        let mut at = 0;
        while at < setup.frame {
            let sizes = self.sizes(bits, setup)?;
            let len = setup.sizes[sizes.1].len;
            if at + len > setup.frame {
                return Err(Damaged);
            }
            let joint = block::read(bits, setup, &self.books, sizes.1, &mut self.channels, &mut self.noise)?;
            self.synthesise(setup.frame / 2 + at - len / 2, len, sizes, joint);
            at += len;
        }
        // Reading on behind the end means that something before was misread.
        let is_sound = self.out.iter().flatten().all(|sample| sample.is_finite());
        if bits.is_over() || !is_sound {
            self.out.iter_mut().for_each(|out| out.fill(0.0));
            return Err(Damaged);
        }
        for (plane, out) in pcm.planes.iter_mut().zip(&mut self.out) {
            plane.extend_from_slice(&out[..setup.frame]);
            out.copy_within(setup.frame.., 0);
            out[setup.frame..].fill(0.0);
        }
        Ok(())
    }

    /// The sizes of the block before, of this one and of the next.
    fn sizes(&mut self, bits: &mut Bits<'_>, setup: &Setup) -> Result<(usize, usize, usize), Damaged> {
        if !setup.variable {
            return Ok((0, 0, 0));
        }
        let width = (setup.sizes.len() - 1).max(1).ilog2() + 1;
        let mut size = || Some(bits.read(width) as usize).filter(|size| *size < setup.sizes.len()).ok_or(Damaged);
        let (before, this) = match self.sizes.take() {
            Some((_, this, next)) => (this, next),
            None => (size()?, size()?),
        };
        let sizes = (before, this, size()?);
        self.sizes = Some(sizes);
        Ok(sizes)
    }

    fn synthesise(&mut self, start: usize, len: usize, sizes: (usize, usize, usize), joint: bool) {
        for (n, channel) in self.channels.iter().enumerate() {
            if channel.coded {
                self.mdcts[sizes.1].inverse(&channel.spectrum, &mut self.sound);
            } else if !(joint && n == 1) {
                self.sound.fill(0.0);
            } // Otherwise the difference of both is zero, and so the second is the first.
            let out = &mut self.out[n][start..start + 2 * len];
            synthesis::overlap(out, &self.sound, &self.mdcts, sizes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
        }
    }

    #[test]
    fn noise_in_the_place_of_packets_of_any_settings_does_no_harm() {
        let mut random = Random(0x5eed);
        let (mut pcm, mut decoded, mut lost) = (Pcm::default(), 0, 0);
        for round in 0..600 {
            let rate = [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 4000][random.next() as usize % 8];
            let (version, channels) = (1 + (random.next() & 1) as u8, 1 + (random.next() & 1) as u16);
            let bytes_per_second = 500 + (random.next() % 40_000) as u32;
            let block = [0, 64, 400, 2000, 9000][random.next() as usize % 5];
            let flags = (random.next() & 0x1f) as u16;
            let wma = Wma { version, rate, channels, bytes_per_second, block, flags };
            let mut decoder = WmaDecoder::new(&wma).unwrap();
            for number in 0..30u8 {
                let mut packet = vec![0; usize::from(block.max(100))];
                // Zeros are the shortest codes, and so go on the longest.
                let sparse = random.next() & 3 == 0;
                packet.iter_mut().for_each(|byte| *byte = if sparse { 0 } else { random.next() as u8 });
                // Often the next one, and mostly with a short rest of the frame before.
                packet[0] = number << 4 | packet[0] & 0xf;
                packet[1] &= random.next() as u8 & 0x0f;
                match decoder.decode(&packet, &mut pcm) {
                    Ok(()) => decoded += 1,
                    Err(Damaged) => lost += 1,
                }
                let frames = pcm.frames();
                assert!(frames <= 15 << wma.frame_bits(), "round {round}: {frames}");
                assert!(pcm.planes.iter().flatten().all(|sample| sample.is_finite()));
            }
        }
        assert!(decoded > 100 && lost > 100, "{decoded} decoded, {lost} lost");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let good = Wma { version: 2, rate: 44_100, channels: 2, bytes_per_second: 16_000, block: 1000, flags: 0x0f };
        assert!(WmaDecoder::new(&good).is_ok());
        for bad in [
            Wma { rate: 0, ..good.clone() },
            Wma { rate: 96_000, ..good.clone() },
            Wma { channels: 0, ..good.clone() },
            Wma { channels: 3, ..good.clone() },
            Wma { bytes_per_second: 0, ..good.clone() },
            Wma { bytes_per_second: u32::MAX, ..good.clone() },
        ] {
            assert!(WmaDecoder::new(&bad).is_err(), "{bad:?}");
        }
    }
}
