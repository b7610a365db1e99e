//! A frame of layer III, taken apart as far as it takes to copy it (ISO/IEC 11172-3, 2.4.1.7; 13818-3, 2.4.1.7).

use crate::mp3::HEADER;
use crate::sniff::mpeg;

/// A granule has so many samples, and big values come in pairs.
const MOST_PAIRS: u32 = 576 / 2;
/// Tables of Huffman codes that there are not (11172-3, table B.7).
const NO_TABLES: [u32; 2] = [4, 14];

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) head: mpeg::Frame,
    /// Where the side information begins, behind the header and the checksum, and where the room for main data does.
    side_info: usize,
    room: usize,
    /// How many bytes before the room its own main data begins: in that of earlier frames.
    pub(super) main_data_begin: usize,
    /// Bytes of its own main data.
    pub(super) main_data: usize,
    /// It has no sound and says what encoders say of the whole.
    pub(super) is_tag: bool,
}

impl Frame {
    /// The frame that a packet is. `None` if it is anything else, or damaged as far as that shows without decoding it.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let head = mpeg::frame(packet).filter(|head| head.layer == 3 && head.size == packet.len())?;
        let is_reserved = packet[3] & 3 == 2; // the emphasis
        let is_protected = packet[1] & 1 == 0;
        let side_info = HEADER + if is_protected { 2 } else { 0 };
        let room = side_info + head.side_info();
        let fields = packet.get(side_info..room)?;
        if is_reserved || (is_protected && packet[HEADER..side_info] != checksum(packet, fields)) {
            return None;
        }
        let (main_data_begin, bits) = read(&mut Bits { bytes: fields, at: 0 }, &head)?;
        let main_data = bits.div_ceil(8);
        let is_tag = bits == 0 && mpeg::has_tag(packet, &head);
        let fits = main_data <= main_data_begin + packet.len() - room;
        fits.then_some(Self { head, side_info, room, main_data_begin, main_data, is_tag })
    }

    /// The room for main data, its own and that of later frames, within the packet.
    pub(super) fn room<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(self.room..).unwrap_or_default()
    }

    /// Makes it silent, and leaves the main data, which may be later frames'.
    pub(super) fn silence(&self, packet: &mut [u8]) {
        if let Some(fields) = packet.get_mut(self.side_info..self.room) {
            fields.fill(0);
        }
        if self.side_info > HEADER {
            let checksum = checksum(packet, &packet[self.side_info..self.room]);
            packet[HEADER..self.side_info].copy_from_slice(&checksum);
        }
        if self.is_tag {
            packet[self.room..].fill(0);
        }
    }
}

/// The checksum of a header's second half and the side information (11172-3, 2.4.3.1).
fn checksum(packet: &[u8], side_info: &[u8]) -> [u8; 2] {
    let step = |crc: u16, byte: &u8| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc >> 15 == 1 { crc << 1 ^ 0x8005 } else { crc << 1 })
    };
    packet[2..HEADER].iter().chain(side_info).fold(0xffff, step).to_be_bytes()
}

/// Reads the side information: where the main data begins, and how many bits it has. `None` if it makes no sense.
fn read(bits: &mut Bits<'_>, head: &mpeg::Frame) -> Option<(usize, usize)> {
    let channels = usize::from(head.channels);
    let is_mpeg1 = head.samples == 1152;
    let main_data_begin = bits.take(if is_mpeg1 { 9 } else { 8 })?;
    // Private bits, and which scale factors the second granule shares with the first.
    bits.take(match (is_mpeg1, channels) {
        (true, 1) => 5 + 4,
        (true, _) => 3 + 8,
        (false, channels) => channels,
    })?;
    let granules = if is_mpeg1 { 2 } else { 1 };
    let lengths = (0..granules * channels).map(|_| granule(bits, is_mpeg1));
    let length = lengths.sum::<Option<u32>>()?;
    Some((usize::try_from(main_data_begin).ok()?, usize::try_from(length).ok()?))
}

/// Reads what is said of a granule of one channel: how many bits of main data it has.
fn granule(bits: &mut Bits<'_>, is_mpeg1: bool) -> Option<u32> {
    let (length, pairs) = (bits.take(12)?, bits.take(9)?);
    bits.take(8)?; // gain
    bits.take(if is_mpeg1 { 4 } else { 9 })?; // lengths of scale factors
    let has_window = bits.take(1)? == 1;
    if has_window {
        let kind = bits.take(2)?;
        bits.take(1)?; // mixed blocks
        if kind == 0 {
            return None;
        }
    }
    for _ in 0..if has_window { 2 } else { 3 } {
        if NO_TABLES.contains(&bits.take(5)?) && pairs > 0 {
            return None;
        }
    }
    // Gains of windows, or the borders of regions.
    bits.take(if has_window { 9 } else { 7 })?;
    // Pre-emphasis, which is not said below 32 kHz, the scale factors' steps, and the table of what is no big value.
    bits.take(if is_mpeg1 { 3 } else { 2 })?;
    (pairs <= MOST_PAIRS).then_some(length)
}

/// Reads bits, the highest first.
struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for at in self.at..self.at + count {
            value = value << 1 | u32::from(self.bytes.get(at / 8)? >> (7 - at % 8) & 1);
        }
        self.at += count;
        Some(value)
    }
}
