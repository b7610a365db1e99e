//! Ogg: pages that contradict each other, and what Vorbis, Opus and FLAC say of themselves in them.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, ok_or, refused, sample};
use crate::bytes::{map_pages, ogg_page, ogg_page_of, vorbis_bomb, with_checksum};

const BEGINS: u8 = 2;
const ENDS: u8 = 4;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = pages();
    cases.extend(chains());
    cases.extend(vorbis());
    cases.extend(opus());
    cases.extend(flac());
    cases
}

/// The first header of Opus (RFC 7845, 5.1).
fn head(version: u8, channels: u8, skip: u16, gain: i16, rest: &[u8]) -> Vec<u8> {
    let rate = 48_000u32.to_le_bytes();
    [b"OpusHead", &[version, channels][..], &skip.to_le_bytes(), &rate, &gain.to_le_bytes(), rest].concat()
}

const NO_TAGS: &[u8] = b"OpusTags\0\0\0\0\0\0\0\0";
/// 20 ms of silence.
const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

/// A file of so many packets, in pages of a hundred.
fn opus_file(serial: u32, head: &[u8], packet: &[u8], count: usize) -> Vec<u8> {
    let mut file = [ogg_page(BEGINS, 0, serial, &[head]), ogg_page(0, 0, serial, &[NO_TAGS])].concat();
    for at in (0..count).step_by(100) {
        let packets = vec![packet; 100.min(count - at)];
        let (end, flags) = (at + packets.len(), if at + 100 >= count { ENDS } else { 0 });
        file.extend(ogg_page(flags, end as i64 * 960, serial, &packets));
    }
    file
}

fn pages() -> Vec<Case> {
    let good = sample("s.opus");
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may: May| cases.push(Case::new(format!("ogg/pages/{name}"), file, may));
    let each = |change: &dyn Fn(usize, &mut Vec<u8>)| map_pages(&good, change).concat();
    // Behind the headers: the first two pages.
    for granule in [i64::MIN, -2, -1, 0, 1, i64::MAX] {
        add(
            &format!("a position of {granule}, all over"),
            each(&|n, page| {
                if n > 1 {
                    page[6..14].copy_from_slice(&granule.to_le_bytes());
                }
            }),
            DAMAGED,
        );
        let last = map_pages(&good, |_, _| {}).len() - 1;
        add(
            &format!("a position of {granule} at the end"),
            each(&|n, page| {
                if n == last {
                    page[6..14].copy_from_slice(&granule.to_le_bytes());
                }
            }),
            DAMAGED,
        );
    }
    add(
        "positions that go back",
        each(&|n, page| {
            if n > 1 {
                page[6..14].copy_from_slice(&(1_000_000 - n as i64 * 960).to_le_bytes());
            }
        }),
        DAMAGED,
    );
    for (how, flags) in [("continue", 1u8), ("begin", 2), ("end", 4), ("do everything", 7), ("are of no kind", 0xf8)] {
        add(&format!("that all {how}"), each(&|_, page| page[5] |= flags), DAMAGED);
    }
    add("of a version that there is not", each(&|_, page| page[4] = 1), CORRUPT);
    add("each of another stream", each(&|n, page| page[14] = n as u8), DAMAGED);
    add("whose numbers are all the same", each(&|_, page| page[18..22].fill(7)), RESCUED);
    let broken: Vec<u8> = map_pages(&good, |_, _| {})
        .into_iter()
        .flat_map(|mut page| {
            page[22] ^= 1;
            page
        })
        .collect();
    add("with wrong checksums", broken, CORRUPT);
    let mut pages = map_pages(&good, |_, _| {});
    pages[2..].reverse();
    add("in reverse", pages.concat(), DAMAGED);
    let nothing = ogg_page_of(0, -1, u32::from_le_bytes(good[14..18].try_into().unwrap()), &[], &[]);
    add("of nothing, a hundred thousand", [&good[..], &nothing.repeat(100_000)].concat(), RESCUED);
    let endless =
        ogg_page_of(1, -1, u32::from_le_bytes(good[14..18].try_into().unwrap()), &[255; 255], &[0x55; 65_025]);
    add("of one packet that does not end", [&good[..], &endless.repeat(200)].concat(), RESCUED);
    let begins: Vec<u8> = (0..20_000).flat_map(|n| ogg_page(BEGINS, 0, n, &[b"fishead\0"])).collect();
    add("that begin twenty thousand streams", begins.clone(), refused(&["corrupt", "no_audio_track"]));
    add("that begin twenty thousand streams, and sound", [begins, good.clone()].concat(), DAMAGED);
    let mut fake = b"OggS\0\0".to_vec();
    fake.resize(26, 0);
    fake.push(255);
    let claims = [&fake[..], &[255; 255]].concat();
    add("within pages", [&good[..], &claims.repeat(10_000)].concat(), MP3);
    add(
        "whose packets have no bytes",
        [&good[..], &ogg_page_of(0, 99_999, 1, &[0; 255], &[]).repeat(3000)].concat(),
        RESCUED,
    );
    for (kind, packet) in [
        ("speex", &b"Speex   1.2.0"[..]),
        ("theora", b"\x80theora\x03\x02\x01"),
        ("kate", b"\x80kate\0\0\0"),
        ("nobody", b"????????"),
        ("nothing", b""),
    ] {
        let file = [ogg_page(BEGINS, 0, 1, &[packet]), ogg_page(ENDS, 100, 1, &[&[0; 100]])].concat();
        add(&format!("of {kind} alone"), file, refused(&["no_audio_track", "unsupported_codec", "corrupt"]));
    }
    cases
}

