//! What the file says of its title, artist, album, date and cover (ASF specification, 3.10, 3.11 and 4.8).

use super::headers::{text, u16_at, u32_at};
use crate::tags::{Key, Tags};

/// 3.10: the sizes of five texts, and the texts.
pub(super) fn content_description(body: &[u8], tags: &mut Tags) {
    let mut at = 10;
    for (n, key) in [Key::Title, Key::Artist].into_iter().enumerate() {
        let end = at + usize::from(u16_at(body, 2 * n).unwrap_or(0));
        tags.set(key, &text(body.get(at..end).unwrap_or_default()));
        at = end;
    }
}

/// 3.11
pub(super) fn extended_content_description(body: &[u8], tags: &mut Tags) {
    let count = u16_at(body, 0).unwrap_or(0);
    let mut rest = body.get(2..).unwrap_or_default();
    for _ in 0..count {
        let attribute = || {
            let name_length = usize::from(u16_at(rest, 0)?);
            let name = rest.get(2..2 + name_length)?;
            let (kind, length) = (u16_at(rest, 2 + name_length)?, usize::from(u16_at(rest, 4 + name_length)?));
            let value = rest.get(6 + name_length..6 + name_length + length)?;
            Some((text(name), kind, value, 6 + name_length + length))
        };
        let Some((name, kind, value, length)) = attribute() else { break };
        set(&name, kind, value, tags);
        rest = &rest[length..];
    }
}

/// 4.8: the same with more fields, and for values that are larger.
pub(super) fn metadata_library(body: &[u8], tags: &mut Tags) {
    let count = u16_at(body, 0).unwrap_or(0);
    let mut rest = body.get(2..).unwrap_or_default();
    for _ in 0..count {
        let attribute = || {
            let (name_length, kind) = (usize::from(u16_at(rest, 4)?), u16_at(rest, 6)?);
            let length = usize::try_from(u32_at(rest, 8)?).ok()?;
            let value_at = 12 + name_length;
            let end = value_at.checked_add(length)?;
            Some((text(rest.get(12..value_at)?), kind, rest.get(value_at..end)?, end))
        };
        let Some((name, kind, value, end)) = attribute() else { break };
        set(&name, kind, value, tags);
        rest = &rest[end..];
    }
}

/// Kinds of values.
const TEXT: u16 = 0;
const BYTES: u16 = 1;

/// An attribute (Windows Media Format SDK, "Attribute list"; ffmpeg has a name of its own for the date).
fn set(name: &str, kind: u16, value: &[u8], tags: &mut Tags) {
    match (name, kind) {
        ("WM/Picture", BYTES) => {
            if let Some(picture) = picture(value) {
                tags.set_cover(picture);
            }
        }
        ("Title", TEXT) => tags.set(Key::Title, &text(value)),
        ("Author", TEXT) => tags.set(Key::Artist, &text(value)),
        ("WM/AlbumTitle", TEXT) => tags.set(Key::Album, &text(value)),
        ("WM/Year" | "date", TEXT) => tags.set(Key::Date, &text(value)),
        _ => {}
    }
}

/// The picture in a `WM/Picture`: its type, its size, two texts that end with zeros, and its bytes.
fn picture(value: &[u8]) -> Option<&[u8]> {
    let size = usize::try_from(u32_at(value, 1)?).ok()?;
    let mut rest = value.get(5..)?;
    for _ in 0..2 {
        let end = rest.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0])?;
        rest = &rest[2 * end + 2..];
    }
    rest.get(..size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn attributes_become_tags() {
        let attribute = |name: &str, kind: u16, value: &[u8]| {
            let name = utf16(name);
            [&(name.len() as u16).to_le_bytes()[..], &name, &kind.to_le_bytes(), &(value.len() as u16).to_le_bytes()]
                .concat()
                .into_iter()
                .chain(value.iter().copied())
                .collect::<Vec<u8>>()
        };
        let jpeg = *b"\xff\xd8\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0\xff\xda\0\x02\0\xff\xd9";
        let cover = [&[3][..], &(jpeg.len() as u32).to_le_bytes(), &utf16("image/jpeg"), &utf16(""), &jpeg].concat();
        let all = [
            &4u16.to_le_bytes()[..],
            &attribute("WM/AlbumTitle", 0, &utf16("Album")),
            &attribute("WM/Year", 0, &utf16("1999")),
            &attribute("WM/TrackNumber", 3, &[1, 0, 0, 0]),
            &attribute("WM/Picture", 1, &cover),
        ]
        .concat();
        let mut tags = Tags::default();
        extended_content_description(&all, &mut tags);
        assert_eq!((tags.album.as_deref(), tags.date.as_deref()), (Some("Album"), Some("1999")));
        assert_eq!(tags.cover.as_deref(), Some(&jpeg[..]));
        for cut in 0..all.len() {
            extended_content_description(&all[..cut], &mut Tags::default());
            metadata_library(&all[..cut], &mut Tags::default());
        }
    }
}
