//! Who decodes what: decoders of one's own, before and behind the built-in ones.
//!
//! A decoder is made by a function that is told all that the container says of a track's sound. Those that somebody
//! prefers are asked first, then the built-in ones, then those that stand in for what the built-in ones can't decode.

use std::fmt;
use std::sync::Arc;

use microserve_core::transcode::TranscodeError;

use crate::codec::{Adpcm, AdpcmKind, Codec, Wma};
use crate::decode::{self, Decoder};
use crate::demux::Track;

/// When a decoder is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Before the built-in one, which it replaces. (MP3 that is copied is decoded by nobody.)
    Preferred,
    /// For what no built-in one decodes.
    Fallback,
}

/// Decoders beside the built-in ones. By default there are none. Clones share them.
///
/// A toy: a byte is a sample.
///
/// ```
/// use microserve_transcoder::{Codecs, Damaged, Decoder, NativeTranscoder, Pcm, Speaker, Tier};
///
/// struct Toy(u32);
///
/// impl Decoder for Toy {
///     fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
///         pcm.reset(self.0, &Speaker::usual(1));
///         pcm.planes_mut()[0].extend(packet.iter().map(|byte| f32::from(*byte) / 128.0 - 1.0));
///         Ok(())
///     }
/// }
///
/// let mut codecs = Codecs::default();
/// codecs.add(Tier::Fallback, "toy", |told| (told.channels == 1).then(|| Box::new(Toy(told.sample_rate)) as _));
/// let transcoder = NativeTranscoder::default().with_codecs(codecs);
/// ```
///
/// # In a sandbox
/// A child makes its transcoder itself, with its decoders:
///
/// ```ignore
/// fn main() -> ExitCode {
///     let child = microserve_sandbox::child(|_words, cores| {
///         Ok(Box::new(NativeTranscoder::default().with_cores(cores).with_codecs(codecs())))
///     });
///     // …
/// }
/// ```
///
/// Programs that serve with `microserve` call `microserve::child_with(codecs())` there. By the time a decoder is made,
/// the child can't open files, load libraries or start programs: what a decoder needs has to be in the program.
#[derive(Clone, Default)]
pub struct Codecs {
    entries: Vec<Entry>,
}

type Make = dyn Fn(&CodecParameters) -> Option<Box<dyn Decoder>> + Send + Sync;

#[derive(Clone)]
struct Entry {
    tier: Tier,
    codec: String,
    make: Arc<Make>,
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| (entry.tier, &entry.codec))).finish()
    }
}

impl Codecs {
    /// Adds a decoder for a codec, by the name that a probe gives it (`TrackInfo::codec`). Of several for one codec,
    /// the first one that does not decline by `None` gets the track.
    ///
    /// `make` is asked whenever it matters whether a track can be decoded, so it should be quick.
    pub fn add<F>(&mut self, tier: Tier, codec: &str, make: F)
    where
        F: Fn(&CodecParameters) -> Option<Box<dyn Decoder>> + Send + Sync + 'static,
    {
        self.entries.push(Entry { tier, codec: codec.to_owned(), make: Arc::new(make) });
    }

    /// Whether there is a decoder for a track.
    pub(crate) fn can_decode(&self, track: &Track) -> bool {
        track.codec.is_supported()
            || [Tier::Preferred, Tier::Fallback].iter().any(|tier| self.ask(*tier, track).is_some())
    }

    /// Makes the decoder of a track.
    ///
    /// # Errors
    /// [`TranscodeError::UnsupportedCodec`] when nobody decodes it, [`TranscodeError::Corrupt`] when its settings make
    /// no sense.
    pub(crate) fn open(&self, track: &Track) -> Result<Box<dyn Decoder>, TranscodeError> {
        if let Some(decoder) = self.ask(Tier::Preferred, track) {
            return Ok(decoder);
        }
        match decode::open(&track.codec, &track.info.codec) {
            Err(err @ TranscodeError::UnsupportedCodec { .. }) => self.ask(Tier::Fallback, track).ok_or(err),
            opened => opened,
        }
    }

