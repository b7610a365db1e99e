//! ASF: WMV and WMA (Advanced Systems Format specification, revision 01.20.03).
//!
//! The file is a header, and packets of payloads: fragments of "media objects", which are what decoders take. Only the
//! chosen stream's payloads are read.

use std::collections::VecDeque;
use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use super::waveformat::Packing;
use super::{LARGEST_PACKET, Opened, Packet, Packets, Read, corrupt};
use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::{Container, mpeg};
use crate::span::Moment;

mod headers;
mod packet;
mod tags;

use headers::{Headers, Spread, Stream};
use packet::{DataPacket, Part, Payload};

/// So many payloads of other streams are passed before the caller gets to think again.
const MOST_AT_ONCE: usize = 4096;
/// Bytes that are searched at once for the next packet behind damage.
const SEARCHED: u64 = 32 * 1024;
/// So many places that look like the start of a packet are looked at more closely: a file with more was made to keep
/// somebody busy.
const MOST_DAMAGE: u32 = 10_000;
/// Packets among which every stream's first payload is looked for.
const FIRST_PACKETS: usize = 64;

struct Asf<'a> {
    input: Input<'a>,
    headers: Headers,
    chosen: usize,
    /// The packet that is being read, and where the next one begins.
    packet: DataPacket,
    at: u64,
    object: Object,
    /// Packets for the decoder that have not been given out: their times, as far as they have one, and where in `bytes`
    /// they are.
    queue: VecDeque<(Option<u32>, Range<usize>)>,
    bytes: Vec<u8>,
    /// So many of the bytes are in the queue, or of no use.
    given: usize,
    /// The first packet has been given out.
    begun: bool,
    damage: u32,
}

/// A media object that is being put together.
#[derive(Default)]
struct Object {
    /// Its number; `None` when there is none.
    number: Option<u32>,
    size: u32,
    /// In milliseconds.
    time: u32,
    data: Vec<u8>,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let mut headers = headers::read(&mut input)?;
    input.end_at(headers.packets.end);
    let tags = std::mem::take(&mut headers.tags);
    let at = headers.packets.start;
    let (packet, object, queue) = (DataPacket::default(), Object::default(), VecDeque::new());
    let (bytes, given, begun, damage) = (Vec::new(), 0, false, 0);
    let mut asf = Asf { input, headers, chosen: 0, packet, at, object, queue, bytes, given, begun, damage };
    let begins = asf.begins()?;
    for stream in asf.headers.streams.iter_mut().filter(|stream| stream.track.is_audio()) {
        stream.track.begins = begins;
    }
    let tracks = asf.headers.streams.iter().map(|stream| stream.track.clone()).collect();
    Ok(Opened { container: Container::Asf, tracks, tags, packets: Box::new(asf) })
}

impl Packets for Asf<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = track;
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        for _ in 0..MOST_AT_ONCE {
            if let Some((time, range)) = self.queue.pop_front() {
                packet.data.extend_from_slice(&self.bytes[range]);
                packet.time = time.and_then(|time| self.due(time));
                return Ok(Read::Packet);
            }
            if let Some(payload) = self.packet.payload(&mut self.input)? {
                if self.stream().is_some_and(|stream| stream.number == payload.stream) {
                    self.take(&payload)?;
                }
                continue;
            }
            if self.at >= self.input.len() {
                return Ok(Read::End);
            }
            match DataPacket::parse(&mut self.input, self.at, self.headers.sizes)? {
                Some(next) => (self.at, self.packet) = (next.next, next),
                None if self.damage > MOST_DAMAGE => return Ok(Read::End),
                None if self.find_packet()? => {}
                None => return Ok(Read::Nothing),
            }
        }
        Ok(Read::Nothing)
    }
}

