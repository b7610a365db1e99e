//! `WAVEFORMATEX`: how WAVE, AVI, ASF and Matroska's `A_MS/ACM` say what their sound is encoded with (Microsoft,
//! "Multiple channel audio data and WAVE files" and `mmreg.h`; RFC 2361).

use microserve_core::transcode::TrackInfo;
use symphonia::core::codecs::audio::well_known::*;

use super::{AUDIO, Part, Track};
use crate::audio::{Speaker, layout, wave_order};
use crate::codec::pcm::{Order, Sample};
use crate::codec::{Adpcm, AdpcmKind, Codec, OpusHead, Wma};
use crate::codecs::{CodecParameters, CodecTag};

/// The structure, as it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WaveFormat<'b> {
    /// Of `WAVE_FORMAT_EXTENSIBLE`, the tag that the sub-format stands for; 0 if it stands for none.
    pub(super) tag: u16,
    pub(super) channels: u16,
    /// In Hz.
    pub(super) rate: u32,
    pub(super) bytes_per_second: u32,
    pub(super) block_align: u16,
    pub(super) bits: u16,
    /// A bit for each loudspeaker; 0: not said.
    pub(super) mask: u32,
    /// The sub-format of `WAVE_FORMAT_EXTENSIBLE`.
    sub_format: Option<[u8; 16]>,
    /// What follows: the codec's settings.
    pub(super) extra: &'b [u8],
}

/// How the encoded sound is divided into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Blocks of so many bytes one behind the other; a packet is any number of them.
    Blocks(usize),
    /// Frames of MPEG audio, which say where they end.
    Mpeg,
    /// Frames of AAC in ADTS.
    Adts,
    /// Syncframes of AC-3 or E-AC-3.
    Ac3,
    /// Whatever the container has as a packet.
    Packets,
}

const EXTENSIBLE: u16 = 0xfffe;
/// What the sub-formats end with that stand for a tag (`KSDATAFORMAT_SUBTYPE_…`), and those of ambisonics.
const STANDS_FOR_TAG: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];
/// Dolby's sub-formats, which stand for no tag.
const AC3: [u8; 16] = [0x2c, 0x80, 0x6d, 0xe0, 0x46, 0xdb, 0xcf, 0x11, 0xb4, 0xd1, 0, 0x80, 0x5f, 0x6c, 0xbb, 0xea];
const EAC3: [u8; 16] = [0xaf, 0x87, 0xfb, 0xa7, 0x02, 0x2d, 0xfb, 0x42, 0xa4, 0xd4, 5, 0xcd, 0x93, 0x84, 0x3b, 0xdd];

/// And that of sound of a bit to a sample.
const DFPWM: [u8; 16] =
    [0x3a, 0xc1, 0xfa, 0x38, 0x81, 0x1d, 0x43, 0x61, 0xa4, 0x0d, 0xce, 0x53, 0xca, 0x60, 0x7c, 0xd1];

impl<'b> WaveFormat<'b> {
    /// Reads the structure, or one of its older and shorter forms.
    pub(super) fn parse(bytes: &'b [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<14>()?;
        let [t0, t1, c0, c1, r0, r1, r2, r3, s0, s1, s2, s3, b0, b1] = *head;
        let mut format = Self {
            tag: u16::from_le_bytes([t0, t1]),
            channels: u16::from_le_bytes([c0, c1]),
            rate: u32::from_le_bytes([r0, r1, r2, r3]),
            bytes_per_second: u32::from_le_bytes([s0, s1, s2, s3]),
            block_align: u16::from_le_bytes([b0, b1]),
            ..Self::default()
        };
        if let [d0, d1, rest @ ..] = rest {
            format.bits = u16::from_le_bytes([*d0, *d1]);
            if let [n0, n1, extra @ ..] = rest {
                format.extra = &extra[..extra.len().min(u16::from_le_bytes([*n0, *n1]).into())];
            }
        }
        Some(if format.tag == EXTENSIBLE { format.extended() } else { format })
    }

    /// `WAVEFORMATEXTENSIBLE`: the bits that matter, the loudspeakers, and what the tag was to say.
    fn extended(self) -> Self {
        let Some(([_, _, m0, m1, m2, m3], rest)) = self.extra.split_first_chunk() else { return self };
        let Some((sub_format, extra)) = rest.split_first_chunk::<16>() else { return self };
        let [t0, t1, kind @ ..] = *sub_format;
        let tag = if STANDS_FOR_TAG.contains(&kind) { u16::from_le_bytes([t0, t1]) } else { 0 };
        let mask = u32::from_le_bytes([*m0, *m1, *m2, *m3]);
        Self { tag, mask, sub_format: Some(*sub_format), extra, ..self }
    }

