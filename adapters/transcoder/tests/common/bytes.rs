//! Files put together byte by byte.

use microserve_testkit::media;

/// Half a second of a tone at 44.1 kHz, as ffmpeg writes it with these arguments.
pub fn sine(file: &str, args: &str) -> Vec<u8> {
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.5:sample_rate=44100"];
    let args: Vec<&str> = sound.into_iter().chain(args.split(' ')).collect();
    std::fs::read(media::make(file, &args)).unwrap()
}

/// Bits, the lowest first.
#[derive(Default)]
pub struct Bits(Vec<bool>);

impl Bits {
    pub fn push(&mut self, value: u32, length: u32) {
        self.0.extend((0..length).map(|bit| value >> bit & 1 == 1));
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }
}

/// A page of Ogg (RFC 3533, 6) of whole packets.
pub fn ogg_page(flags: u8, granule: i64, serial: u32, packets: &[&[u8]]) -> Vec<u8> {
    let lacing = |packet: &&[u8]| [&vec![255; packet.len() / 255][..], &[(packet.len() % 255) as u8]].concat();
    let lacings: Vec<u8> = packets.iter().flat_map(lacing).collect();
    let mut page = [&b"OggS\0"[..], &[flags], &granule.to_le_bytes(), &serial.to_le_bytes(), &[0; 8]].concat();
    page.push(u8::try_from(lacings.len()).unwrap());
    page.extend(lacings);
    page.extend(packets.concat());
    with_checksum(page)
}

/// The page with its checksum made anew.
fn with_checksum(mut page: Vec<u8>) -> Vec<u8> {
    page[22..26].fill(0);
    let crc = page.iter().fold(0u32, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 })
    });
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

pub fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// Changes the body of the box at a path.
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

/// Four bytes of seven bits each (ID3v2.4.0 structure, 6.2).
pub fn synchsafe(n: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|bits| (n >> bits & 0x7f) as u8)
}
