use std::io::SeekFrom;
use std::ops::ControlFlow;

use crate::transcode::{
    Channels, Options, Progress, Quality, Sink, Source, SourceInfo, TrackInfo, TranscodeError, Transcoded, Transcoder,
};

/// A transcoder for tests that need *an* MP3, not a good one: it understands WAV with 16-bit PCM at 44.1 kHz, one or
/// two channels, and writes silence of the same length.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeTranscoder;

/// Samples per channel in a frame of MPEG-1 Layer III.
const FRAME: u64 = 1152;
/// The only sample rate in Hz.
const RATE: u32 = 44_100;
/// What is read between two looks at the progress: frames of PCM.
const STEP: u64 = 16 * 1024;

struct Wav {
    channels: u16,
    frames: u64,
}

impl Wav {
    fn read(source: &mut dyn Source) -> Result<Self, TranscodeError> {
        let mut header = [0; 44];
        source.seek(SeekFrom::Start(0)).map_err(TranscodeError::Source)?;
        source.read_exact(&mut header).map_err(|err| match err.kind() {
            std::io::ErrorKind::UnexpectedEof => unsupported("unknown"),
            _ => TranscodeError::Source(err),
        })?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (low, high) = (u16_at(40), u16_at(42));
        let (format, channels, bits) = (u16_at(20), u16_at(22), u16_at(34));
        if !header.starts_with(b"RIFF") || header[8..16] != *b"WAVEfmt " || header[36..40] != *b"data" {
            return Err(unsupported("unknown"));
        }
        if (format, bits) != (1, 16) || !(1..=2).contains(&channels) {
            return Err(TranscodeError::UnsupportedCodec { name: format!("wav format {format} of {bits} bits") });
        }
        let data = u64::from(high) << 16 | u64::from(low);
        Ok(Self { channels, frames: data / (2 * u64::from(channels)) })
    }

    fn duration(&self) -> f64 {
        self.frames as f64 / f64::from(RATE)
    }

    fn info(&self) -> SourceInfo {
        let track = TrackInfo {
            kind: "audio".into(),
            codec: "pcm_s16le".into(),
            channels: self.channels,
            sample_rate: RATE,
            duration: Some(self.duration()),
            language: None,
        };
        SourceInfo { container: "wav".into(), tracks: vec![track], chosen: Some(0), ..SourceInfo::default() }
    }
}

fn unsupported(name: &str) -> TranscodeError {
    TranscodeError::UnsupportedContainer { name: name.to_owned() }
}

impl Transcoder for FakeTranscoder {
    fn glance(&self, head: &[u8]) -> Option<TranscodeError> {
        (!head.starts_with(b"RIFF")).then(|| TranscodeError::UnsupportedContainer { name: "no WAV".to_owned() })
    }

    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        Wav::read(source).map(|wav| wav.info())
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let wav = Wav::read(source)?;
        let channels = match options.channels {
            Some(Channels::Mono) => 1,
            Some(Channels::Stereo) => 2,
            None => wav.channels,
        };
        let quality = options.quality.unwrap_or_default();
        let frame = silent_frame(quality, channels);
        let (mut done, mut written) = (0, 0);
        let mut pcm = vec![0; STEP as usize * 2 * usize::from(wav.channels)];
        // One frame more than the audio needs: an encoder's delay has to go somewhere.
        while written < wav.frames + FRAME {
            if done < wav.frames {
                let step = STEP.min(wav.frames - done);
                let bytes = step as usize * 2 * usize::from(wav.channels);
                source.read_exact(&mut pcm[..bytes]).map_err(TranscodeError::Source)?;
                done += step;
                let now = Progress { position: done as f64 / f64::from(RATE), duration: Some(wav.duration()) };
                if progress(now).is_break() {
                    return Err(TranscodeError::Cancelled);
                }
            }
            while written < done || (done == wav.frames && written < wav.frames + FRAME) {
                sink.write_all(&frame).map_err(TranscodeError::Sink)?;
                written += FRAME;
            }
        }
        sink.flush().map_err(TranscodeError::Sink)?;
        Ok(Transcoded {
            source: wav.info(),
            samples: wav.frames,
            sample_rate: RATE,
            channels,
            bitrate: u32::from(kbps(quality)) * 1000,
            lost_packets: 0,
        })
    }
}

fn kbps(quality: Quality) -> u16 {
    match quality {
        Quality::Cbr(kbps) => kbps,
        Quality::Vbr(_) => 128,
    }
}

/// A frame whose side information is all zero: no bits of audio, so silence (ISO/IEC 11172-3 2.4.1).
fn silent_frame(quality: Quality, channels: u16) -> Vec<u8> {
    let kbps = kbps(quality);
    let index = Quality::BITRATES.iter().position(|b| *b == kbps).unwrap_or(8) as u8 + 1;
    let mode = if channels == 1 { 0b1100_0000 } else { 0 };
    let mut frame = vec![0; 144_000 * usize::from(kbps) / RATE as usize];
    frame[..4].copy_from_slice(&[0xff, 0xfb, index << 4, mode]);
    frame
}
