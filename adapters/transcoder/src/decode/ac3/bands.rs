//! Bands of several sub-bands each, which coupling and spectral extension have a scale factor for.

use super::bits::Bits;
use crate::decode::Damaged;

/// Bins of a sub-band.
pub(super) const SUBBAND: usize = 12;
/// No range has more.
pub(super) const MOST: usize = 18;

/// How many bins each band of a range has.
#[derive(Clone, Debug, Default)]
pub(super) struct Bands {
    sizes: [usize; MOST],
    count: usize,
    /// Which sub-bands go on with the band before, by their place in the spectrum.
    joined: [bool; MOST],
}

impl Bands {
    /// None, with the structure that holds until a frame tells another.
    pub(super) fn new(joined: [bool; MOST]) -> Self {
        Self { joined, ..Self::default() }
    }

    /// Makes bands of the sub-bands from `start` to `end`, and reads their structure if it is there.
    pub(super) fn read(&mut self, bits: &mut Bits<'_>, told: bool, start: usize, end: usize) -> Result<(), Damaged> {
        if start >= end || end > MOST {
            return Err(Damaged);
        }
        if told {
            for joined in &mut self.joined[start + 1..end] {
                *joined = bits.flag()?;
            }
        }
        self.count = 0;
        self.sizes = [0; MOST];
        for subband in start..end {
            if subband == start || !self.joined[subband] {
                self.count += 1;
            }
            self.sizes[self.count - 1] += SUBBAND;
        }
        Ok(())
    }

    /// The bins of each band, of which the first begins with the bin `start`.
    pub(super) fn bins(&self, start: usize) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.sizes[..self.count].iter().scan(start, |at, size| {
            let band = *at..*at + size;
            *at = band.end;
            Some(band)
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
