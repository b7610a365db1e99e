//! What a file is made of, as far as its borders and sizes tell: boxes, elements, chunks, pages, packets, frames.
//!
//! What does not add up just ends the search. Nothing here is shared with the readers
//! that are tested: both would have the same blind spots.

mod containers;
mod streams;

/// A piece of a file. Pieces may lie within others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kind of box or chunk, where there are kinds.
    pub kind: String,
    /// Its first byte,
    pub start: usize,
    /// the first behind its header,
    pub body: usize,
    /// and the first behind all of it.
    pub end: usize,
    /// Where it says how large it is.
    pub size: Option<Size>,
}

impl Part {
    /// Whether the other one lies within this one.
    pub fn holds(&self, other: &Self) -> bool {
        self.body <= other.start && other.end <= self.end && self != other
    }
}

/// A size as it is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Where.
    pub at: usize,
    /// How.
    pub form: Form,
}

/// How numbers are written, each with its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The highest byte first.
    Big(usize),
    /// The lowest byte first.
    Little(usize),
    /// As EBML does it (RFC 8794, 4): the length is in the first bits.
    Ebml(usize),
    /// Four bytes of seven bits.
    Synchsafe,
}

impl Size {
    /// The number that stands there.
    pub fn get(&self, file: &[u8]) -> u64 {
        let digits = |len: usize| &file[self.at..self.at + len];
        let number = |digits: &[u8], bits: u32| digits.iter().fold(0, |number, byte| number << bits | u64::from(*byte));
        match self.form {
            Form::Big(len) => number(digits(len), 8),
            Form::Little(len) => number(&digits(len).iter().rev().copied().collect::<Vec<_>>(), 8),
            Form::Ebml(len) => number(digits(len), 8) & ((1 << (7 * len)) - 1),
            Form::Synchsafe => number(digits(4), 7),
        }
    }

    /// Writes a number there, or what fits of it.
    pub fn set(&self, file: &mut [u8], number: u64) {
        let bytes = match self.form {
            Form::Big(len) => number.to_be_bytes()[8 - len..].to_vec(),
            Form::Little(len) => number.to_le_bytes()[..len].to_vec(),
            Form::Ebml(len) => {
                let mask = (1u64 << (7 * len)) - 1;
                (number & mask | 1 << (7 * len)).to_be_bytes()[8 - len..].to_vec()
            }
            Form::Synchsafe => [21, 14, 7, 0].map(|bits| (number >> bits & 0x7f) as u8).to_vec(),
        };
        file[self.at..self.at + bytes.len()].copy_from_slice(&bytes);
    }

    /// The largest number that can stand there.
    pub fn largest(&self) -> u64 {
        match self.form {
            Form::Big(len) | Form::Little(len) => u64::MAX >> (64 - 8 * len),
            Form::Ebml(len) => (1 << (7 * len)) - 1,
            Form::Synchsafe => (1 << 28) - 1,
        }
    }
}

/// The parts of a file, in the order of their beginnings. Nothing for what is not known.
pub fn parts(file: &[u8]) -> Vec<Part> {
    let mut parts = match file {
        [b'I', b'D', b'3', ..] => streams::behind_id3(file),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => containers::boxes(file),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => containers::elements(file),
        [b'R', b'I', b'F', b'F', ..] | [b'F', b'O', b'R', b'M', ..] => containers::chunks(file),
        [b'r', b'i', b'f', b'f', ..] => containers::chunks_of_w64(file),
        [b'c', b'a', b'f', b'f', ..] => containers::chunks_of_caf(file),
        [0x30, 0x26, 0xb2, 0x75, ..] => containers::objects(file),
        [b'F', b'L', b'V', ..] => containers::tags_of_flv(file),
        [b'f', b'L', b'a', b'C', ..] => streams::blocks(file),
        [b'O', b'g', b'g', b'S', ..] => streams::pages(file),
        [0x47, ..] => streams::packets(file, 188, 0),
        [_, _, _, _, 0x47, ..] => streams::packets(file, 192, 4),
        [0, 0, 1, 0xba, ..] => streams::packs(file),
        _ => streams::frames(file, 0),
    };
    parts.sort_by_key(|part| (part.start, std::cmp::Reverse(part.end)));
    parts
}

/// Makes checksums right again where a reader looks at them, so that what is wrong behind them is seen: pages of Ogg, and
/// tables of transport streams.
pub fn mend_checksums(file: &mut [u8]) {
    match file {
        [b'O', b'g', b'g', b'S', ..] => streams::mend_pages(file),
        [0x47, ..] => streams::mend_tables(file, 188, 0),
        [_, _, _, _, 0x47, ..] => streams::mend_tables(file, 192, 4),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_parts_whose_sizes_are_right() {
        for (name, file) in crate::hostile::samples() {
            let parts = parts(&file);
            assert!(parts.len() > 1, "{name} has {} parts", parts.len());
            for part in &parts {
                assert!(part.start <= part.body && part.body <= part.end && part.end <= file.len(), "{name}: {part:?}");
                let Some(size) = part.size else { continue };
                let (all, body) = (part.end - part.start, part.end - part.body);
                // Whatever it counts from, it is as large as one of both, but for a filling byte and what FLV and PES do.
                let stated = size.get(&file) as usize;
                assert!((body.saturating_sub(8)..=all).contains(&stated), "{name}: {part:?} says {stated}");
                let mut same = file.clone();
                size.set(&mut same, size.get(&file));
                assert_eq!(same, file, "{name}: {part:?}");
            }
        }
    }

    #[test]
    fn mended_checksums_are_those_that_were_there() {
        for (name, file) in crate::hostile::samples() {
            let mut mended = file.clone();
            mend_checksums(&mut mended);
            assert!(mended == file, "{name}");
        }
    }
}
