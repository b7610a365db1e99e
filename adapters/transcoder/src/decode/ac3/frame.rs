//! What holds for all blocks of a frame: `audfrm` of E-AC-3 (A/52:2018, E.1.2.3). In AC-3 most of it is said by each
//! block.

use super::bits::Bits;
use super::exponents::{D15, REUSE, Strategy};
use super::header::{BLOCKS, Header};
use super::{CARRIERS, COUPLING, FULL, LFE};
use crate::decode::Damaged;

/// A header, and which fields its blocks have.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: Header,
    /// Blocks have `blksw`.
    pub(super) block_switches: bool,
    /// Blocks have `dithflag`.
    pub(super) dither_flags: bool,
    /// Blocks have `baie`.
    pub(super) allocation: bool,
    /// Blocks have `fgaincode`.
    pub(super) fast_gains: bool,
    /// Blocks have `deltbaie`.
    pub(super) deltas: bool,
    /// Blocks have `skiple`.
    pub(super) skips: bool,
    pub(super) snr: Snr,
    /// What E-AC-3 says of coupling and exponents.
    pub(super) ahead: Ahead,
    /// The code of the attenuation of spectral extension, by channel.
    pub(super) attenuation: [Option<u8>; FULL],
}

/// Where the offsets of the signal-to-noise ratio are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snr {
    /// This one is all.
    Frame(i32),
    /// Blocks have one for all channels.
    Block,
    /// Blocks have one for each channel.
    Channel,
}

/// What E-AC-3 says of all blocks ahead of them.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The block says how channels are coupled.
    pub(super) coupling_strategy: [bool; BLOCKS],
    pub(super) coupled: [bool; BLOCKS],
    pub(super) exponents: [[Strategy; CARRIERS]; BLOCKS],
    /// The mantissas of all blocks are in the first, transformed once more.
    pub(super) hybrid: [bool; CARRIERS],
}

/// An offset in the units of the power spectrum.
pub(super) fn snr_offset(coarse: u32, fine: u32) -> i32 {
    (((coarse.cast_signed() - 15) << 4) + fine.cast_signed()) << 2
}

impl Frame {
    /// A frame of AC-3.
    pub(super) fn plain(header: Header) -> Self {
        Self {
            header,
            block_switches: true,
            dither_flags: true,
            allocation: true,
            fast_gains: false,
            deltas: true,
            skips: true,
            snr: Snr::Channel,
            ahead: Ahead::default(),
            attenuation: [None; FULL],
        }
    }

    /// Reads `audfrm`.
    pub(super) fn read(bits: &mut Bits<'_>, header: Header) -> Result<Self, Damaged> {
        let (channels, blocks) = (header.channels(), header.blocks);
        let (single_exponents, may_be_hybrid) =
            if blocks == BLOCKS { (bits.flag()?, bits.flag()?) } else { (true, false) };
        let snr = bits.take(2)?;
        let transients = bits.flag()?;
        let mut frame = Self::plain(header);
        frame.block_switches = bits.flag()?;
        frame.dither_flags = bits.flag()?;
        frame.allocation = bits.flag()?;
        frame.fast_gains = bits.flag()?;
        frame.deltas = bits.flag()?;
        frame.skips = bits.flag()?;
        let attenuated = bits.flag()?;
        frame.ahead.read_coupling(bits, &frame.header)?;
        frame.ahead.read_exponents(bits, &frame.header, single_exponents)?;
        if may_be_hybrid {
            frame.ahead.read_hybrid(bits, &frame.header)?;
        }
        frame.snr = match snr {
            0 => Snr::Frame(snr_offset(bits.take(6)?, bits.take(4)?)),
            1 => Snr::Block,
            2 => Snr::Channel,
            _ => return Err(Damaged),
        };
        if transients {
            for _ in 0..channels {
                // Where noise in front of a transient is to be covered by what was before: not done.
                bits.optional(10 + 8)?;
            }
        }
        if attenuated {
            for code in frame.attenuation.iter_mut().take(channels) {
                *code = bits.optional(5)?.map(|code| code as u8);
            }
        }
        if blocks > 1 && bits.flag()? {
            // Where each block starts (E.2.3.2.27).
            let words = frame.header.size / 2;
            let width = 4 + words.next_power_of_two().trailing_zeros() as usize;
            bits.skip((blocks - 1) * width)?;
        }
        Ok(frame)
    }
}

