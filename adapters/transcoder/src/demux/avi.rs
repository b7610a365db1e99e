//! AVI (Microsoft, "AVI RIFF file reference") with its parts for more than 2 GB (OpenDML AVI file format extensions,
//! version 1.02).
//!
//! Chunks are walked by their headers, across the lists and parts that they lie in. So neither an index nor the size of
//! anything around them is needed: both are wrong in files that are large, cut off or still being written. What is not
//! the track's is skipped.

use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use super::splitter::Splitter;
use super::waveformat::Packing;
use super::{Opened, Packet, Packets, Read, Track, adts, corrupt};
use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::Container;
use crate::span::Moment;

mod chunks;
mod headers;

use chunks::{Chunk, chunk_at, find, follows, list_kind};
use headers::Stream;

/// Chunks that are walked over before the caller is asked whether to go on.
const MOST_STEPS: usize = 10_000;
/// A chunk is read so many bytes at a time.
const PIECE: u64 = 16 * 1024;

struct Avi<'a> {
    input: Input<'a>,
    streams: Vec<Stream>,
    chosen: usize,
    /// Where the next chunk begins, or is looked for.
    at: u64,
    /// There was none where it should be.
    lost: bool,
    /// The track's chunk behind which it is looked for.
    pending: Option<Range<u64>>,
    /// What is to be read of the track's chunk.
    data: Range<u64>,
    splitter: Splitter,
    /// Chunks of the track before this one.
    ticks: u64,
    /// When what is in the splitter is due.
    time: Option<Moment>,
    /// The first chunk has been looked at.
    begun: bool,
    /// Something is missing before the track's next chunk.
    broken: bool,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (streams, tags, at) = headers::read(&mut input)?;
    if streams.is_empty() {
        return Err(corrupt("its list of streams is missing"));
    }
    let tracks = streams.iter().map(|stream| stream.track.clone()).collect();
    let (data, splitter) = (0..0, Splitter::new(Packing::Packets));
    let (pending, time, ticks, lost, begun, broken) = (None, None, 0, false, false, false);
    let packets = Avi { input, streams, chosen: 0, at, lost, pending, data, splitter, ticks, time, begun, broken };
    Ok(Opened { container: Container::Avi, tracks, tags, packets: Box::new(packets) })
}

/// What a step of the walk came to.
enum Step {
    On,
    /// A long search has not come to its end.
    Nothing,
    End,
}

impl Packets for Avi<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = track;
        self.splitter = Splitter::new(self.streams.get(track).map_or(Packing::Packets, |stream| stream.packing));
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        for _ in 0..MOST_STEPS {
            if self.splitter.take(self.data.is_empty(), packet) {
                packet.time = self.time.take();
                return Ok(Read::Packet);
            }
            if !self.data.is_empty() {
                if let Some(track) = self.read()? {
                    return Ok(Read::Decoder(Box::new(track)));
                }
                continue;
            }
            match self.step()? {
                Step::On => {}
                Step::Nothing => return Ok(Read::Nothing),
                Step::End if self.takes_short_blocks() && self.splitter.take_rest(packet) => return Ok(Read::Packet),
                Step::End => return Ok(Read::End),
            }
        }
        Ok(Read::Nothing)
    }
}

impl Avi<'_> {
    /// Reads on in the track's chunk; gives the track that it is if it is another than its header said.
    fn read(&mut self) -> Result<Option<Track>, TranscodeError> {
        let piece = self.input.vec_at(self.data.start, PIECE.min(self.data.end - self.data.start))?;
        if piece.is_empty() {
            self.data = 0..0;
            return Ok(None);
        }
        if !std::mem::replace(&mut self.begun, true)
            && let Some(track) = self.adts(&piece)
        {
            return Ok(Some(track)); // the piece is read again
        }
        self.data.start += piece.len() as u64;
        self.splitter.push(&piece);
        Ok(None)
    }

    /// AAC that was copied from a transport stream has kept its ADTS headers, of which the stream's header knows
    /// nothing.
    fn adts(&mut self, piece: &[u8]) -> Option<Track> {
        let stream = self.streams.get_mut(self.chosen)?;
        let Codec::Aac(_) = stream.track.codec else { return None };
        let header = adts::Header::parse(*piece.first_chunk()?)?;
        if header.size > self.data.end - self.data.start {
            return None;
        }
        (stream.track.codec, stream.packing) = (Codec::Adts, Packing::Adts);
        self.splitter = Splitter::new(Packing::Adts);
        Some(stream.track.clone())
    }

    /// Whether the sound of a block that is cut off can be decoded up to there.
    fn takes_short_blocks(&self) -> bool {
        self.streams.get(self.chosen).is_some_and(|stream| matches!(stream.track.codec, Codec::Adpcm(_)))
    }

    /// Goes on to the next chunk.
    fn step(&mut self) -> Result<Step, TranscodeError> {
        if self.lost {
            let found = find(&mut self.input, &mut self.at, self.streams.len())?;
            if !found && self.at < self.input.len() {
                return Ok(Step::Nothing);
            }
            self.lost = false;
            if let Some(data) = self.pending.take() {
                self.begin(data.start..data.end.min(self.at));
            }
            self.broken = true;
            return Ok(Step::On);
        }
        let Some(chunk) = chunk_at(&mut self.input, self.at)? else { return Ok(Step::End) };
        if let b"RIFF" | b"LIST" = &chunk.id {
            return self.list(&chunk);
        }
        let data = chunk.body..chunk.end.min(self.input.len());
        let is_ours = chunk.is_audio_of(self.chosen);
        // Writers that forget to fill up to even sizes are forgiven.
        for next in [chunk.end + (chunk.end - chunk.body) % 2, chunk.end] {
            if follows(&mut self.input, next, self.streams.len())? {
                self.at = next;
                if is_ours {
                    self.begin(data);
                }
                return Ok(Step::On);
            }
        }
        self.lose(&chunk, is_ours.then_some(data));
        Ok(Step::On)
    }

    /// Goes into lists of chunks, and past others.
    fn list(&mut self, chunk: &Chunk) -> Result<Step, TranscodeError> {
        let next = match list_kind(&mut self.input, chunk)? {
            Some(kind) if matches!(&kind, b"movi" | b"rec " | b"AVIX" | b"AVI ") => chunk.body + 4,
            _ => chunk.end + (chunk.end - chunk.body) % 2,
        };
        if follows(&mut self.input, next, self.streams.len())? {
            self.at = next;
        } else {
            self.lose(chunk, None);
        }
        Ok(Step::On)
    }

    /// The size of a chunk is wrong, or what follows it is damaged.
    fn lose(&mut self, chunk: &Chunk, data: Option<Range<u64>>) {
        (self.lost, self.pending, self.at) = (true, data, chunk.body);
    }

    /// A chunk of the track begins.
    fn begin(&mut self, data: Range<u64>) {
        // Chunks begin with a block: where bytes are missing, the blocks behind them are found again.
        if std::mem::take(&mut self.broken) && self.streams.get(self.chosen).is_some_and(Stream::has_blocks) {
            self.splitter.clear();
        }
        if let Some(stream) = self.streams.get(self.chosen)
            && (stream.is_timed || self.ticks == 0)
            && self.splitter.is_empty()
        {
            self.time = Some(stream.due(self.ticks));
        }
        self.ticks += 1;
        self.data = data;
    }
}
