//! Chapters: Nero's list, or a track of texts, which QuickTime has.

use microserve_core::transcode::TranscodeError;

use super::Found;
use super::boxes::{BoxHead, children, find_path, u64_at};
use super::track::TrackBox;
use crate::chapters::Chapters;
use crate::demux::Packet;
use crate::input::Input;

/// No more of a list is read, in bytes.
const LARGEST_LIST: u64 = 128 * 1024;
/// No more texts are read, nor more bytes of them all.
const MOST_TEXTS: usize = 1000;
const LARGEST_TEXTS: usize = 1024 * 1024;
/// A track refers to no more others.
const MOST_REFERENCES: u64 = 16;

pub(super) fn read(input: &mut Input<'_>, moov: &BoxHead, tracks: &[TrackBox]) -> Result<Chapters, TranscodeError> {
    let mut chapters = Chapters::default();
    if let Some(chpl) = find_path(input, moov, &[b"udta", b"chpl"])? {
        list(&input.vec_at(chpl.body, LARGEST_LIST.min(chpl.len()))?, &mut chapters);
    }
    for trak in children(input, moov)?.iter().filter(|child| &child.kind == b"trak" && chapters.is_empty()) {
        let Some(chap) = find_path(input, trak, &[b"tref", b"chap"])? else { continue };
        let ids = input.vec_at(chap.body, (4 * MOST_REFERENCES).min(chap.len()))?;
        let is_named = |id: u32| ids.as_chunks::<4>().0.contains(&id.to_be_bytes());
        if let Some(track) = tracks.iter().find(|track| is_named(track.id) && track.track.info.kind == "subtitle") {
            texts(input, track, &mut chapters)?;
        }
        break;
    }
    Ok(chapters)
}

/// Nero's list: a start in 100 ns, and a title with its length in front. Of version 0 it has a byte for the count behind
/// the version and the flags, and from version 1 on four bytes more before that.
fn list(chpl: &[u8], chapters: &mut Chapters) {
    let head = if chpl.first() == Some(&0) { 4 } else { 8 };
    let Some((count, mut rest)) = chpl.get(head..).and_then(|rest| rest.split_first()) else { return };
    for _ in 0..*count {
        let (Some(start), Some(length)) = (u64_at(rest, 0), rest.get(8)) else { break };
        let end = 9 + usize::from(*length);
        let Some(title) = rest.get(9..end) else { break };
        chapters.add(start / 10_000, None, &String::from_utf8_lossy(title));
        rest = &rest[end..];
    }
}

/// The samples of a track of texts, each of which is a title (QuickTime File Format, "Chapter lists").
fn texts(input: &mut Input<'_>, track: &TrackBox, chapters: &mut Chapters) -> Result<(), TranscodeError> {
    let (mut samples, mut packet, mut bytes) = (track.samples.clone(), Packet::default(), 0);
    for _ in 0..MOST_TEXTS {
        match samples.next(input, None, &mut packet) {
            Ok(Found::Packet) => {}
            Err(err @ TranscodeError::Source(_)) => return Err(err),
            Ok(Found::Description(_) | Found::End) | Err(_) => break,
        }
        bytes += packet.data.len();
        if bytes > LARGEST_TEXTS {
            break;
        }
        let shown = packet.time.map_or(0, |time| time.frames(1000)).max(0).unsigned_abs();
        let start = shown.saturating_sub(track.skipped.frames(1000)).saturating_add(track.pause.frames(1000));
        chapters.add(start, None, &text(&packet.data));
    }
    Ok(())
}

/// A text with its length in front, in UTF-8 or, behind a byte order mark, UTF-16.
fn text(sample: &[u8]) -> String {
    let Some((length, rest)) = sample.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length), rest))
    else {
        return String::new();
    };
    let text = &rest[..rest.len().min(length.into())];
    match text.strip_prefix(&[0xfe, 0xff]) {
        Some(wide) => {
            let units: Vec<u16> = wide.as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        }
        None => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_versions_are_read_as_far_as_they_go() {
        let entry = |seconds: u64, title: &str| {
            [&(seconds * 10_000_000).to_be_bytes()[..], &[title.len() as u8], title.as_bytes()].concat()
        };
        let entries = [entry(0, "One"), entry(60, "Zwölf")].concat();
        let mut wanted = Chapters::default();
        wanted.add(0, None, "One");
        wanted.add(60_000, None, "Zwölf");
        for head in [&[0, 0, 0, 0, 2][..], &[1, 0, 0, 0, 0, 0, 0, 0, 2]] {
            let whole = [head, &entries].concat();
            let mut chapters = Chapters::default();
            list(&whole, &mut chapters);
            assert_eq!(chapters, wanted);
            for cut in 0..whole.len() {
                let mut chapters = Chapters::default();
                list(&whole[..cut], &mut chapters);
                assert!(chapters.len() < 2);
            }
        }
    }

    #[test]
    fn texts_are_of_either_encoding() {
        assert_eq!(text(b"\0\x03One\0\0\0\x0cencd"), "One");
        assert_eq!(text(b"\0\x06\xfe\xff\0A\0B"), "AB");
        assert_eq!(text(b"\0\xffcut"), "cut");
        assert_eq!(text(b"\0"), "");
    }
}
