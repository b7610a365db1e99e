//! CAF (Apple, "Core Audio Format Specification" 1.0).
//!
//! Compressed sound has a table with the sizes of its packets, before or behind it. It stays in the file and is read
//! along with the packets.

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_MP3};

use super::pcm::{self, Sound};
use super::{AUDIO, LARGEST_PACKET, Opened, Packet, Packets, Part, Read, Track, corrupt, mp4};
use crate::audio::layout;
use crate::codec::pcm::{Order, Sample};
use crate::codec::{Codec, OpusHead};
use crate::input::Input;
use crate::sniff::Container;
use crate::span::Span;
use crate::tags::{Key, Tags};

/// No more chunks are looked at.
const MOST_CHUNKS: usize = 10_000;
/// No chunk that describes the sound is larger.
const LARGEST_FORMAT: u64 = 64 * 1024;
/// The size of sound whose end was not known when the file was begun.
const UNKNOWN: u64 = u64::MAX;

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (mut at, mut tags) = (8, Tags::default());
    let (mut format, mut data, mut cookie, mut chan, mut table) = (None, None, Vec::new(), None, None);
    for _ in 0..MOST_CHUNKS {
        let Some([k0, k1, k2, k3, size @ ..]) = input.array_at::<12>(at)? else { break };
        let (body, size) = (at + 12, u64::from_be_bytes(size));
        let mut small = || input.vec_at(body, size.min(LARGEST_FORMAT));
        match &[k0, k1, k2, k3] {
            b"desc" => format = Format::parse(&small()?),
            b"kuki" => cookie = small()?,
            b"chan" => chan = Some(small()?),
            b"info" => info(&small()?, &mut tags),
            b"pakt" => table = Table::parse(&small()?, body, size),
            // Behind a count of edits, which nobody uses.
            b"data" => data = Some((body + 4, if size == UNKNOWN { UNKNOWN } else { size.saturating_sub(4) })),
            _ => {}
        }
        let Some(next) = body.checked_add(size).filter(|_| size != UNKNOWN) else { break };
        at = next;
    }
    let Some(format) = format else { return Err(corrupt("it does not say what its sound is, or is cut off before")) };
    let Some((data, length)) = data else {
        return Err(corrupt("it has no sound, which happens when a file is cut off"));
    };
    let speakers = chan.map(|chan| layout::apple(&chan, usize::from(format.channels)));
    let part = table.as_ref().map_or(Part::default(), |table| table.played(format.rate));
    if let Some(sound) = format.plain(speakers) {
        let mut opened = pcm::open(Container::Caf, input, sound, (data, length), None, tags)?;
        opened.tracks.iter_mut().filter(|_| part != Part::default()).for_each(|track| track.played = vec![part]);
        return Ok(opened);
    }
    if &format.kind == b"flac" && cookie.is_empty() {
        cookie = flac_info(&format, &input.vec_at(data, 4)?).unwrap_or_default();
    }
    let (codec_name, codec) = format.compressed(&cookie);
    let samples = match &table {
        Some(table) => Some(table.samples).filter(|samples| *samples > 0),
        None if format.packet_bytes > 0 => {
            let packets = length.min(input.len().saturating_sub(data)) / u64::from(format.packet_bytes);
            Some(packets.saturating_mul(format.packet_frames.into()))
        }
        None => return Err(corrupt("the table of its packets is missing, which happens when a file is cut off")),
    };
    let (rate, channels) = codec.aac_format().unwrap_or((format.rate, format.channels));
    let duration = samples.map(|samples| samples as f64 / f64::from(format.rate.max(1)));
    let info =
        TrackInfo { kind: AUDIO.into(), codec: codec_name, channels, sample_rate: rate, duration, language: None };
    let track = Track { played: vec![part], ..Track::audio(info, codec) };
    let sizes = match table {
        Some(table) if format.packet_bytes == 0 => {
            Sizes::Listed { numbers: table.numbers, each: 1 + u32::from(format.packet_frames == 0) }
        }
        _ => Sizes::Same(format.packet_bytes.into()),
    };
    let packets = Box::new(Caf { input, at: data, end: data.saturating_add(length), sizes });
    Ok(Opened { container: Container::Caf, tracks: vec![track], tags, packets })
}

/// Pairs of texts that end with a zero, behind their number.
fn info(chunk: &[u8], tags: &mut Tags) {
    let mut texts = chunk.get(4..).unwrap_or_default().split(|byte| *byte == 0).map(String::from_utf8_lossy);
    while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        match &*key {
            "title" => tags.set(Key::Title, &value),
            "artist" => tags.set(Key::Artist, &value),
            "album" => tags.set(Key::Album, &value),
            "recorded date" | "year" => tags.set(Key::Date, &value),
            _ => {}
        }
    }
}

