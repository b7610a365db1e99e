//! Vorbis comments (Vorbis I, 5), which Opus and FLAC have too, and pictures in them (RFC 9639, 8.8).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::tags::{Key, Tags};

/// Reads a comment header without what precedes its vendor string.
pub(super) fn read(bytes: &[u8], tags: &mut Tags) {
    let Some((_vendor, rest)) = counted(bytes) else { return };
    let Some((_count, mut rest)) = rest.split_at_checked(4) else { return };
    while let Some((comment, behind)) = counted(rest) {
        rest = behind;
        let text = String::from_utf8_lossy(comment);
        let Some((name, value)) = text.split_once('=') else { continue };
        match name.to_ascii_uppercase().as_str() {
            "TITLE" => tags.set(Key::Title, value),
            "ARTIST" => tags.set(Key::Artist, value),
            "ALBUM" => tags.set(Key::Album, value),
            "DATE" => tags.set(Key::Date, value),
            "METADATA_BLOCK_PICTURE" => {
                if let Ok(block) = STANDARD.decode(value.trim()) {
                    picture(&block, tags);
                }
            }
            _ => {}
        }
    }
}

const VORBIS_COMMENT: u8 = 4;
const PICTURE: u8 = 6;

/// Whether a metadata block of FLAC that begins with this byte has something that is kept (RFC 9639, 8.1).
pub(super) fn is_kept(kind: u8) -> bool {
    [VORBIS_COMMENT, PICTURE].contains(&(kind & 0x7f))
}

/// Reads a metadata block of FLAC, if it is one of those that are kept.
pub(super) fn flac_block(block: &[u8], tags: &mut Tags) {
    match block {
        [kind, _, _, _, body @ ..] if kind & 0x7f == VORBIS_COMMENT => read(body, tags),
        [kind, _, _, _, body @ ..] if kind & 0x7f == PICTURE => picture(body, tags),
        _ => {}
    }
}

/// The data of a picture block: behind a kind, two texts and four numbers, all big-endian.
fn picture(block: &[u8], tags: &mut Tags) {
    let data = || {
        let text = |bytes: &[u8]| -> Option<usize> {
            usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).ok()
        };
        let rest = block.get(4..)?;
        let rest = rest.get(text(rest)?.checked_add(4)?..)?;
        let rest = rest.get(text(rest)?.checked_add(4)?..)?;
        rest.get(20..)
    };
    tags.set_cover(data().unwrap_or_default());
}

/// Bytes with their number in front, little-endian, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::tags::Tags;

    #[test]
    fn comments_are_read_and_cut_off_ones_do_no_harm() {
        let counted = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        let whole = [counted("vendor"), vec![2, 0, 0, 0], counted("title=Song"), counted("ARTIST=Anna")].concat();
        let mut tags = Tags::default();
        read(&whole, &mut tags);
        assert_eq!((tags.title.as_deref(), tags.artist.as_deref()), (Some("Song"), Some("Anna")));
        for cut in 0..whole.len() {
            read(&whole[..cut], &mut Tags::default());
        }
    }
}
