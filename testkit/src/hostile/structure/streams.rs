//! Streams of pages, packets and frames, which can be joined anywhere.

use super::{Form, Part, Size};
use crate::bytes::crc32;

/// An ID3v2 tag with its frames, and what follows it.
pub(super) fn behind_id3(file: &[u8]) -> Vec<Part> {
    let size = Size { at: 6, form: Form::Synchsafe };
    if file.len() < 10 {
        return Vec::new();
    }
    let end = (10 + size.get(file) as usize).min(file.len());
    let mut parts = vec![Part { kind: "ID3".to_owned(), start: 0, body: 10, end, size: Some(size) }];
    let mut at = 10;
    while at + 10 <= end && file[at].is_ascii_uppercase() {
        let size = Size { at: at + 4, form: Form::Synchsafe };
        let stop = at + 10 + size.get(file) as usize;
        if stop > end {
            break;
        }
        let kind = file[at..at + 4].escape_ascii().to_string();
        parts.push(Part { kind, start: at, body: at + 10, end: stop, size: Some(size) });
        at = stop;
    }
    parts.extend(frames(file, end));
    parts
}

/// Frames that begin as the first one does: with the same eleven bits.
pub(super) fn frames(file: &[u8], from: usize) -> Vec<Part> {
    let Some([first, second, ..]) = file.get(from..) else { return Vec::new() };
    let (first, second) = (*first, *second & 0xe0);
    // AMR's frames have no such word, but all of a size.
    if file.starts_with(b"#!AMR\n") {
        let frame = |n: usize| plain("frame", 6 + n * 32, 1, (38 + n * 32).min(file.len()));
        return std::iter::once(plain("AMR", 0, 6, 6)).chain((0..(file.len() - 6) / 32).map(frame)).collect();
    }
    // Sun's header says how long it is.
    if file.starts_with(b".snd") && file.len() >= 8 {
        let body = Size { at: 4, form: Form::Big(4) }.get(file) as usize;
        return vec![plain("header", 0, 4, body.min(file.len())), plain("sound", body.min(file.len()), 0, file.len())];
    }
    let begins = |at: &usize| file[*at] == first && file.get(at + 1).is_some_and(|byte| byte & 0xe0 == second);
    let mut starts: Vec<usize> = (from..file.len()).filter(begins).collect();
    starts.dedup_by(|later, earlier| *later - *earlier < 24);
    let ends = starts.iter().skip(1).copied().chain([file.len()]);
    starts.iter().zip(ends).map(|(start, end)| plain("frame", *start, (start + 4).min(end), end)).collect()
}

fn plain(kind: &str, start: usize, header: usize, end: usize) -> Part {
    Part { kind: kind.to_owned(), start, body: (start + header).min(end), end, size: None }
}

/// Metadata blocks of FLAC and its frames (RFC 9639, 8 and 9).
pub(super) fn blocks(file: &[u8]) -> Vec<Part> {
    let mut parts = vec![plain("fLaC", 0, 4, 4)];
    let mut at = 4;
    while at + 4 <= file.len() {
        let size = Size { at: at + 1, form: Form::Big(3) };
        let end = (at + 4 + size.get(file) as usize).min(file.len());
        let kind = (file[at] & 0x7f).to_string();
        parts.push(Part { kind, start: at, body: at + 4, end, size: Some(size) });
        let is_last = file[at] & 0x80 != 0;
        at = end;
        if is_last {
            break;
        }
    }
    parts.extend(frames(file, at));
    parts
}

/// Where the pages of an Ogg file begin, and where their bodies do, and end.
fn page_borders(file: &[u8]) -> Vec<(usize, usize, usize)> {
    let (mut at, mut borders) = (0, Vec::new());
    while file.get(at..at + 4) == Some(b"OggS") && at + 27 <= file.len() {
        let body = at + 27 + usize::from(file[at + 26]);
        let Some(lacings) = file.get(at + 27..body) else { break };
        let end = body + lacings.iter().map(|n| usize::from(*n)).sum::<usize>();
        if end > file.len() {
            break;
        }
        borders.push((at, body, end));
        at = end;
        // Behind damage, from the next page on.
        if file.get(at..at + 4).is_some_and(|four| four != b"OggS") {
            at = file[at..].windows(4).position(|four| four == b"OggS").map_or(file.len(), |found| at + found);
        }
    }
    borders
}

/// Pages of Ogg.
pub(super) fn pages(file: &[u8]) -> Vec<Part> {
    page_borders(file).iter().map(|(start, body, end)| plain("page", *start, body - start, *end)).collect()
}

pub(super) fn mend_pages(file: &mut [u8]) {
    for (start, _, end) in page_borders(file) {
        file[start + 22..start + 26].fill(0);
        let crc = crc32(0, &file[start..end]);
        file[start + 22..start + 26].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Packets of a transport stream, with so many bytes in front of each.
pub(super) fn packets(file: &[u8], step: usize, front: usize) -> Vec<Part> {
    let packet = |n: usize| plain("packet", n * step, front + 4, (n + 1) * step);
    (0..file.len() / step).map(packet).collect()
}

/// Tables that lie in one packet: `table_id` 0 and 2 behind a pointer of 0.
pub(super) fn mend_tables(file: &mut [u8], step: usize, front: usize) {
    for packet in file.chunks_exact_mut(step) {
        let packet = &mut packet[front..];
        let [0x47, flags, _, control, 0, 0 | 2, high, low, ..] = *packet else { continue };
        let length = usize::from(u16::from_be_bytes([high & 0xf, low]));
        if flags & 0x40 == 0 || control & 0x30 != 0x10 || !(9..=180).contains(&length) {
            continue;
        }
        let end = 8 + length - 4;
        let crc = crc32(u32::MAX, &packet[5..end]);
        packet[end..end + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Packs and packets of a program stream (ISO/IEC 13818-1, 2.5.3).
pub(super) fn packs(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some([0, 0, 1, id, high, low, ..]) = file.get(at..) {
        let (end, size) = match id {
            0xba if high >> 6 == 1 => {
                let stuffing = file.get(at + 13).map_or(0, |byte| byte & 7);
                (at + 14 + usize::from(stuffing), None)
            }
            0xba => (at + 12, None),
            0xbb.. => {
                let size = Size { at: at + 4, form: Form::Big(2) };
                (at + 6 + usize::from(u16::from_be_bytes([*high, *low])), Some(size))
            }
            _ => break,
        };
        if end > file.len() {
            break;
        }
        parts.push(Part { kind: format!("{id:02x}"), start: at, body: (at + 6).min(end), end, size });
        at = end;
        // Sectors of a Video CD are filled up.
        at += file[at..].iter().take_while(|byte| **byte == 0).count().saturating_sub(2);
    }
    parts
}
