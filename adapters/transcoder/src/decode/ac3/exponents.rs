//! Exponents (A/52:2018, 7.1): by how many bits each coefficient is shifted down. They are coded as differences, three
//! to a group.

use super::bits::Bits;
use crate::decode::Damaged;

/// How many bins an exponent holds for: one (D15), two (D25), four (D45), or those of the block before (table 5.14).
pub(super) type Strategy = u8;
pub(super) const REUSE: Strategy = 0;
pub(super) const D15: Strategy = 1;

/// How many bins a group of three differences covers.
pub(super) fn group_bins(strategy: Strategy) -> usize {
    3 << strategy.saturating_sub(1)
}

/// Reads groups of differences to the exponent before the first.
pub(super) fn read(
    bits: &mut Bits<'_>,
    strategy: Strategy,
    groups: usize,
    first: u8,
    out: &mut [u8],
) -> Result<(), Damaged> {
    let mut exponent = first;
    let mut out = out.chunks_mut(group_bins(strategy) / 3);
    for _ in 0..groups {
        let code = bits.take(7)? as u8;
        if code >= 125 {
            return Err(Damaged);
        }
        for difference in [code / 25, code / 5 % 5, code % 5] {
            // Differences of -2 to 2.
            exponent = (exponent + difference).checked_sub(2).filter(|exponent| *exponent <= 24).ok_or(Damaged)?;
            out.next().ok_or(Damaged)?.fill(exponent);
        }
    }
    Ok(())
}

/// What an exponent makes of a mantissa.
pub(super) fn scale(exponent: u8) -> f32 {
    f32::from_bits((127 - u32::from(exponent.min(24))) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_added_up_and_spread() {
        // Groups of +1 -1 0 and +2 0 0: 3·25 + 1·5 + 2 and 4·25 + 2·5 + 2.
        let bytes = (82u32 << 25 | 112 << 18).to_be_bytes();
        let mut out = [0; 12];
        read(&mut Bits::new(&bytes), 2, 2, 5, &mut out).unwrap();
        assert_eq!(out, [6, 6, 5, 5, 5, 5, 7, 7, 7, 7, 7, 7]);
        assert!(read(&mut Bits::new(&bytes), 2, 2, 23, &mut out).is_err(), "above 24");
        assert!(read(&mut Bits::new(&[0; 4]), 1, 1, 5, &mut out).is_err(), "below 0");
        assert!(read(&mut Bits::new(&bytes), 2, 2, 5, &mut out[..8]).is_err(), "more than there is room for");
        assert_eq!((scale(0), scale(3)), (1.0, 0.125));
    }
}
