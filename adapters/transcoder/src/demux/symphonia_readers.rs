//! WAVE and FLAC, by Symphonia's readers. The container is known already, so exactly its reader is made: Symphonia's
//! own guessing takes other containers for MPEG audio and gives noise.

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track as TheirTrack};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::{RawTag, StandardTag};
use symphonia::core::units::{Duration, TimeBase};
use symphonia::default::formats::{FlacReader, WavReader};

use super::{AUDIO, LARGEST_PACKET, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::{self, Codec};
use crate::input::{Failure, Input};
use crate::sniff::Container;
use crate::span::Span;
use crate::tags::{Key, Tags};

/// Damaged stretches in a row after which nothing more is expected.
const DAMAGE: u32 = 1000;

struct Reader<'a> {
    reader: Box<dyn FormatReader + 'a>,
    failure: Failure,
    track: u32,
    time_base: Option<TimeBase>,
}

pub(super) fn open(container: Container, mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    if container == Container::Wav
        && let Some(name) = unsupported_wave(&mut input)?
    {
        return Err(TranscodeError::UnsupportedCodec { name });
    }
    let failure = input.failure();
    let stream = MediaSourceStream::new(Box::new(input), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    let made = match container {
        Container::Wav => WavReader::try_new(stream, options).map(boxed),
        _ => FlacReader::try_new(stream, options).map(boxed),
    };
    let mut reader = made.map_err(|err| explain(&err, &failure, container))?;
    let tags = tags(&mut *reader);
    let tracks = reader.tracks().iter().map(track).collect();
    let packets = Box::new(Reader { reader, failure, track: 0, time_base: None });
    Ok(Opened { container, tracks, tags, packets })
}

fn boxed<'a>(reader: impl FormatReader + 'a) -> Box<dyn FormatReader + 'a> {
    Box::new(reader)
}

fn explain(err: &Error, failure: &Failure, container: Container) -> TranscodeError {
    if let Some(err) = failure.take() {
        return err;
    }
    match err {
        Error::IoError(_) => corrupt("it ends before its headers do"),
        Error::Unsupported(what) if what.contains("codec") => {
            TranscodeError::UnsupportedCodec { name: "unknown".to_owned() }
        }
        err => corrupt(format!("its {} headers make no sense: {err}", container.name())),
    }
}

/// The name of a WAVE file's codec if Symphonia does not read it, which it says without a name (Microsoft's registered
/// wave formats).
fn unsupported_wave(input: &mut Input<'_>) -> Result<Option<String>, TranscodeError> {
    let mut at = 12;
    while let Some([k0, k1, k2, k3, s0, s1, s2, s3]) = input.array_at(at)? {
        if [k0, k1, k2, k3] != *b"fmt " {
            let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
            at += 8 + size + size % 2;
            continue;
        }
        let Some(tag) = input.array_at(at + 8)?.map(u16::from_le_bytes) else { break };
        let name = match tag {
            0x0001 | 0x0002 | 0x0003 | 0x0006 | 0x0007 | 0x0011 | 0xfffe => return Ok(None),
            0x0031 => "gsm_ms",
            0x0050 => "mp2",
            0x0055 => "mp3",
            0x0160..=0x0163 => "wma",
            0x2000 => "ac3",
            0x2001 => "dts",
            0x00ff | 0x1600 | 0x1602 => "aac",
            tag => return Ok(Some(format!("wave format 0x{tag:04x}"))),
        };
        return Ok(Some(name.to_owned()));
    }
    Ok(None)
}

