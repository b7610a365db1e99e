//! Codecs: what a track's packets are encoded with, and the settings that their decoder needs.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use crate::audio::{Speaker, wave_order};
use crate::codecs::CodecParameters;
use crate::span::Span;

pub(crate) mod amr;
pub(crate) mod dts;
pub(crate) mod pcm;

/// A codec with its settings.
#[derive(Clone, Debug)]
pub(crate) enum Codec {
    /// Raw AAC access units of any profile; the settings are an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    Aac(Vec<u8>),
    /// AAC in ADTS frames, which say themselves what they are.
    Adts,
    /// AC-3 or E-AC-3: syncframes, which say themselves what they are.
    Ac3,
    /// AAC in frames of LOAS, which say themselves what they are (ISO/IEC 14496-3, 1.7).
    Latm,
    /// Opus.
    Opus(OpusHead),
    /// Vorbis: the identification and the setup header (Vorbis I, 4.2).
    Vorbis {
        /// The first header packet.
        ident: Vec<u8>,
        /// The third header packet.
        setup: Vec<u8>,
    },
    /// ADPCM.
    Adpcm(Adpcm),
    /// PCM, with the loudspeakers of its channels.
    Pcm(pcm::Sample, u32, Vec<Speaker>),
    /// PCM whose channels are in no usual order, and not all of them somebody's.
    DiscPcm(PcmFormat),
    /// AMR, in frames with their headers.
    Amr(amr::Band),
    /// The core of DTS.
    Dts,
    /// Windows Media Audio 1 or 2.
    Wma(Wma),
    /// Whatever Symphonia decodes.
    Symphonia(AudioCodecParameters),
    /// Nobody here decodes it, but its packets are at hand for somebody who does: all that the container says of it
    /// beside name, rate and channels.
    Foreign(CodecParameters),
    /// Nobody decodes it.
    Unsupported,
}

impl Codec {
    /// Whether it is decoded here.
    pub(crate) fn is_supported(&self) -> bool {
        !matches!(self, Self::Foreign(_) | Self::Unsupported)
    }

    /// From the three Vorbis headers, laced as in Matroska and MP4: a count, two lengths, then the packets (Matroska
    /// codec mappings, A_VORBIS).
    pub(crate) fn vorbis(private: &[u8]) -> Self {
        let laced = || {
            let rest = private.strip_prefix(&[2])?;
            let (ident, rest) = xiph_length(rest)?;
            let (comment, rest) = xiph_length(rest)?;
            let setup = rest.get(ident.checked_add(comment)?..)?;
            Some(Self::Vorbis { ident: rest.get(..ident)?.to_vec(), setup: setup.to_vec() })
        };
        laced().unwrap_or(Self::Unsupported)
    }

    /// PCM of so many channels in the usual order.
    pub(crate) fn pcm(sample: pcm::Sample, rate: u32, channels: u16) -> Self {
        Self::Pcm(sample, rate, wave_order(channels.into()))
    }

    /// A codec of Symphonia's without settings beyond rate and channels.
    pub(crate) fn plain(codec: AudioCodecId, rate: u32, channels: u16) -> Self {
        Self::positioned(codec, rate, crate::decode::channels(channels))
    }

    /// The same where it is known which loudspeakers the channels are for.
    pub(crate) fn positioned(codec: AudioCodecId, rate: u32, channels: Channels) -> Self {
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec).with_sample_rate(rate).with_channels(channels);
        Self::Symphonia(params)
    }

    /// A codec of Symphonia's with settings.
    pub(crate) fn with_settings(codec: AudioCodecId, settings: &[u8]) -> Self {
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec).with_extra_data(settings.into());
        Self::Symphonia(params)
    }

    /// What every decoder gives first that is none of the sound, wherever the packets come from.
    pub(crate) fn skipped(&self) -> Span {
        match self {
            Self::Opus(head) => Span::new(head.pre_skip.into(), 48_000),
            Self::Wma(wma) => Span::new(wma.delay(), wma.rate.into()),
            _ => Span::ZERO,
        }
    }

    /// What the settings of AAC say of its sound: rate in Hz and channels.
    pub(crate) fn aac_format(&self) -> Option<(u32, u16)> {
        let Self::Aac(config) = self else { return None };
        let config = rusty_aac::config::parse(config).ok()?;
        let channels = if config.ps { 2 } else { u16::try_from(config.channels()).unwrap_or(0) };
        Some((config.ext_sample_rate, channels))
    }

    /// FLAC, from metadata blocks of which the first is STREAMINFO (RFC 9639, 8.2), as MP4 and Matroska have them.
    pub(crate) fn flac(blocks: &[u8]) -> Self {
        let blocks = blocks.strip_prefix(b"fLaC").unwrap_or(blocks);
        match blocks.get(4..38) {
            Some(info) if blocks[0] & 0x7f == 0 => Self::with_settings(CODEC_ID_FLAC, info),
            _ => Self::Unsupported,
        }
    }
}

