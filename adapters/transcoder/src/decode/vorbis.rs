//! Vorbis of three channels and more, by `lewton`.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use microserve_core::transcode::TranscodeError;

use super::{Damaged, Decoder, corrupt};
use crate::audio::{Pcm, vorbis_order};

pub(super) struct Surround {
    ident: IdentHeader,
    setup: SetupHeader,
    previous: PreviousWindowRight,
}

impl Surround {
    pub(super) fn new(ident: &[u8], setup: &[u8]) -> Result<Self, TranscodeError> {
        let damaged = |_| corrupt("the headers of its Vorbis make no sense");
        let ident = read_header_ident(ident).map_err(damaged)?;
        let sizes = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(setup, ident.audio_channels, sizes).map_err(damaged)?;
        Ok(Self { ident, setup, previous: PreviousWindowRight::new() })
    }
}

impl Decoder for Surround {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        let planes: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.ident, &self.setup, packet, &mut self.previous).map_err(|_| Damaged)?;
        pcm.reset(self.ident.audio_sample_rate, &vorbis_order(usize::from(self.ident.audio_channels)));
        for (plane, decoded) in pcm.planes.iter_mut().zip(planes) {
            *plane = decoded;
        }
        Ok(())
    }
}
