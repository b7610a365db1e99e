//! Ways in for the fuzz targets: container readers, decoders and the encoder, each by itself. Behind whole files a
//! fuzzer hardly ever gets to them.
//!
//! Panics of other people's decoders are caught here, as in a conversion. Ours end the process ([`watch_panics`]).

use std::io::{Cursor, Write, stderr};

use microserve_core::transcode::{Channels, Cores, Options, Quality};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP3};

use crate::audio::{Pcm, Speaker};
use crate::codec::pcm::{Number, Order, Sample};
use crate::codec::{Adpcm, AdpcmKind, Codec, OpusHead, PcmFormat, Wma, amr};
use crate::decode;
use crate::demux::{self, Opened, Packet, Read};
use crate::guard::guarded;
use crate::input::Input;
use crate::output::{Goal, Output};
use crate::sniff::Container;

/// The containers that [`demux`] takes by number.
const CONTAINERS: [Container; 19] = [
    Container::Mp4,
    Container::Matroska,
    Container::Ogg,
    Container::Wav,
    Container::W64,
    Container::Aiff,
    Container::Au,
    Container::Caf,
    Container::Avi,
    Container::Flv,
    Container::Flac,
    Container::Mp3,
    Container::Adts,
    Container::Ac3,
    Container::MpegTs,
    Container::MpegPs,
    Container::Amr,
    Container::Asf,
    Container::Dts,
];

/// From here on, a panic in code of ours ends the process, whoever would catch it.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let is_ours = |file: &str| file.contains("adapters/transcoder/") || file.contains("core/src/transcode");
        if panic.location().is_some_and(|at| is_ours(at.file())) {
            let _nobody_listens = writeln!(stderr(), "{panic}");
            std::process::abort();
        }
    }));
}

/// Reads all packets of a track. The first byte says which container it is, and which of its tracks.
pub fn demux(data: &[u8]) {
    let Some((first, file)) = data.split_first() else { return };
    let count = CONTAINERS.len();
    let (container, track) = (CONTAINERS[usize::from(*first) % count], usize::from(*first) / count);
    let _panicked = guarded(|| {
        let mut cursor = Cursor::new(file);
        let mut opened = Input::new(&mut cursor).and_then(|input| demux::open_as(container, input)).ok()?;
        let track = track.checked_rem(opened.tracks.len())?;
        read(&mut opened, track, file.len(), |_| {});
        Some(())
    });
}

/// Reads packets until the end, or until a conversion would give up.
fn read(opened: &mut Opened<'_>, track: usize, len: usize, mut take: impl FnMut(&Packet)) {
    opened.packets.select(track);
    let (mut packet, mut left) = (Packet::default(), len * 4 + (1 << 20));
    loop {
        match opened.packets.next(&mut packet) {
            Ok(Read::Packet) => take(&packet),
            Ok(Read::End) | Err(_) => return,
            Ok(_) => {}
        }
        // What is no packet is progress all the same, but no more than there are bytes.
        let Some(less) = left.checked_sub(packet.data.len().max(1)) else { return };
        left = less;
    }
}

/// Makes of a media file the input of [`demux`] that reads it, and that of [`decode`] that decodes its beginning.
#[must_use]
pub fn seeds(file: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut cursor = Cursor::new(file);
    let mut opened = demux::open(Input::new(&mut cursor).ok()?).ok()?;
    let number = CONTAINERS.iter().position(|container| *container == opened.container)?;
    let demuxed = [&[u8::try_from(number).ok()?], file].concat();
    let track = opened.tracks.iter().position(|track| track.is_audio())?;
    let Some((kind, settings)) = settings(&opened.tracks[track].codec) else { return Some((demuxed, None)) };
    let mut decoded = vec![kind, u8::try_from(settings.len() >> 8).ok()?, settings.len() as u8];
    decoded.extend(settings);
    read(&mut opened, track, file.len(), |packet| {
        if let Ok(length) = u16::try_from(packet.data.len()) {
            decoded.extend(length.to_be_bytes());
            decoded.extend(&packet.data);
        }
    });
    Some((demuxed, Some(decoded)))
}

