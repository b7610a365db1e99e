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
    // Of a tag that makes no sense from somewhere on, what comes before that is kept.
    let tag = id3::Tag::read_from2(std::io::Cursor::new(bytes)).or_else(|err| err.partial_tag.ok_or(()));
    if let Ok(tag) = tag {
        tags.set(Key::Title, tag.title().unwrap_or_default());
        tags.set(Key::Artist, tag.artist().unwrap_or_default());
        tags.set(Key::Album, tag.album().unwrap_or_default());
        let date = tag.date_recorded().map(|date| date.to_string()).or_else(|| tag.year().map(|year| year.to_string()));
        tags.set(Key::Date, &date.unwrap_or_default());
        if let Some(picture) = tag.pictures().next() {
            tags.set_cover(&picture.data);
        }
        for chapter in tag.chapters() {
            let title = chapter.frames.first().and_then(|frame| frame.content().text()).unwrap_or_default();
            tags.chapters.add(chapter.start_time.into(), Some(chapter.end_time.into()), title);
        }
    }
    Ok(tags)
}

/// The frames that are read, in a tag of their own. Others may be compressed, to many times what they take up here.
fn wanted(tag: &[u8]) -> Vec<u8> {
    const FRAMES: [[u8; 4]; 8] = [*b"TIT2", *b"TPE1", *b"TALB", *b"TDRC", *b"TYER", *b"TDAT", *b"APIC", CHAPTER];
    let &[b'I', b'D', b'3', version @ 3..=4, revision, flags, _, _, _, _, ref body @ ..] = tag else {
        return tag.to_vec(); // version 2.2 knows no compressed frames
    };
    // In 2.3 all of the tag is unsynchronised, in 2.4 each frame is for itself.
    let plain = if version == 3 && flags & 0x80 != 0 { synchronised(body) } else { body.to_vec() };
    let mut rest = &plain[..];
    if flags & 0x40 != 0 {
        let extended = rest.first_chunk().map_or(0, |four| size(version, *four) + if version == 3 { 4 } else { 0 });
        rest = rest.get(extended..).unwrap_or_default();
    }
    let compressed = if version == 3 { 0x80 } else { 0x08 };
    let kept = kept(rest, version, &FRAMES, compressed);
    [&[b'I', b'D', b'3', version, revision, 0][..], &synchsafe(kept.len()), &kept].concat()
}

const CHAPTER: [u8; 4] = *b"CHAP";

/// Those of a tag's frames that have one of these names, and none of these flags of how they are coded.
fn kept(mut frames: &[u8], version: u8, names: &[[u8; 4]], coded: u8) -> Vec<u8> {
    let mut kept = Vec::new();
    while let [a, b, c, d, s0, s1, s2, s3, _, format, behind @ ..] = frames {
        let length = size(version, [*s0, *s1, *s2, *s3]);
        let Some(next) = behind.get(length..) else { break };
        let name = [*a, *b, *c, *d];
        let is_taken = names.contains(&name) && format & coded == 0;
        if is_taken && name != CHAPTER {
            kept.extend_from_slice(&frames[..10 + length]);
        } else if is_taken
            && *format == 0
            && let Some(chapter) = chapter(&behind[..length], version)
        {
            let size = if version == 3 { (chapter.len() as u32).to_be_bytes() } else { synchsafe(chapter.len()) };
            kept.extend([&name[..], &size, &[0, 0], &chapter].concat());
        }
        frames = next;
    }
    kept
}

/// The body of a chapter with nothing but its title: a name, four numbers, and frames (ID3v2 Chapter Frame Addendum,
/// 3.1).
fn chapter(body: &[u8], version: u8) -> Option<Vec<u8>> {
    let frames = body.iter().position(|byte| *byte == 0)? + 1 + 16;
    let title = kept(body.get(frames..)?, version, &[*b"TIT2"], 0xff);
    Some([&body[..frames], &title].concat())
}

/// A frame's size, of which seven bits of each byte count from version 4 on (ID3v2.4.0 structure, 6.2).
fn size(version: u8, four: [u8; 4]) -> usize {
    let seven = four.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    if version == 3 { u32::from_be_bytes(four) as usize } else { seven }
}

fn synchsafe(n: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|bits| (n >> bits & 0x7f) as u8)
}

/// Takes the zero out of each FF 00 (ID3v2.3.0, 5).
fn synchronised(bytes: &[u8]) -> Vec<u8> {
    let mut before = 0;
    let kept = bytes.iter().filter(|byte| std::mem::replace(&mut before, **byte) != 0xff || **byte != 0);
    kept.copied().collect()
}
