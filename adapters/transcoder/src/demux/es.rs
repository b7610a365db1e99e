//! Elementary streams of sound: their bytes come in pieces, and leave as the frames of their codec, each with the time
//! of the piece that it is the first to begin in.

use microserve_core::transcode::TrackInfo;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::pes::{Clock, HZ};
use super::{AUDIO, Packet, Read, Track};
use crate::codec::{Codec, OpusHead, PcmFormat};
use crate::span::Moment;

mod frames;
mod headers;
mod lpcm;
mod opus;
mod units;

use frames::Frames;
use units::Units;

/// What a stream is, as far as cutting it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Layers I, II and III.
    Mpeg,
    Adts,
    /// AAC in the low overhead transport of ISO/IEC 14496-3, 1.7.
    Latm,
    /// AC-3 and E-AC-3.
    Ac3,
    /// The core of DTS.
    Dts,
    BlurayPcm,
    DvdPcm,
    /// SMPTE 302M.
    Aes3,
    /// With the code for its channels.
    Opus(u8),
}

impl Kind {
    /// Those whose frames show what they are.
    pub(super) const RECOGNISED: [Self; 5] = [Self::Mpeg, Self::Adts, Self::Ac3, Self::Latm, Self::Dts];

    /// Whether it is made of frames that may begin and end anywhere. The others are as long as their packets.
    pub(super) fn has_frames(self) -> bool {
        Self::RECOGNISED.contains(&self)
    }
}

/// DTS that has no core.
const DTS_EXPRESS: &str = "dts_express";

/// The sound of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format {
    pub(super) kind: Kind,
    /// The codec's short name.
    pub(super) name: &'static str,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Whatever else stays the same within a stream.
    key: u32,
    pcm: Option<PcmFormat>,
    /// Samples at the stream's start that are not to be heard.
    pub(super) skipped: u64,
}

impl Format {
    /// Whether one decoder takes both.
    fn is_like(&self, other: &Self) -> bool {
        (self.name, self.rate, self.key) == (other.name, other.rate, other.key)
    }

    fn codec(&self) -> Codec {
        match self.kind {
            Kind::Mpeg => {
                let codec = match self.name {
                    "mp1" => CODEC_ID_MP1,
                    "mp2" => CODEC_ID_MP2,
                    _ => CODEC_ID_MP3,
                };
                Codec::plain(codec, self.rate, self.channels)
            }
            Kind::Adts => Codec::Adts,
            Kind::Latm => Codec::Latm,
            Kind::Ac3 => Codec::Ac3,
            Kind::Dts if self.name == DTS_EXPRESS => Codec::Unsupported,
            Kind::Dts => Codec::Dts,
            Kind::BlurayPcm | Kind::DvdPcm | Kind::Aes3 => self.pcm.clone().map_or(Codec::Unsupported, Codec::DiscPcm),
            Kind::Opus(code) => OpusHead::of_transport_stream(code).map_or(Codec::Unsupported, Codec::Opus),
        }
    }

    fn new(kind: Kind, name: &'static str, rate: u32, channels: u16) -> Self {
        Self { kind, name, rate, channels, key: 0, pcm: None, skipped: 0 }
    }

    /// That of a stream of which nothing was seen.
    pub(super) fn unseen(kind: Kind, name: &'static str) -> Self {
        Self::new(kind, name, 0, 0)
    }

    /// A track of it.
    pub(super) fn track(&self) -> Track {
        let (codec, channels, sample_rate) = (self.name.to_owned(), self.channels, self.rate);
        let info = TrackInfo { kind: AUDIO.to_owned(), codec, channels, sample_rate, ..TrackInfo::default() };
        Track { estimated: true, ..Track::audio(info, self.codec()) }
    }
}

/// A frame's sound and length.
#[derive(Clone, Debug, PartialEq)]
struct Head {
    format: Format,
    /// Samples per channel.
    samples: u32,
    /// Bytes.
    size: usize,
}

/// The time of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    time: u64,
    /// The file says that its clock begins anew here.
    broken: bool,
}

enum Cutter {
    Frames(Box<Frames>),
    Units(Units),
}

impl Cutter {
    fn new(kind: Kind) -> Self {
        if kind.has_frames() { Self::Frames(Box::new(Frames::new(kind))) } else { Self::Units(Units::new(kind)) }
    }
}