    fn ask(&self, tier: Tier, track: &Track) -> Option<Box<dyn Decoder>> {
        let mut entries = self.entries.iter().filter(|entry| entry.tier == tier && entry.codec == track.info.codec);
        let first = entries.next()?;
        let told = CodecParameters::of(track)?;
        (first.make)(&told).or_else(|| entries.find_map(|entry| (entry.make)(&told)))
    }
}

/// What is known of a track's sound before its first packet. Numbers are zero where the container does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodecParameters {
    /// The codec's short name, as in `TrackInfo::codec`.
    pub codec: String,
    /// How the container names the codec, if no built-in decoder knows it.
    pub tag: Option<CodecTag>,
    /// The codec's own settings. Of a codec that the built-in decoders know they have one form, whatever the container
    /// has:
    ///
    /// | codec | settings |
    /// |---|---|
    /// | AAC | `AudioSpecificConfig`; none: packets are frames of ADTS or LOAS, which begin with their sync words |
    /// | ALAC | the magic cookie |
    /// | FLAC | STREAMINFO |
    /// | Opus | the `OpusHead` packet |
    /// | Vorbis | the three header packets in Xiph lacing, as in Matroska; of the comments there are none |
    /// | ADPCM, Windows Media Audio | what WAVE has behind `cbSize` |
    /// | others | none |
    ///
    /// Of any other codec, it is what the container has: in AVI, ASF, WAVE and Matroska's `A_MS/ACM` the bytes behind
    /// `cbSize`; Matroska's `CodecPrivate`; in MP4 the decoder specific info, or, where there is no such thing, the
    /// boxes within the sample entry; in FLV the settings of Enhanced RTMP.
    pub private: Vec<u8>,
    /// Hz.
    pub sample_rate: u32,
    /// How many.
    pub channels: u16,
    /// Bits of a sample: encoded ones in WAVE and its kin.
    pub bits: u16,
    /// Bytes of a block, of all channels; of PCM, those of a moment. Packets of AVI and WAVE may be several blocks.
    pub block_align: u32,
    /// The bitrate, in bytes.
    pub bytes_per_second: u32,
}

/// How a container names a codec.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecTag {
    /// Four characters: a sample entry of MP4, or a codec of Enhanced RTMP.
    FourCc([u8; 4]),
    /// `objectTypeIndication` of an elementary stream descriptor in MP4.
    ObjectType(u8),
    /// `CodecID` of Matroska.
    Matroska(String),
    /// `wFormatTag` of a `WAVEFORMATEX`.
    Wave(u16),
    /// `SoundFormat` of FLV.
    Flv(u8),
}

impl CodecParameters {
    /// `None` where there are no packets that could be decoded.
    fn of(track: &Track) -> Option<Self> {
        let told = match &track.codec {
            Codec::Unsupported => return None,
            Codec::Foreign(told) => told.clone(),
            Codec::Aac(private) => Self { private: private.clone(), ..Self::default() },
            Codec::Symphonia(params) => Self::with_private(params.extra_data.as_deref().unwrap_or_default()),
            Codec::Opus(head) => Self::with_private(&head.packet()),
            Codec::Vorbis { ident, setup } => Self::with_private(&vorbis(ident, setup)),
            Codec::Pcm(sample, _, speakers) => Self {
                bits: (u16::from(sample.bytes) * 8).saturating_sub(sample.unused.into()),
                block_align: u32::try_from(speakers.len()).ok()?.saturating_mul(sample.bytes.into()),
                ..Self::default()
            },
            Codec::DiscPcm(format) => Self {
                bits: u16::from(format.bytes) * 8,
                block_align: u32::try_from(format.frame()).ok()?,
                ..Self::default()
            },
            Codec::Adpcm(adpcm) => Self {
                private: coefficients(adpcm),
                bits: 4,
                block_align: u32::try_from(adpcm.block).ok()?,
                ..Self::default()
            },
            Codec::Wma(wma) => Self {
                private: wma_flags(wma),
                block_align: wma.block.into(),
                bytes_per_second: wma.bytes_per_second,
                ..Self::default()
            },
            Codec::Adts | Codec::Latm | Codec::Ac3 | Codec::Amr(_) | Codec::Dts => Self::default(),
        };
        let info = &track.info;
        Some(Self { codec: info.codec.clone(), sample_rate: info.sample_rate, channels: info.channels, ..told })
    }