/// What the description chunk says.
struct Format {
    rate: u32,
    kind: [u8; 4],
    flags: u32,
    /// Bytes and samples of a packet; 0: they differ.
    packet_bytes: u32,
    packet_frames: u32,
    channels: u16,
    bits: u32,
}

impl Format {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rate = f64::from_be_bytes(*bytes.first_chunk()?);
        let (fields, _) = bytes.get(8..32)?.as_chunks::<4>();
        let &[kind, flags, packet_bytes, packet_frames, channels, bits] = fields else { return None };
        let number = u32::from_be_bytes;
        Some(Self {
            rate: if (1.0..1e9).contains(&rate) { rate.round() as u32 } else { 0 },
            kind,
            flags: number(flags),
            packet_bytes: number(packet_bytes),
            packet_frames: number(packet_frames),
            channels: u16::try_from(number(channels)).unwrap_or(u16::MAX),
            bits: number(bits),
        })
    }

    /// Sound that lies there as it is.
    fn plain(&self, speakers: Option<Vec<crate::audio::Speaker>>) -> Option<Sound> {
        let sample = match &self.kind {
            b"lpcm" => {
                let bytes = self.packet_bytes.checked_div(self.channels.into()).unwrap_or(0);
                // Bits that don't fill their bytes are at the top.
                let order = Order::little_if(self.flags & 2 != 0);
                match Sample::apple(self.flags & 1 != 0, true, order, self.bits, bytes, true) {
                    Some(sample) => sample,
                    None => {
                        let name = format!("pcm of {} bits", self.bits);
                        return Some(Sound::unsupported(name, self.rate, self.channels));
                    }
                }
            }
            b"alaw" => Sample::A_LAW,
            b"ulaw" => Sample::MU_LAW,
            b"ima4" => return Some(Sound::ima4(self.rate, self.channels)),
            _ => return None,
        };
        Some(Sound::pcm(sample, self.rate, self.channels, speakers))
    }

    /// The name and the codec of anything else.
    fn compressed(&self, cookie: &[u8]) -> (String, Codec) {
        let (name, codec) = match &self.kind {
            b"aac " | b"aach" | b"aacp" => {
                let codec = mp4::by_descriptor(cookie, self.rate, self.channels);
                return codec.unwrap_or(("aac".to_owned(), Codec::Unsupported));
            }
            b"alac" => {
                // Older files have it in boxes: a format, and a version before the settings.
                let settings = cookie.strip_prefix(b"\0\0\0\x0cfrmaalac").and_then(|boxes| boxes.get(12..));
                ("alac", Codec::with_settings(CODEC_ID_ALAC, settings.unwrap_or(cookie)))
            }
            b"opus" => ("opus", self.opus(cookie)),
            // As in MP4: a box, whose version and flags come before the blocks.
            b"flac" if cookie.get(4..8) == Some(b"dfLa") => ("flac", Codec::flac(cookie.get(12..).unwrap_or_default())),
            b"flac" if !cookie.is_empty() => ("flac", Codec::flac(cookie)),
            b"flac" => ("flac without its settings", Codec::Unsupported),
            b".mp1" | b".mp2" | b".mp3" => {
                let name = String::from_utf8_lossy(&self.kind[1..]).into_owned();
                return (name, Codec::plain(CODEC_ID_MP3, self.rate, self.channels));
            }
            b"ac-3" => ("ac3", Codec::Ac3),
            b"ec-3" => ("eac3", Codec::Ac3),
            other => return (mp4::name(*other), Codec::Unsupported),
        };
        (name.to_owned(), codec)
    }

    /// Opus has no settings of its own here: what is to be skipped is in the table of packets.
    fn opus(&self, cookie: &[u8]) -> Codec {
        let head = OpusHead::parse(cookie).or_else(|| {
            let channels = u8::try_from(self.channels).ok()?;
            OpusHead::parse(&[&b"OpusHead\x01"[..], &[channels], &[0; 9]].concat())
        });
        head.map_or(Codec::Unsupported, Codec::Opus)
    }
}