    /// The track of sound that it describes, and how its packets are to be found.
    pub(super) fn track(&self) -> (Track, Packing) {
        let (name, codec, packing) = self.codec();
        let (mut rate, mut channels) = codec.aac_format().unwrap_or((self.rate, self.channels));
        if let Codec::Opus(head) = &codec {
            (rate, channels) = (48_000, head.channels.into());
        }
        let played = Part::from(codec.skipped());
        let info = TrackInfo { kind: AUDIO.into(), codec: name, channels, sample_rate: rate, ..TrackInfo::default() };
        (Track { played: vec![played], ..Track::audio(info, codec) }, packing)
    }

    /// The codec and its usual short name, and how its packets are to be found.
    pub(super) fn codec(&self) -> (String, Codec, Packing) {
        if let Some(sound) = self.samples() {
            return sound;
        }
        let (name, (codec, packing)) = match self.tag {
            0x0002 => ("adpcm_ms", self.adpcm(AdpcmKind::Microsoft(self.coefficients()))),
            0x0011 if self.bits == 4 => ("adpcm_ima_wav", self.adpcm(AdpcmKind::ImaWav)),
            0x5346 => ("adpcm_swf", (self.adpcm(AdpcmKind::Swf).0, Packing::Packets)),
            0x0050 => ("mp2", (Codec::plain(CODEC_ID_MP2, self.rate, self.channels), Packing::Mpeg)),
            0x0055 => ("mp3", (Codec::plain(CODEC_ID_MP3, self.rate, self.channels), Packing::Mpeg)),
            0x00ff | 0x1601 | 0x1609 | 0x160b | 0x4143 | 0x706d | 0xa106 => ("aac", self.aac(self.extra)),
            0x1600 | 0x1608 | 0x160a => ("aac", (Codec::Adts, Packing::Adts)),
            0x1610 => return self.he_aac(),
            0x2000 => ("ac3", (Codec::Ac3, Packing::Ac3)),
            0x0160 => ("wmav1", self.wma(1, self.extra.get(2..4))),
            0x0161 => ("wmav2", self.wma(2, self.extra.get(4..6))),
            0x0008 | 0x2001 => ("dts", (Codec::Dts, Packing::Packets)),
            0x566f => ("vorbis", (Codec::vorbis(self.extra), Packing::Packets)),
            0xf1ac => ("flac", (self.flac(), Packing::Packets)),
            0x704f => ("opus", (self.opus(), Packing::Packets)),
            0 if self.sub_format == Some(AC3) => ("ac3", (Codec::Ac3, Packing::Ac3)),
            0 if self.sub_format == Some(EAC3) => ("eac3", (Codec::Ac3, Packing::Packets)),
            0 if self.sub_format == Some(DFPWM) => ("dfpwm", (Codec::Foreign(self.foreign()), Packing::Packets)),
            tag => return (name(tag), Codec::Foreign(self.foreign()), Packing::Packets),
        };
        (name.to_owned(), codec, packing)
    }

    /// What somebody else's decoder may want to know.
    fn foreign(&self) -> CodecParameters {
        CodecParameters {
            bits: self.bits,
            block_align: self.block_align.into(),
            bytes_per_second: self.bytes_per_second,
            ..CodecParameters::foreign(CodecTag::Wave(self.tag), self.extra)
        }
    }

    /// Sound that is not compressed, or companded.
    fn samples(&self) -> Option<(String, Codec, Packing)> {
        let bytes = self.sample_bytes();
        let bits = u32::from(bytes) * 8;
        let sample = match self.tag {
            0x0001 => Sample::integer(bits, bytes > 1, Order::Little),
            0x0003 => Sample::float(bits, Order::Little),
            0x0006 => Some(Sample::A_LAW),
            0x0007 => Some(Sample::MU_LAW),
            _ => return None,
        };
        let Some(sample) = sample else {
            return Some((format!("pcm of {} bits", self.bits), Codec::Unsupported, Packing::Packets));
        };
        let block = usize::from(sample.bytes) * usize::from(self.channels.max(1));
        Some((sample.name(), Codec::Pcm(sample, self.rate, self.speakers()), Packing::Blocks(block)))
    }

    /// Bytes of a sample. Fewer bits than fill them are the highest ones, so that nothing depends on their number.
    fn sample_bytes(&self) -> u16 {
        let needed = self.bits.div_ceil(8);
        // Twenty or twenty-four bits in four bytes are the one case in which bytes are left over.
        if needed == 3 && self.block_align == self.channels.saturating_mul(4) { 4 } else { needed }
    }

    /// Where the loudspeakers stand. Of more bits than channels the last ones don't count; a mask with fewer leaves
    /// unsaid what matters ("Multiple channel audio data and WAVE files").
    fn speakers(&self) -> Vec<Speaker> {
        let channels = usize::from(self.channels);
        let is_enough = (self.mask & 0x3_ffff).count_ones() as usize >= channels;
        if is_enough { layout::masked(self.mask, channels) } else { wave_order(channels) }
    }

