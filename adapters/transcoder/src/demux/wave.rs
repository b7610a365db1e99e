//! RIFF WAVE (Multimedia Programming Interface and Data Specifications 1.0), its kinds for more than 4 GiB (RF64 and BW64:
//! EBU Tech 3306 and ITU-R BS.2088; Sony Wave64), and RIFX, which has the other byte order.

use microserve_core::transcode::TranscodeError;
use symphonia::core::codecs::audio::well_known::CODEC_ID_FLAC;

use super::pcm::{self, Sound};
use super::waveformat::{Packing, WaveFormat};
use super::{LARGEST_PACKET, Opened, Track, ac3, adts, corrupt, dts, flac, id3v2, mpeg};
use crate::codec::Codec;
use crate::codec::pcm::Order;
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::{Key, Tags};

/// No more chunks are looked at.
const MOST_CHUNKS: usize = 10_000;
/// No chunk that describes the sound is larger.
const LARGEST_FORMAT: u64 = 64 * 1024;
/// A size that was not known when the file was begun, or that does not fit in.
const UNKNOWN: u64 = u32::MAX as u64;

/// How chunks are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Riff,
    /// Big-endian.
    Rifx,
    /// With names of 16 bytes and sizes of eight, which count themselves.
    Wave64,
}

/// A chunk: its name, where its body begins, how large that is said to be, and where the next chunk begins.
struct Chunk {
    name: [u8; 4],
    body: u64,
    size: u64,
    next: u64,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (form, mut at) = match input.array_at(0)? {
        Some([b'R', b'I', b'F', b'X']) => (Form::Rifx, 12),
        Some([b'r', b'i', b'f', b'f']) => (Form::Wave64, 40),
        _ => (Form::Riff, 12),
    };
    let container = if form == Form::Wave64 { Container::W64 } else { Container::Wav };
    let (mut tags, mut wide) = (Tags::default(), None);
    let (mut format, mut samples, mut data) = (None, None, None);
    for _ in 0..MOST_CHUNKS {
        let Some(Chunk { name, body, size, mut next }) = chunk_at(&mut input, form, at)? else { break };
        match &name {
            b"ds64" => wide = Wide::parse(&input.vec_at(body, size.min(LARGEST_FORMAT))?),
            b"fmt " => format = Some(input.vec_at(body, size.min(LARGEST_FORMAT))?),
            b"fact" => samples = input.array_at(body)?.map(|four| form.number(four)),
            b"data" if data.is_none() => {
                let length = length(&mut input, form, body, size, wide.as_ref())?;
                data = Some((body, length));
                if form != Form::Wave64 {
                    next = body.saturating_add(length).saturating_add(length & 1);
                }
            }
            b"LIST" if size <= LARGEST_PACKET => {
                if let Some(items) = input.vec_at(body, size)?.strip_prefix(b"INFO") {
                    items_of(items, form, &mut tags);
                }
            }
            b"id3 " | b"ID3 " => tags.merge(id3v2::read(&mut input, body)?),
            _ => {}
        }
        at = next;
    }
    let Some(data) = data else { return Err(corrupt("it has no data chunk, which happens when a file is cut off")) };
    let Some(mut format) = format else { return Err(corrupt("it does not say what its sound is")) };
    if form == Form::Rifx {
        turn_round(&mut format);
    }
    let Some(format) = WaveFormat::parse(&format) else {
        return Err(corrupt("the format of its sound makes no sense"));
    };
    let samples = samples.map(u64::from).filter(|samples| *samples != UNKNOWN);
    let samples = samples.or(wide.map(|wide| wide.samples));
    sound(container, form, input, &format, data, samples.filter(|samples| *samples > 0), tags)
}

