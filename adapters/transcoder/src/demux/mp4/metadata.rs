//! The tags that iTunes and everybody after it write: `moov.udta.meta.ilst`.

use microserve_core::transcode::TranscodeError;

use super::boxes::{BoxHead, children, children_from, find, find_path, inner};
use crate::input::Input;
use crate::tags::{Key, Tags};

/// No tag is longer that is read.
const LARGEST: u64 = 5 * 1024 * 1024;

/// What iTunes says of AAC without an edit list: what is to be skipped at the start, and how much follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gapless {
    pub(super) priming: u64,
    pub(super) samples: u64,
}

pub(super) fn read(input: &mut Input<'_>, moov: &BoxHead) -> Result<(Tags, Option<Gapless>), TranscodeError> {
    let (mut tags, mut gapless) = (Tags::default(), None);
    let Some(meta) = find_path(input, moov, &[b"udta", b"meta"])? else { return Ok((tags, gapless)) };
    // ISO's `meta` begins with a version; QuickTime's begins with a box.
    let is_quicktime = input.array_at::<4>(meta.body + 4)? == Some(*b"hdlr");
    let start = meta.body + if is_quicktime { 0 } else { 4 };
    let Some(ilst) = children_from(input, start.min(meta.end), meta.end)?.into_iter().find(|b| &b.kind == b"ilst")
    else {
        return Ok((tags, gapless));
    };
    for item in children(input, &ilst)? {
        let key = match &item.kind {
            b"\xa9nam" => Some(Key::Title),
            b"\xa9ART" => Some(Key::Artist),
            b"\xa9alb" => Some(Key::Album),
            b"\xa9day" => Some(Key::Date),
            _ => None,
        };
        if let Some(key) = key {
            tags.set(key, &String::from_utf8_lossy(&value(input, &item)?));
        } else if &item.kind == b"covr" {
            tags.set_cover(&value(input, &item)?);
        } else if &item.kind == b"----" {
            let bytes = input.vec_at(item.body, item.len().min(1024))?;
            gapless = gapless.or(itunsmpb(&bytes));
        }
    }
    Ok((tags, gapless))
}

/// The value of an item, without the eight bytes of type and country before it.
fn value(input: &mut Input<'_>, item: &BoxHead) -> Result<Vec<u8>, TranscodeError> {
    match find(input, item, b"data")? {
        Some(data) if (8..=LARGEST).contains(&data.len()) => input.vec_at(data.body + 8, data.len() - 8),
        _ => Ok(Vec::new()),
    }
}

/// Reads a free-form item if it is iTunes' note on gapless playback: hexadecimal words, of which the second is the
/// priming, the third the padding and the fourth the number of samples between them.
fn itunsmpb(item: &[u8]) -> Option<Gapless> {
    if inner(item, b"name")?.get(4..)? != b"iTunSMPB" {
        return None;
    }
    let text = std::str::from_utf8(inner(item, b"data")?.get(8..)?).ok()?;
    let mut words = text.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).ok());
    let [_, priming, _padding, samples] = [words.next()??, words.next()??, words.next()??, words.next()??];
    (samples > 0).then_some(Gapless { priming, samples })
}

#[cfg(test)]
mod tests {
    use super::{Gapless, itunsmpb};

    fn item(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    #[test]
    fn itunes_note_is_read() {
        let text = b"\0\0\0\x01\0\0\0\0 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
        let note =
            [item(b"mean", b"\0\0\0\0com.apple.iTunes"), item(b"name", b"\0\0\0\0iTunSMPB"), item(b"data", text)];
        assert_eq!(itunsmpb(&note.concat()), Some(Gapless { priming: 0x840, samples: 0x3f_31f6 }));
        assert_eq!(itunsmpb(&item(b"name", b"\0\0\0\0iTunNORM")), None);
    }
}
