//! What Symphonia decodes: MPEG audio, FLAC, ALAC, and Vorbis of one or two channels.

use microserve_core::transcode::TranscodeError;
use symphonia::core::audio::{Audio, GenericAudioBufferRef};
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs;

use super::{Damaged, Decoder, MOST_FRAMES, corrupt, speakers};
use crate::audio::{Pcm, Speaker};
use crate::codec::Codec;
use crate::sniff::mpeg;

/// MPEG audio: a decoder for each stretch of frames of one kind, since Symphonia's keeps to layer and rate.
pub(super) struct MpegAudio {
    decoder: Option<(mpeg::Frame, SymphoniaDecoder)>,
}

impl MpegAudio {
    pub(super) fn new() -> Self {
        Self { decoder: None }
    }
}

impl Decoder for MpegAudio {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let frame = mpeg::frame(packet).ok_or(Damaged)?;
        let fits =
            self.decoder.as_ref().is_some_and(|(kind, _)| kind.is_like(&frame) && kind.channels == frame.channels);
        if !fits {
            let codec = match frame.layer {
                1 => CODEC_ID_MP1,
                2 => CODEC_ID_MP2,
                _ => CODEC_ID_MP3,
            };
            let Codec::Symphonia(params) = Codec::plain(codec, frame.rate, frame.channels) else { return Err(Damaged) };
            self.decoder = Some((frame, SymphoniaDecoder::new(&params, "mp3").map_err(|_| Damaged)?));
        }
        self.decoder.as_mut().ok_or(Damaged)?.1.decode(packet, pcm)
    }
}

pub(super) struct SymphoniaDecoder {
    decoder: Box<dyn AudioDecoder>,
    speakers: Vec<Speaker>,
    /// The first packet of Vorbis only gets the decoder going: what comes out is no sound (Vorbis I, 4.3.8).
    swallow: bool,
    is_alac: bool,
}

impl SymphoniaDecoder {
    pub(super) fn new(params: &AudioCodecParameters, name: &str) -> Result<Self, TranscodeError> {
        // Buffers are allocated from these before the first packet is seen.
        let unsound = params.max_frames_per_packet.is_some_and(|frames| frames > MOST_FRAMES as u64)
            || params.channels.as_ref().is_some_and(|channels| !(1..=32).contains(&channels.count()));
        if unsound {
            return Err(corrupt("its audio settings make no sense"));
        }
        // Trimming is done by us, the same for every codec.
        let options = AudioDecoderOptions::default().gapless(false);
        let decoder: Box<dyn AudioDecoder> = match params.codec {
            CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3 => boxed(codecs::MpaDecoder::try_new(params, &options), name)?,
            CODEC_ID_FLAC => boxed(codecs::FlacDecoder::try_new(params, &options), name)?,
            CODEC_ID_ALAC => boxed(codecs::AlacDecoder::try_new(params, &options), name)?,
            CODEC_ID_VORBIS => boxed(codecs::VorbisDecoder::try_new(params, &options), name)?,
            _ => return Err(TranscodeError::UnsupportedCodec { name: name.to_owned() }),
        };
        let (swallow, is_alac) = (params.codec == CODEC_ID_VORBIS, params.codec == CODEC_ID_ALAC);
        Ok(Self { decoder, speakers: Vec::new(), swallow, is_alac })
    }

    pub(super) fn vorbis(ident: &[u8], setup: &[u8]) -> Result<Self, TranscodeError> {
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_VORBIS).with_extra_data([ident, setup].concat().into());
        Self::new(&params, "vorbis")
    }
}

fn boxed<D: AudioDecoder + 'static>(
    decoder: Result<D, Error>,
    name: &str,
) -> Result<Box<dyn AudioDecoder>, TranscodeError> {
    match decoder {
        Ok(decoder) => Ok(Box::new(decoder)),
        Err(Error::Unsupported(_)) => Err(TranscodeError::UnsupportedCodec { name: name.to_owned() }),
        Err(err) => Err(corrupt(format!("the settings of its {name} make no sense: {err}"))),
    }
}

impl Decoder for SymphoniaDecoder {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(0), packet);
        let decoded = self.decoder.decode_ref(&packet).map_err(|_| Damaged)?;
        take(&decoded, &mut self.speakers, self.is_alac, pcm);
        if std::mem::take(&mut self.swallow) {
            pcm.clear();
        }
        Ok(())
    }
}

fn take(decoded: &GenericAudioBufferRef<'_>, known: &mut Vec<Speaker>, is_alac: bool, pcm: &mut Pcm) {
    let spec = decoded.spec();
    let channels = spec.channels().count();
    if known.len() != channels {
        *known = alac_order(channels).filter(|_| is_alac).unwrap_or_else(|| speakers(spec.channels()));
    }
    pcm.reset(spec.rate(), known);
    if let GenericAudioBufferRef::F32(buffer) = decoded {
        for (plane, samples) in pcm.planes.iter_mut().zip(buffer.iter_planes()) {
            plane.extend_from_slice(samples);
        }
    } else {
        decoded.copy_to_vecs_planar(&mut pcm.planes);
    }
}

/// The order in which Symphonia has the planes of ALAC. What it calls them is wrong for seven channels and eight, whose
/// elements come from the front to the back (Apple, "ALACAudioTypes.h", channel layout tags).
fn alac_order(channels: usize) -> Option<Vec<Speaker>> {
    use Speaker::*;
    match channels {
        7 => Some(vec![FrontLeft, FrontRight, FrontCentre, Lfe, BackCentre, BackLeft, BackRight]),
        8 => {
            let front = [FrontLeft, FrontRight, FrontCentre, Lfe, FrontLeftOfCentre, FrontRightOfCentre];
            Some([&front[..], &[BackLeft, BackRight]].concat())
        }
        _ => None,
    }
}
