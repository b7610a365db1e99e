//! The adaptive hybrid transform of E-AC-3 (A/52:2018, E.3.4): where sound stays the same for a whole frame, a DCT over
//! its six blocks packs each bin tighter. The mantissas of all blocks come in the first one.

use std::f32::consts::SQRT_2;

use super::bits::Bits;
use super::carrier::Carrier;
use super::header::BLOCKS;
use super::vectors::vector;
use crate::decode::Damaged;

/// Bits of a mantissa, or of a vector of them, by `hebap` (table E3.2).
const WIDTHS: [u32; 20] = [0, 2, 3, 4, 5, 7, 8, 9, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16];

/// The first `hebap` whose mantissas are coded one by one.
const SCALARS: u8 = 8;

/// How large mantissas of a gain of 2 or 4 are put right, by `hebap` - 8, in units of 1/32,768: the factor for both,
/// and what is added to negative ones for both (table E3.6).
const REMAP: [([i16; 2], [i16; 2]); 9] = [
    ([-10923, -4681], [-5461, -1170]),
    ([-14043, -6554], [-11703, -4915]),
    ([-15292, -7399], [-14199, -6606]),
    ([-15855, -7802], [-15327, -7412]),
    ([-16124, -7998], [-15864, -7805]),
    ([-16255, -8096], [-16126, -7999]),
    ([-16320, -8144], [-16255, -8096]),
    ([-16352, -8168], [-16320, -8144]),
    ([-16368, -8180], [-16352, -8168]),
];

/// Reads the mantissas of all blocks and transforms them back.
pub(super) fn read(carrier: &mut Carrier, bits: &mut Bits<'_>) -> Result<(), Damaged> {
    carrier.mantissas.resize(super::BINS, [0.0; BLOCKS]);
    let mode = bits.take(2)?;
    let with_gain = SCALARS..if mode < 2 { 12 } else { 17 };
    let gains = gains(carrier, bits, mode, with_gain.clone())?;
    let mut gains = gains.into_iter();
    for bin in carrier.bins.clone() {
        let hebap = carrier.baps[bin].min(19);
        let width = WIDTHS[usize::from(hebap)];
        let coded = match hebap {
            0 => continue,
            1..SCALARS => {
                let vector = vector(hebap, bits.index(width)?).ok_or(Damaged)?;
                std::array::from_fn(|n| f32::from(vector[n]) / 32_768.0)
            }
            _ => {
                let gain = if mode > 0 && with_gain.contains(&hebap) { gains.next().unwrap_or(0) } else { 0 };
                let mut mantissas = [0.0; BLOCKS];
                for mantissa in &mut mantissas {
                    *mantissa = scalar(bits, hebap, width, gain)?;
                }
                mantissas
            }
        };
        carrier.mantissas[bin] = spread(coded);
    }
    Ok(())
}

/// The gains of the bins that have one, as powers of two (E.3.4.3).
fn gains(
    carrier: &Carrier,
    bits: &mut Bits<'_>,
    mode: u32,
    with_gain: std::ops::Range<u8>,
) -> Result<Vec<u8>, Damaged> {
    let count = carrier.bins.clone().filter(|bin| with_gain.contains(&carrier.baps[*bin])).count();
    let mut gains = Vec::with_capacity(count + 2);
    match mode {
        0 => {}
        // 1 or 2, and 1 or 4.
        1 | 2 => {
            for _ in 0..count {
                gains.push(bits.take(1)? as u8 * mode as u8);
            }
        }
        // 1, 2 or 4, three to a group.
        _ => {
            for _ in 0..count.div_ceil(3) {
                let code = bits.take(5)? as u8;
                if code > 26 {
                    return Err(Damaged);
                }
                gains.extend([code / 9, code / 3 % 3, code % 3]);
            }
        }
    }
    Ok(gains)
}

