//! Good files, damaged by their own structure: boxes, chunks, pages and frames that are missing, doubled, out of order,
//! of wrong sizes or with wrong numbers in them.
//!
//! Sizes around a change and checksums are mostly made right again: a reader that stops at the first contradiction never
//! shows what it does with the ones behind it.

use super::structure::{Part, mend_checksums, parts};
use crate::bytes::Random;

/// A damaged file.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Which sample it was, and the seed that makes it again.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// No mutant is larger, in bytes.
const LARGEST: usize = 1 << 20;
/// No part of a file that is doubled, and doubled again, comes more often.
const MOST_COPIES: usize = 60;

/// The mutant with this seed of good files.
pub fn mutant(samples: &[(&str, Vec<u8>)], seed: u64) -> Mutant {
    let mut random = Random::new(seed);
    let (name, good) = &samples[random.below(samples.len())];
    let mut file = good.clone();
    for _ in 0..=random.below(4) {
        let (_, other) = &samples[random.below(samples.len())];
        damage(&mut file, other, &mut random);
        file.truncate(LARGEST);
    }
    if random.below(8) > 0 {
        mend_checksums(&mut file);
    }
    Mutant { name: format!("mutant {seed} of {name}"), bytes: file }
}

/// Does one thing to a file.
fn damage(file: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let parts = parts(file);
    let (Some(part), false) = (pick(&parts, random), file.is_empty()) else { return };
    match random.below(13) {
        0 => replace(file, &parts, (part.start, part.end), &[], random),
        1 => {
            let copies = if random.below(4) == 0 { MOST_COPIES } else { 1 + random.below(3) };
            let more = file[part.start..part.end].repeat(copies);
            replace(file, &parts, (part.end, part.end), &more, random);
        }
        2 => swap(file, part, pick(&parts, random).unwrap_or(part)),
        3 => shuffle(file, &parts, random),
        4 | 5 => resize(file, &parts, random),
        6..=8 => number(file, part, random),
        9 => {
            for _ in 0..=random.below(16) {
                let at = part.body + random.below((part.end - part.body).max(1));
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        10 => file.truncate([part.start, part.body, usize::midpoint(part.body, part.end)][random.below(3)]),
        11 => splice(file, part, other, random),
        _ => {
            let len = [0, 1, part.end - part.body, 4096][random.below(4)];
            let filling = random.of(&[0, 0xff, 0x80, b'A']);
            replace(file, &parts, (part.body, part.end), &vec![filling; len], random);
        }
    }
}

/// One of the parts: the first ones as often as all the others together, since headers are few and packets many.
fn pick<'p>(parts: &'p [Part], random: &mut Random) -> Option<&'p Part> {
    let among = if random.below(2) == 0 { parts.len().min(40) } else { parts.len() };
    if among == 0 { None } else { Some(&parts[random.below(among)]) }
}

/// Replaces what lies between two places. Mostly, whatever lies around it says its new size afterwards.
fn replace(file: &mut Vec<u8>, parts: &[Part], (start, end): (usize, usize), with: &[u8], random: &mut Random) {
    if random.below(4) > 0 {
        for around in parts.iter().filter(|part| part.body <= start && end <= part.end && part.start < start) {
            if let Some(size) = around.size {
                let number = size.get(file).wrapping_add(with.len() as u64).wrapping_sub((end - start) as u64);
                size.set(file, number.min(size.largest()));
            }
        }
    }
    file.splice(start..end, with.iter().copied());
}

/// Has two parts change places, unless one lies in the other.
fn swap(file: &mut Vec<u8>, one: &Part, other: &Part) {
    let (first, second) = if one.start <= other.start { (one, other) } else { (other, one) };
    if first.end > second.start {
        return;
    }
    let middle = &file[first.end..second.start];
    let swapped = [&file[second.start..second.end], middle, &file[first.start..first.end]].concat();
    file.splice(first.start..second.end, swapped);
}

/// Brings parts that follow each other into another order.
fn shuffle(file: &mut [u8], parts: &[Part], random: &mut Random) {
    let Some(first) = pick(parts, random) else { return };
    let mut run = vec![first];
    while let Some(next) = parts.iter().find(|part| part.start == run[run.len() - 1].end && part.end > part.start) {
        run.push(next);
        if run.len() == 20 {
            break;
        }
    }
    let (start, end) = (first.start, run[run.len() - 1].end);
    for n in (1..run.len()).rev() {
        run.swap(n, random.below(n + 1));
    }
    let shuffled: Vec<u8> = run.iter().flat_map(|part| &file[part.start..part.end]).copied().collect();
    file[start..end].copy_from_slice(&shuffled);
}

/// Has a part say another size than it has.
fn resize(file: &mut [u8], parts: &[Part], random: &mut Random) {
    let sized: Vec<Part> = parts.iter().filter(|part| part.size.is_some()).cloned().collect();
    let Some(size) = pick(&sized, random).and_then(|part| part.size) else { return };
    let (now, largest) = (size.get(file), size.largest());
    let wanted = [
        0,
        1,
        2,
        7,
        8,
        now.wrapping_sub(1),
        now + 1,
        now / 2,
        now.saturating_mul(2),
        file.len() as u64,
        largest,
        largest - 1,
        largest / 2 + 1,
    ];
    size.set(file, random.of(&wanted).min(largest));
}

/// Writes a number of one to eight bytes into a part, one that programs are not ready for.
fn number(file: &mut [u8], part: &Part, random: &mut Random) {
    let len = random.of(&[1usize, 1, 2, 2, 4, 4, 8]);
    // What means something stands in front.
    let span = (part.end - part.start).min(if random.below(2) == 0 { 64 } else { usize::MAX });
    let at = part.start + random.below(span.max(1));
    let Some(place) = file.get_mut(at..at + len) else { return };
    let all = u64::MAX >> (64 - 8 * len);
    let old = place.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let chance = random.below(usize::MAX) as u64;
    let wanted = [0, 1, all, all - 1, all / 2, all / 2 + 1, old.wrapping_add(1), old.wrapping_sub(1), old << 1, chance];
    let number = random.of(&wanted);
    let bytes = if random.below(2) == 0 {
        number.to_be_bytes()[8 - len..].to_vec()
    } else {
        number.to_le_bytes()[..len].to_vec()
    };
    place.copy_from_slice(&bytes);
}

/// From a border on, the file is another one: from its own beginning, or from one of its borders.
fn splice(file: &mut Vec<u8>, part: &Part, other: &[u8], random: &mut Random) {
    let others = parts(other);
    let from = if random.below(3) == 0 { 0 } else { pick(&others, random).map_or(0, |part| part.start) };
    file.truncate(part.start);
    file.extend_from_slice(&other[from..]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn mutants_are_the_same_every_time_and_differ_from_each_other() {
        let samples = crate::hostile::samples();
        let made: BTreeSet<Vec<u8>> = (0..500).map(|seed| mutant(&samples, seed).bytes).collect();
        assert!(made.len() > 480, "{} of 500 are different", made.len());
        let unchanged = made.iter().filter(|bytes| samples.iter().any(|(_, good)| good == *bytes)).count();
        assert!(unchanged < 20, "{unchanged} of 500 are not damaged at all");
        assert!((0..500).all(|seed| made.contains(&mutant(&samples, seed).bytes)));
    }
}
