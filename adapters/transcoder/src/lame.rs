//! The MP3 encoder: the one sound wrapper around LAME.
//!
//! `mp3lame-encoder` lets safe code hand LAME an empty buffer, which LAME takes for one without bounds. Here every
//! buffer has the size that LAME's manual asks for, and nothing else of the crate leaves this module.

use std::io::{BufWriter, Seek, SeekFrom, Write};

use microserve_core::transcode::{Quality, Sink, TranscodeError};
use mp3lame_encoder::{
    Bitrate, BuildError, Builder, DualPcm, EncodeError, Encoder, FlushGap, Mode, MonoPcm, VbrMode,
    max_required_buffer_size,
};

/// Samples per channel that are given to LAME at once.
const BLOCK: usize = 4608;

/// Writes an MP3: frames as they come, and at the end the tag frame over the placeholder that LAME begins with.
pub(crate) struct Mp3Writer<'a> {
    lame: Encoder,
    sink: BufWriter<&'a mut dyn Sink>,
    buffer: Vec<u8>,
    channels: usize,
    rate: u32,
    /// Where the frames begin: behind the ID3 tag.
    start: u64,
    samples: u64,
    bytes: u64,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) samples: u64,
    pub(crate) bitrate: u32,
}

impl<'a> Mp3Writer<'a> {
    /// Writes `head` (an ID3 tag) and prepares for audio of a rate that MP3 has and one or two channels.
    pub(crate) fn new(
        sink: &'a mut dyn Sink,
        head: &[u8],
        rate: u32,
        channels: usize,
        quality: Quality,
    ) -> Result<Self, TranscodeError> {
        let lame = build(rate, channels, quality).map_err(internal)?;
        let mut sink = BufWriter::with_capacity(64 * 1024, sink);
        sink.write_all(head).map_err(TranscodeError::Sink)?;
        Ok(Self { lame, sink, buffer: Vec::new(), channels, rate, start: head.len() as u64, samples: 0, bytes: 0 })
    }

    /// Encodes a block of planar samples, one plane per channel.
    pub(crate) fn push(&mut self, planes: &[&[f32]]) -> Result<(), TranscodeError> {
        let frames = planes.first().map_or(0, |plane| plane.len());
        let mut at = 0;
        while at < frames {
            let end = frames.min(at + BLOCK);
            self.encode(planes, at..end)?;
            self.samples += (end - at) as u64;
            at = end;
        }
        Ok(())
    }

    fn encode(&mut self, planes: &[&[f32]], range: std::ops::Range<usize>) -> Result<(), TranscodeError> {
        self.buffer.clear();
        self.buffer.reserve(max_required_buffer_size(range.len()));
        match (self.channels, planes) {
            (1, [mono, ..]) => self.lame.encode_to_vec(MonoPcm(&mono[range]), &mut self.buffer),
            (_, [left, right, ..]) => {
                let both = DualPcm { left: &left[range.clone()], right: &right[range] };
                self.lame.encode_to_vec(both, &mut self.buffer)
            }
            _ => Err(EncodeError::InvalidState),
        }
        .map_err(internal)?;
        self.write()
    }

    fn write(&mut self) -> Result<(), TranscodeError> {
        self.bytes += self.buffer.len() as u64;
        self.sink.write_all(&self.buffer).map_err(TranscodeError::Sink)
    }

    /// Writes what is left, and the tag frame that makes the length exact.
    pub(crate) fn finish(mut self) -> Result<Written, TranscodeError> {
        self.buffer.clear();
        self.buffer.reserve(max_required_buffer_size(2 * BLOCK));
        // With the gap: the other way of flushing loses the end of the sound.
        self.lame.flush_to_vec::<FlushGap>(&mut self.buffer).map_err(internal)?;
        self.write()?;

        let mut tag = Vec::with_capacity(self.lame.lame_tag_size());
        if self.lame.lame_tag_encode_to_vec(&mut tag).is_none() {
            return Err(TranscodeError::Internal("LAME gave no tag frame".into()));
        }
        // Over the placeholder: inserted before it, a player would hear the placeholder as sound.
        self.sink.seek(SeekFrom::Start(self.start)).map_err(TranscodeError::Sink)?;
        self.sink.write_all(&tag).map_err(TranscodeError::Sink)?;
        self.sink.seek(SeekFrom::End(0)).map_err(TranscodeError::Sink)?;
        self.sink.flush().map_err(TranscodeError::Sink)?;
        Ok(Written { samples: self.samples, bitrate: self.bitrate(&tag) })
    }

