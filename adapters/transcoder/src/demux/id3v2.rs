//! The ID3v2 tag in front of MPEG audio, ADTS and, against the rules, FLAC.

use std::io::{Seek, SeekFrom};

use id3::TagLike;
use microserve_core::transcode::TranscodeError;

use crate::input::Input;
use crate::tags::{Key, Tags};

/// Larger tags are not read: what is wanted of them is short, and a cover that large is left out anyway.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads what is kept of the tag that the input begins with. A tag that makes no sense is as good as none.
pub(super) fn read(input: &mut Input<'_>) -> Result<Tags, TranscodeError> {
    let mut tags = Tags::default();
    let head = input.vec_at(0, 10)?;
    let Some(size) = crate::sniff::id3v2_size(&head).filter(|size| *size <= LARGEST) else { return Ok(tags) };
    let bytes = input.vec_at(0, size)?;
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
    input.seek(SeekFrom::Start(0)).map_err(TranscodeError::Source)?;
    Ok(tags)
}
