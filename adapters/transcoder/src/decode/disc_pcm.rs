//! PCM of discs and of SMPTE 302M: big-endian, with channels in any order.

use super::{Damaged, Decoder};
use crate::audio::Pcm;
use crate::codec::PcmFormat;

pub(super) struct BigEndian(PcmFormat);

impl BigEndian {
    pub(super) fn new(format: &PcmFormat) -> Self {
        Self(format.clone())
    }
}

impl Decoder for BigEndian {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        const FULL: f32 = (1u32 << 31) as f32;
        let PcmFormat { rate, bytes, speakers, .. } = &self.0;
        pcm.reset(*rate, speakers);
        let (sample, frame) = (usize::from(*bytes), self.0.frame());
        if frame == 0 || packet.len() < frame {
            return Err(Damaged);
        }
        for (n, plane) in pcm.planes.iter_mut().enumerate() {
            plane.extend(packet.chunks_exact(frame).map(|frame| {
                let bits =
                    frame.iter().skip(n * sample).take(sample).fold(0, |bits, byte| bits << 8 | u32::from(*byte));
                (bits << (32 - 8 * sample)) as i32 as f32 / FULL
            }));
        }
        Ok(())
    }
}
