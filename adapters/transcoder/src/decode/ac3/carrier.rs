//! What is coded like a channel: the full-bandwidth channels, the LFE channel and the coupling channel.

use std::ops::Range;

use super::BINS;
use super::allocation::{Delta, Parameters, Wanted, allocate};
use super::exponents::{REUSE, Strategy};
use super::transform::Delay;

pub(super) struct Carrier {
    /// Those with mantissas of their own.
    pub(super) bins: Range<usize>,
    pub(super) strategy: Strategy,
    pub(super) exponents: [u8; BINS],
    pub(super) baps: [u8; BINS],
    pub(super) coefficients: [f32; BINS],
    pub(super) snr_offset: i32,
    pub(super) fast_gain: i32,
    pub(super) delta: Delta,
    /// Something that the bit allocation is worked out from has changed.
    pub(super) changed: bool,
    /// The adaptive hybrid transform is in use, and these are the mantissas of all blocks by bin.
    pub(super) hybrid: bool,
    pub(super) mantissas: Vec<[f32; 6]>,
    /// Of channels: noise is wanted in the place of nothing,
    pub(super) dither: bool,
    /// the block has two short transforms,
    pub(super) short: bool,
    /// what is above its bins comes from the coupling channel,
    pub(super) coupled: bool,
    /// or is made from what is below.
    pub(super) extended: bool,
    pub(super) delay: Delay,
}

impl Carrier {
    pub(super) fn new() -> Self {
        Self {
            bins: 0..0,
            strategy: REUSE,
            exponents: [0; BINS],
            baps: [0; BINS],
            coefficients: [0.0; BINS],
            snr_offset: 0,
            fast_gain: 0,
            delta: Delta::default(),
            changed: false,
            hybrid: false,
            mantissas: Vec::new(),
            dither: false,
            short: false,
            coupled: false,
            extended: false,
            delay: [0.0; BINS / 2],
        }
    }

    /// Forgets what a frame said: the next one says everything anew.
    pub(super) fn begin_frame(&mut self, hybrid: bool) {
        (self.bins, self.strategy) = (0..0, REUSE);
        self.delta = Delta::default();
        (self.changed, self.hybrid) = (true, hybrid);
        (self.dither, self.short, self.coupled, self.extended) = (true, false, false, false);
        // The one that holds where E-AC-3 tells none.
        self.fast_gain = super::allocation::fast_gain(4);
    }

    pub(super) fn allocate(&mut self, parameters: &Parameters, is_lfe: bool, is_coupling: bool) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let wanted = Wanted {
            bins: self.bins.clone(),
            exponents: &self.exponents,
            snr_offset: self.snr_offset,
            fast_gain: self.fast_gain,
            delta: &self.delta,
            is_lfe,
            is_coupling,
            hybrid: self.hybrid,
        };
        allocate(parameters, &wanted, &mut self.baps);
    }
}
