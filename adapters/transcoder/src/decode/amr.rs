//! AMR and AMR-WB (3GPP TS 26.071 and 26.171), by `rvoip-codec-core`.

use codec_core::codecs::amr::AmrCodec;
use codec_core::types::{CodecConfig, CodedFrame, FrameKind, VariableRateCodec};
use microserve_core::transcode::TranscodeError;

use super::{Damaged, Decoder};
use crate::audio::{Pcm, Speaker, wave_order};
use crate::codec::amr;

/// More frames than a packet has anywhere; 3GP allows ten.
const MOST_FRAMES: usize = 100;

pub(super) struct AmrDecoder {
    codec: AmrCodec,
    band: amr::Band,
    /// That of the last frame of speech: a frame that is lost has none.
    mode: u8,
    speakers: Vec<Speaker>,
    samples: Vec<f32>,
}

impl AmrDecoder {
    pub(super) fn new(band: amr::Band) -> Result<Self, TranscodeError> {
        let config = match band {
            amr::Band::Narrow => CodecConfig::amr_nb(),
            amr::Band::Wide => CodecConfig::amr_wb(),
        };
        let codec = AmrCodec::new(&config).map_err(|err| TranscodeError::Internal(err.into()))?;
        Ok(Self { codec, band, mode: 0, speakers: wave_order(1), samples: Vec::new() })
    }

    /// A frame behind its header.
    fn frame(&mut self, head: amr::Head, data: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let kind = match head.kind {
            amr::Kind::Speech(mode) => {
                self.mode = mode;
                FrameKind::Speech
            }
            amr::Kind::Silence => FrameKind::ComfortNoise,
            amr::Kind::Lost => FrameKind::Lost,
            amr::Kind::Nothing => FrameKind::NoData,
        };
        let frame = CodedFrame { kind, mode: self.mode, quality_ok: head.is_good, data: data.to_vec() };
        let samples = self.codec.decode_frame(&frame).map_err(|_| Damaged)?;
        self.samples.clear();
        self.samples.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
        pcm.push_interleaved(&self.samples);
        Ok(())
    }
}

impl Decoder for AmrDecoder {
    /// A packet is any number of frames, each with its header (RFC 4867, 5.3).
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        pcm.reset(self.band.rate(), &self.speakers);
        let mut rest = packet;
        for _ in 0..MOST_FRAMES {
            let Some((head, behind)) = rest.split_first() else { break };
            let whole =
                amr::Head::parse(self.band, *head).and_then(|head| Some((head, behind.split_at_checked(head.size)?)));
            let decoded = whole.ok_or(Damaged).and_then(|(head, (data, behind))| {
                rest = behind;
                self.frame(head, data, pcm)
            });
            match decoded {
                Ok(()) => {}
                Err(Damaged) if pcm.frames() == 0 => return Err(Damaged),
                Err(Damaged) => break,
            }
        }
        if pcm.frames() == 0 { Err(Damaged) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_in_the_place_of_frames_does_no_harm() {
        let mut seed = 0x5eed_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 24) as u8
        };
        for band in [amr::Band::Narrow, amr::Band::Wide] {
            let (mut decoder, mut pcm, mut decoded) = (AmrDecoder::new(band).unwrap(), Pcm::default(), 0);
            for _ in 0..5000 {
                let head = random() & 0x7c;
                let size = amr::Head::parse(band, head).map_or(7, |head| head.size);
                let packet: Vec<u8> = std::iter::once(head).chain((0..size).map(|_| random())).collect();
                if decoder.decode(&packet, &mut pcm).is_ok() {
                    decoded += 1;
                    assert_eq!(pcm.frames() as u32, band.rate() / 50);
                }
            }
            assert!(decoded > 2000, "{decoded}");
        }
    }
}
