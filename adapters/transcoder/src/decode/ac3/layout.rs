//! Which loudspeaker each coded channel is for, and how a dependent substream's channels add to those of the program
//! (A/52:2018, table 5.8 and E.2.3.1.8, E.3.8.2).

use crate::audio::Speaker;
use crate::audio::Speaker::{
    BackCentre, BackLeft, BackRight, FrontCentre, FrontLeft, FrontLeftOfCentre, FrontRight, FrontRightOfCentre, Lfe,
    Other, SideLeft, SideRight,
};

/// The most planes that are given out: surround of 7.1.
const MOST: usize = 8;

/// The loudspeakers of `acmod` in the order in which they are coded. Two programs of one channel each are heard from
/// one side each.
pub(super) fn of_mode(mode: u8, lfe: bool) -> Vec<Speaker> {
    let full: &[Speaker] = match mode {
        1 => &[FrontCentre],
        3 => &[FrontLeft, FrontCentre, FrontRight],
        4 => &[FrontLeft, FrontRight, BackCentre],
        5 => &[FrontLeft, FrontCentre, FrontRight, BackCentre],
        6 => &[FrontLeft, FrontRight, SideLeft, SideRight],
        7 => &[FrontLeft, FrontCentre, FrontRight, SideLeft, SideRight],
        _ => &[FrontLeft, FrontRight],
    };
    full.iter().copied().chain(lfe.then_some(Lfe)).collect()
}

/// The loudspeakers of `chanmap`, whose bits are in the order in which channels are coded, the highest first (table
/// E2.3).
pub(super) fn of_map(map: u16) -> Vec<Speaker> {
    const BITS: [&[Speaker]; 16] = [
        &[FrontLeft],
        &[FrontCentre],
        &[FrontRight],
        &[SideLeft],
        &[SideRight],
        &[FrontLeftOfCentre, FrontRightOfCentre],
        &[BackLeft, BackRight],
        &[BackCentre],
        &[Other],        // above
        &[Other, Other], // Lsd, Rsd
        &[Other, Other], // Lw, Rw
        &[Other, Other], // Lvh, Rvh
        &[Other],        // Cvh
        &[Other, Other], // Lts, Rts
        &[Lfe],
        &[Lfe],
    ];
    let set = BITS.iter().enumerate().filter(|(bit, _)| map >> (15 - bit) & 1 == 1);
    set.flat_map(|(_, speakers)| speakers.iter().copied()).collect()
}

/// A stretch of sound with a plane for each loudspeaker.
#[derive(Default)]
pub(super) struct Stretch {
    pub(super) speakers: Vec<Speaker>,
    pub(super) planes: Vec<Vec<f32>>,
}

impl Stretch {
    /// Makes it an empty stretch for these loudspeakers.
    pub(super) fn reset(&mut self, speakers: Vec<Speaker>) {
        self.planes.resize_with(speakers.len(), Vec::new);
        self.planes.iter_mut().for_each(Vec::clear);
        self.speakers = speakers;
    }

    fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Takes another's channels in the place of its own, and those that it has not. What doesn't fit is left out: the
    /// program is whole without it.
    pub(super) fn extend(&mut self, other: &mut Self) {
        let place = |speaker: &Speaker| self.speakers.iter().position(|own| own == speaker && *speaker != Other);
        let places: Vec<Option<usize>> = other.speakers.iter().map(place).collect();
        let added = places.iter().filter(|place| place.is_none()).count();
        if other.frames() != self.frames() || self.planes.len() + added > MOST {
            return;
        }
        for ((place, speaker), plane) in places.into_iter().zip(&other.speakers).zip(&mut other.planes) {
            match place {
                Some(place) => std::mem::swap(&mut self.planes[place], plane),
                None => {
                    self.speakers.push(*speaker);
                    self.planes.push(std::mem::take(plane));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(speakers: Vec<Speaker>, sample: f32) -> Stretch {
        let planes = speakers.iter().enumerate().map(|(n, _)| vec![sample + n as f32]).collect();
        Stretch { speakers, planes }
    }

    #[test]
    fn a_dependent_substream_makes_seven_one_of_five_one() {
        let mut sound = stretch(of_mode(7, true), 10.0);
        // Ls, Rs and Lrs, Rrs: two of its channels are new.
        sound.extend(&mut stretch(of_map(0b0001_1010_0000_0000), 20.0));
        let wanted = [FrontLeft, FrontCentre, FrontRight, SideLeft, SideRight, Lfe, BackLeft, BackRight];
        assert_eq!(sound.speakers, wanted);
        assert_eq!(sound.planes.concat(), [10.0, 11.0, 12.0, 20.0, 21.0, 15.0, 22.0, 23.0]);
    }

    #[test]
    fn more_channels_than_anybody_plays_are_left_out() {
        let mut sound = stretch(of_mode(7, true), 10.0);
        sound.extend(&mut stretch(of_map(0b0001_1000_0110_0000), 20.0));
        assert_eq!(sound.speakers, of_mode(7, true));
        assert_eq!(sound.planes.concat(), [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]);
    }

    #[test]
    fn every_mode_has_its_channels() {
        for mode in 0..8 {
            let channels = crate::sniff::ac3::CHANNELS[usize::from(mode)];
            assert_eq!(of_mode(mode, true).len(), usize::from(channels) + 1);
        }
    }
}
