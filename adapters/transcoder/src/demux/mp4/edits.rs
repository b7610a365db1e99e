//! Edit lists: which parts of a track are played, and when (ISO/IEC 14496-12, 8.6.6).

use microserve_core::transcode::TranscodeError;

use super::boxes::{BoxHead, u32_at, u64_at};
use crate::demux::Part;
use crate::input::Input;
use crate::span::Span;

/// No more of a list is read, in bytes.
const LARGEST: u64 = 64 * 1024;

/// A stretch of media that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// Where in the media it begins, in ticks of the track.
    pub(super) media_time: u64,
    /// How long it is, in ticks of the movie; 0: to the end.
    duration: u64,
    /// How long nothing is played before it, in ticks of the movie.
    pub(super) pause: u64,
}

/// The stretches that are played, and the pauses between them.
pub(super) fn read(input: &mut Input<'_>, elst: &BoxHead) -> Result<Vec<Edit>, TranscodeError> {
    let bytes = input.vec_at(elst.body, LARGEST.min(elst.len()))?;
    let wide = bytes.first() == Some(&1);
    let count = u32_at(&bytes, 4).unwrap_or(0) as usize;
    let (mut edits, mut pause) = (Vec::new(), 0u64);
    for n in 0..count {
        let (duration, time) = if wide {
            (u64_at(&bytes, 8 + n * 20), u64_at(&bytes, 16 + n * 20).map(|time| time as i64))
        } else {
            let time = u32_at(&bytes, 12 + n * 12).map(|time| i64::from(time as i32));
            (u32_at(&bytes, 8 + n * 12).map(u64::from), time)
        };
        let (Some(duration), Some(time)) = (duration, time) else { break };
        // A time of -1 is a pause.
        match u64::try_from(time) {
            Ok(media_time) => edits.push(Edit { media_time, duration, pause: std::mem::take(&mut pause) }),
            Err(_) => pause = pause.saturating_add(duration),
        }
    }
    Ok(edits)
}

/// What a list of at least one edit plays of a track of `total` ticks (0: unknown), whose decoder leaves out `silent`
/// ticks at the start. Sound is read once and in its order: of a list that goes back everything from its earliest edit on
/// is played.
pub(super) fn played(edits: &[Edit], silent: u64, scale: u32, movie_scale: u32, total: u64) -> Vec<Part> {
    let (per_second, movie) = (u128::from(scale), u128::from(movie_scale));
    let ticks = |duration: u64| (u128::from(duration) * per_second).checked_div(movie).unwrap_or(0);
    // The movie's ticks are coarse, often a millisecond: what is nearer than two of them touches.
    let nearly = (2 * per_second).checked_div(movie).unwrap_or(0);
    let mut parts: Vec<Part> = Vec::new();
    let mut reached = 0;
    for edit in edits {
        let start = u128::from(edit.media_time.saturating_sub(silent));
        let end = start + ticks(edit.duration);
        let goes_on = edit.duration == 0 || movie == 0 || (total > 0 && end + nearly >= u128::from(total));
        let length = if goes_on { None } else { Some(Span::new(edit.duration, movie_scale.into())) };
        let pause = Span::new(edit.pause, movie_scale.into());
        let part = Part { start: Span::new(edit.media_time.saturating_sub(silent), scale.into()), length, pause };
        match parts.last_mut() {
            None => parts.push(part),
            Some(last) if last.length.is_none() || start + nearly < reached => {
                let earliest = edits.iter().map(|edit| edit.media_time.saturating_sub(silent)).min().unwrap_or(0);
                let pause = parts.first().map_or(Span::ZERO, |first| first.pause);
                return vec![Part { pause, ..Part::from(Span::new(earliest, scale.into())) }];
            }
            Some(last) if start <= reached + nearly && edit.pause == 0 => {
                let whole = u64::try_from(end).unwrap_or(u64::MAX).saturating_sub(last.start.ticks);
                last.length = length.map(|_| Span::new(whole, scale.into()));
            }
            Some(_) => parts.push(part),
        }
        reached = end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{Edit, Part, Span, played};

    fn part(start: u64, length: Option<Span>) -> Part {
        Part { start: Span::new(start, 44_100), length, pause: Span::ZERO }
    }

    fn edit(media_time: u64, duration: u64) -> Edit {
        Edit { media_time, duration, pause: 0 }
    }

    #[test]
    fn an_edit_to_the_end_keeps_all_and_a_shorter_one_cuts() {
        let to_the_end = [edit(1024, 2000)];
        assert_eq!(played(&to_the_end, 0, 44_100, 1000, 1024 + 88_200), [part(1024, None)]);
        assert_eq!(played(&to_the_end, 0, 44_100, 1000, 1024 + 88_240), [part(1024, None)]);
        assert_eq!(played(&to_the_end, 0, 44_100, 1000, 1024 + 441_000), [part(1024, Some(Span::new(2000, 1000)))]);
        assert_eq!(played(&[edit(5, 0)], 0, 44_100, 1000, 0), [part(5, None)]);
        assert_eq!(played(&[edit(5, 9)], 5, 44_100, 0, 0), [part(0, None)]);
    }

    #[test]
    fn parts_that_touch_are_one_and_others_stay() {
        let second = |media_time: u64| edit(media_time * 44_100, 1000);
        let whole = Some(Span::new(88_200, 44_100));
        assert_eq!(played(&[second(0), second(1)], 0, 44_100, 1000, 441_000), [part(0, whole)]);
        let one = Some(Span::new(1000, 1000));
        let apart = [part(0, one), part(3 * 44_100, one)];
        assert_eq!(played(&[second(0), second(3)], 0, 44_100, 1000, 441_000), apart);
    }

    #[test]
    fn pauses_stay_where_they_are() {
        let edits = [Edit { pause: 500, ..edit(0, 1000) }, Edit { pause: 250, ..edit(44_100, 1000) }];
        let pause = |n| Span::new(n, 1000);
        let one = Some(pause(1000));
        let parts = [Part { pause: pause(500), ..part(0, one) }, Part { pause: pause(250), ..part(44_100, one) }];
        assert_eq!(played(&edits, 0, 44_100, 1000, 441_000), parts);
    }

    #[test]
    fn a_list_that_goes_back_loses_no_sound() {
        let edits = [edit(88_200, 1000), edit(0, 1000)];
        assert_eq!(played(&edits, 0, 44_100, 1000, 441_000), [part(0, None)]);
    }
}