/// A length in Xiph lacing: bytes of 255 and a smaller one, added up.
pub(crate) fn xiph_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|byte| *byte < 255)?;
    let (length, rest) = bytes.split_at(end + 1);
    Some((length.iter().map(|byte| usize::from(*byte)).sum(), rest))
}

/// The short name of a codec of Symphonia's.
pub(crate) fn name(codec: AudioCodecId) -> &'static str {
    match codec {
        CODEC_ID_MP1 => "mp1",
        CODEC_ID_MP2 => "mp2",
        CODEC_ID_MP3 => "mp3",
        CODEC_ID_AAC => "aac",
        CODEC_ID_AC3 => "ac3",
        CODEC_ID_EAC3 => "eac3",
        CODEC_ID_DCA => "dts",
        CODEC_ID_FLAC => "flac",
        CODEC_ID_ALAC => "alac",
        CODEC_ID_OPUS => "opus",
        CODEC_ID_VORBIS => "vorbis",
        CODEC_ID_SPEEX => "speex",
        CODEC_ID_WMA => "wma",
        _ => "unknown",
    }
}

/// The settings of ADPCM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adpcm {
    pub(crate) kind: AdpcmKind,
    /// In Hz.
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    /// Bytes of a block, of all channels; of no meaning for Flash's kind.
    pub(crate) block: usize,
}

/// The kinds of ADPCM that are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdpcmKind {
    /// Microsoft's, with coefficients of its own if there are any.
    Microsoft(Vec<(i16, i16)>),
    /// IMA's as in WAVE.
    ImaWav,
    /// IMA's as in QuickTime.
    ImaQuickTime,
    /// IMA's as in Flash.
    Swf,
}

impl Adpcm {
    /// Whether a block has room for the heads of its channels.
    pub(crate) fn makes_sense(&self) -> bool {
        (1..=8).contains(&self.channels) && self.block >= self.head()
    }

    /// Bytes without which a block has no sound.
    pub(crate) fn head(&self) -> usize {
        let of_a_channel = match self.kind {
            AdpcmKind::Microsoft(_) => 7,
            AdpcmKind::ImaWav => 4,
            AdpcmKind::ImaQuickTime => 34,
            AdpcmKind::Swf => 0,
        };
        of_a_channel * usize::from(self.channels)
    }

    /// How many samples per channel a whole block has.
    pub(crate) fn samples_per_block(&self) -> usize {
        let own = self.block / usize::from(self.channels.max(1));
        match self.kind {
            AdpcmKind::Microsoft(_) => 2 + own.saturating_sub(7) * 2,
            AdpcmKind::ImaWav => 1 + own.saturating_sub(4) / 4 * 8,
            AdpcmKind::ImaQuickTime => 64,
            AdpcmKind::Swf => 4096,
        }
    }
}

/// Big-endian PCM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PcmFormat {
    /// Hz.
    pub(crate) rate: u32,
    /// Bytes of a sample: 2 or 3.
    pub(crate) bytes: u8,
    /// Samples of a moment: one for each speaker, and maybe one that is nobody's.
    pub(crate) slots: u8,
    pub(crate) speakers: Vec<Speaker>,
}

impl PcmFormat {
    /// Bytes of a moment.
    pub(crate) fn frame(&self) -> usize {
        usize::from(self.bytes) * usize::from(self.slots)
    }
}

/// The settings of Windows Media Audio 1 and 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wma {
    pub(crate) version: u8,
    /// In Hz.
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    pub(crate) bytes_per_second: u32,
    /// Bytes of a packet.
    pub(crate) block: u16,
    /// How its spectra are coded, and whether blocks may be short.
    pub(crate) flags: u16,
}

impl Wma {
    /// Binary logarithm of the samples of a frame.
    pub(crate) fn frame_bits(&self) -> u32 {
        match self.rate {
            0..=16_000 => 9,
            16_001..=22_050 => 10,
            22_051..=32_000 if self.version == 1 => 10,
            _ => 11,
        }
    }

