//! Sound whose packets are known by nothing but where they begin and end: each piece has whole ones.

use std::collections::VecDeque;

use super::{Cut, Kind, Mark, lpcm, opus};

pub(super) struct Units {
    kind: Kind,
    bytes: Vec<u8>,
    mark: Option<Mark>,
    /// A piece has begun, and nothing of it was lost.
    open: bool,
    ready: VecDeque<Cut>,
    pieces: u32,
    dvd: lpcm::Dvd,
}

/// What is no sound shows in the first pieces.
const SUSPECTED: u32 = 16;
/// No piece is larger: its length has sixteen bits.
const LARGEST: usize = 0x1_0000;

impl Units {
    pub(super) fn new(kind: Kind) -> Self {
        let (bytes, ready, dvd) = (Vec::new(), VecDeque::new(), lpcm::Dvd::default());
        Self { kind, bytes, mark: None, open: false, ready, pieces: 0, dvd }
    }

    /// A piece begins, and so the one before has ended.
    pub(super) fn begin(&mut self, mark: Option<Mark>) {
        if self.open {
            self.take();
        }
        let broken = self.mark.take().is_some_and(|mark| mark.broken);
        self.mark = mark.map(|mark| Mark { broken: mark.broken || broken, ..mark });
        self.bytes.clear();
        self.open = true;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.open && self.bytes.len() + bytes.len() <= LARGEST {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn lost(&mut self) {
        self.open = false;
        self.dvd = lpcm::Dvd::default();
    }

    pub(super) fn next(&mut self) -> Option<Cut> {
        self.ready.pop_front()
    }

    /// Takes the piece apart.
    fn take(&mut self) {
        let mark = self.mark;
        self.pieces = self.pieces.saturating_add(1);
        let before = self.ready.len();
        let cut = match self.kind {
            Kind::BlurayPcm => lpcm::bluray(&self.bytes),
            Kind::Aes3 => lpcm::aes3(&self.bytes, self.pieces <= SUSPECTED),
            Kind::DvdPcm => self.dvd.read(&self.bytes),
            Kind::Opus(code) => {
                self.ready.extend(opus::packets(&self.bytes, code).map(|(head, packet)| Cut {
                    head,
                    packet,
                    mark: None,
                }));
                None
            }
            _ => None,
        };
        self.ready.extend(cut.map(|(head, packet)| Cut { head, packet, mark: None }));
        if let Some(first) = self.ready.get_mut(before) {
            first.mark = mark;
            self.mark = None;
        }
    }
}
