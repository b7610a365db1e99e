//! AMR and AMR-WB without a container (RFC 4867, 5).

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::{AUDIO, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::Codec;
use crate::codec::amr::{Band, Head};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

/// How far the next frame is looked for at once where there should be one.
const SEARCH: u64 = 64 * 1024;
/// So many frames that follow each other are no coincidence.
const IN_A_ROW: usize = 4;
/// Frames whose sizes give an idea of how long the file is.
const SAMPLED: u32 = 100;

struct Amr<'a> {
    input: Input<'a>,
    band: Band,
    at: u64,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let head = input.vec_at(0, 9)?;
    let (band, at) = match () {
        () if head.starts_with(b"#!AMR\n") => (Band::Narrow, 6),
        () if head.starts_with(b"#!AMR-WB\n") => (Band::Wide, 9),
        () => return Err(corrupt("it has several channels of AMR, or none")),
    };
    let mut amr = Amr { input, band, at };
    let (codec, sample_rate) = (band.name().to_owned(), band.rate());
    let duration = amr.estimate()?;
    let info = TrackInfo { kind: AUDIO.into(), codec, channels: 1, sample_rate, duration, ..TrackInfo::default() };
    let track = Track { estimated: true, ..Track::audio(info, Codec::Amr(band)) };
    Ok(Opened { container: Container::Amr, tracks: vec![track], tags: Tags::default(), packets: Box::new(amr) })
}

impl Amr<'_> {
    fn head(&mut self, at: u64) -> Result<Option<Head>, TranscodeError> {
        Ok(self.input.array_at(at)?.and_then(|[head]| Head::parse(self.band, head)))
    }

    /// The duration in seconds, if all frames are as large as the first ones.
    fn estimate(&mut self) -> Result<Option<f64>, TranscodeError> {
        let (mut at, mut frames) = (self.at, 0);
        while frames < SAMPLED {
            let Some(head) = self.head(at)? else { break };
            at += 1 + head.size as u64;
            frames += 1;
        }
        let (sampled, whole) = (at - self.at, self.input.len().saturating_sub(self.at));
        Ok((sampled > 0).then(|| f64::from(frames) / 50.0 * whole as f64 / sampled as f64))
    }

    /// Whether frames follow each other from a position on, or to the end.
    fn is_run(&mut self, mut at: u64) -> Result<bool, TranscodeError> {
        for _ in 0..IN_A_ROW {
            if at == self.input.len() {
                return Ok(true);
            }
            let Some(head) = self.head(at)? else { return Ok(false) };
            at += 1 + head.size as u64;
        }
        Ok(true)
    }
}

impl Packets for Amr<'_> {
    fn select(&mut self, _track: usize) {}

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        if let Some(head) = self.head(self.at)? {
            let size = 1 + head.size as u64;
            packet.data = self.input.vec_at(self.at, size)?;
            self.at += size;
            // One that is cut off is the last one.
            return Ok(if packet.data.len() as u64 == size { Read::Packet } else { Read::End });
        }
        let end = self.at.saturating_add(SEARCH).min(self.input.len());
        while self.at < end {
            self.at += 1;
            if self.is_run(self.at)? {
                return Ok(Read::Nothing);
            }
        }
        Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End })
    }
}
