//! Tables that say which programs there are and which streams are theirs (ISO/IEC 13818-1, 2.4.4).

/// No section is longer.
const LONGEST: usize = 1024;

/// Puts the sections of a table together.
#[derive(Debug, Default)]
pub(super) struct Sections {
    bytes: Vec<u8>,
    /// The counter of the packet before, while a section goes on.
    counter: Option<u8>,
}

impl Sections {
    /// Takes a packet's payload; gives the sections that are whole with it, checked and without their checksums.
    pub(super) fn push(&mut self, payload: &[u8], starts: bool, counter: u8) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let is_next = self.counter.is_some_and(|before| (before + 1) & 0xf == counter);
        let mut rest = payload;
        if starts {
            let Some((pointer, behind)) = payload.split_first() else { return whole };
            let Some((tail, new)) = behind.split_at_checked((*pointer).into()) else { return whole };
            if is_next {
                self.bytes.extend_from_slice(tail);
                whole.extend(self.take());
            }
            self.bytes.clear();
            rest = new;
        } else if !is_next {
            if self.counter != Some(counter) {
                *self = Self::default();
            }
            return whole;
        }
        self.bytes.extend_from_slice(rest);
        while let Some(section) = self.take() {
            whole.push(section);
        }
        // Bytes of 0xff fill the rest of a packet.
        let goes_on = self.bytes.first().is_some_and(|id| *id != 0xff) && self.bytes.len() < 2 * LONGEST;
        self.counter = goes_on.then_some(counter);
        if !goes_on {
            self.bytes.clear();
        }
        whole
    }

    /// Takes the section that the bytes begin with, if it is whole and right.
    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let [id, b1, b2, ..] = self.bytes[..] else { return None };
            if id == 0xff {
                return None;
            }
            let length = 3 + usize::from(u16::from_be_bytes([b1 & 0x0f, b2]));
            if length > LONGEST {
                self.bytes.clear();
                return None;
            }
            if self.bytes.len() < length {
                return None;
            }
            let mut section: Vec<u8> = self.bytes.drain(..length).collect();
            if crc(&section) == 0 {
                section.truncate(length - 4);
                return Some(section);
            }
        }
    }
}

/// The checksum of annex A: zero over a section that has its own at the end.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 })
    })
}

/// The part of a section that says the same of all tables.
struct Section<'s> {
    /// Which program, or which stream of transport.
    number: u16,
    body: &'s [u8],
}

fn section(bytes: &[u8], table: u8) -> Option<Section<'_>> {
    let ([id, flags, _, n0, n1, version, _, _], body) = bytes.split_first_chunk()?;
    // Tables announced for later don't count yet.
    let counts = *id == table && flags & 0x80 != 0 && version & 1 == 1;
    counts.then_some(Section { number: u16::from_be_bytes([*n0, *n1]), body })
}

/// Programs and where their maps are.
pub(super) fn programs(bytes: &[u8]) -> Vec<(u16, u16)> {
    let body = section(bytes, 0x00).map_or(&[][..], |section| section.body);
    let pairs = body
        .chunks_exact(4)
        .map(|four| (u16::from_be_bytes([four[0], four[1]]), u16::from_be_bytes([four[2], four[3]]) & 0x1fff));
    pairs.filter(|(number, _)| *number != 0).collect()
}

/// What a program is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) program: u16,
    /// Where the clock is.
    pub(super) clock: u16,
    pub(super) descriptors: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

/// A stream of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: u16,
    /// `stream_type`.
    pub(super) sort: u8,
    pub(super) descriptors: Vec<u8>,
}

pub(super) fn map(bytes: &[u8]) -> Option<Map> {
    let section = section(bytes, 0x02)?;
    let (&[c0, c1, l0, l1], rest) = section.body.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
    let (descriptors, mut rest) = rest.split_at_checked(length)?;
    let mut entries = Vec::new();
    while let Some((&[sort, p0, p1, l0, l1], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
        let Some((descriptors, behind)) = behind.split_at_checked(length) else { break };
        let pid = u16::from_be_bytes([p0 & 0x1f, p1]);
        entries.push(Entry { pid, sort, descriptors: descriptors.to_vec() });
        rest = behind;
    }
    let clock = u16::from_be_bytes([c0 & 0x1f, c1]);
    Some(Map { program: section.number, clock, descriptors: descriptors.to_vec(), entries })
}

/// Descriptors: a tag and what is behind it.
pub(super) fn descriptors(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[tag, length], rest) = bytes.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(length.into())?;
        bytes = rest;
        Some((tag, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section_of(body: &[u8]) -> Vec<u8> {
        let length = (body.len() + 9) as u16 | 0xb000;
        let mut bytes = [&[0][..], &length.to_be_bytes(), &[0, 1, 0xc1, 0, 0], body].concat();
        let crc = crc(&bytes);
        bytes.extend(crc.to_be_bytes());
        bytes
    }

    #[test]
    fn sections_are_put_together_over_packets() {
        let body: Vec<u8> = (0..100u16).flat_map(|n| [0, 1 + n as u8, 0xe1, n as u8]).collect();
        let section = section_of(&body);
        let mut payload = [&[0][..], &section, &section].concat();
        payload.resize(184 * 5, 0xff);
        let mut sections = Sections::default();
        let mut whole = Vec::new();
        for (n, bytes) in payload.chunks(184).enumerate() {
            whole.extend(sections.push(bytes, n == 0, n as u8));
        }
        assert_eq!(whole.len(), 2);
        assert_eq!(programs(&whole[1]).len(), 100);
        assert_eq!(programs(&whole[1])[7], (8, 0x107));
        // With a packet missing, neither is whole; with a bit flipped, it isn't right.
        let mut sections = Sections::default();
        let lost = payload.chunks(184).enumerate().filter(|(n, _)| *n != 1);
        assert!(lost.flat_map(|(n, bytes)| sections.push(bytes, n == 0, n as u8)).next().is_none());
        payload[50] ^= 1;
        let mut sections = Sections::default();
        let flipped = payload.chunks(184).enumerate();
        assert_eq!(flipped.flat_map(|(n, bytes)| sections.push(bytes, n == 0, n as u8)).count(), 1);
    }
}
