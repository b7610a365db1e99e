//! A `trak` box: what the track is, which part of it is played, and where its samples are.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::boxes::{BoxHead, children_from, find, find_path, u16_at, u32_at, u64_at};
use super::entry::{self, Entry};
use super::metadata::Gapless;
use super::samples::Samples;
use crate::codec::Codec;
use crate::demux::{AUDIO, Track};
use crate::input::Input;
use crate::span::Span;

/// No sample description is longer that is looked at, nor are more of them.
const LARGEST_ENTRY: u64 = 256 * 1024;
const ENTRIES: usize = 16;

/// A track as the file describes it.
pub(super) struct TrackBox {
    pub(super) id: u32,
    pub(super) track: Track,
    pub(super) samples: Samples,
}

impl TrackBox {
    pub(super) fn read(
        input: &mut Input<'_>,
        trak: &BoxHead,
        movie_scale: u32,
        gapless: Option<Gapless>,
    ) -> Result<Self, TranscodeError> {
        let (id, enabled) = header(input, trak)?;
        let handler = match find_path(input, trak, &[b"mdia", b"hdlr"])? {
            Some(hdlr) => input.vec_at(hdlr.body + 8, 4)?,
            None => Vec::new(),
        };
        let (scale, ticks, language) = match find_path(input, trak, &[b"mdia", b"mdhd"])? {
            Some(mdhd) => media_header(input, &mdhd)?,
            None => (0, 0, None),
        };
        let stbl = find_path(input, trak, &[b"mdia", b"minf", b"stbl"])?;
        let entries = match &stbl {
            Some(stbl) => entries(input, stbl)?,
            None => Vec::new(),
        };
        let mut samples = match &stbl {
            Some(stbl) => Samples::read(input, stbl, scale)?,
            None => Samples::default(),
        };
        if handler != b"soun" {
            let codec = entries.first().map(|(kind, _)| entry::video_name(*kind)).unwrap_or_default();
            let kind = match handler.as_slice() {
                b"vide" => "video",
                b"text" | b"sbtl" | b"subt" | b"clcp" | b"subp" => "subtitle",
                _ => "other",
            };
            return Ok(Self { id, track: Track::other(kind, codec), samples });
        }

        let Entry { name, codec, encrypted, rate, channels, pcm_frame } = match entries.first() {
            Some((kind, body)) => Entry::parse(*kind, body),
            None => Entry::unknown(),
        };
        if entries.len() > 1 {
            samples.want_only(1);
        }
        if let Some(frame) = pcm_frame {
            samples.read_as_pcm(frame);
        }
        let (total, _) = samples.duration(input)?;
        let total = if total > 0 { total } else { ticks };
        let edit = match find_path(input, trak, &[b"edts", b"elst"])? {
            Some(elst) => Edit::read(input, &elst)?,
            None => None,
        };
        // The first packet of Vorbis has a duration in the file and no sound.
        let silent = if let Codec::Vorbis { .. } = codec { samples.first_duration(input)? } else { 0 };
        let edit = edit.map(|edit| Edit { media_time: edit.media_time.saturating_sub(silent), ..edit });
        let total = total.saturating_sub(silent);
        let (skip, keep) = match (edit, gapless) {
            (Some(edit), _) => edit.played(scale, movie_scale, total),
            (None, Some(gapless)) if matches!(codec, Codec::Aac(_)) => {
                (Span::new(gapless.priming, scale.into()), Some(Span::new(gapless.samples, scale.into())))
            }
            // Without an edit list the codec's own word counts.
            (None, _) => match &codec {
                Codec::Opus(head) => (Span::new(head.pre_skip.into(), 48_000), None),
                _ => (Span::ZERO, None),
            },
        };
        let played = Span::new(total, scale.into()).seconds() - skip.seconds();
        let duration = if total > 0 { Some(keep.map_or(played, Span::seconds)) } else { None };
        let info = TrackInfo { kind: AUDIO.into(), codec: name, channels, sample_rate: rate, duration, language };
        let track = Track { info, codec, encrypted, preferred: enabled, skip, keep };
        Ok(Self { id, track, samples })
    }
}

/// A track's number, and whether it is to be played unless somebody chooses another (`tkhd`, 8.3.2).
fn header(input: &mut Input<'_>, trak: &BoxHead) -> Result<(u32, bool), TranscodeError> {
    let Some(tkhd) = find(input, trak, b"tkhd")? else { return Ok((0, true)) };
    let bytes = input.vec_at(tkhd.body, 24.min(tkhd.len()))?;
    let flags = u32_at(&bytes, 0).unwrap_or(1);
    let id = u32_at(&bytes, if flags >> 24 == 1 { 20 } else { 12 });
    Ok((id.unwrap_or(0), flags & 1 != 0))
}

/// Ticks per second and the duration in ticks, as `mvhd` and `mdhd` have them (8.2.2, 8.4.2).
pub(super) fn scale_and_duration(input: &mut Input<'_>, head: &BoxHead) -> Result<(u32, u64), TranscodeError> {
    let bytes = input.vec_at(head.body, 32.min(head.len()))?;
    let wide = bytes.first() == Some(&1);
    let scale = u32_at(&bytes, if wide { 20 } else { 12 }).unwrap_or(0);
    let unknown = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let ticks = if wide { u64_at(&bytes, 24) } else { u32_at(&bytes, 16).map(u64::from) };
    Ok((scale, ticks.filter(|ticks| *ticks != unknown).unwrap_or(0)))
}

