//! Ogg (RFC 3533): Vorbis, Opus and FLAC, alone or beside a video, also several streams one after the other.
//!
//! A page's granule position says how much sound there is when the page is done. From it follow where the first page's
//! sound begins and where the last page's ends (Vorbis I, A.2; RFC 7845, 4), and when it is due beside a picture.

use std::collections::VecDeque;

use microserve_core::transcode::TranscodeError;

use super::{LARGEST_PACKET, Opened, Packet, Packets, Read, Track, corrupt};
use crate::input::Input;
use crate::sniff::Container;
use crate::span::{Moment, Span};
use crate::tags::Tags;

mod page;
mod stream;

use page::{Page, Pages, page_at};
pub(super) use stream::opus_length;
use stream::{Clock, Headers, picture_begins};

/// Pages at the start in which every stream must have begun.
const FIRST_PAGES: usize = 16;
/// Pages within which all headers must have been seen.
const HEADER_PAGES: usize = 1024;

/// Samples that no page has more of: 255 packets of as many samples as FLAC may have in one.
const FULLEST: u64 = 255 * 65_536;

struct Ogg<'a> {
    input: Input<'a>,
    /// The serial number of each track's stream.
    serials: Vec<u32>,
    pages: Pages,
    serial: u32,
    headers: Option<Headers>,
    clock: Clock,
    rate: u32,
    /// A packet that goes on in the next page.
    unfinished: Vec<u8>,
    ready: VecDeque<Packet>,
    /// Samples at the end of the last page; `None` before the first.
    position: Option<i64>,
    /// Links of the chain so far.
    links: u32,
    /// The last page was the first of a stream.
    beginning: bool,
    /// The link's stream of sound has begun.
    found: bool,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let serials = beginnings(&mut input)?;
    if serials.is_empty() {
        return Err(corrupt("it has no whole page at its start"));
    }
    let (mut tracks, mut tags) = (Vec::new(), Tags::default());
    let picture = picture(&mut input, &serials)?;
    for (serial, first) in &serials {
        let mut headers = Headers::new(first);
        let mut pages = Pages::default();
        if headers.is_audio() {
            complete(&mut input, &mut pages, *serial, &mut headers)?;
        }
        let mut clock = headers.clock();
        let (mut track, comments) = headers.finish();
        if track.is_audio()
            && let Some(end) = last_granule(&mut input, *serial)?
        {
            // Recordings of a broadcast begin somewhere in the middle of it.
            let start = first_granule(&mut input, &mut pages, *serial, &mut clock)?;
            let rate = track.info.sample_rate.into();
            let skipped: f64 = track.played.iter().map(|part| part.start.seconds()).sum();
            let played = Span::new(end.saturating_sub(start), rate).seconds() - skipped;
            track.info.duration = Some(played).filter(|seconds| *seconds > 0.0);
            // A picture begins at zero where Opus begins with what it skips.
            track.begins = picture.map(|seconds| {
                let samples = |seconds: f64| (seconds * f64::from(track.info.sample_rate)).round() as i64;
                let heard = i64::try_from(start).unwrap_or(i64::MAX).saturating_add(samples(skipped));
                Moment::new(samples(seconds + skipped).min(heard), rate)
            });
        }
        tags.merge(comments);
        tracks.push(track);
    }
    let serials = serials.into_iter().map(|(serial, _)| serial).collect();
    let ogg = Ogg {
        input,
        serials,
        pages: Pages::default(),
        serial: 0,
        headers: None,
        clock: Clock::None,
        rate: 0,
        unfinished: Vec::new(),
        ready: VecDeque::new(),
        position: None,
        links: 0,
        beginning: false,
        found: false,
    };
    Ok(Opened { container: Container::Ogg, tracks, tags, packets: Box::new(ogg) })
}

/// The streams that begin at the start of the file, each with its first packet.
fn beginnings(input: &mut Input<'_>) -> Result<Vec<(u32, Vec<u8>)>, TranscodeError> {
    let (mut found, mut at) = (Vec::new(), 0);
    while found.len() < FIRST_PAGES
        && let Some(page) = page_at(input, at)?.filter(|page| page.begins())
    {
        at = page.end;
        let first = page.packets().next().map(|(packet, _)| packet.to_vec());
        found.push((page.serial, first.unwrap_or_default()));
    }
    Ok(found)
}