/// Links: files one behind the other.
fn chains() -> Vec<Case> {
    let link = |serial: u32, channels: u8| opus_file(serial, &head(1, channels, 0, 0, &[0]), SILENCE, 1);
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("ogg/chain/{name}"), file, may));
    add("a thousand links of 20 ms", (0..1000).flat_map(|n| link(n, 2)).collect(), RESCUED);
    add(
        "a thousand links, mono and stereo in turns",
        (0..1000).flat_map(|n| link(n, 1 + n as u8 % 2)).collect(),
        RESCUED,
    );
    add("three thousand links", (0..3000).flat_map(|n| link(n, 2)).collect(), RESCUED);
    add("a thousand links of one number", link(7, 2).repeat(1000), RESCUED);
    let empty = |n| [ogg_page(BEGINS, 0, n, &[&head(1, 2, 0, 0, &[0])]), ogg_page(ENDS, 0, n, &[NO_TAGS])].concat();
    add("twenty thousand links without sound", (0..20_000).flat_map(empty).collect(), DAMAGED);
    let kinds = [sample("s.ogg"), sample("s.opus"), sample("s.oga")].concat();
    add("of every codec, in turns", kinds.repeat(20), MP3);
    let good = sample("s.ogg");
    for (bits, dimensions) in [(16, 65_535), (22, 16)] {
        let file = [good.clone(), vorbis_bomb(2, bits, dimensions)].concat();
        add(&format!("sound and 2^{bits} entries of {dimensions} dimensions"), file, DAMAGED);
    }
    cases
}

