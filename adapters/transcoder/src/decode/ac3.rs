//! AC-3 and E-AC-3 (ATSC A/52:2018, ETSI TS 102 366), which others call Dolby Digital and Dolby Digital Plus.
//!
//! A packet is an access unit: a syncframe of independent substream 0, the frames of its dependent substreams, which
//! have more channels, and those of other programs, which are not played. `header` and `frame` read what holds for a
//! frame, `block` what holds for a block. `exponents` say how large each coefficient is, `allocation` how many bits it
//! has, `mantissas` and `hybrid` what it is. `substream` puts all of it together: `coupling` and `extension` fill in
//! what channels don't have for themselves, and `transform` makes samples.
//!
//! `dynrng` is applied, as the standard wants it by default and as players do; `compr` and `dialnorm` are not.

use self::bits::Bits;
use self::layout::Stretch;
use self::mantissas::Noise;
use self::substream::Substream;
use super::{Damaged, Decoder};
use crate::audio::Pcm;
use crate::sniff::ac3;

mod allocation;
mod bands;
mod bits;
mod block;
mod carrier;
mod coupling;
mod exponents;
mod extension;
mod frame;
mod header;
mod hybrid;
mod layout;
mod mantissas;
mod substream;
mod transform;
mod vectors;

/// Transform coefficients, and samples, of a block.
const BINS: usize = 256;
/// The most full-bandwidth channels of a substream.
const FULL: usize = 5;
/// The places of the LFE channel and of the coupling channel behind them.
const LFE: usize = FULL;
const COUPLING: usize = FULL + 1;
const CARRIERS: usize = FULL + 2;

/// Dependent substreams of a program.
const DEPENDENTS: usize = 8;

/// Plays a stream's first program.
#[derive(Default)]
pub(super) struct Ac3 {
    main: Option<Substream>,
    dependents: [Option<Substream>; DEPENDENTS],
    sound: Stretch,
    more: Stretch,
    /// Another one gives other noise.
    seed: u32,
}

impl Decoder for Ac3 {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let decoded = self.units(packet, pcm);
        if decoded.is_err() {
            // What is in the decoder belongs to sound of which a part is missing.
            self.main.iter_mut().chain(self.dependents.iter_mut().flatten()).for_each(Substream::interrupt);
        }
        decoded
    }
}

impl Ac3 {
    fn units(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let (mut rest, mut rate) = (packet, 0);
        // Of the program that is played, and whether a frame of it waits for its dependent substreams.
        let (mut is_ours, mut waits, mut is_first) = (false, false, true);
        while let Some(head) = ac3::frame(rest) {
            let (bytes, behind) = rest.split_at_checked(head.size).ok_or(Damaged)?;
            rest = behind;
            if !ac3::is_intact(bytes, head.enhanced) {
                return Err(Damaged);
            }
            match head.substream {
                ac3::Substream::Independent(0) => {
                    if std::mem::replace(&mut waits, true) {
                        self.give(rate, pcm, std::mem::take(&mut is_first))?;
                    }
                    (rate, is_ours) = (head.rate, true);
                    decode(&mut self.main, &head, bytes, self.seed, &mut self.sound)?;
                }
                ac3::Substream::Independent(_) => is_ours = false,
                ac3::Substream::Dependent(id) if is_ours => {
                    let substream = &mut self.dependents[usize::from(id) % DEPENDENTS];
                    let decoded = decode(substream, &head, bytes, self.seed, &mut self.more);
                    // The program is whole without it.
                    if decoded.is_ok() && head.rate == rate {
                        self.sound.extend(&mut self.more);
                    }
                }
                ac3::Substream::Dependent(_) => {}
            }
        }
        if waits { self.give(rate, pcm, is_first) } else { Err(Damaged) }
    }

    fn give(&mut self, rate: u32, pcm: &mut Pcm, is_first: bool) -> Result<(), Damaged> {
        if is_first {
            pcm.reset(rate, &self.sound.speakers);
        } else if pcm.rate != rate || pcm.speakers != self.sound.speakers {
            return Err(Damaged);
        }
        for (plane, samples) in pcm.planes.iter_mut().zip(&self.sound.planes) {
            plane.extend_from_slice(samples);
        }
        Ok(())
    }
}

/// Decodes a syncframe.
fn decode(
    substream: &mut Option<Substream>,
    head: &ac3::Frame,
    bytes: &[u8],
    seed: u32,
    sound: &mut Stretch,
) -> Result<(), Damaged> {
    let mut bits = Bits::new(bytes);
    let frame = header::read(&mut bits, head)?;
    let coded = layout::of_mode(frame.header.mode, frame.header.lfe);
    let speakers = frame.header.map.map(layout::of_map).unwrap_or_else(|| coded.clone());
    if speakers.len() != coded.len() {
        return Err(Damaged);
    }
    sound.reset(speakers);
    let substream = substream.get_or_insert_with(|| Substream::new(&frame));
    substream.decode(&frame, &mut bits, &mut Noise::of(bytes, seed), &mut sound.planes)
}

#[cfg(test)]
mod crafted;
#[cfg(test)]
mod tests;
