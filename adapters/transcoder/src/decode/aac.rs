//! AAC of every profile but USAC, by `rusty_aac`.

use microserve_core::transcode::TranscodeError;
use rusty_aac::latm::LatmDecoder;
use rusty_aac::{AacDecoder, DecodedAudio};

use super::{Damaged, Decoder, corrupt};
use crate::audio::{Pcm, wave_order};

/// Raw access units, as containers have them.
pub(super) struct RawAac(rusty_aac::decode::Decoder);

impl RawAac {
    pub(super) fn new(config: &[u8], name: &str) -> Result<Self, TranscodeError> {
        let config = rusty_aac::config::parse(config).map_err(|err| refused(&err, name))?;
        rusty_aac::decode::Decoder::with_stream_config(config).map(Self).map_err(|err| refused(&err, name))
    }
}

impl Decoder for RawAac {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        // A packet that ends before it has an element of sound (id 7: ISO/IEC 14496-3, 4.5.2.1.1) is none: it would become
        // silence, and a file of nothing else an MP3.
        if packet.first().is_none_or(|first| first >> 5 == 7) {
            return Err(Damaged);
        }
        take(&self.0.decode(packet, None).map_err(|_| Damaged)?, pcm);
        Ok(())
    }
}

/// ADTS frames with their headers.
#[derive(Default)]
pub(super) struct AdtsAac(AacDecoder);

impl Decoder for AdtsAac {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        take(&self.0.decode(packet, None).map_err(|_| Damaged)?, pcm);
        Ok(())
    }
}

/// Frames of LOAS.
#[derive(Default)]
pub(super) struct LatmAac(LatmDecoder);

impl Decoder for LatmAac {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        take(&self.0.decode(packet, None).map_err(|_| Damaged)?.0, pcm);
        Ok(())
    }
}

fn take(decoded: &DecodedAudio, pcm: &mut Pcm) {
    pcm.reset(decoded.sample_rate, &wave_order(usize::from(decoded.channels)));
    pcm.push_interleaved(&decoded.samples);
}

fn refused(err: &rusty_aac::Error, name: &str) -> TranscodeError {
    match err {
        rusty_aac::Error::Unsupported(_) => TranscodeError::UnsupportedCodec { name: name.to_owned() },
        err => corrupt(format!("the settings of its AAC make no sense: {err}")),
    }
}