fn vorbis() -> Vec<Case> {
    let good = sample("s.ogg");
    let mut cases = Vec::new();
    for (channels, bits, dimensions) in
        [(2, 16, 65_535), (6, 16, 65_535), (2, 22, 16), (6, 22, 16), (1, 23, 1), (255, 10, 255)]
    {
        let name = format!("ogg/vorbis/{channels} channels, a book of 2^{bits} entries of {dimensions} dimensions");
        cases.push(Case::new(
            name,
            vorbis_bomb(channels, bits, dimensions),
            refused(&["corrupt", "unsupported_codec"]),
        ));
    }
    // The identification header: version, channels, rate, bitrates, sizes of blocks (Vorbis I, 4.2.2).
    for (what, at, bytes) in [
        ("a version of its own", 7, &[9, 9, 9, 9][..]),
        ("no channels", 11, &[0]),
        ("255 channels", 11, &[255]),
        ("no rate", 12, &[0; 4]),
        ("a rate of 1", 12, &[1, 0, 0, 0]),
        ("the highest rate", 12, &[255; 4]),
        ("blocks of 1", 28, &[0]),
        ("blocks of 32768", 28, &[0xff]),
        ("long blocks shorter than short ones", 28, &[0x6b]),
        ("no end", 29, &[0]),
    ] {
        let change = |n: usize, page: &mut Vec<u8>| {
            if n == 0 {
                page[28 + at..28 + at + bytes.len()].copy_from_slice(bytes);
            }
        };
        cases.push(Case::new(format!("ogg/vorbis/{what}"), map_pages(&good, change).concat(), DAMAGED));
    }
    let pages = map_pages(&good, |_, _| {});
    let headless = [&pages[0][..], &pages[2..].concat()].concat();
    cases.push(Case::new("ogg/vorbis/no settings", headless, CORRUPT));
    for fill in [0, 0xff, 0x55] {
        let serial = u32::from_le_bytes(good[14..18].try_into().unwrap());
        let setup = [&b"\x05vorbis"[..], &[fill; 4000]].concat();
        let comment = [&b"\x03vorbis"[..], &[0; 8], &[1]].concat();
        let file = [&pages[0][..], &ogg_page(0, 0, serial, &[&comment, &setup]), &pages[2..].concat()].concat();
        cases.push(Case::new(
            format!("ogg/vorbis/settings of {fill}"),
            file,
            refused(&["corrupt", "unsupported_codec"]),
        ));
    }
    for (how, comments) in [
        ("the largest vendor", [&[0xff; 4][..], &[0; 100]].concat()),
        ("4 G of them", [&[0, 0, 0, 0][..], &[0xff; 4], &[0; 100]].concat()),
        ("the longest", [&[0, 0, 0, 0, 1, 0, 0, 0][..], &[0xff; 4], b"TITLE=x"].concat()),
        ("a picture that is none", picture(b"METADATA_BLOCK_PICTURE=AAAA")),
        (
            "a picture of 8 MB of base64",
            picture(&[b"METADATA_BLOCK_PICTURE=".to_vec(), vec![b'A'; 8_000_000]].concat()),
        ),
        ("a title of control characters", picture("TITLE=\u{1b}[2J\u{202e}\r\nBcc: x".as_bytes())),
    ] {
        let packet = [&b"OpusTags"[..], &comments].concat();
        let mut file = ogg_page(BEGINS, 0, 1, &[&head(1, 2, 0, 0, &[0])]);
        for (n, piece) in packet.chunks(255 * 255).enumerate() {
            let is_last = (n + 1) * 255 * 255 >= packet.len();
            let mut lacings = vec![255; piece.len() / 255];
            lacings.extend(is_last.then_some((piece.len() % 255) as u8));
            file.extend(ogg_page_of(u8::from(n > 0), 0, 1, &lacings, piece));
        }
        file.extend(ogg_page(ENDS, 960 * 100, 1, &[SILENCE; 100]));
        cases.push(Case::new(format!("ogg/comments/{how}"), file, RESCUED));
    }
    cases
}

/// Comments of which this is the only one.
fn picture(comment: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 1, 0, 0, 0][..], &(comment.len() as u32).to_le_bytes(), comment].concat()
}

