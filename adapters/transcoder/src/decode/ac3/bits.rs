//! Bits, the highest first. Nothing is read behind the end: whoever tries has a damaged frame.

use crate::decode::Damaged;

pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A number of up to 24 bits.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Damaged> {
        debug_assert!(count <= 24);
        let (byte, bit) = (self.at / 8, self.at % 8);
        let rest = self.bytes.get(byte..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(four) => u32::from_be_bytes(*four),
            None => rest.iter().enumerate().fold(0, |word, (n, byte)| word | u32::from(*byte) << (24 - 8 * n)),
        };
        self.skip(count as usize)?;
        Ok((u64::from(word << bit) >> (32 - count)) as u32)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Damaged> {
        Ok(self.take(1)? == 1)
    }

    /// A small number that is an index or a count.
    pub(super) fn index(&mut self, count: u32) -> Result<usize, Damaged> {
        Ok(self.take(count)? as usize)
    }

    /// A fraction in two's complement: -1 or more, and less than 1.
    pub(super) fn fraction(&mut self, count: u32) -> Result<f32, Damaged> {
        let number = (self.take(count)? << (32 - count)).cast_signed();
        Ok(number as f32 / 2_147_483_648.0)
    }

    /// What a flag says is there.
    pub(super) fn optional(&mut self, count: u32) -> Result<Option<u32>, Damaged> {
        if self.flag()? { self.take(count).map(Some) } else { Ok(None) }
    }

    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), Damaged> {
        let at = self.at.saturating_add(count);
        if at > 8 * self.bytes.len() {
            return Err(Damaged);
        }
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn bits_are_read_in_their_order_and_not_behind_the_end() {
        let mut bits = Bits::new(&[0b1010_0110, 0xff, 0x12, 0x34, 0x56, 0b0111_1000]);
        assert_eq!((bits.take(3).unwrap(), bits.take(5).unwrap(), bits.take(16).unwrap()), (5, 6, 0xff12));
        assert_eq!((bits.take(0).unwrap(), bits.take(16).unwrap()), (0, 0x3456));
        assert!(bits.take(9).is_err());
        assert_eq!((bits.fraction(2).unwrap(), bits.fraction(2).unwrap()), (0.5, -0.5));
        assert!(bits.skip(4).is_ok() && bits.flag().is_err());
    }
}