/// A mantissa of gain-adaptive quantisation (E.3.4.4). Small ones are stored enlarged by the gain in fewer bits; large
/// ones follow a code that no small one has.
fn scalar(bits: &mut Bits<'_>, hebap: u8, width: u32, gain: u8) -> Result<f32, Damaged> {
    if gain == 0 {
        let levels = (1u32 << width) as f32;
        return Ok(bits.fraction(width)? * levels / (levels - 1.0));
    }
    let small = bits.fraction(width - u32::from(gain))?;
    if small > -1.0 {
        return Ok(small / f32::from(1u8 << gain));
    }
    let large = bits.fraction(width - 2 + u32::from(gain))?;
    let (factors, offsets) = REMAP[usize::from(hebap - SCALARS).min(8)];
    let of_gain = usize::from(gain - 1).min(1);
    let offset = if large >= 0.0 { 1.0 / f32::from(1u8 << gain) } else { f32::from(offsets[of_gain]) / 32_768.0 };
    Ok(large + large * f32::from(factors[of_gain]) / 32_768.0 + offset)
}

/// The inverse DCT over the blocks (E.3.4.5): `C[m] = X[0] + √2 · Σ X[n] · cos(π/12 · n · (2m + 1))`.
fn spread([x0, x1, x2, x3, x4, x5]: [f32; BLOCKS]) -> [f32; BLOCKS] {
    // √2 · cos(π/12), cos(π/6) and cos(5π/12); that of π/4 is 1, that of π/3 is half of √2.
    const A: f32 = 1.366_025_4;
    const B: f32 = 1.224_744_9;
    const C: f32 = 0.366_025_4;
    let even = [x0 + B * x2 + SQRT_2 / 2.0 * x4, x0 - SQRT_2 * x4, x0 - B * x2 + SQRT_2 / 2.0 * x4];
    let odd = [A * x1 + x3 + C * x5, x1 - x3 - x5, C * x1 - x3 + A * x5];
    std::array::from_fn(|block| if block < 3 { even[block] + odd[block] } else { even[5 - block] - odd[5 - block] })
}

/// Makes a block's coefficients of the mantissas.
pub(super) fn apply(carrier: &mut Carrier, block: usize) {
    for bin in carrier.bins.clone() {
        let mantissa = carrier.mantissas.get(bin).map_or(0.0, |blocks| blocks[block % BLOCKS]);
        let mantissa = if carrier.baps[bin] == 0 { 0.0 } else { mantissa };
        carrier.coefficients[bin] = mantissa * super::exponents::scale(carrier.exponents[bin]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_transformed_back_as_the_standard_says() {
        let coded = [0.3, -0.2, 0.7, 0.1, -0.5, 0.4f32];
        for (block, fast) in spread(coded).into_iter().enumerate() {
            let cosine = |n: usize| (std::f64::consts::PI / 12.0 * n as f64 * (2.0 * block as f64 + 1.0)).cos();
            let sum: f64 = (1..BLOCKS).map(|n| f64::from(coded[n]) * cosine(n)).sum();
            let slow = f64::from(coded[0]) + std::f64::consts::SQRT_2 * sum;
            assert!((slow - f64::from(fast)).abs() < 1e-6, "{block}: {slow} and {fast}");
        }
    }

    #[test]
    fn mantissas_of_each_gain_are_put_right() {
        let of = |bits: u32, width, gain| scalar(&mut Bits::new(&(bits << 16).to_be_bytes()), 8, width, gain).unwrap();
        // Without a gain, seven levels from -6/7 to 6/7.
        assert_eq!((of(0b011 << 13, 3, 0), of(0b101 << 13, 3, 0)), (6.0 / 7.0, -6.0 / 7.0));
        // Half as large in two bits; then the code of a large one, and that in two bits.
        assert_eq!(of(0b01 << 14, 3, 1), 0.25);
        let (large, negative) = (of(0b1001 << 12, 3, 1), of(0b1010 << 12, 3, 1));
        assert!((large - 0.8333).abs() < 1e-4 && (negative + 0.8333).abs() < 1e-4, "{large} {negative}");
    }
}
