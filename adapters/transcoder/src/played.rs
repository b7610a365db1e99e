//! Which parts of a track's sound are played.

use crate::audio::Pcm;
use crate::demux::{Part, Track};
use crate::span::Span;

/// Where in a track its sound has got to, and what of it is played.
pub(crate) struct Played {
    parts: Vec<Part>,
    /// The part that is being played, or comes next.
    current: usize,
    /// Samples of the track so far, played or not, at this rate.
    position: u64,
    rate: u32,
}

impl Played {
    pub(crate) fn new(track: &Track) -> Self {
        Self { parts: track.played.clone(), current: 0, position: 0, rate: 0 }
    }

    /// Cuts a block to what is played of it. `trims` are samples at its start and end that are none of the track's.
    pub(crate) fn cut(&mut self, pcm: &mut Pcm, trims: (u64, u64)) {
        let frames = pcm.frames() as u64;
        let first = trims.0.min(frames);
        let own = frames.saturating_sub(trims.1).saturating_sub(first);
        if self.rate != pcm.rate {
            self.position = Span::new(self.position, self.rate.into()).frames(pcm.rate);
            self.rate = pcm.rate;
        }
        let (from, to) = (self.position, self.position + own);
        let mut kept = Vec::with_capacity(1);
        while let Some(part) = self.parts.get(self.current) {
            let start = part.start.frames(pcm.rate);
            let end = part.length.map_or(u64::MAX, |length| start.saturating_add(length.frames(pcm.rate)));
            let in_block = |at: u64| (first + at.clamp(from, to) - from) as usize;
            kept.push(in_block(start)..in_block(end));
            if end > to {
                break;
            }
            self.current += 1;
        }
        self.position = to;
        pcm.retain(&kept);
    }

    /// Nothing that is still to come is played.
    pub(crate) fn is_over(&self) -> bool {
        self.current >= self.parts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Pcm, Played, Span};
    use crate::audio::Speaker;

    #[test]
    fn parts_are_cut_out_across_blocks() {
        let part = |start, length| Part { start: Span::new(start, 8000), length: Some(Span::new(length, 8000)) };
        let mut played = Played { parts: vec![part(2, 3), part(9, 4)], current: 0, position: 0, rate: 0 };
        let mut heard = Vec::new();
        for block in 0..4 {
            assert!(!played.is_over());
            let plane = (0..4).map(|n| (block * 4 + n) as f32).collect();
            let mut pcm = Pcm { rate: 8000, speakers: vec![Speaker::FrontCentre], planes: vec![plane] };
            played.cut(&mut pcm, (0, 0));
            heard.extend(pcm.planes.remove(0));
        }
        assert!(played.is_over());
        assert_eq!(heard, [2.0, 3.0, 4.0, 9.0, 10.0, 11.0, 12.0]);
    }
}
