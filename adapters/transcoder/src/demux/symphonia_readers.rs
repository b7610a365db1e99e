//! WAVE and FLAC, by Symphonia's readers. The container is known already, so exactly its reader is made: Symphonia's
//! own guessing takes other containers for MPEG audio and gives noise.

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track as TheirTrack};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::StandardTag;
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
    let of_wave = if container == Container::Wav { wave(&mut input)? } else { Tags::default() };
    let failure = input.failure();
    let stream = MediaSourceStream::new(Box::new(input), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    let made = match container {
        Container::Wav => WavReader::try_new(stream, options).map(boxed),
        _ => FlacReader::try_new(stream, options).map(boxed),
    };
    let mut reader = made.map_err(|err| explain(&err, &failure, container))?;
    let mut tags = tags(&mut *reader);
    tags.merge(of_wave);
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

/// What Symphonia does not tell of a WAVE file: the name of a codec that it does not read (Microsoft's registered wave
/// formats), and the tags of the INFO list (Multimedia Programming Interface and Data Specifications 1.0).
fn wave(input: &mut Input<'_>) -> Result<Tags, TranscodeError> {
    let (mut at, mut tags) = (12, Tags::default());
    while let Some([k0, k1, k2, k3, s0, s1, s2, s3]) = input.array_at(at)? {
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        match &[k0, k1, k2, k3] {
            b"data" => break,
            b"fmt " => {
                let format = input.array_at(at + 8)?.map_or(0, u16::from_le_bytes);
                if let Some(name) = unsupported_wave(format) {
                    return Err(TranscodeError::UnsupportedCodec { name });
                }
            }
            b"LIST" if size <= LARGEST_PACKET => {
                let list = input.vec_at(at + 8, size)?;
                if let Some(items) = list.strip_prefix(b"INFO") {
                    info(items, &mut tags);
                }
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
    Ok(tags)
}

fn info(mut items: &[u8], tags: &mut Tags) {
    while let [k0, k1, k2, k3, s0, s1, s2, s3, rest @ ..] = items {
        let size = u32::from_le_bytes([*s0, *s1, *s2, *s3]) as usize;
        let text = String::from_utf8_lossy(&rest[..size.min(rest.len())]);
        match &[*k0, *k1, *k2, *k3] {
            b"INAM" => tags.set(Key::Title, &text),
            b"IART" => tags.set(Key::Artist, &text),
            b"IPRD" => tags.set(Key::Album, &text),
            b"ICRD" => tags.set(Key::Date, &text),
            _ => {}
        }
        items = rest.get(size + size % 2..).unwrap_or_default();
    }
}

fn unsupported_wave(format: u16) -> Option<String> {
    let name = match format {
        0x0001 | 0x0002 | 0x0003 | 0x0006 | 0x0007 | 0x0011 | 0xfffe => return None,
        0x0031 => "gsm_ms",
        0x0050 => "mp2",
        0x0055 => "mp3",
        0x0160..=0x0163 => "wma",
        0x2000 => "ac3",
        0x2001 => "dts",
        0x00ff | 0x1600 | 0x1602 => "aac",
        format => return Some(format!("wave format 0x{format:04x}")),
    };
    Some(name.to_owned())
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
                _ => {}
            }
        }
        for visual in &container.visuals {
            tags.set_cover(&visual.data);
        }
    }
    tags
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