fn opus() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("ogg/opus/{name}"), file, may));
    let with = |head: &[u8]| opus_file(1, head, SILENCE, 100);
    add("all is well", with(&head(1, 2, 312, 0, &[0])), MP3);
    for (how, header, may) in [
        ("version 16", head(16, 2, 0, 0, &[0]), DAMAGED),
        ("version 255", head(255, 2, 0, 0, &[0]), DAMAGED),
        ("no channels", head(1, 0, 0, 0, &[0]), DAMAGED),
        ("255 channels", head(1, 255, 0, 0, &[0]), DAMAGED),
        ("everything is skipped", head(1, 2, 65_535, 0, &[0]), DAMAGED),
        ("the loudest", head(1, 2, 0, i16::MAX, &[0]), MP3),
        ("the quietest", head(1, 2, 0, i16::MIN, &[0]), MP3),
        ("streams that are not told of", head(1, 6, 0, 0, &[1]), DAMAGED),
        ("no streams", head(1, 6, 0, 0, &[1, 0, 0, 0, 1, 2, 3, 4, 5]), DAMAGED),
        ("255 streams", head(1, 255, 0, 0, &[&[255, 255, 0][..], &[0; 255]].concat()), DAMAGED),
        ("more coupled than there are", head(1, 2, 0, 0, &[255, 1, 255, 0, 1]), DAMAGED),
        ("channels of streams that there are not", head(1, 2, 0, 0, &[255, 1, 1, 77, 99]), DAMAGED),
        ("channels that are silent", head(1, 2, 0, 0, &[255, 1, 0, 255, 255]), DAMAGED),
        ("ambisonics", head(1, 4, 0, 0, &[2, 4, 0, 0, 1, 2, 3]), DAMAGED),
        ("half a header", b"OpusHead\x01\x02".to_vec(), DAMAGED),
    ] {
        add(how, with(&header), may);
    }
    // Every configuration (RFC 6716, 3.1), with a count of frames that can't be.
    for config in (0..32u8).step_by(3) {
        for (how, packet) in [
            ("63 frames", vec![config << 3 | 3, 63]),
            ("padding without end", vec![config << 3 | 3, 0x41, 255, 255, 255]),
            ("ones", [&[config << 3 | 7][..], &[0xff; 60]].concat()),
        ] {
            add(
                &format!("configuration {config}, {how}"),
                opus_file(1, &head(1, 2, 0, 0, &[0]), &packet, 200),
                DAMAGED,
            );
        }
    }
    add("packets of nothing", opus_file(1, &head(1, 2, 0, 0, &[0]), b"", 3000), DAMAGED);
    add("two minutes of silence", opus_file(1, &head(1, 2, 0, 0, &[0]), SILENCE, 6000), RESCUED);
    add("packets of 120 ms of one byte", opus_file(1, &head(1, 2, 0, 0, &[0]), &[0xfb, 0x06], 2500), DAMAGED);
    cases
}

/// FLAC in Ogg.
fn flac() -> Vec<Case> {
    let info = sample("s.flac")[8..42].to_vec();
    let first = |count: [u8; 2]| [&b"\x7fFLAC\x01\0"[..], &count, b"fLaC\0\0\0\x22", &info].concat();
    let mut cases = Vec::new();
    for (how, count, header) in
        [("of one kind", [0xff, 0xff], 0x02), ("of comments", [0, 0], 0x04), ("that are the last", [0, 9], 0x84)]
    {
        let header = [&[header][..], &vec![b'A'; 60_000]].concat();
        let file = [ogg_page(BEGINS, 0, 1, &[&first(count)]), ogg_page(0, 0, 1, &[&header]).repeat(100)].concat();
        cases.push(Case::new(format!("ogg/flac/a hundred headers {how}"), file, ok_or(&["corrupt"])));
    }
    let mut broken = sample("s.oga");
    broken[28 + 17..28 + 51].fill(0xff);
    let length = 27 + usize::from(broken[26]) + usize::from(broken[27]);
    let page = with_checksum(broken[..length].to_vec());
    broken[..length].copy_from_slice(&page);
    cases.push(Case::new("ogg/flac/an information of ones", broken, DAMAGED));
    cases
}
