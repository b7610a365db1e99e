//! The fields of an audio block that stand before its mantissas, in their order (A/52:2018, 5.4.3 and E.1.2.4).

use super::allocation::{Delta, fast_gain};
use super::bits::Bits;
use super::carrier::Carrier;
use super::exponents::{self, D15, REUSE, Strategy, group_bins};
use super::frame::{Snr, snr_offset};
use super::header::{DUAL_MONO, STEREO};
use super::substream::Block;
use super::{CARRIERS, COUPLING, LFE};
use crate::decode::Damaged;

impl Block<'_> {
    fn is_first(&self) -> bool {
        self.block == 0
    }

    fn enhanced(&self) -> bool {
        self.frame.header.enhanced
    }

    fn channels(&mut self) -> &mut [Carrier] {
        &mut self.carriers[..self.frame.header.channels()]
    }

    /// The carriers that the block has, in the order of its fields.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + use<> {
        let coupling = self.state.coupling.in_use.then_some(COUPLING);
        let lfe = self.frame.header.lfe.then_some(LFE);
        coupling.into_iter().chain(0..self.frame.header.channels()).chain(lfe)
    }

    /// Reads all that stands before the mantissas.
    pub(super) fn read(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        self.read_flags(bits)?;
        self.read_dynamic_range(bits)?;
        self.read_extension(bits)?;
        self.read_coupling(bits)?;
        if self.frame.header.mode == STEREO {
            self.read_rematrixing(bits)?;
        }
        self.read_strategies(bits)?;
        self.read_exponents(bits)?;
        self.read_parameters(bits)?;
        self.read_snr(bits)?;
        self.read_leaks(bits)?;
        if self.frame.deltas {
            self.read_deltas(bits)?;
        }
        if self.frame.skips
            && let Some(length) = bits.optional(9)?
        {
            bits.skip(8 * length as usize)?;
        }
        for carrier in self.present() {
            let (parameters, is_lfe, is_coupling) = (&self.state.parameters, carrier == LFE, carrier == COUPLING);
            self.carriers[carrier].allocate(parameters, is_lfe, is_coupling);
        }
        Ok(())
    }

    fn read_flags(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if self.frame.block_switches {
            for channel in self.channels() {
                channel.short = bits.flag()?;
            }
        }
        if self.frame.dither_flags {
            for channel in self.channels() {
                channel.dither = bits.flag()?;
            }
        }
        Ok(())
    }

    /// How much louder or quieter the programs are to be (7.7.1.2). It is part of how they were meant to sound, and
    /// applied unless a listener decides otherwise; `compr` is for receivers that have no room for loud sound.
    fn read_dynamic_range(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let programs = if self.frame.header.mode == DUAL_MONO { 2 } else { 1 };
        for gain in &mut self.state.gains[..programs] {
            if let Some(code) = bits.optional(8)? {
                // Three bits of an exponent from -4 to 3, and five of a mantissa of half or more.
                let exponent = ((code << 24).cast_signed() >> 29) + 1;
                *gain = (32 + (code & 0x1f)) as f32 / 64.0 * 2f32.powi(exponent);
            }
        }
        Ok(())
    }

    fn read_extension(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if !self.enhanced() {
            return Ok(());
        }
        let channels = &mut self.carriers[..self.frame.header.channels()];
        if self.block == 0 || bits.flag()? {
            self.state.extension.read_strategy(bits, &self.frame.header, channels)?;
        }
        if self.state.extension.in_use {
            self.state.extension.read_coordinates(bits, channels)?;
        }
        Ok(())
    }

    fn read_coupling(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let (header, ahead) = (&self.frame.header, &self.frame.ahead);
        let channels = &mut self.carriers[..header.channels()];
        let coupling = &mut self.state.coupling;
        let is_new = if header.enhanced { ahead.coupling_strategy[self.block] } else { bits.flag()? };
        if is_new {
            let in_use = if header.enhanced { ahead.coupled[self.block] } else { bits.flag()? };
            coupling.read_strategy(bits, header, in_use, self.state.extension.takes_over(), channels)?;
        } else if self.block == 0 && !header.enhanced {
            return Err(Damaged);
        }
        if coupling.in_use {
            coupling.read_coordinates(bits, header, channels)?;
        }
        let bins = coupling.bins();
        if is_new && coupling.in_use {
            self.carriers.iter_mut().for_each(|carrier| carrier.changed = true);
            self.carriers[COUPLING].bins = bins;
        }
        Ok(())
    }

    /// Which bands of two channels hold their sum and difference (5.4.3.19).
    fn read_rematrixing(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if !(self.enhanced() && self.is_first() || bits.flag()?) {
            return Ok(());
        }
        let coupled_from = self.state.coupling.in_use.then_some(self.state.coupling.start);
        // What another spectrum takes the place of has no bands.
        self.state.rematrixed_bands = match (coupled_from, self.state.extension.takes_over()) {
            (Some(37), _) => 2,
            (Some(..=61), _) | (None, Some(..=61)) => 3,
            _ => 4,
        };
        for flag in &mut self.state.rematrixed[..self.state.rematrixed_bands] {
            *flag = bits.flag()?;
        }
        Ok(())
    }

    /// Reads which exponents are new, and how far they reach (5.4.3.22 to 5.4.3.24).
    fn read_strategies(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        for carrier in self.present() {
            self.carriers[carrier].strategy = match carrier {
                _ if self.enhanced() => self.frame.ahead.exponents[self.block][carrier],
                LFE => bits.take(1)? as Strategy,
                _ => bits.take(2)? as Strategy,
            };
        }
        let (coupled_from, extended_from) = (self.state.coupling.start, self.state.extension.start);
        for channel in self.channels().iter_mut().filter(|channel| channel.strategy != REUSE) {
            let end = if channel.coupled {
                coupled_from
            } else if channel.extended {
                extended_from
            } else {
                match bits.index(6)? {
                    code @ 0..=60 => 73 + 3 * code,
                    _ => return Err(Damaged),
                }
            };
            channel.bins = 0..end;
        }
        if self.frame.header.lfe {
            self.carriers[LFE].bins = 0..7;
        }
        Ok(())
    }

    fn read_exponents(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let is_first = self.is_first();
        for n in self.present() {
            let carrier = &mut self.carriers[n];
            let strategy = carrier.strategy;
            if strategy == REUSE {
                if is_first {
                    return Err(Damaged);
                }
                continue;
            }
            carrier.changed = true;
            let (start, end, group) = (carrier.bins.start, carrier.bins.end, group_bins(strategy));
            let first = bits.take(4)? as u8;
            if n == COUPLING {
                // Its first exponent is only what the second differs from.
                let groups = (end - start) / group;
                exponents::read(bits, strategy, groups, first << 1, &mut carrier.exponents[start..])?;
                continue;
            }
            let groups = if n == LFE { 2 } else { (end + group - 4) / group };
            carrier.exponents[0] = first;
            exponents::read(bits, if n == LFE { D15 } else { strategy }, groups, first, &mut carrier.exponents[1..])?;
            if n != LFE {
                bits.skip(2)?; // gainrng
            }
        }
        Ok(())
    }

    fn read_parameters(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if !self.frame.allocation {
            return Ok(());
        }
        if bits.flag()? {
            self.state.parameters = self.state.parameters.read(bits)?;
            self.carriers.iter_mut().for_each(|carrier| carrier.changed = true);
        } else if self.is_first() {
            return Err(Damaged);
        }
        Ok(())
    }

    /// Reads the offsets of the signal-to-noise ratio and the fast gains (5.4.3.37 to 5.4.3.44).
    fn read_snr(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let enhanced = self.enhanced();
        match self.frame.snr {
            Snr::Frame(offset) => {
                if self.is_first() {
                    self.carriers.iter_mut().for_each(|carrier| carrier.snr_offset = offset);
                }
            }
            by => {
                if enhanced && self.is_first() || bits.flag()? {
                    self.read_offsets(bits, by == Snr::Channel)?;
                } else if self.is_first() {
                    return Err(Damaged);
                }
            }
        }
        if self.frame.fast_gains && bits.flag()? {
            for n in self.present() {
                self.carriers[n].fast_gain = fast_gain(bits.take(3)?);
                self.carriers[n].changed = true;
            }
        }
        if self.frame.header.convertible {
            bits.optional(10)?; // convsnroffst
        }
        Ok(())
    }

    fn read_offsets(&mut self, bits: &mut Bits<'_>, by_channel: bool) -> Result<(), Damaged> {
        let coarse = bits.take(6)?;
        let mut fine = None;
        for n in self.present() {
            let offset = match fine {
                Some(fine) if !by_channel => fine,
                _ => bits.take(4)?,
            };
            fine = Some(offset);
            let carrier = &mut self.carriers[n];
            carrier.snr_offset = snr_offset(coarse, offset);
            carrier.changed = true;
            if !self.frame.header.enhanced {
                carrier.fast_gain = fast_gain(bits.take(3)?);
            }
        }
        Ok(())
    }

    fn read_leaks(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if !self.state.coupling.in_use {
            return Ok(());
        }
        if std::mem::take(&mut self.state.coupling.first_leaks) || bits.flag()? {
            self.state.parameters.leaks = (bits.take(3)? as i32, bits.take(3)? as i32);
            self.carriers[COUPLING].changed = true;
        }
        Ok(())
    }

    fn read_deltas(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        if !bits.flag()? {
            return Ok(());
        }
        let mut told = [false; CARRIERS];
        for n in self.present().filter(|n| *n != LFE) {
            match bits.take(2)? {
                0 => {}
                1 => told[n] = true,
                2 => self.carriers[n].delta = Delta::default(),
                _ => return Err(Damaged),
            }
            self.carriers[n].changed = true;
        }
        for n in self.present().filter(|n| told[*n]) {
            self.carriers[n].delta = Delta::read(bits)?;
        }
        Ok(())
    }
}