    /// Frames go on from one packet to the next.
    pub(crate) fn has_reservoir(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Samples before the sound: half a transform, and a frame that Microsoft's encoder looks ahead; the others that
    /// are known do not, and have no reservoir either.
    pub(crate) fn delay(&self) -> u64 {
        (1 + u64::from(self.has_reservoir())) << self.frame_bits()
    }
}

/// What an Opus stream's header says (RFC 7845, 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpusHead {
    pub(crate) channels: u8,
    /// Samples at 48 kHz to be dropped at the start.
    pub(crate) pre_skip: u16,
    /// In 1/256 dB.
    pub(crate) gain: i16,
    pub(crate) family: u8,
    pub(crate) streams: u8,
    pub(crate) coupled: u8,
    pub(crate) mapping: Vec<u8>,
}

impl OpusHead {
    /// Reads an `OpusHead` packet, as Ogg and Matroska have it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [_version, channels, p0, p1, _, _, _, _, g0, g1, rest @ ..] = bytes.strip_prefix(b"OpusHead")? else {
            return None;
        };
        Self::new(*channels, u16::from_le_bytes([*p0, *p1]), i16::from_le_bytes([*g0, *g1]), rest)
    }

    /// Reads the body of a `dOps` box: the same with the other byte order (Opus in ISOBMFF, 4.3.2).
    pub(crate) fn parse_dops(bytes: &[u8]) -> Option<Self> {
        let [_version, channels, p0, p1, _, _, _, _, g0, g1, rest @ ..] = bytes else { return None };
        Self::new(*channels, u16::from_be_bytes([*p0, *p1]), i16::from_be_bytes([*g0, *g1]), rest)
    }

    /// From the code for the channels in a transport stream's descriptor, where packets say themselves what is skipped.
    /// 0 is two channels that are two programs; they are decoded like stereo.
    pub(crate) fn of_transport_stream(code: u8) -> Option<Self> {
        const STREAMS: [(u8, u8); 8] = [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (4, 3), (5, 3)];
        const MAPPINGS: [&[u8]; 8] = [
            &[0],
            &[0, 1],
            &[0, 2, 1],
            &[0, 1, 2, 3],
            &[0, 4, 1, 2, 3],
            &[0, 4, 1, 2, 3, 5],
            &[0, 4, 1, 2, 3, 5, 6],
            &[0, 6, 1, 2, 3, 4, 5, 7],
        ];
        let channels = if code == 0 { 2 } else { code };
        let n = usize::from(channels) - 1;
        let ((streams, coupled), mapping) = (*STREAMS.get(n)?, MAPPINGS.get(n)?.to_vec());
        let family = u8::from(channels > 2);
        Some(Self { channels, pre_skip: 0, gain: 0, family, streams, coupled, mapping })
    }

    /// The packet as Ogg and Matroska have it.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let [p0, p1] = self.pre_skip.to_le_bytes();
        let [g0, g1] = self.gain.to_le_bytes();
        let mut packet = b"OpusHead\x01".to_vec();
        // The rate of what was encoded is of no meaning for decoding.
        packet.extend([self.channels, p0, p1, 0x80, 0xbb, 0, 0, g0, g1, self.family]);
        if self.family > 0 {
            packet.extend([self.streams, self.coupled]);
            packet.extend(&self.mapping);
        }
        packet
    }

    fn new(channels: u8, pre_skip: u16, gain: i16, rest: &[u8]) -> Option<Self> {
        let (family, table) = rest.split_first()?;
        let (streams, coupled, mapping) = match (family, channels) {
            (0, 1 | 2) => (1, channels - 1, (0..channels).collect()),
            (0, _) => return None,
            _ => {
                let [streams, coupled, mapping @ ..] = table else { return None };
                (*streams, *coupled, mapping.get(..usize::from(channels))?.to_vec())
            }
        };
        let sound = channels > 0 && streams > 0 && coupled <= streams && streams.checked_add(coupled).is_some();
        sound.then_some(Self { channels, pre_skip, gain, family: *family, streams, coupled, mapping })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_heads_of_both_byte_orders_say_the_same() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\xff\0";
        let mp4 = b"\0\x02\x01\x38\0\0\xbb\x80\xff\0\0";
        let head = OpusHead::parse(ogg).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.gain), (2, 312, -256));
        assert_eq!(head.packet(), ogg);
        assert_eq!(OpusHead::parse_dops(mp4), Some(head));
        assert_eq!(OpusHead::parse(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01"), None);
    }

    #[test]
    fn laced_vorbis_headers_are_taken_apart() {
        let mut private = vec![2, 2, 255, 1];
        private.extend(vec![7; 2 + 256]);
        private.extend([9, 9, 9]);
        let Codec::Vorbis { ident, setup } = Codec::vorbis(&private) else { panic!("not taken") };
        assert_eq!((ident, setup), (vec![7, 7], vec![9, 9, 9]));
        for cut in 0..=3 {
            assert!(!Codec::vorbis(&private[..cut]).is_supported());
        }
    }
}