/// When the picture begins, in seconds, if there is one that tells.
fn picture(input: &mut Input<'_>, streams: &[(u32, Vec<u8>)]) -> Result<Option<f64>, TranscodeError> {
    let Some((serial, first)) = streams.iter().find(|(_, first)| first.starts_with(b"\x80theora")) else {
        return Ok(None);
    };
    let (mut pages, mut packets) = (Pages::default(), 0);
    for _ in 0..HEADER_PAGES {
        let Some(page) = pages.next(input)? else { break };
        if page.serial != *serial || page.begins() {
            continue;
        }
        // Headers have the highest bit of their first byte set, pictures have not.
        packets += page.packets().filter(|(packet, whole)| *whole && packet.first() < Some(&0x80)).count() as u64;
        if let Some(granule) = u64::try_from(page.granule).ok().filter(|_| packets > 0) {
            return Ok(picture_begins(first, granule, packets));
        }
    }
    Ok(None)
}

/// Reads the rest of a stream's headers.
fn complete(
    input: &mut Input<'_>,
    pages: &mut Pages,
    serial: u32,
    headers: &mut Headers,
) -> Result<(), TranscodeError> {
    let mut unfinished = Vec::new();
    for _ in 0..HEADER_PAGES {
        let Some(page) = pages.next(input)? else { break };
        if page.serial != serial || page.begins() {
            continue;
        }
        for (part, whole) in page.packets() {
            unfinished.extend_from_slice(part);
            if unfinished.len() as u64 > LARGEST_PACKET {
                return Ok(());
            }
            if whole {
                headers.take(&unfinished);
                unfinished.clear();
            }
            if headers.are_complete() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The granule position at which a stream's sound begins: that of its first page with sound, less what is in it.
fn first_granule(
    input: &mut Input<'_>,
    pages: &mut Pages,
    serial: u32,
    clock: &mut Clock,
) -> Result<u64, TranscodeError> {
    let mut length = 0;
    for _ in 0..HEADER_PAGES {
        let Some(page) = pages.next(input)? else { break };
        if page.serial != serial {
            continue;
        }
        let whole = page.packets().filter(|(_, whole)| *whole);
        length += whole.map(|(packet, _)| clock.length(packet)).sum::<i64>();
        if page.granule >= 0 {
            return Ok(u64::try_from(page.granule.saturating_sub(length)).unwrap_or(0));
        }
    }
    Ok(0)
}

/// The granule position of a stream's last page, if it is near the end of the file.
fn last_granule(input: &mut Input<'_>, serial: u32) -> Result<Option<u64>, TranscodeError> {
    const NEAR: u64 = 128 * 1024;
    let start = input.len().saturating_sub(NEAR);
    let bytes = input.vec_at(start, NEAR)?;
    let pages = bytes.windows(4).enumerate().filter(|(_, four)| four == b"OggS").map(|(at, _)| &bytes[at..]);
    let mut granules = pages.filter_map(|page| {
        let own = u32::from_le_bytes(page.get(14..18)?.try_into().ok()?) == serial;
        let granule = i64::from_le_bytes(page.get(6..14)?.try_into().ok()?);
        u64::try_from(granule).ok().filter(|_| own)
    });
    let last = granules.next_back();
    // One that says more than a page holds is wrong, or behind a gap: the one before it is nearer to the truth.
    let before = granules.next_back().filter(|before| last.is_some_and(|last| last.saturating_sub(*before) > FULLEST));
    Ok(before.or(last))
}

impl Packets for Ogg<'_> {
    fn select(&mut self, track: usize) {
        self.serial = self.serials.get(track).copied().unwrap_or(0);
        self.pages = Pages::default();
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                *packet = ready;
                return Ok(Read::Packet);
            }
            let Some(page) = self.pages.next(&mut self.input)? else { return Ok(Read::End) };
            if page.begins() {
                self.begin(&page);
                continue;
            }
            self.beginning = false;
            if page.serial != self.serial {
                continue;
            }
            if let Some(track) = self.read_page(&page)? {
                return Ok(Read::Changed(Box::new(track)));
            }
        }
    }
}

