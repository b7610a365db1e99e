//! AAC in ADTS frames, without a container (ISO/IEC 14496-3, 1.A.2.2).

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::{AUDIO, Opened, Packet, Packets, Read, Track};
use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

/// Bytes of a header without its checksum.
pub(super) const HEADER: usize = 7;
/// How far the next frame is looked for where there should be one.
const SEARCH: u64 = 64 * 1024;
/// Frames whose sizes give an idea of how long the file is.
const SAMPLED: u32 = 100;

/// Profile, rate and channels: the same in all frames that one decoder takes.
pub(super) type Kind = (u8, u8, u8);

/// What a frame's header says.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) rate: u32,
    pub(super) channels: u16,
    pub(super) size: u64,
    /// Samples per channel, before SBR.
    pub(super) frames: u32,
}

impl Header {
    pub(super) fn parse(bytes: [u8; HEADER]) -> Option<Self> {
        let [0xff, b1, b2, b3, b4, b5, b6] = bytes else { return None };
        let rate = *rusty_aac::SAMPLE_RATES.get(usize::from(b2 >> 2 & 0xf))?;
        let size = u64::from(b3 & 3) << 11 | u64::from(b4) << 3 | u64::from(b5 >> 5);
        let channels = (b2 & 1) << 2 | b3 >> 6;
        let channels = if channels == 7 { 8 } else { u16::from(channels) };
        let kind = (b1 & 0xfe, b2 & 0xfd, b3 & 0xc0);
        let frames = 1024 * (u32::from(b6 & 3) + 1);
        (b1 & 0xf6 == 0xf0 && size > HEADER as u64).then_some(Self { kind, rate, channels, size, frames })
    }

    fn track(&self) -> Track {
        let (channels, sample_rate) = (self.channels, self.rate);
        let info = TrackInfo { kind: AUDIO.into(), codec: "aac".into(), channels, sample_rate, ..TrackInfo::default() };
        Track::audio(info, Codec::Adts)
    }
}

struct Adts<'a> {
    input: Input<'a>,
    at: u64,
    /// Of the frames so far.
    kind: Option<Kind>,
    /// Bytes that are in no frame were passed over.
    skipped: bool,
}

/// Opens a stream whose first frame is at the start or a little later.
pub(super) fn open(input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let mut adts = Adts { input, at: 0, kind: None, skipped: false };
    let Some(first) = adts.find()? else { return Err(super::corrupt("it has no whole frame of AAC")) };
    adts.kind = Some(first.kind);
    let mut track = first.track();
    track.info.duration = adts.estimate()?;
    track.estimated = true;
    Ok(Opened { container: Container::Adts, tracks: vec![track], tags: Tags::default(), packets: Box::new(adts) })
}

impl Adts<'_> {
    fn header(&mut self, at: u64) -> Result<Option<Header>, TranscodeError> {
        Ok(self.input.array_at(at)?.and_then(Header::parse))
    }

    /// The frame at the position, or the next one that another of its kind follows; the position is moved to it, or to
    /// the end of what was looked through.
    fn find(&mut self) -> Result<Option<Header>, TranscodeError> {
        let known = self.kind;
        if let Some(header) = self.header(self.at)?.filter(|header| known.is_none_or(|known| header.kind == known)) {
            return Ok(Some(header));
        }
        let end = self.at.saturating_add(SEARCH).min(self.input.len());
        while self.at < end {
            if let Some(header) = self.header(self.at)?
                && self.header(self.at + header.size)?.is_some_and(|next| next.kind == header.kind)
            {
                return Ok(Some(header));
            }
            self.at += 1;
            self.skipped = true;
        }
        Ok(None)
    }

    /// The duration in seconds, if all frames are as large as the first ones.
    fn estimate(&mut self) -> Result<Option<f64>, TranscodeError> {
        let (mut at, mut seconds) = (self.at, 0.0);
        for _ in 0..SAMPLED {
            let Some(header) = self.header(at)? else { break };
            at += header.size;
            seconds += f64::from(header.frames) / f64::from(header.rate);
        }
        let (sampled, whole) = (at - self.at, self.input.len() - self.at);
        Ok((sampled > 0).then(|| seconds * whole as f64 / sampled as f64))
    }
}

impl Packets for Adts<'_> {
    fn select(&mut self, _track: usize) {}

    fn is_damaged(&self) -> bool {
        self.skipped
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(header) = self.find()? else {
            return Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End });
        };
        // Broadcasts that were recorded go from stereo to surround and back.
        if self.kind.replace(header.kind) != Some(header.kind) {
            return Ok(Read::Decoder(Box::new(header.track())));
        }
        packet.data = self.input.vec_at(self.at, header.size)?;
        if packet.data.len() as u64 != header.size {
            return Ok(Read::End); // cut off in the middle of its last frame
        }
        self.at += header.size;
        Ok(Read::Packet)
    }
}
