//! Chapters (RFC 9559, 5.1.7): those of the first level, in the edition that is played unless somebody chooses another.

use super::ebml::{elements, id, text, unsigned};
use crate::chapters::Chapters;

/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

pub(super) fn read(all: &[u8], chapters: &mut Chapters) {
    let editions = || elements(all).filter(|(kind, _)| *kind == id::EDITION_ENTRY).map(|(_, body)| body);
    let is = |body, flag| field(body, flag).is_some_and(|flag| unsigned(flag) != 0);
    let by_default = editions().find(|edition| is(edition, id::EDITION_FLAG_DEFAULT));
    let Some(edition) = by_default.or_else(|| editions().find(|edition| !is(edition, id::EDITION_FLAG_HIDDEN))) else {
        return;
    };
    for (_, atom) in elements(edition).filter(|(kind, _)| *kind == id::CHAPTER_ATOM) {
        let time = |kind| field(atom, kind).map(|time| unsigned(time) / MILLISECOND);
        let is_enabled = field(atom, id::CHAPTER_FLAG_ENABLED).is_none_or(|flag| unsigned(flag) != 0);
        if !is_enabled || is(atom, id::CHAPTER_FLAG_HIDDEN) {
            continue;
        }
        let title = field(atom, id::CHAPTER_DISPLAY).and_then(|display| field(display, id::CHAP_STRING)).map(text);
        let start = time(id::CHAPTER_TIME_START).unwrap_or(0);
        chapters.add(start, time(id::CHAPTER_TIME_END), &title.unwrap_or_default());
    }
}

/// The body of the first element of a kind.
fn field(body: &[u8], wanted: u32) -> Option<&[u8]> {
    elements(body).find(|(kind, _)| *kind == wanted).map(|(_, body)| body)
}
