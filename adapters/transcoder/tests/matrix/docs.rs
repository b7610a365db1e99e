//! `FORMATS.md`: the matrix for people to read, written down from the cells.

use std::fmt::Write as _;
use std::path::Path;

use microserve_testkit::media;

use crate::cell::{Becomes, Cell, Lists};
use crate::common::convert;
use crate::common::finest;
use crate::{avi, disc, files, flv_asf, matroska, mov, mp4, ogg, pcm};

const FILES: [Lists; 9] = [
    mp4::CELLS,
    mov::CELLS,
    matroska::CELLS,
    ogg::CELLS,
    avi::CELLS,
    flv_asf::CELLS,
    disc::CELLS,
    pcm::CELLS,
    files::CELLS,
];

/// Containers, the ends of their files' names, and what else there is to be said.
const COLUMNS: [(&str, &[&str], &str); 14] = [
    (
        "MP4",
        &["mp4", "m4a", "m4v", "3gp", "3g2", "f4v"],
        "MP4, M4A, M4V, 3GP, 3G2, F4V; headers in front or at the end; fragmented, CMAF; edit lists; without `ftyp`; \
         cut off behind its headers",
    ),
    ("MOV", &["mov"], "the same by QuickTime"),
    ("MKV", &["mkv", "mka", "webm"], "Matroska, MKA, WebM"),
    ("Ogg", &["ogg", "oga", "opus", "ogv"], "OGG, OGA, OPUS, OGV; chained; late beside a picture"),
    ("AVI", &["avi"], "also of more than 2 GB, and without an index"),
    ("FLV", &["flv"], "also with Enhanced RTMP's codecs"),
    ("ASF", &["asf", "wmv", "wma"], "ASF, WMV, WMA"),
    ("TS", &["ts", "m2ts"], "MPEG transport streams: TS, MTS, M2TS; packets of 188, 192 and 204 bytes; cut anywhere"),
    ("PS", &["mpg", "vob"], "MPEG program streams: MPG, VOB, the DAT of Video CDs"),
    ("WAVE", &["wav", "w64"], "WAV, RF64, BW64, W64, RIFX"),
    ("AIFF", &["aiff", "aifc", "aif"], "AIFF, AIFF-C"),
    ("AU", &["au", "snd"], "AU, SND"),
    ("CAF", &["caf"], "Core Audio Format"),
    (
        "none",
        &["flac", "mp1", "mp2", "mp3", "aac", "adts", "ac3", "eac3", "dts", "amr"],
        "files of frames: FLAC, MP1, MP2, MP3, AAC in ADTS, AC-3, E-AC-3, DTS, AMR",
    ),
];

/// Codecs in the order of the rows, with their short names.
const ROWS: [(&str, &[&str]); 26] = [
    ("AAC-LC", &["aac"]),
    ("HE-AAC, v1 and v2", &[]),
    ("MP3", &["mp3"]),
    ("MP2", &["mp2"]),
    ("MP1", &[]),
    ("Opus", &["opus"]),
    ("Vorbis", &["vorbis"]),
    ("FLAC", &["flac"]),
    ("ALAC", &["alac"]),
    ("AC-3", &["ac3"]),
    ("E-AC-3", &["eac3"]),
    ("TrueHD, MLP", &["truehd", "mlp"]),
    ("DTS, its core", &["dts"]),
    ("WMA 1 and 2", &["wmav1", "wmav2"]),
    ("AMR, AMR-WB", &[]),
    ("PCM, integers", &["pcm_u8", "pcm_s8", "pcm_s16", "pcm_s24", "pcm_s32", "pcm_s64"]),
    ("PCM, floats", &["pcm_f32", "pcm_f64"]),
    ("PCM of discs", &["pcm_dvd", "pcm_bluray"]),
    ("SMPTE 302M", &["s302m"]),
    ("A-law, µ-law", &["pcm_alaw", "pcm_mulaw"]),
    ("ADPCM, Microsoft's", &["adpcm_ms"]),
    ("ADPCM, IMA's", &["adpcm_ima_wav", "adpcm_ima_qt"]),
    ("ADPCM of Flash", &["adpcm_swf"]),
    ("Speex", &["speex"]),
    ("Nellymoser", &["nellymoser"]),
    ("WavPack, TTA", &["wavpack4", "tta1"]),
];

