//! The promises of [`Transcoder`], as far as a WAV made in code can show them. Whether the MP3 sounds right is for
//! independent decoders to judge, in the adapter's own tests.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::transcode::{
    Channels, GLANCE_BYTES, Options, Progress, Quality, Sink, Source, TranscodeError, Transcoded, Transcoder,
};

const RATE: u32 = 44_100;

/// The header of a WAV (RIFF) with `frames` frames of 16-bit PCM: 44 bytes.
fn wav_header(channels: u16, frames: u32) -> Vec<u8> {
    let block = u32::from(channels) * 2;
    let data = frames * block;
    let mut wav = Vec::with_capacity(44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + data).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    wav.extend_from_slice(&channels.to_le_bytes());
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * block).to_le_bytes());
    wav.extend_from_slice(&(block as u16).to_le_bytes());
    wav.extend_from_slice(b"\x10\0data");
    wav.extend_from_slice(&data.to_le_bytes());
    wav
}

/// A WAV of 16-bit PCM at 44.1 kHz: a tone of about 440 Hz, `frames` samples per channel.
#[must_use]
pub fn wav(channels: u16, frames: u32) -> Vec<u8> {
    let mut wav = wav_header(channels, frames);
    for n in 0..frames {
        let sample = (f64::from(n) / 16.0).sin() * 12_000.0;
        for _ in 0..channels {
            wav.extend_from_slice(&(sample as i16).to_le_bytes());
        }
    }
    wav
}

type Outcome = (Result<Transcoded, TranscodeError>, Vec<u8>);

/// Transcodes on a blocking thread, where every transcoder may do what it wants.
async fn transcode<S, F>(transcoder: &Arc<dyn Transcoder>, mut source: S, options: Options, mut progress: F) -> Outcome
where
    S: Source + 'static,
    F: FnMut(Progress) -> ControlFlow<()> + Send + 'static,
{
    let transcoder = Arc::clone(transcoder);
    let work = move || {
        let mut mp3 = Cursor::new(Vec::new());
        let outcome = transcoder.transcode(&mut source, &mut mp3, &options, &mut progress);
        (outcome, mp3.into_inner())
    };
    tokio::task::spawn_blocking(work).await.expect("a transcoder must not panic")
}

async fn mp3_of(transcoder: &Arc<dyn Transcoder>, source: Vec<u8>, options: Options) -> (Transcoded, Vec<u8>) {
    let (outcome, mp3) = transcode(transcoder, Cursor::new(source), options, |_| ControlFlow::Continue(())).await;
    (outcome.expect("a sound WAV can be transcoded"), mp3)
}

/// What the headers of an MP3 say (ISO/IEC 11172-3 2.4.1.3): samples per channel, sample rate, channels.
/// Panics unless the file is frames from its beginning, or the end of an ID3v2 tag, to its end.
fn measure(mp3: &[u8]) -> (u64, u32, u16) {
    let mut at = match mp3 {
        // ID3v2: ten bytes of header, then as many as four bytes of seven bits each say.
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [a, b, c, d].iter().fold(0, |size, byte| size << 7 | usize::from(**byte))
        }
        _ => 0,
    };
    let (mut samples, mut format) = (0, None);
    while at < mp3.len() {
        let Some(&[sync, b1, b2, b3]) = mp3.get(at..at + 4) else {
            panic!("the MP3 ends within a header, at byte {at}")
        };
        assert!(sync == 0xff && b1 & 0xfe == 0xfa, "at byte {at} there must be a frame of MPEG-1 Layer III");
        let kbps = usize::from(*Quality::BITRATES.get(usize::from(b2 >> 4).wrapping_sub(1)).expect("a bitrate"));
        let rate = *[44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3)).expect("a sample rate");
        at += 144_000 * kbps / rate + usize::from(b2 >> 1 & 1);
        samples += 1152;
        let channels = if b3 >> 6 == 3 { 1 } else { 2 };
        let this = (rate as u32, channels);
        assert_eq!(*format.get_or_insert(this), this, "rate and channels don't change within an MP3");
    }
    assert_eq!(at, mp3.len(), "the last frame must be whole");
    let (rate, channels) = format.expect("an MP3 has frames");
    (samples, rate, channels)
}

