//! Promises of the encoder as a whole.

use std::io::Cursor;

use microserve_core::transcode::{Cores, Quality, TranscodeError};
use microserve_testkit::judge;

use super::Mp3Writer;
use super::frames::Frames;
use super::instance::Format;
use super::segment::Plan;

/// One segment, whatever the length.
fn single(quality: Quality) -> Plan {
    Plan { frames: 49 << 32, ..Plan::new(quality) }
}

/// An ID3 tag without anything in it.
const HEAD: &[u8] = b"ID3\x04\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";

/// Many joints, each made as they always are.
fn short(quality: Quality) -> Plan {
    Plan { frames: 98, ..Plan::new(quality) }
}

/// Chords that decay, drums, and a hiss that comes and goes; not two bars are the same.
fn music(format: Format, samples: usize) -> Vec<Vec<f32>> {
    let rate = f64::from(format.rate);
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        (noise >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let mut planes = vec![Vec::with_capacity(samples); format.channels];
    for n in 0..samples {
        let time = n as f64 / rate;
        let (beat, step) = (time % 0.31, (time / 0.31) as u32);
        let note = 82.4 * f64::powf(2.0, f64::from(step * 7 % 29) / 12.0);
        let chord: f64 = [1.0, 1.26, 1.498, 3.01, 5.02, 8.7]
            .iter()
            .map(|partial| (std::f64::consts::TAU * note * partial * time).sin() / (1.0 + partial))
            .sum();
        let chord = 0.45 * chord * (-3.0 * beat).exp();
        let drum = if step % 3 == 1 { 0.5 * (-60.0 * beat).exp() } else { 0.05 * (-200.0 * beat).exp() };
        let hiss = 0.004 + 0.04 * (0.37 * time).sin().max(0.0);
        let (left, right) = (random(), random());
        let both = [chord + (drum + hiss) * left, 0.8 * chord + hiss * right + drum * left * 0.6];
        for (plane, sample) in planes.iter_mut().zip(both) {
            plane.push((0.8 * sample) as f32);
        }
    }
    planes
}

/// A sound and how it is to be encoded.
struct Case {
    format: Format,
    planes: Vec<Vec<f32>>,
}

impl Case {
    fn new(rate: u32, channels: usize, quality: Quality, samples: usize) -> Self {
        let format = Format { rate, channels, quality };
        Self { format, planes: music(format, samples) }
    }

    fn encode(&self, plan: Plan, cores: usize) -> Vec<u8> {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = Mp3Writer::with_plan(&mut sink, HEAD, self.format, plan, &Cores::new(cores)).unwrap();
        self.push(&mut writer);
        let written = writer.finish().unwrap();
        assert_eq!(written.samples, self.samples() as u64);
        sink.into_inner()
    }

    fn push(&self, writer: &mut Mp3Writer<'_>) {
        // No multiple or part of a frame.
        for start in (0..self.samples()).step_by(1000) {
            let end = self.samples().min(start + 1000);
            let block: Vec<&[f32]> = self.planes.iter().map(|plane| &plane[start..end]).collect();
            writer.push(&block).unwrap();
        }
    }

    fn samples(&self) -> usize {
        self.planes[0].len()
    }

    /// The sound as it would be without losses.
    fn source(&self) -> Vec<f32> {
        (0..self.samples()).flat_map(|n| self.planes.iter().map(move |plane| plane[n])).collect()
    }

    fn decode(&self, mp3: &[u8]) -> Vec<f32> {
        let file = saved(mp3);
        let sound = judge::pcm(file.path(), self.format.rate, self.format.channels as u16);
        assert_eq!(sound.len(), self.samples() * self.format.channels, "{:?}", self.format);
        sound
    }
}

fn saved(mp3: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".mp3").tempfile().unwrap();
    std::fs::write(file.path(), mp3).unwrap();
    file
}

/// So many frames' samples.
fn frames(format: Format, count: u64) -> usize {
    format.frame() * count as usize
}

const CBR_128: Quality = Quality::Cbr(128);

