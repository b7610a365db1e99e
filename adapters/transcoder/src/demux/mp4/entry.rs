//! Sample descriptions: which codec a track has, with its settings (ISO/IEC 14496-12, 8.5.2 and 12.2.3; QuickTime File
//! Format, "Sound sample descriptions").

use symphonia::core::codecs::audio::well_known::*;

use super::boxes::{inner, u16_at, u32_at, u64_at};
use crate::audio::{Speaker, layout, wave_order};
use crate::codec::amr::Band;
use crate::codec::pcm::{Order, Sample};
use crate::codec::{Adpcm, AdpcmKind, Codec, OpusHead};
use crate::codecs::{CodecParameters, CodecTag};
use crate::demux::waveformat::{self, WaveFormat};
use crate::sniff::{ac3, mpeg};

/// What the description of an audio track says.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) codec: Codec,
    pub(super) encrypted: bool,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Bytes of a moment of PCM.
    pub(super) pcm_frame: Option<u64>,
    /// Samples and bytes of a block of ADPCM.
    pub(super) block: Option<(u64, u64)>,
}

/// The fields that all audio entries have, and the boxes behind them.
struct Fields<'b> {
    rate: u32,
    channels: u16,
    bits: u32,
    /// QuickTime's version 2: whether samples are floats, big-endian and signed.
    flags: Option<u32>,
    /// And the bytes of a moment of PCM.
    packet_bytes: u32,
    boxes: &'b [u8],
}

impl<'b> Fields<'b> {
    fn parse(body: &'b [u8]) -> Option<Self> {
        let version = u16_at(body, 8)?;
        let (channels, bits) = (u16_at(body, 16)?, u16_at(body, 18)?);
        let rate = u32_at(body, 24)? >> 16;
        let fields = Self { rate, channels, bits: bits.into(), flags: None, packet_bytes: 0, boxes: body.get(28..)? };
        match version {
            1 => Some(Self { boxes: body.get(44..)?, ..fields }),
            2 => {
                let rate = f64::from_bits(u64_at(body, 32)?);
                Some(Self {
                    rate: if (1.0..1e9).contains(&rate) { rate.round() as u32 } else { 0 },
                    channels: u16::try_from(u32_at(body, 40)?).ok()?,
                    bits: u32_at(body, 48)?,
                    flags: Some(u32_at(body, 52)?),
                    packet_bytes: u32_at(body, 56)?,
                    boxes: body.get(64..)?,
                })
            }
            _ => Some(fields),
        }
    }

    /// The loudspeakers of its channels.
    fn speakers(&self) -> Vec<Speaker> {
        let channels = usize::from(self.channels);
        let behind_version = |kind| self.find(kind).and_then(|body| body.get(4..));
        match (behind_version(b"chan"), self.find(b"chnl")) {
            (Some(chan), _) => layout::apple(chan, channels),
            (None, Some([0, _, _, _, chnl @ ..])) => layout::iso(chnl, channels),
            _ => wave_order(channels),
        }
    }

    /// What somebody else's decoder may want to know.
    fn foreign(&self, kind: [u8; 4]) -> CodecParameters {
        let bits = u16::try_from(self.bits).unwrap_or(0);
        CodecParameters { bits, ..CodecParameters::foreign(CodecTag::FourCc(kind), self.boxes) }
    }

    /// A box of a kind, here or in QuickTime's `wave` box.
    fn find(&self, kind: &[u8; 4]) -> Option<&'b [u8]> {
        inner(self.boxes, kind).or_else(|| inner(inner(self.boxes, b"wave")?, kind))
    }
}

impl Entry {
    pub(super) fn unknown() -> Self {
        let (name, codec) = ("unknown".to_owned(), Codec::Unsupported);
        Self { name, codec, encrypted: false, rate: 0, channels: 0, pcm_frame: None, block: None }
    }

