//! RIFF WAVE (Multimedia Programming Interface and Data Specifications 1.0). Its chunks are read here and its sound by
//! Symphonia, which is shown those that describe the sound, with sizes that are right.

use microserve_core::transcode::TranscodeError;

use super::{LARGEST_PACKET, Opened, corrupt, symphonia_readers};
use crate::input::{Input, Spliced};
use crate::sniff::Container;
use crate::tags::{Key, Tags};

/// No more chunks come before the sound.
const MOST_CHUNKS: usize = 10_000;
/// No chunk that describes the sound is larger.
const LARGEST_FORMAT: u64 = 64 * 1024;
/// A size that was not known when the file was begun.
const UNKNOWN: u32 = u32::MAX;

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let (mut tags, mut at) = (Tags::default(), 12);
    let mut head = [&b"RIFF"[..], &UNKNOWN.to_le_bytes(), b"WAVE"].concat();
    for _ in 0..MOST_CHUNKS {
        let Some([k0, k1, k2, k3, s0, s1, s2, s3]) = input.array_at(at)? else { break };
        let stated = u32::from_le_bytes([s0, s1, s2, s3]);
        let size = u64::from(stated);
        match &[k0, k1, k2, k3] {
            b"data" => {
                head.extend(b"data");
                head.extend(length(&mut input, at + 8, stated)?.to_le_bytes());
                let mut opened = symphonia_readers::open(Container::Wav, Spliced::new(head, input, at + 8))?;
                opened.tags = tags;
                return Ok(opened);
            }
            kind @ (b"fmt " | b"fact") if size <= LARGEST_FORMAT => {
                let body = input.vec_at(at + 8, size + size % 2)?;
                let format = body.first_chunk().map_or(0, |two| u16::from_le_bytes(*two));
                if let Some(name) = unsupported(format).filter(|_| kind == b"fmt ") {
                    return Err(TranscodeError::UnsupportedCodec { name });
                }
                head.extend([&kind[..], &stated.to_le_bytes(), &body].concat());
            }
            b"LIST" if size <= LARGEST_PACKET => {
                let list = input.vec_at(at + 8, size)?;
                if let Some(items) = list.strip_prefix(b"INFO") {
                    info(items, &mut tags);
                }
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
    Err(corrupt("it has no data chunk, which happens when a file is cut off"))
}

/// How long the sound is in bytes. Programs that could not go back to write it down left zero, or more than there is.
fn length(input: &mut Input<'_>, at: u64, stated: u32) -> Result<u32, TranscodeError> {
    let rest = u32::try_from(input.len().saturating_sub(at)).unwrap_or(UNKNOWN);
    let riff = input.array_at(4)?.map_or(0, u32::from_le_bytes);
    let is_finished = u64::from(riff) + 8 == input.len();
    Ok(if stated == 0 && !is_finished { rest } else { stated.min(rest) })
}

pub(super) fn info(mut items: &[u8], tags: &mut Tags) {
    while let [k0, k1, k2, k3, s0, s1, s2, s3, rest @ ..] = items {
        let size = u32::from_le_bytes([*s0, *s1, *s2, *s3]) as usize;
        let text = String::from_utf8_lossy(&rest[..size.min(rest.len())]);
        match &[*k0, *k1, *k2, *k3] {
            b"INAM" => tags.set(Key::Title, &text),
            b"IART" => tags.set(Key::Artist, &text),
            b"IPRD" => tags.set(Key::Album, &text),
            b"ICRD" => tags.set(Key::Date, &text),
            _ => {}
        }
        items = rest.get(size + size % 2..).unwrap_or_default();
    }
}

/// The name of a codec that is not read (Microsoft's registered wave formats).
fn unsupported(format: u16) -> Option<String> {
    let name = match format {
        0x0001 | 0x0002 | 0x0003 | 0x0006 | 0x0007 | 0x0011 | 0xfffe => return None,
        0x0031 => "gsm_ms",
        0x0050 => "mp2",
        0x0055 => "mp3",
        0x0160..=0x0163 => "wma",
        0x2000 => "ac3",
        0x2001 => "dts",
        0x00ff | 0x1600 | 0x1602 => "aac",
        format => return Some(format!("wave format 0x{format:04x}")),
    };
    Some(name.to_owned())
}
