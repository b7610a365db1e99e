//! Channel layouts as containers write them down: masks, Apple's tags and labels, ISO's speaker positions.

use super::Speaker::{
    self, BackCentre, BackLeft, BackRight, FrontCentre, FrontLeft, FrontLeftOfCentre, FrontRight, FrontRightOfCentre,
    Lfe, Other, SideLeft, SideRight,
};
use super::wave_order;

/// Loudspeakers in the order of the bits of a mask (Microsoft, "WAVEFORMATEXTENSIBLE", dwChannelMask; Core Audio's
/// channel bitmap is the same). Those above are where they would be below.
const BITS: [Speaker; 18] = [
    FrontLeft,
    FrontRight,
    FrontCentre,
    Lfe,
    BackLeft,
    BackRight,
    FrontLeftOfCentre,
    FrontRightOfCentre,
    BackCentre,
    SideLeft,
    SideRight,
    Other, // above the listener
    FrontLeft,
    FrontCentre,
    FrontRight,
    BackLeft,
    BackCentre,
    BackRight,
];

/// The loudspeakers of so many channels by a mask of those that are there.
pub(crate) fn masked(mask: u32, channels: usize) -> Vec<Speaker> {
    // One or two channels are mono or stereo, wherever the loudspeakers stand.
    if channels <= 2 || mask == 0 {
        return wave_order(channels);
    }
    let named = BITS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, speaker)| *speaker);
    named.chain(std::iter::repeat(Other)).take(channels).collect()
}

/// What a `chan` chunk or box says (Apple, "Core Audio Format Specification", Channel Layout chunk), which is the usual
/// order if it says nothing that is understood.
pub(crate) fn apple(chan: &[u8], channels: usize) -> Vec<Speaker> {
    let (fields, _) = chan.as_chunks::<4>();
    let field = |n: usize| fields.get(n).map_or(0, |four| u32::from_be_bytes(*four));
    let usual = || wave_order(channels);
    let (tag, mask, descriptions) = (field(0), field(1), field(2) as usize);
    if channels <= 2 {
        return usual();
    }
    match tag >> 16 {
        // Each channel has a label, then flags and three coordinates.
        0 if descriptions == channels => (0..channels).map(|n| labelled(field(3 + n * 5))).collect(),
        1 => masked(mask, channels),
        kind => LAYOUTS
            .iter()
            .find(|(tag, speakers)| *tag == kind && speakers.len() == channels)
            .map_or_else(usual, |(_, speakers)| speakers.to_vec()),
    }
}

/// The loudspeaker of a channel label of Core Audio's.
fn labelled(label: u32) -> Speaker {
    match label {
        label @ 1..=18 => BITS[label as usize - 1],
        33 => BackLeft,
        34 => BackRight,
        35 => FrontLeft,
        36 => FrontRight,
        37 => Lfe,
        38 => FrontLeft,
        39 => FrontRight,
        _ => Other,
    }
}

/// Core Audio's layout tags of three to eight channels without their lower half, which is the number of channels.
const LAYOUTS: [(u32, &[Speaker]); 26] = [
    (108, &[FrontLeft, FrontRight, BackLeft, BackRight]),
    (113, &[FrontLeft, FrontRight, FrontCentre]),
    (114, &[FrontCentre, FrontLeft, FrontRight]),
    (115, &[FrontLeft, FrontRight, FrontCentre, BackCentre]),
    (116, &[FrontCentre, FrontLeft, FrontRight, BackCentre]),
    (117, &[FrontLeft, FrontRight, FrontCentre, BackLeft, BackRight]),
    (118, &[FrontLeft, FrontRight, BackLeft, BackRight, FrontCentre]),
    (119, &[FrontLeft, FrontCentre, FrontRight, BackLeft, BackRight]),
    (120, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight]),
    (121, &[FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight]),
    (122, &[FrontLeft, FrontRight, BackLeft, BackRight, FrontCentre, Lfe]),
    (123, &[FrontLeft, FrontCentre, FrontRight, BackLeft, BackRight, Lfe]),
    (124, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe]),
    (125, &[FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight, BackCentre]),
    (126, &[FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight, FrontLeftOfCentre, FrontRightOfCentre]),
    (127, &[FrontCentre, FrontLeftOfCentre, FrontRightOfCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe]),
    (128, &[FrontLeft, FrontRight, FrontCentre, Lfe, SideLeft, SideRight, BackLeft, BackRight]),
    (131, &[FrontLeft, FrontRight, BackCentre]),
    (132, &[FrontLeft, FrontRight, BackLeft, BackRight]),
    (133, &[FrontLeft, FrontRight, Lfe]),
    (134, &[FrontLeft, FrontRight, Lfe, BackCentre]),
    (135, &[FrontLeft, FrontRight, Lfe, BackLeft, BackRight]),
    (136, &[FrontLeft, FrontRight, FrontCentre, Lfe]),
    (137, &[FrontLeft, FrontRight, FrontCentre, Lfe, BackCentre]),
    (138, &[FrontLeft, FrontRight, BackLeft, BackRight, Lfe]),
    (139, &[FrontLeft, FrontRight, FrontCentre, BackLeft, BackRight, BackCentre]),
];

