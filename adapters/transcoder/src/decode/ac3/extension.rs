//! Spectral extension of E-AC-3 (A/52:2018, E.3.6): what lies above some frequency is a copy of what lies below, mixed
//! with noise and made as loud, band by band, as it was.

use super::bands::{Bands, MOST, SUBBAND};
use super::bits::Bits;
use super::carrier::Carrier;
use super::header::Header;
use super::mantissas::Noise;
use super::{BINS, FULL};
use crate::decode::Damaged;

/// The bin of the first sub-band.
const FIRST_BIN: usize = 25;

/// Which sub-bands are joined unless the frame says otherwise (table E2.15).
const JOINED: [bool; MOST] = {
    let mut joined = [false; MOST];
    let mut n = 8;
    while n < 17 {
        joined[n] = true;
        n += 2;
    }
    joined
};

pub(super) struct Extension {
    pub(super) in_use: bool,
    /// Copies begin with this bin,
    copied: usize,
    /// are put from this one on,
    pub(super) start: usize,
    /// and end before this one.
    end: usize,
    bands: Bands,
    /// Of each channel and band: how loud the copy is, and how loud the noise.
    blends: [[(f32, f32); MOST]; FULL],
    /// The next coordinates of a channel are there without being announced.
    first: [bool; FULL],
}

impl Extension {
    pub(super) fn new() -> Self {
        Self {
            in_use: false,
            copied: 0,
            start: 0,
            end: 0,
            bands: Bands::new(JOINED),
            blends: [[(0.0, 0.0); MOST]; FULL],
            first: [true; FULL],
        }
    }

    /// The bin from which it takes over.
    pub(super) fn takes_over(&self) -> Option<usize> {
        self.in_use.then_some(self.start)
    }

    /// Reads `spxinu` and what follows it.
    pub(super) fn read_strategy(
        &mut self,
        bits: &mut Bits<'_>,
        header: &Header,
        channels: &mut [Carrier],
    ) -> Result<(), Damaged> {
        self.in_use = bits.flag()?;
        if !self.in_use {
            channels.iter_mut().for_each(|channel| channel.extended = false);
            self.first = [true; FULL];
            return Ok(());
        }
        for channel in channels {
            channel.extended = header.mode == 1 || bits.flag()?;
        }
        let (copied, start, end) = (bits.index(2)?, bits.index(3)?, bits.index(3)?);
        // Sub-bands are counted by two from the seventh on (E.2.3.3.5 and E.2.3.3.6).
        let start = if start < 6 { start + 2 } else { 2 * start - 3 };
        let end = if end < 3 { end + 5 } else { 2 * end + 3 };
        let told = bits.flag()?;
        self.bands.read(bits, told, start, end)?;
        if copied >= start {
            return Err(Damaged);
        }
        [self.copied, self.start, self.end] = [copied, start, end].map(|subband| FIRST_BIN + SUBBAND * subband);
        Ok(())
    }

    /// Reads how loud the bands are, where it is new (E.3.6.4).
    pub(super) fn read_coordinates(&mut self, bits: &mut Bits<'_>, channels: &[Carrier]) -> Result<(), Damaged> {
        for (n, channel) in channels.iter().enumerate().take(FULL) {
            if !channel.extended {
                self.first[n] = true;
                continue;
            }
            if !std::mem::take(&mut self.first[n]) && !bits.flag()? {
                continue;
            }
            let blend = bits.take(5)? as f32 / 32.0;
            let master = 3 * bits.take(2)? as i32;
            for (blends, bins) in self.blends[n].iter_mut().zip(self.bands.bins(self.start)) {
                let (exponent, mantissa) = (bits.take(4)? as i32, bits.take(2)? as f32);
                let mantissa = if exponent == 15 { mantissa / 4.0 } else { (mantissa + 4.0) / 8.0 };
                let loudness = 32.0 * mantissa * 0.5f32.powi(exponent + master);
                // The higher a band, the more of it is noise.
                let middle = (bins.start + bins.len() / 2) as f32;
                let noise = (middle / self.end as f32 - blend).clamp(0.0, 1.0);
                // Noise within ±1 has a third of the power.
                *blends = (loudness * (1.0 - noise).sqrt(), loudness * (3.0 * noise).sqrt());
            }
        }
        Ok(())
    }

    /// Makes the upper coefficients of a channel.
    pub(super) fn apply(&self, n: usize, channel: &mut Carrier, attenuation: Option<u8>, noise: &mut Noise) {
        let coefficients = &mut channel.coefficients;
        let mut seams = [false; MOST];
        seams[0] = true;
        let mut from = self.copied;
        for (band, bins) in self.bands.bins(self.start).enumerate() {
            // A band is copied in one piece, from the start again if there isn't enough left of it.
            if from + bins.len() > self.start {
                (from, seams[band]) = (self.copied, true);
            }
            for bin in bins {
                if from == self.start {
                    from = self.copied;
                }
                coefficients[bin] = coefficients[from];
                from += 1;
            }
        }
        let powers: [f32; MOST] = self.each_band(|bins| {
            let size = bins.len() as f32;
            (coefficients[bins].iter().map(|coefficient| coefficient * coefficient).sum::<f32>() / size).sqrt()
        });
        if let Some(code) = attenuation {
            for (_, bins) in self.bands.bins(self.start).enumerate().filter(|(band, _)| seams[*band]) {
                soften(coefficients, bins.start, code);
            }
        }
        for (band, bins) in self.bands.bins(self.start).enumerate() {
            let (copy, blended) = self.blends[n][band];
            for coefficient in &mut coefficients[bins] {
                *coefficient = copy * *coefficient + blended * powers[band] * noise.value();
            }
        }
    }

    fn each_band(&self, of: impl Fn(std::ops::Range<usize>) -> f32) -> [f32; MOST] {
        let mut out = [0.0; MOST];
        for (out, bins) in out.iter_mut().zip(self.bands.bins(self.start)) {
            *out = of(bins);
        }
        out
    }
}

/// Turns down the bins around a seam (E.3.6.5, table E3.14).
fn soften(coefficients: &mut [f32; BINS], seam: usize, code: u8) {
    let step = -f32::from(code + 1) / 15.0;
    let around = coefficients.iter_mut().skip(seam.saturating_sub(2));
    for (coefficient, distance) in around.zip([1.0, 2.0, 3.0, 2.0, 1.0]) {
        *coefficient *= (step * distance).exp2();
    }
}
