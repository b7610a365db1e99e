//! Symphonia's reader of FLAC. The container is known already, so exactly its reader is made: Symphonia's own guessing
//! takes other containers for MPEG audio and gives noise.

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track as TheirTrack};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::units::{Duration, TimeBase};
use symphonia::default::formats::FlacReader;

use super::{AUDIO, LARGEST_PACKET, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::{self, Codec};
use crate::input::{Failure, Spliced};
use crate::sniff::Container;
use crate::span::Span;
use crate::tags::Tags;

/// Damaged stretches in a row after which nothing more is expected.
const DAMAGE: u32 = 1000;

struct Reader<'a> {
    reader: Box<dyn FormatReader + 'a>,
    failure: Failure,
    track: u32,
    time_base: Option<TimeBase>,
}

/// Opens a file whose headers have been made such that Symphonia reads them as they are meant.
pub(super) fn open(source: Spliced<'_>) -> Result<Opened<'_>, TranscodeError> {
    let failure = source.failure();
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    let reader = FlacReader::try_new(stream, options).map(boxed).map_err(|err| explain(&err, &failure))?;
    let tracks = reader.tracks().iter().map(track).collect();
    let packets = Box::new(Reader { reader, failure, track: 0, time_base: None });
    Ok(Opened { container: Container::Flac, tracks, tags: Tags::default(), packets })
}

fn boxed<'a>(reader: impl FormatReader + 'a) -> Box<dyn FormatReader + 'a> {
    Box::new(reader)
}

fn explain(err: &Error, failure: &Failure) -> TranscodeError {
    if let Some(err) = failure.take() {
        return err;
    }
    match err {
        Error::IoError(_) => corrupt("it ends before its headers do"),
        Error::Unsupported(what) if what.contains("codec") => {
            TranscodeError::UnsupportedCodec { name: "unknown".to_owned() }
        }
        err => corrupt(format!("its flac headers make no sense: {err}")),
    }
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
    let channels = params.channels.as_ref().and_then(|c| u16::try_from(c.count()).ok());
    let info = TrackInfo {
        kind: AUDIO.to_owned(),
        codec: codec::name(params.codec).to_owned(),
        channels: channels.unwrap_or(0),
        sample_rate: rate,
        duration: track.num_frames.and_then(seconds),
        language: track.language.clone(),
    };
    Track::audio(info, Codec::Symphonia(params.clone()))
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
