//! Decoded sound on its way to the encoder: planar `f32`, mixed to one or two channels, at a rate MP3 has.

use std::ops::Range;

pub(crate) mod layout;
pub(crate) mod loudness;
pub(crate) mod mix;
pub(crate) mod resample;

/// Where a channel's loudspeaker stands (ITU-R BS.2051, SMPTE ST 2036-2 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    FrontLeft,
    FrontRight,
    FrontCentre,
    Lfe,
    BackLeft,
    BackRight,
    SideLeft,
    SideRight,
    BackCentre,
    FrontLeftOfCentre,
    FrontRightOfCentre,
    /// Anything else: mixed into both sides.
    Other,
}

use Speaker::{BackCentre, BackLeft, BackRight, FrontCentre, FrontLeft, FrontRight, Lfe, Other, SideLeft, SideRight};

/// A block of decoded sound. All planes have the same length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pcm {
    pub(crate) rate: u32,
    pub(crate) speakers: Vec<Speaker>,
    pub(crate) planes: Vec<Vec<f32>>,
}

impl Pcm {
    pub(crate) fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    pub(crate) fn clear(&mut self) {
        for plane in &mut self.planes {
            plane.clear();
        }
    }

    /// Makes it an empty block of a format.
    pub(crate) fn reset(&mut self, rate: u32, speakers: &[Speaker]) {
        self.rate = rate;
        if self.speakers != speakers {
            self.speakers = speakers.to_vec();
        }
        self.planes.resize_with(speakers.len(), Vec::new);
        self.clear();
    }

    /// Appends interleaved samples; an incomplete frame at the end is left out.
    pub(crate) fn push_interleaved(&mut self, samples: &[f32]) {
        let channels = self.planes.len();
        for (n, plane) in self.planes.iter_mut().enumerate() {
            plane.extend(samples.chunks_exact(channels).map(|frame| frame[n]));
        }
    }

    /// Keeps only these samples of each channel: ranges in their order that don't overlap.
    pub(crate) fn retain(&mut self, ranges: &[Range<usize>]) {
        for plane in &mut self.planes {
            let mut kept = 0;
            for range in ranges {
                let end = range.end.min(plane.len());
                let start = range.start.min(end);
                plane.copy_within(start..end, kept);
                kept += end - start;
            }
            plane.truncate(kept);
        }
    }

    /// Makes it silence of the same format.
    pub(crate) fn silence(&mut self, frames: usize) {
        for plane in &mut self.planes {
            plane.clear();
            plane.resize(frames, 0.0);
        }
    }
}

/// The usual order of a number of channels in WAVE files, AAC and almost everything else.
pub(crate) fn wave_order(channels: usize) -> Vec<Speaker> {
    match channels {
        1 => vec![FrontCentre],
        2 => vec![FrontLeft, FrontRight],
        3 => vec![FrontLeft, FrontRight, FrontCentre],
        4 => vec![FrontLeft, FrontRight, BackLeft, BackRight],
        5 => vec![FrontLeft, FrontRight, FrontCentre, BackLeft, BackRight],
        6 => vec![FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight],
        7 => vec![FrontLeft, FrontRight, FrontCentre, Lfe, BackCentre, SideLeft, SideRight],
        8 => vec![FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight, SideLeft, SideRight],
        n => vec![Other; n],
    }
}

/// The order of Vorbis (Vorbis I specification, 4.3.9), which Opus uses too (RFC 7845, 5.1.1.2).
pub(crate) fn vorbis_order(channels: usize) -> Vec<Speaker> {
    match channels {
        3 => vec![FrontLeft, FrontCentre, FrontRight],
        5 => vec![FrontLeft, FrontCentre, FrontRight, BackLeft, BackRight],
        6 => vec![FrontLeft, FrontCentre, FrontRight, BackLeft, BackRight, Lfe],
        7 => vec![FrontLeft, FrontCentre, FrontRight, SideLeft, SideRight, BackCentre, Lfe],
        8 => vec![FrontLeft, FrontCentre, FrontRight, SideLeft, SideRight, BackLeft, BackRight, Lfe],
        n => wave_order(n),
    }
}
