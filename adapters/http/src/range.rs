//! Byte ranges (RFC 9110 §14): which part of a file a client wants.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// Everything: there is no range, or none that is obeyed.
    Whole,
    /// These bytes, of which there is at least one, and which all exist.
    Part(Range<u64>),
    /// Bytes behind the end: 416.
    NotSatisfiable,
}

/// What a `Range` header asks of a file of `size` bytes.
///
/// RFC 9110 §14.2 lets a server ignore the header. That is done with whatever can't be understood, and with several
/// ranges at once: no player asks for them, and answering is a way to make a server send more than it has.
///
/// ```
/// use microserve_http::range::{Requested, requested};
///
/// assert_eq!(requested(b"bytes=0-499", 1000), Requested::Part(0..500));
/// assert_eq!(requested(b"bytes=-1", 1000), Requested::Part(999..1000));
/// assert_eq!(requested(b"bytes=1000-", 1000), Requested::NotSatisfiable);
/// assert_eq!(requested(b"bytes=0-1,5-6", 1000), Requested::Whole);
/// ```
#[must_use]
pub fn requested(header: &[u8], size: u64) -> Requested {
    let Some(spec) = single_spec(header) else { return Requested::Whole };
    let asked = match spec {
        (Some(first), last) => {
            if last.is_some_and(|last| last < first) {
                return Requested::Whole;
            }
            first..last.map_or(size, |last| last.saturating_add(1)).min(size)
        }
        // The last so many bytes, or all if there are fewer.
        (None, Some(count)) => size.saturating_sub(count)..size,
        (None, None) => return Requested::Whole,
    };
    if asked.is_empty() { Requested::NotSatisfiable } else { Requested::Part(asked) }
}

/// `bytes=first-last` with at most one end missing. Empty members of the list don't count (RFC 9110 §5.6.1.2).
fn single_spec(header: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = std::str::from_utf8(header).ok()?.split_once('=')?;
    // §14.1: the unit's case does not matter.
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else { return None };
    let (first, last) = spec.split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// `Some(None)` is an end left open, `None` is no number. A number that is too large for us is as good as the largest.
fn number(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        use Requested::{NotSatisfiable, Part, Whole};
        for (header, expected) in [
            ("bytes=0-499", Part(0..500)),
            ("bytes=500-999", Part(500..1000)),
            ("bytes=500-", Part(500..1000)),
            ("bytes=-500", Part(500..1000)),
            ("bytes=-5000", Part(0..1000)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=999-2000", Part(999..1000)),
            ("BYTES= 5-5 ,", Part(5..6)),
            ("bytes=1-18446744073709551615", Part(1..1000)),
            ("bytes=1-99999999999999999999999", Part(1..1000)),
            ("bytes=1000-", NotSatisfiable),
            ("bytes=1000-1001", NotSatisfiable),
            ("bytes=99999999999999999999999-", NotSatisfiable),
            ("bytes=-0", NotSatisfiable),
            ("", Whole),
            ("bytes", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=5-2", Whole),
            ("bytes=+5-7", Whole),
            ("bytes=5--7", Whole),
            ("bytes=0x1-2", Whole),
            ("lines=1-2", Whole),
            ("bytes=0-1,5-6", Whole),
        ] {
            assert_eq!(requested(header.as_bytes(), 1000), expected, "{header}");
        }
        assert_eq!(requested(b"bytes=0-", 0), NotSatisfiable);
        assert_eq!(requested(b"bytes=\xff-", 10), Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_past_the_end(header in "(bytes)?=?[0-9a-f, -]{0,24}", size in any::<u64>()) {
            if let Requested::Part(part) = requested(header.as_bytes(), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn what_is_asked_for_is_given(first in 0u64..2000, len in 1u64..2000, size in 1u64..2000) {
            let header = format!("bytes={first}-{}", first + len - 1);
            let expected = if first < size {
                Requested::Part(first..(first + len).min(size))
            } else {
                Requested::NotSatisfiable
            };
            prop_assert_eq!(requested(header.as_bytes(), size), expected);
        }

        #[test]
        fn any_bytes_are_borne(header in proptest::collection::vec(any::<u8>(), 0..64), size in any::<u64>()) {
            let _ = requested(&header, size);
        }
    }
}