/// Decodes packets. The input is a decoder's number, the length of its settings in two bytes and these, and then each
/// packet behind its length in two bytes.
pub fn decode(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Some((settings, mut rest)) = counted(rest) else { return };
    let Some(codec) = codec(*kind, settings) else { return };
    let Ok(Ok(mut decoder)) = guarded(|| decode::open(&codec, "name")) else { return };
    let (mut pcm, mut samples) = (Pcm::default(), 0);
    while let Some((packet, behind)) = counted(rest) {
        rest = behind;
        match guarded(|| decoder.decode(packet, &mut pcm)) {
            Ok(Ok(())) if decode::check(&pcm, "name").is_ok() => samples += pcm.frames(),
            Ok(_) => {}
            Err(_panicked) => return,
        }
        // Bytes that claim a lot of silence show nothing new.
        if samples > 1 << 21 {
            return;
        }
    }
    let _panicked = guarded(|| decoder.finish(&mut pcm));
}

/// Bytes behind their length, or as many of them as there are.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    Some(rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len())))
}

/// A codec by its number, with settings as a container might have them.
fn codec(kind: u8, settings: &[u8]) -> Option<Codec> {
    let byte = |at: usize| settings.get(at).copied().unwrap_or(0);
    let two = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
    let rate = u32::from(two(0)) * 4;
    Some(match kind % 16 {
        0 => Codec::Aac(settings.to_vec()),
        1 => Codec::Adts,
        2 => Codec::Ac3,
        3 => Codec::Latm,
        4 => Codec::Opus(OpusHead::parse(settings)?),
        5 => Codec::vorbis(settings),
        6 => {
            let kind = match byte(6) % 4 {
                0 => AdpcmKind::Microsoft(pairs(settings.get(7..).unwrap_or_default())),
                1 => AdpcmKind::ImaWav,
                2 => AdpcmKind::ImaQuickTime,
                _ => AdpcmKind::Swf,
            };
            let adpcm = Adpcm { kind, rate, channels: two(2), block: two(4).into() };
            adpcm.makes_sense().then_some(Codec::Adpcm(adpcm))?
        }
        7 => {
            let order = Order::little_if(byte(4) & 1 != 0);
            let sample = match byte(4) >> 1 & 7 {
                0 => Sample::A_LAW,
                1 => Sample::MU_LAW,
                2 => Sample::float(32 << (byte(3) & 1), order)?,
                3 => Sample { number: Number::Unsigned, ..Sample::integer(byte(3).into(), false, order)? },
                _ => Sample { unused: byte(5), ..Sample::integer(byte(3).into(), true, order)? },
            };
            Codec::pcm(sample, rate, byte(2).into())
        }
        8 => {
            let speakers = Speaker::usual(usize::from(byte(4) % 9));
            let slots = u8::try_from(speakers.len()).ok()? + (byte(4) >> 7);
            Codec::DiscPcm(PcmFormat { rate, bytes: 2 + byte(2) % 2, slots, speakers })
        }
        9 => Codec::Amr(if byte(0) & 1 == 0 { amr::Band::Narrow } else { amr::Band::Wide }),
        10 => Codec::Dts,
        11 => Codec::Wma(Wma {
            version: 1 + byte(8) % 2,
            rate,
            channels: two(2),
            bytes_per_second: u32::from(two(4)) * 4,
            block: two(6),
            flags: two(9),
        }),
        12 => Codec::plain(CODEC_ID_MP3, 44_100, 2),
        13 => Codec::with_settings(CODEC_ID_FLAC, settings),
        14 => Codec::with_settings(CODEC_ID_ALAC, settings),
        _ => return None,
    })
}

fn pairs(bytes: &[u8]) -> Vec<(i16, i16)> {
    let pair = |four: &[u8; 4]| (i16::from_le_bytes([four[0], four[1]]), i16::from_le_bytes([four[2], four[3]]));
    bytes.as_chunks().0.iter().take(256).map(pair).collect()
}