/// What a file without a cookie leaves unsaid of FLAC, by the header of its first frame (RFC 9639, 9.1): metadata blocks,
/// of which STREAMINFO (8.2) is the only one.
fn flac_info(format: &Format, frame: &[u8]) -> Option<Vec<u8>> {
    let &[0xff, 0xf8 | 0xf9, _, codes] = frame else { return None };
    let bits = [0, 8, 12, 0, 16, 20, 24, 32][usize::from(codes >> 1 & 7)];
    if bits == 0 || !(1..=8).contains(&format.channels) || format.rate >= 1 << 20 {
        return None;
    }
    let fields = format.rate << 12 | u32::from(format.channels - 1) << 9 | (bits - 1) << 4;
    let mut blocks = vec![0x80, 0, 0, 34, 0, 16, 0xff, 0xff, 0, 0, 0, 0, 0, 0];
    blocks.extend(fields.to_be_bytes());
    blocks.resize(4 + 34, 0);
    Some(blocks)
}

/// What the packet table says before its numbers begin.
struct Table {
    /// Samples to be heard.
    samples: u64,
    /// Samples to be skipped before them.
    priming: u64,
    numbers: Numbers,
}

impl Table {
    fn parse(bytes: &[u8], body: u64, size: u64) -> Option<Self> {
        const HEADER: u64 = 24;
        let samples = i64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        let priming = i32::from_be_bytes(*bytes.get(16..)?.first_chunk()?);
        let numbers = Numbers::new(body + HEADER, body.saturating_add(size));
        Some(Self { samples: samples.try_into().unwrap_or(0), priming: priming.try_into().unwrap_or(0), numbers })
    }

    fn played(&self, rate: u32) -> Part {
        let length = Some(Span::new(self.samples, rate.into())).filter(|_| self.samples > 0 && rate > 0);
        Part { length, ..Part::from(Span::new(self.priming, rate.into())) }
    }
}

/// Numbers of seven bits in a byte, of which all but the last have the eighth set, read page by page.
struct Numbers {
    at: u64,
    end: u64,
    page: Vec<u8>,
    in_page: usize,
}

impl Numbers {
    /// As large as the input's own window, which is left alone that way.
    const PAGE: u64 = 32 * 1024;

    fn new(at: u64, end: u64) -> Self {
        Self { at, end, page: Vec::new(), in_page: 0 }
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<u64>, TranscodeError> {
        let mut number = 0u64;
        // No packet's size has more bits.
        for _ in 0..5 {
            let Some(byte) = self.byte(input)? else { return Ok(None) };
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn byte(&mut self, input: &mut Input<'_>) -> Result<Option<u8>, TranscodeError> {
        if self.in_page == self.page.len() {
            self.page = input.vec_at(self.at, Self::PAGE.min(self.end.saturating_sub(self.at)))?;
            (self.at, self.in_page) = (self.at + self.page.len() as u64, 0);
        }
        let byte = self.page.get(self.in_page).copied();
        self.in_page += 1;
        Ok(byte)
    }
}

/// How large packets are.
enum Sizes {
    Same(u64),
    /// There are `each` numbers for a packet, of which the first is its size.
    Listed {
        numbers: Numbers,
        each: u32,
    },
}

struct Caf<'a> {
    input: Input<'a>,
    at: u64,
    end: u64,
    sizes: Sizes,
}

impl Caf<'_> {
    fn size(&mut self) -> Result<Option<u64>, TranscodeError> {
        let (numbers, each) = match &mut self.sizes {
            Sizes::Same(size) => return Ok(Some(*size)),
            Sizes::Listed { numbers, each } => (numbers, *each),
        };
        let size = numbers.next(&mut self.input)?;
        for _ in 1..each {
            numbers.next(&mut self.input)?;
        }
        Ok(size)
    }
}

impl Packets for Caf<'_> {
    fn select(&mut self, _track: usize) {}

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(size) = self.size()? else { return Ok(Read::End) };
        if size > LARGEST_PACKET {
            return Err(corrupt("a packet is larger than any packet of audio can be"));
        }
        let next = self.at.saturating_add(size);
        if next > self.end.min(self.input.len()) || (size == 0 && matches!(self.sizes, Sizes::Same(_))) {
            return Ok(Read::End);
        }
        packet.data = self.input.vec_at(self.at, size)?;
        self.at = next;
        Ok(if size == 0 { Read::Nothing } else { Read::Packet })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{Input, Numbers};

    #[test]
    fn numbers_of_seven_bits_in_a_byte_are_read_and_endless_ones_end_the_table() {
        let mut source = Cursor::new(vec![0x05, 0x81, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        let mut input = Input::new(&mut source).unwrap();
        let mut numbers = Numbers::new(0, 100);
        let mut next = || numbers.next(&mut input).unwrap();
        assert_eq!([next(), next(), next()], [Some(5), Some(128), None]);
    }
}
