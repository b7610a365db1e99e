//! Coupling (A/52:2018, 7.4): above some frequency several channels share one spectrum, and each has only the loudness
//! of its bands.

use super::FULL;
use super::bands::{Bands, MOST, SUBBAND};
use super::bits::Bits;
use super::carrier::Carrier;
use super::exponents::scale;
use super::header::{Header, STEREO};
use super::mantissas::Noise;
use crate::decode::Damaged;

/// The bin of the first sub-band.
const FIRST_BIN: usize = 37;

/// Which sub-bands E-AC-3 joins unless told otherwise (table E2.16).
const JOINED: [bool; MOST] = {
    let mut joined = [false; MOST];
    let mut n = 8;
    while n < MOST {
        joined[n] = n != 9 && n != 12;
        n += 1;
    }
    joined
};

pub(super) struct Coupling {
    pub(super) in_use: bool,
    /// The bins of the coupling channel begin here.
    pub(super) start: usize,
    end: usize,
    bands: Bands,
    coordinates: [[f32; MOST]; FULL],
    /// The next coordinates of a channel are there without being announced.
    first: [bool; FULL],
    /// And so are the next leaks.
    pub(super) first_leaks: bool,
    phase_flags_in_use: bool,
    inverted: [bool; MOST],
}

impl Coupling {
    pub(super) fn new(enhanced: bool) -> Self {
        Self {
            in_use: false,
            start: 0,
            end: 0,
            bands: Bands::new(JOINED),
            coordinates: [[0.0; MOST]; FULL],
            first: [enhanced; FULL],
            first_leaks: enhanced,
            phase_flags_in_use: false,
            inverted: [false; MOST],
        }
    }

    /// The bins of the coupling channel.
    pub(super) fn bins(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    /// Reads which channels are coupled, and where; `extended_from` is the bin from which spectral extension takes over.
    pub(super) fn read_strategy(
        &mut self,
        bits: &mut Bits<'_>,
        header: &Header,
        in_use: bool,
        extended_from: Option<usize>,
        channels: &mut [Carrier],
    ) -> Result<(), Damaged> {
        self.in_use = in_use;
        if !in_use {
            *self = Self { bands: self.bands.clone(), ..Self::new(header.enhanced) };
            channels.iter_mut().for_each(|channel| channel.coupled = false);
            return Ok(());
        }
        // There is nothing to couple; and of enhanced coupling (E.3.5) nobody has ever seen a stream.
        if header.mode < STEREO || header.enhanced && bits.flag()? {
            return Err(Damaged);
        }
        for channel in channels {
            channel.coupled = header.enhanced && header.mode == STEREO || bits.flag()?;
        }
        self.phase_flags_in_use = header.mode == STEREO && bits.flag()?;
        let start = bits.index(4)?;
        let end = match extended_from {
            Some(bin) => bin.saturating_sub(FIRST_BIN) / SUBBAND,
            None => bits.index(4)? + 3,
        };
        let told = !header.enhanced || bits.flag()?;
        self.bands.read(bits, told, start, end)?;
        (self.start, self.end) = (FIRST_BIN + SUBBAND * start, FIRST_BIN + SUBBAND * end);
        Ok(())
    }

    /// Reads the loudness of bands where it is new (7.4.3).
    pub(super) fn read_coordinates(
        &mut self,
        bits: &mut Bits<'_>,
        header: &Header,
        channels: &[Carrier],
    ) -> Result<(), Damaged> {
        let mut any = false;
        for (n, channel) in channels.iter().enumerate().take(FULL) {
            if !channel.coupled {
                self.first[n] = header.enhanced;
                continue;
            }
            if !std::mem::take(&mut self.first[n]) && !bits.flag()? {
                continue;
            }
            any = true;
            let master = 3 * bits.take(2)? as i32;
            for coordinate in &mut self.coordinates[n][..self.bands.count()] {
                let (exponent, mantissa) = (bits.take(4)? as i32, bits.take(4)? as f32);
                let mantissa = if exponent == 15 { mantissa / 16.0 } else { (mantissa + 16.0) / 32.0 };
                // Loudness up to eight times that of the coupling channel.
                *coordinate = 8.0 * mantissa * 0.5f32.powi(exponent + master);
            }
        }
        if header.mode == STEREO && any {
            for inverted in &mut self.inverted[..self.bands.count()] {
                *inverted = self.phase_flags_in_use && bits.flag()?;
            }
        }
        Ok(())
    }

    /// Makes the coefficients of the coupled channels (7.4.4).
    pub(super) fn apply(&self, coupling: &Carrier, channels: &mut [Carrier], noise: &mut Noise) {
        for (n, channel) in channels.iter_mut().enumerate().take(FULL).filter(|(_, channel)| channel.coupled) {
            for (band, bins) in self.bands.bins(self.start).enumerate() {
                let inverted = n == 1 && self.inverted[band];
                let coordinate = if inverted { -self.coordinates[n][band] } else { self.coordinates[n][band] };
                for bin in bins {
                    // Noise is each channel's own, so that it does not stand in the middle (7.3.4).
                    let coefficient = match coupling.baps[bin] {
                        0 if channel.dither => noise.mantissa() * scale(coupling.exponents[bin]),
                        _ => coupling.coefficients[bin],
                    };
                    channel.coefficients[bin] = coordinate * coefficient;
                }
            }
        }
    }
}