    fn with_private(private: &[u8]) -> Self {
        Self { private: private.to_vec(), ..Self::default() }
    }

    /// What a container says of a codec that is not decoded here: name, rate and channels stand elsewhere.
    pub(crate) fn foreign(tag: CodecTag, private: &[u8]) -> Self {
        Self { tag: Some(tag), ..Self::with_private(private) }
    }
}

/// The header packets behind their number and the lengths of the first two (Matroska codec mappings, A_VORBIS). Between
/// them are comments of nobody's (Vorbis I, 5.2).
pub(crate) fn vorbis(ident: &[u8], setup: &[u8]) -> Vec<u8> {
    const COMMENTS: &[u8] = b"\x03vorbis\0\0\0\0\0\0\0\0\x01";
    let mut private = vec![2];
    for length in [ident.len(), COMMENTS.len()] {
        private.extend(std::iter::repeat_n(255, length / 255));
        private.push((length % 255) as u8);
    }
    [&private, ident, COMMENTS, setup].concat()
}

/// `ADPCMWAVEFORMAT` behind its `cbSize`: the samples of a block and, of Microsoft's kind, pairs of coefficients.
fn coefficients(adpcm: &Adpcm) -> Vec<u8> {
    let AdpcmKind::Microsoft(pairs) = &adpcm.kind else { return Vec::new() };
    let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes();
    let mut private = [count(adpcm.samples_per_block()), count(pairs.len())].concat();
    private.extend(pairs.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()].concat()));
    private
}

/// `WMAUDIO1WAVEFORMAT` and its successor behind their `cbSize`, of which only the flags matter.
fn wma_flags(wma: &Wma) -> Vec<u8> {
    let [f0, f1] = wma.flags.to_le_bytes();
    if wma.version == 1 { vec![0, 0, f0, f1] } else { vec![0, 0, 0, 0, f0, f1, 0, 0, 0, 0] }
}

#[cfg(test)]
mod tests {
    use microserve_core::transcode::TrackInfo;

    use super::*;

    fn told(codec: Codec) -> CodecParameters {
        let info = TrackInfo { codec: "name".into(), sample_rate: 8000, channels: 2, ..TrackInfo::default() };
        CodecParameters::of(&Track::audio(info, codec)).unwrap()
    }

    #[test]
    fn settings_can_be_read_again() {
        let ident = [&b"\x01vorbis"[..], &[7; 300]].concat();
        let private = told(Codec::Vorbis { ident: ident.clone(), setup: vec![9; 3] }).private;
        let Codec::Vorbis { ident: again, setup } = Codec::vorbis(&private) else { panic!("it is not Vorbis") };
        assert_eq!((again, setup), (ident, vec![9; 3]));

        let adpcm =
            Adpcm { kind: AdpcmKind::Microsoft(vec![(256, 0), (512, -256)]), rate: 8000, channels: 1, block: 70 };
        let said = told(Codec::Adpcm(adpcm));
        assert_eq!(said.private, [128, 0, 2, 0, 0, 1, 0, 0, 0, 2, 0, 255]);
        assert_eq!((said.bits, said.block_align), (4, 70));
    }

    #[test]
    fn the_track_tells_name_rate_and_channels() {
        let said = told(Codec::Foreign(CodecParameters::foreign(CodecTag::Wave(0x20), &[1])));
        assert_eq!((said.codec.as_str(), said.sample_rate, said.channels), ("name", 8000, 2));
        assert_eq!((said.tag, said.private), (Some(CodecTag::Wave(0x20)), vec![1]));
        assert!(CodecParameters::of(&Track::audio(TrackInfo::default(), Codec::Unsupported)).is_none());
    }
}
