//! AC-3 and E-AC-3 without a container: syncframes one behind the other (ATSC A/52:2018, 5.3 and E.1.2).

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::{AUDIO, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::{Container, ac3};
use crate::tags::Tags;

/// How far the next frame is looked for where there should be one.
const SEARCH: u64 = 64 * 1024;
/// Frames whose sizes give an idea of how long the file is.
const SAMPLED: u32 = 100;
/// No access unit has more frames: a program with eight dependent substreams, and seven more like it.
const MOST_FRAMES: u32 = 72;

struct Ac3<'a> {
    input: Input<'a>,
    at: u64,
    /// The bytes of each word are the other way round.
    swapped: bool,
    /// What the frames so far were.
    known: Option<ac3::Frame>,
}

/// Opens a stream whose first frame is at the start or a little later.
pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let swapped = input.array_at(0)? == Some([0x77, 0x0b]);
    let mut stream = Ac3 { input, at: 0, swapped, known: None };
    let Some(first) = stream.find()? else { return Err(corrupt("it has no whole frame of AC-3")) };
    stream.known = Some(first);
    let (channels, sample_rate) = (first.channels, first.rate);
    let codec = if first.enhanced { "eac3" } else { "ac3" }.to_owned();
    let duration = stream.estimate()?;
    let info = TrackInfo { kind: AUDIO.into(), codec, channels, sample_rate, duration, language: None };
    let track = Track { estimated: true, ..Track::audio(info, Codec::Ac3) };
    Ok(Opened { container: Container::Ac3, tracks: vec![track], tags: Tags::default(), packets: Box::new(stream) })
}

impl Ac3<'_> {
    fn bytes(&mut self, at: u64, len: usize) -> Result<Vec<u8>, TranscodeError> {
        let bytes = self.input.vec_at(at, len as u64)?;
        Ok(if self.swapped { ac3::swapped(&bytes) } else { bytes })
    }

    fn frame(&mut self, at: u64) -> Result<Option<ac3::Frame>, TranscodeError> {
        let mut head: [u8; ac3::HEADER] = match self.input.array_at(at)? {
            Some(head) => head,
            None => return Ok(None),
        };
        if self.swapped {
            head.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse());
        }
        Ok(ac3::frame(&head))
    }

    /// The frame at the position that an access unit may begin with, or the next one that another follows; the position
    /// is moved to it, or to the end of what was looked through.
    fn find(&mut self) -> Result<Option<ac3::Frame>, TranscodeError> {
        let known = self.known;
        let fits = |frame: &ac3::Frame| known.is_none_or(|known| frame.is_like(&known));
        if let Some(frame) = self.frame(self.at)?.filter(|frame| frame.begins_unit() && fits(frame)) {
            return Ok(Some(frame));
        }
        let end = self.at.saturating_add(SEARCH).min(self.input.len());
        while self.at < end {
            if let Some(frame) = self.frame(self.at)?.filter(ac3::Frame::begins_unit) {
                let next = self.at + frame.size as u64;
                if next == self.input.len() || self.frame(next)?.is_some_and(|next| next.is_like(&frame)) {
                    return Ok(Some(frame));
                }
            }
            self.at += 1;
        }
        Ok(None)
    }

    /// The duration in seconds, if all frames are as large as the first ones.
    fn estimate(&mut self) -> Result<Option<f64>, TranscodeError> {
        let (mut at, mut seconds) = (self.at, 0.0);
        for _ in 0..SAMPLED {
            let Some(frame) = self.frame(at)? else { break };
            at += frame.size as u64;
            if frame.begins_unit() {
                seconds += f64::from(frame.samples) / f64::from(frame.rate);
            }
        }
        let (sampled, whole) = (at - self.at, self.input.len() - self.at);
        Ok((sampled > 0).then(|| seconds * whole as f64 / sampled as f64))
    }
}

impl Packets for Ac3<'_> {
    fn select(&mut self, _track: usize) {}

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(first) = self.find()? else {
            return Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End });
        };
        self.known = Some(first);
        let mut size = first.size;
        for _ in 1..MOST_FRAMES {
            match self.frame(self.at + size as u64)? {
                Some(next) if !next.begins_unit() => size += next.size,
                _ => break,
            }
        }
        packet.data = self.bytes(self.at, size)?;
        if packet.data.len() < first.size {
            return Ok(Read::End); // cut off in the middle of its last frame
        }
        self.at += size as u64;
        Ok(Read::Packet)
    }
}
