//! Packets become sound. One small trait, and a file for each library behind it.

use microserve_core::transcode::TranscodeError;
use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use crate::audio::{Pcm, Speaker};
use crate::codec::Codec;

mod aac;
mod ac3;
mod adpcm;
mod amr;
mod disc_pcm;
mod dts;
mod opus;
mod pcm;
mod symphonia_codecs;
pub(crate) mod vorbis;
mod wma;

/// More samples per channel than any codec has in a packet.
const MOST_FRAMES: usize = 1 << 20;

/// More channels than these have no usual order, so that nobody could say how they are mixed.
const MOST_CHANNELS: usize = 8;

const MPEG_AUDIO: [AudioCodecId; 3] = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3];

/// Turns the packets of one track into sound, in their order.
///
/// The built-in decoders are such, and so is one that a [`Codecs`](crate::Codecs) is given.
///
/// # Contract
/// Packets are whatever a file from a stranger has in their place, and any of them may be [`Damaged`]. A decoder has to
/// return, and must not ask for memory without bounds: that nobody can mend from within. (`microserve-sandbox` around
/// the transcoder ends it even then.) Whatever else it does is survived.
///
/// What it makes is not believed. It has to be sound of 4,000 to 384,000 Hz, of one to eight channels, in planes of one
/// length of at most 2^20 samples. Otherwise the packet counts as damaged, and, if it is the first that gives anything,
/// the file as `corrupt`. So it does after a panic, and when there is more sound than a file of that size can hold.
/// Samples beyond -1..=1 are clipped, and what is no number is silence.
pub trait Decoder {
    /// Decodes a packet. `pcm` holds whatever it held before, and then what came out, which may be nothing: so
    /// [`Pcm::reset`] comes first. Rate and loudspeakers may change from packet to packet.
    ///
    /// All samples are given that the codec has, those included that only get it going: what is not to be heard is cut
    /// off afterwards, as the container says.
    ///
    /// # Errors
    /// The packet makes no sense. It becomes silence, of the length of the one before it.
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged>;

    /// What the packets so far turned out to be, if that is something that is not decoded here: a codec's short name.
    fn turned_out(&self) -> Option<&'static str> {
        None
    }

    /// Gives what is left behind the last packet, which may be nothing.
    fn finish(&mut self, pcm: &mut Pcm) {
        pcm.clear();
    }
}

/// The packet can't be decoded; the next one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Makes the decoder of a codec. `name` is what an error calls it.
///
/// # Errors
/// [`TranscodeError::UnsupportedCodec`] when nobody decodes it, [`TranscodeError::Corrupt`] when its settings make no
/// sense.
pub(crate) fn open(codec: &Codec, name: &str) -> Result<Box<dyn Decoder>, TranscodeError> {
    match codec {
        Codec::Aac(config) => Ok(Box::new(aac::RawAac::new(config, name)?)),
        Codec::Adts => Ok(Box::new(aac::AdtsAac::default())),
        Codec::Ac3 => Ok(Box::new(ac3::Ac3::default())),
        Codec::Latm => Ok(Box::new(aac::LatmAac::default())),
        Codec::DiscPcm(format) => Ok(Box::new(disc_pcm::BigEndian::new(format))),
        Codec::Opus(head) if head.family <= 1 && head.channels <= 2 => Ok(Box::new(opus::Stereo::new(head)?)),
        Codec::Opus(head) if head.family == 1 && head.channels <= 8 => Ok(Box::new(opus::Surround::new(head)?)),
        Codec::Opus(head) => {
            let name = format!("{name} of mapping family {} with {} channels", head.family, head.channels);
            Err(TranscodeError::UnsupportedCodec { name })
        }
        // Symphonia mixes up the channels of surround.
        Codec::Vorbis { ident, setup } if ident.get(11).is_some_and(|channels| *channels > 2) => {
            Ok(Box::new(vorbis::Surround::new(ident, setup)?))
        }
        Codec::Vorbis { ident, setup } => {
            vorbis::check(setup)?;
            Ok(Box::new(symphonia_codecs::SymphoniaDecoder::vorbis(ident, setup)?))
        }
        Codec::Pcm(_, _, speakers) if !(1..=MOST_CHANNELS).contains(&speakers.len()) => {
            Err(TranscodeError::UnsupportedCodec { name: format!("{name} with {} channels", speakers.len()) })
        }
        Codec::Pcm(sample, rate, speakers) => Ok(Box::new(pcm::PcmDecoder::new(*sample, *rate, speakers))),
        Codec::Adpcm(settings) => Ok(Box::new(adpcm::AdpcmDecoder::new(settings))),
        Codec::Amr(band) => Ok(Box::new(amr::AmrDecoder::new(*band)?)),
        Codec::Dts => Ok(Box::new(dts::DtsDecoder::default())),
        Codec::Wma(settings) => Ok(Box::new(wma::WmaDecoder::new(settings)?)),
        Codec::Symphonia(params) if MPEG_AUDIO.contains(&params.codec) => {
            Ok(Box::new(symphonia_codecs::MpegAudio::new()))
        }
        Codec::Symphonia(params) => Ok(Box::new(symphonia_codecs::SymphoniaDecoder::new(params, name)?)),
        Codec::Foreign(_) | Codec::Unsupported => Err(TranscodeError::UnsupportedCodec { name: name.to_owned() }),
    }
}

