//! Tags: their headers, their times, and where the next one is behind damage (E.4.1).

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// Bytes of a header, and of the size of the tag before that stands behind each.
const HEADER: u64 = 11;
const SIZE: u64 = 4;

pub(super) struct Tag {
    pub(super) kind: Kind,
    /// Its body goes through a filter first, which is there for encryption only.
    pub(super) encrypted: bool,
    /// In ms, of 24 or 32 bits.
    pub(super) time: u32,
    pub(super) body: u64,
    pub(super) size: u64,
    /// Where the next one begins.
    pub(super) end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Audio,
    Video,
    Script,
}

impl Tag {
    fn parse(at: u64, header: &[u8; 11]) -> Option<Self> {
        let [kind, s0, s1, s2, t1, t2, t3, t0, 0, 0, 0] = *header else { return None };
        let size = u64::from(u32::from_be_bytes([0, s0, s1, s2]));
        let (body, time) = (at + HEADER, u32::from_be_bytes([t0, t1, t2, t3]));
        let encrypted = kind & 0x20 != 0;
        let kind = match kind & !0x20 {
            8 => Kind::Audio,
            9 => Kind::Video,
            18 => Kind::Script,
            _ => return None,
        };
        Some(Self { kind, encrypted, time, body, size, end: body + size + SIZE })
    }
}

/// The tag at a position, if one begins there and another, or its own size once more, stands behind it.
pub(super) fn at(input: &mut Input<'_>, at: u64) -> Result<Option<Tag>, TranscodeError> {
    let Some(header) = input.array_at(at)? else { return Ok(None) };
    let Some(tag) = Tag::parse(at, &header) else { return Ok(None) };
    // The last size is often left out.
    if tag.end == input.len() || tag.end - SIZE == input.len() || is_sure(input, &tag)? {
        return Ok(Some(tag));
    }
    let next = input.array_at(tag.end)?;
    Ok(Some(tag).filter(|tag| next.is_some_and(|next| Tag::parse(tag.end, &next).is_some())))
}

/// Whether the size that stands behind a tag is its own.
fn is_sure(input: &mut Input<'_>, tag: &Tag) -> Result<bool, TranscodeError> {
    let size = input.array_at(tag.end - SIZE)?.map(u32::from_be_bytes);
    Ok(size.map(u64::from) == Some(tag.size + HEADER))
}

/// How far is looked at once.
const STRETCH: u64 = 1024 * 1024;
const STEP: u64 = 16 * 1024;
/// So many headers of a stretch are looked into: data has a few by chance, and hostile files have nothing else.
const MOST_GUESSES: u32 = 2000;

/// Looks for the next tag; the position is moved to it, or to the end of what was looked through.
pub(super) fn find(input: &mut Input<'_>, at: &mut u64) -> Result<Option<Tag>, TranscodeError> {
    let (end, mut guesses) = (at.saturating_add(STRETCH), 0);
    while *at < end.min(input.len()) && guesses < MOST_GUESSES {
        let bytes = input.vec_at(*at, STEP + HEADER - 1)?;
        for (n, header) in bytes.windows(HEADER as usize).take(STEP as usize).enumerate() {
            let here = *at + n as u64;
            let Some(tag) = header.first_chunk().and_then(|header| Tag::parse(here, header)) else { continue };
            guesses += 1;
            if is_sure(input, &tag)? {
                *at = here;
                return Ok(Some(tag));
            }
        }
        *at = at.saturating_add(STEP);
    }
    *at = (*at).min(input.len());
    Ok(None)
}

/// The times of tags, without their wraps.
#[derive(Default)]
pub(super) struct Clock {
    last: Option<u32>,
    now: i64,
}

impl Clock {
    /// The time of the next tag, in ms.
    pub(super) fn tick(&mut self, time: u32) -> i64 {
        self.now = self.after(time);
        self.last = Some(time);
        self.now
    }

    /// What [`Clock::tick`] would say.
    pub(super) fn after(&self, time: u32) -> i64 {
        const WRAP: u32 = 1 << 24;
        let Some(last) = self.last else { return i64::from(time) };
        let is_short = last < WRAP && time < WRAP;
        let passed = i64::from(time.wrapping_sub(last).cast_signed());
        // Writers that know nothing of the upper eight bits start again from zero, around which tags may be mixed up.
        let wrap = match passed {
            _ if !is_short => 0,
            back if back < -i64::from(WRAP / 2) => i64::from(WRAP),
            on if on > i64::from(WRAP / 2) && self.now >= i64::from(WRAP) => -i64::from(WRAP),
            _ => 0,
        };
        self.now.saturating_add(passed + wrap)
    }
}

/// By how many ms the picture of a video tag is shown later than its time; `None` if it has no picture (E.4.3.1, and
/// Enhanced RTMP's `ExVideoTagHeader`).
pub(super) fn picture(body: &[u8]) -> Option<i64> {
    let shift = |at: usize| {
        let [a, b, c] = *body.get(at..)?.first_chunk()?;
        Some(i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8))
    };
    let first = *body.first()?;
    match (first & 0x80 != 0, first & 0xf) {
        (true, 1) if matches!(body.get(1..5), Some(b"avc1" | b"hvc1")) => shift(5),
        (true, 1 | 3) => Some(0),
        (true, _) => None,
        (false, 7 | 12) if body.get(1) == Some(&1) => shift(2),
        (false, 7 | 12) => None,
        // 5 is a message to the player.
        (false, _) => (first >> 4 != 5).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(times: &[u32]) -> Vec<i64> {
        let mut clock = Clock::default();
        times.iter().map(|time| clock.tick(*time)).collect()
    }

    #[test]
    fn clocks_of_24_and_of_32_bits_go_on_behind_their_wraps() {
        assert_eq!(ticks(&[0xff_fff0, 4, 0xff_fffa, 10]), [0xff_fff0, 0x100_0004, 0xff_fffa, 0x100_000a]);
        assert_eq!(ticks(&[0xff_fff0, 0x100_0004]), [0xff_fff0, 0x100_0004]);
        assert_eq!(ticks(&[u32::MAX, 20]), [i64::from(u32::MAX), i64::from(u32::MAX) + 21]);
        assert_eq!(ticks(&[5000, 0, 40]), [5000, 0, 40]);
    }

    #[test]
    fn pictures_are_told_from_settings() {
        assert_eq!(picture(&[0x17, 0, 0, 0, 0]), None);
        assert_eq!(picture(&[0x17, 1, 0, 0, 80]), Some(80));
        assert_eq!(picture(&[0x17, 1, 0xff, 0xff, 0xff]), Some(-1));
        assert_eq!(picture(&[0x22, 0]), Some(0));
        assert_eq!(picture(b"\x91hvc1\0\0\x28"), Some(40));
        assert_eq!(picture(b"\x90hvc1\0\0\x28"), None);
    }
}
