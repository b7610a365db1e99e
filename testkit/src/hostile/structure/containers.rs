//! Containers whose pieces say how large they are.

use super::{Form, Part, Size};

/// A kind as text.
fn kind(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Boxes of MP4 (ISO/IEC 14496-12, 4.2).
pub(super) fn boxes(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    boxes_in(file, 0, file.len(), &mut parts);
    parts
}

fn boxes_in(file: &[u8], mut at: usize, end: usize, parts: &mut Vec<Part>) {
    while at + 8 <= end {
        let size = Size { at, form: Form::Big(4) };
        let stop = at + size.get(file) as usize;
        if stop < at + 8 || stop > end {
            return;
        }
        let name = &file[at + 4..at + 8];
        parts.push(Part { kind: kind(name), start: at, body: at + 8, end: stop, size: Some(size) });
        let inner = match name {
            b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"edts" | b"udta" | b"moof" | b"traf" | b"mvex"
            | b"dinf" | b"wave" | b"ilst" => Some(0),
            b"meta" => Some(4),
            b"stsd" | b"dref" => Some(8),
            // Sound in its first version, and in QuickTime's second.
            b"mp4a" | b"alac" | b"ec-3" | b"ac-3" | b"Opus" | b"fLaC" => Some(28),
            _ => None,
        };
        if let Some(skip) = inner {
            boxes_in(file, (at + 8 + skip).min(stop), stop, parts);
        }
        at = stop;
    }
}

/// Elements of EBML (RFC 8794).
pub(super) fn elements(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    elements_in(file, 0, file.len(), &mut parts);
    parts
}

fn elements_in(file: &[u8], mut at: usize, end: usize, parts: &mut Vec<Part>) {
    const MASTERS: &[&[u8]] = &[
        b"\x1a\x45\xdf\xa3",
        b"\x18\x53\x80\x67",
        b"\x11\x4d\x9b\x74",
        b"\x4d\xbb",
        b"\x15\x49\xa9\x66",
        b"\x16\x54\xae\x6b",
        b"\xae",
        b"\xe1",
        b"\x1f\x43\xb6\x75",
        b"\xa0",
        b"\x12\x54\xc3\x67",
        b"\x73\x73",
        b"\x63\xc0",
        b"\x67\xc8",
        b"\x1c\x53\xbb\x6b",
        b"\xbb",
        b"\xb7",
    ];
    while at < end {
        let id_len = file[at].leading_zeros() as usize + 1;
        let Some(first) = file.get(at + id_len) else { return };
        let size_len = first.leading_zeros() as usize + 1;
        let body = at + id_len + size_len;
        if id_len > 4 || size_len > 8 || body > end {
            return;
        }
        let size = Size { at: at + id_len, form: Form::Ebml(size_len) };
        let stated = size.get(file);
        let stop = if stated == size.largest() { end } else { body + stated as usize };
        if stop > end {
            return;
        }
        let id = &file[at..at + id_len];
        let size = (stated != size.largest()).then_some(size);
        let name = id.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(Part { kind: name, start: at, body, end: stop, size });
        if MASTERS.contains(&id) {
            elements_in(file, body, stop, parts);
        }
        at = stop;
    }
}

/// Chunks of RIFF and AIFF.
pub(super) fn chunks(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    chunks_in(file, 0, file.len(), file.starts_with(b"FORM"), &mut parts);
    parts
}

fn chunks_in(file: &[u8], mut at: usize, end: usize, big: bool, parts: &mut Vec<Part>) {
    while at + 8 <= end {
        let size = Size { at: at + 4, form: if big { Form::Big(4) } else { Form::Little(4) } };
        let stop = at + 8 + size.get(file) as usize;
        if stop > end {
            return;
        }
        let name = &file[at..at + 4];
        parts.push(Part { kind: kind(name), start: at, body: at + 8, end: stop, size: Some(size) });
        if matches!(name, b"RIFF" | b"LIST" | b"FORM") {
            chunks_in(file, (at + 12).min(stop), stop, big, parts);
        }
        at = stop + stop % 2;
    }
}

/// Chunks of Sony's Wave64: names of sixteen bytes, sizes with their headers, in steps of eight bytes.
pub(super) fn chunks_of_w64(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at + 24 <= file.len() {
        let size = Size { at: at + 16, form: Form::Little(8) };
        let stop = at.saturating_add(size.get(file) as usize);
        if stop < at + 24 || stop > file.len() {
            break;
        }
        parts.push(Part { kind: kind(&file[at..at + 4]), start: at, body: at + 24, end: stop, size: Some(size) });
        at = if at == 0 { 40 } else { stop.next_multiple_of(8) };
    }
    parts
}

/// Chunks of CAF.
pub(super) fn chunks_of_caf(file: &[u8]) -> Vec<Part> {
    let head = file.len().min(8);
    let mut parts = vec![Part { kind: "caff".to_owned(), start: 0, body: head, end: head, size: None }];
    let mut at = 8;
    while at + 12 <= file.len() {
        let size = Size { at: at + 4, form: Form::Big(8) };
        let stop = (at + 12).saturating_add(size.get(file) as usize);
        if stop > file.len() {
            break;
        }
        parts.push(Part { kind: kind(&file[at..at + 4]), start: at, body: at + 12, end: stop, size: Some(size) });
        at = stop;
    }
    parts
}

/// Objects of ASF, and the packets of its data.
pub(super) fn objects(file: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    objects_in(file, 0, file.len(), &mut parts);
    parts
}

fn objects_in(file: &[u8], mut at: usize, end: usize, parts: &mut Vec<Part>) {
    while at + 24 <= end {
        let size = Size { at: at + 16, form: Form::Little(8) };
        let stop = at.saturating_add(size.get(file) as usize);
        if stop < at + 24 || stop > end {
            return;
        }
        let name: String = file[at..at + 4].iter().rev().map(|byte| format!("{byte:02x}")).collect();
        parts.push(Part { kind: name.clone(), start: at, body: at + 24, end: stop, size: Some(size) });
        match name.as_str() {
            "75b22630" => objects_in(file, at + 30, stop, parts),
            "5fbf03b5" => objects_in(file, (at + 46).min(stop), stop, parts),
            "75b22636" if stop >= at + 50 => {
                let count = Size { at: at + 40, form: Form::Little(8) }.get(file) as usize;
                let length = (stop - at - 50) / count.max(1);
                let count = count.min(stop - at);
                let packet = |n: usize| {
                    let start = at + 50 + n * length;
                    Part { kind: "packet".to_owned(), start, body: start + 3, end: start + length, size: None }
                };
                parts.extend((0..count).map(packet).filter(|_| length > 3));
            }
            _ => {}
        }
        at = stop;
    }
}

/// Tags of FLV, each with its size behind it.
pub(super) fn tags_of_flv(file: &[u8]) -> Vec<Part> {
    let (body, end) = (file.len().min(9), file.len().min(13));
    let mut parts = vec![Part { kind: "FLV".to_owned(), start: 0, body, end, size: None }];
    let mut at = 13;
    while at + 15 <= file.len() {
        let size = Size { at: at + 1, form: Form::Big(3) };
        let stop = at + 15 + size.get(file) as usize;
        if stop > file.len() {
            break;
        }
        parts.push(Part { kind: file[at].to_string(), start: at, body: at + 11, end: stop, size: Some(size) });
        at = stop;
    }
    parts
}