/// Refuses what no decoder may have made, before it gets any further.
pub(crate) fn check(pcm: &Pcm, name: &str) -> Result<(), TranscodeError> {
    if !(4_000..=384_000).contains(&pcm.rate) {
        return Err(TranscodeError::Corrupt { detail: format!("its sample rate of {} Hz makes no sense", pcm.rate) });
    }
    if pcm.frames() > MOST_FRAMES {
        return Err(TranscodeError::Corrupt { detail: "a packet holds more sound than any packet can".to_owned() });
    }
    if pcm.planes.len() != pcm.speakers.len() || pcm.planes.iter().any(|plane| plane.len() != pcm.frames()) {
        return Err(TranscodeError::Corrupt { detail: "its channels are not equally long".to_owned() });
    }
    match pcm.speakers.len() {
        1..=MOST_CHANNELS => Ok(()),
        n => Err(TranscodeError::UnsupportedCodec { name: format!("{name} with {n} channels") }),
    }
}

/// A number of channels of which nobody says what they are for: those of [`crate::audio::wave_order`].
pub(crate) fn channels(count: u16) -> Channels {
    Channels::Discrete(count)
}

/// The loudspeakers of Symphonia's positions, in the order in which it has their planes.
fn speakers(channels: &Channels) -> Vec<Speaker> {
    let Channels::Positioned(positions) = channels else { return crate::audio::wave_order(channels.count()) };
    match channels.count() {
        1 => return crate::audio::wave_order(1),
        2 => return crate::audio::wave_order(2),
        _ => {}
    }
    let speaker = |position| match position {
        Position::FRONT_LEFT => Speaker::FrontLeft,
        Position::FRONT_RIGHT => Speaker::FrontRight,
        Position::FRONT_CENTER => Speaker::FrontCentre,
        Position::LFE1 | Position::LFE2 => Speaker::Lfe,
        Position::REAR_LEFT => Speaker::BackLeft,
        Position::REAR_RIGHT => Speaker::BackRight,
        Position::SIDE_LEFT => Speaker::SideLeft,
        Position::SIDE_RIGHT => Speaker::SideRight,
        Position::REAR_CENTER => Speaker::BackCentre,
        Position::FRONT_LEFT_CENTER => Speaker::FrontLeftOfCentre,
        Position::FRONT_RIGHT_CENTER => Speaker::FrontRightOfCentre,
        _ => Speaker::Other,
    };
    positions.iter().map(speaker).collect()
}

fn corrupt(detail: impl Into<String>) -> TranscodeError {
    TranscodeError::Corrupt { detail: detail.into() }
}
