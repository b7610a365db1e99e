//! Chapters: what the source says of them becomes frames of the MP3's ID3 tag (ID3v2 Chapter Frame Addendum 1.0).

use id3::Frame;
use id3::frame::{Chapter as Chap, TableOfContents};

/// No more chapters are kept,
const MOST: usize = 1000;
/// and no more characters of a title.
const LONGEST_TITLE: usize = 255;
/// A table of contents counts its entries in a byte.
const MOST_ENTRIES: usize = 255;
/// What ID3 has for a position in the file that is not told.
const NOWHERE: u32 = u32::MAX;

/// The chapters of a source, in milliseconds from where its sound begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chapters(Vec<Chapter>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chapter {
    start: i64,
    /// `None`: where the next one begins.
    end: Option<i64>,
    title: Option<String>,
}

impl Chapters {
    /// Adds a chapter that begins after so many milliseconds.
    pub(crate) fn add(&mut self, start: u64, end: Option<u64>, title: &str) {
        let title: String = title.chars().filter(|c| !c.is_control()).take(LONGEST_TITLE).collect();
        let title = Some(title.trim().to_owned()).filter(|title| !title.is_empty());
        // Beyond what ID3 has room for, nothing is heard.
        let millis = |time: u64| i64::from(u32::try_from(time).unwrap_or(u32::MAX));
        let end = end.filter(|end| *end > start).map(millis);
        if self.0.len() < MOST {
            self.0.push(Chapter { start: millis(start), end, title });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sound begins so many milliseconds later than was thought.
    pub(crate) fn begin_later(&mut self, by: i64) {
        for chapter in &mut self.0 {
            chapter.start = chapter.start.saturating_sub(by);
            chapter.end = chapter.end.map(|end| end.saturating_sub(by));
        }
    }

    /// The frames for an MP3 of the sound between two moments, in seconds. The last one may be infinite: then nobody
    /// knows yet where the sound ends, and a chapter that goes on to there has no length.
    pub(crate) fn frames(&self, part: (f64, f64)) -> Vec<Frame> {
        // An `as` from a float saturates.
        let millis = |seconds: f64| (seconds * 1000.0).round() as i64;
        let (first, last) = (millis(part.0), millis(part.1));
        let mut chapters = self.0.clone();
        chapters.sort_by_key(|chapter| chapter.start);
        let starts: Vec<_> = chapters.iter().skip(1).map(|chapter| chapter.start).chain([last]).collect();
        let of_mp3 = chapters.into_iter().zip(starts).filter_map(|(chapter, next)| {
            let (start, end) = (chapter.start.max(first), chapter.end.unwrap_or(next).min(last));
            let time = |time: i64| u32::try_from(time.saturating_sub(first)).unwrap_or(u32::MAX);
            let told = if end == i64::MAX { start } else { end };
            (start < end).then(|| (time(start), time(told), chapter.title))
        });
        frames(of_mp3.collect())
    }
}

/// The frames of chapters with their starts and ends.
fn frames(chapters: Vec<(u32, u32, Option<String>)>) -> Vec<Frame> {
    let ids: Vec<String> = (0..chapters.len()).map(|n| format!("chp{n}")).collect();
    let tables: Vec<String> = (0..ids.len().div_ceil(MOST_ENTRIES)).map(|n| format!("toc{n}")).collect();
    let table = |id: &str, elements: &[String]| {
        let (element_id, elements) = (id.to_owned(), elements.to_vec());
        let top_level = id == TOP;
        Frame::from(TableOfContents { element_id, top_level, ordered: true, elements, frames: Vec::new() })
    };
    let mut frames = match tables.len() {
        0 => return Vec::new(),
        1 => vec![table(TOP, &ids)],
        _ => vec![table(TOP, &tables)],
    };
    if tables.len() > 1 {
        frames.extend(tables.iter().zip(ids.chunks(MOST_ENTRIES)).map(|(id, elements)| table(id, elements)));
    }
    frames.extend(ids.into_iter().zip(chapters).map(|(element_id, (start_time, end_time, title))| {
        let frames = title.map(|title| Frame::text("TIT2", title)).into_iter().collect();
        Frame::from(Chap { element_id, start_time, end_time, start_offset: NOWHERE, end_offset: NOWHERE, frames })
    }));
    frames
}

/// The table of contents that is not within another.
const TOP: &str = "toc";

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Chapters {
        let mut chapters = Chapters::default();
        chapters.add(60_000, None, "Two");
        chapters.add(0, None, "One\n");
        chapters.add(120_000, Some(150_000), "");
        chapters
    }

    /// Starts, ends and titles.
    fn said(frames: &[Frame]) -> Vec<(u32, u32, Option<String>)> {
        let chapters = frames.iter().filter_map(|frame| frame.content().chapter());
        let title = |chapter: &Chap| Some(chapter.frames.first()?.content().text()?.to_owned());
        chapters.map(|chapter| (chapter.start_time, chapter.end_time, title(chapter))).collect()
    }

    #[test]
    fn chapters_go_on_to_the_next_one_or_to_the_end() {
        let all = said(&three().frames((0.0, 180.0)));
        let (one, two) = (Some("One".to_owned()), Some("Two".to_owned()));
        assert_eq!(all, [(0, 60_000, one.clone()), (60_000, 120_000, two.clone()), (120_000, 150_000, None)]);
        let part = said(&three().frames((30.5, 100.0)));
        assert_eq!(part, [(0, 29_500, one), (29_500, 69_500, two.clone())]);
        assert_eq!(said(&three().frames((150.0, 180.0))), []);
        let mut later = three();
        later.begin_later(70_000);
        assert_eq!(said(&later.frames((0.0, 10.0))), [(0, 10_000, two)]);
        assert!(Chapters::default().frames((0.0, f64::INFINITY)).is_empty());
        let mut open = Chapters::default();
        open.add(5000, None, "");
        assert_eq!(said(&open.frames((1.0, f64::INFINITY))), [(4000, 4000, None)]);
    }

    #[test]
    fn a_thousand_chapters_are_kept_in_tables_of_a_byte() {
        let mut chapters = Chapters::default();
        (0..5000).for_each(|n| chapters.add(n * 10, None, &"x".repeat(1000)));
        let frames = chapters.frames((0.0, 1e9));
        assert_eq!(said(&frames).len(), MOST);
        let tables: Vec<_> = frames.iter().filter_map(|frame| frame.content().table_of_contents()).collect();
        let entries: Vec<_> = tables.iter().map(|table| (table.top_level, table.elements.len())).collect();
        assert_eq!(entries, [(true, 4), (false, 255), (false, 255), (false, 255), (false, 235)]);
    }

    #[test]
    fn times_at_the_edge_of_numbers_are_survived() {
        let mut chapters = Chapters::default();
        chapters.add(u64::MAX, Some(u64::MAX), "far");
        chapters.add(0, Some(u64::MAX), "long");
        chapters.begin_later(i64::MIN);
        chapters.begin_later(i64::MAX);
        for part in [(0.0, f64::INFINITY), (1e300, f64::INFINITY), (0.0, 1e300), (0.0, f64::NAN), (5.0, 0.0)] {
            chapters.frames(part);
        }
    }
}