#[test]
fn any_number_of_cores_makes_the_same_bytes() {
    for (rate, channels, quality) in [
        (44_100, 2, Quality::Cbr(192)),
        (44_100, 2, Quality::Vbr(2)),
        (48_000, 1, Quality::Cbr(64)),
        (22_050, 1, Quality::Vbr(4)),
        (24_000, 2, Quality::Cbr(8)),
    ] {
        let case = Case::new(rate, channels, quality, 1152 * 98 * 8);
        let alone = case.encode(short(quality), 1);
        for cores in [2, 3, 8] {
            assert!(case.encode(short(quality), cores) == alone, "{:?} on {cores} cores", case.format);
        }
    }
}

#[test]
fn the_length_is_exact_around_every_edge() {
    for quality in [CBR_128, Quality::Vbr(4)] {
        let (format, plan) = (Format { rate: 32_000, channels: 1, quality }, short(quality));
        let exact = |samples: usize| {
            let case = Case::new(format.rate, format.channels, quality, samples);
            let mp3 = case.encode(plan, 3);
            case.decode(&mp3);
            assert!(mp3 == case.encode(plan, 1), "{samples} samples");
        };
        // The start and the end of a segment, and of what its encoder is fed with.
        let edges = [1, plan.start(1), 98, plan.end(0), plan.limit(0), 2 * 98, plan.limit(1)];
        for edge in edges.map(|edge| frames(format, edge)) {
            [edge - 1, edge, edge + 1, edge + 576].into_iter().for_each(exact);
        }
        [1, 2, 575, 576, 577].into_iter().for_each(exact);
    }
}

#[test]
fn nothing_pushed_is_an_mp3_of_nothing() {
    let case = Case::new(44_100, 2, CBR_128, 0);
    let mut sink = Cursor::new(Vec::new());
    let plan = Plan::new(CBR_128);
    let writer = Mp3Writer::with_plan(&mut sink, b"", case.format, plan, &Cores::new(2)).unwrap();
    assert_eq!(writer.finish().unwrap().samples, 0);
}

#[test]
fn others_find_nothing_wrong_with_joined_mp3s() {
    for (rate, channels, quality) in [
        (44_100, 2, Quality::Cbr(320)),
        (44_100, 1, Quality::Cbr(32)),
        (48_000, 2, Quality::Vbr(0)),
        (22_050, 2, Quality::Vbr(9)),
        (8_000, 1, Quality::Cbr(8)),
    ] {
        let case = Case::new(rate, channels, quality, 300 * 1152);
        judge::assert_clean(saved(&case.encode(short(quality), 2)).path());
    }
}

/// How much worse what two MP3s have of a sound is, in dB: negative where the first one is.
struct Compared<'a> {
    source: &'a [f32],
    ours: &'a [f32],
    theirs: &'a [f32],
}

impl Compared<'_> {
    fn decibels(&self, range: std::ops::Range<usize>) -> f64 {
        let source = &self.source[range.clone()];
        judge::snr(source, &self.ours[range.clone()]) - judge::snr(source, &self.theirs[range])
    }
}

/// What joints cost in comparison with a single encoder, in dB: each, and all of the sound.
fn cost_of_joints(case: &Case, plan: Plan, mp3: &[u8]) -> (Vec<f64>, f64) {
    let (ours, theirs) = (case.decode(mp3), case.decode(&case.encode(single(case.format.quality), 1)));
    let compared = Compared { source: &case.source(), ours: &ours, theirs: &theirs };
    let joints = case.samples() / frames(case.format, plan.frames);
    let around = |n: u64| {
        // A frame is heard a little before where it lies, as decoders leave out what the encoder added.
        let frame = |n: u64| frames(case.format, n) * case.format.channels;
        compared.decibels(frame(n * plan.frames - 2)..frame(n * plan.frames + 20))
    };
    ((1..joints as u64).map(around).collect(), compared.decibels(0..ours.len()))
}

fn mean(list: &[f64]) -> f64 {
    list.iter().sum::<f64>() / list.len() as f64
}

fn least(list: &[f64]) -> f64 {
    list.iter().copied().fold(f64::INFINITY, f64::min)
}

