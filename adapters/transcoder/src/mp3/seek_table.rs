//! Where in the stream each hundredth of the time is, from a bounded number of notes.

/// More than a hundred times as exact as the table that is made of them.
const MOST: usize = 1024;

/// Where some of the frames begin.
pub(crate) struct SeekTable {
    /// Every `step`th frame's offset.
    offsets: Vec<u64>,
    step: u64,
    frames: u64,
}

impl Default for SeekTable {
    fn default() -> Self {
        Self { offsets: Vec::new(), step: 1, frames: 0 }
    }
}

impl SeekTable {
    /// Takes note of where the next frame begins.
    pub(crate) fn add(&mut self, offset: u64) {
        if self.frames.is_multiple_of(self.step) {
            if self.offsets.len() == MOST {
                let mut n = 0;
                self.offsets.retain(|_| {
                    n += 1;
                    n % 2 == 1
                });
                self.step *= 2;
            }
            self.offsets.push(offset);
        }
        self.frames += 1;
    }

    /// For each hundredth of the time, where it begins in 256ths of the stream, which is `total` bytes long and has the
    /// first frame behind `head` bytes.
    pub(crate) fn percents(&self, head: u64, total: u64) -> [u8; 100] {
        std::array::from_fn(|percent| {
            let frame = self.frames * percent as u64 / 100;
            let (before, beyond) = ((frame / self.step) as usize, frame % self.step);
            let start = self.offsets.get(before).copied().unwrap_or_default();
            let end = self.offsets.get(before + 1).copied().unwrap_or(total.saturating_sub(head));
            let steps = self.step.min(self.frames - frame + beyond).max(1);
            let offset = head + start + end.saturating_sub(start) * beyond / steps;
            u8::try_from(offset * 256 / total.max(1)).unwrap_or(u8::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SeekTable;

    #[test]
    fn a_table_of_any_length_is_right() {
        for frames in [1, 2, 99, 100, 1023, 1024, 1025, 5000, 1_000_000] {
            let mut table = SeekTable::default();
            // The second half of the frames has three times as many bytes.
            let offset = |n: u64| 100 * n + 200 * n.saturating_sub(frames / 2);
            (0..frames).for_each(|n| table.add(offset(n)));
            let total = 100 + offset(frames);
            for (percent, given) in (0..).zip(table.percents(100, total)) {
                let exact = (100 + offset(frames * percent / 100)) * 256 / total;
                assert!(exact.abs_diff(given.into()) <= 1, "{percent} % of {frames} frames: {exact}, not {given}");
            }
            assert!(table.offsets.len() <= super::MOST);
        }
    }
}