    fn adpcm(&self, kind: AdpcmKind) -> (Codec, Packing) {
        let block = usize::from(self.block_align);
        let adpcm = Adpcm { kind, rate: self.rate, channels: self.channels, block };
        if adpcm.makes_sense() {
            (Codec::Adpcm(adpcm), Packing::Blocks(block))
        } else {
            (Codec::Unsupported, Packing::Packets)
        }
    }

    /// The pairs of coefficients behind the samples of a block and their own count (`ADPCMWAVEFORMAT`).
    fn coefficients(&self) -> Vec<(i16, i16)> {
        let table = self.extra.get(4..).unwrap_or_default();
        let count = self.extra.get(2..4).map_or(0, |count| usize::from(u16::from_le_bytes([count[0], count[1]])));
        let pair = |four: &[u8; 4]| (i16::from_le_bytes([four[0], four[1]]), i16::from_le_bytes([four[2], four[3]]));
        table.as_chunks().0.iter().take(count.min(256)).map(pair).collect()
    }

    fn aac(&self, settings: &[u8]) -> (Codec, Packing) {
        let codec = if settings.len() >= 2 {
            Codec::Aac(settings.to_vec())
        } else {
            Codec::Aac(rusty_aac::audio_specific_config_bytes(self.rate, self.channels))
        };
        (codec, Packing::Packets)
    }

    /// `HEAACWAVEINFO`: how the packets are framed, and behind some more fields an `AudioSpecificConfig`.
    fn he_aac(&self) -> (String, Codec, Packing) {
        let payload = self.extra.first().copied().unwrap_or(0);
        let (name, codec, packing) = match payload {
            0 => {
                let (codec, packing) = self.aac(self.extra.get(12..).unwrap_or_default());
                ("aac", codec, packing)
            }
            1 => ("aac", Codec::Adts, Packing::Adts),
            2 => ("aac in ADIF", Codec::Unsupported, Packing::Packets),
            _ => ("aac_latm", Codec::Unsupported, Packing::Packets),
        };
        (name.to_owned(), codec, packing)
    }

    /// Windows Media Audio 1 or 2, of whose settings only two bytes of flags matter.
    fn wma(&self, version: u8, flags: Option<&[u8]>) -> (Codec, Packing) {
        let flags = flags.and_then(|flags| flags.first_chunk()).map_or(0, |two| u16::from_le_bytes(*two));
        // Some encoder writes this and never makes a short block.
        let flags = if version == 2 && flags == 0x0d && self.extra.len() >= 8 { 0x09 } else { flags };
        let (rate, channels, block) = (self.rate, self.channels, self.block_align);
        let wma = Wma { version, rate, channels, bytes_per_second: self.bytes_per_second, block, flags };
        (Codec::Wma(wma), Packing::Blocks(block.into()))
    }

    /// STREAMINFO, alone or with the head of its block.
    fn flac(&self) -> Codec {
        match self.extra {
            info if info.len() == 34 => Codec::with_settings(CODEC_ID_FLAC, info),
            blocks => Codec::flac(blocks),
        }
    }

    fn opus(&self) -> Codec {
        OpusHead::parse(self.extra).map_or(Codec::Unsupported, Codec::Opus)
    }
}

/// The name of a codec of which nothing is known but its tag.
pub(super) fn name(tag: u16) -> String {
    unsupported(tag).map_or_else(|| format!("wave format 0x{tag:04x}"), str::to_owned)
}

