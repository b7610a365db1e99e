//! Every sample cut off at its borders, and with the sizes of its parts wrong.

use super::structure::{Part, mend_checksums, parts};
use super::{Case, DAMAGED, May, ok_or, samples};

/// So many places of each kind are taken of a file, spread over it.
const PLACES: usize = 2;

/// Cut off, nothing else is read from it than what the whole one is: it is only that there may be too little.
const CUT: May = ok_or(&["corrupt", "no_audio_track", "unsupported_codec", "unsupported_container"]);

/// Cut off where a part begins, where its body does, and within it.
pub(super) fn short() -> Vec<Case> {
    let cut = |(name, file): (&str, Vec<u8>)| {
        let mut ends: Vec<usize> = spread(parts(&file))
            .flat_map(|part| [part.start, part.body.saturating_sub(1), usize::midpoint(part.body, part.end)])
            .filter(|end| (1..file.len()).contains(end))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        let case = |end| Case::new(format!("cut/{name} at {end}"), file[..end].to_vec(), CUT);
        ends.into_iter().map(case).collect::<Vec<_>>()
    };
    samples().into_iter().flat_map(cut).collect()
}

/// One size that is nothing, one that is the largest, and one that is a little too large.
pub(super) fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, file) in samples() {
        let sized = parts(&file).into_iter().filter(|part| part.size.is_some()).collect();
        for part in spread(sized) {
            let Some(size) = part.size else { continue };
            let now = size.get(&file);
            for (how, number) in [("nothing", 0), ("the largest", size.largest()), ("3 too large", now + 3)] {
                let mut file = file.clone();
                size.set(&mut file, number);
                mend_checksums(&mut file);
                let name = format!("sizes/{name}, {} at {}: {how}", part.kind, part.start);
                cases.push(Case::new(name, file, DAMAGED));
            }
        }
    }
    cases
}

/// The first ones, and then some that are as far from each other as they can.
fn spread(parts: Vec<Part>) -> impl Iterator<Item = Part> {
    let step = (parts.len() / PLACES).max(1);
    parts
        .into_iter()
        .enumerate()
        .filter(move |(n, _)| *n < PLACES || n % step == 0)
        .map(|(_, part)| part)
        .take(2 * PLACES)
}