/// No validator sees a damaged joint, so what comes out is compared with what went in.
#[test]
fn joints_can_not_be_heard() {
    let mut all = Vec::new();
    for (rate, channels, quality) in [
        (44_100, 2, Quality::Cbr(128)),
        (44_100, 2, Quality::Cbr(192)),
        (44_100, 2, Quality::Cbr(256)),
        (44_100, 2, Quality::Cbr(320)),
        (44_100, 2, Quality::Vbr(0)),
        (44_100, 2, Quality::Vbr(2)),
        (44_100, 2, Quality::Vbr(4)),
        (44_100, 1, Quality::Cbr(64)),
        (44_100, 1, Quality::Vbr(2)),
        (48_000, 2, Quality::Cbr(192)),
        (48_000, 2, Quality::Vbr(2)),
        (48_000, 1, Quality::Cbr(128)),
        (32_000, 2, Quality::Cbr(128)),
        (32_000, 1, Quality::Vbr(4)),
        (22_050, 2, Quality::Cbr(128)),
        (22_050, 1, Quality::Cbr(64)),
        (22_050, 2, Quality::Vbr(2)),
    ] {
        let format = Format { rate, channels, quality };
        let plan = short(quality);
        let case = Case::new(rate, channels, quality, frames(format, 32 * plan.frames));
        let (joints, whole) = cost_of_joints(&case, plan, &case.encode(plan, 2));
        println!("{format:?}: mean {:.4} dB, worst {:.3}, whole {whole:.4}", mean(&joints), least(&joints));
        assert!(mean(&joints) > -0.1 && least(&joints) > -1.0 && whole > -0.02, "{format:?}: {whole} dB, {joints:?}");
        all.extend(joints);
    }
    println!("{} joints: mean {:.4} dB, worst {:.3}", all.len(), mean(&all), least(&all));
    assert!(all.len() >= 500 && mean(&all) > -0.02);
}

/// With a single frame to join before, there often is too little room in the bit reservoir.
#[test]
fn segments_that_can_not_be_joined_are_encoded_again() {
    let plan = Plan { joints: 1, ..short(Quality::Cbr(96)) };
    let case = Case::new(44_100, 2, Quality::Cbr(96), 40 * 98 * 1152);
    let mp3 = case.encode(plan, 2);
    let mut frames = Frames::new();
    frames.bytes = mp3[HEAD.len()..].to_vec();
    assert!(frames.find());
    // One that was encoded again begins with an empty reservoir. The tag is a frame, too.
    let again = (1..40).filter(|n| frames.main_data_begin(1 + 98 * n) == Some(0)).count();
    println!("{again} of 39 were encoded again");
    assert!(again > 0);
    assert!(mp3 == case.encode(plan, 1));
    judge::assert_clean(saved(&mp3).path());
    let (joints, whole) = cost_of_joints(&case, plan, &mp3);
    println!("mean {:.4} dB, worst {:.3}, whole {whole:.4}", mean(&joints), least(&joints));
    assert!(mean(&joints) > -0.3 && least(&joints) > -2.0 && whole > -0.2, "{joints:?}, {whole} dB");
}

#[test]
fn a_dropped_writer_ends_its_threads() {
    let case = Case::new(44_100, 2, CBR_128, 200 * 1152);
    let cores = Cores::new(4);
    let mut sink = Cursor::new(Vec::new());
    let mut writer = Mp3Writer::with_plan(&mut sink, b"", case.format, short(CBR_128), &cores).unwrap();
    case.push(&mut writer);
    drop(writer);
    let all: Vec<_> = std::iter::from_fn(|| cores.try_take()).collect();
    assert_eq!(all.len(), 4);
}

/// A sink that is full after some bytes.
struct Full(Cursor<Vec<u8>>, usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.position() as usize + bytes.len() > self.1 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Full {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_sink_is_a_sink_error_wherever_it_is_full() {
    let case = Case::new(44_100, 2, Quality::Cbr(320), 300 * 1152);
    let plan = short(case.format.quality);
    for room in [0, 100_000, 200_000, 310_000] {
        let mut sink = Full(Cursor::new(Vec::new()), room);
        let made =
            Mp3Writer::with_plan(&mut sink, b"head", case.format, plan, &Cores::new(2)).and_then(|mut writer| {
                let planes: Vec<&[f32]> = case.planes.iter().map(Vec::as_slice).collect();
                writer.push(&planes)?;
                writer.finish()
            });
        assert!(matches!(made, Err(TranscodeError::Sink(_))), "after {room} bytes");
    }
}
