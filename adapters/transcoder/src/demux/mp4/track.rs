//! A `trak` box: what the track is, which part of it is played, and where its samples are.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::boxes::{BoxHead, children_from, find, find_path, u16_at, u32_at, u64_at};
use super::edits;
use super::entry::{self, Entry};
use super::metadata::Gapless;
use super::samples::Samples;
use crate::codec::Codec;
use crate::demux::{AUDIO, Part, Track};
use crate::input::Input;
use crate::span::Span;

/// No sample description is longer that is looked at, nor are more of them.
const LARGEST_DESCRIPTION: u64 = 256 * 1024;
const DESCRIPTIONS: usize = 16;

/// A track as the file describes it.
pub(super) struct TrackBox {
    pub(super) id: u32,
    pub(super) track: Track,
    pub(super) samples: Samples,
    descriptions: Descriptions,
    /// The description that is being decoded, counted from one.
    description: u32,
    pub(super) scale: u32,
    /// Bytes of a moment of PCM.
    pub(super) pcm_frame: Option<u64>,
    /// How long nothing is played of it at first.
    pub(super) pause: Span,
    /// How much of it is skipped at its start.
    pub(super) skipped: Span,
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
        let descriptions = match &stbl {
            Some(stbl) => Descriptions::find(input, stbl)?,
            None => Descriptions::default(),
        };
        let mut samples = match &stbl {
            Some(stbl) => Samples::read(input, stbl, scale)?,
            None => Samples::default(),
        };
        let edits = match find_path(input, trak, &[b"edts", b"elst"])? {
            Some(elst) => edits::read(input, &elst)?,
            None => Vec::new(),
        };
        let pause = edits.first().map_or(Span::ZERO, |edit| Span::new(edit.pause, movie_scale.into()));
        let skipped = edits.first().map_or(Span::ZERO, |edit| Span::new(edit.media_time, scale.into()));
        if handler != b"soun" {
            let codec = descriptions.boxes.first().map(|head| entry::video_name(head.kind)).unwrap_or_default();
            let kind = match handler.as_slice() {
                b"vide" => "video",
                b"text" | b"sbtl" | b"subt" | b"clcp" | b"subp" => "subtitle",
                _ => "other",
            };
            return Ok(Self {
                id,
                track: Track::other(kind, codec),
                samples,
                descriptions,
                description: 1,
                scale,
                pcm_frame: None,
                pause,
                skipped,
            });
        }

        let description = if descriptions.boxes.len() > 1 { samples.first_description(input)? } else { 1 };
        let mut entry = match descriptions.raw(input, description)? {
            Some((kind, body)) => Entry::parse(kind, &body, scale),
            None => Entry::unknown(),
        };
        samples.read_as_pcm(entry.pcm_frame);
        samples.read_as_blocks(entry.block);
        if entry.is_mpeg_audio()
            && let Some(frame) = samples.first_frame(input)?
        {
            entry.correct(&frame);
        }
        let Entry { name, codec, encrypted, rate, channels, pcm_frame, .. } = entry;
        let (total, _) = samples.duration(input)?;
        let total = if total > 0 { total } else { ticks };
        // The first packet of Vorbis has a duration in the file and no sound.
        let silent = if let Codec::Vorbis { .. } = codec { samples.first_duration(input)? } else { 0 };
        let total = total.saturating_sub(silent);
        let played = match gapless {
            _ if !edits.is_empty() => edits::played(&edits, silent, scale, movie_scale, total),
            Some(gapless) if matches!(codec, Codec::Aac(_)) => {
                let length = Some(Span::new(gapless.samples, scale.into()));
                vec![Part { length, ..Part::from(Span::new(gapless.priming, scale.into())) }]
            }
            // Without an edit list the codec's own word counts.
            _ => match &codec {
                Codec::Opus(head) => vec![Part::from(Span::new(head.pre_skip.into(), 48_000))],
                Codec::Wma(wma) => vec![Part::from(Span::new(wma.delay(), wma.rate.into()))],
                _ => vec![Part::default()],
            },
        };
        let all = Span::new(total, scale.into()).seconds();
        let length = |part: &Part| part.length.map_or(all - part.start.seconds(), Span::seconds);
        let duration = (total > 0).then(|| played.iter().map(|part| part.pause.seconds() + length(part)).sum());
        let info = TrackInfo { kind: AUDIO.into(), codec: name, channels, sample_rate: rate, duration, language };
        let track = Track { encrypted, preferred: enabled, played, ..Track::audio(info, codec) };
        Ok(Self { id, track, samples, descriptions, description, scale, pcm_frame, pause, skipped })
    }

    /// Starts so much earlier, because the presentation begins that late.
    pub(super) fn start_earlier(&mut self, by: Span) {
        if let Some(first) = self.track.played.first_mut() {
            first.pause = first.pause.less(by);
            self.track.info.duration = self.track.info.duration.map(|seconds| seconds - by.seconds());
        }
    }

    /// The description that is being decoded, if it makes a difference.
    pub(super) fn decoded(&self) -> Option<u32> {
        (self.descriptions.boxes.len() > 1).then_some(self.description)
    }

    /// Goes on with another description; gives the track that it makes of this one, if that is another.
    pub(super) fn change(&mut self, input: &mut Input<'_>, description: u32) -> Result<Option<Track>, TranscodeError> {
        let before = self.descriptions.raw(input, self.description)?;
        let raw = self.descriptions.raw(input, description)?;
        self.description = description;
        if raw == before {
            return Ok(None);
        }
        let entry = raw.map_or_else(Entry::unknown, |(kind, body)| Entry::parse(kind, &body, self.scale));
        self.samples.read_as_pcm(entry.pcm_frame);
        self.samples.read_as_blocks(entry.block);
        let (codec, sample_rate, channels) = (entry.name, entry.rate, entry.channels);
        let info = TrackInfo { codec, sample_rate, channels, ..self.track.info.clone() };
        Ok(Some(Track { info, codec: entry.codec, encrypted: entry.encrypted, ..self.track.clone() }))
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

/// Where the sample descriptions lie.
#[derive(Default)]
struct Descriptions {
    /// The version of the box around them.
    version: u8,
    boxes: Vec<BoxHead>,
}

impl Descriptions {
    fn find(input: &mut Input<'_>, stbl: &BoxHead) -> Result<Self, TranscodeError> {
        let Some(stsd) = find(input, stbl, b"stsd")? else { return Ok(Self::default()) };
        let version = input.array_at::<1>(stsd.body)?.map_or(0, |[version]| version);
        let mut boxes = children_from(input, stsd.body.saturating_add(8).min(stsd.end), stsd.end)?;
        boxes.truncate(DESCRIPTIONS);
        Ok(Self { version, boxes })
    }

    /// Kind and body of one, counted from one.
    fn raw(&self, input: &mut Input<'_>, n: u32) -> Result<Option<Description>, TranscodeError> {
        let Some(head) = (n as usize).checked_sub(1).and_then(|n| self.boxes.get(n)) else { return Ok(None) };
        let mut body = input.vec_at(head.body, LARGEST_DESCRIPTION.min(head.len()))?;
        // Version 1 of an entry is QuickTime's only in version 0 of the box: in ISO's it has no further fields.
        if self.version == 1 && body.get(8..10) == Some(&[0, 1]) {
            body[9] = 0;
        }
        Ok(Some((head.kind, body)))
    }
}
