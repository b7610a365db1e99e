//! Decoded sound on its way to the encoder: planar `f32`, mixed to one or two channels, at a rate MP3 has.

use std::ops::Range;

pub(crate) mod layout;
pub(crate) mod loudness;
pub(crate) mod mix;
pub(crate) mod resample;

/// Where a channel's loudspeaker stands (ITU-R BS.2051, SMPTE ST 2036-2 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// In front, to the left.
    FrontLeft,
    /// In front, to the right.
    FrontRight,
    /// In front, in the middle; the only one of mono.
    FrontCentre,
    /// Low frequency effects: left out of the MP3.
    Lfe,
    /// Behind, to the left.
    BackLeft,
    /// Behind, to the right.
    BackRight,
    /// At the left.
    SideLeft,
    /// At the right.
    SideRight,
    /// Behind, in the middle.
    BackCentre,
    /// Between left and centre.
    FrontLeftOfCentre,
    /// Between right and centre.
    FrontRightOfCentre,
    /// None: a mix of the other channels that comes along with them. Left out of the MP3.
    Mixdown,
    /// Anything else: mixed into both sides.
    Other,
}

impl Speaker {
    /// The usual order of so many channels, which is that of WAVE: front left, front right, front centre, LFE, back
    /// left, back right, side left, side right.
    #[must_use]
    pub fn usual(channels: usize) -> Vec<Self> {
        wave_order(channels)
    }
}

use Speaker::{BackCentre, BackLeft, BackRight, FrontCentre, FrontLeft, FrontRight, Lfe, Other, SideLeft, SideRight};

/// A block of decoded sound: a plane of samples for each loudspeaker, all of the same length, in -1..=1.
///
/// ```
/// use microserve_transcoder::{Pcm, Speaker};
///
/// let mut pcm = Pcm::default();
/// pcm.reset(48_000, &Speaker::usual(2));
/// pcm.push_interleaved(&[0.5, -0.5, 0.25, -0.25]);
/// assert_eq!((pcm.frames(), pcm.planes_mut()[1].as_slice()), (2, &[-0.5, -0.25][..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pcm {
    pub(crate) rate: u32,
    pub(crate) speakers: Vec<Speaker>,
    pub(crate) planes: Vec<Vec<f32>>,
}

impl Pcm {
    /// Samples of each channel.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// The planes, in the order of the loudspeakers, to append samples to.
    pub fn planes_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.planes
    }

    /// Makes it an empty block of the format that it has.
    pub fn clear(&mut self) {
        for plane in &mut self.planes {
            plane.clear();
        }
    }

    /// Makes it an empty block of a format: samples per second, and a loudspeaker for each channel.
    pub fn reset(&mut self, rate: u32, speakers: &[Speaker]) {
        self.rate = rate;
        if self.speakers != speakers {
            self.speakers = speakers.to_vec();
        }
        self.planes.resize_with(speakers.len(), Vec::new);
        self.clear();
    }

    /// Appends interleaved samples; an incomplete frame at the end is left out.
    pub fn push_interleaved(&mut self, samples: &[f32]) {
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
