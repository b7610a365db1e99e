//! The Rust transcoder of microserve: Rust demuxers and decoders, LAME encodes.
//!
//! ```no_run
//! use std::{fs::File, ops::ControlFlow};
//!
//! use microserve_core::transcode::{Options, Quality, Transcoder};
//! use microserve_transcoder::NativeTranscoder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut video, mut mp3) = (File::open("video.mp4")?, File::create("audio.mp3")?);
//! let options = Options { quality: Some(Quality::Cbr(192)), ..Options::default() };
//! let go_on = &mut |_progress| ControlFlow::Continue(());
//! let made = NativeTranscoder::default().transcode(&mut video, &mut mp3, &options, go_on)?;
//! println!("{} samples at {} Hz", made.samples, made.sample_rate);
//! # Ok(())
//! # }
//! ```
//!
//! # What is read
//!
//! | container | codecs |
//! |---|---|
//! | MP4, M4A, MOV, 3GP; also fragmented, cut off behind its headers, without `ftyp` | AAC of every profile but USAC, AC-3, E-AC-3, MPEG layers I to III, ALAC, FLAC, Opus, Vorbis, DTS (its core), AMR, PCM, µ-law, A-law, MS and IMA ADPCM |
//! | Matroska, WebM | the same but AMR |
//! | Ogg, OGV | Vorbis, Opus, FLAC |
//! | AVI, also of more than 2 GB | MPEG layers I to III, AC-3, DTS, AAC, Vorbis, FLAC, Opus, Windows Media Audio, PCM, µ-law, A-law, MS and IMA ADPCM |
//! | FLV, also with Enhanced RTMP's codecs | AAC, MP3, Opus, FLAC, AC-3, E-AC-3, PCM, µ-law, A-law, ADPCM |
//! | ASF, WMV, WMA | Windows Media Audio 1 and 2, MPEG layers I to III, AAC, PCM, µ-law, A-law, MS and IMA ADPCM |
//! | MPEG-TS: TS, MTS, M2TS, also cut anywhere | AAC in ADTS and LATM, MPEG layers I to III, AC-3, E-AC-3, Opus, PCM of Blu-rays, SMPTE 302M |
//! | MPEG-PS: MPG, VOB, DAT of Video CDs | MPEG layers I to III, AC-3, PCM of DVDs, AAC |
//! | WAVE, RF64, BW64, W64, RIFX | PCM, µ-law, A-law, MS and IMA ADPCM, MPEG audio, AAC in ADTS |
//! | AIFF, AIFF-C, AU | PCM, µ-law, A-law, in AIFF-C IMA ADPCM |
//! | CAF | PCM, µ-law, A-law, IMA ADPCM, ALAC, AAC, Opus, MPEG audio |
//! | FLAC, MPEG audio (MP1, MP2, MP3), AAC in ADTS, AC-3, E-AC-3, DTS, AMR | their own |
//!
//! Anything else is an error that names it. Surround is mixed down (ITU-R BS.775), sample rates that MP3 does not have
//! are converted, and title, artist, album, date, cover and chapters go into an ID3v2.4 tag.
//!
//! # How a file becomes an MP3
//!
//! `sniff` tells the container from its bytes → `demux` opens exactly that reader and lists the tracks → `decode` makes
//! sound of the chosen track's packets → `audio` mixes and resamples → `lame` encodes, in this thread and, while there
//! are idle cores, in others. The same input and options give the same bytes on any machine. All of it streams: memory
//! does not depend on the length of the input, but each further thread needs some megabytes for sound that waits.
//!
//! Sound that is MP3 already is copied instead, frame by frame (`passthrough`), unless an option asks for a change of it.

mod audio;
mod chapters;
mod choice;
mod chosen;
mod codec;
mod decode;
mod demux;
mod guard;
mod input;
mod lame;
mod mp3;
mod native;
mod output;
mod passthrough;
mod sniff;
mod span;
mod tags;
mod timeline;

pub use native::{Limits, NativeTranscoder};
pub use sniff::{Container, SNIFF_BYTES, id3v2_size, sniff};
