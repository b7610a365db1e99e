//! Bits, the highest of a byte first, and codes among them.

/// Reads bits. Behind the end there are only zeros, and [`Bits::is_over`] says so.
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    /// In bits.
    at: usize,
}

impl<'b> Bits<'b> {
    pub(super) fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether more was read than there is.
    pub(super) fn is_over(&self) -> bool {
        self.at > self.bytes.len() * 8
    }

    fn peek(&self) -> u32 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let five = match rest.first_chunk::<5>() {
            Some(five) => *five,
            None => std::array::from_fn(|n| rest.get(n).copied().unwrap_or(0)),
        };
        let [a, b, c, d, e] = five;
        let wide = u64::from(u32::from_be_bytes([a, b, c, d])) << 8 | u64::from(e);
        (wide >> (8 - self.at % 8)) as u32
    }

    /// Up to 32 bits.
    pub(super) fn read(&mut self, count: u32) -> u32 {
        let word = self.peek();
        self.at += count as usize;
        word.checked_shr(32 - count).unwrap_or(0)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.read(1) == 1
    }

    /// Goes on to the next whole byte.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Bits of a code that are looked up at once.
const AT_ONCE: u32 = 10;

/// A complete prefix code.
pub(super) struct Book {
    /// In the order of the codes: 32 × symbol + length.
    entries: &'static [u16],
    /// The codes, from the highest bit on.
    codes: Vec<u32>,
    /// For each value of the first bits, the last entry whose code is not above it.
    first: Vec<u16>,
}

impl Book {
    pub(super) fn new(entries: &'static [u16]) -> Self {
        let mut code = 0u32;
        let codes: Vec<u32> = entries
            .iter()
            .map(|entry| {
                let this = code;
                code = code.wrapping_add(1 << (32 - (entry & 31)));
                this
            })
            .collect();
        let last = |bits: u32| codes.partition_point(|code| *code <= bits << (32 - AT_ONCE)).saturating_sub(1) as u16;
        let first = (0..1 << AT_ONCE).map(last).collect();
        Self { entries, codes, first }
    }

    /// The next symbol.
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> u16 {
        let word = bits.peek();
        let start = (word >> (32 - AT_ONCE)) as usize;
        let from = usize::from(self.first[start]);
        let to = self.first.get(start + 1).map_or(self.codes.len(), |last| usize::from(*last) + 1);
        let within = self.codes[from..to].partition_point(|code| *code <= word).saturating_sub(1);
        let entry = self.entries[from + within];
        bits.at += usize::from(entry & 31);
        entry >> 5
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables;
    use super::*;

    #[test]
    fn every_codebook_is_complete_and_every_code_is_found() {
        let books: [&'static [u16]; 8] = [
            &tables::COEFS_0,
            &tables::COEFS_1,
            &tables::COEFS_2,
            &tables::COEFS_3,
            &tables::COEFS_4,
            &tables::COEFS_5,
            &tables::EXPONENTS,
            &tables::HIGH_GAINS,
        ];
        for entries in books {
            let whole: u64 = entries.iter().map(|entry| 1u64 << (32 - (entry & 31))).sum();
            assert_eq!(whole, 1 << 32);
            let mut symbols: Vec<u16> = entries.iter().map(|entry| entry >> 5).collect();
            symbols.sort_unstable();
            assert!(symbols.into_iter().eq(0..entries.len() as u16));
            let book = Book::new(entries);
            for (entry, code) in entries.iter().zip(&book.codes) {
                let (symbol, length) = (entry >> 5, usize::from(entry & 31));
                // Whatever follows it.
                for tail in [0, u32::MAX >> length] {
                    let bytes = (code | tail).to_be_bytes();
                    let mut bits = Bits::new(&bytes, 0);
                    assert_eq!((book.decode(&mut bits), bits.position()), (symbol, length));
                }
            }
        }
    }

    #[test]
    fn bits_are_read_across_bytes_and_end_in_zeros() {
        let mut bits = Bits::new(&[0xa5, 0xff, 0x80], 0);
        assert_eq!((bits.read(3), bits.read(0), bits.read(14)), (5, 0, 0b00_1011_1111_1111));
        assert_eq!(bits.read(7), 0);
        assert!(!bits.is_over());
        assert_eq!((bits.read(32), bits.is_over()), (0, true));
    }
}