/// A stream.
pub(super) struct Stream {
    cutter: Cutter,
    clock: Clock,
    /// What the frames so far were.
    format: Option<Format>,
    /// A frame that needs another decoder, which the caller is told of first.
    waiting: Option<Cut>,
    broken: bool,
}

/// A frame that was cut out.
struct Cut {
    head: Head,
    packet: Packet,
    mark: Option<Mark>,
}

impl Stream {
    /// A stream that begins with sound of this format, in a file that begins at this time.
    pub(super) fn new(format: Format, begins: Option<i64>) -> Self {
        let (cutter, clock) = (Cutter::new(format.kind), Clock::new(begins.unwrap_or(0)));
        Self { cutter, clock, format: Some(format), waiting: None, broken: false }
    }

    /// Goes on with another stream in its place.
    pub(super) fn replace(&mut self, kind: Kind) {
        (self.cutter, self.format, self.waiting) = (Cutter::new(kind), None, None);
    }

    /// A piece begins.
    pub(super) fn begin(&mut self, time: Option<u64>) {
        let mark = time.map(|time| Mark { time, broken: std::mem::take(&mut self.broken) });
        match &mut self.cutter {
            Cutter::Frames(frames) => frames.begin(mark),
            Cutter::Units(units) => units.begin(mark),
        }
    }

    /// Bytes of the piece.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.cutter {
            Cutter::Frames(frames) => frames.push(bytes),
            Cutter::Units(units) => units.push(bytes),
        }
    }

    /// Bytes are missing here.
    pub(super) fn lost(&mut self) {
        match &mut self.cutter {
            Cutter::Frames(frames) => frames.lost(),
            Cutter::Units(units) => units.lost(),
        }
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self) {
        match &mut self.cutter {
            Cutter::Frames(frames) => frames.finish(),
            Cutter::Units(units) => units.begin(None),
        }
    }

    /// The clock begins anew here.
    pub(super) fn break_clock(&mut self) {
        self.broken = true;
    }

    /// The next frame, or the track whose decoder it needs.
    pub(super) fn next(&mut self, packet: &mut Packet) -> Option<Read> {
        let cut = match self.waiting.take() {
            Some(cut) => cut,
            None => match &mut self.cutter {
                Cutter::Frames(frames) => frames.next()?,
                Cutter::Units(units) => units.next()?,
            },
        };
        let is_new = self.format.as_ref().is_none_or(|format| !format.is_like(&cut.head.format));
        if is_new {
            let track = cut.head.format.track();
            self.format = Some(cut.head.format.clone());
            self.waiting = Some(cut);
            return Some(Read::Decoder(Box::new(track)));
        }
        let time = cut.mark.map(|mark| self.clock.time(mark.time, mark.broken));
        self.clock.advance(cut.head.samples, cut.head.format.rate);
        *packet = cut.packet;
        packet.time = time.map(|time| Moment::new(time, HZ));
        Some(Read::Packet)
    }
}

/// The format of a stream that may be anything, if frames follow each other in these bytes.
pub(super) fn recognise(bytes: &[u8], ended: bool) -> Option<Format> {
    /// Frames in a row that are no chance.
    const FRAMES: u32 = 3;
    Kind::RECOGNISED.into_iter().find_map(|kind| {
        let mut frames = Frames::new(kind);
        frames.push(bytes);
        if ended {
            frames.finish();
        }
        loop {
            let cut = frames.next()?;
            if frames.in_a_row() >= FRAMES {
                return Some(cut.head.format);
            }
        }
    })
}

/// The format of a stream that begins with these bytes, of which so many are in the first piece. `ended`: they are all
/// that there is.
pub(super) fn format(kind: Kind, bytes: &[u8], first: Option<usize>, ended: bool) -> Option<Format> {
    if kind.has_frames() {
        let mut frames = Frames::new(kind);
        frames.push(bytes);
        if ended {
            frames.finish();
        }
        let express = || (kind == Kind::Dts && ended && headers::is_dts_without_core(bytes)).then_some(DTS_EXPRESS);
        return match frames.next() {
            Some(cut) => Some(cut.head.format),
            None => express().map(|name| Format::unseen(kind, name)),
        };
    }
    let mut units = Units::new(kind);
    units.begin(None);
    units.push(bytes.get(..first?)?);
    units.begin(None);
    let cut = units.next()?;
    let skipped = cut.packet.trim_start.frames(cut.head.format.rate);
    Some(Format { skipped, ..cut.head.format })
}
