//! The core of DTS Coherent Acoustics (ETSI TS 102 114), by `oxideav-dts`. What extensions add is left out: more
//! channels, higher rates, and what is missing for losslessness.

use oxideav_dts::{CoreStreamDecoder, DtsFrameHeader, SubframePcm, decode_audio_coding_header_at, parse_frame_header};

use super::{Damaged, Decoder};
use crate::audio::{Pcm, Speaker};
use crate::codec::dts::{self, Frame};

#[derive(Default)]
pub(super) struct DtsDecoder {
    core: Option<CoreStreamDecoder>,
    /// The last packet had an extension and no core.
    is_express: bool,
}

impl DtsDecoder {
    /// The planes of a frame's primary channels, and of the one for low frequencies, which may be empty.
    fn planes(&mut self, bytes: &[u8], header: &DtsFrameHeader) -> Option<(SubframePcm, Vec<i32>)> {
        let header_bits = usize::try_from(header.header_bit_length()).ok()?;
        let (coding, _) = decode_audio_coding_header_at(bytes, header_bits, header.crc_present).ok()?;
        let mut core = match self.core.take() {
            Some(core) if core.channel_count() == coding.n_pchs => core,
            _ => CoreStreamDecoder::new(coding.n_pchs),
        };
        // After an error there is nothing left of what frames have in common.
        let planes = core.decode_frame(bytes, header).ok()?;
        let low = core.take_last_lfe_pcm();
        self.core = Some(core);
        Some((planes, low))
    }
}

impl Decoder for DtsDecoder {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        self.is_express = dts::extension(packet).is_some();
        let frame = Frame::parse(packet).ok_or(Damaged)?;
        let bytes = frame.normal(packet);
        let header = parse_frame_header(&bytes).map_err(|_| Damaged)?;
        let (mut planes, low) = self.planes(&bytes, &header).ok_or(Damaged)?;
        if !low.is_empty() {
            planes.push(low);
        }
        let speakers = speakers(frame.arrangement, planes.len()).ok_or(Damaged)?;
        let frames = planes.iter().map(Vec::len).min().unwrap_or(0);
        if frames == 0 || frames > frame.samples as usize {
            return Err(Damaged);
        }
        pcm.reset(frame.rate, &speakers);
        for (plane, decoded) in pcm.planes.iter_mut().zip(&planes) {
            plane.extend(decoded[..frames].iter().map(|sample| *sample as f32 / (1u32 << 31) as f32));
        }
        Ok(())
    }

    fn turned_out(&self) -> Option<&'static str> {
        self.is_express.then_some("dts_express")
    }
}

/// The loudspeakers of an arrangement (Table 5-4), and behind them the one for low frequencies.
fn speakers(arrangement: u8, channels: usize) -> Option<Vec<Speaker>> {
    use Speaker::*;
    let primary: &[Speaker] = match arrangement {
        0 => &[FrontCentre],
        1..=4 => &[FrontLeft, FrontRight],
        5 => &[FrontCentre, FrontLeft, FrontRight],
        6 => &[FrontLeft, FrontRight, BackCentre],
        7 => &[FrontCentre, FrontLeft, FrontRight, BackCentre],
        8 => &[FrontLeft, FrontRight, SideLeft, SideRight],
        9 => &[FrontCentre, FrontLeft, FrontRight, SideLeft, SideRight],
        10 => &[FrontLeftOfCentre, FrontRightOfCentre, FrontLeft, FrontRight, SideLeft, SideRight],
        11 => &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, Other],
        12 => &[FrontCentre, BackCentre, FrontLeft, FrontRight, BackLeft, BackRight],
        13 => &[FrontLeftOfCentre, FrontCentre, FrontRightOfCentre, FrontLeft, FrontRight, SideLeft, SideRight],
        14 => &[FrontLeftOfCentre, FrontRightOfCentre, FrontLeft, FrontRight, SideLeft, BackLeft, SideRight, BackRight],
        15 => &[
            FrontLeftOfCentre,
            FrontCentre,
            FrontRightOfCentre,
            FrontLeft,
            FrontRight,
            SideLeft,
            BackCentre,
            SideRight,
        ],
        _ => return None,
    };
    let mut speakers = primary.to_vec();
    if channels == speakers.len() + 1 {
        speakers.push(Lfe);
    }
    (speakers.len() == channels).then_some(speakers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_behind_a_header_does_no_harm() {
        let mut seed = 0x5eed_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 24) as u8
        };
        let (mut decoder, mut pcm, mut headers) = (DtsDecoder::default(), Pcm::default(), 0);
        for round in 0..3000 {
            // Half of them have a good header.
            let mut packet = vec![0x7f, 0xfe, 0x80, 0x01, 0xfc, 0x3c, 0x75, 0xb2, 0x76, 0xc0, 0x05, 0x38, 0, 9];
            packet.resize_with(1884, &mut random);
            if round % 2 == 0 {
                (4..14).for_each(|at| packet[at] ^= random() & random() & random());
            }
            headers += usize::from(Frame::parse(&packet).is_some());
            if decoder.decode(&packet, &mut pcm).is_ok() {
                assert!(pcm.frames() <= 128 * 32 && pcm.planes.len() <= 9);
            }
        }
        assert!(headers > 1500, "{headers}");
    }
}
