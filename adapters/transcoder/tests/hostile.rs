//! Files that were made to eat memory or to keep a worker busy: little memory, an early end, and always the chance to
//! cancel.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::bytes::{
    asf_guid, asf_object, caf, deflated_zeros, ebml, mp4_box, ogg_page, patch_mp4, sine, synchsafe, ts_packet,
    vorbis_bomb,
};
use common::convert_bytes;
use microserve_core::transcode::{Options, TranscodeError, Transcoder};
use microserve_transcoder::NativeTranscoder;

/// Counts what is allocated. Every test is a process of its own under nextest; elsewhere they share the figure, and the
/// limit leaves room for that.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator can't be written otherwise; it hands everything on to the system's")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1024 * 1024;

/// Forgets what is written.
#[derive(Default)]
struct Nowhere {
    at: u64,
    end: u64,
}

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Nowhere {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Converts bytes; gives what came of it and the memory that took, without the bytes.
fn measured(bytes: &[u8]) -> (Result<(), TranscodeError>, usize) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let go_on = &mut |_| ControlFlow::Continue(());
    let made = NativeTranscoder::default().transcode(
        &mut Cursor::new(bytes),
        &mut Nowhere::default(),
        &Options::default(),
        go_on,
    );
    (made.map(|_| ()), PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

fn assert_small(bytes: &[u8], most: usize) -> Result<(), TranscodeError> {
    let (outcome, peak) = measured(bytes);
    assert!(peak < most, "{} MiB for a file of {} KiB", peak / MIB, bytes.len() / 1024);
    outcome
}

#[test]
fn a_huge_vorbis_codebook_is_refused_before_it_is_made() {
    for (channels, bits, dimensions) in [(2, 16, 65_535), (6, 16, 65_535), (2, 22, 16), (6, 22, 16)] {
        let bomb = vorbis_bomb(channels, bits, dimensions);
        assert!(matches!(assert_small(&bomb, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
        // Behind good sound, where nobody asks the first decoder.
        let chained = [sine("s.ogg", "-c:a libvorbis"), bomb].concat();
        assert!(matches!(assert_small(&chained, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
    }
}

#[test]
fn compressed_id3_frames_are_not_inflated() {
    // A stream of deflate in which each byte stands for a thousand zeros.
    let packed = deflated_zeros(100 * MIB);
    let frame = [&b"TXXX"[..], &synchsafe(packed.len() + 4), &[0, 9], &synchsafe(100 * MIB), &packed].concat();
    let tag = [&b"ID3\x04\0\0"[..], &synchsafe(frame.len()), &frame].concat();
    let file = [tag, sine("s.mp3", "-c:a libmp3lame -id3v2_version 0")].concat();
    assert_small(&file, 16 * MIB).unwrap();
}

#[test]
fn thousands_of_headers_are_not_kept() {
    let info = sine("s.flac", "-c:a flac")[8..42].to_vec();
    let first = [&b"\x7fFLAC\x01\0\xff\xfffLaC\0\0\0\x22"[..], &info].concat();
    let header = [&[0x02][..], &vec![b'A'; 60_000]].concat();
    let comment = [&[0x04][..], &vec![b'A'; 60_000]].concat();
    let mut file = ogg_page(2, 0, 1, &[&first]);
    for _ in 0..500 {
        file.extend(ogg_page(0, 0, 1, &[&header]));
        file.extend(ogg_page(0, 0, 1, &[&comment]));
    }
    assert!(matches!(assert_small(&file, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
}

#[test]
fn pictures_in_flac_are_not_kept() {
    let good = sine("s.flac", "-c:a flac");
    let jpeg = [&[0xff, 0xd8, 0xff][..], &vec![0; 10 * MIB], &[0xff, 0xd9]].concat();
    let mut picture = [&3u32.to_be_bytes()[..], &10u32.to_be_bytes(), b"image/jpeg"].concat();
    picture.extend([0, 1, 1, 24, 0, jpeg.len() as u32].map(u32::to_be_bytes).concat());
    picture.extend(jpeg);
    let block = [&((6 << 24) + picture.len() as u32).to_be_bytes()[..], &picture].concat();
    let file = [&good[..42], &block.repeat(8), &good[42..]].concat();
    assert_small(&file, 24 * MIB).unwrap();
    assert_eq!(convert_bytes(&file).unwrap().samples, 22_050);
}

#[test]
fn huge_numbers_in_caf_allocate_nothing() {
    const MOST: u32 = u32::MAX;
    for kind in [b"lpcm", b"ima4", b"alac", b"aac ", b"opus", b".mp3", b"ulaw"] {
        for numbers in [[0, 4, MOST, 2, 16], [0, MOST, 1, 2, 16], [0, 0, MOST, MOST, MOST], [0, MOST, 0, 65_535, 64]] {
            for table in [[u64::MAX; 3], [0; 3], [u64::MAX >> 1, u64::MAX >> 1, 0]] {
                let _any = assert_small(&caf(kind, numbers, &table, &vec![0x55; 100_000]), 16 * MIB);
            }
        }
    }
}

#[test]
fn huge_numbers_in_wave_and_aiff_allocate_nothing() {
    for kind in [1u16, 2, 3, 6, 0x11, 0x55, 0xfffe] {
        for [channels, align, bits] in [[65_535u16, 65_535, 65_535], [0, 0, 0], [2, 65_535, 4], [1, 1, 64]] {
            let mut wav = [&b"RIFF\xff\xff\xff\xffWAVEfmt \x20\0\0\0"[..], &kind.to_le_bytes()].concat();
            wav.extend([&channels.to_le_bytes()[..], &[0x44, 0xac, 0, 0, 0, 0, 0, 0], &align.to_le_bytes()].concat());
            wav.extend([&bits.to_le_bytes()[..], &[0xff; 16], b"data\xff\xff\xff\xff", &vec![0x55; 100_000]].concat());
            let _any = assert_small(&wav, 16 * MIB);
            let mut aiff = [&b"FORM\xff\xff\xff\xffAIFCCOMM\0\0\0\x16"[..], &channels.to_be_bytes()].concat();
            aiff.extend([&[0xff; 4][..], &bits.to_be_bytes(), b"\x40\x0e\xac\x44\0\0\0\0\0\0ima4"].concat());
            aiff.extend([&b"SSND\xff\xff\xff\xff\0\0\0\0\0\0\0\0"[..], &vec![0x55; 100_000]].concat());
            let _any = assert_small(&aiff, 16 * MIB);
        }
    }
}

/// Zlib's answer to a megabyte for each kilobyte, in a block of sound.
#[test]
fn compressed_blocks_in_matroska_are_bounded() {
    let packed = deflated_zeros(100 * MIB);
    let encoding = ebml(&[0x62, 0x40], &ebml(&[0x50, 0x34], b"\x42\x54\x81\0"));
    let track = [
        &b"\xd7\x81\x01\x83\x81\x02\x86\x8dA_PCM/INT/LIT\xe1\x84\x62\x64\x81\x10"[..],
        &ebml(&[0x6d, 0x80], &encoding),
    ];
    let tracks = ebml(&[0x16, 0x54, 0xae, 0x6b], &ebml(&[0xae], &track.concat()));
    let block = ebml(&[0xa3], &[&[0x81, 0, 0, 0x80][..], &packed].concat());
    let cluster = ebml(&[0x1f, 0x43, 0xb6, 0x75], &block.repeat(20));
    let head = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
    let file = [&head[..], &tracks, &cluster].concat();
    assert!(matches!(assert_small(&file, 32 * MIB), Err(TranscodeError::Corrupt { .. })));
}

/// A resampler of two rates without a common divisor: 8 MiB, and not a second of samples in each direction.
#[test]
fn odd_sample_rates_take_little_memory() {
    for rate in [44_101u32, 47_999, 8_009, 191_999, 383_997] {
        let mut wav = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
        wav.extend([&rate.to_le_bytes()[..], &(rate * 4).to_le_bytes(), b"\x04\0\x10\0data\xff\xff\xff\xff"].concat());
        wav.resize(400_044, 7);
        assert_small(&wav, 8 * MIB).unwrap();
    }
}

#[test]
fn names_in_matroska_stay_short() {
    let long = [&b"A_"[..], &vec![b'X'; MIB]].concat();
    let track = [&b"\xd7\x81\x01\x83\x81\x02"[..], &ebml(&[0x86], &long)].concat();
    let tracks = ebml(&[0x16, 0x54, 0xae, 0x6b], &ebml(&[0xae], &track));
    let file = [&b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"[..], &tracks].concat();
    let err = assert_small(&file, 16 * MIB).unwrap_err();
    assert!(err.to_string().len() < 200, "{err}");
}

#[test]
fn blocks_without_sound_end_soon() {
    let good = sine("s.mka", "-c:a libopus");
    let cluster = good.windows(4).position(|four| four == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let head = &good[..cluster];
    let open = b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff";
    // 256 frames of no bytes in each block of seven, and clusters that don't begin.
    let laced = [head, open, &b"\xa3\x85\x81\0\0\x04\xff".repeat(500_000)].concat();
    let crumbs = [head, &b"\x1f\x43\xb6\x75\x80\0".repeat(500_000)].concat();
    for file in [laced, crumbs] {
        assert!(matches!(assert_small(&file, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
    }
}

/// An M4A whose tables were replaced.
fn with_tables(stsz: &[u32], stsc: &[u32], stco: &[u32]) -> Vec<u8> {
    let table =
        |numbers: &[u32]| [&[0; 4][..], &numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>()].concat();
    let mut file = sine("s.m4a", "-c:a aac");
    for (kind, numbers) in [(b"stsz", stsz), (b"stsc", stsc), (b"stco", stco)] {
        let path: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", kind];
        file = patch_mp4(&file, &path, &|_| table(numbers));
    }
    file
}

#[test]
fn four_billion_samples_behind_the_end_are_passed_over() {
    let file = with_tables(&[1, u32::MAX], &[1, 1, u32::MAX, 1], &[1, 0xffff_fff0]);
    assert!(matches!(assert_small(&file, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
}

#[test]
fn samples_that_never_decode_are_given_up() {
    let offsets: Vec<u32> = std::iter::once(90_000).chain(std::iter::repeat_n(0, 90_000)).collect();
    let file = with_tables(&[1, u32::MAX], &[1, 1, 50_000, 1], &offsets);
    assert!(matches!(assert_small(&file, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
}

#[test]
fn the_same_bytes_are_not_played_for_ever() {
    let good = sine("s.m4a", "-c:a aac");
    let stsz = good.windows(4).position(|four| four == b"stsz").unwrap();
    let first = u32::from_be_bytes(good[stsz + 16..stsz + 20].try_into().unwrap());
    let mdat = good.windows(4).position(|four| four == b"mdat").unwrap() as u32 + 4;
    let offsets: Vec<u32> = std::iter::once(100_000).chain(std::iter::repeat_n(mdat, 100_000)).collect();
    let file = with_tables(&[first, 100_000], &[1, 1, 1, 1], &offsets);
    assert!(matches!(assert_small(&file, 16 * MIB), Err(TranscodeError::Corrupt { .. })));
}

#[test]
fn a_thousand_tracks_cost_little() {
    let mut file = sine("s.m4a", "-c:a aac");
    let path: [&[u8; 4]; 1] = [b"moov"];
    let mut entry = vec![0; 200_000];
    entry[7] = 1;
    let stsd = mp4_box(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &mp4_box(b"mp4a", &entry)].concat());
    let hdlr = mp4_box(b"hdlr", &[&[0; 8][..], b"soun", &[0; 12]].concat());
    let minf = mp4_box(b"minf", &mp4_box(b"stbl", &stsd));
    let trak = mp4_box(b"trak", &mp4_box(b"mdia", &[hdlr, minf].concat()));
    file = patch_mp4(&file, &path, &|moov| [moov, &trak.repeat(500)].concat());
    assert_small(&file, 24 * MIB).unwrap();
}

#[test]
fn thousands_of_streams_cost_little_memory() {
    let start = |id: u8| [0, 0, 1, id, 0, 0, 0x80, 0, 0, 0xff, 0xfb, 0x90, 0x00];
    let all = (0..0x1fff).flat_map(|pid| ts_packet(pid, true, &start(0xc0 + pid as u8 % 0x20)));
    let all: Vec<u8> = all.collect();
    let good = sine("s.ts", "-c:a mp2 -b:a 128k");
    for file in [all.repeat(6), [&good[..], &all.repeat(6)].concat(), [&all[..], &good].concat()] {
        let _ = assert_small(&file, 16 * MIB);
    }
    let packs = [&[0, 0, 1, 0xba, 0x21, 0, 1, 0, 1, 1, 1, 1][..], &[0, 0, 1, 0xbd, 0, 3, 0x80, 0, 0, 0, 0]].concat();
    let _ = assert_small(&packs.repeat(400_000), 16 * MIB);
    // Sizes that no frame has, and frames that never end.
    let frames: [&[u8]; 4] =
        [b"\x0b\x77\0\0\0\x80", b"\x56\xff\xff", b"\x64\x58\x20\x25\0\x3f\xff\xff", b"\x7f\xf0\xff"];
    for frame in frames {
        let payload: Vec<u8> = frame.iter().copied().cycle().take(170).collect();
        let packet = ts_packet(0x101, true, &[&start(0xbd)[..9], &payload].concat());
        let _ = assert_small(&[&good[..], &packet.repeat(50_000)].concat(), 16 * MIB);
    }
}

#[test]
fn a_long_search_can_be_cancelled() {
    let nothing = ts_packet(0x1fff, false, &[]).repeat(32 * MIB / 188);
    let empty = [0, 0, 1, 0xbe, 0, 2, 0xff, 0xff].repeat(4 * MIB);
    let starts = [
        ("s.mp3", "-c:a libmp3lame", vec![0x55; 32 * MIB]),
        ("s.ts", "-c:a mp2 -b:a 128k", vec![0x55; 32 * MIB]),
        ("s.ts", "-c:a mp2 -b:a 128k", nothing),
        ("s.vob", "-f vob -c:a mp2 -b:a 128k", vec![0x55; 32 * MIB]),
        ("s.vob", "-f vob -c:a mp2 -b:a 128k", empty),
    ];
    for (name, args, more) in starts {
        let file = [sine(name, args), more].concat();
        let mut asked = 0;
        let mut stop = |_| {
            asked += 1;
            if asked < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let mut sink = Cursor::new(Vec::new());
        let outcome =
            NativeTranscoder::default().transcode(&mut Cursor::new(file), &mut sink, &Options::default(), &mut stop);
        assert!(matches!(outcome, Err(TranscodeError::Cancelled)), "{name}: {outcome:?}");
    }
}

/// Chunks and tags of nothing, millions of them, and sizes that nothing can have.
#[test]
fn crumbs_and_absurd_sizes_of_avi_and_flv_take_no_memory() {
    let avi = sine("s.avi", "-c:a pcm_s16le");
    let sound = avi.windows(4).position(|four| four == b"movi").unwrap() + 4;
    for crumb in [&b"01wb\0\0\0\0"[..], b"00wb\0\0\0\0", b"JUNK\0\0\0\0", b"00wb\xff\xff\xff\xff", b"LIST\0\0\0\0rec "]
    {
        let _ = assert_small(&[&avi[..sound], &crumb.repeat(1_000_000)].concat(), 16 * MIB);
        let _ = assert_small(&[&avi[..], &crumb.repeat(1_000_000)].concat(), 16 * MIB);
    }
    let flv = sine("s.flv", "-c:a aac");
    for crumb in [
        &b"\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b"[..],
        b"\x09\xff\xff\xff\0\0\0\0\0\0\0",
        b"\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b",
    ] {
        let _ = assert_small(&[&flv[..13], &crumb.repeat(1_000_000)].concat(), 16 * MIB);
        let _ = assert_small(&[&flv[..], &crumb.repeat(1_000_000)].concat(), 16 * MIB);
    }
}

#[test]
fn thousands_of_streams_in_asf_are_not_kept() {
    const AUDIO: u128 = 0xf8699e40_5b4d_11cf_a8fd_00805f5c442b;
    let kind = asf_guid(AUDIO);
    let format = [&[0x61, 1, 2, 0, 0x44, 0xac, 0, 0, 0, 64, 0, 0, 0, 4, 16, 0, 0, 0][..]].concat();
    let stream = [&kind[..], &[0; 24], &[18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], &format].concat();
    let stream = asf_object(0xb7dc0791_a9b7_11cf_8ee6_00c00c205365, &stream);
    let data = asf_object(0x75b22636_668e_11cf_a6d9_00aa0062ce6c, &[0; 26]);
    let head = asf_object(0x75b22630_668e_11cf_a6d9_00aa0062ce6c, &[2, 0, 0, 0, 1, 2]);
    let file = [head, stream.repeat(9000), data].concat();
    let err = assert_small(&file, 16 * MIB).unwrap_err();
    assert!(matches!(err, TranscodeError::Corrupt { .. }), "{err}");
}
