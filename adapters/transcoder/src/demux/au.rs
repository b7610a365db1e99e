//! AU, also called SND (Sun and NeXT, "The Audio File Format").

use microserve_core::transcode::TranscodeError;

use super::pcm::{self, Sound};
use super::{Opened, corrupt};
use crate::codec::pcm::{Order, Sample};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

/// The size of sound whose end was not known when the file was begun.
const UNKNOWN: u32 = u32::MAX;

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let Some(head) = input.array_at::<24>(0)? else { return Err(corrupt("it ends before its headers do")) };
    let (fields, _) = head.as_chunks::<4>();
    let field = |n: usize| fields.get(n).map_or(0, |four| u32::from_be_bytes(*four));
    let (at, size, encoding, rate) = (field(1), field(2), field(3), field(4));
    let channels = u16::try_from(field(5)).unwrap_or(u16::MAX);
    let sound = match sample(encoding) {
        Ok(sample) => Sound::pcm(sample, rate, channels, None),
        Err(name) => Sound::unsupported(name, rate, channels),
    };
    let length = if size == UNKNOWN { u64::MAX } else { size.into() };
    pcm::open(Container::Au, input, sound, (at.into(), length), None, Tags::default())
}

/// How samples of an encoding are written, or the name of what nobody here decodes.
fn sample(encoding: u32) -> Result<Sample, String> {
    let integer = |bits| Sample::integer(bits, true, Order::Big);
    let sample = match encoding {
        1 => Some(Sample::MU_LAW),
        2 => integer(8),
        3 => integer(16),
        4 => integer(24),
        5 => integer(32),
        6 => Sample::float(32, Order::Big),
        7 => Sample::float(64, Order::Big),
        27 => Some(Sample::A_LAW),
        _ => None,
    };
    sample.ok_or_else(|| match encoding {
        23 | 25 | 26 => "adpcm_g726".to_owned(),
        24 => "adpcm_g722".to_owned(),
        other => format!("au encoding {other}"),
    })
}