impl Ahead {
    fn read_coupling(&mut self, bits: &mut Bits<'_>, header: &Header) -> Result<(), Damaged> {
        if header.mode <= 1 {
            return Ok(());
        }
        for block in 0..header.blocks {
            self.coupling_strategy[block] = block == 0 || bits.flag()?;
            self.coupled[block] =
                if self.coupling_strategy[block] { bits.flag()? } else { self.coupled[block.saturating_sub(1)] };
        }
        Ok(())
    }

    fn read_exponents(&mut self, bits: &mut Bits<'_>, header: &Header, single: bool) -> Result<(), Damaged> {
        let channels = header.channels();
        if single {
            for (block, exponents) in self.exponents.iter_mut().enumerate().take(header.blocks) {
                if self.coupled[block] {
                    exponents[COUPLING] = bits.take(2)? as Strategy;
                }
                for exponents in &mut exponents[..channels] {
                    *exponents = bits.take(2)? as Strategy;
                }
            }
        } else {
            let coupling = self.coupled.contains(&true).then_some(COUPLING);
            for carrier in coupling.into_iter().chain(0..channels) {
                let code = bits.index(5)?;
                for (exponents, strategy) in self.exponents.iter_mut().zip(combination(code)) {
                    exponents[carrier] = strategy;
                }
            }
        }
        if header.lfe {
            for exponents in &mut self.exponents[..header.blocks] {
                exponents[LFE] = if bits.flag()? { D15 } else { REUSE };
            }
        }
        if header.convertible && (header.blocks == BLOCKS || bits.flag()?) {
            bits.skip(5 * channels)?; // convexpstr
        }
        Ok(())
    }

    /// The adaptive hybrid transform is for carriers whose exponents hold for the whole frame.
    fn read_hybrid(&mut self, bits: &mut Bits<'_>, header: &Header) -> Result<(), Damaged> {
        let all_coupled = self.coupled.iter().all(|coupled| *coupled);
        let same_coupling = self.coupling_strategy[1..].iter().all(|new| !new);
        let coupling = (all_coupled && same_coupling).then_some(COUPLING);
        let lfe = header.lfe.then_some(LFE);
        for carrier in coupling.into_iter().chain(0..header.channels()).chain(lfe) {
            if self.exponents[1..].iter().all(|exponents| exponents[carrier] == REUSE) {
                self.hybrid[carrier] = bits.flag()?;
            }
        }
        Ok(())
    }
}

/// The strategies of six blocks (table E2.14). Each is as fine as it is long: what holds for one block has groups of
/// four, for two or three groups of two, for longer no groups. The five bits say where new exponents come, which they
/// do in the first block.
fn combination(code: usize) -> [Strategy; BLOCKS] {
    let starts = |block: usize| block == 0 || code >> (5 - block) & 1 == 1;
    std::array::from_fn(|block| {
        if !starts(block) {
            return REUSE;
        }
        let next = (block + 1..BLOCKS).find(|next| starts(*next)).unwrap_or(BLOCKS);
        match next - block {
            1 => 3,
            2 | 3 => 2,
            _ => D15,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::combination;

    #[test]
    fn combinations_of_strategies_are_the_standards() {
        // Rows of table E2.14.
        for (code, wanted) in [
            (0, [1, 0, 0, 0, 0, 0]),
            (1, [1, 0, 0, 0, 0, 3]),
            (4, [2, 0, 0, 2, 0, 0]),
            (8, [2, 0, 1, 0, 0, 0]),
            (13, [2, 0, 3, 2, 0, 3]),
            (16, [3, 1, 0, 0, 0, 0]),
            (24, [3, 3, 1, 0, 0, 0]),
            (26, [3, 3, 2, 0, 2, 0]),
            (31, [3; 6]),
        ] {
            assert_eq!(combination(code), wanted, "{code}");
        }
    }
}