/// What shows something that ffmpeg does not write.
enum Shown {
    /// A file of those that `MICROSERVE_MEDIA` names, which `wild.rs` judges.
    ByFile(&'static str),
    /// A test, in this file.
    ByTest(&'static str, &'static str),
}
use Shown::{ByFile, ByTest};

/// Of what ffmpeg 5.1 does not write: container, codec, and what shows that it is read.
const OTHERWISE: &[(&str, &str, Shown)] = &[
    ("MP4", "HE-AAC, v1 and v2", ByFile("mp4/fate-File3.mp4")),
    ("MP4", "WMA 1 and 2", ByFile("mp4/mp4ff-audio_dec.mp4")),
    ("MP4", "PCM, integers", ByFile("mp4/media3-sowt_pcm_variable_sample_size.mp4")),
    ("MP4", "PCM, floats", ByFile("mp4/media3-sample_fpcm_64le.mp4")),
    ("TS", "HE-AAC, v1 and v2", ByFile("mpegts/exo-sample_latm.ts")),
    ("none", "HE-AAC, v1 and v2", ByFile("aac/fate-File1.aac")),
    ("none", "MP1", ByFile("mp3/lofty-full_test.mp1")),
    ("MP4", "AMR, AMR-WB", ByTest("amr.rs", "files_of_both_bands_are_converted")),
    ("none", "AMR, AMR-WB", ByTest("amr.rs", "files_of_both_bands_are_converted")),
    ("FLV", "Opus", ByTest("avi_flv.rs", "opus_in_flv_is_decoded")),
];

#[test]
#[expect(clippy::disallowed_methods, reason = "people tell a test by a variable to write instead of comparing")]
fn formats_md_says_what_the_cells_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMATS.md");
    let wanted = document();
    if std::env::var_os("MICROSERVE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "MICROSERVE_WRITE_DOCS=1 cargo nextest run -p microserve-transcoder --test matrix formats_md";
    assert!(there == wanted, "FORMATS.md is not what the cells say; `{hint}` writes it anew");
}

#[test]
fn what_ffmpeg_does_not_write_is_shown_otherwise() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    for (container, codec, shown) in OTHERWISE {
        assert!(ROWS.iter().any(|(name, _)| name == codec) && COLUMNS.iter().any(|(name, ..)| name == container));
        match shown {
            ByTest(file, test) => {
                let text = std::fs::read_to_string(tests.join(file)).unwrap();
                assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
            }
            ByFile(file) => {
                assert_eq!(column(file), *container, "{file}");
                let Some(folder) = media::extra() else { continue };
                if let Err(err) = convert(&folder.join(file), &finest()) {
                    panic!("{file}: {err}");
                }
            }
        }
    }
}

#[test]
fn every_row_and_every_column_has_a_cell() {
    for (name, _) in ROWS {
        assert!(COLUMNS.iter().any(|(container, ..)| !mark(container, name).is_empty()), "{name}");
    }
    for (container, ..) in COLUMNS {
        assert!(ROWS.iter().any(|(name, _)| !mark(container, name).is_empty()), "{container}");
    }
    cells().for_each(|cell| assert!(!mark(column(cell.file), row(cell.codec)).is_empty()));
}

fn cells() -> impl Iterator<Item = &'static Cell> {
    FILES.into_iter().flatten().flat_map(|(_, cells)| *cells)
}

/// The container of a file, by the end of its name.
fn column(file: &str) -> &'static str {
    let end = file.rsplit('.').next().unwrap();
    let found = COLUMNS.into_iter().find(|(_, ends, _)| ends.contains(&end));
    found.unwrap_or_else(|| panic!("{file} is in no column")).0
}

/// The row of a codec.
fn row(codec: &str) -> &'static str {
    let plain = codec.trim_end_matches("le").trim_end_matches("be");
    let found = ROWS.into_iter().find(|(_, codecs)| codecs.contains(&plain));
    found.unwrap_or_else(|| panic!("{codec} is in no row")).0
}

/// What the matrix says of a codec in a container.
fn mark(container: &str, codec: &str) -> &'static str {
    let of_both = |cell: &&Cell| column(cell.file) == container && row(cell.codec) == codec;
    let mut ours = cells().filter(of_both).map(|cell| matches!(cell.becomes, Becomes::Mp3 { .. }));
    match ours.next() {
        Some(true) => "✓",
        Some(false) => "–",
        None if OTHERWISE.iter().any(|(c, r, _)| *c == container && *r == codec) => "○",
        None => "",
    }
}

fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    let line =
        |cells: &mut dyn Iterator<Item = &str>| cells.fold("|".to_owned(), |line, cell| line + " " + cell + " |");
    let names = || COLUMNS.into_iter().map(|(name, ..)| name);
    writeln!(text, "\n{}", line(&mut std::iter::once("").chain(names()))).unwrap();
    writeln!(text, "|---{}", "|:-:".repeat(COLUMNS.len()) + "|").unwrap();
    for (codec, _) in ROWS {
        let marks = names().map(|container| mark(container, codec));
        writeln!(text, "{}", line(&mut std::iter::once(codec).chain(marks))).unwrap();
    }
    text.push_str(LEGEND);
    text.push_str("\n| | files |\n|---|---|\n");
    for (container, _, files) in COLUMNS {
        writeln!(text, "| {container} | {files} |").unwrap();
    }
    text
}

const INTRODUCTION: &str = "\
# What is read

<!-- Written by a test:
MICROSERVE_WRITE_DOCS=1 cargo nextest run -p microserve-transcoder --test matrix formats_md -->

Codecs in containers. Each mark is a test, most of them several, with other rates and channels, up to 7.1 where the
codec has that many.
";

const LEGEND: &str = "
- ✓: a file that ffmpeg 5.1 writes becomes an MP3 as long as its sound, to the sample, and like it. Where the file
  doesn't tell what its encoder put in front and behind, as in AVI and MPEG streams, that is heard too.
- ○: ffmpeg does not write it, but a file from the wild, or one put together by a test, becomes an MP3.
- –: `unsupported_codec`, and the error names it.
- Nothing: hardly anybody writes it, and no test has it.

The containers:
";
