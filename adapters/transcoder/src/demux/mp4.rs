//! ISO base media (ISO/IEC 14496-12) and QuickTime: MP4, M4A, MOV, 3GP, fragmented or not.
//!
//! Only the chosen track's bytes are read, wherever they lie; tables are looked up in the file and not loaded, so that
//! memory does not grow with the length of the video.

use microserve_core::transcode::TranscodeError;

use super::{Opened, Packet, Packets, Read, corrupt};
use crate::input::Input;
use crate::sniff::Container;

mod boxes;
mod entry;
mod fragments;
mod metadata;
mod samples;
mod track;

use boxes::{BoxHead, box_at, children, find};
use fragments::Fragments;
use samples::Samples;
use track::TrackBox;

struct Mp4<'a> {
    input: Input<'a>,
    tracks: Vec<TrackBox>,
    samples: Samples,
    fragments: Fragments,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let moov = find_moov(&mut input)?;
    let movie_scale = match find(&mut input, &moov, b"mvhd")? {
        Some(mvhd) => track::scale_and_duration(&mut input, &mvhd)?.0,
        None => 0,
    };
    let (tags, gapless) = metadata::read(&mut input, &moov)?;
    let mut tracks = Vec::new();
    for trak in children(&mut input, &moov)?.iter().filter(|b| &b.kind == b"trak") {
        tracks.push(TrackBox::read(&mut input, trak, movie_scale, gapless)?);
    }
    let fragments = Fragments::new(&mut input, &moov)?;
    let shown = tracks.iter().map(|track| track.track.clone()).collect();
    let packets = Box::new(Mp4 { input, tracks, samples: Samples::default(), fragments });
    Ok(Opened { container: Container::Mp4, tracks: shown, tags, packets })
}

/// The box with the headers, which may come last.
fn find_moov(input: &mut Input<'_>) -> Result<BoxHead, TranscodeError> {
    let (mut at, len) = (0, input.len());
    while let Some(head) = box_at(input, at, len)? {
        if &head.kind == b"moov" {
            return Ok(head);
        }
        at = head.end;
    }
    Err(corrupt("its headers (the moov box) are missing, which happens when a file is cut off"))
}

impl Packets for Mp4<'_> {
    fn select(&mut self, track: usize) {
        if let Some(track) = self.tracks.get_mut(track) {
            self.samples = std::mem::take(&mut track.samples);
            self.fragments.select(track.id);
        }
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let found = self.samples.next(&mut self.input, packet)? || self.fragments.next(&mut self.input, packet)?;
        Ok(if found { Read::Packet } else { Read::End })
    }
}
