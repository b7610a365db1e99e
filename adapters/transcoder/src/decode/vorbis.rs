//! Vorbis of three channels and more, by `lewton`.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use microserve_core::transcode::TranscodeError;

use super::{Damaged, Decoder, corrupt};
use crate::audio::{Pcm, vorbis_order};

/// More values than the codebooks of any encoder have together; a decoder keeps all of them in memory.
const MOST_VALUES: u64 = 1 << 20;

/// The headers of a Vorbis stream, unless they make no sense or ask for more memory than sound can need.
pub(crate) fn headers(ident: &[u8], setup: &[u8]) -> Option<(IdentHeader, SetupHeader)> {
    if codebook_values(setup) > MOST_VALUES {
        return None;
    }
    let ident = read_header_ident(ident).ok()?;
    let setup = read_header_setup(setup, ident.audio_channels, (ident.blocksize_0, ident.blocksize_1)).ok()?;
    Some((ident, setup))
}

/// The values in all codebooks of a setup header: entries times dimensions (Vorbis I, 3.2.1). Codebooks begin at any
/// bit, and where one ends shows only when it is decoded, which is what has to be prevented. But each begins with a
/// pattern of 24 bits, so counting whatever follows that pattern misses none.
fn codebook_values(setup: &[u8]) -> u64 {
    const PATTERN: u128 = 0x56_4342;
    let values = (0..setup.len()).flat_map(|at| {
        let mut bytes = [0; 16];
        let rest = &setup[at..(at + 9).min(setup.len())];
        bytes[..rest.len()].copy_from_slice(rest);
        let word = u128::from_le_bytes(bytes);
        (0..8).map(move |bit| word >> bit).filter(|bits| bits & 0xff_ffff == PATTERN).map(|bits| {
            let (dimensions, entries) = (bits >> 24 & 0xffff, bits >> 40 & 0xff_ffff);
            (entries * dimensions.max(1)) as u64
        })
    });
    values.sum()
}

pub(super) struct Surround {
    ident: IdentHeader,
    setup: SetupHeader,
    previous: PreviousWindowRight,
}

impl Surround {
    pub(super) fn new(ident: &[u8], setup: &[u8]) -> Result<Self, TranscodeError> {
        let (ident, setup) = headers(ident, setup).ok_or_else(senseless)?;
        Ok(Self { ident, setup, previous: PreviousWindowRight::new() })
    }
}

/// Refuses codebooks that no encoder makes.
pub(super) fn check(setup: &[u8]) -> Result<(), TranscodeError> {
    if codebook_values(setup) > MOST_VALUES { Err(senseless()) } else { Ok(()) }
}

fn senseless() -> TranscodeError {
    corrupt("the headers of its Vorbis make no sense")
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