    /// Reads a description; `scale` is the ticks per second of its track.
    pub(super) fn parse(kind: [u8; 4], body: &[u8], scale: u32) -> Self {
        let Some(mut fields) = Fields::parse(body) else {
            return Self { name: name(kind), ..Self::unknown() };
        };
        // There may be a box for rates that don't fit in (ISO/IEC 14496-12, 12.2.3).
        if let Some(rate) = fields.find(b"srat").and_then(|body| u32_at(body, 4)) {
            fields.rate = rate;
        }
        // Rates above 65,535 Hz don't fit in. A track of sound has ticks of its rate.
        if fields.rate == 0 {
            fields.rate = scale;
        }
        let encrypted = matches!(&kind, b"enca" | b"drms" | b"p608");
        let original = fields.find(b"sinf").and_then(|sinf| inner(sinf, b"frma"));
        let kind = original.filter(|_| encrypted).and_then(|kind| kind.try_into().ok()).unwrap_or(kind);
        let mut entry = Self { encrypted, rate: fields.rate, channels: fields.channels, ..Self::unknown() };
        if let Some(sample) = pcm(kind, &fields) {
            entry.name = sample.name();
            entry.codec = Codec::Pcm(sample, fields.rate, fields.speakers());
            entry.pcm_frame = Some(u64::from(sample.bytes) * u64::from(fields.channels));
            return entry;
        }
        (entry.name, entry.codec) = compressed(kind, &fields);
        if let Codec::Adpcm(adpcm) = &entry.codec {
            entry.block = Some((adpcm.samples_per_block() as u64, adpcm.block as u64));
        }
        match &entry.codec {
            Codec::Opus(head) => (entry.rate, entry.channels) = (48_000, head.channels.into()),
            Codec::Amr(band) => (entry.rate, entry.channels) = (band.rate(), 1),
            _ => {}
        }
        if let Codec::Ac3 = entry.codec {
            entry.channels = ac3_channels(&fields).unwrap_or(entry.channels);
        }
        (entry.rate, entry.channels) = entry.codec.aac_format().unwrap_or((entry.rate, entry.channels));
        entry
    }

    /// Whether it is MPEG audio of some layer.
    pub(super) fn is_mpeg_audio(&self) -> bool {
        matches!(&self.codec, Codec::Symphonia(params) if params.codec == CODEC_ID_MP3)
    }

    /// Tells of MPEG audio what its first frame does: all layers have the same object types, and mono may be written
    /// down as stereo.
    pub(super) fn correct(&mut self, frame: &mpeg::Frame) {
        self.name = ["mp1", "mp2", "mp3"][usize::from(frame.layer.clamp(1, 3)) - 1].to_owned();
        (self.rate, self.channels) = (frame.rate, frame.channels);
    }
}

fn compressed(kind: [u8; 4], fields: &Fields<'_>) -> (String, Codec) {
    let full_box = |kind| fields.find(kind).and_then(|body| body.get(4..));
    let codec = match &kind {
        b"mp4a" => {
            let Some((object, settings)) = fields.find(b"esds").and_then(|esds| descriptor(esds.get(4..)?)) else {
                return ("aac".to_owned(), aac_without_settings(fields.rate, fields.channels));
            };
            return mpeg4(object, settings, fields.rate, fields.channels);
        }
        b".mp3" | b"ms\0U" | b"mp3 " | b"mp2 " | b".mp2" | b"ms\0P" => mpeg_audio(),
        b"ima4" => {
            let (rate, channels) = (fields.rate, fields.channels);
            let block = 34 * usize::from(channels);
            adpcm(Adpcm { kind: AdpcmKind::ImaQuickTime, rate, channels, block })
        }
        // Their settings are those of WAVE.
        b"ms\0\x02" | b"ms\0\x11" => {
            match fields.find(&kind).and_then(WaveFormat::parse).map(|format| format.codec()) {
                Some((_, Codec::Adpcm(settings), _)) => adpcm(settings),
                _ => Codec::Unsupported,
            }
        }
        b"alac" => full_box(b"alac").map_or(Codec::Unsupported, |c| Codec::with_settings(CODEC_ID_ALAC, c)),
        b"fLaC" => full_box(b"dfLa").map_or(Codec::Unsupported, Codec::flac),
        b"dtsc" | b"dtsh" | b"dtsl" => Codec::Dts,
        b"samr" => Codec::Amr(Band::Narrow),
        b"sawb" => Codec::Amr(Band::Wide),
        b"wma " | b"owma" => match fields.find(b"wfex").and_then(WaveFormat::parse) {
            Some(format) => {
                let (name, codec, _) = format.codec();
                return (name, codec);
            }
            None => Codec::Unsupported,
        },
        b"Opus" => fields.find(b"dOps").and_then(OpusHead::parse_dops).map_or(Codec::Unsupported, Codec::Opus),
        b"ac-3" | b"sac3" | b"ec-3" => Codec::Ac3,
        _ => Codec::Foreign(fields.foreign(kind)),
    };
    (name(kind), codec)
}

