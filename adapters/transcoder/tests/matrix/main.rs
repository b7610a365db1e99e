//! Every container with every codec that ffmpeg writes into it, judged by ffmpeg and mp3val: the MP3 decodes without a
//! word, is exactly as long as the source's sound, and sounds like it; or the error names the codec.
//!
//! A file for each family of containers has the cells, as data. `docs` writes them down in `FORMATS.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

#[macro_use]
mod cell;
mod codecs;

mod avi;
mod disc;
mod docs;
mod files;
mod flv_asf;
mod matroska;
mod mov;
mod mp4;
mod ogg;
mod pcm;
