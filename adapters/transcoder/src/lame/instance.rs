//! One LAME encoder, with the settings that all of ours have.
//!
//! `mp3lame-encoder` lets safe code hand LAME an empty buffer, which LAME takes for one without bounds. Here every
//! buffer has the size that LAME's manual asks for, and nothing of the crate leaves this module.

use std::sync::{Arc, Once};

use microserve_core::transcode::{Quality, TranscodeError};
use mp3lame_encoder::{
    BuildError, Builder, DualPcm, EncodeError, Encoder, FlushGap, FlushNoGap, Mode, MonoPcm, VbrMode,
    max_required_buffer_size,
};

/// The samples of a frame or, at the end of the sound, of a part of one: a plane for each channel, one behind the
/// other.
pub(super) type Block = Arc<[f32]>;

/// What all frames of an MP3 have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// In Hz, one that MP3 has.
    pub(super) rate: u32,
    /// 1 or 2.
    pub(super) channels: usize,
    pub(super) quality: Quality,
}

impl Format {
    /// Samples of a frame in each channel: two granules, and one below 32 kHz (ISO/IEC 13818-3, 2.4.2.2).
    pub(super) fn frame(self) -> usize {
        if self.rate >= 32_000 { 1152 } else { 576 }
    }

    /// The constant bitrate in kbit/s, if it is one.
    pub(super) fn constant(self) -> Option<u16> {
        match self.quality {
            Quality::Cbr(kbps) => Some(cbr(kbps, self.rate)),
            Quality::Vbr(_) => None,
        }
    }
}

/// An encoder that was fed some samples, and owes some frames.
pub(super) struct Lame {
    encoder: Encoder,
    channels: usize,
}

impl Lame {
    /// An encoder of frames and nothing else.
    pub(super) fn new(format: Format) -> Result<Self, TranscodeError> {
        Self::build(format, false).map_err(internal)
    }

    fn build(format: Format, tag: bool) -> Result<Self, BuildError> {
        // Every new encoder fills the tables that all of them use, with what is in them already. So nobody may have one
        // before the first was made.
        static TABLES: Once = Once::new();
        let mut first = None;
        TABLES.call_once(|| first = Some(Self::configure(format, tag)));
        first.unwrap_or_else(|| Self::configure(format, tag))
    }

    fn configure(format: Format, tag: bool) -> Result<Self, BuildError> {
        let mut builder = Builder::new().ok_or(BuildError::NoMem)?;
        let mono = format.channels == 1;
        builder.set_num_channels(if mono { 1 } else { 2 })?;
        builder.set_mode(if mono { Mode::Mono } else { Mode::JointStereo })?;
        builder.set_sample_rate(format.rate)?;
        // The same rate out as in, or LAME picks a lower one for low bitrates, and its resampler aliases.
        builder.set_output_sample_rate(std::num::NonZeroU32::new(format.rate))?;
        // What LAME and ffmpeg use when not told otherwise; better ones cost several times the work.
        builder.set_quality(mp3lame_encoder::Quality::VeryNice)?;
        match format.quality {
            Quality::Cbr(kbps) => {
                builder.set_vbr_mode(VbrMode::Off)?;
                set_bitrate(&mut builder, cbr(kbps, format.rate))?;
            }
            Quality::Vbr(level) => {
                builder.set_vbr_mode(VbrMode::Mtrh)?;
                builder.set_vbr_quality(vbr_level(level))?;
            }
        }
        builder.set_to_write_vbr_tag(tag)?;
        Ok(Self { encoder: builder.build()?, channels: format.channels })
    }

    /// Takes samples in, and appends to `frames` what is ready.
    pub(super) fn encode(&mut self, block: &Block, frames: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let (left, right) = block.split_at(block.len() / self.channels);
        frames.reserve(max_required_buffer_size(left.len()));
        let encoded = match self.channels {
            1 => self.encoder.encode_to_vec(MonoPcm(left), frames),
            _ if right.len() == left.len() => self.encoder.encode_to_vec(DualPcm { left, right }, frames),
            _ => Err(EncodeError::InvalidState),
        };
        encoded.map(drop).map_err(internal)
    }

    /// Completes the frames that are under way: those that come after them take nothing from the bit reservoir.
    pub(super) fn empty_reservoir(&mut self, frames: &mut Vec<u8>) -> Result<(), TranscodeError> {
        frames.reserve(max_required_buffer_size(0));
        self.encoder.flush_to_vec::<FlushNoGap>(frames).map(drop).map_err(internal)
    }

    /// Encodes what it still has of the sound, and completes the last frame.
    pub(super) fn finish(mut self, frames: &mut Vec<u8>) -> Result<(), TranscodeError> {
        frames.reserve(max_required_buffer_size(8 * 1152));
        // With the gap: the other way of flushing loses the end of the sound.
        self.encoder.flush_to_vec::<FlushGap>(frames).map(drop).map_err(internal)
    }
}

/// The tag frame that LAME would write for a sound of nothing; empty where a frame has no room for it.
pub(super) fn blank_tag(format: Format) -> Result<Vec<u8>, TranscodeError> {
    let mut lame = Lame::build(format, true).map_err(internal)?;
    let silence: Block = vec![0.0; format.frame() * format.channels].into();
    let mut frames = Vec::new();
    // Without a frame there is no tag, and the first one comes with the second block.
    for _ in 0..3 {
        lame.encode(&silence, &mut frames)?;
    }
    let mut tag = Vec::with_capacity(lame.encoder.lame_tag_size());
    lame.encoder.lame_tag_encode_to_vec(&mut tag);
    Ok(tag)
}

fn internal(err: impl std::error::Error + Send + Sync + 'static) -> TranscodeError {
    TranscodeError::Internal(err.into())
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

/// What LAME makes of a sound all by itself: its tag and its frames.
#[cfg(test)]
pub(super) fn alone(format: Format, blocks: &[Block]) -> (Vec<u8>, Vec<u8>) {
    let mut lame = Lame::build(format, true).unwrap();
    let (mut tag, mut frames) = (Vec::with_capacity(4096), Vec::new());
    blocks.iter().for_each(|block| lame.encode(block, &mut frames).unwrap());
    frames.reserve(max_required_buffer_size(8 * 1152));
    lame.encoder.flush_to_vec::<FlushGap>(&mut frames).unwrap();
    lame.encoder.lame_tag_encode_to_vec(&mut tag);
    frames.drain(..tag.len());
    (tag, frames)
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