fn adpcm(settings: Adpcm) -> Codec {
    if settings.makes_sense() { Codec::Adpcm(settings) } else { Codec::Unsupported }
}

/// The name and the codec that an elementary stream descriptor tells, as other containers have it too.
pub(in crate::demux) fn by_descriptor(bytes: &[u8], rate: u32, channels: u16) -> Option<(String, Codec)> {
    let (object, settings) = descriptor(bytes)?;
    Some(mpeg4(object, settings, rate, channels))
}

/// By its object type (MP4 registration authority, "Object types").
fn mpeg4(object: u8, settings: &[u8], rate: u32, channels: u16) -> (String, Codec) {
    let foreign = || Codec::Foreign(CodecParameters::foreign(CodecTag::ObjectType(object), settings));
    let (name, codec) = match object {
        0x40 | 0x66..=0x68 if settings.is_empty() => ("aac", aac_without_settings(rate, channels)),
        0x40 | 0x66..=0x68 => match audio_object_type(settings) {
            36 => ("mp4als", foreign()),
            42 => ("xhe-aac", foreign()),
            32..=34 => ("mp3", mpeg_audio()),
            _ => ("aac", Codec::Aac(settings.to_vec())),
        },
        0x69 | 0x6b => ("mp3", mpeg_audio()),
        0xa5 => ("ac3", Codec::Ac3),
        0xa6 => ("eac3", Codec::Ac3),
        0xa9..=0xab => ("dts", Codec::Dts),
        0xac => ("dts_express", foreign()),
        0xdd => ("vorbis", Codec::vorbis(settings)),
        other => return (format!("mpeg-4 object 0x{other:02x}"), foreign()),
    };
    (name.to_owned(), codec)
}

/// The channels that a `dac3` or `dec3` box tells (ETSI TS 102 366, F.4 and F.6): the entry itself always says two.
/// Dependent substreams don't count.
fn ac3_channels(fields: &Fields<'_>) -> Option<u16> {
    let (mode, lfe) = match fields.find(b"dac3") {
        Some([_, b1, ..]) => (b1 >> 3 & 7, b1 >> 2 & 1),
        _ => {
            let b3 = fields.find(b"dec3")?.get(3)?;
            (b3 >> 1 & 7, b3 & 1)
        }
    };
    Some(ac3::CHANNELS[usize::from(mode)] + u16::from(lfe))
}

/// The audio object type that an `AudioSpecificConfig` begins with (ISO/IEC 14496-3, 1.6.2.1).
fn audio_object_type(config: &[u8]) -> u8 {
    match config {
        [a, b, ..] if a >> 3 == 31 => 32 + ((a & 7) << 3 | b >> 5),
        [a, ..] => a >> 3,
        [] => 0,
    }
}

fn aac_without_settings(rate: u32, channels: u16) -> Codec {
    Codec::Aac(rusty_aac::audio_specific_config_bytes(rate, channels))
}

/// MPEG audio of any layer: the decoder sees which from the packets.
fn mpeg_audio() -> Codec {
    Codec::plain(CODEC_ID_MP3, 44_100, 2)
}

/// The object type and settings in an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6.5).
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, mut rest) = tagged(bytes)?;
    if tag == 3 {
        let flags = *rest.get(2)?;
        let url = if flags & 0x40 != 0 { 1 + usize::from(*rest.get(3)?) } else { 0 };
        let skip = 3 + if flags & 0x80 != 0 { 2 } else { 0 } + url + if flags & 0x20 != 0 { 2 } else { 0 };
        (_, rest) = tagged(rest.get(skip..)?)?;
    }
    let object = *rest.first()?;
    let settings = rest.get(13..).and_then(tagged).filter(|(tag, _)| *tag == 5).map_or(&[][..], |(_, body)| body);
    Some((object, settings))
}

/// A descriptor's tag and body. Its length has seven bits in a byte.
fn tagged(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, mut rest) = bytes.split_first()?;
    let mut length = 0;
    for _ in 0..4 {
        let (byte, behind) = rest.split_first()?;
        length = length << 7 | usize::from(byte & 0x7f);
        rest = behind;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((*tag, &rest[..length.min(rest.len())]))
}

