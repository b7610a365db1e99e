//! Title, artist, album, date and cover go along, and nothing else does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use common::{convert, finest};
use microserve_testkit::media;

#[test]
fn title_artist_album_and_date_are_kept_and_nothing_else() {
    let tags = ["title=A title", "artist=Anna", "album=All", "date=2024", "comment=secret", "location=+48.1+011.5/"];
    let tags: Vec<&str> = tags.iter().flat_map(|tag| ["-metadata", tag]).collect();
    let sound = ["-f", "lavfi", "-i", "sine=duration=1"];
    for file in ["t.m4a", "t.wma", "t.mkv", "t.ogg", "t.opus", "t.flac", "t.mp3", "t.wav"] {
        let source = media::make(file, &[&sound[..], &tags].concat());
        let mp3 = convert(&source, &finest()).unwrap();
        let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
        let texts: Vec<_> = tag.frames().filter_map(|frame| Some((frame.id(), frame.content().text()?))).collect();
        let maker = concat!("microserve ", env!("CARGO_PKG_VERSION"), ", LAME");
        let mut wanted =
            vec![("TIT2", "A title"), ("TPE1", "Anna"), ("TALB", "All"), ("TSSE", maker), ("TDRC", "2024")];
        let mut texts = texts;
        texts.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(texts, wanted, "{file}");
        assert_eq!(mp3.made.source.title.as_deref(), Some("A title"), "{file}");
        assert_eq!(tag.frames().count(), 5, "{file}: nothing private goes along");
    }
}

#[test]
fn a_cover_is_kept() {
    let picture = media::make("cover.png", &["-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1"]);
    let args = ["-f", "lavfi", "-i", "sine=duration=1", "-i", picture.to_str().unwrap(), "-map", "0", "-map", "1"];
    for (file, more) in [
        ("c.m4a", &["-c:v", "copy", "-disposition:v", "attached_pic"][..]),
        ("c.mp3", &["-c:v", "copy"]),
        ("c.flac", &["-c:v", "copy", "-disposition:v", "attached_pic"]),
    ] {
        let source = media::make(file, &[&args[..], more].concat());
        let mp3 = convert(&source, &finest()).unwrap();
        let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
        let cover = tag.pictures().next().unwrap_or_else(|| panic!("{file}: the cover is gone"));
        assert_eq!(
            (cover.data.as_slice(), cover.mime_type.as_str()),
            (&std::fs::read(&picture).unwrap()[..], "image/png")
        );
    }
}
