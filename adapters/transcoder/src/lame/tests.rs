//! Promises of the encoder as a whole.

use std::io::Cursor;
use std::path::Path;

use microserve_core::transcode::{Cores, Quality};
use microserve_testkit::judge;

use super::instance::Format;
use super::segment::Plan;
use super::Mp3Writer;

/// One segment, whatever the length: a single encoder.
const SINGLE: Plan = Plan { frames: 49 << 32, lead: 49, joints: 49 };

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

fn encode(planes: &[Vec<f32>], format: Format, plan: Plan, cores: usize) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::new());
    let mut writer = Mp3Writer::with_plan(&mut sink, b"", format, plan, &Cores::new(cores)).unwrap();
    let count = planes[0].len();
    for start in (0..count).step_by(1000) {
        let block: Vec<&[f32]> = planes.iter().map(|plane| &plane[start..count.min(start + 1000)]).collect();
        writer.push(&block).unwrap();
    }
    let repairs = writer.repairs;
    let written = writer.finish().unwrap();
    if std::env::var("EXP").is_ok() { eprintln!("repairs {repairs} {}", written.bitrate); }
    assert_eq!(written.samples, count as u64);
    sink.into_inner()
}

fn decoded(mp3: &[u8], format: Format) -> Vec<f32> {
    let file = tempfile::Builder::new().suffix(".mp3").tempfile().unwrap();
    std::fs::write(file.path(), mp3).unwrap();
    judge::pcm(file.path(), format.rate, format.channels as u16)
}

#[test]
fn experiment() {
    let Ok(exp) = std::env::var("EXP") else { return };
    let v: Vec<u64> = exp.split(',').map(|x| x.parse().unwrap()).collect();
    let plan = Plan { frames: v[0], lead: v[1], joints: v[2] };
    let q = if v[3] < 10 { Quality::Vbr(v[3] as u8) } else { Quality::Cbr(v[3] as u16) };
    let format = Format { rate: v[4] as u32, channels: v[5] as usize, quality: q };
    let samples = format.frame() * (v[0] as usize) * v[6] as usize;
    let planes = match std::env::var("EXPWAV") {
        Ok(file) => {
            let pcm = judge::pcm(Path::new(&file), format.rate, format.channels as u16);
            (0..format.channels).map(|c| pcm.iter().skip(c).step_by(format.channels).copied().take(samples).collect()).collect()
        }
        Err(_) => music(format, samples),
    };
    let t = std::time::Instant::now();
    let joined = encode(&planes, format, plan, 2);
    let t1 = t.elapsed();
    let single = encode(&planes, format, SINGLE, 1);
    let t2 = t.elapsed() - t1;
    let (j, s) = (decoded(&joined, format), decoded(&single, format));
    let source: Vec<f32> = (0..planes[0].len()).flat_map(|n| planes.iter().map(move |p| p[n])).collect();
    let noise = |out: &[f32], a: usize, b: usize| -> f64 {
        source[a..b].iter().zip(&out[a..b]).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
    };
    let per = format.frame() * format.channels;
    for (from, to) in [(-2i64, 0), (0,4), (4,8), (8, 12), (12, 20), (20, 40), (-2, 20)] {
        let mut diffs = vec![];
        for k in 1..(planes[0].len() / format.frame() / v[0] as usize) {
            let g = k as i64 * v[0] as i64;
            let (a, b) = ((g + from) as usize * per, ((g + to) as usize * per).min(source.len()));
            let (x, y) = (noise(&j, a, b), noise(&s, a, b));
            diffs.push(-10.0 * (x / y).log10());
        }
        let mean = diffs.iter().sum::<f64>() / diffs.len() as f64;
        let worst = diffs.iter().copied().fold(f64::INFINITY, f64::min);
        let best = diffs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        eprintln!("{from}..{to}: mean {mean:.4} worst {worst:.3} best {best:.3} n={}", diffs.len());
    }
    eprintln!("whole {:.4} vs {:.4}; sizes {} {}; time {t1:?} {t2:?}", judge::snr(&source, &j), judge::snr(&source, &s), joined.len(), single.len());
}
