//! The ID3v2 tag in front of MPEG audio, ADTS and, against the rules, anything else.

use id3::TagLike;
use microserve_core::transcode::TranscodeError;

use crate::input::Input;
use crate::tags::{Key, Tags};

/// Larger tags are not read: what is wanted of them is short, and a cover that large is left out anyway.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads what is kept of the tag that begins at a position. A tag that makes no sense is as good as none.
pub(super) fn read(input: &mut Input<'_>, at: u64) -> Result<Tags, TranscodeError> {
    let mut tags = Tags::default();
    let head = input.vec_at(at, 10)?;
    let Some(size) = crate::sniff::id3v2_size(&head).filter(|size| *size <= LARGEST) else { return Ok(tags) };
    let bytes = wanted(&input.vec_at(at, size)?);
    if let Ok(tag) = id3::Tag::read_from2(std::io::Cursor::new(bytes)) {
        tags.set(Key::Title, tag.title().unwrap_or_default());
        tags.set(Key::Artist, tag.artist().unwrap_or_default());
        tags.set(Key::Album, tag.album().unwrap_or_default());
        let date = tag.date_recorded().map(|date| date.to_string()).or_else(|| tag.year().map(|year| year.to_string()));
        tags.set(Key::Date, &date.unwrap_or_default());
        if let Some(picture) = tag.pictures().next() {
            tags.set_cover(&picture.data);
        }
    }
    Ok(tags)
}

/// The frames that are read, in a tag of their own. Others may be compressed, to many times what they take up here.
fn wanted(tag: &[u8]) -> Vec<u8> {
    const FRAMES: [&[u8]; 7] = [b"TIT2", b"TPE1", b"TALB", b"TDRC", b"TYER", b"TDAT", b"APIC"];
    let &[b'I', b'D', b'3', version @ 3..=4, revision, flags, _, _, _, _, ref body @ ..] = tag else {
        return tag.to_vec(); // version 2.2 knows no compressed frames
    };
    // In 2.3 all of the tag is unsynchronised, in 2.4 each frame is for itself.
    let plain = if version == 3 && flags & 0x80 != 0 { synchronised(body) } else { body.to_vec() };
    let size = |four: [u8; 4]| {
        let size = u32::from_be_bytes(four) as usize;
        // Seven bits of each byte count (ID3v2.4.0 structure, 6.2).
        let seven = four.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        if version == 3 { size } else { seven }
    };
    let mut rest = &plain[..];
    if flags & 0x40 != 0 {
        let extended = rest.first_chunk().map_or(0, |four| size(*four) + if version == 3 { 4 } else { 0 });
        rest = rest.get(extended..).unwrap_or_default();
    }
    let mut kept = Vec::new();
    while let [a, b, c, d, s0, s1, s2, s3, _, format, behind @ ..] = rest {
        let length = size([*s0, *s1, *s2, *s3]);
        let Some(next) = behind.get(length..) else { break };
        let is_compressed = format & if version == 3 { 0x80 } else { 0x08 } != 0;
        if FRAMES.contains(&&[*a, *b, *c, *d][..]) && !is_compressed {
            kept.extend_from_slice(&rest[..10 + length]);
        }
        rest = next;
    }
    let n = kept.len() as u32;
    let length = [21, 14, 7, 0].map(|bits| (n >> bits & 0x7f) as u8);
    [&[b'I', b'D', b'3', version, revision, 0][..], &length, &kept].concat()
}

/// Takes the zero out of each FF 00 (ID3v2.3.0, 5).
fn synchronised(bytes: &[u8]) -> Vec<u8> {
    let mut before = 0;
    let kept = bytes.iter().filter(|byte| std::mem::replace(&mut before, **byte) != 0xff || **byte != 0);
    kept.copied().collect()
}
