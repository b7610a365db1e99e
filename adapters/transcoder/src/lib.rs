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
#![doc = include_str!("../FORMATS.md")]
//!
//! Anything else is an error that names it, unless a decoder of one's own takes it ([`Codecs`]). Surround is mixed down
//! (ITU-R BS.775), sample rates that MP3 does not have are converted, and title, artist, album, date, cover and chapters
//! go into an ID3v2.4 tag.
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
mod codecs;
mod decode;
mod demux;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod head;
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

pub use audio::{Pcm, Speaker};
pub use codecs::{CodecParameters, CodecTag, Codecs, Tier};
pub use decode::{Damaged, Decoder};
pub use native::{Limits, NativeTranscoder, glance};
pub use sniff::{Container, SNIFF_BYTES, id3v2_size, sniff};
