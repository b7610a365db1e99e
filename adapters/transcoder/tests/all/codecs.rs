//! Decoders that the transcoder is given: they are asked in their order, told what the file says, and not believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::fs::File;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{convert, finest};
use microserve_core::transcode::{Options, SourceInfo, TranscodeError, Transcoded, Transcoder};
use microserve_testkit::{judge, media};
use microserve_transcoder::{
    CodecParameters, CodecTag, Codecs, Damaged, Decoder, NativeTranscoder, Pcm, Speaker, Tier,
};

/// Yamaha's ADPCM, which no built-in decoder takes: four bits a sample, which a step is scaled by that grows and
/// shrinks with them.
struct Yamaha {
    rate: u32,
    speakers: Vec<Speaker>,
    /// Each channel's last sample and step.
    channels: Vec<(i32, i32)>,
}

impl Yamaha {
    fn decoder(told: &CodecParameters) -> Option<Box<dyn Decoder>> {
        if told.tag != Some(CodecTag::Wave(0x20)) || told.bits != 4 || !(1..=2).contains(&told.channels) {
            return None;
        }
        let channels = usize::from(told.channels);
        Some(Box::new(Self {
            rate: told.sample_rate,
            speakers: Speaker::usual(channels),
            channels: vec![(0, 127); channels],
        }))
    }
}

impl Decoder for Yamaha {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        const GROWTH: [i32; 8] = [230, 230, 230, 230, 307, 409, 512, 614];
        pcm.reset(self.rate, &self.speakers);
        let nibbles = packet.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        for (n, nibble) in nibbles.enumerate() {
            let channel = n % self.speakers.len();
            let (sample, step) = &mut self.channels[channel];
            let size = i32::from(nibble & 7);
            let change = *step * (2 * size + 1) / 8;
            *sample = (*sample + if nibble & 8 == 0 { change } else { -change }).clamp(-32_768, 32_767);
            *step = ((*step * GROWTH[size as usize]) >> 8).clamp(127, 24_576);
            pcm.planes_mut()[channel].push(*sample as f32 / 32_768.0);
        }
        Ok(())
    }
}

fn yamaha() -> Codecs {
    let mut codecs = Codecs::default();
    codecs.add(Tier::Fallback, "adpcm_yamaha", Yamaha::decoder);
    codecs
}

/// A file of two different tones for two seconds, encoded with this.
fn tones(name: &str, codec: &[&str]) -> PathBuf {
    let sound = "aevalsrc=exprs='0.3*sin(2*PI*440*t)|0.3*sin(2*PI*660*t)':sample_rate=44100:duration=2";
    media::make(name, &[&["-f", "lavfi", "-i", sound, "-c:a"], codec].concat())
}

fn probe(codecs: Codecs, source: &Path) -> SourceInfo {
    NativeTranscoder::default().with_codecs(codecs).probe(&mut File::open(source).unwrap()).unwrap()
}

fn convert_with(codecs: Codecs, source: &Path) -> Result<common::Mp3, TranscodeError> {
    common::convert_by(&NativeTranscoder::default().with_codecs(codecs), source, &finest())
}

#[test]
fn a_decoder_of_somebody_elses_makes_a_right_mp3() {
    for name in ["yamaha.wav", "yamaha.mkv", "yamaha.avi"] {
        let source = tones(name, &["adpcm_yamaha"]);
        let info = probe(yamaha(), &source);
        assert_eq!((info.problem, info.chosen, info.tracks[0].codec.as_str()), (None, Some(0), "adpcm_yamaha"));
        let mp3 = convert_with(yamaha(), &source).unwrap();
        judge::assert_clean(&mp3.path);
        assert_eq!((mp3.made.sample_rate, mp3.made.channels, mp3.made.lost_packets), (44_100, 2, 0));
        let expected = judge::samples(&source);
        assert!(mp3.made.samples.abs_diff(expected) < 1152, "{name}: {} samples, not {expected}", mp3.made.samples);
        let snr = common::snr(&source, &mp3);
        assert!(snr > 30.0, "{name}: {snr:.1} dB");
    }
}

#[test]
fn what_nobody_takes_keeps_its_name() {
    let source = tones("yamaha.wav", &["adpcm_yamaha"]);
    let mut declining = Codecs::default();
    declining.add(Tier::Preferred, "adpcm_yamaha", |_| None);
    declining.add(Tier::Fallback, "adpcm_yamaha", |_| None);
    declining.add(Tier::Fallback, "yamaha", Yamaha::decoder);
    for codecs in [Codecs::default(), declining] {
        assert_eq!(probe(codecs.clone(), &source).problem.unwrap().code, "unsupported_codec");
        let err = convert_with(codecs, &source).err().unwrap();
        assert!(matches!(err, TranscodeError::UnsupportedCodec { name } if name == "adpcm_yamaha"));
    }
}

