//! Opus in transport streams: each packet has a header with its size and trims (ETSI TS 103 491 draft, "Encapsulation
//! of Opus in MPEG-2 transport streams", 4).

use super::{Format, Head, Kind};
use crate::codec::OpusHead;
use crate::demux::Packet;
use crate::demux::ogg::opus_length;
use crate::span::Span;

const RATE: u32 = 48_000;

/// The packets of a piece, up to the first that makes no sense.
pub(super) fn packets(mut bytes: &[u8], code: u8) -> impl Iterator<Item = (Head, Packet)> {
    std::iter::from_fn(move || {
        let (read, rest) = packet(bytes, code)?;
        bytes = rest;
        Some(read)
    })
}

fn packet(bytes: &[u8], code: u8) -> Option<((Head, Packet), &[u8])> {
    let (&[0x7f, flags], mut rest) = bytes.split_first_chunk()? else { return None };
    if flags & 0xe0 != 0xe0 {
        return None;
    }
    let end = rest.iter().position(|byte| *byte < 255)? + 1;
    let size: usize = rest[..end].iter().map(|byte| usize::from(*byte)).sum();
    rest = &rest[end..];
    let mut trim = |flag: u8| {
        if flags & flag == 0 {
            return Some(Span::ZERO);
        }
        let (two, behind) = rest.split_first_chunk()?;
        rest = behind;
        Some(Span::new((u16::from_be_bytes(*two) & 0x1fff).into(), RATE.into()))
    };
    let (trim_start, trim_end) = (trim(0x10)?, trim(0x08)?);
    if flags & 0x04 != 0 {
        let (length, behind) = rest.split_first()?;
        rest = behind.get(usize::from(*length)..)?;
    }
    let (data, rest) = rest.split_at_checked(size)?;
    let channels = OpusHead::of_transport_stream(code).map_or(0, |head| head.channels.into());
    let format = Format { key: code.into(), ..Format::new(Kind::Opus(code), "opus", RATE, channels) };
    let head = Head { format, samples: u32::try_from(opus_length(data)).unwrap_or(0), size };
    let packet = Packet { data: data.to_vec(), trim_start, trim_end, ..Packet::default() };
    Some(((head, packet), rest))
}
