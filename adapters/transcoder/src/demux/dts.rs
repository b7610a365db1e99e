//! DTS without a container: frames one behind the other, each with its extensions behind it; also within the chunks of
//! `.dtshd` files.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::{AUDIO, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::Codec;
use crate::codec::dts::{self, Frame, HEADER};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

/// How far the next frame is looked for at once where there should be one.
const SEARCH: u64 = 64 * 1024;
/// No more chunks come before the frames of a `.dtshd` file.
const MOST_CHUNKS: usize = 1000;
/// So many extensions without a frame of the core say that there are none.
const MOST_EXTENSIONS: usize = 16;

struct Dts<'a> {
    input: Input<'a>,
    at: u64,
    /// What the frames so far were.
    kind: Option<Frame>,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let start = find_stream(&mut input)?;
    let mut dts = Dts { input, at: start, kind: None };
    let track = if dts.has_only_extensions()? {
        let info = TrackInfo { kind: AUDIO.into(), codec: "dts_express".into(), ..TrackInfo::default() };
        Track::audio(info, Codec::Unsupported)
    } else {
        let Some(first) = dts.find()? else { return Err(corrupt("it has no whole frame of DTS")) };
        dts.kind = Some(first);
        let frames = (dts.input.len() - dts.at) as f64 / first.size as f64;
        let info = TrackInfo {
            kind: AUDIO.into(),
            codec: "dts".into(),
            channels: first.channels,
            sample_rate: first.rate,
            duration: Some(frames * f64::from(first.samples) / f64::from(first.rate)),
            language: None,
        };
        Track { estimated: true, ..Track::audio(info, Codec::Dts) }
    };
    Ok(Opened { container: Container::Dts, tracks: vec![track], tags: Tags::default(), packets: Box::new(dts) })
}

/// Where the frames begin: at the start, or in the chunk `STRMDATA`, behind whose end nothing is read.
fn find_stream(input: &mut Input<'_>) -> Result<u64, TranscodeError> {
    let mut at = 0;
    for _ in 0..MOST_CHUNKS {
        let Some([kind @ .., s0, s1, s2, s3, s4, s5, s6, s7]) = input.array_at::<16>(at)? else { break };
        let size = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        match &kind {
            b"DTSHDHDR" if at == 0 => {}
            _ if at == 0 => return Ok(0),
            b"STRMDATA" => {
                input.end_at((at + 16).saturating_add(size));
                return Ok(at + 16);
            }
            _ => {}
        }
        at = (at + 16).saturating_add(size);
    }
    Err(corrupt("it has no stream of DTS"))
}

impl Dts<'_> {
    fn frame(&mut self, at: u64) -> Result<Option<Frame>, TranscodeError> {
        Ok(self.input.array_at::<HEADER>(at)?.and_then(|head| Frame::parse(&head)))
    }

    fn extension(&mut self, at: u64) -> Result<Option<usize>, TranscodeError> {
        Ok(self.input.array_at::<10>(at)?.and_then(|head| dts::extension(&head)))
    }

    fn has_only_extensions(&mut self) -> Result<bool, TranscodeError> {
        let mut at = self.at;
        for n in 0..MOST_EXTENSIONS {
            let Some(size) = self.extension(at)? else { return Ok(n > 0 && self.frame(at)?.is_none()) };
            at += size as u64;
        }
        Ok(true)
    }

    /// The frame at the position or behind an extension there, or the next one that another of its kind follows; the
    /// position is moved to it, or to the end of what was looked through.
    fn find(&mut self) -> Result<Option<Frame>, TranscodeError> {
        if let Some(size) = self.extension(self.at)? {
            self.at += size as u64;
        }
        let known = self.kind;
        if let Some(frame) = self.frame(self.at)?.filter(|frame| known.is_some_and(|known| known.is_like(frame))) {
            return Ok(Some(frame));
        }
        let end = self.at.saturating_add(SEARCH).min(self.input.len());
        while self.at < end {
            if let Some(frame) = self.frame(self.at)? {
                let mut next = self.at + frame.size as u64;
                if let Some(size) = self.extension(next)? {
                    next += size as u64;
                }
                let follows = self.frame(next)?.is_some_and(|next| next.is_like(&frame));
                if follows || next >= self.input.len() {
                    return Ok(Some(frame));
                }
            }
            self.at += 1;
        }
        Ok(None)
    }
}

impl Packets for Dts<'_> {
    fn select(&mut self, _track: usize) {}

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(frame) = self.find()? else {
            return Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End });
        };
        self.kind = Some(frame);
        packet.data = self.input.vec_at(self.at, frame.size as u64)?;
        self.at += frame.size as u64;
        // One that is cut off is the last one.
        Ok(if packet.data.len() == frame.size { Read::Packet } else { Read::End })
    }
}
