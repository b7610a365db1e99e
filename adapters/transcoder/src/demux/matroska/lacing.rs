//! Lacing: several frames in one block (RFC 9559, 10.3).

use std::collections::VecDeque;
use std::ops::Range;

use super::ebml::vint;
use crate::codec::xiph_length;

/// Which parts of a block are frames. `lacing` is its two bits of the block's flags: none, Xiph, fixed, EBML. A block
/// whose sizes don't add up gives the frames before that shows.
pub(super) fn frames(block: &[u8], lacing: u8) -> VecDeque<Range<usize>> {
    if lacing == 0 {
        return std::iter::once(0..block.len()).collect();
    }
    let Some((&more, rest)) = block.split_first() else { return VecDeque::new() };
    let count = usize::from(more) + 1;
    let sized = match lacing {
        1 => xiph(rest, count),
        2 => Some((vec![rest.len() / count; count - 1], rest)),
        _ => ebml(rest, count),
    };
    let Some((sizes, frames)) = sized else { return VecDeque::new() };
    let mut at = block.len() - frames.len();
    let mut found = VecDeque::with_capacity(count);
    for size in sizes {
        let end = at.saturating_add(size);
        if end > block.len() {
            return found;
        }
        found.push_back(at..end);
        at = end;
    }
    found.push_back(at..block.len()); // the last one has what is left
    found.retain(|frame| !frame.is_empty()); // there is no sound in them, and 256 of them cost seven bytes
    found
}

/// The sizes of all frames but the last, and the frames.
type Sizes<'b> = Option<(Vec<usize>, &'b [u8])>;

fn xiph(mut bytes: &[u8], count: usize) -> Sizes<'_> {
    let mut sizes = Vec::with_capacity(count);
    for _ in 1..count {
        let (size, rest) = xiph_length(bytes)?;
        sizes.push(size);
        bytes = rest;
    }
    Some((sizes, bytes))
}

/// The first size as it is, each further one as its difference from the one before.
fn ebml(mut bytes: &[u8], count: usize) -> Sizes<'_> {
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    for _ in 1..count {
        let (number, length) = vint(bytes)?;
        let size = match sizes.last() {
            None => i64::try_from(number).ok()?,
            Some(last) => {
                let bias = (1i64 << (7 * length - 1)) - 1;
                i64::try_from(*last).ok()? + i64::try_from(number).ok()? - bias
            }
        };
        sizes.push(usize::try_from(size).ok()?);
        bytes = &bytes[length..];
    }
    Some((sizes, bytes))
}

#[cfg(test)]
mod tests {
    use super::{VecDeque, frames};

    #[test]
    fn every_lacing_gives_its_frames() {
        let body = |head: &[u8], len: usize| [head, &vec![0; len]].concat();
        assert_eq!(frames(&body(&[], 5), 0), std::iter::once(0..5).collect::<VecDeque<_>>());
        // 800, 500 and 1000 bytes, the standard's own example.
        assert_eq!(frames(&body(&[2, 255, 255, 255, 35, 255, 245], 2300), 1), [7..807, 807..1307, 1307..2307]);
        assert_eq!(frames(&body(&[2, 0x43, 0x20, 0x5e, 0xd3], 2300), 3), [5..805, 805..1305, 1305..2305]);
        assert_eq!(frames(&body(&[2], 2400), 2), [1..801, 801..1601, 1601..2401]);
    }

    #[test]
    fn sizes_that_can_not_be_give_no_frames_that_are_not_there() {
        assert!(frames(&[2, 100, 100, 0, 0], 1).is_empty());
        assert_eq!(frames(&[1, 1, 0, 0], 1), [2..3, 3..4]);
        assert!(frames(&[], 1).is_empty() && frames(&[3], 3).is_empty());
    }
}