async fn wav_becomes_mp3(transcoder: Arc<dyn Transcoder>) {
    for (channels, frames) in [(1, RATE), (2, RATE / 3), (2, 1)] {
        let (said, mp3) = mp3_of(&transcoder, wav(channels, frames), Options::default()).await;
        assert_eq!((said.samples, said.sample_rate), (u64::from(frames), RATE), "the length is exact to the sample");
        assert_eq!((said.channels, said.lost_packets), (channels, 0), "channels as the source has them, and no losses");
        let (samples, rate, in_file) = measure(&mp3);
        assert_eq!((rate, in_file), (RATE, channels), "what is said of the MP3 is true of the file");
        assert!(samples >= said.samples, "the file has {samples} samples, too few for {}", said.samples);
        assert!(samples <= said.samples + 6 * 1152, "the file has {samples} samples, too many for {}", said.samples);
    }
}

async fn mono_mixes_down(transcoder: Arc<dyn Transcoder>) {
    let options = Options { channels: Some(Channels::Mono), ..Options::default() };
    let (said, mp3) = mp3_of(&transcoder, wav(2, RATE / 2), options).await;
    assert_eq!((said.channels, measure(&mp3).2), (1, 1), "asked for mono, the MP3 has one channel");
    assert_eq!(said.source.audio().map(|t| t.channels), Some(2), "and the source is still said to have two");
}

async fn constant_bitrate_is_kept(transcoder: Arc<dyn Transcoder>) {
    for kbps in [64, 320] {
        let options = Options { quality: Some(Quality::Cbr(kbps)), ..Options::default() };
        let (said, _) = mp3_of(&transcoder, wav(2, RATE * 2), options).await;
        let kbps = u32::from(kbps) * 1000;
        assert!(said.bitrate.abs_diff(kbps) <= kbps / 10, "asked for {kbps} bit/s, it says {}", said.bitrate);
    }
}

async fn same_input_same_bytes(transcoder: Arc<dyn Transcoder>) {
    let options = Options { fallback_title: Some("Ünïcödé 🎬".into()), ..Options::default() };
    let (first, first_mp3) = mp3_of(&transcoder, wav(2, RATE), options.clone()).await;
    let (second, second_mp3) = mp3_of(&transcoder, wav(2, RATE), options).await;
    assert_eq!(first, second, "the same input gives the same answer");
    assert!(first_mp3 == second_mp3, "the same input gives the same bytes");
}

async fn probe_agrees(transcoder: Arc<dyn Transcoder>) {
    let source = wav(2, RATE / 2);
    let (prober, mut probed) = (Arc::clone(&transcoder), Cursor::new(source.clone()));
    let probe = tokio::task::spawn_blocking(move || prober.probe(&mut probed)).await;
    let probed = probe.expect("a transcoder must not panic").expect("a WAV can be probed");
    let (said, _) = mp3_of(&transcoder, source, Options::default()).await;
    assert_eq!(probed.problem, None, "what can be transcoded has no problem");
    assert_eq!(probed.container, said.source.container, "probe and transcode name the same container");
    let (before, after) = (probed.audio().expect("a chosen track"), said.source.audio().expect("a chosen track"));
    assert_eq!((&before.kind, &before.codec), (&after.kind, &after.codec), "and the same codec");
    assert_eq!((before.channels, before.sample_rate), (after.channels, after.sample_rate), "channels and rate");
    assert!((before.duration.expect("a WAV tells") - 0.5).abs() < 0.01, "half a second is {:?}", before.duration);
}

/// The same must be wrong with the source for `probe` and `transcode`.
async fn assert_refused(transcoder: &Arc<dyn Transcoder>, source: &[u8], expected: impl Fn(&TranscodeError) -> bool) {
    let (prober, mut probed) = (Arc::clone(transcoder), Cursor::new(source.to_vec()));
    let probe = tokio::task::spawn_blocking(move || prober.probe(&mut probed)).await;
    let probe = probe.expect("a transcoder must not panic");
    assert!(probe.as_ref().is_err_and(&expected), "probe must say what is wrong with the source, not {probe:?}");
    let source = Cursor::new(source.to_vec());
    let (outcome, _) = transcode(transcoder, source, Options::default(), |_| ControlFlow::Continue(())).await;
    assert!(
        outcome.as_ref().is_err_and(&expected),
        "transcode must say what is wrong with the source, not {outcome:?}"
    );
}