/// What the body of a `chnl` box says behind its version and flags (ISO/IEC 14496-12, 12.2.4), version 0; the usual
/// order for anything else.
pub(crate) fn iso(chnl: &[u8], channels: usize) -> Vec<Speaker> {
    let usual = || wave_order(channels);
    let [structure, layout, positions @ ..] = chnl else { return usual() };
    // 1: channels have places; 2: there are objects, which don't.
    if channels <= 2 || structure & 1 == 0 {
        return usual();
    }
    if *layout != 0 {
        let known = DEFINED.iter().find(|(number, speakers)| number == layout && speakers.len() == channels);
        return known.map_or_else(usual, |(_, speakers)| speakers.to_vec());
    }
    let (mut speakers, mut rest) = (Vec::new(), positions);
    while let ([position, behind @ ..], true) = (rest, speakers.len() < channels) {
        speakers.push(POSITIONS.get(usize::from(*position)).copied().unwrap_or(Other));
        // 126: an azimuth and an elevation follow.
        rest = if *position == 126 { behind.get(3..).unwrap_or_default() } else { behind };
    }
    if speakers.len() == channels { speakers } else { usual() }
}

/// Loudspeakers by their numbers (ISO/IEC 23091-3, output channel positions).
const POSITIONS: [Speaker; 32] = [
    FrontLeft,
    FrontRight,
    FrontCentre,
    Lfe,
    BackLeft,
    BackRight,
    FrontLeftOfCentre,
    FrontRightOfCentre,
    BackLeft,
    BackRight,
    BackCentre,
    BackLeft,
    BackRight,
    SideLeft,
    SideRight,
    FrontLeft,
    FrontRight,
    FrontLeft,
    FrontRight,
    FrontCentre,
    BackLeft,
    BackRight,
    BackCentre,
    SideLeft,
    SideRight,
    Other,
    Lfe,
    FrontLeft,
    FrontRight,
    FrontCentre,
    BackLeft,
    BackRight,
];

/// Layouts by their numbers (ISO/IEC 23091-3, channel configurations).
const DEFINED: [(u8, &[Speaker]); 10] = [
    (3, &[FrontCentre, FrontLeft, FrontRight]),
    (4, &[FrontCentre, FrontLeft, FrontRight, BackCentre]),
    (5, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight]),
    (6, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe]),
    (7, &[FrontCentre, FrontLeftOfCentre, FrontRightOfCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe]),
    (9, &[FrontLeft, FrontRight, BackCentre]),
    (10, &[FrontLeft, FrontRight, BackLeft, BackRight]),
    (11, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, BackCentre, Lfe]),
    (12, &[FrontCentre, FrontLeft, FrontRight, SideLeft, SideRight, BackLeft, BackRight, Lfe]),
    (14, &[FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe, FrontLeft, FrontRight]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_tags_labels_and_positions_name_the_same_loudspeakers() {
        let back = [FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight];
        assert_eq!(masked(0x3f, 6), back);
        let chan = |fields: &[u32]| -> Vec<u8> { fields.iter().flat_map(|field| field.to_be_bytes()).collect() };
        assert_eq!(apple(&chan(&[121 << 16 | 6, 0, 0]), 6), back);
        assert_eq!(apple(&chan(&[1 << 16, 0x3f, 0]), 6), back);
        let labels = [1, 2, 3, 4, 5, 6].map(|label| [label, 0, 0, 0, 0]).concat();
        assert_eq!(apple(&chan(&[&[0, 0, 6], &labels[..]].concat()), 6), back);
        assert_eq!(iso(&[1, 0, 0, 1, 2, 3, 4, 5], 6), back);
        assert_eq!(
            iso(&[1, 6, 0, 0, 0, 0, 0, 0, 0, 0], 6),
            [FrontCentre, FrontLeft, FrontRight, BackLeft, BackRight, Lfe]
        );
    }

    #[test]
    fn what_does_not_fit_is_the_usual_order() {
        assert_eq!(masked(0x3, 4), [FrontLeft, FrontRight, Other, Other]);
        assert_eq!(apple(&[], 6), wave_order(6));
        assert_eq!(apple(&(121u32 << 16 | 6).to_be_bytes(), 5), wave_order(5));
        assert_eq!(iso(&[1, 0, 0, 1], 6), wave_order(6));
        assert_eq!(iso(&[1, 0, 126, 0, 0, 0, 126], 3), wave_order(3));
    }
}
