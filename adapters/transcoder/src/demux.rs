//! Containers give up the packets of one track.
//!
//! MP4, Matroska, Ogg, MPEG audio and ADTS have readers of ours, which skip whatever is not the track's and know where
//! its sound begins and ends; WAVE and FLAC are read by Symphonia.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::{Container, SNIFF_BYTES, id3v2_size, sniff};
use crate::span::Span;
use crate::tags::Tags;

mod adts;
mod id3v2;
mod matroska;
mod mp4;
mod mpeg;
mod ogg;
mod symphonia_readers;

/// No packet of audio is larger; a container that says so is damaged.
const LARGEST_PACKET: u64 = 4 * 1024 * 1024;

/// A container whose headers have been read.
pub(crate) struct Opened<'a> {
    pub(crate) container: Container,
    pub(crate) tracks: Vec<Track>,
    pub(crate) tags: Tags,
    pub(crate) packets: Box<dyn Packets + 'a>,
}

/// A track, and what is needed to turn its packets into sound.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) info: TrackInfo,
    pub(crate) codec: Codec,
    pub(crate) encrypted: bool,
    /// The file prefers it to others of its kind.
    pub(crate) preferred: bool,
    /// What is played of the decoded sound: so much is skipped…
    pub(crate) skip: Span,
    /// …and so much is kept behind that. `None`: all.
    pub(crate) keep: Option<Span>,
}

impl Track {
    /// A track that is no audio.
    fn other(kind: &str, codec: impl Into<String>) -> Self {
        Self::audio(
            TrackInfo { kind: kind.to_owned(), codec: codec.into(), ..TrackInfo::default() },
            Codec::Unsupported,
        )
    }

    fn audio(info: TrackInfo, codec: Codec) -> Self {
        Self { info, codec, encrypted: false, preferred: true, skip: Span::ZERO, keep: None }
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.info.kind == AUDIO
    }
}

const AUDIO: &str = "audio";

/// Gives the packets of one track in their order.
pub(crate) trait Packets {
    /// Says whose packets are wanted: an index into [`Opened::tracks`]. Called once, before the first packet.
    fn select(&mut self, track: usize);

    /// Reads the next packet.
    ///
    /// # Errors
    /// [`TranscodeError::Source`] when the source can't be read; [`TranscodeError::Corrupt`] when nothing behind this
    /// point makes sense.
    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError>;
}

/// What [`Packets::next`] found.
pub(crate) enum Read {
    /// A packet.
    Packet,
    /// Another stream follows, whose packets need a decoder of their own.
    Changed(Box<Track>),
    /// The end.
    End,
}

/// A packet.
#[derive(Default)]
pub(crate) struct Packet {
    pub(crate) data: Vec<u8>,
    /// So much of the sound it decodes to is not to be heard: at its start,
    pub(crate) trim_start: Span,
    /// and at its end.
    pub(crate) trim_end: Span,
    /// And no more than this is, whatever it decodes to.
    pub(crate) at_most: Option<Span>,
}

impl Packet {
    /// Makes it an empty packet without trims.
    fn clear(&mut self) {
        self.data.clear();
        (self.trim_start, self.trim_end, self.at_most) = (Span::ZERO, Span::ZERO, None);
    }
}

/// Finds out what the input is and reads its headers.
pub(crate) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let head = input.vec_at(0, SNIFF_BYTES as u64)?;
    let tagged = id3v2_size(&head).filter(|size| *size < input.len());
    let container = match tagged {
        Some(size) if size + 4096 > head.len() as u64 => behind_tag(&mut input, size)?,
        _ => sniff(&head),
    };
    let tags = if tagged.is_some() { id3v2::read(&mut input)? } else { Tags::default() };
    let start = tagged.unwrap_or(0);
    let mut opened = match container {
        Container::Mp4 => mp4::open(input),
        Container::Matroska => matroska::open(input),
        Container::Adts => adts::open(input, start),
        Container::Ogg => ogg::open(input),
        Container::Mp3 => mpeg::open(input, start),
        Container::Wav => symphonia_readers::open(container, input),
        Container::Flac => {
            input.begin_at(start);
            // Symphonia takes an ID3v1 tag at the end for a part of the last frame, and loses both.
            let tag_at = input.len().saturating_sub(128);
            if input.array_at(tag_at)? == Some(*b"TAG") {
                input.end_at(tag_at);
            }
            symphonia_readers::open(container, input)
        }
        Container::Unsupported(name) => Err(TranscodeError::UnsupportedContainer { name: name.to_owned() }),
    }?;
    opened.tags.merge(tags);
    Ok(opened)
}

/// What follows an ID3v2 tag that is longer than what was looked at.
fn behind_tag(input: &mut Input<'_>, size: u64) -> Result<Container, TranscodeError> {
    let rest = input.vec_at(size, SNIFF_BYTES as u64)?;
    // The tag is put in front again, so that the same rules hold as for a short one.
    let empty_tag = *b"ID3\x04\0\0\0\0\0\0";
    Ok(sniff(&[&empty_tag[..], &rest].concat()))
}

fn corrupt(detail: impl Into<String>) -> TranscodeError {
    TranscodeError::Corrupt { detail: detail.into() }
}
