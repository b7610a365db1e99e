//! Tests of the crate from outside: one program, because each one more has to be linked.

#[path = "../common/mod.rs"]
mod common;

mod ac3;
mod amr;
mod asf;
mod avi_flv;
mod chapters;
mod codecs;
mod conformance;
mod damaged;
mod dts;
mod files;
mod joined;
mod mpeg_streams;
mod options;
mod passthrough;
mod quality;
mod tags;
mod timing;
