//! Title, artist, album, date, cover and chapters: what goes from the source into the MP3's ID3 tag, and nothing else.
//! Places, devices and comments stay behind.

use id3::{TagLike, Version};
use microserve_core::transcode::{Options, TranscodeError};

use crate::chapters::Chapters;

/// No text of a tag is longer than this many characters.
const LONGEST: usize = 1024;
/// No cover is bigger than this many bytes.
const BIGGEST_COVER: u64 = 4 * 1024 * 1024;

/// What is kept of a source's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    pub(crate) title: Option<String>,
    pub(crate) artist: Option<String>,
    pub(crate) album: Option<String>,
    pub(crate) date: Option<String>,
    /// JPEG or PNG.
    pub(crate) cover: Option<Vec<u8>>,
    pub(crate) chapters: Chapters,
}

/// The tags that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Title,
    Artist,
    Album,
    Date,
}

impl Tags {
    /// Sets a text, unless one is there already or this one is blank.
    pub(crate) fn set(&mut self, key: Key, text: &str) {
        let slot = match key {
            Key::Title => &mut self.title,
            Key::Artist => &mut self.artist,
            Key::Album => &mut self.album,
            Key::Date => &mut self.date,
        };
        let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        if slot.is_none() && !text.trim().is_empty() {
            *slot = Some(text.trim().to_owned());
        }
    }

    /// Sets the cover, unless one is there already or this is none.
    pub(crate) fn set_cover(&mut self, data: &[u8]) {
        if self.cover.is_none() && may_be_cover(data, data.len() as u64) && is_whole(data) {
            self.cover = Some(data.to_vec());
        }
    }

    /// With what was asked for in the place of what the source says.
    pub(crate) fn asked(&self, options: &Options) -> Self {
        let mut all = Self::default();
        for (key, text) in [
            (Key::Title, &options.title),
            (Key::Artist, &options.artist),
            (Key::Album, &options.album),
            (Key::Date, &options.date),
        ] {
            all.set(key, text.as_deref().unwrap_or_default());
        }
        all.merge(self.clone());
        all
    }

    /// Takes over what `other` has and `self` has not.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, text) in
            [(Key::Title, other.title), (Key::Artist, other.artist), (Key::Album, other.album), (Key::Date, other.date)]
        {
            self.set(key, &text.unwrap_or_default());
        }
        self.cover = self.cover.take().or(other.cover);
        if self.chapters.is_empty() {
            self.chapters = other.chapters;
        }
    }

    /// The ID3v2.4 tag. It also says what made the file, so it is never empty: an MP3 without any tag makes some programs
    /// complain. `encoder`: what made the sound, if that was done here. `part`: which part of the source's sound it is,
    /// in seconds.
    pub(crate) fn to_id3(
        &self,
        fallback_title: Option<&str>,
        encoder: Option<&str>,
        part: (f64, f64),
    ) -> Result<Vec<u8>, TranscodeError> {
        let mut all = self.clone();
        all.set(Key::Title, fallback_title.unwrap_or_default());
        let mut tag = id3::Tag::new();
        let made_by = concat!("microserve ", env!("CARGO_PKG_VERSION"));
        tag.set_text("TSSE", encoder.map_or_else(|| made_by.to_owned(), |encoder| format!("{made_by}, {encoder}")));
        if let Some(title) = all.title {
            tag.set_title(title);
        }
        if let Some(artist) = all.artist {
            tag.set_artist(artist);
        }
        if let Some(album) = all.album {
            tag.set_album(album);
        }
        if let Some(date) = all.date.and_then(|date| date.parse().ok()) {
            tag.set_date_recorded(date);
        }
        if let Some((data, mime_type)) = all.cover.and_then(|data| Some((mime(&data)?, data))).map(|(m, d)| (d, m)) {
            tag.add_frame(id3::frame::Picture {
                mime_type: mime_type.to_owned(),
                picture_type: id3::frame::PictureType::CoverFront,
                description: String::new(),
                data,
            });
        }
        for frame in all.chapters.frames(part) {
            tag.add_frame(frame);
        }
        let mut bytes = Vec::new();
        tag.write_to(&mut bytes, Version::Id3v24).map_err(|err| TranscodeError::Internal(err.into()))?;
        Ok(bytes)
    }
}