    /// The mean bitrate in bit/s, over the frames that the tag counts and does not count itself among.
    fn bitrate(&self, tag: &[u8]) -> u32 {
        let marker = tag.windows(4).position(|four| four == b"Info" || four == b"Xing");
        // Four bytes of flags follow the marker, then the number of frames.
        let frames = marker.and_then(|at| tag.get(at + 8..at + 12)).and_then(|b| b.try_into().ok());
        let frames = u64::from(frames.map_or(0, u32::from_be_bytes));
        let per_frame = if self.rate < 32_000 { 576 } else { 1152 };
        let seconds = (frames * per_frame) as f64 / f64::from(self.rate);
        let bytes = self.bytes.saturating_sub(tag.len() as u64);
        if frames == 0 { 0 } else { (bytes as f64 * 8.0 / seconds).round() as u32 }
    }
}

fn internal(err: impl std::error::Error + Send + Sync + 'static) -> TranscodeError {
    TranscodeError::Internal(err.into())
}

fn build(rate: u32, channels: usize, quality: Quality) -> Result<Encoder, BuildError> {
    let mut builder = Builder::new().ok_or(BuildError::NoMem)?;
    builder.set_num_channels(if channels == 1 { 1 } else { 2 })?;
    builder.set_mode(if channels == 1 { Mode::Mono } else { Mode::JointStereo })?;
    builder.set_sample_rate(rate)?;
    // The same rate out as in, or LAME picks a lower one for low bitrates, and its resampler aliases.
    builder.set_output_sample_rate(std::num::NonZeroU32::new(rate))?;
    // What LAME and ffmpeg use when not told otherwise; better ones cost several times the work.
    builder.set_quality(mp3lame_encoder::Quality::VeryNice)?;
    match quality {
        Quality::Cbr(kbps) => {
            builder.set_vbr_mode(VbrMode::Off)?;
            builder.set_brate(cbr(kbps, rate))?;
        }
        Quality::Vbr(level) => {
            builder.set_vbr_mode(VbrMode::Mtrh)?;
            builder.set_vbr_quality(vbr_level(level))?;
        }
    }
    builder.set_to_write_vbr_tag(true)?;
    builder.build()
}

/// The legal constant bitrate next to the one asked for (ISO/IEC 11172-3 2.4.2.3 and 13818-3 2.4.2.3): 32 to 320
/// kbit/s from 32 kHz on, up to 160 from 16 kHz on, and LAME stops at 64 below that.
fn cbr(kbps: u16, rate: u32) -> Bitrate {
    let most = match rate {
        32_000.. => 320,
        16_000.. => 160,
        _ => 64,
    };
    let least = if rate >= 32_000 { 32 } else { 8 };
    let legal = BITRATES.into_iter().filter(|b| (least..=most).contains(&(*b as u16)));
    legal.min_by_key(|b| (*b as u16).abs_diff(kbps)).unwrap_or(Bitrate::Kbps128)
}

/// What the wrapper crate has. 56 kbit/s is not among them: 48 or 64 is the nearest.
const BITRATES: [Bitrate; 16] = [
    Bitrate::Kbps320,
    Bitrate::Kbps256,
    Bitrate::Kbps224,
    Bitrate::Kbps192,
    Bitrate::Kbps160,
    Bitrate::Kbps128,
    Bitrate::Kbps112,
    Bitrate::Kbps96,
    Bitrate::Kbps80,
    Bitrate::Kbps64,
    Bitrate::Kbps48,
    Bitrate::Kbps40,
    Bitrate::Kbps32,
    Bitrate::Kbps24,
    Bitrate::Kbps16,
    Bitrate::Kbps8,
];

fn vbr_level(level: u8) -> mp3lame_encoder::Quality {
    use mp3lame_encoder::Quality as Q;
    let levels = [Q::Best, Q::SecondBest, Q::NearBest, Q::VeryNice, Q::Nice, Q::Good, Q::Decent, Q::Ok, Q::SecondWorst];
    levels.get(usize::from(level)).copied().unwrap_or(Q::Worst)
}

#[cfg(test)]
mod tests {
    use super::cbr;

    #[test]
    fn illegal_bitrates_become_the_nearest_legal_one() {
        for (kbps, rate, becomes) in [
            (320, 44_100, 320),
            (32, 48_000, 32),
            (320, 24_000, 160),
            (320, 16_000, 160),
            (128, 11_025, 64),
            (64, 8_000, 64),
            (40, 22_050, 40),
        ] {
            assert_eq!(cbr(kbps, rate) as u16, becomes, "{kbps} kbit/s at {rate} Hz");
        }
    }
}