impl Ogg<'_> {
    /// Takes the first page of a stream. Streams that are played together all begin before anything else of them comes;
    /// one that begins later starts the next link of a chain (RFC 3533, 4), whether or not the last one says its end.
    fn begin(&mut self, page: &Page) {
        if !std::mem::replace(&mut self.beginning, true) {
            self.links = self.links.saturating_add(1);
            self.found = false;
        }
        let first = page.packets().next().map_or(&[][..], |(packet, _)| packet);
        let is_wanted = if self.links == 1 { page.serial == self.serial } else { Headers::new(first).is_audio() };
        if is_wanted && !self.found {
            self.found = true;
            self.serial = page.serial;
            self.headers = Some(Headers::new(first));
            self.unfinished.clear();
        }
    }

    /// Takes the packets of a page of the stream. Gives the track when the headers of a further stream are complete.
    fn read_page(&mut self, page: &Page) -> Result<Option<Track>, TranscodeError> {
        if !page.continues() {
            self.unfinished.clear();
        }
        let (mut lengths, mut changed) = (Vec::new(), None);
        for (part, whole) in page.packets() {
            self.unfinished.extend_from_slice(part);
            if self.unfinished.len() as u64 > LARGEST_PACKET {
                return Err(corrupt("a packet is larger than any packet of audio can be"));
            }
            if !whole {
                break;
            }
            let data = std::mem::take(&mut self.unfinished);
            if let Some(headers) = &mut self.headers {
                if !headers.are_complete() {
                    headers.take(&data);
                }
                if headers.are_complete() {
                    changed = self.end_headers();
                }
                continue;
            }
            // Some writers end a stream with an empty packet, which is none.
            if data.is_empty() {
                continue;
            }
            lengths.push(self.clock.length(&data));
            self.ready.push_back(Packet { data, ..Packet::default() });
        }
        if self.headers.is_none() && !lengths.is_empty() {
            self.place(page, &lengths);
        }
        Ok(changed)
    }

    /// All headers are there; gives the track unless it is the one that was opened.
    fn end_headers(&mut self) -> Option<Track> {
        let headers = self.headers.take()?;
        self.clock = headers.clock();
        let (track, _) = headers.finish();
        self.rate = track.info.sample_rate;
        self.position = None;
        (self.links > 1).then_some(track)
    }

    /// Works out what of the page's sound is not to be heard. `lengths` are samples, one for each packet.
    fn place(&mut self, page: &Page, lengths: &[i64]) {
        let total: i64 = lengths.iter().sum();
        let granule = page.granule;
        let start = match self.position {
            Some(position) => position,
            // The first page tells where the sound begins, unless it is also the last, which tells where it ends.
            None if granule >= 0 && !page.ends() => granule.saturating_sub(total),
            None => 0,
        };
        let end = start.saturating_add(total);
        self.position = Some(end);
        if matches!(self.clock, Clock::None) || granule < 0 {
            return;
        }
        // Pages that were lost before this one leave a gap; what the last one has too little is trimmed.
        // The first packet of Vorbis has no sound, so that the second one begins where the page does.
        let silent = lengths.iter().take_while(|length| **length == 0).count();
        let first = self.ready.len().saturating_sub(lengths.len()).saturating_add(silent);
        if let Some(packet) = self.ready.get_mut(first).filter(|_| !page.ends()) {
            packet.time = Some(Moment::new(granule.saturating_sub(total), self.rate.into()));
        }
        if start < 0 {
            self.trim_start(start.saturating_neg(), lengths);
        }
        if page.ends() {
            self.trim_end(end.saturating_sub(granule), lengths);
        }
    }

    fn trim_start(&mut self, mut excess: i64, lengths: &[i64]) {
        let first = self.ready.len().saturating_sub(lengths.len());
        for (packet, length) in self.ready.iter_mut().skip(first).zip(lengths) {
            let cut = excess.min(*length).max(0);
            packet.trim_start = Span::new(cut.unsigned_abs(), self.rate.into());
            excess -= cut;
        }
    }

    fn trim_end(&mut self, mut excess: i64, lengths: &[i64]) {
        for (packet, length) in self.ready.iter_mut().rev().zip(lengths.iter().rev()) {
            let cut = excess.min(*length).max(0);
            packet.trim_end = Span::new(cut.unsigned_abs(), self.rate.into());
            excess -= cut;
        }
    }
}