/// Hands the sound to the reader of its kind.
fn sound<'a>(
    container: Container,
    form: Form,
    mut input: Input<'a>,
    format: &WaveFormat<'_>,
    data: (u64, u64),
    samples: Option<u64>,
    tags: Tags,
) -> Result<Opened<'a>, TranscodeError> {
    let (Track { info, mut codec, .. }, packing) = format.track();
    let (name, rate, channels) = (info.codec, info.sample_rate, info.channels);
    if let Codec::Pcm(sample, ..) = &mut codec
        && form == Form::Rifx
    {
        sample.order = Order::Big;
    }
    let disguise = match &codec {
        Codec::Pcm(..) => disguised(&input.vec_at(data.0, data.1.min(DISGUISE))?),
        _ => None,
    };
    if let Some(frames) = Frames::of(packing, &codec, disguise) {
        input.end_at(data.0.saturating_add(data.1));
        input.begin_at(data.0);
        return Ok(Opened { container, tags, ..frames.open(input)? });
    }
    if let Some(name) = disguise {
        let sound = Sound::unsupported(name, rate, channels);
        return pcm::open(container, input, sound, data, None, tags);
    }
    let (sound, samples) = match (packing, codec) {
        (Packing::Blocks(bytes), codec) => {
            let in_block = if let Codec::Adpcm(adpcm) = &codec { adpcm.samples_per_block() as u64 } else { 1 };
            let block = (bytes as u64, in_block);
            // Only what a last block has too much is left out: programs write all kinds of numbers there.
            let whole = data.1.min(input.len().saturating_sub(data.0)) / block.0.max(1);
            let most = whole.saturating_mul(in_block);
            let samples = samples.filter(|samples| *samples < most && most - samples <= in_block && in_block > 1);
            (Sound { codec, name, rate, channels, block }, samples)
        }
        // How many samples its blocks have only its decoder knows.
        (_, codec @ Codec::Foreign(_)) => {
            let block = (u64::from(format.block_align.max(1)), 0);
            (Sound { codec, name, rate, channels, block }, None)
        }
        // Without frames that say where they end there is nothing to decode.
        _ => (Sound::unsupported(name, rate, channels), None),
    };
    pcm::open(container, input, sound, data, samples, tags)
}

/// Frames that say where they end, of which each kind has a reader.
enum Frames {
    Mpeg,
    Adts,
    Ac3,
    Dts,
    /// Behind this STREAMINFO.
    Flac(Box<[u8]>),
}

impl Frames {
    fn of(packing: Packing, codec: &Codec, disguise: Option<&str>) -> Option<Self> {
        match (packing, codec) {
            (Packing::Mpeg, _) => Some(Self::Mpeg),
            (Packing::Adts, _) => Some(Self::Adts),
            (_, Codec::Ac3) => Some(Self::Ac3),
            (_, Codec::Dts) => Some(Self::Dts),
            (_, Codec::Symphonia(params)) if params.codec == CODEC_ID_FLAC => params.extra_data.clone().map(Self::Flac),
            _ => (disguise == Some(DTS)).then_some(Self::Dts),
        }
    }

    fn open(self, input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
        match self {
            Self::Mpeg => mpeg::open(input),
            Self::Adts => adts::open(input),
            Self::Ac3 => ac3::open(input),
            Self::Dts => dts::open(input),
            Self::Flac(info) => flac::open_frames(&info, input, 0),
        }
    }
}

fn chunk_at(input: &mut Input<'_>, form: Form, at: u64) -> Result<Option<Chunk>, TranscodeError> {
    if form == Form::Wave64 {
        let Some([n0, n1, n2, n3, _, _, _, _, _, _, _, _, _, _, _, _, size @ ..]) = input.array_at::<24>(at)? else {
            return Ok(None);
        };
        let (body, size) = (at + 24, u64::from_le_bytes(size).saturating_sub(24));
        let next = body.saturating_add(size).saturating_add(7) & !7;
        return Ok(Some(Chunk { name: [n0, n1, n2, n3], body, size, next }));
    }
    let Some([n0, n1, n2, n3, size @ ..]) = input.array_at::<8>(at)? else { return Ok(None) };
    let (body, size) = (at + 8, u64::from(form.number(size)));
    Ok(Some(Chunk { name: [n0, n1, n2, n3], body, size, next: body + size + size % 2 }))
}

impl Form {
    fn number(self, four: [u8; 4]) -> u32 {
        if self == Self::Rifx { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }
}

/// What the `ds64` chunk of RF64 says: sizes that 32 bits have no room for.
struct Wide {
    data: u64,
    samples: u64,
}

impl Wide {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let &[_riff, data, samples, ..] = numbers else { return None };
        Some(Self { data: u64::from_le_bytes(data), samples: u64::from_le_bytes(samples) })
    }
}