impl Asf<'_> {
    fn stream(&self) -> Option<&Stream> {
        self.headers.streams.get(self.chosen)
    }

    /// When the first picture or sound is due.
    fn begins(&mut self) -> Result<Option<Moment>, TranscodeError> {
        let (mut at, mut earliest, mut seen, mut primed) = (self.at, None, Vec::new(), Vec::new());
        for _ in 0..FIRST_PACKETS {
            let Some(mut packet) = DataPacket::parse(&mut self.input, at, self.headers.sizes)? else { break };
            at = packet.next;
            while let Some(payload) = packet.payload(&mut self.input)? {
                let time = match payload.part {
                    Part::Several { time, .. } | Part::Fragment { whole: Some((_, time)), .. } => time,
                    Part::Fragment { .. } => continue,
                };
                let mut streams = self.headers.streams.iter();
                let Some(stream) = streams.find(|stream| stream.number == payload.stream) else { continue };
                // The first packet of Vorbis only gets the decoder going.
                if matches!(stream.track.codec, Codec::Vorbis { .. }) && !primed.contains(&stream.number) {
                    primed.push(stream.number);
                    continue;
                }
                if stream.is_timed() && !seen.contains(&stream.number) {
                    seen.push(stream.number);
                    let begins = stream.begins(time);
                    let is_earliest = |earliest: &Moment| begins.seconds() < earliest.seconds();
                    if earliest.as_ref().is_none_or(is_earliest) {
                        earliest = Some(begins);
                    }
                }
            }
        }
        Ok(earliest)
    }

    fn due(&mut self, millis: u32) -> Option<Moment> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        Some(self.stream()?.due(millis, is_first))
    }

    /// Reads a payload of the chosen stream, and puts what is whole now into the queue.
    fn take(&mut self, payload: &Payload) -> Result<(), TranscodeError> {
        let length = payload.data.end - payload.data.start;
        let (offset, whole) = match payload.part {
            Part::Several { time, step } => return self.take_several(payload, time, step),
            Part::Fragment { offset, whole } => (offset, whole),
        };
        if self.object.number != Some(payload.object) || offset == 0 {
            // Without its size, it is whole.
            let fallback = (u32::try_from(length).unwrap_or(u32::MAX), self.object.time);
            let (size, time) = whole.unwrap_or(fallback);
            self.object.data.clear();
            (self.object.number, self.object.size, self.object.time) = (Some(payload.object), size, time);
        }
        let so_far = self.object.data.len() as u64;
        // A fragment in front of this one is lost, and the object with it.
        if so_far != u64::from(offset) || so_far + length > u64::from(self.object.size) {
            self.object.number = None;
            return Ok(());
        }
        if so_far + length > LARGEST_PACKET {
            return Err(corrupt("a media object is larger than any of audio can be"));
        }
        let data = self.input.vec_at(payload.data.start, length)?;
        self.object.data.extend_from_slice(&data);
        if self.object.data.len() as u64 == u64::from(self.object.size) && !self.object.data.is_empty() {
            self.object.number = None;
            self.give_object();
        }
        Ok(())
    }

    /// Puts the packets of an object that is whole into the queue.
    fn give_object(&mut self) {
        let Some(stream) = self.headers.streams.get(self.chosen) else { return };
        if let Some(spread) = stream.spread {
            spread.undo(&mut self.object.data);
        }
        let time = Some(self.object.time);
        if stream.packing != Packing::Mpeg {
            std::mem::swap(&mut self.bytes, &mut self.object.data);
            self.queue.push_back((time, 0..self.bytes.len()));
            return;
        }
        // Its frames begin anywhere, and the last one may go on in the next object.
        self.bytes.drain(..self.given.min(self.bytes.len()));
        let mut at = 0;
        let begins = self.bytes.len();
        self.bytes.append(&mut self.object.data);
        while let Some(head) = self.bytes.get(at..).filter(|rest| rest.len() >= 4) {
            let Some(frame) = mpeg::frame(head) else {
                at += 1;
                continue;
            };
            if frame.size > head.len() {
                break;
            }
            let is_first = at >= begins && self.queue.iter().all(|(time, _)| time.is_none());
            self.queue.push_back((time.filter(|_| is_first), at..at + frame.size));
            at += frame.size;
        }
        self.given = at;
    }

    /// Takes a payload of small media objects apart: each has its size in front, in a byte (5.2.3).
    fn take_several(&mut self, payload: &Payload, time: u32, step: u8) -> Result<(), TranscodeError> {
        self.object.number = None;
        let length = (payload.data.end - payload.data.start).min(LARGEST_PACKET);
        self.bytes = self.input.vec_at(payload.data.start, length)?;
        self.given = self.bytes.len();
        let (mut at, mut time) = (0, time);
        while let Some(size) = self.bytes.get(at) {
            let range = at + 1..at + 1 + usize::from(*size);
            if range.end > self.bytes.len() {
                break;
            }
            at = range.end;
            self.queue.push_back((Some(time), range));
            time = time.saturating_add(step.into());
        }
        Ok(())
    }

    /// Looks for the next packet behind damage; says whether it is found. If not, the position has moved on.
    fn find_packet(&mut self) -> Result<bool, TranscodeError> {
        let sizes = self.headers.sizes;
        // The object that was being put together may go on behind it, but hardly ever does.
        self.object.number = None;
        // Most of the time packets are where they should be, and one of them is scrambled.
        let expected = self.at.saturating_add(sizes.min.into());
        self.damage += 1;
        if sizes.min > 0 && sizes.min == sizes.max && self.is_packet(expected)? {
            self.at = expected;
            return Ok(true);
        }
        let bytes = self.input.vec_at(self.at + 1, SEARCHED + 2)?;
        // Packets begin with two bytes of error correction data, which are zero (5.2.1).
        let starts = bytes.windows(3).enumerate().filter(|(_, three)| *three == [0x82, 0, 0]);
        for (offset, _) in starts {
            let at = self.at + 1 + offset as u64;
            self.damage += 1;
            if self.is_packet(at)? {
                self.at = at;
                return Ok(true);
            }
            if self.damage > MOST_DAMAGE {
                break;
            }
        }
        self.at += SEARCHED;
        Ok(false)
    }

    /// Whether there is a packet at a position, and another one or the end behind it.
    fn is_packet(&mut self, at: u64) -> Result<bool, TranscodeError> {
        let Some(packet) = DataPacket::parse(&mut self.input, at, self.headers.sizes)? else { return Ok(false) };
        Ok(packet.next >= self.input.len()
            || DataPacket::parse(&mut self.input, packet.next, self.headers.sizes)?.is_some())
    }
}

impl Spread {
    /// Puts the chunks of an object back into their order ("audio spread").
    fn undo(self, data: &mut Vec<u8>) {
        let (span, packet, chunk) = (usize::from(self.span), usize::from(self.packet), usize::from(self.chunk));
        if data.len() != span * packet {
            return;
        }
        let columns = packet / chunk;
        let chunks = (0..data.len() / chunk).map(|n| n / span + n % span * columns);
        let ordered: Vec<u8> = chunks.flat_map(|n| data[n * chunk..(n + 1) * chunk].iter().copied()).collect();
        *data = ordered;
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn spread_chunks_are_put_in_order() {
        let spread = Spread::parse(&[3, 4, 0, 2, 0, 0, 0]).unwrap();
        let mut data = b"aaddbbeeccff".to_vec();
        spread.undo(&mut data);
        assert_eq!(data, b"aabbccddeeff");
        assert!(Spread::parse(&[1, 4, 0, 2, 0, 0, 0]).is_none(), "there is nothing to undo");
        assert!(Spread::parse(&[3, 4, 0, 0, 0, 0, 0]).is_none());
    }
}
