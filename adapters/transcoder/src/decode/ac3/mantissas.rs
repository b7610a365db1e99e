//! Mantissas (A/52:2018, 7.3): symmetric quantisers of few levels, several values to a group, and fractions of up to 16
//! bits.

use super::bits::Bits;
use super::carrier::Carrier;
use super::exponents::scale;
use crate::decode::Damaged;

/// Bits of a mantissa whose `bap` is 6 or more (table 7.18).
const WIDTHS: [u32; 10] = [5, 6, 7, 8, 9, 10, 11, 12, 14, 16];

/// The groups of a block that have been begun: their values go to whichever carrier wants one next (7.3.5).
#[derive(Default)]
pub(super) struct Groups {
    threes: Group<3, 3, 5>,
    fives: Group<5, 3, 7>,
    elevens: Group<11, 2, 7>,
}

/// Values of so many levels, so many to a code of so many bits.
#[derive(Default)]
struct Group<const LEVELS: u32, const VALUES: u32, const BITS: u32> {
    code: u32,
    left: u32,
}

impl<const LEVELS: u32, const VALUES: u32, const BITS: u32> Group<LEVELS, VALUES, BITS> {
    fn next(&mut self, bits: &mut Bits<'_>) -> Result<f32, Damaged> {
        if self.left == 0 {
            self.code = bits.take(BITS)?;
            if self.code >= LEVELS.pow(VALUES) {
                return Err(Damaged);
            }
            self.left = VALUES;
        }
        self.left -= 1;
        // The first value is the highest digit.
        let place = LEVELS.pow(self.left);
        let digit = self.code / place;
        self.code %= place;
        Ok(symmetric(digit, LEVELS))
    }
}

/// The value of a level: they are as far from each other as from ±1, and one of them is zero (tables 7.19 to 7.23).
fn symmetric(level: u32, levels: u32) -> f32 {
    (2.0 * level as f32 - (levels - 1) as f32) / levels as f32
}

fn ungrouped(bits: &mut Bits<'_>, width: u32, levels: u32) -> Result<f32, Damaged> {
    let level = bits.take(width)?;
    if level < levels { Ok(symmetric(level, levels)) } else { Err(Damaged) }
}

/// Reads the coefficients of a carrier. Those without bits become zero.
pub(super) fn read(carrier: &mut Carrier, groups: &mut Groups, bits: &mut Bits<'_>) -> Result<(), Damaged> {
    for bin in carrier.bins.clone() {
        let mantissa = match carrier.baps[bin] {
            0 => 0.0,
            1 => groups.threes.next(bits)?,
            2 => groups.fives.next(bits)?,
            3 => ungrouped(bits, 3, 7)?,
            4 => groups.elevens.next(bits)?,
            5 => ungrouped(bits, 4, 15)?,
            bap => bits.fraction(WIDTHS[usize::from(bap.min(15) - 6)])?,
        };
        carrier.coefficients[bin] = mantissa * scale(carrier.exponents[bin]);
    }
    Ok(())
}

/// Fills the places of coefficients that had no bits with noise: the ear misses sound that comes and goes more than it
/// minds noise (7.3.4).
pub(super) fn dither(carrier: &mut Carrier, noise: &mut Noise) {
    for bin in carrier.bins.clone() {
        if carrier.baps[bin] == 0 {
            carrier.coefficients[bin] = noise.mantissa() * scale(carrier.exponents[bin]);
        }
    }
}

/// Noise that is the same whenever a frame is decoded (xorshift).
pub(super) struct Noise(u32);

impl Noise {
    pub(super) fn of(frame: &[u8], seed: u32) -> Self {
        // The checksum at the end is as good as a number drawn by lot.
        let checksum = frame.last_chunk().map_or(0, |two| u16::from_be_bytes(*two));
        Self((0x9e37_79b9 ^ seed ^ u32::from(checksum) << 8).max(1))
    }

    /// A value within ±1, all of them as likely.
    pub(super) fn value(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.cast_signed() as f32 / 2_147_483_648.0
    }

    /// A value in the place of a mantissa.
    pub(super) fn mantissa(&mut self) -> f32 {
        std::f32::consts::FRAC_1_SQRT_2 * self.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_several_values_the_first_highest() {
        // 5 bits for 2·9 + 0·3 + 1, 7 for 4·25 + 2·5 + 0, 7 for 10·11 + 5.
        let bytes = (19u32 << 27 | 110 << 20 | 115 << 13).to_be_bytes();
        let (mut bits, mut groups) = (Bits::new(&bytes), Groups::default());
        let threes = [(); 3].map(|()| groups.threes.next(&mut bits).unwrap());
        let fives = [(); 3].map(|()| groups.fives.next(&mut bits).unwrap());
        let elevens = [(); 2].map(|()| groups.elevens.next(&mut bits).unwrap());
        assert_eq!(threes, [2.0 / 3.0, -2.0 / 3.0, 0.0]);
        assert_eq!(fives, [0.8, 0.0, -0.8]);
        assert_eq!(elevens, [10.0 / 11.0, 0.0]);
        assert!(Groups::default().threes.next(&mut Bits::new(&[27 << 3])).is_err(), "27 is no code");
    }

    #[test]
    fn noise_is_even_and_the_same_again() {
        let draw = || {
            let mut noise = Noise::of(&[1, 2, 3], 0);
            (0..10_000).map(|_| noise.value()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        let power = draw().iter().map(|value| value * value).sum::<f32>() / 10_000.0;
        assert!((power - 1.0 / 3.0).abs() < 0.01, "{power}");
    }
}