/// The number and the settings that [`codec`] makes this one of.
fn settings(codec: &Codec) -> Option<(u8, Vec<u8>)> {
    let quarter = |rate: u32| u16::try_from(rate / 4).unwrap_or(0).to_le_bytes();
    Some(match codec {
        Codec::Aac(config) => (0, config.clone()),
        Codec::Adts => (1, Vec::new()),
        Codec::Ac3 => (2, Vec::new()),
        Codec::Latm => (3, Vec::new()),
        Codec::Opus(head) => (4, head.packet()),
        Codec::Vorbis { ident, setup } => (5, crate::codecs::vorbis(ident, setup)),
        Codec::Adpcm(Adpcm { kind: AdpcmKind::ImaWav, rate, channels, block }) => {
            let block = u16::try_from(*block).unwrap_or(0);
            (6, [&quarter(*rate)[..], &channels.to_le_bytes(), &block.to_le_bytes(), &[1]].concat())
        }
        Codec::Pcm(sample, rate, speakers) => {
            let channels = u8::try_from(speakers.len()).unwrap_or(0);
            (7, [&quarter(*rate)[..], &[channels, sample.bytes * 8, 9, 0]].concat())
        }
        Codec::Amr(band) => (9, vec![u8::from(*band == amr::Band::Wide)]),
        Codec::Dts => (10, Vec::new()),
        Codec::Wma(wma) => {
            let bitrate = u16::try_from(wma.bytes_per_second / 4).unwrap_or(0).to_le_bytes();
            let fields = [quarter(wma.rate), wma.channels.to_le_bytes(), bitrate, wma.block.to_le_bytes()].concat();
            (11, [&fields[..], &[wma.version - 1], &wma.flags.to_le_bytes()].concat())
        }
        Codec::Symphonia(params) => match params.codec {
            CODEC_ID_FLAC => (13, params.extra_data.as_deref()?.to_vec()),
            CODEC_ID_ALAC => (14, params.extra_data.as_deref()?.to_vec()),
            _ => (12, Vec::new()),
        },
        Codec::DiscPcm(_) | Codec::Adpcm(_) | Codec::Foreign(_) | Codec::Unsupported => return None,
    })
}

/// Encodes any samples. The input is what is asked for, and then blocks: a byte for rate and channels, one for the
/// samples of a channel, and these as floats of any kind.
///
/// # Panics
/// If an MP3 is said to have been made that is none, or is not as long as its sound.
pub fn encode(data: &[u8]) {
    let Some(([quality, shape, loud], mut rest)) = data.split_first_chunk() else { return };
    let options = Options {
        quality: Some(if quality & 0x80 != 0 {
            Quality::Cbr(Quality::BITRATES[usize::from(quality & 0x7f) % Quality::BITRATES.len()])
        } else {
            Quality::Vbr(quality % 10)
        }),
        channels: [None, Some(Channels::Mono), Some(Channels::Stereo), None][usize::from(shape & 3)],
        sample_rate: [None, Some(8000), Some(44_100), Some(48_000)][usize::from(shape >> 2 & 3)],
        ..Options::default()
    };
    let gain = (loud & 1 != 0).then(|| f32::from(*loud) / 16.0);
    let (mut mp3, cores) = (Cursor::new(Vec::new()), Cores::new(1));
    let mut output = Output::new(Goal::Mp3 { sink: &mut mp3, head: &[], gain, cores: &cores }, &options);
    let (mut pcm, mut samples, mut rates) = (Pcm::default(), 0, Vec::new());
    while let Some(([format, count], behind)) = rest.split_first_chunk() {
        const RATES: [u32; 8] = [4000, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 384_000];
        let (rate, channels) = (RATES[usize::from(format & 7)], usize::from(format >> 3 & 7) + 1);
        pcm.reset(rate, &Speaker::usual(channels));
        let (floats, behind) = behind.split_at((usize::from(*count) * channels * 4).min(behind.len()));
        let floats: Vec<f32> = floats.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        // The same over and over makes a sound out of few bytes.
        for _ in 0..=format >> 6 {
            pcm.push_interleaved(&floats);
        }
        rest = behind;
        if pcm.frames() == 0 {
            continue;
        }
        assert!(decode::check(&pcm, "name").is_ok());
        samples += pcm.frames() as u64;
        rates.push(rate);
        if output.push(&pcm, 0..pcm.frames()).is_err() {
            return;
        }
    }
    let Ok(made) = output.made() else { return };
    let is_resampled = rates.iter().any(|rate| *rate != made.rate);
    assert!(is_resampled || made.samples == samples, "{} samples, not {samples}", made.samples);
    let head = mp3.get_ref().first_chunk::<4>().map(|head| crate::sniff::mpeg::frame(head).is_some());
    assert_eq!(head, Some(true), "it begins with no frame");
}