#[test]
fn a_track_counts_as_soon_as_somebody_decodes_it() {
    let sounds = ["-f", "lavfi", "-i", "sine=440:duration=1", "-f", "lavfi", "-i", "sine=660:duration=1"];
    let tracks = ["-map", "0", "-map", "1", "-c:a:0", "adpcm_yamaha", "-c:a:1", "flac"];
    let source = media::make("two.mkv", &[&sounds[..], &tracks].concat());
    assert_eq!(probe(Codecs::default(), &source).chosen, Some(1));
    assert_eq!(probe(yamaha(), &source).chosen, Some(0));
    assert_eq!(convert_with(yamaha(), &source).unwrap().made.source.chosen, Some(0));
}

/// Gives the same block for every packet.
struct Same(u32, usize, Vec<f32>);

impl Decoder for Same {
    fn decode(&mut self, _packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        pcm.reset(self.0, &Speaker::usual(self.1));
        pcm.push_interleaved(&self.2);
        Ok(())
    }
}

#[test]
fn those_that_are_preferred_replace_the_built_in_one_in_their_order() {
    let source = tones("tones.wav", &["pcm_s16le"]);
    let make = |rate| move |_: &CodecParameters| Some(Box::new(Same(rate, 1, vec![0.1; 100])) as Box<dyn Decoder>);
    let rate = |codecs| convert_with(codecs, &source).unwrap().made.source.audio().unwrap().sample_rate;
    let mut codecs = Codecs::default();
    codecs.add(Tier::Fallback, "pcm_s16le", make(8000));
    assert_eq!(rate(codecs.clone()), 44_100);
    codecs.add(Tier::Preferred, "pcm_s16le", |_| None);
    assert_eq!(rate(codecs.clone()), 44_100);
    codecs.add(Tier::Preferred, "pcm_s16le", make(22_050));
    codecs.add(Tier::Preferred, "pcm_s16le", make(24_000));
    assert_eq!(rate(codecs), 22_050);
}

/// What a file says of its sound.
fn told(source: &Path, codec: &str) -> CodecParameters {
    let (said, mut codecs) = (Arc::new(Mutex::new(None)), Codecs::default());
    let heard = Arc::clone(&said);
    codecs.add(Tier::Preferred, codec, move |told| {
        *heard.lock().unwrap() = Some(told.clone());
        None
    });
    probe(codecs, source);
    let said = said.lock().unwrap().take();
    said.unwrap_or_else(|| panic!("nobody was asked for {codec}"))
}

#[test]
fn what_containers_say_of_strange_codecs_is_told() {
    let nellymoser = told(&tones("n.flv", &["nellymoser", "-ar", "22050", "-ac", "1"]), "nellymoser");
    assert_eq!((nellymoser.tag, nellymoser.sample_rate, nellymoser.channels), (Some(CodecTag::Flv(6)), 22_050, 1));

    let truehd = told(&tones("t.mp4", &["truehd", "-strict", "-2", "-ar", "48000"]), "truehd");
    assert_eq!(truehd.tag, Some(CodecTag::FourCc(*b"mlpa")));
    assert_eq!(truehd.private.get(4..8), Some(&b"dmlp"[..]));

    let truehd = told(&tones("t.mkv", &["truehd", "-strict", "-2", "-ar", "48000"]), "truehd");
    assert_eq!((truehd.tag, truehd.sample_rate), (Some(CodecTag::Matroska("A_TRUEHD".to_owned())), 48_000));

    for name in ["g726.wav", "g726.avi", "g726.mkv"] {
        let codec = ["g726", "-ar", "8000", "-ac", "1", "-code_size", "3", "-strict", "-2"];
        let g726 = told(&tones(name, &codec), "adpcm_g726");
        assert_eq!((g726.tag, g726.bits, g726.channels), (Some(CodecTag::Wave(0x45)), 3, 1), "{name}");
        assert_eq!((g726.sample_rate, g726.bytes_per_second), (8000, 3000), "{name}");
    }
}

