//! The sound of one substream's frames, block by block: `block` reads the fields, here their coefficients are read, put
//! together and transformed.

use super::allocation::Parameters;
use super::bits::Bits;
use super::carrier::Carrier;
use super::coupling::Coupling;
use super::extension::Extension;
use super::frame::Frame;
use super::header::{DUAL_MONO, STEREO};
use super::mantissas::{self, Groups, Noise};
use super::transform::Transform;
use super::{CARRIERS, COUPLING, FULL, LFE, hybrid};
use crate::decode::Damaged;

/// Where the bands of rematrixing begin and end (table 7.25).
const REMATRIXED: [usize; 5] = [13, 25, 37, 61, 253];

/// The decoder of a substream.
pub(super) struct Substream {
    /// The full-bandwidth channels in the order in which they are coded, the LFE channel and the coupling channel.
    carriers: Box<[Carrier; CARRIERS]>,
    state: State,
    transform: Transform,
}

/// What a frame's blocks leave to the ones after them.
pub(super) struct State {
    pub(super) parameters: Parameters,
    pub(super) coupling: Coupling,
    pub(super) extension: Extension,
    /// `dynrng` of the first program and of the second.
    pub(super) gains: [f32; 2],
    pub(super) rematrixed: [bool; 4],
    pub(super) rematrixed_bands: usize,
}

impl State {
    fn new(frame: &Frame) -> Self {
        let header = &frame.header;
        Self {
            parameters: Parameters::new(header.rate_code, header.rate_shift),
            coupling: Coupling::new(header.enhanced),
            extension: Extension::new(),
            gains: [1.0; 2],
            rematrixed: [false; 4],
            rematrixed_bands: 0,
        }
    }
}

impl Substream {
    pub(super) fn new(frame: &Frame) -> Self {
        let carriers = Box::new(std::array::from_fn(|_| Carrier::new()));
        Self { carriers, state: State::new(frame), transform: Transform::new() }
    }

    /// Forgets the sound so far, which ends in a gap.
    pub(super) fn interrupt(&mut self) {
        self.carriers.iter_mut().for_each(|carrier| carrier.delay.fill(0.0));
    }

    /// Decodes the blocks of a frame: a plane for each channel in the order in which they are coded, LFE last.
    pub(super) fn decode(
        &mut self,
        frame: &Frame,
        bits: &mut Bits<'_>,
        noise: &mut Noise,
        planes: &mut [Vec<f32>],
    ) -> Result<(), Damaged> {
        self.state = State::new(frame);
        for (carrier, hybrid) in self.carriers.iter_mut().zip(frame.ahead.hybrid) {
            carrier.begin_frame(hybrid);
        }
        for block in 0..frame.header.blocks {
            let mut block = Block { frame, block, carriers: &mut self.carriers, state: &mut self.state };
            block.read(bits)?;
            block.read_coefficients(bits)?;
            block.finish(noise);
            self.transform(frame, planes);
        }
        Ok(())
    }

    /// Where the mantissas of a frame's first block end, in bits.
    #[cfg(test)]
    pub(super) fn end_of_first_block(&mut self, frame: &Frame, bits: &mut Bits<'_>) -> Result<usize, Damaged> {
        self.carriers.iter_mut().zip(frame.ahead.hybrid).for_each(|(carrier, hybrid)| carrier.begin_frame(hybrid));
        let mut block = Block { frame, block: 0, carriers: &mut self.carriers, state: &mut self.state };
        block.read(bits)?;
        block.read_coefficients(bits)?;
        Ok(bits.position())
    }

    fn transform(&mut self, frame: &Frame, planes: &mut [Vec<f32>]) {
        let lfe = frame.header.lfe.then_some(LFE);
        for (n, plane) in (0..frame.header.channels()).chain(lfe).zip(planes) {
            let carrier = &mut self.carriers[n];
            let program = usize::from(frame.header.mode == DUAL_MONO && n == 1);
            let gain = self.state.gains[program];
            self.transform.block(&carrier.coefficients, carrier.short, gain, &mut carrier.delay, plane);
        }
    }
}

/// A block that is being decoded.
pub(super) struct Block<'a> {
    pub(super) frame: &'a Frame,
    /// Its number in the frame.
    pub(super) block: usize,
    pub(super) carriers: &'a mut [Carrier; CARRIERS],
    pub(super) state: &'a mut State,
}

impl Block<'_> {
    /// Reads the mantissas: those of the coupling channel stand behind those of the first coupled one (5.4.3.61).
    fn read_coefficients(&mut self, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let mut groups = Groups::default();
        let mut coupling_is_next = self.state.coupling.in_use;
        for n in self.present().filter(|n| *n != COUPLING) {
            self.read_carrier(n, &mut groups, bits)?;
            if self.carriers[n].coupled && std::mem::take(&mut coupling_is_next) {
                self.read_carrier(COUPLING, &mut groups, bits)?;
            }
        }
        Ok(())
    }

    fn read_carrier(&mut self, n: usize, groups: &mut Groups, bits: &mut Bits<'_>) -> Result<(), Damaged> {
        let carrier = &mut self.carriers[n];
        carrier.coefficients[carrier.bins.end..].fill(0.0);
        if !carrier.hybrid {
            return mantissas::read(carrier, groups, bits);
        }
        if self.block == 0 {
            hybrid::read(carrier, bits)?;
        }
        hybrid::apply(carrier, self.block);
        Ok(())
    }

    /// Makes the channels' whole spectra of what was read.
    fn finish(&mut self, noise: &mut Noise) {
        let count = self.frame.header.channels();
        let (channels, others) = self.carriers.split_at_mut(FULL);
        let channels = &mut channels[..count];
        for channel in channels.iter_mut().filter(|channel| channel.dither) {
            mantissas::dither(channel, noise);
        }
        if self.state.coupling.in_use {
            self.state.coupling.apply(&others[COUPLING - FULL], channels, noise);
        }
        if self.frame.header.mode == STEREO {
            rematrix(channels, &self.state.rematrixed[..self.state.rematrixed_bands]);
        }
        if self.state.extension.in_use {
            for (n, channel) in channels.iter_mut().enumerate().filter(|(_, channel)| channel.extended) {
                self.state.extension.apply(n, channel, self.frame.attenuation[n], noise);
            }
        }
    }
}

/// Makes left and right of sum and difference (7.5.4).
fn rematrix(channels: &mut [Carrier], flags: &[bool]) {
    let [left, right] = channels else { return };
    let end = left.bins.end.min(right.bins.end);
    for (n, _) in flags.iter().enumerate().filter(|(_, flag)| **flag) {
        for bin in REMATRIXED[n]..REMATRIXED[n + 1].min(end) {
            let (sum, difference) = (left.coefficients[bin], right.coefficients[bin]);
            (left.coefficients[bin], right.coefficients[bin]) = (sum + difference, sum - difference);
        }
    }
}
