//! Vorbis comments (Vorbis I, 5), which Opus and FLAC have too, and pictures in them (RFC 9639, 8.8).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::tags::{Key, Tags};

/// Reads a comment header without what precedes its vendor string.
pub(super) fn read(bytes: &[u8], tags: &mut Tags) {
    let Some((_vendor, rest)) = counted(bytes) else { return };
    let Some((_count, mut rest)) = rest.split_at_checked(4) else { return };
    let mut chapters = BTreeMap::new();
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
            name => chapter(name, value, &mut chapters),
        }
    }
    let before = tags.chapters.len();
    for (start, title) in chapters.into_values().filter(|_| before == 0) {
        if let Some(start) = start {
            tags.chapters.add(start, None, &title);
        }
    }
}

/// No more chapters are looked at.
const MOST_CHAPTERS: usize = 1000;

/// Takes note of a chapter: `CHAPTER001` has its start, `CHAPTER001NAME` its title (the chapter extension to Vorbis
/// comments).
fn chapter(name: &str, value: &str, chapters: &mut BTreeMap<u32, (Option<u64>, String)>) {
    let Some((number, what)) = name.strip_prefix("CHAPTER").and_then(|rest| rest.split_at_checked(3)) else { return };
    let Some(number) = number.parse().ok().filter(|_| chapters.len() < MOST_CHAPTERS) else { return };
    match what {
        "" => chapters.entry(number).or_default().0 = millis(value),
        "NAME" => value.clone_into(&mut chapters.entry(number).or_default().1),
        _ => {}
    }
}

/// A time of hours, minutes and seconds in milliseconds.
fn millis(time: &str) -> Option<u64> {
    let mut parts = time.trim().splitn(3, ':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let hours_and_minutes = u64::from(hours.parse::<u32>().ok()?) * 60 + u64::from(minutes.parse::<u8>().ok()?);
    let seconds = seconds.parse::<f64>().ok().filter(|seconds| (0.0..60.0).contains(seconds))?;
    Some(hours_and_minutes * 60_000 + (seconds * 1000.0).round() as u64)
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
    use std::collections::BTreeMap;

    use super::{chapter, millis, read};
    use crate::tags::Tags;

    #[test]
    fn chapters_have_times_and_may_have_names() {
        for (time, wanted) in [
            ("00:00:00.000", Some(0)),
            ("01:02:03.5", Some(3_723_500)),
            ("4294967295:0:0", Some(4_294_967_295 * 3_600_000)),
            ("1:2", None),
            ("0:0:-1", None),
            ("0:0:NaN", None),
            ("", None),
        ] {
            assert_eq!(millis(time), wanted, "{time}");
        }
        let mut chapters = BTreeMap::new();
        for (name, value) in [
            ("CHAPTER002NAME", "Two"),
            ("CHAPTER001", "0:00:00"),
            ("CHAPTER002", "0:01:00"),
            ("CHAPTERS", "3"),
            ("CHAPTER00é", "0:00:00"),
            ("CHAPTER003URL", "x"),
        ] {
            chapter(name, value, &mut chapters);
        }
        let wanted = [(1, (Some(0), String::new())), (2, (Some(60_000), "Two".to_owned()))];
        assert!(chapters.into_iter().eq(wanted));
    }

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
