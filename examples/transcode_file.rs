//! The transcoder alone, without a server: a video's sound becomes an MP3.
//!
//! ```sh
//! cargo run -p microserve-examples --example transcode_file -- video.mkv audio.mp3
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{Write, stderr};
use std::ops::ControlFlow;

use microserve::core::transcode::{Options, Progress, Quality, Transcoder};
use microserve::transcoder::NativeTranscoder;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [video, mp3] = arguments.as_slice() else { return Err("usage: transcode_file VIDEO MP3".into()) };
    let mut source = File::open(video)?;
    let mut sink = File::create_new(mp3)?;

    let options = Options { quality: Some(Quality::Cbr(192)), ..Options::default() };
    let mut progress = |progress: Progress| {
        let _nobody_looks = write!(stderr(), "\r{:>6.1} s", progress.position);
        // `Break` would end the conversion with `TranscodeError::Cancelled`.
        ControlFlow::Continue(())
    };
    let transcoder = NativeTranscoder::default();
    let transcoded = match transcoder.transcode(&mut source, &mut sink, &options, &mut progress) {
        Ok(transcoded) => transcoded,
        Err(err) => {
            // What is in the sink now is rubbish.
            std::fs::remove_file(mp3)?;
            return Err(format!("{}: {err}", err.code()).into());
        }
    };
    writeln!(stderr(), "\r{:.3} s at {} bit/s", transcoded.duration(), transcoded.bitrate)?;
    Ok(())
}