/// Whether data that begins with `head` and has `size` bytes is a picture that is kept.
pub(crate) fn may_be_cover(head: &[u8], size: u64) -> bool {
    size <= BIGGEST_COVER && mime(head).is_some()
}

/// Whether a picture has measures, and goes on to its end marker: what is none, or was cut off, would make players
/// complain of the MP3.
fn is_whole(data: &[u8]) -> bool {
    if mime(data) == Some("image/png") {
        let has_measures = data.get(8..16) == Some(b"\0\0\0\x0dIHDR") && data.get(16..24).is_some_and(are_measures);
        return has_measures && data[data.len().saturating_sub(64)..].windows(4).any(|chunk| chunk == b"IEND");
    }
    if !has_scan(data) {
        return false;
    }
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data[..end].ends_with(&[0xff, 0xd9])
}

/// Whether neither of two equally long numbers is zero.
fn are_measures(both: &[u8]) -> bool {
    let (one, other) = both.split_at(both.len() / 2);
    [one, other].iter().all(|number| number.iter().any(|byte| *byte != 0))
}

/// Whether a JPEG has a frame with measures, and a scan behind its headers (ISO/IEC 10918-1, B.1.1 and B.2).
fn has_scan(data: &[u8]) -> bool {
    let (mut rest, mut has_frame) = (data.get(2..).unwrap_or_default(), false);
    while let [0xff, marker, behind @ ..] = rest {
        match marker {
            0xff => rest = &rest[1..], // padding
            0xda => return has_frame,
            0x00..=0x01 | 0xd0..=0xd9 => return false,
            _ => {
                let Some(size) = behind.first_chunk().map(|two| usize::from(u16::from_be_bytes(*two))) else { break };
                let Some((segment, next)) = behind.split_at_checked(size).filter(|_| size >= 2) else { break };
                // The others from 0xc0 on are tables.
                let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
                has_frame |= is_frame && segment.get(3..7).is_some_and(are_measures);
                rest = next;
            }
        }
    }
    false
}

/// The type of a picture that an ID3 tag may hold, by its first bytes.
fn mime(data: &[u8]) -> Option<&'static str> {
    match data {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use id3::TagLike;

    use super::{Key, Tags};

    #[test]
    fn the_first_text_that_is_not_blank_wins() {
        let mut tags = Tags::default();
        tags.set(Key::Title, " \0");
        tags.set(Key::Title, " Song\n");
        tags.set(Key::Title, "Other");
        assert_eq!(tags.title.as_deref(), Some("Song"));
    }

    #[test]
    fn what_only_begins_like_a_picture_is_no_cover() {
        let kept = |data: &[u8]| {
            let mut tags = Tags::default();
            tags.set_cover(data);
            tags.cover.is_some()
        };
        let frame = b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0";
        let jpeg = [b"\xff\xd8", &frame[..], b"\xff\xff\xda\0\x02\0\xff\xd9"].concat();
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0CRC \0\0\0\0IEND\xae\x42\x60\x82";
        assert!(kept(&jpeg) && kept(png));
        for (at, byte) in [(3, 0xc4), (4, 0xff), (8, 0), (10, 0), (17, 0xd9)] {
            let mut broken = jpeg.clone();
            broken[at] = byte;
            assert!(!kept(&broken), "JPEG, {at}");
        }
        assert!(!kept(b"\xff\xd8\xff\xe0 This is no picture \xff\xd9"));
        for (at, byte) in [(13, b'D'), (19, 0), (23, 0)] {
            let mut broken = png.to_vec();
            broken[at] = byte;
            assert!(!kept(&broken), "PNG, {at}");
        }
    }

    #[test]
    fn the_file_name_is_only_a_fallback() {
        let mut tags = Tags::default();
        let read = |tags: &Tags| {
            id3::Tag::read_from2(std::io::Cursor::new(
                tags.to_id3(Some("file 🎬"), None, (0.0, f64::INFINITY)).unwrap(),
            ))
            .unwrap()
        };
        assert_eq!(read(&tags).title(), Some("file 🎬"));
        tags.set(Key::Title, "Song");
        tags.set(Key::Date, "2024-05-06");
        assert_eq!(read(&tags).title(), Some("Song"));
        assert_eq!(read(&tags).date_recorded().map(|d| d.year), Some(2024));
    }
}