/// How long the sound is in bytes. Programs that could not go back to write it down left zero, or more than there is.
fn length(input: &mut Input<'_>, form: Form, at: u64, stated: u64, wide: Option<&Wide>) -> Result<u64, TranscodeError> {
    let rest = input.len().saturating_sub(at);
    if form == Form::Wave64 {
        return Ok(if stated == 0 { rest } else { stated.min(rest) });
    }
    let riff = input.array_at(4)?.map_or(0, |four| form.number(four));
    let is_finished = u64::from(riff) + 8 == input.len();
    Ok(match wide {
        Some(wide) if stated == UNKNOWN && wide.data > 0 => wide.data.min(rest),
        _ if stated == 0 && !is_finished => rest,
        _ if stated == UNKNOWN => rest,
        _ => stated.min(rest),
    })
}

/// Makes the numbers of a big-endian format chunk little-endian.
fn turn_round(format: &mut [u8]) {
    let mut at = 0;
    for size in [2, 2, 4, 4, 2, 2, 2, 2, 4, 4, 2, 2] {
        if let Some(number) = format.get_mut(at..at + size) {
            number.reverse();
        }
        at += size;
    }
}

/// The items of a list of texts, as RIFF has it, also in AVI.
pub(super) fn info(items: &[u8], tags: &mut Tags) {
    items_of(items, Form::Riff, tags);
}

fn items_of(mut items: &[u8], form: Form, tags: &mut Tags) {
    while let [k0, k1, k2, k3, s0, s1, s2, s3, rest @ ..] = items {
        let size = form.number([*s0, *s1, *s2, *s3]) as usize;
        let text = String::from_utf8_lossy(&rest[..size.min(rest.len())]);
        match &[*k0, *k1, *k2, *k3] {
            b"INAM" => tags.set(Key::Title, &text),
            b"IART" => tags.set(Key::Artist, &text),
            b"IPRD" => tags.set(Key::Album, &text),
            b"ICRD" => tags.set(Key::Date, &text),
            _ => {}
        }
        items = rest.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
}

/// How much of the sound is looked at for what only pretends to be PCM.
const DISGUISE: u64 = 4096;

const DTS: &str = "dts";

/// The name of what is packed into samples for a receiver to unpack, and would be noise otherwise: DTS as on a CD (ETSI TS
/// 102 114, 5.3.1: sync words of 14 and 16 bits), and bursts (IEC 61937-1, 6.1).
fn disguised(start: &[u8]) -> Option<&'static str> {
    let first = start.iter().position(|byte| *byte != 0)?;
    match start.get(first..)? {
        [0x72, 0xf8, 0x1f, 0x4e, ..] => Some("iec61937"),
        [0xff, 0x1f, 0x00, 0xe8, ..] | [0xfe, 0x7f, 0x01, 0x80, ..] => Some(DTS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{WaveFormat, disguised, turn_round};

    #[test]
    fn a_big_endian_format_says_the_same() {
        let little = [1u16.to_le_bytes(), 2u16.to_le_bytes()].concat();
        let little = [&little[..], &44_100u32.to_le_bytes(), &176_400u32.to_le_bytes(), &[4, 0, 16, 0]].concat();
        let big = [1u16.to_be_bytes(), 2u16.to_be_bytes()].concat();
        let mut big = [&big[..], &44_100u32.to_be_bytes(), &176_400u32.to_be_bytes(), &[0, 4, 0, 16]].concat();
        turn_round(&mut big);
        assert_eq!(WaveFormat::parse(&big), WaveFormat::parse(&little));
        turn_round(&mut [1, 2, 3]);
    }

    #[test]
    fn what_is_packed_into_samples_has_a_name() {
        assert_eq!(disguised(&[0, 0, 0, 0, 0x72, 0xf8, 0x1f, 0x4e, 1]), Some("iec61937"));
        assert_eq!(disguised(&[0xfe, 0x7f, 0x01, 0x80, 1]), Some(super::DTS));
        assert_eq!(disguised(&[0; 9]), None);
        assert_eq!(disguised(&[0, 1, 2, 3]), None);
    }
}