/// The name of a codec that is not decoded (RFC 2361, and what `mmreg.h` has beyond it).
fn unsupported(tag: u16) -> Option<&'static str> {
    Some(match tag {
        0x000a => "wmavoice",
        0x0011 => "adpcm_ima_wav",
        0x0014 | 0x0040 | 0x0045 | 0x0064 | 0xa105 => "adpcm_g726",
        0x0017 => "adpcm_ima_oki",
        0x0020 => "adpcm_yamaha",
        0x0022 => "truespeech",
        0x0028 | 0x0065 | 0x028f => "adpcm_g722",
        0x0031 | 0x0032 => "gsm_ms",
        0x0042 | 0xa100 => "g723_1",
        0x0057 | 0x4201 | 0xa103 => "amr_nb",
        0x0058 | 0xa104 => "amr_wb",
        0x0061 => "adpcm_ima_dk4",
        0x0062 => "adpcm_ima_dk3",
        0x0075 => "metasound",
        0x0083 => "g729",
        0x0130 => "sipr",
        0x0162 => "wmapro",
        0x0163 => "wmalossless",
        0x0165 | 0x0166 => "xma",
        0x0200 => "adpcm_ct",
        0x0270 => "atrac3",
        0x0401 => "imc",
        0x1602 => "aac_latm",
        0x2048 => "sonic",
        0x5346 => "adpcm_swf",
        0x5756 => "wavpack",
        0x674f..=0x6751 | 0x676f..=0x6771 => "vorbis in Ogg",
        0xa109 => "speex",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structure with these fields.
    fn format(tag: u16, channels: u16, align: u16, bits: u16, extra: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
        bytes.extend([48_000u32, 48_000 * u32::from(align)].map(u32::to_le_bytes).concat());
        bytes.extend([align, bits, extra.len() as u16].map(u16::to_le_bytes).concat());
        bytes.extend(extra);
        bytes
    }

    fn extensible(tag: u16, mask: u32) -> Vec<u8> {
        [&24u16.to_le_bytes()[..], &mask.to_le_bytes(), &tag.to_le_bytes(), &STANDS_FOR_TAG[0]].concat()
    }

    fn named(bytes: &[u8]) -> (String, Packing) {
        let (name, _, packing) = WaveFormat::parse(bytes).unwrap().codec();
        (name, packing)
    }

    #[test]
    fn samples_of_every_width_are_told_apart() {
        for (tag, align, bits, name) in [
            (1, 2, 8, "pcm_u8"),
            (1, 4, 12, "pcm_s16le"),
            (1, 4, 16, "pcm_s16le"),
            (1, 6, 20, "pcm_s24le"),
            (1, 8, 20, "pcm_s32le"),
            (1, 8, 24, "pcm_s32le"),
            (1, 8, 32, "pcm_s32le"),
            (3, 8, 32, "pcm_f32le"),
            (3, 16, 64, "pcm_f64le"),
            (6, 2, 8, "pcm_alaw"),
            (7, 2, 0, "pcm_mulaw"),
        ] {
            assert_eq!(named(&format(tag, 2, align, bits, &[])), (name.to_owned(), Packing::Blocks(align.into())));
            let within = format(EXTENSIBLE, 2, align, bits, &extensible(tag, 3));
            assert_eq!(named(&within), (name.to_owned(), Packing::Blocks(align.into())));
        }
        // The oldest form says nothing of bits, and one that is cut off nothing at all.
        assert_eq!(named(&format(7, 1, 1, 0, &[])[..14]).0, "pcm_mulaw");
        assert_eq!(WaveFormat::parse(&format(1, 1, 1, 8, &[])[..13]), None);
        assert_eq!(named(&format(1, 2, 18, 72, &[])).0, "pcm of 72 bits");
    }

    #[test]
    fn loudspeakers_are_where_the_mask_says() {
        let speakers = |mask: u32, channels: u16| {
            let bytes = format(EXTENSIBLE, channels, channels * 3, 24, &extensible(1, mask));
            WaveFormat::parse(&bytes).unwrap().speakers()
        };
        assert_eq!(speakers(0x60f, 6), layout::masked(0x60f, 6));
        assert_eq!(speakers(0x63f, 4), layout::masked(0x00f, 4));
        for mask in [0, 3, u32::MAX << 18] {
            assert_eq!(speakers(mask, 6), wave_order(6));
        }
    }

    #[test]
    fn what_is_not_decoded_has_a_name() {
        for (tag, name) in [(0x0031, "gsm_ms"), (0x0045, "adpcm_g726"), (0x0163, "wmalossless"), (0x0401, "imc")] {
            let bytes = format(tag, 1, 65, 0, &[]);
            let (found, codec, _) = WaveFormat::parse(&bytes).unwrap().codec();
            assert!(found == name && !codec.is_supported());
        }
        assert_eq!(named(&format(0x1234, 1, 1, 8, &[])).0, "wave format 0x1234");
        let dolby = [&[0; 6][..], &AC3].concat();
        assert_eq!(named(&format(EXTENSIBLE, 6, 1, 0, &dolby)).0, "ac3");
    }

    #[test]
    fn settings_of_aac_are_taken_wherever_they_stand() {
        let asc = [0x12, 0x10];
        let he = [&[0; 12][..], &asc].concat();
        for (tag, extra) in [(0x00ff, &asc[..]), (0x706d, &asc), (0x1610, &he)] {
            let bytes = format(tag, 1, 1, 16, extra);
            let (track, packing) = WaveFormat::parse(&bytes).unwrap().track();
            assert_eq!((track.info.sample_rate, track.info.channels), (44_100, 2), "0x{tag:04x}");
            assert_eq!(packing, Packing::Packets);
        }
        let bare = format(0x00ff, 2, 1, 16, &[]);
        assert_eq!(WaveFormat::parse(&bare).unwrap().track().0.info.sample_rate, 48_000);
    }
}