/// Uncompressed and companded sound: how its samples are written.
fn pcm(kind: [u8; 4], fields: &Fields<'_>) -> Option<Sample> {
    // QuickTime's `enda` box in `wave` turns the byte order round.
    let little = Order::little_if(fields.find(b"enda").and_then(|body| u16_at(body, 0)) == Some(1));
    let integer = |bits: u32, order: Order| Sample::integer(bits, true, order);
    match &kind {
        b"sowt" => integer(fields.bits, Order::Little),
        b"twos" => integer(fields.bits, little),
        b"raw " | b"NONE" if fields.bits <= 8 => Sample::integer(fields.bits, false, Order::Big),
        b"raw " | b"NONE" => integer(fields.bits, little),
        b"in24" => integer(24, little),
        b"in32" => integer(32, little),
        b"fl32" => Sample::float(32, little),
        b"fl64" => Sample::float(64, little),
        b"ulaw" => Some(Sample::MU_LAW),
        b"alaw" => Some(Sample::A_LAW),
        b"lpcm" => {
            let flags = fields.flags?;
            let (float, signed, at_top) = (flags & 1 != 0, flags & 4 != 0, flags & 16 != 0);
            let bytes = fields.packet_bytes.checked_div(fields.channels.into()).unwrap_or(0);
            Sample::apple(float, signed, Order::little_if(flags & 2 == 0), fields.bits, bytes, at_top)
        }
        b"ipcm" | b"fpcm" => {
            // ISO/IEC 23003-5, 5.1
            let &[_, _, _, _, flags, bits] = fields.find(b"pcmC")?.get(..6)? else { return None };
            let order = Order::little_if(flags & 1 != 0);
            if &kind == b"fpcm" { Sample::float(bits.into(), order) } else { integer(bits.into(), order) }
        }
        _ => None,
    }
}

/// The name of a codec by that of its sample entry, which Core Audio has too.
pub(in crate::demux) fn name(kind: [u8; 4]) -> String {
    let known = match &kind {
        b"mp4a" => "aac",
        b".mp3" | b"ms\0U" | b"mp3 " => "mp3",
        b"mp2 " | b".mp2" | b"ms\0P" => "mp2",
        b"alac" => "alac",
        b"fLaC" => "flac",
        b"Opus" => "opus",
        b"ac-3" | b"sac3" => "ac3",
        b"ec-3" => "eac3",
        b"ac-4" => "ac4",
        b"dtsc" | b"dtsh" | b"dtsl" => "dts",
        b"dtse" => "dts_express",
        b"dtsx" => "dts_x",
        b"samr" => "amr_nb",
        b"sawb" => "amr_wb",
        b"mlpa" => "truehd",
        b"mha1" | b"mha2" | b"mhm1" | b"mhm2" => "mpegh_3d_audio",
        b"ima4" => "adpcm_ima_qt",
        b"ms\0\x02" => "adpcm_ms",
        b"ms\0\x11" => "adpcm_ima_wav",
        b"wma " => "wma",
        b"QDM2" => "qdm2",
        b"QDMC" => "qdmc",
        b"MAC3" => "mace3",
        b"MAC6" => "mace6",
        b"iamf" => "iamf",
        b"spex" => "speex",
        b"nmos" => "nellymoser",
        b"agsm" | b"gsm " => "gsm",
        b"Qclp" | b"Qclq" | b"sqcp" => "qcelp",
        b"sevc" => "evrc",
        b"ilbc" => "ilbc",
        b"usac" => "xhe-aac",
        // Those of WAVE, by their numbers.
        &[b'm', b's', a, b] => return waveformat::name(u16::from_be_bytes([a, b])),
        _ => return four_characters(kind),
    };
    known.to_owned()
}

/// The name of a video codec, for probing.
pub(super) fn video_name(kind: [u8; 4]) -> String {
    let known = match &kind {
        b"avc1" | b"avc3" => "h264",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "hevc",
        b"av01" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"mp4v" => "mpeg4",
        b"s263" | b"h263" => "h263",
        b"jpeg" | b"mjpa" | b"mjpb" => "mjpeg",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "prores",
        _ => return four_characters(kind),
    };
    known.to_owned()
}

fn four_characters(kind: [u8; 4]) -> String {
    let printable = |byte: u8| if (0x21..0x7f).contains(&byte) { char::from(byte) } else { '_' };
    kind.into_iter().map(printable).collect::<String>().trim_end_matches('_').to_owned()
}
