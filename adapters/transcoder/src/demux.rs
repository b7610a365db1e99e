//! Containers give up the packets of one track.
//!
//! Readers of ours skip whatever is not the track's and know where its sound begins and ends. Only FLAC's frames are found
//! by Symphonia, behind headers of ours.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use crate::codec::Codec;
use crate::guard::most_seconds;
use crate::input::Input;
use crate::sniff::{Container, SNIFF_BYTES, id3v2_size, sniff};
use crate::span::{Moment, Span};
use crate::tags::Tags;

mod ac3;
mod adts;
mod aiff;
mod amr;
mod asf;
mod au;
mod avi;
mod caf;
mod comments;
mod dts;
mod es;
mod flac;
mod flv;
mod id3v2;
mod matroska;
mod mp4;
mod mpeg;
mod ogg;
mod pcm;
mod pes;
mod ps;
mod splitter;
mod symphonia_readers;
mod ts;
mod wave;
mod waveformat;

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
    /// The duration is a guess from the file's size: nothing is refused because of it.
    pub(crate) estimated: bool,
    /// What is played of the decoded sound: parts in the order of time that don't overlap.
    pub(crate) played: Vec<Part>,
    /// When the first sound or picture of the file is due, on the clock of [`Packet::time`]. `None`: with the first
    /// packet.
    pub(crate) begins: Option<Moment>,
}

/// A part of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: Span,
    /// `None`: to the end.
    pub(crate) length: Option<Span>,
    /// Silence before it.
    pub(crate) pause: Span,
}

impl Part {
    /// All that follows a moment.
    fn from(start: Span) -> Self {
        Self { start, ..Self::default() }
    }
}

impl Track {
    /// A track that is no audio.
    fn other(kind: &str, codec: impl Into<String>) -> Self {
        Self::audio(
            TrackInfo { kind: kind.to_owned(), codec: codec.into(), ..TrackInfo::default() },
            Codec::Unsupported,
        )
    }

    pub(crate) fn audio(info: TrackInfo, codec: Codec) -> Self {
        let played = vec![Part::default()];
        Self { info, codec, encrypted: false, preferred: true, estimated: false, played, begins: None }
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

    /// Whether a part of the file that should have been the track's made no sense so far, or was not there.
    fn is_damaged(&self) -> bool {
        false
    }
}

/// What [`Packets::next`] found.
pub(crate) enum Read {
    /// A packet.
    Packet,
    /// Nothing in the stretch that was looked through, which lets the caller think again: there may be more behind it.
    Nothing,
    /// The track goes on, and from here on its packets need the decoder of this one.
    Decoder(Box<Track>),
    /// Another track follows in this one's place.
    Changed(Box<Track>),
    /// The end.
    End,
}

/// A packet.
#[derive(Default)]
pub(crate) struct Packet {
    pub(crate) data: Vec<u8>,
    /// When the first sample that it decodes to is due, whether that is heard or not, on the container's clock. `None`:
    /// right behind the packet before.
    pub(crate) time: Option<Moment>,
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
        (self.time, self.trim_start, self.trim_end, self.at_most) = (None, Span::ZERO, Span::ZERO, None);
    }
}

/// So many ID3v2 tags may stand in front.
const MOST_TAGS: usize = 16;

/// Finds out what the input is and reads its headers.
pub(crate) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (mut tags, mut head, bytes) = (Tags::default(), Vec::new(), input.len());
    for _ in 0..MOST_TAGS {
        let start = input.vec_at(0, 10)?;
        let Some(size) = id3v2_size(&start).filter(|size| *size < input.len()) else { break };
        tags.merge(id3v2::read(&mut input, 0)?);
        input.begin_at(size);
        // An empty tag goes in front of what is sniffed: behind a tag, less is asked of MPEG audio.
        head = b"ID3\x04\0\0\0\0\0\0".to_vec();
    }
    head.extend(input.vec_at(0, SNIFF_BYTES as u64)?);
    let mut opened = open_as(sniff(&head), input)?;
    opened.tags.merge(tags);
    // A duration that no file of this size can have is none: what there is shows when it is decoded.
    for track in &mut opened.tracks {
        track.info.duration = track.info.duration.filter(|seconds| *seconds <= most_seconds(bytes));
    }
    Ok(opened)
}

/// Reads the headers of what is known to be this container.
pub(crate) fn open_as(container: Container, input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    match container {
        Container::Mp4 => mp4::open(input),
        Container::Matroska => matroska::open(input),
        Container::Adts => adts::open(input),
        Container::Ac3 => ac3::open(input),
        Container::Amr => amr::open(input),
        Container::Asf => asf::open(input),
        Container::Dts => dts::open(input),
        Container::Ogg => ogg::open(input),
        Container::Mp3 => mpeg::open(input),
        Container::Wav | Container::W64 => wave::open(input),
        Container::Aiff => aiff::open(input),
        Container::Au => au::open(input),
        Container::Caf => caf::open(input),
        Container::Avi => avi::open(input),
        Container::Flv => flv::open(input),
        Container::Flac => flac::open(input),
        Container::MpegTs => ts::open(input),
        Container::MpegPs => ps::open(input),
        Container::Unsupported(name) => Err(TranscodeError::UnsupportedContainer { name: name.to_owned() }),
    }
}

fn corrupt(detail: impl Into<String>) -> TranscodeError {
    TranscodeError::Corrupt { detail: detail.into() }
}
