//! Files put together byte by byte, for what no program writes.

use crate::media;

/// Half a second of a tone at 44.1 kHz, as ffmpeg writes it with these arguments.
pub fn sine(file: &str, args: &str) -> Vec<u8> {
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.5:sample_rate=44100"];
    let args: Vec<&str> = sound.into_iter().chain(args.split(' ')).collect();
    std::fs::read(media::make(file, &args)).unwrap()
}

/// Where these bytes first stand.
///
/// # Panics
/// When they stand nowhere.
pub fn find(file: &[u8], bytes: &[u8]) -> usize {
    let found = file.windows(bytes.len()).position(|window| window == bytes);
    found.unwrap_or_else(|| panic!("{} is nowhere in the file", bytes.escape_ascii()))
}

/// Bits, the lowest first, as Vorbis packs them.
#[derive(Default)]
pub struct Bits(Vec<bool>);

impl Bits {
    /// Adds the lowest `length` bits of a number.
    pub fn push(&mut self, value: u32, length: u32) {
        self.0.extend((0..length).map(|bit| value >> bit & 1 == 1));
    }

    /// Whole bytes, the last filled with zeros.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }
}

/// The checksum with the polynomial of Ogg (RFC 3533, 6) and of MPEG's tables (ISO/IEC 13818-1, annex A); they begin
/// with different values.
pub fn crc32(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut crc, mut bit) = ((n as u32) << 24, 0);
            while bit < 8 {
                crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    bytes.iter().fold(start, |crc, byte| crc << 8 ^ TABLE[(crc >> 24) as usize ^ usize::from(*byte)])
}

/// A page of Ogg (RFC 3533, 6) of whole packets.
pub fn ogg_page(flags: u8, granule: i64, serial: u32, packets: &[&[u8]]) -> Vec<u8> {
    let lacing = |packet: &&[u8]| [&vec![255; packet.len() / 255][..], &[(packet.len() % 255) as u8]].concat();
    let lacings: Vec<u8> = packets.iter().flat_map(lacing).collect();
    ogg_page_of(flags, granule, serial, &lacings, &packets.concat())
}

/// The same with lacing values of one's own.
pub fn ogg_page_of(flags: u8, granule: i64, serial: u32, lacings: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = [&b"OggS\0"[..], &[flags], &granule.to_le_bytes(), &serial.to_le_bytes(), &[0; 8]].concat();
    page.push(u8::try_from(lacings.len()).unwrap());
    page.extend(lacings);
    page.extend(body);
    with_checksum(page)
}

/// The page with its checksum made anew.
pub fn with_checksum(mut page: Vec<u8>) -> Vec<u8> {
    page[22..26].fill(0);
    let crc = crc32(0, &page);
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// The pages of an Ogg file, each changed.
pub fn map_pages(file: &[u8], change: impl Fn(usize, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let (mut rest, mut pages) = (file, Vec::new());
    while rest.starts_with(b"OggS") {
        let count = usize::from(rest[26]);
        let length = 27 + count + rest[27..27 + count].iter().map(|n| usize::from(*n)).sum::<usize>();
        let mut page = rest[..length].to_vec();
        change(pages.len(), &mut page);
        pages.push(with_checksum(page));
        rest = &rest[length..];
    }
    pages
}

/// An element of EBML with a size of eight bytes.
pub fn ebml(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &(body.len() as u64 | 1 << 56).to_be_bytes(), body].concat()
}

/// A box of MP4 (ISO/IEC 14496-12, 4.2).
pub fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// Changes the body of the box at a path, and the sizes of those around it.
pub fn patch_mp4(bytes: &[u8], path: &[&[u8; 4]], change: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some((size, _)) = rest.split_first_chunk() {
        let (whole, behind) = rest.split_at(u32::from_be_bytes(*size) as usize);
        let (kind, body): ([u8; 4], _) = (whole[4..8].try_into().unwrap(), &whole[8..]);
        let body = match path {
            [last] if kind == **last => change(body),
            [first, more @ ..] if kind == **first => patch_mp4(body, more, change),
            _ => body.to_vec(),
        };
        out.extend(mp4_box(&kind, &body));
        rest = behind;
    }
    out
}

/// A chunk of RIFF, filled up to an even size.
pub fn riff_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let fill = &[0][..body.len() % 2];
    [&kind[..], &(body.len() as u32).to_le_bytes(), body, fill].concat()
}

/// Four bytes of seven bits each (ID3v2.4.0 structure, 6.2).
pub fn synchsafe(n: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|bits| (n >> bits & 0x7f) as u8)
}