async fn text_is_unsupported_container(transcoder: Arc<dyn Transcoder>) {
    let text = "To be, or not to be, that is the question.\n".repeat(200);
    let expected = |err: &TranscodeError| matches!(err, TranscodeError::UnsupportedContainer { .. });
    assert_refused(&transcoder, text.as_bytes(), expected).await;
    let glance = transcoder.glance(text.as_bytes());
    assert!(glance.as_ref().is_none_or(expected), "{glance:?}");
}

async fn a_good_file_passes_a_glance(transcoder: Arc<dyn Transcoder>) {
    let wav = wav(2, RATE);
    for head in [&wav[..], &wav[..GLANCE_BYTES.min(wav.len())]] {
        let glance = transcoder.glance(head);
        assert!(glance.is_none(), "{glance:?}");
    }
}

async fn empty_source_is_an_error(transcoder: Arc<dyn Transcoder>) {
    let expected = |err: &TranscodeError| {
        matches!(err, TranscodeError::UnsupportedContainer { .. } | TranscodeError::Corrupt { .. })
    };
    assert_refused(&transcoder, b"", expected).await;
}

/// An hour of noise that is made while it is read; from byte `breaks_at` on, reading fails.
struct LongWav {
    header: Vec<u8>,
    position: u64,
    breaks_at: u64,
}

impl LongWav {
    const FRAMES: u32 = 3600 * RATE;
    const SIZE: u64 = 44 + 4 * Self::FRAMES as u64;

    fn new(breaks_at: u64) -> Self {
        Self { header: wav_header(2, Self::FRAMES), position: 0, breaks_at }
    }
}

impl Read for LongWav {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.breaks_at {
            return Err(io::Error::other("the disk is broken"));
        }
        let n = buf.len().min(Self::SIZE.min(self.breaks_at).saturating_sub(self.position) as usize);
        for (byte, at) in buf[..n].iter_mut().zip(self.position..) {
            // Every other byte is a sample's upper one: keep it small, so that the noise is not loud.
            let noise = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
            *byte = self.header.get(at as usize).copied().unwrap_or(if at % 2 == 0 { noise } else { noise >> 4 });
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for LongWav {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => Self::SIZE.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

async fn cancel_is_obeyed(transcoder: Arc<dyn Transcoder>) {
    let (mut calls, mut last) = (0, 0.0);
    let progress = move |p: Progress| {
        calls += 1;
        assert!(p.position >= last, "progress never goes back: {} after {last}", p.position);
        last = p.position;
        if calls < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let (outcome, mp3) = transcode(&transcoder, LongWav::new(u64::MAX), Options::default(), progress).await;
    assert!(matches!(outcome, Err(TranscodeError::Cancelled)), "transcode must say Cancelled, not {outcome:?}");
    assert!(mp3.len() < 20_000_000, "it must stop soon, not after {} bytes", mp3.len());
}

async fn broken_source_is_a_source_error(transcoder: Arc<dyn Transcoder>) {
    let source = LongWav::new(3_000_000);
    let (outcome, _) = transcode(&transcoder, source, Options::default(), |_| ControlFlow::Continue(())).await;
    assert!(
        matches!(outcome, Err(TranscodeError::Source(_))),
        "a source that can't be read is not the file's fault: Source, not {outcome:?}"
    );
}

/// Takes nothing.
struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl Seek for FullDisk {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

async fn broken_sink_is_a_sink_error(transcoder: Arc<dyn Transcoder>) {
    let work = move || {
        let sink: &mut dyn Sink = &mut FullDisk;
        let go_on = &mut |_| ControlFlow::Continue(());
        transcoder.transcode(&mut Cursor::new(wav(2, RATE * 3)), sink, &Options::default(), go_on)
    };
    let outcome = tokio::task::spawn_blocking(work).await.expect("a transcoder must not panic");
    assert!(
        matches!(outcome, Err(TranscodeError::Sink(_))),
        "a sink that can't be written is not the file's fault: Sink, not {outcome:?}"
    );
}

suite! { $ transcoder_conformance: transcoder of Transcoder {
    wav_becomes_mp3,
    mono_mixes_down,
    constant_bitrate_is_kept,
    same_input_same_bytes,
    probe_agrees,
    text_is_unsupported_container,
    a_good_file_passes_a_glance,
    empty_source_is_an_error,
    cancel_is_obeyed,
    broken_source_is_a_source_error,
    broken_sink_is_a_sink_error,
} }