fn track(track: &TheirTrack) -> Track {
    let params = match &track.codec_params {
        Some(CodecParameters::Audio(params)) => params,
        Some(CodecParameters::Video(_)) => return Track::other("video", "unknown"),
        Some(CodecParameters::Subtitle(_)) => return Track::other("subtitle", "unknown"),
        _ => return Track::other("other", "unknown"),
    };
    let rate = params.sample_rate.unwrap_or(0);
    let seconds = |frames: u64| if rate > 0 { Some(frames as f64 / f64::from(rate)) } else { None };
    let codec = Codec::from_symphonia(params);
    let head = if let Codec::Opus(head) = &codec { Some(u16::from(head.channels)) } else { None };
    let channels = params.channels.as_ref().and_then(|c| u16::try_from(c.count()).ok());
    let info = TrackInfo {
        kind: AUDIO.to_owned(),
        codec: codec::name(params.codec).to_owned(),
        channels: head.or(channels).unwrap_or(0),
        sample_rate: rate,
        duration: track.num_frames.and_then(seconds),
        language: track.language.clone(),
    };
    Track::audio(info, codec)
}

fn tags(reader: &mut dyn FormatReader) -> Tags {
    let mut tags = Tags::default();
    let mut metadata = reader.metadata();
    metadata.skip_to_latest();
    let Some(revision) = metadata.current() else { return tags };
    let of_tracks = revision.per_track.iter().map(|track| &track.metadata);
    for container in std::iter::once(&revision.media).chain(of_tracks) {
        for tag in &container.tags {
            match &tag.std {
                Some(StandardTag::TrackTitle(text)) => tags.set(Key::Title, text),
                Some(StandardTag::Artist(text)) => tags.set(Key::Artist, text),
                Some(StandardTag::Album(text)) => tags.set(Key::Album, text),
                Some(StandardTag::RecordingDate(text) | StandardTag::ReleaseDate(text)) => tags.set(Key::Date, text),
                _ => riff_info(&tag.raw, &mut tags),
            }
        }
        for visual in &container.visuals {
            tags.set_cover(&visual.data);
        }
    }
    tags
}

/// Tags of a WAVE file's INFO list, which Symphonia gives as they stand there.
fn riff_info(raw: &RawTag, tags: &mut Tags) {
    let key = match raw.key.as_str() {
        "INAM" => Key::Title,
        "IART" => Key::Artist,
        "IPRD" => Key::Album,
        "ICRD" => Key::Date,
        _ => return,
    };
    tags.set(key, &raw.value.to_string());
}

impl Reader<'_> {
    fn span(&self, duration: Duration) -> Span {
        let Some(base) = self.time_base else { return Span::ZERO };
        Span::new(duration.get().saturating_mul(u64::from(base.numer.get())), u64::from(base.denom.get()))
    }

    fn aim(&mut self, track: &TheirTrack) {
        self.track = track.id;
        self.time_base = track.time_base;
    }
}

impl Packets for Reader<'_> {
    fn select(&mut self, track: usize) {
        if let Some(track) = self.reader.tracks().get(track).cloned() {
            self.aim(&track);
        }
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let mut damage = 0;
        loop {
            let read = self.reader.next_packet();
            if let Some(err) = self.failure.take() {
                return Err(err);
            }
            match read {
                Ok(Some(theirs)) if theirs.track_id != self.track || theirs.data.len() as u64 > LARGEST_PACKET => {}
                Ok(Some(theirs)) => {
                    packet.trim_start = self.span(theirs.trim_start);
                    packet.trim_end = self.span(theirs.trim_end);
                    packet.data = theirs.data.into_vec();
                    return Ok(Read::Packet);
                }
                // A file that is cut off ends where it is cut.
                Ok(None) | Err(Error::IoError(_)) => return Ok(Read::End),
                Err(Error::ResetRequired) => {
                    let audio = self.reader.tracks().iter().find(|t| track(t).is_audio()).cloned();
                    let Some(next) = audio else { return Ok(Read::End) };
                    self.aim(&next);
                    return Ok(Read::Changed(Box::new(track(&next))));
                }
                Err(_) if damage < DAMAGE => damage += 1,
                Err(_) => return Ok(Read::End),
            }
        }
    }
}