/// A transport stream's packet with a payload, filled up (ISO/IEC 13818-1, 2.4.3.2).
pub fn ts_packet(pid: u16, starts: bool, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, high | u8::from(starts) << 6, low, 0x10];
    packet.extend_from_slice(payload);
    packet.resize(188, 0xff);
    packet
}

/// A packet with a section of a table, whose length and checksum are right (ISO/IEC 13818-1, 2.4.4).
pub fn ts_section(pid: u16, table: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 9) as u16 | 0xb000;
    let head = [&[table][..], &length.to_be_bytes(), &number.to_be_bytes(), &[0xc1, 0, 0]].concat();
    let mut section = [&head[..], body].concat();
    let crc = crc32(u32::MAX, &section);
    section.extend(crc.to_be_bytes());
    ts_packet(pid, true, &[&[0][..], &section].concat())
}

/// An object of ASF, its GUID given in the order in which it is written in words.
pub fn asf_object(kind: u128, body: &[u8]) -> Vec<u8> {
    [&asf_guid(kind)[..], &(body.len() as u64 + 24).to_le_bytes(), body].concat()
}

/// A GUID as ASF stores it: the first three parts turned round.
pub fn asf_guid(kind: u128) -> [u8; 16] {
    let mut kind = kind.to_be_bytes();
    kind[..4].reverse();
    kind[4..6].reverse();
    kind[6..8].reverse();
    kind
}

/// A CAF file whose description has these numbers behind the codec: flags, bytes and samples of a packet, channels, bits.
/// The table of packets says how many there are, and how many samples are played, and are silent in front.
pub fn caf(kind: &[u8; 4], numbers: [u32; 5], table: &[u64; 3], data: &[u8]) -> Vec<u8> {
    let desc = [&44_100f64.to_be_bytes()[..], kind, &numbers.map(u32::to_be_bytes).concat()].concat();
    let pakt = [table.map(u64::to_be_bytes).concat(), vec![0x81; 1000]].concat();
    let data = [&[0; 4][..], data].concat();
    [&b"caff\0\x01\0\0"[..], &caf_chunk(b"desc", &desc), &caf_chunk(b"pakt", &pakt), &caf_chunk(b"data", &data)]
        .concat()
}

/// A chunk of CAF.
pub fn caf_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&kind[..], &(body.len() as u64).to_be_bytes(), body].concat()
}

/// An Ogg Vorbis file whose one codebook has 2^`bits` entries of so many dimensions.
pub fn vorbis_bomb(channels: u8, bits: u32, dimensions: u32) -> Vec<u8> {
    let rates = [0i32; 3].map(i32::to_le_bytes).concat();
    let ident = [&b"\x01vorbis\0\0\0\0"[..], &[channels], &44_100u32.to_le_bytes(), &rates, &[0xb8, 1]].concat();
    let comment = [&b"\x03vorbis"[..], &[0; 8], &[1]].concat();
    let mut setup = Bits::default();
    for (value, length) in [(0, 8), (0x56_4342, 24), (dimensions, 16), (1 << bits, 24), (1, 1), (bits - 1, 5)] {
        setup.push(value, length);
    }
    for (value, length) in [(1 << bits, bits + 1), (1, 4), (0x6000_0000, 32), (0x6000_0000, 32), (3, 4), (0, 1)] {
        setup.push(value, length);
    }
    for _ in 0..200 {
        setup.push(0, 32);
    }
    let setup = [&b"\x05vorbis"[..], &setup.bytes()].concat();
    [ogg_page(2, 0, 1, &[&ident]), ogg_page(0, 0, 1, &[&comment, &setup]), ogg_page(4, 100, 1, &[&[0; 10], &[0; 10]])]
        .concat()
}

/// So many zeros, deflated as zlib does it: a thousandth of their size.
pub fn deflated_zeros(count: usize) -> Vec<u8> {
    use std::io::Write;
    let mut zeros = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![0; 1 << 16];
    for at in (0..count).step_by(piece.len()) {
        zeros.write_all(&piece[..piece.len().min(count - at)]).unwrap();
    }
    zeros.finish().unwrap()
}

/// A small picture, and of at least so many bytes: the rest are comments.
pub fn jpeg(len: usize) -> Vec<u8> {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "1"];
    let small = std::fs::read(media::make("small.jpg", &picture)).unwrap();
    let comment = [&[0xff, 0xfe, 0xff, 0xff][..], &[b' '; 65_533]].concat();
    [&small[..2], &comment.repeat(len.div_ceil(comment.len())), &small[2..]].concat()
}

/// Chance that can be repeated: xorshift64*.
pub struct Random(u64);

impl Random {
    /// What comes of a seed; any will do.
    pub fn new(seed: u64) -> Self {
        // Seeds one beside the other are to have nothing in common.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`, which is above 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// One of them.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