fn media_header(input: &mut Input<'_>, mdhd: &BoxHead) -> Result<(u32, u64, Option<String>), TranscodeError> {
    let (scale, ticks) = scale_and_duration(input, mdhd)?;
    let bytes = input.vec_at(mdhd.body, 36.min(mdhd.len()))?;
    let packed = u16_at(&bytes, if bytes.first() == Some(&1) { 32 } else { 20 }).unwrap_or(0);
    // Three letters of five bits each; what is below 0x400 is a number of QuickTime's.
    let letters = [10, 5, 0].map(|shift| char::from((packed >> shift & 0x1f) as u8 + 0x60));
    let language: String = letters.iter().collect();
    let known = packed >= 0x400 && letters.iter().all(char::is_ascii_lowercase) && language != "und";
    Ok((scale, ticks, known.then_some(language)))
}

/// Kind and body of a sample description.
type Description = ([u8; 4], Vec<u8>);

/// The sample descriptions.
fn entries(input: &mut Input<'_>, stbl: &BoxHead) -> Result<Vec<Description>, TranscodeError> {
    let Some(stsd) = find(input, stbl, b"stsd")? else { return Ok(Vec::new()) };
    let version = input.array_at::<1>(stsd.body)?.map_or(0, |[version]| version);
    let mut found = Vec::new();
    for head in children_from(input, stsd.body.saturating_add(8).min(stsd.end), stsd.end)?.into_iter().take(ENTRIES) {
        let mut body = input.vec_at(head.body, LARGEST_ENTRY.min(head.len()))?;
        // Version 1 of an entry is QuickTime's only in version 0 of the box: in ISO's it has no further fields.
        if version == 1 && body.get(8..10) == Some(&[0, 1]) {
            body[9] = 0;
        }
        found.push((head.kind, body));
    }
    Ok(found)
}

/// The part of a track that its edit list plays (8.6.6).
#[derive(Clone, Copy)]
struct Edit {
    /// Where in the media it begins, in ticks of the track.
    media_time: u64,
    /// How long it is, in ticks of the movie; 0: to the end.
    duration: u64,
}

impl Edit {
    /// The first stretch of media that is played. `None` when the list plays everything as it is.
    fn read(input: &mut Input<'_>, elst: &BoxHead) -> Result<Option<Self>, TranscodeError> {
        let bytes = input.vec_at(elst.body, 64 * 1024.min(elst.len()))?;
        let wide = bytes.first() == Some(&1);
        let count = u32_at(&bytes, 4).unwrap_or(0) as usize;
        for n in 0..count {
            let (duration, time) = if wide {
                (u64_at(&bytes, 8 + n * 20), u64_at(&bytes, 16 + n * 20).map(|time| time as i64))
            } else {
                let time = u32_at(&bytes, 12 + n * 12).map(|time| i64::from(time as i32));
                (u32_at(&bytes, 8 + n * 12).map(u64::from), time)
            };
            let (Some(duration), Some(time)) = (duration, time) else { break };
            // A time of -1 is a pause.
            if let Ok(media_time) = u64::try_from(time) {
                let only = n + 1 == count;
                return Ok(Some(Self { media_time, duration: if only { duration } else { 0 } }));
            }
        }
        Ok(None)
    }

    /// What is skipped at the start, and what is kept behind that.
    fn played(self, scale: u32, movie_scale: u32, total: u64) -> (Span, Option<Span>) {
        let skip = Span::new(self.media_time, scale.into());
        let (scale, movie_scale) = (u128::from(scale), u128::from(movie_scale));
        if self.duration == 0 || movie_scale == 0 {
            return (skip, None);
        }
        // The movie's ticks are coarse, often a millisecond: an edit that reaches to the end but for a tick's rounding
        // reaches to the end.
        let wanted = u128::from(self.duration) * scale;
        let available = u128::from(total.saturating_sub(self.media_time)) * movie_scale;
        if total > 0 && wanted + 2 * scale >= available {
            return (skip, None);
        }
        (skip, Some(Span::new(self.duration, movie_scale as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Edit, Span};

    #[test]
    fn an_edit_to_the_end_keeps_all_and_a_shorter_one_cuts() {
        let edit = Edit { media_time: 1024, duration: 2000 };
        assert_eq!(edit.played(44_100, 1000, 1024 + 88_200), (Span::new(1024, 44_100), None));
        assert_eq!(edit.played(44_100, 1000, 1024 + 88_240), (Span::new(1024, 44_100), None));
        let cut = Some(Span::new(2000, 1000));
        assert_eq!(edit.played(44_100, 1000, 1024 + 441_000), (Span::new(1024, 44_100), cut));
        let unknown = Edit { media_time: 5, duration: 0 };
        assert_eq!(unknown.played(48_000, 1000, 0), (Span::new(5, 48_000), None));
    }
}
