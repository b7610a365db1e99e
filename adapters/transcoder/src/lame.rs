//! The MP3 encoder: the one sound wrapper around LAME.
//!
//! `mp3lame-encoder` lets safe code hand LAME an empty buffer, which LAME takes for one without bounds. Here every
//! buffer has the size that LAME's manual asks for, and nothing else of the crate leaves this module.

use std::io::{BufWriter, Seek, SeekFrom, Write};

use microserve_core::transcode::{Quality, Sink, TranscodeError};
use mp3lame_encoder::{
    BuildError, Builder, DualPcm, EncodeError, Encoder, FlushGap, Mode, MonoPcm, VbrMode, max_required_buffer_size,
};

mod info_tag;

use info_tag::InfoTag;

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
    /// Instead of LAME's own tag, where that has no room.
    info_tag: Option<InfoTag>,
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
        let info_tag = match quality {
            Quality::Cbr(kbps) => InfoTag::needed(rate, channels, cbr(kbps, rate)),
            Quality::Vbr(_) => None,
        };
        if let Some(tag) = &info_tag {
            sink.write_all(tag.placeholder()).map_err(TranscodeError::Sink)?;
        }
        let (buffer, start) = (Vec::new(), head.len() as u64);
        Ok(Self { lame, sink, buffer, channels, rate, start, info_tag, samples: 0, bytes: 0 })
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
        if let Some(tag) = &mut self.info_tag {
            tag.add(&self.buffer);
        }
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

        let tag = match self.info_tag.take() {
            Some(tag) => {
                let tag = tag.complete(self.samples);
                self.bytes += tag.len() as u64;
                tag
            }
            None => {
                let mut tag = Vec::with_capacity(self.lame.lame_tag_size());
                self.lame.lame_tag_encode_to_vec(&mut tag);
                tag
            }
        };
        if tag.is_empty() {
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
            set_bitrate(&mut builder, cbr(kbps, rate))?;
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
/// kbit/s from 32 kHz on, 8 to 160 from 16 kHz on, and LAME stops at 64 below that.
fn cbr(kbps: u16, rate: u32) -> u16 {
    const MPEG_2: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let legal = match rate {
        32_000.. => &Quality::BITRATES[..],
        16_000.. => &MPEG_2,
        _ => &MPEG_2[..8],
    };
    legal.iter().copied().min_by_key(|legal| (legal.abs_diff(kbps), std::cmp::Reverse(*legal))).unwrap_or(128)
}

/// Sets a constant bitrate in kbit/s.
#[expect(unsafe_code, reason = "the crate's list of bitrates lacks 56 and 144 kbit/s")]
fn set_bitrate(builder: &mut Builder, kbps: u16) -> Result<(), BuildError> {
    // SAFETY: the pointer is the builder's own and valid while it is borrowed; LAME only stores the number.
    let refused = unsafe { mp3lame_encoder::ffi::lame_set_brate(builder.as_ptr(), kbps.into()) };
    if refused == 0 { Ok(()) } else { Err(BuildError::BadBRate) }
}

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
            (56, 44_100, 56),
            (60, 44_100, 64),
        ] {
            assert_eq!(cbr(kbps, rate), becomes, "{kbps} kbit/s at {rate} Hz");
        }
    }
}
