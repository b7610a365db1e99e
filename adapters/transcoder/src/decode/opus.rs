//! Opus (RFC 6716): one or two channels by `opus-pure`, surround by `ropus`. Always decoded at 48 kHz.

use microserve_core::transcode::TranscodeError;

use super::{Damaged, Decoder, corrupt};
use crate::audio::{Pcm, Speaker, vorbis_order};
use crate::codec::OpusHead;

const RATE: u32 = 48_000;
/// The longest packet: 120 ms (RFC 6716, 3.2.5).
const LONGEST: usize = 5760;

/// The output gain as a factor (RFC 7845, 5.1: 1/256 dB).
fn factor(head: &OpusHead) -> f32 {
    10f32.powf(f32::from(head.gain) / (20.0 * 256.0))
}

pub(super) struct Stereo {
    decoder: opus_pure::OpusDecoder,
    speakers: Vec<Speaker>,
    gain: f32,
    buffer: Vec<f32>,
}

impl Stereo {
    pub(super) fn new(head: &OpusHead) -> Result<Self, TranscodeError> {
        let channels = usize::from(head.channels);
        let decoder = opus_pure::OpusDecoder::new(RATE as i32, channels).map_err(|err| corrupt(err.to_string()))?;
        let buffer = vec![0.0; LONGEST * channels];
        Ok(Self { decoder, speakers: vorbis_order(channels), gain: factor(head), buffer })
    }
}

impl Decoder for Stereo {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        if packet.is_empty() {
            return Err(Damaged);
        }
        let frames = self.decoder.decode(packet, LONGEST, &mut self.buffer).map_err(|_| Damaged)?;
        let samples = self.buffer.get_mut(..frames * self.speakers.len()).ok_or(Damaged)?;
        if self.gain != 1.0 {
            samples.iter_mut().for_each(|sample| *sample *= self.gain);
        }
        pcm.reset(RATE, &self.speakers);
        pcm.push_interleaved(samples);
        Ok(())
    }
}

pub(super) struct Surround {
    decoder: ropus::OpusMSDecoder,
    speakers: Vec<Speaker>,
    gain: f32,
    buffer: Vec<i32>,
    samples: Vec<f32>,
}

impl Surround {
    pub(super) fn new(head: &OpusHead) -> Result<Self, TranscodeError> {
        let (channels, streams, coupled) = (i32::from(head.channels), i32::from(head.streams), i32::from(head.coupled));
        let decoder = ropus::OpusMSDecoder::new(RATE as i32, channels, streams, coupled, &head.mapping)
            .map_err(|_| corrupt("the channel mapping of its Opus makes no sense"))?;
        let channels = usize::from(head.channels);
        let buffer = vec![0; LONGEST * channels];
        Ok(Self { decoder, speakers: vorbis_order(channels), gain: factor(head), buffer, samples: Vec::new() })
    }
}

impl Decoder for Surround {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        if packet.is_empty() {
            return Err(Damaged);
        }
        let length = i32::try_from(packet.len()).map_err(|_| Damaged)?;
        let frames = self
            .decoder
            .decode24(Some(packet), length, &mut self.buffer, LONGEST as i32, false)
            .map_err(|_| Damaged)?;
        let count = usize::try_from(frames).map_err(|_| Damaged)? * self.speakers.len();
        let decoded = self.buffer.get(..count).ok_or(Damaged)?;
        self.samples.clear();
        self.samples.extend(decoded.iter().map(|sample| *sample as f32 / (1 << 23) as f32 * self.gain));
        pcm.reset(RATE, &self.speakers);
        pcm.push_interleaved(&self.samples);
        Ok(())
    }
}