#[test]
fn settings_of_known_codecs_have_one_form_in_every_container() {
    for (codec, encoder, names) in [
        ("opus", &["libopus", "-ar", "48000"][..], ["o.mkv", "o.mp4"]),
        ("flac", &["flac"], ["f.mkv", "f.mp4"]),
        ("aac", &["aac"], ["a.mkv", "a.mp4"]),
        ("alac", &["alac"], ["l.mkv", "l.m4a"]),
    ] {
        let [one, other] = names.map(|name| told(&tones(name, &[encoder, &["-strict", "-2"]].concat()), codec));
        assert!(!one.private.is_empty() && one.private == other.private, "{codec}: {one:?}, {other:?}");
        assert_eq!((one.tag, one.sample_rate, one.channels), (None, other.sample_rate, 2));
    }
}

/// Does what a decoder must not.
struct Liar {
    how: &'static str,
    packets: usize,
}

impl Decoder for Liar {
    fn decode(&mut self, _packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        self.packets += 1;
        let late = self.packets > 5;
        pcm.reset(44_100, &Speaker::usual(2));
        pcm.push_interleaved(&[0.1; 8192]);
        match self.how {
            "panics" => panic!("at any time"),
            "panics late" if late => panic!("at any time"),
            "uneven" => pcm.planes_mut()[1].truncate(7),
            "uneven late" if late => pcm.planes_mut()[0].clear(),
            "no rate" => pcm.reset(0, &Speaker::usual(2)),
            "any rate late" if late => pcm.reset(u32::MAX, &Speaker::usual(300)),
            "many channels" => {
                pcm.reset(44_100, &Speaker::usual(9));
                pcm.push_interleaved(&[0.1; 900]);
            }
            "takes the block" => *pcm = Pcm::default(),
            "huge" => pcm.planes_mut().iter_mut().for_each(|plane| plane.resize((1 << 20) + 1, 0.0)),
            "nothing" => pcm.clear(),
            "damaged" => {
                pcm.reset(u32::MAX, &Speaker::usual(1000));
                return Err(Damaged);
            }
            "damaged late" if late => {
                pcm.reset(u32::MAX, &Speaker::usual(1000));
                return Err(Damaged);
            }
            "no numbers" => {
                let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, f32::MIN_POSITIVE];
                pcm.planes_mut().iter_mut().flatten().zip(strange.iter().cycle()).for_each(|(to, from)| *to = *from);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, pcm: &mut Pcm) {
        match self.how {
            "panics at the end" => panic!("at last"),
            "uneven at the end" => pcm.planes_mut()[0].push(1.0),
            "any rate at the end" => pcm.reset(1, &[]),
            _ => pcm.clear(),
        }
    }
}

fn lie(how: &'static str) -> Result<Transcoded, TranscodeError> {
    let mut codecs = Codecs::default();
    codecs.add(Tier::Preferred, "pcm_s16le", move |_| {
        assert_ne!(how, "panics when made");
        Some(Box::new(Liar { how, packets: 0 }))
    });
    let transcoder = NativeTranscoder::default().with_codecs(codecs);
    let source = tones("tones.wav", &["pcm_s16le"]);
    let go_on = &mut |_| ControlFlow::Continue(());
    let mut mp3 = Cursor::new(Vec::new());
    transcoder.transcode(&mut File::open(source).unwrap(), &mut mp3, &Options::default(), go_on)
}

#[test]
fn a_decoder_that_lies_or_panics_makes_the_file_corrupt() {
    for how in [
        "panics",
        "panics late",
        "panics at the end",
        "panics when made",
        "uneven",
        "no rate",
        "takes the block",
        "huge",
        "nothing",
        "damaged",
        // Most of it is damage.
        "uneven late",
        "any rate late",
        "damaged late",
    ] {
        let outcome = lie(how);
        assert!(matches!(outcome, Err(TranscodeError::Corrupt { .. })), "{how}: {outcome:?}");
    }
    assert_eq!(lie("many channels").err().unwrap().code(), "unsupported_codec");
}

#[test]
fn what_a_decoder_lies_about_at_the_end_is_left_out() {
    let honest = lie("nothing strange").unwrap();
    assert!(honest.samples > 44_100);
    for how in ["uneven at the end", "any rate at the end", "no numbers"] {
        let made = lie(how).unwrap();
        assert_eq!((made.samples, made.source.audio().unwrap().sample_rate), (honest.samples, 44_100), "{how}");
    }
}

#[test]
fn without_codecs_everything_is_as_ever() {
    let source = tones("tones.wav", &["pcm_s16le"]);
    let (plain, with) = (convert(&source, &finest()).unwrap(), convert_with(yamaha(), &source).unwrap());
    assert_eq!(std::fs::read(plain.path).unwrap(), std::fs::read(with.path).unwrap());
}
