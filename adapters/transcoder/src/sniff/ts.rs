//! Where a transport stream's packets are (ISO/IEC 13818-1, 2.4.3.2): sync bytes at the distance of a packet, which is
//! 188 bytes, 192 with the times that BDAV has in front, or 204 with parity behind.

pub(crate) const SYNC: u8 = 0x47;
const DISTANCES: [usize; 3] = [188, 192, 204];
/// Packets in a row that are no chance.
const PACKETS: usize = 5;
/// So many bytes from a packet on tell whether it is one.
pub(crate) const SIGHT: usize = 204 * PACKETS;

/// Finds the first packet, and the distance to the next one. `is_all`: the stream ends with the bytes, and so fewer
/// packets are enough.
pub(crate) fn find(bytes: &[u8], is_all: bool) -> Option<(usize, usize)> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == SYNC).map(|(start, _)| start);
    starts.into_iter().find_map(|start| {
        DISTANCES.into_iter().find_map(|distance| runs(bytes, start, distance, is_all).then_some((start, distance)))
    })
}

fn runs(bytes: &[u8], start: usize, distance: usize, is_all: bool) -> bool {
    let mut places = (start..bytes.len()).step_by(distance).take(PACKETS);
    let packets = places.len();
    (packets == PACKETS || (is_all && packets > 1)) && places.all(|at| bytes[at] == SYNC)
}

/// Whether a file begins with packets, of which the first may be cut.
pub(crate) fn starts_stream(head: &[u8]) -> bool {
    /// A file of one or two packets can't be told from chance unless it begins with the sync byte.
    const FEWEST: usize = 3;
    DISTANCES.into_iter().any(|distance| {
        (0..distance).any(|start| {
            let mut places = (start..head.len()).step_by(distance).take(PACKETS);
            let packets = places.len();
            packets >= FEWEST.max(PACKETS.min(head.len() / distance)) && places.all(|at| head[at] == SYNC)
        })
    })
}

/// Whether packets follow garbage: recordings of a receiver begin when it hears something.
pub(crate) fn follows(head: &[u8]) -> bool {
    const ROW: usize = 20;
    let found = find(head, false);
    found.is_some_and(|(start, distance)| {
        let mut places = (start..head.len()).step_by(distance).take(ROW);
        places.len() == ROW && places.all(|at| head[at] == SYNC)
    })
}
